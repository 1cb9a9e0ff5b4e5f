/** A lock that is held, and what is asked for to have one. What is written through it carries its proof, so the server refuses it after the lock was lost, whatever is believed here. */
import type { Pipeline } from './pipeline.js';
import { type CallOptions, Writes } from './writes.js';

/** A part of the pool. Without a `collection`: all of it. */
export interface LockScope {
  readonly collection?: string;
  readonly key?: string;
  readonly prefix?: string;
  readonly start?: string;
  readonly end?: string;
  /** Only these attributes. */
  readonly attributes?: readonly string[];
}

export interface LockOptions extends CallOptions {
  /** `exclusive` without it. */
  readonly mode?: 'exclusive' | 'update' | 'shared';
  /** How long it may wait for its turn: 30,000 ms. 0: not at all. */
  readonly waitMs?: number;
  /** How long locks outlive a client that is gone: 15,000 ms. It is that of the session, so what the first lock says counts for all. */
  readonly leaseMs?: number;
  /** Anything short that others see of it. */
  readonly note?: string;
}

/** A lock that is held. What is written through it carries its proof. */
export class Held extends Writes {
  readonly lock: string;
  readonly fence: number;
  /** Aborted, with an error `lockLost` as its reason, when the lock is lost. */
  readonly signal: AbortSignal;
  readonly #release: () => Promise<void>;
  #released: Promise<void> | undefined;

  /** Not for programs: `client.lock` gives them. */
  constructor(
    pipeline: Pipeline,
    pool: string,
    { lock, fence }: { lock: string; fence: number },
    signal: AbortSignal,
    release: () => Promise<void>,
  ) {
    super(pipeline, pool, { 'stargus-lock': `${lock};fence=${fence}` });
    this.lock = lock;
    this.fence = fence;
    this.signal = signal;
    this.#release = release;
  }

  /** Gives it back. May be called more than once, and after it was lost. */
  release(): Promise<void> {
    this.#released ??= this.#release();
    return this.#released;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }
}
