/**
 * Several commits as one: for a watcher of a collection that couldn't keep up and is told the state it missed, not the way
 * there. Each item's first state before and last state after make its change. One that came back to where it was makes a
 * change without names, which tells its revision; one that came and went makes none. Pure; each commit is added once, at the
 * cost of its own changes.
 */
import { type Change, type Commit, changeBetween, type ItemState, stateBefore } from '../state/model.js';

interface Entry {
  readonly first: Change;
  last: Change;
  count: number;
}

export class Coalesced {
  readonly #items = new Map<string, Entry>();
  #last: Commit | undefined;
  #bytes = 0;

  /** Roughly what the joined commit holds in memory. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds the next commit, and of its changes those that concern the watcher. */
  add(commit: Commit, concerns: (change: Change) => boolean): void {
    this.#last = commit;
    for (const change of commit.changes) {
      if (!concerns(change)) continue;
      const id = `${change.collection}/${change.key}`;
      const entry = this.#items.get(id);
      if (entry) {
        this.#bytes += sizeOf(change.after) - sizeOf(entry.last.after);
        entry.last = change;
        entry.count++;
      } else {
        this.#items.set(id, { first: change, last: change, count: 1 });
        this.#bytes += sizeOf(change.after) + change.formerBytes + id.length + 200;
      }
    }
  }

  /** All that was added as one commit of the last one's revision; undefined when nothing was added. */
  get commit(): Commit | undefined {
    if (!this.#last) return undefined;
    const changes: Change[] = [];
    for (const { first, last, count } of this.#items.values()) {
      const change = count === 1 ? first : joined(first, last);
      // Why an item is gone is told by what ended it, whatever happened to it before.
      if (change) changes.push(change.op === 'delete' && last.reason ? { ...change, reason: last.reason } : change);
    }
    return { ...this.#last, changes };
  }
}

function joined(first: Change, last: Change): Change | undefined {
  const change = changeBetween(first, stateBefore(first), last.after);
  if (change || !first.former || !last.after) return change;
  return { ...last, op: 'change', changed: [], removed: [], before: {}, former: first.former };
}

function sizeOf(state: ItemState | undefined): number {
  return state?.json.length ?? 0;
}
