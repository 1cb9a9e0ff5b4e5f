/** Pools over HTTP. `GET P` is what a client asks first: what there is, and how to log in. */
import { Controller, Inject } from '@nestjs/common';
import type { z } from 'zod';
import { checkPresence } from '../engine/access/entitled-reader.js';
import type { Entitlement } from '../engine/access/entitlement.js';
import { Engine } from '../engine/engine.js';
import { isSystemName } from '../engine/state/collections.js';
import { formatCursor } from '../engine/state/cursor.js';
import { checkName, checkOwnName } from '../engine/state/names.js';
import { describePool, dropPool } from '../engine/state/pool-commands.js';
import type { Reply } from '../engine/state/repetition.js';
import type { Replica } from '../engine/state/replica.js';
import { isFree, type Subject } from '../engine/subject.js';
import { awaitMinRevision, idempotencyOf, poolHeaders, send, sendWritten, shaped } from './answers.js';
import { Authentication } from './auth.guard.js';
import { MERGE_PATCH_TYPE } from './body.js';
import { nameToken, readPageToken } from './page-token.js';
import * as schema from './pools.schema.js';
import { type Call, Route } from './route.js';

const POOL = '/v1/pools/:pool';
const PAGE_DEFAULT = 100;

@Controller()
export class PoolsController {
  constructor(
    @Inject(Engine) private readonly engine: Engine,
    @Inject(Authentication) private readonly authentication: Authentication,
  ) {}

  @Route({
    method: 'GET',
    path: '/v1/pools',
    operationId: 'listPools',
    tag: 'pools',
    summary: 'List pools in the order of their names',
    query: schema.pageQuery,
    answers: { 200: { description: 'A page of pools.', schema: schema.poolPage } },
  })
  async list(call: Call<z.output<typeof schema.pageQuery>>): Promise<void> {
    const { limit = PAGE_DEFAULT, pageToken } = call.query;
    const found = await this.#pools(call.subject, readPageToken(pageToken, ['pools'])?.key, limit + 1);
    const pools = found.slice(0, limit);
    const nextPageToken = found.length > limit ? nameToken(['pools'], pools.at(-1)?.pool as string) : undefined;
    send(call, { status: 200, headers: {}, body: JSON.stringify({ pools, nextPageToken }) });
  }

