/**
 * Proofs of possession (DPoP, RFC 9449): a text that a client signs for each request, with the key that its token is bound to. It names
 * the request and the token, and is good for a minute and for once, on whichever node: its id is noted in the database. Proofs
 * that come together are noted together. The server gives out no nonces for proofs.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import { thumbprintOf } from './jwk.js';
import { checkSigned, embeddedKey, readSigned, refusal, textClaim, timeClaim } from './jws.js';
import type { LoginStore } from './login-store.js';
import type { PublicUrl } from './public-url.js';
import { digestOf } from './secrets.js';

const PURPOSE = { name: 'The proof', typ: 'dpop+jwt', header: ['jwk'] as const, lengthMax: limits.proofLengthMax };

/** Refuses with `unauthenticated` a proof that is none. */
export class ProofProblem extends Problem {
  constructor(detail: string) {
    super('unauthenticated', detail);
  }
}

/** The request that a proof is for. */
export interface ProvenRequest {
  readonly method: string;
  /** The path with its query, or the whole URL (RFC 9112, 3.2.2), as it came. */
  readonly target: string;
  /** The access token that it is sent with; undefined where tokens are asked for. */
  readonly token?: string | undefined;
}

interface Waiting {
  readonly digest: string;
  resolve(isFirst: boolean): void;
  reject(error: unknown): void;
}

export class Proofs {
  #waiting: Waiting[] = [];
  #noting = false;

  constructor(
    private readonly store: LoginStore,
    private readonly url: PublicUrl,
    private readonly now: () => number,
  ) {}

  /** The thumbprint of the key that signed the proof; refuses with `ProofProblem` one that isn't for this request, or has been used. */
  async check(text: string, request: ProvenRequest): Promise<string> {
    try {
      return await this.#check(text, request);
    } catch (error) {
      throw error instanceof Problem && error.code === 'unauthenticated' ? new ProofProblem(error.detail) : error;
    }
  }

  async #check(text: string, request: ProvenRequest): Promise<string> {
    const { name } = PURPOSE;
    const signed = readSigned(text, PURPOSE);
    const key = embeddedKey(signed, name);
    await checkSigned(signed, key, name);
    const { claims } = signed;
    if (claims.htm !== request.method) throw refusal(`${name} must have ${request.method} as htm.`);
    const uri = `${this.url.href}${pathOf(request.target)}`;
    if (!sameUri(textClaim(claims, 'htu', name, limits.signedTextLengthMax), uri))
      throw refusal(`${name} must have ${uri} as htu.`);
    const jti = textClaim(claims, 'jti', name);
    const iat = timeClaim(claims, 'iat', name);
    const now = this.now();
    if (iat > now + limits.clockSkewMs || iat <= now - limits.proofMs)
      throw refusal(
        `${name} must be made at most ${limits.proofMs / 1000} s before it is sent, by a clock that is right.`,
      );
    if (request.token !== undefined && claims.ath !== digestOf(request.token))
      throw refusal(`${name} must have as ath the digest of its token.`);
    const thumbprint = await thumbprintOf(key.jwk);
    if (!(await this.#useOnce(digestOf(`${thumbprint} ${jti}`)))) throw refusal(`${name} has been used before.`);
    return thumbprint;
  }

  /** Refuses a sealed request whose number was used before under its login. */
  async checkNumber(login: string, seq: number): Promise<void> {
    if (!(await this.#useOnce(digestOf(`${login} ${seq}`))))
      throw refusal('The seq of the sealed text was used before.');
  }

  #useOnce(digest: string): Promise<boolean> {
    if (this.#waiting.length >= limits.proofsWaitingMax) {
      throw new Problem('unavailable', 'Too many proofs wait to be noted.', { headers: { 'retry-after': '1' } });
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ digest, resolve, reject });
      if (!this.#noting) void this.#note();
    });
  }

  /** Notes all that wait in one transaction, again and again until none is left. */
  async #note(): Promise<void> {
    this.#noting = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, limits.leaseBatchMax);
      try {
        const first = await this.store.useProofs(
          batch.map(({ digest }) => digest),
          limits.proofMs + 2 * limits.clockSkewMs,
        );
        batch.forEach(({ resolve }, i) => {
          resolve(first[i] as boolean);
        });
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#noting = false;
  }
}

/** Of a target that names a host only the path counts: which server this is, it knows itself. */
function pathOf(target: string): string {
  return target.startsWith('/') ? target.replace(/[?#].*$/s, '') : (URL.parse(target)?.pathname ?? '/');
}

/** By scheme, host and path; a query and a fragment don't count (RFC 9449, 4.3). */
function sameUri(given: string, wanted: string): boolean {
  if (!URL.canParse(given)) return false;
  const [a, b] = [new URL(given), new URL(wanted)];
  return a.origin === b.origin && a.pathname === b.pathname;
}
