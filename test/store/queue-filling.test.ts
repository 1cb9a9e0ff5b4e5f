/**
 * What notifiers put into queues: what is the same delivery, what a full queue does, and what becomes of entries that nobody comes
 * for. Without a server: nobody puts anything into a queue over HTTP.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '../../src/engine/limits.js';
import { enqueue } from '../../src/engine/queues/enqueue.js';
import { Queue } from '../../src/engine/queues/queue.js';
import { acknowledge, dropEntries, setOptions, takeEntries } from '../../src/engine/queues/queue-commands.js';
import { headRef, type QueueOptions, queueId } from '../../src/engine/queues/queue-items.js';
import { dropPool } from '../../src/engine/state/pool-commands.js';
import { anonymous, system } from '../../src/engine/subject.js';
import { delivery, Postman } from '../support/postman.js';
import { createDatabase, databases } from '../support/server.js';

const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i);
const of = (...revisions: number[]) => revisions.map((revision) => delivery(revision));
const own = { subject: anonymous, writer: undefined, queue: { session: 's', owner: 'anonymous' } };

describe.each(databases)('filling queues on $name', ({ name }) => {
  let postman: Postman;
  let pool: string;
  let pools = 0;
  beforeAll(async () => {
    postman = await Postman.open(await createDatabase(name));
  });
  afterAll(() => postman.close());
  beforeEach(() => {
    pool = `p${++pools}`;
  });

  const options = (given: QueueOptions) => postman.run(pool, setOptions({ ...own, options: given }));
  const take = async (limit: number, holdMs = 60_000) =>
    (await postman.run(pool, takeEntries({ ...own, limit, holdMs }))).entries.map(
      ({ attributes }) => attributes.delivery,
    );
  const ack = (...deliveries: string[]) => postman.run(pool, acknowledge({ ...own, deliveries }));
  /** The head, and the deliveries in their order. The head is right whatever was done. */
  const content = async () => {
    const [head, ...entries] = await postman.items(pool);
    const bytes = entries.reduce((sum, { event }) => sum + (event ? Buffer.byteLength(JSON.stringify(event)) : 0), 0);
    const held = entries.filter(({ heldUntil }) => heldUntil !== undefined).length;
    if (head) expect(head).toMatchObject({ entries: entries.length, bytes, held });
    return { head, deliveries: entries.map((entry) => entry.delivery) };
  };

  it('has a delivery once, while it is there', async () => {
    expect(await postman.deliver(pool, of(1, 2, 2))).toMatchObject({ taken: 3, added: 2, dropped: 0 });
    expect(await postman.deliver(pool, of(2, 1))).toMatchObject({ taken: 2, added: 0, committed: false });
    await ack('n-1');
    // At least once: who isn't sure delivers again.
    expect(await postman.deliver(pool, of(1))).toMatchObject({ added: 1 });
    expect((await content()).deliveries).toEqual(['n-1', 'n-2']);
  });

  it('has a delivery of a series once, also after it is acknowledged', async () => {
    const series = (name: string, ...revisions: number[]) =>
      revisions.map((revision) => delivery(revision, { series: name }));
    await postman.deliver(pool, series('a', 1, 2, 5));
    await ack('n-1', 'n-2', 'n-5');
    expect(await postman.deliver(pool, series('a', 1, 5, 7))).toMatchObject({ taken: 3, added: 1 });
    // Another notifier has its own, and so has who begins anew.
    expect(await postman.deliver(pool, [delivery(3, { notifier: 'm', series: 'a' })])).toMatchObject({ added: 1 });
    expect(await postman.deliver(pool, series('b', 1))).toMatchObject({ added: 1 });
    expect(await postman.deliver(pool, of(2))).toMatchObject({ added: 1 });
    expect(await postman.deliver(pool, series('b', 1, 2, 3))).toMatchObject({ added: 1 });
    // Of one commit in no order that means anything.
    const [first, second, ...others] = (await content()).deliveries;
    expect([first, second, others.pop(), ...others.sort()]).toEqual(['n-1', 'n-2', 'n-7', 'm-3', 'n-3']);
    expect((await content()).head).toMatchObject({ series: { m: ['a', 3], n: ['b', 3] } });
  });

  it('remembers so many series', async () => {
    const many = range(1, limits.queueSeriesKept + 20).map((i) => delivery(i, { notifier: `n${i}`, series: 'a' }));
    await postman.deliver(pool, many);
    const { series } = (await content()).head as { series: object };
    expect(Object.keys(series)).toEqual(range(21, limits.queueSeriesKept + 20).map((i) => `n${i}`));
  });

  it('makes room by its oldest entries, which count as lost', async () => {
    await postman.deliver(pool, of(1));
    await options({ entriesMax: 3 });
    expect(await postman.deliver(pool, of(2, 3, 4))).toMatchObject({ taken: 3, added: 3, dropped: 1 });
    expect((await content()).deliveries).toEqual(['n-2', 'n-3', 'n-4']);
    expect(await postman.deliver(pool, of(5, 6, 7, 8, 9))).toMatchObject({ added: 5, dropped: 5 });
    expect(await content()).toMatchObject({ deliveries: ['n-7', 'n-8', 'n-9'], head: { dropped: 6 } });
    await options({ entriesMax: 1 });
    expect((await content()).deliveries).toHaveLength(3);
    expect(await postman.deliver(pool, of(10))).toMatchObject({ dropped: 3 });
    expect((await content()).deliveries).toEqual(['n-10']);
  });

  it('makes room by what nobody works on first', async () => {
    await postman.deliver(pool, of(1, 2, 3));
    await options({ entriesMax: 3 });
    expect(await take(2)).toEqual(['n-1', 'n-2']);
    await postman.deliver(pool, of(4, 5));
    expect((await content()).deliveries).toEqual(['n-1', 'n-2', 'n-5']);
    expect(await take(9)).toEqual(['n-5']);
    await postman.deliver(pool, of(6));
    expect((await content()).deliveries).toEqual(['n-2', 'n-5', 'n-6']);
  });

  it('takes no more where its owner wants nothing dropped, until there is room', async () => {
    await postman.deliver(pool, of(1));
    await options({ overflow: 'refuse', entriesMax: 3 });
    expect(await postman.deliver(pool, of(2, 3, 4, 5))).toMatchObject({ taken: 2, added: 2, dropped: 0 });
    await expect(postman.deliver(pool, of(4, 5))).rejects.toMatchObject({ code: 'tooManyRequests', retryable: true });
    // What is there already needs no room.
    expect(await postman.deliver(pool, of(3))).toMatchObject({ taken: 1, added: 0 });
    await ack('n-2');
    expect(await postman.deliver(pool, of(4, 5))).toMatchObject({ taken: 1, added: 1 });
    expect(await content()).toMatchObject({ deliveries: ['n-1', 'n-3', 'n-4'], head: { dropped: 0 } });
  });

  it('holds so many bytes', async () => {
    const large = (revision: number) => delivery(revision, { pad: 250_000 });
    for (let i = 1; i <= 60; i += 10) await postman.deliver(pool, range(i, i + 9).map(large));
    await options({ overflow: 'refuse' });
    const { taken } = await postman.deliver(pool, range(61, 70).map(large));
    expect(taken).toBeLessThan(10);
    await options({});
    expect(await postman.deliver(pool, range(61, 75).map(large))).toMatchObject({ taken: 15, dropped: 15 - (67 - 60) });
    const { head, deliveries } = await content();
    expect(head?.bytes).toBeLessThanOrEqual(limits.queueEventsBytesMax);
    expect(deliveries.slice(-1)).toEqual(['n-75']);
  });

  it('keeps of what is about one item the newest, where its owner wants that', async () => {
    const about = (revision: number, key: string) => delivery(revision, { key });
    await postman.deliver(pool, [about(1, 'a'), about(2, 'a')]);
    await options({ dropDuplicates: true });
    await postman.deliver(pool, [about(3, 'b'), about(5, 'a'), about(6, 'b'), about(7, 'c')]);
    expect((await content()).deliveries).toEqual(['n-5', 'n-6', 'n-7']);
    // What is older than what waits is no news.
    expect(await postman.deliver(pool, [about(4, 'a')])).toMatchObject({ taken: 1, added: 0 });
    // What somebody works on is no duplicate of what comes after it.
    expect(await take(1)).toEqual(['n-5']);
    await postman.deliver(pool, [about(8, 'a'), about(9, 'a')]);
    expect(await content()).toMatchObject({ deliveries: ['n-5', 'n-6', 'n-7', 'n-9'], head: { dropped: 0 } });
    const two = {
      data: {
        changes: [
          { collection: 'things', key: 'a' },
          { collection: 'things', key: 'b' },
        ],
      },
    };
    await postman.deliver(pool, [delivery(10, { event: two }), delivery(11, { event: two })]);
    expect((await content()).deliveries).toHaveLength(6);
    await options({ dropDuplicates: true, overflow: 'refuse', entriesMax: 6 });
    // It takes the place of another.
    expect(await postman.deliver(pool, [about(12, 'a')])).toMatchObject({ added: 1 });
    await expect(postman.deliver(pool, [about(13, 'z')])).rejects.toMatchObject({ code: 'tooManyRequests' });
    await postman.run(pool, dropEntries({ ...own, oldest: 1, duplicates: true, deliveries: [] }));
    expect((await content()).deliveries).toEqual(['n-6', 'n-7', 'n-10', 'n-11', 'n-12']);
  });

  it('keeps the queues of one name apart by whose they are', async () => {
    await postman.deliver(pool, [
      ...of(1),
      delivery(1, { owner: 'https://a.example/b' }),
      delivery(2, { session: 's-2' }),
    ]);
    expect(queueId({ session: 's', owner: 'a' })).not.toBe(queueId({ session: 's', owner: 'b' }));
    expect((await postman.items(pool)).map(({ owner, entries }) => [owner, entries ?? 0])).toHaveLength(4);
    expect(await take(9)).toEqual(['n-1']);
    expect(await ack('n-1', 'n-2')).toMatchObject({ count: 1, missing: ['n-2'] });
    expect(await postman.items(pool)).toHaveLength(2);
    expect(await postman.items(pool, 's-2')).toHaveLength(2);
  });

  it('refuses what can’t be delivered', async () => {
    await postman.deliver(pool, of(1));
    const wrong = ['n', 'n-', '-1', 'n-x', 'n-1.5', 'n-99999999999999999', `${'n'.repeat(255)}-1`];
    for (const id of wrong)
      await expect(postman.deliver(pool, [delivery(1, { delivery: id })]), id).rejects.toMatchObject({
        code: 'badRequest',
      });
    await expect(postman.deliver(pool, [delivery(1, { session: 'a/b' })])).rejects.toMatchObject({
      code: 'invalidName',
    });
    await expect(
      postman.deliver(
        pool,
        range(1, 1001).map((i) => delivery(i)),
      ),
    ).rejects.toMatchObject({ code: 'tooLarge' });
    const large = range(1, 20).map((revision) => delivery(revision, { pad: 250_000 }));
    await expect(postman.deliver(pool, large)).rejects.toMatchObject({ code: 'tooLarge' });
    expect((await content()).deliveries).toEqual(['n-1']);
  });

  it('brings no pool into being, nor delivers to another life of it', async () => {
    const lost = enqueue({ epoch: 'e', deliveries: of(1) });
    await expect(postman.run(pool, lost)).rejects.toMatchObject({ code: 'notFound' });
    await postman.deliver(pool, of(1));
    await expect(postman.run(pool, lost)).rejects.toMatchObject({ code: 'notFound' });
    await postman.run(pool, dropPool({ subject: anonymous }));
    await expect(postman.run(pool, lost)).rejects.toMatchObject({ code: 'notFound' });
  });

  it('drops what nobody came for in time, and counts it as lost', async () => {
    await postman.deliver(pool, of(1));
    await options({ keepMs: 1000 });
    await postman.deliver(pool, of(2, 3));
    expect(await take(2)).toEqual(['n-1', 'n-2']);
    await postman.sweep();
    expect((await content()).deliveries).toHaveLength(3);
    await sleep(1100);
    await postman.sweep();
    expect(await content()).toMatchObject({ deliveries: ['n-1'], head: { dropped: 2, held: 1 } });
  });

  it('ends the holds whose time is over', async () => {
    await postman.deliver(pool, of(1, 2, 3));
    await take(2, 100);
    await take(1, 60_000);
    await sleep(150);
    await postman.sweep();
    expect(await content()).toMatchObject({ deliveries: ['n-1', 'n-2', 'n-3'], head: { held: 1 } });
    expect(await take(9)).toEqual(['n-1', 'n-2']);
    expect((await content()).head).toMatchObject({ held: 3, dropped: 0 });
  });

  it('holds so many entries for takers, and no more', async () => {
    for (let i = 1; i <= 1100; i += 550) await postman.deliver(pool, of(...range(i, i + 549)));
    const taken: unknown[] = [];
    for (let i = 0; i < 12; i++) taken.push(...(await take(100)));
    expect(taken).toHaveLength(limits.queueHeldMax);
    await ack('n-1');
    expect(await take(100)).toEqual(['n-1001']);
  });

  it('forgets a queue that has long been empty, unless its owner said how it is kept', async () => {
    const long = limits.queueIdleMs + 1000;
    const age = (overflow?: 'refuse') =>
      postman.run(pool, {
        ...{ subject: system, bytes: 0, isUpkeep: true, touches: [headRef(own.queue)] },
        decide(draft) {
          const queue = new Queue(draft, own.queue);
          const usedAt = new Date(draft.now - long).toISOString();
          queue.alter({ dropped: 1, usedAt, dueAt: new Date(draft.now - 1000).toISOString(), overflow });
          queue.save();
          return () => undefined;
        },
      });
    await postman.deliver(pool, of(1));
    await age();
    await postman.sweep();
    const { dueAt } = (await content()).head as { dueAt: string };
    expect(Date.parse(dueAt)).toBeGreaterThan(Date.now() + limits.queueIdleMs / 2);
    await age('refuse');
    await ack('n-1');
    await postman.sweep();
    expect((await content()).head).toMatchObject({ entries: 0, overflow: 'refuse' });
    await age();
    await postman.sweep();
    expect(await postman.items(pool)).toEqual([]);
  });

  it('leaves nothing behind of what it has forgotten', async () => {
    await postman.deliver(pool, of(1, 2));
    await take(1);
    await ack('n-1', 'n-2');
    expect(await postman.items(pool)).toEqual([]);
  });
});
