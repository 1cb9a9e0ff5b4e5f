/** Problems as RFC 9457 documents: the one place where a refusal becomes an HTTP answer. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { type ErrorCode, errorTable, Problem } from '../engine/errors.js';
import { OutcomeUnknown, RetryTransaction, StoreUnavailable } from '../engine/ports.js';
import { formatCursor } from '../engine/state/cursor.js';
import { bodyLimitOf, unsupported } from './body.js';
import { taskOf } from './performing.js';
import type { RouteSpec } from './route.js';

export const PROBLEM_TYPE = 'application/problem+json; charset=utf-8';

/** Where a code is explained to a person; served by the documentation's controller. */
export function problemUrl(code: ErrorCode, origin: string): string {
  return `${origin}/docs/errors/${code}`;
}

/** What the error means to the user; undefined for a fault of the server's own, which is told as `internal`. */
export function toProblem(error: unknown, spec: RouteSpec | undefined): Problem | undefined {
  if (error instanceof Problem) return error;
  if (error instanceof StoreUnavailable)
    return new Problem('unavailable', 'The database does not answer.', { headers: { 'retry-after': '1' } });
  if (error instanceof OutcomeUnknown)
    return new Problem('unavailable', 'The connection to the database broke; whether it was done is not known.', {
      headers: { 'retry-after': '1' },
    });
  if (error instanceof RetryTransaction)
    return new Problem('unavailable', 'The database is too busy now.', { headers: { 'retry-after': '1' } });
  const { code, statusCode, message } = (error ?? {}) as { code?: string; statusCode?: number; message?: string };
  // RFC 10008 wants the type of a QUERY's body named, also of an empty one.
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE' || code === 'FST_ERR_ROUTE_MISSING_CONTENT_TYPE')
    return unsupported(spec);
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new Problem(
      'tooLarge',
      `The body is larger than the ${spec ? bodyLimitOf(spec) : 0} bytes that this call takes.`,
    );
  }
  if (code === 'FST_ERR_BAD_URL') {
    return new Problem('badRequest', 'The path is not valid: percent-encoding must be of UTF-8.');
  }
  if (code === 'FST_ERR_MAX_PARAM_LENGTH') {
    return new Problem('invalidName', 'A name in the path is longer than any name may be.');
  }
  if (statusCode === 404) return new Problem('notFound', 'There is no such path. GET /docs shows what there is.');
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return new Problem('badRequest', String(message));
  return undefined;
}

/** The whole document, as it is told to who sent the request. */
export function problemDocument(request: FastifyRequest, problem: Problem): object {
  const origin = taskOf(request)?.request.origin ?? `${request.protocol}://${request.host}`;
  return { type: problemUrl(problem.code, origin), ...problem.toJSON(), requestId: request.id };
}

export function sendProblem(request: FastifyRequest, reply: FastifyReply, problem: Problem): void {
  const document = problemDocument(request, problem);
  if (problem.at) {
    reply
      .header('stargus-revision', problem.at.revision)
      .header('stargus-cursor', formatCursor(problem.at.epoch, problem.at.revision));
  }
  // What was set for the answer that did not come about doesn't belong to the refusal.
  reply.removeHeader('etag').removeHeader('location').removeHeader('link');
  // A client that is still sending a body that is refused would meet the end of the connection before it has read why. So the
  // connection stays, whatever the client or Fastify asked, and Node reads and drops the rest for as long as a request may take.
  reply.removeHeader('connection');
  if (!request.raw.complete) reply.raw.shouldKeepAlive = true;
  // Every 401 says how one could show who one is (RFC 9110, 15.5.2); whoever knows better says it in its place.
  if (problem.status === 401) reply.header('www-authenticate', 'Bearer realm="stargus"');
  reply
    .code(problem.status)
    .headers(problem.extras.headers ?? {})
    .header('content-type', PROBLEM_TYPE)
    .header('cache-control', 'no-store')
    .send(JSON.stringify(document));
}

export const internalProblem = () => new Problem('internal', errorTable.internal.advice);
