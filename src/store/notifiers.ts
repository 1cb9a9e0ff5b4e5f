/**
 * The rows of notifiers and of their deliveries. What the calls promise is written in engine/notifiers/notifier-store.ts. Whoever
 * writes locks the notifier's row first, so that who has the lease, and of which generation it is, stays so until it is written.
 */
import { limits } from '../engine/limits.js';
import type {
  DeliveryRecord,
  NotifierLease,
  NotifierRef,
  NotifierState,
  NotifierStatus,
  NotifierStore,
  NotifierWrite,
  Progress,
  StoredDelivery,
  StoredNotifier,
  Taken,
} from '../engine/notifiers/notifier-store.js';
import { writeAttempted } from './attempts.js';
import type { Database, Row, Session, Value } from './dialect.js';
import { clockOf, headById } from './reads.js';

const COLUMNS = [
  ...['pool_id', 'name', 'generation', 'definition', 'owner', 'owner_id', 'owner_name', 'secrets', 'epoch', 'told'],
  ...['status', 'reason', 'failures', 'next_attempt_at', 'serial', 'rewinds', 'fence', 'lease_holder', 'lease_until'],
];
const SELECT = `SELECT ${COLUMNS.join(', ')} FROM notifier`;
const OF_REF = 'WHERE pool_id = ? AND name = ?';
const DELIVERY_COLUMNS = [
  ...['pool_id', 'notifier', 'serial', 'event', 'kind', 'revision', 'status', 'attempts'],
  ...['last_status', 'last_error', 'body', 'body_bytes', 'created_at', 'changed_at'],
];
const DELIVERY_KEY = ['pool_id', 'notifier', 'serial'];
const SELECT_DELIVERY = `SELECT ${DELIVERY_COLUMNS.join(', ')} FROM notifier_delivery WHERE pool_id = ? AND notifier = ?`;
/** Kept without what may be large. */
const SELECT_SHORT = SELECT_DELIVERY.replace(' body,', ' NULL AS body,');

export class SqlNotifiers implements NotifierStore {
  constructor(private readonly database: Database) {}

  state(ref: NotifierRef): Promise<NotifierState | undefined> {
    return this.database.read(async (session) => {
      const row = await rowOf(session, ref);
      return row && stateOf(session, row, await clockOf(session));
    });
  }

  states(poolId: number): Promise<NotifierState[]> {
    return this.database.read(async (session) => {
      const now = await clockOf(session);
      const rows = await session.all(`${SELECT} WHERE pool_id = ? ORDER BY name`, [poolId]);
      const states: NotifierState[] = [];
      for (const row of rows) states.push(await stateOf(session, row, now));
      return states;
    });
  }

