/**
 * Work in this process: what is wanted is done here, some works of a kind at a time, each by one call at a time. Nothing of it
 * outlives the process; what was left is found in the database at the next start (`pending`), and every now and then.
 */
import type { Work, Worker, WorkQueue } from '../engine/hints.js';

export interface LocalWorkOptions {
  /** How many works of one kind are done at a time. */
  readonly concurrency: number;
  /** How often the database is asked for what nobody wanted. */
  readonly lookMs: number;
  /** What is asked for at once. */
  readonly lookMax: number;
  done(kind: Work['kind'], outcome: 'done' | 'failed'): void;
  warn(error: unknown, details: Readonly<Record<string, string>>): void;
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

/** The works of one kind: one kind that is slow, or has much to do, keeps no other waiting. */
interface Lane {
  readonly worker: Worker;
  readonly waiting: Entry[];
  readonly running: Set<Promise<void>>;
}

export class LocalWork implements WorkQueue {
  readonly #lanes = new Map<Work['kind'], Lane>();
  readonly #entries = new Map<string, Entry>();
  readonly #stop = new AbortController();
  #look: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  constructor(private readonly options: LocalWorkOptions) {}

  /** Looks for what was left, and begins. */
  start(workers: readonly Worker[]): void {
    for (const worker of workers) this.#lanes.set(worker.kind, { worker, waiting: [], running: new Set() });
    this.#lookAround();
  }

  want(work: Work, delayMs = 0): void {
    if (this.#stop.signal.aborted || !this.#lanes.has(work.kind)) return;
    const id = idOf(work);
    const known = this.#entries.get(id);
    if (!known) {
      const entry: Entry = { work, timer: undefined, due: 0, state: 'delayed', again: undefined };
      this.#entries.set(id, entry);
      this.#delay(entry, delayMs);
    } else if (known.state === 'running') known.again = Math.min(known.again ?? delayMs, delayMs);
    else if (known.state === 'delayed' && performance.now() + delayMs < known.due) this.#delay(known, delayMs);
  }

  /** Works that wait for their turn or for their time, by kind. */
  get waiting(): Record<string, number> {
    const counts: Record<string, number> = Object.fromEntries([...this.#lanes.keys()].map((kind) => [kind, 0]));
    for (const { work, state } of this.#entries.values())
      if (state !== 'running') counts[work.kind] = (counts[work.kind] ?? 0) + 1;
    return counts;
  }

  /** Begins nothing more; what runs is asked to end, and waited for. */
  async stop(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#look);
    for (const { timer } of this.#entries.values()) clearTimeout(timer);
    await Promise.all([this.#looking, ...[...this.#lanes.values()].flatMap(({ running }) => [...running])]);
  }

  #delay(entry: Entry, delayMs: number): void {
    clearTimeout(entry.timer);
    entry.state = 'delayed';
    entry.due = performance.now() + delayMs;
    if (delayMs <= 0) this.#begin(entry);
    else entry.timer = setTimeout(() => this.#begin(entry), delayMs).unref();
  }

  #begin(entry: Entry): void {
    const lane = this.#lanes.get(entry.work.kind) as Lane;
    entry.state = 'waiting';
    lane.waiting.push(entry);
    this.#next(lane);
  }

  #next(lane: Lane): void {
    while (lane.running.size < this.options.concurrency && !this.#stop.signal.aborted) {
      const entry = lane.waiting.shift();
      if (!entry) return;
      const running: Promise<void> = this.#run(lane, entry).finally(() => {
        lane.running.delete(running);
        this.#next(lane);
      });
      lane.running.add(running);
    }
  }

  async #run({ worker }: Lane, entry: Entry): Promise<void> {
    const { work } = entry;
    entry.state = 'running';
    entry.again = undefined;
    let more: number | undefined;
    try {
      more = await worker.work(work, this.#stop.signal);
      this.options.done(work.kind, 'done');
    } catch (error) {
      this.options.done(work.kind, 'failed');
      this.options.warn(error, { ...work });
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
    for (const { worker } of this.#lanes.values()) {
      try {
        for (const work of await worker.pending(this.options.lookMax)) this.want(work);
      } catch (error) {
        this.options.warn(error, { kind: worker.kind });
      }
    }
  }
}

/** Names a work among all. */
export const idOf = ({ kind, pool, name }: Work) => JSON.stringify([kind, pool, name]);
