import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';
import { limits } from '../limits.js';
import { Meter, OVERSPENT } from './meter.js';
import { compilePattern, compileSchemaPattern, PatternFault } from './pattern.js';

const meter = new Meter(1e9);

describe('patterns of ECMAScript match here what they match there', () => {
  const texts = [
    '',
    'a',
    'A',
    'abc',
    'é',
    'ß',
    'Ω',
    'д',
    '5',
    '٣',
    '_',
    '-',
    ' ',
    '\u00a0',
    '\ufeff',
    '\u2028',
    '\n',
    '\r',
    '\v',
    '😀',
    '[',
    ']',
    ':',
    '.',
    '\\',
    '/',
    '$',
    'a\nb',
    'aab',
    'x-y',
    '\b',
    '\u0001',
    '\0',
    '&&',
  ];
  it.each([
    '^\\p{Letter}+$',
    '\\p{Lu}',
    '\\P{Lu}',
    '\\p{Script=Greek}',
    '\\p{sc=Cyrillic}',
    '\\p{gc=Lu}',
    '\\p{General_Category=Decimal_Number}',
    '\\p{digit}',
    '\\p{ASCII}',
    '\\P{ASCII}',
    '[\\p{L}\\p{ASCII}]',
    '\\p{Any}',
    '\\p{punct}',
    '\\p{Symbol}',
    '\\p{Separator}',
    '\\u0041',
    '\\u{1F600}',
    '\\uD83D\\uDE00',
    '\\x41',
    '\\cA',
    '\\0',
    '\\v',
    '[\\b]',
    '\\/',
    '\\s',
    '\\S',
    '[\\s]',
    '[^\\s]',
    '[\\S]',
    '[^\\S]',
    '[\\d\\-]',
    '\\d',
    '\\D',
    '\\w',
    '\\W',
    '^.$',
    '.',
    'a.b',
    '[^]',
    '[]',
    '[[]',
    '[.]',
    '\\bfoo\\b',
    '^a',
    'a$',
    '^(?:a|b)+$',
    '^(?<n>a)$',
    'a{2}',
    'a{1,}',
    'a??b',
    '[\\]]',
    '\\[',
    '[&]',
    '[^a-z]',
    '(?:)',
    '\\.',
    '\\$',
    '[$^]',
  ])('%s', (pattern) => {
    const here = compileSchemaPattern(pattern, meter);
    const there = new RegExp(pattern, 'u');
    expect(texts.filter((text) => here.test(text))).toEqual(texts.filter((text) => there.test(text)));
  });
});

it.each([
  ['(?=a)', /looks ahead/],
  ['(?!a)', /looks ahead/],
  ['(?<=a)', /looks behind/],
  ['(?<!a)', /looks behind/],
  ['(a)\\1', /refers back/],
  ['(?<n>a)\\k<n>', /refers back/],
  ['(', /no regular expression/],
  ['\\a', /no regular expression/],
  ['\\p{Script_Extensions=Greek}', /not known here/],
  ['a{1001}', /can't be used/],
  ['(?:a{500}){20}', /can't be used|steps/],
  ['a'.repeat(1001), /longer than 1000/],
])('%s is refused', (pattern, message) => {
  expect(() => compileSchemaPattern(pattern, meter)).toThrow(PatternFault);
  expect(() => compileSchemaPattern(pattern, meter)).toThrow(message);
});

/** What a test of the text costs, in steps. */
const costOf = (pattern: string, text: string): number => {
  const spent = new Meter(1e9);
  const compiled = compilePattern(pattern, spent);
  spent.reset();
  compiled.test(text);
  return spent.used;
};

describe('what a test of a text costs', () => {
  const text = 'ab'.repeat(50_000);

  it('grows with the states that a pattern may be in: [ab]*a[ab]{50}[cd] on 100,000 characters is past the allowance', () => {
    expect(costOf('[ab]*a[ab]{50}[cd]', text)).toBeGreaterThan(limits.checkCostMax);
    expect(costOf('[ab]*a[ab]{1000}[cd]', text)).toBeGreaterThan(10 * costOf('[ab]*a[ab]{50}[cd]', text));
    expect(costOf('\\w{990}', 'z'.repeat(1000))).toBeGreaterThan(100_000);
    expect(() => compilePattern('(a?){500}b', new Meter(300_000)).test(text)).toThrow(/cost/);
  });

  it('is little where each character leaves one way to go on, or a few states do', () => {
    for (const pattern of ['^[a-z]*$', '^\\pL+$', 'needle', '(a|b)*c', '^(a+)+$', '^(?:ab?)*$']) {
      expect([pattern, costOf(pattern, text) < 100_000]).toEqual([pattern, true]);
    }
    expect(costOf('^[A-Z]{3}-\\d{4}$', 'ABC-1234')).toBeLessThan(10);
    expect(costOf('^[^@\\s]+@[^@\\s]+\\.[a-z]{2,}$', 'somebody@example.org')).toBeLessThan(200);
  });

  it('is bounded by sets of states that take little room, as this version of the engine has them', () => {
    const compile = createRequire(import.meta.url)('re2js').RE2JS.compile as (source: string) => object;
    expect(compile('a|b')).toMatchObject({
      re2Input: { dfa: { stateBudget: expect.any(Number), memBudget: expect.any(Number) }, prefixComplete: false },
    });
    expect(compile('^a$')).toMatchObject({ re2Input: { onepass: expect.any(Object) } });
    expect(compile('a')).toMatchObject({ re2Input: { onepass: null, prefixComplete: true } });
  });
});

describe('what would take long to compile is refused', () => {
  it.each([
    ['ranges in which cases are folded', `(?i:${'[B-\u{1e942}]'.repeat(60)})`],
    ['the same by their codes', `(?i:${'[\\u{42}-\\u{1e942}]'.repeat(40)})`],
    ['properties', '\\p{L}'.repeat(160)],
    ['repeated properties', '[\\p{L}\\p{N}]{990}'],
    ['properties repeated in repetitions', '(?:\\p{L}{30}){30}'],
  ])('%s', (_what, pattern) => {
    expect(() => compileSchemaPattern(pattern, meter)).toThrow(PatternFault);
    expect(() => compileSchemaPattern(pattern, meter)).toThrow(/takes too long to compile/);
  });

  it('and ends with what the meter has', () => {
    expect(() => compilePattern('a{900}', new Meter(10_000))).toThrow(OVERSPENT);
  });
});
