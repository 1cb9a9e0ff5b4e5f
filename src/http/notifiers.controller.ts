/** Notifiers over HTTP: written and read as items of `_notifiers` with how they fare, and what is asked of them beside that. */
import { Controller, Inject } from '@nestjs/common';
import type { z } from 'zod';
import { readableThrough } from '../engine/access/entitled-reader.js';
import { Engine } from '../engine/engine.js';
import { Problem } from '../engine/errors.js';
import { limits } from '../engine/limits.js';
import { NOTIFIERS, parseNotifier } from '../engine/notifiers/notifier.js';
import type { StoredDelivery } from '../engine/notifiers/notifier-store.js';
import { type NotifierFacts, noNotifier } from '../engine/notifiers/notifiers.js';
import { type WriteAnswer, writeItems } from '../engine/state/item-commands.js';
import type { JsonObject } from '../engine/state/json.js';
import type { Attributes, ItemState } from '../engine/state/model.js';
import { checkName, checkOwnName } from '../engine/state/names.js';
import type { Action } from '../engine/state/operations.js';
import type { Reply } from '../engine/state/repetition.js';
import { awaitMinRevision, etag, idempotencyOf, poolHeaders, preconditionsOf, send, sendWritten } from './answers.js';
import { sendSecret } from './auth.controller.js';
import { rawBody } from './body.js';
import { Gate } from './gate.js';
import * as schema from './notifiers.schema.js';
import { nameToken, readPageToken } from './page-token.js';
import { type Call, Route } from './route.js';

const ALL = '/v1/pools/:pool/notifiers';
const ONE = `${ALL}/:notifier`;

@Controller()
export class NotifiersController {
  constructor(
    @Inject(Engine) private readonly engine: Engine,
    @Inject(Gate) private readonly gate: Gate,
  ) {}

  @Route({
    method: 'PUT',
    path: ONE,
    operationId: 'putNotifier',
    tag: 'notifiers',
    summary: 'Make a notifier, or change what it is',
    description: `It delivers what it watches by your rights, whether or not you are connected. The answer that makes it has its \`secret\`, which is never told again. The same definition again changes nothing; another one keeps the secret and the cursor: what wasn’t delivered yet goes on by the new one. At most ${limits.notifiersPerPoolMax} in a pool.`,
    body: { schema: schema.notifierBody },
    headers: ['If-Match', 'If-None-Match', 'Idempotency-Key'],
    answers: {
      200: { description: 'It was there, and is so now.', schema: schema.notifier },
      201: { description: 'Made.', schema: schema.notifier },
    },
  })
  async put(call: Call<unknown, z.output<typeof schema.notifierBody>>): Promise<void> {
    const place = placeOf(call, true);
    const { pool, name } = place;
    // The places at fault are those of this body, not of the item that it becomes.
    const { since: _since, ...said } = call.body;
    parseNotifier(said as JsonObject, '', this.engine.targets);
    const attributes = call.body as unknown as Attributes;
    const shape = ({ results: [result], ...settled }: WriteAnswer): Reply => {
      const item = result?.item as ItemState;
      const isNew = result?.status === 201;
      return {
        status: isNew ? 201 : 200,
        headers: {
          ...{ ...poolHeaders(settled.epoch, settled.revision), etag: etag(item.revision) },
          ...(isNew && { location: `/v1/pools/${pool}/notifiers/${name}` }),
        },
        body: JSON.stringify(shown(name, item, FRESH(settled.epoch, settled.revision))),
      };
    };
    const command = this.#write(call, place, { op: 'put', attributes });
    const submitted = await this.engine.committer.submit(pool, command, idempotencyOf(call, shape));
    if (submitted.replayed) return sendWritten(call, submitted, shape);
    const reply = shape(submitted.answer);
    const { notifiers } = this.engine;
    const body = {
      ...(JSON.parse(reply.body) as object),
      ...(await notifiers.facts(pool, name)),
      ...(reply.status === 201 && { secret: await notifiers.secretOf(pool, name) }),
    };
    sendSecret(call, reply.status, body, reply.headers);
  }

  @Route({
    method: 'GET',
    path: ALL,
    operationId: 'listNotifiers',
    tag: 'notifiers',
    summary: 'List the notifiers of a pool',
    headers: ['Stargus-Min-Revision'],
    answers: { 200: { description: 'All that you may read.', schema: schema.notifiers } },
  })
  async list(call: Call): Promise<void> {
    const pool = checkName('pool', call.params.pool as string);
    await awaitMinRevision(call, this.engine.reader, pool);
    const { entitled, notifiers } = this.engine;
    readableThrough((await entitled.entitlement(pool, call.subject)).entitlement, NOTIFIERS);
    const request = { limit: limits.notifiersPerPoolMax };
    const page = await entitled.page(pool, NOTIFIERS, request, call.subject, () => false);
    const facts = await notifiers.allFacts(pool);
    const headers = poolHeaders(page.replica.epoch, page.revision);
    const all = page.items.map(({ key, state }) =>
      shown(key, state, facts.get(key) ?? FRESH(page.replica.epoch, page.revision)),
    );
    const body = JSON.stringify({ notifiers: all, revision: page.revision, cursor: headers['stargus-cursor'] });
    send(call, { status: 200, headers, body });
  }

