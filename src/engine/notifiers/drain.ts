/**
 * One drain: delivers what a notifier has not delivered yet, in the order of the log, one event after the other, under a lease. What
 * it has come to is noted now and then, and always before it ends; so after a crash a few events are delivered once more, and none
 * is left out. A delivery that fails is tried again later, before all others; after the last attempt it is parked.
 *
 * Whatever could mislead a receiver is told or stops the notifier: a log that no longer reaches back, another life of the pool, an
 * owner who may not watch any more.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { Commit } from '../state/model.js';
import type { Replica } from '../state/replica.js';
import { turn } from '../turn.js';
import { LogExpired } from '../watch/log-reader.js';
import { messageOf, type NotifierMessage, type Origin, resetOf, watchedBy } from './events.js';
import { Lookout } from './lookout.js';
import { delayAfter, type NotifierDefinition } from './notifier.js';
import type {
  DeliveryRecord,
  NotifierLease,
  NotifierStatus,
  NotifierStore,
  StoredDelivery,
  StoredNotifier,
} from './notifier-store.js';
import type { Notifying } from './notifying.js';
import { type Owner, readOwner } from './owner.js';
import type { Post } from './posting.js';

/** How a run ends: in so many ms there is more to do, or that isn't known. */
type End = { readonly moreInMs: number | undefined };

const ON = undefined;

/** The lease is another's, or the notifier was written anew. */
class LeaseLost extends Error {}

export class Drain {
  readonly #lease: NotifierLease;
  readonly #definition: NotifierDefinition;
  readonly #owner: Owner;
  readonly #store: NotifierStore;
  /** Aborted when nothing may be delivered any more. */
  readonly #lost = new AbortController();
  readonly #ended: AbortSignal;
  /** By this process's clock, when the lease is over unless it is renewed. */
  #goodUntil: number;
  #released = false;

  #epoch: string;
  #told: number;
  #status: NotifierStatus;
  #reason: string | undefined;
  #failures: number;
  #serial: number;
  #unnoted: DeliveryRecord[] = [];
  /** A delivery whose place the next one takes. */
  #stale: StoredDelivery | undefined;
  #notedAt = performance.now();

  constructor(
    private readonly parts: Notifying,
    private readonly replica: Replica,
    private readonly notifier: StoredNotifier,
    /** To be tried again before all others. */
    private readonly head: StoredDelivery | undefined,
    takenAt: number,
    private readonly signal: AbortSignal,
  ) {
    const { poolId, name, fence, generation } = notifier;
    this.#store = parts.store;
    this.#lease = { poolId, name, fence, generation };
    this.#definition = JSON.parse(notifier.definition) as NotifierDefinition;
    this.#owner = readOwner(notifier.owner);
    this.#goodUntil = takenAt + limits.drainLeaseMs;
    this.#ended = AbortSignal.any([signal, this.#lost.signal]);
    this.#epoch = notifier.epoch;
    this.#told = notifier.told;
    this.#status = notifier.status;
    this.#reason = notifier.reason;
    this.#failures = notifier.failures;
    this.#serial = notifier.serial;
  }

  get told(): number {
    return this.#told;
  }

