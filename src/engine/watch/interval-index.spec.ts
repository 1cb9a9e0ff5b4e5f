import fc from 'fast-check';
import { expect, it } from 'vitest';
import { isInRange, type KeyRange } from '../state/key-order.js';
import { IntervalIndex } from './interval-index.js';

const key = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '\u{1f600}', '\uffff'), minLength: 1, maxLength: 3 });
const range = fc.record({ start: fc.option(key, { nil: undefined }), end: fc.option(key, { nil: undefined }) });
const step = fc.oneof(fc.record({ add: range }), fc.record({ remove: fc.nat(30) }), fc.record({ find: key }));

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
