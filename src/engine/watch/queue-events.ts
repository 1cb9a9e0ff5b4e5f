/**
 * What a change of a queue's entry tells the clients that share the queue: that it came, that somebody has taken it, that it can be
 * taken again, was altered, is done with, or was dropped. Pure: replayed from the log it is the same.
 */
import { limits } from '../limits.js';
import { type Entry, placeOf, QUEUES } from '../queues/queue-items.js';
import { getMember, type Json, type JsonObject } from '../state/json.js';
import type { Change } from '../state/model.js';

export interface QueueEvent {
  /** Of which queue. */
  readonly queue: string;
  readonly data: JsonObject;
  /** The same without what takes much room, for who is far behind. */
  readonly brief: JsonObject;
}

/** Undefined where there is nothing to tell: of what isn't an entry. */
export function queueEventOf(change: Change): QueueEvent | undefined {
  if (change.collection !== QUEUES) return undefined;
  const { queue, isEntry } = placeOf(change.key);
  const news = isEntry ? newsOf(change) : undefined;
  if (!news) return undefined;
  const brief = { ...news, delivery: member(change, 'delivery') ?? null, notifier: member(change, 'notifier') ?? null };
  return { queue, brief, data: { ...brief, ...eventOf(change) } };
}

function newsOf({ op, changed, after, reason }: Change): JsonObject | undefined {
  if (op === 'add') return { type: 'added' };
  if (op === 'delete') {
    if (reason === undefined) return { type: 'acked' };
    // What its owner wanted to be dropped has no reason beyond that.
    return { type: 'dropped', ...(reason !== 'dropped' && { reason }) };
  }
  const { heldUntil, heldBy } = (after?.attributes ?? {}) as unknown as Entry;
  if (changed.includes('heldUntil') && heldUntil !== undefined)
    return { type: 'taken', heldUntil, ...(heldBy !== undefined && { by: heldBy }) };
  if (changed.includes('heldUntil')) return { type: 'freed', ...(reason && { reason }) };
  return changed.includes('event') ? { type: 'edited' } : undefined;
}

/** The event itself where it is new and small. */
function eventOf({ op, changed, after }: Change): JsonObject {
  const { event, bytes } = (after?.attributes ?? {}) as unknown as Entry;
  const isNews = op === 'add' || (op === 'change' && changed.includes('event'));
  return isNews && event !== undefined && bytes <= limits.queueEventToldBytesMax ? { event } : {};
}

/** An attribute of the entry: of one that is gone, as it was. */
function member({ before, after }: Change, name: string): Json | undefined {
  return getMember(after?.attributes ?? before, name);
}
