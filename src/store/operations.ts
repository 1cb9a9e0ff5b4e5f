/**
 * The rows of operations. They are kept under the pool's name, not its id, as stored answers are: what the deletion of a pool came to
 * outlives it. `serial` is the order in which they were accepted, by one counter of the database's.
 */
import type { Operation, OperationRequest, OperationTask } from '../engine/operations/operation.js';
import type {
  Accepted,
  Claim,
  FinishedOperation,
  NewOperation,
  OperationBounds,
  OperationMark,
  OperationStore,
} from '../engine/operations/operation-store.js';
import { RetryTransaction } from '../engine/ports.js';
import type { Reply } from '../engine/state/repetition.js';
import type { Subject } from '../engine/subject.js';
import { writeAttempted } from './attempts.js';
import type { Database, Row, Session, Value } from './dialect.js';
import { clockOf } from './reads.js';

const TOLD =
  'id, pool, call_name, caller, accepted_at, started_at, done_at, expires_at, answer_status, answer_headers, answer_body';
const TASK = 'serial, id, pool, session, subject, request, body, attempts, started_at, expires_at';
const NEW = [
  ...['id', 'pool', 'epoch', 'caller', 'session', 'idempotency_key', 'fingerprint', 'call_name'],
  ...['subject', 'request', 'body', 'bytes', 'accepted_at', 'expires_at'],
];
/** What a row takes beside what the client sent. */
const ROW_BYTES = 512;
const FINISH =
  'done_at = ?, started_at = COALESCE(started_at, accepted_at), expires_at = ?, answer_status = ?, answer_headers = ?, answer_body = ?, body = NULL, request = ?, subject = ?';

export class SqlOperations implements OperationStore {
  constructor(private readonly database: Database) {}

  accept(operation: NewOperation, bounds: OperationBounds, lifeMs: number): Promise<Accepted> {
    const { id, pool, epoch, caller, session: named, repeatable, call, subject, request, body } = operation;
    return this.#write(async (session) => {
      const now = await clockOf(session);
      const present = repeatable && (await findByKey(session, pool, caller, repeatable.key, now));
      if (present) return present;
      const bytes = ROW_BYTES + subject.length + request.length + (body?.length ?? 0);
      const of = await fullOf(session, pool, caller, bytes, bounds);
      if (of) return { kind: 'full', of };
      const isNew = await session.insertOnce('operation', NEW, [
        ...[id, pool, epoch ?? null, caller, named ?? null, repeatable?.key ?? null, repeatable?.fingerprint ?? null],
        ...[call, subject, request, body ?? null, bytes, now, now + lifeMs],
      ]);
      // The same request came through another node at the same time.
      if (!isNew && repeatable) {
        const other = await findByKey(session, pool, caller, repeatable.key, now);
        if (other) return other;
      }
      if (!isNew) throw new RetryTransaction(new Error('An operation with this key was there and is gone'));
      return { kind: 'accepted', operation: (await findById(session, pool, id)) as Operation };
    });
  }

  find(pool: string, id: string): Promise<Operation | undefined> {
    return this.database.read((session) => findById(session, pool, id));
  }

  list(pool: string, caller: string | undefined, after: string, limit: number): Promise<Operation[]> {
    const [own, values]: [string, Value[]] = caller === undefined ? ['', []] : [' AND caller = ?', [caller]];
    const sql = `SELECT ${TOLD} FROM operation WHERE pool = ?${own} AND id > ? ORDER BY id LIMIT ?`;
    return this.database.read(async (session) =>
      (await session.all(sql, [pool, ...values, after, limit])).map(toOperation),
    );
  }

  openAmong(ids: readonly string[]): Promise<string[]> {
    const tuples = ids.map((id) => [id]);
    return this.database.read(async (session) => {
      const rows = await session.lookup('SELECT id, done_at FROM operation', ['id'], tuples);
      return rows.filter(({ done_at }) => done_at === null).map(({ id }) => id as string);
    });
  }

  claim(pool: string, caller: string, busyMs: number): Promise<Claim | undefined> {
    return this.#write(async (session) => {
      const row = await lockFirst(session, pool, caller);
      if (!row) return undefined;
      const now = await clockOf(session);
      const busyUntil = row.started_at === null ? 0 : (row.started_at as number) + busyMs;
      if (busyUntil > now) return { kind: 'busy', ms: busyUntil - now };
      const attempts = (row.attempts as number) + 1;
      const sql = 'UPDATE operation SET attempts = ?, started_at = ? WHERE serial = ?';
      await session.run(sql, [attempts, now, row.serial as number]);
      return { kind: 'claimed', task: toTask(row), attempts, expiresAt: row.expires_at as number, now };
    });
  }

  async release(id: string): Promise<void> {
    const sql = 'UPDATE operation SET attempts = attempts - 1, started_at = NULL WHERE id = ? AND done_at IS NULL';
    await this.#write((session) => session.run(sql, [id]));
  }

  async finish(id: string, answer: Reply, keepMs: number): Promise<void> {
    await this.#write(async (session) => {
      const now = await clockOf(session);
      await finishOperations(session, [{ id, answer, now, expiresAt: now + keepMs }]);
    });
  }

  remove(pool: string, id: string): Promise<Operation | undefined> {
    return this.#write(async (session) => {
      const found = await findById(session, pool, id, session.forUpdate);
      const isRunning = found?.startedAt !== undefined && found.doneAt === undefined;
      if (found && !isRunning) await session.run('DELETE FROM operation WHERE id = ?', [id]);
      return found;
    });
  }

  pending(limit: number): Promise<{ pool: string; caller: string }[]> {
    const sql = 'SELECT DISTINCT pool, caller FROM operation WHERE done_at IS NULL LIMIT ?';
    return this.database.read(async (session) =>
      (await session.all(sql, [limit])).map(({ pool, caller }) => ({ pool: pool as string, caller: caller as string })),
    );
  }

  sweep(limit: number): Promise<number> {
    return this.#write(async (session) => {
      const sql = 'SELECT serial FROM operation WHERE done_at IS NOT NULL AND expires_at < ? LIMIT ?';
      const rows = await session.all(sql, [await clockOf(session), limit]);
      await session.deleteEach(
        'operation',
        ['serial'],
        rows.map(({ serial }) => [serial as number]),
      );
      return rows.length;
    });
  }

  #write<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return writeAttempted(this.database, work);
  }
}

