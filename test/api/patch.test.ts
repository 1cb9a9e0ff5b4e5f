/** PATCH: the merge patch (RFC 7396) as it reads in the RFC, the JSON Patch, and what either may not do. */
import { beforeAll, describe, expect, it } from 'vitest';
import { pointersOf, rowsOf, Scenario, type Story } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const MERGE = { 'content-type': 'application/merge-patch+json' };
const JSON_PATCH = { 'content-type': 'application/json-patch+json' };

describe.each(databases)('patches on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });

  /** The examples of RFC 7396, appendix A, as the attribute `doc`. An undefined result is an absent attribute. */
  const rfc7396: [original: unknown, patch: unknown, result: unknown][] = [
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
    ],
    [{ a: 'b' }, ['c'], ['c']],
    [{ a: 'foo' }, null, undefined],
    [{ a: 'foo' }, 'bar', 'bar'],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ];

  it.each(rfc7396)('%j merged with %j is %j', async (original, patch, result) => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { doc: original, other: 1 } });
    const { body } = await scenario.calls(['PATCH C/items/a', { attributes: { doc: patch } }, MERGE]);
    const attributes = result === undefined ? { other: 1 } : { doc: result, other: 1 };
    expect(body).toMatchObject({ revision: 2, createdRevision: 1, changed: ['doc'] });
    expect(body.attributes).toEqual(attributes);
    expect(await scenario.attributes('a')).toEqual(attributes);
  });

  const stories: Story[] = [
    [
      'application/json is a merge patch too',
      ['PUT C/items/a', { attributes: { x: { y: 1, z: 2 }, w: 3 } }, 201],
      [
        'PATCH C/items/a',
        { attributes: { x: { z: null }, w: null, v: 4 } },
        200,
        { attributes: { x: { y: 1 }, v: 4 }, changed: ['x', 'v', 'w'] },
      ],
    ],
    [
      'a merge patch makes a missing item, without its nulls',
      [
        'PATCH C/items/a',
        { attributes: { x: { y: 1, z: null }, w: null } },
        201,
        { revision: 1, attributes: { x: { y: 1 } }, changed: ['x'] },
      ],
    ],
    [
      'If-Match: * keeps a patch from making an item',
      ['PUT P', undefined, 201],
      ['PATCH C/items/a', { attributes: { x: 1 } }, 412, { code: 'preconditionFailed' }, { 'if-match': '*' }],
      [
        'PATCH C/items/a',
        [{ op: 'add', path: '/attributes/x', value: 1 }],
        412,
        {},
        { ...JSON_PATCH, 'if-match': '*' },
      ],
      ['GET C/items/a', undefined, 404],
      ['GET P', undefined, 200, { revision: 0 }],
    ],
    [
      'a merge patch that changes nothing commits nothing',
      ['PUT C/items/a', { attributes: { x: { y: 1 } } }, 201],
      ['PATCH C/items/a', { attributes: { x: { y: 1 }, gone: null } }, 200, { revision: 1, changed: [] }],
      ['PATCH C/items/a', { attributes: {} }, 200, { revision: 1, changed: [] }],
      ['GET P', undefined, 200, { revision: 1 }],
    ],
    [
      'a JSON Patch is applied in order, as one commit',
      ['PUT C/items/a', { attributes: { x: [1, 2], y: 'a' } }, 201],
      [
        'PATCH C/items/a',
        [
          { op: 'test', path: '/attributes/y', value: 'a' },
          { op: 'add', path: '/attributes/x/-', value: 3 },
          { op: 'move', from: '/attributes/y', path: '/attributes/z' },
          { op: 'copy', from: '/attributes/x', path: '/attributes/w' },
          { op: 'remove', path: '/attributes/x/0' },
        ],
        200,
        { revision: 2, attributes: { x: [2, 3], z: 'a', w: [1, 2, 3] } },
        JSON_PATCH,
      ],
      ['GET C/items/a', undefined, 200, { revision: 2, attributes: { x: [2, 3], z: 'a', w: [1, 2, 3] } }],
    ],
    [
      'a JSON Patch makes a missing item from nothing',
      [
        'PATCH C/items/a',
        [{ op: 'add', path: '/attributes/x', value: 1 }],
        201,
        { attributes: { x: 1 }, changed: ['x'] },
        JSON_PATCH,
      ],
    ],
    [
      'a JSON Patch may replace all attributes, and a null at the top is absent',
      ['PUT C/items/a', { attributes: { x: 1 } }, 201],
      [
        'PATCH C/items/a',
        [{ op: 'replace', path: '/attributes', value: { y: 2, z: null } }],
        200,
        { attributes: { y: 2 } },
        JSON_PATCH,
      ],
    ],
    [
      'a JSON Patch that changes nothing commits nothing',
      ['PUT C/items/a', { attributes: { x: 1 } }, 201],
      ['PATCH C/items/a', [], 200, { revision: 1, changed: [] }, JSON_PATCH],
      [
        'PATCH C/items/a',
        [{ op: 'test', path: '/attributes/x', value: 1 }],
        200,
        { revision: 1, changed: [] },
        JSON_PATCH,
      ],
      [
        'PATCH C/items/a',
        [
          { op: 'add', path: '/attributes/y', value: 1 },
          { op: 'remove', path: '/attributes/y' },
        ],
        200,
        { revision: 1, changed: [] },
        JSON_PATCH,
      ],
      ['GET P', undefined, 200, { revision: 1 }],
    ],
    [
      'pointers are escaped as in RFC 6901',
      ['PUT C/items/a', { attributes: { 'a/b': 1, 'c~d': 2 } }, 201],
      [
        'PATCH C/items/a',
        [
          { op: 'replace', path: '/attributes/a~1b', value: 3 },
          { op: 'remove', path: '/attributes/c~0d' },
        ],
        200,
        { attributes: { 'a/b': 3 } },
        JSON_PATCH,
      ],
    ],
  ];

  it.each(rowsOf(stories))('%s', async (_says, steps) => {
    await new Scenario(server).play(steps);
  });

  type Refusal = [says: string, status: number, code: string, pointer: string | undefined, patch: unknown];
  const refusals: Refusal[] = [
    [
      'a test that fails',
      409,
      'conflict',
      '/1',
      [
        { op: 'add', path: '/attributes/y', value: 1 },
        { op: 'test', path: '/attributes/x', value: 2 },
      ],
    ],
    ['a removal of what is not there', 409, 'conflict', '/0', [{ op: 'remove', path: '/attributes/nowhere' }]],
    ['a path through a scalar', 409, 'conflict', '/0', [{ op: 'add', path: '/attributes/x/y', value: 1 }]],
    ['a test of another object', 409, 'conflict', '/0', [{ op: 'test', path: '/attributes', value: { x: 2 } }]],
    ['a pointer with a bare tilde', 400, 'badRequest', '/0', [{ op: 'add', path: '/attributes/a~2b', value: 1 }]],
    ['an addition of nothing', 400, 'badRequest', '/0', [{ op: 'add', path: '/attributes/y' }]],
    ['a test for nothing', 400, 'badRequest', '/0', [{ op: 'test', path: '/attributes/x' }]],
    ...['replace', 'test', 'remove'].map(
      (op): Refusal => [
        `the end of a list to ${op}`,
        409,
        'conflict',
        '/1',
        [
          { op: 'add', path: '/attributes/l', value: [1] },
          { op, path: '/attributes/l/-', value: 9 },
        ],
      ],
    ),
    [
      'a path through the end of a list',
      409,
      'conflict',
      '/1',
      [
        { op: 'add', path: '/attributes/l', value: [{}] },
        { op: 'add', path: '/attributes/l/-/y', value: 9 },
      ],
    ],
    ['a path that is no pointer', 400, 'badRequest', '/0', [{ op: 'add', path: 'attributes/y', value: 1 }]],
    ['an unknown op', 400, 'badRequest', '/0/op', [{ op: 'increment', path: '/attributes/x', value: 1 }]],
    ['a missing path', 400, 'badRequest', '/0/path', [{ op: 'remove' }]],
    ['a patch that is no array', 400, 'badRequest', '', { op: 'remove', path: '/attributes/x' }],
    ['something beside the attributes', 422, 'invalid', undefined, [{ op: 'add', path: '/key', value: 'b' }]],
    ['attributes that are no object', 422, 'invalid', undefined, [{ op: 'replace', path: '/attributes', value: 7 }]],
    ['no attributes at all', 422, 'invalid', undefined, [{ op: 'remove', path: '/attributes' }]],
    [
      'a prototype as a target',
      400,
      'badRequest',
      '/0',
      [{ op: 'add', path: '/attributes/__proto__/polluted', value: 1 }],
    ],
    [
      'a constructor as a target',
      400,
      'badRequest',
      '/0',
      [{ op: 'add', path: '/attributes/constructor/prototype/polluted', value: 1 }],
    ],
    [
      'an attribute name past the rules',
      400,
      'invalidName',
      undefined,
      [{ op: 'add', path: `/attributes/${'n'.repeat(129)}`, value: 1 }],
    ],
    [
      'more than 1,000 operations',
      400,
      'badRequest',
      '',
      Array.from({ length: 1001 }, () => ({ op: 'test', path: '/attributes/x', value: 1 })),
    ],
  ];

  it.each(refusals)(
    'a JSON Patch with %s is refused and leaves the item alone',
    async (_says, status, code, pointer, patch) => {
      const scenario = new Scenario(server);
      await scenario.fill({ a: { x: 1 } });
      const answer = await scenario.refused(status, code, 'PATCH C/items/a', patch, JSON_PATCH);
      if (pointer !== undefined) expect(pointersOf(answer)[0]).toBe(pointer);
      expect(await scenario.attributes('a')).toEqual({ x: 1 });
    },
  );

  it('a merge patch reaches an own property, never a prototype', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { x: {} } });
    const patch =
      '{"attributes":{"__proto__":{"polluted":1},"x":{"__proto__":{"polluted":2},"constructor":{"prototype":{"polluted":3}}}}}';
    await scenario.calls(['PATCH C/items/a', patch, MERGE]);
    const read = await scenario.call('GET C/items/a');
    expect(read.text).toContain('"__proto__":{"polluted":1}');
    expect(read.text).toContain('"x":{"__proto__":{"polluted":2},"constructor":{"prototype":{"polluted":3}}}');
    await scenario.fill({ b: {} });
    expect((await scenario.call('GET C/items/b?fields=polluted')).body.attributes).toEqual({});
    expect((await scenario.call('GET C/items/b/attributes/polluted')).status).toBe(404);
  });
});
