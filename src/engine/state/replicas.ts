/**
 * The replicas of this node: found by the pool's name, read from the store when they are asked for first, brought
 * forward from the log when the database is ahead, and forgotten when they are idle and too many.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import {
  type LogPage,
  type LogRequest,
  type LogRow,
  type PoolContent,
  type PoolHead,
  RetryTransaction,
  type Store,
  type StoreTransaction,
} from '../ports.js';
import { DICTIONARY, isSystemName } from './collections.js';
import type { ItemCache } from './item-cache.js';
import type { Commit } from './model.js';
import { commitsOf, Replica } from './replica.js';

/** Where a pool's content and log are read: the store, or a transaction that holds the pool's lock. */
interface Source {
  content(): Promise<PoolContent | undefined>;
  log(request: LogRequest): Promise<LogPage>;
}

/** A replica that was asked for within this time may be held by somebody, so it isn't forgotten. */
const HELD_MS = 60_000;

export class Replicas {
  readonly #byName = new Map<string, Replica>();
  readonly #loading = new Map<string, Promise<Replica | undefined>>();
  readonly #refreshing = new Map<Replica, Promise<void>>();
  /** Called when a pool was heard of first, or is gone, as far as this node knows. */
  changed: () => void = () => {};

  constructor(
    private readonly store: Store,
    private readonly cache: ItemCache,
    private readonly clock: () => number,
  ) {}

  /** The replica, if this node has one. */
  known(name: string): Replica | undefined {
    const replica = this.#byName.get(name);
    if (replica) replica.usedAt = this.clock();
    return replica;
  }

  /** The same, without keeping it ready for longer. */
  peek(name: string): Replica | undefined {
    return this.#byName.get(name);
  }

  all(): Iterable<Replica> {
    return this.#byName.values();
  }

  get size(): number {
    return this.#byName.size;
  }

  /** The pool's replica, read from the store when this node has none. Undefined when there is no such pool. */
  async find(name: string): Promise<Replica | undefined> {
    const known = this.known(name);
    if (known) return known;
    let loading = this.#loading.get(name);
    if (!loading) {
      loading = this.#load(name).finally(() => this.#loading.delete(name));
      this.#loading.set(name, loading);
    }
    return loading;
  }

  /** The same, but refuses with `notFound`. */
  async get(name: string): Promise<Replica> {
    const replica = await this.find(name);
    if (!replica)
      throw new Problem(
        'notFound',
        `There is no pool ${JSON.stringify(name)}. It comes into being on its first write, or by PUT.`,
      );
    return replica;
  }

