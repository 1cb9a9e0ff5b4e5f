import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkItemKey } from '../state/names.js';
import { usageRef } from './usage-items.js';

const keyOf = (subject: string) => usageRef({ day: '2026-01-31', subject }).key;

describe('the key of a day and a subject', () => {
  it.each([
    ['anonymous', '2026-01-31/anonymous'],
    ['https://example.org/id/ann', '2026-01-31/https://example.org/id/ann'],
    ['日本', '2026-01-31/日本'],
    ['', '2026-01-31/'],
  ])('of %j is %j', (subject, key) => expect(keyOf(subject)).toBe(key));

  it('is encoded and cut where the subject does not fit, and told apart', () => {
    expect(keyOf('a\nb')).toMatch(/^2026-01-31\/a%0Ab~[0-9a-f]{16}$/);
    expect(keyOf('é'.repeat(150))).toMatch(
      /^2026-01-31\/(%C3%A9)+~[0-9a-f]{16}$|^2026-01-31\/(%C3%A9)+%C3~[0-9a-f]{16}$/,
    );
    expect(keyOf(`${'x'.repeat(300)}1`)).not.toBe(keyOf(`${'x'.repeat(300)}2`));
  });

  it('is one that an item may have, whatever the subject', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (subject) => {
        expect(checkItemKey(keyOf(subject))).toMatch(/^2026-01-31\//);
      }),
    );
    expect(checkItemKey(keyOf('\ud800'))).toMatch(/~/);
  });
});
