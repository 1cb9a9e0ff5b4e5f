/** What a session's stream tells of its queue: what came, who takes what, and what is done with, in its place among the commits. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { delivery, Postman, withPostman } from '../support/postman.js';
import { Scenario } from '../support/scenario.js';
import { createDatabase, databases, type Server, startServer } from '../support/server.js';
import type { SseEvent, SseStream } from '../support/sse.js';

const EVENTS = 'P/sessions/s/events';
const Q = 'P/sessions/s/queue';
const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i);
const named = (name: string) => (event: SseEvent) => event.event === name;
const news =
  (type: string, delivery?: string) =>
  ({ event, data }: SseEvent) =>
    event === 'queue' && data.type === type && (delivery === undefined || data.delivery === delivery);

/** What came, in a few words: `*` where there was an id. */
function summary({ events }: SseStream): string[] {
  return events
    .filter(({ event }) => event !== 'bookmark')
    .map(({ event, id, data }) => {
      const words = [event, data.view, data.type, data.delivery, data.entries, data.reason].filter(
        (word) => word !== undefined,
      );
      const keys = data.changes?.map?.(({ op, key }: Record<string, string>) => `${op}:${key}`) ?? [];
      return `${[...words, ...keys].join(' ')}${id ? ' *' : ''}`;
    });
}

