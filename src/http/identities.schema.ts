/** What comes in and goes out at accounts: keys, envelopes, pins, and the documents that others read. */
import { z } from 'zod';
import { WAYS } from '../engine/access/envelope.js';
import { limits } from '../engine/limits.js';
import { integerParameter, jsonObject, textParameter } from './schemas.js';

const time = z.string().meta({ format: 'date-time' });
const accountUrl = z.string().meta({ description: 'The account’s URL.' });
const kid = z.string().meta({ description: 'The key’s RFC 7638 thumbprint.' });
const algorithm = z
  .string()
  .meta({ 'x-extensible-enum': ['PS256', 'EdDSA', 'ES256'], description: 'The algorithm of its signatures.' });
const proof = z
  .string()
  .optional()
  .meta({ description: 'A proof signed by a key of the account, in place of the operator’s key.' });

/** A thumbprint or the digest that a verifier is. */
const digest = z.string().regex(/^[A-Za-z0-9_-]{43}$/, 'must be 32 bytes, base64url');
const way = z.enum(WAYS, `must be ${WAYS.join(' or ')}`);

const JWK = 'A public key as a JWK (RFC 7517): RSA with 2048 to 4096 bits, Ed25519, or P-256.';

/** Looked at by the engine, which says what is wrong with it. */
const givenJwk = jsonObject.meta({ type: 'object', additionalProperties: true, description: JWK });

const publicJwk = z
  .object({
    kty: z.string(),
    crv: z.string().optional(),
    x: z.string().optional(),
    y: z.string().optional(),
    n: z.string().optional(),
    e: z.string().optional(),
    kid: z.string().optional(),
    alg: z.string().optional(),
    use: z.string().optional(),
  })
  .meta({ id: 'PublicJwk', description: JWK });

export const keyBody = z.strictObject({ jwk: givenJwk, proof }).meta({ id: 'AccountKeyRequest' });

const keyMembers = { kid, algorithm, jwk: publicJwk, addedAt: time };
const accountKey = z.object(keyMembers).meta({ id: 'AccountKey', description: 'A public key of an account.' });

export const addedKey = z
  .object({ account: accountUrl, ...keyMembers })
  .meta({ id: 'AddedAccountKey', description: 'The key that the account has now.' });

export const deletedKey = z
  .object({ account: accountUrl, kid, existed: z.boolean() })
  .meta({ id: 'DeletedAccountKey', description: 'The account has no such key now.' });

export const identity = z
  .object({ account: accountUrl, name: z.string(), keys: z.array(accountKey) })
  .meta({ id: 'Identity', description: 'An account that this server hosts.' });

export const jwks = z.object({ keys: z.array(publicJwk) }).meta({ id: 'JwkSet', description: 'A JWK set (RFC 7517).' });

const verificationMethod = z
  .object({ id: z.string(), controller: z.string(), publicKeyJwk: publicJwk })
  .meta({ id: 'VerificationMethod', description: 'Of the type `JsonWebKey2020`, which it says as well.' });

export const didDocument = z
  .object({
    '@context': z.array(z.string()),
    id: z.string().meta({ description: 'The account as a did:web identifier.' }),
    alsoKnownAs: z.array(z.string()).meta({ description: 'The account’s URL.' }),
    verificationMethod: z.array(verificationMethod),
    authentication: z.array(z.string()),
  })
  .meta({ id: 'DidDocument', description: 'A DID document in the shape of did:web.' });

const derivation = z
  .object({
    name: z.string().meta({ 'x-extensible-enum': ['argon2id'] }),
    memoryKiB: z.int().meta({ type: 'integer', format: 'int32' }),
    passes: z.int().meta({ type: 'integer', format: 'int32' }),
    parallelism: z.int().meta({ type: 'integer', format: 'int32' }),
    salt: z.string().meta({ description: 'Base64url.' }),
  })
  .meta({ id: 'Derivation', description: 'How the keys of a way are derived from its secret.' });

export const envelopeBody = z
  .strictObject({
    envelope: z.string().meta({ description: 'The envelope’s text, a JWE in the general JSON form.' }),
    ways: z
      .array(
        z
          .strictObject({
            way,
            verifier: digest.meta({ description: 'The SHA-256 of the way’s proof, base64url.' }),
          })
          .meta({ id: 'EnvelopeVerifier' }),
      )
      .min(1)
      .max(WAYS.length)
      .meta({ description: 'Each way to open the envelope, once.' }),
    proof,
  })
  .meta({ id: 'EnvelopeRequest' });

export const guardedEnvelope = z
  .object({ account: accountUrl, ways: z.array(z.string()).meta({ description: 'The ways to open it.' }) })
  .meta({ id: 'GuardedEnvelope', description: 'The envelope is under guard.' });

export const deletedEnvelope = z
  .object({ account: accountUrl, existed: z.boolean() })
  .meta({ id: 'DeletedEnvelope', description: 'No envelope of the account is under guard now.' });

export const envelopeWays = z
  .object({
    account: accountUrl,
    ways: z.array(z.object({ way: z.string(), kdf: derivation }).meta({ id: 'EnvelopeWay' })),
  })
  .meta({ id: 'EnvelopeWays', description: 'The same whether or not there is such an account or envelope.' });

export const unlockBody = z
  .strictObject({
    way,
    proof: digest.meta({ description: 'Derived from the secret of the way: 32 bytes, base64url.' }),
  })
  .meta({ id: 'UnlockRequest' });

export const unlockedEnvelope = z
  .object({ account: accountUrl, envelope: z.string() })
  .meta({ id: 'UnlockedEnvelope', description: 'The envelope; who asked has the secret that opens it.' });

export const pinBody = z
  .strictObject({
    account: z.string().meta({ description: 'The URL of a foreign account, in its normal form.' }),
    kid: digest.meta({ description: 'The thumbprint of a key that it publishes now.' }),
  })
  .meta({ id: 'PinRequest' });

export const pin = z
  .object({
    account: accountUrl,
    kid,
    algorithm,
    source: z.string().meta({
      'x-extensible-enum': ['first', 'rotation', 'operator'],
      description:
        'Why it is taken: it was there when the account was first met, a former key signed it, or the operator said so.',
    }),
    pinnedAt: time,
  })
  .meta({ id: 'Pin', description: 'A key of a foreign account that this server takes.' });

export const pinPage = z.object({ pins: z.array(pin), nextPageToken: z.string().optional() }).meta({ id: 'PinPage' });

export const pinListQuery = z.strictObject({
  account: textParameter('Only those of this account.').optional(),
  limit: integerParameter(1, limits.pageItemsMax, `Pins on a page; ${limits.pageItemsDefault} when absent.`).optional(),
  pageToken: textParameter('Where the former page ended.').optional(),
});

export const pinQuery = z.strictObject({
  account: textParameter('The account’s URL.'),
  kid: textParameter('The key’s thumbprint.'),
});

export const deletedPin = z
  .object({ account: accountUrl, kid, existed: z.boolean() })
  .meta({ id: 'DeletedPin', description: 'The key is not pinned now.' });
