import { describe, expect, it } from 'vitest';
import type { ErrorPlace, Problem } from '../errors.js';
import type { Json, JsonObject } from '../state/json.js';
import { compileDefinition } from './definition.js';
import { Meter } from './meter.js';
import { formats, isMultiple } from './schema-keywords.js';

const violations = (schema: Json, attributes: JsonObject) =>
  compileDefinition({ schema }).violations(attributes, undefined);
const told = (schema: Json, attributes: JsonObject) =>
  violations(schema, attributes).map(({ pointer, detail }) => `${pointer} ${detail}`);
const faults = (schema: Json): ErrorPlace[] => {
  try {
    compileDefinition({ schema });
  } catch (error) {
    return (error as Problem).extras.errors ?? [];
  }
  throw new Error('The schema was taken');
};

describe('violations', () => {
  it('are told each at its place, what is missing or too much at its own', () => {
    const schema = {
      required: ['name'],
      properties: {
        name: { type: 'string' },
        age: { type: 'integer', minimum: 0 },
        tags: { items: { enum: ['a', 'b'] } },
      },
      additionalProperties: false,
    };
    expect(told(schema, { age: -1, tags: ['a', 'c'], 'x/y': 1 }).sort()).toEqual([
      '/attributes/age must be >= 0',
      '/attributes/name is required',
      '/attributes/tags/1 must be one of ["a","b"]',
      '/attributes/x~1y is not a member that the schema knows',
    ]);
  });

  it('are at most twenty, and of a large item only the first is looked for', () => {
    const schema = { properties: { list: { items: { type: 'string' } } } };
    expect(violations(schema, { list: Array(100).fill(1) })).toHaveLength(20);
    expect(violations(schema, { list: Array(100_000).fill(1) })).toHaveLength(1);
  });

  it('come of formats too; unknown formats and keywords are ignored', () => {
    const schema = { properties: { a: { format: 'email' }, b: { format: 'made-up' }, c: { madeUp: 1 } } };
    expect(told(schema, { a: 'x', b: 'x', c: 'x' })).toEqual(['/attributes/a must match format "email"']);
  });

  it('may come of `false` alone', () => {
    expect(told(false, {})).toEqual(['/attributes boolean schema is false']);
    expect(told(true, {})).toEqual([]);
  });
});

it.each([
  [0.0075, 0.0001, true],
  [0.00751, 0.0001, false],
  [1.1, 0.1, true],
  [19.99, 0.01, true],
  [1e308, 0.5, true],
  [9007199254740991, 3, false],
  [12, 4, true],
  [4.35, 0.01, true],
  [-4.5, 1.5, true],
])('%f is a multiple of %f: %j', (value, step, wanted) => {
  expect(isMultiple(value, step, new Meter(100))).toBe(wanted);
});

const members = (count: number): JsonObject =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`p${i}`, { type: 'string', minLength: 1 }]));
const nested = (levels: number, schema: JsonObject): JsonObject =>
  levels === 0 ? schema : { allOf: [nested(levels - 1, schema)] };

