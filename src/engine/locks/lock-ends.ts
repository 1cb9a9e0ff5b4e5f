/**
 * What becomes of a session's locks without its asking: waits and graces that are over, its end, and its being resumed by
 * another process. Part of the commands on sessions, in their drafts.
 */
import type { Draft } from '../state/draft.js';
import { putLock, removeLocks } from './granting.js';

/** Ends the waits and the graces of a session's locks that are over; answers when the next one will be. */
export function endDueLocks(draft: Draft, session: string): number | null {
  let next: number | null = null;
  const broken: string[] = [];
  const late: string[] = [];
  for (const { id, wanted, waitUntil, breakAt } of draft.locks.ofSession(session)) {
    if (breakAt !== undefined && breakAt <= draft.now) broken.push(id);
    else if (wanted && waitUntil !== undefined && waitUntil <= draft.now) late.push(id);
    for (const time of [breakAt, wanted && waitUntil])
      if (time !== undefined && time > draft.now) next = Math.min(next ?? time, time);
  }
  removeLocks(draft, broken, 'broken');
  for (const id of late) {
    // What was taken from others may have been what it waited for.
    const lock = draft.locks.get(id);
    if (!lock?.wanted) continue;
    const { wanted, waitUntil, ...rest } = lock;
    if (lock.held) putLock(draft, rest, 'timeout');
    else removeLocks(draft, [id], 'timeout');
  }
  return next;
}

/** Everything that the session holds and waits for is free. */
export function endLocks(draft: Draft, session: string, cause: 'expired' | undefined): void {
  removeLocks(
    draft,
    Array.from(draft.locks.ofSession(session), ({ id }) => id),
    cause,
  );
}

/** Whoever holds them goes on under new fences: what an older process of the session could still prove is stale. */
export function refence(draft: Draft, session: string): void {
  for (const lock of [...draft.locks.ofSession(session)])
    if (lock.held) putLock(draft, { ...lock, held: { ...lock.held, fence: draft.nextRevision } });
}
