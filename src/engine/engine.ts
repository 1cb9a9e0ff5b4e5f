/**
 * The engine as one object: the parts that HTTP, jobs and embedding programs call, built on a store. Made in wiring.ts.
 */
import { EntitledReader } from './access/entitled-reader.js';
import { Entitlements } from './access/entitlements.js';
import { Explaining } from './access/explaining.js';
import type { PublicUrl } from './access/public-url.js';
import type { Seal } from './access/secrets.js';
import { Audit, type AuditOptions } from './audit/audit.js';
import { AUDIT } from './audit/audit-items.js';
import { type Definition, emptyDefinition } from './dictionary/definition.js';
import { Definitions } from './dictionary/definitions.js';
import type { Bus, Worker, WorkQueue } from './hints.js';
import type { TargetRules } from './notifiers/notifier.js';
import type { NotifierStore } from './notifiers/notifier-store.js';
import { Notifiers } from './notifiers/notifiers.js';
import type { Owners } from './notifiers/notifying.js';
import { Posting } from './notifiers/posting.js';
import type { QueueTarget, Webhooks } from './notifiers/targets.js';
import { WebhookSecrets } from './notifiers/webhook-secrets.js';
import { OperationWorker } from './operations/operation-worker.js';
import { Operations } from './operations/operations.js';
import type { Clock, Store, Telemetry } from './ports.js';
import { Querying, type QueryOptions } from './query/querying.js';
import { Due } from './sessions/due.js';
import { Leases } from './sessions/leases.js';
import { entryRef, isSystemName } from './state/collections.js';
import { Committer } from './state/committer.js';
import { Compaction, type Retention } from './state/compaction.js';
import { Expiry } from './state/expiry.js';
import { IndexBuilder } from './state/index-builder.js';
import { ItemCache } from './state/item-cache.js';
import { Reader } from './state/reader.js';
import type { Replica } from './state/replica.js';
import { Replicas } from './state/replicas.js';
import { type Tracing, untraced } from './tracing.js';
import { Export } from './transfer/export.js';
import { Import } from './transfer/import.js';
import { Slots } from './transfer/slots.js';
import { Metering, type MeteringOptions } from './usage/metering.js';
import { USAGE } from './usage/usage-items.js';
import { History } from './watch/history.js';
import { LogReader } from './watch/log-reader.js';
import { Watching, type WatchingOptions } from './watch/watching.js';

export interface EngineOptions extends WatchingOptions, QueryOptions, MeteringOptions, AuditOptions {
  /** Whether a pool comes into being on its first write. */
  readonly createPools: boolean;
  readonly cacheBytes: number;
  readonly retention: Retention;
}

/** What notifiers need of the world. */
export interface Outlets {
  readonly store: NotifierStore;
  readonly webhooks: Webhooks;
  readonly queues: QueueTarget;
  readonly owners: Owners;
  /** Under which others know this server. */
  readonly url: Pick<PublicUrl, 'href'>;
  /** Keeps the secrets of notifiers. */
  readonly seal: Seal;
}

export class Engine {
  readonly replicas: Replicas;
  readonly committer: Committer;
  readonly entitlements: Entitlements;
  readonly reader: Reader;
  readonly entitled: EntitledReader;
  readonly explaining: Explaining;
  readonly querying: Querying;
  readonly watching: Watching;
  readonly history: History;
  readonly export: Export;
  readonly import: Import;
  readonly compaction: Compaction;
  readonly builder: IndexBuilder;
  readonly expiry: Expiry;
  readonly leases: Leases;
  readonly due: Due;
  readonly metering: Metering;
  readonly audit: Audit;
  readonly operations: Operations;
  readonly operationWorker: OperationWorker;
  readonly notifiers: Notifiers;
  /** What a notifier's target may be here. */
  readonly targets: TargetRules;
  readonly definitions = new Definitions();
  /** Those who do what is left to be done; wiring has them called. */
  readonly workers: readonly Worker[];
  readonly #cache: ItemCache;

