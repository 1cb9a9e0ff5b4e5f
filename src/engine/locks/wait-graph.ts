/**
 * Which lock waits for which. A waiting lock waits for all that stand in its way (claims.ts), but an edge that follows from
 * others is left out: in a queue each waits for the one before it, and a release touches only the next.
 *
 * What stands in a lock's way and is ahead of it, or doesn't wait at all, is **below** it. Such edges close no cycle, so what
 * remains of them when those that follow from others are left out is one graph only (Aho, Garey and Ullman, The Transitive
 * Reduction of a Directed Graph, 1972): it depends on the locks that there are, not on how they came. The other edges lead
 * from a conversion to what a later conversion holds. They may close cycles, so they are all there and nothing follows from
 * them.
 */
import { Multimap } from '../state/multimap.js';
import { blockerTest, type Claims } from './claims.js';
import { comparePlaces, type Lock, type LockNode, type Place } from './lock.js';

export class WaitGraph<L extends Lock> {
  readonly #claims: Claims<L>;
  readonly #targets = new Multimap<LockNode<L>, LockNode<L>>();
  readonly #waiters = new Multimap<LockNode<L>, LockNode<L>>();
  #edges = 0;
  /** The ends of the edges that came or went since the last look, by where these begin. What came and went is as before. */
  #changes = new Map<LockNode<L>, Set<LockNode<L>>>();

  constructor(claims: Claims<L>) {
    this.#claims = claims;
  }

  get edges(): number {
    return this.#edges;
  }

  /** What the lock waits for. */
  targetsOf(node: LockNode<L>): ReadonlySet<LockNode<L>> {
    return this.#targets.get(node) ?? NONE;
  }

  /** Called when the lock's claims are in. */
  add(node: LockNode<L>): void {
    if (node.place) this.#standBehind(node, this.#claims.blockers(node.wanted, node.place));
    const later: LockNode<L>[] = [];
    for (const waiter of this.#claims.blockedBy(node)) {
      if (isBelow(node, waiter)) later.push(waiter);
      else this.#link(waiter, node);
    }
    this.#standBefore(node, later.sort(inQueueOrder));
  }

