/**
 * Leases are renewed by calls, by requests that name their session, and by streams while they are open. A renewal is no
 * commit: it touches the session's row only. Renewals that come together share one transaction.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import {
  type Clock,
  type LeaseRef,
  OutcomeUnknown,
  RetryTransaction,
  type Store,
  type StoredSession,
} from '../ports.js';
import type { Reader } from '../state/reader.js';
import { ownerOf, type Subject } from '../subject.js';
import { clientRef } from './session-items.js';
import { checkSame, checkSession, isOver, RENEWED_BELOW, type SessionRef } from './session-states.js';

interface Waiting {
  readonly lease: LeaseRef;
  resolve(renewed: Renewed): void;
  reject(reason: unknown): void;
}

interface Renewed {
  readonly session: StoredSession | undefined;
  readonly now: number;
}

/** A lease that this node has seen renewed. */
interface Seen {
  /** A pool of the same name may be another one by now. */
  readonly poolId: number;
  readonly session: StoredSession;
  /** By this process's clock. */
  readonly at: number;
}

/** A lease that streams hold. */
interface Held {
  readonly lease: LeaseRef;
  readonly ttlMs: number;
  streams: number;
  /** By this process's clock. */
  renewedAt: number;
  isRenewing: boolean;
}

/** How often the leases that streams hold are looked at: the shortest lasts a second. */
const HOLD_EVERY_MS = 200;
/** A lease that a stream holds is renewed when so much of it has passed. */
const HELD_SHARE = 1 / 3;
/** Leases that are remembered as renewed; beyond this all are forgotten, which costs a renewal each. */
const SEEN_MAX = 20_000;

export class Leases {
  /** Renewals that wait, by pool: one that is held up keeps no others from theirs. */
  readonly #batches = new Map<number, Waiting[]>();
  readonly #seen = new Map<string, Seen>();
  readonly #held = new Map<string, Held>();
  #timer: NodeJS.Timeout | undefined;
  #closing = false;

  constructor(
    private readonly store: Store,
    private readonly reader: Reader,
    private readonly clock: Clock,
  ) {}

  start(): void {
    this.#timer = setInterval(() => this.#renewHeld(), HOLD_EVERY_MS).unref();
  }

