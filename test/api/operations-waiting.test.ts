/** What becomes of an operation that waits: what happens meanwhile counts, for it is judged when it is done. */
import { beforeAll, describe, expect, it } from 'vitest';
import { AccountTable, startLoginServer } from '../support/logins.js';
import { ASYNC, accepted, hold, resultOf } from '../support/operations.js';
import { expectProblem, Scenario } from '../support/scenario.js';
import { databases, type Server } from '../support/server.js';

describe.each(databases)('an operation that waits on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startLoginServer(new AccountTable(), name, {
      env: { STARGUS_AUTH: 'open', STARGUS_OPERATOR_KEY: '' },
    });
  });

  /** A pool whose operations wait until `release`. */
  async function held() {
    const scenario = new Scenario(server);
    return { scenario, release: await hold(scenario) };
  }

  it('one that waits is cancelled and never done, and its key is free again', async () => {
    const { scenario, release } = await held();
    const add = (key: string) =>
      accepted(scenario, 'POST C/items/a/increment', { attribute: 'n', by: 1 }, { 'idempotency-key': key });
    const [first, second] = [await add('1'), await add('2')];
    const waiting = await scenario.calls([`GET ${first}`]);
    expect(waiting.body).toMatchObject({ status: 'waiting' });
    expect(waiting.body).not.toHaveProperty('result');
    expect(waiting.headers['retry-after']).toBe('1');
    expect((await scenario.calls([`DELETE ${first}`])).body).toMatchObject({ cancelled: true });
    expectProblem(await scenario.call(`GET ${first}`), 404, 'notFound');
    release();
    expect(await resultOf(scenario, second)).toMatchObject({ status: 200, body: { value: 1 } });
    await resultOf(scenario, await add('1'));
    expect(await scenario.attributes('a')).toEqual({ n: 2 });
  });

  it('preconditions are judged when it is done', async () => {
    const { scenario, release } = await held();
    await scenario.fill({ a: { x: 1 } });
    const stale = await accepted(scenario, 'PUT C/items/a', { attributes: { x: 2 } }, { 'if-match': '"1"' });
    const fresh = await accepted(scenario, 'PUT C/items/b', { attributes: { x: 2 } }, { 'if-match': '*' });
    await scenario.fill({ a: { x: 3 }, b: { x: 3 } });
    expect((await scenario.call(`GET ${fresh}`)).body.status).toBe('waiting');
    release();
    expect(await resultOf(scenario, stale)).toMatchObject({ status: 412, body: { code: 'preconditionFailed' } });
    expect(await resultOf(scenario, fresh)).toMatchObject({ status: 200 });
    expect(await scenario.attributes('a')).toEqual({ x: 3 });
  });

  it('a session that is resumed meanwhile is fenced, also for what it sent before', async () => {
    const { scenario, release } = await held();
    const { session } = (await scenario.calls(['POST P/sessions', { name: 'me', ttlMs: 60_000 }])).body;
    const speaking = { 'stargus-session': `${session};epoch=1` };
    const path = await accepted(scenario, 'PUT C/items/a', { attributes: {} }, speaking);
    await scenario.calls(['PUT P/sessions/me', {}]);
    release();
    expect(await resultOf(scenario, path)).toMatchObject({ status: 409, body: { code: 'sessionFenced' } });
    expect(await scenario.attributes('a')).toBeUndefined();
  });

  it('what was meant for a pool that was deleted is not done in the next of its name', async () => {
    const { scenario, release } = await held();
    await scenario.fill({ a: { x: 1 } });
    const paths = [
      await accepted(scenario, 'DELETE P'),
      await accepted(scenario, 'POST C/items/a/increment', { attribute: 'x', by: 1 }),
    ];
    release();
    expect(await resultOf(scenario, paths[0] as string)).toMatchObject({ status: 200 });
    expect(await resultOf(scenario, paths[1] as string)).toMatchObject({ status: 404, body: { code: 'notFound' } });
    expect(await scenario.revision()).toBeUndefined();
  });

  it('who waits is answered after that time, and at once when it is done or cancelled', async () => {
    const { scenario, release } = await held();
    const put = (key: string) => accepted(scenario, `PUT C/items/${key}`, { attributes: {} });
    const [first, second] = [await put('a'), await put('b')];
    const waited = await scenario.calls([`GET ${first}?waitMs=50`]);
    expect(waited.body.status).toBe('waiting');
    const waiting = [first, second].map((path) => scenario.call(`GET ${path}?waitMs=60000`));
    await scenario.calls([`DELETE ${second}`]);
    expectProblem((await waiting[1]) as never, 404, 'notFound');
    release();
    expect((await waiting[0])?.body).toMatchObject({ status: 'done', result: { status: 201 } });
  });

  it('so many of one caller may wait, and no more', async () => {
    const { scenario, release } = await held();
    const put = (n: number) => scenario.call(`PUT C/items/${n}`, { attributes: {} }, ASYNC);
    const answers = [];
    for (let n = 0; n < 1000; n += 50)
      answers.push(...(await Promise.all(Array.from({ length: 50 }, (_, i) => put(n + i)))));
    expect(answers.every(({ status }) => status === 202)).toBe(true);
    const refused = await put(1000);
    expectProblem(refused, 429, 'tooManyRequests');
    expect(refused.headers['retry-after']).toBe('1');
    expect(refused.headers).not.toHaveProperty('location');
    // What is sent without the wish is done at once.
    expect((await scenario.call('PUT C/items/x', { attributes: {} })).status).toBe(201);
    await scenario.calls([`DELETE ${answers[0]?.headers.location}`]);
    expect((await put(1000)).status).toBe(202);
    release();
    const last = (await scenario.call('GET P/operations?limit=1000')).body.operations.at(-1);
    await resultOf(scenario, last.location);
    expect((await scenario.call('GET C?')).body.items).toBe(1001);
  });

  it('what it takes with it is not told, and gone once it is done', async () => {
    const { scenario, release } = await held();
    const path = await accepted(scenario, 'PUT C/items/a', { attributes: { secret: 'x' } });
    const { body } = await scenario.calls([`GET ${path}`]);
    expect(Object.keys(body).sort()).toEqual(['call', 'createdAt', 'expiresAt', 'location', 'operation', 'status']);
    release();
    await resultOf(scenario, path);
  });
});
