/** The queues of sessions over HTTP: reading, taking, acknowledging, and managing them. */
import { Controller, Inject } from '@nestjs/common';
import type { z } from 'zod';
import { Engine } from '../engine/engine.js';
import { Problem } from '../engine/errors.js';
import { limits } from '../engine/limits.js';
import { findQueue } from '../engine/queues/addressing.js';
import {
  acknowledge,
  type Done,
  dropEntries,
  type Edited,
  editEntry,
  noEntry,
  pushBack,
  type QueueAnswer,
  type QueueAsking,
  removeQueue,
  setOptions,
  type Taken,
  takeEntries,
} from '../engine/queues/queue-commands.js';
import {
  deliveryRef,
  entryOf,
  entryPrefix,
  entryRange,
  type Head,
  headOf,
  headRef,
  placeOf,
  QUEUES,
  type QueueRef,
  queueId,
} from '../engine/queues/queue-items.js';
import { formatCursor } from '../engine/state/cursor.js';
import type { ItemState } from '../engine/state/model.js';
import { checkName, checkOwnName } from '../engine/state/names.js';
import type { Reading } from '../engine/state/reader.js';
import type { Reply } from '../engine/state/repetition.js';
import { ownerOf, type Subject, system } from '../engine/subject.js';
import type { Asker } from '../engine/watch/watching.js';
import {
  awaitMinRevision,
  etag,
  idempotencyOf,
  poolHeaders,
  preconditionsOf,
  send,
  sendWritten,
  shaped,
} from './answers.js';
import { askerOf } from './asker.js';
import { nameToken, readPageToken } from './page-token.js';
import * as schema from './queues.schema.js';
import { type Call, Route } from './route.js';
import { SESSION } from './sessions.controller.js';

const QUEUE = `${SESSION}/queue`;
const ENTRY = `${QUEUE}/:delivery`;

type OwnerQuery = z.output<typeof schema.ownerQuery>;

@Controller()
export class QueuesController {
  constructor(@Inject(Engine) private readonly engine: Engine) {}

  @Route({
    method: 'GET',
    path: QUEUE,
    operationId: 'getQueue',
    tag: 'queues',
    summary: 'Read the queue of a session',
    description:
      'What notifiers delivered to the session’s name and nobody has acknowledged, oldest first, and how the queue is kept. Reading takes nothing. The queue is there whether or not the session lives.',
    query: schema.queueQuery,
    headers: ['Stargus-Min-Revision'],
    answers: { 200: { description: 'A page of the queue.', schema: schema.queuePage } },
  })
  async get(call: Call<z.output<typeof schema.queueQuery>>): Promise<void> {
    const { limit = limits.pageItemsDefault, pageToken, waitMs = 0 } = call.query;
    const deadline = deadlineOf(waitMs, call.subject);
    const { pool, queue } = await this.#read(call);
    const asker = askerOf(call);
    const query = ['queue', pool, queueId(queue)];
    const after = readPageToken(pageToken, query)?.key;
    for (;;) {
      const page = await this.#page(pool, queue, after, limit, call.subject);
      const leftMs = Math.ceil(deadline - performance.now());
      if (page.entries.length === 0 && leftMs > 0 && !asker.gone) {
        await this.#awaitChange(pool, queue, page, leftMs, asker);
        if (call.isRevoked(call.subject)) throw revoked();
        continue;
      }
      const { entries, head, revision, replica, more } = page;
      const nextPageToken = more ? nameToken(query, entries.at(-1)?.key as string) : undefined;
      const body = {
        ...factsOf(queue, head, revision),
        entries: entries.map(({ state }) => shown(state)),
        cursor: formatCursor(replica.epoch, revision),
        nextPageToken,
      };
      return send(call, { status: 200, headers: poolHeaders(replica.epoch, revision), body: JSON.stringify(body) });
    }
  }

  @Route({
    method: 'PUT',
    path: QUEUE,
    operationId: 'putQueue',
    tag: 'queues',
    summary: 'Say how the queue of a session is kept',
    description:
      'What isn’t said is as if it had never been. Entries that are there stay, until something is delivered.',
    query: schema.ownerQuery,
    body: { schema: schema.optionsBody },
    headers: ['Idempotency-Key', 'Prefer'],
    answers: { 200: { description: 'The queue as it is now.', schema: schema.queue } },
  })
  async put(call: Call<OwnerQuery, z.output<typeof schema.optionsBody>>): Promise<void> {
    const { pool, ...asking } = await this.#asking(call);
    const shape = shaped(call, ({ head, epoch, revision }: QueueAnswer): Reply => {
      const body = JSON.stringify(factsOf(asking.queue, head, revision));
      return { status: 200, headers: poolHeaders(epoch, revision), body };
    });
    const command = setOptions({ ...asking, options: call.body });
    sendWritten(call, await this.engine.committer.submit(pool, command, idempotencyOf(call, shape)), shape);
  }

