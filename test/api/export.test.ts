/** Exports: all items of a pool at one revision, whatever is written meanwhile, or a connection that is visibly cut. */
import { beforeAll, describe, expect, it } from 'vitest';
import { getLines, type Line, readLines, residentMiB, watchMemory } from '../support/ndjson.js';
import { expectProblem, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const placesOf = (lines: readonly Line[]): string[] => lines.map(({ collection, key }) => `${collection}/${key}`);
const LARGE_ITEMS = 700;
const LARGE_BYTES = 90_000;
/** 135 MB: a server that held it, as text or as values, would be seen. */
const HUGE_ITEMS = 1500;
const GROWTH_MIB_MAX = 110;

async function fillLarge(scenario: Scenario, items = LARGE_ITEMS): Promise<void> {
  for (let from = 0; from < items; from += 40) await putLarge(scenario, from, Math.min(from + 40, items), 0);
}

async function putLarge(scenario: Scenario, from: number, to: number, round: number): Promise<void> {
  const ops = Array.from({ length: to - from }, (_, i) => ({
    op: 'put',
    collection: 'large',
    key: `k${String(from + i).padStart(4, '0')}`,
    attributes: { round, text: 'x'.repeat(LARGE_BYTES) },
  }));
  await scenario.calls(['POST P/batch', { ops }]);
}

/** The state at a revision as the log tells it. */
async function stateAt(scenario: Scenario, revision: number): Promise<Record<string, unknown>> {
  const state: Record<string, unknown> = {};
  for (let since = 'start'; ; ) {
    const { body } = await scenario.calls([`GET P/changes?since=${since}&values=full&limit=1000`]);
    for (const commit of body.commits) {
      if (commit.revision > revision) return state;
      for (const { op, collection, key, attributes } of commit.changes) {
        if (op === 'delete') delete state[`${collection}/${key}`];
        else state[`${collection}/${key}`] = attributes;
      }
    }
    if (body.upToDate) return state;
    since = body.cursor;
  }
}

describe.each(databases)('export on $name', ({ name }) => {
  let server: Server;
  let scenario: Scenario;
  beforeAll(async () => {
    server = await startServer({ database: name });
    scenario = new Scenario(server);
    for (const key of ['b', 'a', 'a1', 'ä', '😀']) await scenario.fill({ [key]: { key, deep: { n: [1, null] } } });
    await scenario.calls(
      ['PUT P/collections/others/items/a', { attributes: {} }],
      ['PUT P/collections/Zoo/items/a', { attributes: { n: 1 } }],
      ['PUT P/collections/empty', { description: 'nothing in it' }],
      ['PUT P/collections/_scripts/items/s.js', { attributes: { source: 'x' } }],
      ['PUT P/collections/gone/items/a', { attributes: {} }],
      ['DELETE P/collections/gone'],
    );
  });

  it('has one item a line, as the item is read', async () => {
    const { status, headers, lines } = await getLines(scenario, 'P/export?collection=things&prefix=%C3%A4');
    expect(status).toBe(200);
    expect(lines).toEqual([(await scenario.calls(['GET C/items/%C3%A4'])).body]);
    expect(headers).toMatchObject({
      'content-type': 'application/x-ndjson',
      'content-disposition': `attachment; filename="${scenario.pool}-11.ndjson"`,
      'stargus-revision': '11',
      'stargus-cursor': await scenario.cursor(),
      'request-id': expect.any(String),
    });
  });

  const things = ['things/a', 'things/a1', 'things/b', 'things/ä', 'things/😀'];
  it.each<[query: string, places: string[]]>([
    ['', ['Zoo/a', 'others/a', ...things]],
    ['?system=false', ['Zoo/a', 'others/a', ...things]],
    [
      '?system=true',
      [
        '_dictionary/Zoo',
        '_dictionary/empty',
        '_dictionary/others',
        '_dictionary/things',
        '_scripts/s.js',
        'Zoo/a',
        'others/a',
        ...things,
      ],
    ],
    ['?collection=things', things],
    ['?collection=things&start=a1', things.slice(1)],
    ['?collection=things&start=a1&end=%C3%A4', things.slice(1, 3)],
    ['?prefix=a', ['Zoo/a', 'others/a', 'things/a', 'things/a1']],
    ['?collection=_scripts', ['_scripts/s.js']],
    ['?collection=_dictionary&end=a', ['_dictionary/Zoo']],
    ['?collection=empty', []],
    ['?collection=gone', []],
    ['?collection=never', []],
    ['?collection=_locks', []],
    ['?start=b&end=a', []],
  ])('%s', async (query, places) => {
    const { status, lines } = await getLines(scenario, `P/export${query}`);
    expect([status, placesOf(lines)]).toEqual([200, places]);
  });

  it.each<[says: string, line: string, status: number, code: string]>([
    ['a missing pool', 'GET /v1/pools/nowhere/export', 404, 'notFound'],
    ['a bad collection', 'GET P/export?collection=a%20b', 400, 'invalidName'],
    ['an unknown parameter', 'GET P/export?where=x', 400, 'badRequest'],
    ['a bad flag', 'GET P/export?system=yes', 400, 'badRequest'],
    ['another method', 'POST P/export', 405, 'methodNotAllowed'],
  ])('refuses %s', async (_, line, status, code) => {
    expectProblem(await scenario.call(line), status, code);
  });

  it('HEAD tells where an export would stand', async () => {
    const { status, headers, text } = await scenario.call('HEAD P/export');
    expect([status, text ?? '']).toEqual([200, '']);
    expect(headers).toMatchObject({ 'stargus-revision': '11', 'content-type': 'application/x-ndjson' });
    expect((await scenario.call('HEAD /v1/pools/nowhere/export')).status).toBe(404);
  });

  it('is the state at its revision, whatever is written while it is read', { timeout: 120_000 }, async () => {
    const busy = new Scenario(server);
    const collections = ['a', 'b', 'c'];
    // Much more than connections hold, so that most is read after the writes.
    for (const collection of collections) {
      for (let from = 0; from < 3000; from += 500) {
        const ops = Array.from({ length: 500 }, (_, i) => ({
          op: 'put',
          collection,
          key: `k${from + i}`,
          attributes: { n: 0, text: 'x'.repeat(5000) },
        }));
        await busy.calls(['POST P/batch', { ops }]);
      }
    }
    const response = await fetch(`${server.url}${busy.path('P/export')}`);
    const revision = Number(response.headers.get('stargus-revision'));
    for (let i = 0; i < 100; i++) {
      const key = `k${(i * 37) % 3000}`;
      const ops = collections.map((collection) =>
        i % 3 === 0
          ? { op: 'delete', collection, key }
          : { op: 'put', collection, key: i % 3 === 1 ? key : `new${i}`, attributes: { n: i } },
      );
      await busy.calls(['POST P/batch', { ops }]);
    }
    await busy.calls(['PUT P/collections/new/items/a', { attributes: {} }]);
    const { lines } = await readLines(response);
    const told = Object.fromEntries(
      lines.map(({ collection, key, attributes }) => [`${collection}/${key}`, attributes]),
    );
    expect(lines.length).toBe(9000);
    for (const line of lines) expect(line.revision).toBeLessThanOrEqual(revision);
    expect(told).toEqual(await stateAt(busy, revision));
    // Changes go on from its cursor.
    const { body } = await busy.calls([`GET P/changes?since=${response.headers.get('stargus-cursor')}&limit=1`]);
    expect(body.commits[0].revision).toBe(revision + 1);
  });

  it('holds little of a large pool in memory, also for a client that reads slowly', { timeout: 120_000 }, async () => {
    // A heap that collects its garbage soon, also on a busy machine: what is measured is what is held.
    const env = { STARGUS_CACHE_MB: '1', NODE_OPTIONS: '--max-old-space-size=192 --max-semi-space-size=4' };
    const alone = await startServer({ database: name, env });
    const large = new Scenario(alone);
    await fillLarge(large, HUGE_ITEMS);
    const before = residentMiB(alone.pid);
    const most = watchMemory(alone.pid);
    const slow = await fetch(`${alone.url}${large.path('P/export')}`);
    const quick = await getLines(large, 'P/export');
    expect(quick.lines.length).toBe(HUGE_ITEMS);
    const { lines } = await readLines(slow);
    expect(lines).toEqual(quick.lines);
    expect(most() - before).toBeLessThan(GROWTH_MIB_MAX);
    await alone.stop();
  });

  it('is cut, not ended, when its state can no longer be told', { timeout: 120_000 }, async () => {
    const large = new Scenario(server);
    await fillLarge(large);
    const response = await fetch(`${server.url}${large.path('P/export')}`);
    for (let from = 500; from < LARGE_ITEMS; from += 40)
      await putLarge(large, from, Math.min(from + 40, LARGE_ITEMS), 1);
    await expect(response.text()).rejects.toThrow();
    // The server goes on, and an export of now is whole.
    expect((await getLines(large, 'P/export?start=k0690')).lines.length).toBe(10);
    expect(server.output()).not.toMatch(/a request failed/);
  });

  it('is cut when the pool is deleted meanwhile', { timeout: 120_000 }, async () => {
    const large = new Scenario(server);
    await fillLarge(large);
    const response = await fetch(`${server.url}${large.path('P/export')}`);
    await large.calls(['DELETE P']);
    await expect(response.text()).rejects.toThrow();
  });
});
