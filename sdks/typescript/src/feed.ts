/** The feed: the commits of the pool, each once and in order. It comes back by itself, and fails where commits are missing rather than pass them over. */
import { COMMIT_BYTES_MAX, COMMITS_WAITING_MAX, WAITING_BYTES_MAX } from './bounds.js';
import { isProblem, notUnderstood, ProblemError, StargusError } from './errors.js';
import type { OpenStream, StreamRequest } from './event-stream.js';
import type { Attributes } from './item.js';
import type { Pipeline } from './pipeline.js';
import { readForEver } from './resuming.js';
import type { StreamEvent } from './sse-parser.js';
import type { Where } from './where.js';
import type { CallOptions } from './writes.js';

export interface FeedOptions extends CallOptions {
  /** A cursor; `start`: the oldest commit that is kept; without it: what is committed from now on. */
  readonly since?: string;
  /** `false`: it ends when it has caught up. */
  readonly follow?: boolean;
  /** Only of this collection. */
  readonly collection?: string;
  readonly key?: string;
  readonly prefix?: string;
  readonly start?: string;
  readonly end?: string;
  readonly where?: Where;
  readonly fields?: readonly string[];
  /** What each change has of the attributes: those that were set (without it), `full`: all, and the former ones; `none`. */
  readonly values?: 'changed' | 'full' | 'none';
}

/** All changes of one revision. */
export interface Commit {
  readonly revision: number;
  /** Keep it when you are done with the commit, and begin there the next time. */
  readonly cursor: string;
  readonly time: string;
  /** Who wrote it. */
  readonly subject: string;
  readonly changes: readonly CommitChange[];
}

/** A change as the API tells it (docs/API.md#changes). */
export interface CommitChange {
  /** `add`, `change`, `delete`; a newer server may say others. */
  readonly op: string;
  readonly collection: string;
  readonly key: string;
  readonly changed: readonly string[];
  readonly removed: readonly string[];
  readonly attributes?: Attributes;
  readonly previous?: Attributes;
  readonly reason?: string;
  /** Of the item, where it isn't the commit's. */
  readonly revision?: number;
}

export interface FeedHost {
  readonly pipeline: Pipeline;
  readonly openStream: OpenStream;
  renew(): Promise<void>;
  readonly poolPath: string;
  pagePath(parameters: Record<string, unknown>): string;
  request(parameters: Record<string, unknown>): StreamRequest;
}

export function followFeed(options: FeedOptions, host: FeedHost): AsyncGenerator<Commit, void, undefined> {
  const { follow = true, signal, since, ...selection } = options;
  if (!follow) return caughtUp(selection, since, signal, host);
  const feed = new Feed(selection, since);
  // Now, and not when it is read first: what is committed meanwhile is of it.
  const stop = begin(feed, signal, host);
  const commits = following(feed, stop);
  // A generator that waits hears of its return only with the next commit, which may never come; one that was never read doesn't hear of it at all.
  const abandoned = commits.return;
  return Object.assign(commits, {
    return: async () => {
      const stopped = stop();
      const result = await abandoned.call(commits, undefined);
      await stopped;
      return result;
    },
  });
}

async function* following(feed: Feed, stop: () => Promise<void>): AsyncGenerator<Commit, void, undefined> {
  try {
    yield* feed.commits();
  } finally {
    await stop();
  }
}

/** @returns ends it, and settles when nothing of it is left */
function begin(feed: Feed, signal: AbortSignal | undefined, host: FeedHost): () => Promise<void> {
  const ending = new AbortController();
  const { closing } = host.pipeline;
  const ended = () => {
    ending.abort(closing.aborted ? closing.reason : signal?.reason);
    feed.makeRoom();
  };
  closing.addEventListener('abort', ended, { once: true });
  signal?.addEventListener('abort', ended, { once: true });
  if (closing.aborted || signal?.aborted) ended();
  const running = readForEver(
    {
      request: () => host.request(feed.parameters()),
      read: (event) => feed.read(event),
      settled: () => (ending.signal.aborted ? undefined : feed.room()),
      disconnected: () => feed.disconnected(),
      isLive: () => feed.isLive,
    },
    { open: host.openStream, clock: host.pipeline.clock, signal: ending.signal, renew: () => host.renew() },
  )
    .catch((error: unknown) => (isProblem(error, 'cursorExpired') ? withCursors(error, ending.signal, host) : error))
    .then((error) => {
      closing.removeEventListener('abort', ended);
      signal?.removeEventListener('abort', ended);
      feed.end(error);
    });
  return () => {
    ending.abort(new StargusError('closed', 'The feed is read no more.'));
    feed.abandon();
    return running;
  };
}

/** The refusal of a cursor names two that can be used; a stream that is reset doesn't. @returns what the feed ends with */
async function withCursors(
  error: StargusError,
  signal: AbortSignal,
  { pipeline, poolPath }: FeedHost,
): Promise<unknown> {
  if (error instanceof ProblemError) return error;
  try {
    const { json } = await pipeline.request({ method: 'GET', path: poolPath, signal });
    const { epoch, oldestRevision, cursor } = json as { epoch?: unknown; oldestRevision?: unknown; cursor?: unknown };
    if (typeof epoch !== 'string' || typeof oldestRevision !== 'number' || typeof cursor !== 'string') return error;
    // The commit after it is the oldest that is kept.
    const oldest = `${epoch}-${oldestRevision - 1}`;
    return new ProblemError(
      { code: 'cursorExpired', status: 410, detail: error.message, retryable: false, oldest, current: cursor },
      410,
    );
  } catch {
    // Commits are missing all the same.
    return error;
  }
}

