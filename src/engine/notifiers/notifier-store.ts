/**
 * What notifiers ask of the database beside their items, as one port; src/store/notifiers.ts has it for SQLite and MySQL/MariaDB.
 * All times are the database's, in ms since 1970. A call that writes is durable when it resolves, and is repeated by the store
 * where the database asks for that.
 *
 * One drain at a time works on a notifier: it takes a lease, under a fence that rises with each; whatever it writes is refused
 * once another has taken it, or once the notifier was written anew (its generation is the revision of the commit that did).
 */

/** What a commit made of a notifier; written in the commit's own transaction. */
export interface NotifierWrite {
  readonly name: string;
  /** Undefined: it is gone. */
  readonly definition?: string | undefined;
  /** The subject, as `keepOwner` made it. */
  readonly owner: string;
  readonly ownerId: string;
  /** Whose it is as its item says; another one's deliveries are none of the next one's business. */
  readonly ownerName: string;
  readonly generation: number;
  readonly epoch: string;
  /** Where it begins if it is new; undefined: after its own commit. */
  readonly start: number | 'start' | undefined;
}

/**
 * `disabled`: by its receiver. `stopped`: its owner may not watch, which is looked at again now and then. `ended`: there is no
 * such owner any more, and whoever has the name next is another.
 */
export type NotifierStatus = 'active' | 'disabled' | 'stopped' | 'ended';

export interface StoredNotifier {
  readonly poolId: number;
  readonly name: string;
  readonly generation: number;
  /** JSON. */
  readonly definition: string;
  readonly owner: string;
  readonly ownerName: string;
  /** As `WebhookSecrets` keeps them; undefined until somebody needs them. */
  readonly secrets: string | undefined;
  readonly epoch: string;
  /** Everything up to this revision has been delivered, passed over or parked. */
  readonly told: number;
  readonly status: NotifierStatus;
  /** Why it isn't active. */
  readonly reason: string | undefined;
  /** Attempts that failed since the last that didn't. */
  readonly failures: number;
  readonly nextAttemptAt: number | undefined;
  /** The number of its last delivery. */
  readonly serial: number;
  readonly fence: number;
  /** How often it was told to go on from elsewhere. */
  readonly rewinds: number;
}

export interface StoredDelivery {
  readonly serial: number;
  /** The event's id. */
  readonly event: string;
  readonly kind: string;
  /** Where the notifier goes on once this is delivered or parked. */
  readonly revision: number;
  readonly status: 'delivered' | 'retrying' | 'parked';
  readonly attempts: number;
  readonly lastStatus: number | undefined;
  readonly lastError: string | undefined;
  /** The event, where it may be needed again. */
  readonly body: string | undefined;
  readonly createdAt: number;
  readonly changedAt: number;
}

/** A delivery as it is to be kept; its times are the store's. */
export type DeliveryRecord = Omit<StoredDelivery, 'createdAt' | 'changedAt'>;

export interface NotifierRef {
  readonly poolId: number;
  readonly name: string;
}

/** A lease on a notifier, as it was when it was taken. */
export interface NotifierLease extends NotifierRef {
  readonly fence: number;
  readonly generation: number;
}

/** How far a drain has come. */
export interface Progress {
  readonly epoch: string;
  readonly told: number;
  readonly status: NotifierStatus;
  readonly reason: string | undefined;
  readonly failures: number;
  /** From now; undefined: at once. */
  readonly nextAttemptMs: number | undefined;
  readonly serial: number;
  readonly deliveries: readonly DeliveryRecord[];
  /** How long the lease lasts from now on; 0 gives it back. */
  readonly leaseMs: number;
}

export type Taken =
  | { readonly is: 'gone' }
  /** Somebody else has it for so long. */
  | { readonly is: 'busy'; readonly forMs: number }
  | {
      readonly is: 'taken';
      readonly notifier: StoredNotifier;
      /** The delivery that is to be tried again before all others. */
      readonly head: StoredDelivery | undefined;
      readonly now: number;
    };

export interface NotifierState {
  readonly notifier: StoredNotifier;
  readonly parked: number;
  readonly now: number;
}

/** Of a transaction of commits. */
export interface NotifierRows {
  /** Makes, alters and removes the rows of notifiers, in this order. */
  saveNotifiers(poolId: number, writes: readonly NotifierWrite[]): Promise<void>;
}

export interface NotifierTelemetry {
  /** A delivery was tried: `failed` is tried again, `parked` was its last attempt, `disabled` is its receiver's word. */
  notifierDelivered(outcome: 'delivered' | 'failed' | 'parked' | 'disabled'): void;
}

export interface NotifierStore {
  state(ref: NotifierRef): Promise<NotifierState | undefined>;
  states(poolId: number): Promise<NotifierState[]>;
  /** Takes the lease, for `holder`; where no other process writes to the database, also from a holder that isn't of this process. */
  take(ref: NotifierRef, holder: string, leaseMs: number): Promise<Taken>;
  /** Prolongs the lease; false where it is another's. */
  renew(lease: NotifierLease, leaseMs: number): Promise<boolean>;
  /** Keeps how far the drain has come, all or nothing; false where it may no longer say so. */
  settle(lease: NotifierLease, progress: Progress): Promise<boolean>;
  /** Gives the lease back, where it is still had. */
  release(lease: Pick<NotifierLease, 'poolId' | 'name' | 'fence'>): Promise<void>;
  /** Keeps secrets in place of those that were read; false where they are others by now. */
  replaceSecrets(ref: NotifierRef, former: string | undefined, secrets: string): Promise<boolean>;
  /**
   * Makes it active again, at once; with `told` it goes on from there, and what was to be tried again is left. False where there is
   * none, or its owner has ended.
   */
  resume(ref: NotifierRef, to: { readonly epoch: string; readonly told: number } | undefined): Promise<boolean>;
  /** The newest first, those with lower numbers than `before`. */
  deliveries(ref: NotifierRef, before: number | undefined, limit: number): Promise<StoredDelivery[]>;
  delivery(ref: NotifierRef, serial: number): Promise<StoredDelivery | undefined>;
  /** Keeps what became of another attempt of a parked delivery; false where it isn't parked any more. */
  redelivered(ref: NotifierRef, delivery: DeliveryRecord): Promise<boolean>;
  /** Ends the notifiers of a subject, until others write them. */
  endOwner(ownerId: string, reason: string): Promise<void>;
  /** Active ones that have not told all of their pool, and stopped ones, that may try now. */
  pending(limit: number): Promise<{ pool: string; name: string }[]>;
  /** Deletes up to `limit` deliveries that are older than they are kept for; answers how many. */
  deleteOldDeliveries(keepMs: number, limit: number): Promise<number>;
}