  close(): void {
    this.#closing = true;
    clearInterval(this.#timer);
  }

  /** Leases that streams hold. */
  get held(): number {
    return this.#held.size;
  }

  /** A session by its id or name, and the database's clock. Refuses with `notFound` where it doesn't live. */
  async find(pool: string, idOrName: string): Promise<{ session: StoredSession; now: number; poolId: number }> {
    const { id: poolId } = await this.reader.current(pool);
    const { session, now } = await this.store.session(poolId, idOrName);
    if (!session || isOver(session, now)) throw noSession(idOrName);
    return { session, now, poolId };
  }

  /** A request that names its session and commits nothing has come: renews the session, or refuses with `sessionFenced`. */
  async touch(pool: string, ref: SessionRef, subject: Subject): Promise<StoredSession> {
    const seen = this.#seen.get(`${pool}/${ref.session}`);
    const { replica, state } = await this.reader.item(pool, clientRef(seen?.session.id ?? ref.session));
    // Since it was seen it may have been resumed or have ended, through any node: its item tells.
    const isSame = seen?.poolId === replica.id && state?.attributes.epoch === seen.session.epoch;
    if (seen && isSame && this.clock.now() - seen.at < seen.session.ttlMs * (1 - RENEWED_BELOW))
      return checkSession(seen.session, ref, subject, seen.session.expiresAt - 1);
    return this.#renewNamed(pool, replica.id, ref, subject);
  }

  /** Renews a lease from now on. `path` is how the call names the session, `ref` how its header does. */
  async renew(pool: string, path: string, ref: SessionRef, subject: Subject): Promise<StoredSession> {
    if (path === ref.session) {
      // Mostly so, and then one look is enough.
      const { id: poolId } = await this.reader.current(pool);
      const { session, now } = await this.#enqueue({
        poolId,
        session: path,
        epoch: ref.epoch,
        subject: ownerOf(subject),
      });
      if (session && !isOver(session, now)) return checkSession(session, ref, subject, now);
    }
    const { session, poolId } = await this.find(pool, path);
    checkSame(session, ref);
    return this.#renewNamed(pool, poolId, { ...ref, session: session.id }, subject);
  }

  /** A stream of the session is open until what this answers is called. */
  hold(
    poolId: number,
    { id, epoch, ttlMs, subject }: Pick<StoredSession, 'id' | 'epoch' | 'ttlMs' | 'subject'>,
  ): () => void {
    const name = `${poolId}/${id}/${epoch}`;
    const held = this.#held.get(name) ?? {
      lease: { poolId, session: id, epoch, subject },
      ttlMs,
      streams: 0,
      ...NEVER,
    };
    held.streams++;
    this.#held.set(name, held);
    let released = false;
    return () => {
      if (released) return;
      released = true;
      held.streams--;
      if (held.streams === 0) this.#held.delete(name);
    };
  }

  async #renewNamed(pool: string, poolId: number, ref: SessionRef, subject: Subject): Promise<StoredSession> {
    let { session, now } = await this.#enqueue({
      poolId,
      session: ref.session,
      epoch: ref.epoch,
      subject: ownerOf(subject),
    });
    if (!session) {
      // The header may give the name instead of the id.
      const { session: named } = await this.store.session(poolId, ref.session);
      if (named && named.id !== ref.session)
        ({ session, now } = await this.#enqueue({
          poolId,
          session: named.id,
          epoch: ref.epoch,
          subject: ownerOf(subject),
        }));
    }
    const checked = checkSession(session, ref, subject, now);
    if (this.#seen.size >= SEEN_MAX) this.#seen.clear();
    this.#seen.set(`${pool}/${ref.session}`, { poolId, session: checked, at: this.clock.now() });
    return checked;
  }

  #enqueue(lease: LeaseRef): Promise<Renewed> {
    return new Promise((resolve, reject) => {
      const waiting = { lease, resolve, reject };
      const batch = this.#batches.get(lease.poolId);
      if (batch) batch.push(waiting);
      else {
        this.#batches.set(lease.poolId, [waiting]);
        setImmediate(() => void this.#drain(lease.poolId));
      }
    });
  }

  async #drain(poolId: number): Promise<void> {
    const waiting = this.#batches.get(poolId) as Waiting[];
    while (waiting.length > 0) {
      const batch = waiting.splice(0, limits.leaseBatchMax);
      try {
        const { sessions, now } = await this.#write(batch.map(({ lease }) => lease));
        for (const [i, { resolve }] of batch.entries()) resolve({ session: sessions[i], now });
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#batches.delete(poolId);
  }

  async #write(leases: readonly LeaseRef[]) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.store.renewLeases(leases);
      } catch (error) {
        // To renew twice does no harm, so that it doesn't matter whether one went through.
        const isPassing = error instanceof RetryTransaction || error instanceof OutcomeUnknown;
        if (!isPassing) throw error;
        if (attempt >= limits.leaseAttemptsMax)
          throw new Problem('unavailable', 'The lease could not be renewed now.', { headers: { 'retry-after': '1' } });
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 10 * attempt));
      }
    }
  }

  #renewHeld(): void {
    if (this.#closing) return;
    const now = this.clock.now();
    for (const held of this.#held.values()) {
      if (held.isRenewing || now - held.renewedAt < held.ttlMs * HELD_SHARE) continue;
      held.isRenewing = true;
      // One that is over is met by the stream itself, in the log; a database that is away, by all who ask it.
      this.#enqueue(held.lease)
        .then(
          () => {
            held.renewedAt = now;
          },
          () => undefined,
        )
        .finally(() => {
          held.isRenewing = false;
        });
    }
  }
}

const NEVER = { renewedAt: 0, isRenewing: false };

export function noSession(idOrName: string): Problem {
  return new Problem('notFound', `There is no session ${JSON.stringify(idOrName)}: it never was, or it has ended.`);
}
