import fc from 'fast-check';
import { expect, it } from 'vitest';
import { IntervalIndex } from './interval-index.js';
import { compareKeys, isInRange, type KeyRange } from './key-order.js';

const key = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '\u{1f600}', '\uffff'), minLength: 1, maxLength: 3 });
const range = fc.record({ start: fc.option(key, { nil: undefined }), end: fc.option(key, { nil: undefined }) });
const step = fc.oneof(fc.record({ add: range }), fc.record({ remove: fc.nat(30) }), fc.record({ find: key }));

const within = fc
  .record({ start: fc.option(key, { nil: undefined }), end: fc.option(key, { nil: undefined }) })
  .filter(({ start, end }) => end === undefined || compareKeys(start ?? '', end) < 0);

it('finds exactly the intervals that overlap a range, and stops where it is told to', () => {
  fc.assert(
    fc.property(
      fc.array(within, { maxLength: 30 }),
      fc.array(fc.nat(29)),
      within,
      key,
      (intervals, removed, asked, at) => {
        const index = new IntervalIndex<number>();
        for (const [i, interval] of intervals.entries()) index.add(interval, i);
        for (const i of removed) index.remove(i);
        const left = [...intervals.keys()].filter((i) => !removed.includes(i));
        const found: number[] = [];
        const all = (value: number) => found.push(value) === 0;
        expect(index.someOverlapping(asked, all)).toBe(false);
        const expected = left.filter((i) => meet(intervals[i] as KeyRange, asked));
        expect(found.sort((a, b) => a - b)).toEqual(expected);
        let tested = 0;
        expect(index.someOverlapping(asked, () => ++tested === 1)).toBe(expected.length > 0);
        expect(tested).toBe(Math.min(1, expected.length));
        expect(index.has(at)).toBe(left.some((i) => isInRange(at, intervals[i] as KeyRange)));
      },
    ),
    { numRuns: 500 },
  );
});

function meet(a: KeyRange, b: KeyRange): boolean {
  const before = (end: string | undefined, start: string | undefined) =>
    end !== undefined && compareKeys(end, start ?? '') <= 0;
  return !before(a.end, b.start) && !before(b.end, a.start);
}

it('finds exactly the intervals that hold a key, whatever was added and removed', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const index = new IntervalIndex<number>();
      const plain = new Map<number, KeyRange>();
      let serial = 0;
      for (const act of steps) {
        if ('add' in act) {
          index.add(act.add, serial);
          plain.set(serial++, act.add);
        } else if ('remove' in act) {
          index.remove(act.remove);
          plain.delete(act.remove);
        } else {
          const found: number[] = [];
          index.each(act.find, (value) => found.push(value));
          const expected = [...plain].filter(([, interval]) => isInRange(act.find, interval)).map(([value]) => value);
          expect(found.sort((a, b) => a - b)).toEqual(expected);
        }
        expect(index.size).toBe(plain.size);
      }
    }),
    { numRuns: 300 },
  );
});
