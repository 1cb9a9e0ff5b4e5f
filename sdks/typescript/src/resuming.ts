/**
 * A stream that comes back for as long as it is wanted, unless that makes no sense. What is done with its events, and from where it comes back, is of
 * who reads it.
 */
import { LIVE_LONG_ENOUGH_MS } from './bounds.js';
import { type Clock, pause, unlessAborted } from './clock.js';
import { ProblemError, StargusError } from './errors.js';
import type { OpenStream, StreamRequest } from './event-stream.js';
import { waitBeforeStream } from './repetition.js';
import type { StreamEvent } from './sse-parser.js';
import { ConnectionFault } from './transport.js';

export interface Reader {
  /** Where to begin now. */
  request(): StreamRequest;
  /** @returns what to do with the stream: `bye` ends it, and it comes back */
  read(event: StreamEvent): {
    readonly heartbeatMs?: number;
    readonly bye?: { readonly reason: string; readonly retryMs: number };
  };
  /** After a batch of events; the reader may slow the stream down. */
  settled?(): Promise<void> | undefined;
  /** The connection is over, or couldn't be made. */
  disconnected(error: unknown): void;
  isLive(): boolean;
}

export interface ResumingOptions {
  readonly open: OpenStream;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** The token is over: another before the next connection. */
  readonly renew: () => Promise<void>;
}

/**
 * Reads until the signal is aborted.
 *
 * @throws the signal's reason; StargusError when to come back makes no sense
 */
export async function readForEver(reader: Reader, { open, clock, signal, renew }: ResumingOptions): Promise<never> {
  let failures = 0;
  for (;;) {
    let retryMs = 0;
    let liveAt: number | undefined;
    const connection = new AbortController();
    const aborted = () => connection.abort(signal.reason);
    signal.addEventListener('abort', aborted, { once: true });
    try {
      signal.throwIfAborted();
      const stream = await open(reader.request(), connection.signal);
      reading: for await (const events of stream.batches) {
        for (const event of events) {
          const { heartbeatMs, bye } = reader.read(event);
          if (heartbeatMs !== undefined) stream.heartbeatMs(heartbeatMs);
          if (liveAt === undefined && reader.isLive()) liveAt = clock.now();
          if (!bye) continue;
          retryMs = bye.retryMs;
          if (bye.reason === 'expired') await unlessAborted(renew(), signal);
          break reading;
        }
        await reader.settled?.();
      }
      reader.disconnected(undefined);
    } catch (error) {
      reader.disconnected(error);
      if (signal.aborted) throw signal.reason;
      const isPassing = error instanceof ConnectionFault || (error instanceof StargusError && error.retryable);
      if (!isPassing) throw error;
      if (error instanceof ProblemError) retryMs = error.retryAfterMs ?? 0;
    } finally {
      signal.removeEventListener('abort', aborted);
      connection.abort();
    }
    if (liveAt !== undefined && clock.now() - liveAt >= LIVE_LONG_ENOUGH_MS) failures = 0;
    const isAtOnce = liveAt !== undefined && failures === 0;
    await pause(
      waitBeforeStream({ failures: isAtOnce ? 0 : Math.max(1, failures), retryMs, random: Math.random() }),
      signal,
    );
    failures++;
  }
}
