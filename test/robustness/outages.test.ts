/**
 * What goes on, and what comes back by itself, when Redis or the database is away: killed, hanging, or not there from the start. The
 * servers beside Stargus are this test's own.
 */

import { createConnection } from 'mysql2/promise';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startMariadb } from '../../scripts/mariadb.mjs';
import { startRedis } from '../../scripts/redis.mjs';
import { type Server, startServer } from '../support/server.js';
import { openSse, type SseStream } from '../support/sse.js';
import { type Answer, Client, pause } from './client.js';

type Daemon = Awaited<ReturnType<typeof startRedis>>;

let mariadb: Daemon;
let redis: Daemon;
let nodes: Server[] = [];
let clients: Client[] = [];
let databases = 0;

const poll = (is: () => unknown, timeout = 30_000) => expect.poll(is, { timeout, interval: 25 });

beforeAll(async () => {
  [mariadb, redis] = await Promise.all([startMariadb(), startRedis()]);
});
afterAll(async () => {
  for (const client of clients) client.close();
  await Promise.all(nodes.map((node) => node.stop().catch(() => undefined)));
  await Promise.all([mariadb?.stop(), redis?.stop()]);
});

async function start(count: number, env: Record<string, string> = {}): Promise<readonly [Client, Client]> {
  for (const client of clients) client.close();
  await Promise.all(nodes.map((node) => node.kill()));
  const connection = await createConnection(mariadb.url);
  const name = `outages_${++databases}`;
  await connection.query(`CREATE DATABASE ${name}`);
  await connection.end();
  nodes = [];
  for (let i = 0; i < count; i++)
    nodes.push(
      await startServer({
        database: 'mariadb',
        databaseUrl: `${mariadb.url}${name}`,
        env: { STARGUS_REDIS_URL: redis.url, ...env },
      }),
    );
  clients = nodes.map(({ url }) => new Client(url));
  return [clients[0] as Client, (clients[1] ?? clients[0]) as Client];
}

const readiness = async (client: Client) => (await client.call('GET /readyz')).body;
const redisIs = (client: Client) => poll(async () => (await readiness(client)).redis);

