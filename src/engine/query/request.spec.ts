import { describe, expect, it } from 'vitest';
import { Problem } from '../errors.js';
import type { JsonObject } from '../state/json.js';
import { parseAggregates, parseOrder, parsePaths, projectionOf } from './request.js';

const json = (text: string) => JSON.parse(text) as JsonObject;

function refusal(parse: () => unknown): { code: string; pointers: (string | undefined)[] } {
  try {
    parse();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return { code: error.code, pointers: (error.extras.errors ?? []).map(({ pointer }) => pointer) };
  }
  throw new Error('It was not refused');
}

describe('an order', () => {
  it.each<[term: string, of: string, tokens: string[], descending: boolean]>([
    ['a', 'attribute', ['a'], false],
    ['-a', 'attribute', ['a'], true],
    ['--a', 'attribute', ['-a'], true],
    ['/-a', 'attribute', ['-a'], false],
    ['a-b', 'attribute', ['a-b'], false],
    ['a,b', 'attribute', ['a,b'], false],
    ['-/a/b', 'attribute', ['a', 'b'], true],
    ['/a~1b/c~0d/0', 'attribute', ['a/b', 'c~d', '0'], false],
    ['/@key', 'key', [], false],
    ['-/@revision', 'revision', [], true],
    ['@key', 'attribute', ['@key'], false],
    ['__proto__', 'attribute', ['__proto__'], false],
  ])('by %s', (term, of, tokens, descending) => {
    expect(parseOrder([term], '/order')).toMatchObject([{ path: { of, tokens }, descending }]);
  });

  it.each<[says: string, terms: string[], pointer: string, code: string]>([
    ['an empty name', ['a', ''], '/order/1', 'invalidName'],
    ['nothing but a sign', ['-'], '/order/0', 'invalidName'],
    ['no pointer', ['/a~'], '/order/0', 'badRequest'],
    ['a name with a control character', ['a\0'], '/order/0', 'invalidName'],
    ['more than eight', Array.from({ length: 9 }, (_, i) => `a${i}`), '/order', 'badRequest'],
  ])('may not be by %s', (_says, terms, pointer, code) => {
    expect(refusal(() => parseOrder(terms, '/order'))).toEqual({ code, pointers: [pointer] });
  });

  it('that is a parameter is at fault as a whole', () => {
    expect(refusal(() => parseOrder(['a', ''], '?order')).pointers).toEqual(['?order']);
  });
});

it('there are so many names at most', () => {
  expect(parsePaths(['a', 'b'], '/groupBy', 2)).toHaveLength(2);
  expect(refusal(() => parsePaths(['a', 'b', 'c'], '/groupBy', 2))).toEqual({
    code: 'badRequest',
    pointers: ['/groupBy'],
  });
});

describe('aggregates', () => {
  it('are a function and an attribute each', () => {
    const wanted = {
      a: { count: 'x' },
      b: { sum: '/x/y' },
      c: { min: '/@revision' },
      d: { max: 'x' },
      e: { avg: 'x' },
    };
    expect(parseAggregates(wanted, '/aggregates')).toMatchObject([
      { name: 'a', function: 'count', path: { tokens: ['x'] } },
      { name: 'b', function: 'sum', path: { tokens: ['x', 'y'] } },
      { name: 'c', function: 'min', path: { of: 'revision' } },
      { name: 'd', function: 'max' },
      { name: 'e', function: 'avg' },
    ]);
  });

  it.each<[says: string, aggregates: JsonObject, pointer: string]>([
    ['none', {}, ''],
    ['more than twenty', Object.fromEntries(Array.from({ length: 21 }, (_, i) => [`a${i}`, { count: 'x' }])), ''],
    ['no object', { a: 'count' }, '/a'],
    ['an array', { a: ['count', 'x'] }, '/a'],
    ['null', { a: null }, '/a'],
    ['no function', { a: {} }, '/a'],
    ['two functions', { a: { min: 'x', max: 'x' } }, '/a/max'],
    ['an unknown function', { a: { median: 'x' } }, '/a/median'],
    ['a name of Object.prototype', { a: { toString: 'x' } }, '/a/toString'],
    ['no attribute', { a: { sum: 1 } }, '/a'],
    ['an empty attribute', { a: { sum: '' } }, '/a/sum'],
    ['no pointer', { 'a/b~c': { sum: '/~' } }, '/a~1b~0c/sum'],
  ])('may not be %s', (_says, aggregates, pointer) => {
    expect(refusal(() => parseAggregates(aggregates, '/aggregates')).pointers).toEqual([`/aggregates${pointer}`]);
  });
});

describe('a projection', () => {
  const attributes = json(
    '{"a": 1, "o": {"x": {"y": 1, "z": 2}, "w": null, "list": [{"p": 1, "q": 2}]}, "a/b": 3, "/c": 4, "m~n": {"": 5}, "__proto__": {"i": 6, "j": 7}, "e": {}}',
  );
  it.each<[fields: string[], shown: JsonObject]>([
    [[], {}],
    [['a'], { a: 1 }],
    [['a', 'a', '/a'], { a: 1 }],
    [['nothing', 'toString', '/o/nothing', '/a/x'], {}],
    [['o'], { o: attributes.o as JsonObject }],
    [['/o/x/y'], { o: { x: { y: 1 } } }],
    [['/o/x/y', '/o/w'], { o: { x: { y: 1 }, w: null } }],
    [['/o/x/y', '/o/x/z'], { o: { x: { y: 1, z: 2 } } }],
    [['/o/x', '/o/x/y'], { o: { x: { y: 1, z: 2 } } }],
    [['/o/x/y', '/o/x'], { o: { x: { y: 1, z: 2 } } }],
    [['o', '/o/x/y'], { o: attributes.o as JsonObject }],
    [['/o/x/y', 'o'], { o: attributes.o as JsonObject }],
    [['/o/list'], { o: { list: [{ p: 1, q: 2 }] } }],
    // A part of an array would stand at another place: it is shown whole.
    [['/o/list/0/p'], { o: { list: [{ p: 1, q: 2 }] } }],
    [['/o/w/x', '/o/x/nothing', '/e/x'], {}],
    [['a/b', '/a~1b'], { 'a/b': 3 }],
    [['/~1c'], { '/c': 4 }],
    [['/m~0n/'], { 'm~n': { '': 5 } }],
    [['__proto__'], json('{"__proto__": {"i": 6, "j": 7}}')],
    [['/__proto__/i'], json('{"__proto__": {"i": 6}}')],
    [['/@key', '/@revision'], {}],
  ])('of %j', (fields, shown) => {
    const before = JSON.stringify(attributes);
    expect(JSON.stringify(projectionOf(fields, '/fields').of(attributes))).toBe(JSON.stringify(shown));
    expect(JSON.stringify(attributes)).toBe(before);
    expect({}).not.toHaveProperty('i');
  });

  it.each([['/a~'], ['']])('may not be of %j', (field) => {
    expect(refusal(() => projectionOf(['a', field], '/fields')).pointers).toEqual(['/fields/1']);
  });
});
