/** Logins whose requests, answers and events are encrypted between client and server. The client's side is jose's, not the server's own. */

import { setTimeout as sleep } from 'node:timers/promises';
import { CompactEncrypt, calculateJwkThumbprint, compactDecrypt, exportJWK, generateKeyPair, type JWK } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  Account,
  AccountTable,
  admitAll,
  asOperator,
  exchangeRequest,
  refreshRequest,
  seconds,
  startLoginServer,
} from '../support/logins.js';
import { type Answer, expectProblem, type Headers, Scenario } from '../support/scenario.js';
import { createDatabase, databases } from '../support/server.js';

const JOSE = 'application/jose';
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const SECRET = 'what-nobody-between-may-read';

/** A client of an encrypted login. */
class Client {
  seq = 0;

  private constructor(
    readonly token: string,
    readonly refreshToken: string,
    readonly key: Uint8Array,
    readonly kid: string,
  ) {}

  static async login(scenario: Scenario, account: Account, crv: 'P-256' | 'X25519' = 'P-256'): Promise<Client> {
    const { publicKey, privateKey } = await generateKeyPair('ECDH-ES', { crv, extractable: true });
    const encryptionKey = await exportJWK(publicKey);
    const epk = await calculateJwkThumbprint(encryptionKey);
    const { status, body, text } = await account.login(scenario, {
      claims: { epk },
      body: { encryption: true, encryptionKey },
    });
    expect(status, text).toBe(200);
    const { plaintext, protectedHeader } = await compactDecrypt(body.sessionKey, privateKey);
    expect(protectedHeader).toMatchObject({ alg: 'ECDH-ES', enc: 'A256GCM' });
    const jwk = JSON.parse(Buffer.from(plaintext).toString()) as JWK;
    expect(jwk).toMatchObject({ kty: 'oct', alg: 'A256GCM', kid: protectedHeader.kid });
    return new Client(
      body.accessToken,
      body.refreshToken,
      Buffer.from(jwk.k as string, 'base64url'),
      jwk.kid as string,
    );
  }

  seal(line: string, body: unknown = undefined, more: Record<string, unknown> = {}, key = this.key): Promise<string> {
    const [htm, target] = line.split(/ (.*)/) as [string, string];
    const header = {
      ...{
        alg: 'dir',
        enc: 'A256GCM',
        kid: this.kid,
        typ: 'stargus-request',
        htm,
        target,
        iat: seconds(),
        seq: ++this.seq,
      },
      ...(body !== undefined && { cty: 'application/json' }),
      ...more,
    };
    const plain = Buffer.from(body === undefined ? '' : JSON.stringify(body));
    return new CompactEncrypt(plain).setProtectedHeader(header).encrypt(key);
  }

  /** What is to be sent for a request: a body and headers. */
  async sealed(
    line: string,
    body?: unknown,
    more: Record<string, unknown> = {},
  ): Promise<{ body?: string; headers: Headers }> {
    const text = await this.seal(line, body, more);
    const headers = bearer(this.token);
    return body === undefined
      ? { headers: { ...headers, 'stargus-seal': text } }
      : { body: text, headers: { ...headers, 'content-type': JOSE } };
  }

  async open(text: string): Promise<{ header: Record<string, unknown>; body: unknown }> {
    const { plaintext, protectedHeader } = await compactDecrypt(text, this.key);
    return { header: { ...protectedHeader }, body: JSON.parse(Buffer.from(plaintext).toString()) };
  }

  /** Sends a request as it should be, and opens the answer. */
  async call(scenario: Scenario, line: string, body?: unknown): Promise<Answer> {
    const full = line.replace(/ (.*)/, (_, path) => ` ${scenario.path(path)}`);
    const sent = await this.sealed(full, body);
    const seq = this.seq;
    const answer = await scenario.call(full, sent.body, sent.headers);
    expect(answer.headers['content-type'], answer.text).toBe(JOSE);
    expect(rawOf(answer)).not.toContain(SECRET);
    const opened = await this.open(rawOf(answer));
    expect(opened.header).toMatchObject({ kid: this.kid, typ: 'stargus-answer', seq, status: answer.status });
    return {
      ...answer,
      body: opened.body,
      headers: { ...answer.headers, 'content-type': opened.header.cty as string },
    };
  }
}

