/**
 * Traps into which others fell who built what Stargus is: each stands here by the name of what happened there. Those that a test
 * elsewhere has covered are named in README.md.
 */
import { readdirSync, readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { connected, head } from '../support/raw.js';
import { databases, type Server, startServer } from '../support/server.js';
import { type Answer, Client, pause, until } from './client.js';
import { startNodes } from './nodes.js';
import { Watcher } from './watcher.js';

const clients: Client[] = [];
const clientOf = (server: Server) => {
  const client = new Client(server.url);
  clients.push(client);
  return client;
};
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});

/** Writers that don't pause, until they are told to stop. */
class Writers {
  written = 0;
  revision = 0;
  #isOver = false;
  readonly #running: Promise<unknown>;

  constructor(client: Client, collection: string, count = 8) {
    const work = async (_: unknown, own: number) => {
      for (let n = 0; !this.#isOver; n++) {
        const { body } = await client.ok(`PUT ${collection}/items/k${own}`, { attributes: { n } });
        this.written++;
        this.revision = Math.max(this.revision, body.revision);
      }
    };
    this.#running = Promise.all(Array.from({ length: count }, work));
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#running;
  }
}

async function metric({ url }: Server, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(new RegExp(`^${name}(?:\\{\\})? ([\\d.e+]+)$`, 'm').exec(text)?.[1]);
}

const LIVES = 10;

/** A machine that has much else to do takes minutes for what takes seconds. */
const LIMIT_MS = 600_000;

