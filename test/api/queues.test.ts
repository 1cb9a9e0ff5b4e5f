/** The queue of a session: what is in it, who takes it, and how it is done with. */
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Delivery } from '../../src/engine/queues/enqueue.js';
import { delivery, withPostman } from '../support/postman.js';
import { expectProblem, type Headers, Scenario } from '../support/scenario.js';
import { createDatabase, databases, type Server, startServer } from '../support/server.js';

const Q = 'P/sessions/s/queue';
const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i);
const ids = (...revisions: number[]) => revisions.map((revision) => `n-${revision}`);
const deliveriesOf = ({ body }: { body: { entries: { delivery: string }[] } }) =>
  body.entries.map((entry) => entry.delivery);

/** What was delivered to each story's pool before the server started. */
const SEEDS: Record<string, readonly Delivery[]> = {
  order: [delivery(3), delivery(1), delivery(20), delivery(2, { notifier: 'a' }), delivery(10)],
  pages: range(1, 25).map((revision) => delivery(revision)),
  take: range(1, 6).map((revision) => delivery(revision)),
  crowd: range(1, 60).map((revision) => delivery(revision)),
  hold: range(1, 3).map((revision) => delivery(revision)),
  ends: range(1, 4).map((revision) => delivery(revision)),
  acks: range(1, 5).map((revision) => delivery(revision)),
  pushes: range(1, 4).map((revision) => delivery(revision)),
  drops: range(1, 10).map((revision) => delivery(revision, { key: revision > 5 ? 'same' : `k${revision}` })),
  batch: range(1, 8).map((revision) => delivery(revision)),
  edit: range(1, 2).map((revision) => delivery(revision)),
  large: [delivery(1, { pad: 300_000 }), delivery(2, { pad: 100_000 })],
  bytes: range(1, 20).map((revision) => delivery(revision, { pad: 250_000 })),
  options: [delivery(1)],
  gone: range(1, 3).map((revision) => delivery(revision)),
  key: range(1, 3).map((revision) => delivery(revision)),
  names: [delivery(1, { session: 'worker' })],
  wait: [delivery(1)],
  bad: [delivery(1)],
  collection: [delivery(1)],
};