  @Route({
    method: 'GET',
    path: POOL,
    operationId: 'getPool',
    tag: 'pools',
    summary: 'Read what a client must know of a pool',
    description: 'Without a token, where one is required, only the name and how to authenticate.',
    headers: ['Stargus-Min-Revision'],
    public: true,
    answers: { 200: { description: 'The pool.', schema: schema.pool } },
  })
  async get(call: Call): Promise<void> {
    const pool = checkName('pool', call.params.pool as string);
    const subject = await this.authentication.identify(call.request);
    if (!subject) {
      // The same answer whether there is such a pool or not.
      return send(call, {
        status: 200,
        headers: {},
        body: JSON.stringify({ pool, authentication: this.authentication.described }),
      });
    }
    await awaitMinRevision(call, this.engine.reader, pool);
    const { replica, revision, entitlement } = await this.engine.entitled.entitlement(pool, subject);
    checkPresence(entitlement);
    send(call, {
      status: 200,
      headers: poolHeaders(replica.epoch, revision),
      body: JSON.stringify(this.#describe(replica, countsTold(entitlement, countsOf(replica)))),
    });
  }

  @Route({
    method: 'PUT',
    path: POOL,
    operationId: 'putPool',
    tag: 'pools',
    summary: 'Create a pool, or replace its description',
    description: 'Pools also come into being with their first write, unless the server is configured otherwise.',
    body: { schema: schema.poolBody, optional: true },
    headers: ['Idempotency-Key', 'Prefer'],
    answers: {
      200: { description: 'It was there.', schema: schema.pool },
      201: { description: 'Created.', schema: schema.pool },
    },
  })
  put(call: Call<unknown, z.output<typeof schema.poolBody>>): Promise<void> {
    return this.#write(call, true);
  }

  @Route({
    method: 'PATCH',
    path: POOL,
    operationId: 'patchPool',
    tag: 'pools',
    summary: 'Change a pool’s description',
    description: 'A merge patch: members that are absent stay as they are, null removes.',
    body: { schema: schema.poolBody, types: { [MERGE_PATCH_TYPE]: schema.poolBody } },
    headers: ['Idempotency-Key', 'Prefer'],
    answers: { 200: { description: 'Changed.', schema: schema.pool } },
  })
  patch(call: Call<unknown, z.output<typeof schema.poolBody>>): Promise<void> {
    return this.#write(call, false);
  }

  @Route({
    method: 'DELETE',
    path: POOL,
    operationId: 'deletePool',
    tag: 'pools',
    summary: 'Delete a pool with everything in it',
    description: 'Its streams end with `bye`. A missing pool is `existed: false`. One made anew has another epoch.',
    headers: ['Idempotency-Key', 'Prefer'],
    answers: { 200: { description: 'There is no such pool now.', schema: schema.droppedPool } },
  })
  async remove(call: Call): Promise<void> {
    const pool = checkOwnName('pool', call.params.pool as string);
    const shape = shaped(
      call,
      ({ existed }: { existed: boolean }): Reply => ({
        status: 200,
        headers: {},
        body: JSON.stringify({ pool, existed }),
      }),
    );
    sendWritten(call, await this.engine.committer.submit(pool, dropPool(call), idempotencyOf(call, shape)), shape);
  }

  async #write(call: Call<unknown, z.output<typeof schema.poolBody>>, create: boolean): Promise<void> {
    const pool = checkOwnName('pool', call.params.pool as string);
    const command = describePool({
      subject: call.subject,
      writer: call.writer,
      description: call.body.description,
      create,
    });
    const shape = shaped(
      call,
      (answer: { epoch: string; revision: number; created: boolean; description: string | undefined }): Reply => {
        const { epoch, revision, created, description } = answer;
        // What else there is to tell of a pool that was there is read before and doesn't belong to this commit.
        const known = this.engine.replicas.known(pool);
        const counts = known && !created ? countsOf(known) : { collections: 0, items: 0 };
        const oldestRevision = known && !created ? known.oldestRevision : 1;
        return {
          status: created ? 201 : 200,
          headers: { ...poolHeaders(epoch, revision), ...(created && { location: `/v1/pools/${pool}` }) },
          body: JSON.stringify(this.#describe({ name: pool, epoch, revision, oldestRevision, description }, counts)),
        };
      },
    );
    sendWritten(call, await this.engine.committer.submit(pool, command, idempotencyOf(call, shape)), shape);
  }

  /** Up to so many pools after a name: those in which the subject may do something. */
  async #pools(subject: Subject, after: string | undefined, limit: number): Promise<Described[]> {
    const told: Described[] = [];
    for (let last = after; ; ) {
      const page = await this.engine.store.pools(last, limit);
      for (const { head, ...counts } of page) {
        if (isFree(subject)) told.push(this.#describe(head, counts));
        else {
          const { entitlement } = await this.engine.entitled.entitlement(head.name, subject);
          if (!entitlement.isEmpty) told.push(this.#describe(head, countsTold(entitlement, counts)));
        }
        if (told.length >= limit) return told;
      }
      if (page.length < limit) return told;
      last = page.at(-1)?.head.name;
    }
  }

  #describe(
    pool: Pick<Replica, 'name' | 'epoch' | 'revision' | 'oldestRevision' | 'description'>,
    counts: { collections?: number; items?: number },
  ): Described {
    const { name, epoch, revision, oldestRevision, description } = pool;
    const { described } = this.authentication;
    return {
      pool: name,
      epoch,
      revision,
      oldestRevision,
      cursor: formatCursor(epoch, revision),
      ...counts,
      description,
      authentication: described,
    };
  }
}

type Described = z.input<typeof schema.pool> & { pool: string };

/** How much there is, is told to who may administer the pool: the others may not see all of it. */
function countsTold(entitlement: Entitlement, counts: { collections: number; items: number }): Partial<typeof counts> {
  return entitlement.isUnbound || entitlement.decideAdmin().allow ? counts : {};
}

function countsOf(replica: Replica): { collections: number; items: number } {
  let collections = 0;
  let items = 0;
  for (const collection of replica.collections.values()) {
    if (!collection.present || isSystemName(collection.name)) continue;
    collections++;
    items += collection.items;
  }
  return { collections, items };
}
