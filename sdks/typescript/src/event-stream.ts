/**
 * One connection of a stream, as batches of events: by `fetch`, which can say who asks, or by a browser's EventSource, which the cookie does that
 * for. Coming back is of who reads (resuming.ts).
 */
import { HEARTBEAT_MS, HEARTBEATS_MISSED } from './bounds.js';
import { type Clock, timerMs } from './clock.js';
import { StargusError } from './errors.js';
import { CALL, type CallInit } from './generated-api.js';
import { notStargus } from './refusal.js';
import { SseParser, type StreamEvent } from './sse-parser.js';

/** A stream that can be opened. */
export interface StreamRequest {
  /** Path and query, for EventSource. */
  readonly path: string;
  /** The generated call. */
  readonly call: (init: RequestInit) => Promise<Response>;
}

export interface OpenedStream {
  readonly batches: AsyncIterable<readonly StreamEvent[]>;
  /** What the server says its heartbeats are; without anything for some of them the stream is dead. */
  heartbeatMs(ms: number): void;
}

export type OpenStream = (request: StreamRequest, signal: AbortSignal) => Promise<OpenedStream>;

export interface StreamOptions {
  readonly eventBytesMax: number;
  readonly clock: Clock;
  /** Without who asks, but for the cookie. */
  readonly isAnonymous?: boolean;
}

/** By fetch. @throws StargusError where it is refused, or isn't one */
export function fetchStreams({ eventBytesMax, clock, isAnonymous }: StreamOptions): OpenStream {
  return async ({ call }, signal) => {
    const controller = new AbortController();
    let silence: Silence | undefined;
    const aborted = () => {
      silence?.end();
      controller.abort(signal.reason);
    };
    signal.addEventListener('abort', aborted, { once: true });
    if (signal.aborted) aborted();
    const over = () => signal.removeEventListener('abort', aborted);
    const init: CallInit = {
      headers: { accept: 'text/event-stream' },
      signal: controller.signal,
      // Coming back is ours.
      [CALL]: { retryForMs: 0, headers: { accept: 'text/event-stream' }, isAnonymous },
    };
    let response: Response;
    try {
      response = await call(init);
      const type = response.headers.get('content-type') ?? '';
      if (!/^text\/event-stream\b/i.test(type)) throw notStargus(response.status, type);
    } catch (error) {
      over();
      throw error;
    }
    silence = new Silence(controller, clock);
    const heard = silence;
    async function* batches(): AsyncGenerator<readonly StreamEvent[]> {
      const parser = new SseParser(eventBytesMax);
      const reader = (response.body as ReadableStream<Uint8Array>).getReader();
      try {
        for (;;) {
          const { done, value } = await reader.read();
          if (done) return;
          heard.broken();
          const events = parser.push(value);
          if (events.length > 0) yield events;
        }
      } finally {
        heard.end();
        over();
        await reader.cancel().catch(() => {});
      }
    }
    return { batches: batches(), heartbeatMs: (ms) => heard.expect(ms) };
  };
}

/** Notices that nothing comes any more. */
class Silence {
  readonly #controller: AbortController;
  readonly #clock: Clock;
  #limitMs = HEARTBEAT_MS * HEARTBEATS_MISSED;
  #lastAt: number;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(controller: AbortController, clock: Clock) {
    this.#controller = controller;
    this.#clock = clock;
    this.#lastAt = clock.now();
    this.#arm();
  }

  broken(): void {
    this.#lastAt = this.#clock.now();
  }

  expect(heartbeatMs: number): void {
    this.#limitMs = heartbeatMs * HEARTBEATS_MISSED;
    this.#arm();
  }

  end(): void {
    clearTimeout(this.#timer);
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const left = this.#lastAt + this.#limitMs - this.#clock.now();
    this.#timer = setTimeout(
      () => {
        if (this.#clock.now() - this.#lastAt < this.#limitMs - 1) this.#arm();
        else
          this.#controller.abort(
            new StargusError('timeout', `Nothing came on the stream for ${this.#limitMs} ms.`, { retryable: true }),
          );
      },
      timerMs(Math.max(1, left)),
    );
  }
}
