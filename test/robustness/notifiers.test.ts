/**
 * Notifiers when things break: a server that is killed in the midst of delivering, nodes that share a database, a log that is
 * compacted before a receiver comes back. Nothing is left out without a word, order stays, ids stay.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { Receiver, until } from '../support/receiver.js';
import { Scenario } from '../support/scenario.js';
import { createDatabase, databases, startServer } from '../support/server.js';

const N = 'P/notifiers/n';
const to = (receiver: Receiver, members: object = {}) => ({
  events: ['add', 'change', 'delete'],
  collection: 'things',
  target: { webhook: { url: receiver.url } },
  retry: { delaysMs: Array(10).fill(100) },
  ...members,
});

/** The ids as they came first; each that comes again must have come before, and what is new must follow in order. */
function firsts(ids: readonly string[]): string[] {
  return [...new Set(ids)];
}

const revisionOf = (id: string) => Number(id.split('-').at(-1));

/** Whether no event came first after one of a later commit. */
function isInOrder(ids: readonly string[]): boolean {
  const revisions = firsts(ids).map(revisionOf);
  return revisions.every((revision, i) => i === 0 || revision > (revisions[i - 1] as number));
}

describe.each(databases)('notifiers on $name', ({ name: database }) => {
  it('lose nothing of a server that is killed again and again while it delivers', async () => {
    const databaseUrl = await createDatabase(database);
    // Events name the pool by it: the same one, wherever the server comes up again.
    const env = { STARGUS_PUBLIC_URL: 'https://stargus.example' };
    let server = await startServer({ database, databaseUrl, env });
    let scenario = new Scenario(server);
    const receiver = await Receiver.open();
    receiver.answer = (_request, response) => void setTimeout(() => response.writeHead(204).end(), 2);
    await scenario.calls([`PUT ${N}`, to(receiver)]);
    const acknowledged: number[] = [];
    for (let round = 0; round < 3; round++) {
      const writing = (async () => {
        for (let i = 0; i < 60; i++) {
          const answer = await scenario.call(`PUT C/items/k${round}-${i}`, { attributes: { i } });
          if (answer.status === 201) acknowledged.push(answer.body.revision);
        }
      })().catch(() => undefined);
      await sleep(150 + Math.random() * 300);
      await server.kill();
      await writing;
      server = await startServer({ database, databaseUrl, env });
      scenario = new Scenario(server, scenario.pool);
    }
    const last = (await scenario.calls(['PUT C/items/last', { attributes: {} }])).body.revision;
    await until(() => receiver.ids.includes(`n-${last}`), 'the last event', 30_000);
    const told = new Set(receiver.ids.map(revisionOf));
    expect(acknowledged.filter((revision) => !told.has(revision))).toEqual([]);
    expect(isInOrder(receiver.ids), JSON.stringify(receiver.ids)).toBe(true);
    // The same id is the same event.
    const bodies = new Map<string, string>();
    for (const { event, body } of receiver.received) {
      expect(bodies.get(event.id) ?? body).toBe(body);
      bodies.set(event.id, body);
    }
  });

  it('take up a wait, and what is parked, after a restart', async () => {
    const databaseUrl = await createDatabase(database);
    const server = await startServer({ database, databaseUrl });
    const scenario = new Scenario(server);
    const receiver = await Receiver.open();
    receiver.answer = 500;
    await scenario.calls([`PUT ${N}`, to(receiver, { retry: { delaysMs: [1500] } })]);
    await scenario.calls(['PUT P/notifiers/parks', to(receiver, { retry: { delaysMs: [] }, values: 'none' })]);
    await scenario.fill({ a: { n: 1 } });
    await receiver.waitFor(2);
    await until(async () => (await scenario.calls(['GET P/notifiers/parks'])).body.parked === 1, 'the parking');
    await until(async () => (await scenario.calls([`GET ${N}`])).body.status === 'retrying', 'the wait');
    await server.kill();
    receiver.answer = 204;
    const next = new Scenario(await startServer({ database, databaseUrl }), scenario.pool);
    await receiver.waitFor(3);
    expect(receiver.ids[2]).toMatch(/^n-/);
    await next.play([['POST P/notifiers/parks/deliveries/1/redeliver', {}, 200, { status: 'delivered', attempts: 2 }]]);
    expect(receiver.received[3]?.body).toBe(receiver.received.find(({ event }) => /^parks-/.test(event.id))?.body);
  });

  it('say so when the log was compacted before they could tell it, and go on from its oldest', async () => {
    const env = { STARGUS_HISTORY_COMMITS: '5', STARGUS_SWEEP: '200ms' };
    const server = await startServer({ database, env });
    const scenario = new Scenario(server);
    const receiver = await Receiver.open();
    receiver.answer = 500;
    await scenario.calls([`PUT ${N}`, to(receiver, { retry: { delaysMs: [86_400_000] } })]);
    await scenario.fill({ head: { n: 1 } });
    await receiver.waitFor(1);
    for (let i = 0; i < 30; i++) await scenario.fill({ [`k${i}`]: { n: i } });
    const { epoch } = (await scenario.calls(['GET P'])).body;
    await until(async () => (await scenario.calls(['GET P'])).body.oldestRevision > 20, 'the compaction');
    await until(async () => (await scenario.calls(['GET P'])).body.oldestRevision >= 27, 'the compaction');
    const { oldestRevision, revision } = (await scenario.calls(['GET P'])).body;
    receiver.answer = 204;
    await scenario.calls([`POST ${N}/resume`, {}]);
    await until(() => receiver.ids.at(-1) === `n-${revision}`, 'the last event');
    // What had failed was kept whole, though the log has it no more.
    expect(receiver.told[1]).toBe('add head');
    const resets = receiver.received.filter(({ event }) => event.type === 'stargus.reset');
    expect(resets.map(({ event }) => event.data)).toEqual([
      {
        ...{ reason: 'compacted', oldest: `${epoch}-${oldestRevision - 1}` },
        ...{ cursor: `${epoch}-${oldestRevision - 1}`, revision: oldestRevision - 1 },
      },
    ]);
    const after = receiver.ids.slice(3).map(revisionOf);
    expect(after).toEqual(Array.from({ length: revision - oldestRevision + 1 }, (_, i) => oldestRevision + i));
  });

  it('go with their pool, and one of the same name that is made anew is another', async () => {
    const scenario = new Scenario(await startServer({ database, env: { STARGUS_SWEEP: '200ms' } }));
    const receiver = await Receiver.open();
    await scenario.calls([`PUT ${N}`, to(receiver)]);
    await scenario.fill({ a: {} });
    await receiver.waitFor(1);
    await scenario.calls(['DELETE P']);
    await scenario.fill({ b: {} });
    await scenario.play([[`GET ${N}`, undefined, 404]]);
    await scenario.calls([`PUT ${N}`, to(receiver, { since: 'start' })]);
    await receiver.waitFor(2, true);
    expect(receiver.told).toEqual(['add a', 'add b']);
  });

  it('hold up no stop of the server, and no other notifier, while a receiver hangs', async () => {
    const server = await startServer({ database });
    const scenario = new Scenario(server);
    const receiver = await Receiver.open();
    const hanging = await Receiver.open();
    hanging.answer = () => undefined;
    for (let i = 0; i < 12; i++) await scenario.calls([`PUT P/notifiers/h${i}`, to(hanging)]);
    await scenario.calls([`PUT ${N}`, to(receiver)]);
    await scenario.fill({ a: {} });
    await receiver.waitFor(1);
    await hanging.waitFor(8, true);
    const { code, ms } = await server.stop();
    expect(code).toBe(0);
    expect(ms).toBeLessThan(9_000);
  });
});