  @Route({
    method: 'GET',
    path: ONE,
    operationId: 'getNotifier',
    tag: 'notifiers',
    summary: 'Read a notifier, and how it fares',
    headers: ['Stargus-Min-Revision'],
    answers: { 200: { description: 'The notifier, without its secret.', schema: schema.notifier } },
  })
  async get(call: Call): Promise<void> {
    const { pool, name } = placeOf(call, false);
    const state = await this.#read(call, pool, name);
    await this.#answer(call, pool, name, state);
  }

  @Route({
    method: 'DELETE',
    path: ONE,
    operationId: 'deleteNotifier',
    tag: 'notifiers',
    summary: 'Delete a notifier',
    description: 'With it go its secret and all that was parked. What is being delivered right now may still arrive.',
    headers: ['If-Match', 'Idempotency-Key', 'Prefer'],
    answers: { 200: { description: 'There is no such notifier now.', schema: schema.deletedNotifier } },
  })
  async remove(call: Call): Promise<void> {
    const place = placeOf(call, true);
    const shape = ({ results: [result], ...settled }: WriteAnswer): Reply => ({
      status: 200,
      headers: poolHeaders(settled.epoch, settled.revision),
      body: JSON.stringify({ notifier: place.name, revision: settled.revision, existed: result?.existed ?? false }),
    });
    const command = this.#write(call, place, { op: 'delete' });
    sendWritten(call, await this.engine.committer.submit(place.pool, command, idempotencyOf(call, shape)), shape);
  }

  @Route({
    method: 'POST',
    path: `${ONE}/test`,
    operationId: 'testNotifier',
    tag: 'notifiers',
    summary: 'Send a test event now',
    description:
      'An event of the type `stargus.test`, signed like any other, beside all others and tried once. That the receiver doesn’t take it is no error of this call: see `ok`.',
    body: { schema: schema.emptyBody, optional: true },
    answers: { 200: { description: 'What came back.', schema: schema.testedNotifier } },
  })
  async test(call: Call): Promise<void> {
    const { pool, name } = placeOf(call, true);
    await this.#checkWriter(call, pool, name);
    const { id, outcome } = await this.engine.notifiers.test(pool, name);
    const { ok, status, error, ms } = outcome;
    send(call, {
      status: 200,
      headers: NO_STORE,
      body: JSON.stringify({ event: id, ok, status, error, durationMs: ms }),
    });
  }

  @Route({
    method: 'POST',
    path: `${ONE}/rotateSecret`,
    operationId: 'rotateNotifierSecret',
    tag: 'notifiers',
    summary: 'Replace the secret and the key of a notifier',
    description: 'For a while both sign, so that receivers can change over without losing an event.',
    body: { schema: schema.rotateBody, optional: true },
    answers: { 200: { description: 'The new secret; it is never told again.', schema: schema.rotatedSecret } },
  })
  async rotate(call: Call<unknown, z.output<typeof schema.rotateBody>>): Promise<void> {
    const { pool, name } = placeOf(call, true);
    await this.#checkWriter(call, pool, name);
    const { secret, overlapMs = limits.secretOverlapMsDefault } = call.body;
    const { signer, until } = await this.engine.notifiers.rotate(pool, name, { secret, overlapMs });
    const { request, subject } = call;
    const address = this.gate.addressOf(request);
    this.engine.audit.note({ kind: 'secretRotated', pool, subject: subject.id, address, detail: name });
    const formerUntil = new Date(until).toISOString();
    sendSecret(call, 200, { secret: signer.secret, publicKey: signer.publicKey, formerUntil });
  }

  @Route({
    method: 'POST',
    path: `${ONE}/resume`,
    operationId: 'resumeNotifier',
    tag: 'notifiers',
    summary: 'Go on with a notifier now',
    description:
      'One that waits, is disabled or stopped is active again, and what is to be tried again is tried at once, with all its attempts before it. With `since` it goes on from there: it skips what lies between, or tells it again under the same ids.',
    body: { schema: schema.resumeBody, optional: true },
    answers: { 200: { description: 'The notifier.', schema: schema.notifier } },
  })
  async resume(call: Call<unknown, z.output<typeof schema.resumeBody>>): Promise<void> {
    const { pool, name } = placeOf(call, true);
    await this.#checkWriter(call, pool, name);
    const state = await this.#read(call, pool, name);
    await this.engine.notifiers.resume(pool, name, call.body.since);
    await this.#answer(call, pool, name, state);
  }

