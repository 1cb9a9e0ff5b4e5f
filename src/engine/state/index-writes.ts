/**
 * What a group of commits does to indexes: the entries that its changes add and take away, and the indexes that a new
 * definition declares or no longer does. All of it is written in the group's own transaction.
 */
import type { Definitions } from '../dictionary/definitions.js';
import { limits } from '../limits.js';
import type { IndexEntry, StoredIndex, StoreTransaction } from '../ports.js';
import { DUE_AT, QUEUES } from '../queues/queue-items.js';
import { DICTIONARY } from './collections.js';
import { refId } from './draft.js';
import {
  type CollectionIndex,
  collectionIndex,
  declaredIndexes,
  differenceOf,
  entryOf,
  type PoolIndexes,
  timeIndex,
} from './indexes.js';
import { stateOf } from './loading.js';
import { type Change, type Collection, type Commit, stateBefore } from './model.js';
import { hasDuplicates } from './unique.js';

/** The entries that change with the items' states before and after the whole group. */
export function entriesOf(
  commits: readonly Commit[],
  present: PoolIndexes,
  idOf: (collection: string) => number,
): { indexed: IndexEntry[]; unindexed: IndexEntry[] } {
  const indexed: IndexEntry[] = [];
  const unindexed: IndexEntry[] = [];
  if (present.isEmpty) return { indexed, unindexed };
  const indexesOf = (collection: string) => present.of(idOf(collection));
  for (const { first, last, time } of extremes(commits, indexesOf)) {
    const indexes = indexesOf(last.collection);
    const before = stateBefore(first)?.attributes;
    const { added, removed } = differenceOf(indexes, last.key, before, last.after?.attributes, time);
    indexed.push(...added);
    unindexed.push(...removed);
  }
  return { indexed, unindexed };
}

/** The first and the last change of each item whose collection has indexes. */
function extremes(commits: readonly Commit[], indexesOf: (collection: string) => readonly CollectionIndex[]) {
  const found = new Map<string, { first: Change; last: Change; time: number }>();
  for (const { changes, time } of commits) {
    for (const change of changes) {
      if (indexesOf(change.collection).length === 0) continue;
      const id = refId(change);
      const entry = found.get(id);
      if (entry) entry.last = change;
      else found.set(id, { first: change, last: change, time });
    }
  }
  return found.values();
}

/** Makes the indexes of those of the system's collections that have any, when they come into being: no definition declares them. */
export async function defineSystemIndexes(
  fresh: readonly Collection[],
  poolId: number,
  tx: StoreTransaction,
): Promise<void> {
  for (const { name, id } of fresh) {
    if (name !== QUEUES) continue;
    const declared = { collectionId: id, ...timeIndex({ attribute: DUE_AT }) };
    await buildAtOnce(await newIndex(declared, poolId, tx), poolId, tx);
  }
}

/**
 * Makes the indexes that the definitions of the group's commits declare and drops those that they don't. The index of a small
 * collection is complete at once. Answers whether something is left to be built or removed.
 */
export async function defineIndexes(
  commits: readonly Commit[],
  poolId: number,
  collectionOf: (name: string) => Collection,
  present: PoolIndexes,
  definitions: Definitions,
  tx: StoreTransaction,
): Promise<boolean> {
  let left = false;
  for (const { changes } of commits) {
    for (const change of changes) {
      if (change.collection !== DICTIONARY) continue;
      const collection = collectionOf(change.key);
      const wanted = declaredIndexes(definitions.of(change.after));
      const stored = present.of(collection.id).map((index) => index.stored);
      const isWanted = (index: StoredIndex) =>
        wanted.some(({ name, definition }) => name === index.name && definition === index.definition);
      for (const index of stored) {
        if (isWanted(index)) continue;
        await tx.updateIndex(poolId, index, 'dropped');
        left = true;
      }
      for (const { name, definition } of wanted) {
        if (stored.some((index) => index.name === name && index.definition === definition)) continue;
        const index = await newIndex({ collectionId: collection.id, name, definition }, poolId, tx);
        if (collection.items > limits.indexInlineItemsMax) left = true;
        else await buildAtOnce(index, poolId, tx);
      }
    }
  }
  return left;
}

async function newIndex(
  declared: Pick<StoredIndex, 'collectionId' | 'name' | 'definition'>,
  poolId: number,
  tx: StoreTransaction,
): Promise<StoredIndex> {
  const id = await tx.createIndex(poolId, declared);
  return { ...declared, id, state: 'building', builtTo: null, builtItems: 0 };
}

async function buildAtOnce(index: StoredIndex, poolId: number, tx: StoreTransaction): Promise<void> {
  let built = index;
  for (let more = true; more; ) ({ index: built, more } = await buildStep(built, poolId, tx));
  await tx.updateIndex(poolId, built, await stateWhenBuilt(built, poolId, tx));
}

/** Adds the entries of the next items. The caller holds the pool's lock and keeps how far it is. */
export async function buildStep(
  index: StoredIndex,
  poolId: number,
  tx: StoreTransaction,
): Promise<{ index: StoredIndex; more: boolean }> {
  const parsed = collectionIndex(index);
  const { items, more } = await tx.range(poolId, {
    collectionId: index.collectionId,
    after: index.builtTo ?? undefined,
    limit: limits.indexStepItems,
    bytesMax: limits.indexStepBytesMax,
  });
  // A time to live counts from the last change, which isn't read here: who finds the entry due, as it is at once, moves it.
  const entries = items.flatMap((item) => entryOf(parsed, item.key, stateOf(item).attributes, 0) ?? []);
  await tx.addEntries(poolId, entries);
  const builtTo = items.at(-1)?.key ?? index.builtTo;
  return { index: { ...index, builtTo, builtItems: index.builtItems + items.length }, more };
}

/** A unique index is `violated`, and doesn't exclude, until no two items have the same values. */
export async function stateWhenBuilt(
  index: StoredIndex,
  poolId: number,
  tx: StoreTransaction,
): Promise<StoredIndex['state']> {
  const parsed = collectionIndex(index);
  return parsed.unique && (await hasDuplicates(parsed, poolId, tx)) ? 'violated' : 'ready';
}
