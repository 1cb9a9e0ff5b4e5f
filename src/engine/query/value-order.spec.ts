import { describe, expect, it } from 'vitest';
import type { Json } from '../state/json.js';
import { compareValues } from './value-order.js';

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
