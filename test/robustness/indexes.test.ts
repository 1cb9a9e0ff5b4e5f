/**
 * Indexes that are built while others write, and while the server is killed, hold what a rebuild from nothing would: each entry
 * that an item must have, and no other. Read straight from the database; no answer of the server is trusted.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkHealth } from '../support/program.js';
import { type DatabaseName, databases, type Server, startServer } from '../support/server.js';
import { Client, pause } from './client.js';
import { COLLECTIONS, command, resolve, send } from './commands.js';
import { readIndexRows } from './index-rows.js';
import { Model } from './model.js';

const P = '/v1/pools/indexed';
const C = `${P}/collections/things`;
const ENTRY = `${P}/collections/_dictionary/items/things`;
const ITEMS = 5000;
const INDEXES = ['n', ['-m', '/o/p'], { attribute: 'u', unique: true }] as const;
const env = { STARGUS_SWEEP: '200ms' };
const READY_MS = 30_000;
/** So long at most a writer of a cluster rests: against writers who never do a declaration would lose for ever. */
const REST_MS = process.env.STARGUS_TEST_GALERA ? 300 : 0;

let serial = 0;
const any = <T>(values: readonly T[]): T => values[Math.floor(Math.random() * values.length)] as T;

/** Values of few and of many kinds, long ones, absent ones; `u` is never the same twice. */
function attributes(): Record<string, unknown> {
  serial++;
  return {
    n: any([serial, -serial, `${serial}`, null, true, 'x'.repeat(300) + (serial % 5)]),
    m: any([1, 2, 'a', null]),
    o: any([{ p: serial % 7 }, { p: [serial % 3, {}] }, {}, null]),
    u: any([`u${serial}`, `u${serial}`, null]),
    rest: serial,
  };
}

async function fill(client: Client): Promise<void> {
  for (let from = 0; from < ITEMS; from += 1000) {
    const ops = Array.from({ length: 1000 }, (_, i) => ({
      op: 'put',
      collection: 'things',
      key: `k${from + i}`,
      attributes: attributes(),
    }));
    await client.ok(`POST ${P}/batch`, { ops });
  }
}

/** On a cluster a declaration, which takes long to be written, may lose for ten seconds to writers of other nodes: then once more. docs/SCALING.md says so. */
async function declare(client: Client, indexes: readonly unknown[]): Promise<void> {
  for (const end = Date.now() + READY_MS; ; ) {
    const answer = await client.call(`PUT ${ENTRY}`, { attributes: { indexes } }).catch(() => undefined);
    if (answer && answer.status < 300) return;
    const isLater = process.env.STARGUS_TEST_GALERA && (!answer || answer.status === 503) && Date.now() < end;
    if (!isLater) throw new Error(`The declaration came to ${JSON.stringify(answer)}`);
  }
}

/** Writes until it is told to stop. What the server doesn't answer may have happened or not. */
class Writers {
  #over = false;
  writes = 0;
  readonly #loops: Promise<void>[];

  constructor(clients: readonly Client[], amount: number) {
    this.#loops = Array.from({ length: amount }, (_, i) => this.#write(clients[i % clients.length] as Client));
  }

  async stop(): Promise<void> {
    this.#over = true;
    await Promise.all(this.#loops);
  }

  async #write(client: Client): Promise<void> {
    while (!this.#over) {
      // The items that are built next, those that are built already, and new ones at either end.
      const key = () => any(['k', 'k', 'k', 'a', 'z']) + Math.floor(Math.random() * ITEMS);
      const ops = Array.from({ length: 1 + Math.floor(Math.random() * 5) }, () => {
        const op = any(['put', 'merge', 'delete']);
        return { op, collection: 'things', key: key(), ...(op !== 'delete' && { attributes: attributes() }) };
      });
      const answer = await client.call(`POST ${P}/batch`, { ops }).catch(() => undefined);
      if (answer && answer.status < 300) this.writes++;
      else if (answer && answer.status < 500) throw new Error(`Refused: ${JSON.stringify(answer.body)}`);
      else await pause(20);
      if (REST_MS > 0) await pause(Math.random() * REST_MS);
    }
  }
}

async function untilReady(client: Client): Promise<void> {
  const deadline = Date.now() + READY_MS;
  for (;;) {
    const { body } = await client.ok(`GET ${C}`);
    const states = body.indexes.map(({ state }: { state: string }) => state);
    if (states.length > 0 && states.every((state: string) => state === 'ready')) return;
    if (Date.now() > deadline) throw new Error(`The indexes are ${states} after ${READY_MS} ms`);
    await pause(50);
  }
}

/** Stops the servers, and expects of what they leave that the entries are right and none is left of what was dropped. */
async function expectRight(servers: readonly Server[], indexes: number, entriesMin: number): Promise<void> {
  const [{ databaseUrl }] = servers as [Server];
  await expect
    .poll(async () => (await readIndexRows(databaseUrl)).states, { timeout: READY_MS, interval: 200 })
    .toEqual(Array(indexes).fill('ready'));
  for (const server of servers) await server.stop();
  const { faults, states, entries } = await readIndexRows(databaseUrl);
  expect(faults).toEqual([]);
  expect(states).toEqual(Array(indexes).fill('ready'));
  expect(entries).toBeGreaterThan(entriesMin);
}

