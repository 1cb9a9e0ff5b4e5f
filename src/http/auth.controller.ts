/** Logging in and what follows it: challenges, tokens, revocation, the cookie, and who one is. */
import { Controller, Inject } from '@nestjs/common';
import type { z } from 'zod';
import { Access } from '../engine/access/access.js';
import { type IssuedToken, subjectOf } from '../engine/access/access-tokens.js';
import { accountNamedIn } from '../engine/access/assertion.js';
import { channelKeyOf } from '../engine/access/channel.js';
import { detailsOf, parseRestriction } from '../engine/access/restriction.js';
import type { AuditKind } from '../engine/audit/audit-notes.js';
import { Engine } from '../engine/engine.js';
import { type ErrorPlace, Problem } from '../engine/errors.js';
import { limits } from '../engine/limits.js';
import type { Json, JsonObject } from '../engine/state/json.js';
import { checkName } from '../engine/state/names.js';
import { send } from './answers.js';
import { Authentication } from './auth.guard.js';
import * as schema from './auth.schema.js';
import { credentialsOf, setCookie } from './auth-strategies.js';
import { Gate } from './gate.js';
import { type Call, Route } from './route.js';

type TokenRequest = z.output<typeof schema.tokenBody>;

/** What each grant type needs, and may have beside `pool`. */
const GRANTS: Readonly<Record<string, { needed: (keyof TokenRequest)[]; possible: (keyof TokenRequest)[] }>> = {
  [schema.JWT_BEARER]: {
    needed: ['assertion'],
    possible: ['authorizationDetails', 'encryption', 'encryptionKey'],
  },
  [schema.REFRESH]: { needed: ['refreshToken'], possible: [] },
  [schema.TOKEN_EXCHANGE]: {
    needed: ['subjectToken', 'subjectTokenType'],
    possible: ['authorizationDetails', 'audience', 'publisher', 'assistant', 'keyThumbprint', 'expiresInMs'],
  },
};

/** What a proxy says of those before it. */
const FORWARDED = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-forwarded-port'];
const NO_POLICY = { rules: [], restrictions: [] };

/** What a browser keeps of one cookie is 4096 bytes, with its name and attributes. */
const COOKIE_TOKEN_LENGTH_MAX = 3900;

@Controller()
export class AuthController {
  constructor(
    @Inject(Access) private readonly access: Access,
    @Inject(Authentication) private readonly authentication: Authentication,
    @Inject(Engine) private readonly engine: Engine,
    @Inject(Gate) private readonly gate: Gate,
  ) {}

  @Route({
    method: 'POST',
    path: '/v1/auth/challenges',
    operationId: 'createChallenge',
    tag: 'auth',
    summary: 'Get a nonce to log in with',
    public: true,
    rate: 'login',
    body: { schema: schema.challengeBody, optional: true },
    answers: { 200: { description: 'A nonce, for one assertion.', schema: schema.challenge } },
  })
  async challenge(call: Call): Promise<void> {
    if (!this.access.url.isConfigured && FORWARDED.some((name) => call.request.headers[name] !== undefined))
      throw unnamed();
    const nonce = await this.access.challenges.issue();
    sendSecret(call, 200, { nonce, audience: this.access.url.href, expiresInMs: limits.nonceMs });
  }

