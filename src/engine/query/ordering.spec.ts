import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Json } from '../state/json.js';
import { Ordering } from './ordering.js';
import type { Readable } from './path.js';
import { parseOrder } from './request.js';

const item = (key: string, a?: Json, b?: Json, revision = 1): Readable => ({
  key,
  revision,
  attributes: { ...(a !== undefined && { a }), ...(b !== undefined && { b }) },
});
const by = (...terms: string[]) => new Ordering(parseOrder(terms, ''));
const sorted = (ordering: Ordering, items: readonly Readable[]) =>
  items
    .map((each) => ({ each, position: ordering.positionOf(each) }))
    .sort((a, b) => ordering.compare(a.position, b.position))
    .map(({ each }) => each);
const keysOf = (items: readonly Readable[]) => items.map(({ key }) => key).join(' ');

const mixed = [
  item('absent2'),
  item('object', {}),
  item('two', 2),
  item('array', []),
  item('string', 'x'),
  item('true', true),
  item('ten', 10),
  item('false', false),
  item('also', 2),
  item('absent1'),
];

describe('an order', () => {
  it.each<[says: string, terms: string[], keys: string]>([
    ['by nothing is by key', [], 'absent1 absent2 also array false object string ten true two'],
    ['ascending', ['a'], 'false true also two ten string array object absent1 absent2'],
    [
      'descending: what is absent is last, ties by key ascending',
      ['-a'],
      'object array string ten also two true false absent1 absent2',
    ],
    ['by key', ['/@key'], 'absent1 absent2 also array false object string ten true two'],
    ['by key descending', ['-/@key'], 'two true ten string object false array also absent2 absent1'],
    ['and then by key descending', ['a', '-/@key'], 'false true two also ten string array object absent2 absent1'],
    ['by key, whatever comes then', ['/@key', '-a'], 'absent1 absent2 also array false object string ten true two'],
    ['by what nothing has', ['-/a/x'], 'absent1 absent2 also array false object string ten true two'],
  ])('%s', (_says, terms, keys) => {
    expect(keysOf(sorted(by(...terms), mixed))).toBe(keys);
  });

  it('of several terms, each in its own direction', () => {
    const items = [item('1', 1, 1), item('2', 1), item('3', 2, 1), item('4', 2, 2), item('5', undefined, 2), item('6')];
    expect(keysOf(sorted(by('a', '-b'), items))).toBe('1 2 4 3 5 6');
    expect(keysOf(sorted(by('-a', 'b'), items))).toBe('3 4 1 2 5 6');
    expect(keysOf(sorted(by('-b', '-a'), items))).toBe('4 5 3 1 2 6');
  });

  it('by revision', () => {
    const items = [item('a', 1, 1, 3), item('b', 1, 1, 1), item('c', 1, 1, 2)];
    expect(keysOf(sorted(by('/@revision'), items))).toBe('b c a');
    expect(keysOf(sorted(by('-/@revision'), items))).toBe('a c b');
  });

  it('is by keys alone where it says so', () => {
    expect(by().keyDirection).toBe('forward');
    expect(by('/@key', 'a').keyDirection).toBe('forward');
    expect(by('-/@key').keyDirection).toBe('backward');
    expect(by('-/@key', 'a').keyDirection).toBe('backward');
    expect(by('a').keyDirection).toBe(undefined);
    expect(by('a', '-/@key').keyDirection).toBe(undefined);
  });

  it('is total: a position is after itself for no item, and before it for none', () => {
    const values = fc.option(fc.constantFrom<Json>(1, 2, 'a', [], {}, false), { nil: undefined });
    const items = fc.uniqueArray(
      fc.tuple(fc.string({ minLength: 1, maxLength: 3 }), values, values).map(([key, a, b]) => item(key, a, b)),
      { selector: ({ key }) => key, maxLength: 15 },
    );
    const terms = fc.array(fc.constantFrom('a', '-a', 'b', '-b', '-/@key'), { maxLength: 3 });
    fc.assert(
      fc.property(items, terms, fc.nat(), (all, wanted, pick) => {
        const ordering = by(...wanted);
        const inOrder = sorted(ordering, all);
        if (inOrder.length === 0) return;
        const place = pick % inOrder.length;
        const position = ordering.positionOf(inOrder[place] as Readable);
        const after = inOrder.filter((each) => ordering.compare(ordering.positionOf(each), position) > 0);
        expect(keysOf(after)).toBe(keysOf(inOrder.slice(place + 1)));
      }),
    );
  });
});
