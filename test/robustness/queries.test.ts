/**
 * Random queries of random collections with random indexes, on every database: a query means what the reference says,
 * whatever indexes there are, whichever way the server finds the items, and however large the pages are. Then the same while
 * others write.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { searching } from '../support/budget.js';
import { databases, type Server, startServer } from '../support/server.js';
import { collection, type Drawn, LONG } from './asking.js';
import { type Attributes, Client, type Item, type Json, pause } from './client.js';
import { type Asked, answerOf, canonical, groupsOf, valueAt } from './reference.js';

/** How long one database is tried; the number of runs follows. */
const BUDGET_MS = searching(16_000);
/** Another seed tries other queries; fast-check prints the path to a failure beside it. */
const SEED = 20_260_731;

describe.each(databases)('random queries on $name', ({ name }) => {
  let server: Server;
  let client: Client;
  const P = '/v1/pools/queries';
  beforeAll(async () => {
    server = await startServer({ database: name });
    client = new Client(server.url);
  });
  afterAll(() => client?.close());

  test('are answered as the reference answers them', async () => {
    console.info(`random queries on ${name}: seed ${SEED}`);
    let collections = 0;
    let queries = 0;
    const used = { keys: 0, index: 0, union: 0 };
    await fc.assert(
      fc.asyncProperty(collection, async (drawn) => {
        const C = `${P}/collections/c${++collections}`;
        await define(C, drawn.before);
        await write(C, drawn.items);
        if (drawn.after) await define(C, drawn.after);
        await write(C, drawn.changes);
        const { items } = await client.items(C);
        const kept = new Map<string, Attributes | null>([...drawn.items, ...drawn.changes]);
        const present = [...kept].filter(([, attributes]) => attributes !== null);
        expect(Object.fromEntries(items.map(({ key, attributes }) => [key, attributes]))).toEqual(
          Object.fromEntries(present),
        );
        for (const query of drawn.queries) {
          queries++;
          const plan = await expectPages(C, items, query);
          used[plan as keyof typeof used]++;
          await expectAggregates(C, items, query);
        }
        await expectDeletion(C, items, drawn.queries[0] as Drawn);
      }),
      {
        seed: SEED,
        numRuns: 10_000,
        interruptAfterTimeLimit: BUDGET_MS,
        markInterruptAsFailure: false,
        includeErrorInReport: true,
      },
    );
    expect(queries).toBeGreaterThan(50);
    // Every way of finding items was gone.
    for (const times of Object.values(used)) expect(times).toBeGreaterThan(0);
  }, 240_000);

  async function define(C: string, declared: readonly (readonly string[])[]): Promise<void> {
    const key = C.slice(C.lastIndexOf('/') + 1);
    await client.ok(`PUT ${P}/collections/_dictionary/items/${key}`, { attributes: { indexes: declared } });
  }

  /** A few at a time, so that there are several revisions. */
  async function write(C: string, changes: readonly (readonly [string, Attributes | null])[]): Promise<void> {
    const collection = C.slice(C.lastIndexOf('/') + 1);
    const ops = changes.map(([key, attributes]) =>
      attributes ? { op: 'put', collection, key, attributes } : { op: 'delete', collection, key },
    );
    for (let i = 0; i < ops.length; i += 8) await client.ok(`POST ${P}/batch`, { ops: ops.slice(i, i + 8) });
  }

  async function expectPages(
    C: string,
    items: readonly Item[],
    { groupBy, numbers, ...query }: Drawn,
  ): Promise<string> {
    const wanted = answerOf(items, query as Asked);
    const found: Item[] = [];
    let plan: { access: string; examined: number } | undefined;
    for (let pageToken: string | undefined, first = true; first || pageToken !== undefined; first = false) {
      const { body } = await client.ok(`POST ${C}/query`, { ...query, pageToken, count: 'exact', explain: true });
      expect(body.count).toBe(wanted.length);
      expect(body.items.length).toBeLessThanOrEqual(query.limit);
      plan ??= body.plan;
      expect(body.plan.examined).toBeGreaterThanOrEqual(body.items.length);
      found.push(...body.items);
      if (found.length > wanted.length) break;
      pageToken = body.nextPageToken;
    }
    expect(found.map(({ key }) => key)).toEqual(wanted.map(({ key }) => key));
    expect(found).toEqual(wanted);
    return plan?.access ?? '';
  }

  async function expectAggregates(C: string, items: readonly Item[], drawn: Drawn): Promise<void> {
    const { where, prefix, start, end, groupBy, numbers } = drawn;
    const selection = { where, prefix, start, end };
    const groups = groupsOf(answerOf(items, selection as Asked), groupBy);
    const aggregates = {
      items: { count: '/@key' },
      present: { count: numbers },
      sum: { sum: numbers },
      min: { min: numbers },
      max: { max: numbers },
      avg: { avg: numbers },
    };
    const { body } = await client.ok(`POST ${C}/query`, { ...selection, aggregates, groupBy });
    if (groupBy.length === 0) return expectNumbers(body.aggregates, groups[0]?.items ?? [], numbers);
    const told = body.groups as { group: { [name: string]: Json }; aggregates: Numbers }[];
    expect(told.map(({ group }) => canonical(group))).toEqual(groups.map(({ group }) => canonical(group)));
    for (const [i, { items }] of groups.entries())
      expectNumbers((told[i] as { aggregates: Numbers }).aggregates, items, numbers);
  }

  /** Deletes what the query selects, the first few at once and then the rest. */
  async function expectDeletion(C: string, items: readonly Item[], { where, prefix, limit }: Drawn): Promise<void> {
    if (where === undefined && prefix === undefined) return;
    // The revision of an item that stays is the same after the first deletion.
    const wanted = answerOf(items, { where, prefix } as Asked).map(({ key }) => key);
    const first = await client.ok(`POST ${C}/delete`, { where, prefix, limit });
    expect(first.body.keys).toEqual(wanted.slice(0, limit));
    const rest = await client.ok(`POST ${C}/delete`, { where, prefix, expectCount: wanted.slice(limit).length });
    expect(rest.body).toMatchObject({ deleted: wanted.slice(limit).length, keys: wanted.slice(limit) });
    const left = items.filter(({ key }) => !wanted.includes(key));
    expect((await client.items(C)).items).toEqual(left);
  }
});