async function metric(node: Server, name: string): Promise<number> {
  const text = await (await fetch(`${node.url}/metrics`)).text();
  return text
    .split('\n')
    .filter((line) => line.startsWith(name))
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

/** What an attachment to the collection `c` is told, over one connection. */
class Listener {
  readonly told: number[] = [];
  beats = 0;
  closed = false;

  private constructor(readonly stream: SseStream) {}

  static async open(node: Server): Promise<Listener> {
    const stream = await openSse(`${node.url}/v1/pools/p/changes/stream?collection=c`);
    expect(stream.status).toBe(200);
    const listener = new Listener(stream);
    void (async () => {
      for (;;) {
        const event = await stream.next(undefined, 120_000).catch(() => undefined);
        if (!event) break;
        if (event.event === 'changes') listener.told.push(event.data.changes[0].attributes.n);
      }
      listener.closed = true;
    })();
    await pause(300);
    return listener;
  }
}

const put = (client: Client, n: number) => client.call('PUT /v1/pools/p/collections/c/items/k', { attributes: { n } });

/** As a client does that retries what may be retried. */
async function putSurely(client: Client, n: number): Promise<void> {
  await poll(async () => {
    const answer = await put(client, n).catch(() => undefined);
    return answer?.status === 200 || answer?.status === 201;
  }).toBe(true);
}

describe('Redis', () => {
  test('that is not there from the start keeps nobody from working, and is made use of once it is', async () => {
    await redis.kill();
    const [a, b] = await start(2);
    expect(await readiness(a)).toEqual({ status: 'ready', role: 'all', database: 'up', redis: 'down' });
    await putSurely(a, 0);
    const listener = await Listener.open(nodes[1] as Server);
    await putSurely(a, 1);
    await poll(() => listener.told).toEqual([1]);
    // A session's lease ends although nobody schedules sweeps.
    const { body } = await a.ok('POST /v1/pools/p/sessions', { name: 's', ttlMs: 1000 });
    await poll(async () => (await b.call(`GET /v1/pools/p/collections/_clients/items/${body.session}`)).status).toBe(
      404,
    );
    await redis.restart();
    await redisIs(a).toBe('up');
    await redisIs(b).toBe('up');
    const heard = await metric(nodes[1] as Server, 'stargus_bus_wakes_total{direction="heard"}');
    for (let n = 2; n <= 20; n++) await putSurely(a, n);
    await poll(() => listener.told).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    await poll(() => metric(nodes[1] as Server, 'stargus_bus_wakes_total{direction="heard"}')).toBe(heard + 19);
    // And again with it, by whichever worker is asked over it.
    const again = await a.ok('POST /v1/pools/p/sessions', { name: 's', ttlMs: 1000 });
    await poll(
      async () => (await b.call(`GET /v1/pools/p/collections/_clients/items/${again.body.session}`)).status,
    ).toBe(404);
  });

  test.each(['killed', 'hanging'])('that is %s in the middle costs no event and no write', async (how) => {
    const [a, b] = await start(2);
    await redisIs(b).toBe('up');
    await putSurely(a, 0);
    const listener = await Listener.open(nodes[1] as Server);
    let n = 0;
    const write = async (count: number) => {
      for (let i = 0; i < count; i++) expect((await put(a, ++n)).status).toBe(200);
    };
    await write(20);
    if (how === 'killed') await redis.kill();
    else await redis.kill('SIGSTOP');
    await write(20);
    await redisIs(b).toBe('down');
    expect(await metric(nodes[1] as Server, 'stargus_redis_up')).toBe(0);
    await write(20);
    await poll(() => listener.told.length).toBe(n);
    if (how === 'killed') await redis.restart();
    else await redis.kill('SIGCONT');
    await write(20);
    await redisIs(b).toBe('up');
    await write(20);
    await poll(() => listener.told.length).toBe(n);
    expect(listener.told).toEqual(Array.from({ length: n }, (_, i) => i + 1));
    expect(listener.closed).toBe(false);
  });

  test('that is away keeps no process from ending in order', async () => {
    await start(1);
    await redis.kill();
    try {
      const [node] = nodes.splice(0);
      expect((await (node as Server).stop()).code).toBe(0);
    } finally {
      await redis.restart();
    }
  });
});

describe('the database', () => {
  const unavailable = ({ status, headers, body }: Answer) => {
    expect(status).toBe(503);
    expect(body.code).toBe('unavailable');
    expect(body.retryable).toBe(true);
    expect(Number(headers['retry-after'])).toBeGreaterThan(0);
  };

  test('that is killed is 503 with Retry-After, streams stay open with heartbeats, and all goes on when it is there again', async () => {
    const [a, b] = await start(2);
    await putSurely(a, 0);
    const listener = await Listener.open(nodes[1] as Server);
    const { body: session } = await a.ok('POST /v1/pools/p/sessions', { name: 's', ttlMs: 600_000 });
    await putSurely(a, 1);
    await poll(() => listener.told).toEqual([1]);
    await mariadb.kill();
    unavailable(await put(a, 2));
    unavailable(await b.call('GET /v1/pools/p/collections/c/items/k'));
    unavailable(await a.call('GET /readyz'));
    expect((await a.call('GET /healthz')).status).toBe(200);
    await pause(2000);
    expect(listener.closed).toBe(false);
    await mariadb.restart();
    await poll(async () => (await a.call('GET /readyz')).status).toBe(200);
    // The refused one may be tried again, and nothing of it was done.
    expect((await b.call('GET /v1/pools/p/collections/c/items/k')).body.attributes).toEqual({ n: 1 });
    for (let n = 2; n <= 10; n++) await putSurely(n % 2 ? a : b, n);
    await poll(() => listener.told).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(listener.closed).toBe(false);
    expect((await a.call(`GET /v1/pools/p/sessions/${session.session}`)).status).not.toBe(404);
  });

  test('that is away at the start is named in the message', async () => {
    await mariadb.kill();
    const failed = startServer({ database: 'mariadb', databaseUrl: `${mariadb.url}gone` });
    await expect(failed).rejects.toThrow(/could not start.*ECONNREFUSED/s);
    await mariadb.restart();
  });
});

describe('a rolling restart', () => {
  test('costs clients that retry and resume no write and no event', async () => {
    const [a] = await start(3, { STARGUS_DRAIN: '200ms' });
    await putSurely(a, 0);
    const urls = nodes.map(({ url }) => url);
    const told: number[] = [];
    const { cursor: since } = (await a.ok('GET /v1/pools/p/changes?since=now')).body;
    let cursor: string | undefined;
    let isDone = false;
    let turn = 0;
    let n = 0;
    // As an EventSource behind a load balancer, which sends it to any node that is there.
    const watching = (async () => {
      while (!isDone) {
        const headers = cursor === undefined ? {} : { headers: { 'last-event-id': cursor } };
        const url = `${urls[turn++ % urls.length]}/v1/pools/p/changes/stream?collection=c&since=${since}`;
        const stream = await openSse(url, headers).catch(() => undefined);
        if (stream?.status !== 200) {
          stream?.close();
          await pause(20);
          continue;
        }
        for (;;) {
          const event = await stream.next(undefined, 60_000).catch(() => undefined);
          if (!event) break;
          if (event.id) cursor = event.id;
          if (event.event === 'changes') told.push(event.data.changes[0].attributes.n);
          if (event.event === 'bye' || (isDone && (told.at(-1) ?? 0) > n)) break;
        }
        stream.close();
      }
    })();
    let isOver = false;
    const refused: number[] = [];
    const writing = (async () => {
      while (!isOver) {
        n++;
        for (let done = false; !done; ) {
          const answer = await put(clients[turn++ % clients.length] as Client, n).catch(() => undefined);
          done = answer?.status === 200;
          if (!done) await pause(20);
          if (answer && answer.status !== 200 && answer.status !== 503) refused.push(answer.status);
        }
        await pause(5);
      }
    })();
    for (let i = 0; i < nodes.length; i++) {
      const { databaseUrl } = nodes[i] as Server;
      expect((await (nodes[i] as Server).stop()).code).toBe(0);
      nodes[i] = await startServer({
        database: 'mariadb',
        databaseUrl,
        env: { STARGUS_REDIS_URL: redis.url },
      });
      urls[i] = (nodes[i] as Server).url;
      clients[i]?.close();
      clients[i] = new Client(urls[i] as string);
      await pause(200);
    }
    isOver = true;
    await writing;
    await poll(() => told.length).toBeGreaterThanOrEqual(n);
    isDone = true;
    await putSurely(clients[0] as Client, n + 1);
    await watching;
    expect(refused).toEqual([]);
    // A write whose answer was lost was made twice, which is one commit: the second changes nothing.
    expect(told.filter((value) => value <= n)).toEqual(Array.from({ length: n }, (_, i) => i + 1));
  });
});

describe('a worker', () => {
  test('tells how it is and nothing else, and does the sweeps of nodes that only answer', async () => {
    const [api] = await start(1, { STARGUS_ROLE: 'api' });
    const { databaseUrl } = nodes[0] as Server;
    const { body } = await api.ok('POST /v1/pools/p/sessions', { name: 's', ttlMs: 1000 });
    await pause(2000);
    const presence = `GET /v1/pools/p/collections/_clients/items/${body.session}`;
    expect((await api.call(presence)).status).toBe(200);
    const worker = await startServer({
      database: 'mariadb',
      databaseUrl,
      env: { STARGUS_REDIS_URL: redis.url, STARGUS_ROLE: 'worker' },
    });
    nodes.push(worker);
    await poll(async () => (await api.call(presence)).status).toBe(404);
    const client = new Client(worker.url);
    await redisIs(client).toBe('up');
    expect(await readiness(client)).toMatchObject({ status: 'ready', role: 'worker' });
    for (const path of ['/healthz', '/metrics']) expect((await fetch(`${worker.url}${path}`)).status).toBe(200);
    for (const line of ['GET /v1', 'GET /v1/pools/p', 'GET /docs', 'PUT /v1/pools/q', 'GET /healthz/x']) {
      const { status, body: problem } = await client.call(line);
      expect([line, status, problem.code]).toEqual([line, 404, 'notFound']);
    }
    client.close();
    expect((await worker.stop()).code).toBe(0);
  });
});
