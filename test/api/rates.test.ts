/** How often who may do what, and who is turned away at the door: rate limits, blocked addresses, and where both are told. */
import { describe, expect, it } from 'vitest';
import { derive, parseDerivation, seal } from '../../src/engine/access/envelope.js';
import { newKey } from '../support/keys.js';
import { login } from '../support/people.js';
import { type Answer, expectProblem, type Headers, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const KEY = 'k'.repeat(30);
const BEARER = { authorization: `Bearer ${KEY}` };
/** As from another address, by a proxy that is trusted. */
const as = (address: string, more: Headers = {}): Headers => ({ 'x-forwarded-for': address, ...more });
const PROXIED = { STARGUS_TRUSTED_PROXIES: '127.0.0.0/8' };
const CLOSED = { STARGUS_AUTH: 'required', STARGUS_OPERATOR_KEY: KEY };

async function times(count: number, call: () => Promise<Answer>): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (let i = 0; i < count; i++) answers.push(await call());
  return answers;
}
const statusesOf = (answers: readonly Answer[]): number[] => answers.map(({ status }) => status);

async function metric(server: Server, name: string): Promise<number> {
  const { text } = await new Scenario(server).call('GET /metrics', undefined, BEARER);
  const line = text.split('\n').find((each) => each.startsWith(`${name} `) || each.startsWith(`${name}{`));
  return Number(line?.split(' ').at(-1) ?? 0);
}

describe('rate limits', () => {
  it('an open server has none by default, and tells none', async () => {
    const server = await startServer({ database: 'sqlite' });
    const scenario = new Scenario(server);
    const answers = await Promise.all(
      Array.from({ length: 200 }, () => scenario.call('PUT C/items/a', { attributes: {} })),
    );
    for (const { status, headers } of answers) {
      expect(status).toBeLessThan(300);
      expect(headers).not.toHaveProperty('ratelimit');
    }
    await server.stop();
  });

  it('writes, reads and streams are counted apart, for the subject and for the address, and told', async () => {
    const server = await startServer({
      database: 'sqlite',
      env: { ...PROXIED, STARGUS_RATE_WRITES: '3/1h', STARGUS_RATE_READS: '5/1h', STARGUS_RATE_STREAMS: '1/1h' },
    });
    const scenario = new Scenario(server);
    const put = (headers: Headers) => scenario.call('PUT C/items/a', { attributes: {} }, headers);
    const one = as('203.0.113.1');
    const first = await put(one);
    expect(first.headers).toMatchObject({
      'ratelimit-policy': '"writes-address";q=3;w=3600, "writes";q=3;w=3600',
      ratelimit: expect.stringMatching(/^"writes-address";r=2;t=3(600|59\d), "writes";r=2;t=3(600|59\d)$/),
    });
    expect(statusesOf(await times(2, () => put(one)))).toEqual([200, 200]);
    const refused = await put(one);
    expectProblem(refused, 429, 'tooManyRequests');
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(3500);
    expect(refused.headers.ratelimit).toMatch(/^"writes-address";r=0;/);
    // Another address may, but its subject is the same one.
    const other = await put(as('203.0.113.2'));
    expectProblem(other, 429, 'tooManyRequests');
    expect(other.headers.ratelimit).toMatch(/^"writes-address";r=2;t=\d+, "writes";r=0;t=\d+$/);
    // A read is another matter; a query by POST is a read.
    expect(statusesOf(await times(4, () => scenario.call('GET C/items/a', undefined, one)))).toEqual([
      200, 200, 200, 200,
    ]);
    expect((await scenario.call('POST C/query', {}, one)).status).toBe(200);
    expectProblem(
      await scenario
        .call('HEAD C/items/a', undefined, one)
        .then((answer) => (answer.status === 429 ? scenario.call('GET C/items/a', undefined, one) : answer)),
      429,
      'tooManyRequests',
    );
    const stream = await scenario.watch('C/attach', one);
    await stream.waitFor(({ event }) => event === 'live');
    const second = await scenario.watch('C/attach', one);
    expect(JSON.parse(await second.text())).toMatchObject({ code: 'tooManyRequests' });
    stream.close();
    await server.stop();
  });

  it('what is refused is not applied, and its body is not read', async () => {
    const server = await startServer({ database: 'sqlite', env: { ...PROXIED, STARGUS_RATE_WRITES: '1/1h' } });
    const scenario = new Scenario(server);
    await scenario.calls(['PUT C/items/a', { attributes: { n: 1 } }, as('203.0.113.1')]);
    expectProblem(await scenario.call('PUT C/items/a', '{', as('203.0.113.1')), 429, 'tooManyRequests');
    expect((await scenario.call('GET C/items/a')).body).toMatchObject({ revision: 1, attributes: { n: 1 } });
    await server.stop();
  });

  it('what anybody may read of an account keeps its owner from nothing', async () => {
    const server = await startServer({ database: 'sqlite', env: CLOSED });
    const scenario = new Scenario(server);
    const ways = await times(30, () => scenario.call('GET /v1/identities/ann/envelope'));
    expect(new Set(statusesOf(ways))).toEqual(new Set([200]));
    const guess = { way: 'passphrase', proof: 'A'.repeat(43) };
    const unlock = () => scenario.call('POST /v1/identities/ann/envelope/unlock', guess);
    expectProblem(await unlock(), 401, 'unauthenticated');
    // Those who try are bounded, for the account.
    expect(statusesOf(await times(12, unlock))).toContain(429);
    // Documents are read by everybody at once, and not as one.
    const documents = await times(3, () => scenario.call('GET /id/ann'));
    expect(documents.map(({ headers }) => headers['ratelimit-policy'])).toEqual(Array(3).fill(undefined));
    await server.stop();
  });

  it('the time over, all is allowed anew', async () => {
    const server = await startServer({ database: 'sqlite', env: { ...PROXIED, STARGUS_RATE_WRITES: '2/1s' } });
    const scenario = new Scenario(server);
    const put = () => scenario.call('PUT C/items/a', { attributes: {} }, as('2001:db8::1'));
    await expect.poll(async () => (await put()).status).toBe(429);
    await expect.poll(async () => (await put()).status, { timeout: 10_000 }).toBe(200);
    await server.stop();
  });
});

