/**
 * The one way that all requests go, those of the generated layer too: authorization, `Idempotency-Key`, time limits, repetition, and
 * refusals as errors. Nothing else speaks to the transport.
 */
import { ANSWER_BYTES_MAX } from './bounds.js';
import { type Clock, pause, timerMs, unlessAborted } from './clock.js';
import { closedError, ProblemError, StargusError } from './errors.js';
import { isJsonObject } from './json.js';
import { randomName } from './random-name.js';
import { isJson, notStargus, refusalOf } from './refusal.js';
import { waitBeforeRepetition } from './repetition.js';
import { isRepeatable, takesIdempotencyKey } from './request-kind.js';
import { ConnectionFault, type Transport, type TransportResponse } from './transport.js';

export interface Call {
  readonly method: string;
  /** Begins with `/v1`, percent-encoded, with its query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** JSON. */
  readonly body?: unknown;
  /** A body as it is, in place of JSON. */
  readonly raw?: BodyInit | undefined;
  readonly signal?: AbortSignal | undefined;
  /** The caller's own, in place of a new one. */
  readonly idempotencyKey?: string | undefined;
  readonly retryForMs?: number | undefined;
  readonly timeoutMs?: number | undefined;
  /** Sent without who asks: logins. */
  readonly isAnonymous?: boolean | undefined;
  /** Codes that are told at once, though they are retryable. */
  readonly final?: readonly string[] | undefined;
  /** Goes on when the client is closing: what it says at last. */
  readonly isFarewell?: boolean | undefined;
}

export interface Answer {
  readonly status: number;
  /** Undefined where there is no body. */
  readonly json: unknown;
  header(name: string): string | undefined;
}

/** Who asks. */
export interface Authorizer {
  /** What a request carries of it; waits for a new token where that is needed. */
  headersFor(
    method: string,
    path: string,
  ): Readonly<Record<string, string>> | Promise<Readonly<Record<string, string>>>;
  /** A request with these headers was answered 401. Whether there are others now, with which it may be sent again. */
  refused(headers: Readonly<Record<string, string>>): Promise<boolean>;
}

export interface PipelineOptions {
  readonly transport: Transport;
  /** The server's URL without a slash at its end. */
  readonly url: string;
  readonly requestTimeoutMs: number;
  readonly retryForMs: number;
  readonly clock: Clock;
}

const NOBODY: Authorizer = { headersFor: () => ({}), refused: async () => false };

export class Pipeline {
  readonly url: string;
  readonly clock: Clock;
  authorizer: Authorizer = NOBODY;
  readonly #transport: Transport;
  readonly #origin: string;
  /** What the paths of the server begin with, where it isn't at the root. */
  readonly #prefix: string;
  readonly #options: PipelineOptions;
  readonly #closing = new AbortController();
  readonly #inFlight = new Set<AbortController>();

  constructor(options: PipelineOptions) {
    this.#options = options;
    this.#transport = options.transport;
    this.url = options.url;
    this.clock = options.clock;
    const { origin, pathname } = new URL(options.url);
    this.#origin = origin;
    this.#prefix = pathname.replace(/\/+$/, '');
  }

  /** Aborted, with the reason, when the client is closed. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** How many requests and streams there are now. */
  get inFlight(): number {
    return this.#inFlight.size + this.#farewells.size;
  }

  /**
   * Sends a request, and again where that helps.
   *
   * @throws ProblemError, or StargusError `unreachable`, `timeout`, `notStargus`, `protocolError`, `loginFailed`, `closed`; the reason of
   * the call's signal
   */
  async request(call: Call): Promise<Answer> {
    return this.#repeated<Answer>(call, readAnswer);
  }

  /**
   * The same, where the answer is read by `read`. If it hands back the response itself, its body is read later; the call's signal and `close`
   * still end it, and the time limit is for its head.
   */
  async exchange<T>(
    call: Call,
    read: (response: TransportResponse) => Promise<T | TransportResponse>,
  ): Promise<T | TransportResponse> {
    return this.#repeated(call, read);
  }

