/**
 * What a change of policy makes of views, worked out once for all watchers whose views are equal before it and after it: they look
 * through the same items at the same time. A few are kept, for as long as their watchers come.
 */
import type { Change, Commit } from '../state/model.js';
import type { View } from './view.js';

type Turned = Promise<readonly Change[] | undefined>;

const KEPT = 16;

export class SharedTurns {
  readonly #turns = new Map<string, Turned>();

  of(before: View, after: View, { revision }: Commit, work: () => Turned): Turned {
    const id = JSON.stringify([revision, before.id, after.id]);
    let turned = this.#turns.get(id);
    if (!turned) {
      turned = work();
      this.#turns.set(id, turned);
      // What failed for one may do for the next.
      turned.catch(() => this.#turns.delete(id));
      const [oldest] = this.#turns.keys();
      if (this.#turns.size > KEPT) this.#turns.delete(oldest as string);
    }
    return turned;
  }
}
