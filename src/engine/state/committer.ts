/**
 * The committer: one queue for each pool, from which everything that waits is judged and committed as one group. The
 * cost of a transaction (the pool's lock, round trips, the sync to disk) is shared by all that arrived while the last
 * one ran. Each command settles with its own revision or its own problem; a refused one doesn't harm its group.
 *
 * Invariants: one group of a pool is under way at a time on this node, and the pool's row lock orders groups across
 * nodes; nothing is told to anybody before the transaction is durable.
 */
import type { Definitions } from '../dictionary/definitions.js';
import { Problem } from '../errors.js';
import type { Bus } from '../hints.js';
import { limits } from '../limits.js';
import { OutcomeUnknown, RetryTransaction, type Store, type Telemetry } from '../ports.js';
import { type Trace, type Tracing, untraced } from '../tracing.js';
import { turn } from '../turn.js';
import type { Command, Unprepared } from './commands.js';
import { type Judged, judgeGroup, publish, type Submitted, undoLocks } from './group.js';
import { GroupTrace } from './group-trace.js';
import type { JudgingOptions } from './judging.js';
import type { Commit } from './model.js';
import type { Repeatable, Request } from './repetition.js';
import type { Replicas } from './replicas.js';

interface Waiting extends Request {
  resolve(submitted: Submitted<unknown>): void;
  reject(reason: unknown): void;
}

interface Queue {
  readonly waiting: Waiting[];
  bytes: number;
  running: boolean;
}

export class Committer {
  readonly #queues = new Map<string, Queue>();
  #closing = false;
  #idle: (() => void) | undefined;
  /** Called when an index was declared that is left to be built. */
  onBuilding: (() => void) | undefined;
  /** Called with the commits of a group that are durable, when this node's replica has them. */
  onCommitted: ((pool: string, commits: readonly Commit[]) => void) | undefined;

  constructor(
    private readonly store: Store,
    private readonly replicas: Replicas,
    private readonly definitions: Definitions,
    private readonly bus: Bus,
    private readonly telemetry: Telemetry,
    private readonly options: JudgingOptions,
    private readonly tracing: Tracing = untraced,
  ) {}

