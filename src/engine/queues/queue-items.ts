/**
 * Queues as items of `_queues`. A queue belongs to the name of a session and to the subject whose sessions of that name it is for, not
 * to one life of a session: what is in it waits while nobody is there, and who else takes the name finds another queue.
 *
 * A queue has one item that says how much is in it and what its owner wants of it, its *head*, and one for each entry. The key of an
 * entry follows from its delivery, so that it is found by that, lies where its commit is in the pool's order, and is there once.
 */
import { createHash } from 'node:crypto';
import type { Json, JsonObject } from '../state/json.js';
import { type KeyRange, rangeOf } from '../state/key-order.js';
import type { ItemRef, ItemState } from '../state/model.js';

export const QUEUES = '_queues';

/** The attribute that says when the sweep has to look at an item of `_queues`; the collection has an index of it. */
export const DUE_AT = 'dueAt';

/** Which queue. */
export interface QueueRef {
  /** The name of the session. */
  readonly session: string;
  /** Whose: as sessions and locks have it (`ownerOf`). */
  readonly owner: string;
}

/** What becomes of a delivery to a queue that is full: the oldest entries make room for it, or it has to wait. */
export type Overflow = 'dropOldest' | 'refuse';

export interface QueueOptions {
  readonly overflow?: Overflow | undefined;
  /** Of entries that are about one item only the newest is kept. */
  readonly dropDuplicates?: boolean | undefined;
  readonly entriesMax?: number | undefined;
  /** How long an entry is kept for somebody to come. */
  readonly keepMs?: number | undefined;
}

/** A queue's head: its attributes. */
export interface Head extends QueueRef, QueueOptions {
  readonly entries: number;
  /** Of the entries' events. */
  readonly bytes: number;
  /** Entries that somebody has taken. */
  readonly held: number;
  /** Entries that were lost: they had to make room, or nobody came in time. */
  readonly dropped: number;
  /** When something was enqueued for the last time. */
  readonly usedAt: string;
  /** Of notifiers, how far what they deliver in one go has been enqueued. */
  readonly series?: Readonly<Record<string, readonly [series: string, revision: number]>> | undefined;
  readonly dueAt: string;
}

/** An entry: its attributes. */
export interface Entry extends QueueRef {
  readonly delivery: string;
  readonly notifier: string;
  /** What the notifier tells; absent where it was too large. */
  readonly event?: JsonObject | undefined;
  /** The item that it is about, where it is about one: collection and key. */
  readonly about?: string | undefined;
  /** Of the event. */
  readonly bytes: number;
  readonly enqueuedAt: string;
  /** When its owner altered it. */
  readonly editedAt?: string | undefined;
  /** How often it was taken. */
  readonly takes: number;
  /** Until when it is for who took it alone. */
  readonly heldUntil?: string | undefined;
  /** The session that took it; absent where none was named. */
  readonly heldBy?: string | undefined;
  /** When nobody will have come in time. */
  readonly keptUntil: string;
  /** When it is to be freed or dropped, whichever is earlier. */
  readonly dueAt: string;
}

/** Names a queue, and begins the keys of all of its items. */
export function queueId({ session, owner }: QueueRef): string {
  return `${session}/${digest(owner)}`;
}

export function headRef(queue: QueueRef): ItemRef {
  return { collection: QUEUES, key: queueId(queue) };
}

/** Where the entries of a queue lie. */
export function entryRange(queue: QueueRef): KeyRange {
  return rangeOf({ prefix: entryPrefix(queue) });
}

/** What the keys of a queue's entries begin with. */
export function entryPrefix(queue: QueueRef): string {
  return `${queueId(queue)}/`;
}

/** The revision at the end of a delivery's id, by which the entries of all notifiers are in one order. */
const DELIVERY = /^.+-(\d{1,16})$/;
const REVISION_DIGITS = 16;

/** The revision that a delivery is of; undefined where no delivery is called so. */
export function revisionOf(delivery: string): number | undefined {
  const revision = Number(DELIVERY.exec(delivery)?.[1] ?? Number.NaN);
  return Number.isSafeInteger(revision) ? revision : undefined;
}

/** Where the entry of a delivery is, if it is there; undefined where no delivery is called so. */
export function deliveryRef(queue: QueueRef, delivery: string): ItemRef | undefined {
  const revision = revisionOf(delivery);
  if (revision === undefined) return undefined;
  const place = String(revision).padStart(REVISION_DIGITS, '0');
  return { collection: QUEUES, key: `${entryPrefix(queue)}${place}-${digest(delivery)}` };
}

/** The queue that an item of `_queues` belongs to, and whether it is an entry of it. */
export function placeOf(key: string): { readonly queue: string; readonly isEntry: boolean } {
  const slash = key.indexOf('/', key.indexOf('/') + 1);
  return slash < 0 ? { queue: key, isEntry: false } : { queue: key.slice(0, slash), isEntry: true };
}

export function headOf({ attributes }: ItemState): Head {
  return attributes as unknown as Head;
}

export function entryOf({ attributes }: ItemState): Entry {
  return attributes as unknown as Entry;
}

/** Whether somebody has the entry to themselves. */
export function isHeld({ heldUntil }: Entry, now: number): boolean {
  return heldUntil !== undefined && Date.parse(heldUntil) > now;
}

/** The item that an event is about, where its commit changed only one. */
export function aboutOf(event: JsonObject): string | undefined {
  const changes = (event.data as JsonObject | undefined)?.changes as Json | undefined;
  if (!Array.isArray(changes) || changes.length !== 1) return undefined;
  const { collection, key } = changes[0] as JsonObject;
  return typeof collection === 'string' && typeof key === 'string' ? `${collection}/${key}` : undefined;
}

/** Long enough that nobody finds another owner or delivery with it. */
const DIGEST_LENGTH = 22;

function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, DIGEST_LENGTH);
}
