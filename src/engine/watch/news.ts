/**
 * Hears of what other nodes commit to the pools that are watched here, and brings their replicas forward: from the wakes that the bus
 * brings, which mostly hold the commits themselves, so that nothing is read; from the log where a wake holds none or one is
 * missing; and by asking the database for the revisions of all watched pools at once, often while the bus is away, seldom else.
 *
 * A wake is only a hint. What it holds is taken in where it follows what the replica has, and never otherwise.
 */

import type { Bus, BusListener, Wake } from '../hints.js';
import { limits } from '../limits.js';
import type { Clock, Store, Telemetry } from '../ports.js';
import type { Replica } from '../state/replica.js';
import type { Replicas } from '../state/replicas.js';

/** Wakes of two nodes may overtake each other: so long the one that is missing is waited for, until the log is read instead. */
const GAP_MS = 20;
/** How often the database is asked all the same while the bus is there: what it lost is found by then. */
const SAFETY_MS = 2000;
/** How often it is looked which pools are still watched. */
const UNFOLLOW_MS = 1000;

/** A pool that is watched here. */
interface Followed {
  readonly replica: Replica;
  /** Wakes that came before the one which they follow, by the revision of their first commit. */
  readonly early: Map<number, Wake>;
  timer: NodeJS.Timeout | undefined;
}

export class News implements BusListener {
  readonly #followed = new Map<number, Followed>();
  #timers: NodeJS.Timeout[] = [];
  #polling: Promise<void> | undefined;
  #polledAt = 0;

  constructor(
    private readonly store: Store,
    private readonly replicas: Replicas,
    private readonly bus: Bus,
    private readonly telemetry: Telemetry,
    private readonly clock: Clock,
    private readonly pollMs: number,
  ) {}

  start(): void {
    if (this.store.exclusive) return;
    this.bus.listener = this;
    this.#timers = [
      setInterval(() => this.#tick(), this.pollMs).unref(),
      setInterval(() => this.#unfollow(), UNFOLLOW_MS).unref(),
    ];
  }

  close(): void {
    this.bus.listener = undefined;
    for (const timer of this.#timers) clearInterval(timer);
    for (const { timer } of this.#followed.values()) clearTimeout(timer);
  }

  /** Somebody begins to watch the pool. */
  follow(replica: Replica): void {
    if (this.store.exclusive || this.#followed.get(replica.id)?.replica === replica) return;
    this.#followed.set(replica.id, { replica, early: new Map(), timer: undefined });
    this.bus.follow(replica.id);
  }

  /** What was committed until wakes of the pool are heard, nobody has told. */
  followed(poolId: number): void {
    const followed = this.#followed.get(poolId);
    if (followed) this.#read(followed, 'poll');
  }

  reconnected(): void {
    for (const followed of this.#followed.values()) this.#read(followed, 'poll');
  }

  woken(wake: Wake): void {
    const followed = this.#followed.get(wake.poolId);
    if (!followed || followed.replica.gone) return;
    const { replica } = followed;
    const { revision, epoch, rows } = wake;
    const [first] = rows;
    if (revision !== undefined && epoch === replica.epoch && revision <= replica.revision) return;
    if (revision === undefined || epoch !== replica.epoch || !first) this.#read(followed, 'wake');
    else if (first.revision > replica.revision + 1) this.#keepEarly(followed, first.revision, wake);
    else if (!this.#take(followed, wake)) this.#read(followed, 'wake');
  }

  /** Takes in the commits of a wake that follows what the replica has, and of those that follow this one. False: that can't be done without reading. */
  #take(followed: Followed, wake: Wake): boolean {
    const { replica, early } = followed;
    for (let next: Wake | undefined = wake; next; next = early.get(replica.revision + 1)) {
      const { revision } = replica;
      const commits = this.replicas.commitsKnown(
        replica,
        next.rows.filter((row) => row.revision > revision),
      );
      // It names a collection that this node doesn't know yet.
      if (!commits) return false;
      replica.advance(commits);
      // Nothing that is woken for is taken twice, whatever was in it.
      if (replica.revision === revision) break;
    }
    for (const [first, { revision }] of early)
      if (first <= replica.revision || (revision ?? 0) <= replica.revision) early.delete(first);
    if (early.size > 0) return true;
    clearTimeout(followed.timer);
    followed.timer = undefined;
    return true;
  }

  #keepEarly(followed: Followed, first: number, wake: Wake): void {
    const { early } = followed;
    early.set(first, wake);
    if (early.size > limits.earlyWakesMax) this.#read(followed, 'gap');
    else followed.timer ??= setTimeout(() => this.#read(followed, 'gap'), GAP_MS).unref();
  }

  #read(followed: Followed, cause: 'wake' | 'gap' | 'poll'): void {
    const { replica, early } = followed;
    clearTimeout(followed.timer);
    followed.timer = undefined;
    early.clear();
    if (this.replicas.isRefreshing(replica) && cause === 'poll') return;
    this.telemetry.broughtForward(cause);
    // A failure is met by the next request as well, which tells of it, and the next look at the database makes it good.
    this.replicas.refresh(replica).catch(() => undefined);
  }

  #tick(): void {
    const dueMs = this.bus.isConnected ? SAFETY_MS : this.pollMs;
    if (this.#polling || this.#followed.size === 0 || this.clock.now() - this.#polledAt < dueMs) return;
    this.#polledAt = this.clock.now();
    this.#polling = this.#poll()
      .catch(() => undefined)
      .finally(() => {
        this.#polling = undefined;
      });
  }

  /** One look at the revisions of all watched pools; only those that moved on are read. */
  async #poll(): Promise<void> {
    const followed = [...this.#followed.values()].filter(({ replica }) => !replica.gone && isWatched(replica));
    if (followed.length === 0) return;
    const revisions = await this.store.revisions(followed.map(({ replica }) => replica.id));
    for (const each of followed) {
      const revision = revisions.get(each.replica.id);
      if (revision === undefined || revision > each.replica.revision) this.#read(each, 'poll');
    }
  }

  #unfollow(): void {
    for (const [id, { replica, timer }] of this.#followed) {
      if (!replica.gone && isWatched(replica)) continue;
      clearTimeout(timer);
      this.#followed.delete(id);
      this.bus.unfollow(id);
    }
  }
}

function isWatched({ follower }: Replica): boolean {
  return follower?.busy === true;
}
