/**
 * Opening an envelope (docs/IDENTITIES.md#the-format): from a passphrase or recovery code come the key that opens it and the proof that gets it from
 * the server that guards it. Neither leaves the process but the proof. What asks for a cheaper derivation than the format says, or a dearer one than
 * it allows, is refused before anything is derived.
 */
import { type FlattenedJWE, flattenedDecrypt } from 'jose';
import { fromBase64, toBase64Url } from './base64url.js';
import { StargusError } from './errors.js';
import { isJsonObject } from './json.js';
import type { KeyFile } from './platform.js';

export type Way = 'passphrase' | 'recovery';

/** From the format: what all cost, and what one may ask for at most. */
const COST = {
  memoryKiB: [65_536, 262_144],
  passes: [3, 10],
  parallelism: [1, 4],
} as const;
const SALT_BYTES_MIN = 16;
const SALT_BYTES_MAX = 64;
const SEED_BYTES = 64;
export const ENVELOPE_BYTES_MAX = 16 * 1024;

export interface Derivation {
  readonly memoryKiB: number;
  readonly passes: number;
  readonly parallelism: number;
  readonly salt: Uint8Array;
}

/** @throws StargusError `loginFailed` when it costs less or more than is safe */
export function derivationOf(kdf: unknown): Derivation {
  if (!isJsonObject(kdf) || kdf.name !== 'argon2id')
    throw refused('It is opened in a way that this library doesn’t know.');
  const salt = typeof kdf.salt === 'string' ? fromBase64(kdf.salt) : undefined;
  if (!salt || salt.length < SALT_BYTES_MIN || salt.length > SALT_BYTES_MAX) throw refused('Its salt isn’t one.');
  const number = (name: keyof typeof COST): number => {
    const value = kdf[name];
    const [min, max] = COST[name];
    if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max) return value as number;
    throw refused(
      `It asks for ${name} ${String(value)}, and ${min} to ${max} are taken: less would make guessing the passphrase cheap, more could exhaust this machine. The server may not be honest.`,
    );
  };
  return { memoryKiB: number('memoryKiB'), passes: number('passes'), parallelism: number('parallelism'), salt };
}

/** How the key of one way is derived, as a published envelope says. @throws StargusError `loginFailed` where it has no such way */
export function publishedKdf(text: string, way: Way): unknown {
  try {
    const { recipients } = JSON.parse(text) as { recipients: { header?: { kid?: unknown; kdf?: unknown } }[] };
    const kdf = recipients.find(({ header }) => header?.kid === way)?.header?.kdf;
    if (kdf !== undefined) return kdf;
  } catch {
    // It is somebody's page.
  }
  throw refused(`It isn’t one, or none that a ${way === 'passphrase' ? way : 'recovery code'} opens.`);
}

/** The key that opens the envelope, and the proof that one knows the secret. Takes some hundred milliseconds and 64 MiB. */
export async function deriveKeys(
  account: string,
  way: Way,
  secret: string,
  { memoryKiB, passes, parallelism, salt }: Derivation,
): Promise<{ opening: Uint8Array; proof: string }> {
  const { argon2id } = await import('hash-wasm');
  const seed = await argon2id({
    // The same passphrase, however the keyboard composes its letters.
    password: new TextEncoder().encode(secret.normalize('NFKC')),
    salt,
    iterations: passes,
    memorySize: memoryKiB,
    parallelism,
    hashLength: SEED_BYTES,
    outputType: 'binary',
  });
  const key = await crypto.subtle.importKey('raw', new Uint8Array(seed), 'HKDF', false, ['deriveBits']);
  const part = async (use: string) => {
    const info = new TextEncoder().encode(`stargus envelope ${use} ${way} ${account}`);
    const bits = await crypto.subtle.deriveBits(
      { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(0), info },
      key,
      256,
    );
    return new Uint8Array(bits);
  };
  return { opening: await part('open'), proof: toBase64Url(await part('prove')) };
}

/** @throws StargusError `loginFailed` when it isn't the account's, is damaged, or the secret is another */
export async function openEnvelope(text: unknown, account: string, way: Way, opening: Uint8Array): Promise<KeyFile> {
  if (typeof text !== 'string' || text.length > ENVELOPE_BYTES_MAX) throw refused('It isn’t one.');
  let jwk: unknown;
  try {
    const { recipients, ...common } = JSON.parse(text) as { recipients: { header?: { kid?: unknown } }[] };
    const recipient = recipients.find(({ header }) => header?.kid === way);
    const { plaintext, protectedHeader } = await flattenedDecrypt(
      { ...common, ...recipient } as FlattenedJWE,
      opening,
      {
        keyManagementAlgorithms: ['A256GCMKW'],
        contentEncryptionAlgorithms: ['A256GCM'],
      },
    );
    const { typ, account: owner } = protectedHeader as { typ?: unknown; account?: unknown };
    if (typ !== 'stargus-envelope+jwe' || owner !== account) throw new Error('It is of another account.');
    jwk = JSON.parse(new TextDecoder().decode(plaintext));
  } catch (cause) {
    throw new StargusError(
      'loginFailed',
      'The envelope doesn’t open: the passphrase is another one, or the envelope was altered.',
      { cause },
    );
  }
  if (!isJsonObject(jwk)) throw refused('There is no key in it.');
  return { account, jwk };
}

function refused(why: string): StargusError {
  return new StargusError('loginFailed', `The account’s envelope isn’t taken. ${why}`);
}

/** A recovery code as it is derived from, however it was typed. */
export function normalCode(text: string): string {
  return text.toUpperCase().replaceAll(/[\s-]/g, '').replaceAll('O', '0').replaceAll(/[IL]/g, '1');
}
