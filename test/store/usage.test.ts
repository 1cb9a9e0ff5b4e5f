/**
 * The contract of the `Store` port on every database for what was used: it is added up from every node, taken whole by a
 * transaction or not at all, and goes with its pool.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RetryTransaction, type Store, type UsageCount } from '../../src/engine/ports.js';
import { databases } from '../support/server.js';
import { Book, openStore } from './book.js';

const DAY = expect.stringMatching(/^20\d\d-\d\d-\d\d$/);
const count = (poolId: number, subject: string, requests = 1): UsageCount => ({
  poolId,
  subject,
  requests,
  writes: 2 * requests,
  bytesIn: 3 * requests,
  bytesOut: 4 * requests,
  streamMs: 5 * requests,
  refusals: 6 * requests,
  blocks: 7 * requests,
});
const rowOf = (subject: string, requests: number) => {
  const { poolId: _, ...usage } = count(0, subject, requests);
  return { day: DAY, ...usage };
};

describe.each(databases)('usage in the store on $name', ({ name }) => {
  let store: Store;
  beforeAll(async () => {
    ({ store } = await openStore(name));
  });
  afterAll(() => store?.close());
  const rowsOf = (poolId: number, limit = 100) => store.transact((tx) => tx.usage(poolId, limit));

  test('is added up for each pool, day and subject', async () => {
    const [one, other] = [await Book.open(store, 'sum'), await Book.open(store, 'sum-too')];
    await store.addUsage([count(one.id, 'ben'), count(other.id, 'ann', 7), count(one.id, 'ann', 2)]);
    await store.addUsage([count(one.id, 'ann', 1e15), count(one.id, 'Ann')]);
    await store.addUsage([]);
    expect(await rowsOf(one.id)).toEqual([rowOf('Ann', 1), rowOf('ann', 1e15 + 2), rowOf('ben', 1)]);
    expect(await rowsOf(other.id)).toEqual([rowOf('ann', 7)]);
    expect(await rowsOf(one.id, 2)).toHaveLength(2);
    expect(await rowsOf(999_999)).toEqual([]);
  });

  test('of many nodes at once loses nothing', async () => {
    const book = await Book.open(store, 'nodes');
    const subjects = Array.from({ length: 50 }, (_, i) => `s${i}`);
    const add = async (order: readonly string[]): Promise<void> => {
      try {
        await store.addUsage(order.map((subject) => count(book.id, subject)));
      } catch (error) {
        if (!(error instanceof RetryTransaction)) throw error;
        await add(order);
      }
    };
    await Promise.all(Array.from({ length: 10 }, (_, i) => add(i % 2 ? subjects : subjects.toReversed())));
    expect((await rowsOf(book.id)).map(({ requests }) => requests)).toEqual(subjects.map(() => 10));
  });

  test('is taken by a transaction as a whole, or stays', async () => {
    const book = await Book.open(store, 'taken');
    await store.addUsage([count(book.id, 'ann'), count(book.id, 'ben')]);
    const failure = new Error('changed my mind');
    const take = (fail: boolean) =>
      store.transact(async (tx) => {
        const rows = await tx.usage(book.id, 1);
        await tx.deleteUsage(book.id, rows);
        if (fail) throw failure;
        return rows;
      });
    await expect(take(true)).rejects.toBe(failure);
    expect(await rowsOf(book.id)).toHaveLength(2);
    expect(await take(false)).toEqual([rowOf('ann', 1)]);
    await store.addUsage([count(book.id, 'ann', 3)]);
    expect(await rowsOf(book.id)).toEqual([rowOf('ann', 3), rowOf('ben', 1)]);
  });

  test('tells the pools that have had some for long', async () => {
    const book = await Book.open(store, 'long');
    const now = await store.now();
    await store.addUsage([count(book.id, 'ann')]);
    expect(await store.usedPools(now - 1000)).not.toContain('long');
    expect(await store.usedPools(now + 60_000)).toContain('long');
    await store.transact(async (tx) => tx.deleteUsage(book.id, await tx.usage(book.id, 10)));
    expect(await store.usedPools(now + 60_000)).not.toContain('long');
  });

  test('goes with its pool, and none is kept of one that is gone', async () => {
    const book = await Book.open(store, 'gone');
    await store.addUsage(Array.from({ length: 5 }, (_, i) => count(book.id, `s${i}`)));
    await store.transact((tx) => tx.dropPool(book.id));
    await store.addUsage([count(book.id, 'late'), count(book.id + 1000, 'never')]);
    expect(await rowsOf(book.id)).toHaveLength(5);
    expect(await store.usedPools(Number.MAX_SAFE_INTEGER)).not.toContain('gone');
    while ((await store.purgeDropped(2)) > 0);
    expect(await rowsOf(book.id)).toEqual([]);
    expect(await rowsOf(book.id + 1000)).toEqual([]);
  });
});
