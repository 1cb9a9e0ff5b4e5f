/**
 * What a foreign account publishes: a JWK set (RFC 7517), or did:web's document; either with signed changes of keys,
 * `rotations`. Keys of other kinds and uses are passed over, but a document with anything private in it is refused whole. Pure.
 */
import { limits } from '../limits.js';
import { isObject } from '../state/json.js';
import { didOf } from './account-url.js';
import type { AccountKey } from './keys.js';
import { KeyFault, parsePublicKey } from './public-key.js';

/** Says why a document can't be used; the sentence has no subject. */
export class DocumentFault extends Error {}

export interface IdentityDocument {
  readonly keys: readonly AccountKey[];
  /** JWSs, each by one key over another. */
  readonly rotations: readonly string[];
}

/** `text` is that of `<account>/jwks.json`. */
export function parseJwks(text: string): IdentityDocument {
  const document = parse(text);
  if (!Array.isArray(document.keys)) throw new DocumentFault('has no list `keys`.');
  return { keys: keysOf(document.keys), rotations: rotationsOf(document) };
}

/** `text` is that of did:web's document. Its keys are those that it names for authentication (DID Core, 5.3.1). */
export function parseDidDocument(text: string, account: string): IdentityDocument {
  const document = parse(text);
  const did = didOf(account);
  if (document.id !== did && document.id !== account)
    throw new DocumentFault(`is that of somebody else: its \`id\` must be ${did}.`);
  const own = (id: unknown) => (typeof id === 'string' && id.startsWith('#') ? `${document.id}${id}` : id);
  const methods = (Array.isArray(document.verificationMethod) ? document.verificationMethod : []).filter(isObject);
  const uses = Array.isArray(document.authentication) ? document.authentication : [];
  const embedded = uses.filter(isObject);
  const named = new Set(uses.map(own));
  // Also those that are for something else: nothing private may be in any of them.
  keysOf([...methods, ...embedded].map(({ publicKeyJwk }) => publicKeyJwk));
  const used = [...methods.filter(({ id }) => named.has(own(id))), ...embedded];
  return { keys: keysOf(used.map(({ publicKeyJwk }) => publicKeyJwk)), rotations: rotationsOf(document) };
}

function parse(text: string): Record<string, unknown> {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    throw new DocumentFault('is not JSON.');
  }
  if (!isObject(document)) throw new DocumentFault('is no JSON object.');
  return document as Record<string, unknown>;
}

function keysOf(jwks: readonly unknown[]): AccountKey[] {
  if (jwks.length > limits.identityDocumentKeysMax)
    throw new DocumentFault(`has more than ${limits.identityDocumentKeysMax} keys.`);
  const keys = new Map<string, AccountKey>();
  for (const jwk of jwks) {
    try {
      const key = parsePublicKey(jwk);
      keys.set(key.kid, key);
    } catch (error) {
      if (!(error instanceof KeyFault)) throw error;
      // Whoever publishes it has lost the key; nobody should be let in by it.
      if (error.isPrivate)
        throw new DocumentFault(`publishes a private key: its member ${error.member} ${error.message}`);
    }
  }
  if (keys.size > limits.accountKeysMax)
    throw new DocumentFault(`has more than ${limits.accountKeysMax} keys that could be used to log in.`);
  return [...keys.values()];
}

function rotationsOf({ rotations }: Record<string, unknown>): string[] {
  if (!Array.isArray(rotations)) return [];
  // The newest come last; an account that changes its keys for ever needn't publish all of them.
  return rotations.filter((rotation) => typeof rotation === 'string').slice(-limits.rotationsMax);
}
