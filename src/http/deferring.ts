/**
 * `Prefer: respond-async` (RFC 7240): a write that its client doesn't want to wait for is kept and answered with 202 and the place where
 * its result will be (engine/operations/). Which routes can: writes of a pool's whose answer can be noted with their commit, that is
 * those which take an Idempotency-Key. Others are answered as ever, without `Preference-Applied`: a preference is a wish.
 */
import type { FastifyRequest } from 'fastify';
import { v7 as uuidv7 } from 'uuid';
import { type Operation, statusOf } from '../engine/operations/operation.js';
import { operationPath } from '../engine/operations/operation-news.js';
import type { Operations } from '../engine/operations/operations.js';
import type { StoredSession } from '../engine/ports.js';
import { checkOwnName } from '../engine/state/names.js';
import type { Reply } from '../engine/state/repetition.js';
import { idempotencyOf } from './answers.js';
import { rawBody } from './body.js';
import type { Call, RouteSpec } from './route.js';

const WISH = /(^|,)\s*respond-async\s*(;[^,]*)?(,|$)/i;
const MINIMAL = /(^|[,;\s])return\s*=\s*"?minimal"?/i;
/** What of a request bears upon what is done. */
const KEPT = [
  ...['content-type', 'if-match', 'if-none-match', 'idempotency-key', 'stargus-session', 'stargus-lock', 'host'],
  // What is done later goes on with the trace of who asked.
  ...['traceparent', 'tracestate'],
] as const;
/** When to look for the first time. */
const RETRY_S = '1';

/** Whether a route's writes can be done later. Locks that wait have an answer of their own that says so. */
export function isDeferrable({ path, method, headers, answers, body, streaming, reads }: RouteSpec): boolean {
  const isWrite = method !== 'GET' && method !== 'QUERY' && !reads && !streaming && body?.stream === undefined;
  return isWrite && path.startsWith('/v1/pools/:pool') && !!headers?.includes('Idempotency-Key') && !answers[202];
}

export function wishesLater({ headers }: FastifyRequest): boolean {
  return headers.prefer !== undefined && WISH.test(String(headers.prefer));
}

/** Keeps a request that has been checked against its route; what this answers says where its result will be. `session` is the one that it names. */
export async function defer(
  call: Call,
  { operationId }: RouteSpec,
  operations: Operations,
  session: StoredSession | undefined,
): Promise<Reply> {
  const { request, reply, params, subject } = call;
  const pool = checkOwnName('pool', params.pool as string);
  const body = rawBody(request);
  const { operation, isNew } = await operations.accept({
    ...{ id: uuidv7(), pool, call: operationId, subject, session: session?.id },
    repeatable: idempotencyOf(call, () => ({ status: 0, headers: {}, body: '' })) as
      | { key: string; fingerprint: string }
      | undefined,
    request: {
      method: request.method,
      target: request.url,
      headers: keptHeaders(request),
      origin: `${request.protocol}://${request.host}`,
      address: request.ip,
    },
    body: body.length > 0 ? body : undefined,
  });
  if (!isNew) reply.header('idempotency-replayed', 'true');
  return {
    status: 202,
    headers: {
      location: operationPath(pool, operation.id),
      'preference-applied': 'respond-async',
      ...(operation.doneAt === undefined && { 'retry-after': RETRY_S }),
    },
    body: JSON.stringify(told(operation)),
  };
}

function keptHeaders({ headers }: FastifyRequest): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const name of KEPT) if (headers[name] !== undefined) kept[name] = String(headers[name]);
  if (MINIMAL.test(String(headers.prefer))) kept.prefer = 'return=minimal';
  return kept;
}

/** An operation as it is answered. */
export function told(operation: Operation, isWhole = true): object {
  const { id, pool, call, acceptedAt, startedAt, doneAt, expiresAt, answer } = operation;
  return {
    ...{ operation: id, status: statusOf(operation), call, location: operationPath(pool, id) },
    ...{ createdAt: timeText(acceptedAt), startedAt: timeText(startedAt), doneAt: timeText(doneAt) },
    expiresAt: timeText(expiresAt),
    result: answer && {
      status: answer.status,
      headers: answer.headers,
      ...(isWhole && answer.body !== '' && { body: JSON.parse(answer.body) as unknown }),
    },
  };
}

function timeText(time: number | undefined): string | undefined {
  return time === undefined ? undefined : new Date(time).toISOString();
}
