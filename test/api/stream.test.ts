/** GET /changes/stream: the log as it grows, resumable by the browser's own Last-Event-ID; and how every kind of stream ends. */
import { beforeAll, describe, expect, it } from 'vitest';
import { expectProblem, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';
import type { SseEvent, SseStream } from '../support/sse.js';

const named =
  (name: string) =>
  ({ event }: SseEvent) =>
    event === name;
const namesOf = (stream: SseStream) => stream.events.map(({ event }) => event);

async function nextChange(stream: SseStream): Promise<string> {
  const { data } = await stream.next(named('changes'));
  return `${data.revision}: ${data.changes.map(({ op, key }: { op: string; key: string }) => `${op} ${key}`).join(', ')}`;
}

describe.each(databases)('streams of changes on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });

  it('begins now, and tells each commit of any collection of the application once', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: {} });
    const { epoch } = (await scenario.call('GET P')).body;
    const stream = await scenario.watch('P/changes/stream');
    expect(stream.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'stargus-cursor': `${epoch}-1`,
      'request-id': expect.stringMatching(/./),
    });
    expect(await stream.next()).toMatchObject({ event: 'hello', data: { pool: scenario.pool, epoch } });
    const live = await stream.next();
    expect(live).toMatchObject({ event: 'live', id: `${epoch}-1`, data: { revision: 1 } });
    await scenario.calls(
      ['PUT P/collections/others/items/b', { attributes: { x: 1 } }],
      ['PUT P/collections/others', { description: 'unheard' }],
      ['DELETE C/items/a'],
    );
    expect(await stream.next()).toMatchObject({
      event: 'changes',
      id: `${epoch}-2`,
      data: {
        revision: 2,
        changes: [{ op: 'add', collection: 'others', key: 'b', changed: ['x'], removed: [], attributes: { x: 1 } }],
      },
    });
    expect(await nextChange(stream)).toBe('4: delete a');
    stream.close();
  });

  const views: [query: string, told: string[]][] = [
    ['', ['3: add a1', '4: add b1', '5: add a1', '6: change a1, change b1', '7: change a1', '8: delete a1']],
    ['collection=things', ['3: add a1', '4: add b1', '6: change a1, change b1', '7: change a1', '8: delete a1']],
    ['collection=others', ['5: add a1']],
    ['collection=_dictionary', ['5: add others']],
    ['prefix=a', ['3: add a1', '5: add a1', '6: change a1', '7: change a1', '8: delete a1']],
    ['key=b1', ['4: add b1', '6: change b1']],
    ['start=b', ['4: add b1', '6: change b1']],
    ['end=b&collection=things', ['3: add a1', '6: change a1', '7: change a1', '8: delete a1']],
    ['fields=y', ['3: add a1', '4: add b1', '5: add a1', '7: change a1', '8: delete a1']],
    [
      'since=start',
      [
        '1: add z',
        '2: delete z',
        '3: add a1',
        '4: add b1',
        '5: add a1',
        '6: change a1, change b1',
        '7: change a1',
        '8: delete a1',
      ],
    ],
    ['since=EPOCH-1&prefix=z', ['2: delete z']],
    ['since=now&key=b1', ['4: add b1', '6: change b1']],
  ];

  it('each filter sees its part', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ z: {} });
    await scenario.calls(['DELETE C/items/z']);
    const { epoch } = (await scenario.call('GET P')).body;
    const streams = await Promise.all(
      views.map(([query]) => scenario.watch(`P/changes/stream?${query.replace('EPOCH', epoch)}`)),
    );
    for (const stream of streams) await stream.waitFor(named('live'));
    await scenario.fill({ a1: { x: 1 }, b1: { x: 1 } });
    await scenario.calls(['PUT P/collections/others/items/a1', { attributes: {} }]);
    const merge = (key: string) => ({ op: 'merge', collection: 'things', key, attributes: { x: 2 } });
    await scenario.calls(
      ['POST P/batch', { ops: [merge('a1'), merge('b1')] }],
      ['PATCH C/items/a1', { attributes: { y: 1 } }],
      ['DELETE C/items/a1'],
    );
    for (const [i, stream] of streams.entries()) {
      const [query, told] = views[i] as (typeof views)[number];
      const seen: string[] = [];
      for (const _ of told) seen.push(await nextChange(stream));
      expect(seen, query).toEqual(told);
      expect(stream.events.filter(named('changes')), query).toHaveLength(told.length);
      stream.close();
    }
  });

  it('bookmarks come within the time asked for, only where the pool moved', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: {} });
    const stream = await scenario.watch('P/changes/stream?key=never&bookmarkMs=1000');
    await stream.waitFor(named('live'));
    for (let i = 2; i <= 4; i++) {
      await scenario.fill({ a: { i } });
      expect(await stream.next(named('bookmark'))).toMatchObject({
        id: await scenario.cursor(),
        data: { revision: i },
      });
    }
    await scenario.calls(['PUT C/items/a', { attributes: { i: 4 } }]);
    await scenario.fill({ a: { i: 5 } });
    expect((await stream.next(named('bookmark'))).data).toEqual({ revision: 5 });
    expect(namesOf(stream)).toEqual(['hello', 'live', 'bookmark', 'bookmark', 'bookmark', 'bookmark']);
    stream.close();
  });

  it('goes on from Last-Event-ID, which beats since', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: {}, b: {}, c: {} });
    const { epoch } = (await scenario.call('GET P')).body;
    const stream = await scenario.watch('P/changes/stream?since=start', { 'last-event-id': `${epoch}-1` });
    expect(await nextChange(stream)).toBe('2: add b');
    expect(await nextChange(stream)).toBe('3: add c');
    await scenario.fill({ d: {} });
    expect(await nextChange(stream)).toBe('4: add d');
    expect(namesOf(stream)).toEqual(['hello', 'changes', 'changes', 'live', 'changes']);
    stream.close();
  });

  it('a Last-Event-ID of no use is answered with reset and goes on from now; such a since is 410', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: {} });
    const { epoch } = (await scenario.call('GET P')).body;
    for (const cursor of ['ffffffffffff-1', `${epoch}-99`]) {
      const answer = await scenario.call(`GET P/changes/stream?since=${cursor}`);
      expectProblem(answer, 410, 'cursorExpired');
      expect(answer.body).toMatchObject({ oldest: `${epoch}-0`, current: await scenario.cursor() });
      const stream = await scenario.watch('P/changes/stream', { 'last-event-id': cursor });
      await stream.waitFor(named('live'));
      expect(namesOf(stream)).toEqual(['hello', 'reset', 'live']);
      expect(stream.events[1]).toMatchObject({ id: '', data: { reason: 'epoch' } });
      const key = `after ${cursor}`;
      await scenario.fill({ [key]: {} });
      expect(await nextChange(stream)).toBe(`${await scenario.revision()}: add ${key}`);
      stream.close();
    }
  });

  it('a log that is kept short: reset for attach and Last-Event-ID, 410 for since', async () => {
    const short = new Scenario(
      await startServer({ database: name, env: { STARGUS_HISTORY_COMMITS: '3', STARGUS_SWEEP: '100ms' } }),
    );
    for (let i = 1; i <= 8; i++) await short.fill({ [`k${i}`]: {} });
    await expect.poll(async () => (await short.call('GET P')).body.oldestRevision, { timeout: 10_000 }).toBe(6);
    const { epoch } = (await short.call('GET P')).body;
    const old = { 'last-event-id': `${epoch}-2` };
    expectProblem(await short.call(`GET P/changes/stream?since=${epoch}-2`), 410, 'cursorExpired');
    const feed = await short.watch('P/changes/stream', old);
    await feed.waitFor(named('live'));
    expect(feed.events.slice(1)).toMatchObject([
      { event: 'reset', id: '', data: { reason: 'compacted' } },
      { event: 'live', id: `${epoch}-8` },
    ]);
    const attach = await short.watch('C/attach', old);
    await attach.waitFor(named('live'));
    expect(attach.events.slice(1, 2)).toMatchObject([
      { event: 'reset', id: '', data: { view: 'things', reason: 'compacted' } },
    ]);
    expect(attach.events.filter(named('snapshot')).flatMap(({ data }) => data.items)).toHaveLength(8);
    feed.close();
    attach.close();
  });

  const kinds = ['C/attach', 'P/changes/stream'];

  it('a stop ends every stream with bye, and the server ends in order', async () => {
    const stopping = await startServer({ database: name });
    const scenario = new Scenario(stopping);
    await scenario.fill({ a: {} });
    const streams = await Promise.all(kinds.map((kind) => scenario.watch(kind)));
    for (const stream of streams) await stream.waitFor(named('live'));
    expect((await stopping.stop()).code).toBe(0);
    for (const stream of streams) {
      await stream.ended;
      expect(stream.events.at(-1)).toMatchObject({
        event: 'bye',
        id: undefined,
        data: { reason: 'shutdown', retryMs: expect.any(Number) },
      });
    }
  });

  it('a restart is a pause: the streams resume where they were', async () => {
    const before = await startServer({ database: name });
    const scenario = new Scenario(before);
    await scenario.fill({ a: {} });
    const cursor = (await (await scenario.watch('C/attach')).waitFor(named('live'))).id as string;
    await scenario.fill({ b: {} });
    await before.stop();
    const after = new Scenario(await startServer({ database: name, databaseUrl: before.databaseUrl }), scenario.pool);
    for (const kind of kinds) {
      const stream = await after.watch(kind, { 'last-event-id': cursor });
      expect(await nextChange(stream)).toBe('2: add b');
      expect(namesOf(stream)).not.toContain('reset');
      stream.close();
    }
  });

  it('the deletion of the pool ends its streams with bye, and no others', async () => {
    const [scenario, other] = [new Scenario(server), new Scenario(server)];
    await scenario.fill({ a: {} });
    await other.fill({ a: {} });
    const streams = await Promise.all(kinds.map((kind) => scenario.watch(kind)));
    const stays = await other.watch('C/attach');
    for (const stream of [...streams, stays]) await stream.waitFor(named('live'));
    await scenario.calls(['DELETE P']);
    for (const stream of streams) {
      await stream.ended;
      expect(stream.events.at(-1)).toMatchObject({ event: 'bye', data: { reason: 'deleted' } });
    }
    await other.fill({ b: {} });
    expect(await nextChange(stays)).toBe('2: add b');
    stays.close();
  });

  it('a stream that reaches its age says bye and can be resumed', async () => {
    const scenario = new Scenario(await startServer({ database: name, env: { STARGUS_STREAM_AGE: '1s' } }));
    await scenario.fill({ a: {} });
    const stream = await scenario.watch('P/changes/stream');
    expect((await stream.waitFor(named('hello'))).data.expiresInMs).toBe(1000);
    const { id } = await stream.waitFor(named('live'));
    await stream.ended;
    expect(stream.events.at(-1)).toMatchObject({ event: 'bye', data: { reason: 'maxAge' } });
    await scenario.fill({ b: {} });
    const resumed = await scenario.watch('P/changes/stream', { 'last-event-id': id as string });
    expect(await nextChange(resumed)).toBe('2: add b');
    resumed.close();
  });

  it('past the number of streams that a node serves the next is refused, and served when one has left', async () => {
    const scenario = new Scenario(await startServer({ database: name, env: { STARGUS_STREAMS: '2' } }));
    await scenario.fill({ a: {} });
    const streams = await Promise.all(kinds.map((kind) => scenario.watch(kind)));
    for (const stream of streams) await stream.waitFor(named('live'));
    expectProblem(await scenario.call('GET C/attach'), 503, 'unavailable');
    streams[0]?.close();
    await expect
      .poll(
        async () => {
          const next = await scenario.watch('C/attach');
          next.close();
          return next.status;
        },
        { timeout: 10_000 },
      )
      .toBe(200);
    streams[1]?.close();
  });

  it('between events there are heartbeats', { timeout: 40_000 }, async () => {
    const scenario = new Scenario(server);
    const streams = await Promise.all(kinds.map((kind) => scenario.watch(kind)));
    for (const stream of streams)
      await expect.poll(() => stream.comments.length, { timeout: 30_000 }).toBeGreaterThan(0);
    for (const stream of streams) stream.close();
  });
});
