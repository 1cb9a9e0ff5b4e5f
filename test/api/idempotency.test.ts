/** Idempotency-Key: a write that is repeated has its effect once, and each repetition gets the first one's answer. */
import { beforeAll, describe, expect, it } from 'vitest';
import { type Answer, expectProblem, type Headers, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const key = (value: string, more: Headers = {}): Headers => ({ 'idempotency-key': value, ...more });
const REPLAYED = 'idempotency-replayed';
const SAME = ['stargus-revision', 'stargus-cursor', 'etag', 'location', 'content-type', 'preference-applied'];

function expectReplay(first: Answer, second: Answer): void {
  expect(first.headers).not.toHaveProperty(REPLAYED);
  expect(second.headers[REPLAYED]).toBe('true');
  expect({ status: second.status, text: second.text }).toEqual({ status: first.status, text: first.text });
  for (const header of SAME) expect(second.headers[header], header).toBe(first.headers[header]);
  expect(second.headers['request-id']).not.toBe(first.headers['request-id']);
}

describe.each(databases)('Idempotency-Key on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });

  const writes: [line: string, body: unknown, headers?: Headers][] = [
    ['PUT C/items/new', { attributes: { x: 1 } }],
    ['PUT C/items/a', { attributes: { x: 2 } }, { 'if-match': '"1"' }],
    ['PUT C/items/new', { attributes: { x: 1 } }, { 'if-none-match': '*' }],
    ['PUT C/items/new', { attributes: { x: 1 } }, { prefer: 'return=minimal' }],
    ['POST C/items', { attributes: { x: 1 } }],
    ['POST C/items', { key: 'new', attributes: { x: 1 } }],
    ['PATCH C/items/a', { attributes: { x: 2 } }],
    [
      'PATCH C/items/a',
      [{ op: 'add', path: '/attributes/y', value: 1 }],
      { 'content-type': 'application/json-patch+json' },
    ],
    ['DELETE C/items/a', undefined],
    ['PUT C/items/a/attributes/y', { value: 1 }],
    ['DELETE C/items/a/attributes/x', undefined],
    ['POST C/items/a/increment', { attribute: 'x', by: 1 }],
    ['POST C/delete', { prefix: '' }],
    [
      'POST P/batch',
      {
        ops: [
          { op: 'create', collection: 'things', attributes: {} },
          { op: 'append', collection: 'things', key: 'l', attribute: 'l', value: 1 },
        ],
      },
    ],
    ['POST P/batch', { atomic: false, ops: [{ op: 'create', collection: 'things', key: 'a', attributes: {} }] }],
    ['PUT P/collections/rooms', { description: 'x' }],
    ['PATCH C', { description: 'x' }],
    ['DELETE C', undefined],
    ['PATCH P', { description: 'x' }],
  ];

  it.each(writes)('%s %j', async (line, body, headers) => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { x: 1 } });
    const first = await scenario.calls([line, body, key('k', headers)]);
    const revision = await scenario.revision();
    await scenario.fill({ elsewhere: { moved: true } });
    expectReplay(first, await scenario.call(line, body, key('k', headers)));
    expect(await scenario.revision()).toBe((revision as number) + 1);
  });

  it('a repetition of the pool’s own first write, and of its deletion', async () => {
    const scenario = new Scenario(server);
    expectReplay(await scenario.call('PUT P', {}, key('make')), await scenario.call('PUT P', {}, key('make')));
    expectReplay(
      await scenario.call('DELETE P', undefined, key('drop')),
      await scenario.call('DELETE P', undefined, key('drop')),
    );
  });

  it('the answer of a write that changed nothing is kept: what came between does not let the repetition write', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { x: 1 } });
    const first = await scenario.calls(['PUT C/items/a', { attributes: { x: 1 } }, key('k')]);
    expect(first.body).toMatchObject({ revision: 1, changed: [] });
    await scenario.fill({ a: { x: 2 } });
    expectReplay(first, await scenario.call('PUT C/items/a', { attributes: { x: 1 } }, key('k')));
    expect(await scenario.attributes('a')).toEqual({ x: 2 });
  });

  it('a refusal is not kept: its repetition is judged anew', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: {} });
    const create = ['POST C/items', { key: 'a', attributes: { x: 1 } }, key('k')] as const;
    await scenario.refused(409, 'conflict', ...create);
    await scenario.calls(['DELETE C/items/a']);
    const second = await scenario.calls(create);
    expect(second.headers).not.toHaveProperty(REPLAYED);
    expect(second.status).toBe(201);
    expectReplay(second, await scenario.call(...create));
  });

  const others: [says: string, line: string, body: unknown, headers?: Headers][] = [
    ['another body', 'PUT C/items/a', { attributes: { x: 2 } }],
    ['another path', 'PUT C/items/b', { attributes: { x: 1 } }],
    ['another method', 'PATCH C/items/a', { attributes: { x: 1 } }],
    ['another condition', 'PUT C/items/a', { attributes: { x: 1 } }, { 'if-match': '"1"' }],
  ];

  it.each(others)('the key with %s is refused', async (_says, line, body, headers) => {
    const scenario = new Scenario(server);
    await scenario.calls(['PUT C/items/a', { attributes: { x: 1 } }, key('k')]);
    await scenario.refused(422, 'idempotencyKeyReused', line, body, key('k', headers));
    expect(await scenario.attributes('a')).toEqual({ x: 1 });
    expect(await scenario.attributes('b')).toBeUndefined();
  });

  it('a dry run keeps nothing', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: {} });
    const batch = (dryRun: boolean) => ({
      dryRun,
      ops: [{ op: 'put', collection: 'things', key: 'b', attributes: {} }],
    });
    await scenario.calls(['POST P/batch', batch(true), key('k')], ['POST P/batch', batch(true), key('k')]);
    const real = await scenario.calls(['POST P/batch', batch(false), key('k')]);
    expect(real.body.revision).toBe(2);
  });

  it('another key, or another pool, is another request', async () => {
    const [one, two] = [new Scenario(server), new Scenario(server)];
    const add = (scenario: Scenario, value: string) =>
      scenario.calls(['POST C/items/a/increment', { attribute: 'n', by: 1 }, key(value)]);
    expect((await add(one, 'k1')).body.value).toBe(1);
    expect((await add(one, 'k2')).body.value).toBe(2);
    expect((await add(two, 'k1')).body.value).toBe(1);
  });

  it('twenty at once have one effect and one answer', async () => {
    const scenario = new Scenario(server);
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => scenario.call('POST C/items/a/increment', { attribute: 'n', by: 1 }, key('k'))),
    );
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    expect(answers.every(({ status, body }) => status === 200 && body.value === 1)).toBe(true);
    expect(answers.filter(({ headers }) => headers[REPLAYED] === 'true')).toHaveLength(19);
    expect(await scenario.attributes('a')).toEqual({ n: 1 });
  });

  it('of twenty different ones at once one is applied and the others are refused', async () => {
    const scenario = new Scenario(server);
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, n) => scenario.call('PUT C/items/a', { attributes: { n } }, key('k'))),
    );
    const refused = answers.filter(({ status }) => status !== 201);
    expect(refused).toHaveLength(19);
    for (const answer of refused) expectProblem(answer, 422, 'idempotencyKeyReused');
    expect(await scenario.revision()).toBe(1);
  });

  it('answers are kept across a restart', async () => {
    const before = await startServer({ database: name });
    const scenario = new Scenario(before);
    const add = ['POST C/items/a/increment', { attribute: 'n', by: 1 }, key('k')] as const;
    const first = await scenario.calls(add);
    await before.stop();
    const after = new Scenario(await startServer({ database: name, databaseUrl: before.databaseUrl }), scenario.pool);
    expectReplay(first, await after.call(...add));
    expect(await after.attributes('a')).toEqual({ n: 1 });
  });

  it.each([
    ['too long', 'k'.repeat(256)],
    ['empty', ''],
    ['not ASCII', 'sch\u00fcssel'],
  ])('a key that is %s is refused', async (_says, value) => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: {} });
    await scenario.refused(400, 'badRequest', 'PUT C/items/a', { attributes: { x: 1 } }, key(value));
    await scenario.calls(['PUT C/items/a', { attributes: { x: 1 } }, key('k'.repeat(255))]);
  });
});
