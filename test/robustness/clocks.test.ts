/**
 * Workers whose clocks differ by a day: sweeps are done all the same, as often as ever. What is due is measured by the database's
 * clock, and how often one looks by a timer, so that a wrong clock of one machine stops nothing and hurries nothing.
 */
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { INSTALL_MS } from '../support/debian.js';
import { Client, pause } from './client.js';
import { Cluster, type Node, Services } from './cluster.js';

const DAY_S = 86_400;
/** A session's lease is over after a second, and is looked for four times a second. */
const ENDED_MS = 10_000;

let services: Services;
let cluster: Cluster;
let client: Client;
beforeAll(async () => {
  services = await Services.start();
  cluster = await Cluster.start({ database: 'mariadb', nodes: 2, clocks: true }, services);
  client = new Client(() => cluster.nodes[0]?.url as string);
  await client.ok('PUT /v1/pools/p', {});
}, INSTALL_MS);
afterAll(async () => {
  client?.close();
  await cluster?.close();
  await services?.close();
});

describe.each([
  { name: 'ahead', offset: DAY_S },
  { name: 'behind', offset: -DAY_S },
])('a worker whose clock was a day $name', ({ offset }) => {
  test('leaves no lease to last longer', async () => {
    const node = cluster.nodes[1] as Node;
    node.setClock(offset);
    await expectEnded();
    await pause(2_000);
    node.setClock(0);
    await expectEnded();
  });

  test('doesn’t hurry the sweeps', async () => {
    const node = cluster.nodes[1] as Node;
    const redis = new Redis(services.redis.port);
    try {
      const atRest = await commandsPerSecond(redis);
      node.setClock(offset);
      await pause(1_000);
      // At a loss BullMQ asks without a pause.
      expect(await commandsPerSecond(redis)).toBeLessThan(2 * atRest);
    } finally {
      redis.disconnect();
      node.setClock(0);
    }
  });
});

async function expectEnded(): Promise<void> {
  const { body } = await client.ok('POST /v1/pools/p/sessions', { name: 's', ttlMs: 1000 });
  const path = `/v1/pools/p/collections/_clients/items/${body.session}`;
  const status = async () => (await client.call(`GET ${path}`)).status;
  await expect.poll(status, { timeout: ENDED_MS, interval: 100 }).toBe(404);
}

/** Over three seconds. Those of scripts count too. */
async function commandsPerSecond(redis: Redis): Promise<number> {
  const count = async () => Number(/total_commands_processed:(\d+)/.exec(await redis.info('stats'))?.[1]);
  const [began, before] = [performance.now(), await count()];
  await pause(3_000);
  return (1000 * ((await count()) - before)) / (performance.now() - began);
}
