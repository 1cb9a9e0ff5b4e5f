/**
 * The sweeps of several workers: BullMQ's schedulers have each done by one worker at a time, as often as one worker alone would do
 * it. A sweep is safe to be done twice, so this spares work and guarantees nothing.
 */
import { Worker as BullWorker, type Job, Queue } from 'bullmq';
import type { Scheduled } from './background.js';
import { closed, queueConnection, STALLING, workerConnection } from './redis.js';
import { sweepThrough } from './sweeper.js';

export interface ScheduledSweepsOptions {
  readonly url: string;
  readonly prefix: string;
  warn(error: unknown, details: Readonly<Record<string, string>>): void;
}

/** How often it is made sure that the schedulers are there: a Redis that was emptied has none. */
const SCHEDULE_MS = 30_000;
/** Failures that are kept to be looked at. */
const FAILED_KEPT = 20;
const KEEPING = { removeOnComplete: true, removeOnFail: { count: FAILED_KEPT } };

export class ScheduledSweeps {
  readonly queue: Queue;
  readonly #running = new Map<string, Promise<void>>();
  #sweeps = new Map<string, Scheduled>();
  #worker: BullWorker | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(private readonly options: ScheduledSweepsOptions) {
    const { url, prefix } = options;
    this.queue = new Queue('sweeps', { connection: queueConnection(url), prefix });
    this.queue.on('error', () => undefined);
  }

  start(sweeps: readonly Scheduled[]): void {
    this.#sweeps = new Map(sweeps.map((sweep) => [sweep.name, sweep]));
    const { url, prefix, warn } = this.options;
    // A long sweep keeps no other one waiting.
    const concurrency = sweeps.length;
    const connection = workerConnection(url);
    this.#worker = new BullWorker(this.queue.name, ({ name }: Job) => this.#sweep(name), {
      ...{ connection, prefix, concurrency, ...STALLING },
    });
    this.#worker.on('error', () => undefined);
    this.#worker.on('failed', (job, error) => warn(error, { sweep: job?.name ?? '' }));
    this.#worker.on('ready', () => void this.#schedule());
    this.#timer = setInterval(() => void this.#schedule(), SCHEDULE_MS).unref();
  }

  soon(name: string): void {
    this.queue
      .add(name, {}, { deduplication: { id: name, keepLastIfActive: true }, ...KEEPING })
      .catch(() => undefined);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#timer);
    const closing = this.#worker ? [this.#worker.close()] : [];
    await Promise.allSettled(this.#running.values());
    await closed(closing);
  }

  close(): Promise<void> {
    return closed([this.queue.close()]);
  }

  /** Makes the schedulers, and removes those that other versions had. */
  async #schedule(): Promise<void> {
    try {
      for (const { key } of await this.queue.getJobSchedulers())
        if (!this.#sweeps.has(key)) await this.queue.removeJobScheduler(key);
      for (const { name, everyMs } of this.#sweeps.values())
        await this.queue.upsertJobScheduler(name, { every: everyMs }, { name, opts: KEEPING });
    } catch {
      // Redis is away: the next time.
    }
  }

  async #sweep(name: string): Promise<void> {
    const sweep = this.#sweeps.get(name);
    // Of another version, or still under way here.
    if (!sweep || this.#isStopped || this.#running.has(name)) return;
    const running = sweepThrough(sweep.work, () => this.#isStopped).finally(() => this.#running.delete(name));
    this.#running.set(name, running);
    await running;
  }
}
