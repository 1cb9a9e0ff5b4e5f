/** Notifiers: what is told to webhooks, in what order, under what signatures; how they are written, and every wrong one. */
import { createPublicKey, verify } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { beforeAll, describe, expect, it } from 'vitest';
import { limits } from '../../src/engine/limits.js';
import { type Received, Receiver, until } from '../support/receiver.js';
import { pointersOf, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const N = 'P/notifiers/n';
const EVENTS = ['add', 'change', 'delete'];
const SOON = { delaysMs: [100, 100, 100] };

/** A notifier of the collection `things` at a receiver. */
const to = (receiver: Receiver, members: object = {}) => ({
  events: EVENTS,
  collection: 'things',
  target: { webhook: { url: receiver.url } },
  ...members,
});

/** Whether the signature by the public key is among those of the event. */
function isSignedBy(publicKey: string, { headers, body }: Received): boolean {
  const raw = Buffer.from(publicKey.replace(/^whpk_/, ''), 'base64');
  const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), raw]);
  const key = createPublicKey({ key: der, type: 'spki', format: 'der' });
  const content = Buffer.from(`${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`);
  const signatures = (headers['webhook-signature'] as string).split(' ').filter((each) => each.startsWith('v1a,'));
  return signatures.some((signature) => verify(null, content, key, Buffer.from(signature.slice(4), 'base64')));
}

