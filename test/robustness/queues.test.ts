/**
 * A queue under kills: workers that share it, crash themselves and are slower than they may be, at servers that are killed and
 * started anew, while deliveries come, some of them again and again. Each is counted once. See queue-worker.ts.
 */
import { describe, expect, test } from 'vitest';
import { delivery, Postman, withPostman } from '../support/postman.js';
import { createDatabase, type Server, startServer } from '../support/server.js';
import { Client, pause } from './client.js';
import { variants } from './nodes.js';
import { COUNTED, QueueWorker } from './queue-worker.js';

const POOL = 'queue';
const ENTRIES = 160;
const PACK = 20;
const KILLS = 5;
const DRAIN_MS = 90_000;

const pack = (first: number) =>
  Array.from({ length: PACK }, (_, i) => delivery(first + i, { session: 'jobs', series: 'one' }));

describe.each(variants)('workers at a queue on $name, nodes: $nodes', ({ name, nodes }) => {
  test('count each delivery once, whatever is killed', { timeout: 240_000 }, async () => {
    const databaseUrl = await createDatabase(name);
    // Beside a server on SQLite nobody else may write.
    const isShared = name !== 'sqlite';
    if (!isShared)
      await withPostman(databaseUrl, async (postman) => {
        for (let first = 1; first <= ENTRIES; first += PACK) await postman.deliver(POOL, pack(first));
      });
    const servers: Server[] = [];
    while (servers.length < nodes) servers.push(await startServer({ database: name, databaseUrl }));
    let turn = 0;
    const client = new Client(() => (servers[turn++ % servers.length] as Server).url);
    await client.ok(`PUT /v1/pools/${POOL}`);

    const workers = Array.from({ length: 4 }, (_, i) => new QueueWorker(client, POOL, 'jobs', `w${i}`));
    let over = false;
    const works = workers.map((worker) => worker.run(() => over));
    const failed = Promise.all(works).then(() => undefined);
    const delivering = isShared ? deliverAll(databaseUrl) : Promise.resolve();
    const story = async () => {
      for (let kill = 0; kill < KILLS; kill++) {
        await pause(300 + Math.random() * 700);
        const i = kill % nodes;
        await servers[i]?.kill();
        await pause(Math.random() * 300);
        servers[i] = await startServer({ database: name, databaseUrl });
      }
      await delivering;
      for (const deadline = Date.now() + DRAIN_MS; ; await pause(200)) {
        const { body } = await client.ok(`GET /v1/pools/${POOL}/sessions/jobs/queue?limit=1`);
        if (body.count === 0) break;
        if (Date.now() > deadline) throw new Error(`${body.count} entries were left`);
      }
    };
    await Promise.race([story(), failed]).finally(() => {
      over = true;
    });
    await Promise.all(works);

    const { items } = await client.items(`/v1/pools/${POOL}/collections/${COUNTED}`);
    const counted = new Map(items.map(({ key, attributes }) => [key, attributes.n]));
    expect(counted).toEqual(new Map(Array.from({ length: ENTRIES }, (_, i) => [`n-${i + 1}`, 1])));
    const { body } = await client.ok(`GET /v1/pools/${POOL}/sessions/jobs/queue`);
    expect(body).toMatchObject({ count: 0, held: 0, bytes: 0, dropped: 0 });
    // What didn't happen proves nothing.
    const sum = (of: (worker: QueueWorker) => number) => workers.reduce((total, each) => total + of(each), 0);
    expect(sum(({ done }) => done)).toBeGreaterThan(ENTRIES / 2);
    expect(sum(({ crashes }) => crashes)).toBeGreaterThan(0);
    expect(workers.every(({ done }) => done > 0)).toBe(true);
    client.close();
  });
});

/** Delivers everything as a notifier does that is killed now and then before it has noted how far it got. */
async function deliverAll(databaseUrl: string): Promise<void> {
  const postman = await Postman.open(databaseUrl);
  try {
    for (let first = 1; first <= ENTRIES; first += PACK) {
      await postman.deliver(POOL, pack(first));
      await pause(100);
      if (Math.random() < 0.5) await postman.deliver(POOL, pack(first));
    }
  } finally {
    await postman.close();
  }
}