  /** Judges and commits the command. Resolves when the commit is durable; rejects with a Problem and without a trace. */
  submit<Answer>(pool: string, command: Command<Answer>, repeatable?: Repeatable<Answer>): Promise<Submitted<Answer>> {
    const trace = this.tracing.current();
    return new Promise<Submitted<Answer>>((resolve, reject) => {
      this.#enqueue(pool, {
        command,
        trace,
        repeatable: repeatable as Repeatable<unknown> | undefined,
        resolve: resolve as (submitted: Submitted<unknown>) => void,
        reject,
      });
    });
  }

  #enqueue(pool: string, waiting: Waiting): void {
    if (this.#closing) {
      waiting.reject(new Problem('unavailable', 'The server is stopping.'));
      return;
    }
    let queue = this.#queues.get(pool);
    if (!queue) {
      queue = { waiting: [], bytes: 0, running: false };
      this.#queues.set(pool, queue);
    }
    const { bytes } = waiting.command;
    if (queue.waiting.length >= limits.queueCommandsMax || queue.bytes + bytes > limits.queueBytesMax) {
      this.telemetry.groupFailed('queueFull');
      waiting.reject(
        new Problem('unavailable', 'Too many writes wait for this pool.', { headers: { 'retry-after': '1' } }),
      );
      return;
    }
    queue.waiting.push(waiting);
    queue.bytes += bytes;
    if (!queue.running) this.#start(pool, queue);
  }

  /** Commands that wait or are under way. */
  get depth(): number {
    let depth = 0;
    for (const { waiting } of this.#queues.values()) depth += waiting.length;
    return depth;
  }

  /** Whether it takes no more commands, for the server is stopping. */
  get closing(): boolean {
    return this.#closing;
  }

  /** Takes no more commands, and resolves when those taken have settled. */
  async close(): Promise<void> {
    this.#closing = true;
    if (this.#queues.size > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
  }

  #start(pool: string, queue: Queue): void {
    queue.running = true;
    // After the present turn of the event loop, so that requests which arrived together are one group.
    setImmediate(() => void this.#drain(pool, queue));
  }

  async #drain(pool: string, queue: Queue): Promise<void> {
    while (queue.waiting.length > 0) {
      await this.#runGroup(pool, queue);
      // A database that answers at once would otherwise leave nobody else a turn until the queue is empty.
      if (queue.waiting.length > 0) await turn();
    }
    queue.running = false;
    this.#queues.delete(pool);
    if (this.#queues.size === 0) this.#idle?.();
  }

  async #runGroup(pool: string, queue: Queue): Promise<void> {
    const began = performance.now();
    const trace = this.tracing.isOn ? new GroupTrace(this.tracing, pool) : undefined;
    let group: readonly Waiting[] = [];
    const take = () => {
      if (group.length === 0) group = takeGroup(queue);
      return group;
    };
    let judged: Judged;
    try {
      judged = await this.#attempt(pool, take, trace);
    } catch (error) {
      trace?.failed(tracesOf(take()), error);
      const problem = this.#explain(error);
      for (const { reject } of take()) reject(problem);
      return;
    }
    const served = group.slice(0, judged.verdicts.length);
    trace?.committed(tracesOf(served), judged.commits.length, judged.commits.at(-1)?.revision);
    this.#publish(judged);
    if (judged.building) this.onBuilding?.();
    if (judged.commits.length > 0) this.onCommitted?.(pool, judged.commits);
    for (const [i, verdict] of judged.verdicts.entries()) {
      const waiting = group[i] as Waiting;
      if ('submitted' in verdict) waiting.resolve(verdict.submitted);
      else if ('problem' in verdict) waiting.reject(verdict.problem);
      else this.#prepare(pool, waiting, verdict.unprepared);
    }
    this.telemetry.groupCommitted(
      pool,
      judged.verdicts.length,
      judged.commits.length,
      (performance.now() - began) / 1000,
    );
    const left = group.slice(judged.verdicts.length);
    queue.waiting.unshift(...left);
    for (const { command } of left) queue.bytes += command.bytes;
  }

  /** Lets a command look at what it wants to, without the pool's lock, and queues it again. */
  #prepare(pool: string, waiting: Waiting, { prepare }: Unprepared): void {
    prepare(this.store).then(
      () => this.#enqueue(pool, waiting),
      (error) => waiting.reject(error instanceof Problem ? error : this.#explain(error)),
    );
  }

  /** The commits are durable, whatever happens here: what can't be told is made good by reading the log. */
  #publish(judged: Judged): void {
    try {
      publish(judged, this.replicas, this.bus);
    } catch (error) {
      if (judged.replica) this.replicas.drop(judged.replica);
      this.telemetry.warn('Commits could not be published', { error: String((error as Error).stack) });
    }
  }

  async #attempt(pool: string, take: () => readonly Waiting[], trace?: GroupTrace): Promise<Judged> {
    const began = performance.now();
    for (let attempt = 1; ; attempt++) {
      let judged: Judged | undefined;
      const transact = () =>
        this.store.transact(async (tx) => {
          judged = await judgeGroup(pool, take, tx, this.replicas, this.definitions, this.options, this.telemetry);
          return judged;
        });
      try {
        return await (trace ? trace.attempt(transact) : transact());
      } catch (error) {
        const isUndone = error instanceof RetryTransaction;
        // Judged, but whether it is durable isn't known: the locks are read anew, as they are then.
        if (judged && isUndone) undoLocks(judged.replica, judged.base, judged.locks);
        else if (judged?.replica) judged.replica.locks = undefined;
        const isEnough = attempt >= limits.groupAttemptsMax && performance.now() - began > limits.groupAttemptsMs;
        if (!isUndone || isEnough) throw error;
        this.telemetry.groupFailed('retried');
        await new Promise((resolve) => setTimeout(resolve, Math.random() * limits.groupAttemptPauseMs));
      }
    }
  }

  #explain(error: unknown): unknown {
    const unknown = error instanceof OutcomeUnknown;
    this.telemetry.groupFailed(unknown ? 'outcomeUnknown' : 'failed');
    this.telemetry.warn('A group of writes failed', {
      error: String(error instanceof Error ? (error.stack ?? error.message) : error),
    });
    const detail = unknown
      ? 'The connection to the database broke during the commit: the write may or may not have been applied.'
      : 'The database did not take the write; nothing was applied.';
    return new Problem('unavailable', detail, { headers: { 'retry-after': '1' } });
  }
}

/** Takes from the queue what one transaction may hold. A command that explores is a group of its own. */
function takeGroup(queue: Queue): Waiting[] {
  let count = 0;
  let bytes = 0;
  for (const { command } of queue.waiting) {
    if (
      count > 0 &&
      (command.explore || count >= limits.groupCommandsMax || bytes + command.bytes > limits.groupBytesMax)
    )
      break;
    count++;
    bytes += command.bytes;
    if (command.explore) break;
  }
  queue.bytes -= bytes;
  return queue.waiting.splice(0, count);
}

function tracesOf(group: readonly Waiting[]): (Trace | undefined)[] {
  return group.map(({ trace }) => trace);
}
