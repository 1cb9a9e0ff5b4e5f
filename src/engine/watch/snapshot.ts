/**
 * A snapshot of any size at one revision R, without a long transaction and without holding anything while the reader is
 * slow: each page is read at whatever revision the pool has by then, and the commits after R are undone on it, which the
 * change log makes possible, for it keeps the former values. A snapshot that takes longer than the log is kept ends early.
 *
 * Where the view has a filter that an index makes narrow, what matches is one page, and the rest isn't looked at.
 */
import { limits } from '../limits.js';
import type { PoolHead, Store } from '../ports.js';
import { findFew } from '../query/run.js';
import { openScope } from '../query/scope.js';
import { compareKeys, isInRange } from '../state/key-order.js';
import { stateOf } from '../state/loading.js';
import { CHANGES } from '../state/log-items.js';
import { type ItemState, stateBefore } from '../state/model.js';
import type { Replica } from '../state/replica.js';
import { LogExpired, type LogReader } from './log-reader.js';
import { logSnapshot } from './log-snapshot.js';
import type { View } from './view.js';

export type SnapshotPage = readonly { readonly key: string; readonly state: ItemState }[];

/** What the undoing of later commits may hold in memory before the snapshot is given up and begun anew. */
const UNDO_BYTES_MAX = 8 * 1024 * 1024;

const BOUNDS = { scanItemsMax: limits.gatherCheaplyMax, comparisonStepsMax: limits.comparisonStepsMax };

/** Too much changed while the snapshot was read. */
export class SnapshotOverrun extends Error {}

/**
 * The view's items as of revision `revision`, page by page in the order of their keys. Throws LogExpired or
 * SnapshotOverrun when that state can no longer be told; the caller begins anew. `undoFrom` is a later revision up to which
 * the caller knows that nothing of the collection changed: the commits until then needn't be looked at.
 */
export async function* snapshot(
  store: Store,
  log: LogReader,
  replica: Replica,
  view: View,
  revision: number,
  undoFrom = revision,
): AsyncGenerator<SnapshotPage> {
  if (view.request.collection === CHANGES) return yield* logSnapshot(log, replica, view, revision);
  const few = await readFew(store, replica, view);
  yield* pages(store, log, replica, view, undoFrom, few);
}

/** The same where an index makes them few; undefined where none does. */
export async function fewItems(
  store: Store,
  log: LogReader,
  replica: Replica,
  view: View,
  revision: number,
): Promise<SnapshotPage | undefined> {
  const few = await readFew(store, replica, view);
  if (!few) return undefined;
  const all: { key: string; state: ItemState }[] = [];
  for await (const page of pages(store, log, replica, view, revision, few)) all.push(...page);
  return all;
}

/** `few` is the first page, and all that there are, where they have been read. */
async function* pages(
  store: Store,
  log: LogReader,
  replica: Replica,
  view: View,
  undoFrom: number,
  few: Read | undefined,
): AsyncGenerator<SnapshotPage> {
  const collection = replica.collections.get(view.request.collection as string);
  if (!collection) return;
  /** Items that changed after `undoFrom`, as they were then; only those that are still to come. */
  const undo = new Map<string, ItemState | undefined>();
  let undoBytes = 0;
  let undoneTo = undoFrom;
  let after: string | undefined;
  for (let more = true; more; ) {
    const page = few ?? (await readPage(store, replica, view, collection.id, after));
    if (!page.head) throw new LogExpired('deleted');
    for await (const commit of log.between(replica, undoneTo, page.head.revision)) {
      for (const change of commit.changes) {
        if (change.collection !== collection.name || undo.has(change.key)) continue;
        if (!isInRange(change.key, view.range) || (after !== undefined && compareKeys(change.key, after) <= 0))
          continue;
        const state = shown(view, change.key, stateBefore(change));
        undo.set(change.key, state);
        undoBytes += bytesOf(change.key, state);
        if (undoBytes > UNDO_BYTES_MAX) throw new SnapshotOverrun();
      }
    }
    undoneTo = Math.max(undoneTo, page.head.revision);
    more = page.more;
    const last: string | undefined = more ? page.items.at(-1)?.key : undefined;
    const items = new Map<string, ItemState>();
    for (const item of page.items) {
      const state = shown(view, item.key, item.state);
      if (state) items.set(item.key, state);
    }
    for (const [key, state] of undo) {
      if (last !== undefined && compareKeys(key, last) > 0) continue;
      undo.delete(key);
      undoBytes -= bytesOf(key, state);
      if (state) items.set(key, state);
      else items.delete(key);
    }
    after = last;
    yield Array.from(items, ([key, state]) => ({ key, state })).sort((a, b) => compareKeys(a.key, b.key));
  }
}

/** Items in the order of their keys, all that there are up to the last one, and the pool at that moment. */
interface Read {
  readonly head: PoolHead | undefined;
  readonly items: SnapshotPage;
  readonly more: boolean;
}

async function readPage(
  store: Store,
  replica: Replica,
  { range }: View,
  collectionId: number,
  after: string | undefined,
): Promise<Read> {
  const page = await store.range(replica.id, {
    ...range,
    collectionId,
    after,
    limit: limits.pageItemsMax,
    bytesMax: limits.snapshotPartBytesMax,
  });
  return { ...page, items: page.items.map((item) => ({ key: item.key, state: stateOf(item) })) };
}

/** All items that match, where an index makes them few. */
function readFew(store: Store, replica: Replica, view: View): Promise<Read | undefined> {
  const { request, range } = view;
  const { collection } = request;
  // Of items as they are stored: what the view has of them is seen when they are shown.
  const filter = view.narrowing(collection as string);
  // One item is sooner read than looked for.
  if (!filter || request.key !== undefined) return Promise.resolve(undefined);
  return store.snapshot(replica.id, async (source, head, indexes) => {
    if (!head) return undefined;
    const scope = await openScope(source, replica, head, indexes, collection as string, BOUNDS);
    const items = scope && (await findFew(scope, { filter, range }, UNDO_BYTES_MAX));
    return items && { head, items, more: false };
  });
}

/** The state as the view has it: of what it hasn't nothing needs to be kept. */
function shown(view: View, key: string, state: ItemState | undefined): ItemState | undefined {
  return state && view.itemOf(view.request.collection as string, key, state);
}

function bytesOf(key: string, state: ItemState | undefined): number {
  return key.length + (state?.json.length ?? 0) + 100;
}
