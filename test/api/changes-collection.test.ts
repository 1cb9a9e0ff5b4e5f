/** The log as the collection `_changes`: one item for each commit that is retained, read, queried and attached like any other. */
import { beforeAll, describe, expect, it } from 'vitest';
import { type Answer, expectProblem, rowsOf, Scenario, type Story } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';
import type { SseEvent, SseStream } from '../support/sse.js';

const L = 'P/collections/_changes';
const keyOf = (revision: number) => String(revision).padStart(16, '0');
const named =
  (name: string) =>
  ({ event }: SseEvent) =>
    event === name;

/** Seven commits, the first of them the system's own. */
async function filled(server: Server): Promise<Scenario> {
  const scenario = new Scenario(server);
  await scenario.calls(
    ['PUT C', { description: 'all that there are' }],
    ['PUT C/items/a', { attributes: { n: 1, gone: 1 } }],
    ['PUT C/items/b', { attributes: { n: 1 } }],
    ['PATCH C/items/a', { attributes: { n: 2, gone: null } }],
    [
      'POST P/batch',
      {
        ops: [
          { op: 'delete', collection: 'things', key: 'b' },
          { op: 'put', collection: 'things', key: 'c', attributes: { n: 3 } },
          { op: 'put', collection: 'others', key: 'o', attributes: {} },
        ],
      },
    ],
    ['PUT P/collections/_scripts/items/s', { attributes: { source: '1' } }],
    ['DELETE C/items/c'],
  );
  return scenario;
}

const revisionsOf = ({ body }: Answer): number[] => body.items.map(({ revision }: { revision: number }) => revision);

/** Every page, followed by token. */
async function pages(scenario: Scenario, line: string): Promise<number[]> {
  const revisions: number[] = [];
  for (let token: string | undefined = ''; token !== undefined; ) {
    const answer: Answer = await scenario.calls([`GET ${line}${token && `&pageToken=${encodeURIComponent(token)}`}`]);
    revisions.push(...revisionsOf(answer));
    token = answer.body.nextPageToken;
  }
  return revisions;
}

/** The items that a stream has told, by key: its snapshot and what was added since. */
function toldBy(stream: SseStream): Record<string, unknown> {
  const told: Record<string, unknown> = {};
  for (const { event, data } of stream.events) {
    for (const { key, op = 'add', attributes } of [...(data.items ?? []), ...(data.changes ?? [])]) {
      expect({ event, key, op, again: key in told }).toEqual({ event, key, op: 'add', again: false });
      told[key] = attributes;
    }
  }
  return told;
}

/** All items of `_changes` as a query answers them. */
async function allOf(scenario: Scenario): Promise<Record<string, { changes: unknown[] }>> {
  const { body } = await scenario.calls([`GET ${L}/items?limit=1000`]);
  return Object.fromEntries(body.items.map((item: { key: string; attributes: object }) => [item.key, item.attributes]));
}

