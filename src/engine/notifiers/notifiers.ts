/**
 * Notifiers as a whole on this node: the worker that drains them, what wakes it after commits, and what is asked of a notifier beside
 * its item. Their items are written and read like any others.
 */
import { randomUUID } from 'node:crypto';
import { Problem } from '../errors.js';
import type { Work, Worker, WorkQueue } from '../hints.js';
import { limits } from '../limits.js';
import type { Store } from '../ports.js';
import { formatCursor } from '../state/cursor.js';
import { itemPages } from '../state/item-pages.js';
import { stateOf } from '../state/loading.js';
import type { Commit } from '../state/model.js';
import type { Reader } from '../state/reader.js';
import type { Replica } from '../state/replica.js';
import { startOfRead } from '../watch/start.js';
import { Drain } from './drain.js';
import { type NotifierMessage, testOf } from './events.js';
import { NOTIFIERS, type NotifierDefinition } from './notifier.js';
import type { NotifierState, NotifierStatus, StoredDelivery } from './notifier-store.js';
import type { Notifying } from './notifying.js';
import { readOwner } from './owner.js';
import { PoolNotifiers } from './pool-notifiers.js';
import type { Outcome } from './targets.js';
import type { Signer, WebhookSecrets } from './webhook-secrets.js';

/** How a notifier fares. */
export interface NotifierFacts {
  readonly status: 'active' | 'retrying' | 'disabled' | 'stopped';
  readonly reason: string | undefined;
  readonly cursor: string;
  /** Commits of the pool that it has not looked at yet, whether or not they are for it. */
  readonly lag: number;
  readonly failures: number;
  readonly parked: number;
  readonly nextAttemptInMs: number | undefined;
  readonly publicKey: string | undefined;
  readonly formerPublicKey: string | undefined;
}

/** Another's lease is looked at again after so long at most. */
const BUSY_MS = 1000;
/** A lag that is told for longer than it can be known is forgotten. */
const LAG_KNOWN_MS = 60_000;
/** Waits for which commits don't wake a notifier. */
const QUIET_MS = 1000;

interface PoolState extends NotifierState {
  readonly replica: Replica;
}

interface Lag {
  readonly pool: string;
  readonly told: number;
  readonly until: number;
}

export class Notifiers implements Worker {
  readonly kind = 'notifier';
  /** Names this process to others that would take a notifier's lease. */
  readonly #holder = randomUUID();
  readonly #loading = new Map<Replica, Promise<void>>();
  readonly #lags = new Map<string, Lag>();
  /** Notifiers that wait to try again, and until when by this process's clock: commits needn't wake them. */
  readonly #quiet = new Map<string, number>();

  constructor(
    private readonly parts: Notifying,
    private readonly store: Store,
    private readonly reader: Reader,
    private readonly secrets: WebhookSecrets,
    private readonly queue: WorkQueue,
  ) {}

