/**
 * Who logged in and who was refused, gathered in memory until it is taken: one note for a minute, a kind and who it was, however
 * often it happened. What anybody can bring about from outside is bounded, in notes and in pools; what is past the bounds is counted
 * without a name. The time is an argument.
 */
import { limits } from '../limits.js';

/** What is noted. The system's pool has those that are about the server as a whole. */
export type AuditKind =
  | 'login'
  | 'loginRefused'
  | 'unlock'
  | 'unlockRefused'
  | 'refused'
  | 'blocked'
  | 'enrolled'
  | 'revoked'
  | 'approved'
  | 'apiKeyMade'
  | 'apiKeyDeleted'
  | 'secretRotated';

export interface AuditEvent {
  readonly kind: AuditKind;
  /** Absent where it is about no pool, or about one that isn't there. */
  readonly pool?: string | undefined;
  /** Who it was, where that is known, or the account that was named. */
  readonly subject?: string | undefined;
  readonly address?: string | undefined;
  /** What was asked for, in a word or two; nothing secret. */
  readonly detail?: string | undefined;
}

export interface AuditNote {
  readonly kind: AuditKind;
  /** The minute's beginning, in ms since 1970. */
  readonly minute: number;
  readonly subject: string | undefined;
  readonly address: string | undefined;
  /** Of the last one. */
  detail: string | undefined;
  count: number;
  firstAt: number;
  lastAt: number;
}

const MINUTE_MS = 60_000;
/** The system's own pool, which only the operator reads. */
export const SERVER_POOL = '_server';
/** Attempts from outside, as opposed to what somebody was admitted to. */
const REFUSALS: readonly AuditKind[] = ['loginRefused', 'unlockRefused', 'refused', 'blocked'];
const TEXT_LENGTH_MAX = 255;

export class AuditNotes {
  readonly #pools = new Map<string, Map<string, AuditNote>>();
  /** Who has a note by name in this minute, by pool and kind. */
  readonly #named = new Map<string, Set<string>>();
  readonly #refusedIn = new Set<string>();
  #minute = 0;

  note(event: AuditEvent, now: number): void {
    const minute = now - (now % MINUTE_MS);
    if (minute !== this.#minute) {
      this.#minute = minute;
      this.#named.clear();
      this.#refusedIn.clear();
    }
    const { kind } = event;
    const pool = this.#poolOf(event);
    const { subject, address, detail }: AuditEvent = this.#isNamed(pool, event) ? event : { kind };
    this.#add(pool, {
      ...{ kind, minute, subject: cut(subject), address: cut(address), detail: cut(detail) },
      ...{ count: 1, firstAt: now, lastAt: now },
    });
  }

  /** The pools of which something is noted. */
  get pools(): string[] {
    return [...this.#pools.keys()];
  }

  /** All that is noted of the pool; it is held here no longer. */
  take(pool: string): AuditNote[] {
    const notes = this.#pools.get(pool);
    this.#pools.delete(pool);
    return [...(notes?.values() ?? [])];
  }

  /** Holds again what was taken and could not be kept. */
  putBack(pool: string, notes: readonly AuditNote[]): void {
    for (const note of notes) this.#add(pool, note);
  }

  #add(pool: string, note: AuditNote): void {
    let notes = this.#pools.get(pool);
    if (!notes) {
      notes = new Map();
      this.#pools.set(pool, notes);
    }
    const id = JSON.stringify([note.minute, note.kind, note.subject, note.address]);
    const present = notes.get(id);
    if (!present) {
      // What couldn't be kept for long must not pile up.
      if (notes.size < limits.auditAdmittedPerMinuteMax * 2) notes.set(id, note);
      return;
    }
    present.count += note.count;
    present.firstAt = Math.min(present.firstAt, note.firstAt);
    if (note.lastAt >= present.lastAt) present.detail = note.detail;
    present.lastAt = Math.max(present.lastAt, note.lastAt);
  }

  #poolOf({ pool = SERVER_POOL, kind }: AuditEvent): string {
    if (pool === SERVER_POOL || !REFUSALS.includes(kind) || this.#refusedIn.has(pool)) return pool;
    if (this.#refusedIn.size >= limits.auditPoolsPerMinuteMax) return SERVER_POOL;
    this.#refusedIn.add(pool);
    return pool;
  }

  #isNamed(pool: string, { kind, subject, address }: AuditEvent): boolean {
    const place = `${pool}/${kind}`;
    let named = this.#named.get(place);
    if (!named) {
      named = new Set();
      this.#named.set(place, named);
    }
    const who = JSON.stringify([subject, address]);
    const max = REFUSALS.includes(kind) ? limits.auditRefusedPerMinuteMax : limits.auditAdmittedPerMinuteMax;
    if (!named.has(who) && named.size >= max) return false;
    named.add(who);
    return true;
  }
}

function cut(text: string | undefined): string | undefined {
  return text === undefined ? undefined : text.slice(0, TEXT_LENGTH_MAX).toWellFormed();
}
