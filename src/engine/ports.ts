/**
 * The ports of the engine: what it needs of the world, as contracts. `Store` is implemented in src/store for SQLite and
 * MySQL/MariaDB; test/store runs one text of these contracts on every backend.
 */

import type { NotifierRows, NotifierTelemetry } from './notifiers/notifier-store.js';
import type { FinishedOperation, OperationMark, OperationStore } from './operations/operation-store.js';
import type { JsonObject } from './state/json.js';
import type { KeyRange } from './state/key-order.js';
import type { Cause, Collection } from './state/model.js';
import type { Trace } from './tracing.js';

/** The pool's row. Its lock is the order of commits over all nodes, and its revision says what is current. */
export interface PoolHead {
  readonly id: number;
  readonly name: string;
  readonly epoch: string;
  readonly revision: number;
  /** The lowest revision whose commit is still in the log; `revision + 1` when there is none. */
  readonly oldestRevision: number;
  readonly description: string | undefined;
  /** Rises whenever an index of the pool is made, becomes usable or is dropped. */
  readonly indexVersion: number;
}

export interface PoolSummary {
  readonly head: PoolHead;
  /** How many collections and items of the application's there are, the system's not counted. */
  readonly collections: number;
  readonly items: number;
}

export interface PoolContent {
  readonly head: PoolHead;
  readonly collections: Collection[];
}

export interface StoredItem {
  readonly collectionId: number;
  readonly key: string;
  readonly json: string;
  readonly revision: number;
  readonly createdRevision: number;
}

/** One row of the change log. The rows of one revision, in the order of `ordinal`, are one commit. */
export interface LogRow {
  readonly revision: number;
  readonly ordinal: number;
  readonly collectionId: number;
  readonly key: string;
  readonly op: 'add' | 'change' | 'delete';
  /** JSON array of the names set or removed. */
  readonly changed: string;
  /** JSON object of the changed attributes' former values. */
  readonly before: string;
  /** The whole item's attributes afterwards as JSON; null after a deletion. */
  readonly after: string | null;
  readonly createdRevision: number;
  /** The item's revision and createdRevision before; null when it was new. */
  readonly formerRevision: number | null;
  readonly formerCreatedRevision: number | null;
  readonly subject: string;
  readonly time: number;
  /** Why the item changed, where nobody asked for it. */
  readonly reason: Cause | null;
  /** Of a commit's first row: the trace of the request that made it, where that was followed. */
  readonly trace?: Trace | undefined;
}

/** The answer of a write, kept so that a repetition with the same Idempotency-Key gets the same one. */
export interface StoredAnswer {
  readonly pool: string;
  readonly subject: string;
  readonly idempotencyKey: string;
  /** A digest of the request; the same key with another request is refused. */
  readonly fingerprint: string;
  readonly status: number;
  /** JSON object of header names and values. */
  readonly headers: string;
  readonly body: string;
  readonly expiresAt: number;
}

/** A session as the database knows it; who it is to others stands in `_clients`. Times are the database's, in ms since 1970. */
export interface StoredSession {
  readonly id: string;
  readonly name: string;
  readonly epoch: number;
  readonly subject: string;
  readonly ttlMs: number;
  /** When the lease is over; of an ended session, when it is forgotten. */
  readonly expiresAt: number;
  /** When one of its locks has waited long enough or is to be broken, or earlier; null: none will. */
  readonly wakeAt: number | null;
  /** Its lease is over; what follows is kept in case its client comes back. */
  readonly ended: boolean;
  /** The number of its last batch; 0 before the first. */
  readonly lastSequence: number;
  /** The client's own note as JSON text. */
  readonly memento: string | null;
}

/** The answer of a numbered batch of a session. */
export interface SessionAnswer {
  readonly session: string;
  readonly sequence: number;
  readonly status: number;
  /** JSON object of header names and values. */
  readonly headers: string;
  readonly body: string;
}