  @Route({
    method: 'DELETE',
    path: QUEUE,
    operationId: 'deleteQueue',
    tag: 'queues',
    summary: 'Do away with the queue of a session',
    description: 'All that is in it is dropped. What is delivered later makes a new one.',
    query: schema.ownerQuery,
    headers: ['Idempotency-Key', 'Prefer'],
    answers: { 200: { description: 'There is no such queue now.', schema: schema.removed } },
  })
  async remove(call: Call<OwnerQuery>): Promise<void> {
    const { pool, ...asking } = await this.#asking(call);
    const { session } = asking.queue;
    const shape = shaped(
      call,
      (answer: { epoch: string; revision: number; existed: boolean; dropped: number }): Reply => ({
        status: 200,
        headers: poolHeaders(answer.epoch, answer.revision),
        body: JSON.stringify({
          ...{ session, existed: answer.existed, dropped: answer.dropped, revision: answer.revision },
        }),
      }),
    );
    sendWritten(call, await this.engine.committer.submit(pool, removeQueue(asking), idempotencyOf(call, shape)), shape);
  }

  @Route({
    method: 'POST',
    path: `${QUEUE}/take`,
    operationId: 'takeQueueEntries',
    tag: 'queues',
    summary: 'Take entries of the queue, for oneself alone for a time',
    description:
      'The oldest that nobody has. Of several who take at once no two get the same entry, on any node. What isn’t acknowledged in `holdMs` can be taken by others; so it can when the session ends or is resumed that is named in Stargus-Session. With `waitMs` the answer comes when there is something to take.',
    query: schema.ownerQuery,
    body: { schema: schema.takeBody, optional: true },
    headers: ['Idempotency-Key', 'Stargus-Session'],
    answers: { 200: { description: 'The entries.', schema: schema.takenEntries } },
  })
  async take(call: Call<OwnerQuery, z.output<typeof schema.takeBody>>): Promise<void> {
    const { pool, ...asking } = await this.#asking(call);
    const { limit = 1, holdMs = limits.queueHoldMsDefault, waitMs = 0 } = call.body;
    const deadline = deadlineOf(waitMs, call.subject);
    const asker = askerOf(call);
    const shape = ({ entries, epoch, revision }: Taken): Reply => {
      const body = { session: asking.queue.session, entries: entries.map(shown), revision };
      return { status: 200, headers: poolHeaders(epoch, revision), body: JSON.stringify(body) };
    };
    const repeatable = idempotencyOf(call, shape);
    // Under a key there is one answer, so that an early look would use it up.
    let isLooking = repeatable === undefined || waitMs === 0;
    for (;;) {
      const leftMs = Math.ceil(deadline - performance.now());
      let seen = await this.engine.reader.item(pool, headRef(asking.queue));
      if (isLooking || leftMs <= 0 || hasFree(seen.state)) {
        isLooking = false;
        if (call.isRevoked(call.subject)) throw revoked();
        // Who has left would hold what nobody works on.
        if (asker.gone) return;
        const submitted = await this.engine.committer.submit(
          pool,
          takeEntries({ ...asking, limit, holdMs }),
          repeatable,
        );
        const isEmpty = !submitted.replayed && submitted.answer.entries.length === 0;
        if (!isEmpty || leftMs <= 0 || repeatable) return sendWritten(call, submitted, shape);
        seen = { ...seen, revision: submitted.answer.revision };
      }
      await this.#awaitChange(pool, asking.queue, seen, leftMs, asker);
    }
  }

  @Route({
    method: 'POST',
    path: `${QUEUE}/ack`,
    operationId: 'ackQueueEntries',
    tag: 'queues',
    summary: 'Acknowledge entries of the queue',
    description:
      'They are done with and leave the queue, whoever holds them. To repeat it does no harm: what isn’t there is `missing`. In a batch the op `ack` does the same together with what is written, and is refused where an entry is missing.',
    query: schema.ownerQuery,
    body: { schema: schema.deliveriesBody },
    headers: ['Idempotency-Key', 'Prefer'],
    answers: { 200: { description: 'None of them is in the queue now.', schema: schema.acked } },
  })
  async ack(call: Call<OwnerQuery, z.output<typeof schema.deliveriesBody>>): Promise<void> {
    const { pool, ...asking } = await this.#asking(call);
    const shape = shaped(call, shapeOf('acked'));
    const command = acknowledge({ ...asking, deliveries: call.body.deliveries });
    sendWritten(call, await this.engine.committer.submit(pool, command, idempotencyOf(call, shape)), shape);
  }

