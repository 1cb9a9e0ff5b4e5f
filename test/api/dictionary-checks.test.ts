/**
 * What an entry of the dictionary does to the writes of its collection: modes, violations at every way of writing, transforms,
 * rules, and the order in which they come.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { readLines } from '../support/ndjson.js';
import { pointersOf, rowsOf, Scenario, type Story } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const ENTRY = 'P/collections/_dictionary/items/things';
const define = (attributes: object) => [`PUT ${ENTRY}`, { attributes }, 201] as const;

const schema = {
  required: ['name'],
  properties: { name: { type: 'string' }, n: { type: 'number', maximum: 10 }, list: { maxItems: 2 } },
};
const at = (...pointers: string[]) => ({
  code: 'schemaViolation',
  errors: pointers.map((pointer) => ({ pointer, code: 'schemaViolation' })),
});
const unwarned = expect.not.objectContaining({ warnings: expect.anything() }) as object;
const unsized = { attributes: expect.not.objectContaining({ size: expect.anything() }) as object };
const put = (key: string, attributes: object, collection = 'things') => ({ op: 'put', collection, key, attributes });

const modes: readonly Story[] = [
  [
    'open: nothing is enforced or told',
    define({ mode: 'open', schema, rules: [{ rule: 'false' }] }),
    ['PUT C/items/a', { attributes: { n: 11 } }, 201, unwarned],
  ],
  [
    'warn: violations are told, and the item is kept',
    define({ mode: 'warn', schema }),
    [
      'PUT C/items/a',
      { attributes: { n: 11 } },
      201,
      {
        changed: ['n'],
        warnings: [
          { pointer: '/attributes/name', code: 'schemaViolation' },
          { pointer: '/attributes/n', code: 'schemaViolation' },
        ],
      },
    ],
    ['PATCH C/items/a', { attributes: { name: 'A' } }, 200, { warnings: [{ pointer: '/attributes/n' }] }],
    ['PUT C/items/a/attributes/n', { value: 12 }, 200, { warnings: [{ pointer: '/attributes/n' }] }],
    ['POST C/items/a/increment', { attribute: 'n', by: 1 }, 200, { warnings: [{ pointer: '/attributes/n' }] }],
    [
      'POST P/batch',
      { ops: [put('b', { name: 'B' }), put('a', { name: 'A', n: 14 })] },
      200,
      { results: [unwarned, { warnings: [{ pointer: '/attributes/n' }] }] },
    ],
    [
      'POST P/batch',
      { atomic: false, ops: [put('b', { n: 1 }), put('a', { name: 'A' })] },
      200,
      {
        results: [{ status: 200, warnings: [{ pointer: '/attributes/name' }] }, unwarned],
      },
    ],
    ['GET C/items/b', undefined, 200, { attributes: { n: 1 } }],
  ],
  [
    'warn: what fails in a transform is refused all the same',
    define({ mode: 'warn', transforms: [{ attribute: 'm', expression: 'self.none' }] }),
    ['PUT C/items/a', { attributes: {} }, 422, at('/attributes/m')],
  ],
  [
    'strict: violations are refused, all of them told',
    define({ mode: 'strict', schema }),
    ['PUT C/items/a', { attributes: { n: 11, list: [1, 2, 3] } }, 422],
    ['GET C/items/a', undefined, 404],
    ['PUT C/items/a', { attributes: { name: 'A', n: 10 } }, 201, unwarned],
  ],
  [
    'without a mode: strict where there is a schema',
    define({ schema }),
    ['PUT C/items/a', { attributes: {} }, 422, at('/attributes/name')],
  ],
  [
    'without a mode: strict where there is a rule',
    define({ rules: [{ rule: 'has(self.name)', message: 'A thing has a name', pointer: '/name' }] }),
    ['PUT C/items/a', { attributes: {} }, 422, at('/attributes/name')],
    ['PUT C/items/a', { attributes: { name: '' } }, 201],
  ],
  [
    'without a mode: open where there is neither',
    define({ title: 'T', indexes: ['n'] }),
    ['PUT C/items/a', { attributes: {} }, 201],
  ],
];

/** Each begins with the item `a` of {name: 'A', n: 10, list: [1, 2]}. */
const refusals: readonly [
  says: string,
  line: string,
  body: unknown,
  wanted: object,
  headers?: Record<string, string>,
][] = [
  ['a put', 'PUT C/items/a', { attributes: { n: 11 } }, at('/attributes/name', '/attributes/n')],
  ['a post', 'POST C/items', { attributes: { n: 'x' } }, at('/attributes/name', '/attributes/n')],
  ['a patch', 'PATCH C/items/a', { attributes: { name: null } }, at('/attributes/name')],
  ['a patch that makes an item', 'PATCH C/items/new', { attributes: { n: 1 } }, at('/attributes/name')],
  [
    'a JSON patch',
    'PATCH C/items/a',
    [
      { op: 'add', path: '/attributes/list/-', value: 3 },
      { op: 'remove', path: '/attributes/name' },
    ],
    at('/attributes/name', '/attributes/list'),
    { 'content-type': 'application/json-patch+json' },
  ],
  ['an attribute that is put', 'PUT C/items/a/attributes/name', { value: 7 }, at('/attributes/name')],
  ['an attribute of a new item', 'PUT C/items/new/attributes/n', { value: 7 }, at('/attributes/name')],
  ['an attribute that is removed', 'DELETE C/items/a/attributes/name', undefined, at('/attributes/name')],
  ['an increment', 'POST C/items/a/increment', { attribute: 'n', by: 1 }, at('/attributes/n')],
  ['an increment of a new item', 'POST C/items/new/increment', { attribute: 'n', by: 1 }, at('/attributes/name')],
  [
    'a batch, at its op',
    'POST P/batch',
    { ops: [put('b', { name: 'B' }), put('c', { n: 11 }), put('d', {})] },
    {
      code: 'schemaViolation',
      errors: [
        { pointer: '/ops/1/attributes/name', index: 1, code: 'schemaViolation' },
        { pointer: '/ops/1/attributes/n', index: 1, code: 'schemaViolation' },
      ],
    },
  ],
  [
    'a batch, at the last op on an item',
    'POST P/batch',
    {
      ops: [
        { op: 'increment', collection: 'things', key: 'a', attribute: 'n', by: 1 },
        put('b', { name: 'B' }),
        { op: 'append', collection: 'things', key: 'a', attribute: 'list', value: 3 },
      ],
    },
    {
      code: 'schemaViolation',
      errors: [
        { pointer: '/ops/2/attributes/n', index: 2 },
        { pointer: '/ops/2/attributes/list', index: 2 },
      ],
    },
  ],
  [
    'a batch of one',
    'POST P/batch',
    { ops: [{ op: 'unset', collection: 'things', key: 'a', names: ['name'] }] },
    { code: 'schemaViolation' },
  ],
  [
    'a dry run',
    'POST P/batch',
    { dryRun: true, ops: [put('b', { name: 'B' }), put('c', { n: 11 })] },
    { code: 'schemaViolation' },
  ],
];

