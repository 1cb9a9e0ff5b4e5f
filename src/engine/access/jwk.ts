/**
 * Public keys that come inside signed texts: they are read as those of accounts are (public-key.ts), so that one key has one thumbprint
 * wherever it comes from, and what is private or of another kind is refused (RFC 8725, 3.1: the algorithm is the key's, never the signature's).
 */
import { calculateJwkThumbprint, type JWK } from 'jose';
import type { Json } from '../state/json.js';
import type { AccountKey, PublicJwk } from './keys.js';
import { KeyFault, parsePublicKey } from './public-key.js';

/** The key with its algorithm and nothing but what makes it; undefined for what is no public key of a kind that is taken. */
export function publicKeyOf(value: Json | undefined): AccountKey | undefined {
  try {
    return parsePublicKey(value);
  } catch (error) {
    if (error instanceof KeyFault) return undefined;
    throw error;
  }
}

/** The RFC 7638 thumbprint, also of keys that sign nothing: SHA-256, base64url. */
export function thumbprintOf(jwk: PublicJwk): Promise<string> {
  return calculateJwkThumbprint(jwk as JWK, 'sha256');
}