/** How much somebody used of a pool. */
export interface Usage {
  readonly requests: number;
  /** Of these, the ones that changed something or could have, and weren't refused. */
  readonly writes: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly streamMs: number;
  /** Requests that were refused because of who asked. */
  readonly refusals: number;
  /** How often an address was blocked for that. */
  readonly blocks: number;
}

export interface UsageCount extends Usage {
  readonly poolId: number;
  readonly subject: string;
}

export interface UsageRow extends Usage {
  /** YYYY-MM-DD in UTC. */
  readonly day: string;
  readonly subject: string;
}

/** Whose lease is to be renewed. */
export interface LeaseRef {
  readonly poolId: number;
  readonly session: string;
  readonly epoch: number;
  /** Only if it is this subject's. */
  readonly subject: string;
}

export interface ItemPlace {
  readonly collectionId: number;
  readonly key: string;
}

export interface RangeRequest extends KeyRange {
  readonly collectionId: number;
  /** Only keys strictly beyond this one: where the former page ended. */
  readonly after?: string | undefined;
  /** From the highest key to the lowest; `after` is then above what is read. */
  readonly backward?: boolean | undefined;
  readonly limit: number;
  /** Stop after the item that reaches this many bytes of JSON. At least one item is answered. */
  readonly bytesMax: number;
}

/** An index of a collection, as the database knows it. */
export interface StoredIndex {
  /** Never used again, so that what a dropped index left behind harms no other. */
  readonly id: number;
  readonly collectionId: number;
  readonly name: string;
  /** What is indexed and how, as JSON text; equal for equal indexes. The store doesn't read it. */
  readonly definition: string;
  /** Maintained but not yet complete; complete; complete, but not unique as it should be; or to be removed. */
  readonly state: 'building' | 'ready' | 'violated' | 'dropped';
  /** Items up to this key, in the order of keys, are in the index; null before the first. */
  readonly builtTo: string | null;
  /** How many items have been looked at. */
  readonly builtItems: number;
}

/** An item's place in an index. */
export interface IndexEntry {
  readonly indexId: number;
  readonly sortKey: Buffer;
  readonly key: string;
}

export interface IndexRangeRequest {
  readonly indexId: number;
  readonly collectionId: number;
  /** Sort keys from here on, as bytes. */
  readonly start: Buffer;
  /** Sort keys before this; open when absent. */
  readonly end: Buffer | undefined;
  /** Only entries after this one, in the order asked for. */
  readonly after?: { readonly sortKey: Buffer; readonly key: string } | undefined;
  /** From the highest sort key to the lowest; entries of one sort key in the order of their keys all the same. */
  readonly backward: boolean;
  readonly limit: number;
  readonly bytesMax: number;
}

export interface IndexedItem extends StoredItem {
  readonly sortKey: Buffer;
}

/** Reads of one pool that all see one state of it: of a snapshot, or of a transaction. */
export interface ItemSource {
  /** A page of items in the order of their keys, or backwards. */
  range(poolId: number, request: RangeRequest): Promise<{ items: StoredItem[]; more: boolean }>;
  /** A page of an index with the items it leads to. */
  indexRange(poolId: number, request: IndexRangeRequest): Promise<{ items: IndexedItem[]; more: boolean }>;
  items(poolId: number, places: readonly ItemPlace[]): Promise<StoredItem[]>;
  /** How many keys the range holds, counted up to `max`. */
  countRange(poolId: number, collectionId: number, range: KeyRange, max: number): Promise<number>;
  /** How many entries the ranges of sort keys hold, counted up to `max`. */
  countIndex(
    poolId: number,
    indexId: number,
    ranges: readonly { readonly start: Buffer; readonly end: Buffer | undefined }[],
    max: number,
  ): Promise<number>;
}

/** Reads of one state of a pool, its log included. */
export interface SnapshotSource extends ItemSource {
  log(request: LogRequest): Promise<LogPage>;
  /** Rows of whole commits before a revision: the newest commit first, the rows of each in their order. */
  logBefore(request: LogBeforeRequest): Promise<LogRow[]>;
}

