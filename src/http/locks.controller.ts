/** Locks over HTTP: asking, looking, altering, giving back, breaking. */
import { Controller, Inject } from '@nestjs/common';
import { v7 as uuidv7 } from 'uuid';
import type { z } from 'zod';
import { Engine } from '../engine/engine.js';
import { Problem } from '../engine/errors.js';
import { limits } from '../engine/limits.js';
import {
  acquireLock,
  breakLock,
  changeLock,
  findPosition,
  type LockAnswer,
  noLock,
  releaseLock,
} from '../engine/locks/lock-commands.js';
import { attributesOf, LOCKS, lockRef } from '../engine/locks/lock-items.js';
import { checkScopes, type Scope } from '../engine/locks/scope.js';
import type { SessionRef } from '../engine/sessions/session-states.js';
import type { Writer } from '../engine/sessions/writer.js';
import { formatCursor } from '../engine/state/cursor.js';
import type { Attributes, ItemState } from '../engine/state/model.js';
import { checkName, checkOwnName } from '../engine/state/names.js';
import type { Reply } from '../engine/state/repetition.js';
import { isFree, ownerOf, type Subject, system } from '../engine/subject.js';
import { awaitMinRevision, idempotencyOf, poolHeaders, send, sendWritten, shaped } from './answers.js';
import { askerOf } from './asker.js';
import * as schema from './locks.schema.js';
import { nameToken, readPageToken } from './page-token.js';
import { type Call, Route } from './route.js';

const LOCKS_PATH = '/v1/pools/:pool/locks';
const LOCK_PATH = `${LOCKS_PATH}/:lock`;

@Controller()
export class LocksController {
  constructor(@Inject(Engine) private readonly engine: Engine) {}

  @Route({
    method: 'POST',
    path: LOCKS_PATH,
    operationId: 'requestLock',
    tag: 'locks',
    summary: 'Ask for a lock',
    description:
      'All scopes or none. Granted is 201, with the `fence`. With `waitMs` a lock that can’t be had now waits for its turn: 202, and the session’s stream tells when it is granted. Without, 409 `lockConflict` names those in the way. A wait that would never end is 409 `deadlock`.',
    body: { schema: schema.lockBody },
    headers: ['Idempotency-Key'],
    answers: {
      201: { description: 'Granted.', schema: schema.lock },
      202: { description: 'It waits for its turn.', schema: schema.lock },
    },
  })
  async acquire(call: Call<unknown, z.output<typeof schema.lockBody>>): Promise<void> {
    const pool = checkOwnName('pool', call.params.pool as string);
    const { mode, scopes, waitMs = 0, requestId, note } = call.body;
    checkScopes(scopes as Scope[], '/scopes');
    const session = sessionOf(call);
    const command = acquireLock({
      ...{ subject: call.subject, writer: call.writer, id: uuidv7(), session, mode, waitMs, requestId, note },
      scopes: scopes as Scope[],
    });
    const shape = shapeOf((answer) => (answer.lock.wanted ? 202 : 201), pool);
    sendWritten(call, await this.engine.committer.submit(pool, command, idempotencyOf(call, shape)), shape);
  }

  @Route({
    method: 'GET',
    path: LOCKS_PATH,
    operationId: 'listLocks',
    tag: 'locks',
    summary: 'List the locks of a pool, held and waiting',
    description: 'The system collection `_locks` has them too, to be queried and attached to.',
    query: schema.lockListQuery,
    headers: ['Stargus-Min-Revision'],
    answers: { 200: { description: 'A page of locks.', schema: schema.lockPage } },
  })
  async list(call: Call<z.output<typeof schema.lockListQuery>>): Promise<void> {
    const pool = checkName('pool', call.params.pool as string);
    const { limit = limits.pageItemsDefault, pageToken } = call.query;
    await awaitMinRevision(call, this.engine.reader, pool);
    const query = ['locks', pool];
    const after = readPageToken(pageToken, query)?.key;
    const page = await this.engine.entitled.page(pool, LOCKS, { after, limit }, call.subject, isOwn(call.subject));
    const shown = (attributes: Attributes) => (isFree(call.subject) ? attributes : alone(attributes));
    const locks = page.items.map(({ key, state }) => tell(key, shown(state.attributes), state.revision));
    const nextPageToken = page.more ? nameToken(query, page.items.at(-1)?.key as string) : undefined;
    const { revision, replica } = page;
    const cursor = formatCursor(replica.epoch, revision);
    const headers = poolHeaders(replica.epoch, revision);
    send(call, { status: 200, headers, body: JSON.stringify({ locks, revision, cursor, nextPageToken }) });
  }

