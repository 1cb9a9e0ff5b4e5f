/** Logging in: the story of a login and its tokens, and every way in which an assertion or a token may be wrong. */
import { createHmac, createPublicKey } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  Account,
  AccountTable,
  admitAll,
  asOperator,
  base64,
  JWT_BEARER,
  newKey,
  rawSignature,
  refreshRequest,
  seconds,
  signed,
  startLoginServer,
  type TestKey,
  tokenRequest,
} from '../support/logins.js';
import { type Answer, expectProblem, Scenario } from '../support/scenario.js';
import { databases } from '../support/server.js';

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const claimsOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString());
const headerOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[0] as string, 'base64url').toString());

describe.each(databases)('logging in on $name', ({ name }) => {
  const accounts = new AccountTable();
  let scenario: Scenario;
  beforeAll(async () => {
    scenario = new Scenario(await startLoginServer(accounts, name));
    await admitAll(scenario);
  });
  const me = (token: string): Promise<Answer> => scenario.call('GET /v1/auth/me', undefined, bearer(token));

  it.each(['Ed25519', 'P-256', 'RSA'] as const)('an account logs in with a key of the kind %s', async (kind) => {
    const account = new Account(accounts, newKey(kind));
    const { status, body, headers } = await account.login(scenario);
    expect({ status, body }).toMatchObject({
      status: 200,
      body: { tokenType: 'Bearer', authorizationDetails: [], rules: [], refreshToken: expect.stringMatching(/^sgr_/) },
    });
    expect(headers['cache-control']).toBe('no-store');
    expect(body.expiresInMs).toBeGreaterThan(590_000);
    expect(body.expiresInMs).toBeLessThanOrEqual(600_000);
    const { url } = scenario.server;
    expect(headerOf(body.accessToken)).toEqual({ typ: 'at+jwt', alg: 'EdDSA', kid: expect.any(String) });
    expect(claimsOf(body.accessToken)).toEqual({
      ...{ iss: url, sub: account.url, aud: url, client_id: account.url, jti: expect.any(String) },
      ...{ iat: expect.any(Number), exp: expect.any(Number), auth_time: expect.any(Number), sid: expect.any(String) },
    });
    const { exp, iat, sid } = claimsOf(body.accessToken);
    expect(exp - iat).toBe(600);
    expect((await me(body.accessToken)).body).toMatchObject({
      ...{ subject: account.url, host: 'people.example', isOperator: false, isBound: false, login: sid },
      restrictions: [],
    });
  });

  it('what an account does is written under its URL', async () => {
    const account = new Account(accounts);
    const headers = await account.headers(scenario);
    await scenario.calls(['PUT C/items/a', { attributes: { x: 1 } }, headers]);
    const { commits } = (await scenario.calls(['GET P/changes', undefined, headers])).body;
    expect(commits.at(-1).subject).toBe(account.url);
  });

  it('a login may be narrowed from its beginning', async () => {
    const details = [{ type: 'stargus', actions: ['read'], collections: ['a*'], pools: ['p'] }];
    const account = new Account(accounts);
    const { body } = await account.login(scenario, { body: { authorizationDetails: details } });
    expect(body.authorizationDetails).toEqual(details);
    expect((await me(body.accessToken)).body.restrictions).toEqual([{ authorizationDetails: details }]);
    const next = await scenario.calls(['POST /v1/auth/token', refreshRequest(body.refreshToken)]);
    expect(next.body.authorizationDetails).toEqual(details);
    const empty = await account.login(scenario, { body: { authorizationDetails: [] } });
    expectProblem(empty, 422, 'invalid');
    expect(empty.body.errors[0].pointer).toBe('/authorizationDetails');
  });

  it('is refused what no header would carry, before a login begins', async () => {
    const attributes = Array.from({ length: 50 }, (_, i) => `attribute-${i}-${'x'.repeat(60)}`);
    const details = [0, 1].map(() => ({ type: 'stargus', actions: ['read'], collections: ['a*'], attributes }));
    const account = new Account(accounts);
    const answer = await account.login(scenario, { body: { authorizationDetails: details } });
    expectProblem(answer, 422, 'invalid');
    expect(answer.body.errors[0].pointer).toBe('/authorizationDetails');
  });

  it('the answer has what GET …/policy/effective says of the pool', async () => {
    const account = new Account(accounts);
    const details = [{ type: 'stargus', actions: ['read'], collections: ['a*'] }];
    for (const authorizationDetails of [undefined, details]) {
      const { body } = await account.login(scenario, { body: { pool: scenario.pool, authorizationDetails } });
      const effective = await scenario.calls(['GET P/policy/effective', undefined, bearer(body.accessToken)]);
      const { rules, restrictions } = effective.body;
      expect(rules[0]).toMatchObject({ action: expect.any(Array), subject: expect.any(Array) });
      expect(restrictions).toHaveLength(authorizationDetails ? 1 : 0);
      expect({ rules: body.rules, restrictions: body.restrictions }).toEqual({ rules, restrictions });
      expect(body.authorizationDetails).toEqual(authorizationDetails ?? []);
      const elsewhere = await account.login(scenario, { body: { pool: 'nowhere' } });
      expect(elsewhere.body).toMatchObject({ rules: [], restrictions: [] });
    }
  });

  it('through a proxy nobody logs in at a server that doesn’t know its URL', async () => {
    for (const header of ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto']) {
      const answer = await scenario.call('POST /v1/auth/challenges', {}, { [header]: 'for=1.1.1.1' });
      expectProblem(answer, 409, 'conflict');
      expect(answer.body.detail).toContain('STARGUS_PUBLIC_URL');
    }
    const env = { STARGUS_PUBLIC_URL: 'https://stargus.example' };
    const known = new Scenario(await startLoginServer(accounts, name, { env }));
    const { body } = await known.calls(['POST /v1/auth/challenges', {}, { 'x-forwarded-for': '1.1.1.1' }]);
    expect(body.audience).toBe('https://stargus.example');
    await known.server.stop();
  });

  it('a refresh token is good for once, and its return ends the login', async () => {
    const account = new Account(accounts);
    const first = (await account.login(scenario)).body;
    const second = (await scenario.calls(['POST /v1/auth/token', refreshRequest(first.refreshToken)])).body;
    expect(second.refreshToken).not.toBe(first.refreshToken);
    expect(claimsOf(second.accessToken)).toMatchObject({
      sub: account.url,
      sid: claimsOf(first.accessToken).sid,
      auth_time: claimsOf(first.accessToken).auth_time,
    });
    expect((await me(second.accessToken)).status).toBe(200);
    expectProblem(
      await scenario.call('POST /v1/auth/token', refreshRequest(first.refreshToken)),
      401,
      'unauthenticated',
    );
    // Who has the newer ones is shut out as well: nobody knows which of the two is the thief.
    for (const token of [first.accessToken, second.accessToken]) expectProblem(await me(token), 401, 'unauthenticated');
    const last = await scenario.call('POST /v1/auth/token', refreshRequest(second.refreshToken));
    expectProblem(last, 401, 'unauthenticated');
  });

  it('of refreshes at once exactly one wins, and the login ends', async () => {
    const { refreshToken } = (await new Account(accounts).login(scenario)).body;
    const answers = await Promise.all(
      Array.from({ length: 6 }, () => scenario.call('POST /v1/auth/token', refreshRequest(refreshToken))),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    const [winner] = answers.filter(({ status }) => status === 200) as [Answer];
    expectProblem(await me(winner.body.accessToken), 401, 'unauthenticated');
  });

  it('a login goes on only while its account has the key', async () => {
    const account = new Account(accounts);
    const { refreshToken, accessToken } = (await account.login(scenario)).body;
    accounts.remove(account.url, account.key);
    expectProblem(await scenario.call('POST /v1/auth/token', refreshRequest(refreshToken)), 401, 'unauthenticated');
    expectProblem(await me(accessToken), 401, 'unauthenticated');
  });

  it.each(['accessToken', 'refreshToken'] as const)('who has the %s revokes the login', async (kind) => {
    const { body } = await new Account(accounts).login(scenario);
    expect((await me(body.accessToken)).status).toBe(200);
    expect((await scenario.calls(['POST /v1/auth/revoke', { token: body[kind] }])).body).toEqual({ revoked: true });
    expectProblem(await me(body.accessToken), 401, 'unauthenticated');
    expectProblem(
      await scenario.call('POST /v1/auth/token', refreshRequest(body.refreshToken)),
      401,
      'unauthenticated',
    );
    for (const token of ['nonsense', 'sgr_nothing', 'sgk_nothing', 'a~b', body.accessToken])
      expect((await scenario.call('POST /v1/auth/revoke', { token })).status, token).toBe(200);
  });

  it('a nonce is taken once, of requests at once too', async () => {
    const account = new Account(accounts);
    const claims = await account.claims(scenario);
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, i) =>
        scenario.call(
          'POST /v1/auth/token',
          tokenRequest(signed(account.header, { ...claims, jti: `j${i}` }, account.key)),
        ),
      ),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(7).fill(401)]);
  });

  it('the server tells how to log in and by which keys its tokens are known', async () => {
    const { url } = scenario.server;
    const { keys } = (await scenario.calls(['GET /.well-known/jwks.json'])).body;
    expect(keys).toEqual([
      { kty: 'OKP', crv: 'Ed25519', x: expect.any(String), kid: expect.any(String), alg: 'EdDSA', use: 'sig' },
    ]);
    const { accessToken } = (await new Account(accounts).login(scenario)).body;
    expect(headerOf(accessToken).kid).toBe(keys[0].kid);
    const server = (await scenario.calls(['GET /.well-known/oauth-authorization-server'])).body;
    expect(server).toMatchObject({
      issuer: url,
      token_endpoint: `${url}/v1/auth/token`,
      jwks_uri: `${url}/.well-known/jwks.json`,
    });
    const resource = (await scenario.calls(['GET /.well-known/oauth-protected-resource'])).body;
    expect(resource).toMatchObject({
      resource: url,
      authorization_servers: [url],
      bearer_methods_supported: ['header'],
    });
    const { nonce, audience, expiresInMs } = (await scenario.calls(['POST /v1/auth/challenges'])).body;
    expect({ audience, expiresInMs }).toEqual({ audience: url, expiresInMs: 120_000 });
    expect(nonce).toMatch(/^[\w-]{43}$/);
  });

  const badRequests: [says: string, body: object, pointer: string][] = [
    ['an unknown grant type', { grantType: 'password' }, '/grantType'],
    ['a grant type that every object has', { grantType: 'constructor' }, '/grantType'],
    ['no assertion', { grantType: JWT_BEARER }, '/assertion'],
    ['no refresh token', { grantType: 'refresh_token' }, '/refreshToken'],
    ['members of another grant type', { ...refreshRequest('x'), assertion: 'x' }, '/assertion'],
    ['an unknown member', { ...refreshRequest('x'), scope: 'all' }, '/scope'],
    ['snake_case', { grant_type: 'refresh_token' }, '/grantType'],
  ];
  it.each(badRequests)('%s is refused by name', async (_says, body, pointer) => {
    const answer = await scenario.call('POST /v1/auth/token', body);
    expectProblem(answer, 400, 'badRequest');
    expect(answer.body.errors.map((place: { pointer: string }) => place.pointer)).toContain(pointer);
  });

  describe('an assertion is refused', () => {
    const account = new Account(accounts);
    const elliptic = new Account(accounts, newKey('P-256'));
    const rsa = new Account(accounts, newKey('RSA'));
    const stranger = newKey();
    const pem = (key: TestKey) =>
      createPublicKey({ key: key.jwk as never, format: 'jwk' }).export({ type: 'spki', format: 'pem' }) as string;
    const hmac = (header: object, claims: object, secret: string | Buffer) => {
      const input = `${base64(header)}.${base64(claims)}`;
      return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
    };
    type Forge = (claims: Record<string, unknown>) => string;
    const withHeader =
      (header: object, by = account): Forge =>
      (claims) =>
        signed({ ...by.header, ...header }, { ...claims, iss: by.url, sub: by.url }, by.key);
    const withClaims =
      (more: object): Forge =>
      (claims) =>
        signed(account.header, { ...claims, ...more }, account.key);

    const forgeries: [says: string, forge: Forge][] = [
      ['none', (claims) => `${base64({ ...account.header, alg: 'none' })}.${base64(claims)}.`],
      ['none with a signature', withHeader({ alg: 'none' })],
      ['nOnE', (claims) => `${base64({ ...account.header, alg: 'nOnE' })}.${base64(claims)}.AA`],
      [
        'HMAC with the public key as PEM',
        (c) => hmac({ ...rsa.header, alg: 'HS256' }, { ...c, iss: rsa.url, sub: rsa.url }, pem(rsa.key)),
      ],
      [
        'HMAC with the public key as JWK',
        (c) => hmac({ ...account.header, alg: 'HS256' }, c, JSON.stringify(account.key.jwk)),
      ],
      [
        'HMAC with the key’s bytes',
        (c) => hmac({ ...account.header, alg: 'HS256' }, c, Buffer.from(account.key.jwk.x as string, 'base64url')),
      ],
      ['HMAC with nothing', (c) => hmac({ ...account.header, alg: 'HS256' }, c, '')],
      ['the algorithm of another kind of key', withHeader({ alg: 'ES256' })],
      ['RS256 with an RSA key', withHeader({ alg: 'RS256' }, rsa)],
      ['PS384 with an RSA key', withHeader({ alg: 'PS384' }, rsa)],
      ['ES256K with an elliptic key', withHeader({ alg: 'ES256K' }, elliptic)],
      ['an algorithm that is a list', withHeader({ alg: ['EdDSA'] })],
      ['no algorithm', withHeader({ alg: undefined })],
      ['a kid that the account doesn’t have', withHeader({ kid: stranger.kid })],
      ['the kid of another account’s key', withHeader({ kid: rsa.key.kid })],
      ['a kid that is a path', withHeader({ kid: '../../../../dev/null' })],
      ['a kid that is SQL', withHeader({ kid: "' UNION SELECT 'x" })],
      ['a kid that is an object', withHeader({ kid: { toString: account.key.kid } })],
      ['no kid', withHeader({ kid: undefined })],
      ['a foreign jku', withHeader({ jku: 'https://evil.example/jwks.json' })],
      ['an x5u', withHeader({ x5u: 'https://evil.example/cert.pem' })],
      ['an x5c', withHeader({ x5c: ['AAAA'] })],
      ['an embedded key', (c) => signed({ ...account.header, jwk: stranger.jwk }, c, stranger)],
      ['its own key embedded', withHeader({ jwk: account.key.jwk })],
      ['crit', withHeader({ crit: ['exp'] })],
      ['crit with b64', withHeader({ crit: ['b64'], b64: false })],
      ['b64: false', withHeader({ b64: false })],
      ['zip', withHeader({ zip: 'DEF' })],
      ['cty', withHeader({ cty: 'JWT' })],
      ['the typ JWT', withHeader({ typ: 'JWT' })],
      ['the typ of an access token', withHeader({ typ: 'at+jwt' })],
      ['the typ of a proof', withHeader({ typ: 'dpop+jwt' })],
      ['no typ', withHeader({ typ: undefined })],
      ['the signature of a stranger', (c) => signed(account.header, c, stranger)],
      [
        'a signature of other claims',
        (c) => signed(account.header, c, account.key, rawSignature(account.key, 'other')),
      ],
      ['an empty signature', (c) => `${base64(account.header)}.${base64(c)}.`],
      ['a zero signature of Ed25519', (c) => signed(account.header, c, account.key, Buffer.alloc(64))],
      [
        'a zero signature of ECDSA',
        (c) => signed(elliptic.header, { ...c, iss: elliptic.url, sub: elliptic.url }, elliptic.key, Buffer.alloc(64)),
      ],
      [
        'a zero signature of RSA',
        (c) => signed(rsa.header, { ...c, iss: rsa.url, sub: rsa.url }, rsa.key, Buffer.alloc(256)),
      ],
      ['another server’s audience', withClaims({ aud: 'https://other.example' })],
      [
        'a list of audiences',
        (c) => signed(account.header, { ...c, aud: [c.aud, 'https://other.example'] }, account.key),
      ],
      ['the audience with a slash', (c) => signed(account.header, { ...c, aud: `${c.aud}/` }, account.key)],
      ['no audience', withClaims({ aud: undefined })],
      ['another sub than iss', withClaims({ sub: 'https://people.example/somebody' })],
      ['another account', withClaims({ iss: rsa.url, sub: rsa.url })],
      ['an account that is no URL', withClaims({ iss: 'operator', sub: 'operator' })],
      ['an account that is a script', withClaims({ iss: 'javascript:1', sub: 'javascript:1' })],
      ['a nonce that wasn’t given out', withClaims({ nonce: 'a'.repeat(43) })],
      ['no nonce', withClaims({ nonce: undefined })],
      ['a nonce that is a list', withClaims({ nonce: ['a'] })],
      ['no jti', withClaims({ jti: undefined })],
      ['an exp that is over', withClaims({ iat: seconds() - 50, exp: seconds() - 10 })],
      ['an exp more than a minute after iat', withClaims({ exp: seconds() + 90 })],
      ['an exp before iat', withClaims({ exp: seconds() - 3, iat: seconds() })],
      ['an iat in the future', withClaims({ iat: seconds() + 30, exp: seconds() + 60 })],
      ['an exp that is a text', withClaims({ exp: '9999999999' })],
      ['an exp beyond all numbers', withClaims({ exp: 1e300 })],
      ['no exp', withClaims({ exp: undefined })],
      ['no iat', withClaims({ iat: undefined })],
      ['an nbf in the future', withClaims({ nbf: seconds() + 30 })],
      ['an unknown claim', withClaims({ authorization_details: [] })],
      ['a cnf that is a key', withClaims({ cnf: { jwk: stranger.jwk } })],
      ['a cnf with more than a thumbprint', withClaims({ cnf: { jkt: stranger.kid, kid: 'x' } })],
      ['more than 8 KiB', withClaims({ jti: 'x'.repeat(9000) })],
      ['a jti that is too long', withClaims({ jti: 'x'.repeat(300) })],
      [
        'duplicate members of the header',
        (c) => signed(`{"alg":"none",${JSON.stringify(account.header).slice(1)}`, c, account.key),
      ],
      [
        'duplicate members, one of them escaped',
        (c) => signed(account.header, `{"\\u0069ss":"https://evil.example",${JSON.stringify(c).slice(1)}`, account.key),
      ],
      ['claims that are a list', () => signed(account.header, '[]', account.key)],
      ['claims that are no JSON', () => signed(account.header, '{', account.key)],
      ['a header that is null', (c) => signed('null', c, account.key)],
      ['four parts', (c) => `${signed(account.header, c, account.key)}.AAAA`],
      ['two parts', (c) => signed(account.header, c, account.key).split('.').slice(0, 2).join('.')],
      ['five parts, as if it were encrypted', (c) => `${signed(account.header, c, account.key)}.AAAA.AAAA`],
      [
        'JWS as JSON',
        (c) => JSON.stringify({ payload: base64(c), protected: base64(account.header), signature: 'AA' }),
      ],
      ['padding', (c) => `${signed(account.header, c, account.key)}==`],
      ['white space', (c) => `${signed(account.header, c, account.key)}\n`],
      ['the other alphabet of base64', (c) => signed(account.header, c, account.key).replace(/.$/, '+')],
      ['nothing', () => ''],
    ];
    it.each(forgeries)('with %s', async (says, forge) => {
      const claims = await account.claims(scenario);
      const answer = await scenario.call('POST /v1/auth/token', tokenRequest(forge(claims)));
      expectProblem(answer, 401, 'unauthenticated');
      expect(answer.headers['www-authenticate'], says).toMatch(/^Bearer/);
      // It was the forgery: the same claims, as they should be, are taken, for no nonce was used up.
      const right = await scenario.call(
        'POST /v1/auth/token',
        tokenRequest(signed(account.header, claims, account.key)),
      );
      expect(right.status, right.text).toBe(200);
    });

    it('within 5 s of a wrong clock it is taken', async () => {
      for (const [iat, exp] of [
        [3, 40],
        [-62, -3],
      ] as const) {
        const at = seconds();
        const answer = await account.login(scenario, { claims: { iat: at + iat, exp: at + exp } });
        expect(answer.status, answer.text).toBe(200);
      }
    });

    it('whose ECDSA signature is mirrored counts as the same login', async () => {
      const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
      const claims = await elliptic.claims(scenario);
      const text = signed(elliptic.header, claims, elliptic.key);
      const signature = Buffer.from(text.split('.')[2] as string, 'base64url');
      const s = n - BigInt(`0x${signature.subarray(32).toString('hex')}`);
      const mirrored = Buffer.concat([signature.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex')]);
      expect((await scenario.call('POST /v1/auth/token', tokenRequest(text))).status).toBe(200);
      const again = tokenRequest(signed(elliptic.header, claims, elliptic.key, mirrored));
      expectProblem(await scenario.call('POST /v1/auth/token', again), 401, 'unauthenticated');
    });
  });

  describe('an access token is refused', () => {
    const account = new Account(accounts);
    const own = newKey();
    type Forge = (token: string) => string;
    const parts = (token: string) => token.split('.') as [string, string, string];
    const resigned =
      (header: object, claims: object): Forge =>
      (token) =>
        signed({ ...headerOf(token), ...header }, { ...claimsOf(token), ...claims }, own);
    const forgeries: [says: string, forge: Forge][] = [
      ['none', (token) => `${base64({ ...headerOf(token), alg: 'none' })}.${parts(token)[1]}.`],
      [
        'HMAC',
        (token) => {
          const input = `${base64({ ...headerOf(token), alg: 'HS256' })}.${parts(token)[1]}`;
          return `${input}.${createHmac('sha256', headerOf(token).kid).update(input).digest('base64url')}`;
        },
      ],
      ['another key under the same kid', resigned({}, {})],
      ['another key under its own kid', resigned({ kid: own.kid }, {})],
      ['an embedded key', resigned({ jwk: own.jwk }, {})],
      [
        'other claims under the same signature',
        (token) => {
          const [header, , signature] = parts(token);
          return `${header}.${base64({ ...claimsOf(token), sub: 'operator' })}.${signature}`;
        },
      ],
      [
        'a flipped bit',
        (token) => {
          const [header, claims, signature] = parts(token);
          const bytes = Buffer.from(signature, 'base64url');
          bytes[5] = (bytes[5] as number) ^ 1;
          return `${header}.${claims}.${bytes.toString('base64url')}`;
        },
      ],
      [
        'a signature plus the order of the group',
        (token) => {
          // S + L: RFC 8032 wants S below L, else every signature has a twin.
          const [header, claims, signature] = parts(token);
          const bytes = Buffer.from(signature, 'base64url');
          const l = 2n ** 252n + 27742317777372353535851937790883648493n;
          const s = BigInt(`0x${Buffer.from(bytes.subarray(32)).reverse().toString('hex')}`) + l;
          const twin = Buffer.from(s.toString(16).padStart(64, '0'), 'hex').reverse();
          return `${header}.${claims}.${Buffer.concat([bytes.subarray(0, 32), twin]).toString('base64url')}`;
        },
      ],
      ['nothing at its end', (token) => token.slice(0, -10)],
      ['an assertion in its place', () => signed(account.header, { iss: account.url }, account.key)],
      ['more than 8 KiB', (token) => token + 'A'.repeat(9000)],
    ];
    it.each(forgeries)('with %s', async (_says, forge) => {
      const { accessToken } = (await account.login(scenario)).body;
      const answer = await me(forge(accessToken));
      expectProblem(answer, 401, 'unauthenticated');
      expect(answer.headers['www-authenticate']).toBe('Bearer realm="stargus", error="invalid_token"');
      expect((await me(accessToken)).status).toBe(200);
    });

    it('when it comes in the query string', async () => {
      const { accessToken } = (await account.login(scenario)).body;
      expectProblem(await scenario.call(`GET P/changes?access_token=${accessToken}`), 401, 'unauthenticated');
      const both = await scenario.call(`GET P/changes?access_token=${accessToken}`, undefined, bearer(accessToken));
      expectProblem(both, 400, 'badRequest');
    });
  });

  it('on an open server who sends a token is who it says, and who sends a wrong one is refused', async () => {
    const open = new Scenario(await startLoginServer(accounts, name, { env: { STARGUS_AUTH: 'open' } }));
    const account = new Account(accounts);
    const whoIs = async (headers?: { authorization: string }) =>
      (await open.call('GET /v1/auth/me', undefined, headers)).body;
    expect(await whoIs()).toMatchObject({ subject: 'anonymous', isOperator: true });
    expect(await whoIs(await account.headers(open))).toMatchObject({ subject: account.url, isOperator: false });
    expect(await whoIs(asOperator as { authorization: string })).toMatchObject({
      subject: 'operator',
      isOperator: true,
    });
    for (const authorization of ['Bearer wrong', 'Basic YTpi', 'DPoP wrong', 'Bearer'])
      expectProblem(await open.call('GET C/items/a', undefined, { authorization }), 401, 'unauthenticated');
  });
});
