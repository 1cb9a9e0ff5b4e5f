/** Chromium with the built TypeScript client in it: how it is started, and the page that loads the package by an import map, as it is published. */
import { createReadStream, existsSync, mkdtempSync, rmSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type BrowserContext, chromium, type Page } from 'playwright-core';
import { debianProgram } from '../support/debian.js';
import { SDKS } from './languages.js';

const FOLDERS: Readonly<Record<string, string>> = {
  package: path.join(SDKS, 'typescript'),
  modules: path.resolve(SDKS, '../node_modules'),
};

const PAGE = `<!doctype html><meta charset="utf-8"><title>Stargus</title>
<script type="importmap">{"imports": {
  "@stargus/client": "/-/package/dist/stargus.browser.js",
  "jose": "/-/modules/jose/dist/webapi/index.js",
  "hash-wasm": "/-/modules/hash-wasm/dist/index.esm.js"
}}</script>
<script type="module">
  import * as stargus from '@stargus/client';
  import { createDriver } from '/-/package/dist/conformance/commands.js';
  window.stargus = stargus;
  window.driver = createDriver({ connect: stargus.connect });
</script>`;

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** The page, at `/-/`, and what it loads; for a proxy, so that page and server have one origin. */
export function clientSite({ url = '' }: IncomingMessage, answer: ServerResponse): void {
  const [, kind, rest] = /^\/-\/(package|modules)\/([^?]+)$/.exec(url) ?? [];
  if (kind === undefined || rest === undefined) {
    answer.setHeader('content-type', 'text/html').end(PAGE);
    return;
  }
  const file = path.join(FOLDERS[kind] as string, path.normalize(rest));
  if (existsSync(file)) createReadStream(file).pipe(answer.setHeader('content-type', 'text/javascript'));
  else answer.writeHead(404).end();
}

export interface Chromium {
  readonly context: BrowserContext;
  close(): Promise<void>;
}

/** With an empty profile of its own. */
export async function startChromium(): Promise<Chromium> {
  const executablePath = await debianProgram('chromium');
  const profile = mkdtempSync(path.join(tmpdir(), 'stargus-chromium-'));
  const context = await chromium.launchPersistentContext(profile, { executablePath, headless: true, args: FLAGS });
  const group = await processGroup(context);
  return {
    context,
    // Killed: where the machine is busy Chromium may take minutes to end by itself.
    close: async () => {
      const closed = context.waitForEvent('close');
      process.kill(-group, 'SIGKILL');
      await closed;
      rmSync(profile, { recursive: true, force: true, maxRetries: 20 });
    },
  };
}

async function processGroup(context: BrowserContext): Promise<number> {
  const session = await context.browser()?.newBrowserCDPSession();
  const { processInfo = [] } = (await session?.send('SystemInfo.getProcessInfo')) ?? {};
  const browser = processInfo.find(({ type }) => type === 'browser');
  if (!browser) throw new Error('Chromium doesn’t say which process it is.');
  return browser.id;
}

/** Waits until the page of the origin has its driver. */
export async function loadClient(page: Page, origin: string): Promise<void> {
  await page.goto(`${origin}/-/`);
  await page.waitForFunction('window.driver !== undefined');
}
