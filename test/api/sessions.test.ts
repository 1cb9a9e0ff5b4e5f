/** Sessions: begun, named, resumed, renewed, ended; seen by others in `_clients`; and over when nobody renews them. */
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Headers, pointersOf, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const CLIENTS = 'P/collections/_clients/items';

function named({ session, epoch }: { session: string; epoch: number }): Headers {
  return { 'stargus-session': `${session};epoch=${epoch}` };
}

/** Waits until it is so; the test's own time-out ends what never is. */
async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await sleep(50);
}

describe.each(databases)('sessions on $name', ({ name }) => {
  let server: Server;
  let scenario: Scenario;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });
  const fresh = () => {
    scenario = new Scenario(server);
    return scenario;
  };
  const begin = async (body?: object) => (await scenario.calls(['POST P/sessions', body])).body;
  const isGone = async (session: string) => (await scenario.call(`GET ${CLIENTS}/${session}`)).status === 404;

  it('begins one with a commit, and shows it to others', async () => {
    fresh();
    const answer = await scenario.call('POST P/sessions', { name: 'kiosk', ttlMs: 5000, meta: { floor: 2 } });
    expect(answer.status).toBe(201);
    const { session } = answer.body;
    expect(answer.body).toEqual({
      ...{ session: expect.stringMatching(/^[0-9a-f-]{36}$/), name: 'kiosk', epoch: 1, revision: 1 },
      ...{ expiresInMs: 5000, ttlMs: 5000, lastSequence: 0 },
    });
    expect(answer.headers).toMatchObject({
      location: scenario.path(`P/sessions/${session}`),
      'stargus-revision': '1',
      'stargus-cursor': await scenario.cursor(),
    });
    await scenario.play([
      [
        `GET ${CLIENTS}/${session}`,
        undefined,
        200,
        {
          attributes: {
            name: 'kiosk',
            epoch: 1,
            subject: 'anonymous',
            meta: { floor: 2 },
            since: expect.stringMatching(/^\d{4}-.*Z$/),
            address: '127.0.0.1',
          },
        },
      ],
      [`GET P/sessions/${session}`, undefined, 200, { name: 'kiosk', meta: { floor: 2 }, subject: 'anonymous' }],
      ['GET P/sessions/kiosk', undefined, 200, { session, epoch: 1, lastSequence: 0, ttlMs: 5000 }],
      ['GET P', undefined, 200, { collections: 0, items: 0 }],
    ]);
  });

  it('needs nothing to begin one, and calls it by its id', async () => {
    fresh();
    const { session, name: called, ttlMs, expiresInMs } = await begin();
    expect({ called, ttlMs, expiresInMs }).toEqual({ called: session, ttlMs: 30_000, expiresInMs: 30_000 });
  });

  it('refuses a name that lives, and resumes it under a higher epoch', async () => {
    fresh();
    const first = await begin({ name: 'worker', meta: 'a' });
    await scenario.refused(409, 'conflict', 'POST P/sessions', { name: 'worker' });
    const second = (await scenario.calls(['PUT P/sessions/worker', { ttlMs: 60_000 }])).body;
    expect(second).toMatchObject({ session: first.session, epoch: 2, ttlMs: 60_000, lastSequence: 0 });
    await scenario.play([
      [`GET ${CLIENTS}/${first.session}`, undefined, 200, { revision: 2, createdRevision: 1 }],
      ['POST P/sessions/worker/renew', undefined, 409, { code: 'sessionFenced', epoch: 2 }, named(first)],
      ['DELETE P/sessions/worker', undefined, 409, { code: 'sessionFenced' }, named(first)],
      ['PUT C/items/a', { attributes: {} }, 409, { code: 'sessionFenced' }, named(first)],
      ['GET C/items/a', undefined, 409, { code: 'sessionFenced' }, named(first)],
      ['POST P/sessions/worker/renew', undefined, 200, { epoch: 2, expiresInMs: 60_000 }, named(second)],
      ['PUT P/sessions/other', undefined, 201, { epoch: 1, name: 'other' }],
    ]);
    expect((await scenario.attributes('a')) === undefined).toBe(true);
  });

  it('is spoken for in reads, public ones too, and no longer once it was resumed or has ended', async () => {
    fresh();
    const first = await begin({ name: 's', ttlMs: 600_000 });
    await scenario.fill({ a: {} });
    const lines = ['GET P', 'GET C/items/a', 'POST C/query'];
    const read = async (by: object, status: number, wanted?: object) => {
      for (const line of lines)
        await scenario.play([[line, line.startsWith('POST') ? {} : undefined, status, wanted, by as Headers]]);
    };
    await read(named(first), 200);
    const second = (await scenario.calls(['PUT P/sessions/s'])).body;
    await read(named(first), 409, { code: 'sessionFenced', epoch: 2 });
    await read(named(second), 200);
    await read({ 'stargus-session': 's;epoch=2' }, 200);
    await scenario.calls(['DELETE P/sessions/s', undefined, named(second)]);
    await read(named(second), 409, { code: 'sessionFenced' });
    await read({ 'stargus-session': 's;epoch=2' }, 409, { code: 'sessionFenced' });
  });

  it('renews without a commit', async () => {
    fresh();
    const session = await begin({ name: 's' });
    await scenario.calls(
      [`POST P/sessions/${session.session}/renew`, undefined, named(session)],
      ['POST P/sessions/s/renew', undefined, { 'stargus-session': 's;epoch=1' }],
    );
    expect(await scenario.revision()).toBe(1);
  });

  it('ends with DELETE, and says so where it was over', async () => {
    fresh();
    const session = await begin({ name: 's' });
    await scenario.play([
      ['DELETE P/sessions/s', undefined, 200, { session: session.session, revision: 2, existed: true }, named(session)],
      ['DELETE P/sessions/s', undefined, 200, { revision: 2, existed: false }, named(session)],
      ['GET P/sessions/s', undefined, 404, { code: 'notFound' }],
      ['POST P/sessions/s/renew', undefined, 404, { code: 'notFound' }, named(session)],
      ['PUT C/items/a', { attributes: {} }, 409, { code: 'sessionFenced' }, named(session)],
      ['POST P/sessions', { name: 's' }, 201, { epoch: 1 }],
    ]);
    expect(await isGone(session.session)).toBe(true);
  });

  it('ends when nobody renews it, and tells why', async () => {
    fresh();
    const since = await begin({ ttlMs: 1000 });
    const watcher = await scenario.watch('P/changes/stream?collection=_clients&since=start');
    await until(() => isGone(since.session));
    const isChanges = ({ event }: { event: string }) => event === 'changes';
    const events = [await watcher.next(isChanges), await watcher.next(isChanges)];
    expect(events.map(({ data }) => data)).toMatchObject([
      { changes: [{ op: 'add', key: since.session }] },
      { subject: 'system', changes: [{ op: 'delete', key: since.session, reason: 'expired' }] },
    ]);
    watcher.close();
    await scenario.refused(409, 'sessionFenced', 'PUT C/items/a', { attributes: {} }, named(since));
  });

  it('lives while requests name it, reads and writes, also where they commit nothing', async () => {
    fresh();
    const session = await begin({ ttlMs: 1000 });
    const began = performance.now();
    for (let i = 0; performance.now() - began < 2500; i++) {
      await scenario.calls(
        i % 2 === 0
          ? ['GET C/items', undefined, named(session)]
          : ['PUT C/items/a', { attributes: { x: 1 } }, named(session)],
      );
      await sleep(200);
    }
    expect(await isGone(session.session)).toBe(false);
    expect(await scenario.revision()).toBe(2);
    await until(() => isGone(session.session));
  });

  it('is renewed by whatever names it: repetitions, refusals, the beginnings of others', async () => {
    fresh();
    const put: [string, unknown] = ['PUT C/items/a', { attributes: { x: 1 } }];
    const calls: [string, unknown, Headers, number][] = [
      [...put, { 'idempotency-key': 'k' }, 200],
      ['PUT C/items/a', '{', {}, 400],
      ['PUT C/items/a', 'x', { 'content-type': 'text/plain' }, 415],
      ['PUT C/items/a', { attributez: {} }, {}, 400],
      ['GET C/items?limit=0', undefined, {}, 400],
      ['POST P/sessions', {}, {}, 201],
      ['PUT P/sessions/other', {}, {}, 200],
      ['PUT C/items/a', { attributes: { x: 2 } }, { 'if-match': '"999"' }, 412],
    ];
    await scenario.calls(put, ['PUT P/sessions/other']);
    const sessions = await Promise.all(calls.map(() => begin({ ttlMs: 3000 })));
    for (const end = performance.now() + 6500; performance.now() < end; await sleep(200)) {
      for (const [i, [line, body, headers, status]] of calls.entries())
        expect((await scenario.call(line, body, { ...headers, ...named(sessions[i] as never) })).status, line).toBe(
          status,
        );
    }
    for (const [i, { session }] of sessions.entries()) expect(await isGone(session), calls[i]?.[0]).toBe(false);
  });

  it('knows who speaks in a repetition, and repeats an answer also to who was fenced meanwhile', async () => {
    fresh();
    const [one, two] = [await begin({ name: 'one' }), await begin({ name: 'two' })];
    const ask = (by: Headers) =>
      scenario.call('POST P/locks', { mode: 'exclusive', scopes: [{}] }, { ...by, 'idempotency-key': 'k' });
    const { body } = await ask({ 'stargus-session': 'one;epoch=1' });
    expect(body).toMatchObject({ state: 'granted', session: one.session });
    expect((await ask(named(two))).body.code).toBe('idempotencyKeyReused');
    await scenario.calls(['PUT P/sessions/one']);
    expect((await ask({ 'stargus-session': 'one;epoch=1' })).body).toEqual(body);
    expect((await ask({ 'stargus-session': 'one;epoch=2' })).body).toEqual(body);
  });

  it('heeds what is proven, and which state is asked for', async () => {
    fresh();
    const session = await begin({ name: 'n' });
    const proof = { 'stargus-lock': 'none;fence=1' };
    const late = { 'stargus-min-revision': '99' };
    await scenario.refused(412, 'lockLost', 'POST P/sessions', {}, proof);
    await scenario.refused(412, 'lockLost', 'PUT P/sessions/n', {}, proof);
    await scenario.refused(412, 'lockLost', 'DELETE P/sessions/n', undefined, { ...proof, ...named(session) });
    await Promise.all(
      ['GET P/locks', 'GET P/locks/x'].map((line) => scenario.refused(503, 'unavailable', line, undefined, late)),
    );
    expect((await scenario.call('GET P/locks')).body).toEqual({
      locks: [],
      revision: 1,
      cursor: await scenario.cursor(),
    });
    expect((await scenario.call('PUT P/locks', {})).headers['stargus-revision']).toBe('1');
    await scenario.play([['POST P/sessions/n/renew', {}, 200, {}, named(session)]]);
    await scenario.refused(400, 'badRequest', 'POST P/sessions/n/renew', { x: 1 }, named(session));
  }, 20_000);

  it('doesn’t nest its meta and memento deeper than an attribute', async () => {
    fresh();
    const session = await begin();
    const nested = (levels: number) => JSON.parse('['.repeat(levels) + ']'.repeat(levels));
    await scenario.calls(['POST P/sessions', { meta: nested(100) }]);
    await scenario.refused(400, 'badRequest', 'POST P/sessions', { meta: nested(101) });
    const memento = (levels: number) => ({
      session: { session: session.session, epoch: 1 },
      ops: [{ op: 'memento', value: nested(levels) }],
    });
    await scenario.calls(['POST P/batch', memento(100)]);
    await scenario.refused(400, 'badRequest', 'POST P/batch', memento(101));
  });

  it('is resumed by its stream from before its lease ran out', async () => {
    fresh();
    const first = await begin({ name: 'phone', ttlMs: 1000 });
    const cursor = await scenario.cursor();
    await scenario.calls(['POST P/locks', { session: 'phone', mode: 'exclusive', scopes: [{}] }]);
    await until(() => isGone(first.session));
    const second = (await scenario.calls(['PUT P/sessions/phone', { ttlMs: 60_000 }])).body;
    await scenario.calls(
      ['PUT P/sessions/phone/attachments/v', { collection: 'things' }],
      ['PUT C/items/a', { attributes: {} }],
    );
    const stream = await scenario.watch('P/sessions/phone/events', { ...named(second), 'last-event-id': cursor });
    await stream.next(({ event }) => event === 'live');
    expect(stream.events.map(({ event, data }) => [event, data.type ?? data.reason])).toEqual(
      expect.arrayContaining([['lock', 'lost']]),
    );
    expect(stream.events.find(({ event }) => event === 'snapshot')?.data.items).toMatchObject([{ key: 'a' }]);
    await scenario.calls(['PUT C/items/b', { attributes: {} }]);
    expect((await stream.next(({ event }) => event === 'changes')).data.changes).toMatchObject([
      { key: 'b', view: 'v' },
    ]);
    stream.close();
  });

  it('forgets what it remembers, when told to', async () => {
    fresh();
    const session = await begin({ name: 'n', ttlMs: 1000 });
    const ref = { session: 'n', epoch: 1, sequence: 1 };
    await scenario.calls(['POST P/batch', { session: ref, ops: [{ op: 'memento', value: 1 }] }]);
    await until(() => isGone(session.session));
    await scenario.play([
      ['DELETE P/sessions/n', undefined, 200, { existed: false }, named(session)],
      ['PUT P/sessions/n', undefined, 201, { epoch: 1, lastSequence: 0 }],
    ]);
  });

  it('is the same by its name and by its id', async () => {
    fresh();
    const session = await begin({ name: 'n' });
    const op = { op: 'put', collection: 'things', key: 'a', attributes: {} };
    await scenario.play([
      ['POST P/batch', { session: { session: 'n', epoch: 1 }, ops: [op] }, 200, {}, named(session)],
      ['POST P/batch', { session: { session: 'n', epoch: 2 }, ops: [op] }, 409, {}, named(session)],
      ['POST P/batch', { session: { session: (await begin()).session, epoch: 1 }, ops: [op] }, 400, {}, named(session)],
    ]);
  });

  it('is begun and ended with little words', async () => {
    fresh();
    const minimal = { prefer: 'return=minimal' };
    const answer = await scenario.call('POST P/sessions', { name: 'n' }, minimal);
    expect({ status: answer.status, text: answer.text }).toEqual({ status: 204, text: '' });
    expect(answer.headers.location).toContain('/sessions/');
    const attached = await scenario.call('PUT P/sessions/n/attachments/v', { collection: 'things' }, minimal);
    expect(attached.status).toBe(204);
    expect(attached.headers.location).toMatch(/attachments\/v$/);
    await scenario.refused(503, 'unavailable', 'GET P/sessions/n', undefined, { 'stargus-min-revision': '999' });
  }, 20_000);

  it('lives while a stream that names it is open', async () => {
    fresh();
    const session = await begin({ ttlMs: 1000 });
    const stream = await scenario.watch('C/attach', named(session));
    await sleep(2500);
    expect(await isGone(session.session)).toBe(false);
    stream.close();
    await until(() => isGone(session.session));
  });

  it('remembers a name whose lease ran out, and forgets it where another begins it', async () => {
    fresh();
    const first = await begin({ name: 'n', ttlMs: 1000 });
    await until(() => isGone(first.session));
    const second = (await scenario.calls(['PUT P/sessions/n'])).body;
    expect(second).toMatchObject({ session: first.session, epoch: 2, ttlMs: 1000 });
    await until(() => isGone(first.session));
    const third = (await scenario.calls(['POST P/sessions', { name: 'n' }])).body;
    expect(third).toMatchObject({ epoch: 1 });
    expect(third.session).not.toBe(first.session);
  });

  it('begins one once under an Idempotency-Key', async () => {
    fresh();
    const key = { 'idempotency-key': 'k' };
    const first = await scenario.calls(['POST P/sessions', { name: 'n' }, key]);
    const second = await scenario.calls(['POST P/sessions', { name: 'n' }, key]);
    expect(second.body).toEqual(first.body);
    expect(await scenario.revision()).toBe(1);
  });

  it('keeps them apart in different pools', async () => {
    fresh();
    const session = await begin({ name: 'n' });
    const other = new Scenario(server);
    await other.fill({ a: {} });
    await other.refused(409, 'sessionFenced', 'PUT C/items/a', { attributes: { x: 1 } }, named(session));
    await other.refused(409, 'sessionFenced', 'GET C/items/a', undefined, named(session));
  });

  it.each<[body: unknown, status: number, code: string, pointer?: string]>([
    [{ ttlMs: 999 }, 400, 'badRequest', '/ttlMs'],
    [{ ttlMs: 600_001 }, 400, 'badRequest', '/ttlMs'],
    [{ ttlMs: 1000.5 }, 400, 'badRequest', '/ttlMs'],
    [{ name: '_mine' }, 400, 'invalidName'],
    [{ name: 'a b' }, 400, 'invalidName'],
    [{ name: '' }, 400, 'invalidName'],
    [{ meta: 'x'.repeat(16_384) }, 400, 'badRequest', '/meta'],
    [{ nmae: 'x' }, 400, 'badRequest', '/nmae'],
    [[], 400, 'badRequest'],
  ])('refuses to begin %#', async (body, status, code, pointer) => {
    fresh();
    const answer = await scenario.refused(status, code, 'POST P/sessions', body);
    if (pointer) expect(pointersOf(answer)).toEqual([pointer]);
  });

  it.each(['x', ';epoch=1', 'a;epoch=', 'a;epoch=-1', 'a;epoch=1.5', 'a b;epoch=1', 'a;epoch=1;x', 'a,b;epoch=1'])(
    'refuses the header Stargus-Session: %s',
    async (header) => {
      fresh();
      await scenario.fill({ a: {} });
      const headers = { 'stargus-session': header };
      await scenario.refused(400, 'badRequest', 'GET C/items/a', undefined, headers);
      await scenario.refused(400, 'badRequest', 'PUT C/items/a', { attributes: { x: 1 } }, headers);
    },
  );

  it('needs the header to renew and to end, of the same session', async () => {
    fresh();
    const [a, b] = [await begin({ name: 'a' }), await begin({ name: 'b' })];
    await scenario.refused(400, 'badRequest', 'POST P/sessions/a/renew');
    await scenario.refused(400, 'badRequest', 'DELETE P/sessions/a');
    await scenario.refused(400, 'badRequest', 'POST P/sessions/a/renew', undefined, named(b));
    await scenario.refused(400, 'badRequest', 'DELETE P/sessions/a', undefined, named(b));
    await scenario.refused(404, 'notFound', 'POST P/sessions/c/renew', undefined, named(a));
    await scenario.refused(409, 'sessionFenced', 'POST P/sessions/a/renew', undefined, {
      'stargus-session': `${a.session};epoch=2`,
    });
  });

  it('are written by nobody but the system', async () => {
    fresh();
    const { session } = await begin();
    for (const collection of ['_clients', '_attachments', '_locks']) {
      await scenario.refused(400, 'invalidName', `PUT P/collections/${collection}/items/${session}`, {
        attributes: {},
      });
    }
  });
});
