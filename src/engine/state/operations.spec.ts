import { describe, expect, it } from 'vitest';
import { Problem } from '../errors.js';
import type { Attributes } from './model.js';
import { type Action, apply, checkAction } from './operations.js';

const outcome = (action: Action, present: Attributes | undefined): unknown => {
  try {
    checkAction(action);
    return apply(action, present);
  } catch (error) {
    if (error instanceof Problem) return error.code;
    throw error;
  }
};

type Row = [what: string, action: Action, present: Attributes | undefined, expected: unknown];
const patch = (...operations: object[]): Action => ({ op: 'patch', patch: operations as never });

const rows: Row[] = [
  ['put drops top-level nulls', { op: 'put', attributes: { a: null, b: { c: null } } }, undefined, { b: { c: null } }],
  ['create refuses what exists', { op: 'create', attributes: {} }, {}, 'conflict'],
  ['merge is deep', { op: 'merge', attributes: { a: { b: 1 } } }, { a: { c: 2 }, d: 3 }, { a: { b: 1, c: 2 }, d: 3 }],
  ['merge makes an item', { op: 'merge', attributes: {} }, undefined, {}],
  ['unset leaves a missing item missing', { op: 'unset', names: ['a'] }, undefined, undefined],
  ['set to null removes', { op: 'set', attribute: 'a', value: null }, { a: 1 }, {}],
  ['set to null makes no item', { op: 'set', attribute: 'a', value: null }, undefined, undefined],
  ['set makes an item', { op: 'set', attribute: 'a', value: 0 }, undefined, { a: 0 }],
  ['increment counts a missing one as 0', { op: 'increment', attribute: 'n', by: -2 }, undefined, { n: -2 }],
  ['increment of text', { op: 'increment', attribute: 'n', by: 1 }, { n: '1' }, 'invalid'],
  ['increment past max', { op: 'increment', attribute: 'n', by: 1, max: 3 }, { n: 3 }, 'conflict'],
  ['increment to max', { op: 'increment', attribute: 'n', by: 1, max: 3 }, { n: 2 }, { n: 3 }],
  ['increment past min', { op: 'increment', attribute: 'n', by: -1, min: 0 }, { n: 0 }, 'conflict'],
  ['increment with crossed bounds', { op: 'increment', attribute: 'n', by: 1, min: 2, max: 1 }, {}, 'badRequest'],
  ['increment never rounds', { op: 'increment', attribute: 'n', by: 1 }, { n: 2 ** 53 }, 'numberOutOfRange'],
  [
    'increment past 2^53 where it is exact',
    { op: 'increment', attribute: 'n', by: 2 },
    { n: 2 ** 53 },
    { n: 2 ** 53 + 2 },
  ],
  [
    'increment past the largest double',
    { op: 'increment', attribute: 'n', by: 1e308 },
    { n: 1.5e308 },
    'numberOutOfRange',
  ],
  ['append to nothing', { op: 'append', attribute: 'l', value: null }, undefined, { l: [null] }],
  ['append to text', { op: 'append', attribute: 'l', value: 1 }, { l: 'x' }, 'invalid'],
  [
    'remove takes out every equal element',
    { op: 'remove', attribute: 'l', value: { a: 1, b: 2 } },
    { l: [{ b: 2, a: 1 }, 3, { a: 1, b: 2 }] },
    { l: [3] },
  ],
  ['remove from nothing makes nothing', { op: 'remove', attribute: 'l', value: 1 }, undefined, undefined],
  ['JSON Patch adds', patch({ op: 'add', path: '/attributes/a', value: 1 }), undefined, { a: 1 }],
  ['JSON Patch tests', patch({ op: 'test', path: '/attributes/a', value: 2 }), { a: 1 }, 'conflict'],
  ['JSON Patch of what is not there', patch({ op: 'remove', path: '/attributes/b' }), { a: 1 }, 'conflict'],
  ['JSON Patch into text', patch({ op: 'add', path: '/attributes/a/b', value: 1 }), { a: 'text' }, 'conflict'],
  ['JSON Patch finds nothing inherited', patch({ op: 'remove', path: '/attributes/toString' }), { a: 1 }, 'conflict'],
  [
    'JSON Patch reaches no prototype',
    patch({ op: 'add', path: '/attributes/__proto__/x', value: 1 }),
    {},
    'badRequest',
  ],
  ['JSON Patch with a malformed pointer', patch({ op: 'add', path: 'attributes/a', value: 1 }), {}, 'badRequest'],
  [
    'JSON Patch at what is no position',
    patch({ op: 'replace', path: '/attributes/l/01', value: 9 }),
    { l: [1, 2] },
    'conflict',
  ],
  [
    'JSON Patch that copies and copies',
    patch(...Array.from({ length: 40 }, (_, i) => ({ op: 'copy', from: '/attributes', path: `/attributes/x${i}` }))),
    { a: 'some text' },
    'tooLarge',
  ],
  ['JSON Patch without a value', patch({ op: 'add', path: '/attributes/a' }), {}, 'badRequest'],
  ['JSON Patch beside the attributes', patch({ op: 'add', path: '/other', value: 1 }), {}, 'invalid'],
  ['JSON Patch that takes the attributes away', patch({ op: 'remove', path: '/attributes' }), {}, 'invalid'],
  [
    'JSON Patch to null means absent',
    patch({ op: 'replace', path: '/attributes/a', value: null }),
    { a: 1, b: 2 },
    { b: 2 },
  ],
  ['a control character in a name', { op: 'put', attributes: { 'a\u0007': 1 } }, undefined, 'invalidName'],
  ['a hundred levels', { op: 'put', attributes: { a: deep(100) } }, undefined, { a: deep(100) }],
  ['a hundred and one levels', { op: 'put', attributes: { a: deep(101) } }, undefined, 'badRequest'],
];

function deep(levels: number): never {
  return JSON.parse('['.repeat(levels) + ']'.repeat(levels)) as never;
}

describe('operations', () => {
  it.each(rows)('%s', (_what, action, present, expected) => {
    const before = JSON.stringify(present);
    const result = outcome(action, present);
    if (expected === undefined) expect(result).toBeUndefined();
    else expect(JSON.parse(JSON.stringify(result))).toEqual(expected);
    expect(JSON.stringify(present)).toBe(before);
  });

  it('keeps __proto__ as an attribute like any other', () => {
    const attributes = JSON.parse('{"__proto__":{"x":1}}') as Attributes;
    const next = apply({ op: 'set', attribute: 'a', value: 1 }, attributes) as Attributes;
    expect(JSON.stringify(next)).toBe('{"__proto__":{"x":1},"a":1}');
    expect(Object.getPrototypeOf(next)).toBe(Object.prototype);
  });
});