  @Route({
    method: 'POST',
    path: '/v1/auth/token',
    operationId: 'issueToken',
    tag: 'auth',
    summary: 'Log in, refresh a token, or exchange one for a weaker one',
    description:
      'With a signed assertion, a refresh token, or an access token, API key or delegation to be exchanged. A proof in `DPoP` binds the new token to its key. ' +
      'What is wrong with what is sent is 401 `unauthenticated`; a weaker token that asks for more than there is is 422 `invalid`, which names the member.',
    public: true,
    rate: 'login',
    body: { schema: schema.tokenBody },
    answers: { 200: { description: 'An access token.', schema: schema.token } },
  })
  async token(call: Call<unknown, TokenRequest>): Promise<void> {
    const { body, request } = call;
    checkGrant(body);
    if (body.pool !== undefined) checkName('pool', body.pool);
    const { authorizationDetails: details } = body;
    const restriction = details && parseRestriction(details as Json, '/authorizationDetails');
    const { dpop } = request.headers;
    const prover =
      dpop === undefined
        ? undefined
        : await this.access.proofs.check(String(dpop), { method: request.method, target: request.url });
    const { logins, exchange } = this.access;
    switch (body.grantType) {
      case schema.JWT_BEARER: {
        const assertion = body.assertion as string;
        // Whether or not it is the account's: a refusal tells who was meant.
        const named = accountNamedIn(assertion);
        if (named !== undefined) this.gate.nameAccount(request, named);
        const issued = await logins.begin(assertion, restriction, prover, encryptionKeyOf(body));
        this.#note(call, 'login', issued.verified.subject);
        return this.#answer(call, issued, issued.sessionKey);
      }
      case schema.REFRESH:
        return this.#answer(call, await logins.refresh(body.refreshToken as string, prover));
      default: {
        const issued = await exchange.exchange(
          {
            subjectToken: body.subjectToken as string,
            subjectTokenType: body.subjectTokenType as string,
            restriction,
            application: body.audience,
            publisher: body.publisher,
            assistant: body.assistant,
            thumbprint: body.keyThumbprint,
            lifeMs: body.expiresInMs,
          },
          prover,
        );
        return this.#answer(call, issued);
      }
    }
  }

  @Route({
    method: 'POST',
    path: '/v1/auth/revoke',
    operationId: 'revokeToken',
    tag: 'auth',
    summary: 'Make a token void, with all that was made from it',
    description:
      'Of a refresh token or the access token of a login the whole login; of a weaker token that token and those made from it; of a delegation its last link; an API key itself. Streams that are open under it end with `bye`, on every node within some seconds. Whoever has the token may revoke it.',
    public: true,
    rate: 'login',
    body: { schema: schema.revokeBody },
    answers: { 200: { description: 'The token is good for nothing now.', schema: schema.revocation } },
  })
  async revoke(call: Call<unknown, z.output<typeof schema.revokeBody>>): Promise<void> {
    const subject = await this.access.revoke(call.body.token);
    if (subject !== undefined) this.#note(call, 'revoked', subject);
    sendSecret(call, 200, { revoked: subject !== undefined });
  }

  @Route({
    method: 'GET',
    path: '/v1/auth/me',
    operationId: 'getCaller',
    tag: 'auth',
    summary: 'See who one is to the server',
    answers: { 200: { description: 'Who asks.', schema: schema.subject } },
  })
  me(call: Call): void {
    const { id, isUnbound, host, login, isBound = false, expiresAt, restrictions } = call.subject;
    const { application, publisher, assistants = [] } = call.subject;
    sendSecret(call, 200, {
      ...{ subject: id, isOperator: isUnbound, host, login, isBound },
      expiresInMs: expiresAt === undefined ? undefined : Math.max(0, expiresAt - Date.now()),
      ...{ application, publisher, assistants: assistants.length > 0 ? assistants : undefined },
      restrictions: restrictions.map((restriction) => ({ authorizationDetails: detailsOf(restriction) })),
    });
  }

  @Route({
    method: 'POST',
    path: '/v1/auth/cookie',
    operationId: 'createCookie',
    tag: 'auth',
    summary: 'Put the access token into a cookie',
    description:
      'For EventSource, which can set no header. The cookie `__Host-stargus` has the token of this request and lives as long; no script can read it. What writes by it must come from a page of this server.',
    body: { schema: schema.cookieBody, optional: true },
    answers: { 200: { description: 'The cookie is set.', schema: schema.cookie } },
  })
  setCookie(call: Call): void {
    const { subject, request, reply } = call;
    const token = credentialsOf(request, 'bearer');
    const isAccessToken =
      token !== undefined && subject.expiresAt !== undefined && token.split('.').length === 3 && !subject.channel;
    if (!isAccessToken) {
      throw new Problem(
        'invalid',
        'Only an access token goes into the cookie: one that is sent as a bearer, bound to no key. An API key is first exchanged for one.',
      );
    }
    if (token.length > COOKIE_TOKEN_LENGTH_MAX) {
      throw new Problem(
        'invalid',
        `The token is longer than the ${COOKIE_TOKEN_LENGTH_MAX} characters that a cookie holds: narrow it less finely.`,
      );
    }
    const expiresInMs = Math.max(0, (subject.expiresAt as number) - Date.now());
    reply.header('set-cookie', setCookie(token, expiresInMs));
    sendSecret(call, 200, { expiresInMs });
  }

