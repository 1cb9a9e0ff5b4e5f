/**
 * All locks of a pool, held and waiting, in memory: who waits for whom, who may write where, and whether a new wait would
 * close a cycle. Pure: what it answers depends on the locks that it holds and not on the order in which they came, so that
 * every node, and one that has just read them, judges alike. It decides nothing: that a lock which waits for none becomes
 * granted is a commit's business, like everything else that changes a lock.
 */
import { isDeepStrictEqual } from 'node:util';
import { Multimap } from '../state/multimap.js';
import { Claims } from './claims.js';
import { type Held, type Lock, LockNode, type Wanted } from './lock.js';
import type { Mode } from './mode.js';
import { type Region, regionOf, type Scope } from './scope.js';
import { inQueueOrder, WaitGraph } from './wait-graph.js';

/** What a commit would write of an item; without names it is that the item comes or goes. */
export interface Write {
  readonly collection: string;
  readonly key: string;
  readonly names: readonly string[];
}

/** What a session asks for. */
export interface LockRequest {
  readonly id: string;
  readonly session: string;
  readonly mode: Mode;
  readonly scopes: readonly Scope[];
  readonly queued: number;
  readonly converts: boolean;
}

export class LockTable<L extends Lock = Lock> {
  readonly #nodes = new Map<string, LockNode<L>>();
  readonly #claims = new Claims<L>();
  readonly #graph = new WaitGraph(this.#claims);
  readonly #sessions = new Multimap<string, LockNode<L>>();
  readonly #waiting = new Multimap<string, LockNode<L>>();
  readonly #requests = new Map<string, LockNode<L>>();
  readonly #bytes = new Map<string, number>();
  #allBytes = 0;
  #waits = 0;
  /** What was there before each change since the first mark. */
  #journal: { id: string; before: L | undefined }[] | undefined;

  get size(): number {
    return this.#nodes.size;
  }

  /** What all locks take together. */
  get bytes(): number {
    return this.#allBytes;
  }

  /** How many pairs of a waiting lock and one that it waits for there are. */
  get edges(): number {
    return this.#graph.edges;
  }

  /** How many locks wait, conversions among them. */
  get waiting(): number {
    return this.#waits;
  }

  get(id: string): L | undefined {
    return this.#nodes.get(id)?.lock;
  }

