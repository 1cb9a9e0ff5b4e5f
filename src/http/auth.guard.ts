/**
 * Who asks. With STARGUS_AUTH=open everybody is the anonymous subject, and only requests that name this machine as their
 * host are taken, so that a web page from elsewhere can't reach the server through a name of its own that leads here.
 * With `required` every call needs the operator's key.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { Problem } from '../engine/errors.js';
import { anonymous, type Subject } from '../engine/subject.js';

export interface AuthenticationOptions {
  readonly required: boolean;
  readonly operatorKey: string;
  /** Whether a host name in a request means this machine and nobody else's. */
  isOwnHost(hostname: string): boolean;
}

const operator: Subject = { id: 'operator', isUnbound: true, restrictions: [] };

export class Authentication {
  readonly #digest: Buffer;
  readonly #hosts = new Map<string, boolean>();

  constructor(private readonly options: AuthenticationOptions) {
    this.#digest = digestOf(options.operatorKey);
  }

  /** What a client must know to log in. */
  get described(): { required: boolean; schemes: string[] } {
    return { required: this.options.required, schemes: this.options.required ? ['bearer'] : [] };
  }

  knows(request: FastifyRequest): boolean {
    return !this.options.required || this.#isOperator(request.headers.authorization);
  }

  authenticate(request: FastifyRequest): Subject {
    if (!this.options.required) return anonymous;
    if (this.#isOperator(request.headers.authorization)) return operator;
    const detail =
      request.headers.authorization === undefined
        ? 'Send the operator’s key as a bearer token: Authorization: Bearer <key>.'
        : 'The token is not valid here.';
    throw new Problem('unauthenticated', detail, { headers: { 'www-authenticate': 'Bearer realm="stargus"' } });
  }

  #isOperator(authorization: string | undefined): boolean {
    const match = /^Bearer (\S+)$/i.exec(authorization ?? '');
    return match !== null && timingSafeEqual(digestOf(match[1] as string), this.#digest);
  }

  /** Refuses a request that reached an open server under a name that isn't its own. To be called for every route. */
  checkHost(request: FastifyRequest): void {
    if (this.options.required) return;
    const host = request.headers.host ?? '';
    let own = this.#hosts.get(host);
    if (own === undefined) {
      own = this.options.isOwnHost(host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1'));
      if (this.#hosts.size < HOSTS_MAX) this.#hosts.set(host, own);
    }
    if (!own) {
      throw new Problem(
        'forbidden',
        `This server is open to its own machine only, and is not known as ${JSON.stringify(host.slice(0, 100))}. Use 127.0.0.1 or localhost, or set STARGUS_AUTH=required.`,
      );
    }
  }
}

/** Host headers that are remembered; others are judged each time. */
const HOSTS_MAX = 100;

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
