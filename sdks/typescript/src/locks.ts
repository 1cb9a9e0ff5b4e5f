/** Locks of a client: it has one session for them, made when the first is asked for and ended with the client. */
import { LEASE_MS } from './bounds.js';
import { unlessAborted } from './clock.js';
import { isProblem } from './errors.js';
import type { Held, LockOptions, LockScope } from './held-lock.js';
import { type LockHost, Session } from './lock-session.js';

export class Locks {
  readonly #host: LockHost;
  #session: Promise<Session> | undefined;
  #known: Session | undefined;

  constructor(host: LockHost) {
    this.#host = host;
  }

  get isOpen(): boolean {
    return this.#known !== undefined && !this.#known.isGone;
  }

  async lock(scope: LockScope | readonly LockScope[], options: LockOptions = {}): Promise<Held> {
    const { closing } = this.#host.pipeline;
    closing.throwIfAborted();
    for (let isAgain = false; ; isAgain = true) {
      // It is of all who want a lock, so it is begun also where one of them no longer does.
      const session = await unlessAborted(this.#current(options.leaseMs ?? LEASE_MS), options.signal);
      try {
        return await session.lock(Array.isArray(scope) ? scope : [scope as LockScope], options);
      } catch (error) {
        // The session ended without our knowing; another one asks once more.
        if (isAgain || !isProblem(error, 'sessionFenced', 'notFound')) throw error;
        session.gone('The session of the lock has ended.');
      }
    }
  }

  async close(): Promise<void> {
    const session = await this.#session?.catch(() => undefined);
    await session?.end();
  }

  async #current(leaseMs: number): Promise<Session> {
    const known = await this.#session?.catch(() => undefined);
    if (known && !known.isGone) return known;
    this.#host.pipeline.closing.throwIfAborted();
    // Several may have waited for the one that is gone.
    const asked = this.#session;
    if (asked && (await asked.catch(() => undefined)) !== known) return this.#current(leaseMs);
    this.#session = Session.begin(this.#host, leaseMs).then((session) => {
      this.#known = session;
      return session;
    });
    return this.#session;
  }
}
