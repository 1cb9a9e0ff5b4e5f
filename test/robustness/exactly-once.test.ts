/**
 * Exactly once under kills: clients that number their batches, and crash themselves, against servers that are killed and started
 * anew. Each number that was used up is in the counters once, whoever crashed when. See numbering.ts.
 */
import { describe, expect, test } from 'vitest';
import { type DatabaseName, type Server, startServer } from '../support/server.js';
import { Client, pause } from './client.js';
import { NUMBERED, NumberingClient } from './numbering.js';

const POOL = 'once';
const KILLS = 6;

const variants: { name: DatabaseName; nodes: number }[] = [
  { name: 'sqlite', nodes: 1 },
  { name: 'mariadb', nodes: 2 },
];

describe.each(variants)('numbered batches on $name, nodes: $nodes', ({ name, nodes }) => {
  test('apply once, whatever is killed', async () => {
    const servers: Server[] = [await startServer({ database: name })];
    const { databaseUrl } = servers[0] as Server;
    while (servers.length < nodes) servers.push(await startServer({ database: name, databaseUrl }));
    let turn = 0;
    const client = new Client(() => (servers[turn++ % servers.length] as Server).url);
    await client.ok(`PUT /v1/pools/${POOL}`);

    // Of two the lease is over before a killed server is back: they are remembered.
    const clients = [1_000, 1_000, 30_000, 30_000].map((ttlMs, i) => new NumberingClient(client, POOL, `c${i}`, ttlMs));
    let over = false;
    const works = clients.map((each) => each.run(() => over));
    const failed = Promise.all(works).then(() => undefined);
    const nemesis = async () => {
      for (let kill = 0; kill < KILLS; kill++) {
        await pause(300 + Math.random() * 700);
        const i = kill % nodes;
        await servers[i]?.kill();
        await pause(Math.random() * 500);
        servers[i] = await startServer({ database: name, databaseUrl });
      }
      await pause(300);
    };
    await Promise.race([nemesis(), failed]).finally(() => {
      over = true;
    });
    const used = await Promise.all(works);

    const { items } = await client.items(`/v1/pools/${POOL}/collections/${NUMBERED}`);
    const counted = Object.fromEntries(items.map(({ key, attributes }) => [key, attributes.n]));
    const all = used.reduce((sum, sequences) => sum + sequences, 0);
    expect(counted).toEqual({ all, c0: used[0], c1: used[1], c2: used[2], c3: used[3] });
    const { commits } = await client.commits(POOL, 'start', `&collection=${NUMBERED}`);
    expect(commits).toHaveLength(all);
    // What didn't happen proves nothing.
    const sum = (of: (each: NumberingClient) => number) => clients.reduce((total, each) => total + of(each), 0);
    expect(all).toBeGreaterThan(100);
    expect(sum(({ unanswered }) => unanswered)).toBeGreaterThan(0);
    expect(sum(({ found }) => found)).toBeGreaterThan(0);
    expect(sum(({ resumptions }) => resumptions)).toBeGreaterThan(10);
    client.close();
  }, 120_000);
});