  /** Has those worked on that the commits may concern; to be called on the node that made them. A pool without notifiers costs nothing. */
  committed(pool: string, commits: readonly Commit[]): void {
    const replica = this.parts.replicas.known(pool);
    if (!replica || (replica.collections.get(NOTIFIERS)?.items ?? 0) === 0) return;
    if (!replica.notifiers) {
      this.#load(replica).catch((error: unknown) =>
        this.parts.telemetry.warn('Notifiers could not be read; they are found again', { pool, error: String(error) }),
      );
      return;
    }
    for (const change of commits.flatMap(({ changes }) => changes))
      if (change.collection === NOTIFIERS) this.#quiet.delete(idOf(pool, change.key));
    const now = performance.now();
    for (const name of replica.notifiers.concernedBy(commits))
      if ((this.#quiet.get(idOf(pool, name)) ?? 0) <= now) this.want(pool, name);
  }

  want(pool: string, name: string): void {
    this.#quiet.delete(idOf(pool, name));
    this.queue.want({ kind: this.kind, pool, name });
  }

  async work({ pool, name }: Work, signal: AbortSignal): Promise<number | undefined> {
    const id = idOf(pool, name);
    const known = await this.parts.replicas.find(pool);
    if (!known) return undefined;
    const takenAt = performance.now();
    const taken = await this.parts.store.take({ poolId: known.id, name }, this.#holder, limits.drainLeaseMs);
    if (taken.is === 'busy') return Math.min(taken.forMs, BUSY_MS) * (1 + Math.random() / 4);
    if (taken.is === 'gone') {
      this.#lags.delete(id);
      this.#quiet.delete(id);
      return undefined;
    }
    const { notifier, now, head } = taken;
    const left = (notifier.nextAttemptAt ?? 0) - now;
    const isOver = notifier.status === 'disabled' || notifier.status === 'ended';
    if (isOver || (notifier.status === 'active' && left > 0)) {
      await this.parts.store.release(notifier);
      return this.#waits(id, isOver ? undefined : left);
    }
    // After the lease was taken: the one before may have told what this node has not heard of.
    const replica = await this.#current(pool).catch(async (error: unknown) => {
      await this.parts.store.release(notifier);
      throw error;
    });
    if (replica?.id !== known.id) return undefined;
    const drain = new Drain(this.parts, replica, notifier, head, takenAt, signal);
    const more = await drain.run();
    this.#noteLag(id, { pool, told: drain.told, until: performance.now() + LAG_KNOWN_MS + (more ?? 0) }, replica);
    return this.#waits(id, more);
  }

  async pending(limit: number): Promise<readonly Work[]> {
    const found = await this.parts.store.pending(limit);
    return found.map((each) => ({ kind: this.kind, ...each }));
  }

  /** Lets go of deliveries that were kept for long enough. */
  async sweep(pause: () => Promise<boolean>): Promise<void> {
    while (await pause())
      if ((await this.parts.store.deleteOldDeliveries(limits.deliveryKeptMs, SWEEP_ROWS)) < SWEEP_ROWS) return;
  }

  /** An account has ended: nothing more is told to anybody by its rights. */
  endOwner(subject: string): Promise<void> {
    return this.parts.store.endOwner(
      subject,
      'The account of its owner has ended. Whoever writes it again goes on with it.',
    );
  }

  /** By how many commits the one is behind that is furthest, of those that this node worked on. */
  get lag(): number {
    let lag = 0;
    const now = performance.now();
    for (const [id, { pool, told, until }] of this.#lags) {
      const revision = this.parts.replicas.peek(pool)?.revision;
      if (now > until || revision === undefined) this.#lags.delete(id);
      else lag = Math.max(lag, revision - told);
    }
    return lag;
  }

  /** How a notifier fares whose item is there. */
  async facts(pool: string, name: string): Promise<NotifierFacts> {
    const replica = await this.reader.current(pool);
    const state = await this.parts.store.state({ poolId: replica.id, name });
    return this.#factsOf(replica, state);
  }

