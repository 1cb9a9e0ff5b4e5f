/**
 * A pool in memory, with as much of a store as watching needs, for tests that play the same story thousands of times. The
 * test decides when the node hears of a commit, when it leaps over some, and how far back the log reaches.
 */
import { Entitlements } from '../../src/engine/access/entitlements.js';
import type { LogPage, LogRequest, LogRow, PoolHead, RangeRequest, Store } from '../../src/engine/ports.js';
import { refId } from '../../src/engine/state/draft.js';
import { ItemCache } from '../../src/engine/state/item-cache.js';
import { compareKeys, isInRange } from '../../src/engine/state/key-order.js';
import {
  type Attributes,
  type Change,
  type Collection,
  type Commit,
  changeBetween,
  type ItemRef,
  ItemState,
} from '../../src/engine/state/model.js';
import { type Replica, rowsOf } from '../../src/engine/state/replica.js';
import { Replicas } from '../../src/engine/state/replicas.js';
import { turn } from '../../src/engine/turn.js';
import { Hub } from '../../src/engine/watch/hub.js';
import { LogReader } from '../../src/engine/watch/log-reader.js';
import type { Items } from './session-reader.js';

export interface Write extends ItemRef {
  /** Undefined: it is deleted. */
  readonly attributes: Attributes | undefined;
  readonly reason?: Change['reason'];
}

export class MemoryPool {
  readonly commits: Commit[] = [];
  /** The items at each revision, by `collection/key`. */
  readonly #states: ReadonlyMap<string, ItemState>[] = [new Map()];
  readonly #items: Items[] = [];
  readonly replicas: Replicas;
  readonly replica: Replica;
  readonly hub: Hub;
  readonly log: LogReader;
  readonly store: Store;
  readonly access: Entitlements;
  oldestRevision = 1;

  constructor(
    private readonly collections: readonly string[],
    /** Items that a page of a snapshot has. */
    private readonly pageItems: number,
  ) {
    this.store = {
      log: (request: LogRequest) => turn().then(() => this.#log(request)),
      poolById: () => turn().then(() => this.#head),
      revisions: () => turn().then(() => new Map([[this.#head.id, this.revision]])),
      range: (_pool: number, request: RangeRequest) => turn().then(() => this.#range(request)),
      snapshot: async (
        _pool: number,
        work: (source: unknown, head: PoolHead, indexes: () => Promise<[]>) => unknown,
      ) => {
        const { revision } = this;
        const range = (_id: number, request: RangeRequest) => turn().then(() => this.#range(request, revision));
        return work({ range }, this.#head, async () => []);
      },
    } as unknown as Store;
    const replicas = new Replicas(this.store, new ItemCache(1 << 20), () => 0);
    this.replicas = replicas;
    const known = collections.map((name, i) => ({ id: i + 1, name, present: true, items: 0, revision: 0 }));
    this.replica = replicas.adopt({ head: this.#head, collections: known });
    this.hub = new Hub(this.replica, { framesSent: () => undefined, viewsEvaluated: () => undefined } as never);
    this.replica.follower = this.hub;
    this.log = new LogReader(this.store, replicas);
    this.access = new Entitlements(this.store, replicas);
  }

  get revision(): number {
    return this.commits.length;
  }

  /** The items at a revision, by `collection/key`. */
  itemsAt(revision: number): Items {
    this.#items[revision] ??= new Map(
      Array.from(this.#states[revision] ?? [], ([id, { revision: changed, createdRevision, attributes }]) => {
        const slash = id.indexOf('/');
        const item = { collection: id.slice(0, slash), key: id.slice(slash + 1), revision: changed, createdRevision };
        return [id, { ...item, attributes }] as const;
      }),
    );
    return this.#items[revision] as Items;
  }

  /** Commits the writes, in the store only; answers false where they change nothing. */
  commit(writes: readonly Write[], subject = 'somebody'): boolean {
    const revision = this.revision + 1;
    const items = new Map(this.#states.at(-1));
    const changes: Change[] = [];
    for (const { collection, key, attributes, reason } of writes) {
      const id = refId({ collection, key });
      const before = items.get(id);
      const after =
        attributes &&
        new ItemState(JSON.stringify(attributes), revision, before?.createdRevision ?? revision, attributes);
      const change = changeBetween({ collection, key }, before, after);
      if (!change) continue;
      changes.push(reason ? { ...change, reason } : change);
      if (after) items.set(id, after);
      else items.delete(id);
    }
    if (changes.length === 0) return false;
    this.commits.push({ revision, time: 0, subject, changes });
    this.#states.push(items);
    return true;
  }

  /** The node hears of all commits. */
  deliver(): void {
    this.replica.advance(this.commits.slice(this.replica.revision));
  }

  /** The node moves to the present revision without hearing of what is between. */
  leap(): void {
    if (this.replica.revision < this.revision) this.replica.leap(this.#head, this.#collections);
  }

  /** The log forgets all but so many commits. */
  compact(kept: number): void {
    this.oldestRevision = Math.max(this.oldestRevision, this.revision - kept + 1);
    this.leap();
    this.replica.learn(this.#head);
  }

  /** The collections as the database has them. */
  get #collections(): Collection[] {
    return this.collections.map((name, i) => {
      const isOf = ({ collection }: ItemRef) => collection === name;
      const revision = this.commits.findLast(({ changes }) => changes.some(isOf))?.revision ?? 0;
      const items = [...this.itemsAt(this.revision).values()].filter(isOf).length;
      return { id: i + 1, name, present: true, items, revision };
    });
  }

  get #head(): PoolHead {
    const { revision, oldestRevision } = this;
    return { id: 1, name: 'memory', epoch: 'e', revision, oldestRevision, description: undefined, indexVersion: 0 };
  }

  #log({ after, rowsMax }: LogRequest): LogPage {
    const rows: LogRow[] = [];
    for (const commit of this.commits.slice(Math.max(after, this.oldestRevision - 1))) {
      const stored = rowsOf(commit, (name) => this.collections.indexOf(name) + 1);
      rows.push(
        ...stored.map((row, i) => ({ ...row, reason: (commit.changes[i]?.reason ?? null) as LogRow['reason'] })),
      );
      if (rows.length >= rowsMax) break;
    }
    return { head: this.#head, rows, complete: rows.at(-1)?.revision === this.revision };
  }

  #range({ collectionId, after, limit, start, end }: RangeRequest, revision = this.revision) {
    const prefix = `${this.collections[collectionId - 1]}/`;
    const found = [...(this.#states[revision] ?? [])]
      .filter(([id]) => id.startsWith(prefix))
      .map(([id, state]) => ({ key: id.slice(prefix.length), state }))
      .filter(({ key }) => isInRange(key, { start, end }) && (after === undefined || compareKeys(key, after) > 0))
      .sort((a, b) => compareKeys(a.key, b.key));
    const items = found.slice(0, Math.min(limit, this.pageItems)).map(({ key, state }) => ({
      collectionId,
      key,
      json: state.json,
      revision: state.revision,
      createdRevision: state.createdRevision,
    }));
    return { head: this.#head, items, more: items.length < found.length };
  }
}