describe('addresses', () => {
  it('of IPv6 are networks of 64 bits, and only proxies that are trusted are believed', async () => {
    const server = await startServer({
      database: 'sqlite',
      env: { ...PROXIED, STARGUS_RATE_READS: '2/1h', STARGUS_UNLIMITED: '198.51.100.0/24' },
    });
    const scenario = new Scenario(server);
    // No pool is asked for, so only addresses are counted.
    const get = async (address: string) => (await scenario.call('GET /v1', undefined, as(address))).status;
    expect(await get('2001:db8:1:2::1')).toBe(200);
    expect(await get('2001:db8:1:2:ffff::2')).toBe(200);
    expect(await get('2001:db8:1:2:8::3')).toBe(429);
    expect(await get('2001:db8:1:3::1')).toBe(200);
    // One that came over IPv6 is the same one.
    expect([await get('203.0.113.7'), await get('::ffff:203.0.113.7'), await get('203.0.113.7')]).toEqual([
      200, 200, 429,
    ]);
    // The last one that isn't a proxy's counts; what the client says before it doesn't.
    expect([await get('1.1.1.1, 203.0.113.7'), await get('203.0.113.7, 127.0.0.9')]).toEqual([429, 429]);
    expect([await get('203.0.113.8'), await get('203.0.113.7, 203.0.113.8')]).toEqual([200, 200]);
    expect(await get('203.0.113.8')).toBe(429);
    // What is none is counted as one.
    expect([await get('nonsense'), await get('4294967295.1'), await get('"><script>')]).toEqual([200, 200, 429]);
    for (let i = 0; i < 5; i++) expect(await get('198.51.100.4')).toBe(200);
    for (let i = 0; i < 5; i++) expect((await scenario.call('GET /v1')).status).toBe(200);
    await server.stop();
  });

  it('named by whoever is no trusted proxy are not believed, which is said in the log', async () => {
    const server = await startServer({
      database: 'sqlite',
      env: { STARGUS_RATE_READS: '2/1h', STARGUS_UNLIMITED: '' },
    });
    const scenario = new Scenario(server);
    const statuses: number[] = [];
    for (let i = 0; i < 4; i++) statuses.push((await scenario.call('GET /v1', undefined, as(`203.0.113.${i}`))).status);
    // The server's own start was asked for by this address too.
    expect(statuses.slice(2)).toEqual([429, 429]);
    await server.stop();
    const plain = await startServer({ database: 'sqlite', env: { STARGUS_RATE_READS: '2/1h' } });
    for (let i = 0; i < 4; i++)
      expect((await new Scenario(plain).call('GET /v1', undefined, as('203.0.113.1'))).status).toBe(200);
    expect(plain.output().match(/STARGUS_TRUSTED_PROXIES/g)).toHaveLength(1);
    await plain.stop();
  });
});

