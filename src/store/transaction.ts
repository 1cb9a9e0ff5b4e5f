/** The `StoreTransaction` port: what a group of commits reads and writes inside its transaction, by hand-written statements. */

import type { NotifierWrite } from '../engine/notifiers/notifier-store.js';
import type { FinishedOperation, OperationMark } from '../engine/operations/operation-store.js';
import type {
  GroupWrite,
  IndexEntry,
  IndexedItem,
  IndexRangeRequest,
  ItemPlace,
  LogBeforeRequest,
  LogPage,
  LogRequest,
  LogRow,
  PoolHead,
  RangeRequest,
  SessionAnswer,
  SnapshotSource,
  StoredAnswer,
  StoredIndex,
  StoredItem,
  StoredSession,
  StoreTransaction,
  UsageRow,
} from '../engine/ports.js';
import type { KeyRange } from '../engine/state/key-order.js';
import type { Collection } from '../engine/state/model.js';
import type { Session } from './dialect.js';
import * as indexes from './indexes.js';
import {
  ANSWER_COLUMNS,
  COLLECTION_COLUMNS,
  fromAnswer,
  fromLogRow,
  HEAD,
  ITEM_COLUMNS,
  LOG_COLUMNS,
  TRACED_LOG_COLUMNS,
  toAnswer,
  toCollection,
  toHead,
} from './mapping.js';
import { saveNotifiers } from './notifiers.js';
import { finishOperations, readMarks } from './operations.js';
import { readItems, readLog, readLogBefore, readRange } from './reads.js';
import * as sessions from './sessions.js';
import { deleteUsage, readUsage } from './usage.js';

export class SqlTransaction implements StoreTransaction, SnapshotSource {
  /** The pool whose row is locked. */
  #locked: number | undefined;
  /** The name under which there was no pool, where nothing has come of that. */
  missed: string | undefined;
  /** Whether the pool's row is among what this transaction changes. */
  #isClaimed = false;

  constructor(private readonly session: Session) {}

