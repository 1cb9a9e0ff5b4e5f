/**
 * Page tokens: where a page ended, bound to the query that it belongs to. Opaque to clients, and not secret: whoever makes
 * one up reads from another place of what they may read anyway.
 */
import { createHash } from 'node:crypto';
import { Problem } from '../engine/errors.js';

export function newPageToken(query: readonly unknown[], last: string): string {
  return Buffer.from(JSON.stringify([digest(query), last])).toString('base64url');
}

/** The key after which the next page begins. Refuses a token of another query. */
export function readPageToken(token: string | undefined, query: readonly unknown[]): string | undefined {
  if (token === undefined) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(token, 'base64url').toString('utf8'));
  } catch {
    parsed = undefined;
  }
  if (!Array.isArray(parsed) || parsed.length !== 2 || typeof parsed[1] !== 'string') {
    throw new Problem('invalidCursor', '`pageToken` is not one that this server gave out.');
  }
  if (parsed[0] !== digest(query)) {
    throw new Problem(
      'invalidCursor',
      '`pageToken` belongs to another query. Repeat the query that it came from, with the same parameters.',
    );
  }
  return parsed[1];
}

function digest(query: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(query)).digest('base64url').slice(0, 12);
}
