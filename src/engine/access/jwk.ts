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
  if (kind.kty === 'OKP' && isWeakPoint(jwk.x as string)) return undefined;
  return { jwk: jwk as unknown as PublicJwk, algorithm: kind.algorithm };
}

const P = 2n ** 255n - 19n;
/** The y of the points whose order divides 8. */
const SMALL_ORDER = new Set([
  0n,
  1n,
  P - 1n,
  0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826n,
  0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n,
]);

/** For a key of small order there are signatures that fit any text; and one that isn't written canonically has two names. */
function isWeakPoint(x: string): boolean {
  const bytes = Buffer.from(x, 'base64url').reverse();
  const y = BigInt(`0x${bytes.toString('hex')}`) & (2n ** 255n - 1n);
  return y >= P || SMALL_ORDER.has(y);
}

/** The RFC 7638 thumbprint: SHA-256, base64url. */
export function thumbprintOf(jwk: PublicJwk): Promise<string> {
  return calculateJwkThumbprint(jwk as JWK, 'sha256');
}

export const THUMBPRINT = /^[\w-]{43}$/;
