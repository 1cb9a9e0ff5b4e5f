/**
 * Work over BullMQ: what is wanted on any node is done by one of the workers, of one work one at a time. A job holds names only; two
 * jobs of one work are one, and one that is wanted while it is done is done once more. Jobs are hints like wakes: those that Redis
 * loses are found in the database again by whoever looks for them (`pending`), and while Redis is away work waits.
 */
import { createHash } from 'node:crypto';
import { Worker as BullWorker, type Job, Queue } from 'bullmq';
import type { Work, Worker, WorkQueue } from '../engine/hints.js';
import { idOf } from './local-work.js';
import { closed, queueConnection, STALLING, workerConnection } from './redis.js';

export interface QueuedWorkOptions {
  readonly url: string;
  readonly prefix: string;
  /** How many works of one kind this process does at a time. */
  readonly concurrency: number;
  /** What is asked for at once when the database is looked through. */
  readonly lookMax: number;
  done(kind: Work['kind'], outcome: 'done' | 'failed'): void;
  warn(error: unknown, details: Readonly<Record<string, string>>): void;
}

/** How long is waited before what failed is tried again. */
const FAILED_MS = 1000;
/** The same work is asked for at most so often: commits come by the thousand. */
const THROTTLE_MS = 20;
/** Works that are asked for at a time; with more, Redis doesn't keep up, and the database will be looked through. */
const ASKING_MAX = 1000;
/** Failures that are kept to be looked at. */
const FAILED_KEPT = 100;

const KINDS: readonly Work['kind'][] = ['notifier', 'operation'];

type WorkJob = Job<Work, number | undefined>;

export class QueuedWork implements WorkQueue {
  /** One a kind: one that is slow, or has much to do, keeps no other waiting. */
  readonly queues: ReadonlyMap<Work['kind'], Queue<Work>>;
  readonly #stop = new AbortController();
  /** Works that were asked for a moment ago; true: wanted again since. */
  readonly #asked = new Map<string, boolean>();
  readonly #bullWorkers: BullWorker<Work, number | undefined>[] = [];
  readonly #running = new Set<Promise<number | undefined>>();
  #workers: readonly Worker[] = [];
  #asking = 0;

  constructor(private readonly options: QueuedWorkOptions) {
    const { url, prefix } = options;
    this.queues = new Map(
      KINDS.map((kind) => {
        const queue = new Queue<Work>(kind, {
          ...{ connection: queueConnection(url), prefix },
          defaultJobOptions: { removeOnComplete: true, removeOnFail: { count: FAILED_KEPT } },
        });
        queue.on('error', () => undefined);
        return [kind, queue];
      }),
    );
  }

  /** This process does work as well. */
  start(workers: readonly Worker[]): void {
    this.#workers = workers;
    for (const worker of workers) this.#bullWorkers.push(this.#newBullWorker(worker));
  }

  want(work: Work, delayMs = 0): void {
    if (this.#stop.signal.aborted) return;
    if (delayMs > 0) this.#ask(work, delayMs);
    else this.#askOnce(work);
  }

  #askOnce(work: Work): void {
    const id = idOf(work);
    if (this.#asked.has(id)) {
      this.#asked.set(id, true);
      return;
    }
    this.#asked.set(id, false);
    setTimeout(() => {
      const again = this.#asked.get(id);
      this.#asked.delete(id);
      if (again && !this.#stop.signal.aborted) this.#askOnce(work);
    }, THROTTLE_MS).unref();
    this.#ask(work, 0);
  }

  /** Wants all that is left to be done by the database: what nobody wanted, or whose wanting was lost. */
  async look(): Promise<void> {
    for (const worker of this.#workers) for (const work of await worker.pending(this.options.lookMax)) this.want(work);
  }

  /** Works that wait for their turn or for their time, by kind. */
  async waiting(): Promise<Record<string, number>> {
    const counts = [...this.queues].map(async ([kind, queue]) => [
      kind,
      await queue.getJobCountByTypes('waiting', 'delayed'),
    ]);
    return Object.fromEntries(await Promise.all(counts));
  }

  /** Begins nothing more; what runs is asked to end, and waited for. */
  async stop(): Promise<void> {
    this.#stop.abort();
    const closing = this.#bullWorkers.map((worker) => worker.close());
    await Promise.allSettled(this.#running);
    await closed(closing);
  }

  close(): Promise<void> {
    return closed([...this.queues.values()].map((queue) => queue.close()));
  }

  #newBullWorker(worker: Worker): BullWorker<Work, number | undefined> {
    const { url, prefix, concurrency } = this.options;
    const bullWorker = new BullWorker<Work, number | undefined>(
      worker.kind,
      (job: WorkJob) => {
        const running = worker.work(job.data, this.#stop.signal).finally(() => this.#running.delete(running));
        this.#running.add(running);
        return running;
      },
      // A work is never given up: what can't be done is the worker's own business.
      { connection: workerConnection(url), prefix, concurrency, ...STALLING },
    );
    bullWorker.on('error', () => undefined);
    bullWorker.on('completed', ({ data }: WorkJob, moreInMs: number | null | undefined) => {
      this.options.done(data.kind, 'done');
      if (typeof moreInMs === 'number') this.want(data, moreInMs);
    });
    bullWorker.on('failed', (job: WorkJob | undefined, error) => {
      this.options.done(worker.kind, 'failed');
      this.options.warn(error, { ...(job?.data ?? { kind: worker.kind }) });
      if (job) this.want(job.data, FAILED_MS);
    });
    return bullWorker;
  }

  #ask(work: Work, delayMs: number): void {
    if (this.#asking >= ASKING_MAX) return;
    this.#asking++;
    (this.queues.get(work.kind) as Queue<Work>)
      .add(work.kind, work, {
        delay: Math.ceil(delayMs),
        deduplication: { id: keyOf(work), keepLastIfActive: true, reschedule: true },
      })
      .catch(() => undefined)
      .finally(() => this.#asking--);
  }
}

/** Pools and names may hold what a key of Redis's can't. */
function keyOf(work: Work): string {
  return createHash('sha256').update(idOf(work)).digest('base64url').slice(0, 27);
}
