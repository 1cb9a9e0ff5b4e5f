/**
 * Operations as their callers see them: writes are accepted, looked at, waited for, cancelled and forgotten here. Accepting one is a
 * row of its own and no commit: nothing in the pool moves, and the pool's lock isn't waited for.
 */
import { checkPresence, type EntitledReader } from '../access/entitled-reader.js';
import { Problem } from '../errors.js';
import type { WorkQueue } from '../hints.js';
import { limits } from '../limits.js';
import type { Store } from '../ports.js';
import { isFree, type Subject } from '../subject.js';
import { DoneWaits } from './done-waits.js';
import { callerOf, type Operation, type OperationRequest, subjectText } from './operation.js';
import type { NewOperation, OperationStore } from './operation-store.js';

const BOUNDS = {
  perPool: limits.operationsPerPoolMax,
  perCaller: limits.operationsPerCallerMax,
  bytesPerPool: limits.operationBytesPerPoolMax,
};
const ROWS_PER_TRANSACTION = 500;

/** A write that its caller doesn't want to wait for. */
export interface Deferral extends Pick<NewOperation, 'id' | 'pool' | 'call' | 'session' | 'repeatable' | 'body'> {
  readonly subject: Subject;
  readonly request: OperationRequest;
}

export class Operations {
  readonly #store: OperationStore;
  readonly #waits: DoneWaits;

  constructor(
    { operations }: Pick<Store, 'operations'>,
    private readonly entitled: EntitledReader,
    private readonly work: WorkQueue,
  ) {
    this.#store = operations;
    this.#waits = new DoneWaits(operations);
  }

  /**
   * Keeps the write and has it done. Who may do nothing in the pool is refused; what else holds is judged when it is done. `isNew` is
   * false for the repetition of one that was accepted before.
   */
  async accept(deferral: Deferral): Promise<{ operation: Operation; isNew: boolean }> {
    const { subject, request, ...rest } = deferral;
    const caller = callerOf(subject);
    const epoch = await this.#epochFor(deferral.pool, subject);
    const kept = { ...rest, caller, epoch, subject: subjectText(subject), request: JSON.stringify(request) };
    const accepted = await this.#store.accept(kept, BOUNDS, limits.operationMs);
    if (accepted.kind === 'full') throw full(accepted.of);
    if (accepted.kind === 'present' && accepted.fingerprint !== deferral.repeatable?.fingerprint) {
      throw new Problem(
        'idempotencyKeyReused',
        'The Idempotency-Key was used for another request within the last 24 hours.',
      );
    }
    this.work.want({ kind: 'operation', pool: deferral.pool, name: caller });
    return { operation: accepted.operation, isNew: accepted.kind === 'accepted' };
  }

  /** One of the subject's own; whom nothing binds sees all. With `waitMs` it is answered when it is done, or after that time. */
  async find(
    pool: string,
    id: string,
    subject: Subject,
    waiting?: { readonly waitMs: number; readonly gone: Promise<void> },
  ): Promise<Operation> {
    const found = await this.#find(pool, id, subject);
    if (found.doneAt !== undefined || !waiting || waiting.waitMs <= 0) return found;
    await this.#waits.wait(id, waiting.waitMs, waiting.gone);
    return this.#find(pool, id, subject);
  }

  /** A page of the subject's own in the order of their ids; whom nothing binds sees all. */
  list(pool: string, subject: Subject, after: string, limit: number): Promise<Operation[]> {
    return this.#store.list(pool, isFree(subject) ? undefined : callerOf(subject), after, limit);
  }

  /** Cancels one that waits, forgets one that is done; refuses with `conflict` where it has begun. Answers it as it was. */
  async remove(pool: string, id: string, subject: Subject): Promise<Operation> {
    await this.#find(pool, id, subject);
    const removed = await this.#store.remove(pool, id);
    if (!removed) throw missing(id);
    if (removed.startedAt !== undefined && removed.doneAt === undefined)
      throw new Problem('conflict', 'The operation has begun: it can be forgotten when it is done.');
    this.#waits.done(id);
    return removed;
  }

  /** Whoever waits for it here is told. */
  noticeDone(id: string): void {
    this.#waits.done(id);
  }

  /** Forgets what was done long enough ago. `pause` is awaited between transactions, and ends the sweep when it answers false. */
  async sweep(pause: () => Promise<boolean>): Promise<void> {
    while ((await this.#store.sweep(ROWS_PER_TRANSACTION)) > 0) if (!(await pause())) return;
  }

  /** Whoever waits is answered. */
  close(): void {
    this.#waits.close();
  }

  /** The present life of the pool, where there is one. Who is bound by a policy must have some right there. */
  async #epochFor(pool: string, subject: Subject): Promise<string | undefined> {
    try {
      const { replica, entitlement } = await this.entitled.entitlement(pool, subject);
      checkPresence(entitlement);
      return replica.epoch;
    } catch (error) {
      if (error instanceof Problem && error.code === 'notFound' && isFree(subject)) return undefined;
      throw error;
    }
  }

  async #find(pool: string, id: string, subject: Subject): Promise<Operation> {
    const found = await this.#store.find(pool, id);
    if (!found || !(isFree(subject) || found.caller === callerOf(subject))) throw missing(id);
    return found;
  }
}

function full(of: 'pool' | 'caller'): Problem {
  if (of === 'pool') {
    return new Problem('unavailable', 'Too many operations wait in this pool.', { headers: { 'retry-after': '5' } });
  }
  return new Problem(
    'tooManyRequests',
    `At most ${limits.operationsPerCallerMax} of your operations may wait in a pool: go on when some of them are done.`,
    { headers: { 'retry-after': '1' } },
  );
}

function missing(id: string): Problem {
  return new Problem(
    'notFound',
    `There is no operation ${JSON.stringify(id)} of yours in this pool, or it is forgotten.`,
  );
}
