/** What guards browsers: headers of every answer, which pages may use the server, and that others make nobody write. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectProblem, type Headers, Scenario } from '../support/scenario.js';
import { type Server, startServer } from '../support/server.js';

const APP = 'https://app.example';
const EVIL = 'https://evil.example';
const preflight = (origin: string, method: string, headers?: string): Headers => ({
  origin,
  'access-control-request-method': method,
  ...(headers && { 'access-control-request-headers': headers }),
});

describe('headers', () => {
  let server: Server;
  let scenario: Scenario;
  beforeAll(async () => {
    server = await startServer({ database: 'sqlite', env: { STARGUS_TRUSTED_PROXIES: '127.0.0.1' } });
    scenario = new Scenario(server);
    await scenario.fill({ a: {} });
  });
  afterAll(() => server.stop());

  it.each([
    'GET P',
    'GET C/items/a',
    'GET C/items/none',
    'PUT C/items/a',
    'DELETE /v1',
    'GET /nowhere',
    'OPTIONS C',
    'GET P/export',
    'GET /healthz',
    'GET /metrics',
    'GET P/changes?since=x',
  ])('%s is kept by nobody, taken for nothing else and shown in no page', async (line) => {
    const { headers } = await scenario.call(line);
    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
      'cache-control': expect.stringMatching(/^no-store/),
    });
    for (const name of ['x-powered-by', 'server', 'strict-transport-security', 'access-control-allow-origin'])
      expect(headers).not.toHaveProperty(name);
  });

  it('a stream has them too', async () => {
    const stream = await scenario.watch('C/attach');
    expect(stream.headers['x-content-type-options']).toBe('nosniff');
    stream.close();
  });

  it('pages load what they are made of, and nothing else', async () => {
    const { headers } = await scenario.calls(['GET /docs']);
    expect(headers['content-security-policy']).toMatch(/default-src 'self'.*frame-ancestors 'none'/);
    expect(headers['x-content-type-options']).toBe('nosniff');
    const script = await scenario.calls(['GET /docs/assets/swagger-ui-bundle.js']);
    expect(script.headers['content-type']).toMatch(/javascript/);
  });

  it('that https must be used is said over https only', async () => {
    const over = { 'x-forwarded-proto': 'https' };
    expect((await scenario.call('GET /v1', undefined, over)).headers['strict-transport-security']).toMatch(
      /^max-age=\d{8}$/,
    );
    const plain = await startServer({ database: 'sqlite' });
    expect((await new Scenario(plain).call('GET /v1', undefined, over)).headers).not.toHaveProperty(
      'strict-transport-security',
    );
    await plain.stop();
  });
});

describe('pages of other origins', () => {
  it('may do nothing by default: they read no answer, and write nothing', async () => {
    const server = await startServer({ database: 'sqlite' });
    const scenario = new Scenario(server);
    const asked = await scenario.call('OPTIONS C/items/a', undefined, preflight(EVIL, 'PUT'));
    expect(asked.status).toBe(204);
    for (const name of Object.keys(asked.headers)) expect(name).not.toMatch(/^access-control/);
    await scenario.fill({ a: {} });
    const read = await scenario.call('GET C/items/a', undefined, { origin: EVIL });
    expect([read.status, read.headers['access-control-allow-origin']]).toEqual([200, undefined]);
    // Such as a browser sends without asking beforehand, and such as it doesn't.
    for (const line of ['POST P/sessions', 'POST P/locks/x/break', 'PUT C/items/a', 'DELETE P', 'PATCH C'])
      for (const origin of [EVIL, 'null', 'http://127.0.0.1', `${server.url}.evil.example`])
        expectProblem(await scenario.call(line, undefined, { origin }), 403, 'forbidden');
    expect(await scenario.revision()).toBe(1);
    // Its own pages, also over a proxy that ends TLS.
    for (const origin of [server.url, server.url.replace('http:', 'https:')])
      expect((await scenario.call('PUT C/items/a', { attributes: {} }, { origin })).status).toBe(200);
    await server.stop();
  });

  it('that are named may do everything, with cookies, and read all headers', async () => {
    const server = await startServer({
      database: 'sqlite',
      env: { STARGUS_CORS_ORIGINS: `${APP}, http://localhost:3000` },
    });
    const scenario = new Scenario(server);
    const asked = await scenario.call(
      'OPTIONS C/items/a',
      undefined,
      preflight(APP, 'PUT', 'authorization,if-match,idempotency-key'),
    );
    expect(asked.status).toBe(204);
    expect(asked.headers).toMatchObject({
      'access-control-allow-origin': APP,
      'access-control-allow-credentials': 'true',
      'access-control-allow-methods': 'GET, HEAD, PUT, PATCH, DELETE, OPTIONS',
      'access-control-allow-headers': 'authorization,if-match,idempotency-key',
      'access-control-max-age': '600',
      vary: expect.stringContaining('Origin'),
    });
    const query = await scenario.call('OPTIONS C/items', undefined, preflight(APP, 'QUERY', 'content-type'));
    expect(query.headers['access-control-allow-methods']).toContain('QUERY');
    const put = await scenario.call('PUT C/items/a', { attributes: {} }, { origin: APP });
    expect(put.status).toBe(201);
    expect(put.headers).toMatchObject({
      'access-control-allow-origin': APP,
      'access-control-allow-credentials': 'true',
    });
    const exposed = put.headers['access-control-expose-headers']?.split(/, */) ?? [];
    expect(exposed).toEqual(
      expect.arrayContaining(
        'ETag Location Link Retry-After Request-Id RateLimit RateLimit-Policy Idempotency-Replayed Stargus-Revision Stargus-Cursor Date'.split(
          ' ',
        ),
      ),
    );
    // A refusal can be read too, and a stream.
    expect((await scenario.call('PUT C/items/a', '{', { origin: APP })).headers['access-control-allow-origin']).toBe(
      APP,
    );
    const stream = await scenario.watch('C/attach', { origin: APP });
    expect(stream.headers['access-control-allow-origin']).toBe(APP);
    stream.close();
    // Others may not, and a cache is told that it depends on who asks.
    const other = await scenario.call('GET C/items/a', undefined, { origin: EVIL });
    expect([other.headers['access-control-allow-origin'], other.headers.vary]).toEqual([undefined, 'Origin']);
    expect((await scenario.call('OPTIONS C', undefined, preflight(EVIL, 'PUT'))).headers).not.toHaveProperty(
      'access-control-allow-methods',
    );
    expectProblem(await scenario.call('PUT C/items/a', { attributes: {} }, { origin: EVIL }), 403, 'forbidden');
    expectProblem(await scenario.call('OPTIONS /nowhere', undefined, preflight(APP, 'PUT')), 404, 'notFound');
    // A plain question for the methods is answered as ever.
    expect((await scenario.call('OPTIONS C/items/a')).headers.allow).toBe('GET, HEAD, PUT, PATCH, DELETE, OPTIONS');
    await server.stop();
  });

  it('may do everything without cookies where all may', async () => {
    const server = await startServer({ database: 'sqlite', env: { STARGUS_CORS_ORIGINS: '*' } });
    const scenario = new Scenario(server);
    const put = await scenario.call('PUT C/items/a', { attributes: {} }, { origin: EVIL });
    expect(put.status).toBe(201);
    expect(put.headers['access-control-allow-origin']).toBe('*');
    expect(put.headers).not.toHaveProperty('access-control-allow-credentials');
    await server.stop();
  });
});
