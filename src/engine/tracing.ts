/**
 * The port `Tracing`: following a piece of work across processes. Where it stands in its trace is one text, as W3C Trace Context
 * writes it, so that it can be kept with a commit and sent on with what follows from it, by whichever node. What implements it is
 * platform/tracing.ts; where nobody traces it is `untraced`, which costs a call that answers nothing.
 *
 * Never told to a span: values of attributes, item keys, tokens, messages of errors.
 */

/** A `traceparent`; after a blank the `tracestate`, where there is one. */
export type Trace = string;

export type SpanKind = 'internal' | 'server' | 'client' | 'producer' | 'consumer';

export interface SpanOptions {
  /** What the span is a part of; undefined begins a trace. `Tracing.current()` is what is being done now. */
  readonly parent: Trace | undefined;
  /** `internal` when absent. */
  readonly kind?: SpanKind;
  readonly attributes?: SpanAttributes;
  /** When it began, by `performance.now()`, where that was before. */
  readonly startedMs?: number;
}

export type SpanAttributes = Readonly<Record<string, string | number | boolean>>;

export interface Span {
  /** To be sent on, or kept. Undefined where nobody traces. */
  readonly trace: Trace | undefined;
  /** Another piece of work that this one serves as well. */
  link(trace: Trace): void;
  set(attributes: SpanAttributes): void;
  /** Does the work as this span: `Tracing.current()` is this one inside it, also after an await. */
  within<T>(work: () => T): T;
  /**
   * Ends it, now or when it was over; `fault` is a word for what went wrong, such as an error's name. What is ended twice was ended
   * the first time.
   */
  end(fault?: string, endedMs?: number): void;
}

export interface Tracing {
  readonly isOn: boolean;
  /** What is being done now, where it is followed. */
  current(): Trace | undefined;
  /** A span that whoever began it ends. */
  begin(name: string, options: SpanOptions): Span;
  /** Does the work as a span, which ends with it; an error of the work is its fault, by its name alone. */
  span<T>(name: string, options: SpanOptions, work: (span: Span) => Promise<T>): Promise<T>;
}

const noSpan: Span = {
  trace: undefined,
  link: () => {},
  set: () => {},
  within: (work) => work(),
  end: () => {},
};

/** Nobody traces. */
export const untraced: Tracing = {
  isOn: false,
  current: () => undefined,
  begin: () => noSpan,
  span: (_name, _options, work) => work(noSpan),
};

const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-((?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(-.*)?$/;
/** What W3C Trace Context has everybody pass on at least; a longer one is left out, which it allows. */
const TRACESTATE_LENGTH_MAX = 512;
/** The longest text of a trace, for who keeps it. */
export const TRACE_LENGTH_MAX = 55 + 1 + TRACESTATE_LENGTH_MAX;

/** What a request or a message says of its trace. What is malformed says nothing. */
export function traceOf(headers: Readonly<Record<string, string | string[] | undefined>>): Trace | undefined {
  const { traceparent, tracestate } = headers;
  if (typeof traceparent !== 'string') return undefined;
  const match = TRACEPARENT.exec(traceparent);
  // A later version may have more behind it; of what it has before, the meaning stays.
  if (!match || (match[2] !== undefined && traceparent.startsWith('00'))) return undefined;
  const parent = `00-${match[1]}`;
  const state = typeof tracestate === 'string' ? tracestate.trim() : '';
  return state !== '' && state.length <= TRACESTATE_LENGTH_MAX && /^[\x20-\x7e]*$/.test(state)
    ? `${parent} ${state}`
    : parent;
}

/** The headers that carry a trace on. */
export function traceHeaders(trace: Trace | undefined): Record<string, string> {
  if (trace === undefined) return {};
  const blank = trace.indexOf(' ');
  return blank < 0
    ? { traceparent: trace }
    : { traceparent: trace.slice(0, blank), tracestate: trace.slice(blank + 1) };
}

/** Whether somebody decided to record it. */
export function isSampled(trace: Trace): boolean {
  return (Number.parseInt(trace.slice(53, 55), 16) & 1) === 1;
}
