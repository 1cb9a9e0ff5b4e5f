/**
 * Does operations: those of one caller in a pool one after the other, in the order in which they were accepted. Each goes the same way as
 * a request that comes over the network, through the port `Performer`, so that whatever holds for that holds for it.
 *
 * Others keep away for a while from what one has begun, so that it isn't done twice for nothing; nothing rests on that.
 *
 * Exactly once: a write notes in its own commit's transaction that its operation is done and what it came to, and whoever does it
 * again finds that and changes nothing (state/repetition.ts). What commits nothing by itself, a refusal above all, is noted
 * here afterwards; until then it may be judged once more.
 */
import { errorTable, Problem } from '../errors.js';
import type { Work, Worker } from '../hints.js';
import { limits } from '../limits.js';
import type { Store, Telemetry } from '../ports.js';
import type { Command } from '../state/commands.js';
import type { Committer } from '../state/committer.js';
import type { Reply } from '../state/reply.js';
import { system } from '../subject.js';
import type { OperationTask } from './operation.js';
import type { Operations } from './operations.js';

/** Does a request that was kept as if it came now from who sent it; http/performing.ts. */
export interface Performer {
  /** Answers whatever the request comes to, refusals included. */
  perform(task: OperationTask): Promise<Reply>;
}

/** How long is waited before what could not be done, for the database or the pool had no room, is tried again. */
const AGAIN_MS = 1000;

export class OperationWorker implements Worker {
  readonly kind = 'operation';
  /** Set by wiring: the engine doesn't know how requests come. */
  performer: Performer | undefined;

  constructor(
    private readonly store: Store,
    private readonly committer: Committer,
    private readonly operations: Operations,
    private readonly telemetry: Telemetry,
  ) {}

  async work({ pool, name: caller }: Work, signal: AbortSignal): Promise<number | undefined> {
    while (!signal.aborted) {
      const claimed = await this.store.operations.claim(pool, caller, limits.operationBusyMs);
      if (!claimed) return undefined;
      if (claimed.kind === 'busy') return claimed.ms;
      const { task, attempts, expiresAt, now } = claimed;
      const answer = this.#givenUp(task, attempts, expiresAt <= now) ?? (await this.#perform(task));
      if (answer === 'later') {
        await this.store.operations.release(task.id);
        return AGAIN_MS;
      }
      // A fault of ours: it may be a passing one.
      if (answer.status === 500 && attempts < limits.operationAttemptsMax) return AGAIN_MS;
      await this.#finish(task, answer);
      this.operations.noticeDone(task.id);
    }
    return 0;
  }

  async pending(limit: number): Promise<readonly Work[]> {
    const callers = await this.store.operations.pending(limit);
    return callers.map(({ pool, caller }) => ({ kind: this.kind, pool, name: caller }));
  }

  /** What is told of an operation that isn't begun once more. */
  #givenUp(task: OperationTask, attempts: number, isOver: boolean): Reply | undefined {
    if (attempts > limits.operationAttemptsMax) {
      this.telemetry.warn('An operation was given up', { operation: task.id, pool: task.pool, attempts });
      return refusal(task, new Problem('internal', errorTable.internal.advice));
    }
    const hours = limits.operationMs / 3_600_000;
    return isOver
      ? refusal(task, new Problem('unavailable', `The operation could not be done within ${hours} hours.`))
      : undefined;
  }

  async #perform(task: OperationTask): Promise<Reply | 'later'> {
    if (!this.performer) throw new Error('There is nobody who performs requests in this process');
    const answer = await this.performer.perform(task);
    return answer.status === 503 ? 'later' : answer;
  }

  /** Notes what it came to, where its commit hasn't, and tells its session. */
  async #finish({ id, pool, session }: OperationTask, answer: Reply): Promise<void> {
    const { operations } = this.store;
    const present = await operations.find(pool, id);
    if (!present || present.doneAt !== undefined) return;
    if (session !== undefined) {
      try {
        // A commit of nothing: what it notes of the operation, and that the session is told, goes with it.
        await this.committer.submit(pool, nothing, { operation: { id, session }, shape: () => answer });
        return;
      } catch (error) {
        // The pool, or this life of it, is gone, and the session with it.
        if (!(error instanceof Problem) || error.code !== 'notFound') throw error;
      }
    }
    await operations.finish(id, answer, limits.operationMs);
  }
}

const nothing: Command<undefined> = {
  subject: system,
  bytes: 256,
  touches: [],
  isUpkeep: true,
  decide: () => () => undefined,
};

function refusal({ id, request }: OperationTask, problem: Problem): Reply {
  const type = `${request.origin}/docs/errors/${problem.code}`;
  return { status: problem.status, headers: {}, body: JSON.stringify({ type, ...problem.toJSON(), requestId: id }) };
}
