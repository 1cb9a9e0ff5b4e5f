/**
 * The collection `_changes` as a source of items, read from the log of one state of a pool: so queries, pages, counts and
 * aggregates of it are those of any collection. It has no indexes; where its keys lie is computed, and needs no look.
 */
import type {
  IndexedItem,
  ItemPlace,
  ItemSource,
  LogPage,
  PoolHead,
  RangeRequest,
  SnapshotSource,
  StoredItem,
} from '../ports.js';
import type { KeyRange } from '../state/key-order.js';
import { itemOfCommit, revisionOfKey, revisionsIn } from '../state/log-items.js';
import type { Commit } from '../state/model.js';

export class LogSource implements ItemSource {
  constructor(
    private readonly source: SnapshotSource,
    /** The pool in the source's state. */
    private readonly head: PoolHead,
    private readonly commitsOf: (page: Pick<LogPage, 'rows'>) => Promise<Commit[]>,
  ) {}

  async range(_poolId: number, request: RangeRequest): Promise<{ items: StoredItem[]; more: boolean }> {
    let { first, last } = revisionsIn(request, this.head);
    const items: StoredItem[] = [];
    let bytes = 0;
    while (first <= last && items.length < request.limit && bytes < request.bytesMax) {
      // Each commit has at least one row: so many rows are no more commits than are wanted.
      const bounds = { rowsMax: request.limit - items.length, bytesMax: request.bytesMax - bytes };
      for (const commit of await this.#read(first, last, request.backward ?? false, bounds)) {
        const item = itemOfCommit(commit);
        items.push(item);
        bytes += Buffer.byteLength(item.json);
        if (request.backward) last = commit.revision - 1;
        else first = commit.revision + 1;
        if (bytes >= request.bytesMax) break;
      }
    }
    return { items, more: first <= last };
  }

  async items(poolId: number, places: readonly ItemPlace[]): Promise<StoredItem[]> {
    const items: StoredItem[] = [];
    for (const { key } of places) {
      const revision = revisionOfKey(key, this.head);
      if (revision === undefined) continue;
      const page = await this.source.log({ poolId, after: revision - 1, rowsMax: 1, bytesMax: 1 });
      items.push(...(await this.commitsOf(page)).map(itemOfCommit));
    }
    return items;
  }

  countRange(_poolId: number, _collectionId: number, range: KeyRange, max: number): Promise<number> {
    const { first, last } = revisionsIn(range, this.head);
    return Promise.resolve(Math.min(max, Math.max(0, last - first + 1)));
  }

  indexRange(): Promise<{ items: IndexedItem[]; more: boolean }> {
    throw new Error('The log has no indexes');
  }

  countIndex(): Promise<number> {
    throw new Error('The log has no indexes');
  }

  /** Some commits of the stretch from its begin, or backwards from its end; at least one. */
  async #read(
    first: number,
    last: number,
    backward: boolean,
    bounds: { readonly rowsMax: number; readonly bytesMax: number },
  ): Promise<Commit[]> {
    const poolId = this.head.id;
    const page = backward
      ? { rows: await this.source.logBefore({ ...bounds, poolId, before: last + 1 }) }
      : await this.source.log({ ...bounds, poolId, after: first - 1 });
    const commits = (await this.commitsOf(page)).filter(({ revision }) => revision >= first && revision <= last);
    if (commits.length === 0) throw new Error(`The log of pool ${this.head.name} has a hole in ${first} to ${last}`);
    return commits;
  }
}
