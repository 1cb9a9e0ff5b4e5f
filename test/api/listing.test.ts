/** Listing: items in the order of their keys' bytes, page by page, steady while others write. */
import { beforeAll, describe, expect, it } from 'vitest';
import { type Answer, expectProblem, pointersOf, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const keysOf = ({ body }: Answer): string[] => body.items.map(({ key }: { key: string }) => key);
const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

describe.each(databases)('listing on $name', ({ name }) => {
  let server: Server;
  let scenario: Scenario;
  /** Case, accents, trailing blanks, planes beyond the first: what a collation would order or even mix up differently. */
  const keys = ['a', 'A', 'a ', 'a1', 'a2', 'ab', 'B', 'b', 'ä', 'äb', 'z', '\uffee', '😀', '😀a'];
  const ordered = [...keys].sort(byBytes);
  beforeAll(async () => {
    server = await startServer({ database: name });
    scenario = new Scenario(server);
    for (const [i, key] of keys.entries()) await scenario.fill({ [key]: { i, twice: 2 * i, key } });
  });

  const rows: [query: string, keys: readonly string[]][] = [
    ['', ordered],
    ['prefix=a', ['a', 'a ', 'a1', 'a2', 'ab']],
    ['prefix=%C3%A4', ['ä', 'äb']],
    ['prefix=%F0%9F%98%80', ['😀', '😀a']],
    ['prefix=', ordered],
    ['prefix=nothing', []],
    ['start=b', ordered.slice(ordered.indexOf('b'))],
    ['start=aa', ordered.slice(ordered.indexOf('ab'))],
    ['end=b', ordered.slice(0, ordered.indexOf('b'))],
    ['start=a1&end=ab', ['a1', 'a2']],
    ['start=b&end=a', []],
    ['start=a&end=a', []],
    ['prefix=a&start=a1', ['a1', 'a2', 'ab']],
    ['prefix=a&end=a2', ['a', 'a ', 'a1']],
    ['prefix=a&start=b', []],
    ['start=%EF%BF%AE', ['\uffee', '😀', '😀a']],
  ];

  it.each(rows)('?%s', async (query, wanted) => {
    const answer = await scenario.calls([`GET C/items?${query}`]);
    expect(keysOf(answer)).toEqual(wanted);
    expect(answer.body).toMatchObject({ revision: keys.length, cursor: await scenario.cursor() });
    expect(answer.body).not.toHaveProperty('nextPageToken');
    expect(answer.headers).not.toHaveProperty('link');
  });

  it('items are whole, or show the fields that are asked for', async () => {
    const whole = await scenario.calls(['GET C/items?start=z&limit=1']);
    expect(whole.body.items).toEqual([
      { collection: 'things', key: 'z', revision: 11, createdRevision: 11, attributes: { i: 10, twice: 20, key: 'z' } },
    ]);
    const some = await scenario.calls(['GET C/items?start=z&limit=1&fields=twice,nowhere']);
    expect(some.body.items).toEqual([
      { collection: 'things', key: 'z', revision: 11, createdRevision: 11, attributes: { twice: 20 } },
    ]);
  });

  it.each([1, 2, 5, keys.length - 1])(
    'pages of %i, by token and by Link, are the whole without overlap',
    async (limit) => {
      for (const by of ['token', 'link'] as const) {
        const seen: string[] = [];
        const query = `C/items?fields=i&prefix=&limit=${limit}`;
        for (let next: string | undefined = query; next; ) {
          const answer: Answer = await scenario.calls([`GET ${next}`]);
          expect(keysOf(answer).length).toBeLessThanOrEqual(limit);
          seen.push(...keysOf(answer));
          const token = answer.body.nextPageToken;
          const link = /^<([^>]+)>; rel="next"$/.exec(answer.headers.link ?? '')?.[1];
          expect(link === undefined).toBe(token === undefined);
          next = by === 'link' ? link : token && `${query}&pageToken=${encodeURIComponent(token)}`;
        }
        expect(seen).toEqual(ordered);
      }
    },
  );

  it('a page is 50 items unless the request says otherwise', async () => {
    const many = new Scenario(server);
    const ops = Array.from({ length: 1000 }, (_, i) => ({
      op: 'put',
      collection: 'things',
      key: `k${1000 + i}`,
      attributes: {},
    }));
    await many.calls(['POST P/batch', { ops }]);
    expect(keysOf(await many.calls(['GET C/items']))).toEqual(ops.slice(0, 50).map(({ key }) => key));
    const all = await many.calls(['GET C/items?limit=1000']);
    expect(keysOf(all)).toHaveLength(1000);
    expect(all.body).not.toHaveProperty('nextPageToken');
  });

  it('while others write: no item twice, and none skipped that was there throughout', async () => {
    const busy = new Scenario(server);
    const steady = Array.from({ length: 60 }, (_, i) => `s${100 + i}`);
    await busy.calls([
      'POST P/batch',
      { ops: steady.map((key) => ({ op: 'put', collection: 'things', key, attributes: { n: 0 } })) },
    ]);
    let writing = true;
    const writer = (async () => {
      for (let i = 0; writing; i++) {
        const about = steady[(i * 7) % steady.length] as string;
        await busy.calls(
          [`PUT C/items/${about}`, { attributes: { n: i } }],
          [`PUT C/items/${about}x`, { attributes: {} }],
          [`DELETE C/items/${steady[(i * 7 + 35) % steady.length]}x`],
        );
      }
    })();
    const seen: string[] = [];
    let revision = 0;
    for (let token: string | undefined = ''; token !== undefined; ) {
      const answer: Answer = await busy.calls([`GET C/items?limit=7${token && `&pageToken=${token}`}`]);
      seen.push(...keysOf(answer));
      expect(answer.body.revision).toBeGreaterThanOrEqual(revision);
      revision = answer.body.revision;
      token = answer.body.nextPageToken;
    }
    writing = false;
    await writer;
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen.filter((key) => !key.endsWith('x'))).toEqual(steady);
  });

  it('a page token goes on after its item, though that is gone', async () => {
    const few = new Scenario(server);
    await few.fill({ a: {}, b: {}, c: {} });
    const { nextPageToken } = (await few.calls(['GET C/items?limit=2'])).body;
    await few.calls(
      ['DELETE C/items/b'],
      ['PUT C/items/a1', { attributes: {} }],
      ['PUT C/items/b1', { attributes: {} }],
    );
    expect(keysOf(await few.calls([`GET C/items?limit=2&pageToken=${nextPageToken}`]))).toEqual(['b1', 'c']);
  });

  it('a page token takes another limit, but no other query', async () => {
    const { nextPageToken } = (await scenario.calls(['GET C/items?limit=2&prefix=a'])).body;
    expect(keysOf(await scenario.calls([`GET C/items?limit=1&prefix=a&pageToken=${nextPageToken}`]))).toEqual(['a1']);
    for (const other of ['', '&prefix=b', '&prefix=a&fields=i', '&prefix=a&start=a', '&prefix=a&end=b']) {
      expectProblem(await scenario.call(`GET C/items?pageToken=${nextPageToken}${other}`), 400, 'invalidCursor');
    }
    expectProblem(
      await scenario.call(`GET P/collections/others/items?prefix=a&pageToken=${nextPageToken}`),
      400,
      'invalidCursor',
    );
    expectProblem(await scenario.call(`GET P/collections?pageToken=${nextPageToken}`), 400, 'invalidCursor');
    const inBody = await scenario.call('POST C/query', { pageToken: nextPageToken });
    expectProblem(inBody, 400, 'invalidCursor');
    expect(inBody.body.errors[0].pointer).toBe('/pageToken');
    expectProblem(await scenario.call(`GET /v1/pools?pageToken=${nextPageToken}`), 400, 'invalidCursor');
  });

  it.each(['x', '%00', 'WyJhIl0', Buffer.from('["a",{}]').toString('base64url'), ''])(
    'the page token %j is not one of ours',
    async (token) => {
      expectProblem(await scenario.call(`GET C/items?pageToken=${token}`), 400, 'invalidCursor');
    },
  );

  it.each<[query: string, pointer: string]>([
    ['limit=0', '?limit'],
    ['limit=1001', '?limit'],
    ['limit=-1', '?limit'],
    ['limit=1.5', '?limit'],
    ['limit=ten', '?limit'],
    ['limit=', '?limit'],
    ['limit=1&limit=2', '?limit'],
    ['prefix=a&prefix=b', '?prefix'],
    ['prefixes=a', '?prefixes'],
    ['__proto__=a', '?__proto__'],
  ])('?%s is refused by name', async (query, pointer) => {
    const answer = await scenario.call(`GET C/items?${query}`);
    expectProblem(answer, 400, 'badRequest');
    expect(pointersOf(answer)).toEqual([pointer]);
  });

  it('a page ends early where its items are large', async () => {
    const large = new Scenario(server);
    for (let i = 0; i < 12; i++) await large.fill({ [`k${10 + i}`]: { text: 'x'.repeat(1_000_000) } });
    const seen: string[] = [];
    let pages = 0;
    for (let token: string | undefined = ''; token !== undefined; pages++) {
      const answer: Answer = await large.calls([`GET C/items?limit=1000${token && `&pageToken=${token}`}`]);
      seen.push(...keysOf(answer));
      token = answer.body.nextPageToken;
    }
    expect(pages).toBeGreaterThan(1);
    expect(seen).toEqual(Array.from({ length: 12 }, (_, i) => `k${10 + i}`));
  });
});
