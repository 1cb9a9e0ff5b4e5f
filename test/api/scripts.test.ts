/** Scripts: items of `_scripts`, checked when they are written, and served as files that can't act as this server. */
import { beforeAll, describe, expect, it } from 'vitest';
import { expectProblem, pointersOf, rowsOf, Scenario, type Story } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const S = 'P/collections/_scripts';

const stories: readonly Story[] = [
  [
    'a script comes and goes as any item',
    [`PUT ${S}/items/a.js`, { attributes: { source: 'let a', language: 'javascript' } }, 201, { revision: 1 }],
    [`PATCH ${S}/items/a.js`, { attributes: { title: 'A' } }, 200, { changed: ['title'] }],
    [`PUT ${S}/items/a.js/attributes/version`, { value: '2' }, 200, { value: '2' }],
    [
      `GET ${S}/items/a.js`,
      undefined,
      200,
      { attributes: { source: 'let a', language: 'javascript', title: 'A', version: '2' } },
    ],
    ['GET P', undefined, 200, { collections: 0, items: 0 }],
    [`DELETE ${S}/items/a.js`, undefined, 200, { existed: true }],
    ['GET P/scripts/a.js', undefined, 404, { code: 'notFound' }],
  ],
  [
    'scripts are written by batch and deleted by prefix',
    [
      'POST P/batch',
      { ops: [{ op: 'put', collection: '_scripts', key: 'lib/a', attributes: { source: 'a' } }] },
      200,
      { revision: 1 },
    ],
    [`POST ${S}/delete`, { prefix: 'lib/' }, 200, { deleted: 1, keys: ['lib/a'] }],
  ],
  [
    'an entry of the dictionary is written as an item, and goes with its items only',
    ['PUT P/collections/_dictionary/items/things', { attributes: { description: 'D' } }, 201],
    ['GET C', undefined, 200, { collection: 'things', items: 0, description: 'D' }],
    ['PUT C/items/a', { attributes: {} }, 201],
    ['DELETE P/collections/_dictionary/items/things', undefined, 409, { code: 'conflict' }],
    ['POST P/collections/_dictionary/delete', { prefix: '' }, 409, { code: 'conflict' }],
    ['PUT P/collections/_dictionary/items/a%2Fb', { attributes: {} }, 400, { code: 'invalidName' }],
    ['PUT P/collections/_dictionary/items/_scripts', { attributes: {} }, 400, { code: 'invalidName' }],
    ['DELETE C/items/a', undefined, 200],
    ['DELETE P/collections/_dictionary/items/things', undefined, 200, { existed: true }],
    ['GET C', undefined, 404],
  ],
];

describe.each(databases)('scripts on $name', ({ name }) => {
  let server: Server;
  let scenario: Scenario;
  beforeAll(async () => {
    server = await startServer({ database: name });
    scenario = new Scenario(server);
    await scenario.calls(['PUT P', {}]);
  });

  it.each(rowsOf(stories))('%s', async (_, steps) => {
    await new Scenario(server).play(steps);
  });

  it.each<[says: string, attributes: object, pointers: string[]]>([
    ['without a source', { title: 't' }, ['/attributes/source']],
    ['with unknown members', { source: '', a: 1, 'b/c': 2 }, ['/attributes/a', '/attributes/b~1c']],
    ['with a bad media type', { source: '', mediaType: 'text' }, ['/attributes/mediaType']],
    ['that is too large', { source: 'x'.repeat(512 * 1024 + 1) }, ['/attributes/source']],
  ])('a script %s is refused', async (_, attributes, pointers) => {
    const answer = await scenario.refused(422, 'invalid', `PUT ${S}/items/bad`, { attributes });
    expect(pointersOf(answer)).toEqual(pointers);
  });

  it('a change that would leave no script is refused', async () => {
    await scenario.calls([`PUT ${S}/items/kept`, { attributes: { source: 'x' } }]);
    await scenario.refused(422, 'invalid', `DELETE ${S}/items/kept/attributes/source`);
    await scenario.refused(422, 'invalid', `PATCH ${S}/items/kept`, { attributes: { source: null } });
    const refused = await scenario.call('POST P/batch', {
      ops: [{ op: 'merge', collection: '_scripts', key: 'none', attributes: { title: 'x' } }],
    });
    expectProblem(refused, 422, 'invalid');
  });

  it.each<[attributes: object, type: string]>([
    [{ source: '' }, 'text/plain; charset=utf-8'],
    [{ source: '<script>alert(1)</script>', language: 'html' }, 'text/html; charset=utf-8'],
    [{ source: 'print("ä😀")', language: 'python' }, 'text/x-python; charset=utf-8'],
    [{ source: '{}', mediaType: 'application/json' }, 'application/json'],
  ])('%j is served as %s', async (attributes, type) => {
    const { source } = attributes as { source: string };
    const { body: item } = await scenario.calls([`PUT ${S}/items/x%2Fy%20ä`, { attributes }]);
    const got = await fetch(`${server.url}${scenario.path('P/scripts/x%2Fy%20ä')}`);
    expect(got.status).toBe(200);
    expect(await got.text()).toBe(source);
    const headers = Object.fromEntries(got.headers);
    expect(headers).toMatchObject({
      'content-type': type,
      'content-length': String(Buffer.byteLength(source)),
      etag: `"${item.revision}"`,
      'stargus-revision': String(await scenario.revision()),
      'stargus-cursor': await scenario.cursor(),
      'cache-control': 'no-cache',
      'x-content-type-options': 'nosniff',
      'content-security-policy': "sandbox; default-src 'none'",
    });
    const head = await scenario.call('HEAD P/scripts/x%2Fy%20ä');
    expect(head.status).toBe(200);
    expect(head.headers).toMatchObject({
      'content-type': type,
      'content-length': headers['content-length'],
      etag: headers.etag,
    });
  });

  it('is 304 while nothing is new', async () => {
    const { body: item } = await scenario.calls([`PUT ${S}/items/same`, { attributes: { source: 'x' } }]);
    const same = await scenario.call('GET P/scripts/same', undefined, { 'if-none-match': `"${item.revision}"` });
    expect([same.status, same.text, same.headers.etag]).toEqual([304, '', `"${item.revision}"`]);
    const other = await scenario.call('GET P/scripts/same', undefined, { 'if-none-match': '"1000000"' });
    expect([other.status, other.text]).toEqual([200, 'x']);
  });

  it.each<[says: string, line: string, status: number, code: string]>([
    ['a script that is missing', 'GET P/scripts/none', 404, 'notFound'],
    ['a pool that is missing', 'GET /v1/pools/nowhere/scripts/a', 404, 'notFound'],
    ['a name that is no item key', 'GET P/scripts/a%00', 400, 'invalidName'],
    ['an unknown parameter', 'GET P/scripts/a?fields=x', 400, 'badRequest'],
    ['another method', 'PUT P/scripts/a', 405, 'methodNotAllowed'],
  ])('refuses %s', async (_, line, status, code) => {
    expectProblem(await scenario.call(line), status, code);
  });
});