describe.each(databases)('blocked addresses on $name', ({ name }) => {
  it('get nothing but 429 for a while, are counted, and are told of in _usage and _audit', async () => {
    const server = await startServer({
      database: name,
      env: { ...CLOSED, ...PROXIED, STARGUS_BLOCK_AFTER: '3', STARGUS_BLOCK: '1h' },
    });
    const scenario = new Scenario(server);
    await scenario.calls(['PUT C/items/a', { attributes: {} }, BEARER]);
    const guess = (address: string) =>
      scenario.call('GET C/items/a', undefined, as(address, { authorization: 'Bearer wrong' }));
    const guesses = await times(3, () => guess('203.0.113.1'));
    for (const answer of guesses) expectProblem(answer, 401, 'unauthenticated');
    // Also with what is right, for what is public, for what isn't there, and before the body has come.
    for (const [line, body] of [
      ['GET C/items/a'],
      ['GET /v1'],
      ['GET /nowhere'],
      ['PUT C/items/a', '{'],
      ['OPTIONS C'],
    ] as const) {
      const refused = await scenario.call(line, body, as('203.0.113.1', BEARER));
      expectProblem(refused, 429, 'tooManyRequests');
      expect(Number(refused.headers['retry-after']), line).toBeGreaterThan(3500);
    }
    // Whether the server is there is told all the same.
    for (const line of ['GET /healthz', 'GET /readyz'])
      expect((await scenario.call(line, undefined, as('203.0.113.1'))).status).toBe(200);
    expect((await scenario.call('GET C/items/a', undefined, as('203.0.113.2', BEARER))).status).toBe(200);
    // Who only forgot the token may do so as often as they like.
    const tokenless = await times(40, () => scenario.call('GET C/items/a', undefined, as('203.0.113.3')));
    expect(new Set(statusesOf(tokenless))).toEqual(new Set([401]));
    expect((await scenario.call('GET C/items/a', undefined, as('203.0.113.3', BEARER))).status).toBe(200);

    expect(await metric(server, 'stargus_blocked_addresses')).toBe(1);
    expect(await metric(server, 'stargus_refusals_total{kind="unauthenticated"}')).toBe(43);
    expect(await metric(server, 'stargus_refusals_total{kind="blocked"}')).toBe(5);
    const usage = await scenario.calls(['GET P/collections/_usage/items', undefined, BEARER]);
    const used = usage.body.items.map(({ attributes }: { attributes: object }) => attributes);
    expect(used).toMatchObject([
      { subject: 'address:203.0.113.1', requests: 0, refusals: 3, blocks: 1 },
      { subject: 'address:203.0.113.3', requests: 0, refusals: 40, blocks: 0 },
      { subject: 'operator', refusals: 0, blocks: 0 },
    ]);
    const audit = await scenario.calls(['GET P/collections/_audit/items', undefined, BEARER]);
    const counts: Record<string, number> = {};
    for (const { key, attributes } of audit.body.items) {
      const { kind, address, count, detail, firstAt, lastAt, subject } = attributes;
      expect(key).toMatch(new RegExp(`^20\\d\\d-\\d\\d-\\d\\dT\\d\\d:\\d\\dZ/${kind}/${address}$`));
      expect({ detail, subject }).toEqual({ detail: 'getItem', subject: undefined });
      expect(firstAt <= lastAt).toBe(true);
      counts[`${kind} ${address}`] = (counts[`${kind} ${address}`] ?? 0) + count;
    }
    expect(counts).toEqual({ 'refused 203.0.113.1': 3, 'blocked 203.0.113.1': 1, 'refused 203.0.113.3': 40 });
    // It is the system's, and told like everything else.
    const { commits } = (await scenario.calls(['GET P/changes?since=start&collection=_audit', undefined, BEARER])).body;
    expect(commits).toMatchObject([{ subject: 'system', changes: expect.any(Array) }]);
    expectProblem(
      await scenario.call('PUT P/collections/_audit/items/x', { attributes: {} }, BEARER),
      400,
      'invalidName',
    );
    await server.stop();
  });

  it('are none for what a page from elsewhere makes a visitor’s browser ask', async () => {
    const server = await startServer({
      database: name,
      env: { ...CLOSED, ...PROXIED, STARGUS_BLOCK_AFTER: '1', STARGUS_CORS_ORIGINS: 'https://app.example' },
    });
    const scenario = new Scenario(server);
    const page = (more: Headers) => as('203.0.113.1', { origin: 'https://evil.example', ...more });
    const asked: [line: string, headers: Headers][] = [
      ['GET C/items/a', page({ 'sec-fetch-site': 'cross-site' })],
      ['PUT C/items/a', page({ 'sec-fetch-site': 'cross-site' })],
      ['GET C/items/a', page({ 'sec-fetch-site': 'cross-site', authorization: 'Bearer wrong' })],
      // Without the header of newer browsers, and with a cookie that isn't ours.
      ['GET C/items/a', page({ cookie: 'other=1' })],
    ];
    for (const [line, headers] of asked)
      for (const answer of await times(12, () => scenario.call(line, undefined, headers)))
        expect([401, 403]).toContain(answer.status);
    // The same that is no page's doing is blocked at once; and a page that may read answers may read that one.
    const own = as('203.0.113.1', { origin: 'https://app.example', authorization: 'Bearer wrong' });
    expectProblem(await scenario.call('GET C/items/a', undefined, own), 401, 'unauthenticated');
    const blocked = await scenario.call('GET C/items/a', undefined, own);
    expectProblem(blocked, 429, 'tooManyRequests');
    expect(blocked.headers['access-control-allow-origin']).toBe('https://app.example');
    await server.stop();
  });

  it('an open block ends by itself', async () => {
    const server = await startServer({
      database: name,
      env: { ...CLOSED, ...PROXIED, STARGUS_BLOCK_AFTER: '1', STARGUS_BLOCK: '500ms' },
    });
    const scenario = new Scenario(server);
    await scenario.calls(['PUT C/items/a', { attributes: {} }, BEARER]);
    const address = as('2001:db8:7::1', { authorization: 'Bearer wrong' });
    expect((await scenario.call('GET C/items/a', undefined, address)).status).toBe(401);
    const neighbour = as('2001:db8:7::2', BEARER);
    expect((await scenario.call('GET C/items/a', undefined, neighbour)).status).toBe(429);
    await expect.poll(async () => (await scenario.call('GET C/items/a', undefined, neighbour)).status).toBe(200);
    await server.stop();
  });
});

