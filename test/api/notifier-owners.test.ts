/** By whose rights notifiers watch: the policy of their owner, as it changes; owners that are narrowed, and that end; who may do what with them. */
import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { accountOf, asOperator, OPERATOR_KEY, People, startStrictServer } from '../support/people.js';
import { Receiver, until } from '../support/receiver.js';
import { type Answer, expectProblem, type Headers, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const N = 'P/notifiers/n';
const allow = (members: object) => ({
  effect: 'allow',
  actions: ['read', 'watch'],
  collections: ['things'],
  ...members,
});
/** Who may have notifiers. */
const WRITES = allow({
  who: { anyone: true },
  actions: ['read', 'create', 'write', 'delete'],
  collections: ['_notifiers'],
});

describe.each(databases)('the owner of a notifier on $name', ({ name: database }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startStrictServer(database, { STARGUS_WEBHOOK_PRIVATE: '1', STARGUS_AUDIT: '1h' });
  });

  const setUp = async (rules: object[]) => {
    const scenario = new Scenario(server);
    const people = new People(scenario);
    const receiver = await Receiver.open();
    const asked = (line: string, body?: unknown) => scenario.calls([line, body, asOperator]);
    const rule = (all: object[]) =>
      asked('PUT P/collections/_policies/items/p', { attributes: { rules: [WRITES, ...all] } });
    await rule(rules);
    const to = (members: object = {}) => ({
      events: ['add', 'change', 'delete'],
      collection: 'things',
      target: { webhook: { url: receiver.url } },
      retry: { delaysMs: [100] },
      ...members,
    });
    const put = (key: string, attributes: object) => asked(`PUT C/items/${key}`, { attributes });
    const facts = async (name = 'n') => (await asked(`GET P/notifiers/${name}`)).body;
    const caughtUp = () => until(async () => (await facts()).lag === 0, 'no lag');
    return { scenario, people, receiver, rule, to, put, facts, caughtUp, asked };
  };
  const done = (answer: Answer) => expect(answer.status, answer.text).toBeLessThan(300);

  it('is told what they may watch, as their policy changes', async () => {
    const alice = { subjects: [accountOf('alice')] };
    const { people, receiver, rule, to, put, caughtUp } = await setUp([
      allow({ who: alice, where: { team: 'a' }, attributes: ['team', 'n'] }),
    ]);
    await put('a1', { team: 'a', n: 1, secret: 's' });
    await put('b1', { team: 'b', n: 1, secret: 's' });
    done(await people.call('alice', `PUT ${N}`, to({ since: 'start', values: 'full' })));
    await receiver.waitFor(1);
    await put('a1', { team: 'a', n: 1, secret: 'other' });
    await put('b1', { team: 'a', n: 2, secret: 's' });
    await put('b1', { team: 'b', n: 2, secret: 's' });
    await caughtUp();
    expect(receiver.received.map(({ event }) => event.data.changes[0])).toMatchObject([
      { op: 'add', key: 'a1', attributes: { team: 'a', n: 1 } },
      { op: 'add', key: 'b1', reason: 'entered' },
      { op: 'delete', key: 'b1', reason: 'left' },
    ]);
    await rule([allow({ who: alice, where: { team: 'b' } })]);
    await receiver.waitFor(4, true);
    expect(receiver.received[3]?.event.data.changes).toMatchObject([
      { op: 'delete', key: 'a1', reason: 'denied' },
      { op: 'add', key: 'b1', reason: 'entered', attributes: { team: 'b', n: 2, secret: 's' } },
    ]);
    for (const { body } of receiver.received.slice(0, 3)) expect(body).not.toMatch(/secret/);
    expect(receiver.received[3]?.body.match(/"secret"/g)?.length).toBe(2);
  });

  it('is told nothing more once they may watch nothing, until they may again', async () => {
    const mine = [allow({ who: { subjects: [accountOf('alice')] } })];
    const { people, receiver, rule, to, put, facts } = await setUp(mine);
    done(await people.call('alice', `PUT ${N}`, to()));
    await put('a', { n: 1 });
    await receiver.waitFor(1);
    await rule([]);
    await until(async () => (await facts()).status === 'stopped', 'the stop');
    expect((await facts()).reason).toMatch(/may not watch/);
    await put('b', { n: 1 });
    await receiver.waitFor(1, true);
    await rule(mine);
    await until(async () => (await facts()).status === 'active' && (await facts()).lag === 0, 'going on');
    // What was hidden is not told; what comes into sight is.
    expect(receiver.told.slice(1)).toEqual(['delete a', 'add a', 'add b']);
  });

  it('is not told by a parked or waiting delivery what they may not watch any more', async () => {
    const mine = [allow({ who: { subjects: [accountOf('alice')] } })];
    const { people, receiver, rule, to, put, facts } = await setUp(mine);
    receiver.answer = 500;
    done(await people.call('alice', `PUT ${N}`, to({ retry: { delaysMs: [1000] } })));
    await put('a', { n: 1 });
    await receiver.waitFor(1);
    await rule([]);
    await until(async () => (await facts()).status === 'stopped', 'the stop', 10_000);
    const { ids } = receiver;
    await receiver.waitFor(ids.length, true);
    expect(receiver.told.every((told) => told === 'add a')).toBe(true);
    const answer = await people.call('alice', `POST ${N}/test`, {});
    expectProblem(answer, 403, 'forbidden');
  });

  it('may be a token that was narrowed, and is told no more than it may see', async () => {
    const { scenario, people, receiver, to, put, caughtUp, asked } = await setUp([allow({ who: { anyone: true } })]);
    const narrow = async (details: object[]) => {
      const body = { name: 'narrow', subject: accountOf('alice'), authorizationDetails: details };
      const { secret } = (await asked('POST /v1/auth/keys', body)).body;
      return { authorization: `Bearer ${secret}` };
    };
    const own = { type: 'stargus', actions: ['read', 'create', 'write'], collections: ['_notifiers'] };
    const some = await narrow([
      own,
      { type: 'stargus', actions: ['watch'], collections: ['things'], keys: { prefix: 'a' }, attributes: ['n'] },
    ]);
    const made = await scenario.call(`PUT ${N}`, to(), some);
    expect(made.status, made.text).toBe(201);
    expect(made.body.owner).toMatch(new RegExp(`^${accountOf('alice')}#`));
    await put('a1', { n: 1, m: 1 });
    await put('b1', { n: 1, m: 1 });
    await caughtUp();
    expect(receiver.received.map(({ event }) => event.data.changes)).toEqual([
      [{ op: 'add', collection: 'things', key: 'a1', changed: ['n'], removed: [], attributes: { n: 1 } }],
    ]);
    // By the same person's full rights it is another's, and tells all.
    expect((await people.call('alice', `PUT ${N}`, to())).body.owner).toBe(accountOf('alice'));
    await put('b2', { n: 1, m: 1 });
    await caughtUp();
    expect(receiver.told).toEqual(['add a1', 'add b2']);
    const blind = await narrow([own]);
    expectProblem(await scenario.call('PUT P/notifiers/m', to(), blind), 403, 'forbidden');
  });

  it('is whoever wrote it last, and what was parked for the one before is gone', async () => {
    const { people, receiver, to, put, facts, asked } = await setUp([
      allow({ who: { subjects: [accountOf('alice')] } }),
      allow({ who: { subjects: [accountOf('bob')] }, attributes: ['n'] }),
    ]);
    receiver.answer = 500;
    done(await people.call('alice', `PUT ${N}`, to({ retry: { delaysMs: [] } })));
    await put('a', { n: 1, secret: 1 });
    await until(async () => (await facts()).parked === 1, 'the parking');
    receiver.answer = 204;
    const taken = await people.call('bob', `PUT ${N}`, to());
    expect(taken.body).toMatchObject({ owner: accountOf('bob'), parked: 0, status: 'active' });
    expect(taken.body.secret).toBeUndefined();
    expectProblem(await people.call('bob', `POST ${N}/deliveries/1/redeliver`, {}), 404, 'notFound');
    await put('b', { n: 1, secret: 1 });
    await receiver.waitFor(2, true);
    expect(receiver.received[1]?.event.data.changes[0].attributes).toEqual({ n: 1 });
    const { items } = (await asked('GET P/collections/_notifiers/items')).body;
    expect(JSON.stringify(items)).not.toMatch(/whsec|whsk/);
  });

  it('ends with the API key by which it was written', async () => {
    const { scenario, receiver, to, put, facts, asked } = await setUp([allow({ who: { anyone: true } })]);
    const { apiKey, secret } = (await asked('POST /v1/auth/keys', { name: 'k', subject: accountOf('carol') })).body;
    done(await scenario.call(`PUT ${N}`, to(), { authorization: `Bearer ${secret}` }));
    await put('a', {});
    await receiver.waitFor(1);
    await asked(`DELETE /v1/auth/keys/${apiKey}`);
    await put('b', {});
    await until(async () => (await facts()).status === 'stopped', 'the stop');
    expect((await facts()).reason).toMatch(/API key .* gone/);
    await receiver.waitFor(1, true);
    // Another who may takes it over by writing it again, and it goes on where it was.
    await asked(`PUT ${N}`, to());
    await receiver.waitFor(2, true);
    expect(receiver.told).toEqual(['add a', 'add b']);
  });

  it('alone says who may write, read, test, rotate, resume and redeliver', async () => {
    const { scenario, people, receiver, rule, to } = await setUp([allow({ who: { anyone: true } })]);
    done(await people.call('alice', `PUT ${N}`, to()));
    const calls: [string, object?][] = [
      [`GET ${N}`],
      ['GET P/notifiers'],
      [`GET ${N}/deliveries`],
      [`PUT ${N}`, to()],
      [`DELETE ${N}`],
      [`POST ${N}/test`, {}],
      [`POST ${N}/rotateSecret`, {}],
      [`POST ${N}/resume`, {}],
      [`POST ${N}/deliveries/1/redeliver`, {}],
    ];
    await rule([allow({ who: { subjects: [accountOf('bob')] } })]);
    const reads = allow({ who: { subjects: [accountOf('bob')] }, actions: ['read'], collections: ['_notifiers'] });
    const things = allow({ who: { anyone: true } });
    const asOperatorRules = { attributes: { rules: [things, reads] } };
    await scenario.calls(['PUT P/collections/_policies/items/p', asOperatorRules, asOperator]);
    for (const [line, body] of calls) {
      const answer = await people.call('bob', line, body);
      if (line.startsWith('GET')) done(answer);
      else expectProblem(answer, 403, 'forbidden');
    }
    await scenario.calls(['PUT P/collections/_policies/items/p', { attributes: { rules: [things] } }, asOperator]);
    for (const [line, body] of calls) {
      const answer = await people.call('bob', line, body);
      // Who may not write what isn't seen is not told whether it is there.
      expect([403, 404], `${line} ${answer.text}`).toContain(answer.status);
    }
    for (const [line, body] of calls) {
      const answer = await scenario.call(line, body);
      expectProblem(answer, 401, 'unauthenticated');
    }
    expect(receiver.received).toEqual([]);
  });

  it('may not take what they can’t watch', async () => {
    const { scenario, people, to } = await setUp([allow({ who: { anyone: true } })]);
    for (const members of [
      { collection: 'others' },
      { events: ['lock'] },
      { events: ['attach'] },
      { collection: '_policies' },
    ]) {
      const before = await scenario.call('GET P', undefined, asOperator);
      expectProblem(await people.call('alice', `PUT ${N}`, to(members)), 403, 'forbidden');
      expect((await scenario.call('GET P', undefined, asOperator)).body.revision).toBe(before.body.revision);
    }
    done(await people.call('alice', 'PUT P/notifiers/all', to({ collection: undefined })));
  });

  it('is noted when the secret is replaced', async () => {
    const { scenario, people, to } = await setUp([allow({ who: { anyone: true } })]);
    done(await people.call('alice', `PUT ${N}`, to()));
    done(await people.call('alice', `POST ${N}/rotateSecret`, {}));
    const { items } = (await scenario.calls(['GET P/collections/_audit/items', undefined, asOperator])).body;
    expect(items.map(({ attributes }: { attributes: object }) => attributes)).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ kind: 'secretRotated', subject: accountOf('alice'), detail: 'n' }),
      ]),
    );
  });
});

