/**
 * Private keys on this computer: a file for each account that only its owner may read. What must not be lost is written beside
 * its place first and then moved there, so that a command that is stopped leaves the old file or the new one.
 */
import { createPrivateKey, generateKeyPair, type JsonWebKey, type KeyObject } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import type { Signer } from '../engine/access/key-proof.js';
import { KeyFault, parsePublicKey } from '../engine/access/public-key.js';
import { CommandFault } from './command.js';

export interface OwnKey extends Signer {
  /** The account's URL. */
  readonly account: string;
  /** The private key as a JWK. */
  readonly privateJwk: JsonWebKey;
}

const generate = promisify(generateKeyPair);
const ALGORITHMS = ['EdDSA', 'ES256', 'PS256'];
/** What is enough until the thirties of this century, at half the cost of 4096. */
const RSA_BITS = 3072;

export async function newKey(account: string, algorithm = 'EdDSA'): Promise<OwnKey> {
  const make = (): Promise<{ privateKey: KeyObject }> => {
    if (algorithm === 'EdDSA') return generate('ed25519');
    if (algorithm === 'ES256') return generate('ec', { namedCurve: 'P-256' });
    if (algorithm === 'PS256') return generate('rsa', { modulusLength: RSA_BITS });
    throw new CommandFault(`--alg must be ${ALGORITHMS.join(', ')}; it is ${algorithm}.`, 2);
  };
  const { privateKey } = await make();
  return ownKey(account, privateKey.export({ format: 'jwk' }));
}

/** @throws CommandFault when it is no private key that is taken */
export function ownKey(account: string, privateJwk: unknown): OwnKey {
  try {
    const { kty, crv, x, y, n, e } = privateJwk as JsonWebKey;
    const publicKey = parsePublicKey(JSON.parse(JSON.stringify({ kty, crv, x, y, n, e })));
    const privateKey = createPrivateKey({ key: privateJwk as JsonWebKey, format: 'jwk' });
    return { account, privateJwk: privateJwk as JsonWebKey, privateKey, publicKey };
  } catch (error) {
    const detail = error instanceof KeyFault ? ` Its member ${error.member ?? ''} ${error.message}` : '';
    throw new CommandFault(`That is no private key.${detail}`);
  }
}

/** Where the key of the account is kept, unless somebody says otherwise. */
export function keyPathOf(account: string): string {
  const folder = process.env.XDG_CONFIG_HOME || path.join(homedir(), '.config');
  const name = account.replace(/^https?:\/\//, '').replaceAll(/[^A-Za-z0-9._-]/g, '_');
  return path.join(folder, 'stargus', `${name}.key.json`);
}

export function readKeyFile(file: string, account?: string): OwnKey {
  const text = readText(file, 'the private key');
  if (process.platform !== 'win32' && (statSync(file).mode & 0o077) !== 0)
    process.stderr.write(`warning: others on this computer can read ${file}; \`chmod 600\` keeps it to yourself.\n`);
  let content: { account?: unknown; jwk?: unknown };
  try {
    content = JSON.parse(text);
  } catch {
    throw new CommandFault(`${file} is not JSON.`);
  }
  if (typeof content.account !== 'string') throw new CommandFault(`${file} is no file of a key: it names no account.`);
  if (account !== undefined && content.account !== account)
    throw new CommandFault(`${file} is the key of ${content.account}, not of ${account}.`);
  return ownKey(content.account, content.jwk);
}

/** Writes the key where only its owner can read it. */
export function writeKeyFile(file: string, { account, privateJwk }: OwnKey, { force }: { force: boolean }): void {
  writeOwn(file, `${JSON.stringify({ account, jwk: privateJwk }, null, 2)}\n`, { force });
}

/** Writes a file for its owner alone, whole or not at all. */
export function writeOwn(file: string, text: string, { force }: { force: boolean }): void {
  refuseExisting(file, force);
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  const beside = `${file}.${process.pid}.part`;
  writeFileSync(beside, text, { mode: 0o600, flag: 'w' });
  chmodSync(beside, 0o600);
  renameSync(beside, file);
}

export function refuseExisting(file: string, force: boolean): void {
  if (!force && existsSync(file))
    throw new CommandFault(
      `${file} is there already and is not overwritten; give --force if it may be, or another --key.`,
    );
}

/** The text of a file; says what was looked for where it isn't there. */
export function readText(file: string, what: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT')
      throw new CommandFault(`There is no file ${file} with ${what}.`);
    throw new CommandFault(`${file} can’t be read: ${(error as Error).message}`);
  }
}
