/**
 * Items whose time is over: by an attribute, or so long after their last change. Their end is a commit like any other, with a
 * reason, and whoever writes an item in time keeps it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { rowsOf, Scenario, type Story } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const ENTRY = 'P/collections/_dictionary/items/things';
const env = { STARGUS_SWEEP: '100ms' };
/** An item that is due is gone after a sweep; two cores full of other tests may make it many. */
const GONE_MS = 10_000;
/** Nothing that should stay goes within some sweeps. */
const STAYS_MS = 700;

const iso = (ms: number) => new Date(Date.now() + ms).toISOString();

async function gone(scenario: Scenario, ...keys: string[]): Promise<void> {
  for (const key of keys) {
    await expect.poll(() => scenario.attributes(key), { timeout: GONE_MS, interval: 50, message: key }).toBeUndefined();
  }
}

async function keysOf(scenario: Scenario): Promise<string[]> {
  const { body } = await scenario.calls(['GET C/items?limit=1000']);
  return body.items.map(({ key }: { key: string }) => key);
}

const stories: readonly Story[] = [
  [
    'an expiry is a duration or an attribute',
    [`PUT ${ENTRY}`, { attributes: { expiry: 'end' } }, 201],
    [`PUT ${ENTRY}`, { attributes: { expiry: { attribute: 'end' } } }, 200],
    [`PUT ${ENTRY}`, { attributes: { expiry: { afterMs: 999 } } }, 422, { code: 'invalid' }],
    [`PUT ${ENTRY}`, { attributes: { expiry: { afterMs: 1000 } } }, 200],
    ['GET C', undefined, 200, { indexes: [] }],
  ],
];

