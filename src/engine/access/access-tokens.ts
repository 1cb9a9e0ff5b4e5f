/**
 * Access tokens: JWTs in the profile of RFC 9068, signed by this server for itself. All that a request needs to know of who asks is in
 * the token, so that no node looks it up; what isn't, is whether it was revoked since (revocations.ts).
 *
 * Beside the registered claims: `sid` is the login; `lineage` the logins that it was made from; `authorization_details` the last
 * restriction of the chain and `attenuated` those before it; `azp` and `publisher` the application that it is for, `act` who acts; `channel` the login whose key
 * all that is said under the token is encrypted by.
 */
import { randomUUID } from 'node:crypto';
import { limits } from '../limits.js';
import { isObject, type JsonObject } from '../state/json.js';
import type { Subject } from '../subject.js';
import type { Channel } from './channel.js';
import type { Restriction } from './grant.js';
import { checkSigned, confirmationClaim, readSigned, refusal, textClaim, timeClaim } from './jws.js';
import type { PublicUrl } from './public-url.js';
import { detailsOf } from './restriction.js';
import type { SigningKeys } from './signing-keys.js';

const PURPOSE = {
  name: 'The access token',
  typ: 'at+jwt',
  header: ['kid'] as const,
  lengthMax: limits.signedTextLengthMax,
};

/** What a token says. Times are ms since 1970. */
export interface TokenGrant {
  readonly subject: string;
  readonly login: string;
  readonly lineage: readonly string[];
  readonly authenticatedAt: number;
  readonly restrictions: readonly Restriction[];
  /** The thumbprint of the key that it is bound to. */
  readonly thumbprint: string | undefined;
  readonly application: string | undefined;
  readonly publisher: string | undefined;
  /** Who acts for the subject: the last of them first. */
  readonly assistants: readonly string[];
  /** The login whose channel its requests go by. */
  readonly channel: string | undefined;
}

export interface VerifiedToken extends TokenGrant {
  readonly expiresAt: number;
}

/** What is answered to who asks for a token. */
export interface IssuedToken {
  readonly token: string;
  readonly verified: VerifiedToken;
  readonly refreshToken?: string | undefined;
}

export class AccessTokens {
  constructor(
    private readonly keys: SigningKeys,
    private readonly url: PublicUrl,
    private readonly now: () => number,
  ) {}

  /** A token that is good for `lifeMs`, in whole seconds. */
  async issue(grant: TokenGrant, lifeMs: number): Promise<IssuedToken> {
    const iat = Math.floor(this.now() / 1000);
    const exp = iat + Math.floor(lifeMs / 1000);
    const last = grant.restrictions.at(-1);
    const [assistant, ...others] = grant.assistants;
    const token = await this.keys.sign(
      {
        iss: this.url.href,
        sub: grant.subject,
        aud: this.url.href,
        client_id: grant.application ?? grant.subject,
        ...{ jti: randomUUID(), iat, exp },
        auth_time: Math.floor(grant.authenticatedAt / 1000),
        sid: grant.login,
        ...(grant.lineage.length > 0 && { lineage: [...grant.lineage] }),
        ...(last && { authorization_details: detailsOf(last) }),
        ...(grant.restrictions.length > 1 && { attenuated: grant.restrictions.slice(0, -1).map(detailsOf) }),
        ...(grant.thumbprint !== undefined && { cnf: { jkt: grant.thumbprint } }),
        ...(grant.application !== undefined && { azp: grant.application }),
        ...(grant.publisher !== undefined && { publisher: grant.publisher }),
        ...(grant.channel !== undefined && { channel: grant.channel }),
        ...(assistant !== undefined && { act: actorOf(assistant, others) }),
      },
      PURPOSE.typ,
    );
    return { token, verified: { ...grant, expiresAt: exp * 1000 } };
  }

  /** What a token of this server says; refuses any other, and one that is over. Revocation is not its business. */
  async verify(token: string): Promise<VerifiedToken> {
    const signed = readSigned(token, PURPOSE);
    const key = await this.keys.keyOf(signed.header.kid as string);
    if (!key) throw refusal('The access token is not one of this server.');
    await checkSigned(signed, key, PURPOSE.name);
    const { claims } = signed;
    if (claims.iss !== this.url.href || claims.aud !== this.url.href)
      throw refusal('The access token is for another server.');
    const expiresAt = timeClaim(claims, 'exp', PURPOSE.name);
    if (expiresAt <= this.now()) throw refusal('The access token is over. Get a new one with the refresh token.');
    return {
      subject: textClaim(claims, 'sub', PURPOSE.name),
      login: textClaim(claims, 'sid', PURPOSE.name),
      lineage: (claims.lineage as string[] | undefined) ?? [],
      authenticatedAt: timeClaim(claims, 'auth_time', PURPOSE.name),
      restrictions: restrictionsOf(claims),
      thumbprint: confirmationClaim(claims, PURPOSE.name),
      application: claims.azp as string | undefined,
      publisher: claims.publisher as string | undefined,
      assistants: actorsOf(claims.act),
      channel: claims.channel as string | undefined,
      expiresAt,
    };
  }
}

/** Who asks by the token. `isProven` says that the key that it is bound to has signed the request. */
export function subjectOf(token: VerifiedToken, isProven: boolean, channel?: Channel): Subject {
  return {
    channel,
    id: token.subject,
    isUnbound: false,
    host: hostOf(token.subject),
    restrictions: token.restrictions,
    expiresAt: token.expiresAt,
    login: token.login,
    lineage: token.lineage,
    isBound: isProven,
    application: token.application,
    publisher: token.publisher,
    assistants: token.assistants,
  };
}

/** The host of an account's URL; undefined for a subject that isn't one. */
export function hostOf(subject: string): string | undefined {
  return /^https?:/.test(subject) && URL.canParse(subject) ? new URL(subject).host.toLowerCase() : undefined;
}

/** They were parsed when the token was made, by this server. */
function restrictionsOf({ attenuated, authorization_details: last }: JsonObject): Restriction[] {
  if (last === undefined) return [];
  const chain = [...((attenuated as JsonObject[][] | undefined) ?? []), last as JsonObject[]];
  return chain.map((details) => details.map(({ type: _type, ...grant }) => grant)) as unknown as Restriction[];
}

/** RFC 8693, 4.1: who acted before is inside who acts now. */
function actorOf(sub: string, before: readonly string[]): JsonObject {
  const [next, ...others] = before;
  return { sub, ...(next !== undefined && { act: actorOf(next, others) }) };
}

function actorsOf(act: unknown): string[] {
  return isObject(act) ? [act.sub as string, ...actorsOf(act.act)] : [];
}
