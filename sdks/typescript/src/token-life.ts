/** How long a token is used. Pure: reckoned by the client's own clock from when it was asked for, so a wrong time of day harms nothing. */
import { TOKEN_RENEWED_AT } from './bounds.js';

/** @returns when it is to be renewed, on the same clock */
export function renewAt(askedAt: number, expiresInMs: number): number {
  return askedAt + Math.max(0, expiresInMs) * TOKEN_RENEWED_AT;
}

/** The server's time, from the `Date` of an answer; and how it goes on. */
export class ServerTime {
  readonly #offsetMs: number;

  /** @param date of the answer; where it is missing or hidden (pages of another origin don't see it) the machine's own time must do */
  constructor(date: string | undefined, now: number, wall: number) {
    const told = date === undefined ? Number.NaN : Date.parse(date);
    this.#offsetMs = (Number.isNaN(told) ? wall : told) - now;
  }

  /** Seconds since 1970. */
  seconds(now: number): number {
    return Math.floor((this.#offsetMs + now) / 1000);
  }
}
