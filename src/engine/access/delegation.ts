/**
 * Delegations that were made offline: a chain of texts, joined by `~`, each signed by the key that the one before it names. The first
 * is signed by a key of the account itself, or it follows a bound access token, whose key signs it. Each link names the key that may go on
 * (`cnf.jkt`), may narrow what that key may do, is over no later than the one before, and names that one by its digest (`prev`): so no
 * link can be put behind another than it was made for.
 */
import { limits } from '../limits.js';
import type { JsonObject } from '../state/json.js';
import { checkAccount } from './assertion.js';
import type { Restriction } from './grant.js';
import { thumbprintOf } from './jwk.js';
import { checkSigned, checkTimes, confirmationClaim, embeddedKey, readSigned, refusal, textClaim } from './jws.js';
import type { KeySource } from './keys.js';
import { narrowed, parseRestriction } from './restriction.js';
import { digestOf } from './secrets.js';

const TYP = 'stargus-delegation+jwt';
const LENGTH_MAX = limits.signedTextLengthMax;
const CLAIMS = ['iss', 'aud', 'jti', 'iat', 'exp', 'nbf', 'cnf', 'prev', 'authorization_details'];

/** What a chain begins with: nothing but an account's key, or a bound access token. */
export interface DelegationRoot {
  /** The token's text. */
  readonly text: string;
  readonly subject: string;
  readonly thumbprint: string;
  readonly restrictions: readonly Restriction[];
  readonly expiresAt: number;
}

export interface CheckedDelegation {
  readonly subject: string;
  /** The thumbprint of the key that may act by it. */
  readonly thumbprint: string;
  readonly restrictions: readonly Restriction[];
  /** When the shortest link is over, in ms since 1970. */
  readonly expiresAt: number;
  /** The account's key that signed the first link; undefined where that follows a token. */
  readonly signer: string | undefined;
  /** Names of the links, under which they are revoked; the last one's last. */
  readonly ids: readonly string[];
}

/** The links of a chain, and the access token that they follow, if any. */
export function partsOf(chain: string): { root: string | undefined; links: string[] } {
  const parts = chain.split('~');
  const root = isLink(parts[0] as string) ? undefined : parts.shift();
  if (parts.length === 0) throw refusal('The delegation has no link.');
  if (parts.length > limits.delegationDepthMax)
    throw refusal(`The delegation has more than ${limits.delegationDepthMax} links.`);
  return { root, links: parts };
}

/** Under what a link is known once it is to be revoked. */
export function idOfLink(link: string): string {
  return `link:${digestOf(link)}`;
}

/** Checks the chain link by link. `audience` is this server's URL, `now` in ms since 1970. */
export async function checkDelegation(
  links: readonly string[],
  root: DelegationRoot | undefined,
  keys: KeySource,
  audience: string,
  now: number,
): Promise<CheckedDelegation> {
  let holder: Omit<CheckedDelegation, 'subject'> & { subject: string | undefined } = {
    subject: root?.subject,
    thumbprint: root?.thumbprint ?? '',
    restrictions: root?.restrictions ?? [],
    expiresAt: root?.expiresAt ?? Number.POSITIVE_INFINITY,
    signer: undefined,
    ids: [],
  };
  let previous = root?.text;
  for (const [i, link] of links.entries()) {
    const name = `Link ${i} of the delegation`;
    const { claims, subject, signer } = await checkLink(link, name, previous === undefined ? undefined : holder, keys);
    if (claims.aud !== audience) throw refusal(`${name} must have ${audience} as aud, and nothing else.`);
    if (previous !== undefined && claims.prev !== digestOf(previous))
      throw refusal(`${name} must have as prev the digest of what it follows.`);
    const { exp } = checkTimes(claims, name, now, limits.delegationMs);
    if (exp > holder.expiresAt) throw refusal(`${name} is over later than what it follows.`);
    const thumbprint = confirmationClaim(claims, name);
    if (thumbprint === undefined) throw refusal(`${name} must name in cnf the key that it is for.`);
    const details = claims.authorization_details;
    const place = `/subjectToken/${i}/authorization_details`;
    const wanted = details === undefined ? undefined : parseRestriction(details, place);
    holder = {
      subject,
      thumbprint,
      restrictions: narrowed(holder.restrictions, wanted, place),
      expiresAt: exp,
      signer: holder.signer ?? signer,
      ids: [...holder.ids, idOfLink(link)],
    };
    previous = link;
  }
  return holder as CheckedDelegation;
}

/** The first link of an account is signed by the account's key, which its `kid` names; all others by the key that they bring along. */
async function checkLink(
  link: string,
  name: string,
  before: { readonly subject: string | undefined; readonly thumbprint: string } | undefined,
  keys: KeySource,
): Promise<{ claims: JsonObject; subject: string; signer?: string }> {
  const signed = readSigned(link, { name, typ: TYP, header: [before ? 'jwk' : 'kid'], lengthMax: LENGTH_MAX });
  const { claims, header } = signed;
  const unknown = Object.keys(claims).find((claim) => !CLAIMS.includes(claim));
  if (unknown !== undefined)
    throw refusal(`${name} has the claim ${JSON.stringify(unknown)}, which has no place there.`);
  textClaim(claims, 'jti', name);
  if (before) {
    const key = embeddedKey(signed, name);
    if ((await thumbprintOf(key.jwk)) !== before.thumbprint)
      throw refusal(`${name} is signed by another key than the one before it names.`);
    if (claims.iss !== undefined) throw refusal(`${name} must have no iss: its key says whose it is.`);
    await checkSigned(signed, key, name);
    return { claims, subject: before.subject as string };
  }
  const subject = textClaim(claims, 'iss', name);
  checkAccount(subject, name);
  if (claims.prev !== undefined) throw refusal(`${name} must have no prev: it follows nothing.`);
  const key = await keys.keyOf(subject, header.kid as string);
  if (!key || key.kid !== header.kid) throw refusal('The account has no such key.');
  await checkSigned(signed, key, name);
  return { claims, subject, signer: key.kid };
}

/** Whether the text is a chain, rather than an access token. */
export function isDelegation(text: string): boolean {
  return text.includes('~') || isLink(text);
}

function isLink(part: string): boolean {
  try {
    const header = JSON.parse(Buffer.from(part.split('.')[0] as string, 'base64url').toString()) as JsonObject;
    return header.typ === TYP;
  } catch {
    return false;
  }
}
