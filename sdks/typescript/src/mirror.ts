/**
 * The live mirror: a read-only mapping from keys to items that follows a collection. It keeps the stream up, gives what comes to the view (view.ts), tells how
 * what is shown changes by that and by its own writes (shown.ts), and keeps the cache up with it.
 */
import { MEMORY_MAX } from './bounds.js';
import type { CacheStore } from './cache.js';
import type { Change } from './change.js';
import type { Clock } from './clock.js';
import { closedError, ProblemError, StargusError } from './errors.js';
import type { OpenStream, StreamRequest } from './event-stream.js';
import type { Attributes, Entry, Item } from './item.js';
import type { JsonObject } from './json.js';
import { MirrorCache } from './mirror-cache.js';
import { type MirrorEvents, MirrorListeners } from './mirror-listeners.js';
import { MirrorWrites, type OnDenied } from './mirror-writes.js';
import { Overlay } from './overlay.js';
import type { EffectivePolicy } from './policy-rules.js';
import { readForEver } from './resuming.js';
import { Shown } from './shown.js';
import { SparseValues } from './sparse-values.js';
import type { StreamEvent } from './sse-parser.js';
import { type Applied, type Step, View } from './view.js';
import type { Where } from './where.js';
import type { CallOptions, ItemWriteOptions, Writes } from './writes.js';

/** What is mirrored, and how. */
export interface AttachOptions {
  /** Only items that match. */
  readonly where?: Where;
  /** Only keys that begin so. */
  readonly prefix?: string;
  /** Only keys from this one on. */
  readonly start?: string;
  /** Only keys before this one. */
  readonly end?: string;
  /** Only this item. */
  readonly key?: string;
  /** Only these attributes. */
  readonly fields?: readonly string[];
  /** `none`: a sparse mirror, which knows the items and fetches their values when asked. */
  readonly values?: 'full' | 'none';
  /** In Node a file, in a browser a name: the mirror begins with what it had. */
  readonly cache?: string;
  /** Bytes of JSON that a sparse mirror keeps. 16 MiB. */
  readonly memoryMax?: number;
  /** What a refusal of a write of this mirror does: fail the call, tell `denied` listeners, or neither. */
  readonly onDenied?: OnDenied;
}

/** What a mirror needs of its client. */
export interface MirrorHost {
  readonly clock: Clock;
  readonly writes: Writes;
  readonly openStream: OpenStream;
  /** Who asks now. */
  subject(): string;
  /** Aborted when the client closes. */
  readonly closing: AbortSignal;
  attachRequest(collection: string, parameters: Record<string, unknown>): StreamRequest;
  openCache(cache: string, collection: string, parameters: Record<string, unknown>): Promise<CacheStore>;
  fetchItem(
    collection: string,
    key: string,
    options: { minRevision: number; fields?: readonly string[] | undefined },
  ): Promise<Item | undefined>;
  effectivePolicy(): Promise<EffectivePolicy>;
  renew(): Promise<void>;
  problem(error: unknown): void;
}

export class Mirror<T extends Entry = Item> implements ReadonlyMap<string, T> {
  /** Of what. */
  readonly collection: string;
  /**
   * Settles when the mirror shows the collection as it is.
   *
   * @throws what ended the mirror before: a ProblemError, or `notStargus`, `protocolError`, `loginFailed`, `cacheInUse`, `cacheFailed`, `closed`
   */
  readonly ready: Promise<void>;
  readonly #host: MirrorHost;
  readonly #options: AttachOptions;
  readonly #isSparse: boolean;
  readonly #view: View;
  readonly #shown: Shown<T>;
  readonly #values: SparseValues;
  readonly #listeners: MirrorListeners<T>;
  readonly #ending = new AbortController();
  readonly #running: Promise<void>;
  readonly #writes: MirrorWrites;
  readonly #waiting = new Set<() => void>();
  #cache: MirrorCache | undefined;
  /** As whom what is shown was asked for. */
  #subject: string | undefined;
  #wasLive = false;
  #error: StargusError | undefined;
  #settle!: { resolve: () => void; reject: (error: unknown) => void };

