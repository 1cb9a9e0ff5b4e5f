/**
 * The gate in front of all routes: turns away blocked addresses before anything else is done, bounds how often subjects and
 * addresses may do what, and hears of every refusal, by which addresses come to be blocked. A route without a bound costs nothing here.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Offenders } from '../engine/abuse/offenders.js';
import { Problem } from '../engine/errors.js';
import { limits } from '../engine/limits.js';
import type { Subject } from '../engine/subject.js';
import type { Rate } from '../platform/config.js';
import type { Addresses } from './address.js';
import { COOKIE } from './auth-strategies.js';
import { Limit, type Standing } from './limit.js';
import type { RouteSpec } from './route.js';

export type RateKind = 'login' | 'unlock' | 'writes' | 'reads' | 'streams';

/** Why somebody was turned away. */
export type RefusalKind = 'unauthenticated' | 'forbidden' | 'login' | 'unlock' | 'rate' | 'blocked' | 'connections';

export interface Refusal {
  readonly kind: RefusalKind;
  readonly address: string;
  /** The pool that was asked for, whether or not it is there. */
  readonly pool: string | undefined;
  /** Who asked, or the account that was named, where that is known. */
  readonly subject: string | undefined;
  readonly operation: string | undefined;
  /** The address is blocked from now on. */
  readonly isBlocked: boolean;
}

export interface GateOptions {
  readonly rates: Readonly<Record<RateKind, Rate | undefined>>;
  readonly addresses: Addresses;
  readonly offenders: Offenders;
  /** Hears of every refusal. Must not throw. */
  refused(refusal: Refusal): void;
  /** A request names the address that it was forwarded for, and comes from no proxy that is trusted. */
  forwarded(): void;
}

/** What bounds a route. Absent where nothing does. */
export interface RouteBounds {
  readonly ofAddress: Limit | undefined;
  readonly ofSubject: Limit | undefined;
}

/** A failed attempt with something that might have been right weighs as much as so many other refusals. */
export const ATTEMPT_WEIGHT = 10;

/** What tells whether the server is there. */
const PROBES = new Set(['/healthz', '/readyz']);

const ACCOUNT = Symbol('account');
const STANDINGS = Symbol('standings');
type WithNotes = FastifyRequest & { [ACCOUNT]?: string; [STANDINGS]?: { policy: string; standing: string } };

export class Gate {
  readonly #limits: Readonly<Record<RateKind, RouteBounds>>;
  #hasForwarded = false;