  async allFacts(pool: string): Promise<ReadonlyMap<string, NotifierFacts>> {
    const replica = await this.reader.current(pool);
    const facts = new Map<string, NotifierFacts>();
    for (const state of await this.parts.store.states(replica.id))
      facts.set(state.notifier.name, await this.#factsOf(replica, state));
    return facts;
  }

  /** The secret of a new notifier with a webhook, to be shown once. */
  async secretOf(pool: string, name: string): Promise<string | undefined> {
    const { notifier } = await this.#state(pool, name);
    return isWebhook(notifier.definition) ? (await this.secrets.of(notifier))?.secret : undefined;
  }

  async rotate(
    pool: string,
    name: string,
    { secret, overlapMs }: { secret: string | undefined; overlapMs: number },
  ): Promise<{ signer: Signer; until: number }> {
    const { notifier } = await this.#state(pool, name);
    if (!isWebhook(notifier.definition))
      throw new Problem('invalid', 'Only a notifier whose target is a webhook has a secret.');
    const rotated = await this.secrets.rotate(notifier, { secret, overlapMs });
    // One that couldn't sign before can now.
    this.want(pool, name);
    return rotated;
  }

  /** Makes it active from now on, where it was or from a cursor on. */
  async resume(pool: string, name: string, since: string | undefined): Promise<void> {
    const replica = await this.reader.current(pool);
    const to = since === undefined ? undefined : { epoch: replica.epoch, told: startOfRead(replica, since) };
    const ref = { poolId: replica.id, name };
    if (!(await this.parts.store.resume(ref, to))) {
      const state = await this.parts.store.state(ref);
      throw state ? new Problem('conflict', `It can’t be resumed: ${state.notifier.reason}`) : noNotifier(name);
    }
    this.want(pool, name);
  }

  /** Sends a test event now; what comes of it is kept nowhere. */
  async test(pool: string, name: string): Promise<{ id: string; outcome: Outcome }> {
    const state = await this.#state(pool, name);
    const { replica } = state;
    const origin = this.parts.posting.originOf(pool, replica.epoch, name);
    const cursor = formatCursor(replica.epoch, replica.revision);
    const message = testOf(origin, randomUUID(), state.now, { notifier: name, cursor });
    return { id: message.id, outcome: await this.#sendOnce(state, message) };
  }

  deliveries(pool: string, name: string, before: number | undefined, limit: number): Promise<StoredDelivery[]> {
    return this.#state(pool, name).then(({ notifier }) => this.parts.store.deliveries(notifier, before, limit));
  }

  /** Tries a parked delivery once more, now, whatever came after it. */
  async redeliver(pool: string, name: string, serial: number): Promise<StoredDelivery> {
    const state = await this.#state(pool, name);
    const { notifier } = state;
    const delivery = await this.parts.store.delivery(notifier, serial);
    if (!delivery)
      throw new Problem(
        'notFound',
        `The notifier has no delivery ${serial}: there was none, or it is kept no longer. What the log still has can be had again: POST …/resume {since}.`,
      );
    if (delivery.status !== 'parked' || delivery.body === undefined)
      throw new Problem(
        'conflict',
        delivery.status === 'retrying'
          ? 'The delivery is still to be tried again. POST …/resume tries it now.'
          : 'The delivery was taken; only parked ones are kept whole. What the log still has can be had again: POST …/resume {since}.',
      );
    const message = { ...delivery, id: delivery.event, body: delivery.body } as unknown as NotifierMessage;
    const outcome = await this.#sendOnce(state, message);
    const { createdAt: _created, changedAt: _changed, ...record } = delivery;
    const kept = await this.parts.store.redelivered(notifier, {
      ...record,
      attempts: record.attempts + 1,
      status: outcome.ok ? 'delivered' : 'parked',
      lastStatus: outcome.status,
      lastError: outcome.error,
      body: outcome.ok ? undefined : record.body,
    });
    const present = kept ? await this.parts.store.delivery(notifier, serial) : undefined;
    return present ?? { ...delivery, ...(outcome.ok && { status: 'delivered' as const }) };
  }

  async #sendOnce({ notifier, replica }: PoolState, message: NotifierMessage): Promise<Outcome> {
    const owner = readOwner(notifier.owner);
    const definition = JSON.parse(notifier.definition) as NotifierDefinition;
    const ended = (await this.parts.owners.whyEnded(owner)) ?? (MUTE.has(notifier.status) && notifier.reason);
    if (ended) throw new Problem('conflict', `Nothing is delivered: ${ended}`);
    const opened = await this.parts.posting.open(replica, notifier, definition);
    if ('stopped' in opened) throw new Problem('conflict', `Nothing is delivered: ${opened.stopped}`);
    if ('crowded' in opened)
      throw new Problem('unavailable', 'This node delivers to as many receivers as it does at once.', {
        headers: { 'retry-after': '1' },
      });
    try {
      return await opened.post.send(message, AbortSignal.timeout(2 * limits.deliveryMs));
    } finally {
      opened.post.close();
    }
  }

  async #state(pool: string, name: string): Promise<PoolState> {
    const replica = await this.reader.current(pool);
    const state = await this.parts.store.state({ poolId: replica.id, name });
    if (!state) throw noNotifier(name);
    return { ...state, replica };
  }