const stories: readonly Story[] = [
  [
    'what ops of one batch do together is judged, not each by itself',
    define({ schema }),
    ['PUT C/items/a', { attributes: { name: 'A', n: 10 } }, 201],
    [
      'POST P/batch',
      {
        ops: [
          { op: 'unset', collection: 'things', key: 'a', names: ['name'] },
          { op: 'increment', collection: 'things', key: 'a', attribute: 'n', by: 5 },
          { op: 'merge', collection: 'things', key: 'a', attributes: { name: 'B', n: 9 } },
        ],
      },
      200,
    ],
    ['GET C/items/a', undefined, 200, { attributes: { name: 'B', n: 9 } }],
  ],
  [
    'ops that aren’t atomic are each for itself',
    define({ schema }),
    ['PUT C/items/a', { attributes: { name: 'A', n: 9 } }, 201],
    [
      'POST P/batch',
      {
        atomic: false,
        ops: [
          { op: 'increment', collection: 'things', key: 'a', attribute: 'n', by: 1 },
          { op: 'increment', collection: 'things', key: 'a', attribute: 'n', by: 1 },
          put('b', {}),
          put('c', { name: 'C' }),
          { op: 'increment', collection: 'things', key: 'a', attribute: 'n', by: -3 },
        ],
      },
      200,
      {
        revision: 3,
        results: [
          { index: 0, status: 200, value: 10 },
          { index: 1, status: 422, problem: { code: 'schemaViolation', errors: [{ pointer: '/attributes/n' }] } },
          { index: 2, status: 422, problem: { code: 'schemaViolation', errors: [{ pointer: '/attributes/name' }] } },
          { index: 3, status: 201 },
          { index: 4, status: 200, value: 7 },
        ],
      },
    ],
    ['GET C/items/b', undefined, 404],
  ],
  [
    'deletions are never refused by a schema',
    define({ schema, rules: [{ rule: 'old.n == 1.0' }] }),
    ['PUT C/items/a', { attributes: { name: 'A' } }, 201],
    ['DELETE C/items/a', undefined, 200, { existed: true }],
  ],
  [
    'an item that is as it was isn’t judged',
    ['PUT C/items/a', { attributes: {} }, 201],
    [`PUT ${ENTRY}`, { attributes: { mode: 'warn', schema } }, 200],
    ['PUT C/items/a', { attributes: {} }, 200, { changed: [] }],
  ],
  ['collections beside it are free', define({ schema }), ['PUT P/collections/other/items/a', { attributes: {} }, 201]],

  // Transforms.
  [
    'transforms run on a write, in order, each on what those before it made',
    define({
      transforms: [
        { attribute: 'mail', kind: 'normalize', expression: 'self.mail.trim().lowerAscii()' },
        { attribute: 'status', kind: 'default', expression: '"new"' },
        { attribute: 'label', expression: 'self.status + ":" + (has(self.mail) ? self.mail : "none")' },
      ],
    }),
    ['PUT C/items/a', { attributes: { mail: '  A@B.EXAMPLE ' } }, 201, { changed: ['mail', 'status', 'label'] }],
    ['GET C/items/a', undefined, 200, { attributes: { mail: 'a@b.example', status: 'new', label: 'new:a@b.example' } }],
    ['PATCH C/items/a', { attributes: { mail: null, status: 'paid', label: 'mine' } }, 200],
    ['GET C/items/a', undefined, 200, { attributes: { status: 'paid', label: 'paid:none' } }],
    ['PUT C/items/a/attributes/mail', { value: 'X@Y' }, 200],
    ['GET C/items/a/attributes/label', undefined, 200, { value: 'paid:x@y' }],
    ['DELETE C/items/a/attributes/status', undefined, 200],
    ['GET C/items/a', undefined, 200, { attributes: { mail: 'x@y', status: 'new', label: 'new:x@y' } }],
  ],
  [
    'a transform counts, and knows what the item was',
    define({
      transforms: [
        { attribute: 'changes', expression: 'old == null ? 0 : old.changes + 1' },
        { attribute: 'gone', expression: 'null' },
      ],
    }),
    ['PUT C/items/a', { attributes: { gone: 1, changes: 100 } }, 201],
    ['GET C/items/a', undefined, 200, { attributes: { changes: 0 } }],
    ['PUT C/items/a', { attributes: { x: 1 } }, 200],
    ['POST C/items/a/increment', { attribute: 'x', by: 1 }, 200, { value: 2 }],
    ['GET C/items/a', undefined, 200, { attributes: { x: 2, changes: 2 } }],
  ],
  [
    'a write whose transforms bring everything back changes nothing',
    define({ transforms: [{ attribute: 'n', expression: '1' }] }),
    ['PUT C/items/a', { attributes: {} }, 201, { revision: 2 }],
    ['PATCH C/items/a', { attributes: { n: 7 } }, 200, { revision: 2, changed: [] }],
  ],
  [
    'first the transforms, then the schema',
    define({
      schema: { required: ['n'], properties: { n: { type: 'number' }, name: { type: 'string' } } },
      transforms: [
        { attribute: 'n', kind: 'default', expression: '1' },
        { attribute: 'name', expression: 'has(self.bad) ? self.bad : "fine"' },
      ],
    }),
    ['PUT C/items/a', { attributes: {} }, 201],
    ['PUT C/items/b', { attributes: { name: 7 } }, 201],
    ['PUT C/items/c', { attributes: { bad: true } }, 422, at('/attributes/name')],
  ],
  [
    'then the rules, where the schema holds',
    define({
      schema: { properties: { n: { type: 'number' } } },
      rules: [
        { rule: 'self.n > 1', pointer: '/n', message: 'More than one' },
        { rule: 'self.n < 1', messageExpression: '"not " + string(self.n)' },
      ],
    }),
    [
      'PUT C/items/a',
      { attributes: { n: 'x' } },
      422,
      { errors: [{ pointer: '/attributes/n', detail: expect.stringContaining('number') }] },
    ],
    [
      'PUT C/items/a',
      { attributes: { n: 1 } },
      422,
      {
        errors: [
          { pointer: '/attributes/n', detail: 'More than one' },
          { pointer: '/attributes', detail: 'not 1' },
        ],
      },
    ],
    ['PUT C/items/a', { attributes: {} }, 422, { errors: [{}, {}] }],
  ],
  [
    'a rule of transitions is asked only when the item was there',
    define({
      rules: [
        {
          rule: 'old.status != "sent" || self.status == "sent"',
          message: 'what is sent stays sent',
          pointer: '/status',
        },
      ],
    }),
    ['PUT C/items/a', { attributes: { status: 'new' } }, 201],
    ['PUT C/items/a/attributes/status', { value: 'sent' }, 200],
    ['PUT C/items/a/attributes/status', { value: 'new' }, 422, { errors: [{ detail: 'what is sent stays sent' }] }],
    ['PATCH C/items/a', { attributes: { note: 'x' } }, 200],
    [
      'POST P/batch',
      {
        ops: [
          { op: 'merge', collection: 'things', key: 'a', attributes: { status: 'new' } },
          { op: 'merge', collection: 'things', key: 'a', attributes: { status: 'sent', x: 1 } },
        ],
      },
      200,
    ],
    // Judged as one: what it was before the batch counts, not what an op between made of it.
    [
      'POST P/batch',
      {
        ops: [
          { op: 'merge', collection: 'things', key: 'b', attributes: { status: 'sent' } },
          { op: 'merge', collection: 'things', key: 'b', attributes: { status: 'new' } },
        ],
      },
      200,
    ],
    ['DELETE C/items/a', undefined, 200],
    ['PUT C/items/a', { attributes: { status: 'new' } }, 201],
  ],
  [
    'transforms that are refused because they take long are charged to their command all the same',
    define({ transforms: [{ attribute: 'm', expression: 'self.list.all(x, self.list.all(y, true))' }] }),
    [
      'POST P/batch',
      { atomic: false, ops: Array.from({ length: 6 }, (_, i) => put(`k${i}`, { list: Array(1000).fill(i) })) },
      200,
      {
        results: [
          { problem: at('/attributes/m') },
          { problem: at('/attributes/m') },
          { problem: at('/attributes/m') },
          { problem: at('/attributes/m') },
          { status: 413, problem: { code: 'tooLarge' } },
          { status: 413, problem: { code: 'tooLarge' } },
        ],
      },
    ],
    ['GET C/items', undefined, 200, { items: [] }],
  ],
  [
    'one test of a pattern that would take more than a command may: the item is told, at its place',
    define({ schema: { properties: { s: { pattern: '[ab]*a[ab]{400}[cd]' } } } }),
    [
      'PUT C/items/a',
      { attributes: { s: 'ab'.repeat(50_000) } },
      422,
      { code: 'schemaViolation', errors: [{ pointer: '/attributes' }] },
    ],
    ['GET C/items/a', undefined, 404],
  ],
  [
    'transforms on read that take long for a whole page: it is refused, and a smaller one is not',
    define({
      transforms: [
        { attribute: 'size', on: 'read', expression: 'self.list.filter(x, self.list.exists(y, y < 0)).size()' },
      ],
    }),
    ['POST P/batch', { ops: Array.from({ length: 45 }, (_, i) => put(`k${i}`, { list: Array(800).fill(i) })) }, 200],
    ['GET C/items', undefined, 413, { code: 'tooLarge', detail: expect.stringMatching(/smaller `limit`/) }],
    ['GET C/items?limit=3', undefined, 200, { items: [unsized, unsized, unsized] }],
    ['GET C/items/k0', undefined, 200, unsized],
  ],
  [
    'a transform on read is seen by those who ask, and stored nowhere',
    define({
      transforms: [
        { attribute: 'full', on: 'read', expression: 'self.first + " " + self.last' },
        { attribute: 'secret', on: 'read', kind: 'normalize', expression: '"…"' },
        { attribute: 'fails', on: 'read', expression: 'self.none' },
      ],
    }),
    ['PUT C/items/a', { attributes: { first: 'Ada', last: 'L', secret: 'x', fails: 1 } }, 201],
    [
      'GET C/items/a',
      undefined,
      200,
      { attributes: { first: 'Ada', last: 'L', secret: '…', full: 'Ada L' }, revision: 2 },
    ],
    ['GET C/items/a?fields=full', undefined, 200, { attributes: { full: 'Ada L' } }],
    ['GET C/items/a/attributes/full', undefined, 200, { value: 'Ada L' }],
    ['GET C/items/a/attributes/fails', undefined, 404],
    ['GET C/items', undefined, 200, { items: [{ attributes: { full: 'Ada L', secret: '…' } }] }],
    ['POST C/query', { where: { secret: 'x' } }, 200, { items: [{ attributes: { full: 'Ada L', secret: '…' } }] }],
    ['POST C/query', { where: { full: 'Ada L' } }, 200, { items: [] }],
    ['PATCH C/items/a', { attributes: { n: 1 } }, 200, { changed: ['n'] }],
    [
      'GET P/changes?values=full&collection=things',
      undefined,
      200,
      {
        commits: [
          { changes: [{ attributes: { first: 'Ada', last: 'L', secret: 'x', fails: 1 } }] },
          { changes: [{ attributes: { first: 'Ada', last: 'L', secret: 'x', fails: 1, n: 1 } }] },
        ],
      },
    ],
  ],
];

