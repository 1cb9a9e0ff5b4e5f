/** How a query finds its items, what it may examine for that, and the items that others refer to. */
import { beforeAll, describe, expect, it } from 'vitest';
import { type Answer, expectProblem, pointersOf, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const SCAN_ITEMS = 100;
const keysOf = ({ body }: Answer): string => body.items.map(({ key }: { key: string }) => key).join(' ');

/** A collection `things` of `amount` items k1000, k1001 and so on. */
async function fillMany(scenario: Scenario, amount: number, attributes: (i: number) => object): Promise<void> {
  for (let from = 0; from < amount; from += 1000) {
    const ops = Array.from({ length: Math.min(1000, amount - from) }, (_, i) => ({
      op: 'put',
      collection: 'things',
      key: `k${1000 + from + i}`,
      attributes: attributes(from + i),
    }));
    await scenario.calls(['POST P/batch', { ops }]);
  }
}

const declare = (scenario: Scenario, indexes: unknown[], more: object = {}) =>
  scenario.calls(['PUT P/collections/_dictionary/items/things', { attributes: { indexes, ...more } }]);

describe.each(databases)('how queries are answered on $name', ({ name }) => {
  let server: Server;
  let scenario: Scenario;
  beforeAll(async () => {
    server = await startServer({ database: name, env: { STARGUS_SCAN_ITEMS: String(SCAN_ITEMS) } });
    scenario = new Scenario(server);
    await fillMany(scenario, 90, (i) => ({ n: i, kind: i % 10, colour: i % 3 ? 'red' : 'blue', deep: { m: -i } }));
    await declare(scenario, [
      'n',
      ['kind', '-n'],
      { attributes: ['colour', '/deep/m'], name: 'by colour' },
      { attribute: '/deep/m', unique: true },
    ]);
  });

  describe('explain tells', () => {
    const rows: [says: string, query: Record<string, unknown>, plan: Record<string, unknown>][] = [
      ['a walk of the keys', {}, { access: 'keys', indexes: [], sorted: false, examined: 51 }],
      ['a filter that nothing serves', { where: { other: 1 } }, { access: 'keys', sorted: false, examined: 90 }],
      ['a range of keys', { start: 'k1010', end: 'k1015' }, { access: 'keys', sorted: false, examined: 5 }],
      ['a filter of keys', { where: { '/@key': { gte: 'k1080', lt: 'k1085' } } }, { access: 'keys', examined: 5 }],
      ['one key', { where: { '/@key': 'k1080' } }, { access: 'keys', examined: 1 }],
      [
        'keys',
        { where: { '/@key': { in: ['k1080', 'k1003', 'none'] } } },
        { access: 'keys', sorted: false, examined: 2 },
      ],
      [
        'keys of branches',
        {
          where: { or: [{ '/@key': { lt: 'k1002' } }, { '/@key': 'k1080', other: { exists: false } }] },
          order: ['-/@key'],
        },
        { access: 'keys', sorted: false, examined: 3 },
      ],
      ['keys backwards', { order: ['-/@key'], limit: 5 }, { access: 'keys', sorted: false, examined: 6 }],
      [
        'keys and an index of branches',
        { where: { or: [{ n: 3 }, { '/@key': { in: ['k1003', 'k1004'] } }] } },
        { access: 'union', indexes: ['n'], examined: 2 },
      ],
      ['an index', { where: { n: 7 } }, { access: 'index', index: 'n', indexes: ['n'], sorted: false, examined: 1 }],
      [
        'an index and its order',
        { where: { n: { gte: 80 } }, order: ['-n'] },
        { access: 'index', index: 'n', sorted: false, examined: 10 },
      ],
      ['an order alone', { order: ['n'], limit: 5 }, { access: 'index', index: 'n', sorted: false, examined: 6 }],
      ['one backwards', { order: ['-n'], limit: 5 }, { access: 'index', index: 'n', sorted: false, examined: 6 }],
      ['a composite one', { where: { kind: 4 }, order: ['-n'] }, { index: 'kind,-n', sorted: false, examined: 9 }],
      [
        'the narrower of two',
        { where: { kind: 4, n: { lt: 30 } } },
        { access: 'index', index: 'kind,-n', examined: 3 },
      ],
      [
        'an index whose items had to be sorted',
        { where: { kind: 4 }, order: ['colour'] },
        { index: 'kind,-n', sorted: true, examined: 9 },
      ],
      ['keys that had to be sorted', { order: ['other'] }, { access: 'keys', sorted: true, examined: 90 }],
      ['a place inside', { where: { '/deep/m': -5 } }, { access: 'index', examined: 1 }],
      [
        'its name where it has one',
        { where: { colour: 'blue', '/deep/m': { gt: -9 } } },
        { access: 'index', examined: 3 },
      ],
      [
        'the indexes of branches',
        { where: { or: [{ n: 3 }, { kind: 4 }] } },
        { access: 'union', indexes: ['n', 'kind,-n'], examined: 10 },
      ],
      [
        'one index of several branches',
        { where: { or: [{ n: 3 }, { n: 4 }] } },
        { access: 'union', index: 'n', indexes: ['n'], examined: 2 },
      ],
      [
        'a branch that no index serves',
        { where: { or: [{ n: 3 }, { other: 4 }] } },
        { access: 'keys', indexes: [], examined: 90 },
      ],
      ['a list of nothing', { where: { n: { in: [] } } }, { access: 'index', examined: 0 }],
    ];

    it.each(rows)('%s', async (_says, query, plan) => {
      const { body } = await scenario.calls(['POST C/query', { ...query, explain: true }]);
      expect(body.plan).toMatchObject(plan);
      expect(Object.hasOwn(body.plan, 'index')).toBe(body.plan.indexes.length === 1);
    });

    it('the same by parameters, and for aggregates', async () => {
      const asked = await scenario.calls([`GET C/items?explain=true&where=${encodeURIComponent('{"n":7}')}`]);
      expect(asked.body.plan).toMatchObject({ access: 'index', index: 'n', examined: 1 });
      expect((await scenario.calls(['GET C/items?explain=false'])).body).not.toHaveProperty('plan');
      const { body } = await scenario.calls([
        'POST C/query',
        { where: { kind: 4 }, aggregates: { sum: { sum: 'n' } }, explain: true },
      ]);
      expect(body).toMatchObject({ aggregates: { sum: 396 }, plan: { index: 'kind,-n', examined: 9 } });
    });
  });

  describe('past the bound', () => {
    let many: Scenario;
    beforeAll(async () => {
      many = new Scenario(server);
      await fillMany(many, 300, (i) => ({ n: i, kind: i % 100, colour: i < 100 ? 'red' : 'blue' }));
    });

    it.each<[says: string, query: Record<string, unknown>]>([
      ['a filter that few match', { where: { n: 299 } }],
      ['an order', { order: ['n'] }],
      ['aggregates', { aggregates: { sum: { sum: 'n' } } }],
      ['groups', { aggregates: { n: { count: 'n' } }, groupBy: ['kind'] }],
      ['a count', { where: { n: { gte: 0 } }, limit: 1, count: 'exact' }],
      ['a deep or', { where: { or: [{ n: 299 }, { kind: 299 }] } }],
    ])('%s is refused by the bound’s name, and never cut', async (_says, query) => {
      const answer = await many.refused(422, 'scanLimit', 'POST C/query', query);
      expect(answer.body.detail).toContain(`${SCAN_ITEMS} items`);
      expect(answer.body).toMatchObject({ scanItemsMax: SCAN_ITEMS, scanBytesMax: expect.any(Number) });
    });

    it('what ends before it is answered', async () => {
      expect(keysOf(await many.calls(['POST C/query', { where: { n: { lt: 3 } }, limit: 2 }]))).toBe('k1000 k1001');
      expect((await many.calls(['POST C/query', { limit: 80 }])).body.items).toHaveLength(80);
      // No item needs to be looked at for these.
      expect((await many.calls(['POST C/query', { count: 'exact', limit: 1 }])).body.count).toBe(300);
      expect((await many.calls(['POST C/query', { prefix: 'k12', count: 'exact', limit: 1 }])).body.count).toBe(100);
      const narrow = await many.calls(['POST C/query', { prefix: 'k12', where: { kind: 7 }, order: ['-n'] }]);
      expect(keysOf(narrow)).toBe('k1207');
    });

    it('an index makes the same queries work', async () => {
      const indexed = new Scenario(server);
      await fillMany(indexed, 300, (i) => ({ n: i, kind: i % 100, colour: i < 100 ? 'red' : 'blue' }));
      await indexed.refused(422, 'scanLimit', 'POST C/query', { where: { n: 299 } });
      await declare(indexed, ['n', 'kind']);
      expect(keysOf(await indexed.calls(['POST C/query', { where: { n: 299 } }]))).toBe('k1299');
      expect(keysOf(await indexed.calls(['POST C/query', { order: ['-n'], limit: 2 }]))).toBe('k1299 k1298');
      expect(keysOf(await indexed.calls(['POST C/query', { where: { kind: 5 }, order: ['-colour', 'n'] }]))).toBe(
        'k1005 k1105 k1205',
      );
      const counted = { where: { n: { gte: 50 } }, order: ['n'], limit: 1, count: 'exact' };
      expect((await indexed.calls(['POST C/query', counted])).body.count).toBe(250);
      const { body } = await indexed.calls(['POST C/query', { where: { or: [{ n: 299 }, { kind: 7 }] } }]);
      expect(body.items).toHaveLength(4);
      await indexed.refused(422, 'scanLimit', 'POST C/query', { where: { colour: 'red' }, order: ['kind', 'n'] });
    });

    it('a page that a walk in order finds early needs no more, though an index leads to too many', async () => {
      const indexed = new Scenario(server);
      await fillMany(indexed, 300, (n) => ({ n }));
      await declare(indexed, ['n']);
      const query = { where: { n: { gte: 50 } }, limit: 2, explain: true };
      const { body } = await indexed.calls(['POST C/query', query]);
      expect(body).toMatchObject({
        items: [{ key: 'k1050' }, { key: 'k1051' }],
        plan: { access: 'keys', examined: 53 },
      });
      await indexed.refused(422, 'scanLimit', 'POST C/query', { where: { n: { gte: 120 } } });
    });

    it.each<[says: string, query: object, keys: string]>([
      ['named keys', { where: { '/@key': { in: ['k1299', 'none', 'k1000'] } } }, 'k1000 k1299'],
      ['keys of branches', { where: { or: [{ '/@key': 'k1299' }, { '/@key': { lt: 'k1001' } }] } }, 'k1000 k1299'],
      ['named keys, sorted', { where: { '/@key': { in: ['k1299', 'k1000'] } }, order: ['-n'] }, 'k1299 k1000'],
      ['named keys backwards', { where: { '/@key': { in: ['k1299', 'k1000'] } }, order: ['-/@key'] }, 'k1299 k1000'],
      ['the last key', { order: ['-/@key'], limit: 1 }, 'k1299'],
      ['the last keys of a range', { end: 'k1200', order: ['-/@key', 'n'], limit: 2 }, 'k1199 k1198'],
    ])('%s are found, however many there are', async (_says, query, keys) => {
      expect(keysOf(await many.calls(['POST C/query', query]))).toBe(keys);
    });

    it('backwards, page by page, keys come each once', async () => {
      const found: string[] = [];
      for (let pageToken: string | undefined; ; ) {
        const query = { order: ['-/@key'], limit: 90, ...(pageToken !== undefined && { pageToken }) };
        const answer = await many.calls(['POST C/query', query]);
        found.push(...keysOf(answer).split(' '));
        pageToken = answer.body.nextPageToken;
        if (pageToken === undefined) break;
      }
      expect(found).toEqual(Array.from({ length: 300 }, (_, i) => `k${1299 - i}`));
    });

    it('a listing in the order of keys is never refused, whatever its limit', async () => {
      const { body } = await many.calls([`GET C/items?limit=${SCAN_ITEMS}`]);
      expect(body.items).toHaveLength(SCAN_ITEMS);
      expect((await many.calls(['GET C/items?limit=1000'])).body.items).toHaveLength(300);
      expect((await many.calls(['GET C/items?limit=1000&order=-/@key'])).body.items).toHaveLength(300);
    });

    it('a deletion by query is bounded too', async () => {
      const answer = await many.refused(422, 'scanLimit', 'POST C/delete', { where: { n: 299 } });
      expect(answer.body.detail).toContain(`${SCAN_ITEMS} items`);
      expect(await many.attributes('k1299')).toMatchObject({ n: 299 });
    });
  });

  describe('expand', () => {
    let related: Scenario;
    beforeAll(async () => {
      related = new Scenario(server);
      const people = 'P/collections/people/items';
      await related.calls(
        [`PUT ${people}/ann`, { attributes: { name: 'Ann', boss: 'bob' } }],
        [`PUT ${people}/bob`, { attributes: { name: 'Bob' } }],
        ['PUT P/collections/tags/items/__proto__', { attributes: { text: 'odd' } }],
        ['PUT P/collections/tags/items/x', { attributes: { text: 'X' } }],
      );
      await declare(related, [], {
        relations: { owner: 'people', helpers: { collection: 'people' }, tags: 'tags', place: 'places' },
      });
      await related.fill({
        a: { owner: 'ann', helpers: ['bob', 'nobody', 'ann', 'ann', 7, null], tags: ['x', '__proto__'], place: 'here' },
        b: { owner: 'nobody', helpers: 'bob' },
        c: { owner: 5, tags: { x: 1 }, place: ['here', 'there'] },
        d: {},
      });
    });
    const names = (body: { expanded: Record<string, object> }) =>
      Object.fromEntries(Object.entries(body.expanded).map(([of, items]) => [of, Object.keys(items).sort()]));

    it.each<[says: string, query: Record<string, unknown>, expanded: Record<string, string[]>]>([
      ['one relation', { expand: ['owner'] }, { people: ['ann'] }],
      ['a relation of arrays', { expand: ['helpers'] }, { people: ['ann', 'bob'] }],
      ['two into one collection', { expand: ['owner', 'helpers'], start: 'b' }, { people: ['bob'] }],
      ['several', { expand: ['owner', 'tags'] }, { people: ['ann'], tags: ['__proto__', 'x'] }],
      ['only of the page', { expand: ['owner', 'helpers'], limit: 1, start: 'c' }, { people: [] }],
      ['whatever fields are shown', { expand: ['owner'], fields: ['tags'] }, { people: ['ann'] }],
      ['into a collection that is not there', { expand: ['place'] }, { places: [] }],
      ['the same twice', { expand: ['owner', 'owner'] }, { people: ['ann'] }],
      ['nothing', { expand: [] }, {}],
    ])('%s', async (_says, query, expanded) => {
      const { body } = await related.calls(['POST C/query', query]);
      expect(names(body)).toEqual(expanded);
    });

    it('answers whole items, once, and of one level', async () => {
      const { body } = await related.calls(['GET C/items?expand=owner,helpers&fields=owner']);
      expect(body.expanded).toEqual({
        people: {
          ann: {
            collection: 'people',
            key: 'ann',
            revision: 1,
            createdRevision: 1,
            attributes: { name: 'Ann', boss: 'bob' },
          },
          bob: { collection: 'people', key: 'bob', revision: 2, createdRevision: 2, attributes: { name: 'Bob' } },
        },
      });
      expect(body.items[0].attributes).toEqual({ owner: 'ann' });
      expect((await related.calls(['GET C/items'])).body).not.toHaveProperty('expanded');
    });

    it.each<[query: Record<string, unknown>]>([
      [{ expand: ['owner', 'boss'] }],
      [{ expand: [''] }],
      [{ expand: ['toString'] }],
      [{ expand: ['/owner'] }],
      [{ expand: Array.from({ length: 9 }, () => 'owner') }],
    ])('%j names no relations', async (query) => {
      expect(pointersOf(await related.refused(400, 'badRequest', 'POST C/query', query))).toEqual(['/expand']);
    });

    it('shows items as their own collection’s read transforms have them', async () => {
      const guarded = new Scenario(server);
      const transforms = [
        { attribute: 'secret', on: 'read', expression: 'null' },
        { attribute: 'shout', on: 'read', expression: 'self.name.upperAscii()' },
      ];
      await guarded.calls(
        ['PUT P/collections/_dictionary/items/people', { attributes: { transforms } }],
        ['PUT P/collections/people/items/ann', { attributes: { name: 'Ann', secret: 'x' } }],
      );
      await declare(guarded, [], { relations: { owner: 'people' } });
      await guarded.fill({ a: { owner: 'ann' } });
      const alone = await guarded.calls(['GET P/collections/people/items/ann']);
      expect(alone.body.attributes).toEqual({ name: 'Ann', shout: 'ANN' });
      const { body } = await guarded.calls(['GET C/items?expand=owner']);
      expect(body.expanded).toEqual({ people: { ann: alone.body } });
    });

    it('of a collection without relations is refused, also where there is no such collection', async () => {
      for (const of of ['people', 'nowhere']) {
        expectProblem(await related.call(`GET P/collections/${of}/items?expand=owner`), 400, 'badRequest');
      }
    });
    it('of more items than are expanded is refused before any is read', async () => {
      const wide = new Scenario(server);
      await declare(wide, [], { relations: { a: 'people', b: 'people' } });
      const keys = (prefix: string) => Array.from({ length: 100 }, (_, k) => `${prefix}${k}`);
      await fillMany(wide, 80, (i) => ({ a: keys(`a${i}-`), b: keys(`b${i}-`) }));
      expectProblem(await wide.call('GET C/items?expand=a,b&limit=80'), 413, 'tooLarge');
      expect((await wide.calls(['GET C/items?expand=a,b&limit=40'])).body.expanded).toEqual({ people: {} });
    });
  });

  it('an `or` of nothing examines nothing, however much there is', async () => {
    const { body } = await scenario.calls(['POST C/query', { where: { or: [] }, count: 'exact', explain: true }]);
    expect(body).toMatchObject({ items: [], count: 0, plan: { examined: 0 } });
  });

  it('groups whose values are too long to be answered are refused', async () => {
    const long = new Scenario(server);
    const text = 'x'.repeat(900_000);
    for (let i = 0; i < 12; i++) await long.calls([`PUT C/items/k${i}`, { attributes: { text: `${text}${i}` } }]);
    const groups = { groupBy: ['text'], aggregates: { n: { count: '/@key' } } };
    expectProblem(await long.call('POST C/query', groups), 422, 'scanLimit');
    expect((await long.calls(['POST C/query', { ...groups, prefix: 'k1' }])).body.groups).toHaveLength(3);
  });
});