  /** Ends everything that goes on, but farewells, with `closed`. */
  close(): void {
    if (this.#closing.signal.aborted) return;
    const reason = closedError();
    this.#closing.abort(reason);
    for (const controller of this.#inFlight) controller.abort(reason);
  }

  /** Closes the connections, and ends farewells too. */
  disconnect(): void {
    this.close();
    for (const controller of this.#farewells) controller.abort(this.#closing.signal.reason);
    this.#transport.close();
  }

  readonly #farewells = new Set<AbortController>();

  async #repeated<T>(call: Call, read: (response: TransportResponse) => Promise<T>): Promise<T> {
    const { method } = call;
    const query = call.path.indexOf('?');
    const path = query < 0 ? call.path : call.path.slice(0, query);
    checkPath(path);
    const headers: Record<string, string> = { accept: 'application/json', ...call.headers };
    let raw = call.raw;
    if (call.body !== undefined) {
      headers['content-type'] ??= 'application/json';
      raw = JSON.stringify(call.body);
    }
    if (takesIdempotencyKey(method, path)) headers['idempotency-key'] ??= call.idempotencyKey ?? randomName();
    const mayRepeat = isRepeatable(method, path);
    const retryForMs = call.retryForMs ?? this.#options.retryForMs;
    const started = this.clock.now();
    let isRenewed = false;
    for (let attempts = 1; ; ) {
      try {
        return await this.#attempt(call, path, headers, raw, mayRepeat, read);
      } catch (fault) {
        if (fault instanceof Unauthenticated) {
          if (!isRenewed && (await unlessAborted(this.authorizer.refused(fault.sent), call.signal))) {
            isRenewed = true;
            continue;
          }
          throw fault.problem;
        }
        const failure = fault instanceof ConnectionFault ? unreachable(this.url, fault) : fault;
        if (!(failure instanceof StargusError)) throw fault;
        // Where no answer came nobody knows what became of it.
        const isSafe = mayRepeat || isRefusal(failure) || (fault instanceof ConnectionFault && fault.isUnsent);
        const wait = waitBeforeRepetition({
          attempts,
          retryable: failure.retryable && isSafe && !call.final?.includes(failure.code),
          retryAfterMs: (failure as { retryAfterMs?: number }).retryAfterMs,
          elapsedMs: this.clock.now() - started,
          retryForMs,
          random: Math.random(),
        });
        if (wait === undefined) throw failure;
        attempts++;
        await this.#pause(wait, call);
      }
    }
  }

  async #attempt<T>(
    call: Call,
    path: string,
    headers: Record<string, string>,
    body: BodyInit | undefined,
    mayRepeat: boolean,
    read: (response: TransportResponse) => Promise<T>,
  ): Promise<T> {
    this.#checkOpen(call);
    const who = call.isAnonymous ? NOBODY : this.authorizer;
    const sent: Readonly<Record<string, string>> = await unlessAborted(
      Promise.resolve(who.headersFor(call.method, path)),
      call.signal,
    );
    this.#checkOpen(call);
    const controller = new AbortController();
    const { signal } = call;
    const aborted = () => controller.abort(signal?.reason);
    if (signal?.aborted) throw signal.reason;
    signal?.addEventListener('abort', aborted, { once: true });
    const group = call.isFarewell ? this.#farewells : this.#inFlight;
    group.add(controller);
    const timeoutMs = call.timeoutMs ?? this.#options.requestTimeoutMs;
    const timer = setTimeout(() => controller.abort(timeout(this.url, timeoutMs)), timerMs(timeoutMs));
    let isOver = true;
    const over = () => {
      signal?.removeEventListener('abort', aborted);
      group.delete(controller);
    };
    try {
      const response = await this.#transport.send({
        method: call.method,
        origin: this.#origin,
        target: this.#prefix + call.path,
        headers: { ...headers, ...sent },
        body,
        signal: controller.signal,
        isRepeatable: mayRepeat && sent.dpop === undefined,
      });
      if (response.status < 200 || (response.status >= 300 && response.status !== 304)) {
        const problem = await refusalOf(response, this.clock.wall());
        if (problem instanceof ProblemError && problem.status === 401 && !call.isAnonymous)
          throw new Unauthenticated(problem, sent);
        throw problem;
      }
      const result = await read(response);
      if (result === (response as unknown)) {
        // The body is read elsewhere; until then it can be aborted.
        isOver = false;
        controller.signal.addEventListener('abort', over, { once: true });
        return observed(response, this.url, over) as T;
      }
      return result;
    } catch (error) {
      if (controller.signal.aborted) throw controller.signal.reason;
      throw error;
    } finally {
      clearTimeout(timer);
      if (isOver) over();
    }
  }

  async #pause(ms: number, call: Call): Promise<void> {
    const controller = new AbortController();
    const aborted = () => controller.abort(call.signal?.reason);
    call.signal?.addEventListener('abort', aborted, { once: true });
    if (call.signal?.aborted) aborted();
    const group = call.isFarewell ? this.#farewells : this.#inFlight;
    group.add(controller);
    try {
      this.#checkOpen(call);
      await pause(ms, controller.signal);
    } finally {
      group.delete(controller);
      call.signal?.removeEventListener('abort', aborted);
    }
  }

  #checkOpen(call: Call): void {
    if (this.#closing.signal.aborted && !call.isFarewell) throw this.#closing.signal.reason;
  }
}

