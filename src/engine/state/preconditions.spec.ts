import { describe, expect, it } from 'vitest';
import { parseFilter } from '../query/filter.js';
import type { Json } from './json.js';
import { ItemState } from './model.js';
import { checkCondition, parseTags, tagsMatch } from './preconditions.js';

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

describe('a condition on a large item', () => {
  const list = Array.from({ length: 1000 }, () => ({}));
  const item = new ItemState(JSON.stringify({ list }), 1, 1);
  const branches = [{ list: { has: { x: 1 } } }, { list: { has: { x: 2 } } }, { list: { has: {} } }];
  const condition = {
    collection: 'c',
    key: 'k',
    pointer: '/if/0',
    where: parseFilter({ or: branches } as unknown as Json, '/where'),
  };

  it('is charged for what it compares, test by test', () => {
    const charged: number[] = [];
    checkCondition(condition, item, (steps) => charged.push(steps));
    expect(charged.map((steps) => steps >= 1000)).toEqual([true, true, false]);
  });

  it('ends where that is too much', () => {
    const refuse = () => {
      throw new Error('too much');
    };
    expect(() => checkCondition(condition, item, refuse)).toThrow('too much');
  });
});
