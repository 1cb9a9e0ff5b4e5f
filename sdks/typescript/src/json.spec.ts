import fc from 'fast-check';
import { expect, test } from 'vitest';
import { canonicalJson, compareBytes, differences, isSame, merged } from './json.js';
import { itemPath, queryOf } from './paths.js';

test('keys order by their bytes', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (one, other) => {
      fc.pre(one.isWellFormed() && other.isWellFormed());
      expect(Math.sign(compareBytes(one, other))).toBe(Buffer.compare(Buffer.from(one), Buffer.from(other)));
    }),
  );
});

test('equal values have one text, which is JSON of the value', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (one, other) => {
      const [a, b] = [JSON.parse(JSON.stringify(one)), JSON.parse(JSON.stringify(other))];
      expect(isSame(JSON.parse(canonicalJson(a)), a)).toBe(true);
      expect(canonicalJson(a) === canonicalJson(b)).toBe(isSame(a, b));
    }),
  );
});

test('a query has its names in order, and all but unreserved characters encoded', () => {
  const parameters = {
    where: { b: { gte: 1, lt: 2 }, a: "ü'(*)!~ +" },
    prefix: 'a/b',
    fields: ['n', '/at/x'],
    since: undefined,
  };
  expect(queryOf(parameters)).toBe(
    'fields=n%2C%2Fat%2Fx&prefix=a%2Fb&where=%7B%22a%22%3A%22%C3%BC%27%28%2A%29%21~%20%2B%22%2C%22b%22%3A%7B%22gte%22%3A1%2C%22lt%22%3A2%7D%7D',
  );
});

test.each(['', '.', '..', '\ud800'])('the key %j is refused before a path is made of it', (key) => {
  expect(() => itemPath('p', 'c', key)).toThrow(expect.objectContaining({ code: 'invalidName' }));
});

test('merge patches and differences', () => {
  expect(merged({ a: { b: 1, c: 2 }, d: 3 }, { a: { b: null, e: 4 }, d: [1], f: { g: null } })).toEqual({
    a: { c: 2, e: 4 },
    d: [1],
    f: {},
  });
  expect(differences({ a: 1, b: [1], c: 1 }, { b: [1], c: 2, d: 1 })).toEqual({
    changed: ['a', 'c', 'd'],
    removed: ['a'],
  });
});
