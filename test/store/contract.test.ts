/**
 * The contract of the `Store` port on every database: transactions are whole or not there, a pool's lock excludes, and
 * what is kept beside items (pools, stored answers, what was dropped) comes and goes as the port says.
 */
import { createConnection } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RetryTransaction, type Store, type StoredAnswer } from '../../src/engine/ports.js';
import { databases } from '../support/server.js';
import { Book, openStore, until } from './book.js';

describe.each(databases)('the store on $name', ({ name }) => {
  let store: Store;
  let url: string;
  beforeAll(async () => {
    ({ store, url } = await openStore(name));
  });
  afterAll(() => store?.close());

  describe('a transaction', () => {
    test('that fails leaves no trace, of whatever kind', async () => {
      const book = await Book.open(store, 'rollback');
      await book.commit([['stays', '{"n":1}']]);
      const before = await store.pool('rollback');
      const failure = new Error('changed my mind');
      const revision = book.revision;
      await expect(
        store.transact(async (tx) => {
          await tx.lockPool('rollback');
          await tx.createPool('rollback-other', 'e');
          await tx.createCollection(book.id, 'more');
          await tx.describePool(book.id, 'never');
          await book.append(tx, [
            ['new', '{}'],
            ['stays', null],
          ]);
          await tx.keepAnswers([answer({ pool: 'rollback' })]);
          throw failure;
        }),
      ).rejects.toBe(failure);
      book.revision = revision;
      expect(await store.pool('rollback')).toEqual(before);
      expect(await store.pool('rollback-other')).toBeUndefined();
      const { items } = await store.items(book.id, [book.place('stays'), book.place('new')]);
      expect(items.map(({ key }) => key)).toEqual(['stays']);
      expect((await store.log({ poolId: book.id, after: 0, rowsMax: 100, bytesMax: 1e6 })).rows).toHaveLength(1);
      expect(await store.transact((tx) => tx.answers('rollback', [KEY], 0))).toEqual([]);
    });

    test('sees its own writes, and nobody else does before it ends', async () => {
      const book = await Book.open(store, 'isolation');
      await book.commit([['a', '"old"']]);
      await store.transact(async (tx) => {
        await tx.lockPool('isolation');
        await book.append(tx, [['a', '"new"']]);
        expect((await tx.items(book.id, [book.place('a')]))[0]?.json).toBe('"new"');
        const range = await tx.range(book.id, { collectionId: book.collectionId, limit: 10, bytesMax: 100 });
        expect(range.items.map(({ json }) => json)).toEqual(['"new"']);
        expect((await tx.log({ poolId: book.id, after: 0, rowsMax: 9, bytesMax: 999 })).rows).toHaveLength(2);
        const outside = await store.items(book.id, [book.place('a')]);
        expect(outside.items[0]?.json).toBe('"old"');
        expect(outside.head?.revision).toBe(1);
      });
      expect((await store.items(book.id, [book.place('a')])).items[0]?.json).toBe('"new"');
    });

    test('is repeated by its caller when another one made the same pool first', async () => {
      const other = name === 'sqlite' ? { store } : await openStore(name, url);
      let looked = 0;
      const make = (on: Store) =>
        on.transact(async (tx) => {
          const { head } = await tx.lockPool('race');
          looked++;
          // Where two can be inside at once, both find nothing before either makes it.
          if (!on.exclusive) await until(() => looked >= 2);
          return head ?? tx.createPool('race', `epoch-${looked}`);
        });
      try {
        const outcomes = await Promise.allSettled([make(store), make(other.store)]);
        const failures = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
        expect(failures).toHaveLength(store.exclusive ? 0 : 1);
        for (const failure of failures) expect(failure).toBeInstanceOf(RetryTransaction);
        const made = (await store.pool('race'))?.head;
        const found = await make(other.store);
        expect(found).toEqual(made);
      } finally {
        if (other.store !== store) await other.store.close();
      }
    });

    test('that holds a pool makes another one wait for it, but no reader', async () => {
      const book = await Book.open(store, 'locked');
      await book.commit([['a', '1']]);
      const order: string[] = [];
      let release = () => {};
      const released = new Promise<void>((resolve) => {
        release = resolve;
      });
      let entered = () => {};
      const inside = new Promise<void>((resolve) => {
        entered = resolve;
      });
      const first = store.transact(async (tx) => {
        await tx.lockPool('locked');
        entered();
        await released;
        order.push('first ends');
        await book.append(tx, [['a', '2']]);
      });
      await inside;
      const second = store.transact(async (tx) => {
        const { head } = await tx.lockPool('locked');
        order.push('second is inside');
        return head?.revision;
      });
      if (name === 'mariadb') await until(() => someoneWaits(url));
      expect((await store.pool('locked'))?.head.revision).toBe(1);
      expect((await store.items(book.id, [book.place('a')])).items[0]?.json).toBe('1');
      expect(
        (await store.range(book.id, { collectionId: book.collectionId, limit: 1, bytesMax: 1 })).items,
      ).toHaveLength(1);
      expect((await store.log({ poolId: book.id, after: 0, rowsMax: 1, bytesMax: 1 })).complete).toBe(true);
      expect(order).toEqual([]);
      release();
      await first;
      // What it sees is what the first one left, not what was there when it began to wait.
      expect(await second).toBe(2);
      expect(order).toEqual(['first ends', 'second is inside']);
    });

    test('that reads and writes under the lock loses no update', async () => {
      const book = await Book.open(store, 'counter');
      await book.commit([['n', '0']]);
      await Promise.all(
        Array.from({ length: 30 }, () =>
          store.transact(async (tx) => {
            const { head } = await tx.lockPool('counter');
            const [item] = await tx.items(book.id, [book.place('n')]);
            const revision = (head?.revision ?? 0) + 1;
            const n = { ...book.place('n'), json: String(Number(item?.json) + 1), revision, createdRevision: 1 };
            await tx.append({
              poolId: book.id,
              revision,
              time: 1,
              log: [],
              upserts: [n],
              deletions: [],
              collections: [],
              indexed: [],
              unindexed: [],
            });
          }),
        ),
      );
      const { head, items } = await store.items(book.id, [book.place('n')]);
      expect([items[0]?.json, head?.revision]).toEqual(['30', 31]);
    });

    test('knows the time of the database', async () => {
      const now = await store.now();
      const { now: locked } = await store.transact((tx) => tx.lockPool('counter'));
      const { now: missing } = await store.transact((tx) => tx.lockPool('no-such-pool'));
      for (const time of [now, locked, missing]) {
        expect(Number.isInteger(time)).toBe(true);
        expect(Math.abs(time - Date.now())).toBeLessThan(60_000);
      }
    });
  });

  describe('a range', () => {
    test('begins at the later of its two lower bounds', async () => {
      const book = await Book.open(store, 'range-bounds');
      await book.commit(['a', 'b', 'c', 'd'].map((key) => [key, '1']));
      const keysOf = async (bounds: { start?: string; after?: string; end?: string }) => {
        const request = { collectionId: book.collectionId, limit: 10, bytesMax: 1000, ...bounds };
        return (await store.range(book.id, request)).items.map(({ key }) => key).join('');
      };
      expect(await keysOf({ start: 'b', after: 'a' })).toBe('bcd');
      expect(await keysOf({ start: 'b', after: 'b' })).toBe('cd');
      expect(await keysOf({ start: 'b', after: 'c' })).toBe('d');
      expect(await keysOf({ start: 'b', after: 'a', end: 'd' })).toBe('bc');
    });

    test('is read backwards, from the lower of its two upper bounds', async () => {
      const book = await Book.open(store, 'range-backward');
      await book.commit(['a', 'b', 'c', 'd', '\uffee', '😀'].map((key) => [key, '1']));
      const pageOf = async (bounds: { start?: string; after?: string; end?: string; limit?: number }) => {
        const request = { collectionId: book.collectionId, limit: 10, bytesMax: 1000, backward: true, ...bounds };
        const { items, more } = await store.range(book.id, request);
        return `${items.map(({ key }) => key).join('')}${more ? '…' : ''}`;
      };
      expect(await pageOf({})).toBe('😀\uffeedcba');
      expect(await pageOf({ limit: 2 })).toBe('😀\uffee…');
      expect(await pageOf({ after: '\uffee', limit: 2 })).toBe('dc…');
      expect(await pageOf({ end: 'd' })).toBe('cba');
      expect(await pageOf({ end: 'c', after: 'd' })).toBe('ba');
      expect(await pageOf({ end: 'c', after: 'c' })).toBe('ba');
      expect(await pageOf({ end: 'c', after: 'b' })).toBe('a');
      expect(await pageOf({ start: 'b', end: 'd' })).toBe('cb');
      expect(await pageOf({ start: 'b', after: 'b' })).toBe('');
      const request = { collectionId: book.collectionId, limit: 10, bytesMax: 2, backward: true };
      const bounded = await store.range(book.id, request);
      expect({ keys: bounded.items.map(({ key }) => key), more: bounded.more }).toEqual({
        keys: ['😀', '\uffee'],
        more: true,
      });
    });

    test('costs the same wherever it begins: what lies between `start` and `after` is not stepped over', async () => {
      const book = await Book.open(store, 'range-depth');
      const keys = Array.from({ length: 20_000 }, (_, i) => `k${String(i).padStart(6, '0')}`);
      for (let i = 0; i < keys.length; i += 1000) await book.commit(keys.slice(i, i + 1000).map((key) => [key, '1']));
      const shortestMs = async (after: string) => {
        let shortest = Number.POSITIVE_INFINITY;
        for (let i = 0; i < 50; i++) {
          const request = { collectionId: book.collectionId, start: 'k', after, limit: 20, bytesMax: 10_000 };
          const startedAt = performance.now();
          expect((await store.range(book.id, request)).items).toHaveLength(20);
          shortest = Math.min(shortest, performance.now() - startedAt);
        }
        return shortest;
      };
      const [shallow, deep] = [await shortestMs(keys[20] as string), await shortestMs(keys[19_000] as string)];
      expect(deep).toBeLessThan(3 * shallow);
    });
  });

  describe('pools', () => {
    test('are told apart by every letter, and come in the order of their names', async () => {
      const names = ['order-a', 'order-B', 'order-A', 'order-b', 'order-_', 'order-~', 'order-1'];
      for (const pool of names) await Book.open(store, pool);
      const seen: string[] = [];
      for (let after: string | undefined = 'order-'; ; ) {
        const page = await store.pools(after, 2);
        const own = page.map(({ head }) => head.name).filter((pool) => pool.startsWith('order-'));
        seen.push(...own);
        if (own.length < 2) break;
        after = own.at(-1);
      }
      expect(seen).toEqual([...names].sort());
      expect((await store.pool('order-a'))?.head.id).not.toBe((await store.pool('order-A'))?.head.id);
    });

    test('count what is the application’s and present', async () => {
      const book = await Book.open(store, 'counts');
      await book.commit([
        ['a', '1'],
        ['b', '2'],
      ]);
      await store.transact(async (tx) => {
        const rows: [string, boolean, number][] = [
          ['_system', true, 5],
          ['dropped', false, 0],
          ['empty', true, 0],
          ['x_other', true, 3],
        ];
        const collections = [];
        for (const [collection, present, items] of rows) {
          collections.push({
            id: await tx.createCollection(book.id, collection),
            name: collection,
            present,
            items,
            revision: 1,
          });
        }
        await tx.append({
          poolId: book.id,
          revision: 1,
          time: 1,
          log: [],
          upserts: [],
          deletions: [],
          collections,
          indexed: [],
          unindexed: [],
        });
      });
      const summary = (await store.pools('countr', 1))[0];
      expect(summary).toMatchObject({ head: { name: 'counts' }, collections: 3, items: 5 });
      const content = await store.pool('counts');
      const byName = new Map(content?.collections.map((collection) => [collection.name, collection]));
      expect([...byName.keys()].sort()).toEqual(['_system', 'dropped', 'empty', 'things', 'x_other']);
      expect(byName.get('dropped')).toMatchObject({ present: false, items: 0 });
      expect(await store.transact((tx) => tx.collections(book.id))).toEqual(
        expect.arrayContaining(content?.collections ?? []),
      );
    });

    test('keep a description, or none', async () => {
      const book = await Book.open(store, 'described');
      expect((await book.head())?.description).toBeUndefined();
      const text = `"quoted" \\ 'single' 😀 ${'long '.repeat(800)}`;
      await store.transact((tx) => tx.describePool(book.id, text));
      expect((await book.head())?.description).toBe(text);
      await store.transact((tx) => tx.describePool(book.id, undefined));
      expect((await store.pool('described'))?.head.description).toBeUndefined();
    });

    test('that are dropped are gone at once, free their name, and are purged in small steps', async () => {
      const book = await Book.open(store, 'dropped');
      for (let i = 0; i < 5; i++) await book.commit(Array.from({ length: 5 }, (_, k) => [`${i}-${k}`, '{}'] as const));
      const keeper = await Book.open(store, 'keeper');
      await keeper.commit([['k', '{}']]);
      await store.transact((tx) => tx.dropPool(book.id));
      expect(await store.pool('dropped')).toBeUndefined();
      expect(await store.poolById(book.id)).toBeUndefined();
      expect((await store.transact((tx) => tx.lockPool('dropped'))).head).toBeUndefined();
      expect((await store.items(book.id, [book.place('0-0')])).head).toBeUndefined();
      expect(
        (await store.range(book.id, { collectionId: book.collectionId, limit: 1, bytesMax: 1 })).head,
      ).toBeUndefined();
      expect((await store.log({ poolId: book.id, after: 0, rowsMax: 1, bytesMax: 1 })).head).toBeUndefined();
      expect((await store.pools('dropped-', 1))[0]?.head.name).not.toBe('dropped');
      const next = await Book.open(store, 'dropped');
      await next.commit([['mine', '{}']]);
      const steps: number[] = [];
      for (let rows = await store.purgeDropped(7); rows > 0; rows = await store.purgeDropped(7)) steps.push(rows);
      expect(Math.max(...steps)).toBeLessThanOrEqual(7);
      expect(steps.reduce((sum, rows) => sum + rows, 0)).toBe(25 + 25 + 1);
      expect(await store.transact((tx) => tx.items(book.id, [book.place('0-0')]))).toEqual([]);
      expect((await store.items(next.id, [next.place('mine')])).items).toHaveLength(1);
      expect((await store.items(keeper.id, [keeper.place('k')])).items).toHaveLength(1);
      expect((await store.log({ poolId: keeper.id, after: 0, rowsMax: 9, bytesMax: 999 })).rows).toHaveLength(1);
    });
  });

  describe('stored answers', () => {
    test('are found under their key until they expire', async () => {
      const kept = answer({ pool: 'answers', body: '{"text":"\\u0041 😀 \'\\""}', expiresAt: 1000 });
      await store.transact((tx) => tx.keepAnswers([kept]));
      const find = (now: number) =>
        store.transact((tx) => tx.answers('answers', [KEY, { ...KEY, idempotencyKey: 'unknown' }], now));
      expect(await find(999)).toEqual([kept]);
      expect(await find(1000)).toEqual([]);
      const other = answer({ pool: 'answers', fingerprint: 'other', status: 422, expiresAt: 3000 });
      await store.transact((tx) => tx.keepAnswers([other]));
      expect(await find(1000)).toEqual([other]);
    });

    test('belong to one pool, one subject and one key, letter by letter', async () => {
      const places = ['one', 'One', 'öne'].flatMap((subject) =>
        ['k', 'K', "k'; DROP TABLE pool"].map((idempotencyKey) => ({ subject, idempotencyKey })),
      );
      const kept = places.map((place, i) =>
        answer({ pool: i % 2 ? 'answers-A' : 'answers-a', ...place, body: String(i) }),
      );
      await store.transact((tx) => tx.keepAnswers(kept));
      for (const [i, place] of places.entries()) {
        const [pool, otherPool] = i % 2 ? ['answers-A', 'answers-a'] : ['answers-a', 'answers-A'];
        expect((await store.transact((tx) => tx.answers(pool, [place], 0))).map(({ body }) => body)).toEqual([
          String(i),
        ]);
        expect(await store.transact((tx) => tx.answers(otherPool, [place], 0))).toEqual([]);
      }
    });

    test('that expired are deleted a few at a time, and no others', async () => {
      const many = Array.from({ length: 10 }, (_, i) =>
        answer({ pool: 'sweep', idempotencyKey: `s${i}`, expiresAt: 500 + i }),
      );
      await store.deleteExpiredAnswers(10_000, 1000);
      await store.transact((tx) => tx.keepAnswers(many));
      expect(await store.deleteExpiredAnswers(508, 5)).toBe(5);
      expect(await store.deleteExpiredAnswers(508, 5)).toBe(3);
      expect(await store.deleteExpiredAnswers(508, 5)).toBe(0);
      const left = await store.transact((tx) => tx.answers('sweep', many, 0));
      expect(left.map(({ idempotencyKey }) => idempotencyKey).sort()).toEqual(['s8', 's9']);
    });
  });
});

const KEY = { subject: 'somebody', idempotencyKey: 'key-1' };

function answer(more: Partial<StoredAnswer>): StoredAnswer {
  const fixed = {
    fingerprint: 'f'.repeat(64),
    status: 200,
    headers: '{"etag":"\\"1\\""}',
    body: '{}',
    expiresAt: 1e15,
  };
  return { pool: 'p', ...KEY, ...fixed, ...more };
}

/** Whether a transaction of any connection to the MariaDB server waits for a lock. */
async function someoneWaits(url: string): Promise<boolean> {
  const connection = await createConnection(url);
  try {
    const [rows] = await connection.query("SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'");
    return (rows as unknown[]).length > 0;
  } finally {
    await connection.end();
  }
}
