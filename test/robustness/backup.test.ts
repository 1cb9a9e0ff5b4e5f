/**
 * The restore drill: a server under writes by several clients, a backup in the middle, a fresh database filled from it (of either
 * kind), a server started on that. What it has is what the original had at one revision; nothing that was given out since is
 * taken for something else; and it goes on from there.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { runProgram } from '../support/program.js';
import { createDatabase, type DatabaseName, databases, type Server, startServer } from '../support/server.js';
import { openSse } from '../support/sse.js';
import { Client, type Item, type LoggedCommit, pause, until } from './client.js';
import { readIndexRows } from './index-rows.js';

const P = '/v1/pools/demo';
const C = `${P}/collections/things`;
const WRITERS = 4;

const folder = mkdtempSync(path.join(tmpdir(), 'stargus-drill-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Restored {
  readonly time: string;
  readonly pools: { name: string; epoch: string; revision: number; restoredRevision: number }[];
}

/** What the original server gave out, before the backup and after it. */
interface Given {
  readonly server: Server;
  readonly client: Client;
  readonly file: string;
  readonly log: readonly LoggedCommit[];
  readonly epoch: string;
  readonly session: { session: string; epoch: number };
  /** The same session, resumed after the backup. */
  readonly resumed: { session: string; epoch: number };
  readonly lock: { lock: string; fence: number };
}

test.each(databases)(
  'a backup of $name under load is restored into both',
  async ({ name }) => {
    const given = await load(name);
    const { server, client } = given;
    try {
      for (const { name: target } of databases) await drill(given, target);
      // The original was neither stopped nor changed by any of it.
      expect((await client.ok(`GET ${P}`)).body.epoch).toBe(given.epoch);
      expect((await runProgram(['doctor'], { STARGUS_DATABASE_URL: server.databaseUrl })).code).toBe(0);
    } finally {
      client.close();
      await server.stop();
    }
  },
  240_000,
);

/** A server that was written to before, during and after a backup. */
async function load(name: DatabaseName): Promise<Given> {
  const server = await startServer({ database: name });
  const environment = { STARGUS_DATABASE_URL: server.databaseUrl };
  const client = new Client(server.url);
  const entry = {
    indexes: ['n', { attribute: 'serial', unique: true }],
    expiry: { attribute: 'until' },
  };
  await client.ok(`PUT ${P}/collections/_dictionary/items/things`, { attributes: entry });
  await client.ok(`PUT /v1/pools/other/collections/a/items/b`, { attributes: { x: 1 } });
  await client.ok(`PUT /v1/pools/gone/collections/a/items/b`, { attributes: { x: 1 } });
  await client.ok(`DELETE /v1/pools/gone`);
  const { body: session } = await client.ok(`POST ${P}/sessions`, { name: 'worker', ttlMs: 600_000 });
  const { body: brief } = await client.ok(`POST ${P}/sessions`, { ttlMs: 600_000 });
  await client.ok(`PUT ${P}/sessions/${brief.session}/attachments/v`, { collection: 'things' });
  const { body: lock } = await client.ok(
    `POST ${P}/locks`,
    {
      session: session.session,
      mode: 'exclusive',
      scopes: [{ collection: 'locked' }],
    },
    { 'stargus-session': `${session.session};epoch=1` },
  );
  const numbered = (sequence: number, epoch: number) => ({
    session: { session: session.session, epoch, sequence },
    ops: [{ op: 'memento', value: `after ${sequence}` }],
  });
  await client.ok(`POST ${P}/batch`, numbered(1, 1));
  await client.ok(`PUT ${C}/items/once`, { attributes: { at: 'before' } }, { 'idempotency-key': 'before' });

  let over = false;
  let count = 0;
  const write = async (writer: number) => {
    for (let n = 0; !over; n++) {
      const key = `${writer}-${n % 40}`;
      const attributes = { n: n % 7, serial: `${writer}/${n}`, text: 'ä\u0000"\\'.repeat(n % 30) };
      const ops: object[] = [{ op: 'put', collection: 'things', key, attributes }];
      if (n % 5 === 4) ops.push({ op: 'delete', collection: 'things', key: `${writer}-${(n + 7) % 40}` });
      await client.ok(`POST ${P}/batch`, { ops }, { 'idempotency-key': `${writer}/${n}` });
      count++;
    }
  };
  const writers = Array.from({ length: WRITERS }, (_, writer) => write(writer));
  await until(
    () => `there are only ${count} writes`,
    () => count > 100,
  );
  const file = path.join(folder, `${name}.backup`);
  const [taken, examined] = await Promise.all([
    runProgram(['backup', '--to', file], environment),
    runProgram(['doctor'], environment),
  ]);
  expect([taken.code, taken.err.includes('No backup')]).toEqual([0, false]);
  expect([examined.code, examined.out]).toEqual([0, '']);
  const upTo = count + 100;
  await until(
    () => `there are only ${count} writes after the backup`,
    () => count > upTo,
  );
  over = true;
  await Promise.all(writers);
  await client.ok(`PUT ${C}/items/late`, { attributes: { at: 'after' } }, { 'idempotency-key': 'after' });
  await client.ok(`POST ${P}/batch`, numbered(2, 1));
  const { body: resumed } = await client.ok(`PUT ${P}/sessions/worker`, {});
  expect(resumed.epoch).toBe(2);
  const { commits: log } = await client.commits('demo');
  const { body: pool } = await client.ok(`GET ${P}`);
  return { server, client, file, log, epoch: pool.epoch, session, resumed, lock };
}

