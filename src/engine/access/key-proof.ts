/**
 * Proofs: what the holder of an account's key signs to alter the account, and what the old key signs when a new one takes its
 * place. Each is a JWS of its own type, so that none can stand for another or for a login (RFC 8725, 3.11), with the
 * algorithm of the key that verifies it and not the one that it names. A proof is for one server, one act and one minute, and
 * is used once.
 */
import { type KeyObject, randomUUID } from 'node:crypto';
import { CompactSign, compactVerify, decodeProtectedHeader } from 'jose';
import { limits } from '../limits.js';
import { isObject, type Json, type JsonObject } from '../state/json.js';
import type { AccountKey } from './keys.js';
import { KeyFault, keyObjectOf, parsePublicKey } from './public-key.js';

const PROOF_TYPE = 'stargus-proof+jwt';
const ROTATION_TYPE = 'stargus-rotation+jwt';

/** What the holder of a key may do to its account. */
export type Act = 'addKey' | 'deleteKey' | 'putEnvelope' | 'deleteEnvelope';

export interface Deed {
  /** The account's URL. */
  readonly account: string;
  /** The public URL of the server that is to do it. */
  readonly audience: string;
  readonly act: Act;
  /** What it is done to: the thumbprint of the key, or the digest of the envelope. */
  readonly about: string;
}

/** Says why something proves nothing; a whole sentence. */
export class ProofFault extends Error {}

export interface Signer {
  /** The private key. */
  readonly privateKey: KeyObject;
  readonly publicKey: AccountKey;
}

/** A proof, good for a minute. `now` is in ms since 1970. */
export function signProof({ account, audience, act, about }: Deed, signer: Signer, now: number): Promise<string> {
  const claims = { iss: account, aud: audience, act, about, iat: Math.floor(now / 1000), jti: randomUUID() };
  return sign(PROOF_TYPE, claims, signer);
}

/** A rotation: the word of an account's key that another one is the account's too. It is published, and has no end. */
export function signRotation(account: string, next: AccountKey, signer: Signer, now: number): Promise<string> {
  return sign(ROTATION_TYPE, { iss: account, jwk: next.jwk as JsonObject, iat: Math.floor(now / 1000) }, signer);
}

export function sign(typ: string, claims: JsonObject, { privateKey, publicKey }: Signer): Promise<string> {
  return new CompactSign(Buffer.from(JSON.stringify(claims)))
    .setProtectedHeader({ typ, alg: publicKey.algorithm, kid: publicKey.kid })
    .sign(privateKey);
}

/**
 * Checks a proof against the keys that the account has.
 *
 * @returns what makes it this proof and no other, and until when it has to be remembered, in ms since 1970
 * @throws ProofFault
 */
export async function verifyProof(
  proof: string,
  deed: Deed,
  keys: readonly AccountKey[],
  now: number,
): Promise<{ id: string; expiresAt: number }> {
  const claims = await verify(proof, PROOF_TYPE, keys);
  const { iss, aud, act, about, iat, jti } = claims;
  if (iss !== deed.account) throw new ProofFault(`The proof is for another account: iss must be ${deed.account}.`);
  if (aud !== deed.audience) throw new ProofFault(`The proof is for another server: aud must be ${deed.audience}.`);
  if (act !== deed.act) throw new ProofFault(`The proof is for another act: act must be ${deed.act}.`);
  if (about !== deed.about) throw new ProofFault(`The proof is about something else: about must be ${deed.about}.`);
  if (typeof iat !== 'number' || !Number.isSafeInteger(iat))
    throw new ProofFault('The proof must have iat, in seconds.');
  if (iat * 1000 > now + limits.clockSkewMs)
    throw new ProofFault('The proof is of a time to come: set the clock of the machine that signed it.');
  const expiresAt = iat * 1000 + limits.proofAgeMs + limits.clockSkewMs;
  if (expiresAt <= now) throw new ProofFault(`The proof is older than ${limits.proofAgeMs / 1000} s: sign a new one.`);
  if (typeof jti !== 'string' || !/^[\x21-\x7e]{16,128}$/.test(jti))
    throw new ProofFault('The proof must have jti, a random name of 16 to 128 characters.');
  return { id: jti, expiresAt };
}

/**
 * The key that a rotation brings in.
 *
 * @param keys the account's keys; one of them must have signed it
 * @throws ProofFault
 */
export async function verifyRotation(
  rotation: string,
  account: string,
  keys: readonly AccountKey[],
): Promise<AccountKey> {
  const { iss, jwk } = await verify(rotation, ROTATION_TYPE, keys);
  if (iss !== account) throw new ProofFault(`The rotation is of another account: iss must be ${account}.`);
  try {
    return parsePublicKey(jwk);
  } catch (error) {
    if (error instanceof KeyFault) throw new ProofFault(`The key of the rotation is none: ${error.message}`);
    throw error;
  }
}

/** Members of a header that have a meaning here; any other would ask for something that isn't done. */
const HEADER = ['typ', 'alg', 'kid'];

async function verify(jws: string, typ: string, keys: readonly AccountKey[]): Promise<Record<string, Json>> {
  if (jws.length > limits.proofBytesMax) throw new ProofFault(`It is longer than ${limits.proofBytesMax} bytes.`);
  const header = headerOf(jws);
  const foreign = Object.keys(header).find((name) => !HEADER.includes(name));
  if (foreign !== undefined) throw new ProofFault(`Its header has ${foreign}; only typ, alg and kid are taken.`);
  if (header.typ !== typ) throw new ProofFault(`Its typ must be ${typ}.`);
  const key = keys.find(({ kid }) => kid === header.kid);
  if (!key) throw new ProofFault('Its kid is no key of this account.');
  if (header.alg !== key.algorithm)
    throw new ProofFault(`Its alg must be ${key.algorithm}, as its key is of that kind.`);
  let claims: unknown;
  try {
    const { payload } = await compactVerify(jws, keyObjectOf(key), { algorithms: [key.algorithm] });
    claims = JSON.parse(Buffer.from(payload).toString('utf8'));
  } catch {
    throw new ProofFault('Its signature is not one by that key.');
  }
  if (!isObject(claims)) throw new ProofFault('Its payload must be a JSON object.');
  return claims as Record<string, Json>;
}

function headerOf(jws: string): Record<string, unknown> {
  try {
    return decodeProtectedHeader(jws);
  } catch {
    throw new ProofFault('It is no JWS in the compact form.');
  }
}