describe('traps', { timeout: LIMIT_MS }, () => {
  test('a poll loop that starves under writes: a watcher elsewhere is told while they go on', async () => {
    const [a, b] = (await startNodes('mariadb', 2)) as [Server, Server];
    const client = clientOf(a);
    await client.ok('PUT /v1/pools/p/collections/c');
    const watcher = new Watcher(() => b.url, 'p', { kind: 'feed', collection: 'c', values: 'none' }).start();
    await until(
      () => 'not live',
      () => watcher.reached >= 0,
    );
    // Its own node has as much to do as the other.
    const writers = [
      new Writers(client, '/v1/pools/p/collections/c'),
      new Writers(clientOf(b), '/v1/pools/p/collections/d'),
    ];
    for (let round = 0; round < 10; round++) {
      const told = (writers[0] as Writers).revision;
      await until(
        () => `${watcher.reached} of ${told} are told`,
        () => watcher.failure !== undefined || (watcher.reached >= told && (writers[0] as Writers).revision > told),
      );
    }
    for (const each of writers) await each.stop();
    await watcher.stop();
  });

  test('watchers flooded by single-event messages: commits of a group are one message', async () => {
    const server = await startServer({ database: 'sqlite' });
    const client = clientOf(server);
    await client.ok('PUT /v1/pools/p/collections/c');
    const watchers = Array.from({ length: 20 }, () =>
      new Watcher(() => server.url, 'p', { kind: 'feed', values: 'changed' }).start(),
    );
    await until(
      () => 'not live',
      () => watchers.every(({ reached }) => reached >= 0),
    );
    const before = await metric(server, 'stargus_watch_frames_total');
    const writes = Array.from({ length: 640 }, (_, n) =>
      client.ok(`PUT /v1/pools/p/collections/c/items/k${n}`, { attributes: { n } }),
    );
    const last = Math.max(...(await Promise.all(writes)).map(({ body }) => body.revision));
    await until(
      () => `${watchers.map(({ reached }) => reached)} of ${last}`,
      () => watchers.every(({ failure, reached }) => failure || reached >= last),
    );
    const frames = (await metric(server, 'stargus_watch_frames_total')) - before;
    for (const watcher of watchers) await watcher.stop();
    expect(watchers.map(({ life }) => life?.commits.length)).toEqual(watchers.map(() => 640));
    expect(frames).toBeLessThan((640 * watchers.length) / 4);
  });

  test.each(databases)('compaction that never succeeds under load, on $name', async ({ name }) => {
    const env = { STARGUS_HISTORY_COMMITS: '100', STARGUS_SWEEP: '200ms' };
    const client = clientOf(await startServer({ database: name, env }));
    await client.ok('PUT /v1/pools/p/collections/c');
    const writers = new Writers(client, '/v1/pools/p/collections/c');
    let oldest = 0;
    for (let round = 0; round < 3; round++) {
      const [former, written] = [oldest, writers.written];
      for (const end = Date.now() + 20_000; oldest <= former || writers.written < written + 100; await pause(50)) {
        if (Date.now() > end) throw new Error(`The log begins at ${oldest} after ${writers.revision} commits`);
        oldest = (await client.ok('GET /v1/pools/p')).body.oldestRevision;
      }
    }
    await writers.stop();
    // It keeps what it should.
    const { commits } = await client.commits('p');
    expect(commits.length).toBeGreaterThanOrEqual(100);
  });

  test('clients that vanish in mid-long-poll, 10,000 of them, leave nothing behind', async () => {
    // So little heap that what is kept for each of them shows, and isn't only not collected yet.
    const env = { STARGUS_CONNECTIONS_PER_ADDRESS: '20000', NODE_OPTIONS: '--max-old-space-size=160' };
    const server = await startServer({ database: 'sqlite', env });
    const client = clientOf(server);
    await client.ok('PUT /v1/pools/p/collections/c');
    const watcher = new Watcher(() => server.url, 'p', { kind: 'feed', values: 'changed' }).start();
    await until(
      () => 'not live',
      () => watcher.reached >= 0,
    );
    const [handles, groups] = [handlesOf(server), await metric(server, 'stargus_watch_groups')];
    const memory: number[] = [];
    for (let wave = 0; wave < 20; wave++) {
      const sockets = await Promise.all(Array.from({ length: 500 }, (_, i) => waiting(server, wave * 500 + i)));
      await eventually('they wait', async () => (await metric(server, 'stargus_watch_groups')) >= groups + 500);
      for (const socket of sockets) socket.resetAndDestroy();
      await eventually('nobody waits', async () => (await metric(server, 'stargus_watch_groups')) === groups);
      memory.push(memoryOf(server));
      await client.ok('PUT /v1/pools/p/collections/c/items/k', { attributes: { wave } });
    }
    await eventually('their handles are closed', async () => handlesOf(server) <= handles + 5);
    const { revision } = (await client.ok('GET /v1/pools/p')).body;
    await until(
      () => `${watcher.reached} of ${revision}`,
      () => watcher.reached >= revision,
    );
    await watcher.stop();
    // A leak of 10 KB for each would be 80 MB between these two.
    expect((memory.at(-1) as number) - (memory[3] as number)).toBeLessThan(80);
  });

  test('a new epoch paired with an old revision: each cursor is one that there was', async () => {
    const [a, b] = (await startNodes('mariadb', 2)) as [Server, Server];
    const [onA, onB] = [clientOf(a), clientOf(b)];
    const P = '/v1/pools/p';
    /** The last revision of each life. */
    const lives = new Map<string, number>();
    const cursors: string[] = [];
    let isOver = false;
    const keep = ({ headers, body }: Answer) => {
      for (const cursor of [headers['stargus-cursor'], body?.cursor]) if (cursor) cursors.push(cursor);
    };
    const read = async (path: string) => {
      while (!isOver) keep(await onB.call(`GET ${P}${path}`));
    };
    const reading = Promise.all(['/collections/c/items/k', '/collections/c/items', '/changes?since=now', ''].map(read));
    // Each life is shorter than the one before, so that a revision of the old one is none of the new.
    const write = async () => {
      for (let length = LIVES; length > 0; length--) {
        for (let n = 0; n < length; n++) {
          const answer = await onA.ok(`PUT ${P}/collections/c/items/k`, { attributes: { length, n } });
          keep(answer);
          const [epoch, revision] = (answer.headers['stargus-cursor'] as string).split('-') as [string, string];
          lives.set(epoch, Number(revision));
        }
        if (length % 2) await pause(20);
        await onA.ok(`DELETE ${P}`);
      }
    };
    await write().finally(() => {
      isOver = true;
    });
    await reading;
    expect(lives.size).toBe(LIVES);
    expect(cursors.length).toBeGreaterThan(100);
    const wrong = cursors.filter((cursor) => {
      const [epoch, revision] = cursor.split('-') as [string, string];
      return Number(revision) > (lives.get(epoch) ?? -1);
    });
    expect(wrong).toEqual([]);
  });
});

/** A connection on which a request waits for news of keys for which nobody else waits. */
async function waiting(server: Server, i: number): Promise<Socket> {
  const socket = await connected(server);
  const query = `since=now&waitMs=60000&collection=c&prefix=p${i}-`;
  socket.write(`${head(server, `GET /v1/pools/p/changes?${query}`)}`);
  return socket;
}

async function eventually(what: string, condition: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 30_000; !(await condition()); await pause(20))
    if (Date.now() > end) throw new Error(`It never came about that ${what}.`);
}

function handlesOf({ pid }: Server): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** In MB. */
function memoryOf({ pid }: Server): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}