describe.each(databases)('_changes on $name', ({ name }) => {
  let server: Server;
  let scenario: Scenario;
  beforeAll(async () => {
    server = await startServer({ database: name });
    scenario = await filled(server);
  });

  it('has an item for each commit, as the log tells it', async () => {
    const { body, headers } = await scenario.calls([`GET ${L}/items/${keyOf(4)}`]);
    expect(body).toEqual({
      collection: '_changes',
      key: keyOf(4),
      revision: 4,
      createdRevision: 4,
      attributes: {
        revision: 4,
        time: expect.stringMatching(/Z$/),
        subject: 'anonymous',
        changes: [
          {
            op: 'change',
            collection: 'things',
            key: 'a',
            changed: ['n', 'gone'],
            removed: ['gone'],
            attributes: { n: 2 },
            previous: { n: 1, gone: 1 },
          },
        ],
      },
    });
    expect(headers).toMatchObject({ etag: '"4"', 'stargus-revision': '7' });
    const items = await allOf(scenario);
    expect(Object.keys(items)).toEqual([1, 2, 3, 4, 5, 6, 7].map(keyOf));
    const { commits } = (await scenario.calls(['GET P/changes?values=full'])).body;
    for (const { revision, time, subject, changes } of commits) {
      const item = items[keyOf(revision)];
      // Where it is told at all, it is told with what it did to the collections of the system.
      const own = item?.changes.filter((change) => !(change as { collection: string }).collection.startsWith('_'));
      expect({ ...item, changes: own }).toEqual({ revision, time, subject, changes });
    }
    const told = (revision: number) =>
      items[keyOf(revision)]?.changes.map((change) => {
        const { op, collection, key } = change as Record<string, string>;
        return `${op} ${collection}/${key}`;
      });
    expect(told(1)).toEqual(['add _dictionary/things']);
    expect(told(5)).toEqual(['delete things/b', 'add things/c', 'add others/o', 'add _dictionary/others']);
    expect(told(6)).toEqual(['add _scripts/s']);
  });

  const queries: [query: string, revisions: number[]][] = [
    ['', [1, 2, 3, 4, 5, 6, 7]],
    ['order=/@key', [1, 2, 3, 4, 5, 6, 7]],
    ['order=-/@key', [7, 6, 5, 4, 3, 2, 1]],
    ['order=-revision', [7, 6, 5, 4, 3, 2, 1]],
    [`start=${keyOf(3)}`, [3, 4, 5, 6, 7]],
    [`end=${keyOf(3)}&order=-/@key`, [2, 1]],
    [`start=${keyOf(3)}&end=${keyOf(5)}`, [3, 4]],
    [`start=${keyOf(5)}&end=${keyOf(3)}`, []],
    [`start=${keyOf(3)}x&end=1`, [4, 5, 6, 7]],
    [`prefix=${keyOf(7).slice(0, -1)}`, [1, 2, 3, 4, 5, 6, 7]],
    [`prefix=${keyOf(7)}`, [7]],
    ['prefix=x', []],
    ['where={"subject":"anonymous","revision":{"gt":5}}', [6, 7]],
    ['where={"/changes/0/collection":"_scripts"}', [6]],
    [`where={"/@key":{"in":["${keyOf(2)}","${keyOf(9)}","no","${keyOf(5)}"]}}&order=-/@key`, [5, 2]],
    ['where={"/@revision":{"lte":2}}', [1, 2]],
  ];

  it.each(queries)('GET items?%s', async (query, revisions) => {
    const line = `${L}/items?${query.replace(/where=[^&]*/, (where) => `where=${encodeURIComponent(where.slice(6))}`)}`;
    const whole = await scenario.calls([`GET ${line}&count=exact`]);
    expect(revisionsOf(whole)).toEqual(revisions);
    expect(whole.body).toMatchObject({ count: revisions.length, revision: 7 });
    for (const limit of [1, 2, 3, 7]) expect(await pages(scenario, `${line}&limit=${limit}`)).toEqual(revisions);
  });

  it('answers aggregates, plans, fields, and the collection itself', async () => {
    expect(
      (
        await scenario.calls([
          `POST ${L}/query`,
          { aggregates: { n: { count: '/@key' }, last: { max: 'revision' } }, groupBy: ['/changes/0/op'] },
        ])
      ).body.groups,
    ).toEqual([
      { group: { '/changes/0/op': 'add' }, aggregates: { n: 4, last: 6 } },
      { group: { '/changes/0/op': 'change' }, aggregates: { n: 1, last: 4 } },
      { group: { '/changes/0/op': 'delete' }, aggregates: { n: 2, last: 7 } },
    ]);
    const { body } = await scenario.calls([
      `POST ${L}/query`,
      { fields: ['subject'], order: ['-/@key'], limit: 2, explain: true },
    ]);
    expect(body.items.map(({ attributes }: { attributes: object }) => attributes)).toEqual([
      { subject: 'anonymous' },
      { subject: 'anonymous' },
    ]);
    expect(body.plan).toMatchObject({ access: 'keys', indexes: [], sorted: false });
    expect((await scenario.calls([`GET ${L}`])).body).toMatchObject({ collection: '_changes', items: 7, revision: 7 });
    expect((await scenario.calls([`GET ${L}/items/${keyOf(2)}/attributes/subject`])).body.value).toBe('anonymous');
    expect((await scenario.call(`GET ${L}/items/${keyOf(2)}`, undefined, { 'if-none-match': '"2"' })).status).toBe(304);
    expect((await scenario.calls([`GET ${L}/items/${keyOf(2)}/history`])).body.changes).toEqual([]);
    // It is one of the system's: the application has no collection more.
    expect((await scenario.calls(['GET P'])).body).toMatchObject({ collections: 2, items: 2 });
    const { collections } = (await scenario.calls(['GET P/collections'])).body;
    expect(collections.map(({ collection }: { collection: string }) => collection)).toEqual(['others', 'things']);
  });

  it.each([keyOf(0), keyOf(8), '4', 'a', '9'.repeat(16)])('there is no item %s', async (key) => {
    expectProblem(await scenario.call(`GET ${L}/items/${key}`), 404, 'notFound');
  });

  it('an item that was looked for too early is there once it is committed', async () => {
    const fresh = new Scenario(server);
    await fresh.fill({ a: {} });
    expectProblem(await fresh.call(`GET ${L}/items/${keyOf(2)}`), 404, 'notFound');
    await fresh.fill({ b: {} });
    expect((await fresh.calls([`GET ${L}/items/${keyOf(2)}`])).body.attributes.changes).toHaveLength(1);
  });

  const stories: Story[] = [
    ['PUT of an item', [`PUT ${L}/items/${keyOf(1)}`, { attributes: {} }, 400, { code: 'invalidName' }]],
    ['PATCH of an item', [`PATCH ${L}/items/${keyOf(1)}`, { attributes: {} }, 400, { code: 'invalidName' }]],
    ['DELETE of an item', [`DELETE ${L}/items/${keyOf(1)}`, undefined, 400, { code: 'invalidName' }]],
    ['deletion by query', [`POST ${L}/delete`, { prefix: '' }, 400, { code: 'invalidName' }]],
    ['PUT of the collection', [`PUT ${L}`, {}, 400, { code: 'invalidName' }]],
    ['DELETE of the collection', [`DELETE ${L}`, undefined, 400, { code: 'invalidName' }]],
    [
      'a definition of it',
      ['PUT P/collections/_dictionary/items/_changes', { attributes: {} }, 400, { code: 'invalidName' }],
    ],
    [
      'a condition of a batch on it',
      [
        'POST P/batch',
        { if: [{ collection: '_changes', key: keyOf(1), exists: true }], ops: [] },
        400,
        { code: 'badRequest', errors: [{ pointer: '/if/0/collection' }] },
      ],
    ],
  ];

  it.each(rowsOf(stories))('%s is refused', async (_says, steps) => {
    const before = await scenario.revision();
    await scenario.play(steps);
    expect(await scenario.revision()).toBe(before);
  });

  it('is empty in a pool without commits, and not there without a pool', async () => {
    const fresh = new Scenario(server);
    expectProblem(await fresh.call(`GET ${L}/items`), 404, 'notFound');
    expectProblem(await fresh.call(`GET ${L}/items/${keyOf(1)}`), 404, 'notFound');
    await fresh.calls(['PUT P']);
    expect((await fresh.calls([`GET ${L}/items?count=exact`])).body).toMatchObject({ items: [], count: 0 });
    expect((await fresh.calls([`GET ${L}/items?order=-/@key`])).body.items).toEqual([]);
    expect((await fresh.calls([`GET ${L}`])).body).toMatchObject({ items: 0, revision: 0 });
    const stream = await fresh.watch(`${L}/attach`);
    expect((await stream.waitFor(named('snapshot'))).data.items).toEqual([]);
    await fresh.fill({ a: { n: 1 } });
    expect((await stream.next(named('changes'))).data).toMatchObject({ revision: 1, changes: [{ key: keyOf(1) }] });
    stream.close();
  });

  it('attached, tells all that there is, then each commit as one item more', async () => {
    const own = await filled(server);
    const stream = await own.watch(`${L}/attach`);
    const { data, id } = await stream.waitFor(named('live'));
    expect({ data, id }).toMatchObject({ data: { view: '_changes', revision: 7 }, id: expect.stringMatching(/-7$/) });
    await own.calls(['PUT C/items/a', { attributes: { n: 9 } }], ['PUT C', { description: 'else' }]);
    const added = await stream.next(named('changes'));
    expect(added).toMatchObject({ id: expect.stringMatching(/-8$/), data: { revision: 8, subject: 'anonymous' } });
    expect(added.data.changes).toEqual([
      {
        op: 'add',
        collection: '_changes',
        key: keyOf(8),
        changed: ['revision', 'time', 'subject', 'changes'],
        removed: [],
        attributes: (await allOf(own))[keyOf(8)],
      },
    ]);
    await stream.waitFor(({ data }) => data.revision === 9 && data.changes);
    expect(toldBy(stream)).toEqual(await allOf(own));
    stream.close();
    // Resumed with only what was missed, by an attachment and by the log.
    const resumed = await own.watch(`${L}/attach`, { 'last-event-id': id as string });
    await resumed.waitFor(named('live'));
    const { [keyOf(8)]: eight, [keyOf(9)]: nine } = await allOf(own);
    expect(toldBy(resumed)).toEqual({ [keyOf(8)]: eight, [keyOf(9)]: nine });
    resumed.close();
    const { commits } = (await own.calls([`GET P/changes?collection=_changes&since=${id}`])).body;
    expect(commits.map(({ changes }: { changes: { attributes: object }[] }) => changes[0]?.attributes)).toEqual([
      eight,
      nine,
    ]);
  });

  it.each<[query: string, snapshot: number[], told: number[]]>([
    [`key=${keyOf(8)}`, [], [8]],
    [`start=${keyOf(6)}&end=${keyOf(9)}`, [6, 7], [8]],
    [`prefix=${keyOf(7)}`, [7], []],
    [`where=${encodeURIComponent('{"/changes/0/op":"delete"}')}`, [5, 7], [10]],
    [`where=${encodeURIComponent('{"revision":{"in":[2,9]}}')}&fields=revision`, [2], [9]],
  ])('?%s sees its part', async (query, snapshot, told) => {
    const own = await filled(server);
    const { cursor } = (await own.calls(['GET P'])).body;
    const stream = await own.watch(`${L}/attach?${query}`);
    await stream.waitFor(named('live'));
    expect(Object.keys(toldBy(stream))).toEqual(snapshot.map(keyOf));
    await own.fill({ x: {}, y: {} });
    await own.calls(['DELETE C/items/x']);
    const end = await own.watch(`${L}/attach?key=${keyOf(11)}`);
    await own.fill({ end: {} });
    await end.next(named('changes'));
    const replay = await own.watch(`${L}/attach?${query}&since=${cursor}`);
    await replay.waitFor(named('live'));
    for (const each of [replay, stream]) {
      const expected = each === stream ? [...snapshot, ...told] : told;
      await expect.poll(() => Object.keys(toldBy(each))).toEqual(expected.map(keyOf));
    }
    for (const each of [stream, end, replay]) each.close();
  });

  it('in the midst of writers tells each commit once, also to a reader that is slow', { timeout: 60_000 }, async () => {
    const own = new Scenario(server);
    await own.fill({ a: { text: 'x' } });
    const [quick, slow] = [await own.watch(`${L}/attach`), await own.watch(`${L}/attach`)];
    await slow.waitFor(named('live'));
    slow.pause();
    const text = 'x'.repeat(20_000);
    for (let round = 0; round < 30; round++)
      await Promise.all(Array.from({ length: 10 }, (_, i) => own.fill({ [`k${i}`]: { round, text } })));
    const late = await own.watch(`${L}/attach`);
    slow.resume();
    const all = await allOf(own);
    const { items } = (await own.calls([`GET ${L}`])).body;
    for (const stream of [quick, late]) {
      await expect.poll(() => Object.keys(toldBy(stream)).length, { timeout: 20_000 }).toBe(items);
      stream.close();
    }
    expect(Object.keys(await allOfPages(own))).toHaveLength(items);
    for (const [key, item] of Object.entries(all)) expect(toldBy(quick)[key]).toEqual(item);
    // A slow one may be told to begin anew; what it has in the end is the same.
    await expect.poll(() => Object.keys(sinceReset(slow)).length, { timeout: 20_000 }).toBe(items);
    expect(sinceReset(slow)[keyOf(items)]).toEqual(toldBy(quick)[keyOf(items)]);
    slow.close();
  });

  it('a commit larger than an item is told without values, and of many changes the first', async () => {
    const own = new Scenario(server);
    const put = (key: string, text: string) => ({ op: 'put', collection: 'things', key, attributes: { text } });
    const text = 'x'.repeat(600_000);
    await own.calls(['POST P/batch', { ops: [put('a', text), put('b', text)] }]);
    const long = (i: number) => `${'k'.repeat(240)}${i}`;
    for (let n = 0; n < 5; n++)
      await own.calls(['POST P/batch', { ops: Array.from({ length: 1000 }, (_, i) => put(long(n * 1000 + i), '')) }]);
    await own.calls(['DELETE C']);
    const { attributes } = (await own.calls([`GET ${L}/items/${keyOf(1)}`])).body;
    expect(attributes).toMatchObject({
      truncated: true,
      changes: [
        { op: 'add', key: 'a', changed: ['text'] },
        { op: 'add', key: 'b', changed: ['text'] },
        { op: 'add', collection: '_dictionary' },
      ],
    });
    for (const change of attributes.changes) expect(change).not.toHaveProperty('attributes');
    const dropped = (await own.calls([`GET ${L}/items/${keyOf(7)}`])).body.attributes;
    expect(dropped).toMatchObject({ truncated: true, changesTotal: 5003 });
    expect(dropped.changes.length).toBeGreaterThan(1000);
    expect(dropped.changes.length).toBeLessThan(5003);
    const stream = await own.watch(`${L}/attach`);
    await stream.waitFor(named('live'));
    expect(toldBy(stream)[keyOf(1)]).toEqual(attributes);
    expect(toldBy(stream)[keyOf(7)]).toEqual(dropped);
    stream.close();
  });

  it('what is compacted is gone from it', async () => {
    const alone = await startServer({ database: name, env: { STARGUS_HISTORY_COMMITS: '3', STARGUS_SWEEP: '100ms' } });
    const own = new Scenario(alone);
    const stream = await own.watch(`${L}/attach`);
    for (let n = 1; n <= 9; n++) await own.fill({ a: { n } });
    await expect
      .poll(async () => (await own.call('GET P')).body.oldestRevision, { timeout: 10_000 })
      .toBeGreaterThan(5);
    const { oldestRevision, revision } = (await own.call('GET P')).body;
    const kept = Array.from({ length: revision - oldestRevision + 1 }, (_, i) => oldestRevision + i);
    const { body } = await own.calls([`GET ${L}/items?count=exact`]);
    expect(body.items.map(({ key }: { key: string }) => key)).toEqual(kept.map(keyOf));
    expect(body.count).toBe(kept.length);
    expect((await own.calls([`GET ${L}`])).body.items).toBe(kept.length);
    expectProblem(await own.call(`GET ${L}/items/${keyOf(1)}`), 404, 'notFound');
    const { epoch } = (await own.call('GET P')).body;
    const late = await own.watch(`${L}/attach?since=${epoch}-1`);
    await late.waitFor(named('live'));
    expect(late.events.map(({ event }) => event)).toEqual(['hello', 'reset', 'snapshot', 'live']);
    expect(Object.keys(toldBy(late))).toEqual(kept.map(keyOf));
    // It has been told them, and is not told that they went.
    expect(Object.keys(toldBy(stream))).toHaveLength(9);
    for (const each of [stream, late]) each.close();
    await alone.stop();
  });
});

/** The same in pages: a page of items ends at some mebibytes. */
async function allOfPages(scenario: Scenario): Promise<Record<string, true>> {
  return Object.fromEntries(
    (await pages(scenario, `${L}/items?limit=1000`)).map((revision) => [keyOf(revision), true]),
  );
}

/** What a stream was told since it was last told to forget. */
function sinceReset(stream: SseStream): Record<string, unknown> {
  const begin = stream.events.findLastIndex(named('reset')) + 1;
  return toldBy({ ...stream, events: stream.events.slice(begin) });
}