  /** A lock may be removed while they are walked. */
  *ofSession(session: string): Iterable<L> {
    for (const node of this.#sessions.get(session) ?? []) yield node.lock;
  }

  countOf(session: string): number {
    return this.#sessions.get(session)?.size ?? 0;
  }

  /** What the locks of a session take together. */
  bytesOf(session: string): number {
    return this.#bytes.get(session) ?? 0;
  }

  byRequest(session: string, requestId: string): L | undefined {
    return this.#requests.get(requestName(session, requestId))?.lock;
  }

  /**
   * Sets or replaces a lock. Answers the waiting locks that wait for others than before, and the lock itself if it waits,
   * in the order of the queue.
   */
  put(lock: L): string[] {
    this.#journal?.push({ id: lock.id, before: this.get(lock.id) });
    this.#set(lock.id, lock);
    return this.#takeChanged(this.#nodes.get(lock.id));
  }

  /** Answers as `put` does. */
  remove(id: string): string[] {
    this.#journal?.push({ id, before: this.get(id) });
    this.#set(id, undefined);
    return this.#takeChanged();
  }

  /** Whether a waiting lock waits for none, so that it can be granted now. */
  isReady(id: string): boolean {
    const node = this.#nodes.get(id);
    return node?.place !== undefined && this.#graph.targetsOf(node).size === 0;
  }

  /**
   * The locks that a waiting one waits for, without those that it waits for anyway through another of them that is ahead of
   * it. Empty: it can be granted now. In the order of their ids.
   */
  waitsFor(id: string): readonly string[] {
    const node = this.#nodes.get(id);
    return node ? [...this.#graph.targetsOf(node)].map(({ lock }) => lock.id).sort() : [];
  }

  /** What stands in the way of a request, in the table or not yet: what others hold, then what they want ahead of it. */
  blockers(request: LockRequest, max: number): L[] {
    const { session, mode, scopes } = request;
    const wanted = scopes.map((scope) => ({ region: regionOf(scope), session, mode }));
    return [...this.#claims.blockers(wanted, request, max)].map(({ lock }) => lock);
  }

  /**
   * The sessions of a cycle of waits that the waiting lock is part of: its own, the one that it waits for, and so on to one
   * that waits for its own. Of the cycles that there are one of the shortest by `waitsFor`.
   */
  cycle(id: string): string[] | undefined {
    const node = this.#nodes.get(id);
    return node && this.#wayBack([node], node.lock.session);
  }

  /** The same of a session, by whichever of its locks. */
  cycleOf(session: string): string[] | undefined {
    return this.#wayBack(this.#waiting.get(session) ?? [], session);
  }

  #wayBack(from: Iterable<LockNode<L>>, own: string): string[] | undefined {
    /** Each session that was come to, with the one that waits for it. */
    const cameFrom = new Map<string, string>();
    let reached = this.#newlyReached(from, own, cameFrom);
    while (reached.length > 0 && !cameFrom.has(own)) {
      reached = reached.flatMap((session) => this.#newlyReached(this.#waiting.get(session) ?? [], session, cameFrom));
    }
    return cameFrom.has(own) ? wayTo(own, cameFrom) : undefined;
  }

  /** A lock that another session holds on the item, or of it on one of the names. Undefined: it may be written. */
  refusing(write: Write, sessions: ReadonlySet<string>): L | undefined {
    if (!this.#claims.held.has(write.collection, write.key)) return undefined;
    const { collection, key, names: attributes } = write;
    return this.overlapping(regionOf({ collection, key, attributes }), sessions);
  }

  /** A lock that another session holds on a part of the region, such as a collection that is to be dropped. */
  overlapping(region: Region, sessions: ReadonlySet<string>): L | undefined {
    let found: L | undefined;
    this.#claims.held.someOverlapping(region, ({ session, node }) => {
      if (!sessions.has(session)) found = node.lock;
      return found !== undefined;
    });
    return found;
  }

  /** A lock of another session that is held on the whole collection, or without a name on the whole pool, with all attributes. */
  wholly(collection: string | undefined, sessions: ReadonlySet<string>): L | undefined {
    let found: L | undefined;
    this.#claims.held.someOverlapping(regionOf(collection === undefined ? {} : { collection }), (part) => {
      const { region, session, node } = part;
      const isWhole = !region.attributes && (region.range.start ?? '') === '' && region.range.end === undefined;
      if (isWhole && !sessions.has(session) && (collection !== undefined || region.collection === undefined))
        found = node.lock;
      return found !== undefined;
    });
    return found;
  }

