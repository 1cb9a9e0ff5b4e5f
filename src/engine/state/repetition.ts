/**
 * Writes that may be repeated: their answers are kept in the write's own transaction, and a repetition gets the same one. A
 * request is known again by its Idempotency-Key, or as the numbered batch of a session; numbers also say whether one is
 * missing. One that was accepted as an operation is known by that besides, which is done with the write.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { OperationNews } from '../operations/operation-news.js';
import type { FinishedOperation, OperationMark } from '../operations/operation-store.js';
import type { SessionAnswer, StoredAnswer, StoreTransaction } from '../ports.js';
import { checkSession, isOver, type SessionRef } from '../sessions/session-states.js';
import { ownerOf, type Subject } from '../subject.js';
import type { Trace } from '../tracing.js';
import type { Command } from './commands.js';
import type { GroupState } from './draft.js';
import type { Reply } from './reply.js';

export type { Reply };

/** The operation that a request is done for. */
export interface OperationRef {
  readonly id: string;
  /** The id of the session that is told. */
  readonly session: string | undefined;
}

/** Asks that the answer be stored with the write under a key of the client's. */
export interface Idempotency<Answer> {
  readonly key: string;
  readonly fingerprint: string;
  readonly batch?: undefined;
  readonly operation?: OperationRef | undefined;
  shape(answer: Answer): Reply;
}

/** The same for the batch of a session with this number. */
export interface Numbered<Answer> {
  readonly batch: SessionRef & { readonly sequence: number };
  readonly operation?: OperationRef | undefined;
  shape(answer: Answer): Reply;
}

/** Asks that the answer be noted of the operation alone. */
export interface Deferred<Answer> {
  readonly key?: undefined;
  readonly batch?: undefined;
  readonly operation: OperationRef;
  shape(answer: Answer): Reply;
}

export type Repeatable<Answer> = Idempotency<Answer> | Numbered<Answer> | Deferred<Answer>;

/** A command as it was submitted. */
export interface Request {
  readonly command: Command<unknown>;
  readonly repeatable: Repeatable<unknown> | undefined;
  /** Where it stands in its trace, where that is followed. */
  readonly trace?: Trace | undefined;
}

/** The kept answers that a group's requests may ask for, and those that it keeps. */
export class Repetitions {
  readonly #keyed = new Map<string, StoredAnswer>();
  readonly #numbered = new Map<string, SessionAnswer>();
  readonly #keptKeyed: StoredAnswer[] = [];
  readonly #keptNumbered: SessionAnswer[] = [];
  readonly #operations = new Map<string, OperationMark>();
  readonly #finished: FinishedOperation[] = [];

  private constructor(
    private readonly pool: string,
    private readonly state: GroupState,
  ) {}

  /** Reads what is kept of the requests. `poolId` is 0 while there is no pool. */
  static async load(
    pool: string,
    poolId: number,
    requests: readonly Request[],
    state: GroupState,
    tx: StoreTransaction,
  ): Promise<Repetitions> {
    const loaded = new Repetitions(pool, state);
    const keys: { subject: string; idempotencyKey: string }[] = [];
    const batches: { session: string; sequence: number }[] = [];
    const operations: string[] = [];
    for (const { command, repeatable } of requests) {
      if (!repeatable) continue;
      const { batch, operation } = repeatable;
      if (operation) operations.push(operation.id);
      if (!batch) {
        if (repeatable.key !== undefined)
          keys.push({ subject: ownerOf(command.subject), idempotencyKey: repeatable.key });
        continue;
      }
      const session = state.sessions.find(batch.session);
      if (session && batch.sequence <= session.lastSequence)
        batches.push({ session: session.id, sequence: batch.sequence });
    }
    const keyed = keys.length > 0 ? await tx.answers(pool, keys, state.now) : [];
    for (const answer of keyed) loaded.#keyed.set(`${answer.subject}\n${answer.idempotencyKey}`, answer);
    const numbered = batches.length > 0 ? await tx.sessionAnswers(poolId, batches) : [];
    for (const answer of numbered) loaded.#numbered.set(`${answer.session}\n${answer.sequence}`, answer);
    const marks = operations.length > 0 ? await tx.operations(operations) : [];
    for (const mark of marks) loaded.#operations.set(mark.id, mark);
    return loaded;
  }