async function drill(given: Given, target: DatabaseName): Promise<void> {
  const databaseUrl = await createDatabase(target);
  const environment = { STARGUS_DATABASE_URL: databaseUrl };
  const run = await runProgram(['restore', '--from', given.file, '--json'], environment);
  expect([run.code, run.err.includes('Nothing was restored')]).toEqual([0, false]);
  const { pools } = JSON.parse(run.out) as Restored;
  expect(pools.map(({ name }) => name)).toEqual(['demo', 'other']);
  const { revision: R, restoredRevision, epoch } = pools[0] as Restored['pools'][number];
  const leap = restoredRevision - R;
  const newest = given.log.at(-1)?.revision as number;
  expect([R > 100, R < newest, leap > newest]).toEqual([true, true, true]);
  // Before any server has touched it: nothing contradicts, and indexes are complete already.
  expect(await runProgram(['doctor'], environment)).toMatchObject({ code: 0, out: '' });
  const { states, entries, faults } = await readIndexRows(databaseUrl);
  expect([states, faults, entries > 0]).toEqual([['ready', 'ready', 'ready'], [], true]);

  const server = await startServer({ database: target, databaseUrl });
  const client = new Client(server.url);
  try {
    await checkState(client, given, R, leap);
    await checkCursors(server, client, given, R, epoch);
    await checkNothingIsMistaken(client, given, R, leap);
    await checkSessions(client, given, leap);
    await checkGoingOn(server, client, restoredRevision);
    expect(await runProgram(['doctor'], environment)).toMatchObject({ code: 0, out: '' });
  } finally {
    client.close();
    await server.stop();
  }
}

/** The state is the original's at R, and so is the log up to there; only the numbers are others. */
async function checkState(client: Client, { log }: Given, R: number, leap: number): Promise<void> {
  const before = log.filter(({ revision }) => revision <= R);
  const expected = new Map<string, Item>();
  for (const { revision, changes } of before) {
    for (const { op, collection, key, attributes } of changes) {
      if (collection !== 'things') continue;
      const createdRevision = expected.get(key)?.createdRevision ?? revision + leap;
      if (op === 'delete') expected.delete(key);
      else expected.set(key, { collection, key, revision: revision + leap, createdRevision, attributes });
    }
  }
  const { items } = await client.items(C);
  expect(items).toEqual([...expected.values()].sort((a, b) => (a.key < b.key ? -1 : 1)));
  const { commits } = await client.commits('demo');
  const bare = ({ time, subject, changes }: LoggedCommit) => ({ time, subject, changes });
  expect(commits.slice(0, before.length).map(bare)).toEqual(before.map(bare));
  expect(commits.map(({ revision }) => revision)).toEqual(
    commits.map((_, i) => (before[0]?.revision as number) + leap + i),
  );
  const byIndex = await client.ok(`POST ${C}/query`, { where: { n: 3 }, explain: true, limit: 1000 });
  expect(byIndex.body.items).toHaveLength(items.filter(({ attributes }) => attributes.n === 3).length);
  expect(JSON.stringify(byIndex.body.plan)).toContain('"n"');
}

/** Cursors from before the restore are refused or reset, those of the backup's own revision too. */
async function checkCursors(server: Server, client: Client, { epoch: former, log }: Given, R: number, epoch: string) {
  expect((await client.ok(`GET ${P}`)).body.epoch).toBe(epoch);
  expect(epoch).not.toBe(former);
  for (const revision of [R - 10, R, R + 1, log.at(-1)?.revision]) {
    const cursor = `${former}-${revision}`;
    const page = await client.call(`GET ${P}/changes?since=${cursor}`);
    expect([page.status, page.body.code]).toEqual([410, 'cursorExpired']);
    expect(page.body.current).toMatch(new RegExp(`^${epoch}-`));
    const attach = await openSse(`${server.url}${C}/attach`, { headers: { 'last-event-id': cursor } });
    const reset = await attach.waitFor(({ event }) => event === 'reset');
    expect([reset.id, reset.data.reason]).toEqual(['', 'epoch']);
    await attach.waitFor(({ event }) => event === 'live');
    attach.close();
    const feed = await openSse(`${server.url}${P}/changes/stream`, { headers: { 'last-event-id': cursor } });
    expect((await feed.waitFor(({ event }) => event === 'reset')).data.reason).toBe('epoch');
    feed.close();
  }
}

