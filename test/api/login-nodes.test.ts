/** Logging in where several nodes have one database: what counts once counts once on all of them, and revocation reaches each. */
import { beforeAll, describe, expect, it } from 'vitest';
import {
  Account,
  AccountTable,
  admitAll,
  asOperator,
  newKey,
  proofOf,
  refreshRequest,
  signed,
  startLoginServer,
  tokenRequest,
} from '../support/logins.js';
import { expectProblem, Scenario } from '../support/scenario.js';
import { createDatabase, startServer } from '../support/server.js';

const PUBLIC = 'https://stargus.example';
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

describe('nodes on one MariaDB', () => {
  const accounts = new AccountTable();
  let nodes: [Scenario, Scenario];
  let databaseUrl: string;
  beforeAll(async () => {
    databaseUrl = await createDatabase('mariadb');
    const env = { STARGUS_PUBLIC_URL: PUBLIC };
    const start = async () => new Scenario(await startLoginServer(accounts, 'mariadb', { databaseUrl, env }), 'shared');
    // At once, so that both find that there is no key yet.
    nodes = await Promise.all([start(), start()]);
    await admitAll(nodes[0]);
  });

  it('sign by one key, and know one another’s tokens', async () => {
    const sets = await Promise.all(nodes.map((node) => node.calls(['GET /.well-known/jwks.json'])));
    expect(sets[0]?.body.keys).toHaveLength(1);
    expect(sets[0]?.body).toEqual(sets[1]?.body);
    const { accessToken } = (await new Account(accounts).login(nodes[0])).body;
    await nodes[1].calls(['GET /v1/auth/me', undefined, bearer(accessToken)]);
  });

  it('take a nonce that is used at both at once exactly once', async () => {
    for (let round = 0; round < 10; round++) {
      const account = new Account(accounts);
      const claims = await account.claims(nodes[0]);
      const body = tokenRequest(signed(account.header, claims, account.key));
      const answers = await Promise.all(
        [0, 1, 0, 1].map((node) => (nodes[node] as Scenario).call('POST /v1/auth/token', body)),
      );
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 401, 401, 401]);
    }
  });

  it('take a refresh token that is used at both at once exactly once', async () => {
    const { refreshToken } = (await new Account(accounts).login(nodes[0])).body;
    const answers = await Promise.all(
      nodes.map((node) => node.call('POST /v1/auth/token', refreshRequest(refreshToken))),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 401]);
  });

  it('take a proof that is used at both at once exactly once', async () => {
    const key = newKey();
    const account = new Account(accounts);
    const server = { ...nodes[0].server, url: PUBLIC };
    const headers = { dpop: proofOf(key, server, 'POST /v1/auth/token') };
    const { accessToken } = (await account.login(nodes[0], { headers })).body;
    for (let round = 0; round < 10; round++) {
      const proof = proofOf(key, server, 'GET /v1/auth/me', { token: accessToken });
      const sent = { authorization: `DPoP ${accessToken}`, dpop: proof };
      const answers = await Promise.all(
        [0, 1, 0, 1].map((node) => (nodes[node] as Scenario).call('GET /v1/auth/me', undefined, sent)),
      );
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 401, 401, 401]);
    }
  });

  it('hear of a revocation elsewhere, and end what is open under it', async () => {
    const { accessToken } = (await new Account(accounts).login(nodes[0])).body;
    const headers = bearer(accessToken);
    await nodes[0].calls(['PUT C/items/a', { attributes: {} }, headers]);
    const streams = await Promise.all(nodes.map((node) => node.watch('C/attach', headers)));
    for (const stream of streams) await stream.waitFor(({ event }) => event === 'live');
    await nodes[1].calls(['POST /v1/auth/revoke', { token: accessToken }]);
    for (const stream of streams) {
      expect((await stream.waitFor(({ event }) => event === 'bye', 10_000)).data.reason).toBe('expired');
      await stream.ended;
    }
    for (const node of nodes)
      expectProblem(await node.call('GET C/items/a', undefined, headers), 401, 'unauthenticated');
  });

  it('hear that an API key was deleted elsewhere', async () => {
    const { apiKey, secret } = (await nodes[0].calls(['POST /v1/auth/keys', { name: 'k' }, asOperator])).body;
    for (const node of nodes) await node.calls(['GET /v1/auth/me', undefined, bearer(secret)]);
    await nodes[0].calls([`DELETE /v1/auth/keys/${apiKey}`, undefined, asOperator]);
    await expect
      .poll(async () => (await nodes[1].call('GET /v1/auth/me', undefined, bearer(secret))).status, { timeout: 10_000 })
      .toBe(401);
  });

  it('take only tokens for the URL that they are known by', async () => {
    const env = { STARGUS_PUBLIC_URL: 'https://elsewhere.example' };
    const other = new Scenario(await startLoginServer(accounts, 'mariadb', { databaseUrl, env }));
    const account = new Account(accounts);
    const { accessToken } = (await account.login(nodes[0])).body;
    expectProblem(await other.call('GET /v1/auth/me', undefined, bearer(accessToken)), 401, 'unauthenticated');
    const assertion = await account.assertion(nodes[0]);
    expectProblem(await other.call('POST /v1/auth/token', tokenRequest(assertion)), 401, 'unauthenticated');
  });

  it('print the operator’s key once, on one of them', async () => {
    const url = await createDatabase('mariadb');
    const env = { STARGUS_AUTH: 'required' };
    const started = await Promise.all([0, 1].map(() => startServer({ database: 'mariadb', databaseUrl: url, env })));
    const keys = started.flatMap((server) => server.output().match(/sgk_\S+/g) ?? []);
    expect(keys).toHaveLength(1);
    for (const server of started) {
      const scenario = new Scenario(server);
      const { body } = await scenario.calls(['GET /v1/auth/me', undefined, bearer(keys[0] as string)]);
      expect(body).toMatchObject({ subject: 'operator', isOperator: true });
    }
  });
});
