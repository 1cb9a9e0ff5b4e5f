/** The scenarios by the TypeScript client in Chromium: each in a tab of its own, on a page of the proxy's own origin. */
import { createReadStream, existsSync, mkdtempSync, rmSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type BrowserContext, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll } from 'vitest';
import { debianProgram, INSTALL_MS } from '../support/debian.js';
import { conformance } from './conformance.js';
import type { CuttingProxy } from './cutting-proxy.js';
import type { Answer, Driver } from './driver.js';
import { SDKS } from './languages.js';

const PACKAGE = path.join(SDKS, 'typescript');
const MODULES = path.resolve(SDKS, '../node_modules');

const PAGE = `<!doctype html><meta charset="utf-8"><title>Scenarios</title>
<script type="importmap">{"imports": {
  "@stargus/client": "/-/package/dist/stargus.browser.js",
  "jose": "/-/modules/jose/dist/webapi/index.js",
  "hash-wasm": "/-/modules/hash-wasm/dist/index.esm.js"
}}</script>
<script type="module">
  import { connect } from '@stargus/client';
  import { createDriver } from '/-/package/dist/conformance/commands.js';
  // What a browser keeps open is its own affair.
  window.driver = createDriver({ connect, measure: () => ({ tasks: 0, sockets: 0 }) });
</script>`;

function site({ url = '' }: IncomingMessage, answer: ServerResponse): void {
  const [, kind, rest] = /^\/-\/(package|modules)\/([^?]+)$/.exec(url) ?? [];
  if (kind === undefined || rest === undefined) {
    answer.setHeader('content-type', 'text/html').end(PAGE);
    return;
  }
  const file = path.join(kind === 'package' ? PACKAGE : MODULES, path.normalize(rest));
  if (existsSync(file)) createReadStream(file).pipe(answer.setHeader('content-type', 'text/javascript'));
  else answer.writeHead(404).end();
}

let context: BrowserContext;
let profile: string;
beforeAll(async () => {
  const executablePath = await debianProgram('chromium');
  profile = mkdtempSync(path.join(tmpdir(), 'stargus-chromium-'));
  const args = [
    ...[
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
    ],
    ...['--disable-component-update', '--disable-sync'],
  ];
  context = await chromium.launchPersistentContext(profile, { executablePath, headless: true, args });
}, INSTALL_MS);
afterAll(async () => {
  await context?.close();
  if (profile) rmSync(profile, { recursive: true, force: true });
});

async function openPage({ url }: CuttingProxy): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${url}/-/`);
  await page.waitForFunction('window.driver !== undefined');
  return page;
}

function drive(proxy: CuttingProxy): Driver {
  const opening = openPage(proxy);
  // It is awaited with the first command.
  opening.catch(() => {});
  return {
    ask: async (command) => {
      const page = await opening;
      // biome-ignore lint/suspicious/noExplicitAny: the page's own globals
      return page.evaluate((each) => (globalThis as any).driver.handle(each) as Promise<Answer>, command);
    },
    end: async () => {
      const page = await opening;
      // biome-ignore lint/suspicious/noExplicitAny: the page's own globals
      await page.evaluate(() => (globalThis as any).driver.close());
      await page.close();
    },
    kill: () => {
      opening.then((page) => page.close()).catch(() => {});
    },
  };
}

conformance({
  name: 'Chromium',
  drive,
  lacks: ['files', 'exit', 'keyFile', 'connections'],
  on: [{ name: 'sqlite' }],
  site,
});
