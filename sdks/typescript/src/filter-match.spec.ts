import { expect, test } from 'vitest';
import { compareValues, matches } from './filter-match.js';
import { itemOf } from './item.js';
import type { Json } from './json.js';
import { at, KEY, REVISION, type Where, where } from './where.js';

const item = itemOf('a/1', 7, {
  status: 'open',
  priority: 3,
  tags: ['red', { deep: [1] }],
  address: { city: 'Oslo', none: null },
  or: 'an attribute called or',
  '/x~y': 1,
  '𝄞': '｡',
});

test.each<[Where, boolean | undefined]>([
  [{}, true],
  [{ status: 'open', priority: 3 }, true],
  [{ status: 'open', priority: 4 }, false],
  [{ priority: { gte: 3, lt: 9 } }, true],
  [{ priority: { gt: 3 } }, false],
  [{ priority: { gte: '3' } }, false],
  [{ missing: { ne: 1 } }, false],
  [{ not: { missing: 1 } }, true],
  [{ missing: { exists: false } }, true],
  [{ missing: { nin: [1] } }, false],
  [{ status: { in: ['open', 'new'] } }, true],
  [{ status: { nin: ['open'] } }, false],
  [{ status: { prefix: 'op' } }, true],
  [{ tags: { has: { deep: [1] } } }, true],
  [{ '/tags/1/deep/0': 1 }, true],
  [{ '/address/city': 'Oslo' }, true],
  [{ '/address/none': null }, true],
  [{ '/@key': { prefix: 'a/' }, '/@revision': 7 }, true],
  [{ or: [] }, false],
  [{ and: [] }, true],
  [{ or: [{ status: 'x' }, { priority: 3 }] }, true],
  [{ status: { like: 'o%' } }, undefined],
  [{ not: { status: { like: 'o%' } } }, undefined],
  [{ status: 'x', priority: { like: 1 } }, false],
  [{ or: [{ status: 'open' }, { priority: { like: 1 } }] }, true],
  [{ or: [{ status: 'x' }, { priority: { like: 1 } }] }, undefined],
  // What the builder makes.
  [where.eq('or', 'an attribute called or'), true],
  [where.eq('/x~y', 1), true],
  [where.eq(at('address', 'city'), 'Oslo'), true],
  [where.eq(at('tags', 1, 'deep'), [1]), true],
  [where.and(where.gte(REVISION, 7), where.prefix(KEY, 'a'), { status: 'open' }), true],
  [where.not(where.exists('missing')), true],
  [where.or(where.inList('status', ['x']), where.notInList('status', ['x'])), true],
  [where.lt('𝄞', '𝄞'), true],
])('%j: %s', (filter, holds) => {
  expect(matches(filter, item)).toBe(holds);
});

test('values have an order, by type and then by value', () => {
  const ordered: Json[] = [
    null,
    false,
    true,
    -1,
    0,
    2.5,
    '',
    'a',
    'é',
    '｡',
    '𝄞',
    [],
    [1],
    [1, 2],
    [2],
    {},
    { a: 1 },
    { a: 1, b: 0 },
    { a: 2 },
    { b: 0 },
  ];
  const shuffled = ordered.toReversed();
  expect(shuffled.sort(compareValues)).toEqual(ordered);
});