describe.each(databases)('the audit on $name', ({ name }) => {
  it('of what is about no pool that is there is the operator’s, and survives a stop', async () => {
    const env = { ...CLOSED, ...PROXIED };
    const first = await startServer({ database: name, env });
    const scenario = new Scenario(first);
    expectProblem(await scenario.call('GET C/items/a', undefined, as('203.0.113.1')), 401, 'unauthenticated');
    expectProblem(await scenario.call('GET /v1/pools', undefined, as('203.0.113.1')), 401, 'unauthenticated');
    await first.stop();
    const second = await startServer({ database: name, databaseUrl: first.databaseUrl, env });
    const again = new Scenario(second, scenario.pool);
    const A = '/v1/pools/_server/collections/_audit/items';
    const { body } = await again.calls([`GET ${A}`, undefined, BEARER]);
    const sum = body.items.reduce(
      (all: number, { attributes }: { attributes: { count: number } }) => all + attributes.count,
      0,
    );
    expect(sum).toBe(2);
    expect(body.items[0].attributes).toMatchObject({ kind: 'refused', address: '203.0.113.1' });
    // The pool that was only named did not come into being.
    expectProblem(await again.call('GET C/items/a', undefined, BEARER), 404, 'notFound');
    expectProblem(await again.call(`GET ${A}`, undefined, as('203.0.113.1')), 401, 'unauthenticated');
    for (const line of ['PUT /v1/pools/_server/collections/x/items/y', `PUT ${A}/y`])
      expectProblem(await again.call(line, { attributes: {} }, BEARER), 400, 'invalidName');
    await second.stop();
  });

  it('has who logged in, unlocked, came and went, and whom a refused login named', async () => {
    const server = await startServer({
      database: name,
      env: { ...CLOSED, ...PROXIED, STARGUS_PUBLIC_URL: 'https://a.example' },
    });
    const scenario = new Scenario(server);
    const address = '2001:db8:1:2::7';
    const operator = as(address, BEARER);
    const [key, second] = [await newKey(), await newKey()];
    const account = 'https://a.example/id/ann';
    const K = '/v1/identities/ann/keys';
    for (const { kid, jwk } of [key, second]) await scenario.calls([`PUT ${K}/${kid}`, { jwk }, operator]);
    await scenario.calls([`PUT ${K}/${key.kid}`, { jwk: key.jwk }, operator]);
    const secrets = { passphrase: 'six random words or more' };
    const { text, verifiers } = await seal(account, { kty: 'OKP', d: 'x' }, secrets);
    const ways = [{ way: 'passphrase', verifier: verifiers.passphrase }];
    await scenario.calls(['PUT /v1/identities/ann/envelope', { envelope: text, ways }, operator]);
    const { body: told } = await scenario.calls(['GET /v1/identities/ann/envelope', undefined, as(address)]);
    const { kdf } = told.ways.find((each: { way: string }) => each.way === 'passphrase');
    const { proof } = await derive(account, 'passphrase', secrets.passphrase, parseDerivation(kdf));
    const U = 'POST /v1/identities/ann/envelope/unlock';
    await scenario.calls([U, { way: 'passphrase', proof }, as(address)]);
    await scenario.call(U, { way: 'passphrase', proof: 'A'.repeat(43) }, as(address));
    const { accessToken } = await login(scenario, account, key, { headers: as(address) });
    await expect(login(scenario, account, { ...second, kid: key.kid }, { headers: as(address) })).rejects.toThrow(
      '401',
    );
    await scenario.calls(['POST /v1/auth/revoke', { token: accessToken }, as(address)]);
    const made = await scenario.calls(['POST /v1/auth/keys', { name: 'k', subject: account }, operator]);
    await scenario.calls([`DELETE /v1/auth/keys/${made.body.apiKey}`, undefined, operator]);
    await scenario.calls([`DELETE ${K}/${second.kid}`, undefined, operator]);
    const A = 'GET /v1/pools/_server/collections/_audit/items?limit=1000';
    const counts: Record<string, number> = {};
    for (const { attributes } of (await scenario.calls([A, undefined, BEARER])).body.items) {
      expect(attributes).toMatchObject({ subject: account, address: '2001:db8:1:2::/64' });
      counts[attributes.kind] = (counts[attributes.kind] ?? 0) + attributes.count;
    }
    expect(counts).toEqual({
      ...{ enrolled: 2, unlock: 1, unlockRefused: 1, login: 1, loginRefused: 1 },
      ...{ revoked: 2, apiKeyMade: 1, apiKeyDeleted: 1 },
    });
    await server.stop();
  });

  it('names only some of those who are refused, and forgets what is old', async () => {
    const server = await startServer({
      database: name,
      env: { ...CLOSED, ...PROXIED, STARGUS_AUDIT: '1ms', STARGUS_BLOCK_AFTER: '0' },
    });
    const scenario = new Scenario(server);
    await scenario.calls(['PUT C/items/a', { attributes: {} }, BEARER]);
    for (let i = 0; i < 60; i++) await scenario.call('GET C/items/a', undefined, as(`203.0.113.${i}`));
    const read = async () =>
      (await scenario.calls(['GET P/collections/_audit/items?limit=1000', undefined, BEARER])).body.items;
    const items = await read();
    // At most over the turn of a minute.
    expect(items.length).toBeLessThanOrEqual(42);
    const others = items.filter(({ key }: { key: string }) => key.endsWith('/refused/others'));
    expect(others.length).toBeGreaterThan(0);
    expect(
      items.reduce((all: number, { attributes }: { attributes: { count: number } }) => all + attributes.count, 0),
    ).toBe(60);
    await server.stop();
  });

  it('an open server keeps none, so that nothing moves its pools', async () => {
    const server = await startServer({ database: name });
    const scenario = new Scenario(server);
    await scenario.fill({ a: {} });
    expectProblem(
      await scenario.call('PUT C/items/a', { attributes: {} }, { origin: 'https://evil.example' }),
      403,
      'forbidden',
    );
    const { body, headers } = await scenario.calls(['GET P/collections/_audit/items']);
    expect([body.items, headers['stargus-revision']]).toEqual([[], '1']);
    await server.stop();
  });
});
