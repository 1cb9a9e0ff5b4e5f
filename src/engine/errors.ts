/**
 * The one table of errors. Every refusal that a user can meet is a row here: its code, its HTTP status, a title, whether
 * a repetition of the same request may succeed, and what to do about it. docs/ERRORS.md is checked against this table.
 */

interface ErrorRow {
  readonly status: number;
  readonly title: string;
  readonly retryable: boolean;
  /** What a person who meets the code should do; served at the problem's `type` URL. */
  readonly advice: string;
}

export const errorTable = {
  badRequest: row(
    400,
    'The request is malformed',
    false,
    'Read `detail` and `errors`: each names the member or parameter and what is expected there.',
  ),
  invalidName: row(
    400,
    'A name breaks the naming rules',
    false,
    'Names of pools and collections match [A-Za-z0-9_][A-Za-z0-9_.~-]{0,127}; a leading _ is kept for the system. Item keys are 1 to 255 bytes of UTF-8 and attribute names 1 to 128, both without control characters.',
  ),
  invalidFilter: row(
    400,
    'A filter is malformed or too large',
    false,
    'Read `errors`: the pointer leads to the place in the filter.',
  ),
  invalidCursor: row(
    400,
    'A cursor or page token is not one of this server',
    false,
    'Use cursors and page tokens exactly as an answer gave them, with the same query. Without one, begin anew.',
  ),
  numberOutOfRange: row(
    400,
    'A number cannot be held exactly',
    false,
    'Numbers are IEEE doubles. Send large integers and decimals of high precision as strings.',
  ),
  unauthenticated: row(
    401,
    'Authentication is required',
    false,
    'Send a valid access token in the Authorization header.',
  ),
  forbidden: row(
    403,
    'The policy does not allow this',
    false,
    'Ask who administers the pool for the right that `detail` names.',
  ),
  notFound: row(
    404,
    'There is no such thing',
    false,
    'Check the path. Pools and collections come into being on their first write.',
  ),
  methodNotAllowed: row(
    405,
    'The resource does not support this method',
    false,
    'The Allow header lists the methods that it does support.',
  ),
  conflict: row(409, 'The request conflicts with the present state', false, 'Read the present state and decide anew.'),
  sessionFenced: row(
    409,
    'The session has ended or was resumed elsewhere',
    false,
    'Another process resumed the session under a higher epoch, or its lease ran out. Begin a new session, or resume yours with PUT …/sessions/{name}, and go on with the epoch that it answers.',
  ),
  sequenceGap: row(
    409,
    'The batch does not follow the last one of its session',
    false,
    'Send the batch whose number is `expected`. What came before it was never applied, or its answer is no longer kept.',
  ),
  lockConflict: row(
    409,
    'Another session has the lock',
    true,
    'Ask again later, or with `waitMs`, so that the lock waits for its turn; `holders` names those in the way.',
  ),
  deadlock: row(
    409,
    'To wait for this lock would be for ever',
    true,
    'Give back what you hold and begin again: each session of the `cycle` waits for the next. Who locks in one order everywhere meets none.',
  ),
  dataViolatesSchema: row(
    409,
    'Items of the collection break the new definition',
    false,
    'Mend the items that `errors` names, or set the definition with mode `warn` first: then they are told and nothing is refused.',
  ),
  cursorExpired: row(
    410,
    'The cursor is older than the retained history',
    false,
    'Begin anew: attach without a cursor for a fresh snapshot, or read changes with since=start.',
  ),
  preconditionFailed: row(
    412,
    'A precondition does not hold',
    false,
    'Read the item again, decide again, and send the new ETag.',
  ),
  lockLost: row(
    412,
    'The lock is no longer held under this fence',
    false,
    'It ended with its session, was broken or widened, or its session was resumed. Ask for it anew and read again what it protects before you write.',
  ),
  tooLarge: row(
    413,
    'The request or what it makes is too large',
    false,
    'Split the request; `detail` names the limit.',
  ),
  unsupportedMediaType: row(
    415,
    'The media type is not supported here',
    false,
    'Send the Content-Type that `detail` names.',
  ),
  invalid: row(422, 'The request is well-formed but cannot be carried out', false, 'Read `detail` and `errors`.'),
  schemaViolation: row(
    422,
    'The item breaks the definition of its collection',
    false,
    'Read `errors`: each names the attribute and what the dictionary wants of it. The definition is the item of `_dictionary` named for the collection.',
  ),
  scanLimit: row(
    422,
    'The query would examine too many items',
    false,
    'Declare an index for it in the dictionary, or narrow it by `prefix` or a `where` that an index serves.',
  ),
  idempotencyKeyReused: row(
    422,
    'The Idempotency-Key was used for another request',
    false,
    'Use a new key for each new request, and the same key only to repeat the same request.',
  ),
  locked: row(
    423,
    'This is locked',
    true,
    'Repeat the request when the lock is gone, or take the lock yourself: POST P/locks with `waitMs`. `_locks` shows who holds what.',
  ),
  tooManyRequests: row(429, 'Too many requests', true, 'Wait for as long as Retry-After says.'),
  unavailable: row(
    503,
    'The service cannot answer now',
    true,
    'Repeat the request after Retry-After seconds; give writes an Idempotency-Key, so that a repetition cannot apply twice.',
  ),
  internal: row(
    500,
    'The server met an unexpected error',
    true,
    'Repeat the request later; give the requestId to the operator if it persists.',
  ),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof errorTable;

/** One place of a request that is at fault. `pointer` is an RFC 6901 pointer into the body, or names a parameter. */
export interface ErrorPlace {
  pointer: string;
  code: string;
  detail: string;
  /** In a batch: which op failed. */
  index?: number;
}

export interface ProblemExtras {
  errors?: ErrorPlace[];
  /** Further members of the problem document, such as `oldest` and `current` of `cursorExpired`. */
  members?: Record<string, unknown>;
  headers?: Record<string, string>;
  /** Where it differs from what holds for the code. */
  retryable?: boolean;
}

/** A refusal. `detail` is a sentence that a person can act on. */
export class Problem extends Error {
  readonly status: number;
  readonly retryable: boolean;
  /** The state in which the request was judged, where it was about an existing pool. */
  at: { epoch: string; revision: number } | undefined;

  constructor(
    readonly code: ErrorCode,
    readonly detail: string,
    readonly extras: ProblemExtras = {},
  ) {
    super(detail);
    this.name = 'Problem';
    this.status = errorTable[code].status;
    this.retryable = extras.retryable ?? errorTable[code].retryable;
  }

  /** The same refusal, told of the op of a batch that met it. */
  atOp(index: number): Problem {
    const whole: ErrorPlace = { pointer: '', code: this.code, detail: this.detail };
    const errors = (this.extras.errors ?? [whole]).map((place) => ({
      ...place,
      index,
      pointer: `/ops/${index}${place.pointer}`,
    }));
    return new Problem(this.code, `Op ${index}: ${this.detail}`, { ...this.extras, errors });
  }

  /** The members of an RFC 9457 document that don't depend on who is asked. */
  toJSON(): Record<string, unknown> {
    const document: Record<string, unknown> = {
      title: errorTable[this.code].title,
      status: this.status,
      code: this.code,
      detail: this.detail,
      retryable: this.retryable,
    };
    if (this.extras.errors) document.errors = this.extras.errors;
    return Object.assign(document, this.extras.members);
  }
}

function row(status: number, title: string, retryable: boolean, advice: string): ErrorRow {
  return { status, title, retryable, advice };
}
