/**
 * The rows of sessions. A lease is renewed without the pool's lock, so that it costs no commit and waits for none; whoever
 * judges a session inside a commit locks its row, so that a renewal comes either before or too late.
 */
import type { LeaseRef, SessionAnswer, StoredSession } from '../engine/ports.js';
import type { Session } from './dialect.js';
import { fromSession, SESSION_ANSWER_COLUMNS, SESSION_COLUMNS, toSession, toSessionAnswer } from './mapping.js';
import { clockOf } from './reads.js';

const COLUMNS = SESSION_COLUMNS.join(', ');

/** The sessions with the ids or names. */
export async function readSessions(
  session: Session,
  poolId: number,
  idsOrNames: readonly string[],
  lock: string,
): Promise<StoredSession[]> {
  const byId = await findBy(session, 'id', poolId, idsOrNames, lock);
  const ids = new Set(byId.map(({ id }) => id));
  const others = idsOrNames.filter((id) => !ids.has(id));
  const byName = others.length > 0 ? await findBy(session, 'name', poolId, others, lock) : [];
  return [...byId, ...byName.filter(({ id }) => !ids.has(id))];
}

async function findBy(
  session: Session,
  column: 'id' | 'name',
  poolId: number,
  values: readonly string[],
  lock: string,
): Promise<StoredSession[]> {
  const tuples = values.map((value) => [poolId, value]);
  return (await session.lookup(`SELECT ${COLUMNS} FROM session`, ['pool_id', column], tuples, lock)).map(toSession);
}

export async function saveSessions(
  session: Session,
  poolId: number,
  sessions: readonly StoredSession[],
): Promise<void> {
  await session.insert(
    'session',
    SESSION_COLUMNS,
    sessions.map((each) => fromSession(poolId, each)),
    { key: ['pool_id', 'id'], columns: SESSION_COLUMNS.slice(2) },
  );
}

export async function deleteSessions(session: Session, poolId: number, ids: readonly string[]): Promise<void> {
  for (const id of ids)
    await session.write('DELETE FROM session_answer WHERE pool_id = ? AND session_id = ?', [poolId, id]);
  await session.deleteEach(
    'session',
    ['pool_id', 'id'],
    ids.map((id) => [poolId, id]),
  );
}

export async function renewLeases(
  session: Session,
  leases: readonly LeaseRef[],
): Promise<{ sessions: (StoredSession | undefined)[]; now: number }> {
  // In one order everywhere, so that two who renew don't wait for each other.
  const tuples = [...new Map(leases.map((lease) => [idOf(lease), [lease.poolId, lease.session]]))]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, tuple]) => tuple);
  const select = `SELECT ${COLUMNS} FROM session`;
  const rows = await session.lookup(select, ['pool_id', 'id'], tuples, session.forUpdate);
  const now = await clockOf(session);
  const sessions = new Map(
    rows.map((row) => [idOf({ poolId: row.pool_id as number, session: row.id as string }), toSession(row)]),
  );
  for (const lease of leases) {
    const present = sessions.get(idOf(lease));
    if (!present || present.epoch !== lease.epoch || present.subject !== lease.subject) continue;
    if (present.ended || present.expiresAt <= now) continue;
    const expiresAt = now + present.ttlMs;
    if (present.expiresAt === expiresAt) continue;
    sessions.set(idOf(lease), { ...present, expiresAt });
    const parameters = [expiresAt, lease.poolId, lease.session];
    await session.write('UPDATE session SET expires_at = ? WHERE pool_id = ? AND id = ?', parameters);
  }
  return { sessions: leases.map((lease) => sessions.get(idOf(lease))), now };
}

function idOf({ poolId, session }: Pick<LeaseRef, 'poolId' | 'session'>): string {
  return `${poolId}/${session}`;
}

export async function readDueSessions(
  session: Session,
  limit: number,
  exceptPools: readonly number[],
): Promise<{ pool: string; poolId: number; sessions: string[] }[]> {
  const others = exceptPools.length > 0 ? ` AND s.pool_id NOT IN (${exceptPools.map(() => '?').join(', ')})` : '';
  const now = await clockOf(session);
  const due = new Map<number, { pool: string; poolId: number; sessions: string[] }>();
  for (const column of ['expires_at', 'wake_at']) {
    const sql = `SELECT p.name, s.pool_id, s.id FROM session s ${session.orderedJoin} pool p ON p.id = s.pool_id WHERE s.${column} <= ? AND p.name IS NOT NULL${others} ORDER BY s.${column} LIMIT ?`;
    for (const row of await session.all(sql, [now, ...exceptPools, limit])) {
      const poolId = row.pool_id as number;
      const ofPool = due.get(poolId) ?? { pool: row.name as string, poolId, sessions: [] };
      if (!ofPool.sessions.includes(row.id as string)) ofPool.sessions.push(row.id as string);
      due.set(poolId, ofPool);
    }
  }
  return [...due.values()];
}

export async function readSessionAnswers(
  session: Session,
  poolId: number,
  batches: readonly { readonly session: string; readonly sequence: number }[],
): Promise<SessionAnswer[]> {
  const rows = await session.lookup(
    `SELECT ${SESSION_ANSWER_COLUMNS.join(', ')} FROM session_answer`,
    ['pool_id', 'session_id', 'sequence'],
    batches.map((batch) => [poolId, batch.session, batch.sequence]),
  );
  return rows.map(toSessionAnswer);
}

export async function keepSessionAnswers(
  session: Session,
  poolId: number,
  answers: readonly SessionAnswer[],
  kept: number,
): Promise<void> {
  await session.insert(
    'session_answer',
    SESSION_ANSWER_COLUMNS,
    answers.map(({ session: id, sequence, status, headers, body }) => [poolId, id, sequence, status, headers, body]),
    { key: ['pool_id', 'session_id', 'sequence'], columns: ['status', 'headers', 'body'] },
  );
  await session.deleteEach(
    'session_answer',
    ['pool_id', 'session_id', 'sequence'],
    answers.map(({ session: id, sequence }) => [poolId, id, sequence - kept]),
  );
}
