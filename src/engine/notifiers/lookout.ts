/** What a notifier has of each commit: all its views look at the log together, by the rights of its owner. */
import type { Commit } from '../state/model.js';
import type { Looking } from '../watch/looking.js';
import type { ViewRequest } from '../watch/view.js';
import { type Seen, type Watched, watchedBy } from './events.js';
import type { NotifierDefinition } from './notifier.js';

export class Lookout {
  readonly #parts: readonly { readonly watched: Watched; readonly looking: Looking }[];

  constructor(
    private readonly definition: NotifierDefinition,
    newLooking: (view: ViewRequest) => Looking,
  ) {
    this.#parts = watchedBy(definition).map((watched) => ({ watched, looking: newLooking(watched.view) }));
  }

  /** Looks on by the policy of a revision. Throws LogExpired where it can't be told any more. */
  async lookAt(revision: number): Promise<void> {
    for (const { looking } of this.#parts) await looking.lookAt(revision);
  }

  /** What is told of the next commit, perhaps nothing; undefined where a change of policy changes more than is told. */
  async see(commit: Commit): Promise<readonly Seen[] | undefined> {
    const told: Seen[] = [];
    let isTooMuch = false;
    for (const { watched, looking } of this.#parts) {
      const seeing = looking.see(commit);
      const changes = seeing instanceof Promise ? await seeing : seeing;
      if (!changes) isTooMuch = true;
      for (const change of changes ?? []) {
        const event = watched.eventOf(change);
        if (this.definition.events.includes(event)) told.push({ event, change, view: looking.view });
      }
    }
    return isTooMuch ? undefined : told;
  }
}
