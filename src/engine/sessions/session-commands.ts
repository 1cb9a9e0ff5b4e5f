/**
 * The commands on sessions: beginning, resuming and ending them, and what is done when their time is over. What a session
 * has (its presence, attachments and locks) comes and goes with it in one commit. What is in its queue stays; what it has taken of
 * that can be taken by others.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import { endDueLocks, endLocks, refence } from '../locks/lock-ends.js';
import { newsRef } from '../operations/operation-news.js';
import type { StoredSession } from '../ports.js';
import { findHeld, freeHeld, type Held } from '../queues/queue-upkeep.js';
import type { Command, Explorer, Settled } from '../state/commands.js';
import type { Draft } from '../state/draft.js';
import type { Json } from '../state/json.js';
import { rangeOf } from '../state/key-order.js';
import type { ItemRef } from '../state/model.js';
import { ownerOf, type Subject } from '../subject.js';
import {
  ATTACHMENTS,
  attachmentPrefix,
  CLIENTS,
  type ClientFacts,
  clientAttributes,
  clientRef,
} from './session-items.js';
import { checkOwner, checkSame, checkSession, isOver, type SessionRef } from './session-states.js';
import type { LockProof } from './writer.js';

export interface SessionRequest extends ClientFacts {
  readonly subject: Subject;
  /** Its id, if it is a new one. */
  readonly id: string;
  readonly name?: string | undefined;
  readonly ttlMs?: number | undefined;
  /** Locks that the request proves. */
  readonly locks?: readonly LockProof[] | undefined;
}

export interface SessionBegun extends Settled {
  readonly session: StoredSession;
  /** False: it was there before, and was resumed. */
  readonly created: boolean;
}

/** Begins a session. A name that lives is refused; one that is only remembered is forgotten. */
export function beginSession(request: SessionRequest): Command<SessionBegun> {
  const { subject, name } = request;
  const belongings = new Belongings();
  return {
    subject,
    bytes: 1024,
    touches: [clientRef(request.id)],
    isUpkeep: true,
    writer: { locks: request.locks },
    ...(name !== undefined && {
      sessions: [name],
      explore: (explorer: Explorer) => belongings.find(explorer, [name]),
    }),
    decide(draft) {
      draft.access.checkPresence();
      const former = name === undefined ? undefined : draft.session(name);
      if (former && !isOver(former, draft.now)) {
        throw new Problem(
          'conflict',
          `There is a session named ${JSON.stringify(name)}. PUT …/sessions/${name} resumes it.`,
        );
      }
      if (former) {
        checkOwner(former, subject);
        belongings.end(draft, former, 'expired', false);
      }
      return begin(draft, request);
    },
  };
}

/** Resumes the session of a name, living or remembered, under a new epoch; begins one where there is none. */
export function resumeSession(request: SessionRequest & { readonly name: string }): Command<SessionBegun> {
  const { subject, name } = request;
  const belongings = new Belongings();
  return {
    subject,
    bytes: 1024,
    touches: [clientRef(request.id)],
    isUpkeep: true,
    writer: { locks: request.locks },
    sessions: [name],
    explore: (explorer) => belongings.find(explorer, [name]),
    decide(draft) {
      draft.access.checkPresence();
      const former = draft.session(name);
      if (!former) return begin(draft, request);
      checkOwner(former, subject);
      if (isOver(former, draft.now)) belongings.end(draft, former, 'expired', true);
      else belongings.free(draft, former);
      const ttlMs = request.ttlMs ?? former.ttlMs;
      const session: StoredSession = {
        ...former,
        epoch: former.epoch + 1,
        ttlMs,
        expiresAt: draft.now + ttlMs,
        ended: false,
      };
      draft.saveSession(session);
      refence(draft, session.id);
      const ref = clientRef(session.id);
      draft.write(ref, clientAttributes(session, request, draft.now, draft.item(ref)?.attributes));
      return (settled) => ({ ...settled, session, created: false });
    },
  };
}

function begin(draft: Draft, request: SessionRequest): (settled: Settled) => SessionBegun {
  if ((draft.group.get(CLIENTS)?.items ?? 0) >= limits.sessionsPerPoolMax) {
    throw new Problem('tooManyRequests', `A pool has at most ${limits.sessionsPerPoolMax} sessions.`, {
      headers: { 'retry-after': '5' },
    });
  }
  const ttlMs = request.ttlMs ?? limits.sessionTtlMsDefault;
  const session: StoredSession = {
    id: request.id,
    name: request.name ?? request.id,
    epoch: 1,
    subject: ownerOf(request.subject),
    ttlMs,
    expiresAt: draft.now + ttlMs,
    wakeAt: null,
    ended: false,
    lastSequence: 0,
    memento: null,
  };
  draft.saveSession(session);
  draft.write(clientRef(session.id), clientAttributes(session, request, draft.now));
  return (settled) => ({ ...settled, session, created: true });
}

