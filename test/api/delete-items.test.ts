/** Deletion by prefix: one commit, counted beforehand where asked, and never more than was meant. */
import { beforeAll, describe, expect, it } from 'vitest';
import { pointersOf, rowsOf, Scenario, type Story } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const DELETE = 'POST C/delete';

describe.each(databases)('deletion by prefix on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });

  /** Each story begins with `a1 a2 a3 b1 ä1`, each a commit of its own: revision 5. */
  const stories: Story[] = [
    [
      'only what begins so',
      [DELETE, { prefix: 'a' }, 200, { revision: 6, deleted: 3, keys: ['a1', 'a2', 'a3'] }],
      ['GET P', undefined, 200, { items: 2, revision: 6 }],
    ],
    ['the empty prefix means all', [DELETE, { prefix: '' }, 200, { deleted: 5, keys: ['a1', 'a2', 'a3', 'b1', 'ä1'] }]],
    ['a prefix of several bytes', [DELETE, { prefix: 'ä' }, 200, { deleted: 1, keys: ['ä1'] }]],
    [
      'nothing there is no commit',
      [DELETE, { prefix: 'z' }, 200, { revision: 5, deleted: 0, keys: [] }],
      ['GET P', undefined, 200, { revision: 5 }],
    ],
    [
      'a missing collection is empty',
      ['POST P/collections/never/delete', { prefix: '' }, 200, { revision: 5, deleted: 0, keys: [] }],
      ['GET P/collections/never', undefined, 404],
    ],
    [
      'a limit takes the first by key',
      [DELETE, { prefix: 'a', limit: 2 }, 200, { deleted: 2, keys: ['a1', 'a2'] }],
      [DELETE, { prefix: 'a', limit: 2 }, 200, { deleted: 1, keys: ['a3'] }],
    ],
    ['the expected count', [DELETE, { prefix: 'a', expectCount: 3 }, 200, { deleted: 3 }]],
    [
      'another count than expected deletes nothing',
      [DELETE, { prefix: 'a', expectCount: 2 }, 412, { code: 'preconditionFailed' }],
      ['GET P', undefined, 200, { items: 5, revision: 5 }],
    ],
    [
      'the expected count is of what matches, whatever the limit',
      [DELETE, { prefix: 'a', expectCount: 2, limit: 2 }, 412, { code: 'preconditionFailed' }],
      [DELETE, { prefix: 'a', expectCount: 4, limit: 2 }, 412, { code: 'preconditionFailed', count: 3 }],
      [DELETE, { prefix: 'a', expectCount: 3, limit: 2 }, 200, { deleted: 2, keys: ['a1', 'a2'] }],
    ],
    ['none expected and none there', [DELETE, { prefix: 'z', expectCount: 0 }, 200, { deleted: 0 }]],
  ];

  it.each(rowsOf(stories))('%s', async (_says, steps) => {
    const scenario = new Scenario(server);
    await scenario.fill({ a2: {}, b1: {}, a1: {}, ä1: {}, a3: {} });
    await scenario.play(steps);
  });

  it.each<[says: string, pointer: string, body: unknown]>([
    ['without a prefix', '/prefix', {}],
    ['with a limit of 0', '/limit', { prefix: '', limit: 0 }],
    ['with a limit past 1,000', '/limit', { prefix: '', limit: 1001 }],
    ['with a limit that is no integer', '/limit', { prefix: '', limit: 1.5 }],
    ['with an unknown member', '/dryRun', { prefix: '', dryRun: true }],
  ])('%s it is refused', async (_says, pointer, body) => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: {} });
    const answer = await scenario.refused(400, 'badRequest', DELETE, body);
    if (pointer !== '/prefix') expect(pointersOf(answer)).toEqual([pointer]);
  });

  it('more than 1,000 need a limit', async () => {
    const scenario = new Scenario(server);
    const ops = Array.from({ length: 1000 }, (_, i) => ({
      op: 'put',
      collection: 'things',
      key: `k${i}`,
      attributes: {},
    }));
    await scenario.calls(['POST P/batch', { ops }], ['PUT C/items/one-more', { attributes: {} }]);
    await scenario.refused(422, 'invalid', DELETE, { prefix: '' });
    expect((await scenario.calls([DELETE, { prefix: 'k' }])).body).toMatchObject({ deleted: 1000, revision: 3 });
    expect((await scenario.calls([DELETE, { prefix: '', limit: 1000 }])).body).toMatchObject({
      deleted: 1,
      keys: ['one-more'],
    });
  });

  it('is one commit to those who read the log', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a1: { x: 1 }, a2: {} });
    const since = await scenario.cursor();
    await scenario.calls([DELETE, { prefix: 'a' }]);
    const { commits } = (await scenario.calls([`GET P/changes?since=${since}`])).body;
    expect(commits).toMatchObject([
      {
        revision: 3,
        changes: [
          { op: 'delete', key: 'a1', changed: ['x'], removed: ['x'] },
          { op: 'delete', key: 'a2' },
        ],
      },
    ]);
  });
});
