/**
 * The client of one pool: what a program holds. It puts the parts together; each has a file of its own. Whoever made it closes it, and everything that
 * it opened closes with it.
 */
import type { BatchOp } from './batch.js';
import { FAREWELL_MS } from './bounds.js';
import { cacheView } from './cache.js';
import { Credentials, type Login } from './credentials.js';
import { isProblem, notUnderstood, ProblemError } from './errors.js';
import { fetchStreams, type OpenStream } from './event-stream.js';
import { eventSourceStreams } from './eventsource-stream.js';
import { type Commit, type FeedOptions, followFeed } from './feed.js';
import { attachCollection, streamChanges, streamSession } from './generated/streams.js';
import { type Api, apiOn } from './generated-api.js';
import type { Held, LockOptions, LockScope } from './held-lock.js';
import { type Attributes, type Entry, type Item, itemOfAnswer } from './item.js';
import { Locks } from './locks.js';
import { type AttachOptions, Mirror, type MirrorHost } from './mirror.js';
import { type Notifier, type NotifierDefinition, putNotifier } from './notifier.js';
import { collectionPath, itemPath, poolPath, queryOf } from './paths.js';
import type { Pipeline } from './pipeline.js';
import type { Platform } from './platform.js';
import { type EffectivePolicy, EVERYTHING } from './policy-rules.js';
import { type CountOptions, countItems, type Query, type QueryOptions, queryItems } from './query.js';
import type { Where } from './where.js';
import {
  type BatchOptions,
  type BatchResult,
  type CallOptions,
  type IncrementOptions,
  type ItemWriteOptions,
  type WriteOptions,
  Writes,
} from './writes.js';

/** What the server says of itself. */
export interface About {
  readonly name: string;
  readonly version: string;
  readonly apiVersion: string;
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, unknown>>;
}

/** How a client behaves; `connect` fills in what isn't given. */
export interface ClientSettings {
  readonly eventBytesMax: number;
  readonly streams: 'fetch' | 'eventsource';
  readonly withCredentials: boolean;
  readonly audience: string | undefined;
  readonly onProblem: (error: unknown) => void;
}

export interface GetOptions extends CallOptions {
  /** Only these attributes. */
  readonly fields?: readonly string[];
  /** Answered only from a state that has this revision; after 5 s `unavailable`. */
  readonly minRevision?: number;
}

export class Client {
  /** The server's URL, without a slash at its end. */
  readonly url: string;
  readonly pool: string;
  /** What the server said of itself when it was connected to. */
  readonly about: About;
  /** The generated layer: every call of the API, by area. `client.api.items.listItems({ pool, collection })`. */
  readonly api: Api;
  readonly #pipeline: Pipeline;
  readonly #settings: ClientSettings;
  readonly #platform: Platform;
  readonly #writes: Writes;
  readonly #openStream: OpenStream;
  readonly #locks: Locks;
  readonly #mirrors = new Set<Mirror>();
  #credentials: Credentials | undefined;
  #subject = 'anonymous';
  #closing: Promise<void> | undefined;

