/** What a session has attached, over HTTP, and its one stream of events. */
import { Controller, Inject } from '@nestjs/common';
import type { z } from 'zod';
import { Engine } from '../engine/engine.js';
import { Problem } from '../engine/errors.js';
import { limits } from '../engine/limits.js';
import type { StoredSession } from '../engine/ports.js';
import { parseFilter } from '../engine/query/filter.js';
import { type Attached, type AttachmentRequest, attach, detach } from '../engine/sessions/attachments.js';
import { checkNamed } from '../engine/sessions/session-commands.js';
import { ATTACHMENTS, attachmentPrefix, attachmentRef } from '../engine/sessions/session-items.js';
import { checkOwner } from '../engine/sessions/session-states.js';
import { rangeOf } from '../engine/state/key-order.js';
import type { ItemState } from '../engine/state/model.js';
import { checkName, checkOwnName } from '../engine/state/names.js';
import type { Reply } from '../engine/state/repetition.js';
import type { Subject } from '../engine/subject.js';
import { awaitMinRevision, idempotencyOf, poolHeaders, send, sendWritten, shaped } from './answers.js';
import * as schema from './attachments.schema.js';
import { events } from './changes.schema.js';
import { type Call, Route } from './route.js';
import { SESSION } from './sessions.controller.js';
import { serveStream, startOf } from './sse.js';
import { checkFields, checkItems, checkKeptRange } from './views.js';

const ATTACHMENT = `${SESSION}/attachments/:view`;

@Controller()
export class AttachmentsController {
  constructor(@Inject(Engine) private readonly engine: Engine) {}

  @Route({
    method: 'PUT',
    path: ATTACHMENT,
    operationId: 'putAttachment',
    tag: 'sessions',
    summary: 'Attach a view to a session',
    description: `The session’s stream tells its snapshot, then every change, under the view’s name; if it was attached differently before, the new snapshot takes the place of the old one. It stays for as long as the session, whatever becomes of connections. At most ${limits.attachmentsPerSessionMax} for a session.`,
    body: { schema: schema.attachmentBody },
    headers: ['Idempotency-Key', 'Prefer'],
    answers: {
      200: { description: 'It was attached before, and is so now.', schema: schema.attachment },
      201: { description: 'Attached.', schema: schema.attachment },
    },
  })
  async put(call: Call<unknown, z.output<typeof schema.attachmentBody>>): Promise<void> {
    const { pool, ...place } = placeOf(call);
    const attachment = checkAttachment(call.body);
    await this.#bringUp(pool, attachment.collection, call.subject);
    const shape = shaped(call, ({ created, item, epoch, revision }: Attached): Reply => {
      const headers = poolHeaders(epoch, revision);
      if (created) headers.location = attachmentPath(pool, item);
      return { status: created ? 201 : 200, headers, body: JSON.stringify(shown(item)) };
    });
    const command = attach({ ...place, attachment });
    sendWritten(call, await this.engine.committer.submit(pool, command, idempotencyOf(call, shape)), shape);
  }

  @Route({
    method: 'DELETE',
    path: ATTACHMENT,
    operationId: 'deleteAttachment',
    tag: 'sessions',
    summary: 'Detach a view from a session',
    headers: ['Idempotency-Key', 'Prefer'],
    answers: { 200: { description: 'There is no such attachment now.', schema: schema.detached } },
  })
  async remove(call: Call): Promise<void> {
    const { pool, ...place } = placeOf(call);
    const shape = shaped(
      call,
      (answer: { epoch: string; revision: number; existed: boolean }): Reply => ({
        status: 200,
        headers: poolHeaders(answer.epoch, answer.revision),
        body: JSON.stringify({ view: place.view, revision: answer.revision, existed: answer.existed }),
      }),
    );
    sendWritten(call, await this.engine.committer.submit(pool, detach(place), idempotencyOf(call, shape)), shape);
  }

  @Route({
    method: 'GET',
    path: `${SESSION}/attachments`,
    operationId: 'listAttachments',
    tag: 'sessions',
    summary: 'List what a session has attached',
    headers: ['Stargus-Min-Revision'],
    answers: { 200: { description: 'All of it.', schema: schema.attachments } },
  })
  async list(call: Call): Promise<void> {
    const { pool, session } = await this.#session(call);
    const range = rangeOf({ prefix: attachmentPrefix(session.id) });
    const page = await this.engine.reader.page(pool, ATTACHMENTS, { ...range, limit: limits.attachmentsPerSessionMax });
    send(call, {
      status: 200,
      headers: poolHeaders(page.replica.epoch, page.revision),
      body: JSON.stringify({ attachments: page.items.map(({ state }) => shown(state)), revision: page.revision }),
    });
  }

