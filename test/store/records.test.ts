/**
 * The contract of the `Store` port on every database: items and the change log come back exactly as they were written, in
 * the order of their keys' bytes and of their revisions, in pages that keep their bounds and are of one moment.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LogRow, Store } from '../../src/engine/ports.js';
import { TRACE_LENGTH_MAX } from '../../src/engine/tracing.js';
import { databases } from '../support/server.js';
import { Book, openStore } from './book.js';

const INJECTION = "x'); DROP TABLE item; -- ";

/** Keys that databases and JavaScript like to confuse or to order otherwise than by their bytes. */
const KEYS = [
  ...['a', 'A', 'á', 'a\u0301', 'ä', 'b', 'B', 'z', 'Z', 'ß', 'ss', 'İ', 'i', 'ı', '1', '10', '2'],
  ...[
    'a ',
    'a  ',
    ' a',
    ' ',
    'ab',
    'a b',
    'a/b',
    '%',
    '_',
    '%a',
    'a%',
    '\\',
    '\\\\',
    '\\%',
    "'",
    "''",
    '"',
    '`',
    '?',
    '??',
    ':a',
    '$1',
  ],
  ...[
    '\ud7ff',
    '\ue000',
    '\ufffd',
    '\uffff',
    '😀',
    '\u{10000}',
    '\u{10ffff}',
    '😀\ufffd',
    '\ufffd😀',
    '日本',
    'null',
    '__proto__',
    INJECTION,
  ],
  ...['k'.repeat(255), '😀'.repeat(63)],
];
const inOrder = (keys: readonly string[]) => [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
const atLeast = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b)) >= 0;