/** As a commit's own transaction sees them. */
export async function readMarks(session: Session, ids: readonly string[]): Promise<OperationMark[]> {
  const rows = await session.lookup(
    'SELECT id, epoch, done_at, answer_status, answer_headers, answer_body FROM operation',
    ['id'],
    // In one order everywhere, so that two transactions don't wait for each other.
    [...ids].sort().map((id) => [id]),
    session.forUpdate,
  );
  return rows.map((row) => ({
    id: row.id as string,
    epoch: (row.epoch as string | null) ?? undefined,
    answer: toAnswer(row),
  }));
}

/** Of what is done only that it is, and what it came to, is kept. */
export async function finishOperations(session: Session, finished: readonly FinishedOperation[]): Promise<void> {
  for (const { id, answer, now, expiresAt } of finished) {
    await session.write(`UPDATE operation SET ${FINISH} WHERE id = ? AND done_at IS NULL`, [
      ...[now, expiresAt, answer.status, JSON.stringify(answer.headers), answer.body, '{}', '{}', id],
    ]);
  }
}

/** The caller's first one that isn't done. Found by the index and locked by its own key, so that no others are locked with it. */
async function lockFirst(session: Session, pool: string, caller: string): Promise<Row | undefined> {
  const first = 'SELECT MIN(serial) AS serial FROM operation WHERE done_at IS NULL AND pool = ? AND caller = ?';
  const task = `SELECT ${TASK} FROM operation WHERE serial = ? AND done_at IS NULL${session.forUpdate}`;
  for (;;) {
    const [found] = await session.all(first, [pool, caller]);
    const serial = found?.serial ?? null;
    if (serial === null) return undefined;
    const [row] = await session.all(task, [serial]);
    // Undefined where it was done or cancelled in between.
    if (row) return row;
  }
}

async function findById(session: Session, pool: string, id: string, lock = ''): Promise<Operation | undefined> {
  const [row] = await session.all(`SELECT ${TOLD} FROM operation WHERE id = ?${lock}`, [id]);
  return row?.pool === pool ? toOperation(row) : undefined;
}

/** What was accepted under the key. One whose time is over counts as forgotten, whether or not it has been swept. */
async function findByKey(
  session: Session,
  pool: string,
  caller: string,
  key: string,
  now: number,
): Promise<Accepted | undefined> {
  const sql = `SELECT serial, fingerprint, ${TOLD} FROM operation WHERE pool = ? AND caller = ? AND idempotency_key = ?${session.forUpdate}`;
  const [row] = await session.all(sql, [pool, caller, key]);
  if (!row) return undefined;
  const operation = toOperation(row);
  if (operation.doneAt === undefined || operation.expiresAt > now)
    return { kind: 'present', operation, fingerprint: row.fingerprint as string };
  await session.run('DELETE FROM operation WHERE serial = ?', [row.serial as number]);
  return undefined;
}

/** Whose bound one more would pass. Several nodes may pass it together, by what they take at that moment. */
async function fullOf(
  session: Session,
  pool: string,
  caller: string,
  bytes: number,
  bounds: OperationBounds,
): Promise<'pool' | 'caller' | undefined> {
  const sql =
    'SELECT COUNT(*) AS operations, SUM(bytes) AS bytes, SUM(CASE WHEN caller = ? THEN 1 ELSE 0 END) AS own FROM operation WHERE done_at IS NULL AND pool = ?';
  const [row] = await session.all(sql, [caller, pool]);
  const [all, held, own] = [row?.operations, row?.bytes, row?.own].map((value) => Number(value ?? 0)) as [
    number,
    number,
    number,
  ];
  if (own >= bounds.perCaller) return 'caller';
  return all >= bounds.perPool || (all > 0 && held + bytes > bounds.bytesPerPool) ? 'pool' : undefined;
}

function toOperation(row: Row): Operation {
  const time = (value: Value | undefined) => (value === null || value === undefined ? undefined : Number(value));
  return {
    id: row.id as string,
    pool: row.pool as string,
    call: row.call_name as string,
    caller: row.caller as string,
    acceptedAt: row.accepted_at as number,
    startedAt: time(row.started_at),
    doneAt: time(row.done_at),
    expiresAt: row.expires_at as number,
    answer: toAnswer(row),
  };
}

function toAnswer({ answer_status: status, answer_headers: headers, answer_body: body }: Row): Reply | undefined {
  if (status === null) return undefined;
  return {
    status: status as number,
    headers: JSON.parse(headers as string) as Record<string, string>,
    body: body as string,
  };
}

function toTask(row: Row): OperationTask {
  return {
    id: row.id as string,
    pool: row.pool as string,
    session: (row.session as string | null) ?? undefined,
    subject: JSON.parse(row.subject as string) as Subject,
    request: JSON.parse(row.request as string) as OperationRequest,
    body: (row.body as Buffer | null) ?? undefined,
  };
}