  /** The answer that the request got before, where it was judged already. Refuses a number that can't be judged. */
  find({ command, repeatable }: Request): Reply | undefined {
    if (!repeatable) return undefined;
    const { batch, operation } = repeatable;
    const done = operation && this.#findOperation(operation);
    if (done) return done;
    if (batch) return this.#findNumbered(batch, command);
    if (repeatable.key === undefined) return undefined;
    const former = this.#keyed.get(`${ownerOf(command.subject)}\n${repeatable.key}`);
    if (former && former.fingerprint !== repeatable.fingerprint) {
      throw new Problem(
        'idempotencyKeyReused',
        'The Idempotency-Key was used for another request within the last 24 hours.',
      );
    }
    return former && replyOf(former);
  }

  /** What an operation came to, where it is done; refuses where it isn't to be done any more. */
  #findOperation({ id }: OperationRef): Reply | undefined {
    const mark = this.#operations.get(id);
    if (!mark) throw new Problem('conflict', 'The operation was cancelled.');
    if (mark.answer) return mark.answer;
    if (mark.epoch !== undefined && mark.epoch !== this.state.epoch)
      throw new Problem(
        'notFound',
        'The pool was deleted, or went back to a former state, after the operation was accepted.',
      );
    return undefined;
  }

  #findNumbered({ sequence, ...ref }: Numbered<unknown>['batch'], { subject }: Command<unknown>): Reply | undefined {
    const { sessions, now } = this.state;
    const session = checkSession(sessions.find(ref.session), ref, subject, now);
    const expected = session.lastSequence + 1;
    if (sequence === expected) return undefined;
    const former = this.#numbered.get(`${session.id}\n${sequence}`);
    if (former) return replyOf(former);
    const detail =
      sequence > expected
        ? `The session's next batch has the sequence ${expected}, not ${sequence}.`
        : `The answer of the batch ${sequence} is no longer kept; the session's next batch has the sequence ${expected}.`;
    throw new Problem('sequenceGap', detail, { members: { expected } });
  }

  /** Keeps the answer of a request that was judged for good. Answers what its session is to be told, if it was an operation. */
  keep({ command: { subject }, repeatable }: Request, answer: unknown): OperationNews | undefined {
    if (!repeatable) return undefined;
    const reply = repeatable.shape(answer);
    this.#keepFor(subject, repeatable, reply);
    return repeatable.operation && this.#finish(repeatable.operation, reply);
  }

  #finish({ id, session: sessionId }: OperationRef, answer: Reply): OperationNews | undefined {
    const { now, sessions, dropped } = this.state;
    this.#finished.push({ id, answer, now, expiresAt: now + limits.operationMs });
    this.#operations.set(id, { id, epoch: undefined, answer });
    const session = sessionId === undefined || dropped ? undefined : sessions.find(sessionId);
    if (!session || isOver(session, now)) return undefined;
    return { session: session.id, operation: id, pool: this.pool, answer };
  }

  #keepFor(subject: Subject, repeatable: Repeatable<unknown>, { status, headers, body }: Reply): void {
    const reply = { status, headers: JSON.stringify(headers), body };
    const { batch } = repeatable;
    if (!batch) {
      if (repeatable.key === undefined) return;
      const { key, fingerprint } = repeatable;
      const stored: StoredAnswer = {
        ...{ pool: this.pool, subject: ownerOf(subject), idempotencyKey: key, fingerprint, ...reply },
        expiresAt: this.state.now + limits.storedAnswerMs,
      };
      this.#keyed.set(`${ownerOf(subject)}\n${key}`, stored);
      this.#keptKeyed.push(stored);
      return;
    }
    const { sessions } = this.state;
    const session = sessions.find(batch.session);
    if (!session) throw new Error(`The session ${batch.session} went while its batch was judged`);
    sessions.save({ ...session, lastSequence: batch.sequence });
    const stored: SessionAnswer = { session: session.id, sequence: batch.sequence, ...reply };
    this.#numbered.set(`${session.id}\n${batch.sequence}`, stored);
    this.#keptNumbered.push(stored);
  }

  async write(poolId: number, tx: StoreTransaction): Promise<void> {
    if (this.#keptKeyed.length > 0) await tx.keepAnswers(this.#keptKeyed);
    if (this.#keptNumbered.length > 0)
      await tx.keepSessionAnswers(poolId, this.#keptNumbered, limits.sessionAnswersKept);
    if (this.#finished.length > 0) await tx.finishOperations(this.#finished);
  }
}

function replyOf({ status, headers, body }: Pick<StoredAnswer, 'status' | 'headers' | 'body'>): Reply {
  return { status, headers: JSON.parse(headers) as Record<string, string>, body };
}