export interface LogRequest {
  readonly poolId: number;
  /** Only commits after this revision. */
  readonly after: number;
  readonly rowsMax: number;
  readonly bytesMax: number;
}

export interface LogBeforeRequest extends Omit<LogRequest, 'after'> {
  /** Only commits before this revision. */
  readonly before: number;
}

export interface LogPage {
  /** The pool at the moment of reading; undefined when it is gone. */
  readonly head: PoolHead | undefined;
  /** Rows of whole commits in order: a commit is never cut, even when it alone is past the bounds. */
  readonly rows: LogRow[];
  /** True when the rows reach `head.revision`. */
  readonly complete: boolean;
}

export interface ItemChangeRequest extends ItemPlace {
  readonly poolId: number;
  /** Only changes of this revision and earlier ones. */
  readonly upTo: number;
  /** So many rows of the log may be examined; the commit in which the bound falls is examined whole. */
  readonly rowsMax: number;
}

export interface ItemChangePage {
  /** The pool at the moment of reading; undefined when it is gone. */
  readonly head: PoolHead | undefined;
  /** The newest change of the item among those that were examined. */
  readonly row: LogRow | undefined;
  /** Without a row: the item has no change from this revision to `upTo`. 0 when the log was examined to its begin. */
  readonly reached: number;
}

/** What one transaction writes of a group of commits. */
export interface GroupWrite {
  readonly poolId: number;
  /** The pool's revision after the group. */
  readonly revision: number;
  /** When the group's commits are, in ms since 1970. */
  readonly time: number;
  readonly log: readonly LogRow[];
  readonly upserts: readonly StoredItem[];
  readonly deletions: readonly ItemPlace[];
  readonly collections: readonly Collection[];
  readonly indexed: readonly IndexEntry[];
  readonly unindexed: readonly IndexEntry[];
}

export interface Store {
  /** True when no other process can write to the same database while this one runs: what it remembers is current then. */
  readonly exclusive: boolean;

  /**
   * Runs `work` in one transaction, which is durable when the promise resolves and without any trace when it rejects.
   * Rejects with `RetryTransaction` when the database asks to repeat it (deadlock, lock wait, certification conflict),
   * with `OutcomeUnknown` when the connection broke while committing.
   */
  transact<T>(work: (tx: StoreTransaction) => Promise<T>): Promise<T>;

  /** Pools in the order of their names, after `after`. */
  pools(after: string | undefined, limit: number): Promise<PoolSummary[]>;
  /** The pool and all its collections, dropped ones included, all at one moment. */
  pool(name: string): Promise<PoolContent | undefined>;
  poolById(id: number): Promise<PoolHead | undefined>;
  /** The revisions of those pools that are there, by id, all in one look. */
  revisions(ids: readonly number[]): Promise<ReadonlyMap<number, number>>;

  /** The items at the places that exist, and the pool, all at one moment. */
  items(poolId: number, places: readonly ItemPlace[]): Promise<{ head: PoolHead | undefined; items: StoredItem[] }>;
  /** A page of items in the order of their keys, and the pool, all at one moment. */
  range(
    poolId: number,
    request: RangeRequest,
  ): Promise<{ head: PoolHead | undefined; items: StoredItem[]; more: boolean }>;
  /** Runs several reads on one unchanging state of the pool. `head` is undefined when there is no such pool. */
  snapshot<T>(
    poolId: number,
    work: (source: SnapshotSource, head: PoolHead | undefined, indexes: () => Promise<StoredIndex[]>) => Promise<T>,
  ): Promise<T>;
  /** A page of the log. Rows older than `head.oldestRevision` may be missing: the caller compares. */
  log(request: LogRequest): Promise<LogPage>;

  /**
   * The newest change of one item up to a revision. That revision's own commit is looked at first and costs no more than
   * itself: a row's `formerRevision` leads to the change before it by such looks. Elsewhere the log is examined backwards,
   * for it has no index by item. A row older than `head.oldestRevision` may be missing or not: the caller compares.
   */
  itemChange(request: ItemChangeRequest): Promise<ItemChangePage>;

