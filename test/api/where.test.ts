/** Filters outside of queries: deletion by query, and the conditions of a batch. */
import { beforeAll, describe, expect, it } from 'vitest';
import { pointersOf, rowsOf, Scenario, type Story } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const DELETE = 'POST C/delete';
const BATCH = 'POST P/batch';
/** Four commits: revision 4. */
const things = {
  a1: { status: 'done', n: 1 },
  a2: { status: 'open', n: 2 },
  b1: { status: 'done', n: 3 },
  b2: { n: 4, o: { p: null } },
};

describe.each(databases)('filters of deletions and conditions on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });

  const deletions: Story[] = [
    [
      'what matches goes, in one commit',
      [DELETE, { where: { status: 'done' } }, 200, { revision: 5, deleted: 2, keys: ['a1', 'b1'] }],
      ['GET P', undefined, 200, { items: 2, revision: 5 }],
      ['GET C/items', undefined, 200, { items: [{ key: 'a2' }, { key: 'b2' }] }],
    ],
    [
      'with a prefix, what has both',
      [DELETE, { where: { status: 'done' }, prefix: 'b' }, 200, { deleted: 1, keys: ['b1'] }],
    ],
    ['the empty filter means all', [DELETE, { where: {} }, 200, { deleted: 4, keys: ['a1', 'a2', 'b1', 'b2'] }]],
    ['an empty or means none', [DELETE, { where: { or: [] } }, 200, { revision: 4, deleted: 0, keys: [] }]],
    [
      'nothing that matches is no commit',
      [DELETE, { where: { status: 'lost' } }, 200, { revision: 4, deleted: 0, keys: [] }],
      ['GET P', undefined, 200, { items: 4, revision: 4 }],
    ],
    ['where something is missing', [DELETE, { where: { status: { exists: false } } }, 200, { keys: ['b2'] }]],
    ['a nested null', [DELETE, { where: { '/o/p': null } }, 200, { keys: ['b2'] }]],
    [
      'by key and revision',
      [DELETE, { where: { '/@key': { gte: 'a2' }, '/@revision': { lt: 4 } } }, 200, { keys: ['a2', 'b1'] }],
    ],
    [
      'a limit takes the first by key, and may be repeated',
      [DELETE, { where: { n: { gt: 1 } }, limit: 2 }, 200, { deleted: 2, keys: ['a2', 'b1'] }],
      [DELETE, { where: { n: { gt: 1 } }, limit: 2 }, 200, { deleted: 1, keys: ['b2'] }],
    ],
    ['the expected count', [DELETE, { where: { status: 'done' }, expectCount: 2 }, 200, { deleted: 2 }]],
    [
      'another count than expected deletes nothing',
      [DELETE, { where: { status: 'done' }, expectCount: 1 }, 412, { code: 'preconditionFailed' }],
      [DELETE, { where: { status: 'done' }, expectCount: 3 }, 412, { code: 'preconditionFailed' }],
      [DELETE, { where: { status: 'done' }, expectCount: 0 }, 412, { code: 'preconditionFailed' }],
      ['GET P', undefined, 200, { items: 4, revision: 4 }],
    ],
    ['none expected and none there', [DELETE, { where: { status: 'lost' }, expectCount: 0 }, 200, { deleted: 0 }]],
    [
      'a missing collection is empty',
      ['POST P/collections/never/delete', { where: { a: 1 } }, 200, { revision: 4, deleted: 0, keys: [] }],
      ['GET P/collections/never', undefined, 404],
    ],
    [
      'an index finds what goes, and forgets it',
      ['PUT P/collections/_dictionary/items/things', { attributes: { indexes: ['status', '-n'] } }, 200],
      [DELETE, { where: { status: 'done' } }, 200, { keys: ['a1', 'b1'] }],
      ['POST C/query', { where: { status: 'done' }, explain: true }, 200, { items: [], plan: { examined: 0 } }],
      ['PUT C/items/a1', { attributes: { status: 'done' } }, 201],
      [DELETE, { where: { status: 'done' }, expectCount: 1 }, 200, { keys: ['a1'] }],
      [DELETE, { where: { n: { gte: 2 } } }, 200, { keys: ['a2', 'b2'] }],
    ],
  ];
  it.each(rowsOf(deletions))('deletion: %s', async (_says, steps) => {
    const scenario = new Scenario(server);
    await scenario.fill(things);
    await scenario.play(steps);
  });

  it.each<[body: unknown, pointer: string, code?: string]>([
    [{}, '/where'],
    [{ limit: 5 }, '/where'],
    [{ expectCount: 0 }, '/where'],
    [{ where: null }, '/where', 'invalidFilter'],
    [{ where: [] }, '/where', 'invalidFilter'],
    [{ where: { a: { gt: null } } }, '/where/a/gt', 'invalidFilter'],
    [{ where: { or: [{ a: { like: 1 } }] } }, '/where/or/0/a/like', 'invalidFilter'],
    [{ where: {}, limit: 0 }, '/limit'],
    [{ where: {}, limit: 1001 }, '/limit'],
    [{ where: {}, expectCount: -1 }, '/expectCount'],
    [{ where: {}, start: 'a' }, '/start'],
    [{ filter: {} }, '/filter'],
  ])('deletion of %j is refused by name', async (body, pointer, code = 'badRequest') => {
    const scenario = new Scenario(server);
    await scenario.fill(things);
    expect(pointersOf(await scenario.refused(400, code, DELETE, body))).toEqual([pointer]);
  });

  it('deletion of more than 1,000 matches needs a limit, and may be repeated', async () => {
    const scenario = new Scenario(server);
    for (const part of [0, 1]) {
      const ops = Array.from({ length: 700 }, (_, i) => ({
        op: 'put',
        collection: 'things',
        key: `k${1000 + 700 * part + i}`,
        attributes: { part, even: i % 2 === 0 },
      }));
      await scenario.calls([BATCH, { ops }]);
    }
    await scenario.refused(422, 'invalid', DELETE, { where: { part: { gte: 0 } } });
    await scenario.refused(412, 'preconditionFailed', DELETE, { where: { part: { gte: 0 } }, expectCount: 1000 });
    expect((await scenario.calls([DELETE, { where: { even: true } }])).body).toMatchObject({
      revision: 3,
      deleted: 700,
    });
    const first = (await scenario.calls([DELETE, { where: {}, limit: 400 }])).body;
    expect(first).toMatchObject({ revision: 4, deleted: 400 });
    expect(first.keys.slice(0, 2)).toEqual(['k1001', 'k1003']);
    expect((await scenario.calls([DELETE, { where: {}, limit: 400 }])).body.deleted).toBe(300);
  });

  it('deletion is judged in the commit: of two at once, each item goes once', async () => {
    const scenario = new Scenario(server);
    await scenario.fill(things);
    const answers = await Promise.all(
      Array.from({ length: 6 }, () => scenario.call(DELETE, { where: { n: { gte: 1 } }, limit: 1 })),
    );
    expect(answers.flatMap(({ body }) => body.keys).sort()).toEqual(['a1', 'a2', 'b1', 'b2']);
  });

  const put = { op: 'put', collection: 'things', key: 'new', attributes: { x: 1 } };
  const on = (key: string, where: unknown) => ({ collection: 'things', key, where });
  const conditions: [says: string, holds: boolean, condition: Record<string, unknown>][] = [
    ['an item that matches', true, on('a1', { status: 'done', n: { lt: 2 } })],
    ['an item that does not', false, on('a1', { status: 'open' })],
    ['one that matches in part', false, on('a1', { status: 'done', n: 2 })],
    ['the empty filter, of any item', true, on('a1', {})],
    ['the empty filter, of none', false, on('none', {})],
    ['a missing item matches nothing', false, on('none', { status: 'done' })],
    ['not even what is missing', false, on('none', { status: { exists: false } })],
    ['nor a not', false, on('none', { not: { status: 'done' } })],
    ['an item without the attribute', true, on('b2', { status: { exists: false } })],
    ['a nested null', true, on('b2', { '/o/p': null })],
    ["the item's own key and revision", true, on('a2', { '/@key': 'a2', '/@revision': 2 })],
    ['another revision', false, on('a2', { '/@revision': { gt: 2 } })],
    ['logic', true, on('a2', { or: [{ n: 1 }, { n: 2 }], not: { status: 'done' } })],
    ['with a revision beside it', true, { ...on('a2', { n: 2 }), revision: 2 }],
    ['with another revision beside it', false, { ...on('a2', { n: 2 }), revision: 1 }],
    ['that it exists beside it', true, { ...on('a2', { n: 2 }), exists: true }],
    ['that it does not exist beside it', false, { ...on('a2', { n: 2 }), exists: false }],
    ['in a missing collection', false, { collection: 'never', key: 'a1', where: {} }],
  ];
  it.each(conditions)('condition of a batch: %s holds: %s', async (_says, holds, condition) => {
    const scenario = new Scenario(server);
    await scenario.fill(things);
    const own = { ...put, if: condition };
    if (holds) {
      expect((await scenario.calls([BATCH, { if: [condition], ops: [put] }])).body.revision).toBe(5);
      await scenario.calls(['DELETE C/items/new'], [BATCH, { ops: [own] }]);
      expect(await scenario.attributes('new')).toEqual({ x: 1 });
    } else {
      await scenario.refused(412, 'preconditionFailed', BATCH, { if: [condition], ops: [put] });
      await scenario.refused(412, 'preconditionFailed', BATCH, { if: [on('a1', {}), condition], ops: [put] });
      await scenario.refused(412, 'preconditionFailed', BATCH, { ops: [own] });
      expect(await scenario.attributes('new')).toBe(undefined);
    }
  });

  it.each<[where: unknown, pointer: string]>([
    [null, ''],
    [[], ''],
    [{ n: { about: 1 } }, '/n/about'],
    [{ n: null }, '/n'],
    [{ or: [{ n: 1 }, { 'x/y': { in: 1 } }] }, '/or/1/x~1y/in'],
  ])('condition %j is refused with its place', async (where, pointer) => {
    const scenario = new Scenario(server);
    await scenario.fill(things);
    const outer = await scenario.refused(400, 'invalidFilter', BATCH, {
      if: [on('a1', {}), on('a2', where)],
      ops: [put],
    });
    expect(pointersOf(outer)).toEqual([`/if/1/where${pointer}`]);
    const inner = await scenario.refused(400, 'invalidFilter', BATCH, { ops: [put, { ...put, if: [{ where }] }] });
    expect(pointersOf(inner)[0]).toBe(`/ops/1/if/0/where${pointer}`);
  });
});