describe('refused when it is set, at its place', () => {
  it.each<[string, Json, string, RegExp]>([
    ['no schema', 'text' as Json, '', /object, true or false/],
    ['a wrong keyword', { properties: { a: { type: 'text' } } }, '/properties/a/type', /must be one of/],
    [
      'a reference elsewhere',
      { properties: { a: { $ref: 'https://example.org/x' } } },
      '/properties/a/$ref',
      /nothing is fetched/,
    ],
    ['a reference to nothing', { $ref: '#/$defs/x' }, '/$ref', /leads nowhere/],
    ['look-ahead', { properties: { a: { pattern: '(?=a)' } } }, '/properties/a/pattern', /looks ahead/],
    ['a reference back', { patternProperties: { '(a)\\1': {} } }, '/patternProperties/(a)\\1', /refers back/],
    ['no pattern', { pattern: '(' }, '/pattern', /no regular expression/],
    ['a large pattern', { pattern: '(?:a{900}){900}' }, '/pattern', /can't be used|steps/],
    ['another dialect', { $schema: 'http://json-schema.org/draft-07/schema#' }, '/$schema', /2020-12/],
    ['itself', { $ref: '#' }, '', /never end/],
    ['itself inside', { allOf: [{ anyOf: [{ $ref: '#' }] }] }, '', /never end/],
    [
      'itself by others',
      { $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/a' } }, $ref: '#/$defs/a' },
      '/$defs/a',
      /never end/,
    ],
    [
      'references to each of many places, one in the other',
      {
        $defs: { big: nested(30, { properties: members(200) }) },
        anyOf: Array.from({ length: 30 }, (_, i) => ({ $ref: `#/$defs/big${'/allOf/0'.repeat(i + 1)}` })),
      },
      `/$defs/big${'/allOf/0'.repeat(30)}/properties/p`,
      /too large to compile, with what its references lead to/,
    ],
    ['many members', { properties: members(1500) }, '/properties/p', /too large to compile/],
    [
      'many alternatives',
      { oneOf: Array.from({ length: 600 }, (_, i) => ({ properties: { [`p${i}`]: { type: 'null' } } })) },
      '/oneOf/',
      /too large to compile/,
    ],
    [
      'many names that need others',
      {
        dependentRequired: Object.fromEntries(Object.keys(members(700)).map((name) => [name, Object.keys(members(8))])),
      },
      '',
      /too large to compile/,
    ],
    [
      'many dynamic anchors',
      { $defs: Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`a${i}`, { $dynamicAnchor: `a${i}` }])) },
      '/$defs/a50/$dynamicAnchor',
      /more than 50/,
    ],
    ['too much', { description: 'a'.repeat(70_000) }, '', /at most 65536/],
  ])('%s', (_what, schema, pointer, message) => {
    const [first] = faults(schema);
    // What ends at a member or an alternative of many ends at any of them.
    expect(first?.pointer.replace(/(?<=\/p)\d+$|(?<=\/oneOf\/)\d+.*$/, '')).toBe(`/attributes/schema${pointer}`);
    expect(first?.detail).toMatch(message);
  });

  it('deep nesting', () => {
    let schema: Json = {};
    for (let i = 0; i < 90; i++) schema = { properties: { a: schema } };
    expect(faults(schema)[0]?.detail).toMatch(/nest deeper/);
  });
});

describe('references', () => {
  it('may recurse over the value', () => {
    const schema = {
      $defs: {
        node: {
          type: 'object',
          properties: { children: { type: 'array', items: { $ref: '#/$defs/node' } } },
          additionalProperties: false,
        },
      },
      properties: { tree: { $ref: '#/$defs/node' } },
    };
    expect(told(schema, { tree: { children: [{ children: [{}] }] } })).toEqual([]);
    expect(told(schema, { tree: { children: [{ children: [{ x: 1 }] }] } })).toEqual([
      '/attributes/tree/children/0/children/0/x is not a member that the schema knows',
    ]);
  });

  it('of two collections never meet, whatever their $id', () => {
    const of = (type: string) => ({
      $id: 'https://example.org/same',
      properties: { a: { $ref: '#/$defs/a' } },
      $defs: { a: { type } },
    });
    expect(told(of('string'), { a: 1 })).toHaveLength(1);
    expect(told(of('number'), { a: 1 })).toEqual([]);
  });
});

