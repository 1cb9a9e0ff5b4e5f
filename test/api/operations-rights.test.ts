/** Whose operations are whose, and under which rights they are done: those that their caller has by then. */
import { setTimeout as sleep } from 'node:timers/promises';
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
} from '../support/logins.js';
import { ASYNC, accepted, hold, later, resultOf } from '../support/operations.js';
import { accountOf, People } from '../support/people.js';
import { expectProblem, type Headers, Scenario } from '../support/scenario.js';
import { databases, type Server } from '../support/server.js';

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const policy = (rules: readonly object[]) => ({ attributes: { rules } });
const everything = { effect: 'allow', actions: ['read', 'create', 'write', 'delete'], collections: ['*'] };

describe.each(databases)('operations and rights on $name', ({ name }) => {
  const accounts = new AccountTable();
  let server: Server;
  beforeAll(async () => {
    server = await startLoginServer(accounts, name, {
      env: { STARGUS_RATE_WRITES: '0', STARGUS_RATE_READS: '0', STARGUS_AUDIT: '0s' },
    });
  });

  async function pool(rules?: readonly object[]) {
    const scenario = new Scenario(server);
    if (rules) await scenario.calls(['PUT P/collections/_policies/items/main', policy(rules), asOperator]);
    else await admitAll(scenario);
    return { scenario, people: new People(scenario) };
  }
  const login = async (scenario: Scenario): Promise<Headers> => new Account(accounts).headers(scenario);

  it('without a token nothing is accepted', async () => {
    const { scenario } = await pool();
    expectProblem(await scenario.call('PUT C/items/a', { attributes: {} }, ASYNC), 401, 'unauthenticated');
    expectProblem(await scenario.call('GET P/operations'), 401, 'unauthenticated');
  });

  it('who may do nothing in a pool can leave nothing there, whether or not there is one', async () => {
    const { scenario, people } = await pool([]);
    const none = new Scenario(server);
    for (const path of [scenario.path('C/items/a'), none.path('C/items/a')])
      expectProblem(await people.call('ann', `PUT ${path}`, { attributes: {} }, ASYNC), 403, 'forbidden');
    const [there, not] = await Promise.all(
      [scenario, none].map((each) => people.call('ann', `GET ${each.path('P/operations')}`)),
    );
    expect([there?.status, there?.body]).toEqual([not?.status, not?.body]);
    expect((await scenario.call('GET P/operations', undefined, asOperator)).body.operations).toEqual([]);
  });

  it('one sees one’s own, and the operator all', async () => {
    const { scenario, people } = await pool();
    const [ann, bob] = [await people.as('ann'), await people.as('bob')];
    const paths = [
      await accepted(scenario, 'PUT C/items/a', { attributes: {} }, ann),
      await accepted(scenario, 'PUT C/items/b', { attributes: {} }, bob),
    ] as const;
    expect(await resultOf(scenario, paths[0], ann)).toMatchObject({ status: 201 });
    await resultOf(scenario, paths[1], bob);
    for (const line of [`GET ${paths[0]}`, `GET ${paths[0]}?waitMs=100`, `DELETE ${paths[0]}`])
      expectProblem(await people.call('bob', line), 404, 'notFound');
    const listed = async (headers: Headers) =>
      (await scenario.calls(['GET P/operations', undefined, headers])).body.operations.map(
        ({ location }: { location: string }) => location,
      );
    expect([await listed(ann), await listed(bob), await listed(asOperator)]).toEqual([[paths[0]], [paths[1]], paths]);
    expect(await resultOf(scenario, paths[0], asOperator)).toMatchObject({ status: 201 });
    // It is found under its own pool only.
    const elsewhere = paths[0].replace(scenario.pool, 'another');
    expectProblem(await scenario.call(`GET ${elsewhere}`, undefined, asOperator), 404, 'notFound');
  });

  it('a weaker token’s are its own, and done with no more than it may', async () => {
    const { scenario } = await pool();
    const strong = await login(scenario);
    const authorizationDetails = [{ type: 'stargus', actions: ['read', 'create'], collections: ['things'] }];
    const token = (strong.authorization as string).replace('Bearer ', '');
    const exchanged = await scenario.calls(['POST /v1/auth/token', exchangeRequest(token, { authorizationDetails })]);
    const weak = bearer(exchanged.body.accessToken);
    const put = await accepted(scenario, 'PUT C/items/a', { attributes: {} }, weak);
    expect(await resultOf(scenario, put, weak)).toMatchObject({ status: 201 });
    expectProblem(await scenario.call(`GET ${put}`, undefined, strong), 404, 'notFound');
    expect(await later(scenario, 'DELETE C/items/a', undefined, weak)).toMatchObject({ status: 403 });
    expect(await later(scenario, 'PUT P/collections/others/items/a', { attributes: {} }, weak)).toMatchObject({
      ...{ status: 403, body: { code: 'forbidden' } },
    });
    expect(await later(scenario, 'DELETE C/items/a', undefined, strong)).toMatchObject({ status: 200 });
  });

  it('the policy is that of then: what was allowed is refused, and what was refused is allowed', async () => {
    const who = (...names: string[]) => ({ who: { subjects: names.map(accountOf) } });
    const { scenario, people } = await pool([
      { ...everything, ...who('ann') },
      { ...everything, ...who('bob'), collections: ['others'] },
    ]);
    const [ann, bob] = [await people.as('ann'), await people.as('bob')];
    const release = await hold(scenario);
    const lost = await accepted(scenario, 'PUT C/items/a', { attributes: {} }, ann);
    const won = await accepted(scenario, 'PUT C/items/b', { attributes: {} }, bob);
    const rules = [{ ...everything, ...who('bob') }];
    await scenario.calls(['PUT P/collections/_policies/items/main', policy(rules), asOperator]);
    for (const path of [lost, won])
      expect((await scenario.call(`GET ${path}`, undefined, asOperator)).body.status).toBe('waiting');
    release();
    expect(await resultOf(scenario, lost, ann)).toMatchObject({ status: 403, body: { code: 'forbidden' } });
    expect(await resultOf(scenario, won, bob)).toMatchObject({ status: 201 });
    const { body } = await scenario.call('GET C/items', undefined, asOperator);
    expect(body.items.map(({ key }: { key: string }) => key)).toEqual(['b']);
  });

  it('what was sent under a login that is revoked before it is done isn’t done', async () => {
    const { scenario } = await pool();
    const ann = await login(scenario);
    const release = await hold(scenario);
    const path = await accepted(scenario, 'PUT C/items/a', { attributes: {} }, ann);
    const token = (ann.authorization as string).replace('Bearer ', '');
    await scenario.calls(['POST /v1/auth/revoke', { token }]);
    expect((await scenario.call(`GET ${path}`, undefined, asOperator)).body.status).toBe('waiting');
    release();
    expect(await resultOf(scenario, path, asOperator)).toMatchObject({
      status: 401,
      body: { code: 'unauthenticated' },
    });
    expectProblem(await scenario.call('GET C/items/a', undefined, asOperator), 404, 'notFound');
  });

  it('an API key that is deleted before it is done is revoked', async () => {
    const { scenario } = await pool();
    const key = { name: 'k', subject: accountOf('cleo') };
    const { body } = await scenario.calls(['POST /v1/auth/keys', key, asOperator]);
    const cleo = bearer(body.secret);
    const release = await hold(scenario);
    const path = await accepted(scenario, 'PUT C/items/a', { attributes: {} }, cleo);
    await scenario.calls([`DELETE /v1/auth/keys/${body.apiKey}`, undefined, asOperator]);
    release();
    expect(await resultOf(scenario, path, asOperator)).toMatchObject({ status: 401 });
  });

  it('what was accepted is done although its token is over by then', async () => {
    const { scenario } = await pool();
    const strong = await login(scenario);
    const token = (strong.authorization as string).replace('Bearer ', '');
    const short = await scenario.calls(['POST /v1/auth/token', exchangeRequest(token, { expiresInMs: 5000 })]);
    const weak = bearer(short.body.accessToken);
    const release = await hold(scenario);
    const path = await accepted(scenario, 'PUT C/items/late', { attributes: {} }, weak);
    await sleep(5100);
    expectProblem(await scenario.call(`GET ${path}`, undefined, weak), 401, 'unauthenticated');
    release();
    expect(await resultOf(scenario, path, asOperator)).toMatchObject({ status: 201 });
  });

  it('who waits for an operation is told nothing more once their login is revoked', async () => {
    const { scenario } = await pool();
    const ann = await login(scenario);
    const release = await hold(scenario);
    const path = await accepted(scenario, 'PUT C/items/a', { attributes: {} }, ann);
    const waiting = scenario.call(`GET ${path}?waitMs=20000`, undefined, ann);
    await sleep(50);
    const token = (ann.authorization as string).replace('Bearer ', '');
    await scenario.calls(['POST /v1/auth/revoke', { token }]);
    release();
    expectProblem(await waiting, 401, 'unauthenticated');
  });

  it('a token that is bound to a key has proven it when it is accepted', async () => {
    const { scenario } = await pool();
    await scenario.calls([
      'PUT P/collections/_policies/items/bound',
      { attributes: { requireBound: true, rules: [] } },
      asOperator,
    ]);
    const proofKey = newKey();
    const { body } = await new Account(accounts).login(scenario, { claims: { cnf: { jkt: proofKey.kid } } });
    const token = body.accessToken as string;
    const bound = (line: string): Headers => ({
      authorization: `DPoP ${token}`,
      dpop: proofOf(
        proofKey,
        server,
        line.replace(/ (.*)/, (_, path) => ` ${scenario.path(path)}`),
        { token },
      ),
    });
    const put = 'PUT C/items/a';
    const answer = await scenario.call(put, { attributes: {} }, { ...bound(put), ...ASYNC });
    expect(answer.status, answer.text).toBe(202);
    expect(await resultOf(scenario, answer.headers.location as string, asOperator)).toMatchObject({ status: 201 });
    const unbound = await login(scenario);
    expectProblem(await scenario.call(put, { attributes: {} }, { ...unbound, ...ASYNC }), 403, 'forbidden');
  });
});
