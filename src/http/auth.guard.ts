/**
 * Who asks. A request says it by an access token (as a bearer, with a proof of possession, or in a cookie), by an API key or by the
 * operator's key; a strategy for each asks the engine (auth-strategies.ts). What is wrong is 401, on every server. Without any of them
 * the request is anonymous where STARGUS_AUTH=open, and 401 where authentication is required. An open server takes only requests that
 * name this machine as their host, so that a web page from elsewhere can't reach it through a name of its own that leads here.
 *
 * Nothing is waited for where a token is remembered: on the hot path this is a digest and a look into a map.
 */
import type { FastifyRequest } from 'fastify';
import { isApiKey } from '../engine/access/api-keys.js';
import { type Authenticator, BoundTokenProblem } from '../engine/access/authenticator.js';
import { ProofProblem } from '../engine/access/proofs.js';
import type { PublicUrl } from '../engine/access/public-url.js';
import { Problem } from '../engine/errors.js';
import { anonymous, type Subject } from '../engine/subject.js';
import {
  ApiKeyStrategy,
  BearerStrategy,
  CookieStrategy,
  cookieOf,
  credentialsOf,
  DpopStrategy,
  OperatorStrategy,
} from './auth-strategies.js';
import { isOpened } from './sealing.js';

export interface AuthenticationOptions {
  readonly required: boolean;
  /** Whether a host name in a request means this machine and nobody else's. */
  isOwnHost(hostname: string): boolean;
}

type Strategies = {
  bearer: BearerStrategy;
  dpop: DpopStrategy;
  cookie: CookieStrategy;
  apiKey: ApiKeyStrategy;
  operator: OperatorStrategy;
};

/** How a request says who sends it. */
type Scheme = keyof Strategies;

/** The algorithms of proofs, as RFC 9449 tells them. */
export const PROOF_ALGORITHMS = ['EdDSA', 'ES256', 'PS256'];
const DPOP_CHALLENGE = `DPoP algs="${PROOF_ALGORITHMS.join(' ')}"`;
const BEARER = 'Bearer ';
const BEARER_CHALLENGE = 'Bearer realm="stargus"';

const SUBJECT = Symbol('subject');
type WithSubject = FastifyRequest & { [SUBJECT]?: Subject };

export class Authentication {
  readonly #hosts = new Map<string, boolean>();
  readonly #strategies: Strategies;

