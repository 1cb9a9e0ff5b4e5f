/** Pins over HTTP, by a server that reads a real site at https: the operator's alone, page by page. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newKey, type TestKey } from '../support/keys.js';
import { expectProblem, pointersOf, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';
import { openSite, type Site } from '../support/site.js';

const OPERATOR_KEY = 'operator-key-of-these-tests-0000';
const operator = { authorization: `Bearer ${OPERATOR_KEY}` };
const env = { STARGUS_AUTH: 'required', STARGUS_OPERATOR_KEY: OPERATOR_KEY };

describe.each(databases)('pins on $name', ({ name: database }) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'stargus-ca-'));
  const ca = path.join(folder, 'ca.pem');
  let site: Site;
  let server: Server;
  let scenario: Scenario;
  let keys: TestKey[];
  afterAll(() => rmSync(folder, { recursive: true }));

  beforeAll(async () => {
    site = await openSite(['localhost']);
    writeFileSync(ca, site.ca);
    server = await startServer({ database, env: { ...env, STARGUS_IDENTITY_PRIVATE: '1', NODE_EXTRA_CA_CERTS: ca } });
    scenario = new Scenario(server);
    keys = await Promise.all([newKey(), newKey('ES256'), newKey('PS256')]);
    site.pages.set('/me/jwks.json', JSON.stringify({ keys: keys.map(({ jwk }) => jwk) }));
    site.pages.set('/b/jwks.json', JSON.stringify({ keys: keys.map(({ jwk }) => jwk) }));
  });

  const account = (name = 'me') => `${site.origin('localhost')}/${name}`;
  const kid = (i: number) => (keys[i] as TestKey).kid;

  it('are set, listed and taken away by the operator', async () => {
    const put = await scenario.call('POST /v1/pins', { account: account(), kid: kid(0) }, operator);
    expect(put.status, put.text).toBe(201);
    expect(put.body).toEqual({
      account: account(),
      kid: kid(0),
      algorithm: 'EdDSA',
      source: 'operator',
      pinnedAt: expect.stringMatching(/^\d{4}-.*Z$/),
    });
    expect((await scenario.call(`GET ${put.headers.location}`, undefined, operator)).body).toEqual({
      pins: [put.body],
    });
    const again = await scenario.call('POST /v1/pins', { account: account(), kid: kid(0) }, operator);
    expect([again.status, again.body]).toEqual([200, put.body]);
    for (const [of, i] of [
      [account(), 1],
      [account(), 2],
      [account('b'), 0],
      [account('b'), 1],
    ] as const)
      await scenario.calls(['POST /v1/pins', { account: of, kid: kid(i) }, operator]);

    const seen: string[] = [];
    let token = '';
    for (let pages = 0; pages < 10; pages++) {
      const query = `limit=2${token && `&pageToken=${encodeURIComponent(token)}`}`;
      const { body } = await scenario.calls([`GET /v1/pins?${query}`, undefined, operator]);
      seen.push(...body.pins.map((pin: { account: string; kid: string }) => `${pin.account} ${pin.kid}`));
      token = body.nextPageToken ?? '';
      if (!token) break;
    }
    expect(seen).toHaveLength(5);
    expect(seen).toEqual([...new Set(seen)].sort());

    const at = `?account=${encodeURIComponent(account())}&kid=${kid(0)}`;
    for (const existed of [true, false]) {
      const { body } = await scenario.calls([`DELETE /v1/pins${at}`, undefined, operator]);
      expect(body).toEqual({ account: account(), kid: kid(0), existed });
    }
  });

  it('are nobody else’s business', async () => {
    const body = { account: account(), kid: kid(0) };
    for (const [line, sent] of [
      ['GET /v1/pins', undefined],
      ['POST /v1/pins', body],
      [`DELETE /v1/pins?account=${encodeURIComponent(account())}&kid=${kid(0)}`, undefined],
    ] as const)
      expectProblem(await scenario.call(line, sent), 401, 'unauthenticated');
  });

  it.each<[string, string, unknown, number, string, string?]>([
    ['without an account', 'POST /v1/pins', { kid: 'A'.repeat(43) }, 400, 'badRequest', '/account'],
    ['without a kid', 'POST /v1/pins', { account: 'https://alice.example' }, 400, 'badRequest', '/kid'],
    ['with a short kid', 'POST /v1/pins', { account: 'https://alice.example', kid: 'A' }, 400, 'badRequest', '/kid'],
    [
      'with an unknown member',
      'POST /v1/pins',
      { account: 'x', kid: 'A'.repeat(43), jwk: {} },
      400,
      'badRequest',
      '/jwk',
    ],
    ['of no URL', 'POST /v1/pins', { account: 'alice', kid: 'A'.repeat(43) }, 422, 'invalid', '/account'],
    [
      'of a URL that isn’t normal',
      'POST /v1/pins',
      { account: 'https://Alice.example/', kid: 'A'.repeat(43) },
      422,
      'invalid',
      '/account',
    ],
    ['with a number for a limit', 'GET /v1/pins?limit=0', undefined, 400, 'badRequest', '?limit'],
    ['with a page token that was made up', 'GET /v1/pins?pageToken=x', undefined, 400, 'invalidCursor', '?pageToken'],
    ['with an unknown parameter', 'GET /v1/pins?x=1', undefined, 400, 'badRequest', '?x'],
    [
      'without the key to take away',
      'DELETE /v1/pins?account=https%3A%2F%2Falice.example',
      undefined,
      400,
      'badRequest',
      '?kid',
    ],
    ['of no URL to take away', 'DELETE /v1/pins?account=x&kid=y', undefined, 422, 'invalid', '?account'],
  ])('are refused %s', async (_says, line, body, status, code, pointer) => {
    const answer = await scenario.call(line, body, operator);
    expectProblem(answer, status, code);
    expect(pointersOf(answer)).toContain(pointer);
  });

  it('are not set to what isn’t published', async () => {
    const { kid: unknown } = await newKey();
    const answer = await scenario.call('POST /v1/pins', { account: account(), kid: unknown }, operator);
    expectProblem(answer, 422, 'invalid');
    expect(answer.body.detail).toContain(kid(0));
    const none = await scenario.call('POST /v1/pins', { account: account('none'), kid: unknown }, operator);
    expectProblem(none, 422, 'invalid');
    expect(none.body.detail).toMatch(/publishes no keys/);
  });

  it('are not set at private addresses, unless that is configured', async () => {
    const strict = new Scenario(await startServer({ database, env: { ...env, NODE_EXTRA_CA_CERTS: ca } }));
    const before = site.asked.length;
    for (const url of [account(), `https://127.0.0.1:${site.port}/me`, `https://[::1]:${site.port}/me`]) {
      const answer = await strict.call('POST /v1/pins', { account: url, kid: kid(0) }, operator);
      expectProblem(answer, 422, 'invalid');
      expect(answer.body.detail).toMatch(/not public \(loopback\)/);
    }
    const plain = await strict.call('POST /v1/pins', { account: 'http://127.0.0.1/me', kid: kid(0) }, operator);
    expect(plain.body.detail).toMatch(/https/);
    expect(site.asked.length).toBe(before);
  });
});
