/** Watching with a filter: items are in the watch while they match, and come and go as they begin and cease to. */
import { beforeAll, describe, expect, it } from 'vitest';
import { type Answer, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';
import type { SseEvent, SseStream } from '../support/sse.js';

const named =
  (name: string) =>
  ({ event }: SseEvent) =>
    event === name;

interface Told {
  op: string;
  key: string;
  reason?: string;
}

const inWords = (revision: number, changes: Told[]): string =>
  `${revision}: ${changes.map(({ op, key, reason }) => `${op} ${key}${reason ? ` (${reason})` : ''}`).join(', ')}`;

/** The next `changes`, as `revision: op key (reason)`. */
async function nextChange(stream: SseStream): Promise<string> {
  const { data } = await stream.next(named('changes'));
  return inWords(data.revision, data.changes);
}

const toldIn = ({ body }: Answer): string[] =>
  body.commits.map(({ revision, changes }: { revision: number; changes: Told[] }) => inWords(revision, changes));

const where = (filter: unknown) => `where=${encodeURIComponent(JSON.stringify(filter))}`;
const OPEN = where({ status: 'open' });

/** Commits 3 to 11, after two that made `in` (open) and `out` (shut). */
async function story(scenario: Scenario): Promise<void> {
  await scenario.calls(
    ['PATCH C/items/in', { attributes: { x: 2 } }],
    ['PATCH C/items/out', { attributes: { x: 2 } }],
    ['PATCH C/items/out', { attributes: { status: 'open' } }],
    ['PUT C/items/new', { attributes: { status: 'open', y: 1 } }],
    ['PUT C/items/other', { attributes: { status: 'shut' } }],
    ['PUT C/items/in', { attributes: { x: 3 } }],
    [
      'POST P/batch',
      {
        ops: [
          { op: 'delete', collection: 'things', key: 'new' },
          { op: 'delete', collection: 'things', key: 'other' },
          { op: 'merge', collection: 'things', key: 'out', attributes: { y: 2 } },
          { op: 'put', collection: 'things', key: 'newer', attributes: { status: 'open' } },
        ],
      },
    ],
    ['PUT P/collections/others/items/o', { attributes: { status: 'open' } }],
    ['DELETE C/items/out'],
  );
}
const begun = { in: { status: 'open', x: 1 }, out: { status: 'shut', x: 1 } };
const STORY = [
  '3: change in',
  '5: add out (entered)',
  '6: add new',
  '8: delete in (left)',
  '9: delete new, change out, add newer',
  '11: delete out',
];

describe.each(databases)('watching with a filter on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });

  it('an attachment is told the items that match, and each as it comes, changes and goes', async () => {
    const scenario = new Scenario(server);
    await scenario.fill(begun);
    const stream = await scenario.watch(`C/attach?${OPEN}`);
    const { data } = await stream.waitFor(named('snapshot'));
    expect(data).toMatchObject({ revision: 2, part: 1 });
    expect(data.items).toEqual([
      { collection: 'things', key: 'in', revision: 1, createdRevision: 1, attributes: begun.in },
    ]);
    await stream.waitFor(named('live'));
    await story(scenario);
    for (const told of STORY) expect(await nextChange(stream)).toBe(told);
    expect(stream.events.filter(named('changes'))).toHaveLength(STORY.length);
    const changes = stream.events.filter(named('changes')).flatMap(({ data }) => data.changes);
    const ref = (key: string) => ({ collection: 'things', key });
    expect(changes).toEqual([
      { op: 'change', ...ref('in'), changed: ['x'], removed: [], attributes: { x: 2 } },
      {
        op: 'add',
        ...ref('out'),
        changed: expect.toSatisfy((names: string[]) => [...names].sort().join() === 'status,x'),
        removed: [],
        attributes: { status: 'open', x: 2 },
        reason: 'entered',
      },
      { op: 'add', ...ref('new'), changed: ['status', 'y'], removed: [], attributes: { status: 'open', y: 1 } },
      {
        op: 'delete',
        ...ref('in'),
        changed: expect.toSatisfy((names: string[]) => [...names].sort().join() === 'status,x'),
        removed: expect.toSatisfy((names: string[]) => [...names].sort().join() === 'status,x'),
        attributes: {},
        reason: 'left',
      },
      { op: 'delete', ...ref('new'), changed: ['status', 'y'], removed: ['status', 'y'], attributes: {} },
      { op: 'change', ...ref('out'), changed: ['y'], removed: [], attributes: { y: 2 } },
      { op: 'add', ...ref('newer'), changed: ['status'], removed: [], attributes: { status: 'open' } },
      {
        op: 'delete',
        ...ref('out'),
        changed: expect.arrayContaining(['status', 'x', 'y']),
        removed: expect.arrayContaining(['status', 'x', 'y']),
        attributes: {},
      },
    ]);
    stream.close();
  });

  it('streams and pages of changes say the same, live, later and page by page', async () => {
    const scenario = new Scenario(server);
    await scenario.fill(begun);
    const { epoch } = (await scenario.call('GET P')).body;
    const everywhere = [...STORY.slice(0, 5), '10: add o', STORY[5] as string];
    const live = await scenario.watch(`P/changes/stream?collection=things&${OPEN}`);
    const liveEverywhere = await scenario.watch(`P/changes/stream?${OPEN}`);
    for (const stream of [live, liveEverywhere]) await stream.waitFor(named('live'));
    await story(scenario);
    for (const told of STORY) expect(await nextChange(live)).toBe(told);
    for (const told of everywhere) expect(await nextChange(liveEverywhere)).toBe(told);
    const late = await scenario.watch(`P/changes/stream?since=${epoch}-2&${OPEN}`);
    for (const told of everywhere) expect(await nextChange(late)).toBe(told);
    for (const stream of [live, liveEverywhere, late]) stream.close();
    for (const [first, second] of [
      [live, await scenario.calls([`GET P/changes?collection=things&since=${epoch}-2&${OPEN}`])],
      [late, await scenario.calls([`GET P/changes?since=${epoch}-2&${OPEN}`])],
    ] as const) {
      const changes = (commits: { changes: object[] }[]) => commits.flatMap((commit) => commit.changes);
      expect(changes(second.body.commits)).toEqual(
        changes(first.events.filter(named('changes')).map(({ data }) => data)),
      );
    }
    const seen: string[] = [];
    for (let since = `${epoch}-2`, upToDate = false; !upToDate; ) {
      const answer = await scenario.calls([`GET P/changes?limit=2&since=${since}&${OPEN}`]);
      seen.push(...toldIn(answer));
      ({ cursor: since, upToDate } = answer.body);
    }
    expect(seen).toEqual(everywhere);
    expect(toldIn(await scenario.calls([`GET P/changes?${OPEN}`]))).toEqual(['1: add in', ...everywhere]);
  });

  it('values and fields choose what coming and going carry, and nothing of an item outside is in it', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { status: 'secret', x: 1, hidden: 1 } });
    await scenario.calls(
      ['PUT C/items/a', { attributes: { status: 'open', x: 2 } }],
      ['PATCH C/items/a', { attributes: { y: 1 } }],
      ['PUT C/items/a', { attributes: { status: 'secret', x: 3, hidden: 2 } }],
      ['DELETE C/items/a'],
    );
    const a = { collection: 'things', key: 'a' };
    const come = { op: 'add', ...a, removed: [], reason: 'entered' };
    const go = { op: 'delete', ...a, reason: 'left' };
    const rows: [query: string, told: object[]][] = [
      [
        'values=full',
        [
          { ...come, changed: ['status', 'x'], attributes: { status: 'open', x: 2 }, previous: {} },
          {
            op: 'change',
            ...a,
            changed: ['y'],
            removed: [],
            attributes: { status: 'open', x: 2, y: 1 },
            previous: {},
          },
          {
            ...go,
            changed: ['status', 'x', 'y'],
            removed: ['status', 'x', 'y'],
            attributes: {},
            previous: { status: 'open', x: 2, y: 1 },
          },
        ],
      ],
      [
        'values=none',
        [
          { ...come, changed: ['status', 'x'] },
          { op: 'change', ...a, changed: ['y'], removed: [] },
          { ...go, changed: ['status', 'x', 'y'], removed: ['status', 'x', 'y'] },
        ],
      ],
      [
        'fields=x',
        [
          { ...come, changed: ['x'], attributes: { x: 2 } },
          { ...go, changed: ['x'], removed: ['x'], attributes: {} },
        ],
      ],
      [
        'fields=z&values=full',
        [
          { ...come, changed: [], attributes: {}, previous: {} },
          { ...go, changed: [], removed: [], attributes: {}, previous: {} },
        ],
      ],
    ];
    const sorted = (change: { changed: string[]; removed: string[] }) => ({
      ...change,
      changed: [...change.changed].sort(),
      removed: [...change.removed].sort(),
    });
    for (const [query, wanted] of rows) {
      const { body, text } = await scenario.calls([`GET P/changes?${OPEN}&${query}`]);
      const changes = body.commits.flatMap((commit: { changes: [] }) => commit.changes).map(sorted);
      expect(changes, query).toEqual(wanted);
      expect(text).not.toMatch(/secret|hidden/);
    }
  });

  const filters: [filter: object, told: string[]][] = [
    [{}, ['1: add a', '2: add b', '3: change a', '4: change b', '5: delete a']],
    [{ '/@key': 'a' }, ['1: add a', '3: change a', '5: delete a']],
    [{ '/@revision': { lt: 3 } }, ['1: add a', '2: add b', '3: delete a (left)', '4: delete b (left)']],
    [{ '/@revision': { gte: 3 } }, ['3: add a (entered)', '4: add b (entered)', '5: delete a']],
    [{ n: { in: [1, 3] } }, ['1: add a', '2: add b', '3: delete a (left)', '4: change b']],
    [{ n: { in: ['1', true, {}] } }, []],
    [{ or: [{ n: 2 }, { n: 3 }] }, ['3: add a (entered)', '4: add b (entered)', '5: delete a']],
    [{ not: { n: 1 } }, ['3: add a (entered)', '4: add b (entered)', '5: delete a']],
    [{ '/o/p': 1 }, ['2: add b', '4: delete b (left)']],
    [{ or: [] }, []],
  ];
  it.each(filters)('where=%j', async (filter, wanted) => {
    const scenario = new Scenario(server);
    await scenario.calls(['PUT P']);
    const stream = await scenario.watch(`C/attach?${where(filter)}`);
    await stream.waitFor(named('live'));
    await scenario.fill({ a: { n: 1 }, b: { n: 1, o: { p: 1 } } });
    await scenario.fill({ a: { n: 2 }, b: { n: 3 } });
    await scenario.calls(['DELETE C/items/a']);
    for (const told of wanted) expect(await nextChange(stream)).toBe(told);
    stream.close();
    expect(toldIn(await scenario.calls([`GET P/changes?${where(filter)}`]))).toEqual(wanted);
    expect(stream.events.filter(named('changes'))).toHaveLength(wanted.length);
  });

  it('who comes back is told who came and went meanwhile, once, and no more', async () => {
    const scenario = new Scenario(server);
    await scenario.fill(begun);
    const stream = await scenario.watch(`C/attach?${OPEN}&bookmarkMs=1000`);
    const live = await stream.waitFor(named('live'));
    stream.close();
    await story(scenario);
    const resumed = await scenario.watch(`C/attach?${OPEN}`, { 'last-event-id': live.id as string });
    for (const told of STORY) expect(await nextChange(resumed)).toBe(told);
    await resumed.waitFor(named('live'));
    expect(resumed.events.filter(named('snapshot'))).toEqual([]);
    const ids = resumed.events.filter(named('changes')).map(({ id }) => id as string);
    resumed.close();
    // From each of the commits on: also between an item's coming and its going.
    for (const [i, id] of ids.entries()) {
      const again = await scenario.watch(`C/attach?${OPEN}`, { 'last-event-id': id });
      await again.waitFor(named('live'));
      const told = again.events.filter(named('changes')).map(({ data }) => inWords(data.revision, data.changes));
      expect(told).toEqual(STORY.slice(i + 1));
      again.close();
    }
  });

  it('bookmarks move the cursor where nothing matched, and it goes on from there', async () => {
    const scenario = new Scenario(server);
    await scenario.fill(begun);
    const stream = await scenario.watch(`C/attach?${OPEN}&bookmarkMs=1000`);
    await stream.waitFor(named('live'));
    await scenario.fill({ out: { status: 'shut', x: 5 }, more: {} });
    const bookmark = await stream.next(named('bookmark'));
    expect(bookmark).toMatchObject({ id: await scenario.cursor(), data: { revision: 4 } });
    expect(stream.events.filter(named('changes'))).toEqual([]);
    stream.close();
    const cursor = await scenario.cursor();
    await scenario.fill({ out: { status: 'shut', x: 6 } });
    const resumed = await scenario.watch(`C/attach?${OPEN}`, { 'last-event-id': cursor });
    // What was missed is told, and that was nothing: a bookmark says how far it goes.
    expect(await resumed.waitFor(named('live'))).toMatchObject({ data: { revision: 5 } });
    await scenario.fill({ out: { status: 'open' } });
    expect(await nextChange(resumed)).toBe('6: add out (entered)');
    resumed.close();
  });

  it('waitMs waits past what does not match, until something comes, changes or goes', async () => {
    const scenario = new Scenario(server);
    await scenario.fill(begun);
    const waits = async (line: string, body: unknown) => {
      const waiting = scenario.call(`GET P/changes?since=${await scenario.cursor()}&${OPEN}&waitMs=30000`);
      await scenario.fill({ out: { status: 'shut', x: Math.random() } });
      await scenario.calls([line, body]);
      const answer = await waiting;
      expect(answer.body).toMatchObject({ upToDate: true, cursor: await scenario.cursor() });
      return toldIn(answer);
    };
    expect(await waits('PATCH C/items/in', { attributes: { x: 9 } })).toEqual(['4: change in']);
    expect(await waits('PATCH C/items/out', { attributes: { status: 'open' } })).toEqual(['6: add out (entered)']);
    await scenario.fill({ out: { status: 'shut' } });
    expect(await waits('PATCH C/items/in', { attributes: { status: 'shut' } })).toEqual(['9: delete in (left)']);
    const empty = scenario.call(`GET P/changes?since=now&${OPEN}&waitMs=500`);
    await scenario.fill({ out: { status: 'shut', x: 0 } });
    expect((await empty).body).toMatchObject({ commits: [], upToDate: true, cursor: await scenario.cursor() });
  });

  it('a snapshot of many items has those that match, while others are written', async () => {
    const scenario = new Scenario(server);
    for (let batch = 0; batch < 4; batch++) {
      const ops = Array.from({ length: 1000 }, (_, i) => ({
        op: 'put',
        collection: 'things',
        key: `k${batch * 1000 + i + 1000}`,
        attributes: { n: i % 100, text: 'x'.repeat(200) },
      }));
      await scenario.calls(['POST P/batch', { ops }]);
    }
    let writing = true;
    const writer = (async () => {
      for (let i = 0; writing; i++) await scenario.fill({ [`k${1000 + ((i * 37) % 4000)}`]: { n: i % 2 ? 7 : 8 } });
    })();
    const streams: SseStream[] = [];
    for (let i = 0; i < 3; i++) {
      const stream = await scenario.watch(`C/attach?${where({ n: 7 })}`);
      await stream.waitFor(named('live'));
      streams.push(stream);
    }
    writing = false;
    await writer;
    const revision = (await scenario.revision()) as number;
    await scenario.fill({ mark: { n: 7 } });
    const truth: Record<string, unknown> = {};
    for (let next: string | undefined = 'C/items?limit=1000'; next; ) {
      const { body, headers } = await scenario.calls([`GET ${next}`]);
      for (const { key, attributes } of body.items) if (attributes.n === 7) truth[key] = attributes;
      next = /^<([^>]+)>/.exec(headers.link ?? '')?.[1];
    }
    for (const stream of streams) {
      await stream.waitFor(({ event, data }) => event === 'changes' && data.revision > revision);
      const state: Record<string, unknown> = {};
      for (const { event, data } of stream.events) {
        if (event === 'snapshot') for (const { key, attributes } of data.items) state[key] = attributes;
        if (event !== 'changes') continue;
        for (const { op, key, attributes, removed } of data.changes) {
          expect(op === 'add', `${op} ${key} at ${data.revision}`).toBe(!Object.hasOwn(state, key));
          if (op === 'delete') delete state[key];
          else {
            const next = { ...(state[key] as object), ...attributes };
            for (const gone of removed) delete next[gone];
            state[key] = next;
          }
        }
      }
      expect(state).toEqual(truth);
      stream.close();
    }
  });

  it('watchers with equal filters share a group, others don’t', async () => {
    const scenario = new Scenario(await startServer({ database: name }));
    await scenario.fill(begun);
    const groups = async () => {
      const sample = /^stargus_watch_groups (\d+)$/m.exec((await scenario.call('GET /metrics')).text);
      return Number(sample?.[1]);
    };
    const streams = await Promise.all([
      ...Array.from({ length: 5 }, () => scenario.watch(`C/attach?${OPEN}`)),
      ...[1, '1', 2].map((x) => scenario.watch(`C/attach?${where({ x })}`)),
    ]);
    for (const stream of streams) await stream.waitFor(named('live'));
    await expect.poll(groups).toBe(4);
    await scenario.fill({ out: { status: 'open', x: 2 } });
    const told = [...Array(5).fill('3: add out (entered)'), undefined, undefined, '3: add out (entered)'];
    for (const [i, stream] of streams.entries()) if (told[i]) expect(await nextChange(stream)).toBe(told[i]);
    for (const [i, stream] of streams.entries()) {
      const { id, data } = stream.events.filter(named('changes'))[0] ?? {};
      if (told[i])
        expect({ id, data }).toEqual({ id: expect.any(String), data: expect.objectContaining({ revision: 3 }) });
      else expect(id).toBeUndefined();
      stream.close();
    }
    await expect.poll(groups).toBe(0);
  });
});
