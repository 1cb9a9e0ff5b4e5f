/**
 * Tells who used how much of a pool, at next to no cost for those who use it. What the meter has counted is noted in a table
 * every some seconds; that is no commit. Only when somebody looks at `_usage`, or has not for an hour, are the noted rows
 * brought into items by a commit: so a pool doesn't move merely because it is used.
 *
 * What this node counted and hasn't noted is lost when the node is killed.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import { type Clock, OutcomeUnknown, type Store, type Telemetry } from '../ports.js';
import type { Committer } from '../state/committer.js';
import type { Replica } from '../state/replica.js';
import type { Replicas } from '../state/replicas.js';
import { system } from '../subject.js';
import { foldUsage, USAGE } from './usage-items.js';
import { type Refused, UsageMeter } from './usage-meter.js';

export interface MeteringOptions {
  /** How often what was counted is noted, and told to those who watch; 0: nothing is counted. */
  readonly usageMs: number;
}

/** Rows that nobody has looked at for so long are brought into items all the same. */
const NOTED_MS = 3600 * 1000;

export class Metering {
  readonly #meter: UsageMeter;
  #timer: NodeJS.Timeout | undefined;
  #noting: Promise<void> = Promise.resolve();
  readonly #folding = new Map<Replica, Promise<void>>();

  constructor(
    private readonly store: Store,
    private readonly replicas: Replicas,
    private readonly committer: Committer,
    private readonly telemetry: Telemetry,
    private readonly clock: Clock,
    private readonly options: MeteringOptions,
  ) {
    this.#meter = new UsageMeter((pool) => replicas.known(pool)?.id);
  }

  start(): void {
    const { usageMs } = this.options;
    if (usageMs > 0) this.#timer = setInterval(() => void this.#tick(), usageMs).unref();
  }

  /** To be called when requests and streams have ended. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#note();
  }

  /** A request has ended. Bytes are those of bodies. */
  request(pool: string, subject: string, isWrite: boolean, bytesIn: number, bytesOut: number): void {
    if (this.options.usageMs === 0) return;
    this.#meter.request(pool, subject, isWrite, bytesIn, bytesOut);
  }

  /** A request about the pool was refused because of who asked; `isBlocked`: and its address is blocked for it. */
  refusal(pool: string, who: Refused, isBlocked: boolean): void {
    if (this.options.usageMs === 0) return;
    this.#meter.refusal(pool, who, isBlocked, this.clock.now());
  }

  /** A stream begins. What this answers is called when it ends, or was refused. */
  stream(pool: string, subject: string, bytesSent: () => number): (cameAbout: boolean) => void {
    if (this.options.usageMs === 0) return () => {};
    const end = this.#meter.stream(pool, subject, bytesSent, this.clock.now());
    return (cameAbout) => end(this.clock.now(), cameAbout);
  }

  /** Brings into the pool's items all that this node counted and every node noted. A pool that isn't there has none. */
  async bringUp(pool: string): Promise<void> {
    const replica = await this.replicas.find(pool);
    if (!replica) return;
    // One that began before this call may have passed over what was counted since.
    await this.#folding.get(replica)?.catch(() => undefined);
    let folding = this.#folding.get(replica);
    if (!folding) {
      folding = this.#note()
        .then(() => this.#fold(replica))
        .finally(() => this.#folding.delete(replica));
      this.#folding.set(replica, folding);
    }
    await folding;
  }

  /** Brings into items what nobody has looked at for long. `pause` is awaited between pools, and ends the sweep when it answers false. */
  async sweep(pause: () => Promise<boolean>): Promise<void> {
    for (const pool of await this.store.usedPools((await this.store.now()) - NOTED_MS)) {
      await this.#tried(() => this.bringUp(pool));
      if (!(await pause())) return;
    }
  }

  async #tick(): Promise<void> {
    this.#meter.countStreams(this.clock.now());
    await this.#note();
    for (const replica of this.replicas.all())
      if (replica.follower?.watches(USAGE)) await this.#tried(() => this.bringUp(replica.name));
  }

  /** Notes what was counted until now. Resolves when that, and what was taken before, is noted or has failed. */
  #note(): Promise<void> {
    this.#noting = this.#noting.then(async () => {
      const counts = this.#meter.take();
      if (counts.length === 0) return;
      await this.#tried(async () => {
        try {
          await this.store.addUsage(counts);
        } catch (error) {
          // What may have been noted is rather lost than counted twice.
          if (!(error instanceof OutcomeUnknown)) this.#meter.putBack(counts);
          throw error;
        }
      });
    });
    return this.#noting;
  }

  async #fold({ name, epoch }: Replica): Promise<void> {
    for (let more = true; more; ) {
      const command = foldUsage({ subject: system, epoch, limit: limits.usageFoldRowsMax });
      try {
        const submitted = await this.committer.submit(name, command);
        more = submitted.replayed === undefined && submitted.answer.more;
      } catch (error) {
        // The pool went meanwhile: whoever looks at it is told so.
        if (error instanceof Problem && error.code === 'notFound') return;
        throw error;
      }
    }
  }

  async #tried(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.telemetry.warn('What was used could not be noted and is tried again', {
        error: String((error as Error).stack),
      });
    }
  }
}