  constructor(
    readonly store: Store,
    readonly telemetry: Telemetry,
    clock: Clock,
    bus: Bus,
    readonly work: WorkQueue,
    outlets: Outlets,
    readonly options: EngineOptions,
    tracing: Tracing = untraced,
  ) {
    this.#cache = new ItemCache(options.cacheBytes);
    this.replicas = new Replicas(store, this.#cache, () => clock.now());
    this.targets = { faultOf: (url) => outlets.webhooks.faultOf(url) };
    const judging = { ...options, targets: this.targets };
    this.committer = new Committer(store, this.replicas, this.definitions, bus, telemetry, judging, tracing);
    this.entitlements = new Entitlements(store, this.replicas);
    this.reader = new Reader(store, this.replicas);
    this.entitled = new EntitledReader(this.reader, this.entitlements);
    this.querying = new Querying(store, this.replicas, this.reader, this.definitions, this.entitlements, options);
    this.watching = new Watching(store, this.replicas, this.reader, this.entitlements, bus, telemetry, clock, options);
    this.explaining = new Explaining(this.reader, this.entitlements, this.watching);
    const slots = new Slots();
    this.export = new Export(store, this.replicas, this.reader, this.entitlements, slots);
    this.import = new Import(this.committer, this.reader, slots, options);
    this.history = new History(store, this.reader, this.entitlements);
    this.compaction = new Compaction(store, this.replicas, options.retention);
    this.builder = new IndexBuilder(store, telemetry);
    this.committer.onBuilding = () => this.builder.wake();
    this.expiry = new Expiry(store, this.reader, this.committer, telemetry);
    this.leases = new Leases(store, this.reader, clock);
    this.due = new Due(store, this.committer, telemetry);
    this.metering = new Metering(store, this.replicas, this.committer, telemetry, clock, options);
    this.reader.bringUp.set(USAGE, (pool) => this.metering.bringUp(pool));
    this.audit = new Audit(this.replicas, this.committer, telemetry, clock, options);
    this.reader.bringUp.set(AUDIT, (pool) => this.audit.bringUp(pool));
    this.operations = new Operations(store, this.entitled, work);
    this.operationWorker = new OperationWorker(store, this.committer, this.operations, telemetry);
    this.notifiers = this.#newNotifiers(outlets, tracing);
    this.committer.onCommitted = (pool, commits) => this.notifiers.committed(pool, commits);
    this.workers = [this.notifiers, this.operationWorker];
  }

  #newNotifiers({ store, webhooks, queues, owners, url, seal }: Outlets, tracing: Tracing): Notifiers {
    const { replicas, watching, telemetry, reader, work } = this;
    const secrets = new WebhookSecrets(store, seal);
    const now = () => this.store.now();
    const posting = new Posting(webhooks, queues, secrets, url, now, tracing);
    const log = new LogReader(this.store, replicas);
    const parts = { store, posting, owners, watching, replicas, log, telemetry, now };
    return new Notifiers(parts, this.store, reader, secrets, work);
  }

  /** What the dictionary says of a collection now. */
  definitionOf(replica: Replica, collection: string): Definition | Promise<Definition> {
    if (isSystemName(collection)) return emptyDefinition;
    const known = this.definitions.known(replica, collection);
    if (known) return known;
    const reading = Promise.resolve(this.reader.item(replica.name, entryRef(collection)));
    return reading.then(({ state }) => this.definitions.lenient(state));
  }

  /** Locks of the pools whose locks this node has needed. */
  get lockCounts(): { locks: number; locksWaiting: number } {
    const counts = { locks: 0, locksWaiting: 0 };
    for (const { locks } of this.replicas.all()) {
      counts.locks += locks?.size ?? 0;
      counts.locksWaiting += locks?.waiting ?? 0;
    }
    return counts;
  }

  get cacheBytes(): number {
    return this.#cache.bytes;
  }
}
