/**
 * The sweeps of several workers: each asks for a sweep when it is due by its own timer, BullMQ lets one of those who ask through in that
 * time, and one worker does it. So all together sweep as often as one alone would. A sweep is safe to be done twice; this spares work
 * and guarantees nothing, and a worker that is never asked to do a sweep does it by itself in the end.
 *
 * BullMQ's own schedulers reckon with the clock of whichever worker asked last: one that is a day ahead would put the sweeps off for a
 * day. Here only Redis's own clock and timers count.
 */
import { Worker as BullWorker, type Job, Queue } from 'bullmq';
import type { Scheduled } from './background.js';
import { closed, queueConnection, STALLING, workerConnection } from './redis.js';
import { type Sweep, Sweeper, sweepThrough } from './sweeper.js';

export interface SharedSweepsOptions {
  readonly url: string;
  readonly prefix: string;
  /** Whether Redis is there to share them over; while it isn't, this process does them all. */
  isShared(): boolean;
  warn(error: unknown, details: Readonly<Record<string, string>>): void;
}

/** Of the time between two sweeps: so long nobody who asks is let through again. Less than the shortest pause of who asks alone. */
const SPARED = 0.75;
/** After so many times the time between two, a worker sweeps though nobody asked it to: others may, or nobody may. */
const ALONE = 10;
/** Failures that are kept to be looked at. */
const FAILED_KEPT = 20;
const KEEPING = { removeOnComplete: true, removeOnFail: { count: FAILED_KEPT } };

export class SharedSweeps {
  readonly queue: Queue;
  readonly #running = new Map<string, Promise<void>>();
  /** When this process last began each, in milliseconds of a clock that nobody sets. */
  readonly #begun = new Map<string, number>();
  /** Asked for, and Redis hasn't answered yet. */
  readonly #asking = new Set<string>();
  #sweeps = new Map<string, Scheduled>();
  #sweepers: Sweeper[] = [];
  #worker: BullWorker | undefined;
  #isStopped = false;

  constructor(private readonly options: SharedSweepsOptions) {
    const { url, prefix } = options;
    this.queue = new Queue('sweeps', { connection: queueConnection(url), prefix });
    this.queue.on('error', () => undefined);
  }

  start(sweeps: readonly Scheduled[]): void {
    const { url, prefix, warn } = this.options;
    this.#sweeps = new Map(sweeps.map((sweep) => [sweep.name, sweep]));
    for (const { name } of sweeps) this.#begun.set(name, performance.now());
    // A long sweep keeps no other one waiting.
    const concurrency = sweeps.length;
    const connection = workerConnection(url);
    this.#worker = new BullWorker(this.queue.name, ({ name }: Job) => this.#sweep(name), {
      ...{ connection, prefix, concurrency, ...STALLING },
    });
    this.#worker.on('error', () => undefined);
    this.#worker.on('failed', (job, error) => warn(error, { sweep: job?.name ?? '' }));
    this.#sweepers = sweeps.map((sweep) => {
      const work: Sweep = { sweep: () => this.#turn(sweep) };
      return new Sweeper(work, sweep.everyMs, (error) => warn(error, { sweep: sweep.name }));
    });
    for (const sweeper of this.#sweepers) sweeper.start();
  }

  /** Has a sweep done by some worker that is free; one that is under way then is done once more. */
  soon(name: string): void {
    this.#ask(name, { id: name, keepLastIfActive: true });
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    const closing = this.#worker ? [this.#worker.close()] : [];
    await Promise.all(this.#sweepers.map((sweeper) => sweeper.stop()));
    await Promise.allSettled(this.#running.values());
    await closed(closing);
  }

  close(): Promise<void> {
    return closed([this.queue.close()]);
  }

  /** It is time: done here, or asked for. */
  async #turn({ name, everyMs }: Scheduled): Promise<void> {
    const idleMs = performance.now() - (this.#begun.get(name) as number);
    if (!this.options.isShared() || idleMs > ALONE * everyMs) await this.#sweep(name);
    else this.#ask(name, { id: `${name} due`, ttl: Math.ceil(SPARED * everyMs) });
  }

  #ask(name: string, deduplication: { id: string; ttl?: number; keepLastIfActive?: boolean }): void {
    if (this.#asking.has(deduplication.id)) return;
    this.#asking.add(deduplication.id);
    this.queue
      .add(name, {}, { deduplication, ...KEEPING })
      .catch(() => undefined)
      .finally(() => this.#asking.delete(deduplication.id));
  }

  async #sweep(name: string): Promise<void> {
    const sweep = this.#sweeps.get(name);
    // Of another version, or still under way here.
    if (!sweep || this.#isStopped || this.#running.has(name)) return;
    this.#begun.set(name, performance.now());
    const running = sweepThrough(sweep.work, () => this.#isStopped).finally(() => this.#running.delete(name));
    this.#running.set(name, running);
    await running;
  }
}
