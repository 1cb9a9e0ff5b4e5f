/**
 * What a change of policy makes of views, worked out once for all watchers whose views are equal before it and after it: they look
 * through the same items at the same time. A few are kept, for as long as their watchers come.
 */
import type { Change, Commit } from '../state/model.js';
import type { Replica } from '../state/replica.js';
import { turnOf } from './policy-turn.js';
import { type Ground, SharedPasses } from './shared-passes.js';
import type { View } from './view.js';

type Turned = Promise<readonly Change[] | undefined>;

/** Where the items and the commits of the pool are read. */
type Sources = Pick<Ground, 'store' | 'log'>;

const KEPT = 16;

export class SharedTurns {
  readonly #turns = new Map<string, Turned>();
  readonly #passes = new SharedPasses();

  constructor(private readonly replica: Replica) {}

  /** The changes that are told; undefined where the view begins anew. */
  of(sources: Sources, commit: Commit, before: View, after: View): Turned {
    const id = JSON.stringify([commit.revision, before.id, after.id]);
    let turned = this.#turns.get(id);
    if (!turned) {
      turned = this.try(sources, commit, before, after);
      this.#turns.set(id, turned);
      // What failed for one may do for the next.
      turned.catch(() => this.#turns.delete(id));
      const [oldest] = this.#turns.keys();
      if (this.#turns.size > KEPT) this.#turns.delete(oldest as string);
    }
    return turned;
  }

  /** The same of a commit that isn't made: it isn't kept, for its revision is another's. */
  try({ store, log }: Sources, commit: Commit, before: View, after: View): Turned {
    return turnOf({ store, log, replica: this.replica, passes: this.#passes }, commit, before, after);
  }
}
