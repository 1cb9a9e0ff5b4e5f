/** The contract of the ports on indexes, on every database: what there are, their entries, ranges, counts, and what is purged. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { IndexEntry, IndexRangeRequest, ItemSource, Store, StoredIndex } from '../../src/engine/ports.js';
import { databases } from '../support/server.js';
import { Book, openStore } from './book.js';

const bytes = (...values: (number | string)[]) =>
  Buffer.concat(values.map((value) => (typeof value === 'number' ? Buffer.of(value) : Buffer.from(value))));
const LOWEST = Buffer.alloc(0);
const GENEROUS = { limit: 1000, bytesMax: 1e6 };

describe.each(databases)('the store’s indexes on $name', ({ name }) => {
  let store: Store;
  beforeAll(async () => {
    ({ store } = await openStore(name));
  });
  afterAll(() => store?.close());

  const create = (book: Book, indexName = 'n', definition = '{}') =>
    store.transact((tx) => tx.createIndex(book.id, { collectionId: book.collectionId, name: indexName, definition }));
  const indexesOf = (book: Book) => store.transact((tx) => tx.indexes(book.id));
  const oneOf = async (book: Book) => (await indexesOf(book))[0] as StoredIndex;
  const versionOf = async (book: Book) => (await book.head())?.indexVersion as number;
  const add = (book: Book, entries: readonly IndexEntry[]) => store.transact((tx) => tx.addEntries(book.id, entries));
  const read = <T>(book: Book, work: (source: ItemSource) => Promise<T>) => store.snapshot(book.id, work);

  /** A book with an index of the items' values, each of which is the sort key of the item. */
  async function indexed(pool: string, values: Readonly<Record<string, Buffer>>) {
    const book = await Book.open(store, pool);
    const indexId = await create(book);
    await book.commit(Object.keys(values).map((key) => [key, JSON.stringify({ of: key })] as const));
    await add(
      book,
      Object.entries(values).map(([key, sortKey]) => ({ indexId, sortKey, key })),
    );
    return { book, indexId };
  }

  describe('definitions', () => {
    test('are made building, told in order, and brought forward', async () => {
      const book = await Book.open(store, 'made');
      expect([await indexesOf(book), await versionOf(book)]).toEqual([[], 0]);
      const text = `{"parts":[{"tokens":["é 😀 \\" '"]}]}`;
      const first = await create(book, 'é 😀, \'"', text);
      const second = await create(book, 'n');
      expect(second).toBeGreaterThan(first);
      const fixed = { collectionId: book.collectionId, state: 'building', builtTo: null, builtItems: 0 };
      expect(await indexesOf(book)).toEqual([
        { ...fixed, id: first, name: 'é 😀, \'"', definition: text },
        { ...fixed, id: second, name: 'n', definition: '{}' },
      ]);
      expect(await versionOf(book)).toBe(2);
      // How far it is changes nothing for others; its state does.
      const moved = { ...(await oneOf(book)), builtTo: 'k 😀', builtItems: 12 };
      await store.transact((tx) => tx.updateIndex(book.id, moved, 'building'));
      expect([await oneOf(book), await versionOf(book)]).toEqual([moved, 2]);
      for (const [state, version] of [
        ['violated', 3],
        ['ready', 4],
        ['ready', 4],
      ] as const) {
        await store.transact(async (tx) => {
          const [index] = await tx.indexes(book.id);
          await tx.updateIndex(book.id, index as StoredIndex, state);
        });
        expect([(await oneOf(book)).state, await versionOf(book)]).toEqual([state, version]);
      }
      expect((await store.transact((tx) => tx.lockPool('made'))).head?.indexVersion).toBe(4);
      expect((await store.pool('made'))?.head.indexVersion).toBe(4);
    });

    test('are found by their state over all pools, and under another id when they come again', async () => {
      const book = await Book.open(store, 'states');
      const other = await Book.open(store, 'states-other');
      const [a, b] = [await create(book, 'a'), await create(other, 'b')];
      const found = async (...states: StoredIndex['state'][]) =>
        (await store.indexesIn(states)).filter(({ pool }) => pool.startsWith('states')).map(({ index }) => index.id);
      expect(await found('building')).toEqual([a, b]);
      await store.transact(async (tx) => {
        const [index] = await tx.indexes(book.id);
        await tx.updateIndex(book.id, index as StoredIndex, 'dropped');
      });
      expect([await found('building'), await found('dropped'), await found('building', 'dropped')]).toEqual([
        [b],
        [a],
        [a, b],
      ]);
      expect((await store.indexesIn(['building'])).find(({ index }) => index.id === b)).toMatchObject({
        pool: 'states-other',
        poolId: other.id,
      });
      expect(await indexesOf(book)).toEqual([]);
      expect(await read(book, () => Promise.resolve(1))).toBe(1);
      expect(await store.snapshot(book.id, (_source, _head, indexes) => indexes())).toEqual([]);
      await store.purgeIndex(book.id, a, 10);
      expect(await found('dropped')).toEqual([]);
      expect(await create(book, 'a')).toBeGreaterThan(b);
      await store.transact((tx) => tx.dropPool(other.id));
      expect(await found('building', 'dropped')).not.toContain(b);
    });

    test('leave no trace of a transaction that failed', async () => {
      const { book, indexId } = await indexed('failed', { a: bytes(1) });
      const before = [await indexesOf(book), await versionOf(book)];
      const failure = new Error('changed my mind');
      const attempt = store.transact(async (tx) => {
        await tx.createIndex(book.id, { collectionId: book.collectionId, name: 'more', definition: '{}' });
        await tx.addEntries(book.id, [{ indexId, sortKey: bytes(2), key: 'a' }]);
        await tx.removeEntries(book.id, [{ indexId, sortKey: bytes(1), key: 'a' }]);
        throw failure;
      });
      await expect(attempt).rejects.toBe(failure);
      expect([await indexesOf(book), await versionOf(book)]).toEqual(before);
      expect(await entriesOf(book, indexId, bytes(1), bytes(2))).toEqual([['01', 'a']]);
    });
  });

  const entriesOf = async (book: Book, indexId: number, ...sortKeys: Buffer[]) =>
    (await store.transact((tx) => tx.entries(book.id, indexId, sortKeys)))
      .map(({ sortKey, key }) => [sortKey.toString('hex'), key])
      .sort();

  describe('entries', () => {
    test('are added once, removed once, and found by their sort keys, byte by byte', async () => {
      const { book, indexId } = await indexed('entries', {});
      const other = await create(book, 'other');
      const keys = [bytes(0), bytes(0, 0), bytes('a'), bytes('A'), bytes('a', ' '), bytes(0xff), Buffer.alloc(2048, 7)];
      const entries = keys.flatMap((sortKey) =>
        ['k', 'K', 'k ', 'é', '\ufffd'].map((key) => ({ indexId, sortKey, key })),
      );
      await add(book, entries);
      await add(book, entries);
      await add(book, [{ indexId: other, sortKey: bytes('a'), key: 'elsewhere' }]);
      for (const sortKey of keys) {
        expect(await entriesOf(book, indexId, sortKey)).toEqual(
          ['k', 'K', 'k ', 'é', '\ufffd'].map((key) => [sortKey.toString('hex'), key]).sort(),
        );
      }
      expect(await entriesOf(book, indexId, ...keys)).toHaveLength(35);
      expect(await entriesOf(book, indexId)).toEqual([]);
      expect(await entriesOf(book, indexId, bytes('b'))).toEqual([]);
      const gone = [
        { indexId, sortKey: bytes('a'), key: 'k' },
        { indexId, sortKey: bytes('a'), key: 'never there' },
      ];
      await store.transact((tx) => tx.removeEntries(book.id, gone));
      await store.transact((tx) => tx.removeEntries(book.id, gone));
      expect((await entriesOf(book, indexId, bytes('a'))).map(([, key]) => key)).toEqual(['K', 'k ', 'é', '\ufffd']);
      expect(await entriesOf(book, other, bytes('a'))).toEqual([['61', 'elsewhere']]);
    });

    test('come and go by the thousand', async () => {
      const { book, indexId } = await indexed('thousands', {});
      const entries = Array.from({ length: 3000 }, (_, i) => ({ indexId, sortKey: bytes(`${i}`), key: `k${i}` }));
      await add(book, entries);
      const sortKeys = entries.map(({ sortKey }) => sortKey);
      expect(await entriesOf(book, indexId, ...sortKeys)).toHaveLength(3000);
      await store.transact((tx) => tx.removeEntries(book.id, entries.slice(1)));
      expect(await entriesOf(book, indexId, ...sortKeys)).toEqual([['30', 'k0']]);
    });

    test('are written with a group’s items, and go with them', async () => {
      const { book, indexId } = await indexed('group', { a: bytes(1) });
      await store.transact((tx) =>
        tx.append({
          poolId: book.id,
          revision: 2,
          time: 1,
          log: [],
          upserts: [],
          deletions: [],
          collections: [],
          indexed: [
            { indexId, sortKey: bytes(2), key: 'a' },
            { indexId, sortKey: bytes(3), key: 'b' },
          ],
          unindexed: [{ indexId, sortKey: bytes(1), key: 'a' }],
        }),
      );
      expect(await entriesOf(book, indexId, bytes(1), bytes(2), bytes(3))).toEqual([
        ['02', 'a'],
        ['03', 'b'],
      ]);
    });

    test('that share a sort key are told page by page, each with two of them', async () => {
      const values = { a: 1, b: 2, c: 2, d: 3, e: 3, f: 3, g: 4, h: 5, i: 5 };
      const { book, indexId } = await indexed(
        'duplicates',
        Object.fromEntries(Object.entries(values).map(([key, value]) => [key, bytes(value)])),
      );
      const page = async (after: Buffer, limit: number) =>
        (await store.transact((tx) => tx.duplicates(book.id, indexId, after, limit))).map(({ sortKey, keys }) => [
          sortKey[0],
          ...keys,
        ]);
      expect(await page(LOWEST, 10)).toEqual([
        [2, 'b', 'c'],
        [3, 'd', 'f'],
        [5, 'h', 'i'],
      ]);
      expect(await page(LOWEST, 1)).toEqual([[2, 'b', 'c']]);
      expect(await page(bytes(2), 1)).toEqual([[3, 'd', 'f']]);
      expect(await page(bytes(5), 1)).toEqual([]);
    });

    test('that are due come with their items and when these were changed, or without where they are gone', async () => {
      const book = await Book.open(store, 'due');
      const indexId = await create(book, '/@expiry');
      await book.commit([['a', '{"n":1}']], { time: 1000 });
      await book.commit([['b', '{"n":2}']], { time: 2000 });
      await book.commit([['a', '{"n":3}']], { time: 3000 });
      const entry = (value: number, key: string) => ({ indexId, sortKey: bytes(value), key });
      await add(book, [entry(1, 'b'), entry(1, 'gone'), entry(2, 'a'), entry(3, 'a')]);
      const index = { id: indexId, collectionId: book.collectionId };
      const due = async (sortKey: Buffer, limit: number) =>
        (await store.transact((tx) => tx.due(book.id, index, sortKey, { limit, bytesMax: 1e6 }))).map(
          ({ entry: { sortKey: at, key }, item }) => [at[0], key, item && [item.key, item.json, item.changedAt]],
        );
      expect(await due(bytes(3), 10)).toEqual([
        [1, 'b', ['b', '{"n":2}', 2000]],
        [1, 'gone', undefined],
        [2, 'a', ['a', '{"n":3}', 3000]],
      ]);
      expect(await due(bytes(3), 1)).toEqual([[1, 'b', ['b', '{"n":2}', 2000]]]);
      expect(await due(bytes(1), 10)).toEqual([]);
    });
  });

  describe('ranges', () => {
    // Three sort keys with several items each, keys of every kind of order.
    const at: Record<string, Buffer> = {};
    const KEYS = ['Z', 'a', 'b', 'é', '\ufffd', '😀'];
    for (const value of [1, 2, 3]) for (const key of KEYS) at[`${key}${value}`] = bytes(value, 'x');
    at.lowest = bytes(0);
    at.between = bytes(2);
    const order = (backward: boolean) =>
      Object.keys(at).sort(
        (x, y) =>
          (at[x] as Buffer).compare(at[y] as Buffer) * (backward ? -1 : 1) || Buffer.from(x).compare(Buffer.from(y)),
      );

    let book: Book;
    let indexId: number;
    beforeAll(async () => {
      ({ book, indexId } = await indexed('ranges', at));
      // An entry of an item that isn't there leads nowhere.
      await add(book, [{ indexId, sortKey: bytes(2, 'x'), key: 'no such item' }]);
    });
    const page = (request: Partial<IndexRangeRequest>) =>
      read(book, (source) =>
        source.indexRange(book.id, {
          indexId,
          collectionId: book.collectionId,
          start: LOWEST,
          end: undefined,
          backward: false,
          ...GENEROUS,
          ...request,
        }),
      );

    test.each([
      ['forward', false],
      ['backward', true],
    ])('come %s by sort key, and by key within one; every page size gives the same', async (_, backward) => {
      for (const limit of [1, 2, 3, 5, 6, 7, 19, 20, 21, 1000]) {
        const seen: string[] = [];
        for (let after: IndexRangeRequest['after'], more = true; more; ) {
          const answer = await page({ backward, limit, after });
          expect(answer.items.length).toBeLessThanOrEqual(limit);
          for (const { key, json, sortKey } of answer.items) {
            expect([JSON.parse(json).of, sortKey]).toEqual([key, at[key]]);
            seen.push(key);
          }
          const last = answer.items.at(-1);
          after = last && { sortKey: last.sortKey, key: last.key };
          ({ more } = answer);
          expect(seen.length).toBeLessThanOrEqual(20);
        }
        expect(seen, `pages of ${limit}`).toEqual(order(backward));
      }
    });

    test.each([
      [bytes(1), bytes(2)],
      [bytes(1, 'x'), bytes(1, 'x', 0)],
      [bytes(2), bytes(3)],
      [bytes(2, 0), undefined],
      [bytes(3), bytes(3)],
      [bytes(9), undefined],
    ])('keep to their bounds, the lower inclusive and the upper not: %j to %j', async (start, end) => {
      for (const backward of [false, true]) {
        const wanted = order(backward).filter((key) => {
          const sortKey = at[key] as Buffer;
          return sortKey.compare(start) >= 0 && (!end || sortKey.compare(end) < 0);
        });
        expect((await page({ start, end, backward })).items.map(({ key }) => key)).toEqual(wanted);
        const [first] = wanted;
        if (first === undefined) continue;
        const after = { sortKey: at[first] as Buffer, key: first };
        expect((await page({ start, end, backward, after })).items.map(({ key }) => key)).toEqual(wanted.slice(1));
      }
    });

    test('go on after a place where there is nothing any more', async () => {
      for (const backward of [false, true]) {
        const after = { sortKey: bytes(2, 'x'), key: 'b2b' };
        const wanted = order(backward).filter((key) => {
          const difference = (at[key] as Buffer).compare(after.sortKey) * (backward ? -1 : 1);
          return difference > 0 || (difference === 0 && Buffer.from(key).compare(Buffer.from(after.key)) > 0);
        });
        expect((await page({ backward, after })).items.map(({ key }) => key)).toEqual(wanted);
      }
    });

    test('stop at the item that reaches the bytes, and have at least one', async () => {
      const size = (key: string) => Buffer.byteLength(JSON.stringify({ of: key }));
      for (const backward of [false, true]) {
        const keys = order(backward);
        const one = await page({ backward, bytesMax: 1 });
        expect([one.items.map(({ key }) => key), one.more]).toEqual([keys.slice(0, 1), true]);
        const bytesMax = size(keys[0] as string) + 1;
        const two = await page({ backward, bytesMax });
        expect([two.items.map(({ key }) => key), two.more]).toEqual([keys.slice(0, 2), true]);
      }
    });

    test('are counted up to a bound', async () => {
      const ranges = [
        { start: bytes(1), end: bytes(2) },
        { start: bytes(3), end: undefined },
      ];
      const count = (max: number, of = ranges) =>
        read(book, (source) => source.countIndex(book.id, indexId, of as never, max));
      expect([
        await count(100),
        await count(12),
        await count(11),
        await count(6),
        await count(1),
        await count(0),
      ]).toEqual([12, 12, 11, 6, 1, 0]);
      expect(await count(100, [])).toBe(0);
      const keys = (range: object, max: number) =>
        read(book, (source) => source.countRange(book.id, book.collectionId, range, max));
      expect([await keys({}, 100), await keys({}, 7), await keys({ start: 'a', end: 'b' }, 100)]).toEqual([20, 7, 3]);
      expect([await keys({ start: '😀' }, 100), await keys({ end: 'a' }, 100)]).toEqual([3, 3]);
    });

    test('are read inside a transaction as it has left them', async () => {
      await store
        .transact(async (tx) => {
          const request = {
            indexId,
            collectionId: book.collectionId,
            start: bytes(0),
            end: bytes(1),
            backward: false,
            ...GENEROUS,
          };
          expect((await tx.indexRange(book.id, request)).items).toHaveLength(1);
          await tx.removeEntries(book.id, [{ indexId, sortKey: bytes(0), key: 'lowest' }]);
          expect((await tx.indexRange(book.id, request)).items).toEqual([]);
          expect(await tx.countIndex(book.id, indexId, [{ start: bytes(0), end: bytes(1) }], 9)).toBe(0);
          throw new Error('back');
        })
        .catch((error: Error) => expect(error.message).toBe('back'));
    });
  });

  test('a snapshot sees one state while others write', async () => {
    const { book, indexId } = await indexed('snapshot', { a: bytes(1), b: bytes(2) });
    const everything = async (source: ItemSource) => ({
      items: (await source.range(book.id, { collectionId: book.collectionId, ...GENEROUS })).items.map(
        ({ json }) => json,
      ),
      some: (await source.items(book.id, [book.place('a'), book.place('c')])).map(({ json }) => json),
      index: (
        await source.indexRange(book.id, {
          indexId,
          collectionId: book.collectionId,
          start: LOWEST,
          end: undefined,
          backward: false,
          ...GENEROUS,
        })
      ).items.map(({ key }) => key),
      counts: [
        await source.countRange(book.id, book.collectionId, {}, 100),
        await source.countIndex(book.id, indexId, [{ start: LOWEST, end: undefined }], 100),
      ],
    });
    const write = async () => {
      await book.commit([
        ['a', '"new"'],
        ['b', null],
        ['c', '"c"'],
      ]);
      await add(book, [{ indexId, sortKey: bytes(0), key: 'c' }]);
      await create(book, 'more');
    };
    const seen = await store.snapshot(book.id, async (source, head, indexes) => {
      const before = await everything(source);
      await write();
      return { before, after: await everything(source), head, indexes: await indexes() };
    });
    expect(seen.after).toEqual(seen.before);
    expect(seen.before).toEqual({
      items: ['{"of":"a"}', '{"of":"b"}'],
      some: ['{"of":"a"}'],
      index: ['a', 'b'],
      counts: [2, 2],
    });
    expect([seen.head?.revision, seen.indexes.length]).toEqual([1, 1]);
    const now = await store.snapshot(book.id, async (source, head) => ({ ...(await everything(source)), head }));
    expect(now).toMatchObject({ items: ['"new"', '"c"'], index: ['c', 'a'], head: { revision: 2, indexVersion: 2 } });
    await store.transact((tx) => tx.dropPool(book.id));
    expect(await store.snapshot(book.id, (_source, head) => Promise.resolve(head))).toBeUndefined();
  });

  test('a dropped index is purged a few entries at a time, and takes nothing else along', async () => {
    const values = Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`k${i}`, bytes(i)]));
    const { book, indexId } = await indexed('purge', values);
    const kept = await create(book, 'kept');
    await add(book, [{ indexId: kept, sortKey: bytes(1), key: 'k1' }]);
    await store.transact(async (tx) => {
      const [index] = await tx.indexes(book.id);
      await tx.updateIndex(book.id, index as StoredIndex, 'dropped');
    });
    const steps: number[] = [];
    for (
      let rows = await store.purgeIndex(book.id, indexId, 4);
      rows > 0;
      rows = await store.purgeIndex(book.id, indexId, 4)
    )
      steps.push(rows);
    expect(steps).toEqual([4, 4, 3]);
    expect(await entriesOf(book, indexId, ...Object.values(values))).toEqual([]);
    expect((await store.indexesIn(['dropped'])).filter(({ pool }) => pool === 'purge')).toEqual([]);
    expect(await entriesOf(book, kept, bytes(1))).toEqual([['01', 'k1']]);
    expect((await indexesOf(book)).map(({ id }) => id)).toEqual([kept]);
  });

  test('a dropped pool is purged with its indexes, in small steps, and no other is', async () => {
    const values = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`k${i}`, bytes(i)]));
    const { book, indexId } = await indexed('purge-pool', values);
    const other = await indexed('purge-pool-other', values);
    await store.transact((tx) => tx.dropPool(book.id));
    expect((await store.indexesIn(['building'])).map(({ pool }) => pool)).not.toContain('purge-pool');
    for (let rows = await store.purgeDropped(5); rows > 0; rows = await store.purgeDropped(5))
      expect(rows).toBeLessThanOrEqual(5);
    expect(await entriesOf(book, indexId, ...Object.values(values))).toEqual([]);
    expect(await indexesOf(book)).toEqual([]);
    expect(await entriesOf(other.book, other.indexId, ...Object.values(values))).toHaveLength(12);
    expect(await indexesOf(other.book)).toHaveLength(1);
  });
});
