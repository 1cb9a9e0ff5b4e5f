/**
 * The commands on locks: asking for one, altering it, giving it back, breaking it. They are judged in the pool's own order, so
 * that a grant is before or after each write, and its fence, the revision of the grant, is above all that came before.
 */
import { createHash } from 'node:crypto';
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { StoredSession } from '../ports.js';
import { checkSession, type SessionRef } from '../sessions/session-states.js';
import type { Writer } from '../sessions/writer.js';
import type { Command, Settled } from '../state/commands.js';
import type { Draft } from '../state/draft.js';
import { isFree, ownerOf, type Subject } from '../subject.js';
import { granted, putLock, removeLocks } from './granting.js';
import { checkBreaker, checkScopesOf, itemsOfScopes, mayTell } from './lock-access.js';
import { LOCKS, type LockRecord } from './lock-items.js';
import { isWeakerOrEqual, type Mode } from './mode.js';
import { coverTogether, type Scope } from './scope.js';

export interface LockAnswer extends Settled {
  readonly lock: LockRecord;
  /** Of a waiting lock: how many are before it, and one. */
  readonly position: number | undefined;
  /** It is gone, and this is what it was. */
  readonly broken?: boolean;
  /** Who asked isn't told for whom it waits. */
  readonly isBound?: boolean;
}

export interface LockAsking {
  readonly subject: Subject;
  /** The lock's id, if it is a new one. */
  readonly id: string;
  /** Without an epoch the session as it is now. */
  readonly session: { readonly session: string; readonly epoch: number | undefined };
  readonly mode: Mode;
  readonly scopes: readonly Scope[];
  readonly waitMs: number;
  readonly requestId?: string | undefined;
  readonly note?: string | undefined;
  readonly writer: Writer | undefined;
}

/** Asks for a lock: it is granted, waits, or is refused. A repetition under the same `requestId` finds the lock of the first. */
export function acquireLock(asking: LockAsking): Command<LockAnswer> {
  const { subject, mode, scopes, waitMs, requestId, note, writer } = asking;
  const requestDigest = requestId === undefined ? undefined : digestOf(mode, scopes);
  return {
    subject,
    bytes: 512 + scopes.length * 256,
    touches: isFree(subject) ? [] : itemsOfScopes(scopes),
    isUpkeep: true,
    writer,
    sessions: [asking.session.session],
    decide(draft) {
      checkScopesOf(draft, scopes);
      const session = askingSession(draft, asking, subject);
      const known = requestId === undefined ? undefined : draft.locks.byRequest(session.id, requestId);
      if (known) {
        if (known.requestDigest !== requestDigest) {
          throw new Problem('conflict', 'The requestId was used for another request, and its lock is still there.', {
            members: { lock: known.id },
          });
        }
        return answerOf(draft, known);
      }
      checkRoom(draft, session);
      const lock: LockRecord = {
        ...{ id: asking.id, session: session.id, sessionName: session.name, subject: ownerOf(subject) },
        ...{ since: draft.now, item: undefined },
        ...(requestId !== undefined && { requestId, requestDigest }),
        ...(note !== undefined && { note }),
        wanted: { mode, scopes, queued: draft.nextRevision },
      };
      return take(draft, lock, waitMs);
    },
  };
}

/** Grants what the lock wants, or lets it wait for it. */
function take(draft: Draft, lock: LockRecord, waitMs: number): (settled: Settled) => LockAnswer {
  const wanted = lock.wanted as NonNullable<LockRecord['wanted']>;
  const blockers = blockersOf(draft.locks, lock, wanted);
  if (blockers.length === 0) {
    const next = granted(lock, draft);
    putLock(draft, next);
    // More for who holds already is in the way of those that wait, who may be waited for in turn.
    if (lock.held) checkNoCycle(draft, lock, draft.locks.cycleOf(lock.session));
    checkBytes(draft, lock.session);
    return answerOf(draft, next);
  }
  if (waitMs === 0) throw lockConflict(draft, blockers);
  checkQueue(draft, blockers);
  const waiting = { ...lock, waitUntil: draft.now + waitMs };
  putLock(draft, waiting);
  checkNoCycle(draft, lock, draft.locks.cycleOf(lock.session));
  if (draft.locks.edges > limits.lockWaitEdgesMax) throw tooEntangled();
  checkBytes(draft, lock.session);
  draft.wake(lock.session, waiting.waitUntil);
  return answerOf(draft, waiting);
}

export interface LockChange {
  readonly subject: Subject;
  readonly lock: string;
  readonly session: SessionRef;
  readonly writer: Writer;
  readonly mode?: Mode | undefined;
  readonly scopes?: readonly Scope[] | undefined;
  readonly waitMs?: number | undefined;
}

/**
 * Alters a lock. Less than it holds is at once its own, under the same fence; more is granted under a new fence, waits while
 * what it held stays, or is refused. A lock that still waits may ask for less in its place, and for more at the end.
 */
