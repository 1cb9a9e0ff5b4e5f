/**
 * Items as they are read: with what the dictionary computes on reading. One item is bounded by its own allowance; the items
 * of an answer have one together, and others have their turn while they are computed.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import { ItemState } from '../state/model.js';
import { Turns, turn } from '../turn.js';
import type { Definition } from './definition.js';

/** The item as it is read. */
export function shown(state: ItemState, onRead: Definition['onRead']): ItemState {
  if (!onRead) return state;
  return new ItemState(undefined, state.revision, state.createdRevision, onRead(state.attributes));
}

interface Item {
  readonly key: string;
  readonly state: ItemState;
}

/** Shows the items of one answer. For collections with read transforms only: the others are shown as they are. */
export class Showing {
  #cost = 0;
  #bytes = 0;
  readonly #turns = new Turns(limits.turnCost);

  /** @throws Problem 413 `tooLarge` when all the items of the answer cost too much, or become too much */
  async all(items: Iterable<Item>, definition: Pick<Definition, 'onRead' | 'cost'>): Promise<Item[]> {
    const all: Item[] = [];
    for (const { key, state } of items) {
      const read = shown(state, definition.onRead);
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
