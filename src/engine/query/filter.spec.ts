import { describe, expect, it } from 'vitest';
import { Problem } from '../errors.js';
import type { Json } from '../state/json.js';
import { type Filter, parseFilter, parseFilterText } from './filter.js';

/** What parsing refuses: the code, and the place. */
function refusal(parse: () => Filter): { code: string; pointers: (string | undefined)[]; detail: string } {
  try {
    parse();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const pointers = (error.extras.errors ?? []).map(({ pointer }) => pointer);
    return { code: error.code, pointers, detail: error.detail };
  }
  throw new Error('It was not refused');
}

const json = (text: string) => JSON.parse(text) as Json;
/** A filter inside so many `not`s. */
const inNots = (levels: number): Json => (levels === 0 ? { a: 1 } : { not: inNots(levels - 1) });
const names = (amount: number) => Object.fromEntries(Array.from({ length: amount }, (_, i) => [`n${i}`, i]));

describe('a filter', () => {
  it.each<[says: string, filter: Json]>([
    ['of nothing', {}],
    ['scalars', { a: 1, b: 'x', c: true, d: false }],
    [
      'all operators',
      { a: { eq: 1, ne: 2, lt: 3, lte: 4, gt: 5, gte: 6, in: [], nin: [], prefix: '', has: 1, exists: true } },
    ],
    [
      'containers as operands',
      { a: { eq: {} }, b: { eq: [] }, c: { in: [[], {}] }, d: { gt: [] }, e: { lt: {} }, f: { has: {} } },
    ],
    ['logic', { and: [], or: [{}, { a: 1 }], not: { a: 1 } }],
    ['attributes that are called like operators', { eq: 1, in: { in: [1] }, exists: { exists: true } }],
    ['attributes that are called like logic, by pointer', { '/or': 1, '/and': { gt: 1 }, '/not': { exists: false } }],
    ['pointers', { '/a': 1, '/a/b': 1, '/a/0': 1, '/a~1b/c~0d': 1, '/a/': 1, '/a//b': 1 }],
    ["the item's own", { '/@key': 'a', '/@revision': { gt: 3 } }],
    ['a name with a slash or a tilde inside', { 'a/b': 1, 'a~b': 1, 'a~': 1 }],
    ['a name that begins with @', { '@key': 1 }],
    ['__proto__ and its like', json('{"__proto__": 1, "constructor": 2, "/__proto__/__proto__": {"eq": 3}}')],
    ['null below the top', { '/a/b': null, '/a/c': { eq: null }, '/a/d': { in: [null, 1] }, '/a/e': { ne: null } }],
    ['null where it is another value', { a: { ne: null }, b: { nin: [null] }, c: { has: null }, d: { eq: [null] } }],
    ['a name of 128 bytes', { ['é'.repeat(64)]: 1 }],
    ['8 levels', inNots(8)],
    ['100 names', names(100)],
    ['50 names with an operator', Object.fromEntries(Object.keys(names(50)).map((name) => [name, { gt: 1 }]))],
    ['49 branches with a name, and one more', { or: Array.from({ length: 49 }, () => ({ a: 1 })), b: 1 }],
    ['16 KiB', { a: 'x'.repeat(16 * 1024 - 8) }],
    ['an operand of 100 levels', { a: { eq: json(`${'['.repeat(100)}${']'.repeat(100)}`) } }],
  ])('may be %s', (_says, filter) => {
    expect(() => parseFilter(filter, '/where')).not.toThrow();
  });

  it.each<[says: string, filter: Json, pointer: string]>([
    ['null', null, ''],
    ['an array', [], ''],
    ['a string', 'a', ''],
    ['a number', 1, ''],
    ['an unknown operator', { a: { like: 'x' } }, '/a/like'],
    ['logic as an operator', { a: { not: { eq: 1 } } }, '/a/not'],
    ['an operator in another case', { a: { EQ: 1 } }, '/a/EQ'],
    ['a name of Object.prototype as an operator', { a: { toString: 1 } }, '/a/toString'],
    ['__proto__ as an operator', json('{"a": {"__proto__": 1}}'), '/a/__proto__'],
    ['a regular expression', { a: { regex: '.*' } }, '/a/regex'],
    ['an unknown operator beside a known one', { a: { eq: 1, eqq: 2 } }, '/a/eqq'],
    ['no operator', { a: {} }, '/a'],
    ['an array for a value', { a: [1] }, '/a'],
    ['null at the top', { a: null }, '/a'],
    ['eq null at the top', { a: { eq: null } }, '/a/eq'],
    ['eq null at the top by a pointer', { '/a': { eq: null } }, '/~1a/eq'],
    ['null for a key', { '/@key': null }, '/~1@key'],
    ['null among the values at the top', { a: { in: [1, null] } }, '/a/in'],
    ['in without an array', { a: { in: 1 } }, '/a/in'],
    ['in with an object', { a: { in: {} } }, '/a/in'],
    ['nin without an array', { a: { nin: 'x' } }, '/a/nin'],
    ['prefix without a string', { a: { prefix: 1 } }, '/a/prefix'],
    ['prefix null', { a: { prefix: null } }, '/a/prefix'],
    ['exists without a boolean', { a: { exists: 1 } }, '/a/exists'],
    ['exists null', { a: { exists: null } }, '/a/exists'],
    ['lt null', { a: { lt: null } }, '/a/lt'],
    ['lte null', { a: { lte: null } }, '/a/lte'],
    ['gt null', { a: { gt: null } }, '/a/gt'],
    ['gte null inside the value', { '/a/b': { gte: null } }, '/~1a~1b/gte'],
    ['and without an array', { and: {} }, '/and'],
    ['or without an array', { or: { a: 1 } }, '/or'],
    ['or null', { or: null }, '/or'],
    ['a branch that is no object', { or: [{ a: 1 }, 1] }, '/or/1'],
    ['a branch that is null', { and: [null] }, '/and/0'],
    ['not of an array', { not: [{ a: 1 }] }, '/not'],
    ['not of a scalar', { not: true }, '/not'],
    [
      'a fault deep inside',
      { and: [{ a: 1 }, { or: [{ not: { 'x/y~z': { gt: null } } }] }] },
      '/and/1/or/0/not/x~1y~0z/gt',
    ],
    ['an empty name', { '': 1 }, '/'],
    ['an empty pointer', { '/': 1 }, '/~1'],
    ['a name with a control character', { 'a\n': 1 }, '/a\n'],
    ['a name of 129 bytes', { [`a${'é'.repeat(64)}`]: 1 }, `/a${'é'.repeat(64)}`],
    ['a pointer whose tilde is none', { '/a~2': 1 }, '/~1a~02'],
    ['a pointer that ends with a tilde', { '/a~': 1 }, '/~1a~0'],
    ['9 levels', inNots(9), '/not'.repeat(9)],
    [
      '9 levels of branches',
      Array.from({ length: 9 }).reduce<Json>((inner) => ({ or: [inner] }), {}),
      '/or/0'.repeat(9),
    ],
    ['101 names', names(101), '/n100'],
    [
      '101 names and operators',
      { a: 1, ...Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`n${i}`, { gt: 1 }])) },
      '/n49/gt',
    ],
    ['101 branches and names', { or: Array.from({ length: 50 }, () => ({ a: 1 })) }, '/or/49/a'],
    ['101 empty branches', { or: Array.from({ length: 100 }, () => ({})) }, '/or/99'],
    ['more than 16 KiB', { a: 'x'.repeat(16 * 1024 - 7) }, ''],
    ['more than 16 KiB of UTF-8', { a: 'é'.repeat(8 * 1024) }, ''],
    ['an operand of 101 levels', { a: { eq: json(`${'['.repeat(101)}${']'.repeat(101)}`) } }, '/a/eq'],
    ['operands of many levels in a list', { a: { in: [json(`${'['.repeat(101)}${']'.repeat(101)}`)] } }, '/a/in'],
  ])('may not be %s', (_says, filter, pointer) => {
    const { code, pointers, detail } = refusal(() => parseFilter(filter, '/where'));
    expect({ code, pointers }).toEqual({ code: 'invalidFilter', pointers: [`/where${pointer}`] });
    expect(detail.startsWith(`/where${pointer} `), detail).toBe(true);
  });

  it('that is the whole body is told by that', () => {
    expect(refusal(() => parseFilter([], ''))).toMatchObject({
      pointers: [''],
      detail: expect.stringMatching(/^The filter /),
    });
  });

  it('has the same text when it is written alike', () => {
    const text = (filter: Json) => parseFilter(filter, '').text;
    expect(text({ a: 1, b: { in: [1, 2] } })).toBe(text({ a: 1, b: { in: [1, 2] } }));
    expect(text({ a: 1 })).not.toBe(text({ a: '1' }));
    expect(text({ a: { in: [1] } })).not.toBe(text({ a: { in: [2] } }));
  });
});