  take(ref: NotifierRef, holder: string, leaseMs: number): Promise<Taken> {
    return this.#write(async (session): Promise<Taken> => {
      const row = await rowOf(session, ref, session.forUpdate);
      if (!row) return { is: 'gone' };
      const now = await clockOf(session);
      const forMs = (row.lease_until as number) - now;
      // Of a process that alone has the database, the former one is dead.
      const isDead = this.database.exclusive && row.lease_holder !== holder;
      if (row.lease_holder !== null && forMs > 0 && !isDead) return { is: 'busy', forMs };
      const fence = (row.fence as number) + 1;
      await session.run(`UPDATE notifier SET fence = ?, lease_holder = ?, lease_until = ? ${OF_REF}`, [
        ...[fence, holder, now + leaseMs],
        ...keyOf(ref),
      ]);
      const [head] = await session.all(
        `${SELECT_DELIVERY} AND status = 'retrying' ORDER BY serial LIMIT 1`,
        keyOf(ref),
      );
      return { is: 'taken', notifier: toNotifier({ ...row, fence }), head: head && toDelivery(head), now };
    });
  }

  renew(lease: NotifierLease, leaseMs: number): Promise<boolean> {
    return this.#write(async (session) => {
      if (!(await isHeld(session, lease))) return false;
      const until = (await clockOf(session)) + leaseMs;
      await session.run(`UPDATE notifier SET lease_until = ? ${OF_REF}`, [until, ...keyOf(lease)]);
      return true;
    });
  }

  settle(lease: NotifierLease, progress: Progress): Promise<boolean> {
    return this.#write(async (session) => {
      if (!(await isHeld(session, lease))) return false;
      const now = await clockOf(session);
      const { epoch, told, status, reason, failures, nextAttemptMs, serial, leaseMs } = progress;
      await session.run(
        `UPDATE notifier SET epoch = ?, told = ?, status = ?, reason = ?, failures = ?, next_attempt_at = ?, serial = ?, lease_until = ?${leaseMs === 0 ? ', lease_holder = NULL' : ''} ${OF_REF}`,
        [
          ...[epoch, told, status, reason ?? null, failures],
          ...[nextAttemptMs === undefined ? null : now + nextAttemptMs, serial, leaseMs === 0 ? 0 : now + leaseMs],
          ...keyOf(lease),
        ],
      );
      await keep(session, lease, progress.deliveries, now);
      return true;
    });
  }

  async release({ poolId, name, fence }: Pick<NotifierLease, 'poolId' | 'name' | 'fence'>): Promise<void> {
    await this.#write((session) =>
      session.run(`UPDATE notifier SET lease_holder = NULL, lease_until = 0 ${OF_REF} AND fence = ?`, [
        ...[poolId, name, fence],
      ]),
    );
  }

  replaceSecrets(ref: NotifierRef, former: string | undefined, secrets: string): Promise<boolean> {
    return this.#write(async (session) => {
      const row = await rowOf(session, ref, session.forUpdate);
      if (!row || (row.secrets ?? undefined) !== former) return false;
      await session.run(`UPDATE notifier SET secrets = ? ${OF_REF}`, [secrets, ...keyOf(ref)]);
      return true;
    });
  }

  resume(ref: NotifierRef, to: { readonly epoch: string; readonly told: number } | undefined): Promise<boolean> {
    return this.#write(async (session) => {
      const row = await rowOf(session, ref, session.forUpdate);
      if (!row || row.status === 'ended') return false;
      // Whoever is at it must not put it back to where it was.
      const fence = (row.fence as number) + (to ? 1 : 0);
      await session.run(
        `UPDATE notifier SET status = 'active', reason = NULL, failures = 0, next_attempt_at = NULL, fence = ?, epoch = ?, told = ? ${OF_REF}`,
        [fence, to?.epoch ?? (row.epoch as string), to?.told ?? (row.told as number), ...keyOf(ref)],
      );
      if (to) {
        // Nobody who holds the former fence can give it back.
        await session.run(
          `UPDATE notifier SET rewinds = rewinds + 1, lease_holder = NULL, lease_until = 0 ${OF_REF}`,
          keyOf(ref),
        );
        await deleteDeliveries(session, ref, "AND status = 'retrying'");
      } else {
        await session.run(
          "UPDATE notifier_delivery SET attempts = 0 WHERE pool_id = ? AND notifier = ? AND status = 'retrying'",
          keyOf(ref),
        );
      }
      return true;
    });
  }

  deliveries(ref: NotifierRef, before: number | undefined, limit: number): Promise<StoredDelivery[]> {
    return this.database.read(async (session) => {
      const sql = `${SELECT_SHORT} AND serial < ? ORDER BY serial DESC LIMIT ?`;
      const rows = await session.all(sql, [...keyOf(ref), before ?? Number.MAX_SAFE_INTEGER, limit]);
      return rows.map(toDelivery);
    });
  }

  delivery(ref: NotifierRef, serial: number): Promise<StoredDelivery | undefined> {
    return this.database.read(async (session) => {
      const [row] = await session.all(`${SELECT_DELIVERY} AND serial = ?`, [...keyOf(ref), serial]);
      return row && toDelivery(row);
    });
  }

  redelivered(ref: NotifierRef, delivery: DeliveryRecord): Promise<boolean> {
    return this.#write(async (session) => {
      if (!(await rowOf(session, ref, session.forUpdate))) return false;
      const sql = `${SELECT_SHORT} AND serial = ? AND status = 'parked'`;
      const [row] = await session.all(sql, [...keyOf(ref), delivery.serial]);
      if (!row) return false;
      await keep(session, ref, [delivery], await clockOf(session));
      return true;
    });
  }

  async endOwner(ownerId: string, reason: string): Promise<void> {
    // No index serves it: accounts end seldom.
    await this.#write((session) =>
      session.run("UPDATE notifier SET status = 'ended', reason = ?, fence = fence + 1 WHERE owner_id = ?", [
        ...[reason, ownerId],
      ]),
    );
  }

  pending(limit: number): Promise<{ pool: string; name: string }[]> {
    return this.database.read(async (session) => {
      const now = await clockOf(session);
      const sql =
        `SELECT p.name AS pool, n.name AS name FROM notifier n ${session.orderedJoin} pool p ON p.id = n.pool_id ` +
        "WHERE n.status IN ('active', 'stopped') AND (n.told < p.revision OR n.epoch <> p.epoch) AND (n.next_attempt_at IS NULL OR n.next_attempt_at <= ?) AND n.lease_until <= ? AND p.name IS NOT NULL LIMIT ?";
      // Those of a process that is gone are looked at too, where this one is alone.
      const leasedUntil = this.database.exclusive ? Number.MAX_SAFE_INTEGER : now;
      const rows = await session.all(sql, [now, leasedUntil, limit]);
      return rows.map((row) => ({ pool: row.pool as string, name: row.name as string }));
    });
  }

  deleteOldDeliveries(keepMs: number, limit: number): Promise<number> {
    return this.#write(async (session) => {
      const before = (await clockOf(session)) - keepMs;
      const rows = await session.all(
        "SELECT pool_id, notifier, serial FROM notifier_delivery WHERE changed_at < ? AND status <> 'retrying' ORDER BY changed_at LIMIT ?",
        [before, limit],
      );
      await session.deleteEach(
        'notifier_delivery',
        DELIVERY_KEY,
        rows.map((row) => DELIVERY_KEY.map((column) => row[column] as Value)),
      );
      return rows.length;
    });
  }

  #write<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return writeAttempted(this.database, work);
  }
}

