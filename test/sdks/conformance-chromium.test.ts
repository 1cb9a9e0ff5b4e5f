/** The scenarios by the TypeScript client in Chromium: each in a tab of its own, on a page of the proxy's own origin. */
import type { Page } from 'playwright-core';
import { afterAll, beforeAll } from 'vitest';
import { INSTALL_MS } from '../support/debian.js';
import { type Chromium, clientSite, loadClient, startChromium } from './chromium.js';
import { conformance } from './conformance.js';
import type { CuttingProxy } from './cutting-proxy.js';
import type { Answer, Driver } from './driver.js';

let browser: Chromium;
beforeAll(async () => {
  browser = await startChromium();
}, INSTALL_MS);
afterAll(() => browser?.close());

async function openPage({ url }: CuttingProxy): Promise<Page> {
  const page = await browser.context.newPage();
  await loadClient(page, url);
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
  lacks: ['files', 'exit', 'keyFile', 'connections', 'sentOnce'],
  on: [{ name: 'sqlite' }],
  site: clientSite,
});
