/**
 * A replica is what this node knows of one pool, at one revision: its collections, the items it remembers, and a ring of
 * recent commits. It moves only forward, commit by commit without a gap (`advance`), and tells its follower, the
 * watch hub. Where the store is exclusive the replica is always current; elsewhere its user compares its revision with the
 * database's, and brings it forward from the log (`replicas.ts`).
 */
import { changesPolicy, type PolicyHistory } from '../access/policy-history.js';
import { limits } from '../limits.js';
import { LOCKS, learnLock, type PoolLocks } from '../locks/lock-items.js';
import { NOTIFIERS } from '../notifiers/notifier.js';
import type { PoolNotifiers } from '../notifiers/pool-notifiers.js';
import type { LogRow, PoolHead, StoredIndex } from '../ports.js';
import { tallyCollections } from './collections.js';
import { refId } from './draft.js';
import { noIndexes, PoolIndexes } from './indexes.js';
import type { ItemCache } from './item-cache.js';
import { CHANGES, logCollection } from './log-items.js';
import {
  type Attributes,
  type Cause,
  type Change,
  type Collection,
  type Commit,
  type ItemRef,
  ItemState,
} from './model.js';

/** Hears of every commit that the replica takes in, in order. */
export interface Follower {
  offer(commits: readonly Commit[]): void;
  /** The replica moved on without some commits: who needs them reads the log. */
  leapt(): void;
  /** The pool is gone. */
  ended(): void;
  /** Whether somebody watches the collection by its name. */
  watches(collection: string): boolean;
  /** True while somebody would miss the replica. */
  readonly busy: boolean;
}

/** What is left of a full ring: it is cut in bulk, so that it doesn't move its whole content at each commit. */
const RING_KEPT = 0.75;

let serials = 0;

export class Replica {
  readonly id: number;
  readonly name: string;
  readonly epoch: string;
  #revision: number;
  oldestRevision: number;
  description: string | undefined;
  follower: Follower | undefined;
  /** When it was last asked for, by this process's clock; for forgetting idle ones. */
  usedAt = 0;
  /** The pool's locks; undefined until a commit needs them. */
  locks: PoolLocks | undefined;
  /** The pool's policies; undefined until somebody is bound by them. */
  policies: PolicyHistory | undefined;
  /** What the pool's notifiers are about; undefined until a commit is looked at for them. */
  notifiers: PoolNotifiers | undefined;
  #gone = false;
  #indexes = noIndexes;

  readonly #byName = new Map<string, Collection>();
  readonly #byId = new Map<number, Collection>();
  readonly #log = logCollection(this);
  readonly #cache: ItemCache;
  /** Prefix of the pool's entries in the shared cache; a new one makes the old entries unreachable. */
  #cachePrefix = '';

  readonly #ring: Commit[] = [];
  #ringBytes = 0;

  constructor(head: PoolHead, collections: readonly Collection[], cache: ItemCache) {
    this.id = head.id;
    this.name = head.name;
    this.epoch = head.epoch;
    this.#revision = head.revision;
    this.oldestRevision = head.oldestRevision;
    this.description = head.description;
    this.#cache = cache;
    this.setCollections(collections);
    this.forgetItems();
  }

  get revision(): number {
    return this.#revision;
  }

  get gone(): boolean {
    return this.#gone;
  }

  /** The indexes as of their version; whoever uses them compares it with the pool's. */
  get indexes(): PoolIndexes {
    return this.#indexes;
  }

