/** What happens in queues by itself: holds end with their time and with the session that took, and what nobody came for is dropped. */
import { limits } from '../limits.js';
import type { IndexEntry, StoredSession } from '../ports.js';
import type { Command, Explorer, Settled } from '../state/commands.js';
import type { Draft } from '../state/draft.js';
import type { Cause, ItemRef, ItemState } from '../state/model.js';
import type { Subject } from '../subject.js';
import { hasOptions, Queue, timeText } from './queue.js';
import { entryOf, headOf, headRef, placeOf, QUEUES, type QueueRef, queueId } from './queue-items.js';
import { scanQueue } from './scan.js';

/** Does what is due in the queues of a pool, a bounded number of items at once. */
export function settleQueues(request: {
  readonly subject: Subject;
  readonly limit: number;
  /** Only what is due beyond this entry of the index. */
  readonly after: IndexEntry | undefined;
}): Command<Settled & { readonly expired: number; readonly last: IndexEntry | undefined }> {
  const { subject, limit, after } = request;
  let found: Awaited<ReturnType<Explorer['expired']>> = { keys: [], last: undefined };
  return {
    subject,
    bytes: 256,
    touches: [],
    isUpkeep: true,
    async explore(explorer) {
      found = await explorer.expired(QUEUES, limit, after);
      await explorer.load(found.keys.map((key) => ({ collection: QUEUES, key: placeOf(key).queue })));
    },
    decide(draft) {
      const queues = new Map<string, Queue>();
      // Entries first: a queue may be idle once they are gone.
      for (const key of found.keys) {
        const state = draft.item({ collection: QUEUES, key });
        if (!state || !placeOf(key).isEntry) continue;
        const entry = entryOf(state);
        const queue = queues.get(queueId(entry)) ?? new Queue(draft, entry);
        queues.set(queueId(entry), queue);
        const isLate = Date.parse(entry.keptUntil) <= draft.now;
        if (isLate) queue.remove({ collection: QUEUES, key }, 'expired');
        else queue.free({ collection: QUEUES, key }, 'expired');
      }
      for (const queue of queues.values()) queue.save();
      for (const key of found.keys) {
        const state = placeOf(key).isEntry ? undefined : draft.item({ collection: QUEUES, key });
        if (state) settleHead(draft, state);
      }
      return (settled) => ({ ...settled, expired: found.keys.length, last: found.last });
    },
  };
}

/** A queue that has been idle for long, is empty, and of which nothing was said, goes. */
function settleHead(draft: Draft, state: ItemState): void {
  const head = headOf(state);
  const idleSince = head.entries > 0 || hasOptions(head) ? draft.now : Date.parse(head.usedAt);
  const queue = new Queue(draft, head);
  const dueAt = idleSince + limits.queueIdleMs;
  queue.alter({ dueAt: timeText(dueAt) });
  if (dueAt > draft.now) queue.save();
  else queue.forget();
}

/** What a session has taken and not given back. */
export interface Held {
  readonly refs: readonly ItemRef[];
  /** Of all entries that were looked at. */
  readonly bytes: number;
}

/** Looks for what a session holds, before it is judged. */
export async function findHeld(explorer: Explorer, session: StoredSession): Promise<Held> {
  const queue = queueOfSession(session);
  await explorer.load([headRef(queue)]);
  const state = explorer.draft().item(headRef(queue));
  let held = state ? headOf(state).held : 0;
  const refs: ItemRef[] = [];
  let bytes = 0;
  if (held === 0) return { refs, bytes };
  await scanQueue(explorer, queue, (key, entryState) => {
    bytes += entryState.json.length;
    const entry = entryOf(entryState);
    if (entry.heldUntil === undefined) return true;
    if (entry.heldBy === session.id) refs.push({ collection: QUEUES, key });
    return --held > 0;
  });
  return { refs, bytes };
}

/** The session is over, or goes on elsewhere: what it has taken can be taken by others. */
export function freeHeld(draft: Draft, session: StoredSession, held: Held | undefined, cause?: Cause): void {
  if (!held || held.refs.length === 0) return;
  const queue = new Queue(draft, queueOfSession(session));
  for (const at of held.refs) queue.free(at, cause);
  queue.save();
}

/** The queue that the session's clients share. */
export function queueOfSession({ name, subject }: Pick<StoredSession, 'name' | 'subject'>): QueueRef {
  return { session: name, owner: subject };
}
