import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Json, type JsonObject, jsonEqual } from '../state/json.js';
import { compareKeys } from '../state/key-order.js';
import { compareValues, equalValues, firstNames, sortedNames, type Work } from './value-order.js';

/** As the contract orders them; values in one list are equal. */
const classes: (Json | undefined)[][] = [
  [null],
  [false],
  [true],
  [-Number.MAX_VALUE],
  [-1e21],
  [-10],
  [-1.5],
  [-1],
  [-5e-324],
  [0, -0],
  [5e-324],
  [0.5],
  [1, 1.0],
  [9],
  [10],
  [2 ** 53],
  [Number.MAX_VALUE],
  [''],
  ['\0'],
  ['\0\0'],
  ['\u0001'],
  ['10'],
  ['9'],
  ['A'],
  ['a'],
  ['a\0'],
  ['a\u0001'],
  ['aa'],
  ['b'],
  ['é'],
  ['\ud7ff'],
  ['\ue000'],
  ['\uffee'],
  ['😀'],
  ['😀a'],
  [[]],
  [[null]],
  [[null, null]],
  [[false]],
  [[1]],
  [[1, 2]],
  [[2]],
  [['a']],
  [['a', 'a']],
  [['aa']],
  [[[]]],
  [[{}]],
  [{}],
  [{ a: null }],
  [{ a: 1 }],
  [
    { a: 1, b: 2 },
    { b: 2, a: 1 },
  ],
  [{ a: 1, c: 0 }],
  [{ a: 2 }],
  [{ b: 0 }],
  [{ '\uffee': 0 }],
  [{ '😀': 0 }],
  [undefined],
];
const values = classes.flatMap((equals, place) => equals.map((value) => ({ value, place })));

describe('the order of values', () => {
  it.each(values)('puts $value at its place', ({ value, place }) => {
    for (const other of values) {
      const says = `${JSON.stringify(value)} and ${JSON.stringify(other.value)}`;
      expect(Math.sign(compareValues(value, other.value)), says).toBe(Math.sign(place - other.place));
    }
  });

  it('takes `__proto__` for a name like any other', () => {
    const odd = JSON.parse('{"__proto__": 1}') as Json;
    expect(compareValues(odd, {})).toBeGreaterThan(0);
    expect(compareValues(odd, JSON.parse('{"__proto__": 2}') as Json)).toBeLessThan(0);
    expect(compareValues(odd, JSON.parse('{"__proto__": 1}') as Json)).toBe(0);
  });
});

describe('objects', () => {
  const name = fc.string({ unit: fc.constantFrom('a', 'b', '\uffee', '😀'), maxLength: 2 });
  const object = fc.dictionary(name, fc.oneof(fc.constantFrom<Json>(1, 2, null), fc.dictionary(name, fc.constant(1))), {
    maxKeys: 5,
  });

  it('compare as their members do in the order of names', () => {
    const byMembers = (a: JsonObject, b: JsonObject): number => {
      const [names, others] = [sortedNames(a), sortedNames(b)];
      for (const [i, each] of names.entries()) {
        const other = others[i];
        if (other === undefined) break;
        const order = compareKeys(each, other) || compareValues(a[each], b[other]);
        if (order !== 0) return order;
      }
      return names.length - others.length;
    };
    fc.assert(
      fc.property(object, object, (a, b) => {
        expect(Math.sign(compareValues(a, b))).toBe(Math.sign(byMembers(a, b)));
        expect(equalValues(a, b, { steps: 0 })).toBe(jsonEqual(a, b));
      }),
      { numRuns: 2000 },
    );
  });

  it('give their first names as sorting all gives them', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string(), { maxLength: 60 }), fc.integer({ min: 1, max: 20 }), (names, amount) => {
        const all = Object.fromEntries(names.map((each) => [each, 1]));
        expect(firstNames(all, amount)).toEqual(sortedNames(all).slice(0, amount));
      }),
    );
  });
});

describe('the steps of comparing', () => {
  const many = Object.fromEntries(Array.from({ length: 50_000 }, (_, i) => [`n${(i * 7919) % 50_000}`, 1]));
  const steps = (compare: (work: Work) => unknown) => {
    const work: Work = { steps: 0 };
    compare(work);
    return work.steps;
  };

  it.each<[says: string, stepsMax: number, compare: (work: Work) => unknown]>([
    ['an object with nothing', 0, (work) => compareValues(many, {}, work)],
    ['an object with a small one', 50_001, (work) => compareValues(many, { n: 1 }, work)],
    ['an object with its like', 100_001, (work) => compareValues(many, { ...many, z: 1 }, work)],
    ['whether an object equals a small one', 1, (work) => equalValues({ n: 1 }, many, work)],
    ['arrays that differ early', 1, (work) => compareValues([1, ...Array(1000).fill(0)], [2], work)],
    ['scalars', 0, (work) => compareValues('a', 'b', work)],
    ['long texts that begin differently', 0, (work) => compareValues('a'.repeat(1e6), 'b'.repeat(1e6), work)],
    ['long texts that begin alike', 62_500, (work) => compareValues('a'.repeat(1e6), `${'a'.repeat(1e6)}b`, work)],
  ])('%s are at most %i', (_says, stepsMax, compare) => {
    expect(steps(compare)).toBeLessThanOrEqual(stepsMax);
  });

  it('are counted where they are many', () => {
    expect(steps((work) => compareValues(many, { ...many }, work))).toBeGreaterThanOrEqual(50_000);
    expect(steps((work) => equalValues(many, { ...many }, work))).toBeGreaterThanOrEqual(50_000);
    expect(steps((work) => compareValues('a'.repeat(1e6), 'a'.repeat(1e6), work))).toBeGreaterThanOrEqual(62_500);
  });
});
