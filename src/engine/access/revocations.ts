/**
 * What was revoked, as every node knows it: tokens that were made under a revoked login are refused, and streams end. A node hears of
 * its own revocations at once, of others' by looking every second. It forgets them again when no token can be left; the
 * database remembers them for longer, for nodes that couldn't look meanwhile.
 */
import { limits } from '../limits.js';
import type { Subject } from '../subject.js';
import type { LoginStore } from './login-store.js';

/** A token that was made just before, and everybody's clock. */
const KNOWN_MS = limits.accessTokenMs + 60_000;

export class Revocations {
  /** Each with the time, by this node's clock, until which it is remembered. */
  readonly #revoked = new Map<string, number>();
  readonly #listeners: ((ids: ReadonlySet<string>) => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  /** The database's time until which everything is known. */
  #seen = 0;

  constructor(
    private readonly store: LoginStore,
    private readonly now: () => number,
    private readonly warn: (message: string, details: object) => void,
  ) {}

  /** Reads what tokens may still be left of. To be awaited before tokens are judged. */
  async open(): Promise<void> {
    this.#seen = (await this.store.now()) - KNOWN_MS;
    await this.look();
    if (this.store.exclusive) return;
    this.#timer = setInterval(() => {
      this.#looking ??= this.look()
        .catch((error: unknown) => this.warn('What was revoked could not be read', { error: String(error) }))
        .finally(() => {
          this.#looking = undefined;
        });
    }, limits.revocationPollMs).unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  /** Is told of all that is newly known to be revoked. */
  onRevoked(listener: (ids: ReadonlySet<string>) => void): void {
    this.#listeners.push(listener);
  }

  covers({ login, lineage }: Pick<Subject, 'login' | 'lineage'>): boolean {
    if (this.#revoked.size === 0) return false;
    return (login !== undefined && this.#revoked.has(login)) || (lineage?.some((id) => this.#revoked.has(id)) ?? false);
  }

  /** Revokes what was made under the ids, here and on all nodes. `keepMs` is how long it is remembered. */
  async revoke(ids: readonly string[], keepMs: number = limits.revocationMs): Promise<void> {
    await this.store.revoke(ids, keepMs);
    this.note(ids);
  }

  /** Takes note of what the database has been told already. */
  note(ids: readonly string[]): void {
    const now = this.now();
    for (const [id, until] of this.#revoked) if (until <= now) this.#revoked.delete(id);
    const until = now + KNOWN_MS;
    const news = new Set(ids.filter((id) => !this.#revoked.has(id)));
    for (const id of ids) this.#revoked.set(id, until);
    if (news.size > 0) for (const listener of this.#listeners) listener(news);
  }

  async look(): Promise<void> {
    const { revoked, now } = await this.store.revokedSince(this.#seen);
    this.note(revoked.map(({ id }) => id));
    this.#seen = Math.max(this.#seen, now - limits.revocationOverlapMs);
  }
}
