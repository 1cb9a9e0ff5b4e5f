/**
 * What a change of a lock's item tells the sessions that it is news for: that a lock they waited for is granted, that one
 * of theirs is wanted by somebody, will be broken, was broken, or that a wait has come to its end. What a session does to its own
 * locks is answered where it asks for it, and not told again. Pure: replayed from the log it is the same.
 */
import { getMember, type Json, type JsonObject } from '../state/json.js';
import type { Attributes, Change } from '../state/model.js';
import type { Replica } from '../state/replica.js';

export const LOCKS = '_locks';

export interface LockEvent {
  /** Who is told. */
  readonly session: string;
  readonly data: JsonObject;
}

/** The session that holds a lock; undefined for one that isn't held any more. */
export type HolderOf = (lock: string) => string | undefined;

export function holderOf(replica: Replica, lock: string): string | undefined {
  const attributes = replica.remembered({ collection: LOCKS, key: lock })?.state?.attributes;
  return attributes?.state === 'granted' ? (attributes.session as string) : undefined;
}

export function lockEventsOf(change: Change, holderOf: HolderOf): LockEvent[] {
  const events = ownEventsOf(change);
  for (const lock of newlyAwaited(change)) {
    const holder = holderOf(lock);
    const by = member(change, 'session') as string;
    if (holder !== undefined && holder !== by) events.push({ session: holder, data: { lock, type: 'contended', by } });
  }
  return events;
}

/** What the session of the lock itself is told. */
function ownEventsOf(change: Change): LockEvent[] {
  const session = member(change, 'session') as string;
  const told = (type: string, more: JsonObject = {}): LockEvent => ({
    session,
    data: { lock: change.key, type, ...more },
  });
  if (change.op === 'delete') {
    if (change.reason === 'broken') return [told('broken')];
    return change.reason === 'timeout' ? [told('lost', { reason: 'timeout' })] : [];
  }
  const events: LockEvent[] = [];
  const fence = member(change, 'fence');
  if (change.op === 'change' && isGrant(change)) events.push(told('granted', fence === undefined ? {} : { fence }));
  const breaksAt = change.changed.includes('breakAt') ? member(change, 'breakAt') : undefined;
  if (breaksAt !== undefined) events.push(told('expiring', { breaksAt }));
  return events;
}

/** It waited and waits no more, or what it holds was granted anew. */
function isGrant({ changed, before, after }: Change): boolean {
  const attributes = after?.attributes as Attributes;
  if (getMember(attributes, 'state') !== 'granted') return false;
  return (changed.includes('state') && getMember(before, 'state') === 'waiting') || rose(changed, before, attributes);
}

function rose(changed: readonly string[], before: Attributes, after: Attributes): boolean {
  return changed.includes('fence') && Number(getMember(after, 'fence')) > Number(getMember(before, 'fence') ?? 0);
}

/** The locks that this one waits for now and didn't before. */
function newlyAwaited({ changed, before, after }: Change): string[] {
  if (!after || !changed.includes('waitsFor')) return [];
  const former = new Set(list(getMember(before, 'waitsFor')));
  return list(getMember(after.attributes, 'waitsFor')).filter((lock) => !former.has(lock));
}

function list(value: Json | undefined): string[] {
  return Array.isArray(value) ? (value as string[]) : [];
}

/** An attribute of the lock: of one that is gone, as it was. */
function member({ before, after }: Change, name: string): Json | undefined {
  return getMember(after?.attributes ?? before, name);
}
