/** The built package in a real Chromium: streams by fetch and by EventSource, the cache in IndexedDB, logins by WebCrypto; loaded by an import map, as it is published. */
import { generateKeyPairSync } from 'node:crypto';
import { calculateJwkThumbprint } from 'jose';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Chromium, clientSite, loadClient, startChromium } from '../../../test/sdks/chromium.js';
import { type CuttingProxy, startCuttingProxy } from '../../../test/sdks/cutting-proxy.js';
import { INSTALL_MS } from '../../../test/support/debian.js';
import { newPool, openServer, type Server, startServer } from './server.js';

describe('in Chromium', { timeout: 60_000 }, () => {
  let site: CuttingProxy;
  let server: Server;
  let browser: Chromium;
  let page: Page;
  let pool: string;
  const faults: string[] = [];

  /** One command of the driver, done by the page. */
  async function ask(tab: Page, command: Record<string, unknown>): Promise<unknown> {
    // biome-ignore lint/suspicious/noExplicitAny: the page's own globals
    const answer = await tab.evaluate((each) => (globalThis as any).driver.handle(each), command);
    if (!answer.ok) throw Object.assign(new Error(`${answer.error.code}: ${answer.error.message}`), answer.error);
    return answer.value;
  }

  async function open(): Promise<Page> {
    const tab = await browser.context.newPage();
    tab.on('pageerror', (error) => faults.push(String(error)));
    tab.on('requestfailed', (failed) => {
      if (failed.url().includes('/package/')) faults.push(`${failed.url()} is missing`);
    });
    await loadClient(tab, site.url);
    return tab;
  }

  /** Requests for streams since the site forgot those before. */
  const attached = () => site.heard.map(({ request }) => request).filter((each) => each.includes('/attach'));

  beforeAll(async () => {
    [site, server, browser] = await Promise.all([startCuttingProxy(clientSite), openServer(), startChromium()]);
    site.target(server.url);
  }, INSTALL_MS);

  afterAll(async () => {
    await browser?.close();
    await Promise.all([site?.stop(), server?.stop()]);
    expect(faults).toEqual([]);
  });

  beforeEach(async () => {
    for (const tab of browser.context.pages().slice(1)) await tab.close();
    await browser.context.clearCookies();
    pool = newPool();
    site.forget();
    site.target(server.url);
    page = await open();
  });

  test.each(['fetch', 'eventsource'])('a mirror follows by %s', async (streams) => {
    const result = await page.evaluate(
      async ({ url, pool, streams }) => {
        // biome-ignore lint/suspicious/noExplicitAny: the page's own globals
        const { connect } = (globalThis as any).stargus;
        const client = await connect(url, pool, { streams });
        const rooms = client.attach('rooms');
        await rooms.ready;
        const changes = rooms.changes();
        const { revision } = await client.set('rooms', 'Ærø/1', { light: 'on', n: 1 });
        await client.merge('rooms', 'Ærø/1', { light: null });
        await rooms.reached(revision + 1);
        const heard = [(await changes.next()).value, (await changes.next()).value];
        const optimistic = rooms.set('den', { n: 2 });
        const shown = await new Promise((resolve) => {
          rooms.onChange((change: { key: string }) => change.key === 'den' && resolve(rooms.get('den')?.attributes));
        });
        await optimistic;
        const refused = client.attach('rooms', { where: { x: { like: 'y' } } });
        const why = await refused.ready.then(
          () => 'ready',
          (error: { code: string }) => error.code,
        );
        const item = rooms.get('Ærø/1');
        const frozen = Object.isFrozen(item) && Object.isFrozen(item.attributes);
        await client.close();
        return { heard, shown, why, item, frozen, isLive: rooms.isLive };
      },
      { url: site.url, pool, streams },
    );
    expect(result).toMatchObject({
      heard: [
        { op: 'add', key: 'Ærø/1', changed: ['light', 'n'] },
        { op: 'change', key: 'Ærø/1', changed: ['light'], removed: ['light'] },
      ],
      shown: { n: 2 },
      why: 'invalidFilter',
      item: { key: 'Ærø/1', attributes: { n: 1 } },
      frozen: true,
      isLive: false,
    });
  });

  test.each(['fetch', 'eventsource'])('%s comes back where it was after the connection broke', async (streams) => {
    const client = { url: site.url, pool, streams };
    await page.evaluate(async ({ url, pool, streams }) => {
      // biome-ignore lint/suspicious/noExplicitAny: the page's own globals
      const window = globalThis as any;
      window.client = await window.stargus.connect(url, pool, { streams, retryForMs: 500 });
      await window.client.set('rooms', 'hall', { n: 1 });
      window.rooms = window.client.attach('rooms');
      await window.rooms.ready;
    }, client);
    site.cut();
    await fetch(`${server.url}/v1/pools/${pool}/collections/rooms/items/hall`, {
      method: 'PATCH',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ attributes: { n: 2 } }),
    });
    await page.waitForFunction('window.rooms.get("hall").attributes.n === 2', undefined, { timeout: 30_000 });
    expect(attached().slice(1)).toEqual(expect.arrayContaining([expect.stringContaining('since=')]));
    await page.evaluate('window.client.close()');
  });

  test('the cache outlives a reload, and only what was missed is fetched', async () => {
    await ask(page, { do: 'connect', client: 'c', url: site.url, pool });
    const hall = { on: 'c', op: 'set', collection: 'rooms', key: 'hall' };
    await ask(page, { do: 'write', ...hall, attributes: { text: 'Ærø 𝄞', n: 1 } });
    const cache = pool;
    await ask(page, { do: 'attach', client: 'c', mirror: 'm', collection: 'rooms', cache });
    await ask(page, { do: 'ready', mirror: 'm', timeoutMs: 10_000 });
    await ask(page, { do: 'close', client: 'c' });
    await loadClient(page, site.url);
    await ask(page, { do: 'connect', client: 'c', url: site.url, pool });
    await ask(page, { do: 'write', ...hall, key: 'den', attributes: { n: 2 } });
    site.forget();
    await ask(page, { do: 'attach', client: 'c', mirror: 'm', collection: 'rooms', cache });
    await ask(page, { do: 'ready', mirror: 'm', timeoutMs: 10_000 });
    expect(await ask(page, { do: 'state', mirror: 'm' })).toMatchObject({
      isLive: true,
      items: { hall: { text: 'Ærø 𝄞', n: 1 }, den: { n: 2 } },
    });
    expect(await ask(page, { do: 'heard', mirror: 'm' })).toMatchObject({ callback: [{ op: 'add', key: 'den' }] });
    expect(await ask(page, { do: 'open' })).toEqual({ tasks: 1, sockets: 1 });
    expect(attached()).toEqual([expect.stringContaining('since=')]);
  });

  test('a cache of thousands of items is written in slices, and read again whole', async () => {
    await ask(page, { do: 'connect', client: 'c', url: site.url, pool });
    for (let from = 0; from < 5_000; from += 1_000)
      await ask(page, {
        do: 'batch',
        on: 'c',
        ops: Array.from({ length: 1_000 }, (_, n) => ({
          op: 'put',
          collection: 'n',
          key: `k${from + n}`,
          attributes: { n: from + n },
        })),
      });
    for (const mirror of ['m', 'n']) {
      site.forget();
      await ask(page, { do: 'attach', client: 'c', mirror, collection: 'n', cache: pool });
      await ask(page, { do: 'ready', mirror, timeoutMs: 20_000 });
      await ask(page, { do: 'close', mirror });
    }
    expect(attached()).toEqual([expect.stringContaining('since=')]);
    const { items } = (await ask(page, { do: 'state', mirror: 'n' })) as { items: Record<string, unknown> };
    expect(Object.keys(items)).toHaveLength(5_000);
    expect(items.k4321).toEqual({ n: 4321 });
  });

  test('a cache that was damaged is fetched anew', async () => {
    await ask(page, { do: 'connect', client: 'c', url: site.url, pool });
    await ask(page, { do: 'write', on: 'c', op: 'set', collection: 'rooms', key: 'hall', attributes: { n: 1 } });
    await ask(page, { do: 'attach', client: 'c', mirror: 'm', collection: 'rooms', cache: pool });
    await ask(page, { do: 'ready', mirror: 'm', timeoutMs: 10_000 });
    await ask(page, { do: 'close', mirror: 'm' });
    await page.evaluate(
      (name) =>
        new Promise<void>((resolve, reject) => {
          const opening = indexedDB.open(`stargus-cache:${name}`);
          opening.onerror = () => reject(opening.error);
          opening.onsuccess = () => {
            const transaction = opening.result.transaction('item', 'readwrite');
            transaction.objectStore('item').put({ revision: 1, attributes: '{"n":-1}' }, 'hall');
            transaction.oncomplete = () => {
              opening.result.close();
              resolve();
            };
          };
        }),
      pool,
    );
    site.forget();
    await ask(page, { do: 'attach', client: 'c', mirror: 'n', collection: 'rooms', cache: pool });
    await ask(page, { do: 'ready', mirror: 'n', timeoutMs: 10_000 });
    expect(await ask(page, { do: 'state', mirror: 'n' })).toMatchObject({ items: { hall: { n: 1 } } });
    expect(attached()).toEqual([expect.not.stringContaining('since=')]);
  });

  test('a cache of a later format is made anew', async () => {
    await page.evaluate(
      (name) =>
        new Promise<void>((resolve, reject) => {
          const opening = indexedDB.open(`stargus-cache:${name}`, 7);
          opening.onerror = () => reject(opening.error);
          opening.onupgradeneeded = () => opening.result.createObjectStore('something');
          opening.onsuccess = () => {
            opening.result.close();
            resolve();
          };
        }),
      pool,
    );
    await ask(page, { do: 'connect', client: 'c', url: site.url, pool });
    await ask(page, { do: 'write', on: 'c', op: 'set', collection: 'rooms', key: 'hall', attributes: { n: 1 } });
    for (const mirror of ['m', 'n']) {
      site.forget();
      await ask(page, { do: 'attach', client: 'c', mirror, collection: 'rooms', cache: pool });
      await ask(page, { do: 'ready', mirror, timeoutMs: 10_000 });
      await ask(page, { do: 'close', mirror });
    }
    expect(attached()).toEqual([expect.stringContaining('since=')]);
  });

  test('one tab at a time has a cache, and the next one when it is closed', async () => {
    const other = await open();
    for (const tab of [page, other]) await ask(tab, { do: 'connect', client: 'c', url: site.url, pool });
    const attach = { do: 'attach', client: 'c', mirror: 'm', collection: 'rooms', cache: pool };
    await ask(page, attach);
    await ask(page, { do: 'ready', mirror: 'm', timeoutMs: 10_000 });
    await ask(other, attach);
    await expect(ask(other, { do: 'ready', mirror: 'm', timeoutMs: 10_000 })).rejects.toMatchObject({
      code: 'cacheInUse',
    });
    // A tab that is closed, or crashes, lets it go.
    await page.close();
    await expect
      .poll(async () => {
        await ask(other, attach);
        return ask(other, { do: 'ready', mirror: 'm', timeoutMs: 10_000 }).catch((error) => error.code);
      })
      .toMatchObject({ revision: expect.any(Number) });
  });

  test('a key logs in, with a pair that is made for the login, and a passphrase opens nothing that isn’t there', async () => {
    const operatorKey = 'operator-of-the-browser-tests';
    const required = await startServer({
      STARGUS_AUTH: 'required',
      STARGUS_OPERATOR_KEY: operatorKey,
      STARGUS_PUBLIC_URL: site.url,
    });
    try {
      site.target(required.url);
      const asOperator = { authorization: `Bearer ${operatorKey}`, 'content-type': 'application/json' };
      const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const jwk = pair.privateKey.export({ format: 'jwk' });
      const publicJwk = pair.publicKey.export({ format: 'jwk' });
      const kid = await calculateJwkThumbprint(publicJwk as Parameters<typeof calculateJwkThumbprint>[0]);
      const put = async (target: string, body: unknown) => {
        const answer = await fetch(required.url + target, {
          method: 'PUT',
          headers: asOperator,
          body: JSON.stringify(body),
        });
        expect(answer.status).toBeLessThan(300);
      };
      await put(`/v1/identities/ann/keys/${kid}`, { jwk: publicJwk });
      await put(`/v1/pools/${pool}/collections/_policies/items/all`, {
        attributes: {
          rules: [
            {
              effect: 'allow',
              who: { anyone: true },
              actions: ['read', 'watch', 'create', 'write'],
              collections: ['rooms'],
            },
          ],
        },
      });
      const account = `${site.url}/id/ann`;
      await ask(page, { do: 'connect', client: 'c', url: site.url, pool });
      await expect(
        ask(page, { do: 'authenticate', client: 'c', account, passphrase: 'no such envelope' }),
      ).rejects.toMatchObject({ code: 'loginFailed' });
      expect(await ask(page, { do: 'authenticate', client: 'c', keyFile: { account, jwk }, oneTimeKey: true })).toEqual(
        { subject: account },
      );
      await ask(page, { do: 'attach', client: 'c', mirror: 'm', collection: 'rooms' });
      await ask(page, { do: 'ready', mirror: 'm', timeoutMs: 10_000 });
      await ask(page, { do: 'write', on: 'c', op: 'set', collection: 'rooms', key: 'a b/c', attributes: { n: 1 } });
      await expect
        .poll(() => ask(page, { do: 'state', mirror: 'm' }))
        .toMatchObject({ items: { 'a b/c': { n: 1 } }, isLive: true });
      await ask(page, { do: 'close', client: 'c' });
      // By the cookie, which is over and renewed.
      const byCookie = await page.evaluate(
        async ({ url, pool, keyFile }) => {
          // biome-ignore lint/suspicious/noExplicitAny: the page's own globals
          const { connect } = (globalThis as any).stargus;
          const client = await connect(url, pool, { streams: 'eventsource' });
          const stranger = client.attach('rooms');
          const why = await stranger.ready.catch((error: { code: string }) => error.code);
          await client.authenticate({ keyFile });
          const rooms = client.attach('rooms');
          await rooms.ready;
          const known = rooms.size;
          await rooms.close();
          await fetch('/v1/auth/cookie', { method: 'DELETE' });
          const again = client.attach('rooms');
          await again.ready;
          const result = { why, known, again: again.size };
          await client.close();
          return result;
        },
        { url: site.url, pool, keyFile: { account, jwk } },
      );
      expect(byCookie).toEqual({ why: 'unauthenticated', known: 1, again: 1 });
    } finally {
      await page.close();
      await required.stop();
    }
  });

  test('a lock is held, waited for and lost', async () => {
    await ask(page, { do: 'connect', client: 'c', url: site.url, pool });
    await ask(page, { do: 'connect', client: 'd', url: site.url, pool });
    await ask(page, { do: 'lock', on: 'c', lock: 'l', collection: 'rooms', key: 'hall' });
    const waiting = ask(page, { do: 'lock', on: 'd', lock: 'm', collection: 'rooms', key: 'hall', waitMs: 10_000 });
    await expect.poll(() => ask(page, { do: 'count', on: 'c', collection: '_locks' })).toEqual({ count: 2 });
    await ask(page, { do: 'unlock', lock: 'l' });
    await waiting;
    const { locks } = (await (await fetch(`${server.url}/v1/pools/${pool}/locks`)).json()) as {
      locks: { lock: string }[];
    };
    await fetch(`${server.url}/v1/pools/${pool}/locks/${locks[0]?.lock}/break`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    });
    expect(await ask(page, { do: 'lost', lock: 'm', timeoutMs: 10_000 })).toEqual({ code: 'lockLost' });
    await ask(page, { do: 'close', client: 'c' });
    await ask(page, { do: 'close', client: 'd' });
    expect(await ask(page, { do: 'open' })).toEqual({ tasks: 0, sockets: 0 });
  });
});