describe('the news of a queue, where a node delivers while others serve', () => {
  let servers: Server[];
  let postman: Postman | undefined;
  let scenario: Scenario;
  let elsewhere: Scenario;
  beforeAll(async () => {
    const first = await startServer({ database: 'mariadb' });
    servers = [first, await startServer({ database: 'mariadb', databaseUrl: first.databaseUrl })];
    postman = await Postman.open(first.databaseUrl);
  });
  afterAll(() => postman?.close());
  beforeEach(async () => {
    scenario = new Scenario(servers[0] as Server);
    elsewhere = new Scenario(servers[1] as Server, scenario.pool);
    await scenario.calls(['POST P/sessions', { name: 's' }]);
  });
  const deliver = (...revisions: number[]) =>
    (postman as Postman).deliver(
      scenario.pool,
      revisions.map((revision) => delivery(revision)),
    );

  it('tells everything that becomes of an entry, on every stream and node', async () => {
    await scenario.calls(['PUT P/sessions/s/attachments/v', { collection: 'things' }]);
    const streams = [await scenario.watch(EVENTS), await elsewhere.watch(EVENTS)];
    for (const stream of streams) await stream.waitFor(named('live'));
    await deliver(1, 2);
    await elsewhere.calls([`POST ${Q}/take`, { limit: 2 }], [`POST ${Q}/pushBack`, { deliveries: ['n-1'] }]);
    await scenario.calls(['PUT C/items/a', { attributes: {} }], [`PATCH ${Q}/n-2`, { event: { mine: true } }]);
    await elsewhere.calls([`POST ${Q}/ack`, { deliveries: ['n-2'] }], [`POST ${Q}/drop`, { oldest: 1 }]);
    for (const stream of streams) {
      await stream.waitFor(news('dropped'));
      expect(summary(stream)).toEqual([
        'hello',
        'snapshot v',
        'live v *',
        'queue added n-1',
        'queue added n-2 *',
        'queue taken n-1',
        'queue taken n-2 *',
        'queue freed n-1 *',
        'changes add:a *',
        'queue edited n-2 *',
        'queue acked n-2 *',
        'queue dropped n-1 *',
      ]);
      expect(stream.events.find(news('added'))?.data).toEqual({
        ...{ type: 'added', delivery: 'n-1', notifier: 'n', event: delivery(1).event },
      });
      expect(stream.events.find(news('edited'))?.data.event).toEqual({ mine: true });
      expect(stream.events.find(news('acked'))?.data).toEqual({ type: 'acked', delivery: 'n-2', notifier: 'n' });
      stream.close();
    }
  });

  it('tells a batch’s ack with what it wrote, as one commit', async () => {
    await deliver(1);
    const { session, epoch } = (await scenario.calls(['PUT P/sessions/s'])).body;
    await scenario.calls(['PUT P/sessions/s/attachments/v', { collection: 'things' }]);
    const stream = await scenario.watch(EVENTS);
    await stream.waitFor(named('live'));
    const ops = [
      { op: 'put', collection: 'things', key: 'a', attributes: {} },
      { op: 'ack', delivery: 'n-1' },
    ];
    await elsewhere.calls(['POST P/batch', { session: { session, epoch, sequence: 1 }, ops }]);
    await stream.waitFor(named('changes'));
    expect(summary(stream).slice(-2)).toEqual(['queue acked n-1', 'changes add:a *']);
    stream.close();
  });

  it('tells who begins how much waits, and who resumes what came since', async () => {
    await deliver(1, 2, 3);
    await scenario.calls([`POST ${Q}/take`, { holdMs: 600_000 }]);
    const cursor = await scenario.cursor();
    const fresh = await scenario.watch(EVENTS);
    await fresh.waitFor(named('live'));
    expect(summary(fresh)).toEqual(['hello', 'queue waiting 3', 'live *']);
    expect(fresh.events[1]?.data).toEqual({ type: 'waiting', entries: 3, held: 1, dropped: 0 });
    fresh.close();
    await deliver(4);
    await scenario.calls([`POST ${Q}/ack`, { deliveries: ['n-1', 'n-3'] }]);
    const resumed = await elsewhere.watch(EVENTS, { 'last-event-id': cursor });
    await resumed.waitFor(news('acked', 'n-3'));
    await resumed.waitFor(named('live'));
    expect(summary(resumed).slice(0, 4)).toEqual([
      'hello',
      'queue added n-4 *',
      'queue acked n-1',
      'queue acked n-3 *',
    ]);
    resumed.close();
    const foreign = await scenario.watch(EVENTS, { 'last-event-id': 'ffffffffffff-1' });
    await foreign.waitFor(named('live'));
    expect(summary(foreign)).toEqual(['hello', 'reset epoch', 'queue waiting 2', 'live *']);
    foreign.close();
  });

  it('tells why entries were lost, and that a hold was over', async () => {
    await deliver(1, 2);
    await scenario.calls([`PUT ${Q}`, { entriesMax: 2, keepMs: 1000 }]);
    const stream = await scenario.watch(EVENTS);
    await stream.waitFor(named('live'));
    await deliver(3);
    await scenario.calls([`POST ${Q}/take`, { holdMs: 100 }]);
    await stream.waitFor(news('dropped', 'n-3'), 20_000);
    expect(summary(stream).slice(3)).toEqual([
      'queue dropped n-1 full',
      'queue added n-3 *',
      'queue taken n-2 *',
      'queue freed n-2 expired *',
      'queue dropped n-3 expired *',
    ]);
    expect((await scenario.calls([`GET ${Q}`])).body).toMatchObject({ count: 1, dropped: 2, held: 0 });
    stream.close();
  });

  it('tells that a hold ends with the session that took', async () => {
    await deliver(1);
    const own = { 'stargus-session': 's;epoch=1' };
    await scenario.calls([`POST ${Q}/take`, { holdMs: 600_000 }, own]);
    const { epoch } = (await elsewhere.calls(['PUT P/sessions/s'])).body;
    const stream = await scenario.watch(`${EVENTS}?since=${await startCursor()}`);
    await stream.waitFor(named('live'));
    expect(summary(stream)).toContain('queue freed n-1 *');
    await scenario.calls([`POST ${Q}/take`, { holdMs: 600_000 }, { 'stargus-session': `s;epoch=${epoch}` }]);
    const taken = await stream.waitFor(({ data }) => data.type === 'taken' && data.heldUntil !== undefined);
    expect(taken.data.by).toEqual(expect.any(String));
    stream.close();
  });
  /** Of the first commit: what came before the stream's session is told as well. */
  const startCursor = async () => (await scenario.cursor()).replace(/-\d+$/, '-1');

  it('leaves out large events, and tells of many at once that they are many', async () => {
    const stream = await scenario.watch(EVENTS);
    await stream.waitFor(named('live'));
    await (postman as Postman).deliver(scenario.pool, [delivery(1, { pad: 20_000 })]);
    await deliver(...range(2, 102));
    await stream.waitFor(news('many'));
    expect(stream.events.find(news('added'))?.data).toEqual({ type: 'added', delivery: 'n-1', notifier: 'n' });
    expect(stream.events.find(news('many'))?.data).toEqual({ type: 'many', changes: 101 });
    stream.close();
  });

  it('wakes who waits for something to take, on any node', async () => {
    const waiting = range(1, 6).map((i) =>
      (i % 2 ? scenario : elsewhere).calls([`POST ${Q}/take`, { waitMs: 20_000 }]),
    );
    const reading = elsewhere.calls([`GET ${Q}?waitMs=20000`]);
    await sleep(300);
    await deliver(1, 2);
    await sleep(300);
    await deliver(...range(3, 6));
    const taken = (await Promise.all(waiting)).flatMap(({ body }) =>
      body.entries.map((each: { delivery: string }) => each.delivery),
    );
    expect(taken.sort()).toEqual(range(1, 6).map((i) => `n-${i}`));
    expect((await reading).body.entries.length).toBeGreaterThan(0);
  });

  it('tells a reader that took nothing for long what it missed, each once and in order', async () => {
    await scenario.calls(['PUT P/sessions/s/attachments/v', { collection: 'things', values: 'full' }]);
    const stream = await scenario.watch(EVENTS);
    await stream.waitFor(named('live'));
    stream.pause();
    // More than what its connection may have unsent, and the buffers of the machine beside it.
    for (let i = 0; i < 24; i++)
      await scenario.calls([`PUT C/items/a${i}`, { attributes: { pad: 'x'.repeat(500_000), i } }]);
    await deliver(1, 2, 3);
    await scenario.calls(['PUT C/items/z', { attributes: {} }]);
    await sleep(500);
    stream.resume();
    const isLast = ({ key }: { key: string }) => key === 'z';
    await stream.waitFor(({ data }) => (data.changes?.some?.(isLast) || data.items?.some(isLast)) ?? false, 20_000);
    const told = stream.events.filter(news('added'));
    expect(told.map(({ data }) => data.delivery)).toEqual(['n-1', 'n-2', 'n-3']);
    // Who begins anew is told once more how much waits.
    const isReset = stream.events.some(named('reset'));
    expect(stream.events.some(news('waiting'))).toBe(isReset);
    stream.close();
  });
});

describe.each(databases)('the news of a queue on $name, over a restart', ({ name }) => {
  it('are told to who resumes', async () => {
    const databaseUrl = await createDatabase(name);
    let server = await startServer({ database: name, databaseUrl });
    const scenario = new Scenario(server);
    const { pool } = scenario;
    await scenario.calls(['POST P/sessions', { name: 's', ttlMs: 600_000 }]);
    const cursor = await scenario.cursor();
    await server.kill();
    await withPostman(databaseUrl, (postman) =>
      postman.deliver(
        pool,
        range(1, 3).map((i) => delivery(i)),
      ),
    );
    server = await startServer({ database: name, databaseUrl });
    const stream = await new Scenario(server, pool).watch(EVENTS, { 'last-event-id': cursor });
    await stream.waitFor(named('live'));
    expect(summary(stream).slice(0, 4)).toEqual(['hello', 'queue added n-1', 'queue added n-2', 'queue added n-3 *']);
    stream.close();
  });
});