  constructor(private readonly options: GateOptions) {
    const boundsOf = (kind: RateKind): RouteBounds => {
      const rate = options.rates[kind];
      return {
        ofAddress: rate && new Limit(`${kind}-address`, rate),
        ofSubject: rate && new Limit(kind, rate),
      };
    };
    this.#limits = {
      ...{ login: boundsOf('login'), unlock: boundsOf('unlock'), writes: boundsOf('writes') },
      ...{ reads: boundsOf('reads'), streams: boundsOf('streams') },
    };
  }

  /** Turns away who is blocked, and what has more headers than any client sends. Before anything else of a request is looked at. */
  enter(request: FastifyRequest): Problem | undefined {
    const { offenders, addresses } = this.options;
    if (request.raw.rawHeaders.length > 2 * limits.headersMax)
      return new Problem('tooLarge', `A request has at most ${limits.headersMax} headers.`);
    // A block must not look like a server that is down.
    if (!offenders.hasBlocked || PROBES.has(request.routeOptions.url ?? '')) return undefined;
    const { key, isUnlimited } = addresses.of(request);
    if (isUnlimited) return undefined;
    const blockedMs = offenders.blockedMs(key, Date.now());
    if (blockedMs === 0) return undefined;
    this.#tell('blocked', request, undefined, undefined, false);
    return new Problem('tooManyRequests', 'Your address is blocked for a while, for it was refused too often.', {
      headers: { 'retry-after': String(Math.ceil(blockedMs / 1000)) },
    });
  }

  /** The account that a login or unlocking is about, once it is known: a refusal that follows is told of it. */
  nameAccount(request: FastifyRequest, account: string): void {
    (request as WithNotes)[ACCOUNT] = account;
  }

  /** Whence a request comes, as it is written wherever somebody is told of. */
  addressOf(request: FastifyRequest): string {
    return this.options.addresses.of(request).key;
  }

  /**
   * What bounds a route of this kind. Those of public routes are of addresses only, but for attempts at an account: were what
   * anybody may read bounded for the account, anybody could keep its owner out.
   */
  boundsOf(spec: RouteSpec, kind: RateKind): RouteBounds {
    const { ofAddress, ofSubject } = this.#limits[kind];
    const hasSubject = spec.public ? spec.rate === 'unlock' && spec.method !== 'GET' : true;
    return { ofAddress, ofSubject: hasSubject ? ofSubject : undefined };
  }

  /** Counts the request for its address. */
  takeAddress(limit: Limit, request: FastifyRequest, reply: FastifyReply): undefined | Promise<undefined> {
    const { key, isUnlimited } = this.options.addresses.of(request);
    if (!this.#hasForwarded && isUnlimited && request.headers['x-forwarded-for'] !== undefined) this.#heedForwarded();
    return isUnlimited ? undefined : this.#take(limit, key, request, reply);
  }

  /** Counts the request for who asks, or for the account that it is about. */
  takeSubject(
    limit: Limit,
    request: FastifyRequest,
    reply: FastifyReply,
    subject: Subject,
  ): undefined | Promise<undefined> {
    const { account } = request.params as { account?: string };
    return this.#take(limit, limit.name === 'unlock' ? (account ?? subject.id) : subject.id, request, reply);
  }

  /**
   * A request was refused. Told of those that are refused because of who asks. Only who tried something weighs on an address: not
   * who has sent nothing to be known by, nor a page from elsewhere, which makes its visitor's browser ask.
   */
  refused(problem: Problem, spec: RouteSpec | undefined, request: FastifyRequest, subject: Subject | undefined): void {
    if (problem.code !== 'unauthenticated' && problem.code !== 'forbidden') return;
    const { offenders, addresses } = this.options;
    const { key, isUnlimited } = addresses.of(request);
    const weight = isUnlimited ? 0 : weightOf(problem, spec, request);
    const isBlocked = weight > 0 && offenders.refuse(key, weight, Date.now());
    this.#tell(spec?.rate ?? problem.code, request, spec, subject, isBlocked);
  }

  /** A connection was refused. */
  refusedConnection(address: string): void {
    this.options.refused({
      ...{ kind: 'connections', address, pool: undefined, subject: undefined, operation: undefined, isBlocked: false },
    });
  }

  #take(limit: Limit, key: string, request: FastifyRequest, reply: FastifyReply): undefined | Promise<undefined> {
    const standing = limit.take(key);
    if (standing instanceof Promise) return standing.then((told) => this.#stand(limit, told, request, reply));
    return this.#stand(limit, standing, request, reply);
  }

  /** Tells how the key stands, in the fields of draft-ietf-httpapi-ratelimit-headers-10, and refuses what is too much. */
  #stand(limit: Limit, standing: Standing, request: FastifyRequest, reply: FastifyReply): undefined {
    const seconds = Math.max(0, Math.ceil((standing.endsAt - Date.now()) / 1000));
    const told = `"${limit.name}";r=${standing.left};t=${seconds}`;
    // A request is counted for its address first, then for its subject: both are told.
    const former = (request as WithNotes)[STANDINGS];
    const [policy, state] = former
      ? [`${former.policy}, ${limit.policy}`, `${former.standing}, ${told}`]
      : [limit.policy, told];
    (request as WithNotes)[STANDINGS] = { policy, standing: state };
    reply.header('ratelimit-policy', policy).header('ratelimit', state);
    if (!standing.isOver) return undefined;
    this.#tell('rate', request, undefined, undefined, false);
    throw new Problem(
      'tooManyRequests',
      `More than ${limit.rate.count} in ${limit.rate.everyMs / 1000} s: wait until the time is over.`,
      { headers: { 'retry-after': String(Math.max(1, seconds)) } },
    );
  }

  #tell(
    kind: RefusalKind,
    request: FastifyRequest,
    spec: RouteSpec | undefined,
    subject: Subject | undefined,
    isBlocked: boolean,
  ): void {
    const { pool, account } = (request.params ?? {}) as { pool?: string; account?: string };
    this.options.refused({
      kind,
      address: this.addressOf(request),
      pool,
      // Who only named an account is nobody.
      subject: (request as WithNotes)[ACCOUNT] ?? subject?.id ?? (spec?.rate ? account : undefined),
      operation: spec?.operationId,
      isBlocked,
    });
  }

  #heedForwarded(): void {
    this.#hasForwarded = true;
    if (!this.options.addresses.trustsAny) this.options.forwarded();
  }
}

function weightOf({ code }: Problem, spec: RouteSpec | undefined, { headers }: FastifyRequest): number {
  if (headers['sec-fetch-site'] === 'cross-site') return 0;
  if (spec?.rate !== undefined) return ATTEMPT_WEIGHT;
  if (code === 'forbidden') return 1;
  if (headers.authorization !== undefined || headers.cookie?.includes(COOKIE)) return ATTEMPT_WEIGHT;
  return spec?.proves ? 1 : 0;
}
