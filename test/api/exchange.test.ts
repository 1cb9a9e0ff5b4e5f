/** Weaker tokens: exchanged for one that there is, or for a delegation that was signed offline. */
import { createHash, randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  Account,
  AccountTable,
  asOperator,
  DELEGATION_TYPE,
  exchangeRequest,
  newKey,
  OPERATOR_KEY,
  proofOf,
  seconds,
  signed,
  startLoginServer,
  type TestKey,
} from '../support/logins.js';
import { type Answer, expectProblem, pointersOf, Scenario } from '../support/scenario.js';
import { databases } from '../support/server.js';

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const detail = (more: object = {}) => ({ type: 'stargus', actions: ['read'], collections: ['a*'], ...more });
const claimsOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString());

describe.each(databases)('weaker tokens on $name', ({ name }) => {
  const accounts = new AccountTable();
  let scenario: Scenario;
  beforeAll(async () => {
    scenario = new Scenario(await startLoginServer(accounts, name));
  });
  const exchange = (token: string, more: object = {}, headers?: Record<string, string>): Promise<Answer> =>
    scenario.call('POST /v1/auth/token', exchangeRequest(token, more), headers);
  const me = (token: string) => scenario.call('GET /v1/auth/me', undefined, bearer(token));

  describe('by exchange', () => {
    let account: Account;
    let token: string;
    beforeAll(async () => {
      account = new Account(accounts);
      token = (await account.login(scenario)).body.accessToken;
    });

    it('a token is narrowed, and narrowed again; each step is kept', async () => {
      const first = [detail({ pools: ['p', 'q'], where: { owner: '$subject.id' } })];
      const second = [detail({ pools: ['p'], collections: ['ab'], attributes: ['t'] })];
      const once = (await exchange(token, { authorizationDetails: first })).body;
      expect(once).toMatchObject({ tokenType: 'Bearer', authorizationDetails: first });
      expect(once.refreshToken).toBeUndefined();
      const twice = (await exchange(once.accessToken, { authorizationDetails: second })).body;
      const { body } = await me(twice.accessToken);
      expect(body).toMatchObject({
        subject: account.url,
        isOperator: false,
        restrictions: [{ authorizationDetails: first }, { authorizationDetails: second }],
      });
      expect(claimsOf(twice.accessToken)).toMatchObject({ authorization_details: second, attenuated: [first] });
      const wider = await exchange(twice.accessToken, { authorizationDetails: first });
      expectProblem(wider, 422, 'invalid');
      expect(pointersOf(wider).sort()).toEqual(
        ['attributes', 'collections', 'pools'].map((field) => `/authorizationDetails/0/${field}`),
      );
    });

    it('without details it may do the same, for as long at most', async () => {
      const { accessToken, expiresInMs } = (await exchange(token)).body;
      expect(expiresInMs).toBeLessThanOrEqual(600_000);
      expect(claimsOf(accessToken).exp).toBeLessThanOrEqual(claimsOf(token).exp);
      const short = (await exchange(token, { expiresInMs: 5000 })).body;
      expect(short.expiresInMs).toBeLessThanOrEqual(5000);
      const longer = await exchange(short.accessToken, { expiresInMs: 60_000 });
      expectProblem(longer, 422, 'invalid');
      expect(pointersOf(longer)).toEqual(['/expiresInMs']);
      const inherited = (await exchange(short.accessToken)).body;
      expect(claimsOf(inherited.accessToken).exp).toBeLessThanOrEqual(claimsOf(short.accessToken).exp);
    });

    it('whom it is for is said once', async () => {
      const forApp = (await exchange(token, { audience: 'https://app.example', publisher: 'https://pub.example' }))
        .body;
      expect(claimsOf(forApp.accessToken)).toMatchObject({
        ...{ azp: 'https://app.example', publisher: 'https://pub.example', client_id: 'https://app.example' },
        aud: scenario.server.url,
      });
      const assisted = (await exchange(forApp.accessToken, { assistant: 'one' })).body.accessToken;
      const twice = (await exchange(assisted, { assistant: 'two' })).body.accessToken;
      expect(claimsOf(twice).act).toEqual({ sub: 'two', act: { sub: 'one' } });
      expect((await me(twice)).body).toMatchObject({
        ...{ application: 'https://app.example', publisher: 'https://pub.example', assistants: ['two', 'one'] },
      });
      for (const [member, value] of [
        ['audience', 'https://evil.example'],
        ['publisher', 'x'],
      ]) {
        const answer = await exchange(forApp.accessToken, { [member as string]: value });
        expectProblem(answer, 422, 'invalid');
        expect(pointersOf(answer)).toEqual([`/${member}`]);
      }
    });

    it('it ends with what it was made from, and not the other way round', async () => {
      const own = (await new Account(accounts).login(scenario)).body.accessToken;
      const weaker = (await exchange(own)).body.accessToken;
      const weakest = (await exchange(weaker)).body.accessToken;
      await scenario.calls(['POST /v1/auth/revoke', { token: weaker }]);
      expect([(await me(own)).status, (await me(weaker)).status, (await me(weakest)).status]).toEqual([200, 401, 401]);
      expectProblem(await exchange(weaker), 401, 'unauthenticated');
      expectProblem(await exchange(weakest), 401, 'unauthenticated');
      const other = (await exchange(own)).body.accessToken;
      await scenario.calls(['POST /v1/auth/revoke', { token: own }]);
      expectProblem(await me(other), 401, 'unauthenticated');
    });

    it('an API key is exchanged like a token, but for the operator’s', async () => {
      const made = { name: 'k', authorizationDetails: [detail({ pools: ['p'] })] };
      const { secret, apiKey } = (await scenario.calls(['POST /v1/auth/keys', made, asOperator])).body;
      const { accessToken } = (
        await exchange(secret, { authorizationDetails: [detail({ pools: ['p'], collections: ['ab'] })] })
      ).body;
      expect((await me(accessToken)).body).toMatchObject({ subject: `apikey:${apiKey}`, isOperator: false });
      expectProblem(await exchange(secret, { authorizationDetails: [detail()] }), 422, 'invalid');
      await scenario.calls([`DELETE /v1/auth/keys/${apiKey}`, undefined, asOperator]);
      expectProblem(await me(accessToken), 401, 'unauthenticated');
      expectProblem(await exchange(OPERATOR_KEY), 401, 'unauthenticated');
    });

    const bad: [says: string, more: object, status: number, pointer: string][] = [
      [
        'another type of token',
        { subjectTokenType: 'urn:ietf:params:oauth:token-type:saml2' },
        422,
        '/subjectTokenType',
      ],
      ['a thumbprint that is none', { keyThumbprint: 'x' }, 400, '/keyThumbprint'],
      ['too long a life', { expiresInMs: 600_001 }, 400, '/expiresInMs'],
      ['no life', { expiresInMs: 0 }, 400, '/expiresInMs'],
      ['an empty audience', { audience: '' }, 400, '/audience'],
      ['details that are none', { authorizationDetails: {} }, 400, '/authorizationDetails'],
      ['no entry', { authorizationDetails: [] }, 422, '/authorizationDetails'],
      ['an unknown member', { authorizationDetails: [detail({ roles: ['x'] })] }, 422, '/authorizationDetails/0/roles'],
      [
        'a member with a slip',
        { authorizationDetails: [detail({ keys: { prefx: 'x' } })] },
        422,
        '/authorizationDetails/0/keys',
      ],
      ['what isn’t RFC 8693’s', { scope: 'all' }, 400, '/scope'],
    ];
    it.each(bad)('%s is refused by name', async (_says, more, status, pointer) => {
      const answer = await exchange(token, more);
      expect([answer.status, pointersOf(answer)[0]], answer.text).toEqual([status, pointer]);
    });

    it('what is no token is refused', async () => {
      for (const text of ['', 'x', 'a.b.c', `${token}x`, 'sgr_x', 'sgk_x'])
        expectProblem(await exchange(text), 401, 'unauthenticated');
    });

    it('a token is handed on a limited number of times', async () => {
      let last = token;
      let answer: Answer | undefined;
      for (let i = 0; i < 20; i++) {
        answer = await exchange(last);
        if (answer.status !== 200) break;
        last = answer.body.accessToken;
      }
      expectProblem(answer as Answer, 422, 'invalid');
    });
  });

  describe('by delegation', () => {
    const url = () => scenario.server.url;
    interface Link {
      to: TestKey;
      by: TestKey;
      /** What it follows: another link, or a bound token. */
      after?: string | undefined;
      account?: string | undefined;
      claims?: object;
      header?: object;
    }
    const link = ({ to, by, after, account, claims = {}, header = {} }: Link): string => {
      const iat = seconds();
      return signed(
        {
          typ: 'stargus-delegation+jwt',
          alg: by.algorithm,
          ...(account ? { kid: by.kid } : { jwk: by.jwk }),
          ...header,
        },
        {
          ...(account && { iss: account }),
          ...{ aud: url(), jti: randomUUID(), iat, exp: iat + 3600, cnf: { jkt: to.kid } },
          ...(after !== undefined && { prev: createHash('sha256').update(after).digest('base64url') }),
          ...claims,
        },
        by,
      );
    };
    const redeem = (chain: string, key: TestKey, more: object = {}) =>
      exchange(
        chain,
        { subjectTokenType: DELEGATION_TYPE, ...more },
        { dpop: proofOf(key, scenario.server, 'POST /v1/auth/token') },
      );
    const asKey = async (answer: Answer, key: TestKey): Promise<Answer> => {
      const { accessToken: token } = answer.body;
      const dpop = proofOf(key, scenario.server, 'GET /v1/auth/me', { token });
      return scenario.call('GET /v1/auth/me', undefined, { authorization: `DPoP ${token}`, dpop });
    };
    const keys = Array.from({ length: 10 }, () => newKey());
    const [one, two, three] = keys as [TestKey, TestKey, TestKey];
    const elliptic = newKey('P-256');

    /** A chain of so many links from an account. */
    const chainOf = (account: Account, length: number, more: (i: number) => object = () => ({})): string => {
      const links: string[] = [];
      for (let i = 0; i < length; i++) {
        const by = i === 0 ? account.key : (keys[i - 1] as TestKey);
        const to = keys[i] as TestKey;
        const common = { by, to, claims: more(i) };
        links.push(link(i === 0 ? { ...common, account: account.url } : { ...common, after: links.at(-1) }));
      }
      return links.join('~');
    };

    it('makes no notifier, which would outlive it', async () => {
      const account = new Account(accounts);
      const rules = [
        {
          ...{ effect: 'allow', who: { anyone: true }, collections: ['things', '_notifiers'] },
          actions: ['read', 'watch', 'create', 'write'],
        },
      ];
      await scenario.calls(['PUT P/collections/_policies/items/p', { attributes: { rules } }, asOperator]);
      const target = { webhook: { url: 'https://a.example/' } };
      const definition = { events: ['add'], collection: 'things', target };
      const line = `PUT ${scenario.path('P/notifiers/n')}`;
      const { accessToken } = (await redeem(chainOf(account, 1), one)).body;
      const asDelegate = (token: string) => ({
        ...{ authorization: `DPoP ${token}`, dpop: proofOf(one, scenario.server, line, { token }) },
      });
      expectProblem(await scenario.call(line, definition, asDelegate(accessToken)), 403, 'forbidden');
      const own = (await account.login(scenario)).body.accessToken;
      expect((await scenario.call(line, definition, bearer(own))).status).toBe(201);
      expectProblem(
        await scenario.call(line, { ...definition, values: 'none' }, asDelegate(accessToken)),
        403,
        'forbidden',
      );
    });

    it('of one link, of three, of eight; each narrows, and the last key acts for the account', async () => {
      const account = new Account(accounts);
      for (const length of [1, 3, 8]) {
        const more = (i: number) =>
          i < 3 ? { authorization_details: [detail({ collections: [`${'abc'.slice(0, i + 1)}*`] })] } : {};
        const answer = await redeem(chainOf(account, length, more), keys[length - 1] as TestKey);
        expect(answer.status, answer.text).toBe(200);
        expect(answer.body.tokenType).toBe('DPoP');
        const { body } = await asKey(answer, keys[length - 1] as TestKey);
        expect(body).toMatchObject({ subject: account.url, isBound: true, isOperator: false });
        expect(body.restrictions).toHaveLength(Math.min(length, 3));
        const asked = await redeem(chainOf(account, length, more), keys[length - 1] as TestKey, {
          authorizationDetails: [detail({ collections: ['b'] })],
        });
        expectProblem(asked, 422, 'invalid');
      }
    });

    it('through keys of other kinds', async () => {
      const account = new Account(accounts, newKey('RSA'));
      const first = link({ by: account.key, to: elliptic, account: account.url });
      const second = link({ by: elliptic, to: two, after: first });
      expect((await redeem(`${first}~${second}`, two)).status).toBe(200);
    });

    it('that follows a bound token, whose key signs it', async () => {
      const account = new Account(accounts);
      const headers = { dpop: proofOf(one, scenario.server, 'POST /v1/auth/token') };
      const body = { authorizationDetails: [detail()] };
      const token = (await account.login(scenario, { headers, body })).body.accessToken;
      const iat = seconds();
      const first = link({ by: one, to: two, after: token, claims: { iat, exp: iat + 60 } });
      const answer = await redeem(`${token}~${first}`, two);
      expect(answer.status, answer.text).toBe(200);
      expect((await asKey(answer, two)).body).toMatchObject({
        subject: account.url,
        restrictions: [{ authorizationDetails: [detail()] }],
      });
      // It may not outlive the token.
      const longer = link({ by: one, to: two, after: token, claims: { iat, exp: iat + 3000 } });
      expectProblem(await redeem(`${token}~${longer}`, two), 401, 'unauthenticated');
      await scenario.calls(['POST /v1/auth/revoke', { token }]);
      expectProblem(await asKey(answer, two), 401, 'unauthenticated');
      expectProblem(await redeem(`${token}~${first}`, two), 401, 'unauthenticated');
    });

    it('that is revoked, at a link in its midst too', async () => {
      const account = new Account(accounts);
      const chain = chainOf(account, 3);
      const answer = await redeem(chain, three);
      expect((await asKey(answer, three)).status).toBe(200);
      const inMidst = chain.split('~').slice(0, 2).join('~');
      expect((await scenario.calls(['POST /v1/auth/revoke', { token: inMidst }])).body).toEqual({ revoked: true });
      expectProblem(await asKey(answer, three), 401, 'unauthenticated');
      expectProblem(await redeem(chain, three), 401, 'unauthenticated');
      expectProblem(await redeem(inMidst, two), 401, 'unauthenticated');
      // What came before it is untouched.
      expect((await redeem(chain.split('~')[0] as string, one)).status).toBe(200);
      // A text that was signed by nobody revokes nothing.
      const forged = link({ by: newKey(), to: one, account: account.url });
      const empty = link({ by: account.key, to: one, account: account.url, claims: { authorization_details: [] } });
      for (const token of [forged, empty])
        expect((await scenario.calls(['POST /v1/auth/revoke', { token }])).body).toEqual({ revoked: false });
    });

    it('ends when the account no longer has the key', async () => {
      const account = new Account(accounts);
      const chain = chainOf(account, 1);
      accounts.remove(account.url, account.key);
      expectProblem(await redeem(chain, one), 401, 'unauthenticated');
    });

    type Forge = (account: Account) => { chain: string; key?: TestKey };
    const direct =
      (claims: object, header: object = {}): Forge =>
      (account) => ({
        chain: link({ by: account.key, to: one, account: account.url, claims, header }),
      });
    const followed =
      (make: (first: string, account: Account) => string): Forge =>
      (account) => {
        const first = chainOf(account, 1);
        return { chain: `${first}~${make(first, account)}`, key: two };
      };
    const forgeries: [says: string, forge: Forge, status?: number][] = [
      [
        'that is signed by a stranger',
        (account) => ({
          chain: link({ by: newKey(), to: one, account: account.url, header: { kid: account.key.kid } }),
        }),
      ],
      ['that is redeemed by another key', (account) => ({ chain: chainOf(account, 1), key: two })],
      ['whose first key redeems the whole', (account) => ({ chain: chainOf(account, 2), key: one })],
      ['for another server', direct({ aud: 'https://other.example' })],
      ['that is over', direct({ iat: seconds() - 100, exp: seconds() - 50 })],
      ['from the future', direct({ iat: seconds() + 60 })],
      ['that isn’t valid yet', direct({ nbf: seconds() + 60 })],
      ['for more than 90 days', direct({ exp: seconds() + 91 * 86_400 })],
      ['without an end', direct({ exp: undefined })],
      ['without a key', direct({ cnf: undefined })],
      ['with another claim', direct({ sub: 'operator' })],
      ['with a prev that it has no need of', direct({ prev: 'x' })],
      [
        'with its key embedded instead of named',
        (account) => ({ chain: link({ by: account.key, to: one, claims: { iss: account.url } }) }),
      ],
      ['of no account', direct({ iss: 'operator' })],
      ['with crit', direct({}, { crit: ['exp'] })],
      ['with none', direct({}, { alg: 'none' })],
      ['with another typ', direct({}, { typ: 'stargus-login+jwt' })],
      ['in the wrong order', (account) => ({ chain: chainOf(account, 2).split('~').reverse().join('~'), key: one })],
      ['without its first link', (account) => ({ chain: chainOf(account, 2).split('~')[1] as string, key: two })],
      [
        'without a link between',
        (account) => {
          const [first, , third] = chainOf(account, 3).split('~');
          return { chain: `${first}~${third}`, key: three };
        },
      ],
      [
        'whose link was made for another one before it',
        (account) => {
          // The key has two grants; what it handed on of the one isn't to be had of the other.
          const narrow = link({
            by: account.key,
            to: one,
            account: account.url,
            claims: { authorization_details: [detail()] },
          });
          const wide = link({ by: account.key, to: one, account: account.url });
          return { chain: `${wide}~${link({ by: one, to: two, after: narrow })}`, key: two };
        },
      ],
      [
        'whose second link is signed by the first key’s holder no more',
        followed((first) => link({ by: newKey(), to: two, after: first })),
      ],
      [
        'whose second link is signed by the account',
        followed((first, account) => link({ by: account.key, to: two, after: first })),
      ],
      [
        'whose second link says whose it is',
        followed((first, account) => link({ by: one, to: two, after: first, claims: { iss: account.url } })),
      ],
      ['whose second link names no link before', followed(() => link({ by: one, to: two }))],
      [
        'whose second link lives longer',
        followed((first) => link({ by: one, to: two, after: first, claims: { exp: seconds() + 7200 } })),
      ],
      [
        'that was tampered with',
        (account) => {
          const [header, , signature] = chainOf(account, 1).split('.') as [string, string, string];
          const claims = {
            iss: account.url,
            aud: url(),
            jti: 'x',
            iat: seconds(),
            exp: seconds() + 60,
            cnf: { jkt: two.kid },
          };
          return {
            chain: `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.${signature}`,
            key: two,
          };
        },
      ],
      ['of nine links', (account) => ({ chain: chainOf(account, 9), key: keys[8] as TestKey })],
      ['with an empty link', (account) => ({ chain: `${chainOf(account, 1)}~` })],
      ['of nothing', () => ({ chain: '~' })],
      [
        'whose second link widens',
        (account) => ({
          chain: chainOf(account, 2, (i) => ({
            authorization_details: [detail({ collections: i === 0 ? ['ab'] : ['a*'] })],
          })),
          key: two,
        }),
        422,
      ],
      ['with empty details', direct({ authorization_details: [] }), 422],
    ];
    it.each(forgeries)('%s, is refused', async (_says, forge, status = 401) => {
      const { chain, key = one } = forge(new Account(accounts));
      const answer = await redeem(chain, key);
      expectProblem(answer, status, status === 401 ? 'unauthenticated' : 'invalid');
    });

    it('without a proof, is refused', async () => {
      const chain = chainOf(new Account(accounts), 1);
      expectProblem(await exchange(chain, { subjectTokenType: DELEGATION_TYPE }), 401, 'unauthenticated');
    });

    it('an unbound token is no root', async () => {
      const token = (await new Account(accounts).login(scenario)).body.accessToken;
      const first = link({ by: one, to: two, after: token });
      expectProblem(await redeem(`${token}~${first}`, two), 401, 'unauthenticated');
    });
  });
});
