/**
 * Token exchange (RFC 8693): a weaker token for a token, or a token for a delegation. The new one may do no more, is over no later,
 * is bound if the old one was, and ends when that is revoked; it can be revoked without harm to the old one. It has no refresh token.
 */
import { randomUUID } from 'node:crypto';
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { AccessTokens, IssuedToken, TokenGrant } from './access-tokens.js';
import { type ApiKeys, isApiKey } from './api-keys.js';
import { type CheckedDelegation, checkDelegation, type DelegationRoot, idOfLink, partsOf } from './delegation.js';
import { fault, type Restriction } from './grant.js';
import { refusal } from './jws.js';
import type { KeySource } from './keys.js';
import type { LoginStore } from './login-store.js';
import type { PublicUrl } from './public-url.js';
import { narrowed } from './restriction.js';
import type { Revocations } from './revocations.js';

export const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token';
export const DELEGATION_TYPE = 'urn:stargus:params:oauth:token-type:delegation';

export interface ExchangeRequest {
  readonly subjectToken: string;
  readonly subjectTokenType: string;
  readonly restriction?: Restriction | undefined;
  /** The application that the new token is for, and who publishes it. */
  readonly application?: string | undefined;
  readonly publisher?: string | undefined;
  /** Who is to act by the new token. */
  readonly assistant?: string | undefined;
  /** The thumbprint of the key that the new token is to be bound to. */
  readonly thumbprint?: string | undefined;
  readonly lifeMs?: number | undefined;
}

/** What the new token is made from. */
interface Source extends Omit<TokenGrant, 'login' | 'authenticatedAt'> {
  readonly authenticatedAt: number | undefined;
  readonly expiresAt: number;
  /** The account's key that signed it, where it began with that. */
  readonly signer?: string | undefined;
}

export class Exchange {
  constructor(
    private readonly store: LoginStore,
    private readonly keys: KeySource,
    private readonly tokens: AccessTokens,
    private readonly apiKeys: ApiKeys,
    private readonly revocations: Revocations,
    private readonly url: PublicUrl,
    private readonly now: () => number,
  ) {}

  /** `prover` is the thumbprint of the key that proved itself with the request, if one did. */
  async exchange(request: ExchangeRequest, prover: string | undefined): Promise<IssuedToken> {
    const source = await this.#sourceOf(request);
    if (source.thumbprint !== undefined && source.thumbprint !== prover)
      throw refusal('The token is bound to a key: send a proof of it (DPoP).');
    if (source.lineage.length > 2 * limits.delegationDepthMax)
      throw fault('/subjectToken', 'has been handed on too often.');
    const restrictions = narrowed(source.restrictions, request.restriction, '/authorizationDetails');
    if (source.signer !== undefined) await this.keys.settle(source.subject, source.signer);
    return this.tokens.issue(
      {
        subject: source.subject,
        login: randomUUID(),
        lineage: source.lineage,
        authenticatedAt: source.authenticatedAt ?? this.now(),
        restrictions,
        thumbprint: request.thumbprint ?? source.thumbprint ?? prover,
        application: sameOrNew(request.application, source.application, '/audience'),
        publisher: sameOrNew(request.publisher, source.publisher, '/publisher'),
        channel: source.channel,
        assistants: [...(request.assistant === undefined ? [] : [request.assistant]), ...source.assistants],
      },
      this.#lifeOf(request, source),
    );
  }

  /** Checks a delegation and everything in it that may have been revoked. */
  async delegation(chain: string): Promise<{ checked: CheckedDelegation; source: Source }> {
    const { root: token, links } = partsOf(chain);
    const root = token === undefined ? undefined : await this.#tokenSource(token);
    if (root && root.thumbprint === undefined)
      throw refusal('The access token of the delegation must be bound to a key, for that key signs the first link.');
    const begin = root && { ...root, text: token as string, thumbprint: root.thumbprint as string };
    const checked = await checkDelegation(
      links,
      begin satisfies DelegationRoot | undefined,
      this.keys,
      this.url.href,
      this.now(),
    );
    if (await this.store.anyRevoked(checked.ids)) throw refusal('The delegation was revoked.');
    const source: Source = {
      subject: checked.subject,
      thumbprint: checked.thumbprint,
      restrictions: checked.restrictions,
      expiresAt: checked.expiresAt,
      lineage: [...checked.ids].reverse().concat(root?.lineage ?? []),
      authenticatedAt: root?.authenticatedAt,
      application: root?.application,
      publisher: root?.publisher,
      assistants: root?.assistants ?? [],
      channel: root?.channel,
      signer: checked.signer,
    };
    return { checked, source };
  }

  /** Revokes a delegation's last link, and with it all that was made of it. Answers whose it was. */
  async revokeDelegation(chain: string): Promise<string> {
    const { checked } = await this.delegation(chain);
    const keepMs = checked.expiresAt - this.now() + limits.revocationMs;
    await this.revocations.revoke([idOfLink(partsOf(chain).links.at(-1) as string)], keepMs);
    return checked.subject;
  }

  async #sourceOf({ subjectToken, subjectTokenType }: ExchangeRequest): Promise<Source> {
    if (subjectTokenType === DELEGATION_TYPE) return (await this.delegation(subjectToken)).source;
    if (subjectTokenType !== ACCESS_TOKEN_TYPE)
      throw fault('/subjectTokenType', `must be ${ACCESS_TOKEN_TYPE} or ${DELEGATION_TYPE}.`);
    return isApiKey(subjectToken) ? this.#apiKeySource(subjectToken) : this.#tokenSource(subjectToken);
  }

  async #tokenSource(token: string): Promise<Source> {
    const verified = await this.tokens.verify(token);
    if (this.revocations.covers(verified)) throw refusal('The token was revoked.');
    return { ...verified, lineage: [verified.login, ...verified.lineage] };
  }

  async #apiKeySource(key: string): Promise<Source> {
    const subject = await this.apiKeys.verify(key);
    if (subject.isUnbound) {
      throw new Problem(
        'forbidden',
        'The operator’s key can’t be exchanged: make an API key that is narrowed (POST /v1/auth/keys).',
      );
    }
    return {
      subject: subject.id,
      lineage: [subject.login as string],
      authenticatedAt: undefined,
      restrictions: subject.restrictions,
      thumbprint: undefined,
      application: undefined,
      publisher: undefined,
      assistants: [],
      channel: undefined,
      expiresAt: subject.expiresAt ?? Number.POSITIVE_INFINITY,
    };
  }

  /** No longer than what it is made from lives. */
  #lifeOf({ lifeMs }: ExchangeRequest, { expiresAt }: Source): number {
    const left = expiresAt - this.now();
    if (left <= 0) throw refusal('The token is over.');
    if (lifeMs !== undefined && lifeMs > left)
      throw fault('/expiresInMs', `must be at most the ${left} ms that are left of the token.`);
    return Math.min(lifeMs ?? limits.accessTokenMs, left);
  }
}

/** Whom a token is for stays as it is once it was said. */
function sameOrNew(wanted: string | undefined, held: string | undefined, place: string): string | undefined {
  if (wanted !== undefined && held !== undefined && wanted !== held)
    throw fault(place, `must be ${JSON.stringify(held)}, which the token is for, or absent.`);
  return wanted ?? held;
}