describe.each(databases)('the queue of a session on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    const databaseUrl = await createDatabase(name);
    await withPostman(databaseUrl, async (postman) => {
      for (const [pool, deliveries] of Object.entries(SEEDS))
        for (let i = 0; i < deliveries.length; i += 10) await postman.deliver(pool, deliveries.slice(i, i + 10));
    });
    server = await startServer({ database: name, databaseUrl });
  });
  const at = (pool: keyof typeof SEEDS) => new Scenario(server, pool as string);
  const begin = async (scenario: Scenario, called = 's', more: object = {}) => {
    const { session, epoch } = (await scenario.calls(['POST P/sessions', { name: called, ...more }])).body;
    return { session, epoch, own: { 'stargus-session': `${session};epoch=${epoch}` } as Headers };
  };

  it('has what was delivered in the order of commits, whoever delivered it and when', async () => {
    const scenario = at('order');
    const read = await scenario.calls([`GET ${Q}`]);
    expect(deliveriesOf(read)).toEqual(['n-1', 'a-2', 'n-3', 'n-10', 'n-20']);
    expect(read.body).toMatchObject({
      ...{ session: 's', count: 5, held: 0, dropped: 0, overflow: 'dropOldest', dropDuplicates: false },
      entries: [{ notifier: 'n', takes: 0, about: 'things/k1', event: { data: { revision: 1 } } }, {}, {}, {}, {}],
    });
    expect(read.headers['stargus-revision']).toBe(String(read.body.revision));
    const one = await scenario.calls([`GET ${Q}/a-2`]);
    expect(one.body).toEqual(read.body.entries[1]);
    expect(one.headers.etag).toBe(`"${one.body.revision}"`);
  });

  it('is read page by page, to which reading does nothing', async () => {
    const scenario = at('pages');
    const told: string[] = [];
    let page = await scenario.calls([`GET ${Q}?limit=10`]);
    for (
      ;
      page.body.nextPageToken;
      page = await scenario.calls([`GET ${Q}?limit=10&pageToken=${page.body.nextPageToken}`])
    ) {
      expect(page.body.count).toBe(25);
      told.push(...deliveriesOf(page));
    }
    told.push(...deliveriesOf(page));
    expect(told).toEqual(ids(...range(1, 25)));
    expect(deliveriesOf(await scenario.calls([`GET ${Q}?limit=25`]))).toHaveLength(25);
    expectProblem(await scenario.call(`GET ${Q}?pageToken=x`), 400, 'invalidCursor');
    const token = (await scenario.calls([`GET ${Q}?limit=1`])).body.nextPageToken;
    expectProblem(await scenario.call(`GET P/sessions/t/queue?pageToken=${token}`), 400, 'invalidCursor');
  });

  it('gives the oldest first, each to one taker', async () => {
    const scenario = at('take');
    const first = await scenario.calls([`POST ${Q}/take`]);
    expect(first.body.entries).toMatchObject([{ delivery: 'n-1', takes: 1, heldUntil: expect.any(String) }]);
    expect(deliveriesOf(await scenario.calls([`POST ${Q}/take`, { limit: 3 }]))).toEqual(ids(2, 3, 4));
    expect(deliveriesOf(await scenario.calls([`POST ${Q}/take`, { limit: 100 }]))).toEqual(ids(5, 6));
    const revision = await scenario.revision();
    expect((await scenario.calls([`POST ${Q}/take`])).body).toMatchObject({ entries: [], revision });
    expect(await scenario.revision()).toBe(revision);
    expect((await scenario.calls([`GET ${Q}`])).body).toMatchObject({ count: 6, held: 6 });
  });

  it('never gives one entry to two of a crowd', async () => {
    const scenario = at('crowd');
    const answers = await Promise.all(
      range(1, 30).map((i) => scenario.calls([`POST ${Q}/take`, { limit: 1 + (i % 4) }])),
    );
    const taken = answers.flatMap(deliveriesOf);
    expect(taken).toHaveLength(60);
    expect(new Set(taken)).toEqual(new Set(ids(...range(1, 60))));
  });

  it('gives again what was not acknowledged in time', async () => {
    const scenario = at('hold');
    await scenario.calls([`POST ${Q}/take`, { limit: 2, holdMs: 300 }], [`POST ${Q}/ack`, { deliveries: ['n-1'] }]);
    const late = await scenario.calls([`POST ${Q}/take`, { limit: 5, waitMs: 0 }]);
    expect(deliveriesOf(late)).toEqual(ids(3));
    // The hold is over at once for who takes, and soon in the log too.
    await sleep(350);
    const again = await scenario.calls([`POST ${Q}/take`, { limit: 5, holdMs: 200 }]);
    expect(again.body.entries).toMatchObject([{ delivery: 'n-2', takes: 2 }]);
    const waited = await scenario.calls([`POST ${Q}/take`, { waitMs: 20_000 }]);
    expect(waited.body.entries).toMatchObject([{ delivery: 'n-2', takes: 3 }]);
  });

  it('gives back what a session held that ends or is resumed, and keeps what is in it', async () => {
    const scenario = at('ends');
    const one = await begin(scenario);
    await scenario.calls([`POST ${Q}/take`, { limit: 2, holdMs: 600_000 }, one.own], [`POST ${Q}/take`, { limit: 1 }]);
    expect((await scenario.calls([`GET ${Q}/n-1`])).body).toMatchObject({ heldBy: one.session });
    // By the id of the session it is the same queue.
    expect((await scenario.calls([`GET P/sessions/${one.session}/queue`])).body).toMatchObject({
      session: 's',
      held: 3,
    });
    const { epoch } = (await scenario.calls(['PUT P/sessions/s'])).body;
    const own = { 'stargus-session': `s;epoch=${epoch}` };
    expectProblem(await scenario.call(`POST ${Q}/take`, {}, one.own), 409, 'sessionFenced');
    expect(deliveriesOf(await scenario.calls([`POST ${Q}/take`, { limit: 9, holdMs: 600_000 }, own]))).toEqual(
      ids(1, 2, 4),
    );
    await scenario.calls(['DELETE P/sessions/s', undefined, own]);
    const left = (await scenario.calls([`GET ${Q}`])).body;
    expect(left).toMatchObject({ count: 4, held: 1 });
    expect(left.entries.map(({ heldBy }: { heldBy?: string }) => heldBy)).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    // A lease that runs out ends the session as well.
    const short = await begin(scenario, 's', { ttlMs: 1000 });
    await scenario.calls([`POST ${Q}/take`, { limit: 9, holdMs: 600_000 }, short.own]);
    const waited = await scenario.calls([`POST ${Q}/take`, { limit: 9, waitMs: 20_000 }]);
    expect(deliveriesOf(waited)).toEqual(ids(1, 2, 4));
  });

  it('is done with what is acknowledged, held or not, once', async () => {
    const scenario = at('acks');
    await scenario.calls([`POST ${Q}/take`, { limit: 2 }]);
    await scenario.play([
      [`POST ${Q}/ack`, { deliveries: ids(1, 4, 4) }, 200, { acked: 2, missing: [] }],
      [`POST ${Q}/ack`, { deliveries: ids(1, 2, 9) }, 200, { acked: 1, missing: ids(1, 9) }],
      [`POST P/sessions/other/queue/ack`, { deliveries: ids(3) }, 200, { acked: 0, missing: ids(3) }],
      [`POST ${Q}/ack`, { deliveries: ['nonsense', '-', 'n-99999999999999999'] }, 200, { acked: 0 }],
      [
        `GET ${Q}`,
        undefined,
        200,
        { count: 2, held: 0, dropped: 0, entries: [{ delivery: 'n-3' }, { delivery: 'n-5' }] },
      ],
      [`GET ${Q}/n-1`, undefined, 404, { code: 'notFound' }],
    ]);
    const revision = await scenario.revision();
    await scenario.calls([`POST ${Q}/ack`, { deliveries: ids(1) }]);
    expect(await scenario.revision()).toBe(revision);
  });

  it('takes back what is pushed back, in its place', async () => {
    const scenario = at('pushes');
    await scenario.calls([`POST ${Q}/take`, { limit: 3 }]);
    await scenario.play([
      [`POST ${Q}/pushBack`, { deliveries: ids(2, 4, 9) }, 200, { freed: 1, missing: ids(9) }],
      [`GET ${Q}`, undefined, 200, { count: 4, held: 2 }],
    ]);
    expect(deliveriesOf(await scenario.calls([`POST ${Q}/take`, { limit: 9 }]))).toEqual(ids(2, 4));
  });

  it('drops what its owner doesn’t want', async () => {
    const scenario = at('drops');
    await scenario.calls([`POST ${Q}/take`, { limit: 1 }]);
    await scenario.play([
      [`POST ${Q}/drop`, { oldest: 2 }, 200, { dropped: 2, missing: [] }],
      [`POST ${Q}/drop`, { duplicates: true, deliveries: ids(3, 1) }, 200, { dropped: 5, missing: ids(1) }],
      [`GET ${Q}`, undefined, 200, { count: 3, held: 0, dropped: 0 }],
      [`POST ${Q}/drop`, {}, 400, { code: 'badRequest' }],
    ]);
    expect(deliveriesOf(await scenario.calls([`GET ${Q}`]))).toEqual(ids(4, 5, 10));
    await scenario.play([
      [`POST ${Q}/drop`, { oldest: 10_000 }, 200, { dropped: 3 }],
      [`GET ${Q}`, undefined, 200, { count: 0, bytes: 0 }],
    ]);
  });

  it('is acknowledged by a batch together with what it writes, or not at all', async () => {
    const scenario = at('batch');
    const { session, epoch } = await begin(scenario);
    const put = { op: 'put', collection: 'things', key: 'a', attributes: { n: 1 } };
    const batch = (sequence: number, ops: object[], more: object = {}) => ({
      session: { session, epoch, sequence },
      ops,
      ...more,
    });
    const ack = (...deliveries: string[]) => ({ op: 'ack', deliveries });
    const first = await scenario.calls(['POST P/batch', batch(1, [{ op: 'ack', delivery: 'n-1' }, put])]);
    expect(first.body.results).toMatchObject([
      { index: 0, status: 200 },
      { index: 1, status: 201, key: 'a' },
    ]);
    expect((await scenario.calls([`GET ${Q}`])).body).toMatchObject({ count: 7, revision: first.body.revision });
    const again = await scenario.calls(['POST P/batch', batch(1, [{ op: 'ack', delivery: 'n-1' }, put])]);
    expect(again.text).toBe(first.text);
    // Of two who worked on the same entry the batch of only one applies.
    const gone = await scenario.refused(
      412,
      'preconditionFailed',
      'POST P/batch',
      batch(2, [{ ...put, key: 'b' }, ack('n-2', 'n-1')]),
    );
    expect(gone.body.errors).toMatchObject([{ index: 1, pointer: '/ops/1' }]);
    expect(await scenario.attributes('b')).toBeUndefined();
    const both = batch(2, [
      { ...put, key: 'c', op: 'increment', attribute: 'x', by: 1, max: 0, attributes: undefined },
      ack('n-1'),
    ]);
    expect((await scenario.refused(409, 'conflict', 'POST P/batch', both)).body.errors).toMatchObject([{ index: 0 }]);
    const turned = batch(2, [ack('n-1'), ...both.ops.slice(0, 1)]);
    expect((await scenario.refused(412, 'preconditionFailed', 'POST P/batch', turned)).body.errors).toMatchObject([
      { index: 0 },
    ]);
    const loose = await scenario.calls([
      'POST P/batch',
      batch(2, [ack('n-1', 'n-2'), ack('n-3', 'n-4'), { ...put, key: 'd' }], { atomic: false }),
    ]);
    expect(loose.body.results).toMatchObject([
      { status: 412, problem: { code: 'preconditionFailed' } },
      { status: 200 },
      { status: 201 },
    ]);
    expect(deliveriesOf(await scenario.calls([`GET ${Q}`]))).toEqual(ids(2, 5, 6, 7, 8));
    await scenario.play([
      ['POST P/batch', batch(3, [ack('n-5'), { op: 'memento', value: 5 }], { dryRun: true }), 200],
      [`GET ${Q}`, undefined, 200, { count: 5 }],
      ['POST P/batch', batch(3, [ack('n-5', 'n-5'), { op: 'memento', value: 5 }]), 200],
      [`GET ${Q}`, undefined, 200, { count: 4 }],
      // Of a queue that isn't the session's own, and without a session.
      ['POST P/batch', { session: { session: 's', epoch }, ops: [{ ...ack('n-6'), queue: 'other' }] }, 412],
      ['POST P/batch', { ops: [{ ...ack('n-6'), queue: 's' }] }, 200],
      // By the name of the session, and without a number.
      ['POST P/batch', { session: { session: 's', epoch }, ops: [ack('n-2')] }, 200],
      ['POST P/batch', { ops: [ack('n-7')] }, 200, {}, { 'stargus-session': `${session};epoch=${epoch}` }],
      [
        'POST P/batch',
        { session: { session: 's', epoch: epoch + 1 }, ops: [ack('n-8')] },
        409,
        { code: 'sessionFenced' },
      ],
      [`GET ${Q}`, undefined, 200, { count: 1 }],
    ]);
  });

  it('names the op that failed where others stand before it that write no item', async () => {
    const scenario = at('batch');
    const { session, epoch } = await begin(scenario, 'counting');
    const ops = [
      { op: 'memento', value: 1 },
      { op: 'delete', collection: 'things', key: 'a', if: [{ exists: false }] },
    ];
    const refused = await scenario.refused(412, 'preconditionFailed', 'POST P/batch', {
      session: { session, epoch },
      ops,
    });
    expect(refused.body.errors).toMatchObject([{ index: 1 }]);
  });

  it('refuses acks that say too little or too much', async () => {
    const scenario = at('bad');
    const { session, epoch } = await begin(scenario);
    const own = { session, epoch };
    for (const [body, code, status] of [
      [{ ops: [{ op: 'ack', delivery: 'n-1' }] }, 'badRequest', 400],
      [{ session: own, ops: [{ op: 'ack' }] }, 'badRequest', 400],
      [{ session: own, ops: [{ op: 'ack', deliveries: [] }] }, 'badRequest', 400],
      [{ session: own, ops: [{ op: 'ack', delivery: 'n-1', deliveries: ['n-1'] }] }, 'badRequest', 400],
      [{ session: own, ops: [{ op: 'ack', delivery: 1 }] }, 'badRequest', 400],
      [{ session: own, ops: [{ op: 'ack', delivery: 'n-1', collection: 'things' }] }, 'badRequest', 400],
      [{ session: own, ops: [{ op: 'ack', delivery: 'n-1', value: 1 }] }, 'badRequest', 400],
      [
        { session: own, ops: [{ op: 'put', collection: 'things', key: 'a', attributes: {}, delivery: 'n-1' }] },
        'badRequest',
        400,
      ],
      [
        {
          session: own,
          ops: range(1, 2).map((i) => ({ op: 'ack', deliveries: range(1, 600).map((j) => `n-${i}${j}`) })),
        },
        'invalid',
        422,
      ],
    ] as const)
      await scenario.refused(status, code, 'POST P/batch', body);
    for (const [line, body] of [
      [`POST ${Q}/take`, { limit: 0 }],
      [`POST ${Q}/take`, { limit: 101 }],
      [`POST ${Q}/take`, { holdMs: 99 }],
      [`POST ${Q}/take`, { holdMs: 3_600_001 }],
      [`POST ${Q}/take`, { waitMs: -1 }],
      [`POST ${Q}/take`, { other: 1 }],
      [`POST ${Q}/ack`, {}],
      [`POST ${Q}/ack`, { deliveries: [] }],
      [`POST ${Q}/ack`, { deliveries: range(1, 1001).map(String) }],
      [`POST ${Q}/ack`, { deliveries: 'n-1' }],
      [`POST ${Q}/pushBack`, { deliveries: [1] }],
      [`POST ${Q}/drop`, { oldest: 0 }],
      [`POST ${Q}/drop`, { oldest: 1.5 }],
      [`PUT ${Q}`, { overflow: 'dropNewest' }],
      [`PUT ${Q}`, { entriesMax: 0 }],
      [`PUT ${Q}`, { entriesMax: 10_001 }],
      [`PUT ${Q}`, { keepMs: 999 }],
      [`PATCH ${Q}/n-1`, { event: 1 }],
      [`PATCH ${Q}/n-1`, {}],
      [`GET ${Q}?limit=0`, undefined],
      [`GET ${Q}?waitMs=60001`, undefined],
      [`GET ${Q}?other=1`, undefined],
    ] as const)
      await scenario.refused(400, 'badRequest', line, body);
    await scenario.refused(400, 'invalidName', 'GET P/sessions/_s/queue');
    await scenario.refused(
      400,
      'badRequest',
      `POST P/sessions/other/queue/take`,
      {},
      { 'stargus-session': `${session};epoch=1` },
    );
    const nowhere = new Scenario(server);
    for (const [line, body] of [
      [`GET ${Q}`],
      [`GET ${Q}/n-1`],
      [`POST ${Q}/take`, {}],
      [`POST ${Q}/ack`, { deliveries: ['n-1'] }],
      [`PUT ${Q}`, {}],
      [`PUT ${Q}`, { entriesMax: 5 }],
      [`DELETE ${Q}`],
    ] as const)
      expectProblem(await nowhere.call(line, body), 404, 'notFound');
    expect(await nowhere.revision()).toBeUndefined();
  });

  it('lets its owner put another event in place of one', async () => {
    const scenario = at('edit');
    await scenario.calls([`POST ${Q}/take`]);
    const { revision } = (await scenario.calls([`GET ${Q}/n-1`])).body;
    const event = { note: 'mine', data: { changes: [{ collection: 'halls', key: 'h' }] } };
    await scenario.refused(412, 'preconditionFailed', `PATCH ${Q}/n-1`, { event }, { 'if-match': '"1"' });
    const edited = await scenario.calls([`PATCH ${Q}/n-1`, { event }, { 'if-match': `"${revision}"` }]);
    expect(edited.body).toMatchObject({
      event,
      about: 'halls/h',
      takes: 1,
      editedAt: expect.any(String),
      heldUntil: expect.any(String),
    });
    expect(edited.headers.etag).toBe(`"${edited.body.revision}"`);
    expect(deliveriesOf(await scenario.calls([`GET ${Q}`]))).toEqual(ids(1, 2));
    await scenario.refused(404, 'notFound', `PATCH ${Q}/n-7`, { event });
    await scenario.refused(413, 'tooLarge', `PATCH ${Q}/n-1`, { event: { text: 'x'.repeat(262_144) } });
    await scenario.calls([`POST ${Q}/drop`, { oldest: 2 }]);
    expect((await scenario.calls([`GET ${Q}`])).body).toMatchObject({ count: 0, bytes: 0, held: 0 });
  });

  it('leaves out of its entry an event that is too large, which is in the log', async () => {
    const { entries, bytes } = (await at('large').calls([`GET ${Q}`])).body;
    expect(entries).toMatchObject([
      { delivery: 'n-1', about: 'things/k1' },
      { delivery: 'n-2', event: {} },
    ]);
    expect(entries[0]).not.toHaveProperty('event');
    expect(bytes).toBeLessThan(101_000);
  });

  it('gives no more bytes at once than an answer holds', async () => {
    const scenario = at('bytes');
    const first = deliveriesOf(await scenario.calls([`POST ${Q}/take`, { limit: 100 }]));
    const second = deliveriesOf(await scenario.calls([`POST ${Q}/take`, { limit: 100 }]));
    expect([...first, ...second]).toEqual(ids(...range(1, 20)));
    expect(second).not.toHaveLength(0);
    expect(deliveriesOf(await scenario.calls([`GET ${Q}`]))).toHaveLength(20);
  });

  it('is kept as its owner says, also while it is empty', async () => {
    const scenario = at('options');
    const options = { overflow: 'refuse', dropDuplicates: true, entriesMax: 3, keepMs: 60_000 };
    await scenario.play([
      [`PUT ${Q}`, options, 200, { ...options, count: 1 }],
      [`POST ${Q}/ack`, { deliveries: ids(1) }, 200],
      [`GET ${Q}`, undefined, 200, { ...options, count: 0, entries: [] }],
      [`PUT ${Q}`, { entriesMax: 5 }, 200, { overflow: 'dropOldest', dropDuplicates: false, entriesMax: 5 }],
      ['PUT P/sessions/new/queue', { entriesMax: 7 }, 200, { session: 'new', count: 0, entriesMax: 7 }],
      ['GET P/sessions/new/queue', undefined, 200, { entriesMax: 7 }],
      ['DELETE P/sessions/new/queue', undefined, 200, { existed: true, dropped: 0 }],
      ['GET P/sessions/new/queue', undefined, 200, { entriesMax: 10_000 }],
      // What says nothing isn't there.
      [`PUT ${Q}`, {}, 200, { entriesMax: 10_000 }],
      [`GET P/collections/_queues/items`, undefined, 200, { items: [] }],
    ]);
  });

  it('is done away with, with all that is in it', async () => {
    const scenario = at('gone');
    await scenario.calls([`POST ${Q}/take`], [`PUT ${Q}`, { entriesMax: 3 }]);
    await scenario.play([
      [`DELETE ${Q}`, undefined, 200, { session: 's', existed: true, dropped: 3 }],
      [`DELETE ${Q}`, undefined, 200, { existed: false, dropped: 0 }],
      [`GET ${Q}`, undefined, 200, { count: 0, held: 0, bytes: 0, entriesMax: 10_000 }],
    ]);
  });

  it('answers a repetition under a key what it answered before', async () => {
    const scenario = at('key');
    const key = (value: string) => ({ 'idempotency-key': value });
    const first = await scenario.calls([`POST ${Q}/take`, { limit: 2 }, key('a')]);
    const again = await scenario.calls([`POST ${Q}/take`, { limit: 2 }, key('a')]);
    expect(deliveriesOf(first)).toEqual(ids(1, 2));
    expect(again.text).toBe(first.text);
    const waited = await scenario.calls([`POST ${Q}/take`, { waitMs: 10_000 }, key('b')]);
    expect(deliveriesOf(waited)).toEqual(ids(3));
    const acked = await scenario.calls([`POST ${Q}/ack`, { deliveries: ids(1) }, key('c')]);
    expect((await scenario.calls([`POST ${Q}/ack`, { deliveries: ids(1) }, key('c')])).body).toEqual(acked.body);
    const minimal = await scenario.call(`POST ${Q}/ack`, { deliveries: ids(2) }, { prefer: 'return=minimal' });
    expect(minimal.status).toBe(204);
  });

  it('belongs to the name, not to one life of the session', async () => {
    const scenario = at('names');
    const { session, own } = await begin(scenario, 'worker');
    expect(deliveriesOf(await scenario.calls([`POST P/sessions/${session}/queue/take`, {}, own]))).toEqual(ids(1));
    await scenario.calls([`DELETE P/sessions/${session}`, undefined, own]);
    // The id is forgotten, the name isn't.
    expect((await scenario.calls([`GET P/sessions/${session}/queue`])).body).toMatchObject({ count: 0 });
    expect((await scenario.calls(['GET P/sessions/worker/queue'])).body).toMatchObject({ count: 1, held: 0 });
    const next = await begin(scenario, 'worker');
    expect(next.session).not.toBe(session);
    await scenario.calls([
      'POST P/batch',
      { session: { session: next.session, epoch: 1 }, ops: [{ op: 'ack', delivery: 'n-1' }] },
    ]);
    expect((await scenario.calls(['GET P/sessions/worker/queue'])).body).toMatchObject({ count: 0 });
  });

  it('lets who asks wait until something comes or can be taken again', async () => {
    const scenario = at('wait');
    await scenario.calls([`POST ${Q}/take`, { holdMs: 600_000 }]);
    const empty = await scenario.calls([`POST ${Q}/take`, { waitMs: 50 }]);
    expect(empty.body.entries).toEqual([]);
    const waiting = scenario.calls([`POST ${Q}/take`, { waitMs: 20_000 }]);
    await sleep(100);
    await scenario.calls([`POST ${Q}/pushBack`, { deliveries: ids(1) }]);
    expect(deliveriesOf(await waiting)).toEqual(ids(1));
    expect((await scenario.calls([`GET P/sessions/none/queue?waitMs=50`])).body.entries).toEqual([]);
  });

  it('is in the system collection `_queues`, which nobody writes', async () => {
    const scenario = at('collection');
    const { items } = (await scenario.calls(['GET P/collections/_queues/items'])).body;
    expect(items).toMatchObject([
      { attributes: { session: 's', owner: 'anonymous', entries: 1 } },
      { attributes: { delivery: 'n-1', notifier: 'n', owner: 'anonymous' } },
    ]);
    const key = encodeURIComponent(items[1].key);
    await scenario.refused(400, 'invalidName', `DELETE P/collections/_queues/items/${key}`);
    await scenario.refused(400, 'invalidName', 'PUT P/collections/_queues/items/a', { attributes: {} });
  });
});
