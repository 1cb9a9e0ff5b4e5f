/**
 * A reader of Server-Sent Events for tests. It keeps every event that came, hands them out one by one or by a condition, and
 * can stop reading so that the server feels it: it is on node:http because a paused response there leaves the socket unread,
 * and the back-pressure is the real one.
 */
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { createParser } from 'eventsource-parser';

/** How long a test waits for an event unless it says otherwise. */
const WAIT_MS = 5_000;

export interface SseEvent {
  /** The event's name; `message` where the server gave none. */
  event: string;
  id: string | undefined;
  /** The data as JSON; the text itself where it isn't JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: a test asserts the shape; a type here would only repeat it.
  data: any;
  /** The data as it came. */
  raw: string;
}

export type EventPredicate = (event: SseEvent) => boolean;

export interface SseOptions {
  headers?: Record<string, string>;
  /** Ends the stream, as `close()` does. */
  signal?: AbortSignal;
}

export interface SseStream {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Every event so far, in the order of arrival. */
  readonly events: readonly SseEvent[];
  /** Every comment so far (`: text`), such as keep-alives. */
  readonly comments: readonly string[];
  /**
   * Takes the next event that no `next` has taken before; with a predicate, the next that it holds for, and those before are
   * taken too.
   *
   * @throws Error with the names of the events that came, when time runs out or the stream ends first
   */
  next(predicate?: EventPredicate, timeoutMs?: number): Promise<SseEvent>;
  /** The first of all events, past or to come, that the predicate holds for. Takes nothing away from `next`. Throws as `next`. */
  waitFor(predicate: EventPredicate, timeoutMs?: number): Promise<SseEvent>;
  /** Ends the stream from this side. */
  close(): void;
  /** Settles when the stream has ended, from either side and for whatever reason. Never rejects. */
  readonly ended: Promise<void>;
  /** Stops reading from the socket: when the buffers between are full, the server can write no more. */
  pause(): void;
  resume(): void;
  /** The whole body of an answer that is no event stream, such as a problem. Waits for its end. */
  text(): Promise<string>;
}

/**
 * Opens a stream and settles when the headers of the answer are there, whatever its status.
 *
 * @throws Error if the connection fails before that
 */
export function openSse(url: string | URL, { headers = {}, signal }: SseOptions = {}): Promise<SseStream> {
  return new Promise((resolve, reject) => {
    // No agent: each stream has a connection of its own, and ends with it.
    const outgoing = request(url, { headers: { accept: 'text/event-stream', ...headers }, agent: false, signal });
    outgoing.once('error', reject);
    outgoing.once('response', (response) => {
      outgoing.off('error', reject);
      // Closing or aborting a stream is an error to node:http. Here it is an end like any other.
      outgoing.on('error', () => {});
      resolve(readStream(response, () => outgoing.destroy()));
    });
    outgoing.end();
  });
}

function readStream(response: IncomingMessage, close: () => void): SseStream {
  const events: SseEvent[] = [];
  const comments: string[] = [];
  const lookers = new Set<() => void>();
  const isStream = /^text\/event-stream\b/.test(response.headers['content-type'] ?? '');
  let body = '';
  let open = true;
  let taken = 0;

  const parser = createParser({
    onEvent: ({ event, id, data }) => events.push({ event: event ?? 'message', id, data: parsed(data), raw: data }),
    onComment: (comment) => comments.push(comment),
  });
  const lookAgain = (): void => {
    for (const look of [...lookers]) look();
  };
  response.setEncoding('utf8');
  response.on('error', () => {});
  response.on('data', (chunk: string) => {
    if (isStream) parser.feed(chunk);
    else body += chunk;
    lookAgain();
  });
  const ended = new Promise<void>((resolve) => {
    response.once('close', () => {
      open = false;
      lookAgain();
      resolve();
    });
  });

  /** Waits until `find` finds; looks once at what is there and again whenever something came. */
  const wait = (find: () => SseEvent | undefined, timeoutMs: number): Promise<SseEvent> =>
    new Promise((resolve, reject) => {
      const settle = (outcome: () => void): void => {
        clearTimeout(timer);
        lookers.delete(look);
        outcome();
      };
      const fail = (reason: string): void =>
        settle(() => reject(new Error(`${reason} (status ${response.statusCode}; came: ${summary(events)})`)));
      const look = (): void => {
        const found = find();
        if (found) settle(() => resolve(found));
        else if (!open) fail('The stream ended before the event came');
      };
      const timer = setTimeout(() => fail(`The event did not come within ${timeoutMs} ms`), timeoutMs);
      lookers.add(look);
      look();
    });

  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    events,
    comments,
    ended,
    close,
    pause: () => void response.pause(),
    resume: () => void response.resume(),
    next: (predicate = () => true, timeoutMs = WAIT_MS) =>
      wait(() => {
        while (taken < events.length) {
          const event = events[taken++] as SseEvent;
          if (predicate(event)) return event;
        }
        return undefined;
      }, timeoutMs),
    waitFor: (predicate, timeoutMs = WAIT_MS) => wait(() => events.find(predicate), timeoutMs),
    text: () => ended.then(() => body),
  };
}

function parsed(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    return data;
  }
}

/** The end of what came, for the message of a failure. */
function summary(events: readonly SseEvent[]): string {
  if (events.length === 0) return 'nothing';
  const last = events.slice(-10).map(({ event, id }) => (id === undefined ? event : `${event}#${id}`));
  return `${events.length > last.length ? `${events.length} events, the last ` : ''}${last.join(', ')}`;
}
