/** Queries: by parameters, by POST and by QUERY; what they find, how they say that they found it, and what is refused. */
import { beforeAll, describe, expect, it } from 'vitest';
import { head, sendRaw } from '../support/raw.js';
import { type Answer, expectProblem, pointersOf, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const keysOf = ({ body }: Answer): string => body.items.map(({ key }: { key: string }) => key).join(' ');
const encoded = (query: Record<string, unknown>): string =>
  Object.entries(query)
    .map(([name, value]) => `${name}=${encodeURIComponent(typeof value === 'string' ? value : JSON.stringify(value))}`)
    .join('&');

/** Six tasks, each a commit of its own: revisions 1 to 6. */
const tasks = {
  a: { status: 'open', priority: 3, title: 'Apple', address: { city: 'Oslo' }, tags: ['x', 'y'] },
  b: { status: 'open', priority: 1, title: 'Ähre', address: { city: 'Rome' }, tags: [] },
  c: { status: 'done', priority: 2, title: 'a.c', address: { city: null } },
  d: { status: 'done', title: 'abc', 'odd,name': 1, or: 'gate' },
  e: { status: 'open', priority: 3, title: '.*', tags: ['y'] },
  f: { priority: '3' },
};

describe.each(databases)('queries on $name', ({ name }) => {
  let server: Server;
  let scenario: Scenario;
  beforeAll(async () => {
    server = await startServer({ database: name });
    scenario = new Scenario(server);
    await scenario.fill(tasks);
  });

  /** The members of a query, and what it finds in this order. Each is asked in all forms. */
  const rows: [query: Record<string, unknown>, keys: string][] = [
    [{}, 'a b c d e f'],
    [{ where: { status: 'open' } }, 'a b e'],
    [{ where: { status: 'open', priority: { gte: 2 } } }, 'a e'],
    [{ where: { priority: { gte: 2, lt: 3 } } }, 'c'],
    [{ where: { priority: 3 } }, 'a e'],
    [{ where: { priority: '3' } }, 'f'],
    [{ where: { priority: { gt: '' } } }, 'f'],
    [{ where: { status: { ne: 'open' } } }, 'c d'],
    [{ where: { not: { status: 'open' } } }, 'c d f'],
    [{ where: { status: { exists: false } } }, 'f'],
    [{ where: { priority: { nin: [1, 2, '3'] } } }, 'a e'],
    [{ where: { or: [{ priority: 1 }, { title: 'abc' }] } }, 'b d'],
    [{ where: { or: [] } }, ''],
    [{ where: { and: [] } }, 'a b c d e f'],
    [{ where: { tags: { has: 'y' } } }, 'a e'],
    [{ where: { tags: { eq: [] } } }, 'b'],
    [{ where: { '/address/city': { in: ['Oslo', 'Rome'] } } }, 'a b'],
    [{ where: { '/address/city': null } }, 'c'],
    [{ where: { address: { eq: { city: 'Oslo' } } } }, 'a'],
    [{ where: { '/tags/0': 'y' } }, 'e'],
    [{ where: { '/or': 'gate' } }, 'd'],
    [{ where: { 'odd,name': 1 } }, 'd'],
    [{ where: { '/@key': { gt: 'b', lte: 'd' } } }, 'c d'],
    [{ where: { '/@revision': { lt: 3 } } }, 'a b'],
    // What would be a pattern elsewhere is a text.
    [{ where: { title: { prefix: '.' } } }, 'e'],
    [{ where: { title: { prefix: 'a.c' } } }, 'c'],
    [{ where: { title: { prefix: '%' } } }, ''],
    [{ where: { title: { prefix: 'a_' } } }, ''],
    [{ where: { title: { prefix: 'a' } } }, 'c d'],
    [{ where: { title: '.*' } }, 'e'],
    // Into nothing, and into what has no inside.
    [{ where: { '/nothing/at/all': { ne: 1 } } }, ''],
    [{ where: { '/title/0': { exists: true } } }, ''],
    [{ where: { '/tags/length': { exists: true } } }, ''],
    [{ where: { '/priority/x': { exists: false } } }, 'a b c d e f'],
    [{ where: { __proto__x: 1 } }, ''],
    [{ where: JSON.parse('{"__proto__":{"exists":true}}') }, ''],
    [{ where: { constructor: { exists: true } } }, ''],
    [{ order: ['priority'] }, 'b c a e f d'],
    [{ order: ['-priority'] }, 'f a e c b d'],
    [{ order: ['-priority', 'title'] }, 'f e a c b d'],
    [{ order: ['status', '-/@key'] }, 'd c e b a f'],
    [{ order: ['-/@revision'] }, 'f e d c b a'],
    [{ order: ['title'] }, 'e a c d b f'],
    [{ order: ['/address/city'] }, 'c a b d e f'],
    [{ prefix: 'c' }, 'c'],
    [{ start: 'b', end: 'e' }, 'b c d'],
    [{ start: 'b', end: 'e', where: { status: 'done' }, order: ['-title'] }, 'd c'],
    [{ start: 'e', end: 'b' }, ''],
    [{ limit: 2 }, 'a b'],
    [{ limit: 1000 }, 'a b c d e f'],
    [{ where: { status: 'open' }, order: ['-priority'], limit: 2 }, 'a e'],
  ];

  it.each(rows)('%j in every form', async (query, keys) => {
    const parameters = { ...query, ...(query.order ? { order: (query.order as string[]).join() } : {}) };
    const forms: Answer[] = [
      await scenario.calls([`GET C/items?${encoded(parameters)}`]),
      await scenario.calls(['POST C/query', query]),
      await querySafely(query),
    ];
    for (const answer of forms) {
      expect(answer.status, answer.text).toBe(200);
      expect(keysOf(answer)).toBe(keys);
      expect(answer.body).toMatchObject({ revision: 6, cursor: answer.headers['stargus-cursor'] });
      expect(answer.headers['stargus-revision']).toBe('6');
      expect(answer.body).not.toHaveProperty('plan');
      expect(answer.body).not.toHaveProperty('count');
    }
    expect(forms[1]?.body).toEqual(forms[0]?.body);
    expect(forms[2]?.body).toEqual(forms[0]?.body);
    // How many there are doesn't depend on where a page ends.
    const { limit, ...whole } = query;
    const [counted, all] = [
      await scenario.calls(['POST C/query', { ...query, count: 'exact' }]),
      await scenario.calls(['POST C/query', whole]),
    ];
    expect(counted.body.count).toBe(all.body.items.length);
  });

  /** As no client knows the method yet, the bytes are written by hand. */
  function querySafely(query: unknown, where = scenario): Promise<Answer> {
    const text = JSON.stringify(query);
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
    return sendRaw(server, `${head(server, `QUERY ${where.path('C/items')}`, headers)}${text}`);
  }

  it('a body may be left out', async () => {
    expect(keysOf(await scenario.calls(['POST C/query']))).toBe('a b c d e f');
    expect(
      keysOf(
        await sendRaw(
          server,
          head(server, `QUERY ${scenario.path('C/items')}`, { 'content-type': 'application/json' }),
        ),
      ),
    ).toBe('a b c d e f');
  });

  it('a body of another type is refused', async () => {
    const answer = await scenario.call('POST C/query', '{}', { 'content-type': 'text/plain' });
    expectProblem(answer, 415, 'unsupportedMediaType');
  });

  it('the Link header keeps a question mark in the query', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ 'a?1': {}, 'a?2': {}, 'a?3': {} });
    const keys: string[] = [];
    for (let next: string | undefined = 'C/items?prefix=a?&limit=1'; next; ) {
      const { body, headers } = await scenario.calls([`GET ${next}`]);
      keys.push(...body.items.map(({ key }: { key: string }) => key));
      next = /^<([^>]+)>/.exec(headers.link ?? '')?.[1];
    }
    expect(keys).toEqual(['a?1', 'a?2', 'a?3']);
  });

  it('QUERY without a media type is refused for that', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: {} });
    const text = head(server, `QUERY ${scenario.path('C/items')}`, { 'content-length': 2 });
    expectProblem(await sendRaw(server, `${text}{}`), 415, 'unsupportedMediaType');
  });

  it('the Link header carries the whole query to the next page', async () => {
    const query = encoded({
      where: { title: { gte: '' } },
      order: '-priority,title',
      fields: 'title',
      limit: 2,
      count: 'exact',
    });
    let next: string | undefined = `C/items?${query}`;
    const pages: string[] = [];
    while (next) {
      const answer: Answer = await scenario.calls([`GET ${next}`]);
      expect(answer.body.count).toBe(5);
      pages.push(keysOf(answer));
      const link = /^<([^>]+)>; rel="next"$/.exec(answer.headers.link ?? '')?.[1];
      expect(link === undefined).toBe(answer.body.nextPageToken === undefined);
      next = link;
    }
    expect(pages).toEqual(['e a', 'c b', 'd']);
  });

  it.each<[query: Record<string, unknown>, shown: object]>([
    [{ fields: ['title'] }, { title: 'Apple' }],
    [{ fields: ['title', 'nothing'] }, { title: 'Apple' }],
    [{ fields: [] }, {}],
    [{ fields: ['/address/city', 'priority'] }, { priority: 3, address: { city: 'Oslo' } }],
    [{ fields: ['/tags/1'] }, { tags: ['x', 'y'] }],
    [{ fields: ['/@key'] }, {}],
  ])('%j shows only these attributes', async (query, shown) => {
    const { body } = await scenario.calls(['POST C/query', { ...query, limit: 1 }]);
    expect(body.items).toEqual([
      { collection: 'things', key: 'a', revision: 1, createdRevision: 1, attributes: shown },
    ]);
  });

  it('names with commas need a body', async () => {
    const inBody = await scenario.calls(['POST C/query', { fields: ['odd,name'], order: ['-odd,name'], limit: 1 }]);
    expect(inBody.body.items).toMatchObject([{ key: 'd', attributes: { 'odd,name': 1 } }]);
    const asked = await scenario.calls(['GET C/items?start=d&limit=1&fields=odd,name']);
    expect(asked.body.items).toEqual([expect.objectContaining({ attributes: {} })]);
  });

  it('a missing collection reads empty, in a pool that is there', async () => {
    const N = 'P/collections/nothing';
    const { body } = await scenario.calls([
      `POST ${N}/query`,
      { where: { a: 1 }, order: ['a'], count: 'exact', explain: true },
    ]);
    expect(body).toMatchObject({ items: [], count: 0, revision: 6, plan: { examined: 0 } });
    expect((await scenario.calls([`GET ${N}/items?count=exact`])).body).toMatchObject({ items: [], count: 0 });
    const total = { n: { count: '/@key' }, sum: { sum: 'a' }, min: { min: 'a' }, max: { max: 'a' }, avg: { avg: 'a' } };
    expect((await scenario.calls([`POST ${N}/query`, { aggregates: total }])).body.aggregates).toEqual({
      n: 0,
      sum: 0,
      min: null,
      max: null,
      avg: null,
    });
    expect((await scenario.calls([`POST ${N}/query`, { aggregates: total, groupBy: ['a'] }])).body.groups).toEqual([]);
    expectProblem(await scenario.call('GET P/collections/nothing'), 404, 'notFound');
    expectProblem(await new Scenario(server).call('POST C/query', {}), 404, 'notFound');
  });

  it('aggregates come instead of items, together or in groups', async () => {
    const aggregates = {
      n: { count: '/@key' },
      with: { count: 'priority' },
      sum: { sum: 'priority' },
      avg: { avg: 'priority' },
    };
    const all = await scenario.calls(['POST C/query', { aggregates }]);
    expect(all.body).toEqual({
      revision: 6,
      cursor: all.headers['stargus-cursor'],
      aggregates: { n: 6, with: 5, sum: 9, avg: 2.25 },
    });
    const some = await scenario.calls(['POST C/query', { where: { status: 'open' }, start: 'b', aggregates }]);
    expect(some.body.aggregates).toEqual({ n: 2, with: 2, sum: 4, avg: 2 });
    const groups = await querySafely({ aggregates, groupBy: ['status', '/tags/0'] });
    expect(groups.body).toEqual({
      revision: 6,
      cursor: groups.headers['stargus-cursor'],
      groups: [
        { group: { status: 'done' }, aggregates: { n: 2, with: 1, sum: 2, avg: 2 } },
        { group: { status: 'open', '/tags/0': 'x' }, aggregates: { n: 1, with: 1, sum: 3, avg: 3 } },
        { group: { status: 'open', '/tags/0': 'y' }, aggregates: { n: 1, with: 1, sum: 3, avg: 3 } },
        { group: { status: 'open' }, aggregates: { n: 1, with: 1, sum: 1, avg: 1 } },
        { group: {}, aggregates: { n: 1, with: 1, sum: 0, avg: null } },
      ],
    });
  });

  it.each<[query: string, pointer: string, code?: string]>([
    ['limit=0', '?limit'],
    ['limit=1001', '?limit'],
    ['limit=1.5', '?limit'],
    ['limit=x', '?limit'],
    ['limit=-1', '?limit'],
    ['count=about', '?count'],
    ['count=', '?count'],
    ['explain=yes', '?explain'],
    ['order=', '?order', 'invalidName'],
    ['order=a,,b', '?order', 'invalidName'],
    ['order=-', '?order', 'invalidName'],
    ['order=a,b,c,d,e,f,g,h,i', '?order'],
    ['fields=a,', '?fields', 'invalidName'],
    ['fields=/a~', '?fields'],
    ['expand=nobody', '?expand'],
    ['aggregates={}', '?aggregates'],
    ['groupBy=a', '?groupBy'],
    ['filter={}', '?filter'],
    ['sort=a', '?sort'],
    ['offset=1', '?offset'],
    ['where={}&where={}', '?where'],
    ['where=', '?where', 'invalidFilter'],
    ['where=x', '?where', 'invalidFilter'],
    ['where=[]', '?where', 'invalidFilter'],
    ['where={"a":{"like":"x"}}', '?where/a/like', 'invalidFilter'],
    ['where={"a":null}', '?where/a', 'invalidFilter'],
    ['where={"a":12345678901234567891}', '?where/a', 'numberOutOfRange'],
    [`where={"a":"${'x'.repeat(4096)}"}`, '?where', 'invalidFilter'],
  ])('GET ?%s is refused by name', async (query, pointer, code = 'badRequest') => {
    const answer = await scenario.refused(400, code, `GET C/items?${query.replace(/[{}"[\]]/g, encodeURIComponent)}`);
    expect(pointersOf(answer)).toEqual([pointer]);
  });

  const nots = (levels: number): object => (levels === 0 ? { a: 1 } : { not: nots(levels - 1) });
  it.each<[body: Record<string, unknown>, pointer: string, code?: string]>([
    [{ limit: 0 }, '/limit'],
    [{ limit: 1001 }, '/limit'],
    [{ limit: 1.5 }, '/limit'],
    [{ limit: 'x' }, '/limit'],
    [{ limit: '5' }, '/limit'],
    [{ limit: null }, '/limit'],
    [{ filter: {} }, '/filter'],
    [{ Where: {} }, '/Where'],
    [JSON.parse('{"__proto__": {}}'), '/__proto__'],
    [{ order: 'a' }, '/order'],
    [{ order: ['a', 1] }, '/order/1'],
    [{ order: ['a', ''] }, '/order/1', 'invalidName'],
    [{ order: Array.from('abcdefghi') }, '/order'],
    [{ fields: 'a' }, '/fields'],
    [{ fields: ['/~'] }, '/fields/0'],
    [{ expand: ['status'] }, '/expand'],
    [{ count: true }, '/count'],
    [{ explain: 'true' }, '/explain'],
    [{ prefix: 1 }, '/prefix'],
    [{ groupBy: ['a'] }, '/groupBy'],
    [{ aggregates: [] }, '/aggregates'],
    [{ aggregates: {} }, '/aggregates'],
    [{ aggregates: { a: { median: 'x' } } }, '/aggregates/a/median'],
    [{ aggregates: { a: { sum: 'x', avg: 'x' } } }, '/aggregates/a/avg'],
    [{ aggregates: { a: { sum: '/~' } } }, '/aggregates/a/sum'],
    [{ aggregates: { a: { sum: 'x' } }, groupBy: 'a' }, '/groupBy'],
    [{ aggregates: { a: { sum: 'x' } }, groupBy: Array.from('abcdefghi') }, '/groupBy'],
    [{ aggregates: { a: { sum: 'x' } }, order: ['a'] }, '/order'],
    [{ aggregates: { a: { sum: 'x' } }, fields: ['a'] }, '/fields'],
    [{ aggregates: { a: { sum: 'x' } }, limit: 1 }, '/limit'],
    [{ aggregates: { a: { sum: 'x' } }, count: 'exact' }, '/count'],
    [{ where: null }, '/where', 'invalidFilter'],
    [{ where: [] }, '/where', 'invalidFilter'],
    [{ where: 'open' }, '/where', 'invalidFilter'],
    [{ where: { a: { like: 'x' } } }, '/where/a/like', 'invalidFilter'],
    [{ where: { or: [{ a: 1 }, { b: { in: 2 } }] } }, '/where/or/1/b/in', 'invalidFilter'],
    [{ where: { a: { gt: null } } }, '/where/a/gt', 'invalidFilter'],
    [{ where: { a: { eq: null } } }, '/where/a/eq', 'invalidFilter'],
    [{ where: { a: { prefix: 1 } } }, '/where/a/prefix', 'invalidFilter'],
    [{ where: { a: { exists: 'yes' } } }, '/where/a/exists', 'invalidFilter'],
    [{ where: nots(9) }, `/where${'/not'.repeat(9)}`, 'invalidFilter'],
    [{ where: { or: Array.from({ length: 51 }, () => ({ a: 1 })) } }, '/where/or/49/a', 'invalidFilter'],
    [{ where: { a: 'x'.repeat(16 * 1024) } }, '/where', 'invalidFilter'],
  ])('POST %j is refused by name', async (body, pointer, code = 'badRequest') => {
    const answer = await scenario.refused(400, code, 'POST C/query', body);
    expect(pointersOf(answer)).toEqual([pointer]);
    expect(await querySafely(body)).toMatchObject({ status: 400, body: { code, errors: [{ pointer }] } });
  });

  it('what is just within the limits is taken', async () => {
    const most = { or: Array.from({ length: 49 }, () => ({ a: 1 })), b: 1 };
    for (const where of [nots(8), most, { a: 'x'.repeat(16 * 1024 - 8) }]) {
      await scenario.calls(['POST C/query', { where }]);
    }
  });

  describe('a page token', () => {
    const query = { where: { status: 'open' }, order: ['-priority'], limit: 1 };
    let token: string;
    beforeAll(async () => {
      token = (await scenario.calls(['POST C/query', query])).body.nextPageToken;
    });

    it('leads to the next page, of whatever limit', async () => {
      expect(keysOf(await scenario.calls(['POST C/query', { ...query, pageToken: token }]))).toBe('e');
      expect(keysOf(await scenario.calls(['POST C/query', { ...query, limit: 9, pageToken: token }]))).toBe('e b');
    });

    it.each<[says: string, other: object]>([
      ['another filter', { where: { status: 'done' } }],
      ['no filter', { where: undefined }],
      ['another order', { order: ['priority'] }],
      ['no order', { order: undefined }],
      ['another range', { start: 'a' }],
      ['an end', { end: 'z' }],
      ['a prefix', { prefix: 'a' }],
      ['other fields', { fields: ['title'] }],
    ])('is of no query with %s', async (_says, other) => {
      await scenario.refused(400, 'invalidCursor', 'POST C/query', { ...query, ...other, pageToken: token });
    });

    it('is of no other collection or pool', async () => {
      await scenario.refused(400, 'invalidCursor', 'POST P/collections/others/query', { ...query, pageToken: token });
      const other = new Scenario(server);
      await other.fill(tasks);
      await other.refused(400, 'invalidCursor', 'POST C/query', { ...query, pageToken: token });
    });

    it('that was altered by hand is refused', async () => {
      const made: unknown[] = JSON.parse(Buffer.from(token, 'base64url').toString());
      const [sum, values, key] = made;
      const write = (...parts: unknown[]) => Buffer.from(JSON.stringify(parts)).toString('base64url');
      expect(write(...made)).toBe(token);
      const altered = [
        ...Array.from({ length: token.length }, (_, i) => token.slice(0, i)),
        ...Array.from(token, (letter, i) => `${token.slice(0, i)}${letter === 'A' ? 'B' : 'A'}${token.slice(i + 1)}`),
        write(sum, values, 'b'),
        write(sum, values, null),
        write(sum, values, 7),
        write(sum, values),
        write(sum, values, key, key),
        write(sum, [], key),
        write(sum, [[]], key),
        write(sum, [[3], [4]], key),
        write(sum, [[9]], key),
        write(sum, 'x', key),
        write(sum, null, key),
        write(sum, { 0: [3] }, key),
        write(null, values, key),
        write('', values, key),
        Buffer.from('{}').toString('base64url'),
        Buffer.from('null').toString('base64url'),
        Buffer.from('[').toString('base64url'),
        Buffer.from([0xff, 0xfe, 0x00]).toString('base64url'),
        'A'.repeat(10_000),
        '../..',
        "'; DROP TABLE item; --",
        '😀',
        '\0',
      ];
      for (const pageToken of new Set(altered)) {
        const answer = await scenario.call('POST C/query', { ...query, pageToken });
        expect({ pageToken, code: answer.body.code }).toEqual({ pageToken, code: 'invalidCursor' });
        expectProblem(answer, 400, 'invalidCursor');
      }
    });

    it.each<[says: string, order: string[], index: unknown[]]>([
      ['sorted', ['text'], []],
      ['by an index', ['text'], [{ attribute: 'text' }]],
      ['by an index backwards', ['-text'], [{ attribute: 'text' }]],
      ['by several', ['-text', 'n'], []],
    ])('go on after values that are too long for a token: %s', async (_says, order, indexes) => {
      const long = new Scenario(server);
      const begin = 'x'.repeat(100_000);
      const ends = ['', 'a', 'aa', 'b', 'c', 'é'];
      await long.fill(Object.fromEntries(ends.map((end, n) => [`k${n}`, { text: begin + end, n }])));
      if (indexes.length > 0) {
        await long.calls(['PUT P/collections/_dictionary/items/things', { attributes: { indexes } }]);
      }
      const found: string[] = [];
      let pageToken: string | undefined;
      do {
        const query = { order, limit: 2, fields: ['n'], ...(pageToken !== undefined && { pageToken }) };
        const { body } = await long.calls(['POST C/query', query]);
        found.push(...body.items.map(({ key }: { key: string }) => key));
        pageToken = body.nextPageToken;
        expect(pageToken?.length ?? 0).toBeLessThan(300);
        // What isn't of the order may change.
        const { key } = body.items.at(-1);
        await long.calls([`PUT C/items/${key}/attributes/other`, { value: found.length }]);
      } while (pageToken !== undefined);
      const keys = ends.map((_end, n) => `k${n}`);
      expect(found).toEqual(order[0] === 'text' ? keys : keys.reverse());
    });

    it('end when the item that has such values has changed', async () => {
      const long = new Scenario(server);
      await long.fill(Object.fromEntries(['a', 'b', 'c'].map((key) => [key, { text: 'x'.repeat(5000) + key }])));
      const query = { order: ['text'], limit: 1, fields: ['n'] };
      const pageToken = (await long.calls(['POST C/query', query])).body.nextPageToken;
      expect(keysOf(await long.calls(['POST C/query', { ...query, pageToken }]))).toBe('b');
      await long.calls(['PUT C/items/a/attributes/text', { value: 'y'.repeat(5000) }]);
      await long.refused(400, 'invalidCursor', 'POST C/query', { ...query, pageToken });
      await long.calls(['DELETE C/items/a']);
      await long.refused(400, 'invalidCursor', 'POST C/query', { ...query, pageToken });
    });
  });
});
