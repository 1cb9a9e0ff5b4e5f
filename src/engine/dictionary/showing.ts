/**
 * Items as they are read: with what the dictionary computes on reading. One item is bounded by its own allowance; the items
 * of an answer have one together, and others have their turn while they are computed.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import { pickMembers } from '../state/json.js';
import { ItemState } from '../state/model.js';
import { Turns, turn } from '../turn.js';
import type { Definition } from './definition.js';

/**
 * The item as it is read. `state` is what the reader sees of it, so that nothing is computed from what they don't; and what is
 * computed is shown only where they may see an attribute of that name.
 */
export function shown(state: ItemState, onRead: Definition['onRead'], shows?: Item['shows']): ItemState {
  if (!onRead) return state;
  const read = onRead(state.attributes);
  const attributes = shows ? pickMembers(read, Object.keys(read).filter(shows)) : read;
  return new ItemState(undefined, state.revision, state.createdRevision, attributes);
}

export interface Item {
  readonly key: string;
  readonly state: ItemState;
  /** Whether the reader may see an attribute of that name; absent: all. */
  readonly shows?: ((name: string) => boolean) | undefined;
}

/** Shows the items of one answer. For collections with read transforms only: the others are shown as they are. */
export class Showing {
  #cost = 0;
  #bytes = 0;
  readonly #turns = new Turns(limits.turnCost);

  /** @throws Problem 413 `tooLarge` when all the items of the answer cost too much, or become too much */
  async all(items: Iterable<Item>, definition: Pick<Definition, 'onRead' | 'cost'>): Promise<Item[]> {
    const all: Item[] = [];
    for (const { key, state, shows } of items) {
      const read = shown(state, definition.onRead, shows);
      all.push({ key, state: read });
      this.#bytes += read.json.length;
      if (this.#bytes > limits.shownBytesMax) throw tooLarge(`make more than ${limits.shownBytesMax} bytes of JSON`);
      this.#cost += definition.cost;
      if (this.#cost > limits.shownCostMax) throw tooLarge(`take more than ${limits.shownCostMax} steps`);
      if (this.#turns.areDue(this.#cost)) await turn();
    }
    return all;
  }
}

function tooLarge(what: string): Problem {
  return new Problem(
    'tooLarge',
    `What the dictionary computes when these items are read would ${what}; give a smaller \`limit\`, or expand less.`,
  );
}
