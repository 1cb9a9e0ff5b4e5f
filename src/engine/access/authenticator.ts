/**
 * Who sends a token. What was verified is remembered until it is over, so that a request with a token costs about what it costs
 * without; what was revoked since is looked up each time, in memory. Tokens are remembered by their digests.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { Subject } from '../subject.js';
import { type AccessTokens, subjectOf } from './access-tokens.js';
import { type ApiKeys, isApiKey } from './api-keys.js';
import type { Channel } from './channel.js';
import { refusal } from './jws.js';
import { operator } from './operator.js';
import { ProofProblem, type Proofs, type ProvenRequest } from './proofs.js';
import type { Revocations } from './revocations.js';
import { digestOf } from './secrets.js';

/** Refuses with `unauthenticated` a token that needs a proof and came without. */
export class BoundTokenProblem extends Problem {
  constructor(detail: string) {
    super('unauthenticated', detail);
  }
}

interface Remembered {
  readonly subject: Subject;
  /** By this node's clock, in ms since 1970. */
  readonly until: number;
  /** The thumbprint of the key that a bound token needs a proof of. */
  readonly thumbprint: string | undefined;
}

export class Authenticator {
  readonly #remembered = new Map<string, Remembered>();
  readonly #operatorDigest: Buffer | undefined;

  /** `operatorKey` is that of the configuration; empty where there is none. */
  constructor(
    private readonly tokens: AccessTokens,
    private readonly apiKeys: ApiKeys,
    private readonly proofs: Proofs,
    private readonly revocations: Revocations,
    private readonly channelOf: (login: string) => Promise<Channel>,
    private readonly now: () => number,
    operatorKey: string,
  ) {
    if (operatorKey !== '') this.#operatorDigest = sha256(operatorKey);
  }

  /** Who sent the token without a proof, where that is remembered. */
  known(token: string): Subject | undefined {
    if (this.#remembered.size === 0) return undefined;
    const found = this.#recall(digestOf(token));
    return found?.thumbprint === undefined ? found?.subject : undefined;
  }

  isOperator(key: string): boolean {
    return this.#operatorDigest !== undefined && timingSafeEqual(sha256(key), this.#operatorDigest);
  }

  /** Who sends the operator’s key of the configuration. */
  operator(key: string): Subject {
    if (!this.isOperator(key)) throw refusal('The operator’s key is not that one.');
    const found = { subject: operator, until: Number.POSITIVE_INFINITY, thumbprint: undefined };
    return this.#checked(digestOf(key), found).subject;
  }

  async apiKey(key: string): Promise<Subject> {
    const digest = digestOf(key);
    const known = this.#recall(digest);
    if (known) return known.subject;
    const subject = await this.apiKeys.verify(key);
    const until = Math.min(subject.expiresAt ?? Number.POSITIVE_INFINITY, this.now() + limits.apiKeyCacheMs);
    return this.#checked(digest, { subject, until, thumbprint: undefined }).subject;
  }

  /** Who sends an access token as a bearer; one that is bound to a key is refused so. */
  async bearer(token: string): Promise<Subject> {
    const { subject, thumbprint } = await this.#accessToken(token);
    if (thumbprint !== undefined)
      throw new BoundTokenProblem('The token is bound to a key: send it as DPoP, with a proof for each request.');
    return subject;
  }

  /** Who sends an access token with a proof. */
  async proven(token: string, proof: string, request: ProvenRequest): Promise<Subject> {
    if (isApiKey(token)) throw refusal('An API key is bound to no key: send it as a bearer token.');
    const { subject, thumbprint } = await this.#accessToken(token);
    if (thumbprint === undefined) throw refusal('The token is bound to no key: send it as a bearer token.');
    if ((await this.proofs.check(proof, { ...request, token })) !== thumbprint)
      throw new ProofProblem('The proof is signed by another key than the token is bound to.');
    return subject;
  }

  async #accessToken(token: string): Promise<Remembered> {
    const digest = digestOf(token);
    const known = this.#recall(digest);
    if (known) return known;
    const verified = await this.tokens.verify(token);
    const { thumbprint, expiresAt } = verified;
    const channel = verified.channel === undefined ? undefined : await this.channelOf(verified.channel);
    const subject = subjectOf(verified, thumbprint !== undefined, channel);
    return this.#checked(digest, { subject, until: expiresAt, thumbprint });
  }

  #checked(digest: string, found: Remembered): Remembered {
    if (this.revocations.covers(found.subject)) throw refusal('The token was revoked.');
    if (this.#remembered.size >= limits.verifiedTokensMax) {
      const [oldest] = this.#remembered.keys();
      this.#remembered.delete(oldest as string);
    }
    this.#remembered.set(digest, found);
    return found;
  }

  /** Those that were used last are at the end. */
  #recall(digest: string): Remembered | undefined {
    const found = this.#remembered.get(digest);
    if (!found) return undefined;
    this.#remembered.delete(digest);
    if (found.until <= this.now() || this.revocations.covers(found.subject)) return undefined;
    this.#remembered.set(digest, found);
    return found;
  }
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
