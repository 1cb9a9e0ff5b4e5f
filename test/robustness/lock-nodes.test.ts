/**
 * Sessions and locks are of the database, not of a node: what one node granted excludes at the other, who waits at one is
 * granted by the other's commit, and when a node is killed its clients go on at the other with all that they had.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Server, startServer } from '../support/server.js';
import { Client, type Headers, inParallel, pause } from './client.js';

interface Session {
  readonly session: string;
  readonly epoch: number;
}

interface Lock {
  readonly lock: string;
  readonly fence: number;
}

const as = ({ session, epoch }: Session): Headers => ({ 'stargus-session': `${session};epoch=${epoch}` });
const proof = ({ lock, fence }: Lock): Headers => ({ 'stargus-lock': `${lock};fence=${fence}` });
const on = (key: string) => [{ collection: 'things', key }];

describe('sessions and locks over two nodes', () => {
  let a: Server;
  let b: Server;
  let onA: Client;
  let onB: Client;
  let pools = 0;
  let P = '';
  const node = (i: number) => (i % 2 ? onB : onA);
  beforeAll(async () => {
    a = await startServer({ database: 'mariadb' });
    b = await startServer({ database: 'mariadb', databaseUrl: a.databaseUrl });
    onA = new Client(() => a.url);
    onB = new Client(() => b.url);
  });
  beforeEach(() => {
    P = `/v1/pools/p${++pools}`;
  });
  afterAll(() => {
    onA?.close();
    onB?.close();
  });

  const begin = async (at: Client, body: object = {}): Promise<Session> =>
    (await at.ok(`POST ${P}/sessions`, body)).body;
  const ask = (at: Client, { session }: Session, key: string, more: object = {}) =>
    at.call(`POST ${P}/locks`, { session, mode: 'exclusive', scopes: on(key), ...more });
  const acquire = async (at: Client, by: Session, key: string): Promise<Lock> => {
    const { status, body } = await ask(at, by, key);
    expect({ status, body }).toMatchObject({ status: 201, body: { state: 'granted' } });
    return body;
  };
  const wait = async (at: Client, by: Session, key: string): Promise<string> => {
    const { status, body } = await ask(at, by, key, { waitMs: 60_000 });
    expect({ status, body }).toMatchObject({ status: 202, body: { state: 'waiting' } });
    return body.lock;
  };
  const put = (at: Client, key: string, n: number, headers?: Headers) =>
    at.call(`PUT ${P}/collections/things/items/${key}`, { attributes: { n } }, headers);
  const release = (at: Client, by: Session, lock: string) => at.ok(`DELETE ${P}/locks/${lock}`, undefined, as(by));

  test('a lock asked for at one excludes at the other, which also takes its proof, alters it and gives it back', async () => {
    const [one, two] = [await begin(onA), await begin(onB)];
    const lock = await acquire(onA, one, 'k');
    expect((await ask(onB, two, 'k')).body).toMatchObject({ code: 'lockConflict', holders: [{ lock: lock.lock }] });
    expect((await put(onB, 'k', 1)).body).toMatchObject({ code: 'locked', locks: [{ lock: lock.lock }] });
    expect((await put(onB, 'k', 1, as(two))).status).toBe(423);
    expect((await put(onB, 'k', 1, proof(lock))).status).toBe(201);
    expect((await put(onB, 'k', 2, as(one))).status).toBe(200);
    const path = `${P}/locks/${lock.lock}`;
    const widened = (await onB.ok(`PATCH ${path}`, { scopes: [{ collection: 'things' }] }, as(one))).body;
    expect((await put(onA, 'k', 3, proof(lock))).body).toMatchObject({ code: 'lockLost', fence: widened.fence });
    expect((await put(onA, 'other', 3)).status).toBe(423);
    await release(onB, one, lock.lock);
    expect((await put(onA, 'k', 4, proof(widened))).body).toMatchObject({ code: 'lockLost', fence: null });
    await acquire(onA, two, 'k');
  });

  test('asked for by many at both at once, it is granted to one', async () => {
    const sessions = await Promise.all(Array.from({ length: 8 }, (_, i) => begin(node(i))));
    for (let round = 0; round < 10; round++) {
      const answers = await Promise.all(sessions.map((session, i) => ask(node(i + round), session, 'k')));
      const winner = answers.findIndex(({ status }) => status === 201);
      expect(answers.filter(({ status }) => status === 409)).toHaveLength(7);
      for (const { body } of answers)
        if (body.code) expect(body.holders).toMatchObject([{ session: sessions[winner]?.session }]);
      await release(node(round), sessions[winner] as Session, answers[winner]?.body.lock);
    }
  });

  test('who waits at one is granted by the release at the other, in the order of the queue', async () => {
    const sessions = await Promise.all(Array.from({ length: 6 }, (_, i) => begin(node(i))));
    let held = (await acquire(onA, sessions[0] as Session, 'k')).lock;
    const queue = await Promise.all(sessions.slice(1).map((by, i) => ask(node(i), by, 'k', { waitMs: 60_000 })));
    const inOrder = queue.map(({ body }) => body).sort((x, y) => x.revision - y.revision);
    expect(inOrder.map(({ position }) => position)).toEqual([1, 2, 3, 4, 5]);
    let holder = sessions[0] as Session;
    for (const [i, { lock, session }] of inOrder.entries()) {
      const told = [onA, onB].map((at) => at.ok(`GET ${P}/locks/${lock}?waitMs=9000`));
      const { revision } = (await release(node(i), holder, held)).body;
      for (const { body } of await Promise.all(told)) expect(body).toMatchObject({ state: 'granted', fence: revision });
      holder = sessions.find((each) => each.session === session) as Session;
      held = lock;
    }
  });

  test('a session begun at one is renewed, resumed and ended at the other', async () => {
    const one = await begin(onA, { name: 'one', ttlMs: 1000 });
    const lock = await acquire(onA, one, 'k');
    for (let i = 0; i < 15; i++) {
      await pause(100);
      if (i % 2) await onB.ok(`POST ${P}/sessions/one/renew`, undefined, as(one));
      else await onB.ok(`GET ${P}`, undefined, as(one));
    }
    expect((await put(onA, 'k', 1, proof(lock))).status).toBe(201);
    const again = (await onB.ok(`PUT ${P}/sessions/one`, { ttlMs: 60_000 })).body;
    expect(again).toMatchObject({ session: one.session, epoch: 2 });
    expect((await put(onA, 'k', 2, proof(lock))).body).toMatchObject({ code: 'lockLost', fence: again.revision });
    expect((await put(onA, 'k', 2, as(one))).body).toMatchObject({ code: 'sessionFenced', epoch: 2 });
    expect((await put(onA, 'k', 2, as(again))).status).toBe(200);
    await onB.ok(`DELETE ${P}/sessions/one`, undefined, as(again));
    expect((await put(onA, 'k', 3, as(again))).body.code).toBe('sessionFenced');
    expect((await put(onA, 'k', 3)).status).toBe(200);
  });

  test('a session that was resumed or ended at one is fenced at the other, also where it only reads', async () => {
    const one = await begin(onA, { name: 'one', ttlMs: 600_000 });
    const read = (at: Client, by: Session) => at.call(`GET ${P}`, undefined, as(by));
    for (const at of [onA, onB]) expect((await read(at, one)).status).toBe(200);
    const again = (await onB.ok(`PUT ${P}/sessions/one`)).body;
    for (const at of [onA, onB]) {
      expect((await read(at, one)).body).toMatchObject({ code: 'sessionFenced', epoch: 2 });
      expect((await read(at, again)).status).toBe(200);
    }
    await onA.ok(`DELETE ${P}/sessions/one`, undefined, as(again));
    for (const at of [onA, onB]) expect((await read(at, again)).body.code).toBe('sessionFenced');
  });

  test.each([2, 5])('a cycle of %i that is closed over both is refused to who closes it', async (count) => {
    const sessions = await Promise.all(Array.from({ length: count }, (_, i) => begin(node(i))));
    const locks: Lock[] = [];
    for (const [i, session] of sessions.entries()) locks.push(await acquire(node(i), session, `k${i}`));
    const waits: string[] = [];
    for (const [i, session] of sessions.slice(0, -1).entries()) waits.push(await wait(node(i), session, `k${i + 1}`));
    const last = sessions[count - 1] as Session;
    const { body } = await ask(node(count), last, 'k0', { waitMs: 60_000 });
    expect(body.code).toBe('deadlock');
    expect(body.cycle.toSorted()).toEqual(sessions.map(({ session }) => session).toSorted());
    await release(node(count), last, locks[count - 1]?.lock as string);
    const { body: granted } = await onA.ok(`GET ${P}/locks/${waits.at(-1)}?waitMs=9000`);
    expect(granted).toMatchObject({ state: 'granted', session: sessions[count - 2]?.session });
  });

  test('a numbered batch that is repeated at the other, or sent to both, applies once', async () => {
    const one = await begin(onA, { name: 'one' });
    const add = (at: Client, sequence: number) => {
      const ops = [
        { op: 'increment', collection: 'things', key: 'n', attribute: 'n', by: 1 },
        { op: 'memento', value: sequence },
      ];
      return at.call(`POST ${P}/batch`, { session: { ...pick(one), sequence }, ops });
    };
    const first = await add(onA, 1);
    const second = await add(onB, 1);
    expect(second.body).toEqual(first.body);
    expect(second.headers['idempotency-replayed']).toBe('true');
    expect((await add(onB, 3)).body).toMatchObject({ code: 'sequenceGap', expected: 2 });
    for (let sequence = 2; sequence <= 20; sequence++) {
      const answers = await Promise.all([onA, onB, onA, onB].map((at) => add(at, sequence)));
      for (const { body } of answers) expect(body).toEqual(answers[0]?.body);
      expect(answers.filter(({ headers }) => headers['idempotency-replayed'] === undefined)).toHaveLength(1);
    }
    expect((await onA.ok(`GET ${P}/collections/things/items/n`)).body.attributes).toEqual({ n: 20 });
    expect((await onB.ok(`PUT ${P}/sessions/one`)).body).toMatchObject({ lastSequence: 20, memento: 20 });
  });

  test('when one is killed its clients go on at the other with their sessions, locks, waits and numbers', async () => {
    const [one, two] = [await begin(onA, { name: 'one' }), await begin(onA)];
    const gone = await begin(onA, { ttlMs: 1000 });
    const lock = await acquire(onA, one, 'k');
    const waiting = await wait(onA, two, 'k');
    const abandoned = await acquire(onA, gone, 'other');
    const batch = (at: Client, sequence: number) => {
      const ops = [{ op: 'increment', collection: 'things', key: 'k', attribute: 'n', by: 1 }];
      return at.call(`POST ${P}/batch`, { session: { ...pick(one), sequence }, locks: [lock].map(pickLock), ops });
    };
    const answered = await batch(onA, 1);
    expect(answered.status).toBe(200);
    const cut = [onA.call(`GET ${P}/locks/${waiting}?waitMs=9000`), batch(onA, 2)].map((call) =>
      call.catch(() => 'cut'),
    );
    await a.kill();
    await Promise.all(cut);
    expect((await batch(onB, 1)).body).toEqual(answered.body);
    // It may have come through before the kill, or not.
    expect((await batch(onB, 2)).body.results).toMatchObject([{ value: 2 }]);
    expect((await put(onB, 'k', 0, as(two))).status).toBe(423);
    expect((await put(onB, 'k', 3, proof(lock))).status).toBe(200);
    // What nobody renews ends without the node at which it began.
    await onB.ok(`GET ${P}/locks/${await wait(onB, one, 'other')}?waitMs=9000`);
    expect((await put(onB, 'other', 1, proof(abandoned))).body.code).toBe('lockLost');
    const told = onB.ok(`GET ${P}/locks/${waiting}?waitMs=9000`);
    const { revision } = (await release(onB, one, lock.lock)).body;
    expect((await told).body).toMatchObject({ state: 'granted', fence: revision });
    a = await startServer({ database: 'mariadb', databaseUrl: b.databaseUrl });
    expect((await put(onA, 'k', 0, as(one))).body).toMatchObject({ code: 'locked', locks: [{ lock: waiting }] });
    expect((await put(onA, 'k', 4, proof({ lock: waiting, fence: revision }))).status).toBe(200);
    expect((await batch(onA, 2)).body.results).toMatchObject([{ value: 2 }]);
  });

  test('locks that are taken and given back at both at once end in the same queue at both', async () => {
    const sessions = await Promise.all(Array.from({ length: 8 }, (_, i) => begin(node(i))));
    const works = sessions.map((session, i) => async () => {
      for (let round = 0; round < 12; round++) {
        const { body } = await ask(node(i + round), session, `k${(i + round) % 3}`, { waitMs: 60_000 });
        if (body.state === 'waiting' && round % 3) await node(round).call(`GET ${P}/locks/${body.lock}?waitMs=200`);
        if (round < 11) await release(node(i + round + 1), session, body.lock);
      }
    });
    await inParallel(8, works);
    const list = async (at: Client) => (await at.ok(`GET ${P}/locks?limit=1000`)).body.locks;
    expect(await list(onA)).toHaveLength(8);
    expect(await list(onB)).toEqual(await list(onA));
  });
});

const pick = ({ session, epoch }: Session) => ({ session, epoch });
const pickLock = ({ lock, fence }: Lock) => ({ lock, fence });