  /** Not for programs: `client.attach` makes mirrors. */
  constructor(host: MirrorHost, collection: string, options: AttachOptions) {
    this.#host = host;
    this.collection = collection;
    this.#options = options;
    this.#isSparse = options.values === 'none';
    this.#listeners = new MirrorListeners((error) => host.problem(error));
    this.#view = new View(collection, { isSparse: this.#isSparse });
    const overlay = new Overlay(options);
    this.#shown = new Shown(this.#view, overlay, { isSparse: this.#isSparse });
    this.#values = new SparseValues(options.memoryMax ?? MEMORY_MAX, {
      has: (key) => this.has(key),
      revision: (key) => Math.max(this.#view.revision, this.get(key)?.revision ?? 0),
      ask: (key, minRevision) => host.fetchItem(collection, key, { minRevision, fields: options.fields }),
    });
    this.#writes = new MirrorWrites({
      host,
      collection,
      onDenied: options.onDenied ?? 'error',
      overlay,
      shown: (key) => this.get(key) as Item | undefined,
      relaid: (key, reason) => {
        const changes = this.#shown.relaid(key, reason);
        if (this.#isSparse) this.#values.changed(key, this.get(key)?.revision ?? 0);
        this.#listeners.tell(changes);
      },
      at: () => ({ revision: this.#view.revision, epoch: this.#view.epoch }),
      denied: (error) => this.#listeners.call('denied', error),
    });
    this.ready = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    // Who doesn't ask need not be told.
    this.ready.catch(() => {});
    this.#running = this.#run();
  }

  /** The state that is shown: all commits up to this one. */
  get revision(): number {
    return this.#view.revision;
  }

  /** Where to go on from, as a cursor of the API; undefined before there is one. */
  get cursor(): string | undefined {
    return this.#view.cursor;
  }

  /** Whether it is connected and complete now. */
  get isLive(): boolean {
    return this.#view.isLive && this.#error === undefined;
  }

  /** What ended it; undefined while it goes on. */
  get error(): StargusError | undefined {
    return this.#error;
  }

  get size(): number {
    return this.#shown.size;
  }

