import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Json } from '../state/json.js';
import type { Attributes } from '../state/model.js';
import { matcherOf } from './evaluate.js';
import { parseFilter } from './filter.js';
import { accessOf, bytesAfter, directionOf, type IndexAccess, isFixed, type OrderTerm } from './index-access.js';
import { Ordering } from './ordering.js';
import { parsePath, type Readable, readPath } from './path.js';
import { type IndexPart, PART_BYTES_MAX, sortKeyOf } from './sort-key.js';

const long = 'x'.repeat(PART_BYTES_MAX - 3);
const value = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom<Json>(false, true, 0, 1, 2, 'a', 'b') },
  {
    weight: 2,
    arbitrary: fc.constantFrom<Json>(
      -0,
      -1,
      1.5,
      '',
      '\0',
      'a\0',
      'aa',
      '\uffee',
      '😀',
      [],
      [1],
      ['a'],
      [null],
      {},
      { k: 1 },
      { k: null },
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Json>(
      long,
      `${long}a`,
      `${long}b`,
      `${long}bb`,
      [long, 1],
      [long, 2],
      { k: long },
      { k: long, l: 1 },
    ),
  },
);
const names = ['a', 'b', 'c'] as const;
const places = ['a', 'b', 'c', '/a/k', '/b/0'] as const;
const attributes = fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 3 });
const items = fc
  .array(attributes, { maxLength: 12 })
  .map((all) => all.map((each, i): Readable => ({ key: `k${i}`, revision: i, attributes: each })));

const operators = fc.oneof(
  { weight: 4, arbitrary: value.map((eq) => ({ eq })) },
  { weight: 2, arbitrary: fc.array(value, { maxLength: 4 }).map((list) => ({ in: list })) },
  {
    weight: 5,
    arbitrary: fc.tuple(fc.constantFrom('lt', 'lte', 'gt', 'gte'), value).map((each) => Object.fromEntries([each])),
  },
  { weight: 2, arbitrary: fc.constantFrom('', 'a', '\0', long, `${long}b`).map((prefix) => ({ prefix })) },
  { weight: 2, arbitrary: fc.boolean().map((exists) => ({ exists })) },
  { weight: 1, arbitrary: value.map((ne) => ({ ne })) },
  { weight: 1, arbitrary: value.map((has) => ({ has })) },
);
const tests = fc.array(operators, { minLength: 1, maxLength: 2 }).map((all): Json => Object.assign({}, ...all));
const named = fc.dictionary(fc.constantFrom(...places, '/a', '/@key'), tests, { minKeys: 1, maxKeys: 3 });
const filter = fc.oneof(
  { weight: 4, arbitrary: named },
  { weight: 1, arbitrary: fc.tuple(named, named).map((and): { [name: string]: Json } => ({ and })) },
  { weight: 1, arbitrary: fc.tuple(named, named).map(([some, not]): { [name: string]: Json } => ({ ...some, not })) },
);
const part = fc.tuple(fc.constantFrom(...places), fc.boolean()).map(([name, descending]): IndexPart => {
  return { tokens: parsePath(name).tokens, descending };
});
const parts = fc.uniqueArray(part, { minLength: 1, maxLength: 3, selector: ({ tokens }) => tokens.join('/') });
const order = fc
  .array(fc.tuple(fc.constantFrom(...places), fc.boolean()), { minLength: 1, maxLength: 3 })
  .map((terms) => terms.map(([name, descending]): OrderTerm => ({ path: parsePath(name), descending })));

const accessBy = (indexParts: readonly IndexPart[], where: Json) =>
  accessOf({ id: 1, name: 'i', parts: indexParts }, parseFilter(where, '').root);
const isIn = ({ ranges }: IndexAccess, bytes: Buffer) =>
  ranges.some(({ start, end }) => bytes.compare(start) >= 0 && (!end || bytes.compare(end) < 0));
/** Asks for the order that the parts have, or turned. */
const orderOf = (indexParts: readonly IndexPart[], turned = false): OrderTerm[] =>
  indexParts.map(({ tokens, descending }) => ({
    path: parsePath(`/${tokens.join('/')}`),
    descending: descending !== turned,
  }));

