/**
 * The ways in which a request says who sends it, as Passport strategies: each takes its part of the request and asks the engine. They are
 * run by auth.guard.ts, which does what Passport's middleware would, for the one strategy that a request is for.
 */
import type { FastifyRequest } from 'fastify';
import { Strategy } from 'passport-strategy';
import type { Authenticator } from '../engine/access/authenticator.js';
import { ProofProblem } from '../engine/access/proofs.js';
import { Problem } from '../engine/errors.js';
import type { Subject } from '../engine/subject.js';

export const COOKIE = '__Host-stargus';

/** A strategy whose success is a subject; it fails with the problem that the engine refuses with. */
abstract class SubjectStrategy extends Strategy {
  abstract readonly name: string;

  constructor(protected readonly authenticator: Authenticator) {
    super();
  }

  protected abstract identify(request: FastifyRequest): Promise<Subject>;

  override authenticate(request: unknown): void {
    this.identify(request as FastifyRequest).then(
      (subject) => this.success(subject),
      (error: unknown) => {
        if (error instanceof Problem && error.code === 'unauthenticated') this.fail(error, error.status);
        else this.error(error as Error);
      },
    );
  }
}

/** `Authorization: Bearer <access token>`. */
export class BearerStrategy extends SubjectStrategy {
  readonly name = 'bearer';

  protected identify(request: FastifyRequest): Promise<Subject> {
    return this.authenticator.bearer(credentialsOf(request, 'bearer') ?? '');
  }
}

/** `Authorization: DPoP <access token>` with a proof in `DPoP`. */
export class DpopStrategy extends SubjectStrategy {
  readonly name = 'dpop';

  protected async identify(request: FastifyRequest): Promise<Subject> {
    const { method, url: target } = request;
    const { dpop: proof } = request.headers;
    if (typeof proof !== 'string') throw new ProofProblem('The proof is missing: send it in DPoP.');
    return this.authenticator.proven(credentialsOf(request, 'dpop') ?? '', proof, { method, target });
  }
}

/** An access token in the cookie, where a client can set no headers, as EventSource. */
export class CookieStrategy extends SubjectStrategy {
  readonly name = 'cookie';

  protected identify(request: FastifyRequest): Promise<Subject> {
    return this.authenticator.bearer(cookieOf(request) ?? '');
  }
}

/** `Authorization: Bearer sgk_…`. */
export class ApiKeyStrategy extends SubjectStrategy {
  readonly name = 'apiKey';

  protected identify(request: FastifyRequest): Promise<Subject> {
    return this.authenticator.apiKey(credentialsOf(request, 'bearer') ?? '');
  }
}

/** `Authorization: Bearer <the operator's key of the configuration>`. */
export class OperatorStrategy extends SubjectStrategy {
  readonly name = 'operator';

  protected async identify(request: FastifyRequest): Promise<Subject> {
    return this.authenticator.operator(credentialsOf(request, 'bearer') ?? '');
  }
}

const CREDENTIALS = /^(Bearer|DPoP) +([\x21-\x7e]+)$/i;

/** What follows the scheme in `Authorization`; undefined where that has another scheme. */
export function credentialsOf({ headers }: FastifyRequest, scheme: 'bearer' | 'dpop'): string | undefined {
  const [, name, credentials] = CREDENTIALS.exec(headers.authorization ?? '') ?? [];
  return name?.toLowerCase() === scheme ? credentials : undefined;
}

const IN_COOKIE = new RegExp(`(?:^|;) *${COOKIE}=([\\w.~-]+) *(?:;|$)`);

/** The token in the cookie; undefined without it. */
export function cookieOf({ headers }: FastifyRequest): string | undefined {
  const { cookie } = headers;
  return cookie?.includes(COOKIE) ? IN_COOKIE.exec(cookie)?.[1] : undefined;
}

/** The header that sets the cookie for so long, or takes it away: for this host and its pages only, and for no script. */
export function setCookie(token: string, lifeMs: number): string {
  return `${COOKIE}=${token}; Path=/; Max-Age=${Math.floor(lifeMs / 1000)}; Secure; HttpOnly; SameSite=Strict`;
}
