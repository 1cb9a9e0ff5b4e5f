/**
 * Writes through a mirror: each lies over what is shown from the moment it is made, is sent after those of the same item before it, and is lifted off
 * when the stream has it or the server refuses it.
 */
import { PENDING_WRITES_MAX } from './bounds.js';
import { unlessAborted } from './clock.js';
import { isProblem, ProblemError } from './errors.js';
import type { Item } from './item.js';
import { asSent, differences, type JsonObject, withoutNulls } from './json.js';
import type { Overlay, Pending, WriteOp } from './overlay.js';
import { allows, type EffectivePolicy } from './policy-rules.js';
import { epochOf } from './view.js';
import type { ItemWriteOptions, Writes, Written } from './writes.js';

export type OnDenied = 'ignore' | 'error' | 'event';

/** Refusals of what was written, rather than of how. */
const DENIALS = ['forbidden', 'locked', 'lockLost', 'schemaViolation', 'preconditionFailed', 'conflict'];

export interface WritesOptions {
  readonly host: { readonly writes: Writes; effectivePolicy(): Promise<EffectivePolicy> };
  readonly collection: string;
  readonly onDenied: OnDenied;
  readonly overlay: Overlay;
  readonly shown: (key: string) => Item | undefined;
  /** What lies over the key has changed. */
  readonly relaid: (key: string, reason?: string) => void;
  /** Where the stream is. */
  readonly at: () => { readonly revision: number; readonly epoch: string | undefined };
  readonly denied: (error: ProblemError) => void;
}

export class MirrorWrites {
  readonly #options: WritesOptions;
  /** The last write of each key that isn't answered. */
  readonly #last = new Map<string, Promise<unknown>>();
  #known: EffectivePolicy | undefined;
  /** The rules that are asked for; another thing each time. */
  #asked: object | undefined;
  readonly #unruled = new Set<() => void>();
  #count = 0;
  readonly #queue = new Set<() => void>();

  constructor(options: WritesOptions) {
    this.#options = options;
  }

  /** @returns undefined where it was denied, and that is no error */
  async write(op: WriteOp, key: string, given: JsonObject, options: ItemWriteOptions): Promise<Written | undefined> {
    const { signal } = options;
    // It is shown frozen, and sent later.
    const attributes = asSent(given) as JsonObject;
    signal?.throwIfAborted();
    if (this.#count < PENDING_WRITES_MAX) this.#count++;
    else await inTurn(this.#queue, signal);
    try {
      if (!this.#known) {
        this.#askPolicy();
        await inTurn(this.#unruled, signal);
      }
      return await this.#laid(op, key, attributes, options);
    } finally {
      // Its place is that of who waits, or free.
      const [next] = this.#queue;
      if (next) next();
      else this.#count--;
    }
  }

  async #laid(
    op: WriteOp,
    key: string,
    attributes: JsonObject,
    options: ItemWriteOptions,
  ): Promise<Written | undefined> {
    const { overlay, relaid, collection, host } = this.#options;
    const { signal } = options;
    const pending: Pending = { key, op, attributes, isShown: this.#isAllowed(op, key, attributes) };
    overlay.add(pending);
    relaid(key);
    const before = this.#last.get(key);
    const sending = (before ?? Promise.resolve())
      .catch(() => {})
      .then(() => {
        signal?.throwIfAborted();
        return host.writes.write(op, collection, key, attributes, options);
      });
    this.#last.set(key, sending);
    const answered = () => {
      if (this.#last.get(key) === sending) this.#last.delete(key);
    };
    sending.then(answered, answered);
    try {
      const written = await unlessAborted(sending, signal);
      overlay.confirm(pending, written.item, written.revision, written.cursor && epochOf(written.cursor));
      relaid(key);
      return written;
    } catch (error) {
      overlay.remove(pending);
      relaid(key, 'refused');
      return this.#refused(error);
    }
  }

  #refused(error: unknown): undefined {
    // The rules may have changed.
    if (isProblem(error, 'forbidden')) this.#forgetPolicy();
    const { onDenied, denied } = this.#options;
    if (onDenied === 'error' || !(error instanceof ProblemError) || !DENIALS.includes(error.code)) throw error;
    if (onDenied === 'event') denied(error);
    return undefined;
  }

  /** The policy hides or shows something that it didn't: the rules are others. */
  policyChanged(): void {
    this.#forgetPolicy();
  }

  #forgetPolicy(): void {
    this.#known = undefined;
    this.#asked = undefined;
  }

  /** Asks for the rules, unless they are asked for; who waits for them goes on then, be they known or not. */
  #askPolicy(): void {
    if (this.#asked) return;
    const asked = {};
    this.#asked = asked;
    const told = (policy?: EffectivePolicy) => {
      if (this.#asked === asked) {
        // Where there are none, asked again with the next write.
        this.#known = policy;
        this.#asked = undefined;
      }
      for (const go of this.#unruled) go();
    };
    this.#options.host.effectivePolicy().then(told, () => told());
  }

  #isAllowed(op: WriteOp, key: string, attributes: JsonObject): boolean {
    const { collection, shown } = this.#options;
    if (!this.#known) return false;
    const item = shown(key);
    const before = (item?.attributes ?? {}) as JsonObject;
    const names =
      op === 'delete'
        ? []
        : op === 'merge'
          ? Object.keys(attributes)
          : differences(before, withoutNulls(attributes)).changed;
    return allows(this.#known, {
      action: op === 'delete' ? 'delete' : item ? 'write' : 'create',
      collection,
      key,
      attributes: item ? before : attributes,
      names,
    });
  }
}

/** Waits to be told to go on; those who wait go on in the order in which they came. @throws the signal's reason */
function inTurn(waiting: Set<() => void>, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const over = () => {
      waiting.delete(go);
      signal?.removeEventListener('abort', stop);
    };
    const go = () => {
      over();
      resolve();
    };
    const stop = () => {
      over();
      reject(signal?.reason);
    };
    waiting.add(go);
    signal?.addEventListener('abort', stop, { once: true });
  });
}
