/**
 * Public keys of accounts: which are taken, and under what name. A key is RSA, Ed25519 or P-256; its algorithm follows from its
 * kind, and its name, the `kid`, is its RFC 7638 thumbprint, so nobody can give a key the name of another. Each key has one
 * representation only, for the thumbprint is of that. Pure.
 */
import { createHash, createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import { limits } from '../limits.js';
import { isObject } from '../state/json.js';
import type { AccountKey, PublicJwk, SigningAlgorithm } from './keys.js';

/** Says why something is no key that is taken; the sentence has no subject. */
export class KeyFault extends Error {
  constructor(
    message: string,
    /** The member at fault. */
    readonly member?: string,
    /** The fault is that there is something private in it. */
    readonly isPrivate = false,
  ) {
    super(message);
  }
}

interface Kind {
  readonly algorithm: SigningAlgorithm;
  /** What `alg` may say. */
  readonly algorithms: readonly string[];
  /** The members that make the key, in the order of the thumbprint (RFC 7638, 3.2), and how many bytes they have. */
  readonly members: Readonly<Record<string, number | undefined>>;
}

const RSA: Kind = { algorithm: 'PS256', algorithms: ['PS256'], members: { e: undefined, n: undefined } };
const ED25519: Kind = { algorithm: 'EdDSA', algorithms: ['EdDSA', 'Ed25519'], members: { x: 32 } };
const P256: Kind = { algorithm: 'ES256', algorithms: ['ES256'], members: { x: 32, y: 32 } };

/** Members that only a private or a symmetric key has (RFC 7518, 6). */
const PRIVATE = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k', 'priv'];
/** Members that say something about a key and don't make it. */
const ABOUT = ['kty', 'crv', 'kid', 'alg', 'use', 'key_ops', 'ext'];
/** 65537, which all programs make. */
const EXPONENT = 'AQAB';

/**
 * The key that a JWK is, without what is only said about it.
 *
 * @throws KeyFault when it is none that is taken, and always when it has anything private in it
 */
export function parsePublicKey(value: unknown, { strict = false } = {}): AccountKey {
  if (!isObject(value)) throw new KeyFault('must be a JWK, an object.');
  const jwk = value as Record<string, unknown>;
  refusePrivate(jwk);
  const kind = kindOf(jwk);
  const members = Object.keys(kind.members);
  if (strict) {
    const unknown = Object.keys(jwk).find((name) => !members.includes(name) && !ABOUT.includes(name));
    if (unknown !== undefined) throw new KeyFault('is no member of such a key.', unknown);
  }
  for (const [name, bytes] of Object.entries(kind.members)) checkMember(jwk, name, bytes);
  checkUse(jwk, kind);
  const own = Object.fromEntries(members.map((name) => [name, jwk[name] as string]));
  const curve = jwk.crv === undefined ? {} : { crv: jwk.crv as string };
  const key: PublicJwk = { kty: jwk.kty as string, ...(kind !== RSA && curve), ...own };
  checkNumbers(key);
  return { jwk: key, kid: thumbprintOf(key), algorithm: kind.algorithm };
}

/** The RFC 7638 thumbprint of a key that was parsed. */
function thumbprintOf(jwk: PublicJwk): string {
  const sorted = Object.fromEntries(Object.entries(jwk).sort(([a], [b]) => (a < b ? -1 : 1)));
  return createHash('sha256').update(JSON.stringify(sorted)).digest('base64url');
}

export const THUMBPRINT = /^[A-Za-z0-9_-]{43}$/;

/** The key for Node's own crypto. */
export function keyObjectOf({ jwk }: AccountKey): KeyObject {
  return createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' });
}

function refusePrivate(jwk: Record<string, unknown>): void {
  const found = PRIVATE.find((name) => Object.hasOwn(jwk, name));
  if (found === undefined) return;
  throw new KeyFault(
    'is a part of a private key, which must never leave its owner. Send the public key alone, and make a new key: this one has been seen by others now.',
    found,
    true,
  );
}

function kindOf({ kty, crv }: Record<string, unknown>): Kind {
  if (kty === 'RSA') return RSA;
  if (kty === 'OKP' && crv === 'Ed25519') return ED25519;
  if (kty === 'EC' && crv === 'P-256') return P256;
  const taken = 'must be RSA, OKP with the curve Ed25519, or EC with the curve P-256.';
  throw kty === 'OKP' || kty === 'EC' ? new KeyFault(taken, 'crv') : new KeyFault(taken, 'kty');
}

function checkMember(jwk: Record<string, unknown>, name: string, bytes: number | undefined): void {
  const text = jwk[name];
  if (typeof text !== 'string') throw new KeyFault('is missing or no string.', name);
  const value = Buffer.from(text, 'base64url');
  if (value.length === 0 || value.toString('base64url') !== text)
    throw new KeyFault('must be base64url without padding.', name);
  if (bytes !== undefined && value.length !== bytes) throw new KeyFault(`must have ${bytes} bytes.`, name);
  if (bytes === undefined && value[0] === 0)
    throw new KeyFault('must begin with its first byte that isn’t zero.', name);
}

/** What a JWK says of its use must be what it is used for here. */
function checkUse({ use, alg, key_ops }: Record<string, unknown>, { algorithms }: Kind): void {
  if (use !== undefined && use !== 'sig') throw new KeyFault('must be sig.', 'use');
  if (alg !== undefined && !algorithms.includes(alg as string))
    throw new KeyFault(`must be ${algorithms.join(' or ')} for a key of this kind.`, 'alg');
  if (key_ops !== undefined && !(Array.isArray(key_ops) && key_ops.includes('verify')))
    throw new KeyFault('must have verify.', 'key_ops');
}

function checkNumbers(jwk: PublicJwk): void {
  if (jwk.kty === 'RSA') {
    if (jwk.e !== EXPONENT) throw new KeyFault('must be AQAB, that is 65537.', 'e');
    const bits = bitsOf(Buffer.from(jwk.n as string, 'base64url'));
    if (bits < limits.rsaBitsMin || bits > limits.rsaBitsMax)
      throw new KeyFault(`has ${bits} bits; it must have ${limits.rsaBitsMin} to ${limits.rsaBitsMax}.`, 'n');
  }
  try {
    createPublicKey({ key: jwk as JsonWebKey, format: 'jwk' });
  } catch {
    throw new KeyFault('is no point of the curve.', jwk.kty === 'RSA' ? 'n' : 'x');
  }
  if (jwk.kty === 'OKP' && isWeakPoint(jwk.x as string))
    throw new KeyFault('is a point of small order, or not written canonically: no key pair has it.', 'x');
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

function bitsOf(bytes: Buffer): number {
  return bytes.length * 8 - Math.clz32(bytes[0] as number) + 24;
}