  /** Whether what the sessions hold covers the write, if only together: each of its names or, where it has none, the item. */
  holds({ collection, key, names }: Write, sessions: ReadonlySet<string>): boolean {
    const held = new Set<string>();
    const whole = this.#claims.held.someOverlapping(regionOf({ collection, key }), ({ session, region }) => {
      if (!sessions.has(session)) return false;
      for (const name of region.attributes ?? []) held.add(name);
      return region.attributes === undefined;
    });
    return whole || (names.length > 0 && names.every((name) => held.has(name)));
  }

  /** From here on every change can be undone, until `settle`. */
  mark(): number {
    this.#journal ??= [];
    return this.#journal.length;
  }

  /** Undoes every put and remove since the mark. */
  rollback(mark: number): void {
    const undone = this.#journal?.splice(mark) ?? [];
    for (const { id, before } of undone.reverse()) this.#set(id, before);
    this.#graph.takeChanged();
  }

  /** Keeps all changes; the marks are forgotten. */
  settle(): void {
    this.#journal = undefined;
  }

  #set(id: string, lock: L | undefined): void {
    const node = this.#nodes.get(id);
    if (!node) {
      if (lock) this.#enter(new LockNode(lock));
    } else if (lock && (claimsAlike(lock, node.lock) || this.#isGrant(node, lock))) {
      this.#unlist(node);
      node.replace(lock);
      this.#list(node);
    } else {
      this.#unlist(node);
      this.#graph.remove(node);
      if (!lock) return;
      node.replace(lock);
      this.#enter(node);
    }
  }

  /**
   * Whether a waiter that waits for none becomes the holder of what it wanted: nobody ahead of it conflicts with it, and
   * those behind stay behind, so no edge changes.
   */
  #isGrant(node: LockNode<L>, { session, held, wanted }: L): boolean {
    const before = node.lock;
    if (before.held || wanted || session !== before.session || this.#graph.targetsOf(node).size > 0) return false;
    return isDeepStrictEqual(claimOf(before.wanted), claimOf(held));
  }

  #enter(node: LockNode<L>): void {
    this.#list(node);
    this.#graph.add(node);
  }

  #list(node: LockNode<L>): void {
    const { id, session, requestId } = node.lock;
    this.#nodes.set(id, node);
    this.#sessions.add(session, node);
    this.#weigh(session, node.lock.bytes ?? 0);
    if (requestId !== undefined) this.#requests.set(requestName(session, requestId), node);
    if (node.place) {
      this.#waiting.add(session, node);
      this.#waits++;
    }
    this.#claims.add(node);
  }

  #unlist(node: LockNode<L>): void {
    const { id, session, requestId } = node.lock;
    this.#nodes.delete(id);
    this.#sessions.delete(session, node);
    this.#weigh(session, -(node.lock.bytes ?? 0));
    if (requestId !== undefined) this.#requests.delete(requestName(session, requestId));
    if (this.#waiting.delete(session, node)) this.#waits--;
    this.#claims.remove(node);
  }

  #weigh(session: string, bytes: number): void {
    this.#allBytes += bytes;
    const sum = this.bytesOf(session) + bytes;
    if (sum > 0) this.#bytes.set(session, sum);
    else this.#bytes.delete(session);
  }

  #takeChanged(itself?: LockNode<L>): string[] {
    const changed = new Set(this.#graph.takeChanged());
    if (itself) changed.add(itself);
    const waiting = [...changed].filter((node) => node.place && this.#nodes.get(node.lock.id) === node);
    return waiting.sort(inQueueOrder).map(({ lock }) => lock.id);
  }

  /** The sessions that the locks, all of one session, wait for and that nobody came to yet: by name, for a stable answer. */
  #newlyReached(locks: Iterable<LockNode<L>>, session: string, cameFrom: Map<string, string>): string[] {
    const reached = new Set<string>();
    for (const node of locks) {
      for (const target of this.#graph.targetsOf(node)) {
        if (!cameFrom.has(target.lock.session)) reached.add(target.lock.session);
      }
    }
    for (const other of reached) cameFrom.set(other, session);
    return [...reached].sort();
  }
}

/** Sessions have no control characters in their ids. */
function requestName(session: string, requestId: string): string {
  return `${session}\0${requestId}`;
}

/** From the session back to itself. */
function wayTo(session: string, cameFrom: ReadonlyMap<string, string>): string[] {
  const way: string[] = [];
  let each = session;
  do {
    each = cameFrom.get(each) as string;
    way.push(each);
  } while (each !== session);
  return way.reverse();
}

/** Whether nothing changes for others: only members that the table passes through do, or the fence. */
function claimsAlike(a: Lock, b: Lock): boolean {
  return a.session === b.session && isDeepStrictEqual(claimsOf(a), claimsOf(b));
}

function claimsOf({ held, wanted }: Lock) {
  return [claimOf(held), claimOf(wanted), wanted?.queued];
}

function claimOf(claim: Held | Wanted | undefined) {
  return claim && [claim.mode, claim.scopes];
}
