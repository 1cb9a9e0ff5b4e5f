/** Answers: the JSON texts and headers that several controllers send. */
import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { Problem } from '../engine/errors.js';
import { limits } from '../engine/limits.js';
import type { Projection } from '../engine/query/request.js';
import { formatCursor } from '../engine/state/cursor.js';
import type { Submitted } from '../engine/state/group.js';
import type { ItemRef, ItemState } from '../engine/state/model.js';
import { type Preconditions, parseTags } from '../engine/state/preconditions.js';
import type { Reader } from '../engine/state/reader.js';
import type { Deferred, Idempotency, Reply } from '../engine/state/repetition.js';
import { rawBody } from './body.js';
import { operationOf } from './performing.js';
import type { Call } from './route.js';

export const JSON_ANSWER = 'application/json; charset=utf-8';

/** An item as JSON text without its closing brace, so that members can follow. */
export function itemHead({ collection, key }: ItemRef, state: ItemState, fields?: Projection): string {
  const attributes = fields ? JSON.stringify(fields.of(state.attributes)) : state.json;
  return `{"collection":"${collection}","key":${JSON.stringify(key)},"revision":${state.revision},"createdRevision":${state.createdRevision},"attributes":${attributes}`;
}

/** The headers of an answer about a pool: the revision of the commit, or of the state that was read or judged. */
export function poolHeaders(epoch: string, revision: number): Record<string, string> {
  return { 'stargus-revision': String(revision), 'stargus-cursor': formatCursor(epoch, revision) };
}

export function etag(revision: number): string {
  return `"${revision}"`;
}

export function itemPath(pool: string, { collection, key }: ItemRef): string {
  return `/v1/pools/${pool}/collections/${collection}/items/${encodeURIComponent(key)}`;
}

export function send({ reply }: Call, { status, headers, body }: Reply): void {
  reply.code(status).headers(headers);
  if (status === 204) reply.send();
  else reply.header('content-type', JSON_ANSWER).send(body);
}

/** Sends what a write came to: its shaped answer, or the stored one. */
export function sendWritten<Answer>(call: Call, submitted: Submitted<Answer>, shape: (answer: Answer) => Reply): void {
  if (submitted.replayed) {
    call.reply.header('idempotency-replayed', 'true');
    send(call, submitted.replayed);
  } else send(call, shape(submitted.answer));
}

/** `Prefer: return=minimal` leaves the body away; everything else of Prefer is a wish that isn't granted. */
export function shaped<Answer>({ request }: Call, shape: (answer: Answer) => Reply): (answer: Answer) => Reply {
  const prefer = request.headers.prefer;
  if (prefer === undefined || !/(^|[,;\s])return\s*=\s*"?minimal"?/i.test(String(prefer))) return shape;
  return (answer) => {
    const reply = shape(answer);
    return { status: 204, headers: { ...reply.headers, 'preference-applied': 'return=minimal' }, body: '' };
  };
}

/** The request's Idempotency-Key with a digest of what makes it the same request, and the operation that it is done for. */
export function idempotencyOf<Answer>(
  { request, mediaType, writer }: Call,
  shape: (answer: Answer) => Reply,
): Idempotency<Answer> | Deferred<Answer> | undefined {
  const key = request.headers['idempotency-key'];
  const operation = operationOf(request);
  if (key === undefined) return operation && { operation, shape };
  if (typeof key !== 'string' || !/^[\x20-\x7e]{1,255}$/.test(key)) {
    throw new Problem(
      'badRequest',
      `Idempotency-Key must be 1 to ${limits.idempotencyKeyLengthMax} printable ASCII characters.`,
    );
  }
  const digest = createHash('sha256');
  for (const part of [
    request.method,
    request.url,
    mediaType,
    request.headers['if-match'],
    request.headers['if-none-match'],
    // Who speaks is a part of what is asked. Not the epoch: a client that resumed its session may repeat what it sent before.
    writer?.session?.session,
  ])
    digest.update(`${part ?? ''}\n`);
  return { key, fingerprint: digest.update(rawBody(request)).digest('hex'), operation, shape };
}

/** If-Match compares strongly, If-None-Match weakly (RFC 9110, 13.1). */
export function preconditionsOf(request: FastifyRequest): Preconditions | undefined {
  const ifMatch = request.headers['if-match'];
  const ifNoneMatch = request.headers['if-none-match'];
  if (ifMatch === undefined && ifNoneMatch === undefined) return undefined;
  return {
    ifMatch: ifMatch === undefined ? undefined : parseTags(ifMatch, 'If-Match', false),
    ifNoneMatch: ifNoneMatch === undefined ? undefined : parseTags(ifNoneMatch, 'If-None-Match', true),
  };
}

/** The revision that `Stargus-Min-Revision` asks for. */
function minRevisionOf(request: FastifyRequest): number | undefined {
  const header = request.headers['stargus-min-revision'];
  if (header === undefined) return undefined;
  const revision = typeof header === 'string' && /^\d{1,16}$/.test(header) ? Number(header) : Number.NaN;
  if (!Number.isSafeInteger(revision))
    throw new Problem('badRequest', 'Stargus-Min-Revision must be a revision, a whole number below 2^53.');
  return revision;
}

/** Waits until the read that the request asks for can be answered from the state that it wants. */
export async function awaitMinRevision(
  { request }: Pick<Call, 'request'>,
  reader: Reader,
  pool: string,
): Promise<void> {
  const revision = minRevisionOf(request);
  if (revision !== undefined) await reader.awaitRevision(pool, revision);
}
