/**
 * The audit: who logged in, who was refused and who was blocked. What happens is noted in memory and brought into the items of
 * `_audit` every ten seconds, and before somebody looks: so whoever is refused again and again makes a commit now and then, not
 * one each time. What is about no pool is kept in the system's own pool.
 *
 * What this node noted in the last seconds is lost when it is killed.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import { type Clock, OutcomeUnknown, type Telemetry } from '../ports.js';
import type { Committer } from '../state/committer.js';
import type { Replicas } from '../state/replicas.js';
import { system } from '../subject.js';
import { AUDIT, keepAudit } from './audit-items.js';
import { type AuditEvent, type AuditNote, AuditNotes, SERVER_POOL } from './audit-notes.js';

export interface AuditOptions {
  /** How long what happened is kept; 0: nothing is noted. */
  readonly auditMs: number;
}

const KEEP_EVERY_MS = 10_000;
/** Ticks after which what was kept for long enough is removed where nothing new is noted. */
const REMOVE_EVERY = 60;

export class Audit {
  readonly #notes = new AuditNotes();
  readonly #keeping = new Map<string, Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #ticks = 0;

  constructor(
    private readonly replicas: Replicas,
    private readonly committer: Committer,
    private readonly telemetry: Telemetry,
    private readonly clock: Clock,
    private readonly options: AuditOptions,
  ) {}

  start(): void {
    if (this.options.auditMs > 0) this.#timer = setInterval(() => void this.#tick(), KEEP_EVERY_MS).unref();
  }

  /** To be called when requests have ended. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    for (const pool of this.#notes.pools) await this.#tried(pool);
  }

  /** Something happened. Never throws, takes no time, and is bounded whoever brings it about. */
  note(event: AuditEvent): void {
    if (this.options.auditMs === 0) return;
    const { pool } = event;
    // A pool that this node doesn't know isn't looked for because somebody without any right names it.
    const isThere = pool !== undefined && this.replicas.known(pool) !== undefined;
    this.#notes.note({ ...event, pool: isThere ? pool : undefined }, this.clock.now());
  }

  /** Brings what this node noted of the pool into its items. */
  async bringUp(pool: string): Promise<void> {
    await this.#keeping.get(pool)?.catch(() => undefined);
    const notes = this.#notes.take(pool);
    if (notes.length > 0) await this.#keep(pool, notes);
  }

  async #tick(): Promise<void> {
    for (const pool of this.#notes.pools) await this.#tried(pool);
    if (++this.#ticks % REMOVE_EVERY !== 0) return;
    for (const { name, collections } of this.replicas.all())
      if (collections.has(AUDIT)) await this.#tried(name, () => this.#keep(name, []));
  }

  async #tried(pool: string, work = () => this.bringUp(pool)): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.telemetry.warn('The audit could not be kept and is tried again', { error: String((error as Error).stack) });
    }
  }

  #keep(pool: string, notes: readonly AuditNote[]): Promise<void> {
    const keeping = this.#commit(pool, notes).finally(() => {
      if (this.#keeping.get(pool) === keeping) this.#keeping.delete(pool);
    });
    this.#keeping.set(pool, keeping);
    return keeping;
  }

  async #commit(pool: string, notes: readonly AuditNote[]): Promise<void> {
    const isOwn = pool === SERVER_POOL;
    const epoch = isOwn ? undefined : this.replicas.known(pool)?.epoch;
    // It went meanwhile, and what happened there with it.
    if (!isOwn && epoch === undefined) return;
    let left = notes;
    try {
      for (let more = true; more; ) {
        const before = this.clock.now() - this.options.auditMs;
        const submitted = await this.committer.submit(
          pool,
          keepAudit({
            ...{ subject: system, epoch, createsPool: isOwn, notes: left, before, limit: limits.auditRemovedMax },
          }),
        );
        left = [];
        more = submitted.replayed === undefined && submitted.answer.more;
      }
    } catch (error) {
      if (error instanceof Problem && error.code === 'notFound') return;
      // What may have been kept is rather lost than counted twice.
      if (!(error instanceof OutcomeUnknown)) this.#notes.putBack(pool, left);
      throw error;
    }
  }
}