describe.each(databases)('a server that comes to require authentication on $name', ({ name: database }) => {
  it('tells nothing more by the rights of nobody', async () => {
    const open = await startServer({ database });
    const scenario = new Scenario(open);
    const receiver = await Receiver.open();
    const definition = { events: ['add'], target: { webhook: { url: receiver.url } } };
    await scenario.calls([`PUT ${N}`, definition], ['PUT C/items/a', { attributes: {} }]);
    await receiver.waitFor(1);
    await open.stop();
    const env = { STARGUS_AUTH: 'required', STARGUS_OPERATOR_KEY: OPERATOR_KEY, STARGUS_WEBHOOK_PRIVATE: '1' };
    const closed = await startServer({ database, databaseUrl: open.databaseUrl, env });
    const later = new Scenario(closed, scenario.pool);
    const headers: Headers = asOperator;
    await later.calls(['PUT C/items/b', { attributes: {} }, { ...headers, 'idempotency-key': randomUUID() }]);
    const facts = async () => (await later.calls([`GET ${N}`, undefined, headers])).body;
    await until(async () => (await facts()).status === 'stopped', 'the stop');
    expect((await facts()).reason).toMatch(/no authentication/);
    // Written by somebody, it is theirs, and goes on where it was.
    await later.calls([`PUT ${N}`, definition, headers]);
    await receiver.waitFor(2, true);
    expect(receiver.told).toEqual(['add a', 'add b']);
  });
});
