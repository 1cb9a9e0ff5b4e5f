/** Time that nobody sets: leases, tokens and waits are reckoned with it, so that a clock that is put right, or is wrong by a year, harms nothing. */

export interface Clock {
  /** Milliseconds since some moment. */
  now(): number;
  /** What people call the time, in milliseconds since 1970. Only where there is no other: it may be wrong. */
  wall(): number;
}

export const systemClock: Clock = { now: () => performance.now(), wall: () => Date.now() };

/** Timers take no more, and go off at once if they are given it: some 25 days, which is as good as for ever. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/** What a timer may be set to. */
export function timerMs(ms: number): number {
  return Math.min(ms, TIMER_MAX_MS);
}

/**
 * Waits.
 *
 * @throws the signal's reason, when it is aborted meanwhile
 */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const ended = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', ended);
      resolve();
    }, timerMs(ms));
    signal?.addEventListener('abort', ended, { once: true });
  });
}

/**
 * What the work comes to, unless that isn't wanted any more before.
 *
 * @throws the signal's reason, at once when it is aborted; what becomes of the work is told to nobody then
 */
export function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const ended = () => reject(signal.reason);
    const over = () => signal.removeEventListener('abort', ended);
    signal.addEventListener('abort', ended, { once: true });
    if (signal.aborted) ended();
    work.then(resolve, reject).finally(over);
  });
}