  /** Not for programs: `connect` makes clients. */
  constructor(pipeline: Pipeline, pool: string, about: About, settings: ClientSettings, platform: Platform) {
    this.url = pipeline.url;
    this.pool = pool;
    this.about = about;
    this.#pipeline = pipeline;
    this.#settings = settings;
    this.#platform = platform;
    this.api = apiOn(pipeline);
    this.#writes = new Writes(pipeline, pool);
    const { eventBytesMax, withCredentials } = settings;
    const isByCookie = settings.streams === 'eventsource';
    const byFetch = fetchStreams({ eventBytesMax, clock: pipeline.clock, isAnonymous: isByCookie });
    this.#openStream = isByCookie
      ? eventSourceStreams({
          url: pipeline.url,
          eventBytesMax,
          withCredentials,
          byFetch,
          renewCookie: () => this.#renewCookie(),
        })
      : byFetch;
    this.#locks = new Locks({
      pipeline,
      pool,
      openStream: this.#openStream,
      renew: () => this.#renew(),
      problem: (error) => this.#problem(error),
      eventsRequest: (session, since) => ({
        path: `${poolPath(pool)}/sessions/${encodeURIComponent(session)}/events?${queryOf({ renew: false, since })}`,
        call: (init) =>
          streamSession(
            this.api.sessions,
            { pool, session, renew: false, ...(since !== undefined && { since }) },
            init,
          ),
      }),
    });
  }

  /** Who asks: `anonymous`, an account's URL, `apikey:…` or `operator`. */
  get subject(): string {
    return this.#subject;
  }

  /**
   * Logs in, at once; all requests and streams have a token from then on, which is renewed by itself. With `streams: 'eventsource'` the token is put into
   * the cookie, too, which takes no API keys and no bound tokens.
   *
   * @throws StargusError `loginFailed`, `unreachable`, `timeout`, `notStargus`
   */
  async authenticate(login: Login): Promise<{ subject: string }> {
    const credentials = await Credentials.begin(this.#pipeline, login, {
      readKeyFile: (file) => this.#platform.readKeyFile(file),
      transport: () => this.#platform.transport(),
      audience: this.#settings.audience,
    });
    this.#pipeline.authorizer = credentials;
    this.#credentials = credentials;
    this.#subject = credentials.subject;
    // An EventSource sends nothing else.
    if (this.#settings.streams === 'eventsource') await this.createCookie();
    return { subject: credentials.subject };
  }

  /** A token that is good now, for what the library doesn't do: undefined without a login, or where it is bound to a key. */
  async token(): Promise<string | undefined> {
    return this.#credentials?.token();
  }

  /** Puts the token into the cookie of this server, for `streams: 'eventsource'` (docs/API.md#the-cookie). Pages of the same origin only. */
  async createCookie({ signal }: CallOptions = {}): Promise<void> {
    await this.#pipeline.exchange({ method: 'POST', path: '/v1/auth/cookie', signal }, async (response) => {
      response.discard();
      return undefined;
    });
  }

  /** The item; undefined where there is none, or none that one may see. */
  async get(
    collection: string,
    key: string,
    { fields, minRevision, signal }: GetOptions = {},
  ): Promise<Item | undefined> {
    const path = itemPath(this.pool, collection, key);
    try {
      const { json } = await this.#pipeline.request({
        method: 'GET',
        path: fields ? `${path}?${queryOf({ fields })}` : path,
        headers: minRevision === undefined ? undefined : { 'stargus-min-revision': String(minRevision) },
        signal,
      });
      return itemOfAnswer(json);
    } catch (error) {
      if (error instanceof ProblemError && error.code === 'notFound') return undefined;
      throw error;
    }
  }

  /** Replaces all attributes; null means absent. */
  set(collection: string, key: string, attributes: Attributes, options?: ItemWriteOptions): Promise<Item> {
    return this.#writes.set(collection, key, attributes, options);
  }

  /** A merge patch (RFC 7396): what is named is set, null removes. Makes the item where there is none. */
  merge(collection: string, key: string, attributes: Attributes, options?: ItemWriteOptions): Promise<Item> {
    return this.#writes.merge(collection, key, attributes, options);
  }

  /** A new item; `conflict` where there is one. Without a key the server makes one that orders by time. */
  create(collection: string, attributes: Attributes, key?: string, options?: WriteOptions): Promise<Item> {
    return this.#writes.create(collection, attributes, key, options);
  }

  /** @returns whether there was one */
  delete(collection: string, key: string, options?: ItemWriteOptions): Promise<boolean> {
    return this.#writes.delete(collection, key, options);
  }

  /** Adds to a number, atomically; an absent one counts as 0. @returns the new value */
  increment(collection: string, key: string, attribute: string, by = 1, options?: IncrementOptions): Promise<number> {
    return this.#writes.increment(collection, key, attribute, by, options);
  }

  /** All or nothing, in one commit: `client.batch([ops.put('rooms', 'hall', {…})])`. */
  batch(ops: readonly BatchOp[], options?: BatchOptions): Promise<BatchResult> {
    return this.#writes.batch(ops, options);
  }

  /** The items that match, one after the other: `for await (const item of client.query('rooms', { where }))`. */
  query(collection: string, options?: QueryOptions): Query {
    return queryItems(this.#pipeline, this.pool, collection, options);
  }

  /** How many match. */
  count(collection: string, where?: Where, options?: CountOptions): Promise<number> {
    return countItems(this.#pipeline, this.pool, collection, where, options);
  }

  /** A mirror of a collection, or of a part of it. It is empty until it is `ready`, or shows what its cache had. */
  attach(collection: string, options: AttachOptions & { readonly values: 'none' }): Mirror<Entry>;
  attach(collection: string, options?: AttachOptions): Mirror<Item>;
  attach(collection: string, options: AttachOptions = {}): Mirror<Entry> | Mirror<Item> {
    const mirror = new Mirror<Item>(this.#host(), collection, options);
    this.#mirrors.add(mirror);
    mirror.on('end', () => this.#mirrors.delete(mirror));
    return mirror;
  }

  /**
   * The commits of the pool from `since` on (a cursor, `start`, or now), each once and in order, for ever; with `follow: false` until it has caught up.
   * Fails with `cursorExpired` where commits are missing.
   */
  changes(options: FeedOptions = {}): AsyncGenerator<Commit, void, undefined> {
    const { pool } = this;
    return followFeed(options, {
      pipeline: this.#pipeline,
      openStream: this.#openStream,
      renew: () => this.#renew(),
      poolPath: poolPath(pool),
      pagePath: (parameters) => `${poolPath(pool)}/changes?${queryOf(parameters)}`,
      request: (parameters) => ({
        path: `${poolPath(pool)}/changes/stream?${queryOf(parameters)}`,
        call: (init) => streamChanges(this.api.changes, { pool, ...sentAsText(parameters) }, init),
      }),
    });
  }

  /**
   * Waits for its turn, and holds the lock until it is released: `await using held = await client.lock({ collection: 'rooms', key: 'hall' })`.
   *
   * @throws StargusError `lockConflict` when the wait is over, `deadlock`, `closed`
   */
  lock(scope: LockScope | readonly LockScope[], options?: LockOptions): Promise<Held> {
    return this.#locks.lock(scope, options);
  }

  /** Runs the body under a lock. @throws StargusError `lockLost` when it was lost meanwhile, of which `held.signal` told the body; what the body throws */
  async withLock<R>(
    scope: LockScope | readonly LockScope[],
    body: (held: Held) => Promise<R> | R,
    options?: LockOptions,
  ): Promise<R> {
    const held = await this.lock(scope, options);
    try {
      const result = await body(held);
      held.signal.throwIfAborted();
      return result;
    } catch (error) {
      if (held.signal.aborted) throw held.signal.reason;
      throw error;
    } finally {
      await held.release();
    }
  }

  /** Makes a notifier, or alters it. @returns it, with its secret where it is new */
  putNotifier(name: string, definition: NotifierDefinition, options?: WriteOptions): Promise<Notifier> {
    return putNotifier(this.#pipeline, this.pool, name, definition, options);
  }

  /** What goes on now: requests (a stream is one), mirrors, sessions for locks. All are 0 after `close`. */
  get activity(): { readonly requests: number; readonly mirrors: number; readonly sessions: number } {
    return { requests: this.#pipeline.inFlight, mirrors: this.#mirrors.size, sessions: this.#locks.isOpen ? 1 : 0 };
  }

  /** Ends everything that it opened: mirrors, feeds, locks, connections. May be called more than once. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const mirrors = [...this.#mirrors];
    this.#pipeline.close();
    const late = setTimeout(() => this.#pipeline.disconnect(), FAREWELL_MS);
    await Promise.allSettled([...mirrors.map((mirror) => mirror.close()), this.#locks.close()]);
    clearTimeout(late);
    this.#pipeline.disconnect();
  }

  #host(): MirrorHost {
    const { pool } = this;
    return {
      clock: this.#pipeline.clock,
      writes: this.#writes,
      openStream: this.#openStream,
      subject: () => this.#subject,
      closing: this.#pipeline.closing,
      attachRequest: (collection, parameters) => ({
        path: `${collectionPath(pool, collection)}/attach?${queryOf(parameters)}`,
        call: (init) => attachCollection(this.api.changes, { pool, collection, ...sentAsText(parameters) }, init),
      }),
      openCache: async (cache, collection, parameters) =>
        this.#platform.openCache(
          cache,
          cacheView(this.url, pool, await this.#whoAsks(), collection, queryOf(parameters)),
        ),
      fetchItem: (collection, key, options) => this.get(collection, key, options),
      effectivePolicy: () => this.#effectivePolicy(),
      renew: () => this.#renew(),
      problem: (error) => this.#problem(error),
    };
  }

  async #effectivePolicy(): Promise<EffectivePolicy> {
    try {
      const { json } = await this.#pipeline.request({ method: 'GET', path: `${poolPath(this.pool)}/policy/effective` });
      const policy = (json ?? {}) as EffectivePolicy;
      if (!Array.isArray(policy.rules) || !Array.isArray(policy.restrictions)) throw notUnderstood('The policy');
      return policy;
    } catch (error) {
      // There is no pool yet, so no rules: who may make it may do everything.
      if (isProblem(error, 'notFound')) return EVERYTHING;
      throw error;
    }
  }

  async #renew(): Promise<void> {
    await this.#credentials?.renew();
    if (this.#credentials && this.#settings.streams === 'eventsource') await this.createCookie();
  }

  async #renewCookie(): Promise<boolean> {
    if (!this.#credentials) return false;
    await this.#credentials.renew();
    await this.createCookie();
    return true;
  }

  /** By the cookie somebody asks whom only the server knows. */
  async #whoAsks(): Promise<string> {
    if (this.#credentials || this.#settings.streams !== 'eventsource') return this.#subject;
    const { json } = await this.#pipeline.request({ method: 'GET', path: '/v1/auth/me' });
    return String((json as { subject?: unknown } | undefined)?.subject);
  }

  #problem(error: unknown): void {
    try {
      this.#settings.onProblem(error);
    } catch {
      // Who is told of problems has one; there is nobody else to tell.
    }
  }
}

/** Parameters as the generated calls take them: filters and lists as text. */
function sentAsText(parameters: Readonly<Record<string, unknown>>): Record<string, never> {
  const sent: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(parameters)) {
    if (value === undefined) continue;
    sent[name] = name === 'where' ? JSON.stringify(value) : Array.isArray(value) ? value.join(',') : value;
  }
  return sent as Record<string, never>;
}