  /** Called when the lock's claims are out. */
  remove(node: LockNode<L>): void {
    const below = [...this.#below(node)];
    const above = [...this.#above(node)];
    for (const target of [...this.targetsOf(node)]) this.#unlink(node, target);
    for (const waiter of [...(this.#waiters.get(node) ?? NONE)]) this.#unlink(waiter, node);
    if (below.length > 0) this.#mend(above, below);
  }

  /** The locks that wait for others than at the last call. */
  takeChanged(): LockNode<L>[] {
    const changed = [...this.#changes].filter(([, ends]) => ends.size > 0).map(([node]) => node);
    this.#changes = new Map();
    return changed;
  }

  #standBehind(node: LockNode<L>, blockers: Iterable<LockNode<L>>): void {
    const below: LockNode<L>[] = [];
    for (const blocker of blockers) {
      if (isBelow(blocker, node)) below.push(blocker);
      else this.#link(node, blocker);
    }
    for (const blocker of this.#essential(below)) this.#link(node, blocker);
  }

  /** `waiters`, in the order of the queue, have the lock in their way: those that don't reach it yet get an edge to it. */
  #standBefore(node: LockNode<L>, waiters: readonly LockNode<L>[]): void {
    const reaching = new Set<LockNode<L>>();
    for (const waiter of waiters) {
      if (reaching.has(waiter)) continue;
      this.#link(waiter, node);
      walk(waiter, reaching, (each) => this.#above(each));
    }
    if (reaching.size === 0 || !node.place) return;
    const reached = new Set<LockNode<L>>();
    this.#reach(node, undefined, reached);
    // Whoever reaches the lock since now needs no edge to what that reaches.
    for (const waiter of reaching) {
      for (const target of [...this.targetsOf(waiter)]) {
        if (target !== node && reached.has(target)) this.#unlink(waiter, target);
      }
    }
  }

  /**
   * A lock is gone, through which those above it reached what was below it. Who has that in its way gets edges to it; where
   * these give back all that was reached, nobody further up lost anything.
   */
  #mend(above: Iterable<LockNode<L>>, below: readonly LockNode<L>[]): void {
    const queue = [...above];
    const seen = new Set(queue);
    while (queue.length > 0) {
      queue.sort(inQueueOrder);
      const waiter = queue.shift() as LockNode<L>;
      if (this.#mendOne(waiter, below)) continue;
      for (const next of this.#above(waiter)) {
        if (seen.has(next)) continue;
        seen.add(next);
        queue.push(next);
      }
    }
  }

  /** True if the waiter reaches all of `below`. */
  #mendOne(waiter: LockNode<L>, below: readonly LockNode<L>[]): boolean {
    const present = [...this.#below(waiter)];
    if (below.every(blockerTest(waiter))) {
      this.#relink(waiter, present, this.#essential([...new Set([...present, ...below])]));
      return true;
    }
    const place = waiter.place as Place;
    const blockers = [...this.#claims.blockers(waiter.wanted, place)].filter((blocker) => isBelow(blocker, waiter));
    this.#relink(waiter, present, this.#essential(blockers));
    const reached = new Set<LockNode<L>>();
    this.#reach(waiter, foremost(below), reached);
    return below.every((node) => reached.has(node));
  }

  #relink(waiter: LockNode<L>, present: readonly LockNode<L>[], wanted: readonly LockNode<L>[]): void {
    const kept = new Set(wanted);
    for (const target of present) if (!kept.delete(target)) this.#unlink(waiter, target);
    for (const target of kept) this.#link(waiter, target);
  }

  /** Of locks below one: those that it would not wait for anyway through another of them. */
  #essential(nodes: LockNode<L>[]): readonly LockNode<L>[] {
    if (nodes.length < 2) return nodes;
    const front = foremost(nodes);
    const [latest, ...others] = nodes.sort((a, b) => inQueueOrder(b, a)) as [LockNode<L>, ...LockNode<L>[]];
    const essential = [latest];
    const isInItsWay = blockerTest(latest);
    const reached = new Set<LockNode<L>>();
    let walked = 0;
    for (const node of others) {
      // In a queue this is all that there is to be seen.
      if (isInItsWay(node)) continue;
      while (walked < essential.length) this.#reach(essential[walked++] as LockNode<L>, front, reached);
      if (!reached.has(node)) essential.push(node);
    }
    return essential;
  }

  /** Adds the lock and what it reaches downwards, as far as it isn't ahead of `front`. */
  #reach(node: LockNode<L>, front: LockNode<L> | undefined, reached: Set<LockNode<L>>): void {
    walk(node, reached, (each) => (front && inQueueOrder(each, front) <= 0 ? NONE : this.#below(each)));
  }

  /** Only conversions have edges that don't lead downwards. */
  #below(node: LockNode<L>): Iterable<LockNode<L>> {
    const targets = this.targetsOf(node);
    return node.place?.converts ? [...targets].filter((target) => isBelow(target, node)) : targets;
  }

  #above(node: LockNode<L>): Iterable<LockNode<L>> {
    const waiters = this.#waiters.get(node) ?? NONE;
    return node.place?.converts ? [...waiters].filter((waiter) => isBelow(node, waiter)) : waiters;
  }

  #link(waiter: LockNode<L>, target: LockNode<L>): void {
    if (!this.targetsOf(waiter).has(target)) this.#edges++;
    this.#targets.add(waiter, target);
    this.#waiters.add(target, waiter);
    this.#note(waiter, target);
  }

  #unlink(waiter: LockNode<L>, target: LockNode<L>): void {
    if (this.targetsOf(waiter).has(target)) this.#edges--;
    this.#targets.delete(waiter, target);
    this.#waiters.delete(target, waiter);
    this.#note(waiter, target);
  }

  #note(waiter: LockNode<L>, target: LockNode<L>): void {
    let ends = this.#changes.get(waiter);
    if (!ends) {
      ends = new Set();
      this.#changes.set(waiter, ends);
    }
    if (!ends.delete(target)) ends.add(target);
  }
}

const NONE: ReadonlySet<never> = new Set<never>();

/** Whether of two locks, of which the second waits, the first is ahead or doesn't wait. */
function isBelow(node: LockNode, waiter: LockNode): boolean {
  return inQueueOrder(node, waiter) < 0;
}

export function inQueueOrder(a: LockNode, b: LockNode): number {
  return comparePlaces(a.place, b.place);
}

function foremost<N extends LockNode>(nodes: readonly N[]): N | undefined {
  return nodes.reduce<N | undefined>(
    (first, node) => (first && inQueueOrder(first, node) <= 0 ? first : node),
    undefined,
  );
}

/** Visits a node and all that `next` leads to, but for those visited before. */
function walk<N>(from: N, visited: Set<N>, next: (node: N) => Iterable<N>): void {
  const open = [from];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    if (visited.has(node)) continue;
    visited.add(node);
    for (const each of next(node)) open.push(each);
  }
}
