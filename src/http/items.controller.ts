/** Items over HTTP: `/v1/pools/{pool}/collections/{collection}/items…`. */
import { Controller, Inject } from '@nestjs/common';
import { v7 as uuidv7 } from 'uuid';
import type { z } from 'zod';
import { Engine } from '../engine/engine.js';
import { Problem } from '../engine/errors.js';
import { limits } from '../engine/limits.js';
import { parseFilter } from '../engine/query/filter.js';
import { projectionOf } from '../engine/query/request.js';
import { deleteMatching, type OpResult } from '../engine/state/item-commands.js';
import { type JsonObject } from '../engine/state/json.js';
import { rangeOf } from '../engine/state/key-order.js';
import type { ItemState } from '../engine/state/model.js';
import { checkItemKey } from '../engine/state/names.js';
import type { Action } from '../engine/state/operations.js';
import type { Reply } from '../engine/state/repetition.js';
import { etag, idempotencyOf, itemHead, itemPath, poolHeaders, send, sendWritten } from './answers.js';
import { JSON_PATCH_TYPE, MERGE_PATCH_TYPE } from './body.js';
import {
  CONDITIONAL,
  ITEM,
  ITEMS,
  ItemCalls,
  isUnmodified,
  missing,
  readPlace,
  type WriteShape,
  writeHeaders,
  writeKey,
  writePlace,
} from './item-calls.js';
import * as schema from './items.schema.js';
import { type Call, Route } from './route.js';
import { item as itemSchema, writtenItem } from './schemas.js';

type ItemWriteQuery = z.output<typeof schema.itemWriteQuery>;

@Controller()
export class ItemsController {
  constructor(
    @Inject(Engine) private readonly engine: Engine,
    @Inject(ItemCalls) private readonly calls: ItemCalls,
  ) {}

  @Route({
    method: 'POST',
    path: ITEMS,
    operationId: 'createItem',
    tag: 'items',
    summary: 'Create an item',
    description: 'Without `key` the server makes one that orders by time. A key that is taken is 409 `conflict`.',
    query: schema.itemWriteQuery,
    body: { schema: schema.createItemBody },
    headers: ['Idempotency-Key', 'Prefer'],
    answers: { 201: { description: 'The new item; Location leads to it.', schema: writtenItem } },
  })
  async create(call: Call<ItemWriteQuery, z.output<typeof schema.createItemBody>>): Promise<void> {
    const key = checkItemKey(call.body.key ?? uuidv7());
    await this.calls.write(call, key, { op: 'create', attributes: call.body.attributes }, itemShape(call));
  }

  @Route({
    method: 'GET',
    path: ITEM,
    operationId: 'getItem',
    tag: 'items',
    summary: 'Read an item',
    query: schema.itemQuery,
    headers: ['If-Match', 'If-None-Match', 'Stargus-Min-Revision'],
    answers: {
      200: { description: 'The item.', schema: itemSchema },
      304: { description: 'The item is still at the revision of If-None-Match.' },
    },
  })
  async get(call: Call<z.output<typeof schema.itemQuery>>): Promise<void> {
    const { pool, collection, key } = readPlace(call);
    const { fields } = call.query;
    const read = await this.calls.read(call, pool, collection, key as string);
    if (!read) throw missing(collection, key as string);
    const { state } = read;
    if (isUnmodified(call, read)) return;
    call.reply.header('etag', etag(state.revision));
    send(call, {
      status: 200,
      headers: {},
      body: `${itemHead({ collection, key: key as string }, state, fields && projectionOf(fields, '?fields'))}}`,
    });
  }

  @Route({
    method: 'PUT',
    path: ITEM,
    operationId: 'putItem',
    tag: 'items',
    summary: 'Create an item or replace all its attributes',
    description: 'A write that changes nothing commits nothing: it answers with `changed: []` and the item’s revision.',
    query: schema.itemWriteQuery,
    body: { schema: schema.putItemBody },
    headers: CONDITIONAL,
    answers: {
      200: { description: 'Replaced.', schema: writtenItem },
      201: { description: 'Created.', schema: writtenItem },
    },
  })
  put(call: Call<ItemWriteQuery, z.output<typeof schema.putItemBody>>): Promise<void> {
    return this.calls.write(call, writeKey(call), { op: 'put', attributes: call.body.attributes }, itemShape(call));
  }

