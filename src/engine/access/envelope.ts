/**
 * Envelopes: a private key that its owner opens at any computer, with a passphrase or a recovery code. An envelope is a JWE in
 * the general JSON form (RFC 7516, 7.2.1), A256GCM, with one recipient for each way to open it, whose key wraps the content's
 * key by A256GCMKW.
 *
 * From the secret of a way Argon2id (RFC 9106) makes 64 bytes, and HKDF of these two keys that tell nothing of each other: one
 * opens the envelope, the other proves to whoever guards the envelope that one knows the secret. The guard keeps the hash of
 * the proof alone, the **verifier**. What deriving costs is in the recipient's header, and is bounded on both sides: a hostile
 * envelope must neither exhaust the memory of who opens it nor make guessing cheap.
 */
import { argon2, createCipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { flattenedDecrypt, type GeneralJWE } from 'jose';
import { limits } from '../limits.js';
import { isObject } from '../state/json.js';

/** How an envelope may be opened. */
export const WAYS = ['passphrase', 'recovery'] as const;
export type Way = (typeof WAYS)[number];

/** How the keys of a way are derived from its secret. */
export interface Derivation {
  readonly name: 'argon2id';
  readonly memoryKiB: number;
  readonly passes: number;
  readonly parallelism: number;
  /** 16 to 64 bytes, base64url. */
  readonly salt: string;
}

/** Says why a text is no envelope, or doesn't open; a whole sentence. */
export class EnvelopeFault extends Error {}

export interface Sealed {
  /** The envelope's text, JSON. */
  readonly text: string;
  /** By way. */
  readonly verifiers: Readonly<Record<string, string>>;
}

/** What an envelope says of itself before it is opened. */
export interface Opened {
  readonly account: string;
  readonly derivations: ReadonlyMap<Way, Derivation>;
}

const TYPE = 'stargus-envelope+jwe';
const SALT_BYTES = 16;
const KEY_BYTES = 32;

const argon2id = promisify(argon2);

/** A derivation as this version makes them. */
export function newDerivation(salt: Buffer = randomBytes(SALT_BYTES)): Derivation {
  return {
    name: 'argon2id',
    memoryKiB: limits.kdfMemoryKiB,
    passes: limits.kdfPasses,
    parallelism: limits.kdfParallelism,
    salt: salt.subarray(0, SALT_BYTES).toString('base64url'),
  };
}

/** The two keys of a way. The proof is base64url. */
export async function derive(
  account: string,
  way: Way,
  secret: string,
  derivation: Derivation,
): Promise<{ opening: Buffer; proof: string }> {
  const seed = await argon2id('argon2id', {
    // The same passphrase, however the keyboard composes its letters.
    message: Buffer.from(secret.normalize('NFKC')),
    nonce: Buffer.from(derivation.salt, 'base64url'),
    memory: derivation.memoryKiB,
    passes: derivation.passes,
    parallelism: derivation.parallelism,
    tagLength: 64,
  });
  const part = (use: string) =>
    Buffer.from(hkdfSync('sha256', seed, '', `stargus envelope ${use} ${way} ${account}`, KEY_BYTES));
  return { opening: part('open'), proof: part('prove').toString('base64url') };
}

/** What a guard keeps of a proof. */
export function verifierOf(proof: string): string {
  return createHash('sha256').update(proof).digest('base64url');
}

/** The digest of what a guard is given, for the proof that its sender has a key of the account. */
export function digestOfSealed({ text, verifiers }: Sealed): string {
  const lines = Object.entries(verifiers).map(([way, verifier]) => `${way} ${verifier}`);
  return createHash('sha256')
    .update([text, ...lines.sort()].join('\n'))
    .digest('base64url');
}

/**
 * Seals a private key.
 *
 * @param privateJwk what is sealed, as JSON
 * @param secrets by way
 */
export async function seal(
  account: string,
  privateJwk: object,
  secrets: Readonly<Partial<Record<Way, string>>>,
): Promise<Sealed> {
  const contentKey = randomBytes(KEY_BYTES);
  const recipients: Recipient[] = [];
  const verifiers: Record<string, string> = {};
  for (const way of WAYS) {
    const secret = secrets[way];
    if (secret === undefined) continue;
    const derivation = newDerivation();
    const { opening, proof } = await derive(account, way, secret, derivation);
    const { ciphertext, iv, tag } = encrypt(opening, contentKey, '');
    const header = { alg: 'A256GCMKW', kid: way, kdf: derivation, iv, tag };
    recipients.push({ encrypted_key: ciphertext, header });
    verifiers[way] = verifierOf(proof);
  }
  const head = { enc: 'A256GCM', typ: TYPE, cty: 'jwk+json', account };
  const protectedHead = Buffer.from(JSON.stringify(head)).toString('base64url');
  const content = encrypt(contentKey, Buffer.from(JSON.stringify(privateJwk)), protectedHead);
  return { text: JSON.stringify({ protected: protectedHead, ...content, recipients }), verifiers };
}

/** By hand: of an envelope with one way, jose would put what belongs to the recipient into the protected header. */
function encrypt(key: Buffer, plaintext: Buffer, aad: string): { ciphertext: string; iv: string; tag: string } {
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, iv);
  cipher.setAAD(Buffer.from(aad, 'ascii'));
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]).toString('base64url');
  return { ciphertext, iv: iv.toString('base64url'), tag: cipher.getAuthTag().toString('base64url') };
}

