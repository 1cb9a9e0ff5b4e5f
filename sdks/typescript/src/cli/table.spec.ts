import { describe, expect, test } from 'vitest';
import { cellOf, columnsOf, shown, tableOf } from './table.js';

const rows = [
  { key: 'hall', attributes: { light: 'on', celsius: 21 } },
  { key: 'a long key of a room', attributes: { light: 'off', guests: ['Ada', 'Bob'] } },
];

describe('a table', () => {
  test('has a column for each attribute', () => {
    expect(columnsOf(rows)).toEqual(['light', 'celsius', 'guests']);
    expect(tableOf(rows, columnsOf(rows), 100)).toEqual([
      'key                   light  celsius  guests',
      'hall                  on     21',
      'a long key of a room  off             ["Ada","Bob"]',
    ]);
  });

  test('fits its width, whatever is in it', () => {
    for (let width = 1; width < 60; width++)
      for (const line of tableOf(rows, columnsOf(rows), width).slice(1)) expect(line.length).toBeLessThanOrEqual(width);
    expect(tableOf(rows, columnsOf(rows), 30)).toEqual([
      'key                   light …',
      'hall                  on',
      'a long key of a room  off',
    ]);
  });

  test('wide characters take two places', () => {
    expect(
      tableOf(
        [
          { key: '部屋', attributes: { n: 1 } },
          { key: 'abcd', attributes: { n: 2 } },
        ],
        ['n'],
        80,
      ),
    ).toEqual(['key   n', '部屋  1', 'abcd  2']);
  });

  test('what comes from others does not command the terminal', () => {
    expect(shown('\u001b[31mred\u0007\n\u202e')).toBe('\\u{1b}[31mred\\u{7}\\n\\u{202e}');
    expect(cellOf({ a: '\u001b' })).toBe('{"a":"\\u001b"}');
    expect(cellOf(undefined)).toBe('');
  });
});