describe('an access', () => {
  it('leads to every item that matches; to no other where it covers the filter; to each once', () => {
    fc.assert(
      fc.property(items, filter, parts, (all, where, indexParts) => {
        const access = accessBy(indexParts, where);
        const matches = matcherOf(parseFilter(where, ''));
        for (const item of all) {
          const { bytes } = sortKeyOf(indexParts, item.attributes);
          const found = isIn(access, bytes);
          if (matches(item)) expect(found, JSON.stringify(item.attributes)).toBe(true);
          else if (access.covers) expect(found, JSON.stringify(item.attributes)).toBe(false);
          const times = access.ranges.filter((range) => isIn({ ...access, ranges: [range] }, bytes)).length;
          expect(times).toBeLessThanOrEqual(1);
          if (found) expect(bytes.subarray(0, access.prefix.length).equals(access.prefix)).toBe(true);
        }
      }),
      { numRuns: 4000 },
    );
  });

  it('that says it has the order has it', () => {
    fc.assert(
      fc.property(
        items,
        fc.oneof(filter, fc.constant({})),
        parts,
        fc.option(order),
        fc.boolean(),
        (all, where, indexParts, given, turned) => {
          const wanted = given ?? orderOf(indexParts, turned);
          const access = accessBy(indexParts, where);
          const direction = directionOf(access, wanted);
          if (!direction) return;
          const ordering = new Ordering(wanted);
          const entries = all
            .map((item) => ({ item, key: sortKeyOf(indexParts, item.attributes) }))
            .filter(({ key }) => isIn(access, key.bytes));
          const [moving] = wanted.filter((term) => !isFixed(access, term));
          const absent = (item: Readable) => moving !== undefined && readPath(moving.path, item) === undefined;
          for (const one of entries) {
            for (const other of entries) {
              const walked = one.key.bytes.compare(other.key.bytes);
              // Where keys are alike, the walk is by the items' own; where they were cut, whoever walks compares.
              if (walked === 0) continue;
              // Backwards, what is absent is a leg of its own.
              if (direction === 'backward' && (absent(one.item) || absent(other.item))) continue;
              const asked = ordering.compare(ordering.positionOf(one.item), ordering.positionOf(other.item));
              expect(Math.sign(direction === 'forward' ? walked : -walked)).toBe(Math.sign(asked));
            }
          }
        },
      ),
      { numRuns: 4000 },
    );
  });
});

type Row = [
  says: string,
  parts: string[],
  where: Json,
  wanted: { tests: number; fixed: number; ranges: number; covers: boolean },
];

const partsOf = (texts: readonly string[]) =>
  texts.map((text): IndexPart => {
    const descending = text.startsWith('-');
    return { tokens: parsePath(descending ? text.slice(1) : text).tokens, descending };
  });

