/** What carries a request: `fetch`, or node:http where Node runs. It knows nothing of Stargus. */
import { StargusError } from './errors.js';

export interface TransportRequest {
  readonly method: string;
  /** The origin, `http://host:port`. */
  readonly origin: string;
  /** Path and query, percent-encoded, sent as it is. */
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: BodyInit | undefined;
  readonly signal: AbortSignal;
  /** Whether it does no harm to send it again at once, where an idle connection was closed just as it was used again. */
  readonly isRepeatable: boolean;
}

export interface TransportResponse {
  readonly status: number;
  header(name: string): string | undefined;
  /** Of all headers, names in lower case. */
  headers(): [string, string][];
  /** The body as it comes. Breaking off closes the connection. */
  chunks(): AsyncIterable<Uint8Array>;
  /** @throws StargusError `protocolError` when it has more than `bytesMax` */
  text(bytesMax: number): Promise<string>;
  /** Closes the connection, the body unread. */
  discard(): void;
}

/** The connection failed. `isUnsent`: the request never left, so it surely had no effect. */
export class ConnectionFault extends Error {
  readonly isUnsent: boolean;

  constructor(message: string, options: { cause?: unknown; isUnsent?: boolean } = {}) {
    super(message, { cause: options.cause });
    this.isUnsent = options.isUnsent ?? false;
  }
}

export interface Transport {
  /** @throws ConnectionFault, or the signal's reason */
  send(request: TransportRequest): Promise<TransportResponse>;
  /** Closes all connections. */
  close(): void;
}

export function answerTooLarge(bytesMax: number): StargusError {
  return new StargusError('protocolError', `The answer has more than ${bytesMax} bytes. Ask for less at a time.`);
}
