/** What all calls on items have in common: where they are, how they are read and written, and when nothing is new. */
import { Inject, Injectable } from '@nestjs/common';
import { shown } from '../engine/dictionary/showing.js';
import { Engine } from '../engine/engine.js';
import { Problem } from '../engine/errors.js';
import { type WriteAnswer, writeItems } from '../engine/state/item-commands.js';
import type { ItemState } from '../engine/state/model.js';
import { checkItemKey, checkName, checkOwnName, checkWritableCollection } from '../engine/state/names.js';
import type { Action } from '../engine/state/operations.js';
import { checkPreconditions, tagsMatch } from '../engine/state/preconditions.js';
import type { Reply } from '../engine/state/repetition.js';
import { awaitMinRevision, etag, idempotencyOf, poolHeaders, preconditionsOf, sendWritten, shaped } from './answers.js';
import { rawBody } from './body.js';
import type { Call } from './route.js';

export const ITEMS = '/v1/pools/:pool/collections/:collection/items';
export const ITEM = `${ITEMS}/:key`;
/** The headers that a write of one item takes. */
export const CONDITIONAL = ['If-Match', 'If-None-Match', 'Idempotency-Key', 'Prefer'] as const;

export type WriteShape = (answer: WriteAnswer) => Reply;

/** An item as who asks sees it, and since when they see it so. */
export interface ReadItem {
  readonly state: ItemState;
  readonly policySince: number;
}

@Injectable()
export class ItemCalls {
  constructor(@Inject(Engine) private readonly engine: Engine) {}

  async write(call: Call, key: string, action: Action, plainShape: WriteShape, attribute?: string): Promise<void> {
    const { pool, collection } = writePlace(call);
    const shape = shaped(call, plainShape);
    const preconditions = preconditionsOf(call.request);
    const command = writeItems({
      subject: call.subject,
      writer: call.writer,
      isForced: (call.query as { force?: boolean } | undefined)?.force,
      bytes: rawBody(call.request).length + 256,
      ops: [
        {
          collection,
          key,
          action,
          ...(preconditions && { preconditions }),
          ...(attribute !== undefined && { attribute }),
        },
      ],
    });
    sendWritten(call, await this.engine.committer.submit(pool, command, idempotencyOf(call, shape)), shape);
  }

  /** Reads an item, as who asks sees it, and sets the headers that tell of the state it was read from. */
  async read(call: Call, pool: string, collection: string, key: string): Promise<ReadItem | undefined> {
    await awaitMinRevision(call, this.engine.reader, pool);
    // What is remembered is there at once: a turn of the loop's queue for nothing would show in the rate of small reads.
    const found = this.engine.entitled.item(pool, { collection, key }, call.subject);
    const { replica, revision, item, policySince } = found instanceof Promise ? await found : found;
    const said = this.engine.definitionOf(replica, collection);
    const { onRead } = said instanceof Promise ? await said : said;
    call.reply.header('stargus-revision', String(revision)).header('stargus-cursor', `${replica.epoch}-${revision}`);
    return item && { state: shown(item.state, onRead, item.shows), policySince };
  }
}

/** Judges the conditions of a read; answers 304 and says so when nothing is new. */
export function isUnmodified(call: Call, { state, policySince }: ReadItem): boolean {
  const conditions = preconditionsOf(call.request);
  if (!conditions) return false;
  checkPreconditions({ ifMatch: conditions.ifMatch }, state.revision);
  if (!conditions.ifNoneMatch || !tagsMatch(conditions.ifNoneMatch, state.revision)) return false;
  // Under a policy that came after it, it is seen otherwise.
  if (policySince > state.revision) return false;
  call.reply.code(304).header('etag', etag(state.revision)).send();
  return true;
}

export function readPlace({ params }: Call): { pool: string; collection: string; key: string | undefined } {
  const key = params.key;
  return {
    pool: checkName('pool', params.pool as string),
    collection: checkName('collection', params.collection as string),
    key: key === undefined ? undefined : checkItemKey(key),
  };
}

export function writePlace({ params }: Call): { pool: string; collection: string } {
  return {
    pool: checkOwnName('pool', params.pool as string),
    collection: checkWritableCollection(params.collection as string),
  };
}

/** Of a call on a collection itself: only the application's own come and go. */
export function ownPlace({ params }: Call): { pool: string; collection: string } {
  return {
    pool: checkOwnName('pool', params.pool as string),
    collection: checkOwnName('collection', params.collection as string),
  };
}

export function writeKey({ params }: Call): string {
  return checkItemKey(params.key as string);
}

export function missing(collection: string, key: string, attribute?: string): Problem {
  const what = attribute === undefined ? '' : `attribute ${JSON.stringify(attribute)} of the `;
  return new Problem(
    'notFound',
    `There is no ${what}item ${JSON.stringify(key)} in the collection ${JSON.stringify(collection)}.`,
  );
}

export function writeHeaders({ results: [result], ...settled }: WriteAnswer): Record<string, string> {
  const headers = poolHeaders(settled.epoch, settled.revision);
  if (result?.item) headers.etag = etag(result.item.revision);
  return headers;
}
