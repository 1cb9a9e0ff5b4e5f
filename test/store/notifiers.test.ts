/** The contract of the `NotifierStore` port on every database: who may write, what is kept, and the secrets that are kept through it. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Seal } from '../../src/engine/access/secrets.js';
import { limits } from '../../src/engine/limits.js';
import type {
  DeliveryRecord,
  NotifierLease,
  NotifierWrite,
  Progress,
} from '../../src/engine/notifiers/notifier-store.js';
import { WebhookSecrets } from '../../src/engine/notifiers/webhook-secrets.js';
import type { Store } from '../../src/engine/ports.js';
import { openDatabase } from '../../src/store/data-source.js';
import type { Database } from '../../src/store/dialect.js';
import { SqlNotifiers } from '../../src/store/notifiers.js';
import { SqlStore } from '../../src/store/store.js';
import { createDatabase, databases } from '../support/server.js';

const LEASE_MS = 60_000;

describe.each(databases)('notifiers in the store on $name', ({ name: database }) => {
  let opened: Database;
  let store: Store;
  let notifiers: SqlNotifiers;
  beforeAll(async () => {
    opened = await openDatabase({ url: await createDatabase(database), migrate: true });
    store = new SqlStore(opened);
    notifiers = new SqlNotifiers(opened);
  });
  afterAll(() => opened?.close());

  const write = (more: Partial<NotifierWrite> = {}): NotifierWrite => ({
    ...{ name: 'n', definition: '{"a":1}', owner: '{}', ownerId: 'ann', ownerName: 'ann' },
    ...{ generation: 1, epoch: 'e', start: undefined },
    ...more,
  });
  const newPool = async (...writes: NotifierWrite[]) => {
    const pool = `p${randomUUID()}`;
    const poolId = await store.transact(async (tx) => {
      const { id } = await tx.createPool(pool, 'e');
      await tx.saveNotifiers(id, writes);
      return id;
    });
    return { pool, ref: { poolId, name: 'n' } };
  };
  const saved = (poolId: number, ...writes: NotifierWrite[]) =>
    store.transact((tx) => tx.saveNotifiers(poolId, writes));
  const taken = async (ref: { poolId: number; name: string }, holder = 'h'): Promise<NotifierLease> => {
    const result = await notifiers.take(ref, holder, LEASE_MS);
    if (result.is !== 'taken') throw new Error(result.is);
    const { fence, generation } = result.notifier;
    return { ...ref, fence, generation };
  };
  const delivery = (serial: number, more: Partial<DeliveryRecord> = {}): DeliveryRecord => ({
    ...{ serial, event: `n-${serial}`, kind: 'change', revision: serial, status: 'delivered', attempts: 1 },
    ...{ lastStatus: 204, lastError: undefined, body: undefined },
    ...more,
  });
  const progress = (told: number, more: Partial<Progress> = {}): Progress => ({
    ...{ epoch: 'e', told, status: 'active', reason: undefined, failures: 0, nextAttemptMs: undefined },
    ...{ serial: told, deliveries: [], leaseMs: 0 },
    ...more,
  });

  test('one drain has it at a time, and writes nothing once it has it no more', async () => {
    const { ref } = await newPool(write());
    const first = await taken(ref);
    expect(await notifiers.take(ref, 'h', LEASE_MS)).toMatchObject({ is: 'busy', forMs: expect.any(Number) });
    // Where no other process has the database, a holder that isn't of this one is dead.
    const other = await notifiers.take(ref, 'other', LEASE_MS);
    expect(other.is).toBe(database === 'sqlite' ? 'taken' : 'busy');
    if (other.is === 'taken') await notifiers.release(other.notifier);
    else {
      expect(await notifiers.renew(first, LEASE_MS)).toBe(true);
      await notifiers.release(first);
    }
    const second = await taken(ref, 'second');
    expect(second.fence).toBeGreaterThan(first.fence);
    expect(await notifiers.renew(first, LEASE_MS)).toBe(false);
    expect(await notifiers.settle(first, progress(7, { deliveries: [delivery(7)] }))).toBe(false);
    await notifiers.release(first);
    expect(await notifiers.take(ref, 'second', LEASE_MS)).toMatchObject({ is: 'busy' });
    expect(await notifiers.settle(second, progress(5, { deliveries: [delivery(5)] }))).toBe(true);
    expect(await notifiers.state(ref)).toMatchObject({ notifier: { told: 5, serial: 5 }, parked: 0 });
    expect((await notifiers.deliveries(ref, undefined, 10)).map(({ event }) => event)).toEqual(['n-5']);
    const many = await Promise.all(Array.from({ length: 10 }, () => notifiers.take(ref, 'h', LEASE_MS)));
    expect(many.filter(({ is }) => is === 'taken')).toHaveLength(1);
  });

  test('a lease that is over is another’s', async () => {
    const { ref } = await newPool(write());
    expect((await notifiers.take(ref, 'h', 1)).is).toBe('taken');
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect((await notifiers.take(ref, 'h', LEASE_MS)).is).toBe('taken');
  });

  test('written anew it goes on where it was; a drain of what it was before says nothing more', async () => {
    const { ref } = await newPool(write());
    const lease = await taken(ref);
    const waits = delivery(2, { status: 'retrying', body: 'x' });
    const parked = delivery(1, { status: 'parked', body: 'y' });
    await notifiers.settle(
      lease,
      progress(4, { nextAttemptMs: 60_000, failures: 3, deliveries: [parked, waits], leaseMs: 1 }),
    );
    await saved(ref.poolId, write({ definition: '{"a":2}', generation: 9 }));
    expect(await notifiers.settle(lease, progress(6))).toBe(false);
    const state = await notifiers.state(ref);
    expect(state).toMatchObject({
      notifier: {
        told: 4,
        generation: 9,
        definition: '{"a":2}',
        failures: 0,
        nextAttemptAt: undefined,
        status: 'active',
      },
      parked: 1,
    });
    expect(await notifiers.delivery(ref, 2)).toBeUndefined();
    await saved(ref.poolId, write({ generation: 10, ownerName: 'ben', ownerId: 'ben', start: 3 }));
    expect(await notifiers.state(ref)).toMatchObject({ notifier: { told: 3, ownerName: 'ben' }, parked: 0 });
    await saved(ref.poolId, write({ definition: undefined }));
    expect(await notifiers.state(ref)).toBeUndefined();
    expect((await notifiers.take(ref, 'h', LEASE_MS)).is).toBe('gone');
    expect(await notifiers.resume(ref, undefined)).toBe(false);
    // Made anew in one go with its deletion, as it is after both.
    await saved(ref.poolId, write({ definition: undefined }), write({ generation: 12, start: 'start' }));
    expect(await notifiers.state(ref)).toMatchObject({ notifier: { generation: 12, told: 0, serial: 0 } });
  });

  test('resumed elsewhere, nobody puts it back', async () => {
    const { ref } = await newPool(write());
    const lease = await taken(ref);
    const waits = delivery(1, { status: 'retrying', body: 'x', attempts: 4 });
    await notifiers.settle(
      lease,
      progress(4, { deliveries: [waits], status: 'disabled', reason: 'r', leaseMs: LEASE_MS }),
    );
    expect(await notifiers.resume(ref, undefined)).toBe(true);
    expect(await notifiers.delivery(ref, 1)).toMatchObject({ attempts: 0, body: 'x' });
    expect(await notifiers.settle(lease, progress(5, { leaseMs: LEASE_MS }))).toBe(true);
    expect(await notifiers.resume(ref, { epoch: 'e', told: 2 })).toBe(true);
    expect(await notifiers.settle(lease, progress(6))).toBe(false);
    expect(await notifiers.state(ref)).toMatchObject({ notifier: { told: 2, status: 'active', rewinds: 1 } });
    expect(await notifiers.delivery(ref, 1)).toBeUndefined();
    expect((await taken(ref)).fence).toBeGreaterThan(lease.fence);
  });

  test('is pending while it has not told all of its pool, unless it waits', async () => {
    const { pool, ref } = await newPool(write({ generation: 0 }));
    const isPending = async () => (await notifiers.pending(1000)).some((each) => each.pool === pool);
    expect(await isPending()).toBe(false);
    await store.transact(async (tx) =>
      tx.append({
        ...{ poolId: ref.poolId, revision: 3, time: 0, log: [], upserts: [], deletions: [] },
        ...{ collections: [], indexed: [], unindexed: [] },
      }),
    );
    expect(await isPending()).toBe(true);
    const settle = async (told: number, more: Partial<Progress>) =>
      notifiers.settle(await taken(ref), progress(told, more));
    await settle(2, { nextAttemptMs: 60_000 });
    expect(await isPending()).toBe(false);
    await settle(2, { nextAttemptMs: -1 });
    expect(await isPending()).toBe(true);
    await settle(2, { status: 'disabled' });
    expect(await isPending()).toBe(false);
    await notifiers.resume(ref, undefined);
    expect(await isPending()).toBe(true);
    await notifiers.endOwner('ann', 'gone');
    expect(await isPending()).toBe(false);
    expect(await notifiers.state(ref)).toMatchObject({ notifier: { status: 'ended', reason: 'gone' } });
    expect(await notifiers.resume(ref, undefined)).toBe(false);
    await settle(2, { status: 'stopped' });
    expect(await isPending()).toBe(true);
    await settle(3, {});
    expect(await isPending()).toBe(false);
  });

  test('keeps the last deliveries that were taken, more that are parked, and none for ever', async () => {
    const { ref } = await newPool(write());
    const lease = await taken(ref);
    const count = limits.deliveriesKept + 30;
    const all = Array.from({ length: count }, (_, i) => delivery(i + 1));
    await notifiers.settle(lease, progress(count, { deliveries: all, leaseMs: LEASE_MS }));
    const kept = await notifiers.deliveries(ref, undefined, 1000);
    expect(kept.map(({ serial }) => serial)).toEqual(
      all
        .map(({ serial }) => serial)
        .reverse()
        .slice(0, limits.deliveriesKept),
    );
    const body = 'x'.repeat(limits.notifierEventBytesMax);
    const most = limits.parkedBytesKept / limits.notifierEventBytesMax;
    for (let i = 1; i <= most + 2; i++)
      await notifiers.settle(
        lease,
        progress(count, { deliveries: [delivery(count + i, { status: 'parked', body })], leaseMs: LEASE_MS }),
      );
    expect((await notifiers.state(ref))?.parked).toBe(most);
    expect(await notifiers.delivery(ref, count + 2)).toBeUndefined();
    const last = count + most + 2;
    expect((await notifiers.deliveries(ref, undefined, 1))[0]).toMatchObject({ serial: last, body: undefined });
    expect((await notifiers.delivery(ref, last))?.body).toHaveLength(body.length);
    expect(await notifiers.redelivered(ref, delivery(last))).toBe(true);
    expect(await notifiers.redelivered(ref, delivery(last))).toBe(false);
    await notifiers.settle(
      lease,
      progress(count, { deliveries: [delivery(last + 1, { status: 'retrying', body })], leaseMs: LEASE_MS }),
    );
    let deleted = 0;
    for (let swept = 1; swept > 0; deleted += swept) swept = await notifiers.deleteOldDeliveries(-1000, 50);
    expect(deleted).toBeGreaterThanOrEqual(limits.deliveriesKept);
    // What is still to be tried stays, however old.
    expect((await notifiers.deliveries(ref, undefined, 10)).map(({ status }) => status)).toEqual(['retrying']);
  });

  test('goes with its pool', async () => {
    const { ref } = await newPool(write());
    await notifiers.settle(await taken(ref), progress(1, { deliveries: [delivery(1)] }));
    await store.transact((tx) => tx.dropPool(ref.poolId));
    expect((await notifiers.pending(1000)).length).toBe(0);
    while ((await store.purgeDropped(100)) > 0);
    expect(await notifiers.state(ref)).toBeUndefined();
    expect(await notifiers.deliveries(ref, undefined, 10)).toEqual([]);
  });

  test('its secrets are made once, encrypted, and opened under the same secret only', async () => {
    const { ref } = await newPool(write());
    const secrets = new WebhookSecrets(notifiers, new Seal('s'.repeat(32), 'notifier secret'));
    const read = async () =>
      (await notifiers.state(ref))?.notifier as NonNullable<Awaited<ReturnType<typeof notifiers.state>>>['notifier'];
    const fresh = await read();
    const made = await Promise.all(Array.from({ length: 5 }, () => secrets.of(fresh)));
    expect(new Set(made.map((signer) => signer?.secret)).size).toBe(1);
    const { secrets: kept } = await read();
    expect(kept).toMatch(/^sealed:/);
    const other = new WebhookSecrets(notifiers, new Seal('t'.repeat(32), 'notifier secret'));
    expect(await other.of(await read())).toBeUndefined();
    const { signer } = await other.rotate(ref, { secret: undefined, overlapMs: 1000 });
    // What can't be opened can't sign beside it.
    expect(signer.formerPublicKey(0)).toBeUndefined();
    expect((await other.of(await read()))?.secret).toBe(signer.secret);
    const rotations = await Promise.allSettled(
      [1, 2, 3].map(() => other.rotate(ref, { secret: undefined, overlapMs: 0 })),
    );
    expect(rotations.some(({ status }) => status === 'fulfilled')).toBe(true);
  });
});