/** What a request carried was not taken. */
class Unauthenticated extends Error {
  constructor(
    readonly problem: ProblemError,
    readonly sent: Readonly<Record<string, string>>,
  ) {
    super(problem.message);
  }
}

async function readAnswer(response: TransportResponse): Promise<Answer> {
  const header = (name: string) => response.header(name);
  const { status } = response;
  if (status === 204 || status === 304) {
    response.discard();
    return { status, json: undefined, header };
  }
  if (!isJson(response)) {
    response.discard();
    throw notStargus(status, response.header('content-type'));
  }
  const text = await response.text(ANSWER_BYTES_MAX);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new StargusError('protocolError', 'The answer is no JSON, though it says so.', { cause: error });
  }
  // All that the API answers is an object.
  if (!isJsonObject(json)) throw notStargus(status, response.header('content-type'));
  return { status, json, header };
}

/** The same response, whose faults are errors of ours; `ended` is called when its body was read, or isn't wanted. */
function observed(response: TransportResponse, url: string, ended: () => void): TransportResponse {
  const told = (error: unknown) => (error instanceof ConnectionFault ? unreachable(url, error) : error);
  return {
    status: response.status,
    header: (name) => response.header(name),
    headers: () => response.headers(),
    async *chunks() {
      try {
        yield* response.chunks();
      } catch (error) {
        throw told(error);
      } finally {
        ended();
      }
    },
    text: (bytesMax) =>
      response
        .text(bytesMax)
        .catch((error: unknown) => Promise.reject(told(error)))
        .finally(ended),
    discard: () => {
      ended();
      response.discard();
    },
  };
}

function isRefusal(error: StargusError): boolean {
  return error instanceof ProblemError;
}

/** A browser, or a proxy, would make another path of it. */
function checkPath(path: string): void {
  if (/\/(?:\.|%2e){1,2}(?:\/|$)/i.test(path) || path.includes('//'))
    throw new StargusError('invalidName', 'A name must not be empty, `.` or `..`.');
}

function unreachable(url: string, fault: ConnectionFault): StargusError {
  return new StargusError('unreachable', `Nobody answers at ${url}, or the connection broke: ${fault.message}`, {
    cause: fault,
    retryable: true,
  });
}

function timeout(url: string, ms: number): StargusError {
  return new StargusError('timeout', `No answer came from ${url} within ${ms} ms.`, { retryable: true });
}
