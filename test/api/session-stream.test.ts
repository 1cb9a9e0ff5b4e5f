/** The one stream of a session: all its views and one cursor for them, for as long as the session lives. */
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Headers, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';
import type { SseEvent, SseStream } from '../support/sse.js';

const EVENTS = 'P/sessions/s/events';
const A = 'P/sessions/s/attachments';

const named =
  (name: string) =>
  ({ event }: SseEvent) =>
    event === name;
const atRevision =
  (revision: number) =>
  ({ event, data }: SseEvent) =>
    ['changes', 'live'].includes(event) && data.revision === revision;

/** What came, in a few words: `*` where there was an id. */
function summary(stream: SseStream): string[] {
  return stream.events.map(({ event, id, data }) => {
    const seen = data.changes?.map(({ view, op, key }: Record<string, string>) => `${view}:${op}:${key}`);
    const items = data.items?.map(({ key }: { key: string }) => key);
    // In which order the views of one commit come means nothing.
    const words = [event, data.view, data.reason, items && `[${items}]`, ...(seen?.sort() ?? [])];
    return `${words.filter((word) => word !== undefined).join(' ')}${id ? ' *' : ''}`;
  });
}

describe.each(databases)('the stream of a session on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });
  async function begun(body: object = {}): Promise<{ scenario: Scenario; session: string; own: Headers }> {
    const scenario = new Scenario(server);
    const { session } = (await scenario.calls(['POST P/sessions', { name: 's', ...body }])).body;
    return { scenario, session, own: { 'stargus-session': `${session};epoch=1` } };
  }

  it('without views says that it is live', async () => {
    const { scenario, session } = await begun();
    const stream = await scenario.watch(EVENTS);
    const live = await stream.waitFor(named('live'));
    expect(stream.events[0]).toMatchObject({ event: 'hello', data: { pool: scenario.pool, session } });
    expect(live).toMatchObject({ id: await scenario.cursor(), data: { revision: 1 } });
    stream.close();
  });

  it('tells the state of each view, then each commit once, and what each view sees of it', async () => {
    const { scenario } = await begun();
    await scenario.fill({ a: { n: 1 }, b: { n: 2 } });
    await scenario.calls(
      [`PUT ${A}/all`, { collection: 'things' }],
      [`PUT ${A}/big`, { collection: 'things', where: { n: { gte: 2 } }, values: 'none' }],
    );
    const stream = await scenario.watch(EVENTS);
    await stream.waitFor(({ event, data }) => event === 'live' && data.view === 'big');
    const ops = [
      { op: 'put', collection: 'things', key: 'a', attributes: { n: 3 } },
      { op: 'delete', collection: 'things', key: 'b' },
      { op: 'put', collection: 'halls', key: 'h', attributes: {} },
    ];
    await scenario.calls(['POST P/batch', { ops }], ['PUT P/collections/halls/items/h', { attributes: { x: 1 } }]);
    // Attached, changed and detached while it is open.
    await scenario.calls([`PUT ${A}/halls`, { collection: 'halls' }], ['DELETE P/collections/halls/items/h']);
    await scenario.calls([`PUT ${A}/big`, { collection: 'none' }], [`DELETE ${A}/all`]);
    await scenario.calls(
      ['PUT C/items/c', { attributes: { n: 9 } }],
      ['PUT P/collections/halls/items/i', { attributes: {} }],
    );
    await stream.waitFor(atRevision(13));
    expect(summary(stream).filter((line) => !line.startsWith('bookmark'))).toEqual([
      'hello',
      'snapshot all [a,b]',
      'live all',
      'snapshot big [b]',
      'live big *',
      'changes all:change:a all:delete:b big:add:a big:delete:b *',
      'snapshot halls [h]',
      'live halls *',
      'changes halls:delete:h *',
      'snapshot big []',
      'live big *',
      'changes halls:add:i *',
    ]);
    const commit = stream.events.find(named('changes'))?.data;
    expect(commit.changes[0]).toMatchObject({
      view: 'all',
      collection: 'things',
      changed: ['n'],
      attributes: { n: 3 },
    });
    expect(commit.changes[2]).toEqual({
      ...{ view: 'big', op: 'add', reason: 'entered', collection: 'things', key: 'a', changed: ['n'], removed: [] },
    });
    expect(stream.events.find(({ data }) => data.view === 'big')?.data.items).toEqual([
      { collection: 'things', key: 'b', revision: 3, createdRevision: 3 },
    ]);
    stream.close();
  });

  it('resumes all views by one id, and tells the snapshot of what was attached since', async () => {
    const { scenario } = await begun();
    await scenario.calls([`PUT ${A}/v`, { collection: 'things' }], [`PUT ${A}/w`, { collection: 'halls' }]);
    await scenario.fill({ a: {} });
    const cursor = await scenario.cursor();
    await scenario.fill({ b: {} });
    await scenario.calls([`PUT ${A}/x`, { collection: 'things', prefix: 'b' }]);
    await scenario.fill({ c: {} });
    for (const stream of [
      await scenario.watch(EVENTS, { 'last-event-id': cursor }),
      await scenario.watch(`${EVENTS}?since=${cursor}`),
    ]) {
      await stream.waitFor(({ event, data }) => event === 'live' && data.view === 'x');
      expect(summary(stream)).toEqual([
        'hello',
        'changes v:add:b *',
        'changes v:add:c',
        'live v',
        'live w',
        'snapshot x [b]',
        'live x *',
      ]);
      stream.close();
    }
  });

  it('begins anew with every view where the id is of another life', async () => {
    const { scenario } = await begun();
    await scenario.fill({ a: {} });
    const foreign = { 'last-event-id': 'ffffffffffff-1' };
    const empty = await scenario.watch(EVENTS, foreign);
    await empty.waitFor(named('live'));
    expect(summary(empty)).toEqual(['hello', 'reset epoch', 'live *']);
    expect(empty.events[1]?.id).toBe('');
    await scenario.calls([`PUT ${A}/v`, { collection: 'things' }], [`PUT ${A}/w`, { collection: 'halls' }]);
    const stream = await scenario.watch(EVENTS, foreign);
    await stream.waitFor(({ event, data }) => event === 'live' && data.view === 'w');
    expect(summary(stream)).toEqual([
      ...['hello', 'reset v epoch', 'reset w epoch'],
      ...['snapshot v [a]', 'live v', 'snapshot w []', 'live w *'],
    ]);
    for (const each of [empty, stream]) each.close();
  });

  it('splits a commit that is too large, with the id on its last part', async () => {
    const { scenario } = await begun();
    await scenario.calls(
      [`PUT ${A}/v`, { collection: 'things' }],
      [`PUT ${A}/w`, { collection: 'things', prefix: 'k1' }],
    );
    const stream = await scenario.watch(EVENTS);
    await stream.waitFor(({ event, data }) => event === 'live' && data.view === 'w');
    const text = 'x'.repeat(100_000);
    const ops = [0, 1, 2, 3].map((i) => ({ op: 'put', collection: 'things', key: `k${i}`, attributes: { text } }));
    await scenario.calls(['POST P/batch', { ops }]);
    const last = await stream.waitFor(({ event, data }) => event === 'changes' && !data.more);
    const parts = stream.events.filter(named('changes'));
    expect(parts.map(({ data, id }) => [data.revision, data.more, id !== undefined])).toEqual([
      [4, true, false],
      [4, true, false],
      [4, undefined, true],
    ]);
    const keys = parts.flatMap(({ data }) =>
      data.changes.map(({ view, key }: { view: string; key: string }) => view + key),
    );
    expect(keys.sort()).toEqual(['vk0', 'vk1', 'vk2', 'vk3', 'wk1']);
    expect(last.id).toBe(await scenario.cursor());
    stream.close();
  });

  it('moves its id by bookmarks where nothing is for it', async () => {
    const { scenario } = await begun();
    await scenario.calls([`PUT ${A}/v`, { collection: 'halls' }]);
    const stream = await scenario.watch(`${EVENTS}?bookmarkMs=1000`);
    await stream.waitFor(named('live'));
    await scenario.fill({ a: {} });
    const bookmark = await stream.waitFor(named('bookmark'));
    expect(bookmark).toMatchObject({ id: await scenario.cursor(), data: { revision: 3 } });
    stream.close();
  });

  it('renews the session for as long as it is open, unless it is asked not to', async () => {
    const held = await begun({ ttlMs: 1000 });
    const stream = await held.scenario.watch(EVENTS);
    const left = await begun({ ttlMs: 1000 });
    const idle = await left.scenario.watch(`${EVENTS}?renew=false`);
    const bye = await idle.waitFor(named('bye'), 10_000);
    expect(bye.data).toMatchObject({ reason: 'expired', retryMs: expect.any(Number) });
    await idle.ended;
    await sleep(1500);
    expect((await held.scenario.call('GET P/sessions/s')).status).toBe(200);
    stream.close();
    await expect.poll(async () => (await held.scenario.call('GET P/sessions/s')).status, { timeout: 10_000 }).toBe(404);
  });

  it('ends with its session, and with the life that it was opened in', async () => {
    const { scenario, own } = await begun();
    await scenario.calls([`PUT ${A}/v`, { collection: 'things' }]);
    const first = await scenario.watch(EVENTS, own);
    await first.waitFor(named('live'));
    await scenario.calls(['PUT P/sessions/s']);
    expect((await first.waitFor(named('bye'))).data.reason).toBe('expired');
    const fenced = await scenario.watch(EVENTS, own);
    expect(fenced.status).toBe(409);
    const again = { 'stargus-session': own['stargus-session']?.replace('epoch=1', 'epoch=2') as string };
    const second = await scenario.watch(EVENTS, again);
    await second.waitFor(named('live'));
    // The views are those of the session, whatever life set them.
    await scenario.fill({ a: {} });
    await second.waitFor(named('changes'));
    await scenario.calls(['DELETE P/sessions/s', undefined, again]);
    expect((await second.waitFor(named('bye'))).data.reason).toBe('deleted');
    await second.ended;
    expect(summary(second).at(-1)).toBe('bye deleted');
  });

  it('tells news of locks, and again to who resumes', async () => {
    const { scenario, session, own } = await begun();
    const other = (await scenario.calls(['POST P/sessions'])).body.session;
    const hers = { 'stargus-session': `${other};epoch=1` };
    const stream = await scenario.watch(EVENTS);
    const theirs = await scenario.watch(`P/sessions/${other}/events`);
    await Promise.all([stream.waitFor(named('live')), theirs.waitFor(named('live'))]);
    const ask = async (by: string, more: object = {}) => {
      const body = { session: by, mode: 'exclusive', scopes: [{ collection: 'things' }], ...more };
      return (await scenario.calls(['POST P/locks', body])).body;
    };
    const { lock } = await ask(session);
    const wait = await ask(other, { waitMs: 60_000 });
    await scenario.calls(
      [`POST P/locks/${lock}/break`, { graceMs: 60_000 }],
      [`DELETE P/locks/${lock}`, undefined, own],
    );
    const { data } = await theirs.waitFor(named('lock'));
    await scenario.calls([`POST P/locks/${wait.lock}/break`, { graceMs: 0 }]);
    const brief = await ask(other);
    const late = await ask(session, { waitMs: 50 });
    const { id, data: lost } = await stream.waitFor(({ event, data }) => event === 'lock' && data.type === 'lost');
    await scenario.calls([`DELETE P/locks/${brief.lock}`, undefined, hers]);
    const told = [
      { lock, type: 'contended', by: other },
      { lock, type: 'expiring', breaksAt: expect.stringMatching(/Z$/) },
      { lock: late.lock, type: 'lost', reason: 'timeout' },
    ];
    expect(stream.events.filter(named('lock')).map((event) => event.data)).toEqual(told);
    expect([data, lost]).toEqual([{ lock: wait.lock, type: 'granted', fence: expect.any(Number) }, told[2]]);
    await theirs.waitFor(({ event, data }) => event === 'lock' && data.type === 'contended');
    expect(theirs.events.filter(named('lock')).map((event) => event.data.type)).toEqual([
      'granted',
      'broken',
      'contended',
    ]);
    const first = stream.events.find(named('live'))?.id as string;
    for (const [since, missed] of [
      [first, told],
      [id as string, []],
    ] as const) {
      const resumed = await scenario.watch(EVENTS, { 'last-event-id': since });
      await resumed.waitFor(named('live'));
      expect(resumed.events.filter(named('lock')).map((event) => event.data)).toEqual(missed);
      resumed.close();
    }
    for (const each of [stream, theirs]) each.close();
  });

  it('tells the locks on what is attached, the log, and who is there, where they are attached', async () => {
    const { scenario, session, own } = await begun();
    await scenario.fill({ a: {} });
    const lockOn = async (key: string) => {
      const body = { session, mode: 'shared', scopes: [{ collection: 'things', key }] };
      return (await scenario.calls(['POST P/locks', body])).body.lock as string;
    };
    const first = await lockOn('a');
    await scenario.calls(
      [`PUT ${A}/locked`, { collection: 'things', key: 'a', locks: true }],
      [`PUT ${A}/log`, { collection: '_changes', start: '0000000000000005', values: 'none' }],
      [`PUT ${A}/people`, { collection: '_clients', fields: ['name'] }],
    );
    const stream = await scenario.watch(EVENTS);
    await stream.waitFor(({ event, data }) => event === 'live' && data.view === 'people');
    const second = await lockOn('a');
    const other = (await scenario.calls(['POST P/sessions', { name: 't' }])).body.session;
    await scenario.calls([`DELETE P/locks/${first}`, undefined, own]);
    await stream.waitFor(atRevision(9));
    expect(summary(stream)).toEqual([
      'hello',
      `snapshot locked [a,${first}]`,
      'live locked',
      'snapshot log [0000000000000005,0000000000000006]',
      'live log',
      `snapshot people [${session}]`,
      'live people *',
      `changes locked:add:${second} log:add:0000000000000007 *`,
      `changes log:add:0000000000000008 people:add:${other} *`,
      `changes locked:delete:${first} log:add:0000000000000009 *`,
    ]);
    stream.close();
  });

  it('gives way to newer ones beyond four', async () => {
    const { scenario } = await begun();
    const streams: SseStream[] = [];
    for (let i = 0; i < 6; i++) {
      const stream = await scenario.watch(EVENTS);
      await stream.waitFor(named('live'));
      streams.push(stream);
    }
    for (const stream of streams.slice(0, 2)) expect((await stream.waitFor(named('bye'))).data.reason).toBe('replaced');
    await scenario.calls([`PUT ${A}/v`, { collection: 'things' }]);
    await scenario.fill({ a: {} });
    for (const stream of streams.slice(2)) {
      await stream.waitFor(named('changes'));
      stream.close();
    }
  });

  it('is brought to the state when it didn’t read, and told of views that came meanwhile', {
    timeout: 120_000,
  }, async () => {
    const { scenario } = await begun({ ttlMs: 600_000 });
    const full = { collection: 'things', values: 'full' };
    await scenario.calls([`PUT ${A}/v`, full], [`PUT ${A}/gone`, full], [`PUT ${A}/other`, { ...full, key: 'k1' }]);
    const stream = await scenario.watch(EVENTS);
    await stream.waitFor(({ event, data }) => event === 'live' && data.view === 'v');
    stream.pause();
    for (let i = 0; i < 40; i++) {
      const attributes = { i, text: String(i).padEnd(600_000, 'x') };
      await scenario.calls([`PUT C/items/k${i % 4}`, { attributes }, { prefer: 'return=minimal' }]);
    }
    await scenario.calls([`DELETE ${A}/gone`], [`PUT ${A}/late`, { collection: 'things', values: 'none' }]);
    await scenario.calls(['DELETE C/items/k2'], ['PUT C/items/mark', { attributes: {} }]);
    const { revision, cursor } = (await scenario.call('GET P')).body;
    stream.resume();
    await stream.waitFor(({ id }) => id === cursor, 60_000);
    const views: Record<string, Map<string, number | undefined>> = {};
    for (const { event, data } of stream.events) {
      if (event === 'reset') delete views[data.view];
      if (event === 'snapshot' && data.part === 1) views[data.view] = new Map();
      for (const { key, attributes } of data.items ?? []) views[data.view]?.set(key, attributes?.i);
      for (const { view, op, key, attributes } of data.changes ?? []) {
        if (op === 'delete') views[view]?.delete(key);
        else views[view]?.set(key, attributes?.i);
      }
    }
    const keys = (view: string) => [...(views[view]?.keys() ?? [])].sort();
    expect([...(views.v ?? [])].sort()).toEqual([
      ['k0', 36],
      ['k1', 37],
      ['k3', 39],
      ['mark', undefined],
    ]);
    expect([keys('late'), keys('other')]).toEqual([['k0', 'k1', 'k3', 'mark'], ['k1']]);
    expect(stream.events.filter(named('changes')).length).toBeLessThan(revision - 8);
    stream.close();
  });

  it('tells the news of locks also to who didn’t read, and missed more than is worth telling', {
    timeout: 90_000,
  }, async () => {
    const { scenario, session } = await begun({ ttlMs: 600_000 });
    const other = (await scenario.calls(['POST P/sessions', { ttlMs: 600_000 }])).body;
    const ask = (by: string, waitMs?: number) => ({
      session: by,
      mode: 'exclusive',
      scopes: [{ collection: 'locked' }],
      waitMs,
    });
    const held = (await scenario.calls(['POST P/locks', ask(other.session)])).body;
    const waiting = (await scenario.calls(['POST P/locks', ask(session, 600_000)])).body;
    await scenario.calls([`PUT ${A}/v`, { collection: 'things' }]);
    const stream = await scenario.watch(EVENTS);
    await stream.waitFor(named('live'));
    stream.pause();
    const write = async (from: number, to: number) => {
      for (let i = from; i < to; i++) {
        const attributes = { text: String(i).padEnd(600_000, 'x') };
        await scenario.calls([`PUT C/items/k${i}`, { attributes }, { prefer: 'return=minimal' }]);
      }
    };
    await write(0, 25);
    await scenario.calls([
      `DELETE P/locks/${held.lock}`,
      undefined,
      { 'stargus-session': `${other.session};epoch=${other.epoch}` },
    ]);
    await write(25, 40);
    const cursor = await scenario.cursor();
    stream.resume();
    await stream.waitFor(({ id }) => id === cursor, 60_000);
    expect(stream.events.filter(named('reset')).length).toBeGreaterThan(0);
    expect(stream.events.filter(named('lock')).map(({ data }) => [data.lock, data.type])).toEqual([
      [waiting.lock, 'granted'],
    ]);
    stream.close();
  });
});