export function changeLock(change: LockChange): Command<LockAnswer> {
  const { subject, session, writer } = change;
  return {
    subject,
    bytes: 512 + (change.scopes?.length ?? 0) * 256,
    touches: isFree(subject) ? [] : itemsOfScopes(change.scopes ?? []),
    isUpkeep: true,
    writer,
    sessions: [session.session],
    decide(draft) {
      const lock = ownLock(draft, change.lock, session);
      const base = (lock.held ?? lock.wanted) as NonNullable<LockRecord['held' | 'wanted']>;
      const mode = change.mode ?? base.mode;
      const scopes = change.scopes ?? base.scopes;
      if (change.mode === undefined && change.scopes === undefined) return prolong(draft, lock, change.waitMs);
      const isLess = isWeakerOrEqual(mode, base.mode) && coverTogether(base.scopes, scopes);
      if (!isLess) {
        checkScopesOf(draft, scopes);
        const wanted = { mode, scopes, queued: draft.nextRevision };
        return take(draft, { ...lock, wanted }, change.waitMs ?? remainingMs(draft, lock));
      }
      const { wanted, waitUntil, held, ...rest } = lock;
      if (held) putLock(draft, { ...rest, held: { ...held, mode, scopes } });
      else putLock(draft, { ...rest, waitUntil, wanted: { ...(wanted as NonNullable<typeof wanted>), mode, scopes } });
      if (change.waitMs !== undefined && !held)
        return prolong(draft, draft.locks.get(lock.id) as LockRecord, change.waitMs);
      return answerOf(draft, draft.locks.get(lock.id) as LockRecord);
    },
  };
}

/** Lets a waiting lock wait so long from now on. */
function prolong(draft: Draft, lock: LockRecord, waitMs: number | undefined): (settled: Settled) => LockAnswer {
  if (waitMs === undefined || !lock.wanted) return answerOf(draft, lock);
  if (waitMs === 0) {
    throw lockConflict(draft, blockersOf(draft.locks, lock, lock.wanted));
  }
  const waiting = { ...lock, waitUntil: draft.now + waitMs };
  putLock(draft, waiting);
  draft.wake(lock.session, waiting.waitUntil);
  return answerOf(draft, waiting);
}

function remainingMs(draft: Draft, { waitUntil }: LockRecord): number {
  return waitUntil === undefined ? 0 : Math.max(1, waitUntil - draft.now);
}

/** Gives a lock back, or gives up waiting for it. */
export function releaseLock(request: {
  readonly subject: Subject;
  readonly lock: string;
  readonly session: SessionRef;
  readonly writer: Writer;
}): Command<Settled & { readonly existed: boolean }> {
  const { subject, lock, session, writer } = request;
  return {
    subject,
    bytes: 256,
    touches: [],
    isUpkeep: true,
    writer,
    sessions: [session.session],
    decide(draft) {
      const existed = draft.locks.get(lock) !== undefined;
      if (existed) {
        ownLock(draft, lock, session);
        removeLocks(draft, [lock]);
      }
      return (settled) => ({ ...settled, existed });
    },
  };
}

/** Takes a lock from whoever has it or waits for it: at once, or once its holder had time to finish. */
export function breakLock(request: {
  readonly subject: Subject;
  readonly lock: string;
  readonly graceMs: number;
  readonly writer: Writer | undefined;
}): Command<LockAnswer> {
  const { subject, graceMs, writer } = request;
  return {
    subject,
    bytes: 256,
    touches: [],
    isUpkeep: true,
    writer,
    locks: [request.lock],
    decide(draft) {
      const lock = draft.locks.get(request.lock);
      if (!lock) throw noLock(request.lock);
      checkBreaker(draft, lock, subject);
      if (graceMs === 0 || !lock.held) {
        removeLocks(draft, [lock.id], 'broken');
        return (settled) => ({ ...settled, lock, position: undefined, broken: true });
      }
      const breakAt = Math.min(lock.breakAt ?? Number.POSITIVE_INFINITY, draft.now + graceMs);
      const breaking = { ...lock, breakAt };
      putLock(draft, breaking);
      draft.wake(lock.session, breakAt);
      return answerOf(draft, breaking);
    },
  };
}

function askingSession(
  draft: Draft,
  { session: { session, epoch }, writer }: LockAsking,
  subject: Subject,
): StoredSession {
  const stored = draft.session(session);
  if (writer?.session && stored && draft.session(writer.session.session)?.id !== stored.id)
    throw new Problem('badRequest', 'Stargus-Session names another session than the body.');
  const checked = checkSession(stored, { session, epoch: epoch ?? stored?.epoch ?? 0 }, subject, draft.now);
  draft.renew(checked);
  return checked;
}

/** Long enough to tell a client's requests apart. */
const DIGEST_LENGTH = 16;

function digestOf(mode: Mode, scopes: readonly Scope[]): string {
  const text = JSON.stringify([mode, scopes]);
  return createHash('sha256').update(text).digest('base64url').slice(0, DIGEST_LENGTH);
}

function ownLock(draft: Draft, id: string, { session }: SessionRef): LockRecord {
  const lock = draft.locks.get(id);
  if (!lock) throw noLock(id);
  if (lock.session === draft.session(session)?.id) return lock;
  throw new Problem('forbidden', `The lock ${JSON.stringify(id)} belongs to another session.`);
}

