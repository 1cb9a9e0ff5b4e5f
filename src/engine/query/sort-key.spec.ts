import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Json } from '../state/json.js';
import { Ordering } from './ordering.js';
import { encodePart, encodePrefix, PART_BYTES_MAX, sortKeyOf, sortKeyOfValues, tagsOf } from './sort-key.js';
import { compareValues } from './value-order.js';

const text = fc.string({ unit: fc.constantFrom('\0', '\u0001', 'a', 'b', 'ÿ', '\uffee', '😀'), maxLength: 4 });
const number = fc.oneof(
  fc.constantFrom(0, -0, 1, -1, 5e-324, -5e-324, 1e308, -1e308, 2 ** 53),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer(),
);
const scalar = fc.oneof(fc.constantFrom<Json>(null, false, true), number, text);
const { value } = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    scalar,
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.oneof(text, fc.constant('__proto__')), tie('value'), { maxKeys: 3 }),
  ),
}));
/** Of these, that differ far behind what a part holds. */
const long = fc
  .tuple(fc.constantFrom('a', 'b'), fc.nat(4), fc.constantFrom('', 'a', 'b', '\0', 'é', '😀'))
  .map(([unit, more, end]) => unit.repeat(PART_BYTES_MAX - 6 + more) + end);
const any = fc.oneof(
  { weight: 5, arbitrary: value },
  {
    weight: 1,
    arbitrary: fc.oneof(long, fc.tuple(long, value), fc.record({ a: long, b: value })) as fc.Arbitrary<Json>,
  },
);
const optional = fc.option(any, { nil: undefined, freq: 6 });
const opposite = (order: number) => (order === 0 ? 0 : -order);

/** The order of one part: what is absent comes last in either direction. */
function comparePart(a: Json | undefined, b: Json | undefined, descending: boolean): number {
  const order = compareValues(a, b);
  return descending && a !== undefined && b !== undefined ? opposite(order) : order;
}

