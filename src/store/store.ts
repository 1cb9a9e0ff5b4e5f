/**
 * The `Store` port on TypeORM's connections: hand-written statements, the same text for SQLite and MySQL/MariaDB. What
 * the calls promise is written in engine/ports.ts; test/store runs that contract on both databases.
 */
import {
  type ItemChangePage,
  type ItemChangeRequest,
  type ItemPlace,
  type LeaseRef,
  type LogPage,
  type LogRequest,
  type PoolContent,
  type PoolHead,
  type PoolSummary,
  type RangeRequest,
  RetryTransaction,
  type SnapshotSource,
  type Store,
  type StoredIndex,
  type StoredItem,
  type StoredSession,
  type StoreTransaction,
  type UsageCount,
} from '../engine/ports.js';
import { writeAttempted } from './attempts.js';
import type { Database } from './dialect.js';
import { purgeIndex, readIndexes, readIndexesIn, removeEntries } from './indexes.js';
import { HEAD, text, toCollection, toEntry, toHead, toItem } from './mapping.js';
import { purgeNotifiers } from './notifiers.js';
import { SqlOperations } from './operations.js';
import { clockOf, headById, readItemChange, readLog, readRange, readRevisions } from './reads.js';
import { deleteSessions, readDueSessions, readSessions, renewLeases } from './sessions.js';
import { SqlTransaction } from './transaction.js';
import { addUsage, deleteUsage, readUsage, readUsedPools } from './usage.js';

export class SqlStore implements Store {
  readonly exclusive: boolean;
  readonly operations: SqlOperations;

  constructor(private readonly database: Database) {
    this.exclusive = database.exclusive;
    this.operations = new SqlOperations(database);
  }

  async transact<T>(work: (tx: StoreTransaction) => Promise<T>): Promise<T> {
    const { result, missed } = await this.database.write(async (session) => {
      const tx = new SqlTransaction(session);
      const result = await work(tx);
      await tx.claim();
      return { result, missed: tx.missed };
    });
    // There was no row to claim, and what was asked for while the transaction began may be about a pool that is there by now.
    if (this.database.isCluster && missed !== undefined && (await this.pool(missed)))
      throw new RetryTransaction(`The pool ${missed} was made meanwhile`);
    return result;
  }

  pools(after: string | undefined, limit: number): Promise<PoolSummary[]> {
    const own = "c.pool_id = p.id AND c.present = 1 AND SUBSTR(c.name, 1, 1) <> '_'";
    const counts = `(SELECT COUNT(*) FROM collection c WHERE ${own}) AS collections, (SELECT SUM(c.items) FROM collection c WHERE ${own}) AS items`;
    const sql = `SELECT ${HEAD}, ${counts} FROM pool p WHERE p.name > ? ORDER BY p.name LIMIT ?`;
    return this.database.read(async (session) => {
      const rows = await session.all(sql, [after ?? '', limit]);
      return rows.map((row) => ({
        head: toHead(row),
        collections: Number(row.collections),
        items: Number(row.items ?? 0),
      }));
    });
  }

  pool(name: string): Promise<PoolContent | undefined> {
    const columns = 'c.id AS collection_id, c.name, c.present, c.items, c.revision';
    const sql = `SELECT ${HEAD}, ${columns} FROM pool p LEFT JOIN collection c ON c.pool_id = p.id WHERE p.name = ?`;
    return this.database.read(async (session) => {
      const rows = await session.all(sql, [name]);
      return (
        rows[0] && {
          head: toHead(rows[0]),
          collections: rows.filter((row) => row.collection_id !== null).map(toCollection),
        }
      );
    });
  }

  poolById(id: number): Promise<PoolHead | undefined> {
    return this.database.read((session) => headById(session, id));
  }

  revisions(ids: readonly number[]): Promise<ReadonlyMap<number, number>> {
    return this.database.read((session) => readRevisions(session, ids));
  }

