/** The end of an account: with its last key go its logins and API keys, whoever made them, and what is open under them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { newKey, type TestKey } from '../support/keys.js';
import { asOperator, login, startStrictServer } from '../support/people.js';
import { Receiver, until } from '../support/receiver.js';
import { expectProblem, Scenario } from '../support/scenario.js';
import { databases } from '../support/server.js';
import { openSite, type Site } from '../support/site.js';

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const refresh = (refreshToken: string) => ({ grantType: 'refresh_token', refreshToken });

describe.each(databases)('the end of an account on $name', ({ name }) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'stargus-ca-'));
  let site: Site;
  let scenario: Scenario;
  let key: TestKey;
  afterAll(() => rmSync(folder, { recursive: true }));
  beforeAll(async () => {
    site = await openSite(['localhost']);
    const ca = path.join(folder, 'ca.pem');
    writeFileSync(ca, site.ca);
    scenario = new Scenario(
      await startStrictServer(name, {
        ...{ STARGUS_IDENTITY_PRIVATE: '1', STARGUS_WEBHOOK_PRIVATE: '1', NODE_EXTRA_CA_CERTS: ca },
      }),
    );
    key = await newKey();
    site.pages.set('/me/jwks.json', JSON.stringify({ keys: [key.jwk] }));
    const rules = [
      { effect: 'allow', actions: ['read', 'watch'], who: { anyone: true }, collections: ['things'] },
      { effect: 'allow', actions: ['create', 'write'], who: { anyone: true }, collections: ['_notifiers'] },
    ];
    await scenario.calls(
      ['PUT C/items/a', { attributes: {} }, asOperator],
      ['PUT P/collections/_policies/items/all', { attributes: { rules } }, asOperator],
    );
  });

  const enroll = (own: TestKey) =>
    scenario.calls(['PUT /v1/identities/ann/keys/'.concat(own.kid), { jwk: own.jwk }, asOperator]);
  const pins = async () => (await scenario.calls(['GET /v1/pins', undefined, asOperator])).body.pins;

  it.each(['hosted', 'foreign'])('%s: nothing that it had lets anybody in any more', async (kind) => {
    const isHosted = kind === 'hosted';
    const account = isHosted ? `${scenario.server.url}/id/ann` : `${site.origin('localhost')}/me`;
    if (isHosted) await enroll(key);
    const { accessToken, refreshToken } = await login(scenario, account, key);
    const own = (await scenario.calls(['POST /v1/auth/keys', { name: 'own' }, bearer(accessToken)])).body.secret;
    const given = { name: 'given', subject: account };
    const byOperator = (await scenario.calls(['POST /v1/auth/keys', given, asOperator])).body.secret;
    const other = (await scenario.calls(['POST /v1/auth/keys', { name: 'other' }, asOperator])).body.secret;
    const streams = await Promise.all(
      [accessToken, own, byOperator].map(async (token) => {
        const stream = await scenario.watch('C/attach', bearer(token));
        await stream.waitFor(({ event }) => event === 'live');
        return stream;
      }),
    );
    const receiver = await Receiver.open();
    const notifier = { events: ['add'], collection: 'things', target: { webhook: { url: receiver.url } } };
    await scenario.calls([`PUT P/notifiers/${kind}`, notifier, bearer(accessToken)]);
    const second = await newKey();
    if (isHosted) {
      // Another key keeps it.
      await enroll(second);
      await scenario.calls([`DELETE /v1/identities/ann/keys/${second.kid}`, undefined, asOperator]);
    }
    for (const token of [accessToken, own, byOperator])
      expect((await scenario.call('GET /v1/auth/me', undefined, bearer(token))).body.subject).toBe(account);
    const place = isHosted
      ? `/v1/identities/ann/keys/${key.kid}`
      : `/v1/pins?account=${encodeURIComponent(account)}&kid=${key.kid}`;
    await scenario.calls([`DELETE ${place}`, undefined, asOperator]);
    for (const token of [accessToken, own, byOperator])
      expectProblem(await scenario.call('GET /v1/auth/me', undefined, bearer(token)), 401, 'unauthenticated');
    expectProblem(await scenario.call('POST /v1/auth/token', refresh(refreshToken)), 401, 'unauthenticated');
    for (const stream of streams)
      expect((await stream.waitFor(({ event }) => event === 'bye')).data.reason).toBe('expired');
    expect((await scenario.call('GET /v1/auth/me', undefined, bearer(other))).status).toBe(200);
    const ended = () => scenario.calls([`GET P/notifiers/${kind}`, undefined, asOperator]);
    await scenario.calls([`PUT C/items/after-${kind}`, { attributes: {} }, asOperator]);
    await until(async () => (await ended()).body.status === 'stopped', 'the end of the notifier');
    expectProblem(await scenario.call(`POST P/notifiers/${kind}/resume`, {}, asOperator), 409, 'conflict');
    expect((await ended()).body.reason).toMatch(/account of its owner has ended/);
    expect(receiver.received).toEqual([]);
    const { apiKeys } = (await scenario.calls(['GET /v1/auth/keys', undefined, asOperator])).body;
    expect(apiKeys.filter(({ subject }: { subject: string }) => subject === account)).toEqual([]);
    // Whoever has the name next begins with nothing of it, and can begin.
    if (isHosted) await enroll(key);
    const next = await login(scenario, account, key);
    const { body } = await scenario.calls(['GET /v1/auth/keys', undefined, bearer(next.accessToken)]);
    expect(body.apiKeys).toEqual([]);
  });

  it('a foreign account is pinned by who has proven a key of it, and by nobody else', async () => {
    const stranger = await newKey();
    site.pages.set('/them/jwks.json', JSON.stringify({ keys: [stranger.jwk] }));
    const account = `${site.origin('localhost')}/them`;
    const of = async () => (await pins()).filter((pin: { account: string }) => pin.account === account);
    const forged = { ...(await newKey()), kid: stranger.kid };
    await expect(login(scenario, account, forged)).rejects.toThrow('not signed by that key');
    await expect(login(scenario, account, stranger, { claims: { nonce: 'made-up' } })).rejects.toThrow('nonce');
    await expect(login(scenario, account, stranger, { claims: { aud: 'https://a.example' } })).rejects.toThrow('aud');
    expect(await of()).toEqual([]);
    await login(scenario, account, stranger);
    expect(await of()).toMatchObject([{ kid: stranger.kid, source: 'first' }]);
  });
});