  @Route({
    method: 'GET',
    path: ATTACHMENT,
    operationId: 'getAttachment',
    tag: 'sessions',
    summary: 'Read one attachment of a session',
    headers: ['Stargus-Min-Revision'],
    answers: { 200: { description: 'The attachment.', schema: schema.attachment } },
  })
  async get(call: Call): Promise<void> {
    const view = checkName('view', call.params.view as string);
    const { pool, session } = await this.#session(call);
    const { replica, revision, state } = await this.engine.reader.item(pool, attachmentRef(session.id, view));
    call.reply.headers(poolHeaders(replica.epoch, revision));
    if (!state) throw new Problem('notFound', `The session has no attachment ${JSON.stringify(view)}.`);
    send(call, { status: 200, headers: {}, body: JSON.stringify(shown(state)) });
  }

  @Route({
    method: 'GET',
    path: `${SESSION}/events`,
    operationId: 'streamSession',
    tag: 'sessions',
    summary: 'Be told of everything that a session has attached',
    description:
      'One stream for all views of the session: `hello`, then for each view `snapshot` (in parts) and `live`, then `changes` for each commit, in which each change names its `view`; `lock` for news of the session’s locks, `policy` where an attachment with `onDenied: event` is hidden whole or seen again, and `bookmark`, `reset`, `problem` and `bye` as on `attach`. ' +
      'Views that are attached or detached meanwhile come and go in their place in the order of commits. One `Last-Event-ID` resumes all views; no id is sent while the snapshot of any of them is incomplete. ' +
      `As long as it is open it renews the session, unless \`renew=false\`. A session has at most ${limits.sessionStreamsMax} on a node; one more ends the oldest.`,
    query: schema.eventsQuery,
    headers: ['Last-Event-ID', 'Stargus-Min-Revision', 'Stargus-Session'],
    streaming: true,
    answers: { 200: events },
  })
  async stream(call: Call<z.output<typeof schema.eventsQuery>>): Promise<void> {
    const { since, bookmarkMs = limits.bookmarkMsDefault, renew = true } = call.query;
    const { pool, poolId, session } = await this.#session(call);
    const { subject } = call;
    const request = { kind: 'session' as const, subject, session, bookmarkMs, start: startOf(call, since) };
    const opening = await this.engine.watching.open(pool, request);
    const release = renew ? this.engine.leases.hold(poolId, session) : undefined;
    try {
      await serveStream(call, opening);
    } finally {
      release?.();
    }
  }

  /** The collection may be one that is brought up to date when somebody looks who may. */
  async #bringUp(pool: string, collection: string, subject: Subject): Promise<void> {
    if (!(await this.engine.replicas.find(pool))) return;
    const { entitlement } = await this.engine.entitled.entitlement(pool, subject);
    if (entitlement.lens('watch', collection).kind !== 'nothing') await this.engine.reader.current(pool, collection);
  }

  /** The session of the path; where the header names one too, it must be that, in its present epoch. */
  async #session(call: Call): Promise<{ pool: string; poolId: number; session: StoredSession }> {
    const { params, subject, writer } = call;
    const pool = checkName('pool', params.pool as string);
    await awaitMinRevision(call, this.engine.reader, pool);
    const { session, poolId, now } = await this.engine.leases.find(pool, params.session as string);
    checkOwner(session, subject);
    if (writer?.session) checkNamed(session, writer.session, subject, now);
    return { pool, poolId, session };
  }
}

function placeOf({ params, subject, writer }: Call) {
  return {
    pool: checkOwnName('pool', params.pool as string),
    session: params.session as string,
    view: checkOwnName('view', params.view as string),
    subject,
    writer,
  };
}

function checkAttachment({ fields, ...body }: z.output<typeof schema.attachmentBody>): AttachmentRequest {
  checkItems(body, '/');
  checkKeptRange(body);
  if (body.where !== undefined) parseFilter(body.where, '/where');
  return { ...body, ...(fields && { fields: checkFields(fields, '/') }) };
}

function attachmentPath(pool: string, { attributes: { session, view } }: ItemState): string {
  return `/v1/pools/${pool}/sessions/${session}/attachments/${view}`;
}

/** An attachment's item as it is answered. */
function shown({ attributes, revision }: ItemState): object {
  return { ...attributes, revision };
}
