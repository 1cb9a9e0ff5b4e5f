/** Connecting: asks the server once who it is, and makes a client of one pool. */
import { EVENT_BYTES_MAX, REQUEST_TIMEOUT_MS, RETRY_FOR_MS } from './bounds.js';
import { type About, Client } from './client.js';
import { systemClock } from './clock.js';
import { ProblemError, StargusError } from './errors.js';
import { FetchTransport } from './fetch-transport.js';
import { Pipeline } from './pipeline.js';
import type { Platform } from './platform.js';

const API_VERSION = 'v1';

export interface ConnectOptions {
  /** For one attempt at a request. 30,000 ms. */
  readonly requestTimeoutMs?: number;
  /** For how long in all a request is repeated. 10,000 ms; 0: never. */
  readonly retryForMs?: number;
  /** Of one event of a stream. 16 MiB. */
  readonly eventBytesMax?: number;
  /** Is told what happens in the background and reaches nobody's call: a cache that fell out, a listener that threw. Without it, it goes to the console. */
  readonly onProblem?: (error: unknown) => void;
  /** In place of the platform's own way: that of an embedded server, or one that logs. */
  readonly fetch?: typeof fetch;
  /** `eventsource`: streams by the browser's EventSource, for who is logged in by the cookie. */
  readonly streams?: 'fetch' | 'eventsource';
  /** Sends the cookie to a server of another origin too. */
  readonly withCredentials?: boolean;
  /** What the server calls itself, where it is reached by another URL than its public one. A login is signed for no other. */
  readonly audience?: string;
  /** Ends connecting. */
  readonly signal?: AbortSignal;
}

export type Connect = (url: string, pool: string, options?: ConnectOptions) => Promise<Client>;

export function connectOn(platform: Platform): Connect {
  return async (url, pool, options = {}) => {
    const { fetch: given, withCredentials = false } = options;
    const pipeline = new Pipeline({
      url: normalUrl(url),
      transport: given
        ? new FetchTransport(given, withCredentials ? 'include' : 'same-origin')
        : withCredentials
          ? new FetchTransport((input, init) => fetch(input, init), 'include')
          : platform.transport(),
      requestTimeoutMs: options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS,
      retryForMs: options.retryForMs ?? RETRY_FOR_MS,
      clock: systemClock,
    });
    try {
      const about = await askWho(pipeline, options.signal);
      return new Client(
        pipeline,
        pool,
        about,
        {
          eventBytesMax: options.eventBytesMax ?? EVENT_BYTES_MAX,
          streams: options.streams ?? 'fetch',
          withCredentials,
          audience: options.audience,
          onProblem: options.onProblem ?? ((error) => console.warn('stargus:', error)),
        },
        platform,
      );
    } catch (error) {
      pipeline.disconnect();
      throw error;
    }
  };
}

async function askWho(pipeline: Pipeline, signal: AbortSignal | undefined): Promise<About> {
  const { json } = await pipeline.request({ method: 'GET', path: '/v1', signal }).catch((error: unknown) => {
    if (!(error instanceof ProblemError) || error.status !== 404) throw error;
    throw new StargusError(
      'incompatibleServer',
      `The server doesn't speak ${API_VERSION} of the API. Use the library of the server's version.`,
      { cause: error },
    );
  });
  const about = json as Partial<About> | null;
  if (about?.name !== 'stargus' || typeof about.apiVersion !== 'string')
    throw new StargusError('notStargus', `What answers at ${pipeline.url} is another program. Check the URL.`);
  // A newer minor version has more, and all that this one has.
  if (about.apiVersion.split('.')[0] !== API_VERSION)
    throw new StargusError(
      'incompatibleServer',
      `The server speaks ${about.apiVersion} of the API, this library ${API_VERSION}. Use the library of the server's version.`,
    );
  return about as About;
}

/** Without query, fragment and the slash at its end. @throws TypeError */
function normalUrl(url: string): string {
  const parsed = new URL(url);
  if (parsed.protocol !== 'http:' && parsed.protocol !== 'https:')
    throw new TypeError(`The URL of a server begins with http:// or https://, not ${parsed.protocol}`);
  if (parsed.username !== '' || parsed.password !== '')
    throw new TypeError('The URL of a server has no user name in it. Log in by client.authenticate.');
  return parsed.origin + parsed.pathname.replace(/\/+$/, '');
}
