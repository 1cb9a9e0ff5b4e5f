/** What operators and tools ask: version and limits, health, readiness, metrics, the contract and its pages; and who may ask. */
import { beforeAll, describe, expect, it } from 'vitest';
import { errorTable } from '../../src/engine/errors.js';
import { asOperator, People, startStrictServer } from '../support/people.js';
import { expectProblem, type Headers, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

describe.each(databases)('the system on $name', ({ name }) => {
  let server: Server;
  let scenario: Scenario;
  beforeAll(async () => {
    server = await startServer({ database: name });
    scenario = new Scenario(server);
  });

  it('GET /v1 tells version, features and limits', async () => {
    const { body } = await scenario.calls(['GET /v1']);
    expect(body).toMatchObject({ name: 'stargus', version: expect.stringMatching(/^\d+\.\d+\.\d+/), apiVersion: 'v1' });
    expect(body.features).toEqual(expect.arrayContaining(['state', 'batch', 'changes', 'attach']));
    expect(body.limits).toMatchObject({
      itemKeyBytesMax: 255,
      attributeNameBytesMax: 128,
      itemBytesMax: 1024 * 1024,
      attributesMax: 1000,
      nestingMax: 100,
      batchOpsMax: 1000,
      batchBodyBytesMax: 4 * 1024 * 1024,
      pageItemsMax: 1000,
    });
    for (const [limit, value] of Object.entries(body.limits)) expect(Number.isSafeInteger(value), limit).toBe(true);
  });

  it('it lives and is ready', async () => {
    expect((await scenario.calls(['GET /healthz'])).body).toEqual({ status: 'ok' });
    expect((await scenario.calls(['GET /readyz'])).body).toEqual({ status: 'ready', role: 'all', database: 'up' });
    for (const path of ['/healthz', '/readyz', '/metrics'])
      expect((await scenario.call(`GET ${path}`)).headers['cache-control'], path).toBe('no-store');
    expect((await scenario.call('HEAD /readyz')).status).toBe(200);
  });

  it('metrics are in Prometheus’s format and move with what happens', async () => {
    const counted = async (): Promise<number> => {
      const { text, headers } = await scenario.calls(['GET /metrics']);
      expect(headers['content-type']).toMatch(/^text\/plain/);
      for (const line of text.split('\n').filter(Boolean))
        expect(line).toMatch(/^(# (HELP|TYPE) \w+ .+|\w+(\{.*\})? [-+\d.eNaInf]+)$/);
      const samples = text.matchAll(
        /^stargus_\w*requests?\w*(?:_count|_total)\{[^}]*operation="putItem"[^}]*\} (\d+)$/gm,
      );
      return [...samples].reduce((sum, [, value]) => sum + Number(value), 0);
    };
    const before = await counted();
    await scenario.fill({ a: {}, b: {} });
    expect(await counted()).toBeGreaterThan(before);
  });

  it('metrics are the operator’s, and for programs that the operator lets have them', async () => {
    const locked = new Scenario(await startStrictServer(name));
    const people = new People(locked);
    const key = async (more: object) => {
      const { body } = await locked.calls(['POST /v1/auth/keys', { name: 'k', ...more }, asOperator]);
      return { authorization: `Bearer ${body.secret}` };
    };
    const narrow = [{ type: 'stargus', actions: ['read'], collections: ['*'] }];
    for (const headers of [await people.as('ann'), await key({ authorizationDetails: narrow })])
      expectProblem(await locked.call('GET /metrics', undefined, headers), 403, 'forbidden');
    for (const headers of [asOperator, await key({})])
      expect((await locked.call('GET /metrics', undefined, headers)).text).toContain('stargus_');
  });

  it('the contract is OpenAPI and names every call of these tests', async () => {
    const { body, headers } = await scenario.calls(['GET /v1/openapi.json']);
    expect(headers['content-type']).toMatch(/^application\/json/);
    expect(body.openapi).toMatch(/^3\.0\.\d$/);
    for (const path of [
      '/v1/pools',
      '/v1/pools/{pool}',
      '/v1/pools/{pool}/batch',
      '/v1/pools/{pool}/changes',
      '/v1/pools/{pool}/collections/{collection}/attach',
      '/v1/pools/{pool}/collections/{collection}/items/{key}',
    ]) {
      expect(Object.keys(body.paths), path).toContain(path);
    }
  });

  it('the pages for reading are served with what they load, and nothing from elsewhere', async () => {
    const page = await scenario.calls(['GET /docs']);
    expect(page.headers['content-type']).toMatch(/^text\/html/);
    expect(page.headers['content-security-policy']).toMatch(/default-src/);
    const links = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link as string);
    expect(links.length).toBeGreaterThan(1);
    for (const link of links) {
      expect(link).toMatch(/^\/(?!\/)/);
      expect((await scenario.call(`GET ${link}`)).status, link).toBe(200);
    }
  });

  it.each(Object.keys(errorTable) as (keyof typeof errorTable)[])(
    'the error %s is explained where its type leads',
    async (code) => {
      const { text, headers } = await scenario.calls([`GET /docs/errors/${code}`]);
      expect(headers['content-type']).toMatch(/^text\/html/);
      expect(text).toContain(code);
      expect(text).toContain(String(errorTable[code].status));
      expect(text).toContain(errorTable[code].advice.slice(0, 20));
    },
  );

  it('the type of a refusal leads to a page', async () => {
    const { type } = (await scenario.call('GET P/nowhere')).body;
    expect((await scenario.calls([`GET ${new URL(type).pathname}`])).text).toContain('notFound');
  });

  it('an open server answers only those who call it by its own name', async () => {
    await scenario.fill({ a: {} });
    for (const host of ['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example', '10.0.0.1']) {
      const answer = await scenario.call('PUT C/items/a', { attributes: { x: 1 } }, { host });
      expect({ status: answer.status, code: answer.body.code }, host).toEqual({ status: 403, code: 'forbidden' });
    }
    expect(await scenario.attributes('a')).toEqual({});
    for (const host of ['localhost', 'localhost:8080', '127.0.0.1', '127.9.9.9:1'])
      await scenario.calls(['GET C/items/a', undefined, { host }]);
  });

  it('a server that requires a key tells nobody else anything', async () => {
    const operatorKey = 'an operator’s key'.replace(/\W/g, '-').repeat(3);
    const locked = new Scenario(
      await startServer({ database: name, env: { STARGUS_AUTH: 'required', STARGUS_OPERATOR_KEY: operatorKey } }),
    );
    const authorization = `Bearer ${operatorKey}`;
    await locked.calls(['PUT C/items/a', { attributes: { x: 1 } }, { authorization }]);
    const others: Headers[] = [
      {},
      { authorization: 'Bearer wrong' },
      { authorization: operatorKey },
      { authorization: 'Basic YTpi' },
    ];
    for (const headers of others) {
      for (const line of [
        'GET C/items/a',
        'DELETE P',
        'GET /v1/pools',
        'GET C/attach',
        'GET P/changes',
        'GET /metrics',
        `GET C/items/a?access_token=${operatorKey}`,
      ]) {
        const answer = await locked.call(line, undefined, headers);
        expectProblem(answer, 401, 'unauthenticated');
        expect(answer.headers['www-authenticate']).toMatch(/^Bearer/);
      }
    }
    const known = { pool: locked.pool, authentication: { required: true, schemes: ['bearer', 'dpop'] } };
    expect((await locked.calls(['GET P'])).body).toEqual(known);
    expect((await locked.calls([`GET /v1/pools/no-such-pool`])).body).toEqual({ ...known, pool: 'no-such-pool' });
    for (const line of ['GET /v1', 'GET /healthz', 'GET /readyz', 'GET /docs', 'GET /v1/openapi.json'])
      await locked.calls([line]);
    expect((await locked.calls(['GET C/items/a', undefined, { authorization }])).body.attributes).toEqual({ x: 1 });
    expect((await locked.calls(['GET P', undefined, { authorization }])).body).toMatchObject({ revision: 1, items: 1 });
  });
});
