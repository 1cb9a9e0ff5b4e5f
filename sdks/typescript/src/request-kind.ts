/** Which requests take an `Idempotency-Key`, and which may be sent again though nobody knows what became of the first. By method and path; pure. */

const READS = new Set(['GET', 'HEAD', 'OPTIONS', 'QUERY']);

/** Writes of a pool that keep no answer for a repetition. */
const WITHOUT_KEY =
  /\/(import|renew)$|\/policy\/(check|explain|preview)$|\/collections\/[^/]+\/query$|\/notifiers\/[^/]+\/(resume|rotateSecret|test)$|\/redeliver$|\/operations\/[^/]+$/;

/** Posts that only read, or do the same however often they are sent. */
const HARMLESS = /\/collections\/[^/]+\/query$|\/policy\/(check|explain|preview)$|\/renew$|^\/v1\/auth\/challenges$/;

export function isRead(method: string): boolean {
  return READS.has(method);
}

/** @param path without the query */
export function takesIdempotencyKey(method: string, path: string): boolean {
  return !isRead(method) && path.startsWith('/v1/pools/') && !WITHOUT_KEY.test(path);
}

/** @param path without the query */
export function isRepeatable(method: string, path: string): boolean {
  return isRead(method) || takesIdempotencyKey(method, path) || HARMLESS.test(path);
}
