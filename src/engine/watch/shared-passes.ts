/**
 * Passes through the items of a collection, each for all who look for something in it at the same revision: what they look for is
 * found by its value where their filters ask for one, so that a pass costs by items and finds, not by items times seekers. Passes of a
 * pool go one after another, and whoever comes while one is under way is of the next: what they hold in memory is bounded.
 */
import { limits } from '../limits.js';
import type { Store } from '../ports.js';
import type { KeyRange } from '../state/key-order.js';
import type { ItemState } from '../state/model.js';
import type { Replica } from '../state/replica.js';
import { Turns, turn } from '../turn.js';
import type { LogReader } from './log-reader.js';
import { snapshot } from './snapshot.js';
import { type Pin, ValueIndex } from './value-index.js';
import { View } from './view.js';

export interface Seeker {
  /** The items that it looks for all have these; none: it looks at every item. */
  readonly pins: readonly Pin[];
  take(key: string, state: ItemState): void;
  /** It looks for nothing more. */
  readonly isOver: boolean;
}

/** What has to be at hand to read the items of a pool. */
export interface Ground {
  readonly store: Store;
  readonly log: LogReader;
  readonly replica: Replica;
  readonly passes: SharedPasses;
}

interface Pass {
  readonly seekers: Seeker[];
  readonly done: Promise<void>;
}

/** Looks at items after which others have their turn on the event loop. */
const TURN_LOOKS = 2000;

export class SharedPasses {
  /** Passes that have not begun. */
  readonly #waiting = new Map<string, Pass>();
  #last: Promise<unknown> = Promise.resolve();

  /**
   * Gives the seeker the items of the range as of the revision, in the order of their keys. Throws LogExpired or SnapshotOverrun when
   * that state can't be told any more.
   */
  look(ground: Ground, collection: string, range: KeyRange, revision: number, seeker: Seeker): Promise<void> {
    const id = JSON.stringify([collection, range, revision]);
    let pass = this.#waiting.get(id);
    if (!pass || pass.seekers.length >= limits.passSeekersMax) {
      const seekers: Seeker[] = [];
      const done = this.#last.then(() => {
        if (this.#waiting.get(id)?.seekers === seekers) this.#waiting.delete(id);
        return run(ground, new View({ collection, ...range, values: 'full' }), revision, seekers);
      });
      this.#last = done.catch(() => undefined);
      pass = { seekers, done };
      this.#waiting.set(id, pass);
    }
    pass.seekers.push(seeker);
    return pass.done;
  }
}

async function run(
  { store, log, replica }: Ground,
  view: View,
  revision: number,
  seekers: readonly Seeker[],
): Promise<void> {
  const pinned = new ValueIndex<Seeker>();
  const others = seekers.filter(({ pins }) => pins.length === 0);
  for (const seeker of seekers) if (seeker.pins.length > 0) pinned.add(seeker.pins, seeker);
  const turns = new Turns(TURN_LOOKS);
  let looks = 0;
  for await (const page of snapshot(store, log, replica, view, revision)) {
    for (const { key, state } of page) {
      const take = (seeker: Seeker) => {
        looks++;
        if (!seeker.isOver) seeker.take(key, state);
      };
      for (const seeker of others) take(seeker);
      pinned.each({ before: {}, after: state }, take);
      if (turns.areDue(looks)) await turn();
    }
    if (seekers.every(({ isOver }) => isOver)) return;
  }
}
