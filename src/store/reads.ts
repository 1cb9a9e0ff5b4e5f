/** Reads that the store and its transactions share: the clock, a pool's row, a range of items, a page of the log, an item's change. */
import type {
  ItemChangePage,
  ItemChangeRequest,
  ItemPlace,
  LogBeforeRequest,
  LogPage,
  LogRequest,
  LogRow,
  PoolHead,
  RangeRequest,
  StoredItem,
} from '../engine/ports.js';
import { compareKeys } from '../engine/state/key-order.js';
import { readBounded } from './bounded.js';
import type { Row, Session, Value } from './dialect.js';
import { HEAD, TRACED_LOG_COLUMNS, text, toHead, toItem, toLogRow } from './mapping.js';

/** The database's clock, in milliseconds since 1970. */
export async function clockOf(session: Session): Promise<number> {
  return (await session.all(`SELECT ${session.clock} AS now`, []))[0]?.now as number;
}

export async function headById(session: Session, id: number): Promise<PoolHead | undefined> {
  const [row] = await session.all(`SELECT ${HEAD} FROM pool p WHERE p.id = ? AND p.name IS NOT NULL`, [id]);
  return row && toHead(row);
}

export async function readRevisions(session: Session, ids: readonly number[]): Promise<Map<number, number>> {
  const rows = await session.lookup(
    'SELECT id, revision, name FROM pool',
    ['id'],
    ids.map((id) => [id]),
  );
  return new Map(
    rows.filter(({ name }) => name !== null).map(({ id, revision }) => [id as number, revision as number]),
  );
}

export async function readItems(session: Session, poolId: number, places: readonly ItemPlace[]): Promise<StoredItem[]> {
  const select = 'SELECT collection_id, item_key, attributes, revision, created_revision FROM item';
  const tuples = places.map(({ collectionId, key }) => [poolId, collectionId, key]);
  return (await session.lookup(select, ['pool_id', 'collection_id', 'item_key'], tuples)).map(toItem);
}

export async function readRange(
  session: Session,
  poolId: number,
  request: RangeRequest,
): Promise<{ items: StoredItem[]; more: boolean }> {
  const { collectionId, start, end, after, backward, limit, bytesMax } = request;
  const [near, far] = backward ? [end, start] : [start, end];
  const fetch = (last: Row | undefined, rows: number) => {
    const beyond = last ? text(last.item_key) : after;
    const conditions = ['pool_id = ?', 'collection_id = ?'];
    const parameters: Value[] = [poolId, collectionId];
    // One bound where the reading begins: of two, SQLite begins at the first and steps over all that the second excludes.
    const order = beyond === undefined || near === undefined ? 0 : compareKeys(beyond, near);
    const isBeyond = beyond !== undefined && (backward ? order <= 0 : order >= 0);
    if (isBeyond) conditions.push(`item_key ${backward ? '<' : '>'} ?`) && parameters.push(beyond);
    else if (near !== undefined) conditions.push(`item_key ${backward ? '<' : '>='} ?`) && parameters.push(near);
    if (far !== undefined) conditions.push(`item_key ${backward ? '>=' : '<'} ?`) && parameters.push(far);
    const columns = 'collection_id, item_key, attributes, revision, created_revision';
    const sql = `SELECT ${columns} FROM item WHERE ${conditions.join(' AND ')} ORDER BY item_key${backward ? ' DESC' : ''} LIMIT ?`;
    return session.all(sql, [...parameters, rows]);
  };
  const { rows, more } = await readBounded(fetch, (row) => Buffer.byteLength(row.attributes as string), {
    rowsMax: limit,
    bytesMax,
  });
  return { items: rows.map(toItem), more };
}

/** The log only grows at its end, so that several statements, each of its own moment, are one truth. */
export async function readLog(session: Session, { poolId, after, rowsMax, bytesMax }: LogRequest): Promise<LogPage> {
  const columns = TRACED_LOG_COLUMNS.join(', ');
  const next = (last: Row | undefined, limit: number) =>
    last
      ? session.all(
          `SELECT ${columns} FROM commit_log WHERE pool_id = ? AND (revision > ? OR (revision = ? AND ordinal > ?)) AND revision >= ? ORDER BY revision, ordinal LIMIT ?`,
          [
            poolId,
            last.revision as number,
            last.revision as number,
            last.ordinal as number,
            last.revision as number,
            limit,
          ],
        )
      : session.all(
          `SELECT ${columns} FROM commit_log WHERE pool_id = ? AND revision > ? ORDER BY revision, ordinal LIMIT ?`,
          [poolId, after, limit],
        );
  const { rows, more } = await readBounded(next, sizeOfLogRow, { rowsMax, bytesMax });
  if (more) await completeLastCommit(session, poolId, rows);
  // Read last: a compaction in the meantime shows as an oldest revision above what was asked for.
  const head = await headById(session, poolId);
  const reached = (rows.at(-1)?.revision as number | undefined) ?? after;
  return { head, rows: rows.map(toLogRow), complete: head === undefined || reached >= head.revision };
}