  @Route({
    method: 'DELETE',
    path: '/v1/auth/cookie',
    operationId: 'deleteCookie',
    tag: 'auth',
    summary: 'Take the cookie away',
    description: 'The token stays good; revoke it if it isn’t to be.',
    public: true,
    answers: { 200: { description: 'There is no cookie now.', schema: schema.cookie } },
  })
  removeCookie(call: Call): void {
    if (call.request.headers.authorization === undefined) this.authentication.checkOrigin(call.request);
    call.reply.header('set-cookie', setCookie('', 0));
    sendSecret(call, 200, { expiresInMs: 0 });
  }

  async #answer(
    call: Call<unknown, TokenRequest>,
    { token, verified, refreshToken }: IssuedToken,
    sessionKey?: string,
  ): Promise<void> {
    const { pool } = call.body;
    const subject = subjectOf(verified, verified.thumbprint !== undefined);
    // Of an encrypted login nothing is told in the open: it asks, sealed, for its effective policy.
    const isTold = pool !== undefined && verified.channel === undefined;
    const { rules, restrictions } = isTold ? await this.access.policyOf(subject, pool) : NO_POLICY;
    sendSecret(call, 200, {
      accessToken: token,
      tokenType: verified.thumbprint === undefined ? 'Bearer' : 'DPoP',
      expiresInMs: verified.expiresAt - Date.now(),
      refreshToken,
      authorizationDetails: detailsOf(verified.restrictions.at(-1) ?? []),
      ...{ rules, restrictions, sessionKey },
    });
  }

  #note({ request }: Call<unknown, unknown>, kind: AuditKind, subject: string): void {
    this.engine.audit.note({ kind, subject, address: this.gate.addressOf(request) });
  }
}

/** Answers what no cache may keep. */
export function sendSecret(call: Call, status: number, body: object, headers: Record<string, string> = {}): void {
  send(call, { status, headers: { 'cache-control': 'no-store', ...headers }, body: JSON.stringify(body) });
}

/** Behind a proxy the address that is listened on is that of many servers: an assertion for it would be good at each of them. */
function unnamed(): Problem {
  return new Problem(
    'conflict',
    'Nobody can log in through a proxy before this server knows its own URL: set STARGUS_PUBLIC_URL to the one under which others know it.',
  );
}

function checkGrant(body: TokenRequest): void {
  const grant = Object.hasOwn(GRANTS, body.grantType) ? GRANTS[body.grantType] : undefined;
  if (!grant) throw malformed([place('grantType', `must be one of ${Object.keys(GRANTS).join(', ')}.`)]);
  const missing = grant.needed.filter((member) => body[member] === undefined);
  const known = ['grantType', 'pool', ...grant.needed, ...grant.possible];
  const others = Object.keys(body).filter((member) => !known.includes(member));
  const places = [
    ...missing.map((member) => place(member, 'is missing.')),
    ...others.map((member) => place(member, 'has no meaning with this grantType.')),
  ];
  if (places.length > 0) throw malformed(places);
}

/** The key that the content key of the login is to be encrypted to. */
function encryptionKeyOf({ encryption = false, encryptionKey }: TokenRequest): JsonObject | undefined {
  if (!encryption && encryptionKey === undefined) return undefined;
  const key = encryption ? channelKeyOf(encryptionKey as Json | undefined) : undefined;
  if (!key) throw malformed([place('encryptionKey', 'must be a public P-256 or X25519 key, with `encryption: true`.')]);
  return key;
}

function place(member: string, detail: string): ErrorPlace {
  return { pointer: `/${member}`, code: 'badRequest', detail };
}

function malformed(errors: ErrorPlace[]): Problem {
  return new Problem('badRequest', `${errors[0]?.pointer} ${errors[0]?.detail}`, { errors });
}
