/** Operations over HTTP: what became of writes that were sent with `Prefer: respond-async`. */
import { Controller, Inject } from '@nestjs/common';
import type { z } from 'zod';
import { Engine } from '../engine/engine.js';
import { Problem } from '../engine/errors.js';
import { limits } from '../engine/limits.js';
import { checkName } from '../engine/state/names.js';
import { poolHeaders, send } from './answers.js';
import { told } from './deferring.js';
import * as schema from './operations.schema.js';
import { nameToken, readPageToken } from './page-token.js';
import { type Call, Route } from './route.js';

const OPERATIONS_PATH = '/v1/pools/:pool/operations';
const OPERATION_PATH = `${OPERATIONS_PATH}/:operation`;

@Controller()
export class OperationsController {
  constructor(@Inject(Engine) private readonly engine: Engine) {}

  @Route({
    method: 'GET',
    path: OPERATIONS_PATH,
    operationId: 'listOperations',
    tag: 'operations',
    summary: 'List your operations in the order in which they were accepted',
    description: 'Without the bodies of their results. Whom no policy binds is shown everybody’s.',
    query: schema.operationListQuery,
    answers: { 200: { description: 'A page of operations.', schema: schema.operationPage } },
  })
  async list(call: Call<z.output<typeof schema.operationListQuery>>): Promise<void> {
    const pool = checkName('pool', call.params.pool as string);
    const { limit = limits.pageItemsDefault, pageToken } = call.query;
    const query = ['operations', pool];
    const after = readPageToken(pageToken, query)?.key ?? '';
    const headers = await this.#headers(call, pool);
    const found = await this.engine.operations.list(pool, call.subject, after, limit + 1);
    const operations = found.slice(0, limit);
    const nextPageToken = found.length > limit ? nameToken(query, operations.at(-1)?.id as string) : undefined;
    const body = JSON.stringify({ operations: operations.map((each) => told(each, false)), nextPageToken });
    send(call, { status: 200, headers, body });
  }

  @Route({
    method: 'GET',
    path: OPERATION_PATH,
    operationId: 'getOperation',
    tag: 'operations',
    summary: 'Look at an operation, or wait for it',
    description:
      'With `waitMs` the answer comes when it is done, or after that time. While it isn’t, `Retry-After` says when to look again.',
    query: schema.operationQuery,
    answers: { 200: { description: 'The operation.', schema: schema.operation } },
  })
  async get(call: Call<z.output<typeof schema.operationQuery>>): Promise<void> {
    const { subject, params, reply } = call;
    const pool = checkName('pool', params.pool as string);
    const gone = new Promise<void>((resolve) => reply.raw.once('close', () => resolve()));
    const tokenMs = (subject.expiresAt ?? Number.POSITIVE_INFINITY) - Date.now();
    const waitMs = Math.min(call.query.waitMs ?? 0, tokenMs);
    const operation = await this.engine.operations.find(pool, params.operation as string, subject, { waitMs, gone });
    // Who was revoked meanwhile is told nothing more.
    if (call.isRevoked(subject)) throw new Problem('unauthenticated', 'The token was revoked.');
    const headers = await this.#headers(call, pool);
    if (operation.doneAt === undefined) headers['retry-after'] = '1';
    send(call, { status: 200, headers, body: JSON.stringify(told(operation)) });
  }

  @Route({
    method: 'DELETE',
    path: OPERATION_PATH,
    operationId: 'deleteOperation',
    tag: 'operations',
    summary: 'Cancel an operation that waits, or forget one that is done',
    description: 'One that has begun is 409 `conflict`. What was cancelled is never done.',
    answers: { 200: { description: 'There is no such operation now.', schema: schema.removedOperation } },
  })
  async remove(call: Call): Promise<void> {
    const pool = checkName('pool', call.params.pool as string);
    const removed = await this.engine.operations.remove(pool, call.params.operation as string, call.subject);
    const { result } = told(removed) as { result?: object };
    const body = JSON.stringify({ operation: removed.id, cancelled: removed.doneAt === undefined, result });
    send(call, { status: 200, headers: await this.#headers(call, pool), body });
  }

  /** The state of the pool, for who may do something there. An operation outlives its pool, and its caller's rights. */
  async #headers({ subject }: Call, pool: string): Promise<Record<string, string>> {
    try {
      const { replica, revision, entitlement } = await this.engine.entitled.entitlement(pool, subject);
      return entitlement.isEmpty ? {} : poolHeaders(replica.epoch, revision);
    } catch (error) {
      if (error instanceof Problem && error.code === 'notFound') return {};
      throw error;
    }
  }
}