  /** The highest revision of the log whose commit is older than `time` (ms since 1970); 0 when there is none. */
  revisionBefore(poolId: number, time: number): Promise<number>;
  /** Makes `revision + 1` the oldest one that may be asked for. Never lowers it. */
  raiseOldest(poolId: number, revision: number): Promise<void>;
  /** Deletes up to `limit` rows of the log that lie before the oldest revision, in one short transaction; answers how many. */
  deleteLogRows(poolId: number, limit: number): Promise<number>;
  /** Deletes up to `limit` stored answers that expired before `now`, in one short transaction; answers how many. */
  deleteExpiredAnswers(now: number, limit: number): Promise<number>;
  /** Deletes up to `limit` rows that dropped pools left behind, in one short transaction; answers how many. */
  purgeDropped(limit: number): Promise<number>;

  /** The pools that have an index in one of the states, with these indexes. */
  indexesIn(states: readonly StoredIndex['state'][]): Promise<{ pool: string; poolId: number; index: StoredIndex }[]>;
  /** Deletes up to `limit` entries of a dropped index, and the index with the last; answers how many rows. */
  purgeIndex(poolId: number, indexId: number, limit: number): Promise<number>;

  /** The session with this id or name, ended or not, and the database's clock. */
  session(poolId: number, idOrName: string): Promise<{ session: StoredSession | undefined; now: number }>;
  /**
   * Renews leases in one short transaction: those that are of the epoch and not yet over last their `ttlMs` from now on. Answers
   * for each how it stands afterwards, undefined where there is no such session.
   */
  renewLeases(leases: readonly LeaseRef[]): Promise<{ sessions: (StoredSession | undefined)[]; now: number }>;
  /**
   * Sessions of which a lease, a wait or a grace is over, or the memory, by pool, those of some pools left out: up to `limit` for
   * their leases or memories, and as many for the others.
   */
  dueSessions(
    limit: number,
    exceptPools: readonly number[],
  ): Promise<{ pool: string; poolId: number; sessions: string[] }[]>;

  /**
   * Adds to what was used on the present day, by the database's clock, in one short transaction. Of pools that are gone nothing is
   * kept.
   */
  addUsage(counts: readonly UsageCount[]): Promise<void>;
  /** The pools of which some row of usage was made before `time` (ms since 1970). */
  usedPools(time: number): Promise<string[]>;

  /** Writes that were accepted and are done later. */
  readonly operations: OperationStore;

  /** The database's clock, in milliseconds since 1970. Rejects with `StoreUnavailable` when the database can't be reached. */
  now(): Promise<number>;
  close(): Promise<void>;
}