describe.each(databases)('checks by the dictionary on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });

  it.each(rowsOf(modes))('%s', (_, steps) => new Scenario(server).play(steps));
  it.each(rowsOf(stories))('%s', (_, steps) => new Scenario(server).play(steps));

  it.each(refusals)('refuse %s', async (_, line, body, wanted, headers) => {
    const scenario = new Scenario(server);
    const item = { name: 'A', n: 10, list: [1, 2] };
    await scenario.calls([`PUT ${ENTRY}`, { attributes: { schema } }], ['PUT C/items/a', { attributes: item }]);
    const answer = await scenario.refused(422, 'schemaViolation', line, body, headers);
    const { errors } = wanted as { errors?: { pointer: string }[] };
    expect(answer.body).toMatchObject(
      errors
        ? { ...wanted, errors: expect.arrayContaining(errors.map((each) => expect.objectContaining(each))) }
        : wanted,
    );
    if (errors) expect(pointersOf(answer)).toHaveLength(errors.length);
    expect(await scenario.attributes('a')).toEqual(item);
  });

  it('tell at most twenty violations of one item', async () => {
    const scenario = new Scenario(server);
    await scenario.calls([
      `PUT ${ENTRY}`,
      { attributes: { schema: { required: Array.from({ length: 50 }, (_, i) => `a${i}`) } } },
    ]);
    const answer = await scenario.refused(422, 'schemaViolation', 'PUT C/items/a', { attributes: {} });
    expect(pointersOf(answer)).toHaveLength(20);
  });

  it('refuse lines of an import one by one, and transform the others', async () => {
    const scenario = new Scenario(server);
    const transforms = [{ attribute: 'upper', kind: 'compute', expression: 'self.name.upperAscii()' }];
    await scenario.calls([`PUT ${ENTRY}`, { attributes: { schema, transforms } }]);
    const items: [string, object][] = [
      ['a', { name: 'a' }],
      ['b', { name: 'b', n: 11 }],
      ['c', { n: 1 }],
      ['a', { name: 'x' }],
      ['a', { name: 'y', n: 11 }],
    ];
    const body = items.map(([key, attributes]) => `${JSON.stringify({ collection: 'things', key, attributes })}\n`);
    const response = await fetch(`${server.url}${scenario.path('P/import')}`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body: body.join(''),
    });
    const { lines } = await readLines(response);
    const refused = lines.filter(({ problem }) => problem);
    expect(refused.map((each) => [each.line, each.problem.code, pointersOf({ body: each.problem } as never)])).toEqual([
      [2, 'schemaViolation', ['/attributes/n']],
      [3, 'schemaViolation', ['/attributes/upper']],
      [5, 'schemaViolation', ['/attributes/n']],
    ]);
    expect(lines.at(-1)).toMatchObject({ done: true, applied: 2, refused: 3 });
    expect((await scenario.calls(['GET C/items'])).body.items).toMatchObject([
      { key: 'a', attributes: { name: 'x', upper: 'X' } },
    ]);
  });

  it('tell warnings of an import’s lines', async () => {
    const scenario = new Scenario(server);
    await scenario.calls([`PUT ${ENTRY}`, { attributes: { mode: 'warn', schema } }]);
    const lines = ['a', 'b'].map((key) => ({
      collection: 'things',
      key,
      attributes: { name: key, n: key === 'a' ? 11 : 1 },
    }));
    const response = await fetch(`${server.url}${scenario.path('P/import')}`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body: lines.map((line) => `${JSON.stringify(line)}\n`).join(''),
    });
    const told = (await readLines(response)).lines;
    expect(told.filter(({ warnings }) => warnings)).toMatchObject([
      { line: 1, collection: 'things', key: 'a', warnings: [{ pointer: '/attributes/n', code: 'schemaViolation' }] },
    ]);
    expect(told.at(-1)).toMatchObject({ done: true, applied: 2, refused: 0 });
  });

  it('hold for everyone who writes at the same time', async () => {
    const scenario = new Scenario(server);
    await scenario.calls(
      [`PUT ${ENTRY}`, { attributes: { schema } }],
      ['PUT C/items/a', { attributes: { name: 'A', n: 0 } }],
    );
    const answers = await Promise.all(
      Array.from({ length: 30 }, () => scenario.call('POST C/items/a/increment', { attribute: 'n', by: 1 })),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(10);
    expect(answers.filter(({ status }) => status === 422)).toHaveLength(20);
    expect(await scenario.attributes('a')).toEqual({ name: 'A', n: 10 });
  });
});
