/**
 * What a watcher may see of a pool by the policy of one revision, and a change as it looks to them: made of what they saw of the
 * item before and what they see after, so that a change of what is hidden is none, and an item that comes into sight is new.
 * Replayed from the log it is what it was live. Pure.
 */
import type { Entitlement } from '../access/entitlement.js';
import { clear, type Lens } from '../access/lens.js';
import { additionOf, CHANGES, type LogAddition } from '../state/log-items.js';
import { type Change, type Commit, changeBetween } from '../state/model.js';
import { formerOf } from './former.js';

export interface Sight {
  /** Equal for those who see the same of what is watched. */
  readonly id: string;
  lens(collection: string): Lens;
  /** What may be told of a commit of a former revision, of who sees commits as items; absent where that is all. */
  readonly past?: (revision: number) => Promise<PastSight>;
}

/** What may be told of a former commit: of the items before it, and after it. */
export interface PastSight {
  readonly before: Sight;
  readonly after: Sight;
}

/** Of who is bound by nothing. */
export const openSight: Sight = { id: '', lens: () => clear };

/** What is seen of a collection, or without one of all. */
export function sightOf(entitlement: Entitlement, action: 'read' | 'watch', collection?: string): Sight {
  if (entitlement.isUnbound) return openSight;
  // A commit as an item tells of all collections.
  const id =
    collection === undefined || collection === CHANGES
      ? entitlement.idOf(action)
      : idOfLens(entitlement.lens(action, collection));
  return { id, lens: (name) => entitlement.lens(action, name) };
}

function idOfLens({ kind, id }: Lens): string {
  return kind === 'everything' ? '' : id;
}

/** The change as it is seen; undefined where nothing of it is. `before` is how the item was seen, where that was otherwise. */
export function seenChange(sight: Sight, change: Change, before: Sight = sight): Change | undefined {
  const lens = sight.lens(change.collection);
  if (change.collection === CHANGES && sight !== openSight) return seenAddition(sight, lens, change as LogAddition);
  const formerLens = before.lens(change.collection);
  if (lens.kind === formerLens.kind && lens.kind !== 'part') return lens.kind === 'everything' ? change : undefined;
  const { key, after } = change;
  const former = formerOf(change);
  const was = former && formerLens.see(key, former);
  const is = after && lens.see(key, after);
  if (was === former && is === after) return change;
  const seen = changeBetween(change, was, is);
  if (!seen) return undefined;
  if (former && !was) return { ...seen, reason: 'entered' };
  if (after && !is) return { ...seen, reason: 'left' };
  return change.reason ? { ...seen, reason: change.reason } : seen;
}

function seenAddition(sight: Sight, lens: Lens, { commit }: LogAddition): Change | undefined {
  const change = additionOf(seenCommit(sight, commit));
  const is = change.after && lens.see(change.key, change.after);
  return is && changeBetween(change, undefined, is);
}

/** The commit with what is seen of its changes. */
export function seenCommit(sight: Sight, commit: Commit, before: Sight = sight): Commit {
  if (sight === openSight && before === openSight) return commit;
  const changes = commit.changes.flatMap((change) => seenChange(sight, change, before) ?? []);
  return { ...commit, changes };
}
