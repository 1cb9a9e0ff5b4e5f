/** Changes that wait for an iterator. If it is read too slowly they are replaced by one `reset`. */
import { CHANGES_WAITING_MAX } from './bounds.js';
import { type Change, resetChange } from './change.js';
import type { Entry } from './item.js';

export class ChangeQueue<T extends Entry> implements AsyncIterableIterator<Change<T>> {
  #waiting: Change<T>[] = [];
  /** How many of them were taken. */
  #taken = 0;
  #wake: (() => void) | undefined;
  #isEnded = false;
  #error: unknown;
  readonly #returned: () => void;

  /** @param returned is called when nobody reads any more */
  constructor(returned: () => void) {
    this.#returned = returned;
  }

  push(changes: readonly Change<T>[]): void {
    const waiting = this.#waiting.length - this.#taken;
    if (waiting + changes.length > CHANGES_WAITING_MAX) {
      this.#waiting = [resetChange(changes.at(-1)?.revision ?? 0)];
      this.#taken = 0;
    } else for (const change of changes) this.#waiting.push(change);
    this.#wake?.();
  }

  /** What waits is still given. @param error what the iterator fails with after that; absent: it just ends */
  end(error?: unknown): void {
    this.#isEnded = true;
    this.#error = error;
    this.#wake?.();
  }

  async next(): Promise<IteratorResult<Change<T>, undefined>> {
    for (;;) {
      if (this.#taken < this.#waiting.length) {
        const value = this.#waiting[this.#taken++] as Change<T>;
        if (this.#taken >= 1024 || this.#taken === this.#waiting.length) {
          this.#waiting.splice(0, this.#taken);
          this.#taken = 0;
        }
        return { done: false, value };
      }
      if (this.#isEnded) {
        const error = this.#error;
        this.#error = undefined;
        if (error !== undefined) throw error;
        return { done: true, value: undefined };
      }
      await new Promise<void>((resolve) => {
        const before = this.#wake;
        this.#wake = () => {
          before?.();
          resolve();
        };
      });
      this.#wake = undefined;
    }
  }

  async return(): Promise<IteratorResult<Change<T>, undefined>> {
    this.#waiting = [];
    this.#taken = 0;
    this.end();
    this.#returned();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