  @Route({
    method: 'GET',
    path: `${ONE}/deliveries`,
    operationId: 'listDeliveries',
    tag: 'notifiers',
    summary: 'List what a notifier delivered lately, and what is parked',
    description: `Of those that were taken the last ${limits.deliveriesKept}; parked ones up to ${limits.parkedKept}, for thirty days.`,
    query: schema.deliveriesQuery,
    headers: ['Stargus-Min-Revision'],
    answers: { 200: { description: 'A page of deliveries.', schema: schema.deliveries } },
  })
  async deliveries(call: Call<z.output<typeof schema.deliveriesQuery>>): Promise<void> {
    const { pool, name } = placeOf(call, false);
    await this.#read(call, pool, name);
    const { limit = limits.deliveriesPageDefault, pageToken } = call.query;
    const query = ['deliveries', pool, name];
    const token = readPageToken(pageToken, query)?.key;
    const before = token === undefined ? undefined : Number(token);
    const found = await this.engine.notifiers.deliveries(pool, name, before, limit + 1);
    const page = found.slice(0, limit);
    const last = page.at(-1);
    const more = found.length > limit && last && { nextPageToken: nameToken(query, String(last.serial)) };
    const body = JSON.stringify({ deliveries: page.map(shownDelivery), ...more });
    send(call, { status: 200, headers: NO_STORE, body });
  }

  @Route({
    method: 'POST',
    path: `${ONE}/deliveries/:delivery/redeliver`,
    operationId: 'redeliverEvent',
    tag: 'notifiers',
    summary: 'Try a parked delivery once more, now',
    description: 'The same event under the same id, whatever was delivered after it.',
    body: { schema: schema.emptyBody, optional: true },
    answers: { 200: { description: 'The delivery, as it is now.', schema: schema.delivery } },
  })
  async redeliver(call: Call): Promise<void> {
    const { pool, name } = placeOf(call, true);
    await this.#checkWriter(call, pool, name);
    const { delivery } = call.params;
    const serial = /^\d{1,15}$/.test(delivery as string) ? Number(delivery) : 0;
    const told = await this.engine.notifiers.redeliver(pool, name, serial);
    send(call, { status: 200, headers: NO_STORE, body: JSON.stringify(shownDelivery(told)) });
  }

  #write(call: Call<unknown, unknown>, { name }: Place, action: Action) {
    const preconditions = preconditionsOf(call.request);
    const { subject, writer } = call;
    return writeItems({
      ...{ subject, writer, bytes: rawBody(call.request).length + 256 },
      ops: [{ collection: NOTIFIERS, key: name, action, ...(preconditions && { preconditions }) }],
    });
  }

  /** The notifier's item, if the caller may read it. */
  async #read(call: Call<unknown, unknown>, pool: string, name: string): Promise<ItemState> {
    await awaitMinRevision(call, this.engine.reader, pool);
    const { item } = await this.engine.entitled.item(pool, { collection: NOTIFIERS, key: name }, call.subject);
    if (!item) throw noNotifier(name);
    return item.state;
  }

  /** Refuses who may not write the notifier: what is asked of it is as much as writing it. */
  async #checkWriter(call: Call<unknown, unknown>, pool: string, name: string): Promise<void> {
    const { subject, writer } = call;
    const op = { collection: NOTIFIERS, key: name, action: { op: 'merge' as const, attributes: {} } };
    const command = writeItems({
      ...{ subject, writer, bytes: 256, dryRun: true },
      ops: [{ ...op, preconditions: { ifMatch: '*' } }],
    });
    try {
      await this.engine.committer.submit(pool, command);
    } catch (error) {
      throw error instanceof Problem && error.code === 'preconditionFailed' ? noNotifier(name) : error;
    }
  }

  async #answer(call: Call<unknown, unknown>, pool: string, name: string, state: ItemState): Promise<void> {
    const facts = await this.engine.notifiers.facts(pool, name);
    const { epoch, revision } = await this.engine.reader.current(pool);
    const headers = { ...NO_STORE, ...poolHeaders(epoch, revision), etag: etag(state.revision) };
    send(call, { status: 200, headers, body: JSON.stringify(shown(name, state, facts)) });
  }
}

/** How it fares changes without its revision. */
const NO_STORE = { 'cache-control': 'no-store' };

interface Place {
  readonly pool: string;
  readonly name: string;
}

function placeOf({ params }: Pick<Call, 'params'>, isWrite: boolean): Place {
  const check = isWrite ? checkOwnName : checkName;
  return { pool: check('pool', params.pool as string), name: check('notifier', params.notifier as string) };
}

/** Of one that has just been written. */
function FRESH(epoch: string, revision: number): NotifierFacts {
  return {
    ...{ status: 'active', reason: undefined, cursor: `${epoch}-${revision}`, lag: 0, failures: 0, parked: 0 },
    ...{ nextAttemptInMs: undefined, publicKey: undefined, formerPublicKey: undefined },
  };
}

function shown(name: string, { attributes, revision, createdRevision }: ItemState, facts: NotifierFacts): object {
  return { notifier: name, ...attributes, ...facts, revision, createdRevision };
}

function shownDelivery({ serial, body: _body, createdAt, changedAt, ...delivery }: StoredDelivery): object {
  const timeOf = (time: number) => new Date(time).toISOString();
  return { delivery: String(serial), ...delivery, createdAt: timeOf(createdAt), changedAt: timeOf(changedAt) };
}