/** What commits make of rows, inside their transaction. */
export async function saveNotifiers(session: Session, poolId: number, writes: readonly NotifierWrite[]): Promise<void> {
  for (const write of writes) {
    const ref = { poolId, name: write.name };
    if (write.definition === undefined) {
      await session.run(`DELETE FROM notifier ${OF_REF}`, keyOf(ref));
      await deleteDeliveries(session, ref, '');
      continue;
    }
    const start = write.start === 'start' ? ((await headById(session, poolId))?.oldestRevision ?? 1) - 1 : write.start;
    const row = await rowOf(session, ref, session.forUpdate);
    if (row) await alter(session, ref, write, row, start);
    else {
      await session.insert('notifier', COLUMNS, [
        [
          ...[
            poolId,
            write.name,
            write.generation,
            write.definition,
            write.owner,
            write.ownerId,
            write.ownerName,
            null,
          ],
          ...[write.epoch, start ?? write.generation, 'active', null, 0, null, 0, 0, 0, null, 0],
        ],
      ]);
    }
  }
}

/** It goes on where it was, at once and with all its attempts. A delivery that was to be tried again is made anew by what it is now. */
async function alter(
  session: Session,
  ref: NotifierRef,
  { generation, definition, owner, ownerId, ownerName, epoch }: NotifierWrite,
  row: Row,
  start: number | undefined,
): Promise<void> {
  await session.run(
    `UPDATE notifier SET generation = ?, definition = ?, owner = ?, owner_id = ?, owner_name = ?, epoch = ?, told = ?, status = 'active', reason = NULL, failures = 0, next_attempt_at = NULL ${OF_REF}`,
    [
      ...[generation, definition as string, owner, ownerId, ownerName],
      ...[start === undefined ? (row.epoch as string) : epoch, start ?? (row.told as number)],
      ...keyOf(ref),
    ],
  );
  // What was made for one owner's eyes is not delivered to another's address.
  await deleteDeliveries(session, ref, row.owner_name === ownerName ? "AND status = 'retrying'" : '');
}

/** Removes rows of a dropped pool; answers how many. */
export async function purgeNotifiers(session: Session, poolId: number, limit: number): Promise<number> {
  const rows = await session.all('SELECT pool_id, notifier, serial FROM notifier_delivery WHERE pool_id = ? LIMIT ?', [
    poolId,
    limit,
  ]);
  await session.deleteEach(
    'notifier_delivery',
    DELIVERY_KEY,
    rows.map((row) => DELIVERY_KEY.map((column) => row[column] as Value)),
  );
  return rows.length > 0 ? rows.length : session.run('DELETE FROM notifier WHERE pool_id = ?', [poolId]);
}