function caughtUp(
  selection: Record<string, unknown>,
  begin: string | undefined,
  signal: AbortSignal | undefined,
  { pipeline, pagePath }: FeedHost,
): AsyncGenerator<Commit, void, undefined> {
  const page = async (since: string) => {
    const { json } = await pipeline.request({ method: 'GET', path: pagePath({ ...selection, since }), signal });
    const told = (json ?? {}) as { commits: Commit[]; cursor: string; upToDate: boolean };
    if (!Array.isArray(told.commits) || typeof told.cursor !== 'string') throw notUnderstood('The changes');
    return told;
  };
  // Now is when it is called, and not when it is read first.
  const now = begin === undefined ? page('now') : undefined;
  now?.catch(() => {});
  return (async function* () {
    let since = begin ?? ((await now) as { cursor: string }).cursor;
    for (;;) {
      const { commits, cursor, upToDate } = await page(since);
      yield* commits;
      if (upToDate) return;
      since = cursor;
    }
  })();
}

/** What came and wasn't read yet, and where to come back to. */
class Feed {
  isLive = false;
  readonly #selection: Record<string, unknown>;
  #since: string | undefined;
  #revision = 0;
  #held: { changes: CommitChange[]; bytes: number } | undefined;
  readonly #waiting: { readonly commit: Commit; readonly bytes: number }[] = [];
  #waitingBytes = 0;
  #wake: (() => void) | undefined;
  #makeRoom: (() => void) | undefined;
  #isEnded = false;
  #error: unknown;
  #isAbandoned = false;

  constructor(selection: Record<string, unknown>, since: string | undefined) {
    this.#selection = selection;
    this.#since = since;
  }

  parameters(): Record<string, unknown> {
    return { ...this.#selection, since: this.#since };
  }

  disconnected(): void {
    this.isLive = false;
    this.#held = undefined;
  }

  read(event: StreamEvent): { heartbeatMs?: number; bye?: { reason: string; retryMs: number } } {
    switch (event.event) {
      case 'hello': {
        const { heartbeatMs } = parsed(event);
        return typeof heartbeatMs === 'number' && heartbeatMs > 0 ? { heartbeatMs } : {};
      }
      case 'live':
        this.isLive = true;
        this.#moveTo(event.id);
        return {};
      case 'bookmark':
        if (!this.#held) this.#moveTo(event.id);
        return {};
      case 'changes':
        this.#changes(event);
        return {};
      case 'reset':
        throw new StargusError(
          'cursorExpired',
          `Commits are missing (${String(parsed(event).reason)}). Read the state anew, and begin the feed with \`start\` or without a cursor.`,
        );
      case 'problem': {
        const problem = parsed(event);
        throw new ProblemError(problem, typeof problem.status === 'number' ? problem.status : 500);
      }
      case 'bye': {
        const { reason, retryMs } = parsed(event);
        return { bye: { reason: String(reason), retryMs: typeof retryMs === 'number' && retryMs > 0 ? retryMs : 0 } };
      }
      default:
        return {};
    }
  }

  #changes(event: StreamEvent): void {
    const { revision, time, subject, changes, more } = parsed(event) as unknown as Commit & { more?: boolean };
    if (!Array.isArray(changes) || typeof revision !== 'number')
      throw new StargusError('protocolError', 'A commit of the stream can’t be understood.');
    if (revision <= this.#revision) return;
    let all: CommitChange[] = changes;
    let bytes = event.data.length;
    if (this.#held || more === true) {
      this.#held ??= { changes: [], bytes: 0 };
      this.#held.bytes += event.data.length;
      if (this.#held.bytes > COMMIT_BYTES_MAX)
        throw new StargusError(
          'eventTooLarge',
          `A commit that comes in parts has more than ${COMMIT_BYTES_MAX} bytes.`,
        );
      for (const change of changes) this.#held.changes.push(change);
      if (more === true) return;
      all = this.#held.changes;
      bytes = this.#held.bytes;
      this.#held = undefined;
    }
    this.#revision = revision;
    this.#moveTo(event.id);
    this.#waiting.push({ commit: { revision, cursor: event.id, time, subject, changes: all }, bytes });
    this.#waitingBytes += bytes;
    this.#wake?.();
  }

  #moveTo(id: string): void {
    if (id !== '') this.#since = id;
  }

  /** The stream is read no further while so much waits. */
  room(): Promise<void> | undefined {
    if (this.#isEnded || this.#hasRoom) return undefined;
    return new Promise((resolve) => {
      this.#makeRoom = resolve;
    });
  }

  get #hasRoom(): boolean {
    return this.#waiting.length < COMMITS_WAITING_MAX && this.#waitingBytes < WAITING_BYTES_MAX;
  }

  /** Who waits for room goes on. */
  makeRoom(): void {
    this.#makeRoom?.();
  }

  /** What waits is still given, and then the error. */
  end(error: unknown): void {
    this.#isEnded = true;
    this.#error = error;
    this.#wake?.();
  }

  /** Nobody wants what waits, nor to know how it ended. */
  abandon(): void {
    this.#isEnded = true;
    this.#isAbandoned = true;
    this.#waiting.length = 0;
    this.makeRoom();
    this.#wake?.();
  }

  async *commits(): AsyncGenerator<Commit, void, undefined> {
    while (!this.#isAbandoned) {
      const next = this.#waiting.shift();
      if (next) {
        this.#waitingBytes -= next.bytes;
        if (this.#hasRoom) this.makeRoom();
        yield next.commit;
      } else if (this.#isEnded) {
        throw this.#error;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}

function parsed(event: StreamEvent): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(event.data);
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // Told below.
  }
  throw new StargusError('protocolError', `The event ${event.event} of the stream can’t be understood.`);
}