/** To be called where all statements see one state: a compaction in between would take commits away unnoticed. */
export async function readLogBefore(session: Session, request: LogBeforeRequest): Promise<LogRow[]> {
  const { poolId, before, rowsMax, bytesMax } = request;
  const select = (conditions: string) =>
    `SELECT ${TRACED_LOG_COLUMNS.join(', ')} FROM commit_log WHERE pool_id = ? AND ${conditions} ORDER BY revision DESC, ordinal DESC`;
  const next = (last: Row | undefined, limit: number) => {
    const [revision, ordinal] = [last?.revision as number, last?.ordinal as number];
    return last
      ? session.all(`${select('revision <= ? AND (revision < ? OR ordinal < ?)')} LIMIT ?`, [
          ...[poolId, revision, revision, ordinal],
          limit,
        ])
      : session.all(`${select('revision < ?')} LIMIT ?`, [poolId, before, limit]);
  };
  const { rows } = await readBounded(next, sizeOfLogRow, { rowsMax, bytesMax });
  const last = rows.at(-1);
  // A commit is whole when its first row is there; else, where it isn't the only one, it is left for the next page.
  if (last && last.ordinal !== 0) {
    const begin = rows.findIndex((row) => row.revision === last.revision);
    const rest = [poolId, last.revision as number, last.ordinal as number];
    if (begin > 0) rows.length = begin;
    else rows.push(...(await session.all(select('revision = ? AND ordinal < ?'), rest)));
  }
  return rows.map(toLogRow).sort((a, b) => b.revision - a.revision || a.ordinal - b.ordinal);
}

/** A page may end inside a commit. Where it holds others it ends before that commit; else the commit's rest is read. */
async function completeLastCommit(session: Session, poolId: number, rows: Row[]): Promise<void> {
  const last = rows.at(-1) as Row;
  const revision = last.revision as number;
  const begin = rows.findIndex((row) => row.revision === revision);
  if (begin > 0) {
    rows.length = begin;
    return;
  }
  const sql = `SELECT ${TRACED_LOG_COLUMNS.join(', ')} FROM commit_log WHERE pool_id = ? AND revision = ? AND ordinal > ? ORDER BY ordinal`;
  rows.push(...(await session.all(sql, [poolId, revision, last.ordinal as number])));
}

function sizeOfLogRow(row: Row): number {
  const { before_values, after_values } = row as { before_values: string; after_values: string | null };
  return Buffer.byteLength(before_values) + Buffer.byteLength(after_values ?? '') + 200;
}

export async function readItemChange(session: Session, request: ItemChangeRequest): Promise<ItemChangePage> {
  const { poolId, collectionId, key, upTo, rowsMax } = request;
  const newest = async (lowest: number) => {
    const sql = `SELECT ${TRACED_LOG_COLUMNS.join(', ')} FROM commit_log WHERE pool_id = ? AND revision >= ? AND revision <= ? AND collection_id = ? AND item_key = ? ORDER BY revision DESC LIMIT 1`;
    return (await session.all(sql, [poolId, lowest, upTo, collectionId, key]))[0];
  };
  let reached = upTo;
  let row = await newest(upTo);
  if (!row) {
    const bound =
      'SELECT revision FROM commit_log WHERE pool_id = ? AND revision <= ? ORDER BY revision DESC, ordinal DESC LIMIT 1 OFFSET ?';
    const [last] = await session.all(bound, [poolId, upTo, rowsMax]);
    reached = (last?.revision as number | undefined) ?? 0;
    row = await newest(reached);
  }
  // Read last: a compaction in the meantime shows as an oldest revision above what was examined.
  return { head: await headById(session, poolId), row: row && toLogRow(row), reached };
}