/** Ends a session and forgets it. `path` is how the call names it, `ref` how its header does. */
export function endSession(request: {
  readonly subject: Subject;
  readonly path: string;
  readonly ref: SessionRef;
  readonly locks?: readonly LockProof[] | undefined;
}): Command<Settled & { readonly session: string; readonly existed: boolean }> {
  const { subject, path, ref, locks } = request;
  const belongings = new Belongings();
  return {
    subject,
    bytes: 512,
    touches: [],
    isUpkeep: true,
    writer: { locks },
    sessions: [path, ref.session],
    explore: (explorer) => belongings.find(explorer, [path]),
    decide(draft) {
      const session = draft.session(path);
      if (!session) return (settled) => ({ ...settled, session: path, existed: false });
      if (isOver(session, draft.now)) {
        checkOwner(session, subject);
        belongings.end(draft, session, 'expired', false);
        return (settled) => ({ ...settled, session: session.id, existed: false });
      }
      checkNamed(session, ref, subject, draft.now);
      belongings.end(draft, session, undefined, false);
      return (settled) => ({ ...settled, session: session.id, existed: true });
    },
  };
}

/** The living session of the path, which the header must name as well. */
export function checkNamed(session: StoredSession, ref: SessionRef, subject: Subject, now: number): StoredSession {
  checkSame(session, ref);
  return checkSession(session, ref, subject, now);
}

/**
 * Does what is due of the sessions: ends those whose lease is over and the waits and graces of the others, and forgets those
 * that were remembered long enough. Of sessions that have much it takes as many as one commit may end, and answers the others.
 */
export function endDue(request: {
  readonly subject: Subject;
  readonly sessions: readonly string[];
}): Command<{ readonly left: readonly string[] }> {
  const { subject, sessions } = request;
  const belongings = new Belongings();
  return {
    subject,
    bytes: 64 * sessions.length,
    touches: [],
    isUpkeep: true,
    sessions,
    explore: (explorer) => belongings.find(explorer, sessions, limits.dueBytesMax),
    decide(draft) {
      for (const id of belongings.found) {
        const session = draft.session(id) as StoredSession;
        if (session.expiresAt > draft.now) draft.saveSession({ ...session, wakeAt: endDueLocks(draft, session.id) });
        else if (session.ended) draft.forgetSession(session.id);
        else belongings.end(draft, session, 'expired', true);
      }
      return () => ({ left: belongings.left });
    },
  };
}

/** What sessions have and lose when they end, found before they are judged. */
class Belongings {
  readonly #attachments = new Map<string, ItemRef[]>();
  /** Entries of their queues that they have taken. */
  readonly #held = new Map<string, Held>();
  #left: readonly string[] = [];

  /** The ids of the sessions that there are. */
  get found(): string[] {
    return [...this.#attachments.keys()];
  }

  /** The sessions that were not looked at, for those before them have enough. */
  get left(): readonly string[] {
    return this.#left;
  }

  async find(explorer: Explorer, sessions: readonly string[], bytesMax = Number.POSITIVE_INFINITY): Promise<void> {
    const draft = explorer.draft();
    this.#attachments.clear();
    this.#held.clear();
    this.#left = [];
    let bytes = 0;
    for (const [index, idOrName] of sessions.entries()) {
      if (bytes > bytesMax) {
        this.#left = sessions.slice(index);
        return;
      }
      const session = draft.session(idOrName);
      if (!session) continue;
      const { id } = session;
      await explorer.load([clientRef(id), newsRef(id)]);
      const range = rangeOf({ prefix: attachmentPrefix(id) });
      const { items } = await explorer.range(ATTACHMENTS, range, limits.attachmentsPerSessionMax);
      for (const { json } of items) bytes += json.length;
      bytes += draft.locks.bytesOf(id);
      const held = await findHeld(explorer, session);
      bytes += held.bytes;
      this.#held.set(id, held);
      this.#attachments.set(
        id,
        items.map(({ key }) => ({ collection: ATTACHMENTS, key })),
      );
    }
  }

  /** Lets others have what the session has taken of its queue. */
  free(draft: Draft, session: StoredSession, reason?: 'expired'): void {
    freeHeld(draft, session, this.#held.get(session.id), reason);
  }

  /** Takes everything from the session that it has. Remembered is what its client left and may come back for. */
  end(draft: Draft, session: StoredSession, reason: 'expired' | undefined, isRemembered: boolean): void {
    for (const ref of [...(this.#attachments.get(session.id) ?? []), newsRef(session.id), clientRef(session.id)])
      draft.write(ref, undefined, undefined, reason);
    endLocks(draft, session.id, reason);
    this.free(draft, session, reason);
    const { id, name, lastSequence, memento } = session;
    if (isRemembered && (name !== id || lastSequence > 0 || memento !== null)) {
      draft.saveSession({ ...session, ended: true, wakeAt: null, expiresAt: draft.now + limits.sessionMemoryMs });
    } else draft.forgetSession(id);
  }
}

/** The memento as a client left it. */
export function mementoOf({ memento }: StoredSession): Json | undefined {
  return memento === null ? undefined : (JSON.parse(memento) as Json);
}
