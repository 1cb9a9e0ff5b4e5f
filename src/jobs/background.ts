/**
 * What runs beside requests, and how processes of one deployment have it in common: the bus, work that is left to be done, sweeps.
 * Alone (`LocalBackground`) a process does it all by itself; several share it over Redis (redis-background.ts).
 */
import type { Bus, Work, Worker, WorkQueue } from '../engine/hints.js';
import { LocalBus } from './local-bus.js';
import { LocalWork } from './local-work.js';
import { type Sweep, Sweeper } from './sweeper.js';

/** A sweep by its name, and how often it is due. */
export interface Scheduled {
  readonly name: string;
  readonly work: Sweep;
  readonly everyMs: number;
}

export interface BackgroundOptions {
  /** How many works of one kind this process does at a time. */
  readonly concurrency: number;
  done(kind: Work['kind'], outcome: 'done' | 'failed'): void;
  warn(error: unknown, details: Readonly<Record<string, string>>): void;
}

export interface Background {
  readonly bus: Bus;
  readonly work: WorkQueue;
  /** Whether Redis is reached; undefined where there is none to be. */
  readonly isRedisUp: boolean | undefined;
  /** From now on this process does its share. Without this it only tells and wants. */
  start(workers: readonly Worker[], sweeps: readonly Scheduled[]): void;
  /** Has a sweep done soon, by whoever does sweeps. */
  sweepSoon(name: string): void;
  /** Works that wait or are delayed, by kind. */
  waiting(): Promise<Readonly<Record<string, number>>>;
  /** Ends what this process does, in order. Others may still be told and wanted things until `close`. */
  stop(): Promise<void>;
  close(): Promise<void>;
}

/** How often the database is asked for work that nobody wanted, or whose wanting was lost. */
export const LOOK_MS = 5000;
/** Works that are asked for at once. */
export const LOOK_MAX = 1000;

export class LocalBackground implements Background {
  readonly bus = new LocalBus();
  readonly isRedisUp = undefined;
  readonly work: LocalWork;
  #sweepers = new Map<string, Sweeper>();

  constructor(private readonly options: BackgroundOptions) {
    const { concurrency, done, warn } = options;
    this.work = new LocalWork({ concurrency, lookMs: LOOK_MS, lookMax: LOOK_MAX, done, warn });
  }

  start(workers: readonly Worker[], sweeps: readonly Scheduled[]): void {
    this.#sweepers = new Map(
      sweeps.map(({ name, work, everyMs }) => {
        const warn = (error: unknown) => this.options.warn(error, { sweep: name });
        return [name, new Sweeper(work, everyMs, warn)];
      }),
    );
    for (const sweeper of this.#sweepers.values()) sweeper.start();
    this.work.start(workers);
  }

  sweepSoon(name: string): void {
    this.#sweepers.get(name)?.soon();
  }

  async waiting(): Promise<Record<string, number>> {
    return this.work.waiting;
  }

  async stop(): Promise<void> {
    await Promise.all([...[...this.#sweepers.values()].map((sweeper) => sweeper.stop()), this.work.stop()]);
  }

  async close(): Promise<void> {}
}
