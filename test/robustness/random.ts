/** Chance that can be repeated: the same seed draws the same, whatever else happens meanwhile. */

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 to below 1. mulberry32: small, quick, and the same everywhere. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  any<T>(values: readonly T[]): T {
    return values[Math.floor(this.next() * values.length)] as T;
  }

  /** A whole number from `min` to `max`, both included. */
  between(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  /** A source of its own for somebody who draws at times that differ from run to run. */
  branch(): Random {
    return new Random(Math.floor(this.next() * 2 ** 32));
  }
}

/** The seed that the environment gives, or one that has never been. */
export function seedOfRun(): number {
  return Number(process.env.STARGUS_TEST_SEED ?? Math.floor(Math.random() * 1e9));
}
