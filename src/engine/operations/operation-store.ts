/**
 * What operations ask of the database, as one port; src/store/operations.ts has it for SQLite and MySQL/MariaDB. That one is done, and
 * what it came to, is written in the transaction of its own commit (`StoreTransaction.finishOperations`), so that it is
 * either applied and done, or neither. Every call that writes is durable when it resolves, and is repeated by the store where the
 * database asks for that.
 */
import type { Reply } from '../state/reply.js';
import type { Operation, OperationTask } from './operation.js';

/** An operation to be accepted. */
export interface NewOperation extends Pick<Operation, 'id' | 'pool' | 'call' | 'caller'> {
  /** The life of the pool in which it is to be done; undefined where there is no pool yet. */
  readonly epoch: string | undefined;
  readonly session: string | undefined;
  /** The client's Idempotency-Key, with a digest of what makes the request the same. */
  readonly repeatable: { readonly key: string; readonly fingerprint: string } | undefined;
  /** JSON. */
  readonly subject: string;
  /** JSON. */
  readonly request: string;
  readonly body: Buffer | undefined;
}

/** How many operations that aren't done there may be of a pool, with how many bytes, and of one caller in it. */
export interface OperationBounds {
  readonly perPool: number;
  readonly perCaller: number;
  readonly bytesPerPool: number;
}

export type Accepted =
  | { readonly kind: 'accepted'; readonly operation: Operation }
  /** It was accepted before, under the same key. */
  | { readonly kind: 'present'; readonly operation: Operation; readonly fingerprint: string }
  /** A bound is reached: of the pool's, or of the caller's. */
  | { readonly kind: 'full'; readonly of: 'pool' | 'caller' };

export type Claim =
  | {
      readonly kind: 'claimed';
      readonly task: OperationTask;
      /** How often it was begun, this time included. */
      readonly attempts: number;
      readonly expiresAt: number;
      readonly now: number;
    }
  | { readonly kind: 'busy'; readonly ms: number };

export interface OperationStore {
  /** Keeps an operation, for `lifeMs`. Of the same pool, caller and key there is one at a time. */
  accept(operation: NewOperation, bounds: OperationBounds, lifeMs: number): Promise<Accepted>;
  find(pool: string, id: string): Promise<Operation | undefined>;
  /** Operations in the order of their ids, after one: of one caller, or of all. */
  list(pool: string, caller: string | undefined, after: string, limit: number): Promise<Operation[]>;
  /** Which of these are still to be done. */
  openAmong(ids: readonly string[]): Promise<string[]>;

  /**
   * The caller's first operation that isn't done, noted as begun once more. If it was begun less than `busyMs` ago, somebody else
   * may be doing it: then only how long that is still so.
   */
  claim(pool: string, caller: string, busyMs: number): Promise<Claim | undefined>;
  /** It could not be done now: it waits again, and what was begun doesn't count as an attempt. */
  release(id: string): Promise<void>;
  /** Notes what it came to, unless it is done already; kept for `keepMs` from now. */
  finish(id: string, answer: Reply, keepMs: number): Promise<void>;
  /** Forgets an operation that waits or is done. Answers it as it was; one that is running stays. */
  remove(pool: string, id: string): Promise<Operation | undefined>;

  /** Callers, by pool, who have operations that aren't done. */
  pending(limit: number): Promise<{ pool: string; caller: string }[]>;
  /** Deletes at most so many that are done and over; answers how many. */
  sweep(limit: number): Promise<number>;
}

/** An operation as its own commit sees it. */
export interface OperationMark {
  readonly id: string;
  readonly epoch: string | undefined;
  readonly answer: Reply | undefined;
}

/** What it came to, noted with its commit. */
export interface FinishedOperation {
  readonly id: string;
  readonly answer: Reply;
  readonly now: number;
  readonly expiresAt: number;
}
