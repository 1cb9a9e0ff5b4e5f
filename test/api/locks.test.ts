/** Locks: asked for, waited for, altered, given back, broken; and what they keep others from. */
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Answer, type Headers, pointersOf, rowsOf, Scenario, type Story } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

interface Held {
  session: string;
  epoch: number;
}

const LOCKS = 'P/collections/_locks/items';

describe.each(databases)('locks on $name', ({ name }) => {
  let server: Server;
  let scenario: Scenario;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });
  beforeEach(() => {
    scenario = new Scenario(server);
  });

  const begin = async (body?: object): Promise<Held> => (await scenario.calls(['POST P/sessions', body])).body;
  const as = ({ session, epoch }: Held): Headers => ({ 'stargus-session': `${session};epoch=${epoch}` });
  const proof = ({ lock, fence }: { lock: string; fence: number }): Headers => ({
    'stargus-lock': `${lock};fence=${fence}`,
  });
  const ask = (by: Held, body: object): Promise<Answer> =>
    scenario.call('POST P/locks', { session: by.session, mode: 'exclusive', ...body });
  const acquire = async (by: Held, body: object) => {
    const { status, body: lock } = await ask(by, body);
    expect(lock, JSON.stringify(lock)).toMatchObject({ state: 'granted' });
    expect(status).toBe(201);
    return lock;
  };
  const wait = async (by: Held, body: object) => {
    const { status, body: lock } = await ask(by, { waitMs: 60_000, ...body });
    expect(lock, JSON.stringify(lock)).toMatchObject({ state: 'waiting' });
    expect(status).toBe(202);
    return lock;
  };
  const stateOf = async ({ lock }: { lock: string }) => {
    const { status, body } = await scenario.call(`GET P/locks/${lock}`);
    return status === 404 ? 'gone' : body.state;
  };
  const A = { scopes: [{ collection: 'things', key: 'a' }] };

  it('grants one by a commit, whose revision is the fence', async () => {
    const one = await begin();
    const answer = await ask(one, { ...A, note: 'painting', requestId: 'r1' });
    const { lock } = answer.body;
    expect(answer.status).toBe(201);
    expect(answer.headers.location).toBe(scenario.path(`P/locks/${lock}`));
    expect(answer.body).toEqual({
      ...{
        lock,
        session: one.session,
        sessionName: one.session,
        subject: 'anonymous',
        mode: 'exclusive',
        scopes: A.scopes,
        state: 'granted',
      },
      ...{ fence: 2, revision: 2, since: expect.any(String), note: 'painting', requestId: 'r1' },
    });
    await scenario.play([
      [`GET P/locks/${lock}`, undefined, 200, { lock, fence: 2, state: 'granted' }],
      ['GET P/locks', undefined, 200, { locks: [{ lock, fence: 2 }] }],
      [`GET ${LOCKS}/${lock}`, undefined, 200, { revision: 2 }],
      ['GET P', undefined, 200, { revision: 2, collections: 0 }],
    ]);
    expect((await ask(one, { ...A, requestId: 'r1' })).body.lock).toBe(lock);
    expect(await scenario.revision()).toBe(2);
  });

  it('keeps others from writing, and lets its holder, however it says who it is', async () => {
    const [one, two] = [await begin(), await begin()];
    const lock = await acquire(one, A);
    const refused = await scenario.refused(423, 'locked', 'PUT C/items/a', { attributes: { x: 1 } });
    expect(refused.body.locks).toEqual([
      { lock: lock.lock, session: one.session, sessionName: one.session, mode: 'exclusive', fence: lock.fence },
    ]);
    await scenario.refused(423, 'locked', 'PUT C/items/a', { attributes: { x: 1 } }, as(two));
    await scenario.play([
      ['PUT C/items/b', { attributes: {} }, 201],
      ['PUT C/items/a', { attributes: { x: 1 } }, 201, {}, as(one)],
      ['PUT C/items/a', { attributes: { x: 2 } }, 200, {}, proof(lock)],
      ['PUT C/items/a', { attributes: { x: 2 } }, 200, { changed: [] }],
      ['GET C/items/a', undefined, 200],
      ['PUT C/items/a', { attributes: { x: 3 } }, 412, { code: 'lockLost' }, proof({ ...lock, fence: lock.fence + 1 })],
      ['PUT C/items/a', { attributes: { x: 3 } }, 412, { code: 'lockLost' }, proof({ lock: 'never', fence: 1 })],
      [`DELETE P/locks/${lock.lock}`, undefined, 200, { existed: true }, as(one)],
      [`DELETE P/locks/${lock.lock}`, undefined, 200, { existed: false }, as(one)],
      ['PUT C/items/a', { attributes: { x: 3 } }, 412, { code: 'lockLost', fence: null }, proof(lock)],
      ['PUT C/items/a', { attributes: { x: 4 } }, 200],
    ]);
  });

  const writes: [line: string, body?: unknown, headers?: Headers][] = [
    ['PUT C/items/a', { attributes: { x: 2 } }],
    ['PATCH C/items/a', { attributes: { x: 2 } }],
    [
      'PATCH C/items/a',
      [{ op: 'replace', path: '/attributes/x', value: 2 }],
      { 'content-type': 'application/json-patch+json' },
    ],
    ['DELETE C/items/a'],
    ['PUT C/items/a/attributes/x', { value: 2 }],
    ['DELETE C/items/a/attributes/x'],
    ['POST C/items/a/increment', { attribute: 'x', by: 1 }],
    ['POST C/delete', { prefix: 'a' }],
    ['POST C/delete', { where: { x: 1 } }],
    ['POST P/batch', { ops: [{ op: 'merge', collection: 'things', key: 'a', attributes: { x: 2 } }] }],
    ['DELETE C'],
    ['DELETE P'],
  ];
  it.each(writes)('refuses %s %j to others, and not to the holder', async (line, body, headers) => {
    await scenario.fill({ a: { x: 1 } });
    const one = await begin();
    await acquire(one, A);
    const refused = await scenario.refused(423, 'locked', line, body, headers);
    if (line.includes('batch')) expect(refused.body.errors).toMatchObject([{ index: 0, pointer: '/ops/0' }]);
    const { status, text } = await scenario.call(line, body, { ...headers, ...as(one) });
    expect(status, text).toBe(200);
  });

  it('refuses a locked op of a batch that isn’t atomic, and a line of an import', async () => {
    await scenario.fill({ a: { x: 1 } });
    const one = await begin();
    await acquire(one, A);
    const op = (key: string) => ({ op: 'merge', collection: 'things', key, attributes: { x: 2 } });
    await scenario.play([
      [
        'POST P/batch',
        { atomic: false, ops: [op('a'), op('b')] },
        200,
        { results: [{ status: 423, problem: { code: 'locked' } }, { status: 201 }] },
      ],
    ]);
    const lines = ['a', 'c']
      .map((key) => JSON.stringify({ collection: 'things', key, attributes: { y: 1 } }))
      .join('\n');
    const type = { 'content-type': 'application/x-ndjson' };
    const told = (text: string) =>
      text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
    expect(told((await scenario.call('POST P/import', lines, type)).text)).toMatchObject([
      { line: 1, problem: { code: 'locked' } },
      { line: 2, applied: 1, refused: 1 },
      { done: true },
    ]);
    expect(told((await scenario.call('POST P/import', lines, { ...type, ...as(one) })).text).at(-1)).toMatchObject({
      done: true,
      applied: 1,
      unchanged: 1,
    });
  });

  it('proves locks in a batch, and refuses a stale proof whatever it would write', async () => {
    const one = await begin();
    const lock = await acquire(one, A);
    const ops = [{ op: 'put', collection: 'things', key: 'a', attributes: { x: 1 } }];
    const proofs = (fence: number) => ({ locks: [{ lock: lock.lock, fence }], ops });
    await scenario.play([
      ['POST P/batch', { ops }, 423, { code: 'locked' }],
      ['POST P/batch', proofs(lock.fence), 200],
      ['POST P/batch', proofs(1), 412, { code: 'lockLost' }],
      ['POST P/batch', { ...proofs(1), ops: [] }, 412, { code: 'lockLost' }],
    ]);
  });

  it('locks single attributes, also those that aren’t there', async () => {
    await scenario.fill({ a: { x: 1, y: 1 } });
    const one = await begin();
    await acquire(one, { scopes: [{ collection: 'things', attributes: ['x', 'z'] }] });
    await scenario.play([
      ['PATCH C/items/a', { attributes: { y: 2 } }, 200],
      ['PATCH C/items/a', { attributes: { x: 2 } }, 423],
      ['PATCH C/items/a', { attributes: { x: 1, y: 3 } }, 200],
      ['PATCH C/items/a', { attributes: { z: 1 } }, 423],
      ['PUT C/items/b', { attributes: { y: 1 } }, 201],
      ['PUT C/items/c', { attributes: { x: 1 } }, 423],
      ['DELETE C/items/b', undefined, 200],
      ['DELETE C/items/a', undefined, 423],
      ['PATCH C/items/a', { attributes: { z: 1 } }, 200, {}, as(one)],
    ]);
  });

  const scopes: [says: string, scope: object, locked: string[], free: string[]][] = [
    ['the pool', {}, ['things/a', 'others/a'], []],
    ['a collection', { collection: 'things' }, ['things/a', 'things/z'], ['others/a']],
    [
      'a prefix',
      { collection: 'things', prefix: 'a/' },
      ['things/a/', 'things/a/b'],
      ['things/a', 'things/b', 'others/a/b'],
    ],
    ['a range', { collection: 'things', start: 'b', end: 'd' }, ['things/b', 'things/c'], ['things/a', 'things/d']],
    ['a range that is open above', { collection: 'things', start: 'b' }, ['things/b', 'things/z'], ['things/a']],
    ['an item', { collection: 'things', key: 'a' }, ['things/a'], ['things/aa', 'others/a']],
  ];
  it.each(scopes)('covers %s', async (_says, scope, locked, free) => {
    await acquire(await begin(), { scopes: [scope] });
    const write = (place: string) => {
      const [collection, ...key] = place.split('/');
      return scenario.call(`PUT P/collections/${collection}/items/${encodeURIComponent(key.join('/'))}`, {
        attributes: {},
      });
    };
    for (const place of locked) expect({ place, status: (await write(place)).status }).toEqual({ place, status: 423 });
    for (const place of free) expect({ place, status: (await write(place)).status }).toEqual({ place, status: 201 });
  });

  const modes = ['shared', 'update', 'exclusive'] as const;
  const together = new Set(['shared shared', 'shared update', 'update shared']);
  it.each(modes.flatMap((a) => modes.map((b) => [a, b] as const)))('%s and %s', async (a, b) => {
    const [one, two] = [await begin(), await begin()];
    await acquire(one, { ...A, mode: a });
    const { status, body } = await ask(two, { ...A, mode: b });
    if (together.has(`${a} ${b}`)) expect(status).toBe(201);
    else expect(body).toMatchObject({ code: 'lockConflict', holders: [{ session: one.session, mode: a }] });
    await acquire(one, { ...A, mode: a });
  });

  it('lets the holder of a weak lock write only while it is the only one', async () => {
    const [one, two] = [await begin(), await begin()];
    await acquire(one, { ...A, mode: 'shared' });
    await scenario.play([['PUT C/items/a', { attributes: { x: 1 } }, 201, {}, as(one)]]);
    const other = await acquire(two, { ...A, mode: 'shared' });
    await scenario.play([
      ['PUT C/items/a', { attributes: { x: 2 } }, 423, {}, as(one)],
      ['PUT C/items/a', { attributes: { x: 2 } }, 423, {}, as(two)],
      [`DELETE P/locks/${other.lock}`, undefined, 200, {}, as(two)],
      ['PUT C/items/a', { attributes: { x: 2 } }, 200, {}, as(one)],
    ]);
  });

  it('grants those who wait in turn, by the commit that makes way', async () => {
    const sessions = [await begin(), await begin(), await begin()] as const;
    const first = await acquire(sessions[0], A);
    const second = await wait(sessions[1], A);
    const third = await wait(sessions[2], A);
    expect([second.position, third.position]).toEqual([1, 2]);
    expect([second.waitsFor, third.waitsFor]).toEqual([[first.lock], [second.lock]]);
    await scenario.refused(423, 'locked', 'PUT C/items/a', { attributes: {} }, as(sessions[1]));
    const { revision } = (await scenario.calls([`DELETE P/locks/${first.lock}`, undefined, as(sessions[0])])).body;
    await scenario.play([
      [`GET P/locks/${second.lock}`, undefined, 200, { state: 'granted', fence: revision, revision }],
      [`GET P/locks/${third.lock}`, undefined, 200, { state: 'waiting', waitsFor: [second.lock] }],
      ['PUT C/items/a', { attributes: {} }, 201, {}, as(sessions[1])],
      [`DELETE P/locks/${third.lock}`, undefined, 200, { existed: true }, as(sessions[2])],
      [`DELETE P/locks/${second.lock}`, undefined, 200, { existed: true }, as(sessions[1])],
    ]);
    expect((await scenario.call('GET P/locks')).body.locks).toEqual([]);
  });

  it('doesn’t let a reader past a writer that waits, and lets all readers in together', async () => {
    const [one, two, three, four] = [await begin(), await begin(), await begin(), await begin()];
    const reading = await acquire(one, { ...A, mode: 'shared' });
    const writing = await wait(two, A);
    const readers = [await wait(three, { ...A, mode: 'shared' }), await wait(four, { ...A, mode: 'shared' })];
    await scenario.calls([`DELETE P/locks/${reading.lock}`, undefined, as(one)]);
    expect([await stateOf(writing), ...(await Promise.all(readers.map(stateOf)))]).toEqual([
      'granted',
      'waiting',
      'waiting',
    ]);
    await scenario.calls([`DELETE P/locks/${writing.lock}`, undefined, as(two)]);
    expect(await Promise.all(readers.map(stateOf))).toEqual(['granted', 'granted']);
  });

  it('answers who waits for it when it is granted, and who waits too long', async () => {
    const [one, two] = [await begin(), await begin()];
    const first = await acquire(one, A);
    const second = await wait(two, A);
    const waiting = scenario.call(`GET P/locks/${second.lock}?waitMs=20000`);
    await scenario.calls([`DELETE P/locks/${first.lock}`, undefined, as(one)]);
    expect((await waiting).body).toMatchObject({ state: 'granted', lock: second.lock });
    const third = (await ask(one, { ...A, waitMs: 300 })).body;
    expect(third).toMatchObject({ state: 'waiting', position: 1 });
    expect((await scenario.call(`GET P/locks/${third.lock}?waitMs=20000`)).status).toBe(404);
    expect(await stateOf(second)).toBe('granted');
    const { body } = await scenario.call('GET P/changes?since=start&collection=_locks');
    expect(body.commits.at(-1)).toMatchObject({ subject: 'system', changes: [{ op: 'delete', reason: 'timeout' }] });
  });

  it('takes all scopes or none', async () => {
    const [one, two] = [await begin(), await begin()];
    await acquire(one, { scopes: [{ collection: 'things', key: 'b' }] });
    const both = {
      scopes: [
        { collection: 'things', key: 'a' },
        { collection: 'things', key: 'b' },
      ],
    };
    expect((await ask(two, both)).body).toMatchObject({ code: 'lockConflict' });
    await scenario.play([['PUT C/items/a', { attributes: {} }, 201]]);
    await acquire(two, { scopes: [...A.scopes, ...A.scopes, { collection: 'things', prefix: 'a' }] });
  });

  it.each([2, 3, 4, 5])('refuses the request that closes a cycle of %i', async (count) => {
    const sessions = await Promise.all(Array.from({ length: count }, () => begin()));
    const key = (i: number) => ({ scopes: [{ collection: 'things', key: `k${i % count}` }] });
    for (const [i, session] of sessions.entries()) await acquire(session, key(i));
    for (const [i, session] of sessions.slice(0, -1).entries()) await wait(session, key(i + 1));
    const before = await scenario.revision();
    const { status, body } = await ask(sessions[count - 1] as Held, { ...key(count), waitMs: 1000 });
    expect({ status, code: body.code }).toEqual({ status: 409, code: 'deadlock' });
    expect(body.cycle.toSorted()).toEqual(sessions.map(({ session }) => session).toSorted());
    expect(body.cycle[0]).toBe(sessions[count - 1]?.session);
    expect(await scenario.revision()).toBe(before);
    await acquire(sessions[0] as Held, { scopes: [{ collection: 'free' }] });
  });

  it('narrows at once under its fence, and lets in who waited for what it gave up', async () => {
    const [one, two] = [await begin(), await begin()];
    const lock = await acquire(one, { scopes: [{ collection: 'things' }] });
    const other = await wait(two, { scopes: [{ collection: 'things', key: 'b' }] });
    await scenario.play([
      [`PATCH P/locks/${lock.lock}`, { scopes: A.scopes }, 200, { state: 'granted', fence: lock.fence, ...A }, as(one)],
      ['PUT C/items/a', { attributes: {} }, 201, {}, proof(lock)],
      [`PATCH P/locks/${lock.lock}`, { mode: 'shared' }, 200, { fence: lock.fence, mode: 'shared' }, as(one)],
      [`PATCH P/locks/${lock.lock}`, {}, 200, { fence: lock.fence, mode: 'shared' }, as(one)],
    ]);
    expect(await stateOf(other)).toBe('granted');
    await acquire(two, { ...A, mode: 'shared' });
  });

  it('widens under a new fence, waits for it while what it holds stays, or is refused', async () => {
    const [one, two, three] = [await begin(), await begin(), await begin()];
    const lock = await acquire(one, { ...A, mode: 'shared' });
    const other = await acquire(two, { ...A, mode: 'shared' });
    const late = await wait(three, A);
    const path = `P/locks/${lock.lock}`;
    await scenario.play([
      [`PATCH ${path}`, { mode: 'exclusive' }, 409, { code: 'lockConflict', holders: [{ lock: other.lock }] }, as(one)],
      [
        `PATCH ${path}`,
        { mode: 'exclusive', waitMs: 60_000 },
        202,
        { state: 'waiting', mode: 'shared', fence: lock.fence, wanted: { mode: 'exclusive' }, position: 1 },
        as(one),
      ],
      ['PUT C/items/a', { attributes: {} }, 423, {}, proof(lock)],
    ]);
    // Its turn is before those who hold nothing, though they asked first.
    await scenario.calls([`DELETE P/locks/${other.lock}`, undefined, as(two)]);
    const widened = (await scenario.call(`GET ${path}`)).body;
    expect(widened).toMatchObject({ state: 'granted', mode: 'exclusive' });
    expect(widened.fence).toBeGreaterThan(lock.fence);
    expect(await stateOf(late)).toBe('waiting');
    await scenario.play([
      ['PUT C/items/a', { attributes: {} }, 412, { code: 'lockLost', fence: widened.fence }, proof(lock)],
      ['PUT C/items/a', { attributes: {} }, 201, {}, proof(widened)],
      [`PATCH ${path}`, { scopes: [{}] }, 200, { state: 'granted' }, as(one)],
    ]);
    expect((await scenario.call(`GET ${path}`)).body.fence).toBeGreaterThan(widened.fence);
  });

  it('refuses two that hold and both want more', async () => {
    const [one, two] = [await begin(), await begin()];
    const [a, b] = [await acquire(one, { ...A, mode: 'shared' }), await acquire(two, { ...A, mode: 'shared' })];
    const more = { mode: 'exclusive', waitMs: 60_000 };
    await scenario.play([
      [`PATCH P/locks/${a.lock}`, more, 202, {}, as(one)],
      [`PATCH P/locks/${b.lock}`, more, 409, { code: 'deadlock', cycle: [two.session, one.session] }, as(two)],
      [`GET P/locks/${b.lock}`, undefined, 200, { state: 'granted', mode: 'shared', fence: b.fence }],
    ]);
  });

  it('refuses to widen at once where that closes a cycle', async () => {
    const [one, two, three] = [await begin(), await begin(), await begin()];
    const key = (...keys: string[]) => ({ scopes: keys.map((each) => ({ collection: 'things', key: each })) });
    await acquire(three, key('p'));
    await acquire(two, key('z'));
    await wait(two, key('p', 'q'));
    const own = await acquire(one, key('r'));
    await wait(one, key('z'));
    await scenario.play([
      [
        `PATCH P/locks/${own.lock}`,
        key('r', 'q'),
        409,
        { code: 'deadlock', cycle: [one.session, two.session] },
        as(one),
      ],
      [`GET P/locks/${own.lock}`, undefined, 200, { fence: own.fence, ...key('r') }],
      [`PATCH P/locks/${own.lock}`, key('r', 's'), 200, {}, as(one)],
    ]);
  });

  it('narrows over scopes that adjoin', async () => {
    const one = await begin();
    const range = (start: string, end: string) => ({ collection: 'things', start, end });
    const lock = await acquire(one, { scopes: [range('a', 'm'), range('m', 'z')] });
    await scenario.play([
      [`PATCH P/locks/${lock.lock}`, { scopes: [range('b', 'y')] }, 200, { fence: lock.fence }, as(one)],
    ]);
    expect(
      (await scenario.calls([`PATCH P/locks/${lock.lock}`, { scopes: [range('b', 'z')] }, as(one)])).body.fence,
    ).toBeGreaterThan(lock.fence);
  });

  it('is about so much and no more, also after it was widened', async () => {
    const one = await begin();
    const names = Array.from({ length: 500 }, (_, i) => `${'x'.repeat(100)}${i}`);
    const scopes = (count: number) => ({
      scopes: Array.from({ length: count }, () => ({ collection: 'c', attributes: names })),
    });
    expect((await ask(one, scopes(2))).body).toMatchObject({ status: 413, code: 'tooLarge' });
    const lock = await acquire(one, { scopes: [{ collection: 'd' }] });
    await scenario.play([[`PATCH P/locks/${lock.lock}`, scopes(2), 413, { code: 'tooLarge' }, as(one)]]);
    const statuses = new Set<number>();
    for (let i = 0; i < 170; i++) {
      const small = await ask(one, { mode: 'shared', scopes: [{ collection: 'e' }] });
      statuses.add(small.status);
      if (small.status === 201)
        statuses.add((await scenario.call(`PATCH P/locks/${small.body.lock}`, scopes(1), as(one))).status);
    }
    expect([...statuses].sort()).toEqual([200, 201, 429]);
    await scenario.calls([`DELETE P/sessions/${one.session}`, undefined, as(one)]);
    expect((await scenario.call('GET P/locks')).body.locks).toEqual([]);
  });

  it('keeps others from what is said of a collection that is locked as a whole', async () => {
    await scenario.calls(['PUT C', {}]);
    const one = await begin();
    await acquire(one, { scopes: [{ collection: 'things' }] });
    const entry = 'P/collections/_dictionary/items/things';
    await scenario.play([
      [`DELETE ${entry}`, undefined, 423],
      [`PUT ${entry}`, { attributes: { schema: { required: ['x'] } } }, 423],
      ['PATCH C', { description: 'mine' }, 423],
      ['POST P/collections/_dictionary/delete', { prefix: 'things' }, 423],
      ['POST P/batch', { ops: [{ op: 'delete', collection: '_dictionary', key: 'things' }] }, 423],
      ['PATCH P', { description: 'a pool' }, 200],
      ['PATCH C', { description: 'mine' }, 200, {}, as(one)],
    ]);
    await acquire(one, { scopes: [{}] });
    await scenario.play([
      ['PATCH P', { description: 'another' }, 423],
      ['PUT P', {}, 423],
      ['PATCH P', { description: 'a pool' }, 200],
      ['PATCH P', { description: 'another' }, 200, {}, as(one)],
    ]);
  });

  it('lets the other ops of a batch through where one would make a collection that may not be', async () => {
    await scenario.fill({ a: {} });
    await acquire(await begin(), { scopes: [{ collection: '_dictionary' }] });
    const put = (collection: string) => ({ op: 'put', collection, key: 'b', attributes: { x: 1 } });
    await scenario.play([
      [
        'POST P/batch',
        { atomic: false, ops: [put('things'), put('new')] },
        200,
        { results: [{ status: 201 }, { status: 423 }] },
      ],
      ['POST P/batch', { ops: [put('things'), put('new')] }, 423, { errors: [{ index: 1 }] }],
    ]);
  });

  it('is told by its requestId from another request', async () => {
    const one = await begin();
    const lock = await acquire(one, { ...A, requestId: 'r' });
    expect((await ask(one, { ...A, requestId: 'r', mode: 'shared' })).body).toMatchObject({
      code: 'conflict',
      lock: lock.lock,
    });
    await scenario.calls([`PATCH P/locks/${lock.lock}`, { mode: 'shared' }, as(one)]);
    expect((await ask(one, { ...A, requestId: 'r' })).body).toMatchObject({ lock: lock.lock, mode: 'shared' });
  });

  it('heeds what the headers say on every call', async () => {
    const one = await begin({ name: 'ada' });
    const lock = await acquire(one, A);
    const stale = as({ ...one, epoch: 9 });
    const gone = proof({ lock: 'gone', fence: 1 });
    const body = { session: 'ada', mode: 'shared', scopes: [{}] };
    await scenario.play([
      [`POST P/locks/${lock.lock}/break`, {}, 409, { code: 'sessionFenced' }, stale],
      ['POST P/locks', { ...body, epoch: 1 }, 409, { code: 'sessionFenced' }, stale],
      ['POST P/locks', body, 412, { code: 'lockLost' }, gone],
      [`PATCH P/locks/${lock.lock}`, { mode: 'shared' }, 412, { code: 'lockLost' }, { ...gone, ...as(one) }],
      ['POST P/locks', { ...body, session: (await begin()).session }, 400, { code: 'badRequest' }, as(one)],
      ['POST P/locks', body, 201, { session: one.session }, as(one)],
    ]);
  });

  it('lets a thousand wait in one queue and no more', async () => {
    const holder = await begin();
    const held = await acquire(holder, A);
    const sessions: Held[] = [];
    for (let i = 0; i < 10; i++) sessions.push(...(await Promise.all(Array.from({ length: 101 }, () => begin()))));
    const statuses: number[] = [];
    for (let i = 0; i < 10; i++) {
      const portion = sessions.slice(i * 101, (i + 1) * 101);
      statuses.push(
        ...(await Promise.all(portion.map(async (by) => (await ask(by, { ...A, waitMs: 60_000 })).status))),
      );
    }
    const count = (status: number) => statuses.filter((each) => each === status).length;
    expect({ waiting: count(202), refused: count(429) }).toEqual({ waiting: 1000, refused: 10 });
    const { body } = await scenario.call('POST P/collections/_locks/query', {
      where: { waitsFor: { has: held.lock } },
    });
    expect(body.items).toHaveLength(1);
    await scenario.calls([`DELETE P/locks/${held.lock}`, undefined, as(holder)]);
    const granted = { where: { state: 'granted' }, fields: ['session'] };
    expect((await scenario.call('POST P/collections/_locks/query', granted)).body.items).toMatchObject([
      { key: body.items[0].key },
    ]);
  }, 60_000);

  it('tells the place in the queue after a restart', async () => {
    const own = await startServer({ database: name });
    scenario = new Scenario(own);
    const [one, two] = [await begin({ ttlMs: 60_000 }), await begin({ ttlMs: 60_000 })];
    await acquire(one, A);
    const waiting = await wait(two, A);
    await own.kill();
    const again = await startServer({ database: name, databaseUrl: own.databaseUrl });
    scenario = new Scenario(again, scenario.pool);
    await scenario.play([[`GET P/locks/${waiting.lock}`, undefined, 200, { position: 1, state: 'waiting' }]]);
    await again.stop();
  });

  it('ends with its session, and makes way by the same commit', async () => {
    const [one, two] = [await begin(), await begin()];
    const lock = await acquire(one, A);
    const next = await wait(two, A);
    const { revision } = (await scenario.calls([`DELETE P/sessions/${one.session}`, undefined, as(one)])).body;
    expect((await scenario.call(`GET P/locks/${next.lock}`)).body).toMatchObject({ state: 'granted', fence: revision });
    expect(await stateOf(lock)).toBe('gone');
    const { body } = await scenario.call('GET P/changes?since=start&collection=_clients');
    expect(body.commits.at(-1)).toMatchObject({ revision, changes: [{ op: 'delete', key: one.session }] });
  });

  it('is lost when its lease runs out, and the late holder is refused before the system has seen to it', async () => {
    const [one, two] = [await begin({ ttlMs: 1000 }), await begin()];
    const lock = await acquire(one, A);
    const next = await wait(two, A);
    let refused: Answer;
    // Nothing that the holder does here renews its lease.
    do {
      await sleep(50);
      refused = await scenario.call('PUT C/items/a', { attributes: { x: Math.random() } }, proof(lock));
    } while (refused.status < 300);
    expect(refused.body).toMatchObject({ code: 'lockLost', fence: null });
    // Not `refused`: the commit that ends it may come meanwhile.
    await scenario.play([['PUT C/items/a', { attributes: { x: -1 } }, 409, { code: 'sessionFenced' }, as(one)]]);
    const granted = (await scenario.call(`GET P/locks/${next.lock}?waitMs=20000`)).body;
    expect(granted.state).toBe('granted');
    await scenario.play([
      ['PUT C/items/a', { attributes: { x: 'next' } }, 200, {}, proof(granted)],
      ['PUT C/items/a', { attributes: { x: 'late' } }, 412, {}, proof(lock)],
    ]);
  });

  it('gets a new fence when its session is resumed, so that the older process can prove nothing', async () => {
    const one = await begin({ name: 'worker' });
    const lock = await acquire(one, A);
    const again = (await scenario.calls(['PUT P/sessions/worker'])).body;
    const now = (await scenario.call(`GET P/locks/${lock.lock}`)).body;
    expect(now).toMatchObject({ state: 'granted', session: one.session, fence: again.revision });
    await scenario.play([
      ['PUT C/items/a', { attributes: {} }, 412, { code: 'lockLost' }, proof(lock)],
      ['PUT C/items/a', { attributes: {} }, 409, { code: 'sessionFenced' }, as(one)],
      ['PUT C/items/a', { attributes: {} }, 201, {}, as(again)],
      ['PUT C/items/a', { attributes: { x: 1 } }, 200, {}, proof(now)],
    ]);
  });

  it('is broken by others, at once or after a grace', async () => {
    const [one, two] = [await begin(), await begin()];
    const first = await acquire(one, A);
    const second = await wait(two, A);
    await scenario.play([
      [`POST P/locks/${first.lock}/break`, undefined, 200, { lock: first.lock, state: 'broken' }],
      ['PUT C/items/a', { attributes: {} }, 412, {}, proof(first)],
      [`POST P/locks/${first.lock}/break`, {}, 404, { code: 'notFound' }],
    ]);
    const third = await wait(one, A);
    const { body } = await scenario.call(`POST P/locks/${second.lock}/break`, { graceMs: 700 });
    expect(body).toMatchObject({ state: 'granted', breakAt: expect.any(String) });
    await scenario.play([['PUT C/items/a', { attributes: {} }, 201, {}, as(two)]]);
    expect((await scenario.call(`GET P/locks/${third.lock}?waitMs=20000`)).body.state).toBe('granted');
    const changes = (await scenario.call('GET P/changes?since=start&collection=_locks&values=none')).body.commits.at(
      -1,
    );
    expect(changes).toMatchObject({
      subject: 'system',
      changes: expect.arrayContaining([expect.objectContaining({ op: 'delete', key: second.lock, reason: 'broken' })]),
    });
  });

  it('is needed where the dictionary says so', async () => {
    await scenario.calls(['PUT P/collections/_dictionary/items/things', { attributes: { requireLock: true } }]);
    const one = await begin();
    const bare = await scenario.call('PUT C/items/a', { attributes: { x: 1 } });
    expect(bare.body).toMatchObject({ status: 423, code: 'locked', retryable: false });
    const lock = await acquire(one, { scopes: [{ collection: 'things', key: 'a', attributes: ['x'] }] });
    await scenario.play([
      ['PUT C/items/a', { attributes: { x: 1 } }, 201, {}, proof(lock)],
      ['PATCH C/items/a', { attributes: { y: 1 } }, 423, {}, proof(lock)],
      ['POST C/delete', { prefix: '' }, 423],
      ['POST C/delete', { prefix: '' }, 200, {}, proof(lock)],
      ['PUT P/collections/_dictionary/items/things', { attributes: { requireLock: 'yes' } }, 422, { code: 'invalid' }],
      ['PUT C/items/a', { attributes: { x: 1 } }, 201, {}, proof(lock)],
      ['DELETE C', undefined, 423],
      [
        'POST P/batch',
        {
          ops: [
            { op: 'delete', collection: 'things', key: 'a' },
            { op: 'put', collection: '_dictionary', key: 'things', attributes: {} },
          ],
        },
        423,
      ],
      ['DELETE C', undefined, 200, {}, proof(lock)],
    ]);
  });

  it('keeps items from ending while they are locked', async () => {
    await scenario.calls(['PUT P/collections/_dictionary/items/things', { attributes: { expiry: 'until' } }]);
    const one = await begin();
    const lock = await acquire(one, { scopes: [{ collection: 'things', prefix: 'a' }] });
    // More than are looked at in one go, and all before the one that is free.
    const ops = Array.from({ length: 600 }, (_, i) => ({
      op: 'put',
      collection: 'things',
      key: `a${i}`,
      attributes: { until: 0 },
    }));
    await scenario.calls([
      'POST P/batch',
      { ops: [...ops, { ...ops[0], key: 'a', attributes: { until: 1 } }] },
      as(one),
    ]);
    await scenario.fill({ b: { until: 2 } });
    while (await scenario.attributes('b')) await sleep(50);
    await sleep(1500);
    expect(await scenario.attributes('a')).toEqual({ until: 1 });
    await scenario.calls([`DELETE P/locks/${lock.lock}`, undefined, as(one)]);
    while (await scenario.attributes('a')) await sleep(50);
  });

  it('shows those who hold and who wait as a collection', async () => {
    const [one, two] = [await begin(), await begin()];
    const first = await acquire(one, A);
    const stream = await scenario.watch('P/collections/_locks/attach');
    await stream.next(({ event }) => event === 'live');
    const second = await wait(two, A);
    expect((await stream.next()).data.changes).toMatchObject([
      { op: 'add', key: second.lock, attributes: { state: 'waiting', session: two.session, waitsFor: [first.lock] } },
    ]);
    await scenario.calls([`DELETE P/locks/${first.lock}`, undefined, as(one)]);
    expect((await stream.next()).data.changes).toMatchObject([
      { op: 'delete', key: first.lock },
      {
        op: 'change',
        key: second.lock,
        attributes: { state: 'granted' },
        removed: expect.arrayContaining(['waitsFor']),
      },
    ]);
    stream.close();
    const query = { where: { session: two.session, state: 'granted' } };
    expect((await scenario.call('POST P/collections/_locks/query', query)).body.items).toMatchObject([
      { key: second.lock },
    ]);
  });

  it('belongs to its session', async () => {
    const [one, two] = [await begin(), await begin()];
    const { lock } = await acquire(one, A);
    await scenario.refused(403, 'forbidden', `DELETE P/locks/${lock}`);
    await scenario.refused(403, 'forbidden', `DELETE P/locks/${lock}`, undefined, as(two));
    await scenario.refused(403, 'forbidden', `PATCH P/locks/${lock}`, { mode: 'shared' }, as(two));
    await scenario.refused(403, 'forbidden', `PATCH P/locks/${lock}`, { mode: 'shared' });
    await scenario.refused(404, 'notFound', 'PATCH P/locks/other', { mode: 'shared' }, as(one));
    await scenario.refused(404, 'notFound', 'GET P/locks/other');
    await scenario.refused(409, 'sessionFenced', `DELETE P/locks/${lock}`, undefined, as({ ...one, epoch: 2 }));
  });

  const faults: [body: object, status: number, code: string, pointer?: string][] = [
    [{ mode: 'strong' }, 400, 'badRequest', '/mode'],
    [{ scopes: [] }, 400, 'badRequest', '/scopes'],
    [{ scopes: undefined }, 400, 'badRequest', '/scopes'],
    [{ scopes: [{ key: 'a' }] }, 400, 'badRequest', '/scopes/0/key'],
    [{ scopes: [{ collection: 'c', key: 'a', prefix: 'a' }] }, 400, 'badRequest', '/scopes/0/prefix'],
    [{ scopes: [{}, { collection: 'c', start: 'b', end: 'b' }] }, 400, 'badRequest', '/scopes/1/end'],
    [{ scopes: [{ collection: 'c', start: 'c', end: 'b' }] }, 400, 'badRequest', '/scopes/0/end'],
    [{ scopes: [{ collection: 'c', attributes: [] }] }, 400, 'badRequest', '/scopes/0/attributes'],
    [{ scopes: [{ collection: 'c/d' }] }, 400, 'invalidName', '/scopes/0/collection'],
    [{ scopes: [{ colection: 'c' }] }, 400, 'badRequest', '/scopes/0/colection'],
    [{ scopes: Array.from({ length: 101 }, () => ({})) }, 400, 'badRequest', '/scopes'],
    [{ waitMs: -1 }, 400, 'badRequest', '/waitMs'],
    [{ waitMs: 600_001 }, 400, 'badRequest', '/waitMs'],
    [{ requestId: '' }, 400, 'badRequest', '/requestId'],
    [{ session: undefined }, 400, 'badRequest', '/session'],
    [{ session: 'nobody' }, 409, 'sessionFenced'],
    [{ epoch: 2 }, 409, 'sessionFenced'],
  ];
  it.each(faults)('refuses to ask for it with %#', async (fault, status, code, pointer) => {
    const one = await begin();
    const answer = await scenario.refused(status, code, 'POST P/locks', {
      ...{ session: one.session, mode: 'exclusive', scopes: [{}] },
      ...fault,
    });
    if (pointer) expect(pointersOf(answer)).toEqual([pointer]);
  });

  const stories: Story[] = [
    [
      'a proof that isn’t one',
      ['PUT C/items/a', { attributes: {} }, 400, { code: 'badRequest' }, { 'stargus-lock': 'x' }],
    ],
    [
      'a proof without a number',
      ['PUT C/items/a', { attributes: {} }, 400, { code: 'badRequest' }, { 'stargus-lock': 'x;fence=a' }],
    ],
    [
      'a batch with a proof that isn’t one',
      ['POST P/batch', { ops: [], locks: [{ lock: 'a' }] }, 400, { code: 'badRequest' }],
    ],
  ];
  it.each(rowsOf(stories))('refuses %s', (_says, steps) => scenario.play(steps));
});
