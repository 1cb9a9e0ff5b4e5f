/**
 * Page tokens: where a page ended, bound to the query that it belongs to. Opaque to clients, and not secret: whoever makes
 * one up reads from another place of what they may read anyway. One that was altered is told from one that was given out.
 */
import { createHash } from 'node:crypto';
import { Problem } from '../engine/errors.js';
import { limits } from '../engine/limits.js';
import { digestOfValues, type ItemPosition, type Position } from '../engine/query/ordering.js';
import { type Json } from '../engine/state/json.js';

/**
 * What a token carries: the values of the order's terms, each in a list of one, or an empty one where it is absent; the key. Of
 * values that are too long only a digest.
 */
type Carried = [values: (readonly [Json] | readonly [])[] | string, key: string];

/** A SHA-256 in base64url. */
const DIGEST = /^[\w-]{43}$/;

export function newPageToken(query: readonly unknown[], { values, key }: Position): string {
  const token = write(query, [values.map((value) => (value === undefined ? [] : [value])), key]);
  return token.length <= limits.pageTokenBytesMax ? token : write(query, [digestOfValues(values), key]);
}

function write(query: readonly unknown[], carried: Carried): string {
  return encode([digest(query, carried), ...carried]);
}

/** After what the next page begins. Refuses a token of another query, and one that was altered; `pointer` is where it came from. */
export function readPageToken(
  token: string | undefined,
  query: readonly unknown[],
  pointer = '?pageToken',
): Position | ItemPosition | undefined {
  if (token === undefined) return undefined;
  const parsed = token.length <= limits.pageTokenBytesMax ? parse(token) : undefined;
  if (!isToken(parsed)) throw foreign(pointer, 'is not one that this server gave out.');
  const [sum, values, key] = parsed;
  if (sum !== digest(query, [values, key])) {
    throw foreign(
      pointer,
      'belongs to another query, or was altered. Repeat the query that it came from, with the same parameters.',
    );
  }
  return typeof values === 'string' ? { valuesDigest: values, key } : { values: values.map((value) => value[0]), key };
}

/** The same token for a list that has no order but that of its names. */
export function nameToken(query: readonly unknown[], name: string): string {
  return newPageToken(query, { values: [], key: name });
}

/** The digest is no secret: what has the right one may still have been made up. */
function isToken(parsed: unknown): parsed is [sum: unknown, ...Carried] {
  if (!Array.isArray(parsed) || parsed.length !== 3) return false;
  const [, values, key] = parsed as unknown[];
  if (typeof key !== 'string') return false;
  if (typeof values === 'string') return DIGEST.test(values);
  return Array.isArray(values) && values.every((value) => Array.isArray(value) && value.length < 2);
}

/** What a token holds, if it is written as this server writes it: decoding passes over much that an alteration leaves. */
function parse(token: string): unknown {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(token, 'base64url').toString('utf8'));
    return encode(parsed) === token ? parsed : undefined;
  } catch {
    return undefined;
  }
}

function encode(content: unknown): string {
  return Buffer.from(JSON.stringify(content)).toString('base64url');
}

function foreign(pointer: string, detail: string): Problem {
  const place = { pointer, code: 'invalidCursor', detail };
  return new Problem('invalidCursor', `\`pageToken\` ${detail}`, { errors: [place] });
}

function digest(query: readonly unknown[], carried: Carried): string {
  return createHash('sha256')
    .update(JSON.stringify([query, carried]))
    .digest('base64url')
    .slice(0, 12);
}
