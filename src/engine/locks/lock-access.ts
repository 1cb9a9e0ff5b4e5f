/**
 * What policy says of locks: who may lock what, who may break a lock, and what a refusal tells of the locks of others. The scopes of
 * a lock name items, so that they are told only to its own subject and to those who may read it in `_locks`. Pure.
 */
import { type AccessGuard, forbidden } from '../access/access-guard.js';
import type { ItemRef, ItemState } from '../state/model.js';
import { ownerOf, type Subject } from '../subject.js';
import { LOCKS, type LockRecord } from './lock-items.js';
import { regionOf, type Scope } from './scope.js';

/** A draft, as far as it matters here. */
interface Judged {
  readonly access: AccessGuard;
  seen(ref: ItemRef): ItemState | undefined;
}

/** The items that have to be looked at to judge whether their subject may lock them. */
export function itemsOfScopes(scopes: readonly Scope[]): ItemRef[] {
  return scopes.flatMap(({ collection, key }) =>
    collection === undefined || key === undefined ? [] : [{ collection, key }],
  );
}

/** Refuses scopes of which the subject may not lock all. */
export function checkScopesOf(draft: Judged, scopes: readonly Scope[]): void {
  if (draft.access.isUnbound) return;
  for (const scope of scopes) {
    const { collection, key, attributes } = scope;
    // An item that they don't see is to them as if it weren't there.
    const state = collection === undefined || key === undefined ? undefined : draft.seen({ collection, key });
    const part = {
      collection,
      attributes,
      range: regionOf(scope).range,
      item: state && key !== undefined ? { key, state } : undefined,
    };
    draft.access.checkLock(part, JSON.stringify(scope));
  }
}

/** Refuses who may not break a lock: that takes its own subject, or who administers all that it lies on. */
export function checkBreaker({ access }: Judged, { subject, held, wanted }: LockRecord, asker: Subject): void {
  if (subject === ownerOf(asker)) return;
  const scopes = [...(held?.scopes ?? []), ...(wanted?.scopes ?? [])];
  if (scopes.every(({ collection }) => access.entitlement.decideAdmin(collection).allow)) return;
  // What it lies on isn't told.
  throw forbidden('You may not break this lock: that takes its session, or who administers all that it lies on.');
}

/** Whether a refusal may tell the subject of the lock. */
export function mayTell(access: AccessGuard, lock: LockRecord, subject: Subject): boolean {
  if (access.isUnbound || lock.subject === ownerOf(subject)) return true;
  const seen = lock.item && access.entitlement.lens('read', LOCKS).see(lock.id, lock.item);
  return seen !== undefined && seen === lock.item;
}