  @Route({
    method: 'PATCH',
    path: ITEM,
    operationId: 'patchItem',
    tag: 'items',
    summary: 'Change some of an item’s attributes',
    description:
      'A merge patch (RFC 7396, deep; null removes), or with `application/json-patch+json` a JSON Patch (RFC 6902) with paths `/attributes/…`. ' +
      'Creates the item when it is missing, unless `If-Match: *`.',
    query: schema.itemWriteQuery,
    body: {
      schema: schema.putItemBody,
      types: { [MERGE_PATCH_TYPE]: schema.putItemBody, [JSON_PATCH_TYPE]: schema.jsonPatchBody },
    },
    headers: CONDITIONAL,
    answers: {
      200: { description: 'Changed.', schema: writtenItem },
      201: { description: 'Created.', schema: writtenItem },
    },
  })
  patch(
    call: Call<ItemWriteQuery, z.output<typeof schema.putItemBody> | z.output<typeof schema.jsonPatchBody>>,
  ): Promise<void> {
    const action: Action = Array.isArray(call.body)
      ? { op: 'patch', patch: call.body as JsonObject[] }
      : { op: 'merge', attributes: call.body.attributes };
    return this.calls.write(call, writeKey(call), action, itemShape(call));
  }

  @Route({
    method: 'DELETE',
    path: ITEM,
    operationId: 'deleteItem',
    tag: 'items',
    summary: 'Delete an item',
    description: 'A missing item is `existed: false`, and nothing is committed.',
    query: schema.itemWriteQuery,
    headers: CONDITIONAL,
    answers: { 200: { description: 'There is no such item now.', schema: schema.deletedItem } },
  })
  remove(call: Call<ItemWriteQuery>): Promise<void> {
    return this.calls.write(call, writeKey(call), { op: 'delete' }, ({ results: [result], ...settled }) => ({
      status: 200,
      headers: poolHeaders(settled.epoch, settled.revision),
      body: JSON.stringify({ revision: settled.revision, existed: result?.existed }),
    }));
  }

  @Route({
    method: 'POST',
    path: '/v1/pools/:pool/collections/:collection/delete',
    operationId: 'deleteItems',
    tag: 'items',
    summary: 'Delete the items that match as one commit',
    description: `More than ${limits.deleteItemsMax} matches are refused unless \`limit\` says how many to delete.`,
    body: { schema: schema.deleteItemsBody },
    headers: ['Idempotency-Key'],
    answers: { 200: { description: 'There are no such items now.', schema: schema.deletedItems } },
  })
  async removeItems(call: Call<unknown, z.output<typeof schema.deleteItemsBody>>): Promise<void> {
    const { pool, collection } = writePlace(call);
    const { where, prefix, limit, expectCount } = call.body;
    if (where === undefined && prefix === undefined) {
      const detail = 'is missing, and `prefix` too: one of them is needed. {"prefix": ""} means all items.';
      throw new Problem('badRequest', `/where ${detail}`, {
        errors: [{ pointer: '/where', code: 'badRequest', detail }],
      });
    }
    const filter = where === undefined ? undefined : parseFilter(where, '/where');
    const shape = ({ revision, epoch, keys }: { revision: number; epoch: string; keys: readonly string[] }): Reply => ({
      status: 200,
      headers: poolHeaders(epoch, revision),
      body: JSON.stringify({ revision, deleted: keys.length, keys }),
    });
    const command = deleteMatching({
      subject: call.subject,
      collection,
      selection: { filter, range: rangeOf({ prefix }) },
      limit,
      expectCount,
      writer: call.writer,
    });
    sendWritten(call, await this.engine.committer.submit(pool, command, idempotencyOf(call, shape)), shape);
  }
}

function itemShape({ params }: Call): WriteShape {
  return (answer) => {
    const result = answer.results[0] as OpResult;
    const { item, changed, status, warnings } = result;
    const headers = writeHeaders(answer);
    if (status === 201) headers.location = itemPath(params.pool as string, result);
    // An item that was missing and still is: a patch that set nothing.
    const state = item as ItemState;
    const warned = warnings ? `,"warnings":${JSON.stringify(warnings)}` : '';
    return { status, headers, body: `${itemHead(result, state)},"changed":${JSON.stringify(changed)}${warned}}` };
  };
}
