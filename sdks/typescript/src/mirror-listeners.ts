/** Who hears of a mirror: listeners, which are called one at a time and in order, and iterators, for which changes wait. */
import type { Change } from './change.js';
import { ChangeQueue } from './change-queue.js';
import type { ProblemError, StargusError } from './errors.js';
import type { Entry } from './item.js';

/** What listeners of a mirror are called with. What they answer counts only where it is a promise that fails: that is told to `onProblem`. */
export interface MirrorEvents<T extends Entry> {
  /** An item is different from before. */
  change: (change: Change<T>) => unknown;
  /** It is connected and complete, or no longer so. */
  live: (isLive: boolean) => unknown;
  /** A write was refused, where `onDenied` is `event`. */
  denied: (error: ProblemError) => unknown;
  /** It ended: with the error, or because it was closed. */
  end: (error: StargusError | undefined) => unknown;
}

interface Untold<T extends Entry> {
  readonly event: keyof MirrorEvents<T>;
  readonly about: unknown;
}

export class MirrorListeners<T extends Entry> {
  readonly #problem: (error: unknown) => void;
  readonly #listeners: { [E in keyof MirrorEvents<T>]: Set<MirrorEvents<T>[E]> } = {
    change: new Set(),
    live: new Set(),
    denied: new Set(),
    end: new Set(),
  };
  readonly #queues = new Set<ChangeQueue<T>>();
  readonly #untold: Untold<T>[] = [];
  #isCalling = false;

  /** @param problem is told of listeners that throw */
  constructor(problem: (error: unknown) => void) {
    this.#problem = problem;
  }

  /** Whether anybody wants to know of changes. */
  get areChangesHeard(): boolean {
    return this.#listeners.change.size > 0 || this.#queues.size > 0;
  }

  on<E extends keyof MirrorEvents<T>>(event: E, listener: MirrorEvents<T>[E]): () => void {
    this.#listeners[event].add(listener);
    return () => {
      this.#listeners[event].delete(listener);
    };
  }

  /** An iterator of the changes from now on. */
  changes(): ChangeQueue<T> {
    const queue: ChangeQueue<T> = new ChangeQueue(() => this.#queues.delete(queue));
    this.#queues.add(queue);
    return queue;
  }

  tell(changes: readonly Change<T>[]): void {
    if (changes.length === 0) return;
    for (const queue of this.#queues) queue.push(changes);
    if (this.#listeners.change.size === 0) return;
    for (const change of changes) this.#untold.push({ event: 'change', about: change });
    this.#callAll();
  }

  call<E extends keyof MirrorEvents<T>>(event: E, about: Parameters<MirrorEvents<T>[E]>[0]): void {
    this.#untold.push({ event, about });
    this.#callAll();
  }

  /** What a listener brings about is told after all that is being told: so each hears everything in its order, and is never called while it is called. */
  #callAll(): void {
    if (this.#isCalling) return;
    this.#isCalling = true;
    for (let next = 0; next < this.#untold.length; next++) {
      const { event, about } = this.#untold[next] as Untold<T>;
      for (const listener of this.#listeners[event]) this.#callOne(listener as (about: unknown) => unknown, about);
    }
    this.#untold.length = 0;
    this.#isCalling = false;
  }

  #callOne(listener: (about: unknown) => unknown, about: unknown): void {
    try {
      const result = listener(about);
      if (result instanceof Promise) result.catch((error) => this.#problem(error));
    } catch (error) {
      this.#problem(error);
    }
  }

  /** Iterators end when what waits for them is read. @param error what they fail with then */
  endChanges(error: StargusError | undefined): void {
    for (const queue of this.#queues) queue.end(error);
    this.#queues.clear();
  }
}