  /**
   * The replica of a pool whose row the caller has locked, brought to the row's revision through the transaction. Rejects with
   * `RetryTransaction` where it is ahead of the row: it has heard of commits that this connection's database has yet to apply.
   */
  async locked(head: PoolHead, tx: StoreTransaction): Promise<Replica> {
    const known = this.known(head.name);
    if (known && known.id === head.id) {
      await this.#bringTo(known, head, {
        content: async () => ({ head, collections: await tx.collections(head.id) }),
        log: (request) => tx.log(request),
      });
    }
    const replica =
      known && known.id === head.id ? known : this.adopt({ head, collections: await tx.collections(head.id) });
    if (replica.revision > head.revision)
      throw new RetryTransaction(`The database is behind revision ${replica.revision}`);
    if (replica.indexes.version < head.indexVersion) replica.learnIndexes(await tx.indexes(head.id), head.indexVersion);
    return replica;
  }

  /** Makes the replica of a pool that was just made or read. */
  adopt({ head, collections }: PoolContent): Replica {
    const known = this.#byName.get(head.name);
    if (known && known.id === head.id) return known;
    known?.end();
    const replica = new Replica(head, collections, this.cache);
    replica.usedAt = this.clock();
    this.#byName.set(head.name, replica);
    this.#forgetIdle();
    this.changed();
    return replica;
  }

  /** The pool is gone, or no longer what the replica shows. */
  drop(replica: Replica): void {
    if (this.#byName.get(replica.name) === replica) this.#byName.delete(replica.name);
    replica.end();
    this.changed();
  }

  /** Brings the replica at least to where the database was when this was called. */
  async refresh(replica: Replica): Promise<void> {
    const running = this.#refreshing.get(replica);
    if (running !== undefined) await running.catch(() => undefined);
    // One that began before this call may have read the database before it; a second one surely reads it after.
    let next = this.#refreshing.get(replica);
    if (!next) {
      next = this.#readForward(replica).finally(() => this.#refreshing.delete(replica));
      this.#refreshing.set(replica, next);
    }
    await next;
  }

  async #load(name: string): Promise<Replica | undefined> {
    const content = await this.store.pool(name);
    return content && this.adopt(content);
  }

  /** Whether a look at the database is under way for the replica. */
  isRefreshing(replica: Replica): boolean {
    return this.#refreshing.has(replica);
  }

  async #readForward(replica: Replica): Promise<void> {
    const head = await this.store.poolById(replica.id);
    if (!head) return this.drop(replica);
    await this.#bringTo(replica, head, this.#source(replica));
  }

  async #bringTo(replica: Replica, head: PoolHead, source: Source): Promise<void> {
    replica.learn(head);
    let rows = 0;
    while (replica.revision < head.revision) {
      const after = replica.revision;
      const page = await source.log({
        poolId: replica.id,
        after,
        rowsMax: limits.logPageRowsMax,
        bytesMax: limits.logPageBytesMax,
      });
      if (!page.head) return this.drop(replica);
      rows += page.rows.length;
      if (after + 1 < page.head.oldestRevision || rows > limits.catchUpRowsMax) {
        const content = await source.content();
        if (content?.head.id !== replica.id) return this.drop(replica);
        if (content.head.revision > replica.revision) replica.leap(content.head, content.collections);
        continue;
      }
      const commits = await this.commits(replica, page, source);
      if (commits.length === 0 && replica.revision === after) {
        throw new Error(`The log of pool ${replica.name} has a hole after revision ${after}`);
      }
      // Somebody else may have brought it forward in the meantime.
      replica.advance(commits.filter((commit) => commit.revision > replica.revision));
    }
  }

  /** The page's commits, with the names of collections that the replica doesn't know yet. */
  async commits(
    replica: Replica,
    page: Pick<LogPage, 'rows'>,
    source: Source = this.#source(replica),
  ): Promise<Commit[]> {
    if (page.rows.some((row) => namesUnknown(replica, row))) {
      // Through the same source: inside a transaction a second connection could be waited for in vain.
      const content = await source.content();
      const collections = content?.head.id === replica.id ? content.collections : [];
      const unknown = collections.filter(({ id }) => !replica.collectionById(id));
      // Only the names: what is in them is counted as the replica takes in the commits.
      replica.setCollections(
        unknown.map((collection) => ({ ...collection, present: isSystemName(collection.name), items: 0, revision: 0 })),
      );
    }
    return commitsOf(page.rows, (id) => {
      const collection = replica.collectionById(id);
      if (!collection) throw new Error(`The log of pool ${replica.name} names the unknown collection ${id}`);
      return collection.name;
    });
  }

  /** The commits of these rows; undefined where they name a collection that the replica doesn't know yet. */
  commitsKnown(replica: Replica, rows: readonly LogRow[]): Commit[] | undefined {
    if (rows.some((row) => namesUnknown(replica, row))) return undefined;
    return commitsOf(rows, (id) => replica.collectionById(id)?.name as string);
  }

  #source(replica: Replica): Source {
    return { content: () => this.store.pool(replica.name), log: (request) => this.store.log(request) };
  }

  #forgetIdle(): void {
    if (this.#byName.size <= limits.replicasMax) return;
    const limit = this.clock() - HELD_MS;
    const idle = [...this.#byName.values()]
      .filter((replica) => replica.usedAt < limit && !replica.follower?.busy)
      .sort((a, b) => a.usedAt - b.usedAt);
    for (const replica of idle.slice(0, Math.ceil(limits.replicasMax / 10))) this.#byName.delete(replica.name);
  }
}

/** A collection is named by what is in it, and by its entry in the dictionary: it may be made without items. */
function namesUnknown(replica: Replica, { collectionId, key }: LogRow): boolean {
  const collection = replica.collectionById(collectionId);
  return !collection || (collection.name === DICTIONARY && !replica.collections.has(key));
}
