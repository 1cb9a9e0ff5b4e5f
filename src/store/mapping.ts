/** Rows of the tables as the engine's records, and back. */
import type {
  IndexEntry,
  LogRow,
  PoolHead,
  SessionAnswer,
  StoredAnswer,
  StoredIndex,
  StoredItem,
  StoredSession,
  UsageRow,
} from '../engine/ports.js';
import type { Collection } from '../engine/state/model.js';
import type { Row, Value } from './dialect.js';

export const HEAD =
  'p.id AS pool_id, p.name AS pool_name, p.epoch, p.revision AS pool_revision, p.oldest_revision, p.description, p.index_version';
export const COLLECTION_COLUMNS = ['id', 'pool_id', 'name', 'present', 'items', 'revision'];
export const ITEM_COLUMNS = [
  'pool_id',
  'collection_id',
  'item_key',
  'attributes',
  'revision',
  'created_revision',
  'changed_at',
];
export const LOG_COLUMNS = [
  'pool_id',
  'revision',
  'ordinal',
  'collection_id',
  'item_key',
  'op',
  'changed',
  'before_values',
  'after_values',
  'created_revision',
  'former_revision',
  'former_created_revision',
  'subject',
  'time',
  'reason',
];
/** With what only rows have that were traced: where nobody traces, writing costs nothing for it. */
export const TRACED_LOG_COLUMNS = [...LOG_COLUMNS, 'trace'];
export const INDEX_COLUMNS = [
  'id',
  'pool_id',
  'collection_id',
  'name',
  'definition',
  'state',
  'built_to',
  'built_items',
];
export const ENTRY_COLUMNS = ['pool_id', 'index_id', 'sort_key', 'item_key'];
export const ANSWER_COLUMNS = [
  'pool',
  'subject',
  'idempotency_key',
  'fingerprint',
  'status',
  'headers',
  'body',
  'expires_at',
];

export const SESSION_COLUMNS = [
  'pool_id',
  'id',
  'name',
  'epoch',
  'subject',
  'ttl_ms',
  'expires_at',
  'wake_at',
  'ended',
  'last_sequence',
  'memento',
];
export const SESSION_ANSWER_COLUMNS = ['pool_id', 'session_id', 'sequence', 'status', 'headers', 'body'];

export const USAGE_COLUMNS = [
  'pool_id',
  'day',
  'subject',
  'requests',
  'writes',
  'bytes_in',
  'bytes_out',
  'stream_ms',
  'refusals',
  'blocks',
  'noted_at',
];

/** Item keys are text in SQLite and bytes in MySQL. */
export function text(value: unknown): string {
  return typeof value === 'string' ? value : (value as Buffer).toString('utf8');
}

export function toHead(row: Row): PoolHead {
  return {
    id: row.pool_id as number,
    name: row.pool_name as string,
    epoch: row.epoch as string,
    revision: row.pool_revision as number,
    oldestRevision: row.oldest_revision as number,
    description: (row.description as string | null) ?? undefined,
    indexVersion: row.index_version as number,
  };
}

export function toCollection(row: Row): Collection {
  return {
    id: row.collection_id as number,
    name: row.name as string,
    present: row.present === 1,
    items: row.items as number,
    revision: row.revision as number,
  };
}

export function toItem(row: Row): StoredItem {
  return {
    collectionId: row.collection_id as number,
    key: text(row.item_key),
    json: row.attributes as string,
    revision: row.revision as number,
    createdRevision: row.created_revision as number,
  };
}

export function toLogRow(row: Row): LogRow {
  return {
    revision: row.revision as number,
    ordinal: row.ordinal as number,
    collectionId: row.collection_id as number,
    key: text(row.item_key),
    op: row.op as LogRow['op'],
    changed: row.changed as string,
    before: row.before_values as string,
    after: row.after_values as string | null,
    createdRevision: row.created_revision as number,
    formerRevision: row.former_revision as number | null,
    formerCreatedRevision: row.former_created_revision as number | null,
    subject: row.subject as string,
    time: row.time as number,
    reason: row.reason as LogRow['reason'],
    trace: (row.trace as string | null) ?? undefined,
  };
}

export function fromLogRow(poolId: number, row: LogRow): Value[] {
  return [
    poolId,
    row.revision,
    row.ordinal,
    row.collectionId,
    row.key,
    row.op,
    row.changed,
    row.before,
    row.after,
    row.createdRevision,
    row.formerRevision,
    row.formerCreatedRevision,
    row.subject,
    row.time,
    row.reason,
  ];
}

export function toAnswer(row: Row): StoredAnswer {
  return {
    pool: row.pool as string,
    subject: row.subject as string,
    idempotencyKey: row.idempotency_key as string,
    fingerprint: row.fingerprint as string,
    status: row.status as number,
    headers: row.headers as string,
    body: row.body as string,
    expiresAt: row.expires_at as number,
  };
}

export function fromAnswer(answer: StoredAnswer): Value[] {
  const { pool, subject, idempotencyKey, fingerprint, status, headers, body, expiresAt } = answer;
  return [pool, subject, idempotencyKey, fingerprint, status, headers, body, expiresAt];
}

export function toIndex(row: Row): StoredIndex {
  return {
    id: row.id as number,
    collectionId: row.collection_id as number,
    name: row.name as string,
    definition: row.definition as string,
    state: row.state as StoredIndex['state'],
    builtTo: row.built_to === null ? null : text(row.built_to),
    builtItems: row.built_items as number,
  };
}

export function toEntry(row: Row): IndexEntry {
  return { indexId: row.index_id as number, sortKey: row.sort_key as Buffer, key: text(row.item_key) };
}

export function toSession(row: Row): StoredSession {
  return {
    id: row.id as string,
    name: row.name as string,
    epoch: row.epoch as number,
    subject: row.subject as string,
    ttlMs: row.ttl_ms as number,
    expiresAt: row.expires_at as number,
    wakeAt: row.wake_at as number | null,
    ended: row.ended === 1,
    lastSequence: row.last_sequence as number,
    memento: row.memento as string | null,
  };
}

export function fromSession(poolId: number, session: StoredSession): Value[] {
  const { id, name, epoch, subject, ttlMs, expiresAt, wakeAt, ended, lastSequence, memento } = session;
  return [poolId, id, name, epoch, subject, ttlMs, expiresAt, wakeAt, ended ? 1 : 0, lastSequence, memento];
}

export function toSessionAnswer(row: Row): SessionAnswer {
  return {
    session: row.session_id as string,
    sequence: row.sequence as number,
    status: row.status as number,
    headers: row.headers as string,
    body: row.body as string,
  };
}

export function toUsageRow(row: Row): UsageRow {
  return {
    day: row.day as string,
    subject: row.subject as string,
    requests: row.requests as number,
    writes: row.writes as number,
    bytesIn: row.bytes_in as number,
    bytesOut: row.bytes_out as number,
    streamMs: row.stream_ms as number,
    refusals: row.refusals as number,
    blocks: row.blocks as number,
  };
}
