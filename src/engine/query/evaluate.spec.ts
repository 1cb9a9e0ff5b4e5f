import { describe, expect, it } from 'vitest';
import type { Json } from '../state/json.js';
import { matcherOf } from './evaluate.js';
import { parseFilter } from './filter.js';
import type { Readable } from './path.js';

const json = (text: string) => JSON.parse(text) as Json;

/** The values that are tested, by what they are called in the tables. */
const samples = {
  missing: undefined,
  null: null,
  false: false,
  true: true,
  '-1': -1,
  '0': 0,
  '1': 1,
  '1.5': 1.5,
  '""': '',
  '"a"': 'a',
  '"ab"': 'ab',
  '"b"': 'b',
  '"1"': '1',
  '"é"': 'é',
  '"\uffee"': '\uffee',
  '"😀"': '😀',
  '[]': [],
  '[1]': [1],
  '["a"]': ['a'],
  '[1,"a"]': [1, 'a'],
  '[null]': [null],
  '[[1]]': [[1]],
  '{}': {},
  '{a:1}': { a: 1 },
  '{a:1,b:2}': { a: 1, b: 2 },
  '{b:2,a:1}': { b: 2, a: 1 },
  '{a:null}': { a: null },
} as const satisfies Record<string, Json | undefined>;
type Sample = keyof typeof samples;
const all = Object.keys(samples) as Sample[];
const present = all.filter((name) => name !== 'missing');
const but = (...others: Sample[]) => present.filter((name) => !others.includes(name));

/** Which of the samples, as `o.v` of an item, satisfy the test. */
const table: [operator: string, operand: Json, holdFor: readonly Sample[]][] = [
  ['eq', null, ['null']],
  ['eq', false, ['false']],
  ['eq', 0, ['0']],
  ['eq', -0, ['0']],
  ['eq', 1, ['1']],
  ['eq', 1.5, ['1.5']],
  ['eq', '', ['""']],
  ['eq', 'a', ['"a"']],
  ['eq', '1', ['"1"']],
  ['eq', [], ['[]']],
  ['eq', [1], ['[1]']],
  ['eq', ['a', 1], []],
  ['eq', [null], ['[null]']],
  ['eq', {}, ['{}']],
  ['eq', { b: 2, a: 1 }, ['{a:1,b:2}', '{b:2,a:1}']],
  ['eq', { a: null }, ['{a:null}']],
  ['ne', null, but('null')],
  ['ne', true, but('true')],
  ['ne', 1, but('1')],
  ['ne', 'a', but('"a"')],
  ['ne', [1], but('[1]')],
  ['ne', { a: 1, b: 2 }, but('{a:1,b:2}', '{b:2,a:1}')],
  ['ne', 'nothing has it', present],
  ['lt', false, []],
  ['lt', true, ['false']],
  ['lte', true, ['false', 'true']],
  ['gt', false, ['true']],
  ['gte', false, ['false', 'true']],
  ['gt', true, []],
  ['lt', 1, ['-1', '0']],
  ['lte', 1, ['-1', '0', '1']],
  ['gt', 0, ['1', '1.5']],
  ['gt', -0, ['1', '1.5']],
  ['gte', 0, ['0', '1', '1.5']],
  ['lt', -1, []],
  ['lt', 'b', ['""', '"a"', '"ab"', '"1"']],
  ['lte', 'b', ['""', '"a"', '"ab"', '"b"', '"1"']],
  ['gt', 'a', ['"ab"', '"b"', '"é"', '"\uffee"', '"😀"']],
  ['gte', 'ab', ['"ab"', '"b"', '"é"', '"\uffee"', '"😀"']],
  ['gt', '\uffee', ['"😀"']],
  ['lt', '😀', ['""', '"a"', '"ab"', '"b"', '"1"', '"é"', '"\uffee"']],
  ['lt', '', []],
  ['gte', '', ['""', '"a"', '"ab"', '"b"', '"1"', '"é"', '"\uffee"', '"😀"']],
  ['gt', [], ['[1]', '["a"]', '[1,"a"]', '[null]', '[[1]]']],
  ['gte', [], ['[]', '[1]', '["a"]', '[1,"a"]', '[null]', '[[1]]']],
  ['lt', [1, 'a'], ['[]', '[1]', '[null]']],
  ['lte', [1, 'a'], ['[]', '[1]', '[1,"a"]', '[null]']],
  ['gt', {}, ['{a:1}', '{a:1,b:2}', '{b:2,a:1}', '{a:null}']],
  ['lt', { a: 1, b: 2 }, ['{}', '{a:1}', '{a:null}']],
  ['lte', { b: 2, a: 1 }, ['{}', '{a:1}', '{a:null}', '{a:1,b:2}', '{b:2,a:1}']],
  ['in', [], []],
  ['in', [null, 1, 'a'], ['null', '1', '"a"']],
  ['in', [1, 1], ['1']],
  ['in', [-0], ['0']],
  ['in', [[1], { b: 2, a: 1 }], ['[1]', '{a:1,b:2}', '{b:2,a:1}']],
  ['in', [[[1]]], ['[[1]]']],
  ['nin', [], present],
  ['nin', [null, 1, 'a'], but('null', '1', '"a"')],
  ['nin', [{ a: 1, b: 2 }, []], but('{a:1,b:2}', '{b:2,a:1}', '[]')],
  ['prefix', '', ['""', '"a"', '"ab"', '"b"', '"1"', '"é"', '"\uffee"', '"😀"']],
  ['prefix', 'a', ['"a"', '"ab"']],
  ['prefix', 'ab', ['"ab"']],
  ['prefix', '.', []],
  ['prefix', '%', []],
  ['prefix', '_', []],
  ['prefix', '^a', []],
  ['prefix', 'A', []],
  ['prefix', '1', ['"1"']],
  ['has', 1, ['[1]', '[1,"a"]']],
  ['has', 'a', ['["a"]', '[1,"a"]']],
  ['has', '1', []],
  ['has', null, ['[null]']],
  ['has', [1], ['[[1]]']],
  ['has', [], []],
  ['exists', true, present],
  ['exists', false, ['missing']],
];

