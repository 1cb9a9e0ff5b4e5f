/**
 * What a lock is, and the two rules of the queue: which conflict, and which is ahead. A lock holds, or wants, or both: then
 * it waits for its conversion while what it held stays. Conversions are ahead of those who hold nothing yet, because these
 * could otherwise make them wait for ever. Pure.
 */
import { compatible, type Mode } from './mode.js';
import { type Region, regionOf, type Scope } from './scope.js';

export interface Held {
  readonly mode: Mode;
  readonly scopes: readonly Scope[];
  readonly fence: number;
}

export interface Wanted {
  readonly mode: Mode;
  readonly scopes: readonly Scope[];
  /** Its place in the queue: the revision in which it was asked for. */
  readonly queued: number;
}

/** `held` only: granted. `wanted` only: a waiter. Both: a conversion that waits while the old grant stays. */
export interface Lock {
  readonly id: string;
  readonly session: string;
  readonly requestId?: string;
  /** What it takes, for a bound on what a session may have. */
  readonly bytes?: number;
  readonly held?: Held;
  readonly wanted?: Wanted;
}

/** Where a waiting lock stands in the queue of its pool. */
export interface Place {
  readonly converts: boolean;
  readonly queued: number;
  /** Decides between those that were asked for in one revision. */
  readonly id: string;
}

/** One scope of what a lock holds or wants. */
export interface Part<L extends Lock> {
  readonly region: Region;
  readonly session: string;
  readonly mode: Mode;
  readonly node: LockNode<L>;
}

/** A lock in the table, ready to be compared with others. It stays the same while its lock is replaced. */
export class LockNode<L extends Lock = Lock> {
  #lock: L;
  #held: readonly Part<L>[] = [];
  #wanted: readonly Part<L>[] = [];
  #place: Place | undefined;

  constructor(lock: L) {
    this.#lock = lock;
    this.replace(lock);
  }

  get lock(): L {
    return this.#lock;
  }

  get held(): readonly Part<L>[] {
    return this.#held;
  }

  get wanted(): readonly Part<L>[] {
    return this.#wanted;
  }

  /** Undefined: it doesn't wait. */
  get place(): Place | undefined {
    return this.#place;
  }

  replace(lock: L): void {
    this.#lock = lock;
    this.#held = this.#parts(lock.held);
    this.#wanted = this.#parts(lock.wanted);
    this.#place = lock.wanted && { converts: lock.held !== undefined, queued: lock.wanted.queued, id: lock.id };
  }

  #parts(claim: Held | Wanted | undefined): Part<L>[] {
    const { session } = this.#lock;
    return (claim?.scopes ?? []).map((scope) => ({
      region: regionOf(scope),
      session,
      mode: (claim as Held | Wanted).mode,
      node: this,
    }));
  }
}

/** Whether two parts of which the regions overlap exclude each other. */
export function exclude(
  a: { readonly session: string; readonly mode: Mode },
  b: { readonly session: string; readonly mode: Mode },
): boolean {
  return a.session !== b.session && !compatible(a.mode, b.mode);
}

/** As for Array.sort: those that don't wait first, as equals, then the queue. */
export function comparePlaces(a: Place | undefined, b: Place | undefined): number {
  if (!a || !b) return Number(a !== undefined) - Number(b !== undefined);
  if (a.converts !== b.converts) return a.converts ? -1 : 1;
  return a.queued - b.queued || (a.id < b.id ? -1 : Number(a.id > b.id));
}
