/**
 * Watching while everything moves: writers write, watchers of every kind lose their connections and resume, the log is
 * compacted under them, readers stop reading, snapshots are taken of what changes. What each was told is compared with
 * the truth: every commit that its view sees, once, in order, whole; and snapshot and changes together are the state.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { searching } from '../support/budget.js';
import { databases, type Server, startServer } from '../support/server.js';
import { Client, pause, until } from './client.js';
import type { Where } from './filtering.js';
import { KEYS, Load, type Write, write } from './load.js';
import { checkFold, checkLives, type Variant, Watcher } from './watcher.js';

const BUDGET_MS = searching(14_000);

const values = fc.constantFrom<Variant['values']>('changed', 'full', 'none');
const fields = fc.option(fc.constantFrom(['n'], ['m', 's'], ['s']), { nil: undefined });
const view = fc.oneof(
  fc.constant({}),
  fc.record({ key: fc.constantFrom(...KEYS) }),
  fc.record({ prefix: fc.constantFrom('a', 'b/', '😀', '\ufffd', 'x') }),
  fc.record({ start: fc.constantFrom('a2', 'b/', '\ufffd1'), end: fc.constantFrom('b/2', 'é', '😀2') }),
);
const where = fc.option(
  fc.constantFrom<Where>(
    { room: 'red' },
    { room: 'blue' },
    { room: { in: ['blue', 'green'] } },
    { room: { exists: false } },
    { room: 'red', m: { exists: true } },
    { s: { exists: true }, not: { room: 'green' } },
    { or: [{ room: 'green' }, { '/@key': { prefix: 'b/' } }] },
    { '/@revision': { lt: 40 } },
  ),
  { nil: undefined },
);
const variant: fc.Arbitrary<Variant> = fc
  .record({
    kind: fc.constantFrom('attach' as const, 'feed' as const),
    everywhere: fc.boolean(),
    view,
    where,
    fields,
    values,
  })
  .map(({ kind, everywhere, view, where, fields, values }) => ({
    kind,
    ...(kind === 'feed' && everywhere ? {} : { collection: 'c1' }),
    ...view,
    where,
    fields,
    values,
  }));

const scenario = fc.record({
  writers: fc.array(fc.array(write(), { minLength: 15, maxLength: 60, size: 'max' }), { minLength: 2, maxLength: 4 }),
  watchers: fc.array(
    fc.record({
      variant,
      cuts: fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 8 }),
      delayMs: fc.nat({ max: 60 }),
      fromStart: fc.boolean(),
    }),
    {
      minLength: 4,
      maxLength: 10,
      size: 'max',
    },
  ),
});

describe.each(databases)('watching on $name', ({ name }) => {
  let server: Server;
  let client: Client;
  beforeAll(async () => {
    server = await startServer({ database: name });
    client = new Client(server.url);
  });
  afterAll(() => client?.close());

  /** Waits until the watchers were told everything, ends them, and compares what they were told with what was written. */
  async function settle(load: Load, watchers: readonly Watcher[]): Promise<void> {
    const { revision } = load;
    for (const watcher of watchers) {
      await until(
        () => `${watcher.name} is at ${watcher.reached} of ${revision}`,
        () => watcher.failure !== undefined || watcher.reached >= revision,
      );
    }
    for (const watcher of watchers) await watcher.stop();
    const wanted = watchers.flatMap(({ lives }) => lives.flatMap(({ after, reached }) => [after ?? 0, reached]));
    const { model, stateAt } = load.truth(wanted);
    for (const watcher of watchers) checkLives(watcher, model.commits, stateAt);
  }

  test('misses nothing and repeats nothing, however connections are cut', async () => {
    let runs = 0;
    let connections = 0;
    await fc.assert(
      fc.asyncProperty(scenario, async (drawn) => {
        const pool = `watch-${++runs}`;
        const { body } = await client.ok(`PUT /v1/pools/${pool}`);
        const load = new Load(client, pool);
        // With an index, filtered snapshots don't look at every item.
        if (runs % 2 === 0) await load.declareIndex('c1', 'room');
        const watchers = drawn.watchers.map(({ variant, cuts, fromStart }) => {
          const since = variant.kind === 'feed' && fromStart ? body.cursor : undefined;
          return new Watcher(() => server.url, pool, variant, [...cuts], since);
        });
        const starts = watchers.map(async (watcher, i) => {
          await pause(drawn.watchers[i]?.delayMs ?? 0);
          watcher.start();
        });
        const writes = drawn.writers.map(async (own) => {
          for (const each of own) await load.write(each);
        });
        await Promise.all([...starts, ...writes]);
        await settle(load, watchers);
        for (const watcher of watchers) connections += watcher.connections;
      }),
      {
        numRuns: 1000,
        interruptAfterTimeLimit: BUDGET_MS,
        markInterruptAsFailure: false,
        endOnFailure: true,
        includeErrorInReport: true,
      },
    );
    expect(runs).toBeGreaterThan(2);
    expect(connections).toBeGreaterThan(20);
  }, 120_000);

  test('begins each snapshot at one revision of a collection that is being written', async () => {
    const pool = 'snapshots';
    const load = new Load(client, pool);
    await load.declareIndex('c1', 'room');
    const keys = Array.from({ length: 5000 }, (_, i) => `k${String(i).padStart(4, '0')}`);
    const put = (key: string) => ({ op: 'put' as const, collection: 'c1', key, extra: 1 });
    for (let i = 0; i < keys.length; i += 500) await load.write(keys.slice(i, i + 500).map(put), 'x'.repeat(200));
    let writing = true;
    const writers = [0, 1, 2].map(async (own) => {
      for (const [each] of fc.sample(fc.tuple(write([...keys, ...KEYS])), { numRuns: 4000, seed: own + 1 })) {
        if (!writing) return;
        await load.write(each);
      }
    });
    const watchers: Watcher[] = [];
    for (let i = 0; i < 12; i++) {
      const values = (['changed', 'full', 'none'] as const)[i % 3] as Variant['values'];
      const where: Where | undefined =
        i % 2 ? { or: [{ room: 'red' }, { room: { exists: false }, '/@key': { prefix: 'k2' } }] } : undefined;
      const view = i % 4 === 3 ? { prefix: 'k1' } : i % 4 === 2 ? { start: 'k2', end: 'k4' } : {};
      watchers.push(
        new Watcher(
          () => server.url,
          pool,
          { kind: 'attach', collection: 'c1', values, where, ...view },
          i % 5 === 4 ? [3, 10] : [],
        ).start(),
      );
      await pause(60);
    }
    await until(
      () => `a snapshot is not complete`,
      () => watchers.every(({ reached, failure }) => failure || reached > 0),
    );
    writing = false;
    await Promise.all(writers);
    await settle(load, watchers);
    // The snapshots were taken while commits came: otherwise this test says nothing.
    expect(new Set(watchers.map(({ lives }) => lives[0]?.after)).size).toBeGreaterThan(3);
  });

  test('leaves a reader that stops reading behind, and brings it back without a gap', async () => {
    const pool = 'slow';
    const load = new Load(client, pool);
    await load.write([{ op: 'put', collection: 'c1', key: 'c', extra: 0 }]);
    const follow = (variant: Variant) => new Watcher(() => server.url, pool, variant).start();
    const attach = follow({ kind: 'attach', collection: 'c1', values: 'full' });
    const filtered = follow({
      kind: 'attach',
      collection: 'c1',
      values: 'full',
      where: { room: { in: ['red', 'blue'] } },
    });
    const feed = follow({ kind: 'feed', values: 'changed' });
    const brisk = follow({ kind: 'feed', values: 'none' });
    await until(
      () => 'not live',
      () => [attach, filtered, feed, brisk].every(({ reached }) => reached >= 1),
    );
    const slow = [attach, filtered, feed];
    for (const { stream } of slow) stream?.pause();
    const filler = 'x'.repeat(400_000);
    for (let i = 0; i < 60; i++)
      await load.write(
        [{ op: 'put', collection: 'c1', key: KEYS[i % 5] as string, extra: 1, room: ['red', 'blue', 'green'][i % 3] }],
        filler,
      );
    // Nobody else waits for those who don't read.
    await until(
      () => `the brisk one is at ${brisk.reached}`,
      () => brisk.reached >= load.revision,
    );
    for (const { stream } of slow) stream?.resume();
    await until(
      () => `the slow ones are at ${slow.map(({ reached }) => reached)}`,
      () => slow.every(({ reached }) => reached >= load.revision),
      40_000,
    );
    const { stateAt } = load.truth([load.revision]);
    for (const watcher of [attach, filtered]) {
      await watcher.stop();
      checkFold(watcher, stateAt(load.revision));
      expect(watcher.connections).toBe(1);
    }
    // Joined to few commits, or begun anew; a feed comes back and is told each.
    expect((attach.lives.length > 1 ? 0 : attach.life?.commits.length) ?? 0).toBeLessThan(60);
    expect(feed.connections).toBeGreaterThan(1);
    await settle(load, [feed, brisk]);
  });
});

