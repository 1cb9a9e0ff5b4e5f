import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Problem } from '../errors.js';
import { type Json, jsonEqual, mergePatch, nestingOf, parseJson, setMember } from './json.js';

const refusal = (text: string): Problem => {
  try {
    parseJson(text);
  } catch (error) {
    return error as Problem;
  }
  throw new Error(`${text} was taken`);
};

describe('parsing', () => {
  it('takes back every double that JSON.stringify gives out', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        expect(parseJson(JSON.stringify([value]))).toEqual([value === 0 ? 0 : value]);
      }),
    );
  });

  it.each([
    ['[9007199254740993]', '/0'],
    ['{"a":{"b/c":[1,{"d":1e400}]}}', '/a/b~1c/1/d'],
    ['{"a":"9007199254740993","b":-9007199254740993}', '/b'],
    ['12345678901234567890', ''],
    ['9007199254740993.0', ''],
    ['900719925474099.3e1', ''],
    ['1e-400', ''],
  ])('refuses a number that a double cannot hold: %s', (text, pointer) => {
    const problem = refusal(text);
    expect(problem.code).toBe('numberOutOfRange');
    expect(problem.extras.errors?.[0]?.pointer).toBe(pointer);
  });

  it.each([
    '9007199254740992',
    '9007199254740992.0',
    '9.007199254740992e15',
    '0e999',
    '1e22',
    '1.5e300',
    '9007199254740994',
    '-9007199254740991',
    '1e308',
    '0.1234567890123456789',
    '1000000000000000000000',
    '"1e999"',
    '{"1e999":1}',
  ])('takes %s', (text) => expect(() => parseJson(text)).not.toThrow());

  it.each(['"\\ud800"', '{"\\udc00":1}', '["\\ud800\\ud800"]'])('refuses the lone surrogate in %s', (text) => {
    expect(refusal(text).code).toBe('badRequest');
  });

  it('takes a pair of surrogates', () => expect(parseJson('"\\ud83d\\ude00"')).toBe('😀'));

  it('keeps __proto__ as a member like any other', () => {
    const value = parseJson('{"__proto__":{"x":1}}') as Record<string, Json>;
    expect(Object.keys(value)).toEqual(['__proto__']);
    expect(({} as Record<string, unknown>).x).toBeUndefined();
  });

  it('refuses a body that nests a thousand deep', () =>
    expect(refusal('['.repeat(1000) + ']'.repeat(1000)).code).toBe('badRequest'));

  it('agrees with JSON.parse on everything that both take', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(JSON.stringify(parseJson(text))).toBe(JSON.stringify(JSON.parse(text)));
      }),
    );
  });
});

describe('equality', () => {
  it('does not see the order of members', () => {
    const shuffled = (value: Json): Json => {
      if (Array.isArray(value)) return value.map(shuffled);
      if (typeof value !== 'object' || value === null) return value;
      const copy = {};
      for (const name of Object.keys(value).reverse()) setMember(copy, name, shuffled(value[name] as Json));
      return copy;
    };
    fc.assert(fc.property(fc.jsonValue(), (value) => jsonEqual(value as Json, shuffled(value as Json))));
  });

  it.each([
    [1, '1'],
    [[1], { 0: 1 }],
    [null, false],
    [{ a: 1 }, { a: 1, b: 2 }],
    [{ a: null }, {}],
  ])('tells %j from %j', (a, b) => expect(jsonEqual(a as Json, b as Json)).toBe(false));
});

describe('merge patch (RFC 7396, appendix A)', () => {
  it.each([
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
    ],
    [{ a: 'b' }, ['c'], ['c']],
    [{ a: 'foo' }, null, null],
    [{ a: 'foo' }, 'bar', 'bar'],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ])('%j with %j is %j', (target, patch, result) => {
    const before = JSON.stringify(target);
    expect(mergePatch(target as Json, patch as Json)).toEqual(result);
    expect(JSON.stringify(target)).toBe(before);
  });
});

it('counts levels of nesting', () => {
  expect([1, [], [1], [[1], 2], { a: [{}] }].map((value) => nestingOf(value as Json, 10))).toEqual([0, 1, 1, 2, 3]);
});