  constructor(
    private readonly authenticator: Authenticator,
    private readonly url: PublicUrl,
    private readonly options: AuthenticationOptions,
  ) {
    this.#strategies = {
      bearer: new BearerStrategy(authenticator),
      dpop: new DpopStrategy(authenticator),
      cookie: new CookieStrategy(authenticator),
      apiKey: new ApiKeyStrategy(authenticator),
      operator: new OperatorStrategy(authenticator),
    };
  }

  /** What a client must know to log in. */
  get described(): { required: boolean; schemes: string[] } {
    return { required: this.options.required, schemes: this.options.required ? ['bearer', 'dpop'] : [] };
  }

  /** Who asks; refuses with `unauthenticated`. A promise only where something has to be looked up or verified. */
  authenticate(request: FastifyRequest): Subject | Promise<Subject> {
    const token = this.#tokenOf(request);
    const known = token === undefined ? undefined : this.authenticator.known(token);
    if (known) return known;
    const scheme = this.#schemeOf(request);
    if (scheme === undefined) return this.#withoutCredentials();
    return this.#run(scheme, request).then((subject) => {
      (request as WithSubject)[SUBJECT] = subject;
      return subject;
    });
  }

  /**
   * Who asks, as far as that is known without waiting; undefined for who may not, for who isn't known yet, and for an encrypted login
   * before its request was opened.
   */
  known(request: FastifyRequest): Subject | undefined {
    const found = (request as WithSubject)[SUBJECT] ?? this.#remembered(request);
    return found?.channel && !isOpened(request) ? undefined : found;
  }

  #remembered(request: FastifyRequest): Subject | undefined {
    try {
      this.checkHost(request);
      const token = this.#tokenOf(request);
      const known = token === undefined ? undefined : this.authenticator.known(token);
      return known ?? (this.#schemeOf(request) === undefined ? this.#withoutCredentials() : undefined);
    } catch {
      return undefined;
    }
  }

  /** Who asks at a public route; undefined for who hasn't said so, or not truly. */
  async identify(request: FastifyRequest): Promise<Subject | undefined> {
    try {
      const subject = await this.authenticate(request);
      // What isn't sealed is answered in the open: to everybody.
      return subject.channel ? undefined : subject;
    } catch (error) {
      if (error instanceof Problem && ['unauthenticated', 'forbidden'].includes(error.code)) return undefined;
      throw error;
    }
  }

  /**
   * A browser sends the cookie by itself, also when a page from elsewhere makes it write: so a request that isn't a plain read must come
   * from a page of this server, as the browser says.
   */
  checkOrigin({ method, headers }: FastifyRequest): void {
    if (method === 'GET' || method === 'HEAD' || method === 'OPTIONS') return;
    const { origin, 'sec-fetch-site': site } = headers;
    const isOwn = site === undefined ? origin === this.url.href : site === 'same-origin';
    if (!isOwn) {
      throw new Problem(
        'forbidden',
        `What writes by the cookie must come from a page of ${this.url.href}, with Origin or Sec-Fetch-Site saying so. Others send the token in Authorization.`,
      );
    }
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

  /** The token by which the request may be remembered. A header says more than a cookie, which the browser adds by itself. */
  #tokenOf(request: FastifyRequest): string | undefined {
    const { authorization } = request.headers;
    if (authorization !== undefined)
      return authorization.startsWith(BEARER) ? authorization.slice(BEARER.length) : undefined;
    const token = cookieOf(request);
    if (token !== undefined) this.checkOrigin(request);
    return token;
  }

  #schemeOf(request: FastifyRequest): Scheme | undefined {
    if (request.headers.authorization === undefined) return cookieOf(request) === undefined ? undefined : 'cookie';
    const token = credentialsOf(request, 'bearer');
    if (token === undefined) {
      if (credentialsOf(request, 'dpop') !== undefined) return 'dpop';
      throw unauthenticated(
        'Authorization must be `Bearer <token>`, or `DPoP <token>` with a proof.',
        BEARER_CHALLENGE,
      );
    }
    if (this.authenticator.isOperator(token)) return 'operator';
    return isApiKey(token) ? 'apiKey' : 'bearer';
  }

  #withoutCredentials(): Subject {
    if (!this.options.required) return anonymous;
    throw unauthenticated(
      'Send an access token or a key: `Authorization: Bearer <token>`. Tokens in the query string are not looked at.',
      `${BEARER_CHALLENGE}, ${DPOP_CHALLENGE}`,
    );
  }

  /** Does what Passport's middleware does for one strategy: gives it a request, and its actions. */
  #run(scheme: Scheme, request: FastifyRequest): Promise<Subject> {
    const challenge = scheme === 'dpop' ? DPOP_CHALLENGE : BEARER_CHALLENGE;
    return new Promise((resolve, reject) => {
      const strategy = Object.create(this.#strategies[scheme]) as Strategies[Scheme];
      strategy.success = resolve;
      strategy.fail = (problem: unknown) =>
        reject(unauthenticated((problem as Problem).detail, told(problem, challenge)));
      strategy.error = reject;
      strategy.authenticate(request);
    });
  }
}

/** Host headers that are remembered; others are judged each time. */
const HOSTS_MAX = 100;

/** What a client is to do about a refusal (RFC 6750, 3; RFC 9449, 7.1). */
function told(problem: unknown, challenge: string): string {
  if (problem instanceof ProofProblem) return `${DPOP_CHALLENGE}, error="invalid_dpop_proof"`;
  return `${problem instanceof BoundTokenProblem ? DPOP_CHALLENGE : challenge}, error="invalid_token"`;
}

function unauthenticated(detail: string, challenge: string): Problem {
  return new Problem('unauthenticated', detail, { headers: { 'www-authenticate': challenge } });
}
