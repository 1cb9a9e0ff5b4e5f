/**
 * Reads commits after a cursor: from the replica's ring where it has them, else from the store's log page by page. Says so
 * when the log no longer has them (`LogExpired`) instead of skipping any.
 */
import { limits } from '../limits.js';
import type { Store } from '../ports.js';
import type { Commit } from '../state/model.js';
import type { Replica } from '../state/replica.js';
import type { Replicas } from '../state/replicas.js';

/** The commits that were asked for are no longer in the log, or their pool is gone. */
export class LogExpired extends Error {
  constructor(readonly reason: 'compacted' | 'deleted') {
    super(`The log has expired: ${reason}`);
  }
}

export class LogReader {
  constructor(
    private readonly store: Store,
    private readonly replicas: Replicas,
  ) {}

  /**
   * Commits after the revision, in order and without a gap: some of them, at least one if there are any. None when the log
   * had no more at the time of asking.
   */
  async next(replica: Replica, after: number): Promise<readonly Commit[]> {
    if (replica.gone) throw new LogExpired('deleted');
    // The database may be ahead of the replica: at the replica's own revision only the log knows what follows.
    const recent = after < replica.revision ? replica.recent(after) : undefined;
    if (recent) return recent;
    const page = await this.store.log({
      poolId: replica.id,
      after,
      rowsMax: limits.logPageRowsMax,
      bytesMax: limits.logPageBytesMax,
    });
    if (!page.head) throw new LogExpired('deleted');
    if (after + 1 < page.head.oldestRevision) throw new LogExpired('compacted');
    return this.replicas.commits(replica, page);
  }

  /** The commits after `after` up to and including `upTo`. */
  async *between(replica: Replica, after: number, upTo: number): AsyncGenerator<Commit> {
    let reached = after;
    while (reached < upTo) {
      const commits = await this.next(replica, reached);
      if (commits.length === 0) throw new Error(`The log of pool ${replica.name} ends at ${reached}, before ${upTo}`);
      for (const commit of commits) {
        if (commit.revision > upTo) return;
        reached = commit.revision;
        yield commit;
      }
    }
  }
}
