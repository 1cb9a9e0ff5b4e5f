/**
 * Reads, linearizable: an answer shows every commit that was acknowledged, on any node, before the read began. Where the
 * store is exclusive this node's replica is the truth and an item that it remembers is answered at once; elsewhere the
 * reads that arrive in one turn of the event loop share one look at the pool's row, which proves what is remembered or
 * says how far to bring it forward, and brings the items that aren't remembered along.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { Store } from '../ports.js';
import type { KeyRange } from './key-order.js';
import { stateOf } from './loading.js';
import { CHANGES, revisionOfKey, stateOfCommit } from './log-items.js';
import type { Commit, ItemRef, ItemState } from './model.js';
import type { Replica } from './replica.js';
import type { Replicas } from './replicas.js';

/** What was read, and the state that it was read from. */
export interface Reading {
  readonly replica: Replica;
  readonly revision: number;
}

export interface ItemReading extends Reading {
  readonly state: ItemState | undefined;
}

export interface ItemPage extends Reading {
  readonly items: readonly { readonly key: string; readonly state: ItemState }[];
  readonly more: boolean;
}

interface Wanted {
  readonly ref: ItemRef | undefined;
  resolve(reading: ItemReading): void;
  reject(reason: unknown): void;
}

export class Reader {
  readonly #batches = new Map<Replica, Wanted[]>();
  /** Brings collections that are kept beside until somebody looks at them up to date: by name, what does it for a pool. */
  readonly bringUp = new Map<string, (pool: string) => Promise<void>>();

  constructor(
    private readonly store: Store,
    private readonly replicas: Replicas,
  ) {}

  /** The item, or undefined as its state. Refuses with `notFound` where there is no such pool. */
  item(pool: string, ref: ItemRef): ItemReading | Promise<ItemReading> {
    if (ref.collection === CHANGES) return this.#commitItem(pool, ref.key);
    if (this.bringUp.has(ref.collection)) return this.#prepare(pool, ref.collection).then(() => this.#find(pool, ref));
    const replica = this.store.exclusive ? this.replicas.known(pool) : undefined;
    const remembered = replica?.remembered(ref);
    if (replica && remembered) return { replica, revision: replica.revision, state: remembered.state };
    return this.#find(pool, ref);
  }

