/**
 * What subjects use of pools, counted in memory until it is taken. Counting is two look-ups and some additions; how many
 * pairs of a pool and a subject are held is bounded. The time is an argument.
 */
import { limits } from '../limits.js';
import type { Usage, UsageCount } from '../ports.js';

type Counters = { -readonly [Name in keyof Usage]: number };

/** A stream that is open: its time and bytes are counted in stretches, so that a long one shows before its end. */
interface OpenStream {
  readonly pool: string;
  readonly subject: string;
  readonly bytesSent: () => number;
  countedAt: number;
  countedBytes: number;
}

/** How often what an open stream used is counted. */
const STREAM_EVERY_MS = 60_000;
const DAY_MS = 24 * 3600 * 1000;

/** Who was refused: a subject where it is known, else an address. */
export type Refused = { readonly subject: string } | { readonly address: string };

export class UsageMeter {
  readonly #pools = new Map<number, Map<string, Counters>>();
  readonly #streams = new Set<OpenStream>();
  /** The addresses that are counted by name today. */
  readonly #addresses = new Map<number, Set<string>>();
  #day = 0;
  #size = 0;

  /** `poolIdOf` gives the id of a pool that there is. */
  constructor(private readonly poolIdOf: (pool: string) => number | undefined) {}

  /** Counts a request that has ended. One about a pool that isn't there isn't counted. */
  request(pool: string, subject: string, isWrite: boolean, bytesIn: number, bytesOut: number): void {
    const poolId = this.poolIdOf(pool);
    const counters = poolId === undefined ? undefined : this.#counters(poolId, subject);
    if (!counters) return;
    counters.requests++;
    if (isWrite) counters.writes++;
    counters.bytesIn += bytesIn;
    counters.bytesOut += bytesOut;
  }

  /** Counts a refusal because of who asked, and whether the address was blocked for it. */
  refusal(pool: string, who: Refused, isBlocked: boolean, now: number): void {
    const poolId = this.poolIdOf(pool);
    if (poolId === undefined) return;
    const subject = 'subject' in who ? who.subject : this.#addressIn(poolId, who.address, now);
    const counters = this.#counters(poolId, subject);
    if (!counters) return;
    counters.refusals++;
    if (isBlocked) counters.blocks++;
  }

  /** Begins to count a stream. What this answers ends it; a stream that didn't come about isn't counted. */
  stream(
    pool: string,
    subject: string,
    bytesSent: () => number,
    now: number,
  ): (now: number, cameAbout: boolean) => void {
    const stream = { pool, subject, bytesSent, countedAt: now, countedBytes: bytesSent() };
    this.#streams.add(stream);
    return (end, cameAbout) => {
      if (this.#streams.delete(stream) && cameAbout) this.#countStream(stream, end);
    };
  }

  /** Counts what streams used that have been open for a while. */
  countStreams(now: number): void {
    for (const stream of this.#streams) if (now - stream.countedAt >= STREAM_EVERY_MS) this.#countStream(stream, now);
  }

  /** All that was counted; it is held here no longer. */
  take(): UsageCount[] {
    const counts: UsageCount[] = [];
    for (const [poolId, subjects] of this.#pools)
      for (const [subject, counters] of subjects) counts.push({ poolId, subject, ...counters });
    this.#pools.clear();
    this.#size = 0;
    return counts;
  }

  /** Holds again what was taken and could not be kept. */
  putBack(counts: readonly UsageCount[]): void {
    for (const { poolId, subject, ...usage } of counts) {
      const counters = this.#counters(poolId, subject);
      if (counters) for (const name of Object.keys(usage) as (keyof Usage)[]) counters[name] += usage[name];
    }
  }

  #countStream(stream: OpenStream, now: number): void {
    const { pool, subject, bytesSent } = stream;
    const poolId = this.poolIdOf(pool);
    const counters = poolId === undefined ? undefined : this.#counters(poolId, subject);
    if (!counters) return;
    const bytes = bytesSent();
    counters.streamMs += Math.max(0, Math.round(now - stream.countedAt));
    counters.bytesOut += bytes - stream.countedBytes;
    stream.countedAt = now;
    stream.countedBytes = bytes;
  }

  /** Anybody can be refused from many addresses: only some are counted by name. */
  #addressIn(poolId: number, address: string, now: number): string {
    const day = Math.floor(now / DAY_MS);
    if (day !== this.#day) this.#addresses.clear();
    this.#day = day;
    let named = this.#addresses.get(poolId);
    if (!named) {
      named = new Set();
      this.#addresses.set(poolId, named);
    }
    if (!named.has(address) && named.size >= limits.usageAddressesMax) return 'address:others';
    named.add(address);
    return `address:${address}`;
  }

  #counters(poolId: number, subject: string): Counters | undefined {
    let subjects = this.#pools.get(poolId);
    const known = subjects?.get(subject);
    // Beyond the bound others aren't counted until what is there is taken.
    if (known || this.#size >= limits.usageCountersMax) return known;
    if (!subjects) {
      subjects = new Map();
      this.#pools.set(poolId, subjects);
    }
    const counters = { requests: 0, writes: 0, bytesIn: 0, bytesOut: 0, streamMs: 0, refusals: 0, blocks: 0 };
    subjects.set(subject, counters);
    this.#size++;
    return counters;
  }
}