describe.each(databases)('watching a short history on $name', ({ name }) => {
  let server: Server;
  let client: Client;
  beforeAll(async () => {
    server = await startServer({ database: name, env: { STARGUS_HISTORY_COMMITS: '50', STARGUS_SWEEP: '1s' } });
    client = new Client(server.url);
  });
  afterAll(() => client?.close());

  test('is told to begin anew where the log no longer reaches, and never skips quietly', async () => {
    const pool = 'short';
    const load = new Load(client, pool);
    await load.write([{ op: 'put', collection: 'c1', key: 'c', extra: 0 }]);
    const { body } = await client.ok(`GET /v1/pools/${pool}`);
    const variants: Variant[] = [
      { kind: 'attach', collection: 'c1', values: 'full' },
      { kind: 'attach', collection: 'c1', values: 'changed', prefix: 'a' },
      { kind: 'feed', values: 'changed' },
      { kind: 'feed', collection: 'c1', values: 'full', fields: ['n'] },
      { kind: 'attach', collection: 'c1', values: 'changed', where: { room: 'red' } },
    ];
    const away = variants.map((variant) =>
      new Watcher(() => server.url, pool, variant, [4, 6, 9], undefined, 2600).start(),
    );
    const brief = variants.map((variant) =>
      new Watcher(() => server.url, pool, variant, [20, 30, 40, 50, 60], undefined, 0).start(),
    );
    let writing = true;
    const writers = [1, 2].map(async (own) => {
      for (const each of fc.sample(write(), { numRuns: 5000, seed: own }) as Write[]) {
        if (!writing) return;
        await load.write(each);
        await pause(5);
      }
    });
    await until(
      () => `resets: ${away.map(({ resets }) => resets.length)}`,
      () => away.every(({ failure, resets }) => failure || resets.includes('compacted')),
      40_000,
    );
    writing = false;
    await Promise.all(writers);
    const { revision } = load;
    for (const watcher of [...away, ...brief]) {
      await until(
        () => `${watcher.name} is at ${watcher.reached} of ${revision}`,
        () => watcher.failure !== undefined || watcher.reached >= revision,
      );
      await watcher.stop();
    }
    const all = [...away, ...brief];
    const { model, stateAt } = load.truth(
      all.flatMap(({ lives }) => lives.flatMap(({ after, reached }) => [after ?? 0, reached])),
    );
    for (const watcher of all) checkLives(watcher, model.commits, stateAt);
    const refused = await client.call(`GET /v1/pools/${pool}/changes?since=${body.cursor}`);
    expect(refused).toMatchObject({ status: 410, body: { code: 'cursorExpired' } });
    const { commits } = await client.commits(pool, refused.body.oldest);
    expect(commits.map(({ revision }) => revision)).toEqual(
      Array.from(commits, (_, i) => revision - commits.length + 1 + i),
    );
  });

  test('tells a reader that stopped reading to begin anew when what it missed is gone', async () => {
    const pool = 'slow-and-short';
    const load = new Load(client, pool);
    await load.write([{ op: 'put', collection: 'c1', key: 'c', extra: 0 }]);
    const watcher = new Watcher(() => server.url, pool, { kind: 'attach', collection: 'c1', values: 'full' }).start();
    await until(
      () => 'not live',
      () => watcher.reached >= 1,
    );
    watcher.stream?.pause();
    const filler = 'x'.repeat(200_000);
    // Each item is written once: a commit that is skipped leaves a hole in the state.
    for (let i = 0; i < 150; i++) await load.write([{ op: 'put', collection: 'c1', key: `k${i}`, extra: 1 }], filler);
    let oldest = 0;
    while (oldest <= 100) {
      await pause(50);
      oldest = (await client.ok(`GET /v1/pools/${pool}`)).body.oldestRevision;
    }
    watcher.stream?.resume();
    await until(
      () => `at ${watcher.reached} of ${load.revision}`,
      () => watcher.failure !== undefined || watcher.reached >= load.revision,
      40_000,
    );
    await watcher.stop();
    const { stateAt } = load.truth([load.revision]);
    checkFold(watcher, stateAt(load.revision));
    expect(watcher.resets).toEqual(['compacted']);
  });
});
