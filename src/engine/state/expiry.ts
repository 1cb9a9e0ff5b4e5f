/**
 * Ends items whose time is over, as the dictionary says: looks at the indexes of times to live and, where one has something
 * due, commits the deletions with the reason `expired`. An item is there until its expiry is committed.
 */
import { limits } from '../limits.js';
import type { IndexEntry, Store, StoredIndex, Telemetry } from '../ports.js';
import { QUEUES } from '../queues/queue-items.js';
import { settleQueues } from '../queues/queue-upkeep.js';
import { system } from '../subject.js';
import type { Committer } from './committer.js';
import { isExpiry, sortKeyOfTime } from './indexes.js';
import { expireItems } from './item-commands.js';
import type { Reader } from './reader.js';

interface Expiring {
  readonly pool: string;
  readonly poolId: number;
  readonly index: StoredIndex;
}

export class Expiry {
  /** By index, the last entry of items that were locked when they were looked at. */
  readonly #passed = new Map<number, IndexEntry>();

  constructor(
    private readonly store: Store,
    private readonly reader: Reader,
    private readonly committer: Committer,
    private readonly telemetry: Telemetry,
  ) {}

  /** Ends everything that is due. `pause` is awaited between commits, and ends the sweep when it answers false. */
  async sweep(pause: () => Promise<boolean>): Promise<void> {
    const indexes = await this.store.indexesIn(['ready', 'building']);
    const expiring = indexes.filter(({ index }) => isExpiry(index));
    if (expiring.length === 0) return;
    const due = { start: Buffer.alloc(0), end: sortKeyOfTime((await this.store.now()) + 1) };
    for (const each of expiring) {
      try {
        if (!(await this.#end(each, due, pause))) return;
      } catch (error) {
        // One collection that can't be swept now is no reason to let all others wait.
        this.telemetry.warn('Items whose time is over could not be ended', { error: String((error as Error).stack) });
      }
    }
  }

  /** Ends what is due in one collection. False when it was told to stop. */
  async #end(
    { pool, poolId, index }: Expiring,
    due: { readonly start: Buffer; readonly end: Buffer },
    pause: () => Promise<boolean>,
  ): Promise<boolean> {
    const count = () =>
      this.store.snapshot(poolId, (source, head) =>
        head ? source.countIndex(poolId, index.id, [due], 1) : Promise.resolve(0),
      );
    while ((await count()) > 0) {
      const collection = await this.#nameOf(pool, poolId, index.collectionId);
      if (collection === undefined) return true;
      const after = this.#passed.get(index.id);
      const bounds = { subject: system, limit: limits.expireItemsMax, after };
      const command = collection === QUEUES ? settleQueues(bounds) : expireItems({ ...bounds, collection });
      const submitted = await this.committer.submit(pool, command);
      const { expired, last } = submitted.replayed ? { expired: 0, last: undefined } : submitted.answer;
      // What was looked at and stays is locked. The next look begins beyond it, and after the last one anew.
      if (last && expired === 0) this.#passed.set(index.id, last);
      else this.#passed.delete(index.id);
      if (expired === 0) return pause();
      if (!(await pause())) return false;
    }
    return true;
  }

  async #nameOf(pool: string, poolId: number, collectionId: number): Promise<string | undefined> {
    const replica = await this.reader.current(pool);
    return replica.id === poolId ? replica.collectionById(collectionId)?.name : undefined;
  }
}
