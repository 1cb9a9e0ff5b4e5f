/** Parsing and checking of what comes in: bodies, query parameters. Every refusal names the place and what is expected. */
import { isUtf8 } from 'node:buffer';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { z } from 'zod';
import { type ErrorPlace, Problem } from '../engine/errors.js';
import { limits } from '../engine/limits.js';
import { type Json, parseJson, pointerToken } from '../engine/state/json.js';
import { NDJSON_TYPE } from './ndjson.js';
import type { RouteSpec } from './route.js';

const RAW = Symbol('raw');
type WithRaw = FastifyRequest & { [RAW]?: Buffer };

export const JSON_TYPE = 'application/json';
export const JOSE_TYPE = 'application/jose';
export const MERGE_PATCH_TYPE = 'application/merge-patch+json';
export const JSON_PATCH_TYPE = 'application/json-patch+json';

/** Replaces Fastify's parsers by one that keeps numbers exact, refuses what isn't UTF-8, and keeps the bytes. */
export function registerParsers(instance: FastifyInstance): void {
  instance.removeAllContentTypeParsers();
  instance.addContentTypeParser(
    [JSON_TYPE, MERGE_PATCH_TYPE, JSON_PATCH_TYPE],
    { parseAs: 'buffer' },
    (request, payload, done) => {
      const bytes = payload as Buffer;
      (request as WithRaw)[RAW] = bytes;
      if (isEncoded(request)) return done(encodedBody());
      try {
        done(null, parseBody(bytes));
      } catch (error) {
        done(error as Error);
      }
    },
  );
  // Encrypted: opened when it is known who asks. The limits are those of what arrives, four bytes for three.
  instance.addContentTypeParser(JOSE_TYPE, { parseAs: 'buffer' }, (request, payload, done) => {
    (request as WithRaw)[RAW] = payload as Buffer;
    if (isEncoded(request)) done(encodedBody());
    else done(null, payload);
  });
  // Left as it is: the routes that take it read it by themselves, the others refuse it.
  instance.addContentTypeParser(NDJSON_TYPE, (request, payload, done) =>
    isEncoded(request) ? done(encodedBody()) : done(null, payload),
  );
}

/** Puts what an encrypted body says in its place. */
export function replaceBody(request: FastifyRequest, bytes: Buffer): void {
  (request as WithRaw)[RAW] = bytes;
  request.body = parseBody(bytes);
}

function parseBody(bytes: Buffer): Json | undefined {
  if (bytes.length === 0) return undefined;
  if (!isUtf8(bytes)) throw new Problem('badRequest', 'The body is not valid UTF-8.');
  return parseJson(bytes.toString('utf8'));
}

function isEncoded({ headers }: FastifyRequest): boolean {
  const encoding = headers['content-encoding'];
  return encoding !== undefined && encoding.toLowerCase() !== 'identity';
}

function encodedBody(): Problem {
  return new Problem('unsupportedMediaType', 'Send the body as it is, without a Content-Encoding.', {
    headers: { 'accept-encoding': 'identity' },
  });
}

export function rawBody(request: FastifyRequest): Buffer {
  return (request as WithRaw)[RAW] ?? Buffer.alloc(0);
}

export function mediaTypeOf(request: FastifyRequest): string {
  const header = request.headers['content-type'];
  if (header === undefined || header === JSON_TYPE) return header ?? '';
  return (header.split(';')[0] as string).trim().toLowerCase();
}

export function checkBody(spec: RouteSpec, request: FastifyRequest, mediaType: string): unknown {
  const { body } = spec;
  const present = request.body !== undefined && request.body !== null ? true : request.body === null;
  if (!body) {
    if (present) throw new Problem('badRequest', 'This call takes no body.');
    return undefined;
  }
  if (!present) {
    if (body.optional) return {};
    throw new Problem('badRequest', `A body of the type ${typesOf(spec).join(' or ')} is needed.`);
  }
  const types = typesOf(spec);
  if (!types.includes(mediaType)) throw unsupported(spec);
  if (body.stream) return request.body;
  return check(body.types?.[mediaType] ?? body.schema, request.body, '');
}

