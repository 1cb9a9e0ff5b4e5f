/** Sessions over HTTP: beginning, resuming, renewing and ending them. */
import { Controller, Inject } from '@nestjs/common';
import { v7 as uuidv7 } from 'uuid';
import type { z } from 'zod';
import { Engine } from '../engine/engine.js';
import { noSession } from '../engine/sessions/leases.js';
import {
  beginSession,
  endSession,
  mementoOf,
  resumeSession,
  type SessionBegun,
} from '../engine/sessions/session-commands.js';
import { clientRef } from '../engine/sessions/session-items.js';
import { checkName, checkOwnName } from '../engine/state/names.js';
import type { Reply } from '../engine/state/repetition.js';
import { isFree, ownerOf } from '../engine/subject.js';
import { awaitMinRevision, idempotencyOf, poolHeaders, send, sendWritten, shaped } from './answers.js';
import { type Call, Route } from './route.js';
import * as schema from './sessions.schema.js';
import { neededSession } from './writer.js';

const SESSIONS = '/v1/pools/:pool/sessions';
export const SESSION = `${SESSIONS}/:session`;

@Controller()
export class SessionsController {
  constructor(@Inject(Engine) private readonly engine: Engine) {}

  @Route({
    method: 'POST',
    path: SESSIONS,
    operationId: 'createSession',
    tag: 'sessions',
    summary: 'Begin a session',
    description:
      'A session is a lease: it lives while it is renewed, by `renew`, by requests that name it in `Stargus-Session: <session>;epoch=<n>`, or by an open stream. ' +
      'When it ends its presence, attachments and locks go in one commit. A name that lives is 409 `conflict`.',
    body: { schema: schema.sessionBody, optional: true },
    headers: ['Idempotency-Key', 'Prefer'],
    answers: { 201: { description: 'The new session.', schema: schema.begunSession } },
  })
  async create(call: Call<unknown, z.output<typeof schema.sessionBody>>): Promise<void> {
    const pool = checkOwnName('pool', call.params.pool as string);
    const { name, ttlMs, meta } = call.body;
    if (name !== undefined) checkOwnName('session', name);
    const { subject } = call;
    const address = addressOf(call);
    const shape = shaped(call, shapeOf(pool));
    const command = beginSession({ subject, id: uuidv7(), name, ttlMs, meta, address, locks: call.writer?.locks });
    sendWritten(call, await this.engine.committer.submit(pool, command, idempotencyOf(call, shape)), shape);
    this.#renewNamed(call, pool);
  }

  @Route({
    method: 'PUT',
    path: SESSION,
    operationId: 'resumeSession',
    tag: 'sessions',
    summary: 'Resume a named session, or begin it',
    description:
      'The epoch rises: whoever still speaks for the session under an older one is refused with `sessionFenced`, and the locks that it holds get new fences. ' +
      'The answer comes when every earlier request of the session has settled, with its last sequence and its memento; these are also kept for some days after its lease ran out.',
    body: { schema: schema.resumeBody, optional: true },
    headers: ['Idempotency-Key', 'Prefer'],
    answers: {
      200: { description: 'Resumed.', schema: schema.begunSession },
      201: { description: 'There was none; it has begun.', schema: schema.begunSession },
    },
  })
  async resume(call: Call<unknown, z.output<typeof schema.resumeBody>>): Promise<void> {
    const pool = checkOwnName('pool', call.params.pool as string);
    const name = checkOwnName('session', call.params.session as string);
    const { ttlMs, meta } = call.body;
    const { subject } = call;
    const shape = shaped(call, shapeOf(pool));
    const command = resumeSession({
      ...{ subject, id: uuidv7(), name, ttlMs, meta },
      ...{ address: addressOf(call), locks: call.writer?.locks },
    });
    sendWritten(call, await this.engine.committer.submit(pool, command, idempotencyOf(call, shape)), shape);
    this.#renewNamed(call, pool);
  }

