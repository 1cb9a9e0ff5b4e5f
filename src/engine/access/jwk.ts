/**
 * Public keys as JWKs that come from elsewhere: which kind of key it is decides how its signatures are checked, and what is private or
 * of another kind is refused (RFC 8725, 3.1: the algorithm is the key's, never the signature's).
 */
import { calculateJwkThumbprint, type JWK } from 'jose';
import { isObject, type Json } from '../state/json.js';
import type { PublicJwk, SigningAlgorithm } from './keys.js';

/** Of each kind of key: its algorithm, and the members that make it (and its thumbprint). */
const KINDS: readonly { kty: string; crv?: string; algorithm: SigningAlgorithm; members: Record<string, RegExp> }[] = [
  { kty: 'OKP', crv: 'Ed25519', algorithm: 'EdDSA', members: { x: /^[\w-]{43}$/ } },
  { kty: 'EC', crv: 'P-256', algorithm: 'ES256', members: { x: /^[\w-]{43}$/, y: /^[\w-]{43}$/ } },
  // 2048 to 4096 bits; a public exponent of more than 4 bytes serves nobody, and one of 1 (or 3) makes signatures forgeable.
  { kty: 'RSA', algorithm: 'PS256', members: { n: /^[\w-]{342,683}$/, e: /^[\w-]{4,6}$/ } },
];

const PRIVATE = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'];

/** The key with its algorithm and nothing but what makes it; undefined for what is no public key of a kind that is taken. */
export function publicKeyOf(value: Json | undefined): { jwk: PublicJwk; algorithm: SigningAlgorithm } | undefined {
  if (!isObject(value) || PRIVATE.some((member) => Object.hasOwn(value, member))) return undefined;
  const kind = KINDS.find(({ kty, crv }) => value.kty === kty && (crv === undefined || value.crv === crv));
  if (!kind) return undefined;
  const jwk: Record<string, string> = { kty: kind.kty, ...(kind.crv !== undefined && { crv: kind.crv }) };
  for (const [member, pattern] of Object.entries(kind.members)) {
    const text = value[member];
    if (typeof text !== 'string' || !pattern.test(text)) return undefined;
    jwk[member] = text;
  }
  return { jwk: jwk as unknown as PublicJwk, algorithm: kind.algorithm };
}

/** The RFC 7638 thumbprint: SHA-256, base64url. */
export function thumbprintOf(jwk: PublicJwk): Promise<string> {
  return calculateJwkThumbprint(jwk as JWK, 'sha256');
}

export const THUMBPRINT = /^[\w-]{43}$/;
