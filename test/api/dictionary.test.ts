/**
 * The entries of the data dictionary: written, read and watched like any item, refused whole when they can't be used, and judged
 * by what the collection holds already. What they do to writes is in dictionary-checks.test.ts.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { readLines } from '../support/ndjson.js';
import { expectProblem, pointersOf, rowsOf, Scenario, type Story } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const D = 'P/collections/_dictionary/items';
const ENTRY = `${D}/things`;
const numbers = (attribute = 'n') => ({ properties: { [attribute]: { type: 'number' } } });

/** Two spellings of a reference that never ends. */
const cycle = { $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/a' } } };

type Bad = readonly [says: string, attributes: object, ...pointers: string[]];

const bad: readonly Bad[] = [
  ['an unknown member', { shema: {} }, '/attributes/shema'],
  ['a member with a slash', { 'a/b': {} }, '/attributes/a~1b'],
  ['another mode', { mode: 'lax' }, '/attributes/mode'],
  ['a title that is none', { title: 7 }, '/attributes/title'],
  ['a schema that is none', { schema: 7 }, '/attributes/schema'],
  [
    'a schema of unknown types',
    { schema: { properties: { n: { type: 'nmber' } } } },
    '/attributes/schema/properties/n/type',
  ],
  [
    'a reference to elsewhere',
    { schema: { properties: { n: { $ref: 'https://example.com/schema' } } } },
    '/attributes/schema/properties/n/$ref',
  ],
  ['a reference to nothing', { schema: { $ref: '#/$defs/none' } }, '/attributes/schema/$ref'],
  ['a reference to itself', { schema: { $ref: '#' } }],
  ['references in a circle', { schema: cycle }],
  [
    'a pattern that isn’t one',
    { schema: { properties: { s: { pattern: '(' } } } },
    '/attributes/schema/properties/s/pattern',
  ],
  [
    'a pattern that looks back',
    { schema: { properties: { s: { pattern: '(a)\\1' } } } },
    '/attributes/schema/properties/s/pattern',
  ],
  [
    'a pattern that is too long to run',
    { schema: { properties: { s: { pattern: '((a{1000}){1000}){1000}' } } } },
    '/attributes/schema/properties/s/pattern',
  ],
  ['a rule that doesn’t compile', { rules: [{ rule: 'self.n >' }] }, '/attributes/rules/0/rule'],
  ['a rule of unknown names', { rules: [{ rule: 'true' }, { rule: 'item.n > 1' }] }, '/attributes/rules/1/rule'],
  ['a rule that is no condition', { rules: [{ rule: '"text"' }] }, '/attributes/rules/0/rule'],
  ['a rule without a rule', { rules: [{ message: 'No.' }] }, '/attributes/rules/0/rule'],
  ['a rule whose pointer is none', { rules: [{ rule: 'true', pointer: 'n' }] }, '/attributes/rules/0/pointer'],
  [
    'a transform that doesn’t compile',
    { transforms: [{ attribute: 'n', expression: '1 +' }] },
    '/attributes/transforms/0/expression',
  ],
  [
    'a read transform that names `old`',
    { transforms: [{ attribute: 'n', expression: 'old.n', on: 'read' }] },
    '/attributes/transforms/0/expression',
  ],
  ['a transform of nothing', { transforms: [{ expression: '1' }] }, '/attributes/transforms/0/attribute'],
  ['an index of nothing', { indexes: [[]] }, '/attributes/indexes/0'],
  ['an index of a pointer to no attribute', { indexes: ['a', '/'] }, '/attributes/indexes/1'],
  ['an index of a pointer to an attribute with a control character', { indexes: ['/\u0001'] }, '/attributes/indexes/0'],
  [
    'a unique index of a pointer to too long a name',
    { indexes: [{ attribute: `/${'x'.repeat(200)}`, unique: true }] },
    '/attributes/indexes/0/attribute',
  ],
  ['indexes of one name', { indexes: ['a', ['a']] }, '/attributes/indexes/1'],
  ['an index with an unknown member', { indexes: [{ attribute: 'a', uniqe: true }] }, '/attributes/indexes/0/uniqe'],
  ['too many indexes', { indexes: Array.from({ length: 17 }, (_, i) => `a${i}`) }, '/attributes/indexes'],
  ['an expiry of an instant', { expiry: { afterMs: 10 } }, '/attributes/expiry/afterMs'],
  ['an expiry of both kinds', { expiry: { afterMs: 5000, attribute: 'end' } }, '/attributes/expiry'],
  ['a relation to no collection', { relations: { owner: 'a b' } }, '/attributes/relations/owner'],
  ['columns that are none', { columns: [{ title: 'No attribute' }] }, '/attributes/columns/0/attribute'],
  ['options that are none', { options: [] }, '/attributes/options'],
  [
    'several faults, all of which are told',
    { mode: 'lax', rules: [{ rule: 'self.n >' }], indexes: [''] },
    '/attributes/mode',
    '/attributes/rules/0/rule',
    '/attributes/indexes/0',
  ],
];

const stories: readonly Story[] = [
  [
    'an entry is put, patched, its attributes are set and taken away',
    [`PUT ${ENTRY}`, { attributes: { schema: numbers() } }, 201, { revision: 1, changed: ['schema'] }],
    [`PATCH ${ENTRY}`, { attributes: { title: 'Things' } }, 200, { changed: ['title'] }],
    [`GET ${ENTRY}`, undefined, 200, { attributes: { schema: numbers(), title: 'Things' } }],
    [`PUT ${ENTRY}/attributes/mode`, { value: 'warn' }, 200, { changed: ['mode'] }],
    [`GET ${ENTRY}/attributes/mode`, undefined, 200, { value: 'warn' }],
    [`DELETE ${ENTRY}/attributes/schema`, undefined, 200, { changed: ['schema'] }],
    [`GET ${ENTRY}`, undefined, 200, { attributes: { mode: 'warn', title: 'Things' } }],
    ['GET C', undefined, 200, { collection: 'things', items: 0, revision: 4 }],
  ],
  [
    'an attribute of an entry is judged with the rest of it',
    [`PUT ${ENTRY}`, { attributes: { rules: [{ rule: 'true' }] } }, 201],
    [`PUT ${ENTRY}/attributes/mode`, { value: 'lax' }, 422, { code: 'invalid' }],
    [`PATCH ${ENTRY}`, { attributes: { rules: [{ rule: '(' }] } }, 422, { code: 'invalid' }],
    [`GET ${ENTRY}`, undefined, 200, { revision: 1, attributes: { rules: [{ rule: 'true' }] } }],
  ],
  [
    'what is said again is no commit',
    [`PUT ${ENTRY}`, { attributes: { title: 'Things' } }, 201, { revision: 1 }],
    [`PUT ${ENTRY}`, { attributes: { title: 'Things' } }, 200, { revision: 1, changed: [] }],
  ],
  [
    'conditions hold for entries',
    [`PUT ${ENTRY}`, { attributes: {} }, 412, {}, { 'if-match': '*' }],
    [`PUT ${ENTRY}`, { attributes: {} }, 201, {}, { 'if-none-match': '*' }],
    [`PUT ${ENTRY}`, { attributes: { title: 'x' } }, 412, {}, { 'if-match': '"7"' }],
    [`PUT ${ENTRY}`, { attributes: { title: 'x' } }, 200, {}, { 'if-match': '"1"' }],
  ],
  [
    'PUT C and PATCH C keep what the dictionary says beyond their own members',
    [
      `PUT ${ENTRY}`,
      { attributes: { title: 'T', schema: numbers(), indexes: ['n'], description: 'old', options: { a: 1 } } },
      201,
    ],
    ['PATCH C', { options: { b: 2 } }, 200, { description: 'old', options: { a: 1, b: 2 } }],
    ['PUT C', { description: 'new' }, 200, { description: 'new', options: {} }],
    [
      `GET ${ENTRY}`,
      undefined,
      200,
      { attributes: { title: 'T', schema: numbers(), indexes: ['n'], description: 'new' } },
    ],
    ['PUT C/items/a', { attributes: { n: 'text' } }, 422, { code: 'schemaViolation' }],
  ],
  [
    'options of a collection that grow past their bound by PATCH C are refused, and the collection stays usable',
    ['PUT C', { options: { a: 'x'.repeat(10_000) } }, 201],
    ['PATCH C', { options: { b: 'x'.repeat(10_000) } }, 422, { code: 'invalid' }],
    ['PUT C/items/a', { attributes: { n: 1 } }, 201],
  ],
  [
    'the entry of an empty collection is deleted, and the collection with it',
    [`PUT ${ENTRY}`, { attributes: { schema: numbers() } }, 201],
    ['GET C', undefined, 200],
    [`DELETE ${ENTRY}`, undefined, 200, { existed: true, revision: 2 }],
    ['GET C', undefined, 404],
    [`GET ${ENTRY}`, undefined, 404],
    ['PUT C/items/a', { attributes: { n: 'text' } }, 201],
  ],
  [
    'the entry of a collection with items is not deleted, one by one or by query',
    [`PUT ${ENTRY}`, { attributes: { schema: numbers() } }, 201],
    ['PUT C/items/a', { attributes: { n: 1 } }, 201],
    [`DELETE ${ENTRY}`, undefined, 409, { code: 'conflict' }],
    ['POST P/collections/_dictionary/delete', { prefix: '' }, 409, { code: 'conflict' }],
    ['PUT C/items/b', { attributes: { n: 'text' } }, 422, { code: 'schemaViolation' }],
    ['DELETE C/items/a', undefined, 200],
    [`DELETE ${ENTRY}`, undefined, 200],
  ],
  [
    'DELETE C forgets what was said of it',
    [`PUT ${ENTRY}`, { attributes: { schema: numbers(), indexes: [{ attribute: 'n', unique: true }] } }, 201],
    ['PUT C/items/a', { attributes: { n: 1 } }, 201],
    ['DELETE C', undefined, 200, { existed: true }],
    [`GET ${ENTRY}`, undefined, 404],
    ['PUT C/items/a', { attributes: { n: 'text' } }, 201],
    ['PUT C/items/b', { attributes: { n: 'text' } }, 201],
    ['GET C', undefined, 200, { items: 2, indexes: [] }],
  ],
  [
    'definition and items come in one batch, in either order',
    [
      'POST P/batch',
      {
        ops: [
          { op: 'put', collection: 'things', key: 'a', attributes: { n: 'text' } },
          { op: 'put', collection: '_dictionary', key: 'things', attributes: { schema: numbers() } },
        ],
      },
      409,
      { code: 'dataViolatesSchema', offenders: [{ key: 'a' }], errors: [{ index: 1, pointer: '/ops/1/attributes' }] },
    ],
    ['GET P', undefined, 404],
    [
      'POST P/batch',
      {
        ops: [
          { op: 'put', collection: '_dictionary', key: 'things', attributes: { schema: numbers() } },
          { op: 'put', collection: 'things', key: 'a', attributes: { n: 1 } },
        ],
      },
      200,
      { revision: 1 },
    ],
  ],
  [
    'a batch that isn’t atomic judges each op by what the ops before it said',
    ['PUT P/collections/strict', {}, 201],
    [
      'POST P/batch',
      {
        atomic: false,
        ops: [
          { op: 'put', collection: '_dictionary', key: 'things', attributes: { schema: numbers() } },
          { op: 'put', collection: 'things', key: 'a', attributes: { n: 'text' } },
          { op: 'put', collection: '_dictionary', key: 'other', attributes: { mode: 'lax' } },
          { op: 'put', collection: '_dictionary', key: 'strict', attributes: { schema: numbers() } },
          { op: 'put', collection: 'strict', key: 'b', attributes: { n: 1 } },
        ],
      },
      200,
      {
        results: [
          { status: 201 },
          { status: 422, problem: { code: 'schemaViolation' } },
          { status: 422, problem: { code: 'invalid' } },
          { status: 200 },
          { status: 201 },
        ],
      },
    ],
    ['GET P/collections/other', undefined, 404],
    [`GET ${ENTRY}`, undefined, 200, { attributes: { schema: numbers() } }],
    ['GET C', undefined, 200, { items: 0 }],
  ],
  [
    'a batch that isn’t atomic takes no definition over an item that it could not mend',
    [`PUT ${ENTRY}`, { attributes: { schema: { properties: { n: { type: 'string' } } } } }, 201],
    ['PUT C/items/a', { attributes: { n: 'text' } }, 201],
    [
      'POST P/batch',
      {
        atomic: false,
        ops: [
          { op: 'put', collection: 'things', key: 'a', attributes: { n: 1 } },
          { op: 'put', collection: '_dictionary', key: 'things', attributes: { schema: numbers() } },
        ],
      },
      200,
      { results: [{ status: 422 }, { status: 409, problem: { code: 'dataViolatesSchema', count: 1 } }] },
    ],
    ['GET C/items/a', undefined, 200, { attributes: { n: 'text' } }],
  ],
  [
    'a batch that isn’t atomic takes no definition over an item that another’s value kept from being mended',
    [`PUT ${ENTRY}`, { attributes: { indexes: [{ attribute: 'u', unique: true }] } }, 201],
    ['PUT C/items/a', { attributes: { n: 'text', u: 1 } }, 201],
    ['PUT C/items/b', { attributes: { n: 2, u: 2 } }, 201],
    [
      'POST P/batch',
      {
        atomic: false,
        ops: [
          { op: 'put', collection: 'things', key: 'a', attributes: { n: 1, u: 2 } },
          { op: 'merge', collection: '_dictionary', key: 'things', attributes: { schema: numbers() } },
        ],
      },
      200,
      {
        results: [
          { status: 409, problem: { code: 'conflict' } },
          { status: 409, problem: { count: 1 } },
        ],
      },
    ],
    ['GET C/items/a', undefined, 200, { attributes: { n: 'text', u: 1 } }],
  ],
  [
    'a batch that isn’t atomic declares no unique index over a double that it could not mend, or makes itself',
    [`PUT ${ENTRY}`, { attributes: { schema: numbers() } }, 201],
    ['PUT C/items/a', { attributes: { n: 1 } }, 201],
    ['PUT C/items/b', { attributes: { n: 1 } }, 201],
    [
      'POST P/batch',
      {
        atomic: false,
        ops: [
          { op: 'put', collection: 'things', key: 'b', attributes: { n: 'two' } },
          {
            op: 'merge',
            collection: '_dictionary',
            key: 'things',
            attributes: { indexes: [{ attribute: 'n', unique: true }] },
          },
        ],
      },
      200,
      { results: [{ status: 422 }, { status: 409, problem: { code: 'dataViolatesSchema' } }] },
    ],
    [
      'POST P/batch',
      {
        atomic: false,
        ops: [
          { op: 'put', collection: 'things', key: 'b', attributes: { n: 2 } },
          {
            op: 'merge',
            collection: '_dictionary',
            key: 'things',
            attributes: { indexes: [{ attribute: 'n', unique: true }] },
          },
          { op: 'put', collection: 'things', key: 'c', attributes: { n: 1 } },
        ],
      },
      200,
      { results: [{ status: 200 }, { status: 409, problem: { code: 'dataViolatesSchema' } }, { status: 201 }] },
    ],
    ['GET C', undefined, 200, { items: 3, indexes: [] }],
  ],
  [
    'a batch that isn’t atomic may say something else of a collection twice',
    [`PUT ${ENTRY}`, { attributes: { schema: { properties: { n: { type: 'string' } } } } }, 201],
    [
      'POST P/batch',
      {
        atomic: false,
        ops: [
          { op: 'put', collection: '_dictionary', key: 'things', attributes: { schema: numbers() } },
          { op: 'put', collection: 'things', key: 'a', attributes: { n: 1 } },
          {
            op: 'put',
            collection: '_dictionary',
            key: 'things',
            attributes: { schema: { properties: { n: { type: 'string' } } } },
          },
        ],
      },
      200,
      { results: [{ status: 200 }, { status: 201 }, { status: 409, problem: { code: 'dataViolatesSchema' } }] },
    ],
    [`GET ${ENTRY}`, undefined, 200, { attributes: { schema: numbers() } }],
  ],
  [
    'a dry run judges a definition and its items, and leaves nothing',
    ['PUT C/items/a', { attributes: { n: 'text' } }, 201],
    [
      'POST P/batch',
      {
        dryRun: true,
        ops: [{ op: 'put', collection: '_dictionary', key: 'things', attributes: { schema: numbers() } }],
      },
      409,
      { code: 'dataViolatesSchema', count: 1 },
    ],
    [
      'POST P/batch',
      {
        dryRun: true,
        ops: [
          { op: 'put', collection: 'things', key: 'a', attributes: { n: 1 } },
          { op: 'put', collection: '_dictionary', key: 'things', attributes: { schema: numbers(), indexes: ['n'] } },
        ],
      },
      200,
      { results: [{ status: 200 }, { status: 200 }] },
    ],
    ['GET C', undefined, 200, { revision: 1, indexes: [] }],
    ['PUT C/items/b', { attributes: { n: 'text' } }, 201],
  ],
  [
    'the items that would break a definition are mended with it in one batch, or deleted',
    ['PUT C/items/a', { attributes: { n: 'text' } }, 201],
    ['PUT C/items/b', { attributes: { n: 'text' } }, 201],
    ['PUT C/items/c', { attributes: { n: 1 } }, 201],
    [
      'POST P/batch',
      {
        ops: [
          { op: 'put', collection: '_dictionary', key: 'things', attributes: { schema: numbers() } },
          { op: 'put', collection: 'things', key: 'a', attributes: { n: 2 } },
        ],
      },
      409,
      { code: 'dataViolatesSchema', count: 1, offenders: [{ key: 'b' }], errors: [{ index: 0 }] },
    ],
    [
      'POST P/batch',
      {
        ops: [
          { op: 'put', collection: '_dictionary', key: 'things', attributes: { schema: numbers() } },
          { op: 'put', collection: 'things', key: 'a', attributes: { n: 2 } },
          { op: 'delete', collection: 'things', key: 'b' },
        ],
      },
      200,
      { revision: 4 },
    ],
  ],
  [
    'a definition that checks as before isn’t checked again, whatever else it says',
    ['PUT C/items/a', { attributes: { n: 'text' } }, 201],
    [`PUT ${ENTRY}`, { attributes: { mode: 'warn', schema: numbers() } }, 200],
    [`PATCH ${ENTRY}`, { attributes: { title: 'Things', indexes: ['n'] } }, 200],
    [`PATCH ${ENTRY}`, { attributes: { mode: 'strict' } }, 409, { code: 'dataViolatesSchema' }],
    [`PATCH ${ENTRY}`, { attributes: { mode: 'open' } }, 200],
  ],
];

describe.each(databases)('entries of the dictionary on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });

  it.each(rowsOf(stories))('%s', (_, steps) => new Scenario(server).play(steps));

  it.each(bad.map(([says, attributes, ...pointers]) => ({ says, attributes, pointers })))(
    'refuses $says, and nothing of it is applied',
    async ({ attributes, pointers }) => {
      const scenario = new Scenario(server);
      await scenario.calls([`PUT ${ENTRY}`, { attributes: { title: 'As it was' } }]);
      const answer = await scenario.refused(422, 'invalid', `PUT ${ENTRY}`, { attributes });
      if (pointers.length > 0) expect(pointersOf(answer)).toEqual(expect.arrayContaining([...pointers]));
      else expect(pointersOf(answer)[0]).toMatch(/^\/attributes\/schema/);
      const ops = [
        { op: 'put', collection: 'things', key: 'a', attributes: {} },
        { op: 'put', collection: '_dictionary', key: 'more', attributes },
      ];
      const batch = await scenario.refused(422, 'invalid', 'POST P/batch', { ops });
      expect(pointersOf(batch)).toEqual(pointersOf(answer).map((pointer) => `/ops/1${pointer}`));
      expect((await scenario.call(`GET ${ENTRY}`)).body.attributes).toEqual({ title: 'As it was' });
    },
  );

  it.each([
    ['of the system', '_locks'],
    ['with a blank', 'a b'],
    ['that is too long', 'x'.repeat(129)],
  ])('refuses an entry under a name %s', async (_, key) => {
    const scenario = new Scenario(server);
    await scenario.refused(400, 'invalidName', `PUT ${D}/${encodeURIComponent(key)}`, { attributes: {} });
  });

  it('tells watchers and the change log of entries, as of any item', async () => {
    const scenario = new Scenario(server);
    await scenario.calls([`PUT ${ENTRY}`, { attributes: { title: 'One' } }]);
    const stream = await scenario.watch('P/collections/_dictionary/attach?values=full');
    const snapshot = await stream.next(({ event }) => event === 'snapshot');
    expect(snapshot.data.items).toMatchObject([{ key: 'things', attributes: { title: 'One' } }]);
    await stream.next(({ event }) => event === 'live');
    await scenario.calls([`PATCH ${ENTRY}`, { attributes: { title: 'Two', mode: 'warn' } }]);
    await scenario.refused(422, 'invalid', `PATCH ${ENTRY}`, { attributes: { mode: 'lax' } });
    await scenario.calls([`DELETE ${ENTRY}`]);
    const told = [await stream.next(), await stream.next()];
    expect(told.map(({ data }) => [data.revision, data.changes])).toMatchObject([
      [2, [{ op: 'change', key: 'things', changed: ['title', 'mode'], previous: { title: 'One' } }]],
      [3, [{ op: 'delete', key: 'things' }]],
    ]);
    stream.close();
    const { body } = await scenario.calls(['GET P/changes?collection=_dictionary']);
    expect(body.commits.map(({ changes }: { changes: { op: string }[] }) => changes.map(({ op }) => op))).toEqual([
      ['add'],
      ['change'],
      ['delete'],
    ]);
  });

  it('takes entries by import, each line for itself', async () => {
    const scenario = new Scenario(server);
    const line = (collection: string, key: string, attributes: object) =>
      `${JSON.stringify({ collection, key, attributes })}\n`;
    const body = [
      line('_dictionary', 'things', { schema: numbers() }),
      line('_dictionary', 'other', { mode: 'lax' }),
      line('things', 'a', { n: 'text', m: 1 }),
      line('things', 'b', { n: 1 }),
      line('_dictionary', 'things', { schema: numbers('m') }),
      line('_dictionary', 'things', { schema: { properties: { n: { type: 'string' } } } }),
    ].join('');
    const response = await fetch(`${server.url}${scenario.path('P/import')}`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body,
    });
    const { lines } = await readLines(response);
    const refused = lines.filter(({ problem }) => problem);
    expect(refused.map((each) => [each.line, each.problem.code])).toEqual([
      [2, 'invalid'],
      [3, 'schemaViolation'],
      [6, 'dataViolatesSchema'],
    ]);
    expect(refused[1].problem.errors).toMatchObject([{ pointer: '/attributes/n', code: 'schemaViolation' }]);
    expect(lines.at(-1)).toMatchObject({ done: true, applied: 3, refused: 3 });
    expect((await scenario.call(`GET ${ENTRY}`)).body.attributes).toEqual({ schema: numbers('m') });
  });

  it('counts every item that would break a definition, and names the first', async () => {
    const scenario = new Scenario(server);
    const ops = Array.from({ length: 40 }, (_, i) => ({
      op: 'put',
      collection: 'things',
      key: `k${String(i).padStart(2, '0')}`,
      attributes: { n: i < 5 ? i : 'text', m: i < 7 ? 1 : null },
    }));
    await scenario.calls(['POST P/batch', { ops }]);
    const schema = { ...numbers(), required: ['m'] };
    const answer = await scenario.refused(409, 'dataViolatesSchema', `PATCH ${ENTRY}`, { attributes: { schema } });
    expect(answer.body.count).toBe(35);
    expect(answer.body.offenders).toHaveLength(20);
    expect(answer.body.offenders[0]).toMatchObject({
      collection: 'things',
      key: 'k05',
      errors: [{ pointer: '/attributes/n' }],
    });
    expect(answer.body.offenders[2].errors.map(({ pointer }: { pointer: string }) => pointer).sort()).toEqual([
      '/attributes/m',
      '/attributes/n',
    ]);
    expect(answer.body.errors.length).toBeLessThanOrEqual(40);
    expect(answer.body.detail).toContain('35');
    // The mode `warn` takes it, and tells of items as they are written.
    await scenario.calls([`PATCH ${ENTRY}`, { attributes: { schema, mode: 'warn' } }]);
    const warned = await scenario.calls(['PATCH C/items/k09', { attributes: { more: 1 } }]);
    expect(warned.body.warnings).toHaveLength(2);
  });

  it('looks at the items that a batch adds to a large collection, before the definition and after it', async () => {
    const scenario = new Scenario(server);
    const add = (key: string, n: unknown) => ({ op: 'put', collection: 'things', key, attributes: { n } });
    const defineNumbers = { op: 'put', collection: '_dictionary', key: 'things', attributes: { schema: numbers() } };
    for (let from = 0; from < 2500; from += 500)
      await scenario.calls(['POST P/batch', { ops: Array.from({ length: 500 }, (_, i) => add(`k${from + i}`, i)) }]);
    const refused = { ops: [add('new', 'text'), defineNumbers] };
    await scenario.refused(409, 'dataViolatesSchema', 'POST P/batch', refused);
    const { body } = await scenario.calls(['POST P/batch', { ...refused, atomic: false }]);
    expect(body.results).toMatchObject([{ status: 201 }, { status: 409, problem: { count: 1 } }]);
    await scenario.calls(['DELETE C/items/new']);
    const second = { atomic: false, ops: [defineNumbers, add('new', 'text'), add('k1', 7)] };
    expect((await scenario.calls(['POST P/batch', second])).body.results).toMatchObject([
      { status: 200 },
      { status: 422 },
      { status: 200 },
    ]);
    expect((await scenario.calls(['GET C'])).body.items).toBe(2500);
  });

  it('gives the same answer under the same Idempotency-Key, and judges a refusal anew', async () => {
    const scenario = new Scenario(server);
    const headers = { 'idempotency-key': 'once' };
    await scenario.fill({ a: { n: 'text' } });
    const strict = { attributes: { schema: numbers() } };
    await scenario.refused(409, 'dataViolatesSchema', `PUT ${ENTRY}`, strict, headers);
    await scenario.fill({ a: { n: 1 } });
    const first = await scenario.calls([`PUT ${ENTRY}`, strict, headers]);
    const again = await scenario.calls([`PUT ${ENTRY}`, strict, headers]);
    expect(again.body).toEqual(first.body);
    expect(again.headers['idempotency-replayed']).toBe('true');
    await scenario.refused(422, 'idempotencyKeyReused', `PUT ${ENTRY}`, { attributes: {} }, headers);
  });

  it('refuses what a hostile rule makes endless, in bounded time, and answers others meanwhile', async () => {
    const scenario = new Scenario(server);
    const others = new Scenario(server);
    const loops = 'self.l.all(a, self.l.all(b, self.l.all(c, self.l.all(d, a + b + c + d < 1000000.0))))';
    await scenario.calls([`PUT ${ENTRY}`, { attributes: { rules: [{ rule: loops }] } }]);
    await others.calls(['PUT C/items/a', { attributes: { n: 0 } }]);
    const l = Array.from({ length: 500 }, (_, i) => i);
    const hostile = Array.from({ length: 5 }, (_, i) => scenario.call(`PUT C/items/k${i}`, { attributes: { l } }));
    for (let n = 1; n <= 20; n++) await others.calls(['POST C/items/a/increment', { attribute: 'n', by: 1 }]);
    for (const answer of await Promise.all(hostile)) {
      expectProblem(answer, 422, 'schemaViolation');
      expect(answer.body.detail).toMatch(/costs more than/);
    }
    // A batch of them is refused as a whole before it holds up all others.
    const ops = Array.from({ length: 100 }, (_, i) => ({
      op: 'put',
      collection: 'things',
      key: `k${i}`,
      attributes: { l },
    }));
    const batch = await scenario.call('POST P/batch', { atomic: false, ops });
    expect(batch.status === 413 || batch.body.results.every(({ status }: { status: number }) => status >= 400)).toBe(
      true,
    );
    expect(await scenario.attributes('k0')).toBeUndefined();
  });
});