export function typesOf({ body }: RouteSpec): string[] {
  return body?.stream ? [body.stream] : [JSON_TYPE, ...Object.keys(body?.types ?? {})];
}

export function unsupported(spec: RouteSpec | undefined): Problem {
  const types = spec ? typesOf(spec) : [JSON_TYPE];
  return new Problem('unsupportedMediaType', `Send the body with Content-Type: ${types.join(' or ')}.`, {
    headers: { accept: types.join(', ') },
  });
}

export function bodyLimitOf({ body }: RouteSpec): number {
  return body?.bytesMax ?? limits.itemBodyBytesMax;
}

export function checkQuery(spec: RouteSpec, request: FastifyRequest): unknown {
  const query = request.query as Record<string, unknown>;
  checkEncoding(request.url);
  if (spec.query) return check(spec.query, query, '?');
  const unknown = Object.keys(query);
  if (unknown.length > 0) throw unknownNames(unknown, '?');
  return query;
}

/** The query parser takes what isn't UTF-8 as it stands; it is refused instead. */
function checkEncoding(url: string): void {
  const begin = url.indexOf('?');
  if (begin < 0 || !url.includes('%', begin)) return;
  try {
    decodeURIComponent(url.slice(begin));
  } catch {
    throw new Problem('badRequest', 'The query string is not valid: percent-encoding must be of UTF-8.');
  }
}

/** `place` is what the pointers begin with: nothing for a body, `?` for query parameters. */
function check(schema: z.ZodType, value: unknown, place: '' | '?'): unknown {
  const result = schema.safeParse(value, { error: explain });
  if (result.success) return result.data;
  const places = result.error.issues.flatMap((issue) => placesOf(issue, place));
  throw new Problem('badRequest', sentence(places, place), { errors: places.slice(0, 20) });
}

/** What zod found, in words that say what would be right; schemas with words of their own come before it. */
function explain(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined
        ? 'is missing.'
        : `must be ${KINDS[issue.expected] ?? `of the type ${issue.expected}`}.`;
    case 'invalid_value':
      return `must be one of ${issue.values.map((value: unknown) => JSON.stringify(value)).join(', ')}.`;
    case 'too_big':
      return `must be at most ${issue.maximum}${unitOf(issue.origin)}.`;
    case 'too_small':
      return `must be at least ${issue.minimum}${unitOf(issue.origin)}.`;
    default:
      return undefined;
  }
}

function unitOf(origin: string): string {
  if (origin === 'string') return ' characters long';
  return origin === 'array' ? ' entries long' : '';
}

const KINDS: Record<string, string> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'an object',
  array: 'an array',
};

function unknownNames(names: readonly string[], place: '' | '?'): Problem {
  const places = names.map((name) => ({
    pointer: `${place}${name}`,
    code: 'badRequest',
    detail: `Unknown: there is no such ${place ? 'parameter' : 'member'} here.`,
  }));
  return new Problem('badRequest', sentence(places, place), { errors: places });
}

function placesOf(issue: z.core.$ZodIssue, place: '' | '?'): ErrorPlace[] {
  const tokens = issue.path.map((token) => pointerToken(String(token)));
  const pointer = place === '?' ? `?${tokens.join('/')}` : tokens.map((token) => `/${token}`).join('');
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((name) => ({
      pointer: place === '?' ? `?${name}` : `${pointer}/${pointerToken(name)}`,
      code: 'badRequest',
      detail: `Unknown: there is no such ${place ? 'parameter' : 'member'} here.`,
    }));
  }
  return [{ pointer, code: 'badRequest', detail: issue.message }];
}

function sentence(places: readonly ErrorPlace[], place: '' | '?'): string {
  const [first] = places;
  const where =
    first?.pointer === '' ? 'The body' : `${place ? 'Parameter' : 'Member'} ${first?.pointer.replace(/^\?/, '')}`;
  return `${where}: ${first?.detail}${places.length > 1 ? ` (and ${places.length - 1} more)` : ''}`;
}
