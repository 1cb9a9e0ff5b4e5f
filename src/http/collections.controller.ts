/** Collections over HTTP. What is said about a collection is its item in the system collection `_dictionary`. */
import { Controller, Inject } from '@nestjs/common';
import type { z } from 'zod';
import { forbidden } from '../engine/access/access-guard.js';
import { mayKnow } from '../engine/access/entitled-reader.js';
import type { Entitlement } from '../engine/access/entitlement.js';
import { Engine } from '../engine/engine.js';
import { Problem } from '../engine/errors.js';
import { limits } from '../engine/limits.js';
import { entryRef, isSystemName } from '../engine/state/collections.js';
import { formatCursor } from '../engine/state/cursor.js';
import type { Attributes, Collection } from '../engine/state/model.js';
import { checkName } from '../engine/state/names.js';
import { type CollectionAnswer, describeCollection, dropCollection } from '../engine/state/pool-commands.js';
import type { Reply } from '../engine/state/repetition.js';
import { awaitMinRevision, idempotencyOf, poolHeaders, send, sendWritten, shaped } from './answers.js';
import { MERGE_PATCH_TYPE } from './body.js';
import { ownPlace } from './item-calls.js';
import { nameToken, readPageToken } from './page-token.js';
import * as schema from './pools.schema.js';
import { type Call, Route } from './route.js';

const COLLECTIONS = '/v1/pools/:pool/collections';
const COLLECTION = `${COLLECTIONS}/:collection`;
const PAGE_DEFAULT = 100;

@Controller()
export class CollectionsController {
  constructor(@Inject(Engine) private readonly engine: Engine) {}

  @Route({
    method: 'GET',
    path: COLLECTIONS,
    operationId: 'listCollections',
    tag: 'collections',
    summary: 'List collections in the order of their names',
    description: 'The system’s own collections, whose names begin with an underscore, are left out.',
    query: schema.pageQuery,
    headers: ['Stargus-Min-Revision'],
    answers: { 200: { description: 'A page of collections.', schema: schema.collectionPage } },
  })
  async list(call: Call<z.output<typeof schema.pageQuery>>): Promise<void> {
    const pool = checkName('pool', call.params.pool as string);
    const { limit = PAGE_DEFAULT, pageToken } = call.query;
    const after = readPageToken(pageToken, ['collections', pool])?.key;
    await awaitMinRevision(call, this.engine.reader, pool);
    // Each collection has one entry in the dictionary, so a page of the dictionary is a page of collections.
    const page = await this.engine.entitled.entries(pool, { after, limit }, call.subject);
    const { entitlement } = page;
    const { epoch } = page.replica;
    const collections = page.items.map(({ key, state }) =>
      describe(page.replica.collections.get(key) as Collection, state.attributes, seesAll(entitlement, key)),
    );
    const nextPageToken = page.more ? nameToken(['collections', pool], page.items.at(-1)?.key as string) : undefined;
    const body = { collections, revision: page.revision, cursor: formatCursor(epoch, page.revision), nextPageToken };
    send(call, { status: 200, headers: poolHeaders(epoch, page.revision), body: JSON.stringify(body) });
  }

  @Route({
    method: 'GET',
    path: COLLECTION,
    operationId: 'getCollection',
    tag: 'collections',
    summary: 'Read what a collection is',
    description: 'A missing collection is 404 here, while its items read as an empty list.',
    headers: ['Stargus-Min-Revision'],
    answers: { 200: { description: 'The collection.', schema: schema.collection } },
  })
  async get(call: Call): Promise<void> {
    const pool = checkName('pool', call.params.pool as string);
    const name = checkName('collection', call.params.collection as string);
    await awaitMinRevision(call, this.engine.reader, pool);
    const { entitlement } = await this.engine.entitled.entitlement(pool, call.subject);
    if (!mayKnow(entitlement, name)) throw forbidden(`You may do nothing with the collection ${name}.`);
    if (isSystemName(name)) await this.engine.reader.current(pool, name);
    const { replica, revision, state } = await this.engine.reader.item(pool, entryRef(name));
    const headers = poolHeaders(replica.epoch, revision);
    const collection = replica.collection(name);
    if (!collection || !(state || isSystemName(name))) {
      call.reply.headers(headers);
      throw new Problem(
        'notFound',
        `There is no collection ${JSON.stringify(name)}. It comes into being with its first item, or by PUT.`,
      );
    }
    const isWhole = seesAll(entitlement, name);
    // How far they are counts items.
    const indexes = isWhole ? await this.engine.querying.indexes(replica, collection.id) : undefined;
    const body = { ...describe(collection, state?.attributes ?? {}, isWhole), indexes };
    send(call, { status: 200, headers, body: JSON.stringify(body) });
  }