describe('two nodes on one MariaDB', () => {
  it('deliver each event once and in order, whichever is written to, and the one goes on when the other is killed', async () => {
    const databaseUrl = await createDatabase('mariadb');
    const first = await startServer({ database: 'mariadb', databaseUrl });
    const second = await startServer({ database: 'mariadb', databaseUrl });
    const one = new Scenario(first);
    const other = new Scenario(second, one.pool);
    const receiver = await Receiver.open();
    let atOnce = 0;
    let most = 0;
    receiver.answer = (_request, response) => {
      most = Math.max(most, ++atOnce);
      setTimeout(() => {
        atOnce--;
        response.writeHead(204).end();
      }, 3);
    };
    await one.calls([`PUT ${N}`, to(receiver)]);
    for (let i = 0; i < 40; i++) await (i % 2 ? one : other).fill({ [`k${i}`]: {} });
    await receiver.waitFor(40, true);
    expect(receiver.told).toEqual(Array.from({ length: 40 }, (_, i) => `add k${i}`));
    expect(most).toBe(1);
    // One of them is at it when it is killed; the other finds what it left.
    receiver.answer = (_request, response) => void setTimeout(() => response.writeHead(204).end(), 20);
    const writing = Promise.all(
      Array.from({ length: 60 }, (_, i) => other.call(`PUT C/items/l${i}`, { attributes: {} })),
    );
    await receiver.waitFor(45);
    await first.kill();
    await writing;
    await until(() => firsts(receiver.ids).length === 100, 'all events', 40_000);
    expect(isInOrder(receiver.ids)).toBe(true);
  });
});