describe.each(databases)('expiry on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name, env });
  });

  it.each(rowsOf(stories))('%s', (_, steps) => new Scenario(server).play(steps));

  describe('by an attribute', () => {
    const ends: [says: string, end: () => unknown][] = [
      ['milliseconds that are over', () => Date.now() - 1000],
      ['a fraction of a millisecond ago', () => Date.now() - 0.5],
      ['the year of the first clock', () => 0],
      ['before that', () => -1e15],
      ['RFC 3339 that is over', () => iso(-1000)],
      ['RFC 3339 with an offset', () => `${new Date(Date.now() + 3_599_000).toISOString().slice(0, 19)}+01:00`],
      ['RFC 3339 with a blank', () => iso(-1000).replace('T', ' ')],
    ];
    const stays: [says: string, end: () => unknown][] = [
      ['an hour from now', () => Date.now() + 3_600_000],
      ['RFC 3339 from now', () => iso(3_600_000)],
      ['RFC 3339 whose offset makes it later', () => `${new Date().toISOString().slice(0, 19)}-01:00`],
      ['absent', () => null],
      ['a text that is no time', () => 'tomorrow'],
      ['a date without a time', () => '2020-01-01'],
      ['a number as a text', () => '1000'],
      ['a boolean', () => true],
      ['a list of times', () => [0]],
      ['an object', () => ({ end: 0 })],
      ['a time without a zone', () => '2020-01-01T00:00:00'],
      ['a time with more behind it', () => '2020-01-01 00:00:00 (never)'],
      ['a day that isn’t one', () => '2020-02-30T00:00:00Z'],
      ['a month that isn’t one', () => '2020-13-01T00:00:00Z'],
      ['more than a number holds of time', () => 1e300],
    ];

    it('items end when it says, and not where it says nothing', async () => {
      const scenario = new Scenario(server);
      await scenario.calls([`PUT ${ENTRY}`, { attributes: { expiry: 'end' } }]);
      const all = [...ends, ...stays];
      const ops = all.map(([key, end]) => ({ op: 'put', collection: 'things', key, attributes: { end: end() } }));
      await scenario.calls(['POST P/batch', { ops }]);
      await gone(scenario, ...ends.map(([key]) => key));
      await sleep(STAYS_MS);
      expect((await keysOf(scenario)).sort()).toEqual(stays.map(([key]) => key).sort());
    });

    it('declared on items that are there ends those whose time was over', async () => {
      const scenario = new Scenario(server);
      await scenario.fill({ over: { end: 0 }, later: { end: iso(3_600_000) }, never: {} });
      await scenario.calls([`PUT ${ENTRY}`, { attributes: { expiry: 'end' } }]);
      await gone(scenario, 'over');
      expect(await keysOf(scenario)).toEqual(['later', 'never']);
      // Taken back, nothing ends any more.
      await scenario.calls([`PUT ${ENTRY}`, { attributes: {} }]);
      await scenario.fill({ later: { end: 0 } });
      await sleep(STAYS_MS);
      expect(await keysOf(scenario)).toEqual(['later', 'never']);
    });

    it('an item that is given more time lives on, one that is given less ends', async () => {
      const scenario = new Scenario(server);
      await scenario.calls([`PUT ${ENTRY}`, { attributes: { expiry: 'end' } }]);
      await scenario.fill({ a: { end: iso(1500) }, b: { end: iso(3_600_000) }, c: { end: iso(1500) } });
      await scenario.fill({ a: { end: iso(3_600_000) }, b: { end: iso(-1) }, c: { note: 'no end any more' } });
      await gone(scenario, 'b');
      await sleep(2000);
      expect(await keysOf(scenario)).toEqual(['a', 'c']);
    });
  });

  describe('after the last change', () => {
    it('items end, and a change prolongs', { timeout: 30_000 }, async () => {
      const scenario = new Scenario(server);
      await scenario.calls([`PUT ${ENTRY}`, { attributes: { expiry: { afterMs: 2000 } } }]);
      await scenario.fill({ short: { n: 0 }, long: { n: 0 } });
      const until = Date.now() + 5000;
      let [shortGone, changes] = [0, 0];
      while (Date.now() < until) {
        const { body } = await scenario.calls(['POST C/items/long/increment', { attribute: 'n', by: 1 }]);
        // An item that had ended would begin at one again.
        expect(body.value).toBe(++changes);
        if (shortGone === 0 && (await scenario.attributes('short')) === undefined) shortGone = Date.now();
        await sleep(150);
      }
      expect(shortGone).toBeGreaterThan(0);
      expect(await scenario.attributes('long')).toBeDefined();
      await gone(scenario, 'long');
      // One that comes again has its time anew.
      const born = Date.now();
      await scenario.fill({ short: {} });
      await gone(scenario, 'short');
      expect(Date.now() - born).toBeGreaterThan(1900);
    });

    it('declared on items that are there counts from their last change', { timeout: 30_000 }, async () => {
      const scenario = new Scenario(server);
      await scenario.fill({ old: {} });
      await sleep(3200);
      await scenario.fill({ young: {} });
      await scenario.calls([`PUT ${ENTRY}`, { attributes: { expiry: { afterMs: 3000 } } }]);
      const declared = Date.now();
      await gone(scenario, 'old');
      // Not three seconds after it was declared, as if the item had changed then.
      expect(Date.now() - declared).toBeLessThan(2500);
      expect(await scenario.attributes('young')).toEqual({});
      await gone(scenario, 'young');
      expect(Date.now() - declared).toBeGreaterThan(2500);
    });
  });

  it('is a commit with a reason, in the change log, for watchers and in the history', async () => {
    const scenario = new Scenario(server);
    await scenario.calls(
      [`PUT ${ENTRY}`, { attributes: { expiry: 'end' } }],
      ['PUT C/items/stays', { attributes: {} }],
    );
    const attach = await scenario.watch('C/attach?values=full');
    const feed = await scenario.watch('P/changes/stream?collection=things');
    const filtered = await scenario.watch(`C/attach?where=${encodeURIComponent('{"n":1}')}`);
    for (const stream of [attach, filtered]) await stream.next(({ event }) => event === 'live');
    await feed.next(({ event }) => event === 'hello');
    await scenario.calls(['PUT C/items/a', { attributes: { n: 1, end: iso(-1) } }]);
    const isEnd = ({ data }: { data: { changes?: { op: string }[] } }) => data?.changes?.[0]?.op === 'delete';
    for (const stream of [attach, feed, filtered]) {
      const { data } = await stream.next(isEnd, GONE_MS);
      expect(data).toMatchObject({ subject: 'system', changes: [{ op: 'delete', key: 'a', reason: 'expired' }] });
      expect(data.changes).toHaveLength(1);
      stream.close();
    }
    const { body } = await scenario.calls(['GET P/changes?collection=things&values=full']);
    expect(body.commits.at(-1)).toMatchObject({
      subject: 'system',
      changes: [{ op: 'delete', key: 'a', reason: 'expired', previous: { n: 1 }, removed: ['n', 'end'] }],
    });
    expect(body.commits[0].changes[0].reason).toBeUndefined();
    const history = await scenario.calls(['GET C/items/a/history']);
    expect(history.body.changes).toMatchObject([{ op: 'delete', reason: 'expired', subject: 'system' }, { op: 'add' }]);
    expect(history.body.changes[1].reason).toBeUndefined();
    expect((await scenario.calls(['GET C'])).body.items).toBe(1);
  });

  it('ends many items, a bounded number in each commit', async () => {
    const scenario = new Scenario(server);
    await scenario.calls([`PUT ${ENTRY}`, { attributes: { expiry: 'end' } }]);
    const ops = (from: number) =>
      Array.from({ length: 600 }, (_, i) => ({
        op: 'put',
        collection: 'things',
        key: `k${from + i}`,
        attributes: { end: i % 6 === 0 ? null : 0 },
      }));
    await scenario.calls(['POST P/batch', { ops: ops(0) }], ['POST P/batch', { ops: ops(600) }]);
    await expect
      .poll(async () => (await scenario.calls(['GET C'])).body.items, { timeout: GONE_MS, interval: 50 })
      .toBe(200);
    const { body } = await scenario.calls(['GET P/changes?collection=things&values=none']);
    const ended = body.commits.filter(({ subject }: { subject: string }) => subject === 'system');
    const sizes = ended.map(({ changes }: { changes: unknown[] }) => changes.length);
    expect(sizes.reduce((sum: number, size: number) => sum + size, 0)).toBe(1000);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(500);
  });

  it('sees items to their end that a stopped server left', { timeout: 60_000 }, async () => {
    const first = await startServer({ database: name, env });
    const before = new Scenario(first);
    await before.calls([`PUT ${ENTRY}`, { attributes: { expiry: { afterMs: 1500 } } }]);
    await before.calls(
      ['PUT P/collections/other', {}],
      ['PUT P/collections/_dictionary/items/other', { attributes: { expiry: 'end' } }],
    );
    await before.fill({ a: {} });
    await before.calls(['PUT P/collections/other/items/a', { attributes: { end: iso(1500) } }]);
    await before.calls(['PUT P/collections/other/items/b', { attributes: { end: iso(600_000) } }]);
    await first.kill();
    const second = await startServer({ database: name, databaseUrl: first.databaseUrl, env });
    const after = new Scenario(second, before.pool);
    await gone(after, 'a');
    await expect
      .poll(async () => (await after.calls(['GET P/collections/other/items'])).body.items.length, { timeout: GONE_MS })
      .toBe(1);
    await second.stop();
  });

  it('of large items comes in commits that they fit in, and lets no other pool wait', { timeout: 60_000 }, async () => {
    const [large, other] = [new Scenario(server), new Scenario(server)];
    await large.calls([`PUT ${ENTRY}`, { attributes: { expiry: 'end' } }]);
    const end = Date.now() + 3000;
    const filler = 'x'.repeat(75_000);
    for (let i = 0; i < 480; i += 40) {
      const ops = Array.from({ length: 40 }, (_, k) => ({
        op: 'put',
        collection: 'things',
        key: `k${i + k}`,
        attributes: { end, filler },
      }));
      await large.calls(['POST P/batch', { ops }]);
    }
    await other.calls([`PUT ${ENTRY}`, { attributes: { expiry: 'end' } }], ['PUT C/items/a', { attributes: { end } }]);
    await gone(other, 'a');
    await expect
      .poll(async () => (await large.calls(['GET C'])).body.items, { timeout: 3 * GONE_MS, interval: 100 })
      .toBe(0);
  });
});