  get(key: string): T | undefined {
    return this.#shown.get(key);
  }

  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  /** Of the state that is shown when it is called, whatever comes meanwhile; so are `keys`, `values` and `for … of`. */
  entries(): MapIterator<[string, T]> {
    return each(this.#shown.all(), (item) => [item.key, item]);
  }

  keys(): MapIterator<string> {
    return each(this.#shown.all(), ({ key }) => key);
  }

  values(): MapIterator<T> {
    return each(this.#shown.all(), (item) => item);
  }

  [Symbol.iterator](): MapIterator<[string, T]> {
    return this.entries();
  }

  forEach(visit: (item: T, key: string, mirror: ReadonlyMap<string, T>) => void): void {
    for (const item of this.#shown.all()) visit(item, item.key, this);
  }

  /** Hears of something. Listeners are called in the order of commits, one at a time, after the mirror shows it. @returns to hear no more */
  on<E extends keyof MirrorEvents<T>>(event: E, listener: MirrorEvents<T>[E]): () => void {
    return this.#listeners.on(event, listener);
  }

  /** Hears of changes. @returns to hear no more */
  onChange(listener: (change: Change<T>) => unknown): () => void {
    return this.on('change', listener);
  }

  /** Hears of refused writes, where `onDenied` is `event`. @returns to hear no more */
  onDenied(listener: (error: ProblemError) => unknown): () => void {
    return this.on('denied', listener);
  }

  /** The changes from now on, one by one. It ends with the mirror, and fails with what ended it. */
  changes(): AsyncIterableIterator<Change<T>> {
    const changes = this.#listeners.changes();
    if (this.#error) this.#listeners.endChanges(reasonOf(this.#error));
    return changes;
  }

  /**
   * Settles when the mirror's revision is at least this: `await mirror.reached(item.revision)` after a write elsewhere.
   *
   * @throws what ended the mirror; the signal's reason
   */
  async reached(revision: number, { signal }: CallOptions = {}): Promise<void> {
    while (this.#view.revision < revision || !this.#view.isComplete) {
      if (this.#error) throw this.#error;
      signal?.throwIfAborted();
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.#waiting.delete(wake);
          signal?.removeEventListener('abort', wake);
          resolve();
        };
        this.#waiting.add(wake);
        signal?.addEventListener('abort', wake, { once: true });
      });
    }
  }

  /** The item with its values: of a sparse mirror from the server where they aren't kept, never older than the mirror knows; otherwise from memory. */
  async fetch(key: string): Promise<Item | undefined> {
    return this.#isSparse ? this.#values.fetch(key) : (this.get(key) as Item | undefined);
  }

  /** The values that a sparse mirror keeps. */
  get kept(): { readonly items: number; readonly bytes: number } {
    return this.#values.kept;
  }

  /** Replaces all attributes; shows at once, and is taken back if it is refused. @returns undefined where it was denied and `onDenied` isn't `error` */
  set(key: string, attributes: Attributes, options: ItemWriteOptions = {}): Promise<Item | undefined> {
    return this.#write('set', key, attributes, options).then((written) => written?.item);
  }

  /** A merge patch; shows at once, and is taken back if it is refused. */
  merge(key: string, attributes: Attributes, options: ItemWriteOptions = {}): Promise<Item | undefined> {
    return this.#write('merge', key, attributes, options).then((written) => written?.item);
  }

  /** Shows at once, and is taken back if it is refused. @returns whether there was one */
  delete(key: string, options: ItemWriteOptions = {}): Promise<boolean | undefined> {
    return this.#write('delete', key, {}, options).then((written) => written?.existed);
  }

  /** Ends it; what it shows can still be read. */
  async close(): Promise<void> {
    this.#ending.abort(closedError('mirror'));
    await this.#running;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #write(op: 'set' | 'merge' | 'delete', key: string, attributes: Attributes, options: ItemWriteOptions) {
    if (this.#ending.signal.aborted) throw closedError('mirror');
    return this.#writes.write(op, key, attributes as JsonObject, options);
  }

  async #run(): Promise<void> {
    const { closing } = this.#host;
    const ended = () => this.#ending.abort(closing.reason);
    closing.addEventListener('abort', ended, { once: true });
    if (closing.aborted) ended();
    try {
      // Who attaches gets to listen before anything is told.
      await null;
      if (this.#options.cache !== undefined) await this.#openCache(this.#options.cache);
      await readForEver(
        {
          request: () => this.#request(),
          read: (event) => this.#read(event),
          disconnected: () => this.#disconnected(),
          isLive: () => this.#view.isLive,
        },
        {
          open: this.#host.openStream,
          clock: this.#host.clock,
          signal: this.#ending.signal,
          renew: () => this.#host.renew(),
        },
      );
    } catch (error) {
      await this.#end(error);
    } finally {
      closing.removeEventListener('abort', ended);
    }
  }

  async #openCache(name: string): Promise<void> {
    this.#subject = this.#host.subject();
    const store = await this.#host.openCache(name, this.collection, this.#parameters());
    this.#cache = new MirrorCache(store, this.#view, (error) => this.#host.problem(error));
    await this.#cache.load(this.#isSparse);
    this.#ending.signal.throwIfAborted();
    this.#wake();
  }

  #parameters(): Record<string, unknown> {
    const { where, prefix, start, end, key, fields } = this.#options;
    return { where, prefix, start, end, key, fields, values: this.#isSparse ? 'none' : undefined };
  }

  #request(): StreamRequest {
    const subject = this.#host.subject();
    if (this.#subject !== undefined && this.#subject !== subject) {
      // Another one may see other items, and a cursor tells nothing of that; the cache is of who was here before.
      this.#cache?.leave();
      this.#cache = undefined;
      this.#writes.policyChanged();
      this.#view.beginAnew();
    } else if (this.#view.since === undefined) this.#view.expectSnapshot();
    this.#subject = subject;
    return this.#host.attachRequest(this.collection, { ...this.#parameters(), since: this.#view.since });
  }

  #read(event: StreamEvent): Applied {
    const before = this.#view.cursor;
    const applied = this.#view.apply(event);
    if (applied.problem) {
      const { status } = applied.problem;
      throw new ProblemError(applied.problem, typeof status === 'number' ? status : 500);
    }
    const { steps } = applied;
    if (steps) this.#follow(steps, applied);
    if (steps || this.#view.cursor !== before) {
      if (!applied.isReplaced && !steps?.length) this.#listeners.tell(this.#shown.relaid());
      this.#cache?.changed(
        (steps ?? []).map(({ key }) => key),
        applied.isReplaced === true,
      );
      this.#wake();
    }
    this.#liveness();
    return applied;
  }

  #liveness(): void {
    const { isLive } = this;
    if (isLive === this.#wasLive) return;
    this.#wasLive = isLive;
    if (isLive) this.#settle.resolve();
    this.#listeners.call('live', isLive);
  }

  #disconnected(): void {
    this.#view.disconnected();
    this.#liveness();
  }

  #follow(steps: readonly Step[], applied: Applied): void {
    if (applied.isReplaced) this.#values.reset();
    for (const { key, reason } of steps) {
      if (this.#isSparse) this.#values.changed(key, this.#view.revision);
      if (reason === 'denied') this.#writes.policyChanged();
    }
    this.#listeners.tell(this.#shown.follow(steps, applied, this.#listeners.areChangesHeard));
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  async #end(reason: unknown): Promise<void> {
    const error =
      reason instanceof StargusError
        ? reason
        : new StargusError('protocolError', 'The mirror ended by an error that isn’t expected.', { cause: reason });
    this.#view.disconnected();
    // Writes that come now are refused.
    this.#ending.abort(error);
    this.#error = error;
    this.#liveness();
    this.#settle.reject(error);
    this.#wake();
    this.#listeners.endChanges(reasonOf(error));
    await this.#cache?.close();
    this.#listeners.call('end', reasonOf(error));
  }
}

function* each<T, R>(items: readonly T[], told: (item: T) => R): Generator<R, undefined, unknown> {
  for (const item of items) yield told(item);
  return undefined;
}

/** Of an end; undefined where it was closed. */
function reasonOf(end: StargusError): StargusError | undefined {
  return end.code === 'closed' ? undefined : end;
}
