/**
 * What changes in the locks of a pool when one is asked for, altered or gone: who is granted next, and who waits for whom from
 * then on. Everything happens in the draft of the command that caused it, so that it is one commit with its cause.
 */
import type { Draft } from '../state/draft.js';
import type { Cause } from '../state/model.js';
import type { Held } from './lock.js';
import { attributesOf, type LockRecord, lockRef } from './lock-items.js';

/** Leaves the lock, new or altered, to the draft, and with it what follows for others. */
export function putLock(draft: Draft, lock: LockRecord, cause?: Cause): void {
  const { locks } = draft;
  const changed = locks.put(lock);
  writeItem(draft, lock, cause);
  follow(draft, changed);
}

/** Takes locks away, and grants what waited for them. */
export function removeLocks(draft: Draft, ids: readonly string[], cause?: Cause): void {
  const changed = new Set<string>();
  for (const id of ids) {
    // The item first, for the table has it.
    draft.write(lockRef(id), undefined, undefined, cause);
    for (const other of draft.locks.remove(id)) changed.add(other);
  }
  follow(draft, [...changed]);
}

/** The lock as it is once it has what it wanted. */
export function granted({ wanted, waitUntil, ...lock }: LockRecord, draft: Draft): LockRecord {
  const { mode, scopes } = wanted as NonNullable<LockRecord['wanted']>;
  const held: Held = { mode, scopes, fence: draft.nextRevision };
  return { ...lock, held };
}

/** Grants each waiting lock that waits for none any more; of the others it is told whom they wait for. */
function follow(draft: Draft, waiting: readonly string[]): void {
  const { locks } = draft;
  const queue = [...waiting];
  for (const id of queue) {
    const lock = locks.get(id);
    if (!lock?.wanted) continue;
    if (locks.isReady(id)) {
      const next = granted(lock, draft);
      queue.push(...locks.put(next));
      writeItem(draft, next);
    } else writeItem(draft, lock);
  }
}

function writeItem(draft: Draft, lock: LockRecord, cause?: Cause): void {
  const { locks } = draft;
  const ref = lockRef(lock.id);
  const waitsFor = lock.wanted ? locks.waitsFor(lock.id).map((id) => locks.get(id) as LockRecord) : [];
  draft.write(ref, attributesOf(lock, waitsFor), undefined, cause);
  const item = draft.item(ref);
  locks.put({ ...lock, item, bytes: item?.json.length ?? 0 });
}