  items(poolId: number, places: readonly ItemPlace[]): Promise<{ head: PoolHead | undefined; items: StoredItem[] }> {
    if (places.length === 0)
      return this.database.read(async (session) => ({ head: await headById(session, poolId), items: [] }));
    const base = { columns: HEAD, table: 'pool p', where: 'p.id = ? AND p.name IS NOT NULL', parameters: [poolId] };
    const columns = 'i.collection_id, i.item_key, i.attributes, i.revision, i.created_revision';
    const join = { columns, table: 'item i', keys: ['i.pool_id', 'i.collection_id', 'i.item_key'] };
    return this.database.read(async (session) => {
      const rows = await session.beside(
        base,
        join,
        places.map(({ collectionId, key }) => [poolId, collectionId, key]),
      );
      return {
        head: rows[0] && toHead(rows[0]),
        items: rows.filter((row) => (row.item_key ?? null) !== null).map(toItem),
      };
    });
  }

  range(
    poolId: number,
    request: RangeRequest,
  ): Promise<{ head: PoolHead | undefined; items: StoredItem[]; more: boolean }> {
    return this.database.snapshot(async (session) => ({
      head: await headById(session, poolId),
      ...(await readRange(session, poolId, request)),
    }));
  }

  snapshot<T>(
    poolId: number,
    work: (source: SnapshotSource, head: PoolHead | undefined, indexes: () => Promise<StoredIndex[]>) => Promise<T>,
  ): Promise<T> {
    return this.database.scan(async (session) =>
      work(new SqlTransaction(session), await headById(session, poolId), () => readIndexes(session, poolId)),
    );
  }

  log(request: LogRequest): Promise<LogPage> {
    return this.database.read((session) => readLog(session, request));
  }

  itemChange(request: ItemChangeRequest): Promise<ItemChangePage> {
    return this.database.read((session) => readItemChange(session, request));
  }

  /** By bisection: times rise with revisions, and an index on them would cost every write. */
  revisionBefore(poolId: number, time: number): Promise<number> {
    return this.database.read(async (session) => {
      const head = await headById(session, poolId);
      if (!head) return 0;
      const timeOf = async (revision: number) => {
        const [row] = await session.all(
          'SELECT time FROM commit_log WHERE pool_id = ? AND revision >= ? ORDER BY revision LIMIT 1',
          [poolId, revision],
        );
        return row ? (row.time as number) : Number.POSITIVE_INFINITY;
      };
      let low = head.oldestRevision - 1;
      let high = head.revision;
      while (low < high) {
        const middle = Math.ceil((low + high) / 2);
        if ((await timeOf(middle)) < time) low = middle;
        else high = middle - 1;
      }
      return low < head.oldestRevision ? 0 : low;
    });
  }

  async raiseOldest(poolId: number, revision: number): Promise<void> {
    const sql = 'UPDATE pool SET oldest_revision = ? WHERE id = ? AND oldest_revision < ?';
    await writeAttempted(this.database, (session) => session.run(sql, [revision + 1, poolId, revision + 1]));
  }

  deleteLogRows(poolId: number, limit: number): Promise<number> {
    return writeAttempted(this.database, async (session) => {
      const head = await headById(session, poolId);
      const oldest = head ? head.oldestRevision : Number.MAX_SAFE_INTEGER;
      const sql =
        'SELECT revision, ordinal FROM commit_log WHERE pool_id = ? AND revision < ? ORDER BY revision, ordinal LIMIT ?';
      const rows = await session.all(sql, [poolId, oldest, limit]);
      await session.deleteEach(
        'commit_log',
        ['pool_id', 'revision', 'ordinal'],
        rows.map((row) => [poolId, row.revision as number, row.ordinal as number]),
      );
      return rows.length;
    });
  }

  deleteExpiredAnswers(now: number, limit: number): Promise<number> {
    return writeAttempted(this.database, async (session) => {
      // Locked: between this and the deletion a new answer might be kept under a key that has just expired.
      const sql = `SELECT pool, subject, idempotency_key FROM stored_answer WHERE expires_at < ? ORDER BY expires_at LIMIT ?${session.forUpdate}`;
      const rows = await session.all(sql, [now, limit]);
      const columns = ['pool', 'subject', 'idempotency_key'];
      await session.deleteEach(
        'stored_answer',
        columns,
        rows.map((row) => columns.map((column) => row[column] as string)),
      );
      return rows.length;
    });
  }

