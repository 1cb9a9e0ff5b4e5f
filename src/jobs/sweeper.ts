/** Runs the sweeps of old commits and stored answers, one after another with a pause between, until stopped. */
import type { Compaction } from '../engine/state/compaction.js';

/** Between two transactions of a sweep, so that it never takes more than a small share of the database. */
const PAUSE_MS = 5;

export class Sweeper {
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(
    private readonly compaction: Compaction,
    private readonly everyMs: number,
    private readonly warn: (error: unknown) => void,
  ) {}

  start(): void {
    // Nodes that started together don't sweep together.
    const wait = this.everyMs * (0.8 + 0.4 * Math.random());
    this.#timer = setTimeout(() => {
      this.#running = this.#sweep();
    }, wait).unref();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  async #sweep(): Promise<void> {
    try {
      await this.compaction.sweep(async () => {
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
        return !this.#stopped;
      });
    } catch (error) {
      this.warn(error);
    }
    if (!this.#stopped) this.start();
  }
}