describe.each(databases)('notifiers on $name', ({ name: database }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database });
  });
  const setUp = async () => ({ scenario: new Scenario(server), receiver: await Receiver.open() });
  const factsOf = async (scenario: Scenario, name = 'n') => (await scenario.calls([`GET P/notifiers/${name}`])).body;

  it('tells every commit in order, each as one signed CloudEvent', async () => {
    const { scenario, receiver } = await setUp();
    await scenario.fill({ before: { a: 1 } });
    const made = await scenario.call(`PUT ${N}`, to(receiver));
    expect(made.status, made.text).toBe(201);
    expect(made.headers.location).toBe(scenario.path(N));
    expect(made.body).toMatchObject({
      ...{ notifier: 'n', events: EVENTS, collection: 'things', values: 'changed', owner: 'anonymous' },
      ...{ status: 'active', lag: 0, failures: 0, parked: 0, revision: 2, createdRevision: 2 },
      ...{ secret: expect.stringMatching(/^whsec_/), publicKey: expect.stringMatching(/^whpk_/) },
    });
    await scenario.fill({ a: { n: 1 } });
    await scenario.calls(
      ['PATCH C/items/a', { attributes: { n: 2 } }],
      ['PUT P/collections/others/items/x', { attributes: { n: 1 } }],
      ['POST P/batch', { ops: ['b', 'c'].map((key) => ({ op: 'put', collection: 'things', key, attributes: {} })) }],
      ['DELETE C/items/a'],
    );
    const received = await receiver.waitFor(4, true);
    expect(receiver.told).toEqual(['add a', 'change a', 'add b', 'add c', 'delete a']);
    const { epoch } = (await scenario.calls(['GET P'])).body;
    expect(received[1]?.event).toEqual({
      specversion: '1.0',
      id: 'n-4',
      source: `${server.url}${scenario.path('P')}`,
      type: 'stargus.change',
      time: expect.stringMatching(/^\d{4}-.*Z$/),
      datacontenttype: 'application/json',
      data: {
        ...{ revision: 4, cursor: `${epoch}-4`, time: received[1]?.event.time, subject: 'anonymous' },
        changes: [{ op: 'change', collection: 'things', key: 'a', changed: ['n'], removed: [], attributes: { n: 2 } }],
      },
    });
    const webhook = new Webhook(made.body.secret);
    for (const each of received) {
      expect(each.headers).toMatchObject({
        'content-type': 'application/cloudevents+json',
        'webhook-id': each.event.id,
        'user-agent': 'stargus',
      });
      expect(webhook.verify(each.body, each.headers)).toEqual(each.event);
      expect(isSignedBy(made.body.publicKey, each)).toBe(true);
      expect(() => webhook.verify(`${each.body} `, each.headers)).toThrow();
    }
    await until(async () => (await factsOf(scenario)).lag === 0, 'no lag');
    const facts = await factsOf(scenario);
    expect(facts.secret).toBeUndefined();
    expect(facts.cursor).toBe(await scenario.cursor());
    const { deliveries } = (await scenario.calls([`GET ${N}/deliveries`])).body;
    expect(deliveries.map(({ event, status }: { event: string; status: string }) => `${event} ${status}`)).toEqual([
      ...['n-7 delivered', 'n-6 delivered', 'n-4 delivered', 'n-3 delivered'],
    ]);
  });

  it('tells what a filter, events and values leave', async () => {
    const { scenario, receiver } = await setUp();
    await scenario.fill({ a: { status: 'open', n: 1 }, b: { status: 'open', n: 1 } });
    await scenario.calls([`PUT ${N}`, to(receiver, { where: { status: 'open' }, values: 'full', prefix: 'a' })]);
    const others = await Receiver.open();
    await scenario.calls(['PUT P/notifiers/others', to(others, { events: ['delete'], values: 'none' })]);
    await scenario.calls(
      ['PATCH C/items/a', { attributes: { n: 2 } }],
      ['PATCH C/items/a', { attributes: { status: 'done' } }],
      ['PATCH C/items/a', { attributes: { n: 3 } }],
      ['PATCH C/items/a', { attributes: { status: 'open' } }],
      ['DELETE C/items/b'],
      ['DELETE C/items/a'],
    );
    await receiver.waitFor(4, true);
    expect(receiver.received.map(({ event }) => event.data.changes[0])).toMatchObject([
      { op: 'change', attributes: { status: 'open', n: 2 }, previous: { n: 1 } },
      { op: 'delete', reason: 'left' },
      { op: 'add', reason: 'entered', attributes: { status: 'open', n: 3 } },
      { op: 'delete' },
    ]);
    await others.waitFor(2, true);
    expect(others.received.map(({ event }) => event.data.changes[0])).toEqual([
      { op: 'delete', collection: 'things', key: 'b', changed: ['status', 'n'], removed: ['status', 'n'] },
      { op: 'delete', collection: 'things', key: 'a', changed: expect.any(Array), removed: expect.any(Array) },
    ]);
  });

  it('begins where it is told to', async () => {
    const { scenario, receiver } = await setUp();
    await scenario.fill({ a: {}, b: {}, c: {} });
    const epoch = (await scenario.cursor()).split('-')[0];
    await scenario.calls(['PUT P/notifiers/all', to(receiver, { since: 'start' })]);
    await receiver.waitFor(3, true);
    expect(receiver.ids).toEqual(['all-1', 'all-2', 'all-3']);
    const made = (await scenario.calls([`PUT ${N}`, to(receiver, { since: `${epoch}-2` })])).body;
    expect(made.since).toBeUndefined();
    await receiver.waitFor(4, true);
    expect(receiver.ids[3]).toBe('n-3');
    // Said once more, it neither skips nor repeats anything.
    const again = await scenario.call(`PUT ${N}`, to(receiver, { since: 'start' }));
    expect(again.status).toBe(200);
    expect(again.body).toMatchObject({ revision: made.revision });
    expect(again.body.secret).toBeUndefined();
    await receiver.waitFor(4, true);
    await scenario.calls([`POST ${N}/resume`, { since: `${epoch}-1` }]);
    await receiver.waitFor(6, true);
    expect(receiver.ids.slice(4)).toEqual(['n-2', 'n-3']);
    await scenario.refused(410, 'cursorExpired', 'PUT P/notifiers/x', to(receiver, { since: `${epoch}-999` }));
    await scenario.refused(410, 'cursorExpired', 'PUT P/notifiers/x', to(receiver, { since: 'abc-1' }));
    await scenario.refused(400, 'invalidCursor', 'PUT P/notifiers/x', to(receiver, { since: 'yesterday' }));
    await scenario.refused(410, 'cursorExpired', `POST ${N}/resume`, { since: 'abc-1' });
  });

  it('goes on under another definition, with the secret and the cursor that it has', async () => {
    const { scenario, receiver } = await setUp();
    receiver.answer = 500;
    const other = await Receiver.open();
    const { secret } = (await scenario.calls([`PUT ${N}`, to(receiver)])).body;
    await scenario.fill({ a: { n: 1 } });
    await until(async () => (await factsOf(scenario)).status === 'retrying', 'a failed attempt');
    expect(await factsOf(scenario)).toMatchObject({ failures: 1, lag: 1, nextAttemptInMs: expect.any(Number) });
    await scenario.fill({ b: { n: 1 } });
    const changed = await scenario.call(`PUT ${N}`, to(other, { values: 'none' }));
    expect(changed.status).toBe(200);
    await other.waitFor(2, true);
    expect(other.told).toEqual(['add a', 'add b']);
    expect(other.received[0]?.event.data.changes[0].attributes).toBeUndefined();
    expect(
      new Webhook(secret).verify(other.received[0]?.body as string, other.received[0]?.headers as never),
    ).toBeTruthy();
    expect(receiver.received).toHaveLength(1);
  });

  it('is an item like any other, which the system completes', async () => {
    const { scenario, receiver } = await setUp();
    const item = 'P/collections/_notifiers/items/n';
    const attributes = { ...to(receiver), owner: 'somebody else' };
    await scenario.play([
      [`PUT ${item}`, { attributes }, 201, { attributes: { ...to(receiver), values: 'changed', owner: 'anonymous' } }],
      [`PUT ${item}`, { attributes }, 200, { changed: [] }],
      [`PATCH ${item}`, { attributes: { values: 'none' } }, 200, { changed: ['values'] }],
      [`PATCH ${item}`, { attributes: { target: { webhook: { url: 'ftp://x' } } } }, 422, { code: 'invalid' }],
      [`GET ${N}`, undefined, 200, { values: 'none', status: 'active', publicKey: expect.any(String) }],
      ['GET P/notifiers', undefined, 200, { notifiers: [{ notifier: 'n', values: 'none', status: 'active' }] }],
    ]);
    await scenario.fill({ a: { n: 1 } });
    await receiver.waitFor(1, true);
    await scenario.play([
      [`DELETE ${item}`, undefined, 200, { existed: true }],
      [`GET ${N}`, undefined, 404],
      [`DELETE ${N}`, undefined, 200, { existed: false }],
      [`POST ${N}/test`, {}, 404],
    ]);
    await scenario.fill({ b: { n: 1 } });
    await receiver.waitFor(1, true);
    // Made anew it is another one, and begins now.
    await scenario.calls([`PUT ${N}`, to(receiver)]);
    await scenario.fill({ c: { n: 1 } });
    await receiver.waitFor(2, true);
    expect(receiver.told).toEqual(['add a', 'add c']);
    expect((await scenario.calls([`GET ${N}/deliveries`])).body.deliveries).toHaveLength(1);
  });

  it('tells of attachments and locks', async () => {
    const { scenario, receiver } = await setUp();
    await scenario.calls([`PUT ${N}`, to(receiver, { events: ['attach', 'detach', 'lock'] })]);
    const { session, epoch } = (await scenario.calls(['POST P/sessions', { ttlMs: 60_000 }])).body;
    const headers = { 'stargus-session': `${session};epoch=${epoch}` };
    await scenario.calls(
      [`PUT P/sessions/${session}/attachments/others`, { collection: 'others' }],
      [`PUT P/sessions/${session}/attachments/v`, { collection: 'things' }],
      ['POST P/locks', { session, mode: 'exclusive', scopes: [{ collection: 'others' }] }],
      ['POST P/locks', { session, mode: 'exclusive', scopes: [{ collection: 'things', key: 'a' }] }],
      [`DELETE P/sessions/${session}`, undefined, headers],
    );
    await receiver.waitFor(3, true);
    // What ends together is one event.
    expect(receiver.received.map(({ event }) => event.type)).toEqual([
      'stargus.attach',
      'stargus.lock',
      'stargus.lock',
    ]);
    expect(receiver.received[2]?.event.data.changes).toMatchObject([
      { op: 'delete', collection: '_attachments', key: `${session}/v` },
      { op: 'delete', collection: '_locks' },
    ]);
  });

  it('does not feed itself: a notifier of notifiers hears of what is written, not of what is delivered', async () => {
    const { scenario, receiver } = await setUp();
    await scenario.calls([`PUT ${N}`, to(receiver, { collection: '_notifiers', since: 'start' })]);
    await scenario.calls(['PUT P/notifiers/m', to(receiver, { collection: 'other' })]);
    await receiver.waitFor(2, true);
    expect(receiver.ids).toEqual(['n-1', 'n-2']);
    expect(await scenario.revision()).toBe(2);
    const log = await Receiver.open();
    await scenario.calls(['PUT P/notifiers/log', to(log, { collection: '_changes', values: 'none' })]);
    await scenario.fill({ a: {} });
    await log.waitFor(1, true);
  });

  it('tells a commit that is too large for an event without values, and says so', async () => {
    const { scenario, receiver } = await setUp();
    await scenario.calls([`PUT ${N}`, to(receiver)]);
    const text = 'x'.repeat(600_000);
    const puts = ['a', 'b'].map((key) => ({ op: 'put', collection: 'things', key, attributes: { text } }));
    await scenario.calls(['POST P/batch', { ops: puts }]);
    await receiver.waitFor(1, true);
    const { data } = receiver.received[0]?.event ?? {};
    expect(data).toMatchObject({ truncated: true, rest: expect.any(String) });
    expect(data.changes).toEqual(
      ['a', 'b'].map((key) => ({ op: 'add', collection: 'things', key, changed: ['text'], removed: [] })),
    );
    const { commits } = (await scenario.calls([`GET ${data.rest.replace(server.url, '')}`])).body;
    expect(commits).toMatchObject([{ revision: data.revision, changes: [{ attributes: { text } }, {}] }]);
  });

  it('sends a test event, and tells what came back', async () => {
    const { scenario, receiver } = await setUp();
    const { secret } = (await scenario.calls([`PUT ${N}`, to(receiver)])).body;
    await scenario.play([[`POST ${N}/test`, {}, 200, { ok: true, status: 204 }]]);
    expect(receiver.received[0]?.event).toMatchObject({ type: 'stargus.test', data: { notifier: 'n' } });
    new Webhook(secret).verify(receiver.received[0]?.body as string, receiver.received[0]?.headers as never);
    receiver.answer = 500;
    await scenario.play([[`POST ${N}/test`, undefined, 200, { ok: false, status: 500, error: 'answered 500.' }]]);
    receiver.answer = (_request, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end();
    await scenario.play([
      [`POST ${N}/test`, {}, 200, { ok: false, error: 'answered 302: a redirect is not followed.' }],
    ]);
    receiver.server.close();
    receiver.server.closeAllConnections();
    await scenario.play([[`POST ${N}/test`, {}, 200, { ok: false, error: 'refuses connections.' }]]);
    expect(await factsOf(scenario)).toMatchObject({ status: 'active', failures: 0 });
  });

  it('signs with both secrets for a while after a rotation', async () => {
    const { scenario, receiver } = await setUp();
    const first = (await scenario.calls([`PUT ${N}`, to(receiver)])).body;
    const second = (await scenario.calls([`POST ${N}/rotateSecret`, { overlapMs: 60_000 }])).body;
    expect(await factsOf(scenario)).toMatchObject({ publicKey: second.publicKey, formerPublicKey: first.publicKey });
    const verifies = (secret: string, { body, headers }: Received) => {
      try {
        return new Webhook(secret).verify(body, headers as never) !== undefined;
      } catch {
        return false;
      }
    };
    await scenario.fill({ a: {} });
    const [both] = await receiver.waitFor(1);
    for (const { secret, publicKey } of [first, second]) {
      expect(verifies(secret, both as Received)).toBe(true);
      expect(isSignedBy(publicKey, both as Received)).toBe(true);
    }
    const own = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
    const third = (await scenario.calls([`POST ${N}/rotateSecret`, { secret: own, overlapMs: 0 }])).body;
    expect(third.secret).toBe(own);
    await scenario.fill({ b: {} });
    const last = (await receiver.waitFor(2))[1] as Received;
    expect([first.secret, second.secret, own].map((secret) => verifies(secret, last))).toEqual([false, false, true]);
    expect([second, third].map(({ publicKey }) => isSignedBy(publicKey, last))).toEqual([false, true]);
    const wrong: [string, object, string][] = [
      ['in use', { secret: own }, 'invalid'],
      ['too short', { secret: `whsec_${Buffer.alloc(23).toString('base64')}` }, 'invalid'],
      ['too long', { secret: `whsec_${Buffer.alloc(65).toString('base64')}` }, 'invalid'],
      ['no secret', { secret: 'hush' }, 'invalid'],
      ['without its prefix', { secret: own.slice(6) }, 'invalid'],
      ['for too long', { overlapMs: limits.secretOverlapMsMax + 1 }, 'badRequest'],
    ];
    for (const [says, body, code] of wrong)
      expect([says, (await scenario.call(`POST ${N}/rotateSecret`, body)).body.code]).toEqual([says, code]);
  });

  it('tells again, parks after the last attempt, goes on, and redelivers', async () => {
    const { scenario, receiver } = await setUp();
    receiver.answers.push(500, 503, 400, 404, 204);
    await scenario.calls([`PUT ${N}`, to(receiver, { retry: SOON })]);
    await scenario.fill({ a: { n: 1 } });
    await receiver.waitFor(4);
    await scenario.fill({ b: { n: 1 } });
    await receiver.waitFor(5, true);
    const ids = receiver.ids;
    expect(ids).toEqual([...Array(4).fill(ids[0]), ids[4]]);
    expect(new Set(receiver.received.slice(0, 4).map(({ body }) => body)).size).toBe(1);
    await until(async () => (await factsOf(scenario)).lag === 0, 'no lag');
    expect(await factsOf(scenario)).toMatchObject({ status: 'active', failures: 0, parked: 1 });
    const { deliveries } = (await scenario.calls([`GET ${N}/deliveries`])).body;
    expect(deliveries).toMatchObject([
      { delivery: '2', event: ids[4], status: 'delivered', attempts: 1, lastStatus: 204 },
      { delivery: '1', event: ids[0], status: 'parked', attempts: 4, lastStatus: 404, lastError: 'answered 404.' },
    ]);
    receiver.answers.push(500);
    await scenario.play([
      [`POST ${N}/deliveries/1/redeliver`, {}, 200, { status: 'parked', attempts: 5, lastStatus: 500 }],
      [`POST ${N}/deliveries/1/redeliver`, {}, 200, { status: 'delivered', attempts: 6, lastStatus: 204 }],
      [`POST ${N}/deliveries/1/redeliver`, {}, 409],
      [`POST ${N}/deliveries/2/redeliver`, {}, 409],
      [`POST ${N}/deliveries/3/redeliver`, {}, 404],
      [`POST ${N}/deliveries/x/redeliver`, {}, 404],
    ]);
    expect(receiver.received.at(-1)?.body).toBe(receiver.received[0]?.body);
    expect((await factsOf(scenario)).parked).toBe(0);
    const metrics = (await scenario.call('GET /metrics')).text;
    expect(metrics).toMatch(/^stargus_notifier_deliveries_total\{outcome="parked"\} \d/m);
    expect(metrics).toMatch(/^stargus_notifier_parked_total \d/m);
    expect(metrics).toMatch(/^stargus_notifier_lag_commits \d/m);
  });

  it('waits as long as a receiver asks, and is woken by nothing but its time or resume', async () => {
    const { scenario, receiver } = await setUp();
    receiver.answers.push((_request, response) => response.writeHead(429, { 'retry-after': '3600' }).end());
    await scenario.calls([`PUT ${N}`, to(receiver, { retry: SOON })]);
    await scenario.fill({ a: {} });
    await until(async () => (await factsOf(scenario)).status === 'retrying', 'a wait');
    expect((await factsOf(scenario)).nextAttemptInMs).toBeGreaterThan(3_500_000);
    await scenario.fill({ b: {} });
    await receiver.waitFor(1, true);
    await scenario.play([[`POST ${N}/resume`, {}, 200, { status: 'active', failures: 0 }]]);
    await receiver.waitFor(3, true);
    expect(receiver.told).toEqual(['add a', 'add a', 'add b']);
  });

  it('is disabled by 410 until it is resumed', async () => {
    const { scenario, receiver } = await setUp();
    receiver.answers.push(410);
    await scenario.calls([`PUT ${N}`, to(receiver)]);
    await scenario.fill({ a: {} });
    await until(async () => (await factsOf(scenario)).status === 'disabled', 'the end');
    expect((await factsOf(scenario)).reason).toMatch(/410/);
    await scenario.fill({ b: {} });
    await receiver.waitFor(1, true);
    await scenario.calls([`POST ${N}/resume`]);
    await receiver.waitFor(3, true);
    expect(receiver.told).toEqual(['add a', 'add a', 'add b']);
    receiver.answers.push(410);
    await scenario.fill({ c: {} });
    await until(async () => (await factsOf(scenario)).status === 'disabled', 'the end');
    await scenario.calls([`POST ${N}/resume`, { since: 'now' }]);
    await scenario.fill({ d: {} });
    await receiver.waitFor(5, true);
    expect(receiver.told.slice(3)).toEqual(['add c', 'add d']);
  });

  it('takes what a receiver took that then dies, and goes on with one that closes its connections', async () => {
    const { scenario, receiver } = await setUp();
    receiver.answers.push(
      (_request, response) => {
        response.writeHead(200, { 'content-length': '100' }).write('x', () => response.socket?.resetAndDestroy());
      },
      (_request, response) => {
        response.end('done');
        setTimeout(() => response.socket?.destroy(), 5);
      },
      // A body that comes for ever is left, for the event is taken.
      (_request, response) => {
        response.writeHead(200);
        const timer = setInterval(() => response.write('x'), 100);
        response.on('close', () => clearInterval(timer));
      },
    );
    await scenario.calls([`PUT ${N}`, to(receiver, { retry: { delaysMs: [] } })]);
    for (const key of ['a', 'b', 'c', 'd', 'e']) await scenario.fill({ [key]: {} });
    await receiver.waitFor(5, true);
    expect(receiver.told).toEqual(['a', 'b', 'c', 'd', 'e'].map((key) => `add ${key}`));
    expect((await factsOf(scenario)).parked).toBe(0);
  });

  const url = (text: string) => ({ target: { webhook: { url: text } } });
  it.each<[says: string, members: object, status: number, pointer: string | undefined]>([
    ['no events', { events: [] }, 422, '/events'],
    ['an unknown event', { events: ['add', 'open'] }, 422, '/events/1'],
    ['an event twice', { events: ['add', 'add'] }, 422, '/events/1'],
    ['of the registry', { events: ['register'] }, 422, '/events/0'],
    ['an unknown member', { colour: 'red' }, 400, '/colour'],
    ['an owner', { owner: 'me' }, 400, '/owner'],
    ['a wrong filter', { where: { a: { near: 1 } } }, 400, '/where/a/near'],
    ['a filter without items', { events: ['lock'], where: { a: 1 } }, 422, '/where'],
    ['wrong values', { values: 'some' }, 400, '/values'],
    ['a wrong collection', { collection: 'a b' }, 400, undefined],
    ['a long prefix', { prefix: 'x'.repeat(256) }, 422, '/prefix'],
    ['no target', { target: {} }, 422, '/target'],
    ['two targets', { target: { webhook: { url: 'http://a.example' }, session: 's' } }, 422, '/target'],
    ['an unknown target', { target: { mail: 'x' } }, 422, '/target/mail'],
    ['a log', { target: { log: 'l' } }, 422, '/target/log'],
    [
      'more of a webhook',
      { target: { webhook: { url: 'http://a.example', method: 'GET' } } },
      422,
      '/target/webhook/method',
    ],
    ['no URL', { target: { webhook: {} } }, 422, '/target/webhook'],
    ['a path', url('/hook'), 422, '/target/webhook/url'],
    ['another scheme', url('ftp://a.example/'), 422, '/target/webhook/url'],
    ['a file', url('file:///etc/passwd'), 422, '/target/webhook/url'],
    ['a script', url('javascript:alert(1)'), 422, '/target/webhook/url'],
    ['a user', url('https://user@a.example/'), 422, '/target/webhook/url'],
    ['a password', url('https://user:pass@a.example/'), 422, '/target/webhook/url'],
    ['a fragment', url('https://a.example/#x'), 422, '/target/webhook/url'],
    ['blanks', url(' https://a.example/'), 422, '/target/webhook/url'],
    ['a line', url('https://a.example/\r\nx: y'), 422, '/target/webhook/url'],
    ['no host', url('https://'), 422, '/target/webhook/url'],
    ['the port 0', url('http://127.0.0.1:0/'), 422, '/target/webhook/url'],
    ['too long a URL', url(`https://a.example/${'x'.repeat(2048)}`), 422, '/target/webhook/url'],
    ['short waits', { retry: { delaysMs: [10] } }, 422, '/retry/delaysMs/0'],
    ['long waits', { retry: { delaysMs: [limits.notifierDelayMsMax + 1] } }, 422, '/retry/delaysMs/0'],
    ['many waits', { retry: { delaysMs: Array(21).fill(100) } }, 422, '/retry/delaysMs'],
    ['waits for ever', { retry: { delaysMs: Array(8).fill(limits.notifierDelayMsMax) } }, 422, '/retry/delaysMs'],
    ['more of retrying', { retry: { delaysMs: [], max: 1 } }, 422, '/retry'],
  ])('refuses a notifier with %s', async (_says, members, status, pointer) => {
    const scenario = new Scenario(server);
    await scenario.calls(['PUT P', {}]);
    const definition = { events: ['add'], target: { webhook: { url: 'http://127.0.0.1:9/' } }, ...members };
    const answer = await scenario.call(`PUT ${N}`, definition);
    expect(answer.status, answer.text).toBe(status);
    if (pointer) expect(pointersOf(answer)).toContain(pointer);
    expect(await scenario.revision()).toBe(0);
  });

  it('has so many in a pool and no more', async () => {
    const { scenario, receiver } = await setUp();
    const ops = (from: number, count: number) =>
      Array.from({ length: count }, (_, i) => ({
        ...{ op: 'put', collection: '_notifiers', key: `n${from + i}` },
        attributes: to(receiver),
      }));
    await scenario.calls(['POST P/batch', { ops: ops(0, limits.notifiersPerPoolMax) }]);
    await scenario.refused(422, 'invalid', 'PUT P/notifiers/more', to(receiver));
    await scenario.refused(422, 'invalid', 'POST P/batch', { ops: ops(1000, 1) });
    await scenario.calls(['DELETE P/notifiers/n0'], ['PUT P/notifiers/more', to(receiver)]);
    expect((await scenario.calls(['GET P/notifiers'])).body.notifiers).toHaveLength(limits.notifiersPerPoolMax);
    await scenario.refused(400, 'invalidName', 'PUT P/notifiers/_x', to(receiver));
    await scenario.refused(400, 'invalidName', 'PUT P/collections/_notifiers/items/a%20b', {
      attributes: to(receiver),
    });
  });

  it('pages its deliveries, and lets go of those that were taken long ago', async () => {
    const { scenario, receiver } = await setUp();
    await scenario.calls([`PUT ${N}`, to(receiver)]);
    const count = limits.deliveriesKept + 20;
    for (let i = 0; i < count; i++) await scenario.fill({ [`k${i}`]: {} });
    await receiver.waitFor(count);
    await until(async () => (await factsOf(scenario)).lag === 0, 'no lag');
    const events: string[] = [];
    let token = '';
    do {
      const { body } = await scenario.calls([`GET ${N}/deliveries?limit=30${token && `&pageToken=${token}`}`]);
      events.push(...body.deliveries.map(({ event }: { event: string }) => event));
      token = body.nextPageToken ?? '';
    } while (token);
    expect(events).toEqual([...receiver.ids].reverse().slice(0, limits.deliveriesKept));
    await scenario.refused(400, 'invalidCursor', `GET ${N}/deliveries?pageToken=x`);
  });

  it('repeats the answer of a write without its secret', async () => {
    const { scenario, receiver } = await setUp();
    const headers = { 'idempotency-key': 'k1' };
    const first = await scenario.call(`PUT ${N}`, to(receiver), headers);
    const second = await scenario.call(`PUT ${N}`, to(receiver), headers);
    expect([first.status, second.status]).toEqual([201, 201]);
    expect(second.headers['idempotency-replayed']).toBe('true');
    expect(first.body.secret).toBeDefined();
    expect(second.body.secret).toBeUndefined();
  });
});