  async purgeDropped(limit: number): Promise<number> {
    const [pool] = await this.database.read((session) =>
      session.all('SELECT id FROM pool WHERE name IS NULL ORDER BY id LIMIT 1', []),
    );
    if (!pool) return 0;
    const id = pool.id as number;
    const rows = await this.deleteLogRows(id, limit);
    if (rows > 0) return rows;
    return writeAttempted(this.database, async (session) => {
      const items = await session.all('SELECT collection_id, item_key FROM item WHERE pool_id = ? LIMIT ?', [
        id,
        limit,
      ]);
      if (items.length > 0) {
        await session.deleteEach(
          'item',
          ['pool_id', 'collection_id', 'item_key'],
          items.map((row) => [id, row.collection_id as number, text(row.item_key)]),
        );
        return items.length;
      }
      const entries = await session.all(
        'SELECT index_id, sort_key, item_key FROM item_index WHERE pool_id = ? LIMIT ?',
        [id, limit],
      );
      if (entries.length > 0) {
        await removeEntries(session, id, entries.map(toEntry));
        return entries.length;
      }
      const sessions = await session.all('SELECT id FROM session WHERE pool_id = ? LIMIT ?', [id, limit]);
      if (sessions.length > 0) {
        await deleteSessions(
          session,
          id,
          sessions.map((row) => row.id as string),
        );
        return sessions.length;
      }
      const usage = await readUsage(session, id, limit);
      if (usage.length > 0) {
        await deleteUsage(session, id, usage);
        return usage.length;
      }
      const notifiers = await purgeNotifiers(session, id, limit);
      if (notifiers > 0) return notifiers;
      await session.run('DELETE FROM collection_index WHERE pool_id = ?', [id]);
      await session.run('DELETE FROM collection WHERE pool_id = ?', [id]);
      return session.run('DELETE FROM pool WHERE id = ?', [id]);
    });
  }

  indexesIn(states: readonly StoredIndex['state'][]): Promise<{ pool: string; poolId: number; index: StoredIndex }[]> {
    return this.database.read((session) => readIndexesIn(session, states));
  }

  purgeIndex(poolId: number, indexId: number, limit: number): Promise<number> {
    return writeAttempted(this.database, (session) => purgeIndex(session, poolId, indexId, limit));
  }

  session(poolId: number, idOrName: string): Promise<{ session: StoredSession | undefined; now: number }> {
    return this.database.read(async (session) => {
      const [found] = await readSessions(session, poolId, [idOrName], '');
      return { session: found, now: await clockOf(session) };
    });
  }

  renewLeases(leases: readonly LeaseRef[]): Promise<{ sessions: (StoredSession | undefined)[]; now: number }> {
    return this.database.write((session) => renewLeases(session, leases));
  }

  dueSessions(
    limit: number,
    exceptPools: readonly number[],
  ): Promise<{ pool: string; poolId: number; sessions: string[] }[]> {
    return this.database.read((session) => readDueSessions(session, limit, exceptPools));
  }

  addUsage(counts: readonly UsageCount[]): Promise<void> {
    return writeAttempted(this.database, (session) => addUsage(session, counts));
  }

  usedPools(time: number): Promise<string[]> {
    return this.database.read((session) => readUsedPools(session, time));
  }

  /** With a look at a table: a node of a cluster that isn't in step with the others still answers what needs none. */
  now(): Promise<number> {
    return this.database.read(async (session) => {
      const sql = `SELECT ${session.clock} AS now, (SELECT COUNT(*) FROM pool WHERE id = 0) AS none`;
      return (await session.all(sql, []))[0]?.now as number;
    });
  }

  close(): Promise<void> {
    return this.database.close();
  }
}