  /** The pool's replica, known to be current; also as to a collection that is to be looked at. */
  async current(pool: string, collection?: string): Promise<Replica> {
    if (collection !== undefined) await this.#prepare(pool, collection);
    return (await this.#find(pool, undefined)).replica;
  }

  /** A page of a collection's items in the order of their keys. */
  async page(
    pool: string,
    collection: string,
    request: KeyRange & { after?: string | undefined; limit: number },
  ): Promise<ItemPage> {
    const replica = await this.current(pool);
    const stored = replica.collections.get(collection);
    if (!stored) return { replica, revision: replica.revision, items: [], more: false };
    const { head, items, more } = await this.store.range(replica.id, {
      ...request,
      collectionId: stored.id,
      bytesMax: limits.pageBytesMax,
    });
    if (!head) throw this.#gone(replica);
    if (head.revision > replica.revision) await this.replicas.refresh(replica);
    return {
      replica,
      revision: head.revision,
      items: items.map((item) => ({ key: item.key, state: stateOf(item) })),
      more,
    };
  }

  /** Waits until a state with the revision can be read, at most `minRevisionWaitMs`; then refuses with `unavailable`. */
  async awaitRevision(pool: string, revision: number): Promise<void> {
    const deadline = performance.now() + limits.minRevisionWaitMs;
    while ((await this.current(pool)).revision < revision) {
      if (performance.now() > deadline) {
        throw new Problem(
          'unavailable',
          `The pool has not reached revision ${revision} within ${limits.minRevisionWaitMs} ms.`,
          { headers: { 'retry-after': '1' } },
        );
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async #prepare(pool: string, collection: string): Promise<void> {
    await this.bringUp.get(collection)?.(pool);
  }

  /** A commit as an item of `_changes`. It isn't remembered: the log may lose it, and may yet get it. */
  async #commitItem(pool: string, key: string): Promise<ItemReading> {
    const { commit, ...reading } = await this.commit(pool, key);
    return { ...reading, state: commit && stateOfCommit(commit) };
  }

  /** The commit that an item of `_changes` is, if the log still has it. */
  async commit(pool: string, key: string): Promise<Reading & { readonly commit: Commit | undefined }> {
    const replica = await this.current(pool);
    const { revision } = replica;
    const named = revisionOfKey(key, replica);
    return { replica, revision, commit: named === undefined ? undefined : await this.#commit(replica, named) };
  }

  /** The commit of a revision that the pool has reached, if the log still has it. */
  async #commit(replica: Replica, revision: number): Promise<Commit | undefined> {
    const [recent] = replica.recent(revision - 1) ?? [];
    if (recent) return recent;
    const page = await this.store.log({ poolId: replica.id, after: revision - 1, rowsMax: 1, bytesMax: 1 });
    if (!page.head) throw this.#gone(replica);
    if (revision < page.head.oldestRevision) return undefined;
    return (await this.replicas.commits(replica, page))[0];
  }

  async #find(pool: string, ref: ItemRef | undefined): Promise<ItemReading> {
    const replica = await this.replicas.get(pool);
    try {
      return await this.#enqueue(replica, ref);
    } catch (error) {
      // The pool that this node knew is gone; there may be a new one of the same name.
      if (!(error instanceof Problem) || error.code !== 'notFound') throw error;
      return this.#enqueue(await this.replicas.get(pool), ref);
    }
  }

  #enqueue(replica: Replica, ref: ItemRef | undefined): ItemReading | Promise<ItemReading> {
    if (this.store.exclusive) {
      if (!ref) return { replica, revision: replica.revision, state: undefined };
      const remembered = replica.remembered(ref);
      if (remembered) return { replica, revision: replica.revision, state: remembered.state };
    }
    return new Promise((resolve, reject) => {
      const batch = this.#batches.get(replica);
      if (batch) {
        batch.push({ ref, resolve, reject });
        return;
      }
      this.#batches.set(replica, [{ ref, resolve, reject }]);
      setImmediate(() => {
        const wanted = this.#batches.get(replica) as Wanted[];
        this.#batches.delete(replica);
        this.#read(replica, wanted).catch((error) => {
          for (const { reject } of wanted) reject(error);
        });
      });
    });
  }

  async #read(replica: Replica, batch: readonly Wanted[]): Promise<void> {
    const places = [];
    const refs = new Map<string, ItemRef>();
    for (const { ref } of batch) {
      if (!ref || replica.remembered(ref)) continue;
      // A collection that this node doesn't know may be there: it is looked for again once the replica is current.
      const collection = replica.collections.get(ref.collection);
      if (!collection) continue;
      const id = `${collection.id}/${ref.key}`;
      if (refs.has(id)) continue;
      refs.set(id, ref);
      places.push({ collectionId: collection.id, key: ref.key });
    }
    const { head, items } = await this.store.items(replica.id, places);
    if (!head) throw this.#gone(replica);
    replica.learn(head);
    if (head.revision > replica.revision) await this.replicas.refresh(replica);

    const found = new Map<ItemRef, ItemState>();
    for (const item of items) {
      const ref = refs.get(`${item.collectionId}/${item.key}`);
      if (ref) found.set(ref, stateOf(item));
    }
    // Only what was read at the replica's own revision may be remembered as of it.
    if (head.revision === replica.revision) for (const ref of refs.values()) replica.remember(ref, found.get(ref));
    const byId = new Map([...refs.values()].map((ref) => [`${ref.collection}/${ref.key}`, ref]));
    const again: Wanted[] = [];
    for (const wanted of batch) {
      const { ref, resolve } = wanted;
      const read = ref && byId.get(`${ref.collection}/${ref.key}`);
      const remembered = ref && replica.remembered(ref);
      if (!ref || remembered) resolve({ replica, revision: replica.revision, state: remembered?.state });
      else if (read) resolve({ replica, revision: head.revision, state: found.get(read) });
      else if (!replica.collections.has(ref.collection))
        resolve({ replica, revision: replica.revision, state: undefined });
      // Its collection became known, or it was forgotten, while this batch was under way.
      else again.push(wanted);
    }
    if (again.length > 0) await this.#read(replica, again);
  }

  #gone(replica: Replica): Problem {
    this.replicas.drop(replica);
    return new Problem('notFound', `There is no pool ${JSON.stringify(replica.name)} any more.`);
  }
}
