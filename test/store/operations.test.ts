/** The contract of the `OperationStore` port on every database: what is accepted once, in which order it is to be done, and when it is forgotten. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { NewOperation, OperationStore } from '../../src/engine/operations/operation-store.js';
import type { Store } from '../../src/engine/ports.js';
import { databases } from '../support/server.js';
import { openStore } from './book.js';
import { newOperation } from './new-operation.js';

const HOUR = 3_600_000;
const BOUNDS = { perPool: 100, perCaller: 50, bytesPerPool: 1_000_000 };
const ANSWER = { status: 201, headers: { etag: '"1"', 'stargus-revision': '1' }, body: '{"x":"ü"}' };

describe.each(databases)('operations in the store on $name', ({ name }) => {
  let whole: Store;
  let store: OperationStore;
  beforeAll(async () => {
    ({ store: whole } = await openStore(name));
    store = whole.operations;
  });
  afterAll(() => whole?.close());

  const accept = async (more?: Partial<NewOperation>, bounds = BOUNDS) => {
    const given = newOperation(more);
    return { id: given.id, accepted: await store.accept(given, bounds, HOUR) };
  };
  /** A pool of its own for each test. */
  const newPool = () => `pool-${randomUUID()}`;

  test('what is accepted is found as it is, and in its pool only', async () => {
    const pool = newPool();
    const { id, accepted } = await accept({ pool, session: 's' });
    expect(accepted).toMatchObject({ kind: 'accepted', operation: { id, pool, call: 'putItem', caller: 'ann' } });
    const found = await store.find(pool, id);
    expect(found).toEqual((accepted as { operation: unknown }).operation);
    expect(found).toMatchObject({ startedAt: undefined, doneAt: undefined, answer: undefined });
    expect((found?.expiresAt ?? 0) - (found?.acceptedAt ?? 0)).toBe(HOUR);
    expect([await store.find('another', id), await store.find(pool, 'none')]).toEqual([undefined, undefined]);
  });

  test('of one key there is one, from however many nodes it comes at once', async () => {
    const pool = newPool();
    const repeatable = { key: 'k', fingerprint: 'f' };
    const all = await Promise.all(Array.from({ length: 10 }, () => accept({ pool, repeatable })));
    const ids = new Set(all.map(({ accepted }) => (accepted as { operation: { id: string } }).operation.id));
    expect([ids.size, all.filter(({ accepted }) => accepted.kind === 'accepted').length]).toEqual([1, 1]);
    for (const { accepted } of all)
      if (accepted.kind !== 'accepted') expect(accepted).toMatchObject({ kind: 'present', fingerprint: 'f' });
    // Another's, or elsewhere, is another.
    expect((await accept({ pool, repeatable, caller: 'bob' })).accepted.kind).toBe('accepted');
    expect((await accept({ pool: newPool(), repeatable })).accepted.kind).toBe('accepted');
    // One that is over is forgotten.
    const [first] = [...ids] as [string];
    await store.finish(first, ANSWER, -1);
    expect((await accept({ pool, repeatable })).accepted.kind).toBe('accepted');
    expect(await store.find(pool, first)).toBeUndefined();
  });

  test.each([
    ['of a caller', { perCaller: 2 }, 'caller'],
    ['of a pool', { perPool: 2 }, 'pool'],
    ['of bytes', { bytesPerPool: 1500 }, 'pool'],
  ] as const)('a bound %s is kept, and what is done counts no more', async (_says, more, of) => {
    const pool = newPool();
    const bounds = { ...BOUNDS, ...more };
    const [first] = [await accept({ pool }, bounds), await accept({ pool }, bounds)];
    expect((await accept({ pool }, bounds)).accepted).toEqual({ kind: 'full', of });
    expect((await accept({ pool: newPool() }, bounds)).accepted.kind).toBe('accepted');
    if (of === 'caller') expect((await accept({ pool, caller: 'bob' }, bounds)).accepted.kind).toBe('accepted');
    await store.finish(first.id, ANSWER, HOUR);
    expect((await accept({ pool }, bounds)).accepted.kind).toBe('accepted');
  });

  test('they are claimed in order, the same one until it is done', async () => {
    const pool = newPool();
    // The order is that of acceptance, not of their names.
    const ids = ['z', 'b', 'a'].map((letter) => letter + randomUUID().slice(1));
    for (const id of ids) await store.accept(newOperation({ pool, id, session: 's' }), BOUNDS, HOUR);
    await accept({ pool, caller: 'bob' });
    const claim = async (caller = 'ann', busyMs = 0) => {
      const claimed = await store.claim(pool, caller, busyMs);
      return claimed?.kind === 'claimed' ? claimed : undefined;
    };
    const first = await claim();
    expect(first).toMatchObject({
      attempts: 1,
      task: { id: ids[0], pool, session: 's', body: Buffer.from([0, 255, 10]) },
    });
    expect(first?.task.subject).toEqual({ id: 'ann', isUnbound: false, restrictions: [] });
    // Others leave it to who has begun it, for a while.
    const busy = await store.claim(pool, 'ann', HOUR);
    expect(busy).toMatchObject({ kind: 'busy' });
    expect((busy as { ms: number }).ms).toBeLessThanOrEqual(HOUR);
    expect((await claim())?.attempts).toBe(2);
    await store.release(ids[0] as string);
    expect(await store.find(pool, ids[0] as string)).toMatchObject({ startedAt: undefined });
    expect((await claim('ann', HOUR))?.attempts).toBe(2);
    await store.finish(ids[0] as string, ANSWER, HOUR);
    expect((await claim())?.task.id).toBe(ids[1]);
    await store.finish(ids[1] as string, ANSWER, HOUR);
    await store.remove(pool, ids[2] as string);
    expect(await store.claim(pool, 'ann', 0)).toBeUndefined();
    expect((await claim('bob'))?.attempts).toBe(1);
  });

  test('it is done once: what it came to first stays', async () => {
    const pool = newPool();
    const { id } = await accept({ pool });
    await store.finish(id, ANSWER, HOUR);
    await store.finish(id, { ...ANSWER, status: 500 }, HOUR);
    await store.release(id);
    const found = await store.find(pool, id);
    expect(found?.answer).toEqual(ANSWER);
    expect(found?.startedAt).toBeDefined();
    expect(await store.openAmong([id, 'none'])).toEqual([]);
  });

  test('in a transaction it is locked, and noted with what else that does', async () => {
    const pool = newPool();
    const { id } = await accept({ pool });
    const { id: other } = await accept({ pool });
    const now = await whole.now();
    await expect(
      whole.transact(async (tx) => {
        await tx.finishOperations([{ id, answer: ANSWER, now, expiresAt: now + HOUR }]);
        throw new Error('not after all');
      }),
    ).rejects.toThrow('not after all');
    expect((await store.openAmong([id, other])).sort()).toEqual([id, other].sort());
    await whole.transact(async (tx) => {
      expect(await tx.operations([other, id, 'none'])).toHaveLength(2);
      await tx.finishOperations([{ id, answer: ANSWER, now, expiresAt: now + HOUR }]);
    });
    expect(await store.openAmong([id, other])).toEqual([other]);
    const marks = await whole.transact((tx) => tx.operations([id]));
    expect(marks).toEqual([{ id, epoch: 'e', answer: ANSWER }]);
  });

  test('one that waits or is done is removed, one that is running stays', async () => {
    const pool = newPool();
    const { id } = await accept({ pool });
    const { id: waiting } = await accept({ pool });
    await store.claim(pool, 'ann', 0);
    expect(await store.remove(pool, id)).toMatchObject({ id, doneAt: undefined });
    expect(await store.find(pool, id)).toBeDefined();
    expect(await store.remove(pool, waiting)).toMatchObject({ id: waiting, startedAt: undefined });
    expect(await store.remove('another', id)).toBeUndefined();
    await store.finish(id, ANSWER, HOUR);
    expect(await store.remove(pool, id)).toMatchObject({ answer: ANSWER });
    expect(await store.remove(pool, id)).toBeUndefined();
  });

  test('they are listed page by page, one’s own or all', async () => {
    const pool = newPool();
    const ids: string[] = [];
    for (const caller of ['ann', 'bob', 'ann', 'ann']) ids.push((await accept({ pool, caller })).id);
    const list = async (caller: string | undefined, after: string, limit: number) =>
      (await store.list(pool, caller, after, limit)).map(({ id }) => id);
    expect(await list(undefined, '', 10)).toEqual(ids);
    expect(await list('ann', '', 2)).toEqual([ids[0], ids[2]]);
    expect(await list('ann', ids[2] as string, 2)).toEqual([ids[3]]);
    expect(await list('cleo', '', 2)).toEqual([]);
  });

  test('who has something to be done is pending, and what is over is swept once it is done', async () => {
    const pool = newPool();
    const { id } = await accept({ pool });
    const { id: bobs } = await accept({ pool, caller: 'bob' });
    const pending = async () => (await store.pending(1000)).filter((each) => each.pool === pool);
    expect(await pending()).toHaveLength(2);
    await store.finish(bobs, ANSWER, -1);
    expect(await pending()).toEqual([{ pool, caller: 'ann' }]);
    // One that waits isn't swept, however long: whoever does it gives it up, and says so.
    const { id: old } = newOperation();
    await store.accept(newOperation({ pool, id: old }), BOUNDS, -1);
    let swept = 0;
    for (let count = -1; count !== 0; swept += count) count = await store.sweep(1);
    expect(swept).toBeGreaterThan(0);
    const left = [id, bobs, old].map(async (each) => (await store.find(pool, each)) !== undefined);
    expect(await Promise.all(left)).toEqual([true, false, true]);
  });
});
