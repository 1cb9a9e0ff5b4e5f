/**
 * What the library raises. Every error has a `code`: those of the server are **problems** (docs/ERRORS.md), the others are the client's
 * own (docs/CLIENTS.md). Programs go by the code, people by the message, which says what to do. No message has a secret in it.
 */

/** The codes of errors that the client raises of itself. The server's are open: a newer one may have more. */
export type ClientErrorCode =
  | 'unreachable'
  | 'timeout'
  | 'notStargus'
  | 'incompatibleServer'
  | 'protocolError'
  | 'eventTooLarge'
  | 'loginFailed'
  | 'cacheInUse'
  | 'cacheFailed'
  | 'signatureInvalid'
  | 'closed'
  | 'lockLost'
  | 'lockConflict'
  | 'cursorExpired'
  | 'invalidName'
  | 'tooManyRequests';

/** Any error of this library. */
export class StargusError extends Error {
  override readonly name: string = 'StargusError';
  readonly code: string;
  /** Whether the same may succeed later, as it is. */
  readonly retryable: boolean;

  constructor(
    code: ClientErrorCode | (string & {}),
    message: string,
    options: { cause?: unknown; retryable?: boolean } = {},
  ) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.code = code;
    this.retryable = options.retryable ?? false;
  }
}

/** One place where a request is wrong. */
export interface ProblemPlace {
  readonly pointer?: string;
  readonly code?: string;
  readonly detail?: string;
}

/** The server refused: `application/problem+json` (RFC 9457) as an error. */
export class ProblemError extends StargusError {
  override readonly name: string = 'ProblemError';
  readonly status: number;
  /** What is wrong in this case, for people. */
  readonly detail: string;
  /** Names the request in the server's log. */
  readonly requestId: string | undefined;
  readonly errors: readonly ProblemPlace[];
  /** How long the server asks to wait, in milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** All members, also those that this library doesn't know: `holders`, `currentRevision`, `oldest`, … */
  readonly problem: Readonly<Record<string, unknown>>;

  constructor(problem: Readonly<Record<string, unknown>>, status: number, retryAfterMs?: number) {
    const detail = textOf(problem.detail) ?? textOf(problem.title) ?? `The server answered ${status}.`;
    super(textOf(problem.code) ?? `http${status}`, detail, { retryable: problem.retryable === true });
    this.status = status;
    this.detail = detail;
    this.requestId = textOf(problem.requestId);
    this.errors = Array.isArray(problem.errors) ? (problem.errors as ProblemPlace[]) : [];
    this.retryAfterMs = retryAfterMs;
    this.problem = problem;
  }
}

/**
 * Whether it is an error of this library with one of these codes (of any code, where none is given), be it the server's or the client's:
 * `isProblem(error, 'lockLost')`. What only the server's have is there after `error instanceof ProblemError`.
 */
export function isProblem(error: unknown, ...codes: string[]): error is StargusError {
  return error instanceof StargusError && (codes.length === 0 || codes.includes(error.code));
}

export function closedError(what = 'client'): StargusError {
  return new StargusError('closed', `The ${what} was closed.`);
}

/** @param what begins the sentence: `The item` */
export function notUnderstood(what: string): StargusError {
  return new StargusError(
    'protocolError',
    `${what} in the server’s answer can’t be understood. Is something between it and this program, or is it a later version?`,
  );
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
