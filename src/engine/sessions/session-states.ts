/**
 * The sessions that a group's commands have to do with, as the commands judged so far have left them, and what is to be
 * written of them. A draft lays its own changes over them and leaves them here when it is accepted.
 */
import { Problem } from '../errors.js';
import type { StoredSession } from '../ports.js';
import { ownerOf, type Subject } from '../subject.js';

/** A session as a client names it. */
export interface SessionRef {
  /** Its id or its name. */
  readonly session: string;
  readonly epoch: number;
}

export class SessionStates {
  readonly #byId = new Map<string, StoredSession>();
  readonly #saved = new Set<string>();
  readonly #deleted = new Set<string>();

  constructor(stored: readonly StoredSession[]) {
    for (const session of stored) this.#byId.set(session.id, session);
  }

  find(idOrName: string): StoredSession | undefined {
    return findSession(this.#byId, idOrName);
  }

  save(session: StoredSession): void {
    this.#byId.set(session.id, session);
    this.#saved.add(session.id);
    this.#deleted.delete(session.id);
  }

  delete(id: string): void {
    this.#byId.delete(id);
    this.#saved.delete(id);
    this.#deleted.add(id);
  }

  get saved(): StoredSession[] {
    return Array.from(this.#saved, (id) => this.#byId.get(id) as StoredSession);
  }

  get deleted(): string[] {
    return [...this.#deleted];
  }

  /** A request that names a session renews it; a lease that is nearly whole is left as it is. */
  renew(session: StoredSession, now: number): void {
    const left = session.expiresAt - now;
    if (left < session.ttlMs * RENEWED_BELOW) this.save({ ...session, expiresAt: now + session.ttlMs });
  }
}

/** A lease of which at least this share is left isn't renewed by use: a busy client would have it written with each request. */
export const RENEWED_BELOW = 0.9;

/** An id is looked for before a name. */
export function findSession(byId: ReadonlyMap<string, StoredSession | undefined>, idOrName: string) {
  const session = byId.get(idOrName);
  if (session) return session;
  for (const each of byId.values()) if (each?.name === idOrName) return each;
  return undefined;
}

/** Whether the session's lease is over, whether or not that has been committed yet. */
export function isOver({ ended, expiresAt }: StoredSession, now: number): boolean {
  return ended || expiresAt <= now;
}

/** The session, if it lives and is the one that the client means. */
export function checkSession(
  session: StoredSession | undefined,
  { session: name, epoch }: SessionRef,
  subject: Subject,
  now: number,
): StoredSession {
  if (!session || isOver(session, now)) {
    throw new Problem(
      'sessionFenced',
      `There is no session ${JSON.stringify(name)} any more: it ended, or its lease of ttlMs ran out. Begin a new one.`,
    );
  }
  checkOwner(session, subject);
  if (session.epoch !== epoch) {
    throw new Problem(
      'sessionFenced',
      `The session ${JSON.stringify(name)} was resumed meanwhile: its epoch is ${session.epoch}, not ${epoch}.`,
      { members: { epoch: session.epoch } },
    );
  }
  return session;
}

/** The header must name the session of the path, by its id or its name. */
export function checkSame({ id, name }: StoredSession, { session }: SessionRef): void {
  if (session === id || session === name) return;
  throw new Problem('badRequest', `Stargus-Session names ${JSON.stringify(session)}, and the path another session.`);
}

/** A session is its subject's own. */
export function checkOwner(session: StoredSession, subject: Subject): void {
  if (session.subject !== ownerOf(subject)) throw new Problem('forbidden', 'The session belongs to another subject.');
}
