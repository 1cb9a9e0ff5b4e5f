/**
 * Two nodes on one MariaDB database are one Stargus: whatever is written through one is there through the other at once,
 * conditions hold over both, and a watcher on one hears what is written through the other, once and in order.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Server, startServer } from '../support/server.js';
import { type Answer, Client, inParallel, until } from './client.js';
import { KEYS, Load } from './load.js';
import { checkLives, Watcher } from './watcher.js';

describe('two nodes on one database', () => {
  let a: Server;
  let b: Server;
  let onA: Client;
  let onB: Client;
  const nodes = () => [onA, onB] as const;
  const node = (i: number) => (i % 2 ? onB : onA);
  beforeAll(async () => {
    a = await startServer({ database: 'mariadb' });
    b = await startServer({ database: 'mariadb', databaseUrl: a.databaseUrl });
    onA = new Client(a.url);
    onB = new Client(b.url);
  });
  afterAll(() => {
    onA?.close();
    onB?.close();
  });

  test('compare and set: fifty loops over both count exactly', async () => {
    const item = '/v1/pools/cas/collections/c/items/n';
    await onA.ok(`PUT ${item}`, { attributes: { n: 0 } });
    let refused = 0;
    const loops = Array.from({ length: 50 }, (_, i) => async () => {
      for (;;) {
        const { headers, body } = await node(i).ok(`GET ${item}`);
        const { status } = await node(i).call(
          `PUT ${item}`,
          { attributes: { n: body.attributes.n + 1 } },
          { 'if-match': headers.etag as string },
        );
        if (status === 200) return;
        expect(status).toBe(412);
        refused++;
      }
    });
    await inParallel(50, loops);
    for (const client of nodes())
      expect((await client.ok(`GET ${item}`)).body).toMatchObject({ revision: 51, attributes: { n: 50 } });
    expect(refused).toBeGreaterThan(0);
  });

  test('increments over both are all there, each with a value of its own', async () => {
    const item = '/v1/pools/increments/collections/c/items/n';
    const answers = await inParallel(
      20,
      Array.from({ length: 300 }, (_, i) => () => node(i).ok(`POST ${item}/increment`, { attribute: 'n', by: 1 })),
    );
    const byRevision = answers
      .map(({ body }) => body as { revision: number; value: number })
      .sort((x, y) => x.revision - y.revision);
    expect(byRevision.map(({ value }) => value)).toEqual(Array.from({ length: 300 }, (_, i) => i + 1));
    expect(byRevision.map(({ revision }) => revision)).toEqual(Array.from({ length: 300 }, (_, i) => i + 1));
  });

  test('what was written through one is read through the other at once: item, attribute, list, counts', async () => {
    const P = '/v1/pools/reads';
    const C = `${P}/collections/c`;
    for (let n = 1; n <= 60; n++) {
      const [writer, reader] = n % 2 ? [onA, onB] : [onB, onA];
      const { body } = await writer.ok(`PUT ${C}/items/k${n % 7}`, { attributes: { n } });
      const [item, attribute, list, pool] = await Promise.all([
        reader.ok(`GET ${C}/items/k${n % 7}`),
        reader.ok(`GET ${C}/items/k${n % 7}/attributes/n`),
        reader.ok(`GET ${C}/items`),
        reader.ok(`GET ${P}`),
      ]);
      expect(item.body).toMatchObject({ revision: body.revision, attributes: { n } });
      expect(attribute.body.value).toBe(n);
      expect(list.body.items).toContainEqual(item.body);
      expect(pool.body).toMatchObject({ revision: n, items: Math.min(n, 7) });
    }
    await onA.ok(`DELETE ${C}/items/k1`);
    expect((await onB.call(`GET ${C}/items/k1`)).status).toBe(404);
    expect((await onB.ok(`GET ${C}/items`)).body.items).toHaveLength(6);
  });

  test('readers never see the past while both are written', async () => {
    const item = '/v1/pools/monotone/collections/c/items/n';
    let acknowledged = 0;
    let writing = true;
    await onA.ok(`PUT ${item}`, { attributes: { n: 0 } });
    const reader = async (client: Client) => {
      let reads = 0;
      for (; writing; reads++) {
        const least = acknowledged;
        const { body } = await client.ok(`GET ${item}`);
        if (body.attributes.n < least) throw new Error(`read ${body.attributes.n} after ${least} was acknowledged`);
      }
      return reads;
    };
    const readers = [onA, onB, onA, onB].map(reader);
    for (let i = 0; i < 120; i++) {
      const { body } = await node(i).ok(`POST ${item}/increment`, { attribute: 'n', by: 1 });
      acknowledged = body.value;
    }
    writing = false;
    for (const reads of await Promise.all(readers)) expect(reads).toBeGreaterThan(10);
  });

  test('who is told that an item is missing is told the state in which it was, not a later one', async () => {
    const pool = 'missed';
    const C = `/v1/pools/${pool}/collections/c1`;
    await onA.ok(`PUT ${C}/items/first`, { attributes: { n: 0 } });
    // With a watcher on it the other node learns of commits by itself, also between the reading of an item and the answer.
    const watcher = new Watcher(() => b.url, pool, { kind: 'feed', values: 'none' }).start();
    let isOver = false;
    const missed: { key: string; at: number }[] = [];
    let key = 'k0';
    const readers = Array.from({ length: 6 }, async () => {
      while (!isOver) {
        const asked = key;
        const { status, headers } = await onB.call(`GET ${C}/items/${asked}`);
        if (status === 404) missed.push({ key: asked, at: Number(headers['stargus-revision']) });
      }
    });
    const created = new Map<string, number>();
    for (let i = 0; i < 250; i++) {
      key = `k${i}`;
      created.set(key, (await onA.ok(`PUT ${C}/items/${key}`, { attributes: { n: i } })).body.revision);
    }
    isOver = true;
    await Promise.all(readers);
    await watcher.stop();
    expect(missed.length).toBeGreaterThan(50);
    expect(missed.filter((each) => each.at >= (created.get(each.key) ?? 0))).toEqual([]);
  });

  test('a watcher on each hears what both write, in order and once', async () => {
    const pool = 'watched';
    await onA.ok(`PUT /v1/pools/${pool}`);
    const variants = [
      { kind: 'attach' as const, collection: 'c1' },
      { kind: 'feed' as const },
      { kind: 'attach' as const, collection: 'c1', prefix: 'a' },
      { kind: 'attach' as const, collection: 'c1', where: { room: 'red' } },
    ];
    // Some change between the nodes: a cursor of one is good on the other.
    let turn = 0;
    const places = [() => a.url, () => b.url, () => (++turn % 2 ? a.url : b.url)];
    const watchers = places.flatMap((place, i) =>
      variants.map((variant) =>
        new Watcher(place, pool, { ...variant, values: 'full' }, i === 2 ? [5, 10, 20, 30] : []).start(),
      ),
    );
    await until(
      () => 'not live',
      () => watchers.every(({ failure, reached }) => failure || reached >= 0),
    );
    const load = new Load(onA, pool);
    const other = new Load(onB, pool);
    const write = async (own: Load, seed: number) => {
      for (let i = 0; i < 150; i++) {
        const keys = [KEYS[(i * seed) % KEYS.length], KEYS[(i * seed + 1 + (i % 3)) % KEYS.length]] as string[];
        await own.write(
          keys.map((key, k) => ({
            op: k && i % 4 === 0 ? 'delete' : 'put',
            collection: i % 5 ? 'c1' : 'c2',
            key,
            extra: i % 3,
            room: ['red', 'blue'][(i + k) % 2],
          })),
        );
      }
    };
    await Promise.all([write(load, 3), write(other, 5), write(load, 7)]);
    load.acknowledged.push(...other.acknowledged);
    for (const watcher of watchers) {
      await until(
        () => `${watcher.name} is at ${watcher.reached} of ${load.revision}`,
        () => watcher.failure !== undefined || watcher.reached >= load.revision,
      );
      await watcher.stop();
    }
    const { model, stateAt } = load.truth(
      watchers.flatMap(({ lives }) => lives.flatMap(({ after, reached }) => [after ?? 0, reached])),
    );
    expect(model.revision).toBe(450);
    for (const watcher of watchers) checkLives(watcher, model.commits, stateAt);
  });

  test('a pool that one deletes is gone for the other, which had it ready, and for its watchers', async () => {
    const P = '/v1/pools/deleted';
    const item = `${P}/collections/c/items/k`;
    const { headers } = await onA.ok(`PUT ${item}`, { attributes: { n: 1 } });
    await onA.ok(`GET ${item}`);
    const watcher = new Watcher(() => a.url, 'deleted', { kind: 'feed', values: 'full' }).start();
    await until(
      () => 'not live',
      () => watcher.reached >= 1,
    );
    const { stream } = watcher;
    await onB.ok(`DELETE ${P}`);
    for (const client of nodes()) {
      expect((await client.call(`GET ${item}`)).status).toBe(404);
      expect((await client.call(`GET ${P}/collections/c/items`)).status).toBe(404);
    }
    await stream?.waitFor(({ event, data }) => event === 'bye' && data.reason === 'deleted', 10_000);
    // A watcher that comes back with its cursor doesn't make the pool anew: it is told that there is none.
    await watcher.stop().catch((error: Error) => expect(error.message).toContain('404'));
    for (const client of nodes()) expect((await client.call(`GET ${item}`)).status).toBe(404);
    // A new one of the same name is another life: it begins at 1, and old cursors are recognized.
    const again = await onA.ok(`PUT ${item}`, { attributes: { n: 2 } });
    expect(again.body).toMatchObject({ revision: 1, createdRevision: 1 });
    for (const client of nodes()) {
      expect((await client.ok(`GET ${item}`)).body.attributes).toEqual({ n: 2 });
      expect((await client.call(`GET ${P}/changes?since=${headers['stargus-cursor']}`)).status).toBe(410);
    }
  });

  test('a write through a node that still knows the deleted pool goes to the new one', async () => {
    const item = '/v1/pools/remade/collections/c/items';
    for (let i = 0; i < 5; i++) {
      await onA.ok(`PUT ${item}/old`, { attributes: { i } });
      await onB.ok('DELETE /v1/pools/remade');
      await onB.ok(`PUT ${item}/new`, { attributes: { i } });
      const { body } = await onA.ok(`PUT ${item}/more`, { attributes: { i } });
      expect(body.revision).toBe(2);
      for (const client of nodes())
        expect((await client.ok(`GET ${item}`)).body.items.map(({ key }: { key: string }) => key)).toEqual([
          'more',
          'new',
        ]);
      await onB.ok('DELETE /v1/pools/remade');
    }
  });

  test('a collection that one makes or drops is so for the other', async () => {
    const P = '/v1/pools/collections';
    await onA.ok(`PUT ${P}/collections/first/items/k`, { attributes: {} });
    await onA.ok(`GET ${P}/collections/first`);
    await onB.ok(`PUT ${P}/collections/second`, { description: 'by B' });
    await onB.ok(`PUT ${P}/collections/third/items/k`, { attributes: { n: 1 } });
    expect((await onA.ok(`GET ${P}/collections/second`)).body).toMatchObject({ items: 0, description: 'by B' });
    expect((await onA.ok(`GET ${P}/collections/third/items/k`)).body.attributes).toEqual({ n: 1 });
    const list = async (client: Client) =>
      (await client.ok(`GET ${P}/collections`)).body.collections.map(
        ({ collection, items }: { collection: string; items: number }) => [collection, items],
      );
    expect(await list(onA)).toEqual([
      ['first', 1],
      ['second', 0],
      ['third', 1],
    ]);
    await onB.ok(`DELETE ${P}/collections/first`);
    expect((await onA.call(`GET ${P}/collections/first`)).status).toBe(404);
    expect((await onA.call(`GET ${P}/collections/first/items/k`)).status).toBe(404);
    await onA.ok(`PUT ${P}/collections/first/items/other`, { attributes: {} });
    for (const client of nodes())
      expect(await list(client)).toEqual([
        ['first', 1],
        ['second', 0],
        ['third', 1],
      ]);
  });

  test('a collection that one makes without items, and what is said of it, is known to the other', async () => {
    const P = '/v1/pools/defined/collections';
    await onA.ok(`PUT ${P}/first/items/k`, { attributes: {} });
    await onB.ok(`GET ${P}/first/items/k`);
    const attributes = { schema: { required: ['must'] }, indexes: [{ attribute: 'must', unique: true }] };
    await onA.ok(`PUT ${P}/_dictionary/items/second`, { attributes });
    await onB.ok('GET /v1/pools/defined');
    // A commit that makes B look at what collections there are, after it has taken in the one that made `second`.
    await onA.ok(`PUT ${P}/third/items/k`, { attributes: {} });
    expect((await onB.ok(`GET ${P}/second`)).body).toMatchObject({ collection: 'second', items: 0 });
    expect(await onB.call(`PUT ${P}/second/items/a`, { attributes: {} })).toMatchObject({ status: 422 });
    await onB.ok(`PUT ${P}/second/items/a`, { attributes: { must: 1 } });
    expect(await onA.call(`PUT ${P}/second/items/b`, { attributes: { must: 1 } })).toMatchObject({ status: 409 });
    // The other's very next write is into it.
    await onA.ok(`PUT ${P}/fourth`, { description: 'empty' });
    await onB.ok(`PUT ${P}/fourth/items/a`, { attributes: { n: 1 } });
    for (const client of nodes()) {
      expect((await client.ok(`GET ${P}/_dictionary/items/second`)).body.attributes).toEqual(attributes);
      expect((await client.ok(`GET ${P}/fourth`)).body).toMatchObject({ items: 1, description: 'empty' });
    }
  });

  test('collections made through one in many pools at once don’t stop the other', async () => {
    const pools = Array.from({ length: 40 }, (_, i) => `/v1/pools/many-${i}/collections`);
    await inParallel(
      40,
      pools.map((C) => () => onA.ok(`PUT ${C}/first/items/k`, { attributes: { n: 1 } })),
    );
    await inParallel(
      40,
      pools.map((C) => () => onB.ok(`PUT ${C}/second/items/k`, { attributes: { n: 1 } })),
    );
    const answers = await inParallel(
      40,
      pools.map((C) => () => onA.ok(`PUT ${C}/first/items/k`, { attributes: { n: 2 } })),
    );
    expect(answers.map(({ body }) => body.revision)).toEqual(pools.map(() => 3));
  });

  test('a repetition with its Idempotency-Key on the other node gets the same answer, also while the first is under way', async () => {
    const item = '/v1/pools/once/collections/c/items/n';
    const add = (client: Client, key: string, by = 1) =>
      client.call(`POST ${item}/increment`, { attribute: 'n', by }, { 'idempotency-key': key });
    const first = await add(onA, 'k');
    const second = await add(onB, 'k');
    expect(second.body).toEqual(first.body);
    expect(second.headers).toMatchObject({
      'idempotency-replayed': 'true',
      etag: first.headers.etag,
      'stargus-cursor': first.headers['stargus-cursor'],
    });
    expect(await add(onB, 'k', 2)).toMatchObject({ status: 422, body: { code: 'idempotencyKeyReused' } });
    for (let i = 0; i < 20; i++) {
      const answers = await Promise.all([onA, onB, onA, onB].map((client) => add(client, `both-${i}`)));
      for (const answer of answers) expect(answer.body).toEqual((answers[0] as Answer).body);
      expect(answers.filter(({ headers }) => headers['idempotency-replayed'] === undefined)).toHaveLength(1);
    }
    expect((await onA.ok(`GET ${item}`)).body.attributes.n).toBe(21);
  });

  test('a pool is made once, however many nodes and writers make it at the same time', async () => {
    for (let i = 0; i < 10; i++) {
      const P = `/v1/pools/race-${i}`;
      const answers = await Promise.all(
        Array.from({ length: 8 }, (_, k) => node(k).ok(`PUT ${P}/collections/c/items/k${k}`, { attributes: { k } })),
      );
      expect(new Set(answers.map(({ headers }) => headers['stargus-cursor']?.replace(/-\d+$/, ''))).size).toBe(1);
      expect(answers.map(({ body }) => body.revision).sort((x, y) => x - y)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
      for (const client of nodes())
        expect((await client.ok(`GET ${P}`)).body).toMatchObject({ revision: 8, items: 8, collections: 1 });
    }
    const made = await Promise.all(Array.from({ length: 10 }, (_, k) => node(k).ok('PUT /v1/pools/put-race')));
    expect(made.filter(({ status }) => status === 201)).toHaveLength(1);
  });
});
