import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits } from '../limits.js';
import type { Json, JsonObject } from '../state/json.js';
import { Aggregation } from './aggregate.js';
import { Budget } from './budget.js';
import { parseAggregates, parsePaths } from './request.js';
import { digestOf } from './value-digest.js';

const ALL: JsonObject = {
  count: { count: 'v' },
  sum: { sum: 'v' },
  min: { min: 'v' },
  max: { max: 'v' },
  avg: { avg: 'v' },
  items: { count: '/@key' },
};
const budget = new Budget({ scanItemsMax: 1, comparisonStepsMax: Number.MAX_SAFE_INTEGER });
const json = (text: string) => JSON.parse(text) as JsonObject;

/** Aggregates over items with these attributes, whose keys are k0, k1 and so on. */
function over(items: readonly JsonObject[], groupBy: readonly string[] = [], aggregates = ALL): Aggregation {
  const aggregation = new Aggregation(parseAggregates(aggregates, '/a'), parsePaths(groupBy, '/g', 8));
  for (const [i, attributes] of items.entries()) aggregation.add({ key: `k${i}`, revision: i + 1, attributes }, budget);
  return aggregation;
}

describe('aggregates of all items', () => {
  type Row = [says: string, values: (Json | undefined)[], wanted: (number | null)[]];
  it.each<Row>([
    ['nothing', [], [0, 0, null, null, null, 0]],
    ['one number', [5], [1, 5, 5, 5, 5, 1]],
    ['several', [1, 2, 6], [3, 9, 1, 6, 3, 3]],
    ['negative ones and fractions', [-1.5, 0.25, -3], [3, -4.25, -3, 0.25, -4.25 / 3, 3]],
    ['what is absent counts nowhere but as an item', [1, undefined, 3], [2, 4, 1, 3, 2, 3]],
    ['what is no number is only counted', ['x', true, [9], { n: 9 }, 4], [5, 4, 4, 4, 4, 5]],
    ['no numbers at all', ['7', false], [2, 0, null, null, null, 2]],
    ['what rounding would lose', [1, 1e100, 1, -1e100], [4, 2, -1e100, 1e100, 0.5, 4]],
    ['ten tenths', Array.from({ length: 10 }, () => 0.1), [10, 1, 0.1, 0.1, 0.1, 10]],
    ['more than a double holds', [1e308, 1e308], [2, null, 1e308, 1e308, 1e308, 2]],
    ['more than that on the way only', [1e308, 1e308, -1e308], [3, 1e308, -1e308, 1e308, 1e308 / 3, 3]],
    ['what Neumaier loses', [1e100, 1e50, -1e100, 1, -1e50], [5, 1, -1e100, 1e100, 0.2, 5]],
  ])('%s', (_says, values, [count, sum, min, max, avg, items]) => {
    const { total } = over(values.map((value): JsonObject => (value === undefined ? {} : { v: value })));
    expect(total).toEqual({ count, sum, min, max, avg, items });
  });

  it('may be of places inside, of keys and of revisions', () => {
    const wanted = { deep: { sum: '/o/list/1' }, last: { max: '/@revision' }, keys: { min: '/@key' } };
    const { total } = over([{ o: { list: [1, 2] } }, { o: { list: [3, 4] } }, { o: 1 }], [], wanted);
    expect(total).toEqual({ deep: 6, last: 3, keys: null });
  });

  it('may have any name', () => {
    const { total } = over([{ v: 1 }], [], json('{"__proto__": {"sum": "v"}, "": {"count": "v"}, "10": {"min": "v"}}'));
    expect(total).toEqual(json('{"__proto__": 1, "": 1, "10": 1}'));
  });

  it('of whole numbers are exact, whatever their order', () => {
    const numbers = fc.array(fc.integer(), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(numbers, (values) => {
        const sum = values.reduce((before, value) => before + value, 0);
        const wanted = {
          count: values.length,
          sum,
          min: Math.min(...values),
          max: Math.max(...values),
          avg: sum / values.length,
          items: values.length,
        };
        expect(over(values.map((v) => ({ v }))).total).toEqual(wanted);
        expect(over([...values].reverse().map((v) => ({ v }))).total).toEqual(wanted);
      }),
    );
  });
});