  @Route({
    method: 'GET',
    path: LOCK_PATH,
    operationId: 'getLock',
    tag: 'locks',
    summary: 'Look at a lock, or wait for it',
    description: 'With `waitMs` the answer comes when the lock no longer waits, or after that time.',
    query: schema.lockQuery,
    headers: ['Stargus-Min-Revision'],
    answers: { 200: { description: 'The lock.', schema: schema.lock } },
  })
  async get(call: Call<z.output<typeof schema.lockQuery>>): Promise<void> {
    const pool = checkName('pool', call.params.pool as string);
    const id = call.params.lock as string;
    const { subject } = call;
    const tokenMs = (subject.expiresAt ?? Number.POSITIVE_INFINITY) - Date.now();
    const deadline = performance.now() + Math.min(call.query.waitMs ?? 0, tokenMs);
    await awaitMinRevision(call, this.engine.reader, pool);
    const asker = askerOf(call);
    for (;;) {
      const { replica, revision, state } = await this.engine.entitled.stored(
        pool,
        lockRef(id),
        call.subject,
        isOwn(call.subject),
      );
      const headers = poolHeaders(replica.epoch, revision);
      if (!state) {
        call.reply.headers(headers);
        throw noLock(id);
      }
      const waitMs = Math.ceil(deadline - performance.now());
      if (state.attributes.state !== 'waiting' || waitMs <= 0 || asker.gone) {
        const position = await this.#position(pool, id, state, call.subject);
        const told = isFree(call.subject) ? state.attributes : alone(state.attributes);
        const body = tell(id, told, state.revision, position);
        return send(call, { status: 200, headers, body: JSON.stringify(body) });
      }
      const view = { collection: LOCKS, key: id, values: 'none' as const };
      const since = formatCursor(replica.epoch, revision);
      await this.engine.watching.changes(pool, { view, subject: system, since, limit: 1, waitMs }, asker);
    }
  }

  /** A lock's place in its queue, as of now; undefined for one that doesn't wait. */
  async #position(pool: string, id: string, state: ItemState, subject: Subject): Promise<number | undefined> {
    if (state.attributes.state !== 'waiting') return undefined;
    const submitted = await this.engine.committer.submit(pool, findPosition({ subject, lock: id }));
    return submitted.replayed ? undefined : submitted.answer.position;
  }

  @Route({
    method: 'PATCH',
    path: LOCK_PATH,
    operationId: 'patchLock',
    tag: 'locks',
    summary: 'Narrow or widen a lock',
    description:
      'Less than it holds is at once so, under the same fence. More is granted under a new fence; or waits, for `waitMs`, while what it holds stays; or is refused. Only its session may do so, named in Stargus-Session.',
    body: { schema: schema.lockChangeBody },
    headers: ['Idempotency-Key', 'Stargus-Session'],
    answers: {
      200: { description: 'The lock as it is now.', schema: schema.lock },
      202: { description: 'It waits for what it wants beyond what it holds.', schema: schema.lock },
    },
  })
  async change(call: Call<unknown, z.output<typeof schema.lockChangeBody>>): Promise<void> {
    const pool = checkOwnName('pool', call.params.pool as string);
    const { mode, waitMs } = call.body;
    const scopes = call.body.scopes as Scope[] | undefined;
    if (scopes) checkScopes(scopes, '/scopes');
    const { subject, params } = call;
    const lock = params.lock as string;
    const command = changeLock({ subject, ...ownSession(call), lock, mode, scopes, waitMs });
    const shape = shapeOf((answer) => (answer.lock.wanted ? 202 : 200));
    sendWritten(call, await this.engine.committer.submit(pool, command, idempotencyOf(call, shape)), shape);
  }

  @Route({
    method: 'DELETE',
    path: LOCK_PATH,
    operationId: 'deleteLock',
    tag: 'locks',
    summary: 'Give a lock back, or give up waiting for it',
    description:
      'Whoever waits for it is granted it in the same commit. Only its session may do so, named in Stargus-Session.',
    headers: ['Idempotency-Key', 'Prefer', 'Stargus-Session'],
    answers: { 200: { description: 'There is no such lock now.', schema: schema.releasedLock } },
  })
  async release(call: Call): Promise<void> {
    const pool = checkOwnName('pool', call.params.pool as string);
    const lock = call.params.lock as string;
    const shape = shaped(
      call,
      ({ epoch, revision, existed }: { epoch: string; revision: number; existed: boolean }): Reply => ({
        status: 200,
        headers: poolHeaders(epoch, revision),
        body: JSON.stringify({ lock, revision, existed }),
      }),
    );
    const command = releaseLock({ subject: call.subject, lock, ...ownSession(call) });
    sendWritten(call, await this.engine.committer.submit(pool, command, idempotencyOf(call, shape)), shape);
  }

  @Route({
    method: 'POST',
    path: `${LOCK_PATH}/break`,
    operationId: 'breakLock',
    tag: 'locks',
    summary: 'Take a lock from its session',
    description:
      'At once, or after `graceMs`, in which its session is told (`expiring`) and may finish. Then whatever it writes with the lock’s fence is refused.',
    body: { schema: schema.lockBreakBody, optional: true },
    headers: ['Idempotency-Key'],
    answers: { 200: { description: 'The lock as it was, or will be until then.', schema: schema.lock } },
  })
  async break(call: Call<unknown, z.output<typeof schema.lockBreakBody>>): Promise<void> {
    const pool = checkOwnName('pool', call.params.pool as string);
    const command = breakLock({
      subject: call.subject,
      lock: call.params.lock as string,
      graceMs: call.body.graceMs ?? 0,
      writer: call.writer,
    });
    const shape = shapeOf(() => 200);
    sendWritten(call, await this.engine.committer.submit(pool, command, idempotencyOf(call, shape)), shape);
  }
}