  /** Runs until nothing is left, something has to be waited for, or others are to have their turn. */
  async run(): Promise<number | undefined> {
    const timer = setInterval(() => void this.#renew(), limits.drainRenewMs).unref();
    let post: Post | undefined;
    try {
      const why = await this.#whyStopped();
      if (why !== undefined) return (await this.#stop('stopped', why)).moreInMs;
      this.#status = 'active';
      this.#reason = undefined;
      const opened = await this.parts.posting.open(this.replica, this.notifier, this.#definition);
      if ('stopped' in opened) return (await this.#stop('stopped', opened.stopped)).moreInMs;
      if ('crowded' in opened) return limits.deliveryCrowdedMs * (1 + Math.random());
      post = opened.post;
      return (await this.#deliver(post)).moreInMs;
    } catch (error) {
      if (error instanceof LeaseLost) return 0;
      if (error instanceof LogExpired && error.reason === 'deleted') return undefined;
      if (!this.#ended.aborted) throw error;
      // Asked to stop in the midst of a delivery, which is made again by whoever goes on.
      if (!this.#lost.signal.aborted) await this.#note({ leaseMs: 0 }).catch(() => undefined);
      return this.#lost.signal.aborted ? 0 : undefined;
    } finally {
      clearInterval(timer);
      post?.close();
      if (!this.#released) await this.#store.release(this.#lease).catch(() => undefined);
    }
  }

  /** Why nothing may be told to the notifier's owner now. */
  async #whyStopped(): Promise<string | undefined> {
    const ended = await this.parts.owners.whyEnded(this.#owner);
    if (ended !== undefined) return ended;
    let refusal: string | undefined;
    for (const { view } of watchedBy(this.#definition)) {
      try {
        await this.parts.watching.checkWatches(this.replica.name, this.#owner.subject, view);
        return undefined;
      } catch (error) {
        if (!(error instanceof Problem && error.code === 'forbidden')) throw error;
        refusal = `Its owner may not watch what it is about any more. ${error.detail}`;
      }
    }
    return refusal;
  }

  async #deliver(post: Post): Promise<End> {
    const until = performance.now() + limits.drainTurnMs;
    const { head, replica } = this;
    if (head?.body !== undefined && head.kind === 'reset' && !head.event.includes(replica.epoch)) {
      // Of a life of the pool that is over as well: another takes its place.
      this.#stale = { ...head, attempts: 0 };
    } else if (head?.body !== undefined) {
      const message = { id: head.event, kind: head.kind, body: head.body, revision: head.revision } as NotifierMessage;
      const end = await this.#send(post, message, head);
      if (end) return end;
    }
    const newLooking: ConstructorParameters<typeof Lookout>[1] = (view) =>
      this.parts.watching.looking(replica, view, this.#owner.subject);
    const lookout = new Lookout(this.#definition, newLooking);
    let isPlaced = false;
    for (;;) {
      try {
        if (!isPlaced) {
          const lost = this.#lostTrack();
          const end = lost && (await this.#reset(post, lost, replica.oldestRevision - 1));
          if (end) return end;
          await lookout.lookAt(this.#told);
          isPlaced = true;
        }
        const commits = await this.parts.log.next(replica, this.#told);
        if (commits.length === 0) return await this.#finish(undefined);
        for (const commit of commits) {
          const end = await this.#tell(post, lookout, commit);
          if (end) return end;
          if (performance.now() > until) return await this.#finish(0);
        }
        await turn();
      } catch (error) {
        if (!(error instanceof LogExpired) || error.reason === 'deleted') throw error;
        await this.parts.replicas.refresh(replica);
        isPlaced = false;
        // The policy of that time is what can't be told any more.
        if (this.#lostTrack() === undefined) {
          const end = await this.#reset(post, 'compacted', replica.revision);
          if (end) return end;
        }
      }
      this.#ended.throwIfAborted();
    }
  }

  /** Why the log can't be gone on with where the notifier stands. */
  #lostTrack(): 'epoch' | 'compacted' | undefined {
    const { replica } = this;
    if (this.#epoch !== replica.epoch || this.#told > replica.revision) return 'epoch';
    return this.#told + 1 < replica.oldestRevision ? 'compacted' : undefined;
  }

  async #tell(post: Post, lookout: Lookout, commit: Commit): Promise<End | typeof ON> {
    const seen = await lookout.see(commit);
    if (!seen) return this.#reset(post, 'policy', commit.revision);
    if (seen.length > 0) return this.#send(post, messageOf(this.#origin, commit, seen));
    this.#told = commit.revision;
    return ON;
  }

  /** Says that something is left out, and goes on after it. */
  async #reset(post: Post, reason: 'compacted' | 'epoch' | 'policy', revision: number): Promise<End | typeof ON> {
    const oldest = this.replica.oldestRevision - 1;
    const time = await this.parts.now();
    return this.#send(post, resetOf(this.#origin, reason, { oldest, revision, time }));
  }

  get #origin(): Origin {
    return this.parts.posting.originOf(this.replica.name, this.replica.epoch, this.notifier.name);
  }

  /** Delivers an event, and moves on where it was taken or is parked. */
  async #send(post: Post, message: NotifierMessage, former?: StoredDelivery): Promise<End | typeof ON> {
    this.#checkLease();
    const outcome = await post.send(message, this.#ended);
    const replaced = former ?? this.#stale;
    this.#stale = undefined;
    const serial = replaced?.serial ?? ++this.#serial;
    const attempts = (replaced?.attempts ?? 0) + 1;
    const record = {
      ...{ serial, event: message.id, kind: message.kind, revision: message.revision, attempts },
      ...{ lastStatus: outcome.status, lastError: outcome.error },
    };
    if (outcome.ok) {
      this.parts.telemetry.notifierDelivered('delivered');
      this.#failures = 0;
      this.#moveTo(message);
      this.#unnoted.push({ ...record, status: 'delivered', body: undefined });
      const isDue = performance.now() > this.#notedAt + limits.drainUnnotedMs;
      if (isDue || this.#unnoted.length >= limits.drainUnnotedMax) await this.#note({});
      return ON;
    }
    this.#failures++;
    const { body } = message;
    if (outcome.status === GONE) {
      this.parts.telemetry.notifierDelivered('disabled');
      this.#unnoted.push({ ...record, attempts: 0, status: 'retrying', body });
      return this.#stop('disabled', 'The receiver answered 410: it wants no more of this.');
    }
    const delay = delayAfter(attempts, this.#definition, outcome.retryAfterMs, Math.random());
    this.parts.telemetry.notifierDelivered(delay === undefined ? 'parked' : 'failed');
    if (delay === undefined) {
      this.#moveTo(message);
      this.#unnoted.push({ ...record, status: 'parked', body });
      await this.#note({});
      return ON;
    }
    this.#unnoted.push({ ...record, status: 'retrying', body });
    await this.#note({ nextAttemptMs: delay, leaseMs: 0 });
    return { moreInMs: delay };
  }

  #moveTo({ kind, revision }: NotifierMessage): void {
    this.#told = revision;
    if (kind === 'reset') this.#epoch = this.replica.epoch;
  }

  async #stop(status: NotifierStatus, reason: string): Promise<End> {
    this.#status = status;
    this.#reason = reason;
    // Its owner may be given rights again on another node, whose wake is lost.
    await this.#note({ leaseMs: 0, ...(status === 'stopped' && { nextAttemptMs: STOPPED_MS }) });
    return NOTHING_MORE;
  }

  /** Ends for now. */
  async #finish(moreInMs: number | undefined): Promise<End> {
    const { told, status } = this.notifier;
    const isNew = this.#told !== told || this.#unnoted.length > 0 || this.#status !== status;
    if (isNew) await this.#note({ leaseMs: 0 });
    return { moreInMs };
  }

  /** Keeps how far it has come. */
  async #note({ nextAttemptMs, leaseMs = limits.drainLeaseMs }: { nextAttemptMs?: number; leaseMs?: number }) {
    const began = performance.now();
    const deliveries = this.#unnoted;
    this.#unnoted = [];
    const isKept = await this.#store.settle(this.#lease, {
      ...{ epoch: this.#epoch, told: this.#told, status: this.#status, reason: this.#reason },
      ...{ failures: this.#failures, nextAttemptMs, serial: this.#serial, deliveries, leaseMs },
    });
    if (!isKept) throw new LeaseLost();
    this.#notedAt = performance.now();
    this.#goodUntil = began + leaseMs;
    this.#released = leaseMs === 0;
  }

  async #renew(): Promise<void> {
    const began = performance.now();
    if (began > this.#goodUntil) return this.#lost.abort(new LeaseLost());
    try {
      if (await this.#store.renew(this.#lease, limits.drainLeaseMs)) {
        this.#goodUntil = Math.max(this.#goodUntil, began + limits.drainLeaseMs);
      } else if (!this.#released) this.#lost.abort(new LeaseLost());
    } catch {
      // The database is away: until the lease is over nobody else has it.
    }
  }

  #checkLease(): void {
    if (performance.now() > this.#goodUntil) this.#lost.abort(new LeaseLost());
    this.#ended.throwIfAborted();
  }
}

const GONE = 410;
/** How often a stopped notifier is looked at. */
const STOPPED_MS = 60_000;
const NOTHING_MORE: End = { moreInMs: undefined };
