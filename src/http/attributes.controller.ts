/** Attributes over HTTP: one named value of an item, read, set, removed, and counted up. */
import { Controller, Inject } from '@nestjs/common';
import type { z } from 'zod';
import type { OpResult } from '../engine/state/item-commands.js';
import { getMember, type Json } from '../engine/state/json.js';
import { checkAttributeName } from '../engine/state/names.js';
import type { Action } from '../engine/state/operations.js';
import { etag, send } from './answers.js';
import {
  CONDITIONAL,
  ITEM,
  ItemCalls,
  isUnmodified,
  missing,
  readPlace,
  type WriteShape,
  writeHeaders,
  writeKey,
} from './item-calls.js';
import * as schema from './items.schema.js';
import { type Call, Route } from './route.js';

const ATTRIBUTE = `${ITEM}/attributes/:name`;

type ItemWriteQuery = z.output<typeof schema.itemWriteQuery>;

@Controller()
export class AttributesController {
  constructor(@Inject(ItemCalls) private readonly calls: ItemCalls) {}

  @Route({
    method: 'GET',
    path: ATTRIBUTE,
    operationId: 'getAttribute',
    tag: 'attributes',
    summary: 'Read one attribute',
    headers: ['If-Match', 'If-None-Match', 'Stargus-Min-Revision'],
    answers: {
      200: { description: 'The attribute.', schema: schema.attributeAnswer },
      304: { description: 'The item is still at the revision of If-None-Match.' },
    },
  })
  async getAttribute(call: Call): Promise<void> {
    const { pool, collection, key } = readPlace(call);
    const name = checkAttributeName(call.params.name as string);
    const read = await this.calls.read(call, pool, collection, key as string);
    const value = read && getMember(read.state.attributes, name);
    if (!read || value === undefined) throw missing(collection, key as string, name);
    if (isUnmodified(call, read)) return;
    const { state } = read;
    call.reply.header('etag', etag(state.revision));
    send(call, { status: 200, headers: {}, body: JSON.stringify({ name, value, revision: state.revision }) });
  }

  @Route({
    method: 'PUT',
    path: ATTRIBUTE,
    operationId: 'putAttribute',
    tag: 'attributes',
    summary: 'Set one attribute',
    description: 'Creates the item when it is missing. The value null removes the attribute.',
    query: schema.itemWriteQuery,
    body: { schema: schema.putAttributeBody },
    headers: CONDITIONAL,
    answers: {
      200: { description: 'Set.', schema: schema.attributeAnswer },
      201: { description: 'Set, and the item created.', schema: schema.attributeAnswer },
    },
  })
  putAttribute(call: Call<ItemWriteQuery, z.output<typeof schema.putAttributeBody>>): Promise<void> {
    const attribute = checkAttributeName(call.params.name as string);
    const action: Action = { op: 'set', attribute, value: call.body.value };
    return this.calls.write(call, writeKey(call), action, attributeShape(attribute), attribute);
  }

  @Route({
    method: 'DELETE',
    path: ATTRIBUTE,
    operationId: 'deleteAttribute',
    tag: 'attributes',
    summary: 'Remove one attribute',
    description: 'One that is not there is `changed: []`, and nothing is committed.',
    query: schema.itemWriteQuery,
    headers: CONDITIONAL,
    answers: { 200: { description: 'There is no such attribute now.', schema: schema.attributeAnswer } },
  })
  removeAttribute(call: Call<ItemWriteQuery>): Promise<void> {
    const attribute = checkAttributeName(call.params.name as string);
    return this.calls.write(
      call,
      writeKey(call),
      { op: 'unset', names: [attribute] },
      attributeShape(attribute),
      attribute,
    );
  }

  @Route({
    method: 'POST',
    path: `${ITEM}/increment`,
    operationId: 'incrementAttribute',
    tag: 'attributes',
    summary: 'Add to a number, atomically',
    description: 'A missing attribute counts as 0. Past `min` or `max` nothing is applied: 409 `conflict`.',
    body: { schema: schema.incrementBody },
    headers: CONDITIONAL,
    answers: { 200: { description: 'Added.', schema: schema.incrementAnswer } },
  })
  increment(call: Call<unknown, z.output<typeof schema.incrementBody>>): Promise<void> {
    const { attribute } = call.body;
    return this.calls.write(call, writeKey(call), { op: 'increment', ...call.body }, (answer) => {
      const { value, revision, changed, warnings } = answer.results[0] as OpResult;
      return {
        status: 200,
        headers: writeHeaders(answer),
        body: JSON.stringify({ attribute, value, revision, changed, warnings }),
      };
    });
  }
}

function attributeShape(name: string): WriteShape {
  return (answer) => {
    const { item, changed, revision, status, warnings } = answer.results[0] as OpResult;
    const value: Json = (item && getMember(item.attributes, name)) ?? null;
    return {
      status,
      headers: writeHeaders(answer),
      body: JSON.stringify({ name, value, revision, changed, warnings }),
    };
  };
}
