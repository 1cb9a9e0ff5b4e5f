/** Notifiers whose target is the queue of a session: what is written comes into it, once and in order, and waits for whoever the session is. */
import { beforeAll, describe, expect, it } from 'vitest';
import { expectProblem, type Headers, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const N = 'P/notifiers/n';
const Q = 'P/sessions/s/queue';
const toQueue = { events: ['add', 'change', 'delete'], collection: 'things', target: { session: 's' } };

interface Entry {
  readonly delivery: string;
  readonly notifier: string;
  readonly event: {
    readonly type: string;
    readonly id: string;
    readonly data: { readonly changes: { attributes: { n: number } }[] };
  };
}

describe.each(databases)('a notifier to a session on $name', ({ name: database }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database });
  });
  const put = (scenario: Scenario, n: number, key = 'k') =>
    scenario.calls([`PUT P/collections/things/items/${key}`, { attributes: { n } }]);
  const begin = async (scenario: Scenario) => {
    const { session, epoch } = (await scenario.calls(['POST P/sessions', { name: 's' }])).body;
    return { 'stargus-session': `${session};epoch=${epoch}` } as Headers;
  };
  const waiting = async (scenario: Scenario, count: number): Promise<Entry[]> => {
    await expect
      .poll(async () => (await scenario.calls([`GET ${Q}?limit=100`])).body.entries.length, { timeout: 20_000 })
      .toBe(count);
    return (await scenario.calls([`GET ${Q}?limit=100`])).body.entries;
  };

  it('fills the queue in order while nobody is there, and nothing of it is lost or doubled', async () => {
    const scenario = new Scenario(server);
    await put(scenario, 0);
    const made = await scenario.call(`PUT ${N}`, toQueue);
    expect(made.status, made.text).toBe(201);
    for (let n = 1; n <= 20; n++) await put(scenario, n);
    const own = await begin(scenario);
    const entries = await waiting(scenario, 20);
    expect(entries.map(({ event }) => event.data.changes[0]?.attributes.n)).toEqual(
      Array.from({ length: 20 }, (_, i) => i + 1),
    );
    for (const { delivery, notifier, event } of entries)
      expect([notifier, event.type, event.id]).toEqual(['n', 'stargus.change', delivery]);
    const taken = (await scenario.calls([`POST ${Q}/take`, { limit: 5, holdMs: 60_000 }, own])).body.entries as Entry[];
    expect(taken.map(({ delivery }) => delivery)).toEqual(entries.slice(0, 5).map(({ delivery }) => delivery));
    const { body } = await scenario.calls([
      `POST ${Q}/ack`,
      { deliveries: taken.map(({ delivery }) => delivery) },
      own,
    ]);
    expect(body).toMatchObject({ acked: 5 });
    await put(scenario, 21);
    const left = await waiting(scenario, 16);
    expect(left.at(-1)?.event.data.changes[0]?.attributes.n).toBe(21);
    expect((await scenario.calls([`GET ${N}`])).body).toMatchObject({ status: 'active', lag: 0, failures: 0 });
  });

  it('delivers again what it is told to, though it was acknowledged', async () => {
    const scenario = new Scenario(server);
    await put(scenario, 0);
    await scenario.call(`PUT ${N}`, toQueue);
    const { body } = await put(scenario, 1);
    const own = await begin(scenario);
    const [entry] = await waiting(scenario, 1);
    await scenario.calls([`POST ${Q}/ack`, { deliveries: [entry?.delivery] }, own]);
    await waiting(scenario, 0);
    const before = `${body.cursor ?? (await scenario.calls(['GET P'])).headers['stargus-cursor']}`.replace(
      /\d+$/,
      String(body.revision - 1),
    );
    const resumed = await scenario.call(`POST ${N}/resume`, { since: before });
    expect(resumed.status, resumed.text).toBe(200);
    expect((await waiting(scenario, 1))[0]?.delivery).toBe(entry?.delivery);
  });

  it('made anew under its name begins anew', async () => {
    const scenario = new Scenario(server);
    await put(scenario, 0);
    await scenario.call(`PUT ${N}`, toQueue);
    await put(scenario, 1);
    const own = await begin(scenario);
    const [entry] = await waiting(scenario, 1);
    await scenario.calls([`POST ${Q}/ack`, { deliveries: [entry?.delivery] }, own]);
    expect((await scenario.call(`DELETE ${N}`)).status).toBe(200);
    expect((await scenario.call(`PUT ${N}`, { ...toQueue, since: 'start' })).status).toBe(201);
    expect((await waiting(scenario, 2)).map(({ event }) => event.data.changes[0]?.attributes.n)).toEqual([0, 1]);
  });

  it('waits for room where the queue wants nothing dropped, and goes on', async () => {
    const scenario = new Scenario(server);
    await put(scenario, 0);
    const own = await begin(scenario);
    await scenario.calls([`PUT ${Q}`, { overflow: 'refuse', entriesMax: 3 }, own]);
    await scenario.call(`PUT ${N}`, { ...toQueue, retry: { delaysMs: Array.from({ length: 20 }, () => 200) } });
    for (let n = 1; n <= 5; n++) await put(scenario, n);
    const entries = await waiting(scenario, 3);
    await expect
      .poll(async () => (await scenario.calls([`GET ${N}`])).body.failures, { timeout: 20_000 })
      .toBeGreaterThan(0);
    await scenario.calls([`POST ${Q}/ack`, { deliveries: entries.slice(0, 2).map(({ delivery }) => delivery) }, own]);
    const after = await waiting(scenario, 3);
    expect(after.map(({ event }) => event.data.changes[0]?.attributes.n)).toEqual([3, 4, 5]);
    expect((await scenario.calls([`GET ${N}`])).body).toMatchObject({ status: 'active', parked: 0 });
  });

  it('may not feed itself, and is of a session that has a right name', async () => {
    const scenario = new Scenario(server);
    await put(scenario, 0);
    for (const collection of ['_queues', '_changes'])
      expectProblem(await scenario.call(`PUT ${N}`, { ...toQueue, collection }), 422, 'invalid');
    expectProblem(await scenario.call(`PUT ${N}`, { ...toQueue, target: { session: '../x' } }), 400, 'invalidName');
  });
});