describe.each(databases)('the records of the store on $name', ({ name }) => {
  let store: Store;
  beforeAll(async () => {
    ({ store } = await openStore(name));
  });
  afterAll(() => store?.close());

  describe('items', () => {
    test('have exactly the text that was written', async () => {
      const book = await Book.open(store, 'texts');
      const mebibyte = `{"big":"${'😀'.repeat(256 * 1024)}"}`;
      const nested = `${'['.repeat(100)}${']'.repeat(100)}`;
      const texts = [
        ...[
          '"123"',
          '"null"',
          '""',
          '123',
          'null',
          'true',
          '{}',
          '[]',
          '{"b":1,"a":2}',
          '{"a":1.50,"e":1e21,"z":-0}',
          ' {"spaces" : 1} ',
        ],
        ...[
          '"\\u0000"',
          '"\\n\\\\\\"\\/"',
          '"\u2028\u2029"',
          '"\u007f"',
          '{"😀":"𝒳","é":"e\u0301"}',
          `{"x":"${INJECTION}"}`,
          '"?? :a $1 %s"',
        ],
        ...['"2026-01-01 00:00:00"', '"0x41"', nested, mebibyte, `{"quotes":"${'\\"'.repeat(100_000)}"}`],
      ];
      await book.commit(
        texts.map((json, i) => [`t${i}`, json] as const),
        { before: mebibyte, changed: '["😀"]' },
      );
      const { items } = await store.items(
        book.id,
        texts.map((_, i) => book.place(`t${i}`)),
      );
      const byKey = new Map(items.map(({ key, json }) => [key, json]));
      for (const [i, json] of texts.entries())
        expect(byKey.get(`t${i}`) === json, `text ${json.slice(0, 40)}`).toBe(true);
      const { rows } = await readLog(store, book.id, 10);
      expect(
        rows.every((row, i) => row.after === texts[i] && row.before === mebibyte && row.changed === '["😀"]'),
      ).toBe(true);
    });

    test('are found by exactly their key, and by no other', async () => {
      const book = await Book.open(store, 'keys');
      await book.commit(KEYS.map((key) => [key, JSON.stringify(key)] as const));
      expect(await countOf(book)).toBe(KEYS.length);
      const { items } = await store.items(
        book.id,
        KEYS.map((key) => book.place(key)),
      );
      expect(new Map(items.map(({ key, json }) => [key, JSON.parse(json)]))).toEqual(
        new Map(KEYS.map((key) => [key, key])),
      );
      // One by one: deleting a key takes away that one and none that looks like it.
      let left = KEYS;
      for (const key of KEYS) {
        await book.commit([[key, null]]);
        left = left.filter((other) => other !== key);
        const rest = await store.items(
          book.id,
          KEYS.map((other) => book.place(other)),
        );
        expect(inOrder(rest.items.map((item) => item.key))).toEqual(inOrder(left));
      }
    });

    test('are replaced under their key, and keep apart from those of other collections and pools', async () => {
      const book = await Book.open(store, 'apart');
      const other = await Book.open(store, 'apart-too');
      await book.commit([['k', '1']]);
      await other.commit([['k', '2']]);
      await book.commit([['k', '3']]);
      expect((await store.items(book.id, [book.place('k')])).items).toEqual([
        { ...book.place('k'), json: '3', revision: 2, createdRevision: 2 },
      ]);
      expect((await store.items(other.id, [other.place('k')])).items[0]?.json).toBe('2');
      expect((await store.items(book.id, [other.place('k'), { collectionId: 999_999, key: 'k' }])).items).toEqual([]);
      await book.commit([['k', null]]);
      expect((await store.items(other.id, [other.place('k')])).items[0]?.json).toBe('2');
    });

    test('come by the thousand in one transaction', async () => {
      const book = await Book.open(store, 'thousands');
      const keys = Array.from({ length: 2500 }, (_, i) => `k${i}`);
      await book.commit(keys.map((key) => [key, '{}'] as const));
      expect(
        (
          await store.items(
            book.id,
            keys.map((key) => book.place(key)),
          )
        ).items,
      ).toHaveLength(2500);
      await book.commit(keys.map((key) => [key, null] as const));
      expect(
        (
          await store.items(
            book.id,
            keys.map((key) => book.place(key)),
          )
        ).items,
      ).toEqual([]);
    });

    test('are read at one moment with the pool', async () => {
      const book = await Book.open(store, 'moment');
      await book.commit([
        ['n', '1'],
        ['z', '1'],
      ]);
      let writing = true;
      const writer = (async () => {
        for (let i = 2; i <= 150; i++)
          await book.commit([
            ['n', String(i)],
            ['z', String(i)],
          ]);
        writing = false;
      })();
      let readings = 0;
      while (writing) {
        const [found, page] = await Promise.all([
          store.items(book.id, [book.place('n'), book.place('z')]),
          store.range(book.id, { collectionId: book.collectionId, limit: 10, bytesMax: 1000 }),
        ]);
        for (const { head, items } of [found, page]) {
          const revision = String(head?.revision);
          expect(items.map(({ json }) => json)).toEqual([revision, revision]);
          readings++;
        }
      }
      await writer;
      expect(readings).toBeGreaterThan(10);
    });
  });

  describe('a range', () => {
    let book: Book;
    beforeAll(async () => {
      book = await Book.open(store, 'ranges');
      await book.commit(KEYS.map((key) => [key, `"${'x'.repeat(98)}"`] as const));
    });
    const keysOf = async (more: {
      start?: string;
      end?: string;
      after?: string;
      limit?: number;
      bytesMax?: number;
    }) => {
      const page = await store.range(book.id, { collectionId: book.collectionId, limit: 1000, bytesMax: 1e6, ...more });
      return { keys: page.items.map(({ key }) => key), more: page.more };
    };

    test('is in the order of the keys’ bytes', async () => {
      expect(await keysOf({})).toEqual({ keys: inOrder(KEYS), more: false });
    });

    test('begins at its start, ends before its end, and goes on after a key', async () => {
      for (const bound of KEYS) {
        const from = inOrder(KEYS).filter((key) => atLeast(key, bound));
        expect((await keysOf({ start: bound })).keys).toEqual(from);
        expect((await keysOf({ after: bound })).keys).toEqual(from.slice(1));
        expect((await keysOf({ end: bound })).keys).toEqual(inOrder(KEYS).filter((key) => !atLeast(key, bound)));
      }
      for (const [i, start] of KEYS.entries()) {
        const end = KEYS[(i * 7 + 3) % KEYS.length] as string;
        const between = inOrder(KEYS).filter((key) => atLeast(key, start) && !atLeast(key, end));
        expect((await keysOf({ start, end })).keys).toEqual(between);
        expect((await keysOf({ start, end, after: start })).keys).toEqual(between.slice(1));
      }
    });

    test('keeps its bound of rows, and its pages miss and repeat nothing', async () => {
      for (const limit of [1, 2, 7, KEYS.length - 1, KEYS.length, KEYS.length + 1]) {
        const seen: string[] = [];
        for (let after: string | undefined; ; ) {
          const page = await keysOf({ limit, ...(after !== undefined && { after }) });
          expect(page.keys.length).toBeLessThanOrEqual(limit);
          seen.push(...page.keys);
          if (!page.more) break;
          expect(page.keys.length).toBeGreaterThan(0);
          after = page.keys.at(-1);
        }
        expect(seen).toEqual(inOrder(KEYS));
      }
    });

    test('stops with the item that reaches its bound of bytes, and answers one at least', async () => {
      expect((await keysOf({ bytesMax: 1 })).keys).toHaveLength(1);
      expect((await keysOf({ bytesMax: 100 })).keys).toHaveLength(1);
      expect((await keysOf({ bytesMax: 101 })).keys).toHaveLength(2);
      expect(await keysOf({ bytesMax: 550 })).toMatchObject({ keys: inOrder(KEYS).slice(0, 6), more: true });
    });

    test('counts bytes, not characters', async () => {
      const wide = await Book.open(store, 'wide');
      await wide.commit(['a', 'b', 'c', 'd'].map((key) => [key, `"${'日'.repeat(100)}"`] as const));
      const page = await store.range(wide.id, { collectionId: wide.collectionId, limit: 10, bytesMax: 600 });
      expect(page.items.map(({ key }) => key)).toEqual(['a', 'b']);
    });

    test('of an empty collection is empty', async () => {
      const page = await store.range(book.id, { collectionId: 999_999, limit: 10, bytesMax: 100 });
      expect(page).toMatchObject({ head: { name: 'ranges' }, items: [], more: false });
    });
  });

  describe('the log', () => {
    test('keeps the trace of a commit with its first row, the longest too, and has none where there was none', async () => {
      const book = await Book.open(store, 'traced');
      const longest = `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01 a=${'x'.repeat(510)}`;
      expect(longest).toHaveLength(TRACE_LENGTH_MAX);
      await book.commit(
        [
          ['a', '1'],
          ['b', '1'],
        ],
        { trace: longest },
      );
      await store.transact(async (tx) => {
        await book.append(tx, [['c', '1']]);
        await book.append(tx, [['c', '2']], { trace: longest.slice(0, 55) });
      });
      const { rows } = await store.log({ poolId: book.id, after: 0, rowsMax: 100, bytesMax: 100_000 });
      expect(rows.map(({ trace }) => trace)).toEqual([longest, undefined, undefined, longest.slice(0, 55)]);
      const before = { poolId: book.id, before: 4, rowsMax: 100, bytesMax: 100_000 };
      const backward = await store.snapshot(book.id, (source) => source.logBefore(before));
      expect(backward.at(-2)?.trace).toBe(longest);
    });

    test('comes in pages of whole commits, whatever their bounds', async () => {
      const book = await Book.open(store, 'log');
      const sizes = [1, 3, 1, 200, 2, 1, 1, 70, 1];
      for (const [i, size] of sizes.entries()) {
        await book.commit(
          Array.from({ length: size }, (_, k) => [`${i}-${k}`, JSON.stringify({ i, k })] as const),
          { time: 1000 + i },
        );
      }
      for (const rowsMax of [1, 2, 3, 4, 64, 65, 200, 201, 1000]) {
        for (const bytesMax of [1, 700, 1e6]) {
          const seen: LogRow[] = [];
          for (let after = 0; ; ) {
            const page = await store.log({ poolId: book.id, after, rowsMax, bytesMax });
            const revisions = [...new Set(page.rows.map(({ revision }) => revision))];
            for (const revision of revisions) {
              expect(page.rows.filter((row) => row.revision === revision)).toHaveLength(sizes[revision - 1] as number);
            }
            if (revisions.length > 1) expect(page.rows.length).toBeLessThanOrEqual(rowsMax);
            seen.push(...page.rows);
            after = page.rows.at(-1)?.revision ?? after;
            expect(page.complete).toBe(after === sizes.length);
            if (page.complete) break;
            expect(page.rows.length).toBeGreaterThan(0);
          }
          expect(seen).toEqual(book.log);
        }
      }
      const end = await store.log({ poolId: book.id, after: sizes.length, rowsMax: 1, bytesMax: 1 });
      expect(end).toMatchObject({ rows: [], complete: true, head: { revision: sizes.length } });
    });

    test('comes backwards in pages of whole commits, the newest first', async () => {
      const book = await Book.open(store, 'log-backwards');
      const sizes = [1, 3, 1, 200, 2, 1, 1, 70, 1];
      for (const [i, size] of sizes.entries())
        await book.commit(Array.from({ length: size }, (_, k) => [`${i}-${k}`, JSON.stringify({ i, k })] as const));
      const expected = [...book.log].sort((a, b) => b.revision - a.revision || a.ordinal - b.ordinal);
      const read = (before: number, rowsMax: number, bytesMax: number) =>
        store.snapshot(book.id, (source) => source.logBefore({ poolId: book.id, before, rowsMax, bytesMax }));
      for (const rowsMax of [1, 2, 3, 64, 65, 200, 201, 1000]) {
        for (const bytesMax of [1, 700, 1e6]) {
          const seen: LogRow[] = [];
          for (let before = sizes.length + 1; before > 1; ) {
            const rows = await read(before, rowsMax, bytesMax);
            if (rows.at(-1)?.revision !== rows[0]?.revision) expect(rows.length).toBeLessThanOrEqual(rowsMax);
            expect(rows[0]?.revision).toBe(before - 1);
            expect(rows.at(-1)?.ordinal).toBe((sizes[(rows.at(-1)?.revision as number) - 1] as number) - 1);
            seen.push(...rows);
            before = rows.at(-1)?.revision as number;
          }
          expect(seen).toEqual(expected);
        }
      }
      expect(await read(1, 10, 1e6)).toEqual([]);
      expect(await read(5, 1000, 1e6)).toEqual(expected.filter(({ revision }) => revision < 5));
      const ofBoth = await store.snapshot(book.id, async (source) => [
        await source.log({ poolId: book.id, after: 3, rowsMax: 1, bytesMax: 1 }),
        await source.logBefore({ poolId: book.id, before: 5, rowsMax: 1, bytesMax: 1 }),
      ]);
      expect(ofBoth).toEqual([
        expect.objectContaining({ rows: expected.filter(({ revision }) => revision === 4) }),
        expected.filter(({ revision }) => revision === 4),
      ]);
    });

    test('forgets what lies before its oldest revision, in steps, and never more', async () => {
      const book = await Book.open(store, 'forget');
      for (let i = 0; i < 10; i++)
        await book.commit([
          [`a${i}`, '{}'],
          [`b${i}`, '{}'],
        ]);
      expect((await book.head())?.oldestRevision).toBe(1);
      expect(await store.deleteLogRows(book.id, 100)).toBe(0);
      await store.raiseOldest(book.id, 6);
      expect((await book.head())?.oldestRevision).toBe(7);
      await store.raiseOldest(book.id, 3);
      expect((await book.head())?.oldestRevision).toBe(7);
      expect(await store.deleteLogRows(book.id, 5)).toBe(5);
      expect(await store.deleteLogRows(book.id, 100)).toBe(7);
      expect(await store.deleteLogRows(book.id, 100)).toBe(0);
      const { rows, head } = await readLog(store, book.id, 100);
      expect(rows).toEqual(book.log.filter(({ revision }) => revision >= 7));
      expect(head).toMatchObject({ revision: 10, oldestRevision: 7 });
      await store.raiseOldest(book.id, 10);
      await store.deleteLogRows(book.id, 100);
      expect(await readLog(store, book.id, 100)).toMatchObject({
        rows: [],
        complete: false,
        head: { oldestRevision: 11 },
      });
      expect(await store.log({ poolId: book.id, after: 10, rowsMax: 1, bytesMax: 1 })).toMatchObject({
        rows: [],
        complete: true,
      });
    });

    test('tells by bisection which commit is the last before a time', async () => {
      const book = await Book.open(store, 'times');
      expect(await store.revisionBefore(book.id, 1e15)).toBe(0);
      const times = [10, 10, 20, 30, 30, 30, 40, 50, 50, 60, 70];
      for (const time of times) await book.commit([['k', '{}']], { time });
      const expected = (time: number, oldest: number) => {
        const last = times.filter((t) => t < time).length;
        return last < oldest ? 0 : last;
      };
      for (let time = 5; time <= 75; time += 5)
        expect(await store.revisionBefore(book.id, time), `before ${time}`).toBe(expected(time, 1));
      await store.raiseOldest(book.id, 4);
      await store.deleteLogRows(book.id, 100);
      for (let time = 5; time <= 75; time += 5)
        expect(await store.revisionBefore(book.id, time), `before ${time}`).toBe(expected(time, 5));
      expect(await store.revisionBefore(999_999, 1e15)).toBe(0);
    });
  });

  async function countOf(book: Book): Promise<number> {
    return (await store.range(book.id, { collectionId: book.collectionId, limit: 1000, bytesMax: 1e9 })).items.length;
  }

  describe('the change of one item', () => {
    test('is the newest up to a revision, found from a known place or by examining the log backwards', async () => {
      const book = await Book.open(store, 'item-change');
      await book.commit([['a', '{"n":1}']]);
      for (let n = 0; n < 5; n++)
        await book.commit([
          ['x', `{"n":${n}}`],
          ['y', null],
        ]);
      await book.commit([
        ['x', '{}'],
        ['a', null],
      ]);
      await book.commit([['x', '{"last":1}']]);
      const look = (key: string, upTo: number, rowsMax = 100, collectionId = book.collectionId) =>
        store.itemChange({ poolId: book.id, collectionId, key, upTo, rowsMax });
      const written = (revision: number, key: string) =>
        book.log.find((row) => row.revision === revision && row.key === key);
      // At its own revision, or before it, whatever else is in the commits.
      expect((await look('a', 7)).row).toEqual(written(7, 'a'));
      expect((await look('a', 8)).row).toEqual(written(7, 'a'));
      expect((await look('a', 6)).row).toEqual(written(1, 'a'));
      expect((await look('a', 1, 1)).row).toEqual(written(1, 'a'));
      expect((await look('a', 8)).head).toEqual(await book.head());
      // What never was, and what is elsewhere.
      expect(await look('A', 8)).toMatchObject({ row: undefined, reached: 0 });
      expect(await look('a', 0)).toMatchObject({ row: undefined, reached: 0 });
      expect((await look('a', 8, 100, book.collectionId + 1)).row).toBeUndefined();
      // The bound is kept, and the commit in which it falls is examined whole.
      const bounded = await look('a', 6, 3);
      expect(bounded).toMatchObject({ row: undefined, reached: 5 });
      expect(await look('a', bounded.reached - 1, 5)).toMatchObject({ row: undefined, reached: 2 });
      expect((await look('a', 1, 3)).row).toEqual(written(1, 'a'));
      expect(
        (await store.itemChange({ poolId: 999_999, collectionId: 1, key: 'a', upTo: 9, rowsMax: 9 })).head,
      ).toBeUndefined();
    });
  });
});

function readLog(store: Store, poolId: number, rowsMax: number) {
  return store.log({ poolId, after: 0, rowsMax, bytesMax: 1e9 });
}
