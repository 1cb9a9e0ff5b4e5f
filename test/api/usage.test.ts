/** `_usage`: what each subject used on each day, as items that are brought up to date for who looks at them. */
import { beforeAll, describe, expect, it } from 'vitest';
import { expectProblem, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';
import type { SseEvent, SseStream } from '../support/sse.js';

const U = 'P/collections/_usage';
const DAY = /^20\d\d-\d\d-\d\d$/;
const named =
  (name: string) =>
  ({ event }: SseEvent) =>
    event === name;

interface Used {
  requests: number;
  writes: number;
  bytesIn: number;
  bytesOut: number;
  streamMs: number;
}

/** What was used in all, by the items of `_usage`: a test may run over midnight. */
async function usedOf(scenario: Scenario, subject = 'anonymous'): Promise<Used> {
  const { body } = await scenario.calls([`GET ${U}/items?limit=1000`]);
  const sum: Used = { requests: 0, writes: 0, bytesIn: 0, bytesOut: 0, streamMs: 0 };
  for (const { key, attributes } of body.items) {
    expect(key).toBe(`${attributes.day}/${attributes.subject}`);
    expect(attributes.day).toMatch(DAY);
    if (attributes.subject !== subject) continue;
    for (const name of Object.keys(sum) as (keyof Used)[]) sum[name] += attributes[name];
  }
  return sum;
}

/** What a stream was told of the requests of all days, in the end. */
function toldBy(stream: SseStream): number {
  const requests = new Map<string, number>();
  for (const { data } of stream.events)
    for (const { key, attributes } of [...(data.items ?? []), ...(data.changes ?? [])])
      if (attributes.requests !== undefined) requests.set(key, attributes.requests);
  return [...requests.values()].reduce((sum, each) => sum + each, 0);
}

describe.each(databases)('_usage on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });

  it('has what a subject used, whatever became of the requests', async () => {
    const scenario = new Scenario(server);
    const body = JSON.stringify({ attributes: { text: 'é' } });
    const put = await scenario.calls(['PUT C/items/a', body]);
    const got = await scenario.calls(['GET C/items/a']);
    const { status } = await scenario.call('HEAD C/items/a');
    expect(status).toBe(200);
    const missing = await scenario.call('GET C/items/b');
    expect(missing.status).toBe(404);
    const malformed = await scenario.call('PUT C/items/a', '{');
    expect(malformed.status).toBe(400);
    const refused = await scenario.call('PUT C/items/a', body, { 'if-match': '"77"' });
    expect(refused.status).toBe(412);
    const queried = await scenario.calls(['POST C/query', {}]);
    expect(await usedOf(scenario)).toEqual({
      requests: 7,
      writes: 1,
      bytesIn: 2 * Buffer.byteLength(body) + '{'.length + '{}'.length,
      bytesOut: [put, got, missing, malformed, refused, queried]
        .map(({ text }) => Buffer.byteLength(text))
        .reduce((sum, bytes) => sum + bytes, 0),
      streamMs: 0,
    });
    // The look itself was one more.
    expect(await usedOf(scenario)).toMatchObject({ requests: 8, writes: 1 });
    await scenario.calls(['DELETE C/items/a'], ['PUT C', {}], ['POST P/batch', { ops: [] }]);
    expect(await usedOf(scenario)).toMatchObject({ requests: 12, writes: 4 });
  });

  it('is told in commits of the system, and only to who looks', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: {}, b: {} });
    for (let i = 0; i < 20; i++) await scenario.calls(['GET C/items/a']);
    expect(await scenario.revision()).toBe(2);
    const { body, headers } = await scenario.calls([`GET ${U}/items`]);
    expect(headers['stargus-revision']).toBe('3');
    expect(body.items).toMatchObject([{ collection: '_usage', revision: 3, createdRevision: 3 }]);
    const [{ key }] = body.items;
    const { changes, subject } = (await scenario.calls(['GET P/changes?since=start&collection=_usage'])).body
      .commits[0];
    expect({ subject, changes }).toMatchObject({ subject: 'system', changes: [{ op: 'add', key }] });
    expect(await scenario.revision()).toBeGreaterThan(3);
    const before = (await scenario.revision()) as number;
    await scenario.calls(['GET C/items/a'], ['GET P/changes'], ['GET P/export'], [`GET P/collections/_changes/items`]);
    expect(await scenario.revision()).toBe(before);
    // Each way of looking brings it up to date.
    const item = `${U}/items/${encodeURIComponent(key)}`;
    for (const line of [
      `GET ${item}`,
      `GET ${item}/attributes/requests`,
      `GET ${item}/history`,
      `GET ${U}`,
      `GET P/export?collection=_usage`,
    ]) {
      const [was, { headers }] = [await scenario.revision(), await scenario.calls([line])];
      expect(Number(headers['stargus-revision']), line).toBe((was as number) + 1);
    }
    const { aggregates } = (
      await scenario.calls([
        `POST ${U}/query`,
        { aggregates: { all: { sum: 'requests' } }, where: { writes: { gt: 0 } } },
      ])
    ).body;
    expect(aggregates.all).toBe((await usedOf(scenario)).requests - 1);
  });

  it('is written by the system only', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: {} });
    await usedOf(scenario);
    for (const [line, body] of [
      [`PUT ${U}/items/x`, { attributes: {} }],
      [`PATCH ${U}/items/x`, { attributes: {} }],
      [`DELETE ${U}/items/x`],
      [`POST ${U}/delete`, { prefix: '' }],
      [`DELETE ${U}`],
      ['POST P/batch', { ops: [{ op: 'delete', collection: '_usage', key: 'x' }] }],
    ] as const)
      await scenario.refused(400, 'invalidName', line, body);
  });

  it('has nothing of a pool that is not there, and begins anew with a new one', async () => {
    const scenario = new Scenario(server);
    expectProblem(await scenario.call(`GET ${U}/items`), 404, 'notFound');
    expectProblem(await scenario.call('GET C/items/a'), 404, 'notFound');
    expect(await scenario.revision()).toBeUndefined();
    await scenario.fill({ a: {} });
    expect(await usedOf(scenario)).toMatchObject({ requests: 1, writes: 1 });
    await scenario.calls(['DELETE P'], ['PUT P']);
    expect(await usedOf(scenario)).toMatchObject({ requests: 1, writes: 1 });
  });

  it('has imports and exports by what went over the connection, and streams by their time', async () => {
    const scenario = new Scenario(server);
    const line = (key: string) =>
      `${JSON.stringify({ collection: 'things', key, attributes: { text: 'x'.repeat(500) } })}\n`;
    const lines = Array.from({ length: 100 }, (_, i) => line(`k${i}`)).join('');
    await scenario.calls(['POST P/import', lines, { 'content-type': 'application/x-ndjson' }]);
    expect(await usedOf(scenario)).toMatchObject({ requests: 1, writes: 1, bytesIn: lines.length });
    const before = await usedOf(scenario);
    await scenario.calls(['GET P/export']);
    const after = await usedOf(scenario);
    expect(after).toMatchObject({ requests: before.requests + 2, writes: 1, bytesIn: lines.length, streamMs: 0 });
    expect(after.bytesOut - before.bytesOut).toBeGreaterThan(lines.length);
    const stream = await scenario.watch('C/attach');
    await stream.waitFor(named('live'));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await usedOf(scenario)).toMatchObject({ streamMs: 0 });
    stream.close();
    await stream.ended;
    await expect.poll(async () => (await usedOf(scenario)).streamMs).toBeGreaterThan(50);
    const last = await usedOf(scenario);
    expect(last.bytesOut - after.bytesOut).toBeGreaterThan(lines.length);
    // One that is refused was none.
    const refused = await scenario.watch('C/attach?since=nonsense');
    await refused.text();
    expect(await usedOf(scenario)).toMatchObject({ streamMs: last.streamMs, writes: 1 });
  });

  it('is told to who watches it, every so often', { timeout: 30_000 }, async () => {
    const quick = await startServer({ database: name, env: { STARGUS_USAGE: '200ms' } });
    const scenario = new Scenario(quick);
    await scenario.fill({ a: {} });
    const attached = await scenario.watch(`${U}/attach`);
    await attached.waitFor(named('live'));
    const feed = await scenario.watch('P/changes/stream?collection=_usage');
    await feed.waitFor(named('live'));
    const plain = await scenario.watch('P/changes/stream');
    for (let i = 0; i < 10; i++) await scenario.calls(['GET C/items/a']);
    await expect.poll(() => toldBy(attached), { timeout: 15_000 }).toBe(11);
    await expect.poll(() => toldBy(feed), { timeout: 15_000 }).toBe(11);
    await scenario.fill({ b: {} });
    await expect.poll(() => toldBy(attached), { timeout: 15_000 }).toBe(12);
    // Nothing more is told where nothing more is used.
    const revision = await scenario.revision();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect(await scenario.revision()).toBe(revision);
    expect(plain.events.filter(named('changes')).map(({ data }) => data.changes[0].collection)).toEqual(['things']);
    for (const stream of [attached, feed, plain]) stream.close();
    await quick.stop();
  });

  it('survives a stop, and adds to what was there', async () => {
    const first = await startServer({ database: name });
    const scenario = new Scenario(first);
    await scenario.fill({ a: {}, b: {} });
    expect(await usedOf(scenario)).toMatchObject({ requests: 2, writes: 2 });
    await scenario.fill({ c: {} });
    await first.stop();
    const second = await startServer({ database: name, databaseUrl: first.databaseUrl });
    const again = new Scenario(second, scenario.pool);
    await again.fill({ d: {} });
    expect(await usedOf(again)).toMatchObject({ requests: 5, writes: 4 });
    await second.stop();
  });

  it('tells subjects apart, and counts of who is not known only that it was refused', async () => {
    const key = 'k'.repeat(30);
    const closed = await startServer({
      database: name,
      env: { STARGUS_AUTH: 'required', STARGUS_OPERATOR_KEY: key },
    });
    const scenario = new Scenario(closed);
    const bearer = { authorization: `Bearer ${key}` };
    expect((await scenario.call('PUT C/items/a', { attributes: {} }, bearer)).status).toBe(201);
    for (let i = 0; i < 3; i++) expect((await scenario.call('GET C/items/a')).status).toBe(401);
    expect((await scenario.call('PUT C/items/a', '{')).status).toBe(400);
    const { body } = await scenario.call(`GET ${U}/items`, undefined, bearer);
    expect(body.items.map(({ attributes }: { attributes: object }) => attributes)).toMatchObject([
      { subject: 'address:127.0.0.1', requests: 0, bytesOut: 0, refusals: 3, blocks: 0 },
      { subject: 'operator', requests: 1, writes: 1 },
    ]);
    await closed.stop();
  });

  it('counts nothing where it is told so', async () => {
    const quiet = await startServer({ database: name, env: { STARGUS_USAGE: '0s' } });
    const scenario = new Scenario(quiet);
    await scenario.fill({ a: {} });
    expect((await scenario.calls([`GET ${U}/items`])).body).toMatchObject({ items: [], revision: 1 });
    await quiet.stop();
  });
});

it('of several nodes is one sum', async () => {
  const env = { STARGUS_USAGE: '200ms' };
  const one = await startServer({ database: 'mariadb', env });
  const other = await startServer({ database: 'mariadb', databaseUrl: one.databaseUrl, env });
  const scenario = new Scenario(one);
  const there = new Scenario(other, scenario.pool);
  await scenario.fill({ a: {} });
  for (let n = 1; n <= 5; n++) await there.fill({ b: { n } });
  // Each node sees what the other has noted.
  for (const each of [scenario, there]) await expect.poll(async () => (await usedOf(each)).writes).toBe(6);
  await Promise.all([one.stop(), other.stop()]);
});
