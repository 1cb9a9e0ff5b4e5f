/**
 * The modes of a lock, from weak to strong. `update` is for who will decide later whether to write: it stands beside readers
 * but not beside a second one of its kind, so that two that mean to become `exclusive` can't wait for each other (Gray and
 * Reuter, Transaction Processing, 7.8).
 */

export type Mode = 'shared' | 'update' | 'exclusive';

const STRENGTH: Record<Mode, number> = { shared: 0, update: 1, exclusive: 2 };

/** Whether locks of two sessions may lie on one another: unless one is exclusive or both are update. */
export function compatible(a: Mode, b: Mode): boolean {
  return STRENGTH[a] + STRENGTH[b] < 2;
}

/** Whether whoever holds the second may do all that the first allows. */
export function isWeakerOrEqual(a: Mode, b: Mode): boolean {
  return STRENGTH[a] <= STRENGTH[b];
}
