import { describe, expect, it } from 'vitest';
import { type ErrorPlace, Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { JsonObject } from '../state/json.js';
import { compileDefinition, emptyDefinition } from './definition.js';

/** What is wrong with an entry, as pointers and words. */
function faultsOf(entry: JsonObject): ErrorPlace[] {
  try {
    compileDefinition(entry);
  } catch (error) {
    expect(error).toBeInstanceOf(Problem);
    expect(error).toMatchObject({ code: 'invalid', status: 422 });
    return (error as Problem).extras.errors ?? [];
  }
  throw new Error('The entry was taken');
}
const pointersOf = (entry: JsonObject) => faultsOf(entry).map(({ pointer }) => pointer);

describe('an entry', () => {
  it('may be empty, and then asks for nothing', () => {
    expect(emptyDefinition).toMatchObject({ mode: 'open', indexes: [], transforms: false, checks: false });
    expect(emptyDefinition).toMatchObject({ expiry: undefined, onRead: undefined });
    const attributes = { a: 1 };
    expect(emptyDefinition.onWrite(attributes, undefined)).toBe(attributes);
    expect(emptyDefinition.violations(attributes, undefined)).toEqual([]);
  });

  it('tells all its faults at once', () => {
    const entry: JsonObject = {
      colour: 1,
      title: 2,
      mode: 'lax',
      schema: { properties: { x: { pattern: '(' }, y: { type: 'text' } } },
      columns: [{ attribute: 'a', widget: 'wheel' }, 'b'],
      indexes: ['a', 'a'],
      relations: { a: '_locks', b: 1 },
      rules: [{ rule: 'self.' }, { rul: 'true' }],
      transforms: [{ attribute: 'a', expression: 'nobody' }],
      expiry: { afterMs: 1 },
      options: [],
    };
    expect(pointersOf(entry).sort()).toEqual(
      [
        '/attributes/colour',
        '/attributes/columns/0/widget',
        '/attributes/columns/1',
        '/attributes/expiry/afterMs',
        '/attributes/indexes/1',
        '/attributes/mode',
        '/attributes/options',
        '/attributes/relations/a',
        '/attributes/relations/b',
        '/attributes/rules/0/rule',
        '/attributes/rules/1/rul',
        '/attributes/rules/1/rule',
        '/attributes/schema/properties/x/pattern',
        '/attributes/schema/properties/y/type',
        '/attributes/title',
        '/attributes/transforms/0/expression',
      ].sort(),
    );
  });

  it('has its limits', () => {
    expect(pointersOf({ description: 'a'.repeat(limits.dictionaryEntryBytesMax) })).toEqual(['/attributes']);
    expect(pointersOf({ rules: Array(limits.rulesMax + 1).fill({ rule: 'true' }) })).toEqual(['/attributes/rules']);
    expect(pointersOf({ indexes: Array.from({ length: 17 }, (_, i) => `a${i}`) })).toEqual(['/attributes/indexes']);
    expect(pointersOf({ options: { a: 'a'.repeat(limits.optionsBytesMax) } })).toEqual(['/attributes/options']);
  });

  it('takes __proto__ for a name like any other', () => {
    const entry = JSON.parse(
      '{"relations":{"__proto__":"people"},"indexes":["__proto__"],"schema":{"properties":{"__proto__":{"type":"number"}}}}',
    ) as JsonObject;
    const definition = compileDefinition(entry);
    expect(definition.relations.get('__proto__')).toEqual({ collection: 'people' });
    expect(definition.indexes[0]?.parts).toEqual([{ attribute: '__proto__', descending: false }]);
    expect(definition.violations(JSON.parse('{"__proto__":"a"}'), undefined)).toMatchObject([
      { pointer: '/attributes/__proto__' },
    ]);
    expect(definition.violations(JSON.parse('{"__proto__":1}'), undefined)).toEqual([]);
    expect(pointersOf(JSON.parse('{"__proto__":1}'))).toEqual(['/attributes/__proto__']);
  });
});

describe('the mode', () => {
  const schema = { required: ['a'] };

  it('is strict where there is something to enforce, and open elsewhere', () => {
    expect(compileDefinition({ schema }).mode).toBe('strict');
    expect(compileDefinition({ rules: [{ rule: 'true' }] }).mode).toBe('strict');
    expect(compileDefinition({ title: 'x' }).mode).toBe('open');
  });

  it('open checks nothing, warn checks like strict', () => {
    expect(compileDefinition({ schema, mode: 'open' }).checks).toBe(false);
    expect(compileDefinition({ schema, mode: 'open' }).violations({}, undefined)).toEqual([]);
    expect(compileDefinition({ schema, mode: 'warn' }).violations({}, undefined)).toHaveLength(1);
  });

  it('gives the check its id, with schema and rules and nothing else', () => {
    const id = (entry: JsonObject) => compileDefinition(entry).checkId;
    expect(id({ schema, title: 'a' })).toBe(id({ schema, title: 'b', indexes: ['a'] }));
    expect(id({ schema: { type: 'object', required: ['a'] } })).toBe(
      id({ schema: { required: ['a'], type: 'object' } }),
    );
    const others: JsonObject[] = [
      { schema },
      { schema, mode: 'warn' },
      { schema: {} },
      { rules: [{ rule: 'true' }] },
      {},
    ];
    expect(new Set(others.map(id)).size).toBe(others.length);
  });
});

describe('indexes', () => {
  it('are declared in several spellings', () => {
    const { indexes } = compileDefinition({
      indexes: [
        'status',
        '-priority',
        ['status', '-/address/city'],
        { attribute: 'mail', unique: true },
        { attributes: ['a', 'b'], name: 'ab' },
      ],
    });
    const asc = (attribute: string) => ({ attribute, descending: false });
    const desc = (attribute: string) => ({ attribute, descending: true });
    expect(indexes).toEqual([
      { name: 'status', unique: false, parts: [asc('status')] },
      { name: '-priority', unique: false, parts: [desc('priority')] },
      { name: 'status,-/address/city', unique: false, parts: [asc('status'), desc('/address/city')] },
      { name: 'mail', unique: true, parts: [asc('mail')] },
      { name: 'ab', unique: false, parts: [asc('a'), asc('b')] },
    ]);
  });

  it.each([
    [[[]], '/attributes/indexes/0'],
    [[['a', 'a']], '/attributes/indexes/0'],
    [['/a~2'], '/attributes/indexes/0'],
    [[{ attribute: 'a', attributes: ['b'] }], '/attributes/indexes/0'],
    [[{ attributes: ['a', 1] }], '/attributes/indexes/0/attributes/1'],
    [[{ attribute: 'a', uniq: true }], '/attributes/indexes/0/uniq'],
    [[['1', '2', '3', '4', '5', '6', '7', '8', '9']], '/attributes/indexes/0'],
  ])('are refused where they make no sense: %j', (indexes, pointer) => {
    expect(pointersOf({ indexes } as JsonObject)).toEqual([pointer]);
  });
});

describe('expiry', () => {
  it.each([
    ['until', { attribute: 'until' }],
    [{ attribute: 'until' }, { attribute: 'until' }],
    [{ afterMs: 1000 }, { afterMs: 1000 }],
  ])('%j', (expiry, wanted) => {
    expect(compileDefinition({ expiry } as JsonObject).expiry).toEqual(wanted);
  });

  it.each([[{}], [1], [{ attribute: 'a', afterMs: 1000 }], [null]])('refuses %j', (expiry) => {
    expect(pointersOf({ expiry } as JsonObject)).toEqual(['/attributes/expiry']);
  });
});