/** supertest keeps a body whose type it doesn't know as bytes. */
const rawOf = ({ body, text }: Answer): string => (Buffer.isBuffer(body) ? body.toString() : text);

describe.each(databases)('an encrypted login on $name', ({ name }) => {
  const accounts = new AccountTable();
  let scenario: Scenario;
  let account: Account;
  let client: Client;
  beforeAll(async () => {
    scenario = new Scenario(await startLoginServer(accounts, name));
    await admitAll(scenario);
    account = new Account(accounts);
    client = await Client.login(scenario, account);
  });

  it.each(['P-256', 'X25519'] as const)('begins with a key of the curve %s', async (crv) => {
    const own = await Client.login(scenario, account, crv);
    const { body } = await own.call(scenario, 'GET /v1/auth/me');
    expect(body).toMatchObject({ subject: account.url });
    // One-time: each login has another key.
    expect(Buffer.from(own.key).equals(Buffer.from(client.key))).toBe(false);
  });

  it('is done at once although it would rather not wait: what is sealed isn’t kept in the clear', async () => {
    const own = new Scenario(scenario.server);
    await admitAll(own);
    const line = `PUT ${own.path('C/items/now')}`;
    const sent = await client.sealed(line, { attributes: { secret: SECRET } });
    const answer = await own.call(line, sent.body, { ...sent.headers, prefer: 'respond-async' });
    expect(answer.status).toBe(201);
    expect(answer.headers).not.toHaveProperty('preference-applied');
    expect((await own.call('GET P/operations', undefined, asOperator)).body.operations).toEqual([]);
  });

  it('writes, reads, queries, and is refused, and nothing of it can be read between', async () => {
    const put = await client.call(scenario, 'PUT C/items/a', { attributes: { secret: SECRET } });
    expect(put.body).toMatchObject({ key: 'a', changed: ['secret'] });
    expect(put.headers.etag).toBe(`"${put.body.revision}"`);
    expect((await client.call(scenario, 'GET C/items/a?fields=secret')).body.attributes).toEqual({ secret: SECRET });
    expect((await client.call(scenario, 'POST C/query', { where: { secret: SECRET } })).body.items).toHaveLength(1);
    expect((await client.call(scenario, 'PATCH C/items/a', { attributes: { more: 1 } })).body.changed).toEqual([
      'more',
    ]);
    const missing = await client.call(scenario, 'GET C/items/nothing');
    expect([missing.status, missing.body.code, missing.headers['content-type']]).toEqual([
      404,
      'notFound',
      'application/problem+json',
    ]);
    const malformed = await client.call(scenario, 'PUT C/items/a', { attributes: 1 });
    expect([malformed.status, malformed.body.errors[0].pointer]).toEqual([400, '/attributes']);
    expect((await client.call(scenario, 'DELETE C/items/a')).body.existed).toBe(true);
    expect((await scenario.call('GET C/items/a', undefined, asOperator)).status).toBe(404);
  });

  it('is told events of which nothing can be read between, each in its place', async () => {
    await client.call(scenario, 'PUT C/items/b', { attributes: { secret: SECRET } });
    const target = scenario.path('C/attach');
    const { headers } = await client.sealed(`GET ${target}`);
    const seq = client.seq;
    const stream = await scenario.watch('C/attach', headers);
    await stream.waitFor(({ event }) => event === 'live');
    await client.call(scenario, 'PUT C/items/b', { attributes: { secret: `${SECRET}-2` } });
    await client.call(scenario, 'DELETE C/items/b');
    await expect.poll(() => stream.events.filter(({ event }) => event === 'changes').length).toBe(2);
    stream.close();
    const opened = await Promise.all(stream.events.map(({ raw }) => client.open(raw)));
    expect(opened.map(({ header }) => header.place)).toEqual(opened.map((_, i) => i));
    stream.events.forEach(({ event, id, raw }, i) => {
      expect(opened[i]?.header).toMatchObject({ typ: 'stargus-event', seq, event, ...(id !== undefined && { id }) });
      expect(raw).not.toContain(SECRET);
    });
    const told = opened.map(
      ({ body }) => body as { items?: { attributes: object }[]; changes?: { attributes?: object }[] },
    );
    expect(told.flatMap(({ items = [] }) => items.map(({ attributes }) => attributes))).toEqual([{ secret: SECRET }]);
    expect(JSON.stringify(told)).toContain(`${SECRET}-2`);
  });

  it('goes on under the same key when it is refreshed or made weaker', async () => {
    const own = await Client.login(scenario, account);
    const weaker = (await scenario.calls(['POST /v1/auth/token', exchangeRequest(own.token)])).body.accessToken;
    const next = (await scenario.calls(['POST /v1/auth/token', refreshRequest(own.refreshToken)])).body.accessToken;
    for (const token of [weaker, next]) {
      expectProblem(await scenario.call('GET /v1/auth/me', undefined, bearer(token)), 401, 'unauthenticated');
      const seal = await own.seal('GET /v1/auth/me');
      const answer = await scenario.call('GET /v1/auth/me', undefined, { ...bearer(token), 'stargus-seal': seal });
      expect((await own.open(rawOf(answer))).body).toMatchObject({ subject: account.url });
    }
    await scenario.calls(['POST /v1/auth/revoke', { token: own.token }]);
    const seal = await own.seal('GET /v1/auth/me');
    const after = await scenario.call('GET /v1/auth/me', undefined, { ...bearer(next), 'stargus-seal': seal });
    expectProblem(after, 401, 'unauthenticated');
  });

  it('what isn’t sealed is refused: the token alone is good for nothing', async () => {
    const headers = bearer(client.token);
    for (const [line, body] of [
      ['GET C/items/a', undefined],
      ['PUT C/items/a', { attributes: {} }],
      ['DELETE P', undefined],
      ['POST /v1/auth/keys', { name: 'x' }],
      ['POST /v1/auth/cookie', {}],
      ['GET C/attach', undefined],
    ] as const)
      expectProblem(await scenario.call(line, body, headers), 401, 'unauthenticated');
    // With a body in the open beside a seal in the header, too.
    const put = scenario.path('C/items/a');
    const seal = await client.seal(`PUT ${put}`);
    const mixed = await scenario.call(`PUT ${put}`, { attributes: {} }, { ...headers, 'stargus-seal': seal });
    expectProblem(mixed, 401, 'unauthenticated');
    // What everybody is told of a pool is told in the open, and no more.
    expect((await scenario.calls(['GET P', undefined, headers])).body).toEqual({
      pool: scenario.pool,
      authentication: { required: true, schemes: ['bearer', 'dpop'] },
    });
    // And what is sealed is nothing to who isn't of an encrypted login.
    const sealed = await client.seal(`PUT ${put}`, { attributes: {} });
    const foreign = await scenario.call(`PUT ${put}`, sealed, { ...asOperator, 'content-type': JOSE });
    expectProblem(foreign, 415, 'unsupportedMediaType');
  });

  it('the token alone tells no rules, renews no session, and is nobody’s', async () => {
    const { publicKey } = await generateKeyPair('ECDH-ES', { extractable: true });
    const encryptionKey = await exportJWK(publicKey);
    const login = await account.login(scenario, {
      claims: { epk: await calculateJwkThumbprint(encryptionKey) },
      body: { encryption: true, encryptionKey, pool: scenario.pool },
    });
    expect(login.body).toMatchObject({ rules: [], restrictions: [] });
    const token = login.body.accessToken;
    const exchanged = await scenario.calls(['POST /v1/auth/token', exchangeRequest(token, { pool: scenario.pool })]);
    expect(exchanged.body).toMatchObject({ rules: [], restrictions: [] });
    const sealed = await client.call(scenario, 'GET P/policy/effective');
    expect(sealed.body.rules.length).toBeGreaterThan(0);

    const begun = await client.call(scenario, 'POST P/sessions', { ttlMs: 2000 });
    const { session, epoch } = begun.body;
    const headers = { ...bearer(client.token), 'stargus-session': `${session};epoch=${epoch}` };
    const ended = async () =>
      (await scenario.call(`GET P/collections/_clients/items/${session}`, undefined, asOperator)).status === 404;
    const deadline = Date.now() + 10_000;
    // Refused at each of the places at which a request can be: who it is from was looked up only to renew its session.
    const lines = ['GET C/items/a', 'GET C/items/a?nonsense=1', 'PUT C/items/a', 'POST P/batch'];
    while (!(await ended()) && Date.now() < deadline) {
      for (const line of lines) {
        const refused = await scenario.call(line, line.startsWith('GET') ? undefined : '{', headers);
        expect(refused.status).toBeGreaterThanOrEqual(400);
        expect(refused.headers).not.toHaveProperty('stargus-revision');
      }
      await sleep(100);
    }
    expect(await ended()).toBe(true);
  });

  it('a request counts once, whoever sends it again', async () => {
    const put = `PUT ${scenario.path('C/items/once')}`;
    const { body, headers } = await client.sealed(put, { attributes: { n: 1 } });
    const answers = await Promise.all(Array.from({ length: 8 }, () => scenario.call(put, body, headers)));
    expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array(7).fill(401)]);
    // Another text under the number is another request under a used number.
    const again = await client.sealed(put, { attributes: { n: 2 } }, { seq: client.seq });
    expectProblem(await scenario.call(put, again.body, again.headers), 401, 'unauthenticated');
  });

  const wrong: [says: string, make: (line: string) => Promise<string>][] = [
    ['for another path', () => client.seal(`PUT ${scenario.path('C/items/other')}`, { attributes: {} })],
    ['for another query', (line) => client.seal(`${line}?x=1`, { attributes: {} })],
    ['for another method', (line) => client.seal(line.replace('PUT', 'PATCH'), { attributes: {} })],
    ['that is old', (line) => client.seal(line, { attributes: {} }, { iat: seconds() - 65 })],
    ['from the future', (line) => client.seal(line, { attributes: {} }, { iat: seconds() + 20 })],
    ['without a time', (line) => client.seal(line, { attributes: {} }, { iat: undefined })],
    ['without a number', (line) => client.seal(line, { attributes: {} }, { seq: undefined })],
    ['with a number that is a text', (line) => client.seal(line, { attributes: {} }, { seq: '7' })],
    ['with a negative number', (line) => client.seal(line, { attributes: {} }, { seq: -1 })],
    ['that is an answer', (line) => client.seal(line, { attributes: {} }, { typ: 'stargus-answer' })],
    ['of another kid', (line) => client.seal(line, { attributes: {} }, { kid: 'x' })],
    [
      'with a member that isn’t known',
      (line) => client.seal(line, { attributes: {} }, { zip: 'DEF' }).catch(() => 'a..b.c.d'),
    ],
    ['under another key', (line) => client.seal(line, { attributes: {} }, {}, Buffer.alloc(32, 1))],
    ['of another login', async (line) => (await Client.login(scenario, account)).seal(line, { attributes: {} })],
    [
      'with a changed header',
      async (line) => {
        const [, ...rest] = (await client.seal(line, { attributes: {} })).split('.');
        const header = {
          alg: 'dir',
          enc: 'A256GCM',
          kid: client.kid,
          typ: 'stargus-request',
          htm: 'PUT',
          target: line.slice(4),
          iat: seconds(),
          seq: 999_999,
        };
        return [Buffer.from(JSON.stringify(header)).toString('base64url'), ...rest].join('.');
      },
    ],
    [
      'with a changed byte',
      async (line) => {
        const parts = (await client.seal(line, { attributes: {} })).split('.');
        const bytes = Buffer.from(parts[3] as string, 'base64url');
        bytes[0] = (bytes[0] as number) ^ 1;
        parts[3] = bytes.toString('base64url');
        return parts.join('.');
      },
    ],
    [
      'with a short tag',
      async (line) => {
        const parts = (await client.seal(line, { attributes: {} })).split('.');
        parts[4] = Buffer.from(parts[4] as string, 'base64url')
          .subarray(0, 4)
          .toString('base64url');
        return parts.join('.');
      },
    ],
    [
      'that is an event or an answer of the server’s',
      async () => {
        const line = `GET ${scenario.path('C/items/none')}`;
        const { headers } = await client.sealed(line);
        return rawOf(await scenario.call(line, undefined, headers));
      },
    ],
    ['that is no JWE', async () => 'nonsense'],
    ['that is nothing', async () => ''],
  ];
  it.each(wrong)('a text %s is refused, and nothing is applied', async (_says, make) => {
    const line = `PUT ${scenario.path('C/items/never')}`;
    const headers = { ...bearer(client.token), 'content-type': JOSE };
    expectProblem(await scenario.call(line, await make(line), headers), 401, 'unauthenticated');
    expect((await scenario.call('GET C/items/never', undefined, asOperator)).status).toBe(404);
  });

  it('what is streamed as lines is refused', async () => {
    const { status, body } = await client.call(scenario, 'GET P/export');
    expect([status, body.code]).toEqual([422, 'invalid']);
  });

  it('a large item goes encrypted too; one too large is refused before anybody opens it', async () => {
    const fits = await client.call(scenario, 'PUT C/items/large', { attributes: { text: 'x'.repeat(1_000_000) } });
    expect(fits.status).toBe(201);
    const line = `PUT ${scenario.path('C/items/large')}`;
    const { body, headers } = await client.sealed(line, { attributes: { text: 'x'.repeat(2 * 1024 * 1024) } });
    expectProblem(await scenario.call(line, body, headers), 413, 'tooLarge');
  });

  describe('is not begun', () => {
    const ask = async (claims: object, body: object) => account.login(scenario, { claims, body });
    const makeKey = async () => {
      const jwk = await exportJWK((await generateKeyPair('ECDH-ES', { extractable: true })).publicKey);
      return { jwk, epk: await calculateJwkThumbprint(jwk) };
    };

    it('with a key that the assertion doesn’t name, which somebody between may have put there', async () => {
      const [{ jwk, epk }, other] = [await makeKey(), await makeKey()];
      for (const [claims, body] of [
        [{}, { encryption: true, encryptionKey: jwk }],
        [{ epk: other.epk }, { encryption: true, encryptionKey: jwk }],
        [{ epk }, {}],
      ] as const)
        expectProblem(await ask(claims, body), 401, 'unauthenticated');
    });

    it('with half of a request, or with what is no key', async () => {
      const { jwk, epk } = await makeKey();
      const { privateKey } = await generateKeyPair('ECDH-ES', { extractable: true });
      for (const body of [
        { encryption: true },
        { encryptionKey: jwk },
        { encryption: false, encryptionKey: jwk },
        { encryption: true, encryptionKey: await exportJWK(privateKey) },
        { encryption: true, encryptionKey: { kty: 'oct', k: 'AA' } },
        { encryption: true, encryptionKey: { ...jwk, crv: 'P-384' } },
      ])
        expectProblem(await ask({ epk }, body), 400, 'badRequest');
      const off = { ...jwk, y: jwk.x };
      const wrong = await ask({ epk: await calculateJwkThumbprint(off) }, { encryption: true, encryptionKey: off });
      expectProblem(wrong, 401, 'unauthenticated');
    });
  });
});

it('an encrypted login goes by every node, and a request counts once on all of them', async () => {
  const accounts = new AccountTable();
  const databaseUrl = await createDatabase('mariadb');
  const env = { STARGUS_PUBLIC_URL: 'https://stargus.example', STARGUS_SECRET: 'secret-of-the-nodes-0123456789' };
  const start = async () => new Scenario(await startLoginServer(accounts, 'mariadb', { databaseUrl, env }), 'shared');
  const nodes = [await start(), await start()] as const;
  await admitAll(nodes[0]);
  const client = await Client.login(nodes[0], new Account(accounts));
  await client.call(nodes[1], 'PUT C/items/a', { attributes: { secret: SECRET } });
  expect((await client.call(nodes[0], 'GET C/items/a')).body.attributes).toEqual({ secret: SECRET });
  const line = `GET ${nodes[0].path('C/items/a')}`;
  const { headers } = await client.sealed(line);
  const answers = await Promise.all(nodes.map((node) => node.call(line, undefined, headers)));
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 401]);
});
