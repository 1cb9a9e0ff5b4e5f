/**
 * What checking one item may cost. Whoever works in proportion to what a user wrote (turns of a loop, values compared,
 * text matched) charges the meter first, so the same item and definition always end at the same place, on any machine.
 * One meter belongs to one definition; it is reset for each item, since checks are synchronous.
 */

/** Made once and without a stack: a hostile expression may raise it thousands of times while it unwinds. */
export const OVERSPENT = Object.freeze(new Error('past the cost that one item may have'));

export class Meter {
  #left = 0;

  constructor(readonly allowance: number) {
    this.reset();
  }

  reset(): void {
    this.#left = this.allowance;
  }

  /** Whether too much was spent since the last reset. */
  get spent(): boolean {
    return this.#left < 0;
  }

  /** What was spent since the last reset: at most the allowance, since what is past it isn't done. */
  get used(): number {
    return Math.min(this.allowance - this.#left, this.allowance);
  }

  /** Takes from what is left; false when that is not enough. */
  spend(cost: number): boolean {
    this.#left -= cost;
    return this.#left >= 0;
  }

  /** @throws OVERSPENT when not enough is left */
  charge(cost: number): void {
    if (!this.spend(cost)) throw OVERSPENT;
  }

  /** Charges so much for every value inside, and for text by its length; stops as soon as too much is spent. */
  chargeDeep(value: unknown, each = 1): void {
    if (typeof value === 'string') this.charge(each + value.length / TEXT_PER_STEP);
    else if (typeof value !== 'object' || value === null) this.charge(each);
    else {
      this.charge(each);
      if (value instanceof Map) {
        for (const [name, inner] of value) {
          this.charge(String(name).length / TEXT_PER_STEP);
          this.chargeDeep(inner, each);
        }
      } else if (value instanceof Uint8Array) this.charge(value.length / TEXT_PER_STEP);
      else if (Array.isArray(value)) for (const inner of value) this.chargeDeep(inner, each);
      else if (Object.getPrototypeOf(value) === Object.prototype) {
        const names = Object.keys(value);
        this.charge(names.length);
        for (const name of names) this.chargeDeep((value as Record<string, unknown>)[name], each);
      }
    }
  }
}

/** Characters that are looked at in the time of one step. */
export const TEXT_PER_STEP = 64;
