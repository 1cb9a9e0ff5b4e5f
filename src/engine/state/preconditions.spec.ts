import { describe, expect, it } from 'vitest';
import { parseTags, tagsMatch } from './preconditions.js';

describe('entity tags', () => {
  it.each([
    ['*', true, '*'],
    ['"5"', false, ['5']],
    ['"5", "7" ,"9"', false, ['5', '7', '9']],
    ['"5-gzip"', false, ['5']],
    ['W/"5"', true, ['5']],
    ['W/"5", "6"', false, ['6']],
    ['"nonsense"', false, ['nonsense']],
  ])('%s', (header, weak, expected) => expect(parseTags(header, 'If-Match', weak)).toEqual(expected));

  it.each(['5', '"5', '', '"5" "6"', 'w/"5"'])('refuses %j', (header) => {
    expect(() => parseTags(header, 'If-Match', true)).toThrow(/If-Match must/);
  });

  it('match an item at their revision, and * any item', () => {
    expect(tagsMatch(['4', '5'], 5)).toBe(true);
    expect(tagsMatch(['4'], 5)).toBe(false);
    expect(tagsMatch('*', 5)).toBe(true);
    expect(tagsMatch('*', undefined)).toBe(false);
  });
});
