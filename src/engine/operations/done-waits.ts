/**
 * Those who wait for operations to be done: told at once where this process did it, else by one look for all of them every now and
 * then.
 */
import type { OperationStore } from './operation-store.js';

const LOOK_MS = 100;
/** Operations that are waited for at a time; who comes after that is answered at once. */
const WAITED_MAX = 10_000;
/** What one look asks for. */
const LOOK_IDS = 500;

export class DoneWaits {
  readonly #waiting = new Map<string, Set<() => void>>();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(private readonly store: Pick<OperationStore, 'openAmong'>) {}

  /** Resolves when the operation isn't to be done any more, or after so long, or when the server stops. */
  async wait(id: string, waitMs: number, gone: Promise<void>): Promise<void> {
    if (this.#closed || this.#waiting.size >= WAITED_MAX) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => leave(), waitMs);
      const waiters = this.#waiting.get(id) ?? new Set();
      const leave = () => {
        clearTimeout(timer);
        waiters.delete(leave);
        if (waiters.size === 0) this.#waiting.delete(id);
        resolve();
      };
      waiters.add(leave);
      this.#waiting.set(id, waiters);
      void gone.then(leave);
      this.#timer ??= setTimeout(() => void this.#look(), LOOK_MS).unref();
    });
  }

  /** The operation is done, or gone. */
  done(id: string): void {
    for (const leave of [...(this.#waiting.get(id) ?? [])]) leave();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const id of [...this.#waiting.keys()]) this.done(id);
  }

  async #look(): Promise<void> {
    const ids = [...this.#waiting.keys()];
    try {
      for (let at = 0; at < ids.length; at += LOOK_IDS) {
        const asked = ids.slice(at, at + LOOK_IDS);
        const open = new Set(await this.store.openAmong(asked));
        for (const id of asked) if (!open.has(id)) this.done(id);
      }
    } catch {
      // The database is away: who waits longer than they may is answered so when they look.
    }
    const goesOn = this.#waiting.size > 0 && !this.#closed;
    this.#timer = goesOn ? setTimeout(() => void this.#look(), LOOK_MS).unref() : undefined;
  }
}
