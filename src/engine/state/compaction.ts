/**
 * Forgets old commits, by age and by count, in short transactions: first the pool's oldest revision is raised, so that
 * readers know what they can't have, then rows are deleted a few at a time. Also sweeps what else has served its time.
 */
import type { PoolHead, Store } from '../ports.js';
import type { Replicas } from './replicas.js';

export interface Retention {
  /** Commits older than this are forgotten; in milliseconds. */
  readonly ageMs: number;
  /** At most this many commits of a pool are kept. */
  readonly commits: number;
}

/** Rows that one transaction deletes: a few milliseconds of work. */
const ROWS_PER_TRANSACTION = 500;
const POOLS_PER_PAGE = 100;

export class Compaction {
  constructor(
    private readonly store: Store,
    private readonly replicas: Replicas,
    private readonly retention: Retention,
  ) {}

  /** One sweep over all pools. `pause` is awaited between transactions, and ends the sweep when it answers false. */
  async sweep(pause: () => Promise<boolean>): Promise<void> {
    const now = await this.store.now();
    let last: string | undefined;
    for (;;) {
      const pools = await this.store.pools(last, POOLS_PER_PAGE);
      for (const { head } of pools) if (!(await this.#compact(head, now, pause))) return;
      if (pools.length < POOLS_PER_PAGE) break;
      last = pools.at(-1)?.head.name;
    }
    if (!(await repeat(() => this.store.deleteExpiredAnswers(now, ROWS_PER_TRANSACTION), pause))) return;
    await repeat(() => this.store.purgeDropped(ROWS_PER_TRANSACTION), pause);
  }

  async #compact(head: PoolHead, now: number, pause: () => Promise<boolean>): Promise<boolean> {
    const byCount = head.revision - this.retention.commits;
    const byAge = await this.store.revisionBefore(head.id, now - this.retention.ageMs);
    const revision = Math.max(byCount, byAge);
    if (revision >= head.oldestRevision) {
      await this.store.raiseOldest(head.id, revision);
      const replica = this.replicas.known(head.name);
      if (replica?.id === head.id) replica.learn({ oldestRevision: revision + 1, description: replica.description });
    }
    return repeat(() => this.store.deleteLogRows(head.id, ROWS_PER_TRANSACTION), pause);
  }
}

/** Repeats short transactions until one has nothing left to do. False when it was told to stop. */
async function repeat(work: () => Promise<number>, pause: () => Promise<boolean>): Promise<boolean> {
  while ((await work()) > 0) if (!(await pause())) return false;
  return pause();
}