  /** Who begins or resumes a session may name one that is over, or was until now: that is no reason to refuse it. */
  #renewNamed({ writer, subject }: Call, pool: string): void {
    if (writer?.session) void this.engine.leases.touch(pool, writer.session, subject).catch(() => undefined);
  }

  @Route({
    method: 'GET',
    path: SESSION,
    operationId: 'getSession',
    tag: 'sessions',
    summary: 'Read a session',
    description: 'By its id or its name. The system collection `_clients` has all of them.',
    headers: ['Stargus-Min-Revision'],
    answers: { 200: { description: 'The session.', schema: schema.shownSession } },
  })
  async get(call: Call): Promise<void> {
    const pool = checkName('pool', call.params.pool as string);
    await awaitMinRevision(call, this.engine.reader, pool);
    const { session, now } = await this.engine.leases.find(pool, call.params.session as string);
    const isOwn = () => session.subject === ownerOf(call.subject);
    const { replica, revision, state } = await this.engine.entitled.stored(
      pool,
      clientRef(session.id),
      call.subject,
      isOwn,
    );
    if (!state && !isOwn() && !isFree(call.subject)) throw noSession(call.params.session as string);
    const { id, name, epoch, ttlMs, lastSequence, subject } = session;
    const { since, address, meta } = state?.attributes ?? {};
    const expiresInMs = session.expiresAt - now;
    send(call, {
      status: 200,
      headers: poolHeaders(replica.epoch, revision),
      body: JSON.stringify({
        ...{ session: id, name, epoch, expiresInMs, ttlMs, lastSequence },
        ...{ subject, since, address, meta },
      }),
    });
  }

  @Route({
    method: 'DELETE',
    path: SESSION,
    operationId: 'deleteSession',
    tag: 'sessions',
    summary: 'End a session',
    description: 'Its presence, attachments and locks go in the same commit; its sequence and memento are forgotten.',
    headers: ['Idempotency-Key', 'Prefer', 'Stargus-Session'],
    answers: { 200: { description: 'There is no such session now.', schema: schema.endedSession } },
  })
  async remove(call: Call): Promise<void> {
    const pool = checkOwnName('pool', call.params.pool as string);
    const { subject, params, writer } = call;
    const ref = neededSession(writer);
    const command = endSession({ subject, path: params.session as string, ref, locks: writer?.locks });
    const shape = shaped(
      call,
      (answer: { epoch: string; revision: number; session: string; existed: boolean }): Reply => ({
        status: 200,
        headers: poolHeaders(answer.epoch, answer.revision),
        body: JSON.stringify({ session: answer.session, revision: answer.revision, existed: answer.existed }),
      }),
    );
    sendWritten(call, await this.engine.committer.submit(pool, command, idempotencyOf(call, shape)), shape);
  }

  @Route({
    method: 'POST',
    path: `${SESSION}/renew`,
    operationId: 'renewSession',
    tag: 'sessions',
    summary: 'Renew a session’s lease',
    description: 'No commit: the pool’s revision stays.',
    body: { schema: schema.renewBody, optional: true },
    headers: ['Stargus-Session'],
    answers: { 200: { description: 'The lease begins anew.', schema: schema.renewedSession } },
  })
  async renew(call: Call): Promise<void> {
    const pool = checkName('pool', call.params.pool as string);
    const ref = neededSession(call.writer);
    const { leases, replicas } = this.engine;
    const { id, epoch, ttlMs } = await leases.renew(pool, call.params.session as string, ref, call.subject);
    const known = replicas.known(pool);
    send(call, {
      status: 200,
      headers: known ? poolHeaders(known.epoch, known.revision) : {},
      body: JSON.stringify({ session: id, epoch, expiresInMs: ttlMs }),
    });
  }
}

function shapeOf(pool: string): (answer: SessionBegun) => Reply {
  return ({ epoch, revision, session, created }) => ({
    status: created ? 201 : 200,
    headers: {
      ...poolHeaders(epoch, revision),
      ...(created && { location: `/v1/pools/${pool}/sessions/${session.id}` }),
    },
    body: JSON.stringify({
      session: session.id,
      name: session.name,
      epoch: session.epoch,
      expiresInMs: session.ttlMs,
      ttlMs: session.ttlMs,
      lastSequence: session.lastSequence,
      memento: mementoOf(session),
      revision,
    }),
  });
}

function addressOf({ request }: Call): string {
  return request.ip;
}