type Numbers = { [name: string]: number | null };

function expectNumbers(told: Numbers, items: readonly Item[], name: string): void {
  const values = items.map((item) => valueAt(name, item)).filter((value) => value !== undefined);
  const numbers = values.filter((value) => typeof value === 'number');
  const size = numbers.reduce((sum, number) => sum + Math.abs(number), 0);
  const none = numbers.length === 0;
  const sum = numbers.reduce((sum, number) => sum + number, 0);
  expect(told).toMatchObject({
    items: items.length,
    present: values.length,
    min: none ? null : Math.min(...numbers),
    max: none ? null : Math.max(...numbers),
  });
  const isNear = (a: number | null | undefined, b: number) => typeof a === 'number' && Math.abs(a - b) <= size * 1e-12;
  expect(isNear(told.sum, sum), `the sum ${told.sum} of ${numbers}`).toBe(true);
  if (none) expect(told.avg).toBe(null);
  else expect(isNear(told.avg, sum / numbers.length), `the mean ${told.avg} of ${numbers}`).toBe(true);
}

describe.each(databases)('pages while others write on $name', ({ name }) => {
  let server: Server;
  let client: Client;
  const P = '/v1/pools/paging';
  const C = `${P}/collections/things`;
  const LIMIT = 7;
  const numbered = (prefix: string, amount: number) => Array.from({ length: amount }, (_, i) => `${prefix}${100 + i}`);
  /** Nobody writes these. */
  const still = numbered('s', 90);
  /** These are written all the time, but not where any order looks. */
  const touched = numbered('t', 30);
  /** These move about in every order but that of keys. */
  const moving = numbered('u', 30);
  /** These come and go. */
  const fleeting = numbered('v', 60);
  /** Few values, some absent, some of them cut in an index: there are ties of every sort. */
  const placed = (i: number) => ({
    kind: i % 2 ? 'odd' : 'even',
    ...(i % 7 !== 3 && { n: i % 5 }),
    m: (i * 31) % 11,
    long: `${LONG}xxx${i % 4}${i % 3}`,
  });

  beforeAll(async () => {
    server = await startServer({ database: name });
    client = new Client(server.url);
    const indexes = ['n', ['kind', '-n'], '-long'];
    await client.ok(`PUT ${P}/collections/_dictionary/items/things`, { attributes: { indexes } });
    const ops = [...still, ...touched, ...moving].map((key, i) => ({
      op: 'put',
      collection: 'things',
      key,
      attributes: placed(i),
    }));
    await client.ok(`POST ${P}/batch`, { ops });
  });
  afterAll(() => client?.close());

  test.each<[says: string, query: object, access: string]>([
    ['by key', {}, 'keys'],
    ['by key, what matches no index', { where: { m: { gte: 0 } } }, 'keys'],
    ['by an index', { order: ['n'] }, 'index'],
    ['by an index backwards', { order: ['-n'] }, 'index'],
    ['by the rest of an index', { where: { kind: 'odd' }, order: ['-n'] }, 'index'],
    ['by the rest of an index backwards', { where: { kind: 'odd' }, order: ['n'] }, 'index'],
    ['by an index of values that are cut', { order: ['long'] }, 'index'],
    ['by an index of values that are cut, backwards', { order: ['-long'] }, 'index'],
    ['by what no index has', { order: ['m'] }, 'keys'],
    ['by what no index has, backwards', { order: ['-m', 'n'] }, 'keys'],
    ['of several indexes', { where: { or: [{ kind: 'odd' }, { n: { lte: 1 } }] }, order: ['m'] }, 'union'],
  ])('%s: no item twice, and none skipped that was there unchanged', async (_says, query, access) => {
    let writing = true;
    const writers = [write(0), write(1)];
    async function write(writer: number): Promise<void> {
      for (let i = writer; writing; i += 2) {
        const pick = (keys: readonly string[], at: number) => keys[at % keys.length] as string;
        const put = (key: string, attributes: object) => ({ op: 'put', collection: 'things', key, attributes });
        const place = still.length + (i % touched.length);
        await client.ok(`POST ${P}/batch`, {
          ops: [
            put(pick(touched, i), { ...placed(place), written: i }),
            put(pick(moving, i), { ...placed(i * 13), written: i }),
            put(pick(fleeting, i), placed(i % fleeting.length)),
            { op: 'delete', collection: 'things', key: pick(fleeting, i + 20) },
          ],
        });
      }
    }
    const seen: Item[] = [];
    let revision = 0;
    try {
      for (let pageToken: string | undefined, first = true; first || pageToken !== undefined; first = false) {
        const { body } = await client.ok(`POST ${C}/query`, { ...query, limit: LIMIT, pageToken, explain: true });
        expect(body.plan.access).toBe(access);
        expect(body.revision).toBeGreaterThanOrEqual(revision);
        revision = body.revision;
        seen.push(...body.items);
        pageToken = body.nextPageToken;
        // Some commits between two pages.
        await pause(5);
      }
    } finally {
      writing = false;
      await Promise.all(writers);
    }
    const keys = seen.map(({ key }) => key);
    // What moves in the order may be met at both places; by key nothing moves.
    const steady = 'order' in query ? keys.filter((key) => !moving.includes(key)) : keys;
    expect(new Set(steady).size).toBe(steady.length);
    const unchanged = [...still, ...touched].map((key, i) => ({ ...item(key), attributes: placed(i) as Attributes }));
    const wanted = answerOf(unchanged, query as Asked).map(({ key }) => key);
    expect(keys.filter((key) => still.includes(key) || touched.includes(key))).toEqual(wanted);
    expect(revision).toBeGreaterThan((seen[0] as Item).revision);
  });
});

