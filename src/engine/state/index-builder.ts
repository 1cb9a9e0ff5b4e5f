/**
 * Builds declared indexes in the background: the items that were there before, a few in each transaction that holds the pool's
 * lock, with pauses between in which writers go on. How far a build is stands in the database, so that it goes on after a
 * restart, and on any node. Also sees to indexes that were dropped, and to unique ones that weren't.
 */
import type { Store, StoredIndex, Telemetry } from '../ports.js';
import { buildStep, stateWhenBuilt } from './index-writes.js';

/** Between two steps: about as long as a step takes, so that writers have at least half of the time. */
const PAUSE_MS = 5;
const PURGE_ROWS = 1000;
/** After a failure, which is the database's. */
const RETRY_MS = 1000;

interface Unfinished {
  readonly pool: string;
  readonly poolId: number;
  readonly index: StoredIndex;
}

export class IndexBuilder {
  #running: Promise<void> | undefined;
  #again = false;
  #stopped = false;
  /** At which revision of its collection a violated index was last looked at. */
  readonly #examined = new Map<number, number | undefined>();

  constructor(
    private readonly store: Store,
    private readonly telemetry: Telemetry,
  ) {}

  /** Looks for work, now or after what is under way. */
  wake(): void {
    this.#again = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  /** Resolves when the step that is under way is done; the rest is for the next start. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#again && !this.#stopped) {
      this.#again = false;
      let failed = false;
      for (const unfinished of await this.#unfinished()) {
        try {
          await this.#work(unfinished);
        } catch (error) {
          // One that fails is no reason to let the others wait.
          failed = true;
          this.#warn(error);
        }
      }
      if (!failed) continue;
      this.#again = true;
      await pause(RETRY_MS);
    }
  }

  async #unfinished(): Promise<readonly Unfinished[]> {
    try {
      return await this.store.indexesIn(['building', 'violated', 'dropped']);
    } catch (error) {
      // The next wake finds what is left.
      this.#warn(error);
      return [];
    }
  }

  #warn(error: unknown): void {
    this.telemetry.warn('An index could not be built and is tried again', { error: String((error as Error).stack) });
  }

  async #work({ pool, poolId, index }: Unfinished): Promise<void> {
    const step = () =>
      index.state === 'dropped'
        ? this.store.purgeIndex(poolId, index.id, PURGE_ROWS).then((rows) => rows > 0)
        : this.#build(pool, poolId, index.id);
    while (!this.#stopped && (await step())) await pause(PAUSE_MS);
  }

  /** One step of a build. Answers whether there is more to do. */
  #build(pool: string, poolId: number, indexId: number): Promise<boolean> {
    return this.store.transact(async (tx) => {
      const { head } = await tx.lockPool(pool);
      if (head?.id !== poolId) return false;
      const index = (await tx.indexes(poolId)).find(({ id }) => id === indexId);
      // Another node may have finished it, and its definition may have changed.
      if (!index || index.state === 'ready') return false;
      if (index.state === 'violated') {
        // Where nothing was written since, there is nothing new to find; looking costs as much as the index is large.
        const collection = (await tx.collections(poolId)).find(({ id }) => id === index.collectionId);
        if (this.#examined.get(indexId) === collection?.revision) return false;
        this.#examined.set(indexId, collection?.revision);
        const state = await stateWhenBuilt(index, poolId, tx);
        if (state !== 'violated') await tx.updateIndex(poolId, index, state);
        return false;
      }
      const { index: built, more } = await buildStep(index, poolId, tx);
      await tx.updateIndex(poolId, built, more ? 'building' : await stateWhenBuilt(built, poolId, tx));
      return more;
    });
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
