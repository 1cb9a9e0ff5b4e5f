/** What stays open under a token: streams and waits end with it, and when it is revoked. And the cookie that streams of a page go by. */
import { beforeAll, describe, expect, it } from 'vitest';
import {
  Account,
  AccountTable,
  admitAll,
  asOperator,
  exchangeRequest,
  newKey,
  proofOf,
  startLoginServer,
  tokenRequest,
} from '../support/logins.js';
import { expectProblem, type Headers, Scenario } from '../support/scenario.js';
import { databases } from '../support/server.js';
import type { SseEvent } from '../support/sse.js';

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const named =
  (name: string) =>
  ({ event }: SseEvent) =>
    event === name;

describe.each(databases)('what is open under a token on $name', ({ name }) => {
  const accounts = new AccountTable();
  let scenario: Scenario;
  beforeAll(async () => {
    scenario = new Scenario(await startLoginServer(accounts, name));
    await admitAll(scenario);
    await scenario.calls(['PUT C/items/a', { attributes: { x: 1 } }, asOperator]);
  });
  const login = async () => (await new Account(accounts).login(scenario)).body.accessToken as string;
  const shortened = async (token: string, expiresInMs: number) =>
    (await scenario.calls(['POST /v1/auth/token', exchangeRequest(token, { expiresInMs })])).body.accessToken as string;
  const revoke = (token: string) => scenario.calls(['POST /v1/auth/revoke', { token }]);

  it('a stream says how long its token lives, and ends with it', async () => {
    const token = await shortened(await login(), 3000);
    for (const path of ['C/attach', 'P/changes/stream']) {
      const stream = await scenario.watch(path, bearer(token));
      const { data } = await stream.waitFor(named('hello'));
      expect(data.expiresInMs, path).toBeLessThanOrEqual(3000);
      expect((await stream.waitFor(named('bye'), 10_000)).data).toMatchObject({ reason: 'expired' });
      await stream.ended;
    }
    // It was the token, not the server: the one that it was made from goes on.
    const operator = await scenario.watch('C/attach', asOperator);
    expect((await operator.waitFor(named('hello'))).data.expiresInMs).toBeGreaterThan(600_000);
    operator.close();
  });

  it('every stream of a revoked login ends, and no other', async () => {
    const token = await login();
    const weaker = await shortened(token, 60_000);
    const others = await login();
    const { session, epoch } = (await scenario.calls(['POST P/sessions', { name: 's' }, bearer(token)])).body;
    const named1 = { 'stargus-session': `${session};epoch=${epoch}` };
    const ended = await Promise.all([
      scenario.watch('C/attach', bearer(token)),
      scenario.watch('P/changes/stream', bearer(token)),
      scenario.watch(`P/sessions/${session}/events`, { ...bearer(token), ...named1 }),
      scenario.watch('C/attach', bearer(weaker)),
    ]);
    const going = await Promise.all([
      scenario.watch('C/attach', bearer(others)),
      scenario.watch('C/attach', asOperator),
    ]);
    for (const stream of [...ended, ...going]) await stream.waitFor(named('hello'));
    await revoke(token);
    for (const stream of ended) {
      expect((await stream.waitFor(named('bye'))).data.reason).toBe('expired');
      await stream.ended;
    }
    await scenario.calls(['PUT C/items/after', { attributes: {} }, asOperator]);
    for (const stream of going) {
      await stream.waitFor(({ event, data }) => event === 'changes' && data.changes[0].key === 'after');
      stream.close();
    }
    for (const stream of ended) expect(stream.events.filter(named('changes'))).toEqual([]);
  });

  it('a weaker token’s stream ends alone', async () => {
    const token = await login();
    const weaker = await shortened(token, 60_000);
    const [strong, weak] = await Promise.all([token, weaker].map((each) => scenario.watch('C/attach', bearer(each))));
    for (const stream of [strong, weak]) await stream?.waitFor(named('live'));
    await revoke(weaker);
    await weak?.waitFor(named('bye'));
    await scenario.calls(['PUT C/items/alone', { attributes: {} }, asOperator]);
    await strong?.waitFor(named('changes'));
    strong?.close();
  });

  it('who waits for changes is refused when the login is revoked, and answered when the token is over', async () => {
    const { cursor } = (await scenario.calls(['GET P/changes?since=start&limit=1000', undefined, asOperator])).body;
    const token = await login();
    const waiting = scenario.call(`GET P/changes?since=${cursor}&waitMs=30000`, undefined, bearer(token));
    // Whether the wait has begun by then or not, it ends with a refusal.
    await scenario.calls(['GET P', undefined, bearer(token)]);
    await revoke(token);
    expectProblem(await waiting, 401, 'unauthenticated');
    const short = await shortened(await login(), 2000);
    const answer = await scenario.call(`GET P/changes?since=${cursor}&waitMs=30000`, undefined, bearer(short));
    expect(answer.body).toMatchObject({ commits: [], upToDate: true });
  });

  describe('the cookie', () => {
    const cookieOf = async (headers: Headers) => {
      const { headers: answered, body } = await scenario.calls(['POST /v1/auth/cookie', {}, headers]);
      const [set] = answered['set-cookie'] as unknown as string[];
      return { set: set as string, cookie: (set as string).split(';')[0] as string, expiresInMs: body.expiresInMs };
    };
    const ofPage = () => ({ 'sec-fetch-site': 'same-origin' });

    it('is for this host, for no script and for as long as the token', async () => {
      const { set, expiresInMs } = await cookieOf(bearer(await login()));
      const [pair, ...attributes] = set.split('; ');
      expect(pair).toMatch(/^__Host-stargus=[\w.-]+$/);
      expect(attributes.sort()).toEqual([
        'HttpOnly',
        expect.stringMatching(/^Max-Age=\d+$/),
        'Path=/',
        'SameSite=Strict',
        'Secure',
      ]);
      expect(expiresInMs).toBeLessThanOrEqual(600_000);
      const { headers } = await scenario.calls(['DELETE /v1/auth/cookie', undefined, ofPage()]);
      expect(headers['set-cookie']?.[0]).toMatch(/^__Host-stargus=; Path=\/; Max-Age=0;/);
    });

    it('opens streams and reads; it is told from others, and a header beats it', async () => {
      const account = new Account(accounts);
      const { cookie } = await cookieOf(await account.headers(scenario));
      for (const value of [cookie, `theme=dark; ${cookie}`, `${cookie};x=1`]) {
        const { body } = await scenario.calls(['GET /v1/auth/me', undefined, { cookie: value }]);
        expect(body.subject).toBe(account.url);
      }
      const stream = await scenario.watch('C/attach', { cookie });
      await stream.waitFor(named('live'));
      stream.close();
      const both = await scenario.calls(['GET /v1/auth/me', undefined, { cookie, ...asOperator }]);
      expect(both.body.subject).toBe('operator');
      for (const value of [`x${cookie}`, cookie.replace('__Host-', ''), '__Host-stargus=', '__Host-stargus=nonsense'])
        expectProblem(await scenario.call('GET /v1/auth/me', undefined, { cookie: value }), 401, 'unauthenticated');
    });

    it('writes only for pages of this server', async () => {
      const { cookie } = await cookieOf(bearer(await login()));
      const write = (headers: Headers) =>
        scenario.call('PUT C/items/written', { attributes: {} }, { cookie, ...headers });
      const { url } = scenario.server;
      const foreign: Headers[] = [
        {},
        { origin: 'https://evil.example' },
        { origin: 'null' },
        { origin: `${url}.evil.example` },
        { origin: url.replace('http:', 'https:') },
        { 'sec-fetch-site': 'cross-site' },
        { 'sec-fetch-site': 'same-site' },
        { 'sec-fetch-site': 'none' },
        { 'sec-fetch-site': 'cross-site', origin: url },
      ];
      for (const headers of foreign) expectProblem(await write(headers), 403, 'forbidden');
      for (const line of [
        'DELETE C/items/a',
        'POST P/batch',
        'PATCH C/items/a',
        'DELETE P',
        'DELETE /v1/auth/cookie',
        'POST C/query',
      ])
        expectProblem(
          await scenario.call(line, line.startsWith('DELETE') ? undefined : {}, { cookie }),
          403,
          'forbidden',
        );
      expect((await scenario.call('GET C/items/written', undefined, asOperator)).status).toBe(404);
      for (const headers of [ofPage(), { origin: url }]) expect((await write(headers)).status).toBeLessThan(300);
      // Reads need no page; but nothing answers another origin with what a script of it could read.
      const read = await scenario.calls(['GET C/items/a', undefined, { cookie, origin: 'https://evil.example' }]);
      expect(read.headers['access-control-allow-origin']).toBeUndefined();
    });

    it('is given for access tokens only', async () => {
      const key = newKey();
      const account = new Account(accounts);
      const dpop = proofOf(key, scenario.server, 'POST /v1/auth/token');
      const bound = (
        await scenario.calls(['POST /v1/auth/token', tokenRequest(await account.assertion(scenario)), { dpop }])
      ).body.accessToken;
      const proof = proofOf(key, scenario.server, 'POST /v1/auth/cookie', { token: bound });
      const { secret } = (await scenario.calls(['POST /v1/auth/keys', { name: 'k', expiresInMs: 60_000 }, asOperator]))
        .body;
      const { cookie } = await cookieOf(bearer(await login()));
      for (const headers of [
        asOperator,
        bearer(secret),
        { authorization: `DPoP ${bound}`, dpop: proof },
        { cookie, ...ofPage() },
      ])
        expectProblem(await scenario.call('POST /v1/auth/cookie', {}, headers), 422, 'invalid');
      expectProblem(await scenario.call('POST /v1/auth/cookie', {}), 401, 'unauthenticated');
    });
  });
});
