/**
 * Who was refused so often that nothing is answered any more for a while. A refusal weighs something, and what weighs on an
 * address wears off within ten minutes; where it is more than is borne the address is blocked, each time for twice as long,
 * and a day of peace makes it be forgotten. Held in memory and bounded; the time is an argument.
 */
import { limits } from '../limits.js';

export interface OffendersOptions {
  /** What an address may have weighing on it; 0: nobody is ever blocked. */
  readonly weightMax: number;
  /** How long the first block lasts. */
  readonly blockMs: number;
}

interface Record {
  weight: number;
  weighedAt: number;
  blocks: number;
}

const WEAR_MS = 600_000;
const FORGET_MS = 24 * 3600 * 1000;
const BLOCK_MS_MAX = 24 * 3600 * 1000;

export class Offenders {
  /** The one that was refused last comes last. */
  readonly #records = new Map<string, Record>();
  /** Until when. */
  readonly #blocked = new Map<string, number>();

  constructor(
    private readonly options: OffendersOptions,
    private readonly addressesMax: number = limits.offendersMax,
  ) {}

  /** Whether anybody may be blocked at all: to be asked before the address is looked at. */
  get hasBlocked(): boolean {
    return this.#blocked.size > 0;
  }

  /** How long the address is still blocked, in ms; 0 where it isn't. */
  blockedMs(address: string, now: number): number {
    const until = this.#blocked.get(address);
    if (until === undefined) return 0;
    if (until > now) return until - now;
    this.#blocked.delete(address);
    return 0;
  }

  /** How many are blocked now. */
  count(now: number): number {
    for (const [address, until] of this.#blocked) if (until <= now) this.#blocked.delete(address);
    return this.#blocked.size;
  }

  /** The address was refused. True where that makes it be blocked. */
  refuse(address: string, weight: number, now: number): boolean {
    const { weightMax, blockMs } = this.options;
    if (weightMax === 0) return false;
    const record = this.#taken(address, now);
    record.weight = Math.max(0, record.weight - ((now - record.weighedAt) / WEAR_MS) * weightMax) + weight;
    record.weighedAt = now;
    // What wore off between two refusals of one burst doesn't count.
    if (Math.ceil(record.weight) < weightMax || this.blockedMs(address, now) > 0) return false;
    record.weight = 0;
    this.#blocked.set(address, now + Math.min(BLOCK_MS_MAX, blockMs * 2 ** record.blocks));
    record.blocks++;
    return true;
  }

  #taken(address: string, now: number): Record {
    let record = this.#records.get(address);
    if (record && now - record.weighedAt > FORGET_MS) record = undefined;
    this.#records.delete(address);
    for (const oldest of this.#records.keys()) {
      if (this.#records.size < this.addressesMax) break;
      this.#records.delete(oldest);
      this.#blocked.delete(oldest);
    }
    record ??= { weight: 0, weighedAt: now, blocks: 0 };
    this.#records.set(address, record);
    return record;
  }
}
