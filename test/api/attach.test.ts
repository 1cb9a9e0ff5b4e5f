/** An attachment: the state first, then every change of it, without a gap and without a double, resumable from any event with an id. */
import { beforeAll, describe, expect, it } from 'vitest';
import { expectProblem, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';
import type { SseEvent, SseStream } from '../support/sse.js';

const named =
  (name: string) =>
  ({ event }: SseEvent) =>
    event === name;

/** What came up to and with `live`, as one snapshot: the items of all parts by key. */
async function snapshotOf(stream: SseStream): Promise<Record<string, unknown>> {
  const live = await stream.waitFor(named('live'));
  const items: Record<string, unknown> = {};
  for (const [i, { data, id }] of stream.events.filter(named('snapshot')).entries()) {
    expect(data).toMatchObject({ view: 'things', revision: live.data.revision, part: i + 1 });
    expect(id).toBeUndefined();
    for (const item of data.items) items[item.key] = item.attributes;
  }
  return items;
}

/** The next `changes`, as `revision: op key`. */
async function nextChange(stream: SseStream): Promise<string> {
  const { data } = await stream.next(named('changes'));
  return `${data.revision}: ${data.changes.map(({ op, key }: { op: string; key: string }) => `${op} ${key}`).join(', ')}`;
}

describe.each(databases)('attachments on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });

  it('says hello, tells the state, goes live, and tells each commit once', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ b: { x: 1 }, a: { y: [1] } });
    const { epoch } = (await scenario.call('GET P')).body;
    const stream = await scenario.watch('C/attach');
    expect(stream.status).toBe(200);
    expect(stream.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
      'request-id': expect.stringMatching(/./),
      'stargus-revision': '2',
      'stargus-cursor': `${epoch}-2`,
    });
    expect(await stream.next()).toMatchObject({
      event: 'hello',
      id: undefined,
      data: { pool: scenario.pool, epoch, heartbeatMs: 15_000, expiresInMs: expect.any(Number) },
    });
    expect(await stream.next()).toMatchObject({
      event: 'snapshot',
      id: undefined,
      data: {
        view: 'things',
        revision: 2,
        part: 1,
        items: [
          { collection: 'things', key: 'a', revision: 2, createdRevision: 2, attributes: { y: [1] } },
          { collection: 'things', key: 'b', revision: 1, createdRevision: 1, attributes: { x: 1 } },
        ],
      },
    });
    expect(await stream.next()).toMatchObject({
      event: 'live',
      id: `${epoch}-2`,
      data: { view: 'things', revision: 2 },
    });
    await scenario.calls(['PATCH C/items/a', { attributes: { y: null, z: 1 } }]);
    await scenario.calls([
      'POST P/batch',
      {
        ops: [
          { op: 'delete', collection: 'things', key: 'b' },
          { op: 'put', collection: 'things', key: 'c', attributes: { w: 1 } },
          { op: 'put', collection: 'others', key: 'o', attributes: {} },
        ],
      },
    ]);
    expect(await stream.next()).toMatchObject({
      event: 'changes',
      id: `${epoch}-3`,
      data: {
        revision: 3,
        subject: expect.any(String),
        time: expect.stringMatching(/Z$/),
        changes: [
          { op: 'change', collection: 'things', key: 'a', changed: ['z', 'y'], removed: ['y'], attributes: { z: 1 } },
        ],
      },
    });
    const second = await stream.next();
    expect(second).toMatchObject({ event: 'changes', id: `${epoch}-4` });
    expect(second.data.changes).toEqual([
      { op: 'delete', collection: 'things', key: 'b', changed: ['x'], removed: ['x'], attributes: {} },
      { op: 'add', collection: 'things', key: 'c', changed: ['w'], removed: [], attributes: { w: 1 } },
    ]);
    // Every line of data is one JSON object.
    for (const { raw } of stream.events) expect(raw).toMatch(/^\{[^\n]*\}$/);
    stream.close();
  });

  const views: [query: string, snapshot: string[], told: string[]][] = [
    ['', ['a1', 'a2', 'b1'], ['5: change a1', '7: change b1', '8: delete a2', '9: add a3', '10: delete b1, change a3']],
    ['prefix=a', ['a1', 'a2'], ['5: change a1', '8: delete a2', '9: add a3', '10: change a3']],
    ['key=a2', ['a2'], ['8: delete a2']],
    ['key=nowhere', [], []],
    ['start=a2&end=b1', ['a2'], ['8: delete a2', '9: add a3', '10: change a3']],
    ['start=a2', ['a2', 'b1'], ['7: change b1', '8: delete a2', '9: add a3', '10: delete b1, change a3']],
    ['fields=y', ['a1', 'a2', 'b1'], ['7: change b1', '8: delete a2', '9: add a3', '10: delete b1']],
    ['prefix=b&fields=x', ['b1'], ['10: delete b1']],
  ];

  it.each(views)('?%s sees its part', async (query, snapshot, told) => {
    const scenario = new Scenario(server);
    await scenario.fill({ a1: { x: 1 }, a2: { x: 1, y: 1 }, b1: { x: 1 } });
    await scenario.calls(['PUT P/collections/others/items/a1', { attributes: { x: 1, y: 1 } }]);
    const stream = await scenario.watch(`C/attach?${query}`);
    expect(Object.keys(await snapshotOf(stream))).toEqual(snapshot);
    await scenario.calls(
      ['PATCH C/items/a1', { attributes: { x: 2 } }],
      ['PATCH P/collections/others/items/a1', { attributes: { y: 2 } }],
      ['PATCH C/items/b1', { attributes: { y: 2 } }],
      ['DELETE C/items/a2'],
      ['PUT C/items/a3', { attributes: {} }],
      [
        'POST P/batch',
        {
          ops: [
            { op: 'delete', collection: 'things', key: 'b1' },
            { op: 'merge', collection: 'things', key: 'a3', attributes: { x: 3 } },
          ],
        },
      ],
      ['PUT C/items/a1', { attributes: { x: 2 } }],
    );
    for (const change of told) expect(await nextChange(stream)).toBe(change);
    // Everything that was to come has come: what follows next is the mark of a commit of its own.
    expect(stream.events.filter(named('changes'))).toHaveLength(told.length);
    stream.close();
  });

  it('values and fields choose what a snapshot and a change carry', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { x: 1, y: 1 } });
    const item = { collection: 'things', key: 'a', revision: 1, createdRevision: 1 };
    const change = { op: 'change', collection: 'things', key: 'a', changed: ['x'], removed: [] };
    const rows: [query: string, item: object, change: object][] = [
      ['values=none', item, change],
      ['values=changed', { ...item, attributes: { x: 1, y: 1 } }, { ...change, attributes: { x: 2 } }],
      [
        'values=full',
        { ...item, attributes: { x: 1, y: 1 } },
        { ...change, attributes: { x: 2, y: 1 }, previous: { x: 1 } },
      ],
      [
        'fields=x&values=full',
        { ...item, attributes: { x: 1 } },
        { ...change, attributes: { x: 2 }, previous: { x: 1 } },
      ],
      ['fields=x,z&values=none', item, change],
    ];
    const streams = await Promise.all(rows.map(([query]) => scenario.watch(`C/attach?${query}`)));
    for (const stream of streams) await stream.waitFor(named('live'));
    await scenario.calls(['PATCH C/items/a', { attributes: { x: 2 } }]);
    for (const [i, stream] of streams.entries()) {
      const [query, wanted, told] = rows[i] as (typeof rows)[number];
      expect((await stream.waitFor(named('snapshot'))).data.items, query).toEqual([wanted]);
      expect((await stream.waitFor(named('changes'))).data.changes, query).toEqual([told]);
      stream.close();
    }
  });

  it('a write that changes nothing is not heard', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { x: 1 } });
    const stream = await scenario.watch('C/attach');
    await stream.waitFor(named('live'));
    await scenario.calls(
      ['PUT C/items/a', { attributes: { x: 1 } }],
      ['DELETE C/items/b'],
      ['PATCH C/items/a', { attributes: {} }],
      ['POST C/items/a/increment', { attribute: 'x', by: 0 }],
      ['POST P/batch', { dryRun: true, ops: [{ op: 'delete', collection: 'things', key: 'a' }] }],
      [
        'POST P/batch',
        {
          ops: [
            { op: 'put', collection: 'things', key: 'a', attributes: {} },
            { op: 'put', collection: 'things', key: 'a', attributes: { x: 1 } },
          ],
        },
      ],
    );
    await scenario.refused(409, 'conflict', 'POST C/items', { key: 'a', attributes: {} });
    await scenario.fill({ mark: {} });
    expect(await nextChange(stream)).toBe('2: add mark');
    expect(stream.events.filter(named('changes'))).toHaveLength(1);
    stream.close();
  });

  it('who attaches before there is a pool is told its first write', async () => {
    const scenario = new Scenario(server);
    const stream = await scenario.watch('C/attach');
    expect(await snapshotOf(stream)).toEqual({});
    await scenario.fill({ a: { x: 1 } });
    expect(await nextChange(stream)).toBe('1: add a');
    stream.close();
  });

  it('a missing collection attaches as empty and is told when it comes, goes and comes again', async () => {
    const scenario = new Scenario(server);
    await scenario.calls(['PUT P']);
    const stream = await scenario.watch('C/attach');
    expect(await snapshotOf(stream)).toEqual({});
    await scenario.calls(['PUT C/items/a', { attributes: {} }], ['DELETE C'], ['PUT C/items/b', { attributes: {} }]);
    for (const told of ['1: add a', '2: delete a', '3: add b']) expect(await nextChange(stream)).toBe(told);
    stream.close();
  });

  it('a large snapshot comes in parts of at most 256 KiB, each item once', async () => {
    const scenario = new Scenario(server);
    const ops = Array.from({ length: 1000 }, (_, i) => ({
      op: 'put',
      collection: 'things',
      key: `k${1000 + i}`,
      attributes: { text: '€'.repeat(400) },
    }));
    await scenario.calls(['POST P/batch', { ops }]);
    const stream = await scenario.watch('C/attach');
    const items = await snapshotOf(stream);
    expect(Object.keys(items)).toEqual(ops.map(({ key }) => key));
    const parts = stream.events.filter(named('snapshot'));
    expect(parts.length).toBeGreaterThan(3);
    for (const { raw } of parts) expect(Buffer.byteLength(raw)).toBeLessThanOrEqual(256 * 1024);
    expect(parts.flatMap(({ data }) => data.items)).toHaveLength(1000);
    stream.close();
  });

  it('a large commit is split, and only its last part has the id and no `more`', async () => {
    const scenario = new Scenario(server);
    await scenario.calls(['PUT P']);
    const stream = await scenario.watch('C/attach');
    await stream.waitFor(named('live'));
    const ops = Array.from({ length: 500 }, (_, i) => ({
      op: 'put',
      collection: 'things',
      key: `k${1000 + i}`,
      attributes: { text: 'x'.repeat(2000) },
    }));
    await scenario.calls(['POST P/batch', { ops }]);
    await stream.waitFor(({ event, id }) => event === 'changes' && id !== undefined);
    const parts = stream.events.filter(named('changes'));
    expect(parts.length).toBeGreaterThan(3);
    for (const { data, id } of parts.slice(0, -1))
      expect({ more: data.more, revision: data.revision, id }).toEqual({ more: true, revision: 1, id: undefined });
    expect(parts.at(-1)).toMatchObject({ id: await scenario.cursor(), data: { revision: 1 } });
    expect(parts.at(-1)?.data).not.toHaveProperty('more');
    expect(parts.flatMap(({ data }) => data.changes.map(({ key }: { key: string }) => key))).toEqual(
      ops.map(({ key }) => key),
    );
    stream.close();
  });

  it('bookmarks move the cursor where nothing was to tell', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: {} });
    const stream = await scenario.watch('C/attach?prefix=b&bookmarkMs=1000');
    await stream.waitFor(named('live'));
    await scenario.fill({ c: {} });
    const bookmark = await stream.next(named('bookmark'));
    expect(bookmark).toMatchObject({ id: await scenario.cursor(), data: { revision: 2 } });
    stream.close();
    const resumed = await scenario.watch('C/attach?prefix=b', { 'last-event-id': bookmark.id as string });
    await scenario.fill({ b: {} });
    expect(await nextChange(resumed)).toBe('3: add b');
    expect(resumed.events.filter(named('snapshot'))).toEqual([]);
    resumed.close();
  });

  it.each(['header', 'since'])('a resumed attachment gets only what it missed (by %s)', async (by) => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { x: 1 }, b: { x: 1 } });
    const cursor = await scenario.cursor();
    await scenario.fill({ a: { x: 2 } });
    await scenario.calls(['DELETE C/items/b']);
    const stream =
      by === 'header'
        ? await scenario.watch('C/attach', { 'last-event-id': cursor })
        : await scenario.watch(`C/attach?since=${cursor}`);
    await stream.waitFor(named('live'));
    expect(await nextChange(stream)).toBe('3: change a');
    expect(await nextChange(stream)).toBe('4: delete b');
    await scenario.fill({ c: {} });
    expect(await nextChange(stream)).toBe('5: add c');
    expect(stream.events.map(({ event }) => event)).toEqual(['hello', 'changes', 'changes', 'live', 'changes']);
    stream.close();
  });

  it('Last-Event-ID beats since', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: {}, b: {}, c: {} });
    const { epoch } = (await scenario.call('GET P')).body;
    const stream = await scenario.watch(`C/attach?since=${epoch}-0`, { 'last-event-id': `${epoch}-2` });
    expect(await nextChange(stream)).toBe('3: add c');
    stream.close();
  });

  it.each<[says: string, cursor: (epoch: string) => string]>([
    ['another epoch', () => 'ffffffffffff-1'],
    ['the future', (epoch) => `${epoch}-99`],
  ])('a cursor of %s is answered with reset and a snapshot', async (_says, cursor) => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { x: 1 } });
    const { epoch } = (await scenario.call('GET P')).body;
    for (const stream of [
      await scenario.watch('C/attach', { 'last-event-id': cursor(epoch) }),
      await scenario.watch(`C/attach?since=${cursor(epoch)}`),
    ]) {
      expect(await snapshotOf(stream)).toEqual({ a: { x: 1 } });
      expect(stream.events.map(({ event }) => event)).toEqual(['hello', 'reset', 'snapshot', 'live']);
      expect(stream.events[1]).toMatchObject({ id: '', data: { view: 'things', reason: 'epoch' } });
      stream.close();
    }
  });

  it('a cursor that is none is refused before anything is sent', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: {} });
    for (const cursor of ['x', 'a-b', '-', 'é']) {
      const answer = await scenario.call(`GET C/attach?since=${encodeURIComponent(cursor)}`);
      expectProblem(answer, 400, 'invalidCursor');
    }
    const stream = await scenario.watch('C/attach', { 'last-event-id': 'nonsense' });
    expect({ status: stream.status, body: JSON.parse(await stream.text()).code }).toEqual({
      status: 400,
      body: 'invalidCursor',
    });
  });

  it('in the midst of writers: the snapshot and what follows make the state, at every revision', async () => {
    const scenario = new Scenario(server);
    await scenario.calls([
      'POST P/batch',
      {
        ops: Array.from({ length: 300 }, (_, i) => ({
          op: 'put',
          collection: 'things',
          key: `k${i}`,
          attributes: { n: 0, text: 'x'.repeat(2000) },
        })),
      },
    ]);
    let writing = true;
    const writers = Array.from({ length: 4 }, async (_, w) => {
      for (let i = 0; writing; i++) {
        await scenario.calls([`PATCH C/items/k${(i * 37 + w * 11) % 300}`, { attributes: { n: `${w}-${i}` } }]);
        if (i % 5 === 4) await scenario.calls([`DELETE C/items/k${(i * 53 + w) % 300}`]);
      }
    });
    const streams = await Promise.all(Array.from({ length: 5 }, () => scenario.watch('C/attach')));
    for (const stream of streams) await stream.waitFor(named('live'), 20_000);
    writing = false;
    await Promise.all(writers);
    const { revision } = (await scenario.calls(['PUT C/items/mark', { attributes: {} }])).body;
    const { items } = (await scenario.calls(['GET C/items?limit=1000'])).body;
    const truth = Object.fromEntries(
      items.map((item: { key: string; attributes: object }) => [item.key, item.attributes]),
    );
    for (const stream of streams) {
      await stream.waitFor(({ event, data }) => event === 'changes' && data.revision === revision, 20_000);
      const state = (await snapshotOf(stream)) as Record<string, Record<string, unknown>>;
      let last = (await stream.waitFor(named('live'))).data.revision as number;
      for (const { data } of stream.events.filter(named('changes'))) {
        expect(data.revision).toBe(++last);
        for (const { op, key, attributes, removed } of data.changes) {
          if (op === 'delete') {
            expect(Object.keys(state)).toContain(key);
            delete state[key];
            continue;
          }
          expect(op).toBe(key in state ? 'change' : 'add');
          state[key] = { ...state[key], ...attributes };
          for (const gone of removed) delete (state[key] as Record<string, unknown>)[gone];
        }
      }
      expect(state).toEqual(truth);
      stream.close();
    }
  });

  it('with `locks` tells those that lie on what is attached, and no others', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a1: { n: 1 }, b1: {} });
    const { session } = (await scenario.calls(['POST P/sessions'])).body;
    const own = { 'stargus-session': `${session};epoch=1` };
    const ask = async (scopes: object[], mode = 'shared') =>
      (await scenario.calls(['POST P/locks', { session, mode, scopes }])).body.lock as string;
    const whole = await ask([{}]);
    await ask([{ collection: 'things', prefix: 'b' }, { collection: 'halls' }]);
    const near = await ask([{ collection: 'things', start: 'a', end: 'a2' }]);
    const stream = await scenario.watch('C/attach?prefix=a&locks=true&fields=n');
    const without = await scenario.watch('C/attach?prefix=a');
    await stream.waitFor(named('live'));
    const items = stream.events.filter(named('snapshot')).flatMap(({ data }) => data.items);
    expect(items.map(({ collection, key }) => [collection, key]).sort()).toEqual(
      [['things', 'a1'], ...[whole, near].map((lock) => ['_locks', lock])].sort(),
    );
    expect(items.find(({ key }) => key === near)?.attributes).toMatchObject({
      session,
      mode: 'shared',
      state: 'granted',
    });
    const far = await ask([{ collection: 'things', key: 'c' }]);
    // It comes to lie there, goes elsewhere, and ends where nobody looks.
    await scenario.calls(
      [`PATCH P/locks/${far}`, { scopes: [{ collection: 'things', key: 'a9' }] }, own],
      [`PATCH P/locks/${far}`, { scopes: [{ collection: 'things', key: 'c' }] }, own],
      [`DELETE P/locks/${far}`, undefined, own],
      [`DELETE P/locks/${near}`, undefined, own],
      ['PUT C/items/a1', { attributes: { n: 2 } }, own],
    );
    const last = await stream.waitFor(
      ({ event, data }) => event === 'changes' && data.changes[0].collection === 'things',
    );
    const told = stream.events.filter(named('changes')).flatMap(({ data }) => data.changes);
    expect(told.map(({ op, key, reason }) => [op, key, reason])).toEqual([
      ['add', far, 'entered'],
      ['delete', far, 'left'],
      ['delete', near, undefined],
      ['change', 'a1', undefined],
    ]);
    await without.waitFor(named('changes'));
    expect(without.events.map(({ event }) => event)).toEqual(['hello', 'snapshot', 'live', 'changes']);
    const first = stream.events.find(named('live'))?.id as string;
    const resumed = await scenario.watch('C/attach?prefix=a&locks=true&fields=n', { 'last-event-id': first });
    await resumed.waitFor(named('live'));
    const again = resumed.events.filter(named('changes')).flatMap(({ data }) => data.changes);
    expect(again).toEqual(told);
    expect(resumed.events.at(-1)?.id).toBe(last.id);
    for (const each of [stream, without, resumed]) each.close();
  });
});
