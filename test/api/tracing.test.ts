/**
 * Traces: a request with a `traceparent` is followed through its commit into the log, where what delivers the commit finds it; and
 * what must not come of it: nothing while it is off, no word of what was written, no harm by a collector that is gone.
 */
import { randomBytes } from 'node:crypto';
import { createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createConnection } from 'mysql2/promise';
import { afterAll, describe, expect, it } from 'vitest';
import { commitsOf } from '../../src/engine/state/replica.js';
import { traceHeaders } from '../../src/engine/tracing.js';
import { openStore } from '../store/book.js';
import { type Collector, startCollector } from '../support/collector.js';
import { Receiver } from '../support/receiver.js';
import { Scenario } from '../support/scenario.js';
import { type DatabaseName, databases, type Server, startServer } from '../support/server.js';

const WAIT_MS = 10_000;
const newTrace = (flags = '01') => {
  const traceId = randomBytes(16).toString('hex');
  const spanId = randomBytes(8).toString('hex');
  return { traceId, spanId, traceparent: `00-${traceId}-${spanId}-${flags}` };
};

async function until(isSo: () => boolean, what: string): Promise<void> {
  for (const end = Date.now() + WAIT_MS; !isSo(); await sleep(20))
    if (Date.now() > end) throw new Error(`${what} did not come within ${WAIT_MS} ms`);
}

const namesIn = ({ spans }: Collector, trace: string) =>
  spans
    .filter(({ traceId }) => traceId === trace)
    .map(({ name }) => name)
    .sort();

/** The traces that the log has of a pool's commits, as another node or a later life of this one reads them. */
async function keptTraces(database: DatabaseName, url: string, pool: string): Promise<(string | undefined)[]> {
  const { store } = await openStore(database, url);
  try {
    const poolId = (await store.pool(pool))?.head.id as number;
    const { rows } = await store.log({ poolId, after: 0, rowsMax: 1000, bytesMax: 1_000_000 });
    return commitsOf(rows, String).map(({ trace }) => trace);
  } finally {
    await store.close();
  }
}

