/** API keys: who may make them, what they may do, and that their secrets are told once. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  Account,
  AccountTable,
  admitAll,
  asOperator,
  exchangeRequest,
  newKey,
  startLoginServer,
} from '../support/logins.js';
import { expectProblem, Scenario } from '../support/scenario.js';
import { databases, startServer } from '../support/server.js';

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const reading = [{ type: 'stargus', actions: ['read'], collections: ['things'] }];

describe.each(databases)('API keys on $name', ({ name }) => {
  const accounts = new AccountTable();
  let scenario: Scenario;
  beforeAll(async () => {
    scenario = new Scenario(await startLoginServer(accounts, name));
    await admitAll(scenario);
  });
  const create = (body: object, headers = asOperator) => scenario.calls(['POST /v1/auth/keys', body, headers]);
  const me = async (secret: string) => (await scenario.call('GET /v1/auth/me', undefined, bearer(secret))).body;

  it('the operator makes keys that are subjects of their own, or act as an account', async () => {
    const { body, headers } = await create({ name: 'importer', authorizationDetails: reading });
    expect(body.secret).toMatch(/^sgk_[\w-]{43}[\da-z]{7}$/);
    expect(body.subject).toBe(`apikey:${body.apiKey}`);
    expect(headers['cache-control']).toBe('no-store');
    expect(await me(body.secret)).toMatchObject({
      ...{ subject: body.subject, isOperator: false },
      restrictions: [{ authorizationDetails: reading }],
    });
    const account = new Account(accounts);
    const other = (await create({ name: 'other', subject: account.url, expiresInMs: 60_000 })).body;
    expect(await me(other.secret)).toMatchObject({ subject: account.url, host: 'people.example', restrictions: [] });
    expect((await me(other.secret)).expiresInMs).toBeLessThanOrEqual(60_000);
    const shown = await scenario.calls([`GET ${headers.location}`, undefined, asOperator]);
    expect(shown.body).toMatchObject({ apiKey: body.apiKey, name: 'importer', owner: 'operator' });
    expect(shown.text).not.toContain(body.secret);
  });

  it('an account has keys that act as itself, and sees no others', async () => {
    const account = new Account(accounts);
    const headers = await account.headers(scenario);
    const { body } = await create({ name: 'mine' }, headers);
    expect(await me(body.secret)).toMatchObject({ subject: account.url, isOperator: false });
    expect((await create({ name: 'mine too', subject: account.url }, headers)).body.subject).toBe(account.url);
    const { apiKeys } = (await scenario.calls(['GET /v1/auth/keys', undefined, headers])).body;
    expect(apiKeys.map((key: { name: string }) => key.name).sort()).toEqual(['mine', 'mine too']);
    const strangers = await new Account(accounts).headers(scenario);
    expect((await scenario.calls(['GET /v1/auth/keys', undefined, strangers])).body.apiKeys).toEqual([]);
    expectProblem(await scenario.call(`GET /v1/auth/keys/${body.apiKey}`, undefined, strangers), 404, 'notFound');
    const answer = await scenario.calls([`DELETE /v1/auth/keys/${body.apiKey}`, undefined, strangers]);
    expect(answer.body).toEqual({ apiKey: body.apiKey, existed: false });
    expect(await me(body.secret)).toMatchObject({ subject: account.url });
    const foreign = { name: 'x', subject: 'https://people.example/another' };
    expectProblem(await scenario.call('POST /v1/auth/keys', foreign, headers), 403, 'forbidden');
    // The login's end is not the key's.
    await scenario.calls(['POST /v1/auth/revoke', { token: headers.authorization.slice(7) }]);
    expect(await me(body.secret)).toMatchObject({ subject: account.url });
  });

  it('who has less than a login makes none', async () => {
    const account = new Account(accounts);
    const { accessToken } = (await account.login(scenario)).body;
    const weaker = (await scenario.calls(['POST /v1/auth/token', exchangeRequest(accessToken)])).body.accessToken;
    const narrow = (await account.login(scenario, { body: { authorizationDetails: reading } })).body.accessToken;
    const key = (await create({ name: 'k' }, bearer(accessToken) as typeof asOperator)).body.secret;
    for (const token of [weaker, narrow, key])
      for (const [line, body] of [
        ['POST /v1/auth/keys', { name: 'x' }],
        ['GET /v1/auth/keys', undefined],
        ['DELETE /v1/auth/keys/operator', undefined],
      ] as const)
        expectProblem(await scenario.call(line, body, bearer(token)), 403, 'forbidden');
    expectProblem(await scenario.call('POST /v1/auth/keys', { name: 'x' }), 401, 'unauthenticated');
  });

  it('a deleted or revoked key is refused, and its streams end', async () => {
    for (const end of ['delete', 'revoke']) {
      const { apiKey, secret } = (await create({ name: end })).body;
      const headers = bearer(secret);
      await scenario.calls(['PUT C/items/a', { attributes: {} }, headers]);
      const stream = await scenario.watch('C/attach', headers);
      await stream.waitFor(({ event }) => event === 'live');
      if (end === 'delete') await scenario.calls([`DELETE /v1/auth/keys/${apiKey}`, undefined, asOperator]);
      else expect((await scenario.calls(['POST /v1/auth/revoke', { token: secret }])).body).toEqual({ revoked: true });
      expect((await stream.waitFor(({ event }) => event === 'bye')).data.reason).toBe('expired');
      expectProblem(await scenario.call('GET C/items/a', undefined, headers), 401, 'unauthenticated');
      const again = await scenario.calls([`DELETE /v1/auth/keys/${apiKey}`, undefined, asOperator]);
      expect(again.body.existed).toBe(false);
    }
  });

  it('a key’s stream ends no later than the key', async () => {
    const { secret } = (await create({ name: 'short', expiresInMs: 3000 })).body;
    const headers = bearer(secret);
    await scenario.calls(['PUT C/items/a', { attributes: {} }, headers]);
    const stream = await scenario.watch('C/attach', headers);
    const hello = await stream.waitFor(({ event }) => event === 'hello');
    expect(hello.data.expiresInMs).toBeLessThanOrEqual(3000);
    expect((await stream.waitFor(({ event }) => event === 'bye', 10_000)).data.reason).toBe('expired');
    await expect
      .poll(async () => (await scenario.call('GET C/items/a', undefined, headers)).status, { timeout: 10_000 })
      .toBe(401);
  });

  it('mistyped, made up or malformed keys are refused', async () => {
    const { secret } = (await create({ name: 'k' })).body;
    const other = secret.at(10) === 'A' ? 'B' : 'A';
    for (const key of [
      `${secret.slice(0, 10)}${other}${secret.slice(11)}`,
      secret.slice(0, -1),
      `${secret}x`,
      'sgk_',
      secret.toUpperCase(),
    ]) {
      const answer = await scenario.call('GET /v1/auth/me', undefined, bearer(key));
      expectProblem(answer, 401, 'unauthenticated');
    }
    expectProblem(
      await scenario.call('GET /v1/auth/me', undefined, { authorization: `DPoP ${secret}`, dpop: 'x' }),
      401,
      'unauthenticated',
    );
  });

  const bad: [says: string, body: object, status: number, pointer: string][] = [
    ['no name', {}, 400, '/name'],
    ['an empty name', { name: '' }, 400, '/name'],
    ['a long name', { name: 'x'.repeat(129) }, 400, '/name'],
    ['an unknown member', { name: 'x', scopes: ['all'] }, 400, '/scopes'],
    ['no life', { name: 'x', expiresInMs: 0 }, 400, '/expiresInMs'],
    ['a subject that is no account', { name: 'x', subject: 'operator' }, 422, '/subject'],
    ['a subject that isn’t normal', { name: 'x', subject: 'https://a.example/../x?y' }, 422, '/subject'],
    ['a subject at http', { name: 'x', subject: 'http://a.example/x' }, 422, '/subject'],
    ['a subject of 201 bytes', { name: 'x', subject: `https://a.example/${'x'.repeat(183)}` }, 422, '/subject'],
    ['no details', { name: 'x', authorizationDetails: [] }, 422, '/authorizationDetails'],
    [
      'an unknown action',
      { name: 'x', authorizationDetails: [{ type: 'stargus', actions: ['fly'], collections: ['*'] }] },
      422,
      '/authorizationDetails/0/actions/0',
    ],
  ];
  it.each(bad)('a request with %s is refused', async (_says, body, status, pointer) => {
    const answer = await scenario.call('POST /v1/auth/keys', body, asOperator);
    expect([answer.status, answer.body.errors[0].pointer], answer.text).toEqual([status, pointer]);
  });

  it('are listed page by page', async () => {
    const account = new Account(accounts);
    const headers = await account.headers(scenario);
    for (let i = 0; i < 5; i++) await create({ name: `k${i}` }, headers);
    const names: string[] = [];
    let page = '';
    do {
      const { body } = await scenario.calls([`GET /v1/auth/keys?limit=2${page}`, undefined, headers]);
      names.push(...body.apiKeys.map((key: { name: string }) => key.name));
      page = body.nextPageToken === undefined ? '' : `&pageToken=${body.nextPageToken}`;
    } while (page !== '');
    expect(names.sort()).toEqual(['k0', 'k1', 'k2', 'k3', 'k4']);
    const wrong = await scenario.call('GET /v1/auth/keys?pageToken=%27', undefined, headers);
    expectProblem(wrong, 400, 'invalidCursor');
  });

  it('the first start that requires authentication says how many keys and accounts were there before', async () => {
    const open = await startServer({ database: name });
    const before = new Scenario(open);
    const { kid, jwk } = newKey();
    await before.calls(['POST /v1/auth/keys', { name: 'a' }], ['POST /v1/auth/keys', { name: 'b' }]);
    await before.calls([`PUT /v1/identities/ann/keys/${kid}`, { jwk }]);
    await open.stop();
    const start = async (npm_lifecycle_event?: string) => {
      const env = { STARGUS_AUTH: 'required', npm_lifecycle_event };
      const server = await startServer({ database: name, databaseUrl: open.databaseUrl, env });
      await expect.poll(() => server.output()).toContain('"msg":"listening"');
      await server.stop();
      return server.output();
    };
    const [first, second] = [await start('start'), await start()];
    expect(first).toMatch(/"accounts":1,"apiKeys":2,.*made before authentication was required/);
    expect(second).not.toContain('made before authentication');
    // The words for who starts it by hand are of what works: with the key, and then others.
    const lines = first.split('\n').filter((line) => line.includes('curl'));
    expect(lines).toHaveLength(2);
    for (const line of lines) expect(line).toContain('"authorization: Bearer $KEY"');
    for (const words of [
      'docs/POLICY.md',
      'stargus -- identity',
      'STARGUS_PUBLIC_URL is not set',
      'STARGUS_SECRET is not set',
    ])
      expect(first).toContain(words);
  });

  it('the first start that requires authentication prints the operator’s key, later ones don’t', async () => {
    const env = { STARGUS_AUTH: 'required' };
    const first = await startServer({ database: name, env });
    const [key, ...others] = first.output().match(/sgk_\S+/g) ?? [];
    expect(others).toEqual([]);
    const operator = bearer(key as string);
    await new Scenario(first, 'kept').calls(['PUT C/items/a', { attributes: {} }, operator]);
    await first.stop();
    if (name === 'sqlite') {
      const file = readFileSync(first.databaseUrl.slice('sqlite:'.length));
      expect(file.includes(key as string)).toBe(false);
    }
    const second = await startServer({ database: name, databaseUrl: first.databaseUrl, env });
    expect(second.output()).not.toMatch(/sgk_/);
    await new Scenario(second, 'kept').calls(['GET C/items/a', undefined, operator]);
    await second.stop();
    // Who has lost it comes in by the variable, deletes it, and gets another.
    const rescue = 'rescue-key-of-the-operator-0123456789';
    const third = await startServer({
      ...{ database: name, databaseUrl: first.databaseUrl },
      env: { ...env, STARGUS_OPERATOR_KEY: rescue },
    });
    expect(third.output()).not.toMatch(/sgk_/);
    await new Scenario(third).calls(['DELETE /v1/auth/keys/operator', undefined, bearer(rescue)]);
    expectProblem(await new Scenario(third).call('GET /v1/auth/me', undefined, operator), 401, 'unauthenticated');
    await third.stop();
    const fourth = await startServer({ database: name, databaseUrl: first.databaseUrl, env });
    const [next] = fourth.output().match(/sgk_\S+/g) ?? [];
    expect(next).not.toBe(key);
    await new Scenario(fourth, 'kept').calls(['GET C/items/a', undefined, bearer(next as string)]);
    await fourth.stop();
  });
});