  @Route({
    method: 'PUT',
    path: COLLECTION,
    operationId: 'putCollection',
    tag: 'collections',
    summary: 'Create a collection, or replace what is said about it',
    body: { schema: schema.collectionBody, optional: true },
    headers: ['Idempotency-Key', 'Prefer'],
    answers: {
      200: { description: 'It was there.', schema: schema.collection },
      201: { description: 'Created.', schema: schema.collection },
    },
  })
  put(call: Call<unknown, z.output<typeof schema.collectionBody>>): Promise<void> {
    return this.#write(call, true);
  }

  @Route({
    method: 'PATCH',
    path: COLLECTION,
    operationId: 'patchCollection',
    tag: 'collections',
    summary: 'Change what is said about a collection',
    description: 'A merge patch: members that are absent stay as they are, null removes.',
    body: { schema: schema.collectionBody, types: { [MERGE_PATCH_TYPE]: schema.collectionBody } },
    headers: ['Idempotency-Key', 'Prefer'],
    answers: { 200: { description: 'Changed.', schema: schema.collection } },
  })
  patch(call: Call<unknown, z.output<typeof schema.collectionBody>>): Promise<void> {
    return this.#write(call, false);
  }

  @Route({
    method: 'DELETE',
    path: COLLECTION,
    operationId: 'deleteCollection',
    tag: 'collections',
    summary: 'Delete a collection with its items, as one commit',
    description: `One with more than ${limits.dropCollectionItemsMax} items is refused: delete items first. A missing one is \`existed: false\`.`,
    query: schema.dropCollectionQuery,
    headers: ['Idempotency-Key', 'Prefer'],
    answers: { 200: { description: 'There is no such collection now.', schema: schema.droppedCollection } },
  })
  async remove(call: Call<z.output<typeof schema.dropCollectionQuery>>): Promise<void> {
    const { pool, collection } = ownPlace(call);
    const { subject, writer } = call;
    const command = dropCollection({ subject, writer, collection, ifEmpty: call.query.ifEmpty ?? false });
    const shape = shaped(
      call,
      ({ epoch, revision, existed }: { epoch: string; revision: number; existed: boolean }): Reply => ({
        status: 200,
        headers: poolHeaders(epoch, revision),
        body: JSON.stringify({ collection, revision, existed }),
      }),
    );
    sendWritten(call, await this.engine.committer.submit(pool, command, idempotencyOf(call, shape)), shape);
  }

  async #write(call: Call<unknown, z.output<typeof schema.collectionBody>>, replace: boolean): Promise<void> {
    const { pool, collection } = ownPlace(call);
    const { subject, writer } = call;
    const command = describeCollection({ subject, writer, collection, entry: call.body, replace });
    const shape = shaped(
      call,
      (answer: CollectionAnswer): Reply => ({
        status: answer.created ? 201 : 200,
        headers: {
          ...poolHeaders(answer.epoch, answer.revision),
          ...(answer.created && { location: `/v1/pools/${pool}/collections/${collection}` }),
        },
        body: JSON.stringify(describe(answer.collection, answer.entry, answer.seesAll)),
      }),
    );
    sendWritten(call, await this.engine.committer.submit(pool, command, idempotencyOf(call, shape)), shape);
  }
}

function seesAll(entitlement: Entitlement, collection: string): boolean {
  return entitlement.lens('read', collection).kind === 'everything';
}

/** How many items there are is told to who may read all of them. */
function describe(
  { name, items, revision }: Pick<Collection, 'name' | 'items' | 'revision'>,
  entry: Attributes,
  isWhole: boolean,
): z.input<typeof schema.collection> {
  const { description, options = {} } = entry as { description?: string; options?: Attributes };
  return { collection: name, ...(isWhole && { items }), revision, description, options };
}