/** Two strings, in order, that have the same digest. */
function colliding(): [string, string] {
  const seen = new Map<number, string>();
  for (let i = 0; ; i++) {
    const text = i.toString(36).padStart(8, '0');
    const { digest } = digestOf([text], budget);
    const other = seen.get(digest);
    if (other !== undefined) return [other, text];
    seen.set(digest, text);
  }
}

describe('groups', () => {
  const count = { n: { count: '/@key' } };
  const groupsOf = async (items: readonly JsonObject[], by: readonly string[]) =>
    (await over(items, by, count).groups(budget)).map(({ group, aggregates }) => [group, aggregates.n]);

  it('come in the order of their values, without what is absent', async () => {
    const values: Json[] = [{}, [], 'b', 'a', 2, 10, true, false, '1', 1];
    expect(await groupsOf([...values.map((v): JsonObject => ({ v })), {}, { v: 'a' }], ['v'])).toEqual([
      [{ v: false }, 1],
      [{ v: true }, 1],
      [{ v: 1 }, 1],
      [{ v: 2 }, 1],
      [{ v: 10 }, 1],
      [{ v: '1' }, 1],
      [{ v: 'a' }, 2],
      [{ v: 'b' }, 1],
      [{ v: [] }, 1],
      [{ v: {} }, 1],
      [{}, 1],
    ]);
  });

  it('are of equal values, and of no others', async () => {
    const same: Json[] = [
      { a: 1, b: [2, { c: 3, d: 4 }] },
      { b: [2, { d: 4, c: 3 }], a: 1 },
    ];
    const others: Json[] = [
      { a: 1, b: [2, { c: 3, d: '4' }] },
      [['a', 1]],
      ['a', 1],
      ['object', ['a', 1]],
      { a: 1 },
      { 10: 1, 9: 2 },
      'object',
      [null],
      [[]],
      [{}],
    ];
    const found = await groupsOf(
      [...same, ...others].map((v): JsonObject => ({ v })),
      ['v'],
    );
    expect(found.map(([, amount]) => amount).sort()).toEqual([...others.map(() => 1), 2]);
  });

  it('take 0 and -0 for one value', async () => {
    expect(await groupsOf([{ v: 0 }, { v: -0 }], ['v'])).toHaveLength(1);
  });

  it('by several attributes keep these apart', async () => {
    const items: JsonObject[] = [{ a: 'x\n"y', b: 'z' }, { a: 'x', b: 'y\nz' }, { a: 'x' }, { b: 'x' }, { a: 'x' }, {}];
    expect(await groupsOf(items, ['a', 'b'])).toEqual([
      [{ a: 'x', b: 'y\nz' }, 1],
      [{ a: 'x' }, 2],
      [{ a: 'x\n"y', b: 'z' }, 1],
      [{ b: 'x' }, 1],
      [{}, 1],
    ]);
  });

  it('are named as they were asked for', async () => {
    expect(await groupsOf([{ a: { b: null } }, json('{"__proto__": 1}')], ['/a/b', '/@revision', '__proto__'])).toEqual(
      [
        [{ '/a/b': null, '/@revision': 1 }, 1],
        [json('{"/@revision": 2, "__proto__": 1}'), 1],
      ],
    );
  });

  it('keep values apart that have one digest', async () => {
    const [a, b] = colliding();
    expect(await groupsOf([{ v: [a] }, { v: [b] }, { v: [a] }], ['v'])).toEqual([
      [{ v: [a] }, 2],
      [{ v: [b] }, 1],
    ]);
  });

  it('are none where there are no items', async () => {
    expect(await groupsOf([], ['v'])).toEqual([]);
  });

  it('are bounded in number', async () => {
    const full = over(
      Array.from({ length: limits.groupsMax }, (_, v) => ({ v })),
      ['v'],
    );
    full.add({ key: 'k', revision: 1, attributes: { v: 0 } }, budget);
    expect(await full.groups(budget)).toHaveLength(limits.groupsMax);
    expect(() => full.add({ key: 'k', revision: 1, attributes: {} }, budget)).toThrow(
      expect.objectContaining({ code: 'scanLimit', detail: expect.stringContaining(String(limits.groupsMax)) }),
    );
  });
});