describe.each(databases)('traces on $name', ({ name }) => {
  it('a write is followed into its commit, its transaction and the log', async () => {
    const collector = await startCollector();
    const env = { ...collector.env, OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test' };
    const server = await startServer({ database: name, env });
    const scenario = new Scenario(server);
    const { traceId, spanId, traceparent } = newTrace();
    const { status, headers: answered } = await scenario.call(
      'PUT C/items/hidden-key',
      { attributes: { secretName: 'hidden-value' } },
      { traceparent, tracestate: 'vendor=abc' },
    );
    expect(status).toBe(201);
    await until(() => namesIn(collector, traceId).length === 3, 'three spans');
    expect(namesIn(collector, traceId)).toEqual(['commit', 'putItem', 'transaction']);
    const [request, commit, transaction] = ['putItem', 'commit', 'transaction'].map((wanted) =>
      collector.spans.find((span) => span.traceId === traceId && span.name === wanted),
    );
    expect(request).toMatchObject({ parentSpanId: spanId, kind: 2, status: 0, traceState: 'vendor=abc', links: [] });
    expect(request?.attributes).toEqual({
      'http.request.method': 'PUT',
      'http.route': '/v1/pools/{pool}/collections/{collection}/items/{key}',
      'http.response.status_code': 201,
      'stargus.pool': scenario.pool,
      'stargus.request_id': answered['request-id'],
    });
    expect(commit).toMatchObject({ parentSpanId: request?.spanId, kind: 1, traceState: 'vendor=abc', links: [] });
    expect(commit?.attributes).toEqual({
      ...{ 'stargus.pool': scenario.pool, 'stargus.requests': 1, 'stargus.commits': 1, 'stargus.revision': 1 },
    });
    expect(transaction).toMatchObject({ parentSpanId: commit?.spanId, attributes: { 'stargus.attempt': 1 } });
    expect(collector.resource).toMatchObject({
      ...{ 'service.name': 'stargus', 'deployment.environment.name': 'test' },
      'service.version': expect.stringMatching(/^\d/),
    });
    expect(collector.text()).not.toMatch(/hidden-key|hidden-value|secretName/);
    await server.stop();
    const [kept] = await keptTraces(name, server.databaseUrl, scenario.pool);
    expect(traceHeaders(kept)).toEqual({
      ...{ traceparent: `00-${traceId}-${request?.spanId}-01`, tracestate: 'vendor=abc' },
    });
  });

  it('a write that is delivered to a webhook, or done later, is one trace from the client to the receiver', async () => {
    const collector = await startCollector();
    const scenario = new Scenario(await startServer({ database: name, env: collector.env }));
    const receiver = await Receiver.open();
    await scenario.call('PUT C/items/a', { attributes: { n: 0 } });
    const target = { webhook: { url: receiver.url } };
    const made = await scenario.call('PUT P/notifiers/n', { events: ['add', 'change'], target, since: 'now' });
    expect(made.status, made.text).toBe(201);
    for (const headers of [{}, { prefer: 'respond-async' }] as Record<string, string>[]) {
      const { traceId, traceparent } = newTrace();
      const before = receiver.received.length;
      const { status } = await scenario.call(
        'PUT C/items/a',
        { attributes: { hidden: traceId } },
        { traceparent, ...headers },
      );
      expect(status).toBe(headers.prefer === undefined ? 200 : 202);
      await until(() => receiver.received.length > before, 'the delivery');
      const { headers: delivered } = receiver.received.at(-1) as (typeof receiver.received)[number];
      await until(() => namesIn(collector, traceId).includes('deliver'), 'the span of the delivery');
      const deliver = collector.spans.find((span) => span.traceId === traceId && span.name === 'deliver');
      expect(delivered.traceparent).toBe(`00-${traceId}-${deliver?.spanId}-01`);
      const parent = collector.spans.find(({ spanId }) => spanId === deliver?.parentSpanId);
      expect(parent).toMatchObject({ name: 'putItem', traceId });
      expect(deliver).toMatchObject({ kind: 3, status: 0 });
      expect(deliver?.attributes).toEqual({
        ...{ 'stargus.pool': scenario.pool, 'stargus.notifier': 'n', 'http.response.status_code': 204 },
      });
    }
  });

  it('a group of writes is a part of one and linked to the others', async () => {
    const collector = await startCollector();
    const scenario = new Scenario(await startServer({ database: name, env: collector.env }));
    const traces = Array.from({ length: 24 }, () => newTrace());
    await Promise.all(
      traces.map(({ traceparent }, i) => scenario.call(`PUT C/items/${i}`, { attributes: { n: i } }, { traceparent })),
    );
    const served = () =>
      collector.spans
        .filter((span) => span.name === 'commit')
        .flatMap((span) => [
          `${span.traceId} ${span.parentSpanId}`,
          ...span.links.map((link) => `${link.traceId} ${link.spanId}`),
        ])
        .sort();
    const requests = () =>
      collector.spans
        .filter((span) => span.name === 'putItem')
        .map((span) => `${span.traceId} ${span.spanId}`)
        .sort();
    await until(() => requests().length === 24 && served().length >= 24, 'the spans of 24 writes');
    // Each once: a commit isn't linked to its own parent.
    expect(served()).toEqual(requests());
    expect(requests().map((request) => request.split(' ')[0])).toEqual(traces.map(({ traceId }) => traceId).sort());
  });

  it('what a client did not have recorded isn’t, and goes on into the log all the same', async () => {
    const collector = await startCollector();
    const server = await startServer({ database: name, env: collector.env });
    const scenario = new Scenario(server);
    const silent = newTrace('00');
    const told = newTrace();
    await scenario.call('PUT C/items/a', { attributes: { n: 1 } }, { traceparent: silent.traceparent });
    await scenario.call('PUT C/items/a', { attributes: { n: 2 } }, { traceparent: told.traceparent });
    await until(() => namesIn(collector, told.traceId).length === 3, 'the spans of the other');
    expect(namesIn(collector, silent.traceId)).toEqual([]);
    await server.stop();
    const [first] = await keptTraces(name, server.databaseUrl, scenario.pool);
    expect(first).toMatch(new RegExp(`^00-${silent.traceId}-[0-9a-f]{16}-00$`));
  });

  it('while it is off nothing is loaded, sent or kept', async () => {
    const collector = await startCollector();
    const loud =
      "import{registerHooks}from'node:module';registerHooks({resolve:(s,c,n)=>(/opentelemetry.(sdk|exporter)/.test(s)&&console.log('loads',s),n(s,c))})";
    const watched = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(loud)}` };
    const off = await startServer({
      database: name,
      env: { ...watched, ...collector.env, OTEL_TRACES_EXPORTER: 'none' },
    });
    const scenario = new Scenario(off);
    const { traceparent } = newTrace();
    await scenario.call('PUT C/items/a', { attributes: { n: 1 } }, { traceparent });
    await off.stop();
    expect(off.output()).not.toContain('loads');
    expect(collector.spans).toEqual([]);
    expect(await keptTraces(name, off.databaseUrl, scenario.pool)).toEqual([undefined]);
    // The same look finds what is loaded when it is on.
    const on = await startServer({ database: name, env: { ...watched, ...collector.env } });
    expect(on.output()).toContain('loads @opentelemetry/sdk-trace');
    await on.stop();
  });
});

it('writes that waited together are one commit, of the first that is recorded', async () => {
  const collector = await startCollector();
  const server = await startServer({ database: 'mariadb', env: collector.env });
  const scenario = new Scenario(server);
  await scenario.fill({ a: {} });
  await until(() => collector.spans.some((span) => span.name === 'commit'), 'the first commit');
  collector.spans.length = 0;
  const [silent, ...recorded] = [newTrace('00'), newTrace(), newTrace(), newTrace()];
  const queued = async () =>
    Number(/^stargus_queued_commands (\d+)$/m.exec((await scenario.call('GET /metrics')).text)?.[1]);
  const connection = await createConnection(server.databaseUrl);
  const writes: Promise<unknown>[] = [];
  try {
    await connection.beginTransaction();
    await connection.query('SELECT id FROM pool WHERE name = ? FOR UPDATE', [scenario.pool]);
    for (const [i, trace] of [silent, ...recorded].entries()) {
      writes.push(scenario.call(`PUT C/items/${i}`, { attributes: { i } }, { traceparent: trace?.traceparent ?? '' }));
      while ((await queued()) < i + 1) await sleep(10);
    }
  } finally {
    await connection.rollback();
    await connection.end();
  }
  await Promise.all(writes);
  await until(() => collector.spans.filter((span) => span.name === 'putItem').length === 3, 'the requests');
  await until(() => collector.spans.some((span) => span.name === 'commit'), 'the commit');
  const requests = recorded.map(({ traceId }) =>
    collector.spans.find((span) => span.name === 'putItem' && span.traceId === traceId),
  );
  const commits = collector.spans.filter((span) => span.name === 'commit');
  expect(commits.flatMap((span) => [span.parentSpanId, ...span.links.map((link) => link.spanId)])).toEqual(
    requests.map((request) => request?.spanId),
  );
  expect(commits.at(-1)?.attributes).toMatchObject({
    'stargus.revision': 5,
    'stargus.commits': 4,
    'stargus.requests': 3,
  });
  expect(collector.spans.filter((span) => span.name === 'transaction').map((span) => span.parentSpanId)).toEqual([
    commits[0]?.spanId,
  ]);
});

describe('what is recorded', () => {
  const spansWith = async (env: Record<string, string>, traceparent: string | undefined) => {
    const collector = await startCollector();
    const server = await startServer({ database: 'sqlite', env: { ...collector.env, ...env } });
    const scenario = new Scenario(server);
    const headers: Record<string, string> = traceparent === undefined ? {} : { traceparent };
    for (let i = 0; i < 5; i++) await scenario.call(`PUT C/items/${i}`, { attributes: { i } }, headers);
    await server.stop();
    return collector.spans.filter((span) => span.name === 'putItem').length;
  };

  it.each([
    ['always_off', {}, newTrace().traceparent, 0],
    ['always_on', {}, newTrace('00').traceparent, 5],
    ['traceidratio', { OTEL_TRACES_SAMPLER_ARG: '0' }, newTrace().traceparent, 0],
    ['traceidratio', { OTEL_TRACES_SAMPLER_ARG: '1' }, undefined, 5],
    ['parentbased_traceidratio', { OTEL_TRACES_SAMPLER_ARG: '0' }, newTrace().traceparent, 5],
    ['parentbased_traceidratio', { OTEL_TRACES_SAMPLER_ARG: '0' }, undefined, 0],
    ['parentbased_always_off', {}, undefined, 0],
  ])('by %s %j of %s', async (sampler, more, traceparent, count) => {
    expect(await spansWith({ OTEL_TRACES_SAMPLER: sampler, ...(more as Record<string, string>) }, traceparent)).toBe(
      count,
    );
  });

  it('refusals are told by their status, and no probe is', async () => {
    const collector = await startCollector();
    const server = await startServer({ database: 'sqlite', env: collector.env });
    const scenario = new Scenario(server);
    const trace = newTrace();
    await scenario.call('GET C/items/none', undefined, { traceparent: trace.traceparent });
    await scenario.call('PUT C/items/a', { wrong: 1 }, { traceparent: trace.traceparent });
    for (const path of ['/healthz', '/readyz', '/metrics'])
      await scenario.call(`GET ${path}`, undefined, { traceparent: trace.traceparent });
    await server.stop();
    const told = collector.spans.map((span) => [span.name, span.attributes['http.response.status_code'], span.status]);
    expect(told.sort()).toEqual([
      ['getItem', 404, 0],
      ['putItem', 400, 0],
    ]);
  });

  it('a stream is a span for as long as it takes to begin', async () => {
    const collector = await startCollector();
    const scenario = new Scenario(await startServer({ database: 'sqlite', env: collector.env }));
    await scenario.fill({ a: {} });
    const trace = newTrace();
    const stream = await scenario.watch('C/attach', { traceparent: trace.traceparent });
    await until(() => namesIn(collector, trace.traceId).length > 0, 'the span of the stream');
    expect(collector.spans.find(({ traceId }) => traceId === trace.traceId)).toMatchObject({
      ...{ name: 'attachCollection', parentSpanId: trace.spanId, status: 0 },
      attributes: { 'http.response.status_code': 200 },
    });
    // And it goes on.
    await scenario.call('PUT C/items/b', { attributes: { n: 1 } });
    await stream.next(({ event }) => event === 'changes');
    stream.close();
    await scenario.call('GET C/items/a');
    await until(() => collector.spans.some((span) => span.name === 'getItem'), 'a later span');
    expect(namesIn(collector, trace.traceId)).toEqual(['attachCollection']);
  });
});

describe('a collector that is gone', () => {
  const held: { close(): void }[] = [];
  afterAll(() => {
    for (const each of held) each.close();
  });

  /** Takes connections and never answers. */
  async function hole(): Promise<string> {
    const sockets = new Set<Socket>();
    const server = createServer((socket) => void sockets.add(socket.on('error', () => {})));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    held.push({
      close: () => {
        for (const socket of sockets) socket.destroy();
        server.close();
      },
    });
    return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
  }

  it.each([
    ['that refuses connections', async () => 'http://127.0.0.1:1'],
    ['that never answers', hole],
  ])('%s costs its spans and nothing else', async (_name, place) => {
    const env = {
      OTEL_EXPORTER_OTLP_ENDPOINT: await place(),
      ...{ OTEL_BSP_SCHEDULE_DELAY: '10', OTEL_BSP_MAX_QUEUE_SIZE: '16', OTEL_EXPORTER_OTLP_TIMEOUT: '100' },
    };
    const server: Server = await startServer({ database: 'sqlite', env });
    const scenario = new Scenario(server);
    for (let i = 0; i < 200; i++)
      expect((await scenario.call(`PUT C/items/${i}`, { attributes: { i } })).status).toBe(201);
    const lost = async () =>
      Number(
        /^stargus_trace_spans_total\{outcome="lost"\} (\d+)$/m.exec((await scenario.call('GET /metrics')).text)?.[1],
      );
    for (const end = Date.now() + WAIT_MS; !((await lost()) > 0) && Date.now() < end; ) await sleep(50);
    expect(await lost()).toBeGreaterThan(0);
    expect((await server.stop()).code).toBe(0);
    // Said once, not with each batch.
    expect(server.output().match(/Spans could not be sent/g)).toHaveLength(1);
  });

  it('one that is there has the spans counted as sent', async () => {
    const collector = await startCollector();
    const server = await startServer({ database: 'sqlite', env: collector.env });
    const scenario = new Scenario(server);
    await scenario.fill({ a: {} });
    await until(() => collector.spans.length > 0, 'spans');
    const { text } = await scenario.call('GET /metrics');
    expect(text).toMatch(/^stargus_trace_spans_total\{outcome="sent"\} [1-9]/m);
    expect(text).not.toMatch(/outcome="lost"/);
  });
});

it('a variable of OpenTelemetry that is wrong is said by its name, and nothing starts', async () => {
  await expect(
    startServer({
      database: 'sqlite',
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1', OTEL_TRACES_SAMPLER: 'sometimes' },
    }),
  ).rejects.toThrow(/OTEL_TRACES_SAMPLER=sometimes: must be one of/);
});
