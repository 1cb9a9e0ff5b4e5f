import { describe, expect, it } from 'vitest';
import { Meter } from './meter.js';
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

it('takes time in proportion to the text, and not more than is left', () => {
  const text = 'a'.repeat(2 ** 20);
  const started = performance.now();
  expect(compilePattern('^(a+)+$', meter).test(`${text}!`)).toBe(false);
  expect(compilePattern('(a|b)*a(a|b){12}c', meter).test(text)).toBe(false);
  expect(performance.now() - started).toBeLessThan(2000);
  expect(() => compilePattern('(a?){500}b', new Meter(1000)).test(text)).toThrow(/cost/);
});