/**
 * Opens an envelope.
 *
 * @param opening the first key of the way, of `derive`
 * @returns what was sealed
 * @throws EnvelopeFault when it isn't the account's, is damaged, or the secret is another
 */
export async function open(text: string, account: string, way: Way, opening: Buffer): Promise<unknown> {
  const { jwe, about } = read(text);
  checkAccount(about, account);
  const recipient = jwe.recipients.find(({ header }) => (header as { kid?: unknown } | undefined)?.kid === way);
  if (!recipient) throw new EnvelopeFault(`The envelope has no way ${way}.`);
  const { recipients: _others, ...common } = jwe;
  try {
    const { plaintext } = await flattenedDecrypt({ ...common, ...recipient }, opening, {
      keyManagementAlgorithms: ['A256GCMKW'],
      contentEncryptionAlgorithms: ['A256GCM'],
    });
    return JSON.parse(Buffer.from(plaintext).toString('utf8'));
  } catch {
    throw new EnvelopeFault('The envelope does not open: the secret is another one, or the envelope was altered.');
  }
}

/**
 * What an envelope says of itself.
 *
 * @throws EnvelopeFault when it is none, or asks for more or less than is safe
 */
export function readEnvelope(text: string): Opened {
  return read(text).about;
}

export function checkAccount(about: Opened, account: string): void {
  if (about.account !== account)
    throw new EnvelopeFault(`The envelope is of another account, ${about.account.slice(0, 300)}.`);
}

interface Recipient {
  readonly encrypted_key?: string;
  readonly header?: unknown;
}

function read(text: string): { jwe: GeneralJWE; about: Opened } {
  if (Buffer.byteLength(text) > limits.envelopeBytesMax)
    throw new EnvelopeFault(`An envelope has at most ${limits.envelopeBytesMax} bytes.`);
  const jwe = parse(text, 'The envelope is not JSON.');
  checkMembers(jwe, ['protected', 'iv', 'ciphertext', 'tag', 'recipients'], 'The envelope');
  const encoded = typeof jwe.protected === 'string' ? jwe.protected : '';
  const head = parse(Buffer.from(encoded, 'base64url').toString('utf8'), 'The envelope’s protected header is no JSON.');
  checkMembers(head, ['enc', 'typ', 'cty', 'account'], 'The envelope’s protected header');
  if (head.typ !== TYPE) throw new EnvelopeFault(`The envelope’s typ must be ${TYPE}.`);
  if (head.enc !== 'A256GCM') throw new EnvelopeFault('The envelope’s enc must be A256GCM.');
  if (typeof head.account !== 'string') throw new EnvelopeFault('The envelope must name its account.');
  const recipients = jwe.recipients;
  if (!Array.isArray(recipients) || recipients.length === 0 || recipients.length > WAYS.length)
    throw new EnvelopeFault(`The envelope must have 1 to ${WAYS.length} recipients, one for each way to open it.`);
  const derivations = new Map<Way, Derivation>();
  for (const recipient of recipients as Recipient[]) {
    const { way, derivation } = readRecipient(recipient);
    if (derivations.has(way)) throw new EnvelopeFault(`The envelope has the way ${way} twice.`);
    derivations.set(way, derivation);
  }
  return { jwe: jwe as unknown as GeneralJWE, about: { account: head.account, derivations } };
}

