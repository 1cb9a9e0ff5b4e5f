/**
 * Streams by the browser's EventSource, for who is logged in by the cookie. It can't say why it was refused, so the same is asked by fetch then; it
 * doesn't show heartbeats, so a connection that is dead is noticed by the browser only; and it comes back by itself, which it isn't left to do.
 */
import { WAITING_BYTES_MAX } from './bounds.js';
import { unlessAborted } from './clock.js';
import { isProblem, StargusError } from './errors.js';
import type { OpenedStream, OpenStream } from './event-stream.js';
import type { StreamEvent } from './sse-parser.js';

/** Events that an EventSource can't be asked for can't be heard either. */
const EVENTS = [
  'hello',
  'snapshot',
  'live',
  'changes',
  'bookmark',
  'reset',
  'problem',
  'bye',
  'lock',
  'policy',
  'queue',
];

export interface EventSourceOptions {
  readonly url: string;
  readonly eventBytesMax: number;
  readonly withCredentials: boolean;
  /** Tells why, asking as the EventSource does: by the cookie alone. */
  readonly byFetch: OpenStream;
  /** Puts a new token into the cookie. False: there is none to put. */
  readonly renewCookie: () => Promise<boolean>;
}

export function eventSourceStreams({
  url,
  eventBytesMax,
  withCredentials,
  byFetch,
  renewCookie,
}: EventSourceOptions): OpenStream {
  /** The cookie was renewed, and no stream was opened since. */
  let isRenewed = false;
  let renewals = 0;
  return async (request, signal): Promise<OpenedStream> => {
    signal.throwIfAborted();
    const renewalsBefore = renewals;
    const source = new EventSource(url + request.path, { withCredentials });
    const waiting: StreamEvent[] = [];
    let waitingBytes = 0;
    let wake: (() => void) | undefined;
    let isOver = false;
    let error: unknown;
    let isOpen = false;
    const over = (reason?: unknown) => {
      if (isOver) return;
      isOver = true;
      error = reason;
      source.close();
      signal.removeEventListener('abort', aborted);
      wake?.();
    };
    const aborted = () => over(signal.reason);
    signal.addEventListener('abort', aborted, { once: true });
    for (const event of EVENTS)
      source.addEventListener(event, (message) => {
        const { data, lastEventId } = message as MessageEvent<string>;
        if (data.length > eventBytesMax)
          over(
            new StargusError(
              'eventTooLarge',
              `An event of the stream has more than ${eventBytesMax} bytes (eventBytesMax).`,
            ),
          );
        else if (!isOver) {
          waiting.push({ event, data, id: lastEventId });
          waitingBytes += data.length;
          // It can't be told to wait: it is left, and come back to when this was read.
          if (waitingBytes >= WAITING_BYTES_MAX) over();
        }
        wake?.();
      });
    source.onerror = () => over(isOpen ? undefined : 'refused');
    await new Promise<void>((resolve) => {
      source.onopen = () => {
        isOpen = true;
        isRenewed = false;
        resolve();
      };
      wake = resolve;
    });
    if (error === 'refused') {
      try {
        await whyRefused(byFetch, request, signal);
      } catch (why) {
        if (!isProblem(why, 'unauthenticated')) throw why;
        // Another stream may have been quicker: then this one was refused for the cookie that was.
        if (renewals === renewalsBefore) {
          if (isRenewed || !(await unlessAborted(renewCookie(), signal))) throw why;
          isRenewed = true;
          renewals++;
        }
      }
      throw new StargusError('unreachable', 'The stream could not be opened.', { retryable: true });
    }
    async function* batches(): AsyncGenerator<readonly StreamEvent[]> {
      try {
        for (;;) {
          if (waiting.length > 0) {
            waitingBytes = 0;
            yield waiting.splice(0);
          } else if (isOver) {
            if (error !== undefined) throw error;
            return;
          } else
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
        }
      } finally {
        over();
      }
    }
    return { batches: batches(), heartbeatMs: () => {} };
  };
}

/** @throws the refusal; nothing where it isn't refused now */
async function whyRefused(byFetch: OpenStream, request: Parameters<OpenStream>[0], signal: AbortSignal): Promise<void> {
  const asking = new AbortController();
  const aborted = () => asking.abort(signal.reason);
  signal.addEventListener('abort', aborted, { once: true });
  try {
    const stream = await byFetch(request, asking.signal);
    await stream.batches[Symbol.asyncIterator]().return?.();
  } finally {
    signal.removeEventListener('abort', aborted);
    asking.abort();
  }
}
