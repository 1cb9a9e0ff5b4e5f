/** Runs a sweep again and again with a pause between, until stopped: of old commits, of items whose time is over. */

/** Work in short transactions; `pause` is awaited between them, and ends the work when it answers false. */
export interface Sweep {
  sweep(pause: () => Promise<boolean>): Promise<void>;
}

/** Between two transactions of a sweep, so that it never takes more than a small share of the database. */
const PAUSE_MS = 5;

/** Does a sweep until it is through or stopped. */
export function sweepThrough(work: Sweep, isStopped: () => boolean): Promise<void> {
  return work.sweep(async () => {
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    return !isStopped();
  });
}

export class Sweeper {
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(
    private readonly work: Sweep,
    private readonly everyMs: number,
    private readonly warn: (error: unknown) => void,
  ) {}

  start(): void {
    // Nodes that started together don't sweep together.
    this.#after(this.everyMs * (0.8 + 0.4 * Math.random()));
  }

  /** Begins at once, unless it runs. */
  soon(): void {
    if (!this.#running && !this.#stopped) this.#after(0);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  #after(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#running = this.#sweep().finally(() => {
        this.#running = undefined;
        if (!this.#stopped) this.start();
      });
    }, ms).unref();
  }

  async #sweep(): Promise<void> {
    try {
      await sweepThrough(this.work, () => this.#stopped);
    } catch (error) {
      this.warn(error);
    }
  }
}
