/**
 * On a Galera cluster the nodes of the database don't share their locks, and each applies what the others committed a little later.
 * Three servers, each at a node of its own, are one Stargus all the same: what is judged is judged in the one order of commits, what
 * counts once counts once, and a node that is killed or cut off loses nothing.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDatabase } from '../../src/store/data-source.js';
import type { Database } from '../../src/store/dialect.js';
import { SqlIdentityStore } from '../../src/store/identities.js';
import { SqlLogins } from '../../src/store/logins.js';
import { SqlStore } from '../../src/store/store.js';
import { type Client, type Headers, inParallel, pause, until } from './client.js';
import { GaleraSite, Writers } from './galera.js';
import { checkFold, Watcher } from './watcher.js';

const MINUTE = 60_000;

describe('three nodes of a Galera cluster', () => {
  let site: GaleraSite;
  const node = (i: number) => site.clients[i % 3] as Client;
  beforeAll(async () => {
    site = await GaleraSite.start();
  }, 180_000);
  afterAll(() => site?.close(), 60_000);

  test('three servers that start at once on an empty database migrate it once', async () => {
    const [migrations] = await site.query(2, 'SELECT COUNT(*) AS n, COUNT(DISTINCT name) AS names FROM migrations');
    expect(Number(migrations?.n)).toBeGreaterThan(5);
    expect(migrations?.names).toBe(migrations?.n);
    expect(await site.query(1, "SHOW TABLES LIKE 'migration_turn'")).toEqual([]);
  });

  test('compare and set, and increments, over all three count exactly', async () => {
    const item = '/v1/pools/counts/collections/c/items';
    await node(0).ok(`PUT ${item}/n`, { attributes: { n: 0 } });
    const loop = (i: number) => async () => {
      for (;;) {
        const { headers, body } = await node(i).ok(`GET ${item}/n`);
        const next = { attributes: { n: body.attributes.n + 1 } };
        const { status } = await node(i).call(`PUT ${item}/n`, next, { 'if-match': headers.etag as string });
        if (status === 200) break;
        expect(status).toBe(412);
      }
      await node(i).ok(`POST ${item}/m/increment`, { attribute: 'm', by: 1 });
    };
    await inParallel(
      12,
      Array.from({ length: 48 }, (_, i) => loop(i)),
    );
    for (const client of site.clients) {
      expect((await client.ok(`GET ${item}/n`)).body.attributes).toEqual({ n: 48 });
      expect((await client.ok(`GET ${item}/m`)).body.attributes).toEqual({ m: 48 });
    }
  });

  test('a refusal, and a write without effect, is of what was acknowledged before, at any node', async () => {
    for (let i = 0; i < 25; i++) {
      const P = `/v1/pools/present-${i}`;
      const item = `${P}/collections/c/items/k`;
      const [here, there, third] = [node(i), node(i + 1), node(i + 2)];
      expect(await there.call(`PUT ${item}`, { attributes: { n: 1 } }, { 'if-match': '*' })).toMatchObject({
        status: 412,
      });
      // The pool is made by the first commit: until then there is no row to lock.
      await here.ok(`PUT ${item}`, { attributes: { n: 1 } });
      expect(await there.call(`POST ${P}/collections/c/items`, { key: 'k', attributes: {} })).toMatchObject({
        status: 409,
      });
      expect((await third.ok(`PUT ${item}`, { attributes: { n: 1 } })).body).toMatchObject({
        revision: 1,
        changed: [],
      });
      await there.ok(`DELETE ${item}`);
      expect((await here.ok(`DELETE ${item}`)).body).toMatchObject({ revision: 2, existed: false });
      expect(await third.call(`GET ${item}`)).toMatchObject({ status: 404 });
      await third.ok(`POST ${P}/collections/c/items`, { key: 'k', attributes: {} });
    }
  });

  test('a pool that was made through one node is there for whoever asks another while it is made', async () => {
    for (let i = 0; i < 20; i++) {
      const P = `/v1/pools/made-${i}`;
      const asked = Promise.all(Array.from({ length: 5 }, () => node(i + 1).call(`DELETE ${P}/collections/c/items/x`)));
      await node(i).ok(`PUT ${P}`);
      const after = await node(i + 1).call(`DELETE ${P}/collections/c/items/x`);
      expect(after).toMatchObject({ status: 200, body: { existed: false } });
      await asked;
    }
  });

  test('a lock that one node granted excludes at the others, and who holds it writes alone', async () => {
    const P = '/v1/pools/locked';
    const item = `${P}/collections/c/items/n`;
    await node(0).ok(`PUT ${item}`, { attributes: { n: 0 } });
    const works = Array.from({ length: 6 }, (_, i) => async () => {
      const { session, epoch } = (await node(i).ok(`POST ${P}/sessions`, {})).body;
      const as = { 'stargus-session': `${session};epoch=${epoch}` };
      for (let round = 0; round < 4; round++) {
        const scopes = [{ collection: 'c', key: 'n' }];
        const asked = await node(i).ok(`POST ${P}/locks`, { session, mode: 'exclusive', scopes, waitMs: 60_000 });
        let { lock, state, fence } = asked.body;
        while (state === 'waiting')
          ({ state, fence } = (await node(i).ok(`GET ${P}/locks/${lock}?waitMs=5000`, undefined, as)).body);
        expect(state).toBe('granted');
        const proof: Headers = { 'stargus-lock': `${lock};fence=${fence}` };
        expect(await node(i + 1).call(`PUT ${item}`, { attributes: { n: -1 } })).toMatchObject({ status: 423 });
        const { n } = (await node(i + 1).ok(`GET ${item}`)).body.attributes;
        // Any node takes the proof.
        await node(i + 2).ok(`PUT ${item}`, { attributes: { n: n + 1 } }, proof);
        await node(i).ok(`DELETE ${P}/locks/${lock}`, undefined, as);
      }
    });
    await inParallel(6, works);
    expect((await node(0).ok(`GET ${item}`)).body.attributes).toEqual({ n: 24 });
  }, 120_000);

  describe('the store, at two nodes', () => {
    let databases: Database[];
    beforeAll(async () => {
      databases = await Promise.all([0, 1].map((i) => openDatabase({ url: site.databaseUrl(i), migrate: false })));
    });
    afterAll(async () => {
      for (const database of databases ?? []) await database.close();
    });
    const both = <T>(work: (database: Database) => Promise<T>) => Promise.all(databases.map(work));
    const digest = () => `${randomUUID()}-digest`;

    test('takes a nonce once, uses a proof once, and exchanges a refresh token once', async () => {
      for (let i = 0; i < 15; i++) {
        const [nonce, proof, first] = [digest(), digest(), digest()];
        const [here] = databases as [Database];
        await new SqlLogins(here).addNonce(nonce, MINUTE);
        expect((await both((database) => new SqlLogins(database).takeNonce(nonce))).sort()).toEqual([false, true]);
        const used = await both((database) => new SqlLogins(database).useProofs([proof, digest()], MINUTE));
        expect(used.map(([isNew]) => isNew).sort()).toEqual([false, true]);
        const of = { kid: 'k', thumbprint: undefined, grants: undefined, contentKey: undefined };
        await new SqlLogins(here).beginLogin({ id: randomUUID(), subject: 's', ...of }, first, MINUTE);
        const turned = await both((database) => new SqlLogins(database).rotate(first, digest(), MINUTE, MINUTE));
        expect(turned.sort()).toEqual(['reused', 'rotated']);
      }
    });

    test('takes turns where an account is altered: both have decided by all its keys', async () => {
      const account = { account: 'ann', isHosted: true };
      const jwk = (x: string) => ({ kty: 'OKP' as const, crv: 'Ed25519' as const, x: x.padEnd(43, 'A') });
      const ids = Array.from({ length: 12 }, (_, i) => `kid-${i}`);
      const add = (database: Database, kid: string) =>
        new SqlIdentityStore(database).transact(account, async (tx) => {
          // As who has a limit of keys decides: by how many there are.
          if (tx.keys.length >= 6) return false;
          await tx.addKey({ kid, jwk: jwk(kid) } as unknown as Parameters<typeof tx.addKey>[0], 'operator' as never);
          return true;
        });
      const added = await inParallel(
        12,
        ids.map((kid, i) => () => add(databases[i % 2] as Database, kid)),
      );
      expect(added.filter(Boolean)).toHaveLength(6);
      const [row] = await site.query(1, "SELECT COUNT(*) AS n FROM identity_key WHERE account = 'ann'");
      expect(row?.n).toBe(6);
    });

    test('adds up what both note of one day', async () => {
      const pool = (await node(0).ok('PUT /v1/pools/noted')).body.pool as string;
      const stores = databases.map((database) => new SqlStore(database));
      const { head } = (await stores[0]?.pool(pool)) ?? {};
      const count = { requests: 1, writes: 0, bytesIn: 0, bytesOut: 0, streamMs: 0, refusals: 0, blocks: 0 };
      const rounds = Array.from(
        { length: 30 },
        (_, i) => () =>
          (stores[i % 2] as SqlStore).addUsage([{ poolId: head?.id as number, subject: 'ann', ...count }]),
      );
      await inParallel(4, rounds);
      const [row] = await site.query(0, "SELECT SUM(requests) AS n FROM pool_usage WHERE subject = 'ann'");
      expect(Number(row?.n)).toBe(30);
    });

    test('lets only one of two judge by a pool’s row, whatever else they write', async () => {
      const pool = (await node(0).ok('PUT /v1/pools/judged')).body.pool as string;
      const inTurn = async (database: Database) => {
        let arrived = () => {};
        const mine = new Promise<void>((resolve) => (arrived = resolve));
        const outcome = new SqlStore(database).transact(async (tx) => {
          await tx.lockPool(pool);
          arrived();
          await gate;
        });
        await mine;
        return outcome;
      };
      let open = () => {};
      const gate = new Promise<void>((resolve) => (open = resolve));
      const outcomes = databases.map(inTurn);
      await pause(200);
      open();
      const settled = await Promise.allSettled(outcomes);
      expect(settled.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
      expect(settled.find(({ status }) => status === 'rejected')).toMatchObject({
        reason: { name: 'RetryTransaction' },
      });
    });
  });

  test('an index that one node builds while others write has every item', async () => {
    const C = '/v1/pools/indexed/collections/c';
    const ops = (from: number) =>
      Array.from({ length: 500 }, (_, i) => ({
        op: 'put',
        collection: 'c',
        key: `k${from + i}`,
        attributes: { n: 0 },
      }));
    for (const from of [0, 500, 1000]) await node(0).ok('POST /v1/pools/indexed/batch', { ops: ops(from) });
    let writing = true;
    const writers = [0, 1, 2].map(async (i) => {
      for (let n = 1; writing; n++)
        await node(i).ok(`PATCH ${C}/items/k${(n * 37 + i * 500) % 1500}`, { attributes: { n: (n % 5) + 1 } });
    });
    await node(1).ok('PUT /v1/pools/indexed/collections/_dictionary/items/c', { attributes: { indexes: ['n'] } });
    const states = () => site.query(2, "SELECT state FROM collection_index WHERE state <> 'ready'");
    for (const end = Date.now() + 60_000; (await states()).length > 0 && Date.now() < end; ) await pause(100);
    writing = false;
    await Promise.all(writers);
    expect(await states()).toEqual([]);
    const { items } = await node(2).items(C);
    for (const n of [0, 1, 2, 3, 4, 5]) {
      const { body } = await node(n).ok(`POST ${C}/query`, { where: { n }, limit: 1, count: 'exact' });
      expect([n, body.count]).toEqual([n, items.filter(({ attributes }) => attributes.n === n).length]);
    }
    const [entries] = await site.query(
      0,
      'SELECT COUNT(*) AS n FROM item_index x JOIN collection_index c ON c.id = x.index_id JOIN pool p ON p.id = x.pool_id WHERE p.name = "indexed"',
    );
    expect(Number(entries?.n)).toBe(1500);
  }, 120_000);

  test('a database node that is killed loses nothing: writers and watchers of all three go on', async () => {
    const pool = 'killed';
    // The first commit is the only one that is also about something else: the collection that it makes.
    const things = `/v1/pools/${pool}/collections/things`;
    await node(0).ok(`PUT ${things}/items/first`, { attributes: { value: 'first' } });
    const watchers = [0, 1, 2].flatMap((i) =>
      (['feed', 'attach'] as const).map((kind) =>
        new Watcher(() => site.servers[i]?.url as string, pool, { kind, collection: 'things', values: 'full' }).start(),
      ),
    );
    await until(
      () => 'the watchers are not live',
      () => watchers.every(({ failure, reached }) => failure || reached >= 0),
      60_000,
    );
    const writers = new Writers(site.clients, pool);
    writers.acknowledged.push({ revision: 1, key: 'first', value: 'first' });
    writers.start();
    await pause(1500);
    await site.kill(1);
    const before = writers.acknowledged.length;
    await site.untilReady(1, 503);
    const refused = await node(1).call(`PUT /v1/pools/${pool}/collections/other/items/k`, { attributes: {} });
    expect(refused).toMatchObject({ status: 503, body: { code: 'unavailable' } });
    expect(refused.headers['retry-after']).toBeDefined();
    // The others find out that it is gone, and go on.
    await until(
      () => 'nothing was written without the killed node',
      () => writers.acknowledged.length > before + 20,
      60_000,
    );
    await site.restart(1);
    await site.untilReady(1, 200);
    await pause(1500);
    await writers.stop();
    const [here, ...others] = await Promise.all(site.clients.map((client) => writers.check(client)));
    for (const log of others) expect(log).toEqual(here);
    const commits = here ?? [];
    for (const watcher of watchers) {
      await until(
        () => `${watcher.name} is at ${watcher.reached} of ${commits.length}`,
        () => watcher.failure !== undefined || watcher.reached >= commits.length,
        60_000,
      );
      await watcher.stop();
      expect(watcher.resets).toEqual([]);
      expect(watcher.lives).toHaveLength(1);
      const { after = 0, commits: told = [] } = watcher.life ?? {};
      const seen = commits.filter(
        ({ revision, changes }) => revision > after && changes.some(({ collection }) => collection === 'things'),
      );
      expect(told.map(({ revision }) => revision)).toEqual(seen.map(({ revision }) => revision));
      expect(told.map(({ changes }) => changes)).toEqual(
        seen.map(({ changes }) => changes.filter(({ collection }) => collection === 'things')),
      );
      checkFold(watcher, (await node(2).items(things)).items);
    }
    expect(writers.acknowledged.length).toBeGreaterThan(50);
  }, 240_000);

  test('a database node that is cut off is not ready, takes nothing, and is current when it is back', async () => {
    const item = '/v1/pools/cut/collections/c/items/n';
    await node(0).ok(`PUT ${item}`, { attributes: { n: 0 } });
    await site.isolate(2, true);
    await site.untilReady(2, 503);
    const answers = await Promise.all([
      node(2).call(`PUT ${item}`, { attributes: { n: -1 } }),
      node(2).call(`GET ${item}`),
      node(2).call(`DELETE ${item}`, undefined, { 'if-match': '"99"' }),
    ]);
    for (const { status, headers } of answers) {
      expect(status).toBe(503);
      expect(headers['retry-after']).toBeDefined();
    }
    // What was sent before it was known to be cut off may have to wait as long.
    for (let end = Date.now() + 60_000, n = 1; ; n++) {
      const answer = await node(0)
        .call(`PUT ${item}`, { attributes: { n } })
        .catch(() => undefined);
      if (answer?.status === 200 && n > 3) break;
      if (Date.now() > end) throw new Error('The others do not go on');
    }
    const present = await node(1).ok(`GET ${item}`);
    await site.isolate(2, false);
    await site.untilReady(2, 200);
    // It may still close connections that it had.
    let back = await node(2).call(`GET ${item}`);
    for (let i = 0; back.status === 503 && i < 50; i++) {
      await pause(200);
      back = await node(2).call(`GET ${item}`);
    }
    expect(back.body).toEqual(present.body);
    const { body } = await node(2).ok(
      `PUT ${item}`,
      { attributes: { n: 'back' } },
      { 'if-match': present.headers.etag as string },
    );
    expect(body.revision).toBe(present.body.revision + 1);
  }, 180_000);
});
