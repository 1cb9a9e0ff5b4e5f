/** `Prefer: respond-async`: a write that is kept, answered with 202, and done later as if it had come then. */
import { beforeAll, describe, expect, it } from 'vitest';
import { startNodes, variants } from '../robustness/nodes.js';
import { ASYNC, accepted, expectAccepted, later, resultOf } from '../support/operations.js';
import { type Answer, expectProblem, type Headers, Scenario } from '../support/scenario.js';
import type { Server } from '../support/server.js';

const JSON_PATCH = { 'content-type': 'application/json-patch+json' };

describe.each(variants)('operations on $name with $nodes node(s)', ({ name, nodes }) => {
  let servers: Server[];
  beforeAll(async () => {
    servers = await startNodes(name, nodes);
  });

  /** The pool of a new scenario, by the first node and by the last. */
  const newScenario = () => {
    const scenario = new Scenario(servers[0] as Server);
    return { scenario, other: new Scenario(servers.at(-1) as Server, scenario.pool) };
  };

  const writes: [line: string, body: unknown, headers?: Headers][] = [
    ['PUT C/items/new', { attributes: { x: 1 } }],
    ['PUT C/items/a', { attributes: { x: 2 } }, { 'if-match': '"1"' }],
    ['PUT C/items/new', { attributes: { x: 1 } }, { 'if-none-match': '*' }],
    ['PUT C/items/a', { attributes: { x: 1 } }],
    ['PUT C/items/new', { attributes: { x: 1 } }, { prefer: 'return=minimal' }],
    ['PUT C/items/with%2Fslash%20and%C3%A9', { attributes: { é: 'ü' } }],
    ['POST C/items', { key: 'new', attributes: { x: 1 } }],
    ['PATCH C/items/a', { attributes: { x: 2, y: { z: [1, null] } } }],
    ['PATCH C/items/a', [{ op: 'add', path: '/attributes/y', value: 1 }], JSON_PATCH],
    ['DELETE C/items/a', undefined],
    ['DELETE C/items/none', undefined],
    ['PUT C/items/a/attributes/y', { value: null }],
    ['PUT C/items/a/attributes/y', { value: 1.5 }],
    ['DELETE C/items/a/attributes/x', undefined],
    ['POST C/items/a/increment', { attribute: 'x', by: 1 }],
    ['POST C/delete', { prefix: '' }],
    ['POST P/batch', { ops: [{ op: 'append', collection: 'things', key: 'l', attribute: 'l', value: 1 }] }],
    ['POST P/batch', { dryRun: true, ops: [{ op: 'put', collection: 'things', key: 'b', attributes: {} }] }],
    ['POST P/batch', { atomic: false, ops: [{ op: 'create', collection: 'things', key: 'a', attributes: {} }] }],
    ['PUT P/collections/rooms', { description: 'x' }],
    ['PATCH C', { description: 'x' }],
    ['DELETE C', undefined],
    ['PUT P', { description: 'x' }],
    ['PATCH P', { description: 'x' }],
    // Refused, and so told.
    ['PUT C/items/a', { attributes: { x: 2 } }, { 'if-match': '"7"' }],
    ['POST C/items', { key: 'a', attributes: {} }],
    ['POST C/items/a/increment', { attribute: 'x', by: 1, max: 1 }],
    ['POST P/batch', { ops: [{ op: 'unset', collection: 'things', key: 'a', names: ['x'], if: { revision: 9 } }] }],
    ['POST P/batch', { ops: [{ op: 'nonsense', collection: 'things', key: 'a' }] }],
    ['DELETE C?ifEmpty=true', undefined],
    ['PUT C/items/%2E%2E', { attributes: {} }],
    ['PATCH C/items/none', { attributes: { x: 1 } }, { 'if-match': '*' }],
    ['PUT C/items/a', { attributes: { x: 2 } }, { 'stargus-lock': 'none;fence=1' }],
  ];

  it.each(writes)('%s %j comes to what it comes to at once', async (line, body, headers) => {
    const { scenario, other } = newScenario();
    const live = new Scenario(servers[0] as Server);
    for (const each of [scenario, live]) await each.fill({ a: { x: 1 } });
    const first = await live.call(line, body, headers);
    const sent = await scenario.call(line, body, {
      ...headers,
      prefer: headers?.prefer ? `${headers.prefer}, respond-async` : 'respond-async',
    });
    // What breaks the schema of its route is refused at once.
    if (sent.status === 400) return expect({ ...sent.body, requestId: '' }).toEqual({ ...first.body, requestId: '' });
    expectAccepted(scenario, sent);
    const result = await resultOf(other, sent.headers.location as string);
    expect(told(result.status, result.headers, result.body ?? {}, scenario)).toEqual(
      told(first.status, first.headers, first.status === 204 ? {} : first.body, live),
    );
    // And the pool is then the same.
    expect(await itemsOf(other)).toEqual(await itemsOf(live));
  });

  it('a key that the server makes is told', async () => {
    const { scenario } = newScenario();
    const { status, headers, body } = await later(scenario, 'POST C/items', { attributes: { x: 1 } });
    expect({ status, location: headers.location }).toEqual({
      status: 201,
      location: scenario.path(`C/items/${body.key}`),
    });
    expect(await scenario.attributes(body.key)).toEqual({ x: 1 });
  });

  it('a pool comes into being and goes', async () => {
    const { scenario, other } = newScenario();
    expect((await later(scenario, 'PUT P', {})).status).toBe(201);
    const gone = await accepted(scenario, 'DELETE P');
    expect(await resultOf(other, gone)).toMatchObject({ status: 200, body: { existed: true } });
    expect(await other.revision()).toBeUndefined();
    // What came to it outlives it.
    expect(await resultOf(other, gone)).toMatchObject({ status: 200 });
  });

  it('operations of one caller are done in the order in which they were accepted, whichever node accepts them', async () => {
    const { scenario, other } = newScenario();
    await scenario.fill({ a: { list: [] } });
    const paths: string[] = [];
    for (let n = 0; n < 40; n++) {
      const ops = [{ op: 'append', collection: 'things', key: 'a', attribute: 'list', value: n }];
      paths.push(await accepted(n % 2 ? scenario : other, 'POST P/batch', { ops }));
    }
    await resultOf(scenario, paths.at(-1) as string);
    expect(await scenario.attributes('a')).toEqual({ list: Array.from({ length: 40 }, (_, n) => n) });
    expect(await scenario.revision()).toBe(41);
  });

  it('the same key twice is one operation, whichever node is asked and however far it is', async () => {
    const { scenario, other } = newScenario();
    await scenario.fill({ a: { n: 0 } });
    const add = ['POST C/items/a/increment', { attribute: 'n', by: 1 }, { 'idempotency-key': 'k', ...ASYNC }] as const;
    const first = await scenario.call(...add);
    const answers = await Promise.all(Array.from({ length: 10 }, (_, i) => (i % 2 ? scenario : other).call(...add)));
    for (const answer of answers) {
      expectAccepted(scenario, answer);
      expect(answer.headers.location).toBe(first.headers.location);
      expect(answer.headers['idempotency-replayed']).toBe('true');
    }
    const result = await resultOf(other, first.headers.location as string);
    const again = await other.call(...add);
    expect(again.body).toMatchObject({ status: 'done', result });
    expect(again.headers).not.toHaveProperty('retry-after');
    // What is sent without the wish is the same request, and is answered what that came to.
    const live = await other.call(add[0], add[1], { 'idempotency-key': 'k' });
    expect(live.headers['idempotency-replayed']).toBe('true');
    expect(live.body).toEqual(result.body);
    expect(await scenario.attributes('a')).toEqual({ n: 1 });
    const another = await scenario.call('POST C/items/a/increment', { attribute: 'n', by: 2 }, add[2]);
    expectProblem(another, 422, 'idempotencyKeyReused');
  });

  it('a key that was used at once is replayed later', async () => {
    const { scenario } = newScenario();
    const add = ['POST C/items/a/increment', { attribute: 'n', by: 1 }, { 'idempotency-key': 'k' }] as const;
    const live = await scenario.calls(add);
    const result = await later(scenario, ...add);
    expect(result).toMatchObject({ status: 200, body: live.body, headers: { 'idempotency-replayed': 'true' } });
    expect(await scenario.attributes('a')).toEqual({ n: 1 });
  });

  it('numbered batches keep their own count', async () => {
    const { scenario } = newScenario();
    const { session } = (await scenario.calls(['POST P/sessions', {}])).body;
    const batch = (sequence: number) => ({
      session: { session, epoch: 1, sequence },
      ops: [{ op: 'increment', collection: 'things', key: 'a', attribute: 'n', by: 1 }],
    });
    const results = [];
    for (const sequence of [1, 2, 2, 4, 3]) results.push(await later(scenario, 'POST P/batch', batch(sequence)));
    expect(results.map(({ status }) => status)).toEqual([200, 200, 200, 409, 200]);
    expect(results[2].body).toEqual(results[1].body);
    expect(results[3].body).toMatchObject({ code: 'sequenceGap', expected: 3 });
    expect(await scenario.attributes('a')).toEqual({ n: 3 });
  });

  it('accepting one moves nothing', async () => {
    const { scenario } = newScenario();
    await scenario.fill({ a: { x: 1 } });
    const result = await later(scenario, 'PUT C/items/a', { attributes: { x: 1 } });
    expect(result).toMatchObject({ status: 200, body: { changed: [], revision: 1 } });
    expect(await scenario.revision()).toBe(1);
  });

  it('is listed in order, page by page, and forgotten', async () => {
    const { scenario, other } = newScenario();
    const paths: string[] = [];
    for (let n = 0; n < 5; n++) paths.push(await accepted(scenario, `PUT C/items/${n}`, { attributes: { n } }));
    await resultOf(scenario, paths[4] as string);
    const listed: string[] = [];
    for (let token: string | undefined, more = true; more; more = token !== undefined) {
      const { body }: Answer = await other.calls([`GET P/operations?limit=2${token ? `&pageToken=${token}` : ''}`]);
      for (const each of body.operations) {
        expect(each).toMatchObject({ status: 'done', call: 'putItem', result: { status: 201 } });
        expect(each.result).not.toHaveProperty('body');
        listed.push(each.location);
      }
      token = body.nextPageToken;
    }
    expect(listed).toEqual(paths);
    const removed = await other.calls([`DELETE ${paths[0]}`]);
    expect(removed.body).toMatchObject({ cancelled: false, result: { status: 201, body: { key: '0' } } });
    expectProblem(await scenario.call(`GET ${paths[0]}`), 404, 'notFound');
    expectProblem(await scenario.call(`DELETE ${paths[0]}`), 404, 'notFound');
    expect((await scenario.call('GET P/operations')).body.operations).toHaveLength(4);
  });

  it('the session that it names is told, also of a refusal, and when it resumes', async () => {
    const { scenario, other } = newScenario();
    await scenario.fill({ a: { x: 1 } });
    const { session } = (await scenario.calls(['POST P/sessions', { ttlMs: 60_000 }])).body;
    const speaking = { 'stargus-session': `${session};epoch=1` };
    const stream = await other.watch(`P/sessions/${session}/events`);
    await stream.waitFor(({ event }) => event === 'live');
    const done = await accepted(scenario, 'PUT C/items/a', { attributes: { x: 2 } }, speaking);
    const first = await stream.waitFor(({ event }) => event === 'operation');
    expect(first.data).toEqual({
      ...{ operation: done.split('/').at(-1), status: 'done', location: done },
      result: { status: 200, revision: 3 },
    });
    expect(await scenario.revision()).toBe(4);
    const refused = await accepted(
      scenario,
      'PUT C/items/a',
      { attributes: { x: 3 } },
      { ...speaking, 'if-match': '"1"' },
    );
    const second = await stream.waitFor(({ event, data }) => event === 'operation' && data.location === refused);
    expect(second.data.result).toMatchObject({ status: 412, problem: { code: 'preconditionFailed' } });
    stream.close();
    // Missed, and told to who comes back.
    const missed = await accepted(scenario, 'PUT C/items/a', { attributes: { x: 4 } }, speaking);
    await resultOf(scenario, missed);
    const resumed = await scenario.watch(`P/sessions/${session}/events`, { 'last-event-id': second.id as string });
    const third = await resumed.waitFor(({ event }) => event === 'operation');
    expect(third.data).toMatchObject({ location: missed, result: { status: 200 } });
    resumed.close();
    const { body } = await scenario.call(`GET P/collections/_operations/items/${session}`);
    expect(body.attributes).toMatchObject({ location: missed });
    await scenario.calls([`DELETE P/sessions/${session}`, undefined, speaking]);
    await scenario.play([[`GET P/collections/_operations/items/${session}`, undefined, 404]]);
  });

  it('what a lock of another session covers is refused when it is done', async () => {
    const { scenario } = newScenario();
    await scenario.fill({ a: { x: 1 } });
    const { session } = (await scenario.calls(['POST P/sessions', { ttlMs: 60_000 }])).body;
    const speaking = { 'stargus-session': `${session};epoch=1` };
    const { body: lock } = await scenario.calls([
      'POST P/locks',
      { session, mode: 'exclusive', scopes: [{ collection: 'things' }] },
      speaking,
    ]);
    expect(await later(scenario, 'PUT C/items/a', { attributes: { x: 2 } })).toMatchObject({
      status: 423,
      body: { code: 'locked', retryable: true },
    });
    const held = { 'stargus-lock': `${lock.lock};fence=${lock.fence}` };
    expect(await later(scenario, 'PUT C/items/a', { attributes: { x: 2 } }, held)).toMatchObject({ status: 200 });
    expect(await later(scenario, `DELETE P/locks/${lock.lock}`, undefined, speaking)).toMatchObject({ status: 200 });
    expect(await later(scenario, 'PUT C/items/a', { attributes: { x: 3 } })).toMatchObject({ status: 200 });
  });

  it('attachments and sessions come and go later as well', async () => {
    const { scenario } = newScenario();
    await scenario.fill({ a: {} });
    const begun = await later(scenario, 'POST P/sessions', { name: 'me', ttlMs: 60_000 });
    expect(begun).toMatchObject({ status: 201, body: { name: 'me', epoch: 1 } });
    const { session } = begun.body;
    const attached = await later(scenario, 'PUT P/sessions/me/attachments/v', { collection: 'things' });
    expect(attached).toMatchObject({
      status: 201,
      headers: { location: scenario.path(`P/sessions/${session}/attachments/v`) },
    });
    expect(await later(scenario, 'DELETE P/sessions/me/attachments/v')).toMatchObject({ status: 200 });
    const resumed = await later(scenario, 'PUT P/sessions/me', {});
    expect(resumed).toMatchObject({ status: 200, body: { session, epoch: 2 } });
    const speaking = { 'stargus-session': `${session};epoch=2` };
    expect(await later(scenario, 'DELETE P/sessions/me', undefined, speaking)).toMatchObject({
      body: { existed: true },
    });
  });

  const synchronous: [line: string, body: unknown, status: number, headers?: Headers][] = [
    ['POST P/locks', { session: 'me', mode: 'shared', scopes: [{}] }, 201],
    ['POST P/sessions/me/renew', undefined, 200, { 'stargus-session': 'me;epoch=1' }],
    [
      'POST P/import',
      '{"collection":"things","key":"a","attributes":{}}\n',
      200,
      { 'content-type': 'application/x-ndjson' },
    ],
    ['POST C/query', {}, 200],
    ['GET C/items/a', undefined, 200],
    ['POST P/policy/check', { checks: [{ action: 'read', collection: 'things' }] }, 200],
    ['DELETE P/operations/none', undefined, 404],
  ];

  it.each(synchronous)('%s is answered at once, whatever is preferred', async (line, body, status, headers) => {
    const { scenario } = newScenario();
    await scenario.fill({ a: {} });
    await scenario.calls(['POST P/sessions', { name: 'me' }]);
    const answer = await scenario.call(line, body, { ...headers, ...ASYNC });
    expect(answer.status, answer.text).toBe(status);
    expect(answer.headers).not.toHaveProperty('preference-applied');
    expect((await scenario.call('GET P/operations')).body.operations).toEqual([]);
  });

  it.each([
    'respond-async',
    'Respond-Async',
    'return=minimal, respond-async',
    'wait=10,respond-async;x=1',
    'respond-async ,a',
  ])('Prefer: %s is the wish', async (prefer) => {
    const { scenario } = newScenario();
    expect((await scenario.call('PUT C/items/a', { attributes: {} }, { prefer })).status).toBe(202);
  });

  it.each(['', 'respond-asynchronously', 'x-respond-async', 'wait=10', 'respond_async'])(
    'Prefer: %s is not',
    async (prefer) => {
      const { scenario } = newScenario();
      expect((await scenario.call('PUT C/items/a', { attributes: {} }, { prefer })).status).toBe(201);
    },
  );

  const bad: [says: string, status: number, code: string, line: string, body?: unknown, headers?: Headers][] = [
    ['an unknown member', 400, 'badRequest', 'PUT C/items/a', { attributes: {}, x: 1 }],
    ['no body', 400, 'badRequest', 'PUT C/items/a'],
    ['text that is not JSON', 400, 'badRequest', 'PUT C/items/a', '{'],
    ['an unknown parameter', 400, 'badRequest', 'PUT C/items/a?x=1', { attributes: {} }],
    ['another media type', 415, 'unsupportedMediaType', 'PUT C/items/a', 'x', { 'content-type': 'text/plain' }],
    ['too large a body', 413, 'tooLarge', 'PUT C/items/a', { attributes: { x: 'x'.repeat(2 * 1024 * 1024) } }],
    ['a pool of no such name', 400, 'invalidName', 'PUT /v1/pools/a%20b/collections/c/items/a', { attributes: {} }],
    ['a pool of the system', 400, 'invalidName', 'PUT /v1/pools/_a/collections/c/items/a', { attributes: {} }],
    ['a malformed session', 400, 'badRequest', 'PUT C/items/a', { attributes: {} }, { 'stargus-session': 'x' }],
    [
      'a session that is not there',
      409,
      'sessionFenced',
      'PUT C/items/a',
      { attributes: {} },
      { 'stargus-session': 'x;epoch=1' },
    ],
    ['a malformed lock', 400, 'badRequest', 'PUT C/items/a', { attributes: {} }, { 'stargus-lock': 'x' }],
    ['a malformed key', 400, 'badRequest', 'PUT C/items/a', { attributes: {} }, { 'idempotency-key': 'x'.repeat(256) }],
    ['too long a wait', 400, 'badRequest', 'GET P/operations/x?waitMs=60001'],
    ['an operation that is not there', 404, 'notFound', 'GET P/operations/x'],
    ['an operation that is not there, waited for', 404, 'notFound', 'GET P/operations/x?waitMs=1000'],
    ['too large a page', 400, 'badRequest', 'GET P/operations?limit=1001'],
    ['a page token of elsewhere', 400, 'invalidCursor', 'GET P/operations?pageToken=x'],
    ['a method that it has not', 405, 'methodNotAllowed', 'PUT P/operations/x', {}],
  ];

  it.each(bad)('%s is refused at once', async (_says, status, code, line, body, headers) => {
    const { scenario } = newScenario();
    await scenario.fill({ a: {} });
    await scenario.refused(status, code, line, body, { ...headers, ...ASYNC });
    expect((await scenario.call('GET P/operations')).body.operations).toEqual([]);
  });
});

/** What of an answer is the same wherever it is told. */
function told(status: number, headers: Headers, body: Record<string, unknown>, { pool, server }: Scenario): object {
  const text = (value: unknown) =>
    JSON.stringify(value ?? null)
      .replaceAll(pool, 'P')
      .replaceAll(server.url, 'S');
  const own = { ...body, requestId: '', epoch: '', cursor: '' };
  const names = ['etag', 'location', 'stargus-revision', 'preference-applied'];
  // A request that is refused before a state is read tells of its pool what its node happens to know.
  const shown = names.map((name) => (status === 400 && name === 'stargus-revision' ? undefined : headers[name]));
  return { status, headers: text(shown), body: JSON.parse(text(own)) };
}

async function itemsOf(scenario: Scenario): Promise<unknown> {
  const { status, body } = await scenario.call('GET C/items');
  return status === 404 ? undefined : body.items;
}