/** Nothing that was given out between the backup and the restore fits anything now. */
async function checkNothingIsMistaken(client: Client, { log, lock, session, resumed }: Given, R: number, leap: number) {
  await client.ok(`PUT ${C}/items/new`, { attributes: { n: 1 } });
  const late = log.filter(({ revision }) => revision > R);
  for (const { revision } of late.slice(0, 20)) {
    const put = await client.call(`PUT ${C}/items/new`, { attributes: { n: 2 } }, { 'if-match': `"${revision}"` });
    expect(put.status).toBe(412);
    const get = await client.call(`GET ${C}/items/new`, undefined, { 'if-none-match': `"${revision}"` });
    expect(get.status).toBe(200);
  }
  // A write of before is answered from what was kept; one that the backup doesn't know is made.
  const again = (key: string) =>
    client.ok(
      `PUT ${C}/items/${key === 'before' ? 'once' : 'late'}`,
      { attributes: { at: key } },
      { 'idempotency-key': key },
    );
  const [known, unknown] = [await again('before'), await again('after')];
  expect([known.headers['idempotency-replayed'], unknown.headers['idempotency-replayed']]).toEqual(['true', undefined]);
  expect([known.body.revision <= R, unknown.body.revision > R + leap]).toEqual([true, true]);
  // Neither process of the session, nor its lock.
  for (const { epoch } of [session, resumed]) {
    const headers = { 'stargus-session': `${session.session};epoch=${epoch}` };
    expect(
      (await client.call(`POST ${P}/sessions/${session.session}/renew`, undefined, headers)).status,
    ).toBeGreaterThanOrEqual(400);
    expect((await client.call(`PUT ${C}/items/new`, { attributes: { n: 3 } }, headers)).body.code).toBe(
      'sessionFenced',
    );
  }
  const proof = { 'stargus-lock': `${lock.lock};fence=${lock.fence}` };
  expect((await client.call(`PUT ${C}/items/new`, { attributes: { n: 3 } }, proof)).body.code).toBe('lockLost');
}

/** What sessions held is free; what the backup remembers of a named one is there when it comes back. */
async function checkSessions(client: Client, { session, resumed }: Given, leap: number): Promise<void> {
  for (const collection of ['_locks', '_clients', '_attachments']) {
    for (let left = 1; left > 0; await pause(20))
      left = (await client.items(`${P}/collections/${collection}`)).items.length;
  }
  await client.ok(`PUT ${P}/collections/locked/items/free`, { attributes: { n: 1 } });
  const { body } = await client.ok(`PUT ${P}/sessions/worker`, {});
  expect(body).toMatchObject({ session: session.session, lastSequence: 1, memento: 'after 1' });
  expect(body.epoch).toBe(leap + 2);
  const batch = (epoch: number, sequence: number) =>
    client.call(`POST ${P}/batch`, { session: { session: session.session, epoch, sequence }, ops: [] });
  // The process that resumed it after the backup is not taken for the one that has it now.
  expect((await batch(resumed.epoch, 3)).body.code).toBe('sessionFenced');
  expect((await batch(body.epoch, 3)).body).toMatchObject({ code: 'sequenceGap', expected: 2 });
  expect((await batch(body.epoch, 2)).status).toBe(200);
}

/** Writers and watchers go on, and uniqueness holds from the first moment. */
async function checkGoingOn(server: Server, client: Client, revision: number): Promise<void> {
  const attach = await openSse(`${server.url}${C}/attach`);
  await attach.waitFor(({ event }) => event === 'live');
  const { items } = await client.items(C);
  const taken = items.find(({ attributes }) => attributes.serial !== undefined) as Item;
  const clash = await client.call(`PUT ${C}/items/clash`, { attributes: { serial: taken.attributes.serial } });
  expect([clash.status, clash.body.key]).toEqual([409, taken.key]);
  const written = await client.ok(`PUT ${C}/items/next`, { attributes: { n: 9 } });
  expect(written.body.revision).toBeGreaterThan(revision);
  const { id } = await attach.waitFor(({ data }) => data?.changes?.[0]?.key === 'next');
  attach.close();
  await client.ok(`PUT ${C}/items/next`, { attributes: { n: 10 } });
  const resumed = await openSse(`${server.url}${C}/attach`, { headers: { 'last-event-id': id as string } });
  const { data } = await resumed.waitFor(({ event }) => event === 'changes');
  expect(data.changes[0]).toMatchObject({ op: 'change', key: 'next', attributes: { n: 10 } });
  resumed.close();
}
