/** Locks and leases where the database fails or holds something up: what a node believes of them stays what the database says. */
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createConnection } from 'mysql2/promise';
import { expect, test } from 'vitest';
import { startServer } from '../support/server.js';
import { Client } from './client.js';

const P = '/v1/pools/p';

/** A way to a database on which the first statement that holds the text stalls, and its connection is lost on either side. */
async function wayTo(databaseUrl: string, text: string) {
  const url = new URL(databaseUrl);
  let isArmed = false;
  let cut: { down: net.Socket; up: net.Socket } | undefined;
  let stall: () => void;
  const stalled = new Promise<void>((resolve) => {
    stall = resolve;
  });
  const proxy = net.createServer((down) => {
    const up = net.connect(Number(url.port || 3306), url.hostname);
    const isCut = () => cut?.down === down;
    down.on('data', (bytes) => {
      if (isArmed && bytes.includes(text)) {
        isArmed = false;
        cut = { down, up };
        stall();
      } else if (!isCut()) up.write(bytes);
    });
    up.on('data', (bytes) => !isCut() && down.write(bytes));
    for (const socket of [up, down]) socket.on('error', () => undefined);
    up.on('close', () => !isCut() && down.destroy());
    down.on('close', () => up.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const via = new URL(databaseUrl);
  via.hostname = '127.0.0.1';
  via.port = String((proxy.address() as net.AddressInfo).port);
  return {
    url: via.href,
    arm: () => {
      isArmed = true;
    },
    stalled,
    /** The database sees that the connection is lost, and ends its transaction. */
    loseAbove: () => cut?.up.destroy(),
    /** The node sees it too. */
    loseBelow: () => cut?.down.destroy(),
    close: () => proxy.close(),
  };
}

test('what a reader learned of locks while a group failed is not undone with it', async () => {
  const one = await startServer({ database: 'mariadb' });
  const way = await wayTo(one.databaseUrl, 'INSERT INTO collection ');
  const two = await startServer({ database: 'mariadb', databaseUrl: way.url });
  const [onOne, onTwo] = [new Client(one.url), new Client(two.url)];
  await onTwo.ok(`PUT ${P}/collections/z/items/k`, { attributes: { n: 0 } });
  const begin = async () => (await onTwo.ok(`POST ${P}/sessions`, { ttlMs: 600_000 })).body.session as string;
  const [first, second] = [await begin(), await begin()];
  const lock = (session: string, collection: string) => ({ session, mode: 'exclusive', scopes: [{ collection }] });
  await onTwo.ok(`POST ${P}/locks`, lock(first, 'other'));
  way.arm();
  const failing = onTwo.call(`PUT ${P}/collections/fresh/items/k`, { attributes: { n: 0 } });
  await way.stalled;
  way.loseAbove();
  const held = (await onOne.ok(`POST ${P}/locks`, lock(second, 'z'))).body;
  expect((await onTwo.ok(`GET ${P}/locks`)).body.locks).toHaveLength(2);
  way.loseBelow();
  // It was judged by a lock that was lost and others took: it is judged anew.
  expect((await failing).status).toBe(201);
  const write = `PUT ${P}/collections/z/items/k`;
  expect((await onTwo.call(write, { attributes: { n: 1 } })).status).toBe(423);
  expect((await onTwo.call(`POST ${P}/locks`, lock(first, 'z'))).status).toBe(409);
  const proof = { 'stargus-lock': `${held.lock};fence=${held.fence}` };
  expect((await onTwo.call(write, { attributes: { n: 2 } }, proof)).status).toBe(200);
  for (const client of [onOne, onTwo]) client.close();
  await two.stop();
  await one.stop();
  way.close();
}, 60_000);

test('a session whose row is locked keeps no other pool’s leases from being renewed', async () => {
  const server = await startServer({ database: 'mariadb' });
  const client = new Client(server.url);
  const begin = async (pool: string) =>
    (await client.ok(`POST /v1/pools/${pool}/sessions`, { ttlMs: 2000 })).body.session as string;
  const [stuck, free] = [await begin('p'), await begin('q')];
  const stream = await fetch(`${server.url}/v1/pools/q/sessions/${free}/events`);
  const database = await createConnection(server.databaseUrl);
  await database.query('START TRANSACTION');
  await database.query('SELECT * FROM session WHERE id = ? FOR UPDATE', [stuck]);
  const header = { 'stargus-session': `${stuck};epoch=1` };
  const renewing = client.call(`POST /v1/pools/p/sessions/${stuck}/renew`, undefined, header);
  await sleep(5000);
  expect((await client.call(`GET /v1/pools/q/sessions/${free}`)).status).toBe(200);
  await database.query('ROLLBACK');
  await database.end();
  // Its lease was over meanwhile.
  expect([404, 409]).toContain((await renewing).status);
  await stream.body?.cancel();
  client.close();
  await server.stop();
}, 60_000);
