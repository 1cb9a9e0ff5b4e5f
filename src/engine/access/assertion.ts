/**
 * The assertion by which an account logs in: signed for this server and no other (the safeguard against phishing), for this one
 * time, by a key that the account's URL publishes.
 */
import { limits } from '../limits.js';
import { checkSigned, checkTimes, confirmationClaim, readSigned, refusal, textClaim } from './jws.js';
import type { KeySource } from './keys.js';

const PURPOSE = {
  name: 'The assertion',
  typ: 'stargus-login+jwt',
  header: ['kid'] as const,
  lengthMax: limits.signedTextLengthMax,
};
const CLAIMS = ['iss', 'sub', 'aud', 'nonce', 'jti', 'iat', 'exp', 'nbf', 'cnf', 'epk'];

export interface CheckedAssertion {
  /** The account's URL. */
  readonly account: string;
  readonly kid: string;
  /** Whether it was given out, and only once, is yet to be seen. */
  readonly nonce: string;
  /** Of the key that the tokens are to be bound to. */
  readonly thumbprint: string | undefined;
  /** Of the key that the login's content key is to be encrypted to. */
  readonly channelThumbprint: string | undefined;
}

/** The account that an assertion names, whether or not it is right; undefined where it names none. For telling of refusals only. */
export function accountNamedIn(text: string): string | undefined {
  if (text.length > PURPOSE.lengthMax) return undefined;
  try {
    const { iss } = JSON.parse(Buffer.from(text.split('.')[1] ?? '', 'base64url').toString()) as { iss?: unknown };
    return typeof iss === 'string' && iss !== '' ? iss.slice(0, limits.accountUrlLengthMax) : undefined;
  } catch {
    return undefined;
  }
}

/** Checks all that can be told from the assertion and its account's key. `audience` is this server's URL, `now` in ms since 1970. */
export async function checkAssertion(
  text: string,
  keys: KeySource,
  audience: string,
  now: number,
): Promise<CheckedAssertion> {
  const { name } = PURPOSE;
  const signed = readSigned(text, PURPOSE);
  const { claims } = signed;
  const unknown = Object.keys(claims).find((claim) => !CLAIMS.includes(claim));
  if (unknown !== undefined)
    throw refusal(`${name} has the claim ${JSON.stringify(unknown)}, which has no place there.`);
  const account = textClaim(claims, 'iss', name);
  if (claims.sub !== account) throw refusal(`${name} must have the account’s URL as iss and as sub.`);
  checkAccount(account, name);
  // A text, not a list: a list would make it good for other servers as well.
  if (claims.aud !== audience) throw refusal(`${name} must have ${audience} as aud, and nothing else.`);
  const nonce = textClaim(claims, 'nonce', name);
  textClaim(claims, 'jti', name);
  checkTimes(claims, name, now, limits.assertionMs);
  const thumbprint = confirmationClaim(claims, name);
  const channelThumbprint = claims.epk === undefined ? undefined : textClaim(claims, 'epk', name);
  const kid = signed.header.kid as string;
  const key = await keys.keyOf(account, kid);
  if (key?.kid !== kid) throw refusal('The account has no such key.');
  await checkSigned(signed, key, name);
  return { account, kid, nonce, thumbprint, channelThumbprint };
}

/** An account is a URL of the web; how it has to look beyond that is the key source's business. */
export function checkAccount(account: string, name: string): void {
  if (!/^https?:\/\//.test(account) || !URL.canParse(account))
    throw refusal(`${name} must be of an account, which is an https URL.`);
}
