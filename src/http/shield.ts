/**
 * What guards browsers: headers that every answer has, which web pages may use the server, and that no other page makes a
 * browser write here.
 */

import cors from '@fastify/cors';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Problem } from '../engine/errors.js';

/** Answers that are pages have a policy of their own, which lets them load what they are made of. */
const HEADERS = {
  // What is served is what it says it is, and is shown in nobody else's page.
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  // State may be secret; what may be kept says so itself.
  'cache-control': 'no-store',
} as const;

/** Two years, as browsers' lists of sites want it. */
const HSTS = 'max-age=63072000';

const EXPOSED = [
  'ETag, Location, Link, Retry-After, Request-Id, RateLimit, RateLimit-Policy, Idempotency-Replayed, Preference-Applied, WWW-Authenticate',
  'Stargus-Revision, Stargus-Cursor, Stargus-Session, Stargus-Lock, DPoP-Nonce, Content-Disposition, Allow, Date',
]
  .join(', ')
  .split(', ');

/** How long a browser remembers what it was allowed. */
const PREFLIGHT_S = 600;
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'QUERY']);

export function shield(request: FastifyRequest, reply: FastifyReply): void {
  reply.headers(HEADERS);
  if (request.protocol === 'https') reply.header('strict-transport-security', HSTS);
}

/** Lets pages of these origins use the server: exact ones, which may send cookies, or `*`, which may not. */
export async function allowOrigins(instance: FastifyInstance, origins: readonly string[]): Promise<void> {
  if (origins.length === 0) return;
  const isAny = origins.includes('*');
  await instance.register(cors, {
    origin: isAny ? '*' : [...origins],
    credentials: !isAny,
    exposedHeaders: EXPOSED,
    // Routes answer OPTIONS themselves, for they know their methods.
    preflight: false,
  });
}

/** What a browser that asks beforehand is told: the methods of the path, and any header that it names. */
export function answerPreflight(request: FastifyRequest, reply: FastifyReply, methods: string): void {
  // Whether the origin may is told already.
  if (request.headers['access-control-request-method'] === undefined || !reply.hasHeader('access-control-allow-origin'))
    return;
  const wanted = request.headers['access-control-request-headers'];
  reply.header('access-control-allow-methods', methods).header('access-control-max-age', PREFLIGHT_S);
  if (wanted !== undefined && /^[\w!#$%&'*+.^`|~,\s-]+$/.test(wanted))
    reply.header('access-control-allow-headers', wanted).header('vary', 'Origin, Access-Control-Request-Headers');
}

/** Refuses a write that a page of another origin makes a browser send, as some can be sent without being asked for beforehand. */
export class Origins {
  readonly #allowed: ReadonlySet<string>;

  constructor(origins: readonly string[]) {
    this.#allowed = new Set(origins);
  }

  check(request: FastifyRequest): Problem | undefined {
    const { origin } = request.headers;
    if (origin === undefined || SAFE.has(request.method) || this.#allowed.has('*') || this.#allowed.has(origin))
      return undefined;
    // Of the page's scheme nothing is known behind a proxy that ends TLS.
    const { host } = request.headers;
    if (host !== undefined && (origin === `https://${host}` || origin === `http://${host}`)) return undefined;
    return new Problem(
      'forbidden',
      `Pages of ${JSON.stringify(origin.slice(0, 100))} may not write here: STARGUS_CORS_ORIGINS names those that may.`,
    );
  }
}
