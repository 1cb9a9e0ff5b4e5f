import { describe, expect, it } from 'vitest';
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import { checkScopes, cover, coverTogether, overlap, regionOf, type Scope } from './scope.js';

const long = 'k'.repeat(limits.itemKeyBytesMax);
const names = (count: number) => Array.from({ length: count }, (_, i) => `n${i}`);
const rooms = (scope: Scope): Scope => ({ collection: 'rooms', ...scope });

describe('a list of scopes', () => {
  it.each<[string, Scope[]]>([
    ['the pool', [{}]],
    ['a collection', [{ collection: 'rooms' }]],
    ['a collection of the system', [{ collection: '_dictionary' }]],
    ['an item', [rooms({ key: long })]],
    ['a prefix', [rooms({ prefix: long })]],
    ['an empty prefix, which is no bound', [rooms({ prefix: '' })]],
    ['a range', [rooms({ start: 'a', end: 'b' })]],
    ['half a range', [rooms({ end: 'b' })]],
    ['a range within a prefix', [rooms({ prefix: 'a', start: 'ab', end: 'ac' })]],
    ['a bound that is no key', [rooms({ start: '.', end: '..' })]],
    ['a range in the order of bytes', [rooms({ start: '\uffff', end: '\u{1f600}' })]],
    ['attributes everywhere', [{ attributes: ['x'] }]],
    ['attributes named as members of every object are', [rooms({ attributes: ['__proto__'] })]],
    ['as many attributes as an item has', [rooms({ key: 'k', attributes: names(limits.attributesMax) })]],
    ['scopes that overlap', [{}, rooms({}), rooms({ key: 'k' })]],
    ['as many as there may be', names(limits.lockScopesMax).map((key) => rooms({ key }))],
  ])('is accepted: %s', (_, scopes) => {
    expect(() => checkScopes(scopes, '/scopes')).not.toThrow();
  });

  it.each<[string, Scope[], string, string]>([
    ['none', [], '/scopes', 'badRequest'],
    ['too many', names(limits.lockScopesMax + 1).map((key) => rooms({ key })), '/scopes', 'badRequest'],
    ['a name that is none', [{}, { collection: 'no name' }], '/scopes/1/collection', 'invalidName'],
    ['a key without a collection', [{ key: 'k' }], '/scopes/0/key', 'badRequest'],
    ['a prefix without a collection', [{ prefix: '' }], '/scopes/0/prefix', 'badRequest'],
    ['a start without a collection', [{ start: 'a' }], '/scopes/0/start', 'badRequest'],
    ['an end without a collection', [{ end: 'a' }], '/scopes/0/end', 'badRequest'],
    ['a key that is none', [rooms({ key: '..' })], '/scopes/0/key', 'invalidName'],
    ['a key and a prefix', [rooms({ key: 'k', prefix: '' })], '/scopes/0/prefix', 'badRequest'],
    ['a key and a start', [rooms({ key: 'k', start: 'a' })], '/scopes/0/start', 'badRequest'],
    ['a key and an end', [rooms({ key: 'k', end: 'a' })], '/scopes/0/end', 'badRequest'],
    ['a prefix longer than a key', [rooms({ prefix: `${long}k` })], '/scopes/0/prefix', 'invalidName'],
    ['a start with a control character', [rooms({ start: 'a\n' })], '/scopes/0/start', 'invalidName'],
    ['an end that is half a character', [rooms({ end: '\ud83d' })], '/scopes/0/end', 'invalidName'],
    ['a range that ends where it begins', [rooms({ start: 'a', end: 'a' })], '/scopes/0/end', 'badRequest'],
    [
      'a range that ends before it begins',
      [rooms({ start: '\u{1f600}', end: '\uffff' })],
      '/scopes/0/end',
      'badRequest',
    ],
    ['a range that ends before all keys', [rooms({ end: '' })], '/scopes/0/end', 'badRequest'],
    ['a range beside its prefix', [rooms({ prefix: 'a', start: 'b' })], '/scopes/0/start', 'badRequest'],
    ['no attributes', [{ attributes: [] }], '/scopes/0/attributes', 'badRequest'],
    ['too many attributes', [{ attributes: names(limits.attributesMax + 1) }], '/scopes/0/attributes', 'badRequest'],
    ['an attribute that is none', [{ attributes: ['x', ''] }], '/scopes/0/attributes/1', 'invalidName'],
  ])('is refused: %s', (_, scopes, pointer, code) => {
    const problem = refusalOf(() => checkScopes(scopes, '/scopes'));
    expect(problem?.code).toBe(code);
    expect(problem?.extras.errors).toEqual([{ pointer, code, detail: expect.any(String) }]);
  });
});

function refusalOf(check: () => void): Problem | undefined {
  try {
    check();
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  return undefined;
}

describe('a region', () => {
  const region = (scope: Scope) => regionOf(rooms(scope));

  it('of an item is its key and no longer one', () => {
    expect(overlap(region({ key: 'a' }), region({ prefix: 'a' }))).toBe(true);
    expect(overlap(region({ key: 'a' }), region({ key: 'ab' }))).toBe(false);
    expect(overlap(region({ key: 'a' }), region({ start: 'a', end: 'b' }))).toBe(true);
    expect(overlap(region({ key: 'b' }), region({ start: 'a', end: 'b' }))).toBe(false);
    expect(cover([region({ prefix: 'a' })], region({ key: 'a' }))).toBe(true);
  });

  it('ends where a prefix does, in the order of bytes', () => {
    expect(overlap(region({ prefix: '\uffff' }), region({ key: '\u{10000}' }))).toBe(false);
    expect(cover([region({ start: '\uffff' })], region({ key: '\u{1f600}' }))).toBe(true);
  });

  it('of the pool covers every collection, but not the other way round', () => {
    expect(cover([regionOf({})], region({ key: 'a' }))).toBe(true);
    expect(cover([region({})], regionOf({}))).toBe(false);
  });

  it('is covered by several together, where they leave no gap', () => {
    const pair = (a: Scope, b: Scope) => [rooms(a), rooms(b)];
    const halves = pair({ start: 'a', end: 'm' }, { start: 'm', end: 'z' });
    expect(coverTogether(halves, [rooms({ start: 'b', end: 'y' })])).toBe(true);
    expect(coverTogether(halves, [rooms({ start: 'b', end: 'zz' })])).toBe(false);
    expect(coverTogether(pair({ start: 'a', end: 'l' }, { start: 'm' }), [rooms({ start: 'b', end: 'y' })])).toBe(
      false,
    );
    const names = pair({ attributes: ['x'] }, { key: 'a', attributes: ['y'] });
    expect(coverTogether(names, [rooms({ key: 'a', attributes: ['x', 'y'] })])).toBe(true);
    expect(coverTogether(names, [rooms({ key: 'b', attributes: ['x', 'y'] })])).toBe(false);
  });

  it('of all attributes covers that of some, but not the other way round', () => {
    expect(cover([region({})], region({ attributes: ['x'] }))).toBe(true);
    expect(cover([region({ attributes: ['x'] })], region({}))).toBe(false);
    expect(cover([region({ attributes: ['x', 'y'] })], region({ attributes: ['y'] }))).toBe(true);
    expect(overlap(region({ attributes: ['x'] }), region({ attributes: ['y'] }))).toBe(false);
  });
});