describe('a filter in a query string', () => {
  it('is parsed like one in a body', () => {
    const filter = { a: 1, '/b/c': { in: ['é'] }, or: [{ d: { exists: false } }] };
    expect(parseFilterText(` ${JSON.stringify(filter)}\n`, '?where')).toEqual(parseFilter(filter, '?where'));
  });

  it('may have 4 KiB', () => {
    expect(() => parseFilterText(JSON.stringify({ a: 'x'.repeat(4096 - 8) }), '?where')).not.toThrow();
  });

  it.each<[says: string, text: string, pointer: string]>([
    ['nothing', '', ''],
    ['no JSON', '{a:1}', ''],
    ['a part of JSON', '{"a":', ''],
    ['two filters', '{"a":1}{"b":1}', ''],
    ['another value', '"a"', ''],
    ['a fault inside', '{"or":[{"a":{"gt":null}}]}', '/or/0/a/gt'],
    ['a lone surrogate', '{"a":"\\ud800"}', ''],
    ['4 KiB and a byte', JSON.stringify({ a: 'x'.repeat(4096 - 7) }), ''],
    ['4 KiB and a byte of UTF-8', JSON.stringify({ a: `${'é'.repeat(2044)}x` }), ''],
  ])('may not be %s', (_says, text, pointer) => {
    const { code, pointers } = refusal(() => parseFilterText(text, '?where'));
    expect({ code, pointers }).toEqual({ code: 'invalidFilter', pointers: [`?where${pointer}`] });
  });

  it('says where a number is that a double cannot hold', () => {
    const { code, pointers } = refusal(() => parseFilterText('{"a":{"in":[1,9007199254740993]}}', '?where'));
    expect({ code, pointers }).toEqual({ code: 'numberOutOfRange', pointers: ['?where/a/in/1'] });
  });
});