describe('a part of a sort key', () => {
  it('orders as the values do, in both directions, and is equal only for equal values', () => {
    fc.assert(
      fc.property(optional, optional, fc.boolean(), (a, b, descending) => {
        const [x, y] = [encodePart(a, descending), encodePart(b, descending)];
        const [bytes, values] = [Math.sign(x.bytes.compare(y.bytes)), Math.sign(comparePart(a, b, descending))];
        // Where one was cut, it may be like another's; never on the wrong side of it.
        if (bytes !== 0 || (x.exact && y.exact)) expect(bytes).toBe(values);
        // An exact one is never like that of another value, cut or not.
        if (bytes === 0 && values !== 0) expect(x.exact || y.exact).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });

  it('is never the beginning of another, where it is exact', () => {
    fc.assert(
      fc.property(optional, optional, fc.boolean(), (a, b, descending) => {
        const [x, y] = [encodePart(a, descending), encodePart(b, descending)];
        if (!x.exact || compareValues(a, b) === 0) return;
        expect(y.bytes.subarray(0, x.bytes.length).equals(x.bytes)).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });

  it.each<[says: string, value: Json, exact: boolean]>([
    ['a string that just fits', 'x'.repeat(PART_BYTES_MAX - 3), true],
    ['one byte more', 'x'.repeat(PART_BYTES_MAX - 2), false],
    ['many more', 'x'.repeat(100_000), false],
    ['NULs take two bytes', '\0'.repeat((PART_BYTES_MAX - 4) / 2), true],
    ['and one more NUL', '\0'.repeat((PART_BYTES_MAX - 4) / 2 + 1), false],
    ['a character whose bytes are cut', `${'x'.repeat(PART_BYTES_MAX - 5)}😀`, false],
    ['half of a pair at the cut', `${'x'.repeat(PART_BYTES_MAX - 1)}😀`, false],
    ['a long array', Array.from({ length: 100 }, (_, i) => i), false],
    ['an array that just fits', [...Array.from({ length: 28 }, () => 1), true, true], true],
    ['the end of an array that does not', [...Array.from({ length: 28 }, () => 1), true, true, true], false],
  ])('%s', (_says, wanted, exact) => {
    const { bytes, exact: told } = encodePart(wanted, false);
    expect(told).toBe(exact);
    expect(bytes.length).toBeLessThanOrEqual(PART_BYTES_MAX);
    if (!exact) expect(bytes.length).toBe(PART_BYTES_MAX);
  });

  it('of a string begins as those of its prefixes say', () => {
    fc.assert(
      fc.property(fc.oneof(text, long), fc.oneof(text, long), (whole, prefix) => {
        const [bytes, beginning] = [encodePart(whole, false).bytes, encodePrefix(prefix)];
        const begins = bytes.subarray(0, beginning.length).equals(beginning);
        if (whole.startsWith(prefix)) expect(begins).toBe(true);
        else if (beginning.length < PART_BYTES_MAX) expect(begins).toBe(false);
      }),
      { numRuns: 1000 },
    );
  });

  it('begins with a tag of its type', () => {
    fc.assert(
      fc.property(value, (wanted) => {
        const { first, last } = tagsOf(wanted);
        const [tag] = encodePart(wanted, false).bytes;
        expect(tag).toBeGreaterThanOrEqual(first);
        expect(tag).toBeLessThanOrEqual(last);
      }),
    );
  });
});

describe('a sort key of several parts', () => {
  const parts = fc.array(fc.boolean(), { minLength: 1, maxLength: 4 });
  const values = fc.array(fc.oneof(optional, fc.constantFrom<Json>(1, 'a')), { minLength: 4, maxLength: 4 });

  it('orders as the parts do, one after another', () => {
    fc.assert(
      fc.property(parts, values, values, (directions, a, b) => {
        const order = new Ordering(
          directions.map((descending, i) => ({
            path: { text: `p${i}`, of: 'attribute', tokens: [`p${i}`] },
            descending,
          })),
        );
        const described = directions.map((descending) => ({ descending }));
        const [x, y] = [sortKeyOfValues(described, a), sortKeyOfValues(described, b)];
        const [bytes, wanted] = [
          Math.sign(x.bytes.compare(y.bytes)),
          Math.sign(order.compare({ values: a, key: '' }, { values: b, key: '' })),
        ];
        if (bytes !== 0 || (x.exact && y.exact)) expect(bytes).toBe(wanted);
        if (bytes === 0 && wanted !== 0) expect(x.exact || y.exact).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });

  it('says whether all parts are present, and ends where one was cut', () => {
    const described = [{ descending: false }, { descending: true }];
    const cut = 'x'.repeat(PART_BYTES_MAX);
    expect(sortKeyOfValues(described, [1, undefined])).toMatchObject({ exact: true, complete: false });
    expect(sortKeyOfValues(described, [1, 2])).toMatchObject({ exact: true, complete: true });
    const one = sortKeyOfValues(described, [cut, 1]);
    expect(one).toMatchObject({ exact: false });
    expect(one.bytes.equals(sortKeyOfValues(described, [cut, 2]).bytes)).toBe(true);
  });

  it('is of the places that the parts name', () => {
    const described = [
      { tokens: ['a', 'b'], descending: false },
      { tokens: ['list', '1'], descending: false },
      { tokens: ['__proto__'], descending: false },
      { tokens: ['toString'], descending: true },
    ];
    const item = JSON.parse('{"a": {"b": null}, "list": [0, "x"], "__proto__": 1}') as { [name: string]: Json };
    const wanted = sortKeyOfValues(described, [null, 'x', 1, undefined]);
    expect(sortKeyOf(described, item)).toEqual(wanted);
    expect(sortKeyOf(described, {})).toEqual(sortKeyOfValues(described, [undefined, undefined, undefined, undefined]));
  });
});