  @Route({
    method: 'POST',
    path: `${QUEUE}/pushBack`,
    operationId: 'pushBackQueueEntries',
    tag: 'queues',
    summary: 'Give taken entries back to the queue',
    description: 'They can be taken by anybody at once, in their places.',
    query: schema.ownerQuery,
    body: { schema: schema.deliveriesBody },
    headers: ['Idempotency-Key', 'Prefer'],
    answers: { 200: { description: 'Nobody holds any of them now.', schema: schema.pushedBack } },
  })
  async pushBack(call: Call<OwnerQuery, z.output<typeof schema.deliveriesBody>>): Promise<void> {
    const { pool, ...asking } = await this.#asking(call);
    const shape = shaped(call, shapeOf('freed'));
    const command = pushBack({ ...asking, deliveries: call.body.deliveries });
    sendWritten(call, await this.engine.committer.submit(pool, command, idempotencyOf(call, shape)), shape);
  }

  @Route({
    method: 'POST',
    path: `${QUEUE}/drop`,
    operationId: 'dropQueueEntries',
    tag: 'queues',
    summary: 'Drop entries of the queue',
    description:
      'The oldest, duplicates, or those that are named: what the owner doesn’t want. They don’t count as lost.',
    query: schema.ownerQuery,
    body: { schema: schema.dropBody },
    headers: ['Idempotency-Key', 'Prefer'],
    answers: { 200: { description: 'They are not in the queue now.', schema: schema.dropped } },
  })
  async drop(call: Call<OwnerQuery, z.output<typeof schema.dropBody>>): Promise<void> {
    const { pool, ...asking } = await this.#asking(call);
    const { oldest = 0, duplicates = false, deliveries = [] } = call.body;
    if (oldest === 0 && !duplicates && deliveries.length === 0)
      throw new Problem('badRequest', 'Say what is to be dropped: `oldest`, `duplicates` or `deliveries`.');
    const shape = shaped(call, shapeOf('dropped'));
    const command = dropEntries({ ...asking, oldest, duplicates, deliveries });
    sendWritten(call, await this.engine.committer.submit(pool, command, idempotencyOf(call, shape)), shape);
  }

  @Route({
    method: 'GET',
    path: ENTRY,
    operationId: 'getQueueEntry',
    tag: 'queues',
    summary: 'Read one entry of the queue',
    query: schema.ownerQuery,
    headers: ['Stargus-Min-Revision'],
    answers: { 200: { description: 'The entry.', schema: schema.entry, headers: ['ETag'] } },
  })
  async getEntry(call: Call<OwnerQuery>): Promise<void> {
    const { pool, queue } = await this.#read(call);
    const delivery = call.params.delivery as string;
    const at = deliveryRef(queue, delivery);
    const { subject } = call;
    const found = await this.engine.entitled.stored(pool, at ?? headRef(queue), subject, isOwn(subject));
    const { replica, revision, state } = found;
    const headers = poolHeaders(replica.epoch, revision);
    if (!at || !state) {
      call.reply.headers(headers);
      throw noEntry(delivery);
    }
    const body = JSON.stringify(shown(state));
    send(call, { status: 200, headers: { ...headers, etag: etag(state.revision) }, body });
  }

  @Route({
    method: 'PATCH',
    path: ENTRY,
    operationId: 'patchQueueEntry',
    tag: 'queues',
    summary: 'Put another event in place of an entry’s',
    description: 'It keeps its place, and whoever holds it goes on holding it.',
    query: schema.ownerQuery,
    body: { schema: schema.entryChange },
    headers: ['If-Match', 'Idempotency-Key', 'Prefer'],
    answers: { 200: { description: 'The entry as it is now.', schema: schema.entry, headers: ['ETag'] } },
  })
  async patchEntry(call: Call<OwnerQuery, z.output<typeof schema.entryChange>>): Promise<void> {
    const { pool, ...asking } = await this.#asking(call);
    const shape = shaped(call, ({ entry, epoch, revision }: Edited): Reply => {
      const headers = { ...poolHeaders(epoch, revision), etag: etag(entry.revision) };
      return { status: 200, headers, body: JSON.stringify(shown(entry)) };
    });
    const command = editEntry({
      ...asking,
      delivery: call.params.delivery as string,
      event: call.body.event,
      preconditions: preconditionsOf(call.request),
    });
    sendWritten(call, await this.engine.committer.submit(pool, command, idempotencyOf(call, shape)), shape);
  }

