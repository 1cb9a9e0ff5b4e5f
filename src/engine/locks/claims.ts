/**
 * What the locks of a pool hold and want, found by what it conflicts with. A lock stands in the way of another by what it
 * holds, wherever the two are in the queue, and by what it wants if it is ahead.
 */
import { comparePlaces, exclude, type Lock, type LockNode, type Part, type Place } from './lock.js';
import { RegionIndex } from './region-index.js';

export class Claims<L extends Lock> {
  readonly held = new RegionIndex<Part<L>>();
  readonly #wanted = new RegionIndex<Part<L>>();

  add(node: LockNode<L>): void {
    for (const part of node.held) this.held.add(part);
    for (const part of node.wanted) this.#wanted.add(part);
  }

  remove(node: LockNode<L>): void {
    for (const part of node.held) this.held.remove(part);
    for (const part of node.wanted) this.#wanted.remove(part);
  }

  /** Those that stand in the way of what is wanted at a place of the queue: holders first, and no more than `max`. */
  blockers(wanted: readonly Asked[], place: Place, max = Number.POSITIVE_INFINITY): Set<LockNode<L>> {
    const found = new Set<LockNode<L>>();
    gather(this.held, wanted, found, max, () => true);
    gather(this.#wanted, wanted, found, max, (other) => comparePlaces(other.place, place) < 0);
    return found;
  }

  /** The waiting locks in whose way the lock stands. */
  blockedBy(node: LockNode<L>): Set<LockNode<L>> {
    const found = new Set<LockNode<L>>();
    const max = Number.POSITIVE_INFINITY;
    gather(this.#wanted, node.held, found, max, () => true);
    gather(this.#wanted, node.wanted, found, max, (other) => comparePlaces(node.place, other.place) < 0);
    return found;
  }
}

/** A part of a request that need not be in the table. */
type Asked = Pick<Part<Lock>, 'region' | 'session' | 'mode'>;

/** A test of which locks stand in the way of one that waits. Made once and asked of many, it finds scopes by an index too. */
export function blockerTest<L extends Lock>(waiter: LockNode<L>): (node: LockNode<L>) => boolean {
  const index = new RegionIndex<Part<L>>();
  for (const part of waiter.wanted) index.add(part);
  const meets = (part: Part<L>) => index.someOverlapping(part.region, (wanted) => exclude(part, wanted));
  return (node) => node.held.some(meets) || (comparePlaces(node.place, waiter.place) < 0 && node.wanted.some(meets));
}

function gather<L extends Lock>(
  index: RegionIndex<Part<L>>,
  parts: readonly Asked[],
  found: Set<LockNode<L>>,
  max: number,
  admits: (node: LockNode<L>) => boolean,
): void {
  for (const part of parts) {
    if (found.size >= max) return;
    index.someOverlapping(part.region, (other) => {
      if (exclude(part, other) && admits(other.node)) found.add(other.node);
      return found.size >= max;
    });
  }
}