function checkRoom(draft: Draft, session: StoredSession): void {
  const isFull = (draft.group.get(LOCKS)?.items ?? 0) >= limits.locksPerPoolMax;
  if (isFull) throw tooMany(`A pool has at most ${limits.locksPerPoolMax} locks.`);
  if (draft.locks.countOf(session.id) >= limits.locksPerSessionMax)
    throw tooMany(`A session has at most ${limits.locksPerSessionMax} locks.`);
}

/** Judged when the lock is there: whoever asks is refused, and the draft with it. */
function checkBytes({ locks }: Draft, session: string): void {
  if (locks.bytesOf(session) > limits.lockBytesPerSessionMax)
    throw tooMany(`The locks of a session have at most ${limits.lockBytesPerSessionMax} bytes of scopes.`);
  if (locks.bytes > limits.lockBytesPerPoolMax)
    throw tooMany(`The locks of a pool have at most ${limits.lockBytesPerPoolMax} bytes of scopes.`);
}

function checkQueue(draft: Draft, blockers: readonly LockRecord[]): void {
  if (draft.locks.waiting >= limits.lockWaitersMax)
    throw tooMany(`At most ${limits.lockWaitersMax} locks of a pool wait at once.`);
  if (blockers.filter(({ wanted }) => wanted).length >= limits.lockQueueMax)
    throw tooMany(`At most ${limits.lockQueueMax} locks wait in one queue.`);
  // When those between go, each that waits may come to wait for each that is held.
  const held = blockers.filter((blocker) => blocker.held).length;
  if (held * (draft.locks.waiting + 1) > limits.lockWaitEdgesMax) throw tooEntangled();
}

function tooEntangled(): Problem {
  return tooMany('Too many locks wait for too many; ask again when some are gone, or for less.');
}

function tooMany(detail: string): Problem {
  return new Problem('tooManyRequests', detail, { headers: { 'retry-after': '1' } });
}

function answerOf(draft: Draft, lock: LockRecord): (settled: Settled) => LockAnswer {
  const told = draft.locks.get(lock.id) ?? lock;
  const position = positionOf(draft.locks, told);
  const isBound = !draft.access.isUnbound;
  return (settled) => ({ ...settled, lock: told, position, isBound });
}

/** Looks up a waiting lock's place, in the pool's order, where the table of locks is. It commits nothing. */
export function findPosition(request: {
  readonly subject: Subject;
  readonly lock: string;
}): Command<{ readonly position: number | undefined }> {
  return {
    subject: request.subject,
    bytes: 128,
    touches: [],
    isUpkeep: true,
    decide(draft) {
      const lock = draft.locks.get(request.lock);
      const position = lock && positionOf(draft.locks, lock);
      return () => ({ position });
    },
  };
}

/** How many are before a waiting lock in its queue, and one. */
function positionOf(locks: Draft['locks'], lock: LockRecord): number | undefined {
  if (!lock.wanted) return undefined;
  return blockersOf(locks, lock, lock.wanted).filter((other) => other.wanted).length + 1;
}

/** What stands in the way of what the lock wants. */
function blockersOf(
  locks: Draft['locks'],
  { id, session, held }: LockRecord,
  wanted: NonNullable<LockRecord['wanted']>,
): LockRecord[] {
  return locks.blockers({ id, session, ...wanted, converts: held !== undefined }, limits.lockBlockersMax);
}

export function noLock(id: string): Problem {
  return new Problem(
    'notFound',
    `There is no lock ${JSON.stringify(id)}: it was given back or lost, or its wait was over.`,
  );
}

function lockConflict({ access, subject }: Draft, blockers: readonly LockRecord[]): Problem {
  const tells = (lock: LockRecord) => mayTell(access, lock, subject);
  const first = blockers.find(tells) ?? blockers[0];
  const who = first && tells(first) ? `The session ${JSON.stringify(first.sessionName)}` : 'Another session';
  const detail = `${who} ${first?.held ? 'holds' : 'waits for'} a lock in the way. With \`waitMs\` the lock would wait for its turn.`;
  return new Problem('lockConflict', detail, {
    members: { holders: blockers.slice(0, limits.lockHoldersTold).map((lock) => shortly(lock, tells(lock))) },
  });
}

function checkNoCycle({ access }: Draft, { session: own }: LockRecord, sessions: readonly string[] | undefined): void {
  if (!sessions) return;
  // Whom policy binds is told of their own session only.
  const cycle = access.isUnbound
    ? sessions
    : sessions.map((session) => (session === own ? session : 'another session'));
  const detail = `To wait for this lock would be for ever: ${[...cycle, cycle[0]].join(' waits for ')}.`;
  throw new Problem('deadlock', detail, { members: { cycle } });
}

/** A lock as a refusal tells of it. */
function shortly({ id, session, sessionName, held, wanted, note }: LockRecord, isTold: boolean) {
  const claim = held ?? wanted;
  const state = held ? 'granted' : 'waiting';
  if (!isTold) return { state, mode: claim?.mode };
  return { lock: id, session, sessionName, state, mode: claim?.mode, scopes: claim?.scopes, note };
}
