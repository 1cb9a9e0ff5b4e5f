/** Challenges: nonces that are given out, go into one assertion each, and are taken once, on whichever node. */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { LoginStore } from './login-store.js';
import { digestOf, newSecret } from './secrets.js';

const MINUTE = 60_000;

export class Challenges {
  #minute = 0;
  #given = 0;

  constructor(
    private readonly store: LoginStore,
    private readonly now: () => number,
  ) {}

  async issue(): Promise<string> {
    this.#count();
    const nonce = newSecret();
    await this.store.addNonce(digestOf(nonce), limits.nonceMs);
    return nonce;
  }

  /** True once for each nonce that was given out less than two minutes ago. */
  take(nonce: string): Promise<boolean> {
    return this.store.takeNonce(digestOf(nonce));
  }

  #count(): void {
    const minute = Math.floor(this.now() / MINUTE);
    if (minute !== this.#minute) {
      this.#minute = minute;
      this.#given = 0;
    }
    if (++this.#given <= limits.noncesPerMinuteMax) return;
    const seconds = Math.ceil(((minute + 1) * MINUTE - this.now()) / 1000);
    throw new Problem('tooManyRequests', `This node gives out ${limits.noncesPerMinuteMax} nonces in a minute.`, {
      headers: { 'retry-after': String(Math.max(1, seconds)) },
    });
  }
}
