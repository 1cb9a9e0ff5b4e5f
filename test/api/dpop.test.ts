/** Tokens that are bound to a key, and the proofs that go with each request. */
import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  Account,
  AccountTable,
  admitAll,
  exchangeRequest,
  newKey,
  proofOf,
  refreshRequest,
  seconds,
  signed,
  startLoginServer,
  tokenRequest,
} from '../support/logins.js';
import { head, sendRaw } from '../support/raw.js';
import { expectProblem, type Headers, Scenario } from '../support/scenario.js';
import { databases } from '../support/server.js';

const TOKEN = 'POST /v1/auth/token';
const ME = 'GET /v1/auth/me';

describe.each(databases)('proofs of possession on $name', ({ name }) => {
  const accounts = new AccountTable();
  const key = newKey();
  const other = newKey();
  let scenario: Scenario;
  let account: Account;
  let token: string;
  let refreshToken: string;
  beforeAll(async () => {
    scenario = new Scenario(await startLoginServer(accounts, name));
    await admitAll(scenario);
    account = new Account(accounts);
    const headers = { dpop: proofOf(key, scenario.server, TOKEN) };
    ({ accessToken: token, refreshToken } = (await account.login(scenario, { headers })).body);
  });
  const prove = (line: string, more: Parameters<typeof proofOf>[3] = {}, by = key) =>
    proofOf(by, scenario.server, line, { token, ...more });
  const withProof = (dpop: string): Headers => ({ authorization: `DPoP ${token}`, dpop });

  it.each(['Ed25519', 'P-256', 'RSA'] as const)('a key of the kind %s binds a token', async (kind) => {
    const bound = newKey(kind);
    const headers = { dpop: proofOf(bound, scenario.server, TOKEN) };
    const { body } = await account.login(scenario, { headers });
    expect(body.tokenType).toBe('DPoP');
    const claims = JSON.parse(Buffer.from(body.accessToken.split('.')[1], 'base64url').toString());
    expect(claims.cnf).toEqual({ jkt: bound.kid });
    const dpop = proofOf(bound, scenario.server, ME, { token: body.accessToken });
    const sent = { authorization: `DPoP ${body.accessToken}`, dpop };
    expect((await scenario.calls([ME, undefined, sent])).body).toMatchObject({ isBound: true, subject: account.url });
  });

  it('the assertion may name the key; another one in the proof is refused', async () => {
    const { body } = await account.login(scenario, { claims: { cnf: { jkt: key.kid } } });
    expect(body.tokenType).toBe('DPoP');
    const headers = { dpop: proofOf(other, scenario.server, TOKEN) };
    const wrong = await account.login(scenario, { claims: { cnf: { jkt: key.kid } }, headers });
    expectProblem(wrong, 401, 'unauthenticated');
  });

  it('refusals say what is wanted, in the words of RFC 9449', async () => {
    const challenge = async (headers: Headers) =>
      (await scenario.call(ME, undefined, headers)).headers['www-authenticate'];
    expect(await challenge({ authorization: `Bearer ${token}` })).toMatch(/^DPoP algs="[^"]+", error="invalid_token"$/);
    expect(await challenge({ authorization: 'DPoP made.up.token', dpop: prove(ME) })).toMatch(
      /^DPoP .*error="invalid_token"$/,
    );
    const wrong = [withProof('nonsense'), withProof(prove('PUT /v1/auth/me')), withProof(prove(ME, {}, other))];
    for (const headers of [...wrong, { authorization: `DPoP ${token}` }])
      expect(await challenge(headers)).toMatch(/^DPoP algs="[^"]+", error="invalid_dpop_proof"$/);
    expect(await challenge({ authorization: 'Bearer nonsense' })).toBe('Bearer realm="stargus", error="invalid_token"');
  });

  it('a request in the absolute form is judged as any other', async () => {
    const { host } = new URL(scenario.server.url);
    for (const [proof, status] of [
      ['nonsense', 401],
      [proofOf(key, scenario.server, 'POST /v1/auth/revoke'), 401],
      [proofOf(key, scenario.server, TOKEN), 200],
    ] as const) {
      const body = JSON.stringify(tokenRequest(await account.assertion(scenario)));
      const headers = { dpop: proof, 'content-type': 'application/json', 'content-length': body.length };
      const answer = await sendRaw(
        scenario.server,
        `${head(scenario.server, `POST http://${host}/v1/auth/token`, headers)}${body}`,
      );
      expect(answer.status, answer.text).toBe(status);
    }
  });

  it('a bound token is worth nothing as a bearer, and an unbound one nothing as DPoP', async () => {
    const answer = await scenario.call(ME, undefined, { authorization: `Bearer ${token}` });
    expectProblem(answer, 401, 'unauthenticated');
    expectProblem(await scenario.call(ME, undefined, { authorization: `DPoP ${token}` }), 401, 'unauthenticated');
    const unbound = (await account.login(scenario)).body.accessToken;
    const dpop = prove(ME, { token: unbound });
    const swapped = await scenario.call(ME, undefined, { authorization: `DPoP ${unbound}`, dpop });
    expectProblem(swapped, 401, 'unauthenticated');
    expect(swapped.headers['www-authenticate']).toBe('DPoP algs="EdDSA ES256 PS256", error="invalid_token"');
    // Also when it was taken just before, with a proof.
    await scenario.calls([ME, undefined, withProof(prove(ME))]);
    expectProblem(await scenario.call(ME, undefined, { authorization: `Bearer ${token}` }), 401, 'unauthenticated');
    const cookie = { cookie: `__Host-stargus=${token}` };
    expectProblem(await scenario.call(ME, undefined, cookie), 401, 'unauthenticated');
  });

  it('writes, reads and streams go with proofs, the query and the fragment left out', async () => {
    const put = scenario.path('C/items/a');
    const attach = scenario.path('C/attach');
    await scenario.calls(
      [`PUT ${put}`, { attributes: { x: 1 } }, withProof(prove(`PUT ${put}`))],
      [`GET ${put}?fields=x`, undefined, withProof(prove(`GET ${put}`))],
      [
        `GET ${put}?fields=x`,
        undefined,
        withProof(prove(`GET ${put}`, { claims: { htu: `${scenario.server.url}${put}?other#x` } })),
      ],
    );
    const stream = await scenario.watch('C/attach?values=full', withProof(prove(`GET ${attach}`)));
    await stream.waitFor(({ event }) => event === 'live');
    stream.close();
  });

  it('a proof is good for once', async () => {
    const headers = withProof(prove(ME));
    await scenario.calls([ME, undefined, headers]);
    expectProblem(await scenario.call(ME, undefined, headers), 401, 'unauthenticated');
    const again = withProof(prove(ME));
    const answers = await Promise.all(Array.from({ length: 8 }, () => scenario.call(ME, undefined, again)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(7).fill(401)]);
    // Two keys may choose the same id.
    const jti = randomUUID();
    for (const by of [key, other]) {
      const dpop = proofOf(by, scenario.server, TOKEN, { claims: { jti } });
      expect((await account.login(scenario, { headers: { dpop } })).status).toBe(200);
    }
  });

  const wrong: [says: string, make: () => string][] = [
    ['of another key', () => prove(ME, {}, other)],
    ['for another method', () => prove('POST /v1/auth/me')],
    ['for HEAD', () => prove('HEAD /v1/auth/me')],
    ['for another path', () => prove('GET /v1/auth/you')],
    ['for another host', () => prove(ME, { claims: { htu: 'http://evil.example/v1/auth/me' } })],
    [
      'for another scheme',
      () => prove(ME, { claims: { htu: `${scenario.server.url.replace('http', 'https')}/v1/auth/me` } }),
    ],
    ['for no URL', () => prove(ME, { claims: { htu: '/v1/auth/me' } })],
    ['for another token', () => prove(ME, { token: 'other' })],
    ['for no token', () => prove(ME, { claims: { ath: undefined } })],
    ['with an empty ath', () => prove(ME, { claims: { ath: '' } })],
    ['that is old', () => prove(ME, { claims: { iat: seconds() - 65 } })],
    ['from the future', () => prove(ME, { claims: { iat: seconds() + 10 } })],
    ['without a time', () => prove(ME, { claims: { iat: undefined } })],
    ['without an id', () => prove(ME, { claims: { jti: undefined } })],
    ['with too long an id', () => prove(ME, { claims: { jti: 'x'.repeat(300) } })],
    ['with a private key inside', () => prove(ME, { header: { jwk: key.privateKey.export({ format: 'jwk' }) } })],
    ['without a key', () => prove(ME, { header: { jwk: undefined } })],
    ['with a symmetric key', () => prove(ME, { header: { jwk: { kty: 'oct', k: 'AAAA' }, alg: 'HS256' } })],
    ['with none', () => prove(ME, { header: { alg: 'none' } })],
    ['with another algorithm', () => prove(ME, { header: { alg: 'ES256' } })],
    ['with another typ', () => prove(ME, { header: { typ: 'JWT' } })],
    ['with a kid beside the key', () => prove(ME, { header: { kid: key.kid } })],
    ['whose key isn’t what signed it', () => prove(ME, { header: { jwk: other.jwk } })],
    ['that is too long', () => prove(ME, { claims: { more: 'x'.repeat(5000) } })],
    ['that is two', () => `${prove(ME)}, ${prove(ME)}`],
    ['that is nothing', () => 'x'],
    ['that is an assertion', () => signed(account.header, { iss: account.url, htm: 'GET' }, account.key)],
  ];
  it.each(wrong)('a proof %s is refused', async (_says, make) => {
    const answer = await scenario.call(ME, undefined, withProof(make()));
    expectProblem(answer, 401, 'unauthenticated');
    expect(answer.headers['www-authenticate']).toMatch(/^DPoP algs=/);
    await scenario.calls([ME, undefined, withProof(prove(ME))]);
  });

  it('a bound refresh token wants a proof of its key, and isn’t used up without one', async () => {
    const refresh = (headers?: Headers) => scenario.call(TOKEN, refreshRequest(refreshToken), headers);
    expectProblem(await refresh(), 401, 'unauthenticated');
    expectProblem(await refresh({ dpop: proofOf(other, scenario.server, TOKEN) }), 401, 'unauthenticated');
    const { status, body } = await refresh({ dpop: proofOf(key, scenario.server, TOKEN) });
    expect([status, body.tokenType]).toEqual([200, 'DPoP']);
  });

  it('a bound token is exchanged by its key only, for one that is bound: to it, or to another', async () => {
    const exchange = (more: object, headers?: Headers) => scenario.call(TOKEN, exchangeRequest(token, more), headers);
    expectProblem(await exchange({}), 401, 'unauthenticated');
    expectProblem(await exchange({}, { dpop: proofOf(other, scenario.server, TOKEN) }), 401, 'unauthenticated');
    for (const [more, bound] of [
      [{}, key],
      [{ keyThumbprint: other.kid }, other],
    ] as const) {
      const { body } = await exchange(more, { dpop: proofOf(key, scenario.server, TOKEN) });
      expect(body.tokenType).toBe('DPoP');
      const dpop = proofOf(bound, scenario.server, ME, { token: body.accessToken });
      const sent = { authorization: `DPoP ${body.accessToken}`, dpop };
      expect((await scenario.calls([ME, undefined, sent])).body.isBound).toBe(true);
    }
  });
});
