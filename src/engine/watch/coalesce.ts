/**
 * Several commits as one: for a watcher of a collection that couldn't keep up and is told the state it missed, not the way
 * there. Each item's first state before and last state after make its change; what came back to where it was isn't told.
 * Pure.
 */
import { type Change, type Commit, changeBetween, type ItemState, stateBefore } from '../state/model.js';

/** The commits, of which there is at least one, as one commit of the last one's revision. */
export function coalesce(commits: readonly Commit[], concerns: (change: Change) => boolean): Commit {
  const items = new Map<
    string,
    { first: Change; before: ItemState | undefined; after: ItemState | undefined; count: number }
  >();
  for (const { changes } of commits) {
    for (const change of changes) {
      if (!concerns(change)) continue;
      const id = `${change.collection}/${change.key}`;
      const entry = items.get(id);
      if (entry) {
        entry.after = change.after;
        entry.count++;
      } else items.set(id, { first: change, before: stateBefore(change), after: change.after, count: 1 });
    }
  }
  const changes: Change[] = [];
  for (const { first, before, after, count } of items.values()) {
    const change = count === 1 ? first : changeBetween(first, before, after);
    if (change) changes.push(change);
  }
  return { ...(commits.at(-1) as Commit), changes };
}
