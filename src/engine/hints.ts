/**
 * The ports of src/jobs: hints between the processes of one deployment. None of them is durable or true by itself, each may be lost,
 * late or come twice; what they lead to stands in the database.
 */
import type { LogRow } from './ports.js';

/** That a pool has moved on: what one node tells the others once a commit is durable. */
export interface Wake {
  readonly poolId: number;
  readonly epoch: string;
  /** The pool's revision by then; undefined: the pool was deleted. */
  readonly revision: number | undefined;
  /** The log's rows up to that revision, of whole commits without a gap; empty where they are too many to be sent along. */
  readonly rows: readonly LogRow[];
}

/**
 * Wakes between the nodes of one database. A wake is a hint: it may be lost, come late, twice or in another order than the
 * commits, so whoever hears it compares it with what they know. What is in its rows is true.
 */
export interface Bus {
  /** The nodes that can be reached are told at present. While this is false, and every now and then, the database is to be asked. */
  readonly isConnected: boolean;
  /** Tells the other nodes. Never throws, and waits for nothing. */
  tell(wake: Wake): void;
  /** Has the wakes of a pool heard from some moment on; `onFollowed` tells when. Asked for again it does no harm. */
  follow(poolId: number): void;
  unfollow(poolId: number): void;
  /** Who hears of wakes of other nodes, of pools that are heard from now on, and that some may have been lost. */
  listener: BusListener | undefined;
}

export interface BusListener {
  woken(wake: Wake): void;
  followed(poolId: number): void;
  /** It is connected again: of every pool that is followed something may have been missed. */
  reconnected(): void;
}

/** Something that some worker is to do soon: names only. What there is to do stands in the database, wherever it is done. */
export interface Work {
  /** Who does it: `notifier` delivers what a notifier has not delivered yet, `operation` does a write that was left to be done. */
  readonly kind: 'notifier' | 'operation';
  readonly pool: string;
  /** Which one of its kind in the pool. */
  readonly name: string;
}

/** Takes down what is to be done. Nothing of it is durable: work that is forgotten is found in the database again. */
export interface WorkQueue {
  /**
   * Has the work done by one worker, now or after `delayMs`. What waits already isn't taken down twice, but the earlier time
   * counts; wanted while it is being done, it is done once more afterwards.
   */
  want(work: Work, delayMs?: number): void;
}

/** Does all work of one kind. */
export interface Worker {
  readonly kind: Work['kind'];
  /**
   * Does what there is to do, one step after the other, until nothing is left or `signal` asks to stop; more than one call for
   * the same work at a time, on any nodes, must harm nobody. Answers in how many ms there will be more to do, undefined where
   * that isn't known. Rejects where it can't be told (the database is away): then it is called again after a while.
   */
  work(work: Work, signal: AbortSignal): Promise<number | undefined>;
  /** Up to `limit` works of which there is something to do now, by the database, wherever they were wanted. */
  pending(limit: number): Promise<readonly Work[]>;
}