/** Who has a lock may look at it, whatever the policy says of `_locks`. */
function isOwn(subject: Subject): (state: ItemState) => boolean {
  const owner = ownerOf(subject);
  return ({ attributes }) => attributes.subject === owner;
}

/** The session that asks: the body's, or the header's where both name the same. */
function sessionOf({ body, writer }: Call<unknown, z.output<typeof schema.lockBody>>): {
  session: string;
  epoch: number | undefined;
} {
  const named = writer?.session;
  const session = body.session ?? named?.session;
  if (session === undefined) {
    const detail = 'is missing: the session that the lock is to belong to.';
    throw new Problem('badRequest', `/session ${detail}`, {
      errors: [{ pointer: '/session', code: 'badRequest', detail }],
    });
  }
  // Whether both mean the same session is seen when it is looked up: it may be named by its id or its name.
  return { session, epoch: body.epoch ?? named?.epoch };
}

/** Others may look at a lock, and break it; to alter it is its session's. */
function ownSession({ writer }: Call): { session: SessionRef; writer: Writer } {
  if (writer?.session) return { session: writer.session, writer };
  throw new Problem(
    'forbidden',
    'Only its session may alter a lock or give it back: name it in the header `Stargus-Session: <session>;epoch=<n>`.',
  );
}

function shapeOf(statusOf: (answer: LockAnswer) => number, pool?: string): (answer: LockAnswer) => Reply {
  return (answer) => {
    const { lock, revision, epoch, position } = answer;
    const status = statusOf(answer);
    const headers = poolHeaders(epoch, revision);
    if (pool !== undefined && status === 201) headers.location = `/v1/pools/${pool}/locks/${lock.id}`;
    const item = lock.item?.attributes ?? attributesOf(lock, []);
    const attributes = answer.broken ? { ...item, state: 'broken' } : item;
    return {
      status,
      headers,
      body: JSON.stringify(tell(lock.id, answer.isBound ? alone(attributes) : attributes, revision, position)),
    };
  };
}

/** Without what it says of the locks and sessions of others. */
function alone({ waitsFor: _locks, waitsForSessions: _sessions, ...own }: Attributes): Attributes {
  return own;
}

/** A lock as answers have it: what its item says, without what only the queue needs. */
function tell(
  lock: string,
  { queued, requestDigest, wanted, ...told }: Attributes,
  revision: number,
  position?: number,
): object {
  const { queued: _, ...wish } = (wanted ?? {}) as Attributes;
  return { lock, ...told, ...(wanted !== undefined && { wanted: wish }), position, revision };
}
