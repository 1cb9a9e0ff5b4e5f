/** Accounts that the server hosts: who may bring in a key and take one out, what is refused, and what others read. */
import { beforeAll, describe, expect, it } from 'vitest';
import { type Members, newKey, proof, type TestKey } from '../support/keys.js';
import { expectProblem, type Headers, pointersOf, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const OPERATOR_KEY = 'an operator’s key for tests'.replace('’', '-').padEnd(32, 'x').replaceAll(' ', '-');
const operator: Headers = { authorization: `Bearer ${OPERATOR_KEY}` };

/** RFC 8032's curve, little-endian. */
const ORDER_8 = 'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a';
/** p + 1, which is another way to write 1. */
const NOT_CANONICAL = `ee${'ff'.repeat(30)}7f`;
/** The same number with bits behind its last byte that mean nothing. */
const loose = (text: string) => `${text.slice(0, -1)}${text.endsWith('w') ? 'x' : 'B'}`;

describe.each(databases)('hosted accounts on $name', ({ name: database }) => {
  let server: Server;
  let scenario: Scenario;
  let accounts = 0;
  const ed = newKey('EdDSA');
  const ec = newKey('ES256');
  const rsa = newKey('PS256');

  beforeAll(async () => {
    server = await startServer({
      database,
      env: { STARGUS_AUTH: 'required', STARGUS_OPERATOR_KEY: OPERATOR_KEY },
    });
    scenario = new Scenario(server);
  });

  const newName = () => `account-${++accounts}`;
  const urlOf = (name: string) => `${server.url}/id/${name}`;
  const pathOf = (name: string, kid: string) => `/v1/identities/${name}/keys/${kid}`;

  /** An account with the key. */
  async function enrolled(key: TestKey, name = newName()): Promise<string> {
    const answer = await scenario.call(`PUT ${pathOf(name, key.kid)}`, { jwk: key.jwk }, operator);
    expect(answer.status, answer.text).toBe(201);
    return name;
  }

  const kidsOf = async (name: string): Promise<string[]> =>
    ((await scenario.call(`GET /id/${name}/jwks.json`)).body.keys ?? []).map(({ kid }: { kid: string }) => kid).sort();

  it.each([
    ['Ed25519', ed, 'EdDSA'],
    ['P-256', ec, 'ES256'],
    ['RSA', rsa, 'PS256'],
  ] as const)('have keys of the kind %s, brought in by the operator', async (_kind, made, algorithm) => {
    const key = await made;
    const name = newName();
    const put = await scenario.call(
      `PUT ${pathOf(name, key.kid)}`,
      { jwk: { ...key.jwk, use: 'sig', alg: algorithm } },
      operator,
    );
    expect(put.status).toBe(201);
    expect(put.headers.location).toBe(`/v1/identities/${name}`);
    expect(put.body).toEqual({
      account: urlOf(name),
      kid: key.kid,
      algorithm,
      jwk: key.jwk,
      addedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
    });
    const again = await scenario.call(`PUT ${pathOf(name, key.kid)}`, { jwk: key.jwk }, operator);
    expect([again.status, again.body]).toEqual([200, put.body]);
    const read = await scenario.call(`GET /v1/identities/${name}`, undefined, operator);
    const { account, ...shown } = put.body;
    expect(read.body).toEqual({ account, name, keys: [shown] });
  });

  it('publish a DID document and a JWK set that anybody may read and keep', async () => {
    const key = await ed;
    const name = await enrolled(key);
    const published = { ...key.jwk, kid: key.kid, alg: 'EdDSA', use: 'sig' };
    const port = new URL(server.url).port;
    const did = `did:web:127.0.0.1%3A${port}:id:${name}`;
    const document = {
      '@context': [expect.any(String), expect.any(String)],
      id: did,
      alsoKnownAs: [urlOf(name)],
      verificationMethod: [
        { id: `${did}#${key.kid}`, type: 'JsonWebKey2020', controller: did, publicKeyJwk: published },
      ],
      authentication: [`${did}#${key.kid}`],
    };
    for (const [path, wanted] of [
      [`/id/${name}`, document],
      [`/id/${name}/did.json`, document],
      [`/id/${name}/jwks.json`, { keys: [published] }],
    ] as const) {
      const answer = await scenario.call(`GET ${path}`);
      expect(answer.body).toEqual(wanted);
      expect(answer.headers).toMatchObject({
        'access-control-allow-origin': '*',
        'cache-control': 'public, max-age=300',
      });
      const same = await scenario.call(`GET ${path}`, undefined, { 'if-none-match': `"x", W/${answer.headers.etag}` });
      expect([same.status, same.text, same.headers.etag]).toEqual([304, '', answer.headers.etag]);
      const other = await scenario.call(`GET ${path}`, undefined, { 'if-none-match': '"x"' });
      expect(other.status).toBe(200);
    }
    const before = (await scenario.call(`GET /id/${name}/jwks.json`)).headers.etag;
    const next = await newKey();
    await scenario.calls([`PUT ${pathOf(name, next.kid)}`, { jwk: next.jwk }, operator]);
    expect((await scenario.call(`GET /id/${name}/jwks.json`)).headers.etag).not.toBe(before);
  });

  describe('refuse a key', () => {
    const cases: [string, (jwk: Members, rsaJwk: Members, ecJwk: Members) => Members, string][] = [
      ['with the private member of Ed25519', (jwk) => ({ ...jwk, d: 'AAAA' }), '/jwk/d'],
      ['with a private member that is null', (jwk) => ({ ...jwk, d: null }), '/jwk/d'],
      ['with a prime of RSA', (_jwk, other) => ({ ...other, p: 'AAAA' }), '/jwk/p'],
      ['with dq of RSA', (_jwk, other) => ({ ...other, dq: 'AAAA' }), '/jwk/dq'],
      ['with oth of RSA', (_jwk, other) => ({ ...other, oth: [] }), '/jwk/oth'],
      ['that is symmetric', () => ({ kty: 'oct', k: 'AAAA' }), '/jwk/k'],
      ['that is symmetric without saying so', () => ({ kty: 'oct' }), '/jwk/kty'],
      ['of no kind', () => ({}), '/jwk/kty'],
      ['of the curve X25519', (jwk) => ({ ...jwk, crv: 'X25519' }), '/jwk/crv'],
      ['of the curve Ed448', (jwk) => ({ ...jwk, crv: 'Ed448' }), '/jwk/crv'],
      ['of the curve P-384', (_jwk, _rsa, other) => ({ ...other, crv: 'P-384' }), '/jwk/crv'],
      ['of secp256k1', (_jwk, _rsa, other) => ({ ...other, crv: 'secp256k1' }), '/jwk/crv'],
      ['whose x is missing', ({ x: _x, ...rest }) => rest, '/jwk/x'],
      ['whose x is a number', (jwk) => ({ ...jwk, x: 1 }), '/jwk/x'],
      ['whose x is padded', (jwk) => ({ ...jwk, x: `${jwk.x}=` }), '/jwk/x'],
      ['whose x is base64', (jwk) => ({ ...jwk, x: `+/${String(jwk.x).slice(2)}` }), '/jwk/x'],
      ['whose x is short', (jwk) => ({ ...jwk, x: 'AAAA' }), '/jwk/x'],
      ['whose point is not on the curve', (_jwk, _rsa, other) => ({ ...other, x: other.y, y: other.x }), '/jwk/x'],
      ['that is for encryption', (jwk) => ({ ...jwk, use: 'enc' }), '/jwk/use'],
      ['that signs only', (jwk) => ({ ...jwk, key_ops: ['sign'] }), '/jwk/key_ops'],
      ['for HMAC', (jwk) => ({ ...jwk, alg: 'HS256' }), '/jwk/alg'],
      ['for another algorithm of its kind', (_jwk, other) => ({ ...other, alg: 'RS256' }), '/jwk/alg'],
      ['with a chain of certificates', (jwk) => ({ ...jwk, x5c: [] }), '/jwk/x5c'],
      ['with a URL', (jwk) => ({ ...jwk, jku: 'https://evil.example/' }), '/jwk/jku'],
      ['of RSA with the exponent 3', (_jwk, other) => ({ ...other, e: 'Aw' }), '/jwk/e'],
      ['of RSA whose n has a zero before it', (_jwk, other) => ({ ...other, n: padded(String(other.n)) }), '/jwk/n'],
      ['of RSA with 1024 bits', (_jwk, other) => ({ ...other, n: bitsOf(String(other.n), 128) }), '/jwk/n'],
      ['of RSA with 2047 bits', (_jwk, other) => ({ ...other, n: halved(String(other.n)) }), '/jwk/n'],
      ['of RSA with 8192 bits', (_jwk, other) => ({ ...other, n: bitsOf(String(other.n).repeat(4), 1024) }), '/jwk/n'],
      ['of RSA whose n has loose bits', (_jwk, other) => ({ ...other, n: loose(String(other.n)) }), '/jwk/n'],
      ['of Ed25519 that is the neutral element', (jwk) => ({ ...jwk, x: `AQ${'A'.repeat(41)}` }), '/jwk/x'],
      ['of Ed25519 with y = 0', (jwk) => ({ ...jwk, x: 'A'.repeat(43) }), '/jwk/x'],
      ['of Ed25519 of order 8', (jwk) => ({ ...jwk, x: Buffer.from(ORDER_8, 'hex').toString('base64url') }), '/jwk/x'],
      [
        'of Ed25519 that isn’t canonical',
        (jwk) => ({ ...jwk, x: Buffer.from(NOT_CANONICAL, 'hex').toString('base64url') }),
        '/jwk/x',
      ],
      ['under the name of another', (_jwk, _rsa, other) => other, '/jwk'],
    ];
    it.each(cases)('%s', async (_says, alter, pointer) => {
      const jwk = (await ed).jwk as Members;
      const altered = alter({ ...jwk }, { ...((await rsa).jwk as Members) }, { ...((await ec).jwk as Members) });
      const name = newName();
      const answer = await scenario.call(`PUT ${pathOf(name, (await ed).kid)}`, { jwk: altered }, operator);
      expectProblem(answer, 422, 'invalid');
      expect(pointersOf(answer)).toEqual([pointer]);
      expect((await scenario.call(`GET /id/${name}`)).status).toBe(404);
      if (/^\/jwk\/(d|p|dq|oth|k)$/.test(pointer)) expect(answer.body.detail).toMatch(/private/);
    });

    it.each([
      ['without a JWK', {}, 400, 'badRequest'],
      ['that is a string', { jwk: 'x' }, 400, 'badRequest'],
      ['with an unknown member beside it', { jwk: {}, extra: 1 }, 400, 'badRequest'],
      ['with a proof that is no string', { jwk: {}, proof: 1 }, 400, 'badRequest'],
    ])('%s', async (_says, body, status, code) => {
      expectProblem(await scenario.call(`PUT ${pathOf(newName(), (await ed).kid)}`, body, operator), status, code);
    });

    it.each(['_system', '..', 'a%2Fb', 'ü', 'x'.repeat(129), '%00'])('of the account %s', async (name) => {
      const { kid, jwk } = await ed;
      const answer = await scenario.call(`PUT /v1/identities/${name}/keys/${kid}`, { jwk }, operator);
      expect([400, 404]).toContain(answer.status);
      expect((await scenario.call(`GET /id/${name}`)).status).toBeGreaterThanOrEqual(400);
    });

    it('of an account whose URL is longer than a subject may be', async () => {
      const url = `https://${'a'.repeat(60)}.example`;
      const far = new Scenario(
        await startServer({
          database,
          env: { STARGUS_AUTH: 'required', STARGUS_OPERATOR_KEY: OPERATOR_KEY, STARGUS_PUBLIC_URL: url },
        }),
      );
      const { kid, jwk } = await ed;
      const nameOf = (bytes: number) => 'n'.repeat(bytes - url.length - '/id/'.length);
      const put = (name: string) => far.call(`PUT /v1/identities/${name}/keys/${kid}`, { jwk }, operator);
      expectProblem(await put(nameOf(201)), 400, 'invalidName');
      expect((await put(nameOf(200))).status).toBe(201);
      await far.server.stop();
    });

    it('beyond the twentieth', async () => {
      const name = newName();
      for (let i = 0; i < 20; i++) await enrolled(await newKey(), name).catch((error) => expect.fail(String(error)));
      const { kid, jwk } = await newKey();
      const answer = await scenario.call(`PUT ${pathOf(name, kid)}`, { jwk }, operator);
      expectProblem(answer, 422, 'invalid');
      expect(await kidsOf(name)).toHaveLength(20);
    });
  });

  it('have their first key from nobody but the operator', async () => {
    const key = await newKey();
    const name = newName();
    const path = `PUT ${pathOf(name, key.kid)}`;
    expectProblem(await scenario.call(path, { jwk: key.jwk }), 401, 'unauthenticated');
    expectProblem(
      await scenario.call(path, { jwk: key.jwk }, { authorization: 'Bearer wrong' }),
      401,
      'unauthenticated',
    );
    const own = await proof(key, { account: urlOf(name), audience: server.url, act: 'addKey', about: key.kid });
    expectProblem(await scenario.call(path, { jwk: key.jwk, proof: own }), 401, 'unauthenticated');
    expect((await scenario.call(`GET /id/${name}`)).status).toBe(404);
  });

  it('take a key by a proof of one that they have, and let it go by one', async () => {
    const [first, second] = [await newKey('ES256'), await newKey('PS256')];
    const name = await enrolled(first);
    const deed = { account: urlOf(name), audience: server.url };
    const adding = await proof(first, { ...deed, act: 'addKey', about: second.kid });
    const put = await scenario.call(`PUT ${pathOf(name, second.kid)}`, { jwk: second.jwk, proof: adding });
    expect([put.status, put.body.kid]).toEqual([201, second.kid]);
    const removing = await proof(second, { ...deed, act: 'deleteKey', about: first.kid });
    const deleted = await scenario.call(`DELETE ${pathOf(name, first.kid)}`, undefined, { 'stargus-proof': removing });
    expect([deleted.status, deleted.body]).toEqual([200, { account: urlOf(name), kid: first.kid, existed: true }]);
    expect(await kidsOf(name)).toEqual([second.kid]);
    // The key that was taken out proves nothing any more, neither by a new proof nor by one from before.
    const late = await proof(first, { ...deed, act: 'addKey', about: first.kid });
    for (const stale of [late, adding]) {
      const answer = await scenario.call(`PUT ${pathOf(name, first.kid)}`, { jwk: first.jwk, proof: stale });
      expectProblem(answer, 401, 'unauthenticated');
    }
    // The last one stays, unless the operator says otherwise; then the account is gone.
    const last = await proof(second, { ...deed, act: 'deleteKey', about: second.kid });
    const kept = await scenario.call(`DELETE ${pathOf(name, second.kid)}`, undefined, { 'stargus-proof': last });
    expectProblem(kept, 409, 'conflict');
    const gone = await scenario.call(`DELETE ${pathOf(name, second.kid)}`, undefined, operator);
    expect(gone.body.existed).toBe(true);
    expectProblem(await scenario.call(`GET /id/${name}`), 404, 'notFound');
    const again = await scenario.call(`DELETE ${pathOf(name, second.kid)}`, undefined, operator);
    expect([again.status, again.body.existed]).toEqual([200, false]);
  });

  describe('refuse a proof', () => {
    type Alter = (of: {
      good: Parameters<typeof proof>[1];
      key: TestKey;
      other: TestKey;
      next: TestKey;
    }) => Promise<string>;
    const now = () => Math.floor(Date.now() / 1000);
    const rows: [string, Alter][] = [
      ['by a key that the account lacks', ({ good, other }) => proof(other, good)],
      [
        'by another key under the name of one that it has',
        ({ good, key, other }) => proof(other, good, { header: { kid: key.kid } }),
      ],
      ['by the new key itself', ({ good, next }) => proof(next, good)],
      ['without a kid', ({ good, key }) => proof(key, good, { header: { kid: undefined } })],
      ['of another type', ({ good, key }) => proof(key, good, { header: { typ: 'stargus-login+jwt' } })],
      ['of the type JWT', ({ good, key }) => proof(key, good, { header: { typ: 'JWT' } })],
      ['without a type', ({ good, key }) => proof(key, good, { header: { typ: undefined } })],
      [
        'that brings its own key',
        ({ good, key, other }) => proof(other, good, { header: { kid: key.kid, jwk: other.jwk } }),
      ],
      [
        'that names where its key is',
        ({ good, key }) => proof(key, good, { header: { jku: 'https://evil.example/jwks.json' } }),
      ],
      ['that names a certificate', ({ good, key }) => proof(key, good, { header: { x5u: 'https://evil.example/' } })],
      ['for another account', ({ good, key }) => proof(key, good, { claims: { iss: `${good.account}x` } })],
      ['for another server', ({ good, key }) => proof(key, good, { claims: { aud: 'https://other.example' } })],
      [
        'for several servers',
        ({ good, key }) => proof(key, good, { claims: { aud: [good.audience, 'https://other.example'] } }),
      ],
      ['for a server with a slash', ({ good, key }) => proof(key, good, { claims: { aud: `${good.audience}/` } })],
      ['for another act', ({ good, key }) => proof(key, good, { claims: { act: 'deleteKey' } })],
      ['about another key', ({ good, key }) => proof(key, good, { claims: { about: key.kid } })],
      ['without a time', ({ good, key }) => proof(key, good, { claims: { iat: undefined } })],
      ['with a time that is text', ({ good, key }) => proof(key, good, { claims: { iat: String(now()) } })],
      ['with a time in milliseconds', ({ good, key }) => proof(key, good, { claims: { iat: Date.now() } })],
      ['that is too old', ({ good, key }) => proof(key, good, { claims: { iat: now() - 70 } })],
      ['of a time to come', ({ good, key }) => proof(key, good, { claims: { iat: now() + 30 } })],
      ['without a name', ({ good, key }) => proof(key, good, { claims: { jti: undefined } })],
      ['with a short name', ({ good, key }) => proof(key, good, { claims: { jti: 'x' } })],
      ['without a signature', async ({ good, key }) => (await proof(key, good)).replace(/[^.]+$/, '')],
      [
        'with a signature of zeros',
        async ({ good, key }) => (await proof(key, good)).replace(/[^.]+$/, 'A'.repeat(86)),
      ],
      [
        'with other claims under the signature',
        async ({ good, key, next }) => {
          const [head, , signature] = (await proof(key, good)).split('.');
          const [, claims] = (await proof(next, good)).split('.');
          return [head, claims, signature].join('.');
        },
      ],
      [
        'of the algorithm none',
        async ({ good, key }) => {
          const [, claims] = (await proof(key, good)).split('.');
          const head = { typ: 'stargus-proof+jwt', alg: 'none', kid: key.kid };
          return `${Buffer.from(JSON.stringify(head)).toString('base64url')}.${claims}.`;
        },
      ],
      [
        'by HMAC with the public key',
        async ({ good, key }) => {
          const [, claims] = (await proof(key, good)).split('.');
          const head = Buffer.from(JSON.stringify({ typ: 'stargus-proof+jwt', alg: 'HS256', kid: key.kid })).toString(
            'base64url',
          );
          const { createHmac } = await import('node:crypto');
          const secret = Buffer.from(key.jwk.x as string, 'base64url');
          return `${head}.${claims}.${createHmac('sha256', secret).update(`${head}.${claims}`).digest('base64url')}`;
        },
      ],
      ['that is no JWS', async () => 'x.y'],
      ['that is empty', async () => ''],
      ['that is too long', async ({ good, key }) => proof(key, good, { claims: { filler: 'x'.repeat(5000) } })],
    ];
    it.each(rows)('%s', async (_says, make) => {
      const [key, other, next] = [await newKey(), await ed, await newKey('ES256')];
      const name = await enrolled(key);
      const good = { account: urlOf(name), audience: server.url, act: 'addKey', about: next.kid };
      const bad = await make({ good, key, other, next });
      const answer = await scenario.call(`PUT ${pathOf(name, next.kid)}`, { jwk: next.jwk, proof: bad });
      expectProblem(answer, 401, 'unauthenticated');
      expect(await kidsOf(name)).toEqual([key.kid]);
      // The same in good order is taken, so that it was refused for that reason.
      const right = await proof(key, good);
      const put = await scenario.call(`PUT ${pathOf(name, next.kid)}`, { jwk: next.jwk, proof: right });
      expect(put.status, put.text).toBe(201);
    });

    it('a second time', async () => {
      const [key, next] = [await newKey(), await newKey()];
      const name = await enrolled(key);
      const once = await proof(key, { account: urlOf(name), audience: server.url, act: 'addKey', about: next.kid });
      const put = () => scenario.call(`PUT ${pathOf(name, next.kid)}`, { jwk: next.jwk, proof: once });
      const answers = await Promise.all(Array.from({ length: 5 }, put));
      expect(answers.map(({ status }) => status).sort()).toEqual([201, 401, 401, 401, 401]);
    });

    it('in a header that is empty', async () => {
      const name = await enrolled(await newKey());
      const answer = await scenario.call(`DELETE ${pathOf(name, (await ed).kid)}`, undefined, { 'stargus-proof': '' });
      expectProblem(answer, 400, 'badRequest');
    });
  });

  it('tell nobody without a token more than what they publish', async () => {
    const name = await enrolled(await newKey());
    expectProblem(await scenario.call(`GET /v1/identities/${name}`), 401, 'unauthenticated');
    expectProblem(await scenario.call(`GET /v1/identities/${newName()}`, undefined, operator), 404, 'notFound');
    expectProblem(await scenario.call(`GET /id/${newName()}/jwks.json`), 404, 'notFound');
    expectProblem(await scenario.call('GET /id/_x'), 400, 'invalidName');
  });

  it('are those of every node', async () => {
    if (database === 'sqlite') {
      const before = await kidsOf(await enrolled(await ed, 'kept'));
      await server.stop();
      server = await startServer({
        database,
        databaseUrl: server.databaseUrl,
        env: { STARGUS_AUTH: 'required', STARGUS_OPERATOR_KEY: OPERATOR_KEY },
      });
      scenario = new Scenario(server);
      expect(await kidsOf('kept')).toEqual(before);
      return;
    }
    const env = {
      STARGUS_AUTH: 'required',
      STARGUS_OPERATOR_KEY: OPERATOR_KEY,
      STARGUS_PUBLIC_URL: 'https://stargus.example',
    };
    const [one, two] = (await Promise.all(
      [1, 2].map(async () => new Scenario(await startServer({ database, databaseUrl: server.databaseUrl, env }))),
    )) as [Scenario, Scenario];
    const [key, next] = [await newKey(), await newKey()];
    const name = await enrolled(key);
    const deed = { account: `https://stargus.example/id/${name}`, audience: 'https://stargus.example' };
    const once = await proof(key, { ...deed, act: 'addKey', about: next.kid });
    const put = (node: Scenario) => node.call(`PUT ${pathOf(name, next.kid)}`, { jwk: next.jwk, proof: once });
    const answers = await Promise.all([one, two, one, two].map(put));
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 401, 401, 401]);
    expect((await two.call(`GET /id/${name}`)).body.id).toBe(`did:web:stargus.example:id:${name}`);
  });
});

const bytesOf = (text: string) => Buffer.from(text, 'base64url');
const bitsOf = (n: string, bytes: number) => bytesOf(n).subarray(0, bytes).toString('base64url');
const padded = (n: string) => Buffer.concat([Buffer.from([0]), bytesOf(n)]).toString('base64url');
const halved = (n: string) => {
  const bytes = bytesOf(n);
  bytes[0] = (bytes[0] as number) >> 1;
  return bytes.toString('base64url');
};
