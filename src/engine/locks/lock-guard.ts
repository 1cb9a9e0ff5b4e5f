/**
 * Where locks are enforced: what a command would write, against what sessions hold that it doesn't speak for. Whatever the
 * command is, its changes come by here before they are accepted. Pure.
 */
import { Problem } from '../errors.js';
import { DICTIONARY } from '../state/collections.js';
import type { Change, ItemRef } from '../state/model.js';
import type { Held } from './lock.js';
import type { LockRecord, PoolLocks } from './lock-items.js';
import { regionOf, type Scope } from './scope.js';

export class LockGuard {
  readonly #speakers = new Set<string>();

  constructor(
    private readonly locks: PoolLocks,
    /** Whether a refusal may tell the writer of the lock. */
    private readonly mayTell: (lock: LockRecord) => boolean,
  ) {}

  /** The command is by this session, too. */
  admit(session: string): void {
    this.#speakers.add(session);
  }

  /** Refuses a change of what another session has locked. */
  check({ collection, key, changed: names, op }: Pick<Change, 'collection' | 'key' | 'changed' | 'op'>): void {
    if (this.locks.size === 0) return;
    const lock = this.locks.refusing({ collection, key, names }, this.#speakers);
    if (lock) throw this.#locked(`${collection}/${key}`, lock);
    if (collection !== DICTIONARY) return;
    // What is said of a collection is the whole collection's, and without its entry nothing of it is there.
    if (op === 'delete') this.checkScope({ collection: key });
    else this.checkWhole(key);
  }

  /** Refuses a change that no lock of the command's sessions covers. */
  checkCovered({ collection, key, changed: names }: Change): void {
    if (this.locks.holds({ collection, key, names }, this.#speakers)) return;
    throw new Problem(
      'locked',
      `${collection}/${key} is only written under a lock, says the dictionary. Take one with POST P/locks, and name its session in Stargus-Session.`,
      { retryable: false },
    );
  }

  /** Refuses what would be done to everything in the scope, where another session has locked a part of it. */
  checkScope(scope: Scope): void {
    const lock = this.locks.overlapping(regionOf(scope), this.#speakers);
    if (lock) throw this.#locked('A part of this', lock);
  }

  /** Refuses what is done to the collection as such, or to the pool, where another session has locked it as a whole. */
  checkWhole(collection?: string): void {
    const lock = this.locks.wholly(collection, this.#speakers);
    if (lock) throw this.#locked(collection === undefined ? 'The pool' : `The collection ${collection}`, lock);
  }

  /** Whether another session has locked the item, or one of the names. */
  isLocked({ collection, key }: ItemRef, names: readonly string[]): boolean {
    return this.locks.refusing({ collection, key, names }, this.#speakers) !== undefined;
  }

  #locked(what: string, lock: LockRecord): Problem {
    const headers = { 'retry-after': '1' };
    const { id, session, sessionName, note } = lock;
    const { mode, fence } = lock.held as Held;
    if (!this.mayTell(lock))
      return new Problem('locked', `${what} is locked by another session.`, {
        members: { locks: [{ mode }] },
        headers,
      });
    return new Problem('locked', `${what} is locked by the session ${JSON.stringify(sessionName)}.`, {
      members: { locks: [{ lock: id, session, sessionName, mode, fence, note }] },
      headers,
    });
  }
}
