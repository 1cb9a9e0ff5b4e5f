/**
 * Signed texts (compact JWS, RFC 7515) that come from elsewhere, read strictly (RFC 8725): one type for each purpose, no member in
 * the header that isn't known here (so no `crit`, `b64`, `jku`, `x5u`, and `jwk` only where the purpose wants it), no duplicate
 * members, no other spelling of base64url. The algorithm is that of the key, which comes from where the purpose says.
 */
import { compactVerify, importJWK, type JWK } from 'jose';
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import { isObject, type Json, type JsonObject } from '../state/json.js';
import { publicKeyOf } from './jwk.js';
import type { PublicJwk, SigningAlgorithm } from './keys.js';
import { THUMBPRINT } from './public-key.js';

/** What is signed, before anybody has looked at the signature. */
export interface SignedText {
  readonly text: string;
  readonly header: JsonObject & { alg: string };
  readonly claims: JsonObject;
}

export interface Purpose {
  /** How the text is called in a refusal: `The assertion`. */
  readonly name: string;
  readonly typ: string;
  /** Members of the header beside `typ` and `alg`, all needed. */
  readonly header: readonly ('kid' | 'jwk')[];
  readonly lengthMax: number;
}

export function refusal(detail: string): Problem {
  return new Problem('unauthenticated', detail);
}

export function readSigned(text: string, { name, typ, header: needed, lengthMax }: Purpose): SignedText {
  if (text.length > lengthMax) throw refusal(`${name} is longer than ${lengthMax} characters.`);
  const parts = text.split('.');
  if (parts.length !== 3 || parts[2] === '') throw refusal(`${name} is no signed text in compact form.`);
  const [header, claims] = parts.slice(0, 2).map((part) => objectOf(part, name)) as [JsonObject, JsonObject];
  decode(parts[2] as string, name);
  if (header.typ !== typ) throw refusal(`${name} must have the typ ${typ} in its header.`);
  const unknown = Object.keys(header).find((member) => !['typ', 'alg', ...needed].includes(member));
  if (unknown !== undefined)
    throw refusal(`${name} has ${JSON.stringify(unknown)} in its header, which has no place there.`);
  if (typeof header.alg !== 'string') throw refusal(`${name} has no alg in its header.`);
  if (needed.includes('kid') && (typeof header.kid !== 'string' || !THUMBPRINT.test(header.kid)))
    throw refusal(`${name} must have as kid the RFC 7638 thumbprint of its key.`);
  return { text, header: header as SignedText['header'], claims };
}

/** The public key that a text brings along, where its purpose wants one. */
export function embeddedKey({ header }: SignedText, name: string): { jwk: PublicJwk; algorithm: SigningAlgorithm } {
  const key = publicKeyOf(header.jwk);
  if (!key) throw refusal(`${name} must have as jwk a public key: Ed25519, P-256 or RSA of 2048 to 4096 bits.`);
  return key;
}

/** Refuses a text that isn't signed by the key, with the key's own algorithm. */
export async function checkSigned(
  { text, header }: SignedText,
  key: { readonly jwk: PublicJwk; readonly algorithm: SigningAlgorithm },
  name: string,
): Promise<void> {
  const { jwk, algorithm } = key;
  // RFC 9864 calls the same algorithm by its curve.
  const names = algorithm === 'EdDSA' ? ['EdDSA', 'Ed25519'] : [algorithm];
  if (!names.includes(header.alg)) throw refusal(`${name} must be signed with ${algorithm}, as its key is made for.`);
  try {
    await compactVerify(text, await importJWK(jwk as JWK, header.alg), { algorithms: names });
  } catch {
    throw refusal(`${name} is not signed by that key.`);
  }
}

/** A claim that is a text of at most so many characters. */
export function textClaim(
  claims: JsonObject,
  claim: string,
  name: string,
  lengthMax: number = limits.claimLengthMax,
): string {
  const value = claims[claim];
  if (typeof value !== 'string' || value === '' || value.length > lengthMax)
    throw refusal(`${name} must have the claim ${claim}, a text of 1 to ${lengthMax} characters.`);
  return value;
}

/** A claim that is a time, in ms. */
export function timeClaim(claims: JsonObject, claim: string, name: string): number {
  const value = claims[claim];
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0 || value > 2 ** 40)
    throw refusal(`${name} must have the claim ${claim}, a time in seconds since 1970.`);
  return value * 1000;
}

/** The thumbprint in `cnf`; undefined where there is no `cnf`. */
export function confirmationClaim(claims: JsonObject, name: string): string | undefined {
  const { cnf } = claims;
  if (cnf === undefined) return undefined;
  const { jkt } = isObject(cnf) ? cnf : {};
  if (typeof jkt !== 'string' || !THUMBPRINT.test(jkt) || Object.keys(cnf as JsonObject).length !== 1)
    throw refusal(`${name} must have as cnf {"jkt": "<thumbprint>"}.`);
  return jkt;
}

/** Refuses a text that was not made within `lifeMs` before now, and one that is over. */
export function checkTimes(
  claims: JsonObject,
  name: string,
  now: number,
  lifeMs: number,
): { iat: number; exp: number } {
  const iat = timeClaim(claims, 'iat', name);
  const exp = timeClaim(claims, 'exp', name);
  if (claims.nbf !== undefined && timeClaim(claims, 'nbf', name) > now + limits.clockSkewMs)
    throw refusal(`${name} is not valid yet.`);
  if (iat > now + limits.clockSkewMs) throw refusal(`${name} was made in the future: set your clock.`);
  if (exp <= iat || exp - iat > lifeMs) throw refusal(`${name} may be valid for ${lifeMs / 1000} s at most.`);
  if (exp <= now - limits.clockSkewMs) throw refusal(`${name} is over.`);
  return { iat, exp };
}

function objectOf(part: string, name: string): JsonObject {
  let value: Json | undefined;
  let text = '';
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(decode(part, name));
    value = JSON.parse(text) as Json;
  } catch (error) {
    if (error instanceof Problem) throw error;
  }
  if (!isObject(value)) throw refusal(`${name} is malformed: its parts must be JSON objects.`);
  if (hasDuplicates(text)) throw refusal(`${name} names a member twice.`);
  return value;
}

/** Only the one spelling that encoding gives: no padding, no other alphabet, no loose bits at the end. */
function decode(part: string, name: string): Buffer {
  const bytes = Buffer.from(part, 'base64url');
  if (bytes.toString('base64url') !== part) throw refusal(`${name} is malformed: its parts must be base64url.`);
  return bytes;
}

const TOKEN = /"(?:[^"\\]|\\.)*"|[[\]{},:]/gs;

/** Whether an object of the text, which is valid JSON, names a member twice. */
export function hasDuplicates(text: string): boolean {
  const scopes: (Set<string> | undefined)[] = [];
  let nameNext = false;
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === '{' || token === '[') {
      scopes.push(token === '{' ? new Set() : undefined);
      nameNext = token === '{';
    } else if (token === '}' || token === ']') {
      scopes.pop();
      nameNext = false;
    } else if (token === ',') nameNext = scopes.at(-1) !== undefined;
    else if (token === ':') nameNext = false;
    else if (nameNext) {
      const names = scopes.at(-1) as Set<string>;
      const member = JSON.parse(token) as string;
      if (names.has(member)) return true;
      names.add(member);
    }
  }
  return false;
}