describe('what a schema may cost is bounded', () => {
  const bounded = (schema: Json, attributes: JsonObject) => {
    const definition = compileDefinition({ schema });
    const started = performance.now();
    const found = definition.violations(attributes, undefined);
    expect(performance.now() - started).toBeLessThan(2000);
    return found;
  };

  it('when each definition refers twice to the next', () => {
    const $defs: JsonObject = { d40: {} };
    for (let i = 0; i < 40; i++)
      $defs[`d${i}`] = { allOf: [{ $ref: `#/$defs/d${i + 1}` }, { $ref: `#/$defs/d${i + 1}` }] };
    expect(bounded({ $defs, $ref: '#/$defs/d0' }, {})[0]?.detail).toMatch(/costs more than/);
  });

  const doubled = (leaf: JsonObject, levels: number): JsonObject => {
    const $defs: JsonObject = { l0: leaf };
    for (let i = 1; i <= levels; i++) $defs[`l${i}`] = { allOf: Array(2).fill({ $ref: `#/$defs/l${i - 1}` }) };
    return { $defs, properties: { x: { $ref: `#/$defs/l${levels}` } } };
  };
  const costOf = (schema: Json, attributes: JsonObject) => {
    const definition = compileDefinition({ schema });
    definition.violations(attributes, undefined);
    return definition.cost;
  };

  it('when a reference is followed often to what takes long', () => {
    const leaf = { not: { enum: Array(20_000).fill(0) } };
    expect(costOf(doubled(leaf, 4), { x: 1 })).toBeGreaterThan(15 * costOf(doubled(leaf, 0), { x: 1 }));
    expect(violations(doubled(leaf, 14), { x: 1 })[0]?.detail).toMatch(/costs more than/);
  });

  it('when what takes long does not hold each time', () => {
    const contains = { enum: Array.from({ length: 2000 }, (_, i) => [i]) };
    const list = Array(20_000).fill([-1]);
    expect(violations({ properties: { list: { contains } } }, { list })[0]?.detail).toMatch(/costs more than/);
    expect(costOf({ $defs: { a: contains }, not: { $ref: '#/$defs/a' } }, { x: 1 })).toBeGreaterThan(500);
  });

  it('when many members are compared with the names of many others', () => {
    const properties = Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`p${i}`, { type: 'null' }]));
    const o = Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`q${i}`, 1]));
    const schema = { properties: { o: { allOf: [{ properties }], unevaluatedProperties: { type: 'number' } } } };
    expect(violations(schema, { o })[0]?.detail).toMatch(/costs more than/);
  });

  it('when numbers of hundreds of digits are divided', () => {
    const schema = { properties: { list: { items: { multipleOf: 5e-324 } } } };
    expect(violations(schema, { list: Array(100_000).fill(1e308) })[0]?.detail).toMatch(/costs more than/);
    const cents = { properties: { list: { items: { multipleOf: 0.01 } } } };
    expect(violations(cents, { list: Array(50_000).fill(19.99) })).toEqual([]);
  });

  it('when many alternatives meet many values', () => {
    const anyOf = Array.from({ length: 1000 }, (_, i) => ({ const: `x${i}` }));
    const list = Array(100_000).fill('x999');
    expect(bounded({ properties: { list: { items: { anyOf } } } }, { list })[0]?.detail).toMatch(/costs more than/);
  });

  it('when all of a large array must differ', () => {
    const list = Array.from({ length: 100_000 }, (_, i) => i);
    expect(bounded({ properties: { list: { uniqueItems: true } } }, { list })).toEqual([]);
    expect(bounded({ properties: { list: { uniqueItems: true } } }, { list: [...list, 5] })).toHaveLength(1);
    const objects = list.slice(0, 20_000).map((i) => ({ a: i, b: 1 }));
    expect(bounded({ properties: { list: { uniqueItems: true } } }, { list: objects })).toEqual([]);
    expect(
      bounded(
        { properties: { list: { uniqueItems: true } } },
        {
          list: [
            { a: 1, b: 2 },
            { b: 2, a: 1 },
          ],
        },
      ),
    ).toHaveLength(1);
  });

  it('when many lengths of a long text are asked for', () => {
    const allOf = Array.from({ length: 400 }, (_, i) => ({ minLength: 400_000 + i }));
    expect(bounded({ properties: { a: { allOf } } }, { a: '\u00e9'.repeat(500_000) })[0]?.detail).toMatch(
      /costs more than/,
    );
    const schema = { properties: { a: { minLength: 2, maxLength: 3 } } };
    expect(['😀', '😀😀', '😀😀😀', '😀😀😀😀', 'ab', 'abcd'].map((a) => violations(schema, { a }).length)).toEqual([
      1, 0, 0, 1, 0, 1,
    ]);
  });

  it('when its patterns take long to compile', () => {
    const properties = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`p${i}`, { pattern: `a{900}${i}` }]));
    expect(faults({ properties })[0]?.detail).toMatch(/take too long/);
    // What a reference leads to may stand where no schema is looked for.
    const patternProperties = Object.fromEntries(Object.keys(properties).map((name) => [`a{900}${name}`, {}]));
    expect(faults({ hidden: { patternProperties }, $ref: '#/hidden' })[0]?.detail).toMatch(/take too long/);
  });

  it('when a pattern is made to go back and forth', () => {
    for (const pattern of ['^(a+)+$', '(a|a)*$', '^(([a-z])+.)+[A-Z]([a-z])+$', '(.*)*x']) {
      bounded({ properties: { a: { pattern } } }, { a: `${'a'.repeat(500_000)}!` });
    }
  });
});

it('no format takes long for a hostile text of half a mebibyte', () => {
  const hostile = [
    'a',
    '1',
    '.',
    '-',
    ':',
    '/',
    '@',
    '::',
    'a.',
    'a-',
    '1:',
    '%41',
    '{a}',
    '"',
    '(',
    '[',
    '~1',
    'P1',
    'http://a:',
    'T1',
  ];
  const slow: string[] = [];
  const meter = new Meter(Number.MAX_SAFE_INTEGER);
  for (const [name, test] of Object.entries(formats(meter))) {
    if (typeof test !== 'function') continue;
    for (const part of hostile) {
      for (const before of ['', 'http://[', 'a@']) {
        const text = `${before}${part.repeat(2 ** 19 / part.length)}\u0000`;
        const started = performance.now();
        (test as (text: string) => boolean)(text);
        if (performance.now() - started > 500) slow.push(`${name} ${before}${part}`);
      }
    }
  }
  expect(slow).toEqual([]);
});
