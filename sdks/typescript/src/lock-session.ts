/**
 * The session that a client's locks belong to: it is renewed at a third of its lease, and while a lock is held or waited for its stream tells what becomes
 * of it; only where that is down it is asked for.
 *
 * When the lease runs out is reckoned from when the last renewal that was answered was sent.
 */
import {
  LOCK_LATE_MS,
  LOCK_NEWS_MAX,
  LOCK_POLL_LEAST_MS,
  LOCK_POLL_MS,
  LOCK_RETRY_MS,
  LOCK_WAIT_MS,
} from './bounds.js';
import { pause, timerMs } from './clock.js';
import { isProblem, notUnderstood, ProblemError, StargusError } from './errors.js';
import type { OpenStream, StreamRequest } from './event-stream.js';
import { Held, type LockOptions, type LockScope } from './held-lock.js';
import { poolPath } from './paths.js';
import type { Call, Pipeline } from './pipeline.js';
import { randomName } from './random-name.js';
import { readForEver } from './resuming.js';
import type { StreamEvent } from './sse-parser.js';

export interface LockHost {
  readonly pipeline: Pipeline;
  readonly pool: string;
  readonly openStream: OpenStream;
  renew(): Promise<void>;
  problem(error: unknown): void;
  eventsRequest(session: string, since: string | undefined): StreamRequest;
}

interface LockAnswer {
  readonly lock: string;
  readonly state: string;
  readonly fence?: number;
}

/** What becomes of one lock. */
interface Tracked {
  granted(fence: number): void;
  lost(why: string): void;
  readonly isWaiting: boolean;
}

export class Session {
  isGone = false;
  readonly #host: LockHost;
  readonly #id: string;
  readonly #epoch: number;
  readonly #leaseMs: number;
  readonly #tracked = new Map<string, Tracked>();
  /** What came of locks whose request isn't answered yet. */
  readonly #news = new Map<string, Record<string, unknown>>();
  readonly #ending = new AbortController();
  #asking = 0;
  #leaseUntil: number;
  #leaseTimer: ReturnType<typeof setTimeout> | undefined;
  #listening: AbortController | undefined;
  #isListening = false;
  #cursor: string | undefined;
  #changed: (() => void)[] = [];

  private constructor(host: LockHost, id: string, epoch: number, leaseMs: number, sentAt: number) {
    this.#host = host;
    this.#id = id;
    this.#epoch = epoch;
    this.#leaseMs = leaseMs;
    this.#leaseUntil = sentAt + leaseMs;
    host.pipeline.closing.addEventListener('abort', this.#closing, { once: true });
    this.#armLease();
    void this.#renewForEver();
  }

  static async begin(host: LockHost, leaseMs: number): Promise<Session> {
    const sentAt = host.pipeline.clock.now();
    const { json } = await host.pipeline.request({
      method: 'POST',
      path: `${poolPath(host.pool)}/sessions`,
      body: { ttlMs: leaseMs },
    });
    const { session, epoch, ttlMs } = (json ?? {}) as { session: string; epoch: number; ttlMs?: number };
    if (typeof session !== 'string' || typeof epoch !== 'number') throw notUnderstood('The session');
    return new Session(host, session, epoch, ttlMs ?? leaseMs, sentAt);
  }

  readonly #closing = (): void => {
    for (const wake of this.#changed) wake();
  };

  get #header(): Record<string, string> {
    return { 'stargus-session': `${this.#id};epoch=${this.#epoch}` };
  }