/** Keeps deliveries, and lets go of what is beyond what is kept. */
async function keep(
  session: Session,
  ref: NotifierRef,
  deliveries: readonly DeliveryRecord[],
  now: number,
): Promise<void> {
  if (deliveries.length === 0) return;
  const rows = deliveries.map((delivery) => [
    ...[ref.poolId, ref.name, delivery.serial, delivery.event, delivery.kind, delivery.revision, delivery.status],
    ...[delivery.attempts, delivery.lastStatus ?? null, delivery.lastError ?? null, delivery.body ?? null],
    ...[delivery.body === undefined ? 0 : Buffer.byteLength(delivery.body), now, now],
  ]);
  const columns = DELIVERY_COLUMNS.filter((column) => !DELIVERY_KEY.includes(column) && column !== 'created_at');
  await session.insert('notifier_delivery', DELIVERY_COLUMNS, rows, { key: DELIVERY_KEY, columns });
  await letGo(session, ref, 'delivered', limits.deliveriesKept, Number.POSITIVE_INFINITY);
  if (deliveries.some(({ status }) => status === 'parked'))
    await letGo(session, ref, 'parked', limits.parkedKept, limits.parkedBytesKept);
}

/** Of all deliveries with a status only the newest are kept. */
async function letGo(
  session: Session,
  ref: NotifierRef,
  status: StoredDelivery['status'],
  countMax: number,
  bytesMax: number,
): Promise<void> {
  const sql =
    'SELECT serial, body_bytes FROM notifier_delivery WHERE pool_id = ? AND notifier = ? AND status = ? ORDER BY serial DESC LIMIT ?';
  const rows = await session.all(sql, [...keyOf(ref), status, countMax + 1]);
  let bytes = 0;
  const first = rows.findIndex((row, i) => {
    bytes += row.body_bytes as number;
    return i >= countMax || (bytes > bytesMax && i > 0);
  });
  if (first < 0) return;
  await session.run('DELETE FROM notifier_delivery WHERE pool_id = ? AND notifier = ? AND status = ? AND serial <= ?', [
    ...keyOf(ref),
    status,
    rows[first]?.serial as number,
  ]);
}

async function deleteDeliveries(session: Session, ref: NotifierRef, more: string): Promise<void> {
  await session.run(`DELETE FROM notifier_delivery WHERE pool_id = ? AND notifier = ? ${more}`, keyOf(ref));
}

function keyOf({ poolId, name }: NotifierRef): [number, string] {
  return [poolId, name];
}

async function rowOf(session: Session, ref: NotifierRef, lock = ''): Promise<Row | undefined> {
  const [row] = await session.all(`${SELECT} ${OF_REF}${lock}`, keyOf(ref));
  return row;
}

async function isHeld(session: Session, lease: NotifierLease): Promise<boolean> {
  const row = await rowOf(session, lease, session.forUpdate);
  return row !== undefined && row.fence === lease.fence && row.generation === lease.generation;
}

async function stateOf(session: Session, row: Row, now: number): Promise<NotifierState> {
  const notifier = toNotifier(row);
  const sql = "SELECT COUNT(*) AS n FROM notifier_delivery WHERE pool_id = ? AND notifier = ? AND status = 'parked'";
  const [count] = await session.all(sql, keyOf(notifier));
  return { notifier, parked: Number(count?.n), now };
}

function toNotifier(row: Row): StoredNotifier {
  return {
    poolId: row.pool_id as number,
    name: row.name as string,
    generation: row.generation as number,
    definition: row.definition as string,
    owner: row.owner as string,
    ownerName: row.owner_name as string,
    secrets: (row.secrets as string | null) ?? undefined,
    epoch: row.epoch as string,
    told: row.told as number,
    status: row.status as NotifierStatus,
    reason: (row.reason as string | null) ?? undefined,
    failures: row.failures as number,
    nextAttemptAt: (row.next_attempt_at as number | null) ?? undefined,
    serial: row.serial as number,
    fence: row.fence as number,
    rewinds: row.rewinds as number,
  };
}

function toDelivery(row: Row): StoredDelivery {
  return {
    serial: row.serial as number,
    event: row.event as string,
    kind: row.kind as string,
    revision: row.revision as number,
    status: row.status as StoredDelivery['status'],
    attempts: row.attempts as number,
    lastStatus: (row.last_status as number | null) ?? undefined,
    lastError: (row.last_error as string | null) ?? undefined,
    body: (row.body as string | null) ?? undefined,
    createdAt: row.created_at as number,
    changedAt: row.changed_at as number,
  };
}