describe('an index', () => {
  it.each<Row>([
    ['serves equality', ['a'], { a: 1 }, { tests: 1, fixed: 1, ranges: 1, covers: true }],
    ['serves a name written as a pointer', ['a'], { '/a': 1 }, { tests: 1, fixed: 1, ranges: 1, covers: true }],
    ['serves a place inside', ['/a/k'], { '/a/k': null }, { tests: 1, fixed: 1, ranges: 1, covers: true }],
    ['serves absence', ['a'], { a: { exists: false } }, { tests: 1, fixed: 1, ranges: 1, covers: true }],
    ['serves presence', ['-a'], { a: { exists: true } }, { tests: 1, fixed: 0, ranges: 1, covers: true }],
    ['serves a list', ['a'], { a: { in: [1, 2, 3] } }, { tests: 1, fixed: 0, ranges: 3, covers: true }],
    ['serves a list of one', ['a'], { a: { in: [1, 1.0] } }, { tests: 1, fixed: 1, ranges: 1, covers: true }],
    ['serves a list of none', ['a'], { a: { in: [] } }, { tests: 1, fixed: 0, ranges: 0, covers: true }],
    ['serves both ends of a range', ['-a'], { a: { gte: 1, lt: 5 } }, { tests: 2, fixed: 0, ranges: 1, covers: true }],
    ['serves a prefix', ['a'], { a: { prefix: 'x' } }, { tests: 1, fixed: 0, ranges: 1, covers: true }],
    ['serves its parts in turn', ['a', '-b'], { b: { gt: 1 }, a: 1 }, { tests: 2, fixed: 1, ranges: 1, covers: true }],
    [
      'serves lists in turn',
      ['a', 'b'],
      { a: { in: [1, 2] }, b: { in: [1, 2, 3] } },
      { tests: 2, fixed: 0, ranges: 6, covers: true },
    ],
    [
      'serves what stands in an and',
      ['a', 'b'],
      { and: [{ a: 1 }, { and: [{ b: 2 }] }] },
      { tests: 2, fixed: 2, ranges: 1, covers: true },
    ],
    [
      'serves nothing behind a range',
      ['a', 'b'],
      { a: { gt: 1 }, b: 1 },
      { tests: 1, fixed: 0, ranges: 1, covers: false },
    ],
    ['serves nothing without its first part', ['a', 'b'], { b: 1 }, { tests: 0, fixed: 0, ranges: 1, covers: false }],
    [
      'serves no part of too many points',
      ['a', 'b'],
      { a: { in: Array.from({ length: 65 }, (_, i) => i) } },
      { tests: 0, fixed: 0, ranges: 1, covers: false },
    ],
    ['leaves other tests to the evaluator', ['a'], { a: 1, b: 2 }, { tests: 1, fixed: 1, ranges: 1, covers: false }],
    [
      'leaves a second test of one value to it',
      ['a'],
      { a: { eq: 1, gt: 0 } },
      { tests: 1, fixed: 1, ranges: 1, covers: false },
    ],
    [
      'leaves what was cut to it',
      ['a', 'b'],
      { a: 'x'.repeat(300), b: 1 },
      { tests: 1, fixed: 0, ranges: 1, covers: false },
    ],
    [
      'leaves ne, nin and has to it',
      ['a'],
      { a: { ne: 1, nin: [2], has: 3 } },
      { tests: 0, fixed: 0, ranges: 1, covers: false },
    ],
    ['leaves logic to it', ['a'], { or: [{ a: 1 }], not: { a: 2 } }, { tests: 0, fixed: 0, ranges: 1, covers: false }],
  ])('%s', (_says, texts, where, wanted) => {
    const { tests: used, fixed, ranges, covers } = accessBy(partsOf(texts), where);
    expect({ tests: used, fixed, ranges: ranges.length, covers }).toEqual(wanted);
  });

  it.each<[says: string, parts: string[], where: Json, order: string[], direction: string | undefined]>([
    ['its own order', ['a', '-b'], {}, ['a', '-b'], 'forward'],
    ['its own, backwards, of one part', ['a'], {}, ['-a'], 'backward'],
    ['not of several', ['a', 'b'], {}, ['-a', '-b'], undefined],
    ['not in part', ['a', 'b'], {}, ['a'], undefined],
    ['what is left of it', ['a', 'b'], { a: 1 }, ['b'], 'forward'],
    ['what is left of it, backwards', ['a', 'b'], { a: 1 }, ['-b'], 'backward'],
    ['with what is fixed anywhere in it', ['a', 'b', 'c'], { a: 1 }, ['b', '-a', 'c'], 'forward'],
    ['none of several points', ['a', 'b'], { a: { in: [1, 2] } }, ['b'], undefined],
    ['that of keys where all is fixed', ['a'], { a: 1 }, [], 'forward'],
    ['not that of keys else', ['a'], {}, [], undefined],
    ['not another', ['a'], {}, ['b'], undefined],
    ['not that of what lies inside', ['a'], {}, ['/a/k'], undefined],
  ])('has %s', (_says, texts, where, terms, direction) => {
    const wanted = partsOf(terms).map(({ tokens, descending }) => ({
      path: parsePath(`/${tokens.join('/')}`),
      descending,
    }));
    expect(directionOf(accessBy(partsOf(texts), where), wanted)).toBe(direction);
  });
});

it.each([
  [[], undefined],
  [[0xff], undefined],
  [[0xff, 0xff], undefined],
  [[1], [2]],
  [[1, 0xff], [2]],
  [
    [1, 0xfe],
    [1, 0xff],
  ],
  [
    [0xff, 0],
    [0xff, 1],
  ],
])('after all that begin with %j comes %j', (bytes, after) => {
  expect(bytesAfter(Buffer.from(bytes))).toEqual(after && Buffer.from(after));
});

it('an index is judged by attributes alone', () => {
  const item: Attributes = { '@key': 'x' };
  const access = accessBy(partsOf(['@key']), { '/@key': 'x' });
  expect(access.tests).toBe(0);
  expect(isIn(accessBy(partsOf(['@key']), { '@key': 'x' }), sortKeyOf(partsOf(['@key']), item).bytes)).toBe(true);
});
