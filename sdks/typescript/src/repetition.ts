/** How often and when something is tried again. Pure: what happened goes in, the wait comes out. */
import { RECONNECT_FIRST_MS, RECONNECT_MOST_MS, RETRY_FIRST_MS, RETRY_MOST_MS } from './bounds.js';

export interface Failure {
  /** How many attempts there were; 1 after the first. */
  readonly attempts: number;
  readonly retryable: boolean;
  /** What the server asked for. */
  readonly retryAfterMs?: number | undefined;
  /** Since the first attempt began. */
  readonly elapsedMs: number;
  /** For how long in all; 0: never again. */
  readonly retryForMs: number;
  /** From 0 up to 1. */
  readonly random: number;
}

/** How long to wait before the next attempt at a request; undefined: give up. */
export function waitBeforeRepetition(failure: Failure): number | undefined {
  const left = failure.retryForMs - failure.elapsedMs;
  if (!failure.retryable || left <= 0) return undefined;
  // Before the time that the server named there is no use in asking, and after ours is over no wish to.
  if (failure.retryAfterMs !== undefined && failure.retryAfterMs > 0)
    return failure.retryAfterMs <= left ? failure.retryAfterMs : undefined;
  const most = Math.min(RETRY_MOST_MS, RETRY_FIRST_MS * 2 ** (failure.attempts - 1));
  return Math.min(failure.random * most, left);
}

export interface BrokenStream {
  /** Streams in a row that failed; 0: the last one had been live. */
  readonly failures: number;
  /** What a `bye` or a refusal asked for. */
  readonly retryMs?: number | undefined;
  /** From 0 up to 1. */
  readonly random: number;
}

/** How long to wait before a stream is opened again. */
export function waitBeforeStream({ failures, retryMs = 0, random }: BrokenStream): number {
  if (failures === 0) return retryMs;
  return Math.max(retryMs, random * Math.min(RECONNECT_MOST_MS, RECONNECT_FIRST_MS * 2 ** (failures - 1)));
}

/** `Retry-After` in milliseconds: seconds, or a date that is compared with the answer's own. */
export function retryAfterOf(value: string | undefined, date: string | undefined, wallMs: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d{1,9}$/.test(value.trim())) return Number(value) * 1000;
  const at = Date.parse(value);
  if (Number.isNaN(at)) return undefined;
  const now = date === undefined ? wallMs : Date.parse(date);
  return Math.max(0, at - (Number.isNaN(now) ? wallMs : now));
}
