/** Requests by `fetch`: in browsers, and with a `fetch` that was given, such as that of an embedded server. */
import {
  answerTooLarge,
  ConnectionFault,
  type Transport,
  type TransportRequest,
  type TransportResponse,
} from './transport.js';

export class FetchTransport implements Transport {
  readonly #fetch: typeof fetch;
  readonly #credentials: RequestCredentials;

  constructor(given: typeof fetch, credentials: RequestCredentials = 'same-origin') {
    this.#fetch = given;
    this.#credentials = credentials;
  }

  async send({ method, origin, target, headers, body, signal }: TransportRequest): Promise<TransportResponse> {
    const given = this.#fetch;
    try {
      const response = await given(origin + target, {
        method,
        headers,
        ...(body !== undefined && { body }),
        ...(body instanceof ReadableStream && { duplex: 'half' }),
        signal,
        // To follow one would show the token to whom it leads to.
        redirect: 'manual',
        credentials: this.#credentials,
        cache: 'no-store',
      } as RequestInit);
      return new FetchedResponse(response, signal);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw new ConnectionFault(messageOf(error), { cause: error });
    }
  }

  close(): void {
    // Connections are the browser's.
  }
}

class FetchedResponse implements TransportResponse {
  readonly #response: Response;
  readonly #signal: AbortSignal;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;

  constructor(response: Response, signal: AbortSignal) {
    this.#response = response;
    this.#signal = signal;
  }

  get status(): number {
    // A redirection that isn't followed is hidden from pages.
    return this.#response.type === 'opaqueredirect' ? 302 : this.#response.status;
  }

  header(name: string): string | undefined {
    return this.#response.headers.get(name) ?? undefined;
  }

  headers(): [string, string][] {
    return [...this.#response.headers];
  }

  async *chunks(): AsyncIterable<Uint8Array> {
    const reader = this.#response.body?.getReader();
    if (!reader) return;
    this.#reader = reader;
    let isRead = false;
    try {
      for (;;) {
        const { done, value } = await this.#next(reader);
        if (done) {
          isRead = true;
          return;
        }
        yield value;
      }
    } finally {
      if (!isRead) reader.cancel().catch(() => {});
    }
  }

  /** A connection that breaks is a TypeError here, like much else. */
  async #next(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<ReadableStreamReadResult<Uint8Array>> {
    try {
      return await reader.read();
    } catch (error) {
      if (this.#signal.aborted) throw this.#signal.reason;
      throw new ConnectionFault(messageOf(error), { cause: error });
    }
  }

  async text(bytesMax: number): Promise<string> {
    if (Number(this.header('content-length') ?? 0) > bytesMax) {
      this.discard();
      throw answerTooLarge(bytesMax);
    }
    const decoder = new TextDecoder();
    let text = '';
    let bytes = 0;
    for await (const chunk of this.chunks()) {
      bytes += chunk.length;
      if (bytes > bytesMax) throw answerTooLarge(bytesMax);
      text += decoder.decode(chunk, { stream: true });
    }
    return text + decoder.decode();
  }

  discard(): void {
    // A body that is being read is its reader's.
    (this.#reader ?? this.#response.body)?.cancel().catch(() => {});
  }
}

function messageOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? cause.message : String(cause);
}
