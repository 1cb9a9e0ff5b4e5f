/**
 * How often a key (a subject, an address) may do something in a time. The count is kept by rate-limiter-flexible, which could
 * as well keep it where several nodes share it; so that it needn't be asked at each request, a hundredth of what is allowed
 * is taken from it at once and given out here.
 */
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { limits } from '../engine/limits.js';
import type { Rate } from '../platform/config.js';

/** How a key stands after it was counted. */
export interface Standing {
  readonly isOver: boolean;
  /** How many more are allowed before the time ends. */
  readonly left: number;
  /** When the time ends and all is allowed anew, in ms since 1970. */
  readonly endsAt: number;
}

/** What was taken and not given out yet, and what is left beside. */
interface Portion {
  own: number;
  shared: number;
  endsAt: number;
  isOver: boolean;
}

/** Whoever comes when no more keys are counted is counted together with all who do. */
const OTHERS = '';
const PORTIONS = 100;
const SWEEP_MS = 1000;

export class Limit {
  readonly #limiter: RateLimiterMemory;
  readonly #portions = new Map<string, Portion>();
  readonly #asking = new Map<string, Promise<void>>();
  readonly #portion: number;
  #sweptAt = 0;

  constructor(
    readonly name: string,
    readonly rate: Rate,
    private readonly keysMax: number = limits.rateKeysMax,
  ) {
    this.#limiter = new RateLimiterMemory({ points: rate.count, duration: rate.everyMs / 1000 });
    this.#portion = portionOf(rate.count);
  }

  /** The RateLimit-Policy field's entry. */
  get policy(): string {
    return `"${this.name}";q=${this.rate.count};w=${Math.ceil(this.rate.everyMs / 1000)}`;
  }

  /** Counts one more of the key. Mostly answers at once. */
  take(key: string, now = Date.now()): Standing | Promise<Standing> {
    const portion = this.#portions.get(key);
    if (portion && now < portion.endsAt && (portion.isOver || portion.own > 0)) {
      if (!portion.isOver) portion.own--;
      return { isOver: portion.isOver, left: portion.own + portion.shared, endsAt: portion.endsAt };
    }
    if (!portion && key !== OTHERS && this.#isFull(now)) return this.take(OTHERS, now);
    // Those who come meanwhile wait for the same portion.
    let asking = this.#asking.get(key);
    if (!asking) {
      asking = this.#ask(key).finally(() => this.#asking.delete(key));
      this.#asking.set(key, asking);
    }
    return asking.then(() => this.take(key));
  }

  async #ask(key: string): Promise<void> {
    const portion = this.#portions.get(key) ?? { own: 0, shared: 0, endsAt: 0, isOver: false };
    this.#portions.set(key, portion);
    let told: RateLimiterRes;
    try {
      told = await this.#limiter.consume(key, this.#portion);
      portion.own = this.#portion;
      portion.isOver = false;
    } catch (error) {
      if (!(error instanceof RateLimiterRes)) throw error;
      told = error;
      portion.own = 0;
      portion.isOver = true;
    }
    portion.shared = told.remainingPoints;
    portion.endsAt = Date.now() + told.msBeforeNext;
  }

  #isFull(now: number): boolean {
    if (this.#portions.size < this.keysMax) return false;
    if (now - this.#sweptAt < SWEEP_MS) return true;
    this.#sweptAt = now;
    for (const [key, { endsAt }] of this.#portions) if (endsAt <= now) this.#portions.delete(key);
    return this.#portions.size >= this.keysMax;
  }
}

/** A hundredth of the count, or less, so that portions fill it without a rest. */
function portionOf(count: number): number {
  let portion = Math.max(1, Math.floor(count / PORTIONS));
  while (count % portion !== 0) portion--;
  return portion;
}
