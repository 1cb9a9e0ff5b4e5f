import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ExactSum } from './exact-sum.js';

const sumOf = (values: readonly number[]): ExactSum => {
  const sum = new ExactSum();
  for (const value of values) sum.add(value);
  return sum;
};
const { MAX_VALUE, MIN_VALUE, EPSILON } = Number;

describe('an exact sum', () => {
  it.each<[says: string, values: number[], sum: number, mean: number]>([
    ['of nothing', [], 0, Number.NaN],
    ['of one', [0.1], 0.1, 0.1],
    ['that overflows on the way', [1e308, 1e308, -1e308], 1e308, 1e308 / 3],
    ['that is too large', [1e308, 1e308], Number.POSITIVE_INFINITY, 1e308],
    ['that is too small', [-MAX_VALUE, -MAX_VALUE], Number.NEGATIVE_INFINITY, -MAX_VALUE],
    ['of what cancels out', [1e100, 1e50, -1e100, 1, -1e50], 1, 0.2],
    ['of large and smallest', [MAX_VALUE, MIN_VALUE, -MAX_VALUE], MIN_VALUE, 0],
    ['of tenths', Array(10).fill(0.1), 1, 0.1],
    ['of thirds', Array(3).fill(1 / 3), 1, 1 / 3],
    ['halfway, to the even one', [1, EPSILON / 2], 1, 0.5],
    ['a little more than halfway', [1, EPSILON / 2, MIN_VALUE], 1 + EPSILON, 0.33333333333333337],
    ['halfway to what is too large', [MAX_VALUE, 2 ** 970], Number.POSITIVE_INFINITY, MAX_VALUE / 2 + 2 ** 969],
    ['nearly halfway to that', [MAX_VALUE, 2 ** 970, -MIN_VALUE], MAX_VALUE, MAX_VALUE / 3],
    ['whose mean is subnormal', [MIN_VALUE, MIN_VALUE, MIN_VALUE, 1, -1], 3 * MIN_VALUE, MIN_VALUE],
  ])('%s', (_says, values, sum, mean) => {
    for (const each of [values, values.toReversed(), values.toSorted((a, b) => a - b)]) {
      expect(sumOf(each).over(1)).toBe(sum);
      if (values.length > 0) expect(sumOf(each).over(values.length)).toBe(mean);
    }
  });

  it('is the same in any order, and cancels out', () => {
    const numbers = fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(numbers, fc.infiniteStream(fc.nat()), (values, picks) => {
        const shuffled = values
          .map((value) => ({ value, at: picks.next().value as number }))
          .sort((a, b) => a.at - b.at)
          .map(({ value }) => value);
        expect(sumOf(shuffled).over(1)).toBe(sumOf(values).over(1));
        expect(sumOf(shuffled).over(7)).toBe(sumOf(values).over(7));
        const opposite = values.map((value) => -value);
        expect(Math.abs(sumOf([...values, ...opposite]).over(1))).toBe(0);
        expect(sumOf([...values, ...opposite, 0.1]).over(1)).toBe(0.1);
      }),
    );
  });
});
