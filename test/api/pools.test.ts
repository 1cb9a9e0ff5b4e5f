/** Pools and collections: how they come into being, what is said about them, and how they go with everything in them. */
import { beforeAll, describe, expect, it } from 'vitest';
import { expectProblem, pointersOf, rowsOf, Scenario, type Story } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

describe.each(databases)('pools and collections on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });

  const stories: Story[] = [
    [
      'a pool comes into being on its first write',
      ['GET P', undefined, 404, { code: 'notFound' }],
      ['GET C/items', undefined, 404, { code: 'notFound' }],
      ['PUT C/items/a', { attributes: { x: 1 } }, 201],
      [
        'GET P',
        undefined,
        200,
        { revision: 1, oldestRevision: 1, collections: 1, items: 1, authentication: { required: false } },
      ],
    ],
    [
      'a pool is made, described and made anew by PUT',
      ['PUT P', undefined, 201, { revision: 0, collections: 0, items: 0 }],
      ['PUT P', { description: 'rooms' }, 200, { description: 'rooms', revision: 0 }],
      ['PATCH P', {}, 200, { description: 'rooms' }],
      ['PATCH P', { description: null }, 200],
      ['PUT P', { description: 'again' }, 200, { description: 'again' }],
      ['PUT P', {}, 200],
      ['PATCH P', { description: 'last' }, 200, { description: 'last' }],
      ['GET P', undefined, 200, { description: 'last', revision: 0 }],
    ],
    ['a PATCH makes no pool', ['PATCH P', { description: 'x' }, 404, { code: 'notFound' }], ['GET P', undefined, 404]],
    [
      'a write without effect makes no pool',
      ['DELETE C/items/a', undefined, 404, { code: 'notFound' }],
      ['GET P', undefined, 404],
    ],
    [
      'a pool goes with everything in it',
      ['PUT C/items/a', { attributes: { x: 1 } }, 201],
      ['DELETE P', undefined, 200, { existed: true }],
      ['GET P', undefined, 404],
      ['GET C/items/a', undefined, 404],
      ['GET P/changes', undefined, 404],
      ['DELETE P', undefined, 200, { existed: false }],
      ['PUT C/items/b', { attributes: {} }, 201, { revision: 1 }],
      ['GET C/items', undefined, 200, { items: [{ key: 'b' }] }],
    ],
    [
      'a collection comes into being with its first item and stays when its last one goes',
      ['GET P/collections/rooms', undefined, 404],
      ['PUT P/collections/rooms/items/a', { attributes: {} }, 201],
      ['GET P/collections/rooms', undefined, 200, { collection: 'rooms', items: 1, revision: 1, options: {} }],
      ['DELETE P/collections/rooms/items/a', undefined, 200],
      ['GET P/collections/rooms', undefined, 200, { items: 0, revision: 2 }],
    ],
    [
      'a missing collection reads as empty in a pool that is there',
      ['PUT P', undefined, 201],
      ['GET C/items', undefined, 200, { items: [], revision: 0 }],
      ['GET C/items/a', undefined, 404],
      ['GET C', undefined, 404, { code: 'notFound' }],
    ],
    [
      'a collection is made and described by PUT, changed by PATCH',
      [
        'PUT C',
        { description: 'all', options: { color: 'red', size: 1 } },
        201,
        { collection: 'things', items: 0, description: 'all', options: { color: 'red', size: 1 } },
      ],
      ['PUT C', { description: 'all', options: { color: 'red', size: 1 } }, 200, { revision: 1 }],
      [
        'PATCH C',
        { options: { size: null, shape: 'round' } },
        200,
        { description: 'all', options: { color: 'red', shape: 'round' }, revision: 2 },
      ],
      ['PATCH C', { description: null }, 200, { options: { color: 'red', shape: 'round' } }],
      ['PATCH C', { options: null }, 200, { options: {} }],
      ['PATCH C', { options: { color: 'red' } }, 200, { options: { color: 'red' } }],
      ['PUT C', {}, 200, { options: {} }],
      ['GET C', undefined, 200, { items: 0, options: {}, revision: 6 }],
    ],
    [
      'a PATCH makes no collection',
      ['PUT P', undefined, 201],
      ['PATCH C', { description: 'x' }, 404],
      ['GET C', undefined, 404],
    ],
    [
      'what is said about a collection stays when its items come and go',
      ['PUT C', { description: 'mine' }, 201],
      ['PUT C/items/a', { attributes: {} }, 201],
      ['POST C/delete', { prefix: '' }, 200, { deleted: 1 }],
      ['GET C', undefined, 200, { description: 'mine', items: 0 }],
    ],
    [
      'a collection goes with its items, and is new when it comes again',
      ['PUT C', { description: 'mine' }, 201],
      ['PUT C/items/a', { attributes: {} }, 201],
      ['PUT P/collections/others/items/a', { attributes: {} }, 201],
      ['DELETE C', undefined, 200, { collection: 'things', existed: true, revision: 4 }],
      ['GET C', undefined, 404],
      ['GET C/items', undefined, 200, { items: [] }],
      ['GET P', undefined, 200, { collections: 1, items: 1 }],
      ['DELETE C', undefined, 200, { existed: false, revision: 4 }],
      ['PUT C/items/b', { attributes: {} }, 201],
      ['GET C', undefined, 200, { items: 1, options: {} }],
    ],
    [
      'ifEmpty keeps one that is not',
      ['PUT C/items/a', { attributes: {} }, 201],
      ['DELETE C?ifEmpty=true', undefined, 409, { code: 'conflict' }],
      ['GET C/items/a', undefined, 200],
      ['DELETE C/items/a', undefined, 200],
      ['DELETE C?ifEmpty=true', undefined, 200, { existed: true }],
      ['GET C', undefined, 404],
    ],
    [
      'the dictionary is a collection that can be read, and not written past its rules',
      ['PUT C', { description: 'mine' }, 201],
      [
        'GET P/collections/_dictionary/items/things',
        undefined,
        200,
        { key: 'things', attributes: { description: 'mine' } },
      ],
      ['GET P/collections', undefined, 200, { collections: [{ collection: 'things' }] }],
    ],
  ];

  it.each(rowsOf(stories))('%s', async (_says, steps) => {
    await new Scenario(server).play(steps);
  });

  it('descriptions that were taken away are absent', async () => {
    const scenario = new Scenario(server);
    await scenario.calls(
      ['PUT P', { description: 'a' }],
      ['PATCH P', { description: null }],
      ['PUT C', { description: 'a' }],
      ['PATCH C', { description: null }],
    );
    expect((await scenario.call('GET P')).body).not.toHaveProperty('description');
    expect((await scenario.call('GET C')).body).not.toHaveProperty('description');
  });

  it('a pool made anew has another epoch', async () => {
    const scenario = new Scenario(server);
    const { epoch } = (await scenario.calls(['PUT P'])).body;
    await scenario.calls(['DELETE P']);
    const anew = (await scenario.calls(['PUT P'])).body;
    expect(anew.epoch).toMatch(/^[A-Za-z0-9]{1,47}$/);
    expect(anew.epoch).not.toBe(epoch);
    expect(anew.cursor).toBe(`${anew.epoch}-0`);
  });

  it('pools are listed page by page in the order of their names', async () => {
    const names = ['pa', 'pb', 'pc', 'pd', 'pe'].map((tail) => `list-${tail}`);
    for (const pool of [...names].reverse())
      await new Scenario(server, pool).calls(['PUT P'], ['PUT C/items/a', { attributes: {} }]);
    const scenario = new Scenario(server);
    const seen: string[] = [];
    let query = '?limit=2';
    for (;;) {
      const { body } = await scenario.calls([`GET /v1/pools${query}`]);
      expect(body.pools.length).toBeLessThanOrEqual(2);
      for (const pool of body.pools) {
        if (!names.includes(pool.pool)) continue;
        expect(pool).toMatchObject({ revision: 1, collections: 1, items: 1, authentication: { required: false } });
        seen.push(pool.pool);
      }
      if (!body.nextPageToken) break;
      query = `?limit=2&pageToken=${body.nextPageToken}`;
    }
    expect(seen).toEqual(names);
  });

  it('collections are listed page by page in the order of their names', async () => {
    const scenario = new Scenario(server);
    for (const collection of ['e', 'b', 'a', 'D', 'c'])
      await scenario.calls([`PUT P/collections/${collection}`, { description: collection }]);
    const first = (await scenario.calls(['GET P/collections?limit=3'])).body;
    expect(first).toMatchObject({
      revision: 5,
      collections: [{ collection: 'D' }, { collection: 'a', description: 'a', items: 0 }, { collection: 'b' }],
    });
    await scenario.calls(['PUT P/collections/0'], ['PUT P/collections/d']);
    const second = (await scenario.calls([`GET P/collections?limit=3&pageToken=${first.nextPageToken}`])).body;
    expect(second.collections.map(({ collection }: { collection: string }) => collection)).toEqual(['c', 'd', 'e']);
    expect(second).not.toHaveProperty('nextPageToken');
  });

  it.each<[says: string, pointer: string, line: string, body: unknown]>([
    ['a description that is no text', '/description', 'PUT P', { description: 1 }],
    ['a description past 4,096 characters', '/description', 'PATCH P', { description: 'x'.repeat(4097) }],
    ['an unknown member', '/title', 'PUT C', { title: 'x' }],
    ['options that are no object', '/options', 'PUT C', { options: [] }],
    ['options past 16 KiB', '/options', 'PATCH C', { options: { x: 'x'.repeat(16 * 1024) } }],
    ['ifEmpty that is no boolean', '?ifEmpty', 'DELETE C?ifEmpty=1', undefined],
  ])('%s is refused', async (_says, pointer, line, body) => {
    const scenario = new Scenario(server);
    await scenario.calls(['PUT P', { description: 'kept' }], ['PUT C', { description: 'kept' }]);
    expect(pointersOf(await scenario.refused(400, 'badRequest', line, body))).toEqual([pointer]);
    expect((await scenario.call('GET P')).body.description).toBe('kept');
    expect((await scenario.call('GET C')).body.description).toBe('kept');
  });

  it('a definition that items stand against is refused with what helps: the mode warn, but not for doubles', async () => {
    const few = new Scenario(server);
    await few.fill({ a: { n: 1 }, b: { n: 1 } });
    const refused = async (attributes: object) => {
      const answer = await few.call('PUT P/collections/_dictionary/items/things', { attributes });
      expectProblem(answer, 409, 'dataViolatesSchema');
      return answer.body.detail as string;
    };
    expect(await refused({ schema: { required: ['m'] } })).toContain('Mend them first, or use the mode `warn`.');
    expect(await refused({ indexes: [{ attribute: 'n', unique: true }] })).toMatch(/Mend them first\.$/);
  });

  it('where pools are made by PUT only, a write makes none', async () => {
    const strict = new Scenario(await startServer({ database: name, env: { STARGUS_CREATE_POOLS: '0' } }));
    await strict.refused(404, 'notFound', 'PUT C/items/a', { attributes: {} });
    await strict.refused(404, 'notFound', 'GET C/attach');
    await strict.calls(['PUT P'], ['PUT C/items/a', { attributes: {} }]);
    expect((await strict.call('GET P')).body.revision).toBe(1);
  });
});
