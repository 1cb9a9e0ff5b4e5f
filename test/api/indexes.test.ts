/**
 * Indexes that the dictionary declares: how they are spelled and shown, when queries are answered from them, and what unique
 * ones exclude. That their entries are right, also after crashes, is in test/robustness/indexes.test.ts.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { type Answer, rowsOf, Scenario, type Story } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const ENTRY = 'P/collections/_dictionary/items/things';
const define = (indexes: unknown, status = 201) => [`PUT ${ENTRY}`, { attributes: { indexes } }, status] as const;
const unique = (...attributes: string[]) => [{ attributes, unique: true }];
const put = (key: string, attributes: object) => ({ op: 'put', collection: 'things', key, attributes });
const held = (key: string, index = 'mail') => ({ code: 'conflict', key, index, collection: 'things' });
const same = 'x'.repeat(300);

interface Shown {
  name: string;
  attributes: string[];
  unique: boolean;
  state: string;
  itemsBuilt: number;
}

const spellings: readonly [says: string, declared: unknown, name: string, attributes: string[]][] = [
  ['a name', 'status', 'status', ['status']],
  ['a descending name', '-priority', '-priority', ['-priority']],
  ['a minus alone, which is a name', '-', '-', ['-']],
  ['a pointer', '/address/city', '/address/city', ['/address/city']],
  ['several', ['status', '-priority'], 'status,-priority', ['status', '-priority']],
  ['an object of one', { attribute: 'status' }, 'status', ['status']],
  ['an object of several', { attributes: ['a', '/b/c'] }, 'a,/b/c', ['a', '/b/c']],
  ['an object with a name', { attribute: '-status', name: 'by status' }, 'by status', ['-status']],
];

const stories: readonly Story[] = [
  [
    'what one item has, no other may take, in whatever way',
    define(unique('mail')),
    ['PUT C/items/a', { attributes: { mail: 'a@x' } }, 201],
    [
      'PUT C/items/b',
      { attributes: { mail: 'a@x' } },
      409,
      { ...held('a'), errors: [{ pointer: '/attributes/mail', code: 'conflict' }] },
    ],
    ['POST C/items', { attributes: { mail: 'a@x' } }, 409, held('a')],
    ['PUT C/items/b', { attributes: { mail: 'b@x' } }, 201],
    ['PATCH C/items/b', { attributes: { mail: 'a@x' } }, 409, held('a')],
    ['PUT C/items/b/attributes/mail', { value: 'a@x' }, 409, held('a')],
    [
      'PATCH C/items/b',
      [{ op: 'replace', path: '/attributes/mail', value: 'a@x' }],
      409,
      held('a'),
      { 'content-type': 'application/json-patch+json' },
    ],
    ['GET C/items/b', undefined, 200, { attributes: { mail: 'b@x' } }],
    // One’s own value is no clash, and what is given up is free.
    ['PUT C/items/a', { attributes: { mail: 'a@x', n: 1 } }, 200],
    ['PUT C/items/a', { attributes: { mail: 'c@x' } }, 200],
    ['PUT C/items/b', { attributes: { mail: 'a@x' } }, 200],
    ['DELETE C/items/b', undefined, 200],
    ['PUT C/items/c', { attributes: { mail: 'a@x' } }, 201],
  ],
  [
    'an increment may run into what another has',
    define(unique('n')),
    ['PUT C/items/a', { attributes: { n: 2 } }, 201],
    ['POST C/items/b/increment', { attribute: 'n', by: 1 }, 200],
    ['POST C/items/b/increment', { attribute: 'n', by: 1 }, 409, held('a', 'n')],
    ['GET C/items/b', undefined, 200, { attributes: { n: 1 } }],
  ],
  [
    'a batch is refused whole, at its op',
    define(unique('mail')),
    ['PUT C/items/a', { attributes: { mail: 'a@x' } }, 201],
    [
      'POST P/batch',
      { ops: [put('b', { mail: 'b@x' }), put('c', { mail: 'a@x' }), put('d', {})] },
      409,
      { ...held('a'), errors: [{ index: 1, pointer: '/ops/1/attributes/mail' }] },
    ],
    [
      'POST P/batch',
      { ops: [put('b', { mail: 'b@x' }), put('c', { mail: 'b@x' })] },
      409,
      { ...held('b'), errors: [{ index: 1 }] },
    ],
    ['GET C', undefined, 200, { items: 1 }],
  ],
  [
    'a batch that isn’t atomic refuses only that op',
    define(unique('mail')),
    ['PUT C/items/a', { attributes: { mail: 'a@x' } }, 201],
    [
      'POST P/batch',
      {
        atomic: false,
        ops: [
          put('b', { mail: 'b@x' }),
          put('c', { mail: 'a@x' }),
          put('d', { mail: 'd@x' }),
          put('e', { mail: 'd@x' }),
          put('f', { mail: 'a@x' }),
        ],
      },
      200,
      {
        revision: 3,
        results: [
          { status: 201 },
          { status: 409, problem: held('a') },
          { status: 201 },
          { status: 409, problem: held('d') },
          { status: 409, problem: held('a') },
        ],
      },
    ],
    ['GET C', undefined, 200, { items: 3 }],
    ['GET C/items/c', undefined, 404],
  ],
  [
    'of several ops on one item only the one that takes what another has is refused',
    define(unique('mail')),
    ['PUT C/items/a', { attributes: { mail: 'a@x' } }, 201],
    [
      'POST P/batch',
      {
        atomic: false,
        ops: [
          put('b', { mail: 'b@x' }),
          put('b', { mail: 'a@x' }),
          put('c', { mail: 'a@x' }),
          put('c', { mail: 'c@x' }),
        ],
      },
      200,
      { results: [{ status: 201 }, { status: 409, problem: held('a') }, { status: 201 }, { status: 200 }] },
    ],
    ['GET C/items/b', undefined, 200, { attributes: { mail: 'b@x' } }],
    ['GET C/items/c', undefined, 200, { attributes: { mail: 'c@x' } }],
  ],
  [
    'what hangs on an op that is refused is judged anew',
    define(unique('mail')),
    ['PUT C/items/a', { attributes: { mail: 'a@x' } }, 201],
    ['PUT C/items/b', { attributes: { mail: 'b@x' } }, 201],
    ['PUT C/items/c', { attributes: { mail: 'c@x' } }, 201],
    [
      'POST P/batch',
      // `b` would be free for `a` if `b` could have what `c` has.
      { atomic: false, ops: [put('a', { mail: 'b@x' }), put('b', { mail: 'c@x' }), put('d', { mail: 'a@x' })] },
      200,
      { results: [{ status: 409 }, { status: 409 }, { status: 409 }] },
    ],
    ['GET P', undefined, 200, { revision: 4 }],
  ],
  [
    'two items swap their values in one batch, three go around',
    define(unique('mail')),
    ['PUT C/items/a', { attributes: { mail: 'a@x' } }, 201],
    ['PUT C/items/b', { attributes: { mail: 'b@x' } }, 201],
    ['PUT C/items/c', { attributes: { mail: 'c@x' } }, 201],
    ['POST P/batch', { ops: [put('a', { mail: 'b@x' }), put('b', { mail: 'a@x' })] }, 200],
    ['POST P/batch', { ops: [put('a', { mail: 'c@x' }), put('b', { mail: 'b@x' }), put('c', { mail: 'a@x' })] }, 200],
    ['POST P/batch', { ops: [put('a', { mail: 'a@x' }), put('b', { mail: 'c@x' })] }, 409, held('c')],
    ['GET C/items/c', undefined, 200, { attributes: { mail: 'a@x' } }],
  ],
  [
    'a value goes from a deleted item to a new one in one batch, in either order',
    define(unique('mail')),
    ['PUT C/items/a', { attributes: { mail: 'a@x' } }, 201],
    ['POST P/batch', { ops: [{ op: 'delete', collection: 'things', key: 'a' }, put('b', { mail: 'a@x' })] }, 200],
    ['POST P/batch', { ops: [put('c', { mail: 'a@x' }), { op: 'delete', collection: 'things', key: 'b' }] }, 200],
    ['PUT C/items/d', { attributes: { mail: 'a@x' } }, 409, held('c')],
  ],
  [
    'what is absent isn’t constrained, what is null inside is',
    define(unique('a', '/b/c')),
    ['PUT C/items/1', { attributes: {} }, 201],
    ['PUT C/items/2', { attributes: {} }, 201],
    ['PUT C/items/3', { attributes: { a: 1 } }, 201],
    ['PUT C/items/4', { attributes: { a: 1 } }, 201],
    ['PUT C/items/5', { attributes: { a: 1, b: {} } }, 201],
    ['PUT C/items/6', { attributes: { b: { c: 1 } } }, 201],
    ['PUT C/items/7', { attributes: { b: { c: 1 } } }, 201],
    ['PUT C/items/8', { attributes: { a: 1, b: { c: null } } }, 201],
    ['PUT C/items/9', { attributes: { a: 1, b: { c: null } } }, 409, held('8', 'a,/b/c')],
    ['PUT C/items/9', { attributes: { a: 1, b: { c: 1 } } }, 201],
    ['PATCH C/items/6', { attributes: { a: 1 } }, 409, held('9', 'a,/b/c')],
  ],
  [
    'values are told apart by type, letter and member',
    define(unique('v')),
    ['PUT C/items/1', { attributes: { v: 1 } }, 201],
    ['PUT C/items/2', { attributes: { v: '1' } }, 201],
    ['PUT C/items/3', { attributes: { v: true } }, 201],
    ['PUT C/items/4', { attributes: { v: [1] } }, 201],
    ['PUT C/items/5', { attributes: { v: { a: 1, b: 2 } } }, 201],
    ['PUT C/items/6', { attributes: { v: 'a' } }, 201],
    ['PUT C/items/7', { attributes: { v: 'A' } }, 201],
    ['PUT C/items/8', { attributes: { v: 'a ' } }, 201],
    ['PUT C/items/9', { attributes: { v: 'á' } }, 201],
    ['PUT C/items/10', { attributes: { v: 'a\u0301' } }, 201],
    ['PUT C/items/11', { attributes: { v: '' } }, 201],
    ['PUT C/items/x', { attributes: { v: 1 } }, 409, held('1', 'v')],
    ['PUT C/items/x', '{"attributes":{"v":1.0}}', 409, held('1', 'v')],
    ['PUT C/items/x', { attributes: { v: { b: 2, a: 1 } } }, 409, held('5', 'v')],
    ['PUT C/items/x', { attributes: { v: '' } }, 409, held('11', 'v')],
    ['PUT C/items/zero', { attributes: { v: 0 } }, 201],
    ['PUT C/items/x', '{"attributes":{"v":-0}}', 409, held('zero', 'v')],
  ],
  [
    'long values with equal beginnings are told apart, and equal ones found',
    define(unique('v', 'w')),
    ['PUT C/items/a', { attributes: { v: `${same}a`, w: 1 } }, 201],
    ['PUT C/items/b', { attributes: { v: `${same}b`, w: 1 } }, 201],
    ['PUT C/items/c', { attributes: { v: `${same}a`, w: 2 } }, 201],
    ['PUT C/items/d', { attributes: { v: `${same}a` } }, 201],
    ['PUT C/items/e', { attributes: { v: `${same}a` } }, 201],
    ['PUT C/items/x', { attributes: { v: `${same}b`, w: 1 } }, 409, held('b', 'v,w')],
    ['PUT C/items/x', { attributes: { v: `${same}a`, w: 2 } }, 409, held('c', 'v,w')],
    [
      'POST P/batch',
      { ops: [put('x', { v: `${same}x`, w: 1 }), put('y', { v: `${same}x`, w: 1 })] },
      409,
      held('x', 'v,w'),
    ],
    ['POST P/batch', { ops: [put('x', { v: `${same}x`, w: 1 }), put('y', { v: `${same}y`, w: 1 })] }, 200],
    // Their order among one another is right too.
    [
      'POST C/query',
      { order: ['-v', 'w'], fields: ['w'], limit: 3 },
      200,
      { items: [{ key: 'y' }, { key: 'x' }, { key: 'b' }] },
    ],
    ['POST C/query', { where: { v: `${same}b` } }, 200, { items: [{ key: 'b' }] }],
  ],
  [
    'a collection of the same name that comes again has its values anew',
    define(unique('mail')),
    ['PUT C/items/a', { attributes: { mail: 'a@x' } }, 201],
    ['DELETE C', undefined, 200],
    define(unique('mail')),
    ['PUT C/items/b', { attributes: { mail: 'a@x' } }, 201],
    ['PUT C/items/c', { attributes: { mail: 'a@x' } }, 409, held('b')],
  ],
  [
    'a unique index is refused over items with the same values',
    ['PUT C/items/a', { attributes: { mail: 'a@x' } }, 201],
    ['PUT C/items/b', { attributes: { mail: 'a@x' } }, 201],
    ['PUT C/items/c', { attributes: {} }, 201],
    [...define(unique('mail'), 409), { code: 'dataViolatesSchema', count: 1, offenders: [{ key: 'b' }] }],
    ['GET C', undefined, 200, { indexes: [] }],
    define(['mail'], 200),
    [...define(unique('mail'), 409), { code: 'dataViolatesSchema' }],
    [
      'POST P/batch',
      {
        ops: [
          { op: 'put', collection: '_dictionary', key: 'things', attributes: { indexes: unique('mail') } },
          put('b', { mail: 'b@x' }),
        ],
      },
      200,
    ],
    ['GET C', undefined, 200, { indexes: [{ name: 'mail', unique: true, state: 'ready' }] }],
    ['PUT C/items/b', { attributes: { mail: 'a@x' } }, 409, held('a')],
  ],
  [
    'a unique index is refused over duplicates that its own batch makes',
    [
      'POST P/batch',
      {
        ops: [
          { op: 'put', collection: '_dictionary', key: 'things', attributes: { indexes: unique('mail') } },
          put('a', { mail: 'a@x' }),
          put('b', { mail: 'a@x' }),
        ],
      },
      409,
      { code: 'dataViolatesSchema' },
    ],
    ['GET P', undefined, 404],
  ],
  [
    'a unique index is refused over long duplicates as over short ones',
    ['PUT C/items/a', { attributes: { v: `${same}a` } }, 201],
    ['PUT C/items/b', { attributes: { v: `${same}b` } }, 201],
    ['PUT C/items/c', { attributes: { v: `${same}a` } }, 201],
    [...define(unique('v'), 409), { code: 'dataViolatesSchema', count: 1, offenders: [{ key: 'c' }] }],
    ['DELETE C/items/c', undefined, 200],
    define(unique('v'), 200),
    ['PUT C/items/x', { attributes: { v: `${same}b` } }, 409, held('b', 'v')],
  ],
];

describe.each(databases)('indexes on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name, env: { STARGUS_SWEEP: '200ms' } });
  });

  it.each(rowsOf(stories))('%s', (_, steps) => new Scenario(server).play(steps));

  it('have no names of the system’s, and are of attributes: an index ends no items by its name', async () => {
    const scenario = new Scenario(server);
    for (const declared of [{ attribute: 'n', name: '/@expiry' }, '/@key', ['n', '-/@revision']]) {
      await scenario.refused(422, 'invalid', `PUT ${ENTRY}`, { attributes: { indexes: [declared] } });
    }
  });

  it.each(spellings)('are declared by %s', async (_, declared, indexName, attributes) => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { status: 's' } });
    await scenario.calls([`PUT ${ENTRY}`, { attributes: { indexes: [declared] } }]);
    expect(await indexesOf(scenario)).toEqual([
      { name: indexName, attributes, unique: false, state: 'ready', itemsBuilt: 1 },
    ]);
    expect((await scenario.calls(['GET P/collections'])).body.collections[0].indexes).toBeUndefined();
  });

  it('come, go and change with the definition, each for itself', async () => {
    const scenario = new Scenario(server);
    await scenario.fill(Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`k${n}`, { n, m: n % 3 }])));
    const usedFor = async (where: object) => (await explain(scenario, where)).index;
    expect(await usedFor({ n: 3 })).toBeUndefined();
    await scenario.calls([`PUT ${ENTRY}`, { attributes: { indexes: ['n', 'm'] } }]);
    expect([await usedFor({ n: 3 }), await usedFor({ m: 1 })]).toEqual(['n', 'm']);
    expect((await scenario.calls(['POST C/query', { where: { m: 1 }, count: 'exact' }])).body.count).toBe(7);
    await scenario.calls([`PUT ${ENTRY}`, { attributes: { indexes: ['m'] } }]);
    expect([await usedFor({ n: 3 }), await usedFor({ m: 1 })]).toEqual([undefined, 'm']);
    // The same name over another attribute is another index.
    await scenario.calls([`PUT ${ENTRY}`, { attributes: { indexes: [{ name: 'm', attribute: 'n' }] } }]);
    expect([await usedFor({ n: 3 }), await usedFor({ m: 1 })]).toEqual(['m', undefined]);
    await scenario.calls([
      `PUT ${ENTRY}`,
      { attributes: { title: 'T', indexes: [{ name: 'm', attribute: 'n', unique: true }] } },
    ]);
    expect(await indexesOf(scenario)).toMatchObject([{ name: 'm', unique: true, state: 'ready', itemsBuilt: 20 }]);
    await scenario.refused(409, 'conflict', 'PUT C/items/x', { attributes: { n: 3 } });
    await scenario.calls(
      [`PUT ${ENTRY}`, { attributes: { indexes: ['n'] } }],
      ['PUT C/items/x', { attributes: { n: 3 } }],
    );
    expect((await scenario.calls(['POST C/query', { where: { n: 3 } }])).body.items).toHaveLength(2);
  });

  it('stay as they are when something else is said, whatever their names are cut to', async () => {
    const scenario = new Scenario(server);
    const attributes = { indexes: [['ab', 'b', 'c', 'd'].map((letters) => letters + '😀'.repeat(31))] };
    await scenario.fill({ a: { n: 1 } });
    await scenario.calls([`PUT ${ENTRY}`, { attributes }]);
    const [index] = await indexesOf(scenario);
    expect(index?.name.isWellFormed()).toBe(true);
    expect(index?.itemsBuilt).toBe(1);
    // One made anew would be built of two.
    await scenario.fill({ b: { n: 1 } });
    await scenario.calls([`PATCH ${ENTRY}`, { attributes: { title: 'T' } }]);
    expect(await indexesOf(scenario)).toEqual([index]);
  });

  it('of many items are built beside the writers, and used only when they are complete', async () => {
    const scenario = new Scenario(server);
    await many(scenario, 4000);
    await scenario.calls([`PUT ${ENTRY}`, { attributes: { indexes: ['n', { attribute: 'u', unique: true }] } }]);
    const states: string[] = [];
    for (let n = 0; states.at(-1) !== 'ready,ready'; n++) {
      const before = (await indexesOf(scenario))[0] as Shown;
      const plan = await explain(scenario, { n: 7 });
      const after = await indexesOf(scenario);
      if (before.state === 'ready') expect(plan).toMatchObject({ access: 'index', index: 'n' });
      if (after[0]?.state === 'building') expect(plan).toMatchObject({ access: 'keys' });
      const found = await scenario.calls(['POST C/query', { where: { n: 7 }, count: 'exact' }]);
      expect(found.body.count).toBe(40 + n);
      await scenario.calls([`PUT C/items/new${n}`, { attributes: { n: 7, u: `new${n}` } }]);
      states.push(after.map(({ state }) => state).join());
      expect(n).toBeLessThan(500);
    }
    expect(states[0]).toContain('building');
    expect((await indexesOf(scenario)).map(({ itemsBuilt }) => itemsBuilt)).toEqual([
      expect.any(Number),
      expect.any(Number),
    ]);
    await scenario.refused(409, 'conflict', 'PUT C/items/x', { attributes: { u: 'u5' } });
  });

  it('that should be unique, and get duplicates while they are built, exclude once these are gone', async () => {
    const scenario = new Scenario(server);
    await many(scenario, 3000);
    const [, ...twins] = await Promise.all([
      scenario.calls([`PUT ${ENTRY}`, { attributes: { indexes: [{ attribute: 'u', unique: true }] } }]),
      ...Array.from({ length: 4 }, (_, i) => scenario.call(`PUT C/items/twin${i}`, { attributes: { u: 'u2999' } })),
    ]);
    const taken = twins.filter(({ status }) => status === 201).length;
    const state = async () => (await indexesOf(scenario))[0]?.state;
    await expect.poll(state, { timeout: 20_000 }).not.toBe('building');
    expect(await state()).toBe(taken > 0 ? 'violated' : 'ready');
    await scenario.calls(['POST C/delete', { prefix: 'twin' }]);
    await expect.poll(state, { timeout: 20_000 }).toBe('ready');
    await scenario.refused(409, 'conflict', 'PUT C/items/x', { attributes: { u: 'u2999' } });
  });

  it('refuse a thousand ops of a batch for what others have, each for itself', { timeout: 30_000 }, async () => {
    const scenario = new Scenario(server);
    await scenario.calls([`PUT ${ENTRY}`, { attributes: { indexes: unique('u') } }]);
    await many(scenario, 1000);
    for (const ops of [
      Array.from({ length: 1000 }, (_, i) => put(`x${i}`, { u: i === 500 ? 'free' : `u${i}` })),
      Array.from({ length: 1000 }, (_, i) => put(`y${i}`, { u: 'the same' })),
    ]) {
      const { body } = await scenario.calls(['POST P/batch', { atomic: false, ops }]);
      expect(body.results.filter(({ status }: Answer) => status === 409)).toHaveLength(999);
    }
    // Each hangs on the next, and the last on one that stays.
    const chain = Array.from({ length: 900 }, (_, i) => put(`k${i}`, { u: `u${i + 1}` }));
    const { body } = await scenario.calls([
      'POST P/batch',
      { atomic: false, ops: [...chain, put('innocent', { u: 'own' }), { ...put('a', {}), collection: 'others' }] },
    ]);
    expect(body.results.map(({ status }: Answer) => status)).toEqual([...chain.map(() => 409), 201, 201]);
    expect(body.results[0].problem).toMatchObject({ code: 'conflict' });
    await scenario.calls(['POST P/batch', { ops: [...chain, put('k900', { u: 'end' })] }]);
  });

  it('tell many long values that begin alike apart, up to a bound that the refusal names', async () => {
    const scenario = new Scenario(server);
    await scenario.calls([`PUT ${ENTRY}`, { attributes: { indexes: unique('v') } }]);
    const began = performance.now();
    const ops = (from: number) =>
      Array.from({ length: 500 }, (_, i) => put(`k${from + i}`, { v: `${same}${from + i}` }));
    await scenario.calls(['POST P/batch', { ops: ops(0) }], ['POST P/batch', { ops: ops(500) }]);
    await scenario.refused(409, 'conflict', 'PUT C/items/x', { attributes: { v: `${same}7` } });
    await scenario.calls(['PUT C/items/x', { attributes: { v: `${same}x` } }]);
    const answer = await scenario.refused(422, 'invalid', 'PUT C/items/y', { attributes: { v: `${same}y` } });
    expect(answer.body.detail).toContain('1000');
    await scenario.calls(['PUT C/items/y', { attributes: { v: `y${same}` } }]);
    expect(performance.now() - began).toBeLessThan(10_000);
  });

  it('let exactly one of many writers have a value', async () => {
    const scenario = new Scenario(server);
    await scenario.calls([`PUT ${ENTRY}`, { attributes: { indexes: unique('mail') } }]);
    for (let round = 0; round < 5; round++) {
      expectOneWinner(
        await Promise.all(
          Array.from({ length: 25 }, (_, i) =>
            scenario.call(`PUT C/items/r${round}-${i}`, { attributes: { mail: `${round}@x` } }),
          ),
        ),
      );
    }
    expect((await scenario.calls(['GET C'])).body.items).toBe(5);
  });
});

describe('unique indexes over two nodes', () => {
  it('let exactly one of many writers on both have a value', async () => {
    const a = await startServer({ database: 'mariadb' });
    const b = await startServer({ database: 'mariadb', databaseUrl: a.databaseUrl });
    const nodes = [new Scenario(a, 'shared'), new Scenario(b, 'shared')] as const;
    const node = (i: number) => nodes[i % 2 ? 1 : 0];
    await nodes[0].calls([`PUT ${ENTRY}`, { attributes: { indexes: unique('mail') } }]);
    for (let round = 0; round < 8; round++) {
      expectOneWinner(
        await Promise.all(
          Array.from({ length: 20 }, (_, i) =>
            node(i).call(`PUT C/items/r${round}-${i}`, { attributes: { mail: `${round}@x` } }),
          ),
        ),
      );
    }
    // Each knows at once what the other declares.
    await nodes[1].calls([`PUT ${ENTRY}`, { attributes: { indexes: ['mail'] } }]);
    await nodes[0].calls(['PUT C/items/twin', { attributes: { mail: '0@x' } }]);
    expect((await explain(nodes[0], { mail: '0@x' })).index).toBe('mail');
    await nodes[0].refused(409, 'dataViolatesSchema', `PUT ${ENTRY}`, { attributes: { indexes: unique('mail') } });
    await nodes[1].calls(['DELETE C/items/twin'], [`PUT ${ENTRY}`, { attributes: { indexes: unique('mail') } }]);
    await nodes[0].refused(409, 'conflict', 'PUT C/items/twin', { attributes: { mail: '0@x' } });
  });
});

function expectOneWinner(answers: readonly Answer[]): void {
  const winners = answers.filter(({ status }) => status === 201);
  expect(winners).toHaveLength(1);
  for (const { status, body } of answers) {
    if (status !== 201) expect({ status, key: body.key }).toEqual({ status: 409, key: winners[0]?.body.key });
  }
}

async function indexesOf(scenario: Scenario): Promise<Shown[]> {
  return (await scenario.calls(['GET C'])).body.indexes;
}

async function explain(scenario: Scenario, where: object): Promise<{ access: string; index?: string }> {
  return (await scenario.calls(['POST C/query', { where, explain: true }])).body.plan;
}

async function many(scenario: Scenario, amount: number): Promise<void> {
  for (let from = 0; from < amount; from += 1000) {
    const ops = Array.from({ length: 1000 }, (_, i) => put(`k${from + i}`, { n: i % 100, u: `u${from + i}` }));
    await scenario.calls(['POST P/batch', { ops }]);
  }
}
