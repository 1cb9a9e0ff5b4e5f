import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareKeys, isInRange, prefixEnd, rangeOf } from './key-order.js';

const key = fc.string({ unit: 'binary', minLength: 1, maxLength: 6 });
const byBytes = (a: string, b: string) => Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b)));

describe('the order of keys', () => {
  it('is that of their UTF-8 bytes', () => {
    fc.assert(fc.property(key, key, (a, b) => Math.sign(compareKeys(a, b)) === byBytes(a, b)));
  });

  it('puts characters beyond the basic plane after U+FFFF', () => {
    expect(compareKeys('\u{1f600}', '\uffff')).toBeGreaterThan(0);
    expect('\u{1f600}' < '\uffff').toBe(true); // what JavaScript itself would say
  });
});

describe('the end of a prefix', () => {
  it.each([
    ['a', 'b'],
    ['NO/', 'NO0'],
    ['\ud7ff', '\ue000'],
    ['a\u{10ffff}', 'b'],
    ['\u{10ffff}', undefined],
  ])('of %j is %j', (prefix, end) => expect(prefixEnd(prefix)).toBe(end));

  it('is above exactly what begins with the prefix', () => {
    fc.assert(
      fc.property(key, key, (prefix, text) => {
        const range = rangeOf({ prefix });
        expect(isInRange(text, range)).toBe(text.startsWith(prefix));
        expect(isInRange(prefix + text, range)).toBe(true);
      }),
    );
  });

  it('is joined with a range to what both have in common', () => {
    fc.assert(
      fc.property(key, key, key, key, (prefix, start, end, text) => {
        const both = isInRange(text, { start, end }) && text.startsWith(prefix);
        expect(isInRange(text, rangeOf({ prefix, start, end }))).toBe(both);
      }),
    );
  });
});