  /**
   * To be called at the end, whatever was done: where nodes of the database don't share their locks, whoever has judged by the pool's
   * lock, if only to refuse, has the database find out whether others committed meanwhile.
   */
  async claim(): Promise<void> {
    if (this.#locked !== undefined && !this.#isClaimed)
      await this.session.claim('pool', 'revision', 'id = ?', [this.#locked]);
  }

  async lockPool(name: string): Promise<{ head: PoolHead | undefined; now: number }> {
    const { session } = this;
    const [row] = await session.all(
      `SELECT ${HEAD}, ${session.clock} AS now FROM pool p WHERE p.name = ?${session.forUpdate}`,
      [name],
    );
    if (row) this.#locked = row.pool_id as number;
    else this.missed = name;
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
    this.#isClaimed = true;
    this.missed = undefined;
    return { id, name, epoch, revision: 0, oldestRevision: 1, description: undefined, indexVersion: 0 };
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

  items(poolId: number, places: readonly ItemPlace[]): Promise<StoredItem[]> {
    return readItems(this.session, poolId, places);
  }

  range(poolId: number, request: RangeRequest): Promise<{ items: StoredItem[]; more: boolean }> {
    return readRange(this.session, poolId, request);
  }

  indexRange(poolId: number, request: IndexRangeRequest): Promise<{ items: IndexedItem[]; more: boolean }> {
    return indexes.readIndex(this.session, poolId, request);
  }

  countRange(poolId: number, collectionId: number, range: KeyRange, max: number): Promise<number> {
    return indexes.countRange(this.session, poolId, collectionId, range, max);
  }

  countIndex(poolId: number, indexId: number, ranges: readonly indexes.Bytes[], max: number): Promise<number> {
    return indexes.countIndex(this.session, poolId, indexId, ranges, max);
  }

  indexes(poolId: number): Promise<StoredIndex[]> {
    return indexes.readIndexes(this.session, poolId);
  }

  createIndex(poolId: number, index: Pick<StoredIndex, 'collectionId' | 'name' | 'definition'>): Promise<number> {
    return indexes.createIndex(this.session, poolId, index);
  }

  updateIndex(poolId: number, index: StoredIndex, state: StoredIndex['state']): Promise<void> {
    return indexes.updateIndex(this.session, poolId, index, state);
  }

  addEntries(poolId: number, entries: readonly IndexEntry[]): Promise<void> {
    return indexes.addEntries(this.session, poolId, entries);
  }

  entries(poolId: number, indexId: number, sortKeys: readonly Buffer[]): Promise<IndexEntry[]> {
    return indexes.readEntries(this.session, poolId, indexId, sortKeys);
  }

  removeEntries(poolId: number, entries: readonly IndexEntry[]): Promise<void> {
    return indexes.removeEntries(this.session, poolId, entries);
  }

  duplicates(poolId: number, indexId: number, after: Buffer, limit: number) {
    return indexes.readDuplicates(this.session, poolId, indexId, after, limit);
  }

  due(
    poolId: number,
    index: Pick<StoredIndex, 'id' | 'collectionId'>,
    sortKey: Buffer,
    bounds: { readonly limit: number; readonly bytesMax: number; readonly after?: IndexEntry | undefined },
  ) {
    return indexes.readDue(this.session, poolId, index, sortKey, bounds);
  }

  log(request: LogRequest): Promise<LogPage> {
    return readLog(this.session, request);
  }

  logBefore(request: LogBeforeRequest): Promise<LogRow[]> {
    return readLogBefore(this.session, request);
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
        group.time,
      ]),
      {
        key: ['pool_id', 'collection_id', 'item_key'],
        columns: ['attributes', 'revision', 'created_revision', 'changed_at'],
      },
    );
    if (group.deletions.length > 0) {
      await session.deleteEach(
        'item',
        ['pool_id', 'collection_id', 'item_key'],
        group.deletions.map(({ collectionId, key }) => [poolId, collectionId, key]),
      );
    }
    await indexes.removeEntries(session, poolId, group.unindexed);
    await indexes.addEntries(session, poolId, group.indexed);
    const isTraced = group.log.some(({ trace }) => trace !== undefined);
    await session.insert(
      'commit_log',
      isTraced ? TRACED_LOG_COLUMNS : LOG_COLUMNS,
      group.log.map((row) => (isTraced ? [...fromLogRow(poolId, row), row.trace ?? null] : fromLogRow(poolId, row))),
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
    await session.write('UPDATE pool SET revision = ? WHERE id = ?', [group.revision, poolId]);
    this.#isClaimed = true;
  }

  async keepAnswers(answers: readonly StoredAnswer[]): Promise<void> {
    this.missed = undefined;
    const key = ['pool', 'subject', 'idempotency_key'];
    // Whatever is there under the key has expired: `answers` would have found it.
    await this.session.insert('stored_answer', ANSWER_COLUMNS, answers.map(fromAnswer), {
      key,
      columns: ANSWER_COLUMNS.slice(key.length),
    });
  }

  sessions(poolId: number, idsOrNames: readonly string[]): Promise<StoredSession[]> {
    return sessions.readSessions(this.session, poolId, idsOrNames, this.session.forUpdate);
  }

  saveSessions(poolId: number, saved: readonly StoredSession[]): Promise<void> {
    return sessions.saveSessions(this.session, poolId, saved);
  }

  deleteSessions(poolId: number, ids: readonly string[]): Promise<void> {
    return sessions.deleteSessions(this.session, poolId, ids);
  }

  sessionAnswers(
    poolId: number,
    batches: readonly { readonly session: string; readonly sequence: number }[],
  ): Promise<SessionAnswer[]> {
    return sessions.readSessionAnswers(this.session, poolId, batches);
  }

  keepSessionAnswers(poolId: number, answers: readonly SessionAnswer[], kept: number): Promise<void> {
    return sessions.keepSessionAnswers(this.session, poolId, answers, kept);
  }

  operations(ids: readonly string[]): Promise<OperationMark[]> {
    return readMarks(this.session, ids);
  }

  finishOperations(finished: readonly FinishedOperation[]): Promise<void> {
    return finishOperations(this.session, finished);
  }

  usage(poolId: number, limit: number): Promise<UsageRow[]> {
    return readUsage(this.session, poolId, limit);
  }

  deleteUsage(poolId: number, rows: readonly UsageRow[]): Promise<void> {
    return deleteUsage(this.session, poolId, rows);
  }

  saveNotifiers(poolId: number, writes: readonly NotifierWrite[]): Promise<void> {
    return saveNotifiers(this.session, poolId, writes);
  }
}