  async #asking(call: Call<OwnerQuery>): Promise<QueueAsking & { readonly pool: string }> {
    const pool = checkOwnName('pool', call.params.pool as string);
    return { pool, subject: call.subject, writer: call.writer, queue: await this.#queue(call, pool) };
  }

  async #read(call: Call<OwnerQuery>): Promise<{ readonly pool: string; readonly queue: QueueRef }> {
    const pool = checkName('pool', call.params.pool as string);
    await awaitMinRevision(call, this.engine.reader, pool);
    return { pool, queue: await this.#queue(call, pool) };
  }

  #queue({ params, query, subject }: Call<OwnerQuery>, pool: string): Promise<QueueRef> {
    return findQueue(this.engine, pool, params.session as string, query.owner ?? ownerOf(subject));
  }

  /** A page of entries and the head, as of one revision but for pages after the first. */
  async #page(pool: string, queue: QueueRef, after: string | undefined, limit: number, subject: Subject) {
    const range = entryRange(queue);
    // The head's key comes just before those of its entries.
    const isFirst = after === undefined;
    const request = isFirst ? { ...range, start: headRef(queue).key, limit: limit + 1 } : { ...range, after, limit };
    const page = await this.engine.entitled.page(pool, QUEUES, request, subject, isOwn(subject));
    const all = page.items.filter(({ key }) => placeOf(key).isEntry);
    const found = isFirst
      ? page.items.find(({ key }) => !placeOf(key).isEntry)?.state
      : (await this.engine.entitled.stored(pool, headRef(queue), subject, isOwn(subject))).state;
    const entries = all.slice(0, limit);
    const { replica, revision } = page;
    return { replica, revision, entries, head: found && headOf(found), more: page.more || all.length > limit };
  }

  /** Returns when something became of the queue after what was seen, or the time is over, or the asker has left. */
  async #awaitChange(
    pool: string,
    queue: QueueRef,
    { replica, revision }: Reading,
    waitMs: number,
    asker: Asker,
  ): Promise<void> {
    const view = { collection: QUEUES, prefix: entryPrefix(queue), values: 'none' as const };
    const since = formatCursor(replica.epoch, revision);
    try {
      await this.engine.watching.changes(pool, { view, subject: system, since, limit: 1, waitMs }, asker);
    } catch (error) {
      // The log was cut meanwhile: whether something came is seen by looking again.
      if (!(error instanceof Problem) || error.code !== 'cursorExpired') throw error;
    }
  }
}

/** What a subject has in queues it may look at, whatever the policy says of `_queues`. */
function isOwn(subject: Subject): (state: ItemState) => boolean {
  const owner = ownerOf(subject);
  return ({ attributes }) => attributes.owner === owner;
}

/** Until when a request waits, by this process's clock: no longer than its token is good. */
function deadlineOf(waitMs: number, { expiresAt = Number.POSITIVE_INFINITY }: Subject): number {
  return performance.now() + Math.min(waitMs, expiresAt - Date.now());
}

function hasFree(state: ItemState | undefined): boolean {
  if (!state) return false;
  const { entries, held } = headOf(state);
  return entries > held;
}

function revoked(): Problem {
  return new Problem('unauthenticated', 'The token was revoked.');
}

function shapeOf(member: 'acked' | 'freed' | 'dropped'): (answer: Done) => Reply {
  return ({ count, missing, epoch, revision }) => ({
    status: 200,
    headers: poolHeaders(epoch, revision),
    body: JSON.stringify({ [member]: count, missing, revision }),
  });
}

/** A queue as it is answered; one that isn't there is empty. */
function factsOf({ session }: QueueRef, head: Head | undefined, revision: number): object {
  const { entries: count = 0, held = 0, bytes = 0, dropped = 0 } = head ?? {};
  return {
    ...{ session, count, held, bytes, dropped },
    overflow: head?.overflow ?? 'dropOldest',
    dropDuplicates: head?.dropDuplicates ?? false,
    entriesMax: head?.entriesMax ?? limits.queueEntriesMax,
    keepMs: head?.keepMs ?? limits.queueKeepMsDefault,
    revision,
  };
}

/** An entry as it is answered. */
function shown(state: ItemState): object {
  const { delivery, notifier, event, about, enqueuedAt, editedAt, keptUntil, takes, heldUntil, heldBy } =
    entryOf(state);
  return {
    ...{ delivery, notifier, event, about, enqueuedAt, editedAt, keptUntil, takes, heldUntil, heldBy },
    revision: state.revision,
  };
}