const itemOf = (value: Json | undefined): Readable => ({
  key: 'k',
  revision: 7,
  attributes: { o: value === undefined ? {} : { v: value } },
});

describe('the truth table', () => {
  it.each(table)('%s %j', (operator, operand, holdFor) => {
    const matches = matcherOf(parseFilter({ '/o/v': { [operator]: operand } }, ''));
    expect(all.filter((name) => matches(itemOf(samples[name])))).toEqual(all.filter((name) => holdFor.includes(name)));
    const not = matcherOf(parseFilter({ not: { '/o/v': { [operator]: operand } } }, ''));
    expect(all.filter((name) => not(itemOf(samples[name])))).toEqual(all.filter((name) => !holdFor.includes(name)));
  });

  /** The same of an attribute; there is no null, and none may be asked for. */
  const ofAttributes = table.filter(
    ([operator, operand]) =>
      !(operator === 'eq' && operand === null) && !(operator === 'in' && (operand as Json[]).includes(null)),
  );
  it.each(ofAttributes)('%s %j of an attribute, by name and by pointer', (operator, operand, holdFor) => {
    for (const name of ['v', '/v']) {
      const matches = matcherOf(parseFilter({ [name]: { [operator]: operand } }, ''));
      const found = all.filter((sample) => {
        const value = samples[sample];
        return (
          value !== null && matches({ key: 'k', revision: 7, attributes: value === undefined ? {} : { v: value } })
        );
      });
      expect(found, name).toEqual(all.filter((sample) => sample !== 'null' && holdFor.includes(sample)));
    }
  });

  it('a scalar is short for eq', () => {
    for (const operand of [null, false, true, 0, 1, '', 'a']) {
      const [short, long] = [{ '/o/v': operand }, { '/o/v': { eq: operand } }].map((each) =>
        matcherOf(parseFilter(each, '')),
      );
      for (const name of all) expect(short?.(itemOf(samples[name]))).toBe(long?.(itemOf(samples[name])));
    }
  });
});

