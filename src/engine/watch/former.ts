/** The state of a change's item before it, made once for all watchers that are asked one after another. */
import { type Change, type ItemState, stateBefore } from '../state/model.js';

/** The last answer. */
let last: { readonly change: Change; readonly former: ItemState | undefined } | undefined;

export function formerOf(change: Change): ItemState | undefined {
  if (last?.change !== change) last = { change, former: stateBefore(change) };
  return last.former;
}