  learnIndexes(stored: readonly StoredIndex[], version: number): void {
    if (version > this.#indexes.version) this.#indexes = new PoolIndexes(stored, version);
  }

  get collections(): ReadonlyMap<string, Collection> {
    return this.#byName;
  }

  collectionById(id: number): Collection | undefined {
    return this.#byId.get(id);
  }

  /** A collection that may be read: one that is stored, also if it was dropped, or the log as a collection. */
  readable(name: string): Collection | undefined {
    return name === CHANGES ? this.#log : this.#byName.get(name);
  }

  /** A collection that is there. */
  collection(name: string): Collection | undefined {
    const collection = this.readable(name);
    return collection?.present ? collection : undefined;
  }

  /** Takes over what isn't told by commits. The oldest revision only rises. */
  learn(head: Pick<PoolHead, 'oldestRevision' | 'description'>): void {
    this.oldestRevision = Math.max(this.oldestRevision, head.oldestRevision);
    this.description = head.description;
  }

  setCollections(collections: readonly Collection[]): void {
    for (const collection of collections) {
      this.#byName.set(collection.name, collection);
      this.#byId.set(collection.id, collection);
    }
  }

  /** What is remembered of an item; undefined when nothing is. */
  remembered(ref: ItemRef): { state: ItemState | undefined } | undefined {
    return this.#cache.get(this.#cachePrefix + refId(ref));
  }

  /** Remembers an item as it is at the replica's revision. */
  remember(ref: ItemRef, state: ItemState | undefined): void {
    this.#cache.set(this.#cachePrefix + refId(ref), state);
  }

  forgetItems(): void {
    this.#cachePrefix = `${++serials}/`;
  }

  /** Takes in the commits that follow its revision. They must follow without a gap. */
  advance(commits: readonly Commit[]): void {
    if (commits.length === 0) return;
    for (const commit of commits) {
      if (commit.revision !== this.#revision + 1) {
        throw new Error(`Commit ${commit.revision} does not follow revision ${this.#revision} of pool ${this.name}`);
      }
      this.#revision = commit.revision;
      for (const change of commit.changes) {
        this.#cache.update(this.#cachePrefix + refId(change), change.after);
        if (this.locks && change.collection === LOCKS) learnLock(this.locks, change.key, change.after);
        if (this.notifiers && change.collection === NOTIFIERS) this.notifiers.learn(change.key, change.after);
      }
      for (const collection of tallyCollections(this.#byName, commit.changes, commit.revision)) {
        if (collection.id === 0) throw new Error(`Pool ${this.name} does not know the collection ${collection.name}`);
        this.#byName.set(collection.name, collection);
        this.#byId.set(collection.id, collection);
      }
      if (this.policies && changesPolicy(commit)) this.policies.advance(commit);
      this.#keep(commit);
    }
    this.follower?.offer(commits);
  }

  /** Moves to a later revision without the commits between: what is remembered is no longer of use. */
  leap(head: PoolHead, collections: readonly Collection[]): void {
    this.#revision = head.revision;
    this.learn(head);
    this.#ring.length = 0;
    this.#ringBytes = 0;
    this.forgetItems();
    this.locks = undefined;
    this.policies = undefined;
    this.notifiers = undefined;
    this.setCollections(collections);
    this.follower?.leapt();
  }

  /** The commits after a revision, in order, if the ring still has all of them. */
  recent(after: number): readonly Commit[] | undefined {
    if (after === this.#revision) return [];
    const first = this.#ring[0];
    if (!first || after + 1 < first.revision || after > this.#revision) return undefined;
    return this.#ring.slice(after + 1 - first.revision);
  }

  end(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.follower?.ended();
  }

  #keep(commit: Commit): void {
    this.#ring.push(commit);
    this.#ringBytes += commitBytes(commit);
    if (this.#ring.length <= limits.ringCommitsMax && this.#ringBytes <= limits.ringBytesMax) return;
    let surplus = 0;
    const bytesLeft = limits.ringBytesMax * RING_KEPT;
    while (this.#ring.length - surplus > limits.ringCommitsMax * RING_KEPT || this.#ringBytes > bytesLeft) {
      this.#ringBytes -= commitBytes(this.#ring[surplus] as Commit);
      surplus++;
    }
    this.#ring.splice(0, surplus);
  }
}

function commitBytes(commit: Commit): number {
  let bytes = 100;
  for (const change of commit.changes)
    bytes += 300 + change.key.length + (change.after?.json.length ?? 0) * 2 + change.formerBytes;
  return bytes;
}

/** The commits that the log's rows tell of. `name` gives the name of a collection by its id. */
export function commitsOf(rows: readonly LogRow[], name: (collectionId: number) => string): Commit[] {
  const commits: (Commit & { changes: Change[] })[] = [];
  for (const row of rows) {
    let commit = commits.at(-1);
    if (commit?.revision !== row.revision) {
      const { revision, time, subject, trace } = row;
      commit = { revision, time, subject, changes: [], trace };
      commits.push(commit);
    }
    commit.changes.push(changeOf(row, name(row.collectionId)));
  }
  return commits;
}

function changeOf(row: LogRow, collection: string): Change {
  const changed = JSON.parse(row.changed) as string[];
  const after = row.after === null ? undefined : new ItemState(row.after, row.revision, row.createdRevision);
  return {
    collection,
    key: row.key,
    op: row.op,
    changed,
    removed: after
      ? row.op === 'add'
        ? []
        : changed.filter((attribute) => !Object.hasOwn(after.attributes, attribute))
      : changed,
    before: JSON.parse(row.before) as Attributes,
    formerBytes: row.before.length,
    after,
    former:
      row.formerRevision === null
        ? undefined
        : { revision: row.formerRevision, createdRevision: row.formerCreatedRevision as number },
    ...(row.reason && { reason: row.reason }),
  };
}

/** What the log keeps of why: not how it looked to somebody. */
function causeOf({ reason }: Change): Cause | null {
  return reason === undefined || reason === 'entered' || reason === 'left' || reason === 'denied' ? null : reason;
}

/** The log's rows that tell of the commits. */
export function rowsOf(commit: Commit, collectionId: (name: string) => number): LogRow[] {
  return commit.changes.map((change, ordinal) => ({
    revision: commit.revision,
    ordinal,
    collectionId: collectionId(change.collection),
    key: change.key,
    op: change.op,
    changed: JSON.stringify(change.changed),
    before: JSON.stringify(change.before),
    after: change.after?.json ?? null,
    createdRevision: change.after?.createdRevision ?? change.former?.createdRevision ?? commit.revision,
    formerRevision: change.former?.revision ?? null,
    formerCreatedRevision: change.former?.createdRevision ?? null,
    subject: commit.subject,
    time: commit.time,
    reason: causeOf(change),
    trace: ordinal === 0 ? commit.trace : undefined,
  }));
}