function item(key: string): Item {
  return { collection: 'things', key, revision: 1, createdRevision: 1, attributes: {} };
}

describe.each(databases)('queries of thousands of items on $name', ({ name }) => {
  let server: Server;
  let client: Client;
  let items: Item[];
  const P = '/v1/pools/many';
  const C = `${P}/collections/things`;
  const AMOUNT = 5000;
  beforeAll(async () => {
    server = await startServer({ database: name });
    client = new Client(server.url);
    for (let i = 0; i < AMOUNT; i += 1000) {
      const ops = Array.from({ length: 1000 }, (_, k) => ({
        op: 'put',
        collection: 'things',
        key: `k${((i + k) * 7919) % AMOUNT}`,
        attributes: {
          n: (i + k) % 97,
          kind: (i + k) % 3 ? 'a' : 'b',
          rare: i + k < 5 ? 'yes' : 'no',
          text: 'x'.repeat(40),
        },
      }));
      await client.ok(`POST ${P}/batch`, { ops });
    }
    ({ items } = await client.items(C));
  }, 120_000);
  afterAll(() => client?.close());

  /** More candidates than are read at once and sorted: the server walks in order and judges on the way. */
  const queries: [says: string, asked: Asked][] = [
    ['all in order', { order: ['n'] }],
    ['all backwards', { order: ['-n'] }],
    ['an index that narrows, walked in the order of another', { where: { kind: 'a' }, order: ['n'] }],
    ['the same backwards', { where: { kind: 'a' }, order: ['-n'] }],
    [
      'an index that narrows in its own order, and more',
      { where: { n: { gte: 20 }, text: { prefix: 'x' } }, order: ['n'] },
    ],
    ['what few match, in the order of another index', { where: { rare: 'yes' }, order: ['-n'] }],
    ['much, sorted', { where: { kind: 'a' }, order: ['text', '-kind', 'n', '-/@revision'] }],
    ['a range of keys in another order', { prefix: 'k1', order: ['-n'] }],
    ['branches that share most items', { where: { or: [{ kind: 'a' }, { n: { lt: 50 } }] }, order: ['n'] }],
  ];

  test('are the same before an index is there, while it is built, and with it', async () => {
    const all = async () => {
      for (const [says, asked] of queries) {
        const wanted = answerOf(items, asked);
        const found: Item[] = [];
        for (let pageToken: string | undefined, pages = 0; pages === 0 || pageToken !== undefined; pages++) {
          // Small pages at the beginning, whose ends lie among ties.
          const limit = pages < 3 ? 11 : 1000;
          const { body } = await client.ok(`POST ${C}/query`, { ...asked, limit, pageToken, count: 'exact' });
          expect(body.count, says).toBe(wanted.length);
          found.push(...body.items);
          pageToken = body.nextPageToken;
        }
        expect(found, says).toEqual(wanted);
      }
    };
    await all();
    const indexes = ['n', 'kind', ['rare', 'n'], ['kind', '-n']];
    await client.ok(`PUT ${P}/collections/_dictionary/items/things`, { attributes: { indexes } });
    await all();
    await built();
    await all();
    const { body } = await client.ok(`POST ${C}/query`, { where: { rare: 'yes' }, explain: true });
    expect(body.plan).toMatchObject({ access: 'index', index: 'rare,n', examined: 5 });
  }, 120_000);

  /** Waits until a query that nothing else serves is answered from the last index. */
  async function built(): Promise<void> {
    const asked = { where: { kind: 'b' }, order: ['-n'], limit: 1, explain: true };
    for (let tries = 0; tries < 1000; tries++) {
      const { body } = await client.ok(`POST ${C}/query`, asked);
      if (body.plan.index === 'kind,-n') return;
      await pause(20);
    }
    throw new Error('The index was not built');
  }
});

describe.each(databases)('queries of what others just made on $name', ({ name }) => {
  let servers: Server[];
  let clients: Client[];
  beforeAll(async () => {
    const first = await startServer({ database: name });
    // On MariaDB the other node hears of new collections later.
    servers =
      name === 'mariadb' ? [first, await startServer({ database: name, databaseUrl: first.databaseUrl })] : [first];
    clients = servers.map(({ url }) => new Client(url));
  });
  afterAll(() => {
    for (const client of clients ?? []) client.close();
  });

  test('name no revision whose items they lack', async () => {
    const [writer, reader] = [clients[0] as Client, clients.at(-1) as Client];
    await writer.ok('PUT /v1/pools/made');
    for (let i = 0; i < 150; i++) {
      const C = `/v1/pools/made/collections/c${i}`;
      const written = writer.ok(`PUT ${C}/items/a`, { attributes: {} });
      const queries = await Promise.all(Array.from({ length: 8 }, () => reader.ok(`POST ${C}/query`, {})));
      const { revision } = (await written).body;
      for (const { body } of queries) {
        if (body.items.length === 0) expect(body.revision).toBeLessThan(revision);
        else expect(body.revision).toBeGreaterThanOrEqual(revision);
      }
    }
  });
});