describe('a filter holds', () => {
  const item = {
    key: 'a/b',
    revision: 12,
    attributes: json(
      '{"n": 5, "or": 1, "and": [2], "not": "x", "/odd": 3, "a/b": 4, "m~n": {"x/y": 6}, "": 0, "list": [{"x": 1}, [10, 20]], "__proto__": {"y": 1}, "text": "5"}',
    ) as { [name: string]: Json },
  };
  it.each<[holds: boolean, filter: Json]>([
    [true, {}],
    [true, { and: [] }],
    [false, { or: [] }],
    [false, { not: {} }],
    [true, { not: { or: [] } }],
    [true, { n: { gte: 5, lt: 6 } }],
    [false, { n: { gte: 5, lt: 5 } }],
    [true, { n: 5, text: '5' }],
    [false, { n: 5, text: 5 }],
    [false, { n: 4, text: '5' }],
    [true, { n: 5, and: [{ text: '5' }, { '/or': 1 }], or: [{ n: 0 }, { n: 5 }], not: { n: 6 } }],
    [false, { n: 5, or: [{ n: 0 }, { n: 1 }] }],
    [false, { n: 5, and: [{ text: '5' }, { n: 6 }] }],
    [false, { n: 5, not: { text: '5' } }],
    [true, { not: { not: { n: 5 } } }],
    [true, { not: { n: 5, text: 'other' } }],
    [true, { '/or': 1, '/and': { has: 2 }, '/not': 'x' }],
    [true, { '/and/0': 2 }],
    [true, { '/~1odd': 3 }],
    [true, { 'a/b': 4, '/a~1b': 4 }],
    [false, { '/a/b': 4 }],
    [true, { '/m~0n/x~1y': 6 }],
    [true, { '/list/0/x': 1, '/list/1/1': 20 }],
    [true, { '/list/1': { eq: [10, 20] } }],
    [false, { '/list/01/1': { exists: true } }],
    [false, { '/list/-': { exists: true } }],
    [false, { '/list/2': { exists: true } }],
    [false, { '/list/length': { exists: true } }],
    [false, { '/text/0': { exists: true } }],
    [false, { '/text/length': { exists: true } }],
    [false, { '/n/x/y': { exists: true } }],
    [true, { '/n/x/y': { exists: false } }],
    [false, { '/n/x': { ne: 1 } }],
    [true, { not: { '/n/x': 1 } }],
    [true, json('{"__proto__": {"eq": {"y": 1}}}')],
    [true, { '/__proto__/y': 1 }],
    [false, { '/list/__proto__': { exists: true } }],
    [false, { constructor: { exists: true } }],
    [false, { toString: { exists: true } }],
    [false, { '/list/0/toString': { exists: true } }],
    [false, { '/__proto__/__proto__': { exists: true } }],
    [true, { '/@key': 'a/b' }],
    [true, { '/@key': { prefix: 'a/', gt: 'a', lt: 'b', in: ['a/b'], exists: true } }],
    [false, { '/@key': 5 }],
    [false, { '/@key': { exists: false } }],
    [true, { '/@revision': { gte: 12, lt: 13, ne: 11, nin: [11] } }],
    [false, { '/@revision': '12' }],
    [false, { '/@revision': { prefix: '1' } }],
    [false, { '@key': { exists: true } }],
  ])('%s: %j', (holds, filter) => {
    expect(matcherOf(parseFilter(filter, ''))(item)).toBe(holds);
  });

  it('is true of everything where there is none', () => {
    expect(matcherOf(undefined)(item)).toBe(true);
  });
});
