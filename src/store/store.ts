/**
 * The `Store` port on TypeORM's connections: hand-written statements, the same text for SQLite and MySQL/MariaDB. What
 * the calls promise is written in engine/ports.ts; test/store runs that contract on both databases.
 */
import type {
  GroupWrite,
  ItemPlace,
  LogPage,
  LogRequest,
  PoolContent,
  PoolHead,
  PoolSummary,
  RangeRequest,
  Store,
  StoredAnswer,
  StoredItem,
  StoreTransaction,
} from '../engine/ports.js';
import type { Collection } from '../engine/state/model.js';
import { readBounded } from './bounded.js';
import type { Database, Row, Session, Value } from './dialect.js';
import {
  ANSWER_COLUMNS,
  COLLECTION_COLUMNS,
  fromAnswer,
  fromLogRow,
  HEAD,
  ITEM_COLUMNS,
  LOG_COLUMNS,
  text,
  toAnswer,
  toCollection,
  toHead,
  toItem,
  toLogRow,
} from './mapping.js';

export class SqlStore implements Store {
  readonly exclusive: boolean;

  constructor(private readonly database: Database) {
    this.exclusive = database.exclusive;
  }

  transact<T>(work: (tx: StoreTransaction) => Promise<T>): Promise<T> {
    return this.database.write((session) => work(new SqlTransaction(session)));
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

  log(request: LogRequest): Promise<LogPage> {
    return this.database.read((session) => readLog(session, request));
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
    await this.database.write((session) => session.run(sql, [revision + 1, poolId, revision + 1]));
  }

  deleteLogRows(poolId: number, limit: number): Promise<number> {
    return this.database.write(async (session) => {
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
    return this.database.write(async (session) => {
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
    return this.database.write(async (session) => {
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
      await session.run('DELETE FROM collection WHERE pool_id = ?', [id]);
      return session.run('DELETE FROM pool WHERE id = ?', [id]);
    });
  }

  now(): Promise<number> {
    return this.database.read(
      async (session) => (await session.all(`SELECT ${session.clock} AS now`, []))[0]?.now as number,
    );
  }

  close(): Promise<void> {
    return this.database.close();
  }
}

class SqlTransaction implements StoreTransaction {
  constructor(private readonly session: Session) {}

  async lockPool(name: string): Promise<{ head: PoolHead | undefined; now: number }> {
    const { session } = this;
    const [row] = await session.all(
      `SELECT ${HEAD}, ${session.clock} AS now FROM pool p WHERE p.name = ?${session.forUpdate}`,
      [name],
    );
    if (row) return { head: toHead(row), now: row.now as number };
    const [clock] = await session.all(`SELECT ${session.clock} AS now`, []);
    return { head: undefined, now: clock?.now as number };
  }

  async createPool(name: string, epoch: string): Promise<PoolHead> {
    const id = await this.session.insertOne(
      'pool',
      ['name', 'epoch', 'revision', 'oldest_revision', 'description'],
      [name, epoch, 0, 1, null],
    );
    return { id, name, epoch, revision: 0, oldestRevision: 1, description: undefined };
  }

  async describePool(poolId: number, description: string | undefined): Promise<void> {
    await this.session.run('UPDATE pool SET description = ? WHERE id = ?', [description ?? null, poolId]);
  }

  async dropPool(poolId: number): Promise<void> {
    await this.session.run('UPDATE pool SET name = NULL WHERE id = ?', [poolId]);
  }

  async collections(poolId: number): Promise<Collection[]> {
    const sql = 'SELECT id AS collection_id, name, present, items, revision FROM collection WHERE pool_id = ?';
    return (await this.session.all(sql, [poolId])).map(toCollection);
  }

  createCollection(poolId: number, name: string): Promise<number> {
    return this.session.insertOne('collection', COLLECTION_COLUMNS.slice(1), [poolId, name, 0, 0, 0]);
  }

  async items(poolId: number, places: readonly ItemPlace[]): Promise<StoredItem[]> {
    const select = 'SELECT collection_id, item_key, attributes, revision, created_revision FROM item';
    const tuples = places.map(({ collectionId, key }) => [poolId, collectionId, key]);
    return (await this.session.lookup(select, ['pool_id', 'collection_id', 'item_key'], tuples)).map(toItem);
  }

  range(poolId: number, request: RangeRequest): Promise<{ items: StoredItem[]; more: boolean }> {
    return readRange(this.session, poolId, request);
  }

  log(request: LogRequest): Promise<LogPage> {
    return readLog(this.session, request);
  }

  async answers(
    pool: string,
    keys: readonly { subject: string; idempotencyKey: string }[],
    now: number,
  ): Promise<StoredAnswer[]> {
    const tuples = keys.map(({ subject, idempotencyKey }) => [pool, subject, idempotencyKey]);
    const rows = await this.session.lookup(
      `SELECT ${ANSWER_COLUMNS.join(', ')} FROM stored_answer`,
      ['pool', 'subject', 'idempotency_key'],
      tuples,
    );
    return rows.map(toAnswer).filter(({ expiresAt }) => expiresAt > now);
  }

  async append(group: GroupWrite): Promise<void> {
    const { session } = this;
    const { poolId } = group;
    await session.insert(
      'item',
      ITEM_COLUMNS,
      group.upserts.map(({ collectionId, key, json, revision, createdRevision }) => [
        poolId,
        collectionId,
        key,
        json,
        revision,
        createdRevision,
      ]),
      { key: ['pool_id', 'collection_id', 'item_key'], columns: ['attributes', 'revision', 'created_revision'] },
    );
    if (group.deletions.length > 0) {
      await session.deleteEach(
        'item',
        ['pool_id', 'collection_id', 'item_key'],
        group.deletions.map(({ collectionId, key }) => [poolId, collectionId, key]),
      );
    }
    await session.insert(
      'commit_log',
      LOG_COLUMNS,
      group.log.map((row) => fromLogRow(poolId, row)),
    );
    await session.insert(
      'collection',
      COLLECTION_COLUMNS,
      group.collections.map(({ id, name, present, items, revision }) => [
        id,
        poolId,
        name,
        present ? 1 : 0,
        items,
        revision,
      ]),
      { key: ['id'], columns: ['present', 'items', 'revision'] },
    );
    await session.run('UPDATE pool SET revision = ? WHERE id = ?', [group.revision, poolId]);
  }

  async keepAnswers(answers: readonly StoredAnswer[]): Promise<void> {
    const key = ['pool', 'subject', 'idempotency_key'];
    // Whatever is there under the key has expired: `answers` would have found it.
    await this.session.insert('stored_answer', ANSWER_COLUMNS, answers.map(fromAnswer), {
      key,
      columns: ANSWER_COLUMNS.slice(key.length),
    });
  }
}

async function headById(session: Session, id: number): Promise<PoolHead | undefined> {
  const [row] = await session.all(`SELECT ${HEAD} FROM pool p WHERE p.id = ? AND p.name IS NOT NULL`, [id]);
  return row && toHead(row);
}

async function readRange(
  session: Session,
  poolId: number,
  request: RangeRequest,
): Promise<{ items: StoredItem[]; more: boolean }> {
  const { collectionId, start, end, after, limit, bytesMax } = request;
  const fetch = (last: Row | undefined, rows: number) => {
    const above = last ? text(last.item_key) : after;
    const conditions = ['pool_id = ?', 'collection_id = ?'];
    const parameters: Value[] = [poolId, collectionId];
    if (start !== undefined) conditions.push('item_key >= ?') && parameters.push(start);
    if (above !== undefined) conditions.push('item_key > ?') && parameters.push(above);
    if (end !== undefined) conditions.push('item_key < ?') && parameters.push(end);
    const columns = 'collection_id, item_key, attributes, revision, created_revision';
    return session.all(`SELECT ${columns} FROM item WHERE ${conditions.join(' AND ')} ORDER BY item_key LIMIT ?`, [
      ...parameters,
      rows,
    ]);
  };
  const { rows, more } = await readBounded(fetch, (row) => Buffer.byteLength(row.attributes as string), {
    rowsMax: limit,
    bytesMax,
  });
  return { items: rows.map(toItem), more };
}

/** The log only grows at its end, so that several statements, each of its own moment, are one truth. */
async function readLog(session: Session, { poolId, after, rowsMax, bytesMax }: LogRequest): Promise<LogPage> {
  const columns = LOG_COLUMNS.join(', ');
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

/** A page may end inside a commit. Where it holds others it ends before that commit; else the commit's rest is read. */
async function completeLastCommit(session: Session, poolId: number, rows: Row[]): Promise<void> {
  const last = rows.at(-1) as Row;
  const revision = last.revision as number;
  const begin = rows.findIndex((row) => row.revision === revision);
  if (begin > 0) {
    rows.length = begin;
    return;
  }
  const sql = `SELECT ${LOG_COLUMNS.join(', ')} FROM commit_log WHERE pool_id = ? AND revision = ? AND ordinal > ? ORDER BY ordinal`;
  rows.push(...(await session.all(sql, [poolId, revision, last.ordinal as number])));
}

function sizeOfLogRow(row: Row): number {
  const { before_values, after_values } = row as { before_values: string; after_values: string | null };
  return Buffer.byteLength(before_values) + Buffer.byteLength(after_values ?? '') + 200;
}