export interface StoreTransaction extends NotifierRows, ItemSource {
  /** Locks the pool's row, where there is one, until the transaction ends. `now` is the database's clock once the lock is had. */
  lockPool(name: string): Promise<{ head: PoolHead | undefined; now: number }>;
  /** Makes a pool at revision 0, locked. Rejects with `RetryTransaction` when another node made it first. */
  createPool(name: string, epoch: string): Promise<PoolHead>;
  describePool(poolId: number, description: string | undefined): Promise<void>;
  /** Makes the pool invisible under its name; `purgeDropped` removes its rows later. */
  dropPool(poolId: number): Promise<void>;
  collections(poolId: number): Promise<Collection[]>;
  /** Gives a new collection its id. Its row is completed by `append`. */
  createCollection(poolId: number, name: string): Promise<number>;
  log(request: LogRequest): Promise<LogPage>;
  /** The unexpired answers under the keys. */
  answers(
    pool: string,
    keys: readonly { subject: string; idempotencyKey: string }[],
    now: number,
  ): Promise<StoredAnswer[]>;
  append(group: GroupWrite): Promise<void>;
  /** The pool's indexes, dropped ones left out. */
  indexes(poolId: number): Promise<StoredIndex[]>;
  /** Makes an index, `building`, and raises the pool's index version; answers its id. */
  createIndex(poolId: number, index: Pick<StoredIndex, 'collectionId' | 'name' | 'definition'>): Promise<number>;
  /** Keeps how far an index is; with another state raises the pool's index version. */
  updateIndex(poolId: number, index: StoredIndex, state: StoredIndex['state']): Promise<void>;
  /** Adds entries; those that are there already stay. */
  addEntries(poolId: number, entries: readonly IndexEntry[]): Promise<void>;
  /** The entries of these sort keys. */
  entries(poolId: number, indexId: number, sortKeys: readonly Buffer[]): Promise<IndexEntry[]>;
  /** Up to `limit` sort keys above `after` that several entries share, each with two of the items' keys, in order. */
  duplicates(
    poolId: number,
    indexId: number,
    after: Buffer,
    limit: number,
  ): Promise<{ sortKey: Buffer; keys: [string, string] }[]>;
  /**
   * Entries of an index of times to live that are due before `sortKey`, with when their items were last changed: up to `limit`,
   * and up to the one whose item reaches `bytesMax`; only those beyond the entry `after`.
   */
  due(
    poolId: number,
    index: Pick<StoredIndex, 'id' | 'collectionId'>,
    sortKey: Buffer,
    bounds: { readonly limit: number; readonly bytesMax: number; readonly after?: IndexEntry | undefined },
  ): Promise<{ entry: IndexEntry; item: (StoredItem & { changedAt: number }) | undefined }[]>;
  removeEntries(poolId: number, entries: readonly IndexEntry[]): Promise<void>;
  keepAnswers(answers: readonly StoredAnswer[]): Promise<void>;
  /** The sessions with these ids or names, ended or not, locked against being renewed until the transaction ends. */
  sessions(poolId: number, idsOrNames: readonly string[]): Promise<StoredSession[]>;
  /** Adds sessions, or replaces those with the same ids. */
  saveSessions(poolId: number, sessions: readonly StoredSession[]): Promise<void>;
  /** Forgets sessions with their answers. */
  deleteSessions(poolId: number, ids: readonly string[]): Promise<void>;
  sessionAnswers(
    poolId: number,
    batches: readonly { readonly session: string; readonly sequence: number }[],
  ): Promise<SessionAnswer[]>;
  /** Keeps answers, and of each session those of the last `kept` sequences only. */
  keepSessionAnswers(poolId: number, answers: readonly SessionAnswer[], kept: number): Promise<void>;
  /** The operations that there are of these, locked against being cancelled or done elsewhere until the transaction ends. */
  operations(ids: readonly string[]): Promise<OperationMark[]>;
  finishOperations(finished: readonly FinishedOperation[]): Promise<void>;
  /** Up to `limit` rows of usage, locked against being added to until the transaction ends. */
  usage(poolId: number, limit: number): Promise<UsageRow[]>;
  deleteUsage(poolId: number, rows: readonly UsageRow[]): Promise<void>;
}

export { OutcomeUnknown, RetryTransaction, StoreUnavailable } from './store-failures.js';

export interface Clock {
  /** Milliseconds since 1970, for time-outs inside this process only; times in the data are the database's. */
  now(): number;
}

/** Metrics and diagnostics that the engine reports; implemented by platform/metrics, which the engine doesn't import. */
export interface Telemetry extends NotifierTelemetry {
  groupCommitted(pool: string, commands: number, commits: number, seconds: number): void;
  groupFailed(reason: string): void;
  /** Views were asked what they see of a change, whether or not they saw anything. */
  viewsEvaluated(count: number): void;
  framesSent(frames: number, bytes: number): void;
  watcherEnded(reason: string): void;
  /** The log was read because another node has committed: its wake didn't bring the commits along, came in another order, or none came. */
  broughtForward(cause: 'wake' | 'gap' | 'poll'): void;
  warn(message: string, details: JsonObject): void;
}