  async lock(scopes: readonly LockScope[], options: LockOptions): Promise<Held> {
    const { pipeline, pool } = this.#host;
    const { mode = 'exclusive', waitMs = LOCK_WAIT_MS, note, signal } = options;
    const until = pipeline.clock.now() + waitMs;
    const ask: Call = {
      method: 'POST',
      path: `${poolPath(pool)}/locks`,
      body: { session: this.#id, mode, scopes, waitMs, requestId: randomName(), ...(note !== undefined && { note }) },
      headers: this.#header,
      idempotencyKey: randomName(),
      // Whether to ask once more is of who asks: the queue is what one waits in.
      final: ['lockConflict', 'deadlock'],
    };
    this.#asking++;
    this.#listen();
    let asked: LockAnswer;
    try {
      asked = await this.#ask({ ...ask, signal });
    } catch (error) {
      this.#asking--;
      this.#listen();
      // It may have been granted all the same, to nobody. The same request under the same key asks for no other one.
      if (!(error instanceof ProblemError) || error.status >= 500)
        void this.#surely(async () => this.#giveBack((await this.#ask(ask)).lock));
      throw error;
    }
    const { lock } = asked;
    const lost = new AbortController();
    let fence = asked.state === 'waiting' ? undefined : asked.fence;
    let goneWhy: string | undefined;
    const tracked: Tracked = {
      get isWaiting() {
        return fence === undefined;
      },
      granted: (rising) => {
        // A fence that rises, because the session was resumed elsewhere, is another one's.
        if (fence !== undefined && fence !== rising) tracked.lost('It was granted anew, to who resumed the session.');
        fence ??= rising;
      },
      lost: (why) => {
        goneWhy ??= why;
        if (!lost.signal.aborted) lost.abort(new StargusError('lockLost', `The lock was lost. ${why}`));
      },
    };
    this.#tracked.set(lock, tracked);
    this.#asking--;
    this.#hearNews(lock);
    // Who ended meanwhile told those that were there.
    if (this.isGone) tracked.lost('Its session has ended.');
    try {
      while (fence === undefined || this.isGone) {
        pipeline.closing.throwIfAborted();
        signal?.throwIfAborted();
        if (goneWhy !== undefined) throw this.isGone ? lost.signal.reason : conflict(waitMs);
        if (pipeline.clock.now() >= until + LOCK_LATE_MS) throw conflict(waitMs);
        await this.#waitForNews(lock, until, signal);
      }
    } catch (error) {
      this.#tracked.delete(lock);
      this.#listen();
      // Given up: it must not be in the way of others.
      if (goneWhy === undefined) void this.#surely(() => this.#giveBack(lock));
      throw error;
    }
    return new Held(pipeline, pool, { lock, fence }, lost.signal, async () => {
      this.#tracked.delete(lock);
      this.#listen();
      if (lost.signal.aborted || this.isGone) return;
      await this.#giveBack(lock).catch((error: unknown) => {
        // It is gone already; or the session's end takes it.
        if (isProblem(error, 'notFound', 'sessionFenced', 'forbidden', 'closed')) return;
        this.#host.problem(error);
        if (isProblem(error) && error.retryable) void this.#surely(() => this.#giveBack(lock));
      });
    });
  }

  /** It has ended: all its locks are lost. */
  gone(why: string): void {
    if (this.isGone) return;
    this.isGone = true;
    this.#stop();
    for (const tracked of this.#tracked.values()) tracked.lost(why);
    this.#tracked.clear();
    this.#wake();
  }

  /** The client closes: the server is told, so that others needn't wait for the lease. */
  async end(): Promise<void> {
    if (this.isGone) return;
    this.gone('The client was closed.');
    const { pipeline, pool } = this.#host;
    await pipeline
      .request({
        method: 'DELETE',
        path: `${poolPath(pool)}/sessions/${encodeURIComponent(this.#id)}`,
        headers: this.#header,
        retryForMs: 0,
        isFarewell: true,
      })
      .catch(() => {});
  }

  #stop(): void {
    clearTimeout(this.#leaseTimer);
    this.#ending.abort(new StargusError('closed', 'The session has ended.'));
    this.#listening?.abort();
    this.#host.pipeline.closing.removeEventListener('abort', this.#closing);
  }

  #armLease(): void {
    clearTimeout(this.#leaseTimer);
    const left = this.#leaseUntil - this.#host.pipeline.clock.now();
    this.#leaseTimer = setTimeout(
      () => {
        if (this.#host.pipeline.clock.now() < this.#leaseUntil) this.#armLease();
        else this.gone('Its lease ran out: no renewal was answered in time.');
      },
      timerMs(Math.max(0, left)),
    );
  }

  async #renewForEver(): Promise<void> {
    const { pipeline, pool } = this.#host;
    let waitMs = this.#leaseMs / 3;
    for (;;) {
      try {
        await pause(waitMs, this.#ending.signal);
        const sentAt = pipeline.clock.now();
        await pipeline.request({
          method: 'POST',
          path: `${poolPath(pool)}/sessions/${encodeURIComponent(this.#id)}/renew`,
          headers: this.#header,
          retryForMs: 0,
          timeoutMs: Math.max(1, Math.min(this.#leaseMs, this.#leaseUntil - sentAt)),
          signal: this.#ending.signal,
        });
        this.#leaseUntil = sentAt + this.#leaseMs;
        this.#armLease();
        waitMs = this.#leaseMs / 3;
      } catch (error) {
        if (this.#ending.signal.aborted || isProblem(error, 'closed')) return;
        if (error instanceof ProblemError && !error.retryable) {
          this.gone(`Its session can't be renewed: ${error.detail}`);
          return;
        }
        // Until the lease is over there is hope.
        waitMs = Math.min(this.#leaseMs / 10, 1_000);
      }
    }
  }

  async #ask(call: Call): Promise<LockAnswer> {
    const { json } = await this.#host.pipeline.request(call);
    const answer = (json ?? {}) as LockAnswer;
    if (typeof answer.lock !== 'string') throw notUnderstood('The lock');
    return answer;
  }

  /** Until it is done or refused, or the session is over, with which all its locks go: what nobody uses must not be in the way for as long as the client lives. */
  async #surely(work: () => Promise<void>): Promise<void> {
    try {
      while (!this.isGone) {
        try {
          return await work();
        } catch (error) {
          if (!isProblem(error) || !error.retryable) return;
        }
        await pause(LOCK_RETRY_MS, this.#ending.signal);
      }
    } catch {
      // The session has ended.
    }
  }

  async #giveBack(lock: string): Promise<void> {
    const { pipeline, pool } = this.#host;
    await pipeline.request({
      method: 'DELETE',
      path: `${poolPath(pool)}/locks/${encodeURIComponent(lock)}`,
      headers: this.#header,
    });
  }

  /** Until something may have changed: by the stream where it is up, by asking where it is down. */
  async #waitForNews(lock: string, until: number, signal: AbortSignal | undefined): Promise<void> {
    const left = until - this.#host.pipeline.clock.now();
    if (!this.#isListening) {
      await this.#look(lock, Math.max(LOCK_POLL_LEAST_MS, Math.min(LOCK_POLL_MS, left)), signal);
      return;
    }
    await new Promise<void>((resolve) => {
      const wake = () => {
        clearTimeout(late);
        signal?.removeEventListener('abort', wake);
        this.#changed = this.#changed.filter((each) => each !== wake);
        resolve();
      };
      // A stream that is dead says nothing, and isn't known to be.
      const late = setTimeout(wake, timerMs(Math.max(0, left) + LOCK_LATE_MS));
      this.#changed.push(wake);
      signal?.addEventListener('abort', wake, { once: true });
    });
  }

  /** Asks the server what became of a lock. */
  async #look(lock: string, waitMs: number, signal?: AbortSignal): Promise<void> {
    const { pipeline, pool } = this.#host;
    const tracked = this.#tracked.get(lock);
    if (!tracked) return;
    try {
      const { json } = await pipeline.request({
        method: 'GET',
        path: `${poolPath(pool)}/locks/${encodeURIComponent(lock)}${waitMs > 0 ? `?waitMs=${Math.ceil(waitMs)}` : ''}`,
        signal,
      });
      const { state, fence } = (json ?? {}) as LockAnswer;
      // It was given back meanwhile.
      if (this.#tracked.get(lock) !== tracked) return;
      if (state === 'granted' && fence !== undefined) tracked.granted(fence);
    } catch (error) {
      if (!isProblem(error, 'notFound')) throw error;
      if (this.#tracked.get(lock) !== tracked) return;
      tracked.lost('It is there no more.');
    }
    this.#wake();
  }

  #hearNews(lock: string): void {
    const news = this.#news.get(lock);
    this.#news.delete(lock);
    if (news) this.#lockEvent(news);
  }

  #wake(): void {
    for (const wake of [...this.#changed]) wake();
  }

  /** The stream is up while something is held or waited for. */
  #listen(): void {
    const isWanted = !this.isGone && (this.#tracked.size > 0 || this.#asking > 0);
    if (!isWanted) {
      this.#listening?.abort(new StargusError('closed', 'Nobody listens any more.'));
      this.#listening = undefined;
      this.#news.clear();
      return;
    }
    if (this.#listening) return;
    const listening = new AbortController();
    this.#listening = listening;
    const ended = () => listening.abort(this.#ending.signal.reason ?? this.#host.pipeline.closing.reason);
    this.#ending.signal.addEventListener('abort', ended, { once: true });
    this.#host.pipeline.closing.addEventListener('abort', ended, { once: true });
    readForEver(
      {
        request: () => this.#host.eventsRequest(this.#id, this.#cursor),
        read: (event) => this.#read(event),
        disconnected: () => {
          this.#isListening = false;
          this.#wake();
        },
        isLive: () => this.#isListening,
      },
      {
        open: this.#host.openStream,
        clock: this.#host.pipeline.clock,
        signal: listening.signal,
        renew: () => this.#host.renew(),
      },
    )
      .catch((error: unknown) => {
        if (listening.signal.aborted) return;
        if (isProblem(error, 'notFound', 'sessionFenced')) this.gone('Its session has ended.');
        else this.#host.problem(error);
      })
      .finally(() => {
        this.#ending.signal.removeEventListener('abort', ended);
        this.#host.pipeline.closing.removeEventListener('abort', ended);
        if (this.#listening === listening) this.#listening = undefined;
      });
  }

  #read(event: StreamEvent): { heartbeatMs?: number; bye?: { reason: string; retryMs: number } } {
    const data = parsed(event);
    switch (event.event) {
      case 'hello':
        return typeof data.heartbeatMs === 'number' && data.heartbeatMs > 0 ? { heartbeatMs: data.heartbeatMs } : {};
      case 'live':
        this.#cursor = event.id === '' ? this.#cursor : event.id;
        this.#isListening = true;
        // What happened before this connection was told to nobody.
        for (const lock of this.#tracked.keys()) this.#look(lock, 0).catch(() => {});
        return {};
      case 'bookmark':
      case 'changes':
        this.#cursor = event.id === '' ? this.#cursor : event.id;
        return {};
      case 'reset':
        this.#cursor = undefined;
        return {};
      case 'lock':
        this.#cursor = event.id === '' ? this.#cursor : event.id;
        this.#lockEvent(data);
        return {};
      case 'bye': {
        const reason = String(data.reason);
        if (reason === 'deleted') this.gone('Its session has ended.');
        return { bye: { reason, retryMs: typeof data.retryMs === 'number' ? Math.max(0, data.retryMs) : 0 } };
      }
      default:
        return {};
    }
  }

  #lockEvent(data: Record<string, unknown>): void {
    const { lock, type, fence } = data;
    // Who contends for it, and the like, must not take the place of what became of it.
    if (typeof lock !== 'string' || (type !== 'granted' && type !== 'broken' && type !== 'lost')) return;
    const tracked = this.#tracked.get(lock);
    if (!tracked) {
      if (this.#asking === 0) return;
      this.#news.set(lock, data);
      for (const [oldest] of this.#news) {
        if (this.#news.size <= LOCK_NEWS_MAX) break;
        this.#news.delete(oldest);
      }
      return;
    }
    if (type === 'granted' && typeof fence === 'number') tracked.granted(fence);
    else if (type === 'broken') tracked.lost('Somebody broke it.');
    else if (type === 'lost' && (fence === undefined || tracked.isWaiting)) tracked.lost(String(data.reason ?? ''));
    else return;
    this.#wake();
  }
}

function conflict(waitMs: number): StargusError {
  return new StargusError(
    'lockConflict',
    `The lock wasn't granted within ${waitMs} ms: others hold it. Ask again later, or wait longer.`,
    {
      retryable: true,
    },
  );
}

function parsed(event: StreamEvent): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(event.data);
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // What can't be understood is passed over: locks are looked at when it matters.
  }
  return {};
}
