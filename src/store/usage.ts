/**
 * The rows of what was used: added to by every node without the pool's lock, and taken by whoever makes items of them, who has
 * it. A row that is being taken is locked, so that what is added comes either before or into a new row.
 */
import type { UsageCount, UsageRow } from '../engine/ports.js';
import type { Session } from './dialect.js';
import { toUsageRow, USAGE_COLUMNS } from './mapping.js';
import { clockOf } from './reads.js';

const KEY = ['pool_id', 'day', 'subject'];
const SUMS = ['requests', 'writes', 'bytes_in', 'bytes_out', 'stream_ms', 'refusals', 'blocks'];

export async function addUsage(session: Session, counts: readonly UsageCount[]): Promise<void> {
  const now = await clockOf(session);
  const day = new Date(now).toISOString().slice(0, 10);
  const ids = [...new Set(counts.map(({ poolId }) => poolId))];
  const pools = await session.lookup(
    'SELECT id, name FROM pool',
    ['id'],
    ids.map((id) => [id]),
  );
  const living = new Set(pools.filter(({ name }) => name !== null).map(({ id }) => id as number));
  const rows = counts
    .filter(({ poolId }) => living.has(poolId))
    // In one order everywhere, so that two nodes don't wait for each other.
    .sort((a, b) => a.poolId - b.poolId || (a.subject < b.subject ? -1 : 1))
    .map((count) => [
      ...[count.poolId, day, count.subject, count.requests, count.writes],
      ...[count.bytesIn, count.bytesOut, count.streamMs, count.refusals, count.blocks, now],
    ]);
  await session.insert('pool_usage', USAGE_COLUMNS, rows, { key: KEY, columns: [], sums: SUMS });
}

export async function readUsage(session: Session, poolId: number, limit: number): Promise<UsageRow[]> {
  const sql = `SELECT ${USAGE_COLUMNS.join(', ')} FROM pool_usage WHERE pool_id = ? ORDER BY day, subject LIMIT ?${session.forUpdate}`;
  return (await session.all(sql, [poolId, limit])).map(toUsageRow);
}

export async function deleteUsage(
  session: Session,
  poolId: number,
  rows: readonly Pick<UsageRow, 'day' | 'subject'>[],
): Promise<void> {
  await session.deleteEach(
    'pool_usage',
    KEY,
    rows.map(({ day, subject }) => [poolId, day, subject]),
  );
}

export async function readUsedPools(session: Session, before: number): Promise<string[]> {
  const sql =
    'SELECT DISTINCT p.name FROM pool_usage u JOIN pool p ON p.id = u.pool_id WHERE u.noted_at < ? AND p.name IS NOT NULL';
  return (await session.all(sql, [before])).map(({ name }) => name as string);
}
