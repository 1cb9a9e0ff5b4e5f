/**
 * Each lock is an item of the system collection `_locks`, under its id: so locks come and go by commits, in the order of
 * all others, and every node has the same ones. What the table judges by is read from these items and nowhere else.
 */
import { limits } from '../limits.js';
import type { Json } from '../state/json.js';
import type { Attributes, ItemRef, ItemState } from '../state/model.js';
import type { Held, Lock, Wanted } from './lock.js';
import { LockTable } from './lock-table.js';
import type { Mode } from './mode.js';
import type { Scope } from './scope.js';

export const LOCKS = '_locks';

/** A lock with all that its item says. Times are the database's, in ms since 1970. */
export interface LockRecord extends Lock {
  readonly subject: string;
  /** The name of its session. */
  readonly sessionName: string;
  /** When it was asked for. */
  readonly since: number;
  readonly note?: string | undefined;
  /** Tells the request that it came of from others under the same `requestId`. */
  readonly requestDigest?: string | undefined;
  /** When a waiting lock gives up. */
  readonly waitUntil?: number | undefined;
  /** When it is taken from its holder. */
  readonly breakAt?: number | undefined;
  /** The item, as the commits so far have left it; undefined for one that is about to be written. */
  readonly item: ItemState | undefined;
}

export type PoolLocks = LockTable<LockRecord>;

export function lockRef(lock: string): ItemRef {
  return { collection: LOCKS, key: lock };
}

/** What the item of a lock says. A conversion that waits is told beside what is held; and of what it waits for, whose it is. */
export function attributesOf(lock: LockRecord, waitsFor: readonly Pick<Lock, 'id' | 'session'>[]): Attributes {
  const { session, subject, held, wanted } = lock;
  const { mode, scopes } = (held ?? wanted) as Held | Wanted;
  const attributes: Attributes = {
    ...{ session, sessionName: lock.sessionName, subject, state: wanted ? 'waiting' : 'granted', mode },
    scopes: scopes as unknown as Json,
    since: timeText(lock.since),
  };
  if (held) attributes.fence = held.fence;
  if (wanted) {
    const waiting = { queued: wanted.queued, waitUntil: timeText(lock.waitUntil as number) };
    if (held) attributes.wanted = { mode: wanted.mode, scopes: wanted.scopes as unknown as Json, ...waiting };
    else Object.assign(attributes, waiting);
    const told = waitsFor.slice(0, limits.lockWaitsForTold);
    attributes.waitsFor = told.map(({ id }) => id);
    attributes.waitsForSessions = told.map(({ session }) => session);
  }
  if (lock.breakAt !== undefined) attributes.breakAt = timeText(lock.breakAt);
  if (lock.requestId !== undefined) attributes.requestId = lock.requestId;
  if (lock.requestDigest !== undefined) attributes.requestDigest = lock.requestDigest;
  if (lock.note !== undefined) attributes.note = lock.note;
  return attributes;
}

/** What the attributes of a lock's item are, as `attributesOf` made them. */
interface LockAttributes {
  readonly session: string;
  readonly sessionName: string;
  readonly subject: string;
  readonly mode: Mode;
  readonly scopes: readonly Scope[];
  readonly since: string;
  readonly fence?: number;
  readonly queued?: number;
  readonly waitUntil?: string;
  readonly wanted?: { mode: Mode; scopes: readonly Scope[]; queued: number; waitUntil: string };
  readonly breakAt?: string;
  readonly requestId?: string;
  readonly requestDigest?: string;
  readonly note?: string;
}

/** The lock that an item of `_locks` is. */
export function lockOf(id: string, item: ItemState): LockRecord {
  const told = item.attributes as unknown as LockAttributes;
  const { session, sessionName, subject, mode, scopes, fence, requestId, requestDigest, note } = told;
  const waiting = told.wanted ?? (told.queued === undefined ? undefined : (told as Required<LockAttributes>));
  return {
    ...{ id, session, sessionName, subject, item, bytes: item.json.length },
    since: Date.parse(told.since),
    ...(fence !== undefined && { held: { mode, scopes, fence } }),
    ...(waiting && {
      wanted: { mode: waiting.mode, scopes: waiting.scopes, queued: waiting.queued },
      waitUntil: Date.parse(waiting.waitUntil),
    }),
    ...(told.breakAt !== undefined && { breakAt: Date.parse(told.breakAt) }),
    ...(requestId !== undefined && { requestId, requestDigest }),
    ...(note !== undefined && { note }),
  };
}

/** Takes in what a commit made of a lock's item. What the table has seen already changes nothing. */
export function learnLock(locks: PoolLocks, id: string, item: ItemState | undefined): void {
  if (!item) {
    if (locks.get(id)) locks.remove(id);
  } else if (locks.get(id)?.item !== item) locks.put(lockOf(id, item));
}

export function emptyLocks(): PoolLocks {
  return new LockTable<LockRecord>();
}

function timeText(time: number): string {
  return new Date(time).toISOString();
}