function readRecipient(recipient: Recipient): { way: Way; derivation: Derivation } {
  if (!isObject(recipient)) throw new EnvelopeFault('A recipient of the envelope must be an object.');
  checkMembers(recipient, ['encrypted_key', 'header'], 'A recipient of the envelope');
  const { header } = recipient as Recipient;
  if (!isObject(header)) throw new EnvelopeFault('A recipient of the envelope must have a header.');
  checkMembers(header, ['alg', 'kid', 'kdf', 'iv', 'tag'], 'A recipient’s header');
  if (header.alg !== 'A256GCMKW') throw new EnvelopeFault('A recipient’s alg must be A256GCMKW.');
  const way = WAYS.find((known) => known === header.kid);
  if (!way) throw new EnvelopeFault(`A recipient’s kid must be its way, ${WAYS.join(' or ')}.`);
  return { way, derivation: parseDerivation(header.kdf) };
}

/**
 * How a way's keys are derived, from its JSON.
 *
 * @throws EnvelopeFault when it costs too much, or so little that guessing were cheap
 */
export function parseDerivation(value: unknown): Derivation {
  if (!isObject(value)) throw new EnvelopeFault('A derivation (kdf) must be an object.');
  checkMembers(value, ['name', 'memoryKiB', 'passes', 'parallelism', 'salt'], 'A derivation (kdf)');
  const { name, salt } = value;
  if (name !== 'argon2id') throw new EnvelopeFault('A derivation’s name must be argon2id.');
  const bytes = typeof salt === 'string' ? Buffer.from(salt, 'base64url') : Buffer.alloc(0);
  if (bytes.length < SALT_BYTES || bytes.length > 64 || bytes.toString('base64url') !== salt)
    throw new EnvelopeFault(`A derivation’s salt must be ${SALT_BYTES} to 64 bytes, base64url.`);
  const number = (member: string, min: number, max: number): number => {
    const found = value[member];
    if (Number.isInteger(found) && (found as number) >= min && (found as number) <= max) return found as number;
    throw new EnvelopeFault(
      `A derivation’s ${member} must be ${min} to ${max}; more could exhaust this machine, and less would make guessing cheap.`,
    );
  };
  return {
    name,
    memoryKiB: number('memoryKiB', limits.kdfMemoryKiB, limits.kdfMemoryKiBMax),
    passes: number('passes', limits.kdfPasses, limits.kdfPassesMax),
    parallelism: number('parallelism', limits.kdfParallelism, limits.kdfParallelismMax),
    salt,
  };
}

/** Whether a derivation costs what this version's cost, so that it tells nothing about whose it is. */
export function isStandard(derivation: Derivation): boolean {
  const { memoryKiB, passes, parallelism, salt } = newDerivation();
  return (
    derivation.memoryKiB === memoryKiB &&
    derivation.passes === passes &&
    derivation.parallelism === parallelism &&
    derivation.salt.length === salt.length
  );
}

function parse(text: string, fault: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (isObject(value)) return value;
  } catch {
    // Told below.
  }
  throw new EnvelopeFault(fault);
}

function checkMembers(value: object, known: readonly string[], what: string): void {
  const foreign = Object.keys(value).find((name) => !known.includes(name));
  if (foreign !== undefined) throw new EnvelopeFault(`${what} has an unknown member, ${foreign.slice(0, 60)}.`);
}
