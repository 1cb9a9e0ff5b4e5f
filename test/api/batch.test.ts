/** Batches: many operations as one commit, all or nothing; the first failure is named and leaves no trace. */
import { beforeAll, describe, expect, it } from 'vitest';
import { pointersOf, rowsOf, Scenario, type Story } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const op = (name: string, key: string, members: object = {}) => ({ op: name, collection: 'things', key, ...members });
const put = (key: string, attributes: object, members: object = {}) => op('put', key, { attributes, ...members });

describe.each(databases)('batches on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });

  it('every op has its effect, and all of them one revision', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({
      a: { x: 1, y: { z: 1 } },
      b: {},
      c: { x: 1, y: 2 },
      d: { n: 1 },
      e: { list: [1] },
      f: { list: [1, { q: 1 }, 1] },
    });
    const { body, headers } = await scenario.calls([
      'POST P/batch',
      {
        ops: [
          put('a', { x: 2 }),
          op('merge', 'a', { attributes: { y: { w: 1 }, x: null } }),
          op('delete', 'b'),
          op('unset', 'c', { names: ['x', 'nowhere'] }),
          op('increment', 'd', { attribute: 'n', by: 5, min: 0, max: 6 }),
          op('append', 'e', { attribute: 'list', value: [2] }),
          op('append', 'e2', { attribute: 'list', value: null }),
          op('remove', 'f', { attribute: 'list', value: 1 }),
          op('remove', 'f', { attribute: 'list', value: { q: 1 } }),
          op('create', 'g', { attributes: { x: 1 } }),
          { op: 'create', collection: 'others', attributes: { x: 2 } },
        ],
      },
    ]);
    expect(body.revision).toBe(7);
    expect(body.cursor).toBe(headers['stargus-cursor']);
    expect(headers['stargus-revision']).toBe('7');
    const result = (index: number, status: number, key: string, changed: string[], more: object = {}) => ({
      index,
      status,
      key,
      changed,
      revision: 7,
      collection: 'things',
      ...more,
    });
    expect(body.results).toEqual([
      result(0, 200, 'a', ['x', 'y']),
      result(1, 200, 'a', ['y', 'x']),
      result(2, 200, 'b', []),
      result(3, 200, 'c', ['x']),
      result(4, 200, 'd', ['n'], { value: 6 }),
      result(5, 200, 'e', ['list']),
      result(6, 201, 'e2', ['list']),
      result(7, 200, 'f', ['list']),
      result(8, 200, 'f', ['list']),
      result(9, 201, 'g', ['x']),
      result(10, 201, expect.stringMatching(/^[0-9a-f-]{36}$/) as unknown as string, ['x'], { collection: 'others' }),
    ]);
    const { items } = (await scenario.calls(['GET C/items'])).body;
    expect(
      Object.fromEntries(items.map((item: { key: string; attributes: object }) => [item.key, item.attributes])),
    ).toEqual({
      a: { y: { w: 1 } },
      c: { y: 2 },
      d: { n: 6 },
      e: { list: [1, [2]] },
      e2: { list: [null] },
      f: { list: [] },
      g: { x: 1 },
    });
    const { commits } = (await scenario.calls(['GET P/changes?collection=things'])).body;
    expect(commits).toHaveLength(7);
    expect(commits[6].changes.map(({ key }: { key: string }) => key)).toEqual([
      'a',
      'b',
      'c',
      'd',
      'e',
      'e2',
      'f',
      'g',
    ]);
  });

  const stories: Story[] = [
    [
      'what cancels itself out commits nothing',
      ['PUT C/items/a', { attributes: { x: 1 } }, 201],
      [
        'POST P/batch',
        { ops: [put('a', { x: 2 }), put('a', { x: 1 }), put('b', {}), op('delete', 'b')] },
        200,
        { revision: 1, results: [{ revision: 1 }, { revision: 1 }, { status: 201 }, { status: 200 }] },
      ],
      ['GET P', undefined, 200, { revision: 1, items: 1 }],
    ],
    [
      'no ops are no commit',
      ['PUT P', undefined, 201],
      ['POST P/batch', { ops: [] }, 200, { revision: 0, results: [] }],
    ],
    [
      'ops see what the ones before them did',
      [
        'POST P/batch',
        {
          ops: [
            op('increment', 'a', { attribute: 'n', by: 1 }),
            op('increment', 'a', { attribute: 'n', by: 1 }),
            op('delete', 'a'),
            op('create', 'a', { attributes: { m: 1 } }),
          ],
        },
        200,
        { revision: 1 },
      ],
      ['GET C/items/a', undefined, 200, { attributes: { m: 1 }, revision: 1, createdRevision: 1 }],
    ],
    [
      'conditions on any item of the pool that hold',
      ['PUT C/items/a', { attributes: { x: 1 } }, 201],
      [
        'POST P/batch',
        {
          if: [
            { collection: 'things', key: 'a', revision: 1, exists: true },
            { collection: 'things', key: 'b', exists: false },
            { collection: 'never', key: 'c', revision: 0 },
          ],
          ops: [put('b', { y: 1 })],
        },
        200,
        { revision: 2 },
      ],
    ],
    [
      'an op-level condition is about the op’s own item, unless it names another',
      ['PUT C/items/a', { attributes: { x: 1 } }, 201],
      [
        'POST P/batch',
        {
          ops: [
            put('a', { x: 2 }, { if: { revision: 1 } }),
            put('b', {}, { if: [{ exists: false }, { key: 'a', exists: true }] }),
          ],
        },
        200,
        { revision: 2 },
      ],
      [
        'POST P/batch',
        { ops: [put('c', {}, { if: { collection: 'things', key: 'a', revision: 1 } })] },
        412,
        { code: 'preconditionFailed' },
      ],
      ['GET C/items/c', undefined, 404],
    ],
    [
      'a dry run answers as if for good and leaves no trace',
      ['PUT C/items/a', { attributes: { x: 1 } }, 201],
      [
        'POST P/batch',
        { dryRun: true, ops: [put('a', { x: 2 }), op('create', 'b', { attributes: { y: 1 } })] },
        200,
        {
          results: [
            { status: 200, changed: ['x'] },
            { status: 201, key: 'b', changed: ['y'] },
          ],
        },
      ],
      ['POST P/batch', { dryRun: true, ops: [op('create', 'a', { attributes: {} })] }, 409, { code: 'conflict' }],
      ['GET C/items/a', undefined, 200, { attributes: { x: 1 }, revision: 1 }],
      ['GET C/items/b', undefined, 404],
      ['GET P', undefined, 200, { revision: 1 }],
    ],
    [
      'a dry run makes no pool',
      ['POST P/batch', { dryRun: true, ops: [put('a', { x: 1 })] }, 200, { results: [{ status: 201 }] }],
      ['GET P', undefined, 404],
    ],
    [
      'not atomic: each op for itself, and those that hold are one commit',
      ['PUT C/items/a', { attributes: { x: 1 } }, 201],
      [
        'POST P/batch',
        {
          atomic: false,
          ops: [
            put('b', { y: 1 }),
            op('create', 'a', { attributes: {} }),
            op('increment', 'a', { attribute: 'x', by: 1 }),
            put('c', {}, { if: { exists: true } }),
            op('append', 'a', { attribute: 'x', value: 1 }),
          ],
        },
        200,
        {
          revision: 2,
          results: [
            { index: 0, status: 201, revision: 2 },
            {
              index: 1,
              status: 409,
              problem: { status: 409, code: 'conflict', detail: expect.any(String), retryable: false },
            },
            { index: 2, status: 200, revision: 2, value: 2 },
            { index: 3, status: 412, problem: { code: 'preconditionFailed' } },
            { index: 4, status: 422, problem: { code: 'invalid' } },
          ],
        },
      ],
      ['GET C/items/a', undefined, 200, { attributes: { x: 2 }, revision: 2 }],
      ['GET C/items/c', undefined, 404],
    ],
    [
      'not atomic, and nothing holds: no commit',
      ['PUT C/items/a', { attributes: {} }, 201],
      [
        'POST P/batch',
        { atomic: false, ops: [op('create', 'a', { attributes: { x: 1 } })] },
        200,
        { revision: 1, results: [{ status: 409 }] },
      ],
    ],
    [
      'not atomic, but the conditions of the whole are still of the whole',
      ['PUT C/items/a', { attributes: {} }, 201],
      [
        'POST P/batch',
        { atomic: false, if: [{ collection: 'things', key: 'a', exists: false }], ops: [put('b', {})] },
        412,
        { code: 'preconditionFailed', errors: [{ pointer: '/if/0' }] },
      ],
      ['GET C/items/b', undefined, 404],
    ],
    [
      'a key left out is made by create',
      [
        'POST P/batch',
        { ops: [{ op: 'create', collection: 'things', attributes: { x: 1 } }] },
        200,
        { results: [{ status: 201, key: expect.stringMatching(/^[0-9a-f-]{36}$/) }] },
      ],
    ],
  ];

  it.each(rowsOf(stories))('%s', async (_says, steps) => {
    await new Scenario(server).play(steps);
  });

  /** The op that fails stands between two that would hold. */
  const failures: [says: string, status: number, code: string, failing: object][] = [
    ['a create of what is there', 409, 'conflict', op('create', 'a', { attributes: {} })],
    ['an increment of a string', 422, 'invalid', op('increment', 'a', { attribute: 's', by: 1 })],
    ['an increment past a bound', 409, 'conflict', op('increment', 'a', { attribute: 'n', by: 1, max: 2 })],
    ['an increment with min > max', 400, 'badRequest', op('increment', 'a', { attribute: 'n', by: 1, min: 2, max: 1 })],
    ['an append to a number', 422, 'invalid', op('append', 'a', { attribute: 'n', value: 1 })],
    ['a remove from a number', 422, 'invalid', op('remove', 'a', { attribute: 'n', value: 1 })],
    ['a condition that does not hold', 412, 'preconditionFailed', put('b', {}, { if: { exists: true } })],
    ['an attribute name past the rules', 400, 'invalidName', put('b', { ['n'.repeat(129)]: 1 })],
    ['a key past the rules', 400, 'invalidName', put('..', {})],
    ['a collection of the system', 400, 'invalidName', { op: 'put', collection: '_mine', key: 'a', attributes: {} }],
    ['a key that is missing', 400, 'badRequest', { op: 'put', collection: 'things', attributes: {} }],
    ['a member that is missing', 400, 'badRequest', op('put', 'b')],
    ['a member of another op', 400, 'badRequest', op('delete', 'a', { attributes: {} })],
    ['an item past 1 MiB', 413, 'tooLarge', put('b', { big: 'x'.repeat(1024 * 1024) })],
    ['a value nested too deep', 400, 'badRequest', put('b', { deep: JSON.parse('['.repeat(101) + ']'.repeat(101)) })],
  ];

  it.each(failures)(
    '%s in the middle: its index is told and nothing is applied',
    async (_says, status, code, failing) => {
      const scenario = new Scenario(server);
      await scenario.fill({ a: { n: 1, s: 'text' } });
      const answer = await scenario.refused(status, code, 'POST P/batch', {
        ops: [put('x', { x: 1 }), op('merge', 'a', { attributes: { n: 2 } }), failing, put('y', { y: 1 })],
      });
      expect(answer.body.errors).toMatchObject([{ index: 2, pointer: expect.stringMatching(/^\/ops\/2(\/|$)/), code }]);
      expect(await scenario.attributes('a')).toEqual({ n: 1, s: 'text' });
      expect(await scenario.attributes('x')).toBeUndefined();
      expect(await scenario.attributes('y')).toBeUndefined();
    },
  );

  const malformed: [says: string, pointer: string, body: unknown][] = [
    ['an unknown op', '/ops/0/op', { ops: [op('replace', 'a')] }],
    ['an unknown member of the batch', '/opps', { ops: [], opps: [] }],
    ['an unknown member of an op', '/ops/0/attribs', { ops: [op('put', 'a', { attributes: {}, attribs: {} })] }],
    [
      'an unknown member of a condition',
      '/if/0/version',
      { ops: [], if: [{ collection: 'things', key: 'a', version: 1 }] },
    ],
    ['ops that are no array', '/ops', { ops: {} }],
    ['no ops', '/ops', {}],
    ['attributes that are no object', '/ops/0/attributes', { ops: [op('put', 'a', { attributes: [] })] }],
    [
      'a revision that is no number',
      '/if/0/revision',
      { ops: [], if: [{ collection: 'things', key: 'a', revision: '1' }] },
    ],
    ['atomic that is no boolean', '/atomic', { atomic: 'yes', ops: [] }],
  ];

  it.each(malformed)('%s is refused by its place', async (_says, pointer, body) => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: {} });
    expect(pointersOf(await scenario.refused(400, 'badRequest', 'POST P/batch', body))).toContain(pointer);
  });

  it.each<[says: string, status: number, code: string, op: object, place: object]>([
    ['a conflict', 409, 'conflict', { op: 'create', key: 'a', attributes: {} }, { pointer: '/ops/0' }],
    ['a bound', 409, 'conflict', { op: 'increment', key: 'a', attribute: 'n', by: 1, max: 0 }, { pointer: '/ops/0' }],
    [
      'its only condition',
      412,
      'preconditionFailed',
      { op: 'delete', key: 'a', if: { exists: false } },
      { pointer: '/ops/0/if' },
    ],
    [
      'the second of its conditions',
      412,
      'preconditionFailed',
      { op: 'delete', key: 'a', if: [{ exists: true }, { revision: 9 }] },
      { pointer: '/ops/0/if/1' },
    ],
    [
      'a filter that is none',
      400,
      'invalidFilter',
      { op: 'delete', key: 'a', if: { where: { n: { foo: 1 } } } },
      { pointer: '/ops/0/if/where/n/foo' },
    ],
    ['a name', 400, 'invalidName', { op: 'unset', key: 'a', names: ['n'.repeat(129)] }, { pointer: '/ops/0' }],
  ])('a batch of one op tells which it was: %s', async (_says, status, code, op, place) => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { n: 1 } });
    const ops = [{ collection: 'things', ...op }];
    const answer = await scenario.refused(status, code, 'POST P/batch', { ops });
    expect(answer.body.errors).toMatchObject([{ index: 0, ...place }]);
  });

  it('what names nothing is an op’s own result where ops are for themselves', async () => {
    const scenario = new Scenario(server);
    const ops = [
      put('a', {}),
      put('..', {}),
      { ...put('b', {}), collection: '_changes' },
      { op: 'merge', collection: 'things', key: 'c' },
      put('d', {}),
    ];
    const { body } = await scenario.calls(['POST P/batch', { atomic: false, ops }]);
    expect(body.results).toMatchObject([
      { index: 0, status: 201, key: 'a' },
      { index: 1, status: 400, key: '..', changed: [], problem: { code: 'invalidName' } },
      { index: 2, status: 400, problem: { code: 'invalidName' } },
      { index: 3, status: 400, problem: { code: 'badRequest' } },
      { index: 4, status: 201, key: 'd' },
    ]);
    expect((await scenario.calls(['GET P'])).body).toMatchObject({ revision: 1, items: 2 });
    await scenario.refused(400, 'invalidName', 'POST P/batch', { ops });
  });

  it('two numbers that are drawn in one batch are two', async () => {
    const scenario = new Scenario(server);
    const draw = { op: 'increment', collection: 'things', key: 'counter', attribute: 'n', by: 1 };
    const gone = { op: 'delete', collection: 'things', key: 'counter' };
    const { body } = await scenario.calls(['POST P/batch', { ops: [draw, draw, gone, draw] }]);
    expect(body.results.map(({ value }: { value?: number }) => value)).toEqual([1, 2, undefined, 1]);
  });

  it('the first of several conditions that do not hold is named', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: {} });
    const conditions = [
      { collection: 'things', key: 'a', exists: true },
      { collection: 'things', key: 'a', revision: 9 },
      { collection: 'things', key: 'a', exists: false },
    ];
    const answer = await scenario.refused(412, 'preconditionFailed', 'POST P/batch', {
      if: conditions,
      ops: [put('b', {})],
    });
    expect(pointersOf(answer)).toEqual(['/if/1']);
  });

  it('1,000 ops are one commit; 1,001 are refused, as are more than 4 MiB', async () => {
    const scenario = new Scenario(server);
    const ops = Array.from({ length: 1001 }, (_, i) => put(`k${i}`, { i }));
    await scenario.calls(['PUT P']);
    expect(pointersOf(await scenario.refused(422, 'invalid', 'POST P/batch', { ops }))).toEqual(['/ops']);
    const { body } = await scenario.calls(['POST P/batch', { ops: ops.slice(1) }]);
    expect(body.revision).toBe(1);
    expect(body.results).toHaveLength(1000);
    const big = Array.from({ length: 5 }, (_, i) => put(`big${i}`, { text: 'x'.repeat(1000 * 1000) }));
    await scenario.refused(413, 'tooLarge', 'POST P/batch', { ops: big });
    expect((await scenario.calls(['POST P/batch', { ops: big.slice(1) }])).body.revision).toBe(2);
  });

  it('of two batches with the same condition one is applied', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { taken: false } });
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        scenario.call('POST P/batch', {
          if: [{ collection: 'things', key: 'a', revision: 1 }],
          ops: [put('a', { taken: i }), put(`of${i}`, {})],
        }),
      ),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 412)).toHaveLength(9);
    const winner = answers.findIndex(({ status }) => status === 200);
    expect(await scenario.attributes('a')).toEqual({ taken: winner });
    expect((await scenario.call('GET P')).body).toMatchObject({ revision: 2, items: 2 });
  });
});