  async #factsOf(replica: Replica, state: NotifierState | undefined): Promise<NotifierFacts> {
    if (!state) return { ...UNKNOWN, cursor: formatCursor(replica.epoch, replica.revision) };
    const { notifier, parked, now } = state;
    const { status, reason, failures, epoch, told, nextAttemptAt } = notifier;
    const isRetrying = status === 'active' && nextAttemptAt !== undefined;
    const signer = isWebhook(notifier.definition) ? await this.secrets.of(notifier) : undefined;
    return {
      status: isRetrying ? 'retrying' : status === 'ended' ? 'stopped' : status,
      ...{ reason, failures, parked },
      cursor: formatCursor(epoch, told),
      lag: Math.max(0, replica.revision - (epoch === replica.epoch ? told : 0)),
      nextAttemptInMs: isRetrying ? Math.max(0, (nextAttemptAt as number) - now) : undefined,
      publicKey: signer?.publicKey,
      formerPublicKey: signer?.formerPublicKey(now),
    };
  }

  #waits(id: string, ms: number | undefined): number | undefined {
    if (ms !== undefined && ms > QUIET_MS) this.#quiet.set(id, performance.now() + ms);
    else this.#quiet.delete(id);
    return ms;
  }

  #noteLag(id: string, lag: Lag, { revision }: Replica): void {
    if (lag.told < revision) this.#lags.set(id, lag);
    else this.#lags.delete(id);
  }

  async #current(pool: string): Promise<Replica | undefined> {
    try {
      return await this.reader.current(pool);
    } catch (error) {
      if (error instanceof Problem && error.code === 'notFound') return undefined;
      throw error;
    }
  }

  /** Reads what the pool's notifiers are about, and has all of them worked on: what was committed until then may concern them. */
  #load(replica: Replica): Promise<void> {
    let loading = this.#loading.get(replica);
    if (!loading) {
      loading = this.#read(replica).finally(() => this.#loading.delete(replica));
      this.#loading.set(replica, loading);
    }
    return loading;
  }

  async #read(replica: Replica): Promise<void> {
    for (;;) {
      const stored = replica.collections.get(NOTIFIERS);
      if (!stored || replica.gone) return;
      const read = await this.store.snapshot(replica.id, async (source, head) => {
        const notifiers = new PoolNotifiers();
        const pages = itemPages(source, replica.id, { collectionId: stored.id, limit: limits.pageItemsMax });
        for await (const page of pages) for (const item of page) notifiers.learn(item.key, stateOf(item));
        return { notifiers, revision: head?.revision ?? replica.revision };
      });
      if (read.revision > replica.revision) await this.parts.replicas.refresh(replica);
      const newer = replica.recent(read.revision);
      // So much happened meanwhile that it is read anew.
      if (!newer) continue;
      for (const { changes } of newer)
        for (const change of changes)
          if (change.collection === NOTIFIERS) read.notifiers.learn(change.key, change.after);
      replica.notifiers = read.notifiers;
      for (const name of read.notifiers.names) this.want(replica.name, name);
      return;
    }
  }
}

const SWEEP_ROWS = 500;
/** Nothing leaves a notifier that is so, not by hand either. */
const MUTE: ReadonlySet<NotifierStatus> = new Set(['stopped', 'ended']);

const UNKNOWN: Omit<NotifierFacts, 'cursor'> = {
  status: 'stopped',
  reason: 'Nothing is known of it but its item. Write it once more.',
  ...{ lag: 0, failures: 0, parked: 0 },
  ...{ nextAttemptInMs: undefined, publicKey: undefined, formerPublicKey: undefined },
};

function isWebhook(definition: string): boolean {
  return 'webhook' in (JSON.parse(definition) as NotifierDefinition).target;
}

function idOf(pool: string, name: string): string {
  return `${pool}/${name}`;
}

export function noNotifier(name: string): Problem {
  return new Problem('notFound', `There is no notifier ${JSON.stringify(name)}.`);
}
