/** Whose a queue is: who shares the name of a session shares nothing else, and what the policy has to say about it. */
import { beforeAll, describe, expect, it } from 'vitest';
import { accountOf, asOperator, People, startStrictServer } from '../support/people.js';
import { delivery, withPostman } from '../support/postman.js';
import { expectProblem, Scenario } from '../support/scenario.js';
import { createDatabase, databases, type Server } from '../support/server.js';

const Q = 'P/sessions/s/queue';
const owners = ['anna', 'bert', 'clerk', 'nobody'];

describe.each(databases)('whose a queue is, on $name', ({ name }) => {
  let server: Server;
  let scenario: Scenario;
  let people: People;
  beforeAll(async () => {
    const databaseUrl = await createDatabase(name);
    const of = (who: string, ...revisions: number[]) =>
      revisions.map((revision) => delivery(revision, { owner: accountOf(who) }));
    await withPostman(databaseUrl, (postman) =>
      postman.deliver('strict', [...of('anna', 1, 2, 3), ...of('bert', 1, 9)]),
    );
    server = await startStrictServer(name, { STARGUS_DATABASE_URL: databaseUrl });
    scenario = new Scenario(server, 'strict');
    people = new People(scenario);
    const rules = [
      {
        effect: 'allow',
        who: { subjects: ['anna', 'bert'].map(accountOf) },
        actions: ['read', 'write', 'watch', 'create'],
        collections: ['things'],
      },
      {
        effect: 'allow',
        who: { subjects: [accountOf('clerk')] },
        actions: ['read', 'watch'],
        collections: ['_queues'],
      },
      {
        effect: 'allow',
        who: { subjects: [accountOf('keeper')] },
        actions: ['admin', 'read'],
        collections: ['_queues'],
      },
    ];
    await scenario.calls(['PUT P/collections/_policies/items/p', { attributes: { rules } }, asOperator]);
  });
  const deliveries = async (who: string, query = '') =>
    (await people.call(who, `GET ${Q}${query}`)).body.entries.map((entry: { delivery: string }) => entry.delivery);
  const annas = `?owner=${encodeURIComponent(accountOf('anna'))}`;

  it('each finds their own under the name, whoever has the session', async () => {
    expect(await deliveries('anna')).toEqual(['n-1', 'n-2', 'n-3']);
    expect(await deliveries('bert')).toEqual(['n-1', 'n-9']);
    const { session } = (await people.call('bert', 'POST P/sessions', { name: 's' })).body;
    expect(await deliveries('anna')).toEqual(['n-1', 'n-2', 'n-3']);
    // The name of a session isn't told by its id to whom it isn't.
    const foreign = await people.call('anna', `GET P/sessions/${session}/queue`);
    expect(foreign.body).toMatchObject({ session, count: 0 });
    const own = await people.call('bert', `GET P/sessions/${session}/queue`);
    expect(own.body).toMatchObject({ session: 's', count: 2 });
    const { body } = await people.call('bert', `POST ${Q}/ack`, { deliveries: ['n-2', 'n-3'] });
    expect(body).toMatchObject({ acked: 0, missing: ['n-2', 'n-3'] });
    const batch = { session: { session, epoch: 1 }, ops: [{ op: 'ack', delivery: 'n-2' }] };
    expectProblem(await people.call('bert', 'POST P/batch', batch), 412, 'preconditionFailed');
    expectProblem(await people.call('anna', 'POST P/batch', batch), 403, 'forbidden');
    expect(await deliveries('anna')).toHaveLength(3);
  });

  it('a bound subject takes and acknowledges what is theirs, also in a batch', async () => {
    const { session } = (await people.call('anna', 'POST P/sessions', { name: 'annas' })).body;
    const taken = await people.call('anna', `POST ${Q}/take`, { limit: 2, holdMs: 100 });
    expect(taken.body.entries).toMatchObject([{ delivery: 'n-1' }, { delivery: 'n-2' }]);
    expectProblem(
      await people.call('anna', `POST ${Q}/take`, {}, { 'stargus-session': `${session};epoch=1` }),
      400,
      'badRequest',
    );
    const { body: bert } = await people.call('bert', 'PUT P/sessions/s');
    const put = { op: 'put', collection: 'things', key: 'a', attributes: { n: 1 } };
    const own = { session: bert.session, epoch: bert.epoch };
    const batch = { session: { ...own, sequence: 1 }, ops: [put, { op: 'ack', delivery: 'n-9' }] };
    expect((await people.call('bert', 'POST P/batch', batch)).status).toBe(200);
    expect(await deliveries('bert')).toEqual(['n-1']);
    const forbidden = {
      ...batch,
      session: { ...own, sequence: 2 },
      ops: [
        { ...put, collection: 'halls' },
        { op: 'ack', delivery: 'n-1' },
      ],
    };
    expectProblem(await people.call('bert', 'POST P/batch', forbidden), 403, 'forbidden');
    expect(await deliveries('bert')).toEqual(['n-1']);
  });

  it('others read it where policy lets them read `_queues`, and alter it where they administer that', async () => {
    for (const who of owners.slice(1)) {
      const others = [
        [`POST ${Q}/take${annas}`, {}],
        [`POST ${Q}/ack${annas}`, { deliveries: ['n-1'] }],
        [`POST ${Q}/pushBack${annas}`, { deliveries: ['n-1'] }],
        [`POST ${Q}/drop${annas}`, { oldest: 1 }],
        [`PUT ${Q}${annas}`, { entriesMax: 1 }],
        [`PATCH ${Q}/n-1${annas}`, { event: {} }],
        [`DELETE ${Q}${annas}`, undefined],
      ] as const;
      for (const [line, body] of others) expectProblem(await people.call(who, line, body), 403, 'forbidden');
    }
    expect(await deliveries('bert', annas)).toEqual([]);
    expectProblem(await people.call('bert', `GET ${Q}/n-1${annas}`), 404, 'notFound');
    expectProblem(await people.call('nobody', `GET ${Q}`), 403, 'forbidden');
    expectProblem(await people.call('nobody', `GET ${Q}${annas}`), 403, 'forbidden');
    expectProblem(await people.call('nobody', `POST ${Q}/take`, {}), 403, 'forbidden');
    expect(await deliveries('clerk', annas)).toEqual(['n-1', 'n-2', 'n-3']);
    expect((await people.call('clerk', `GET ${Q}/n-1${annas}`)).body).toMatchObject({ delivery: 'n-1' });
    expect((await people.call('clerk', `GET ${Q}`)).body).toMatchObject({ count: 0 });
    expect((await people.call('clerk', 'GET P/collections/_queues/items')).body.items.length).toBeGreaterThan(4);
    expectProblem(await people.call('anna', 'GET P/collections/_queues/items'), 403, 'forbidden');
    expect((await people.call('keeper', `POST ${Q}/drop${annas}`, { deliveries: ['n-3'] })).body).toMatchObject({
      dropped: 1,
    });
    expect((await people.call('operator', `PUT ${Q}${annas}`, { entriesMax: 9 })).body).toMatchObject({
      count: 2,
      entriesMax: 9,
    });
    expect(await deliveries('operator', annas)).toEqual(['n-1', 'n-2']);
    expect(await deliveries('operator')).toEqual([]);
  });

  it('a stream tells only of the queue of its own session’s subject', async () => {
    const { body } = await people.call('anna', 'POST P/sessions', { name: 'watching' });
    expect(body.session).toBeDefined();
    const { body: bert } = await people.call('bert', 'PUT P/sessions/s');
    const stream = await scenario.watch(`P/sessions/${bert.session}/events`, await people.as('bert'));
    await stream.waitFor(({ event }) => event === 'live');
    await people.call('anna', `POST ${Q}/ack`, { deliveries: ['n-1'] });
    await people.call('bert', `POST ${Q}/ack`, { deliveries: ['n-1'] });
    await stream.waitFor(({ event, data }) => event === 'queue' && data.type === 'acked');
    const told = stream.events.filter(({ event }) => event === 'queue').map(({ data }) => [data.type, data.delivery]);
    expect(told).toEqual([
      ['waiting', undefined],
      ['acked', 'n-1'],
    ]);
    stream.close();
  });
});
