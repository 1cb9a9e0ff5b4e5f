/** What a command may read that can't name its items beforehand: inside the commit's transaction, alone in its group. */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { IndexEntry, StoredItem, StoreTransaction, UsageRow } from '../ports.js';
import type { Sight } from '../query/ordering.js';
import { findPage, type Selection } from '../query/run.js';
import { scopeOf } from '../query/scope.js';
import type { Explorer } from './commands.js';
import { type Draft, type GroupState, refId } from './draft.js';
import { entryOf, sortKeyOfTime } from './indexes.js';
import { itemPages } from './item-pages.js';
import type { KeyRange } from './key-order.js';
import { loadItems, stateOf } from './loading.js';
import type { Collection, ItemRef } from './model.js';
import type { Replica } from './replica.js';

export interface ExploringOptions {
  /** How many items a query may examine. */
  readonly scanItemsMax: number;
}

export class Exploring implements Explorer {
  constructor(
    private readonly state: GroupState,
    private readonly replica: Replica | undefined,
    private readonly tx: StoreTransaction,
    /** A draft of what the command that explores could do. */
    readonly draft: () => Draft,
    private readonly options: ExploringOptions,
  ) {}

  get poolId(): number {
    return this.replica?.id ?? 0;
  }

  /** The pool waits meanwhile; other pools and the readers don't. */
  async *pages(collection: string): AsyncGenerator<readonly StoredItem[]> {
    const stored = this.#stored(collection);
    if (stored) yield* itemPages(this.tx, stored.poolId, { collectionId: stored.id, limit: limits.pageItemsMax });
  }

  async items(collection: string, keys: readonly string[]): Promise<StoredItem[]> {
    const stored = this.#stored(collection);
    if (!stored) return [];
    return this.tx.items(
      stored.poolId,
      keys.map((key) => ({ collectionId: stored.id, key })),
    );
  }

  async changedSince(collection: string, revision: number): Promise<Set<string> | undefined> {
    const stored = this.#stored(collection);
    const keys = new Set<string>();
    let [after, rows] = [revision, 0];
    for (let complete = stored === undefined; !complete && stored; ) {
      const bounds = { rowsMax: limits.logPageRowsMax, bytesMax: limits.logPageBytesMax };
      const page = await this.tx.log({ poolId: stored.poolId, after, ...bounds });
      if (!page.head || after + 1 < page.head.oldestRevision) return undefined;
      for (const row of page.rows) if (row.collectionId === stored.id) keys.add(row.key);
      rows += page.rows.length;
      if (rows > limits.changesRowsExaminedMax) return undefined;
      after = page.rows.at(-1)?.revision ?? after;
      ({ complete } = page);
    }
    return keys;
  }

  async matching(collection: string, selection: Selection, limit: number): Promise<{ keys: string[]; more: boolean }> {
    const { replica } = this;
    // The replica stands at the locked row, so that what it knows is of this state.
    const { access } = this.draft();
    const lens = access.entitlement.lens('read', collection);
    // Of what the subject sees, what they may not delete is passed over, as if it didn't match.
    const sight: Sight = {
      see: (key, state) => {
        const seen = lens.see(key, state);
        return seen && access.permits({ collection, key }, state, undefined, []) ? seen : undefined;
      },
    };
    const scope =
      replica &&
      scopeOf(this.tx, replica, { revision: replica.revision, indexVersion: replica.indexes.version }, collection, {
        ...this.options,
        comparisonStepsMax: limits.comparisonStepsInCommitMax,
        ...(!access.isUnbound && { lens, sight }),
      });
    if (!scope) return { keys: [], more: false };
    const page = await findPage(scope, { ...selection, order: [], limit, bytesMax: limits.commitBytesMax });
    if (page.more && page.items.length < limit) throw tooLarge();
    for (const { key, stored } of page.items) this.state.items.set(refId({ collection, key }), stored);
    return { keys: page.items.map(({ key }) => key), more: page.more };
  }

  async count(collection: string, range: KeyRange, max: number): Promise<number> {
    const stored = this.#stored(collection);
    return stored ? this.tx.countRange(stored.poolId, stored.id, range, max) : 0;
  }

  async load(refs: readonly ItemRef[]): Promise<void> {
    const { tx, replica, state } = this;
    await loadItems([{ touches: refs }], state, replica, tx);
  }

  usage(limit: number): Promise<UsageRow[]> {
    return this.replica ? this.tx.usage(this.replica.id, limit) : Promise.resolve([]);
  }

  async range(collection: string, range: KeyRange, limit: number): Promise<{ items: StoredItem[]; more: boolean }> {
    const stored = this.#stored(collection);
    if (!stored) return { items: [], more: false };
    const request = { collectionId: stored.id, ...range, limit, bytesMax: limits.commitBytesMax };
    const page = await this.tx.range(stored.poolId, request);
    if (page.more && page.items.length < limit) throw tooLarge();
    for (const item of page.items) this.state.items.set(refId({ collection, key: item.key }), stateOf(item));
    return page;
  }

  /**
   * Entries that stand too early, because their items changed since or are gone, are moved or removed on the way. What is
   * locked is passed over.
   */
  async expired(
    collection: string,
    limit: number,
    after: IndexEntry | undefined,
  ): Promise<{ keys: string[]; last: IndexEntry | undefined }> {
    const stored = this.#stored(collection);
    const index = stored?.replica.indexes.of(stored.id).find(({ expiry }) => expiry !== undefined);
    if (!stored || !index) return { keys: [], last: undefined };
    const { poolId } = stored;
    const draft = this.draft();
    const keys = new Set<string>();
    const [stale, moved]: [IndexEntry[], IndexEntry[]] = [[], []];
    const { now } = this.state;
    const bounds = { limit, bytesMax: limits.expireBytesMax, after };
    const due = await this.tx.due(poolId, index.stored, sortKeyOfTime(now + 1), bounds);
    for (const { entry, item } of due) {
      const state = item && stateOf(item);
      const proper = item && state && entryOf(index, entry.key, state.attributes, item.changedAt);
      if (state && proper && proper.sortKey.compare(sortKeyOfTime(now)) <= 0) {
        const ref = { collection, key: entry.key };
        this.state.items.set(refId(ref), state);
        if (!draft.isLocked(ref)) keys.add(entry.key);
        if (!proper.sortKey.equals(entry.sortKey)) stale.push(entry);
      } else {
        stale.push(entry);
        if (proper) moved.push(proper);
      }
    }
    await this.tx.removeEntries(poolId, stale);
    await this.tx.addEntries(poolId, moved);
    return { keys: [...keys], last: due.at(-1)?.entry };
  }

  #stored(collection: string): (Collection & { poolId: number; replica: Replica }) | undefined {
    const stored = this.replica?.collections.get(collection);
    return stored && this.replica && { ...stored, poolId: this.replica.id, replica: this.replica };
  }
}

function tooLarge(): Problem {
  return new Problem(
    'tooLarge',
    `The items that match are more than ${limits.commitBytesMax} bytes; give a smaller \`limit\`.`,
  );
}
