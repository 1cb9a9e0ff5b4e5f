/**
 * Work in this process: what is wanted is done here, some works at a time, each by one call at a time. Nothing of it outlives the
 * process; what was left is found in the database at the next start (`pending`), and every now and then.
 */
import type { Work, Worker, WorkQueue } from '../engine/ports.js';

export interface LocalWorkOptions {
  /** How many works are done at a time. */
  readonly concurrency: number;
  /** How often the database is asked for what nobody wanted. */
  readonly lookMs: number;
  /** What is asked for at once. */
  readonly lookMax: number;
  warn(error: unknown, work: Work | undefined): void;
}

/** How long is waited before what failed is tried again. */
const FAILED_MS = 1000;

interface Entry {
  readonly work: Work;
  timer: NodeJS.Timeout | undefined;
  /** When the timer ends, by this process's clock. */
  due: number;
  state: 'delayed' | 'waiting' | 'running';
  /** Wanted while it ran: in so many ms after it. */
  again: number | undefined;
}

export class LocalWork implements WorkQueue {
  readonly #workers = new Map<Work['kind'], Worker>();
  readonly #entries = new Map<string, Entry>();
  readonly #waiting: Entry[] = [];
  readonly #running = new Set<Promise<void>>();
  readonly #stop = new AbortController();
  #look: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  constructor(private readonly options: LocalWorkOptions) {}

  /** Looks for what was left, and begins. */
  start(workers: readonly Worker[]): void {
    for (const worker of workers) this.#workers.set(worker.kind, worker);
    this.#lookAround();
  }

  want(work: Work, delayMs = 0): void {
    if (this.#stop.signal.aborted || !this.#workers.has(work.kind)) return;
    const id = idOf(work);
    const known = this.#entries.get(id);
    if (!known) {
      const entry: Entry = { work, timer: undefined, due: 0, state: 'delayed', again: undefined };
      this.#entries.set(id, entry);
      this.#delay(entry, delayMs);
    } else if (known.state === 'running') known.again = Math.min(known.again ?? delayMs, delayMs);
    else if (known.state === 'delayed' && performance.now() + delayMs < known.due) this.#delay(known, delayMs);
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Begins nothing more; what runs is asked to end, and waited for. */
  async stop(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#look);
    for (const { timer } of this.#entries.values()) clearTimeout(timer);
    await Promise.all([this.#looking, ...this.#running]);
  }

  #delay(entry: Entry, delayMs: number): void {
    clearTimeout(entry.timer);
    entry.state = 'delayed';
    entry.due = performance.now() + delayMs;
    if (delayMs <= 0) this.#begin(entry);
    else entry.timer = setTimeout(() => this.#begin(entry), delayMs).unref();
  }

  #begin(entry: Entry): void {
    entry.state = 'waiting';
    this.#waiting.push(entry);
    this.#next();
  }

  #next(): void {
    while (this.#running.size < this.options.concurrency) {
      const entry = this.#waiting.shift();
      if (!entry || this.#stop.signal.aborted) return;
      const running: Promise<void> = this.#run(entry).finally(() => {
        this.#running.delete(running);
        this.#next();
      });
      this.#running.add(running);
    }
  }

  async #run(entry: Entry): Promise<void> {
    const { work } = entry;
    entry.state = 'running';
    entry.again = undefined;
    let more: number | undefined;
    try {
      more = await (this.#workers.get(work.kind) as Worker).work(work, this.#stop.signal);
    } catch (error) {
      this.options.warn(error, work);
      more = FAILED_MS;
    }
    const again = entry.again === undefined ? more : Math.min(entry.again, more ?? Number.POSITIVE_INFINITY);
    if (again === undefined || this.#stop.signal.aborted) this.#entries.delete(idOf(work));
    else this.#delay(entry, again);
  }

  #lookAround(): void {
    this.#looking = this.#wantPending().finally(() => {
      if (!this.#stop.signal.aborted) this.#look = setTimeout(() => this.#lookAround(), this.options.lookMs).unref();
    });
  }

  async #wantPending(): Promise<void> {
    for (const worker of this.#workers.values()) {
      try {
        for (const work of await worker.pending(this.options.lookMax)) this.want(work);
      } catch (error) {
        this.options.warn(error, undefined);
      }
    }
  }
}

const idOf = ({ kind, pool, name }: Work) => JSON.stringify([kind, pool, name]);