async function declareAgainAndAgain(clients: readonly Client[], databaseUrl: string): Promise<void> {
  const [client] = clients as [Client];
  await fill(client);
  const writers = new Writers(clients, 4);
  for (let round = 0; round < 12; round++) {
    const declared = INDEXES.filter(() => Math.random() < 0.6);
    await declare(clients[round % clients.length] as Client, declared);
    await pause(Math.random() * 250);
    if (round % 4 === 3) expect((await readIndexRows(databaseUrl)).faults).toEqual([]);
  }
  // From here on all three are built while the writers go on.
  await declare(client, []);
  await declare(client, INDEXES);
  await untilReady(client);
  const { writes } = writers;
  await pause(200);
  await writers.stop();
  expect(writes).toBeGreaterThan(50);
}

describe.each(databases)('indexes on $name', ({ name }) => {
  test('that are declared, dropped and declared again beside writers are as if built from nothing', {
    timeout: 120_000,
  }, async () => {
    const server = await startServer({ database: name, env });
    const client = new Client(server.url);
    await declareAgainAndAgain([client], server.databaseUrl);
    client.close();
    await expectRight([server], 3, ITEMS * 2);
  });

  test('whose builds are killed are as if built from nothing', { timeout: 120_000 }, () => killed(name));

  test('follow random writes, imports and deletions by query', { timeout: 120_000 }, async () => {
    const server = await startServer({ database: name, env });
    const client = new Client(server.url);
    const describeAll = async () => {
      const indexes = ['n', '-m', ['list', 'é 😀'], '/m/n', { attributes: ['n', 'constructor'], unique: true }];
      for (const collection of COLLECTIONS) {
        // While items of the model have the same values, the index can't be unique.
        const refused = await client.call(`PUT ${P}/collections/_dictionary/items/${collection}`, {
          attributes: { indexes, expiry: 'm' },
        });
        if (refused.status >= 400) {
          await client.ok(`PUT ${P}/collections/_dictionary/items/${collection}`, {
            attributes: { indexes: indexes.slice(0, 4) },
          });
        }
      }
    };
    const commands = fc.sample(command, 600);
    for (const [i, drawn] of commands.entries()) {
      if (i % 50 === 0) await describeAll();
      const writes: Promise<{ status: number }>[] = [send(client, 'indexed', resolve(drawn, new Model()))];
      if (i % 10 === 5) writes.push(imports(client, server.url));
      if (i % 10 === 9) {
        const where = any<object>([{ n: { gt: 0 } }, { m: { exists: true } }, { list: { has: 'x' } }]);
        writes.push(client.call(`POST ${P}/collections/${any(COLLECTIONS)}/delete`, { where, limit: 3 }));
      }
      for (const { status } of await Promise.all(writes)) expect(status).toBeLessThan(500);
      if (i % 150 === 149) expect((await readIndexRows(server.databaseUrl)).faults).toEqual([]);
    }
    await describeAll();
    expect((await readIndexRows(server.databaseUrl)).faults).toEqual([]);
    client.close();
    await server.stop();
    const { states, faults } = await readIndexRows(server.databaseUrl);
    expect(faults).toEqual([]);
    expect(states).not.toContain('building');
  });
});

describe('indexes over two nodes', () => {
  test('that both write and declare are as if built from nothing', { timeout: 120_000 }, async () => {
    const a = await startServer({ database: 'mariadb', env });
    const b = await startServer({ database: 'mariadb', databaseUrl: a.databaseUrl, env });
    const clients = [new Client(a.url), new Client(b.url)];
    await declareAgainAndAgain(clients, a.databaseUrl);
    for (const client of clients) client.close();
    await expectRight([a, b], 3, ITEMS * 2);
  });
});

async function killed(name: DatabaseName): Promise<void> {
  let server = await startServer({ database: name, env });
  const client = new Client(() => server.url);
  await fill(client);
  const writers = new Writers([client], 3);
  let interrupted = 0;
  for (let crash = 0; crash < 5; crash++) {
    await declare(client, []);
    await declare(client, INDEXES);
    await pause(Math.random() * 80);
    await server.kill();
    const { faults, states } = await readIndexRows(server.databaseUrl);
    expect(faults).toEqual([]);
    if (states.includes('building')) interrupted++;
    await checkHealth(server.databaseUrl);
    server = await startServer({ database: name, databaseUrl: server.databaseUrl, env });
    // A build that was interrupted goes on by itself.
    await untilReady(client);
  }
  await writers.stop();
  client.close();
  expect(interrupted).toBeGreaterThan(0);
  await expectRight([server], 3, ITEMS * 2);
}

/** A few items more, some of which are refused for what is unique. */
async function imports(client: Client, url: string): Promise<{ status: number }> {
  const lines = Array.from({ length: 20 }, (_, i) => ({
    collection: any(COLLECTIONS),
    key: any(['a', 'A', 'á', `i${i}`]),
    attributes: { n: any([1, 'x', [1], null]), m: any([{ n: 1 }, 0.5, null]), list: [i], constructor: i % 3 },
  }));
  const body = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
  const headers = { 'content-type': 'application/x-ndjson' };
  const response = await fetch(`${url}${P}/import`, { method: 'POST', headers, body });
  await response.text();
  await client.ok(`GET ${P}`);
  return response;
}
