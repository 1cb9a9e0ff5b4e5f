/** The envelope of a key: sealed with a passphrase and a new recovery code, kept for a server, put under its guard. */
import { existsSync, rmSync } from 'node:fs';
import { digestOfSealed, type Sealed, seal } from '../engine/access/envelope.js';
import { signProof } from '../engine/access/key-proof.js';
import type { Account } from './account.js';
import { CommandFault } from './command.js';
import { type OwnKey, readText, writeOwn } from './key-file.js';
import { newPassphrase, newRecoveryCode, normalCode } from './secrets.js';
import { call } from './server.js';

export interface SealedKey {
  readonly sealed: Sealed;
  /** To be shown once. */
  readonly recoveryCode: string;
}

export async function sealKey(key: OwnKey): Promise<SealedKey> {
  const passphrase = await newPassphrase();
  const recoveryCode = newRecoveryCode();
  const secrets = { passphrase, recovery: normalCode(recoveryCode) };
  return { sealed: await seal(key.account, key.privateJwk, secrets), recoveryCode };
}

/** Where an envelope waits for the server that is to guard it. */
export function waitingPath(keyFile: string): string {
  return `${keyFile.replace(/\.json$/, '')}.envelope.json`;
}

export function keepWaiting(keyFile: string, sealed: Sealed): void {
  writeOwn(waitingPath(keyFile), `${JSON.stringify(sealed)}\n`, { force: true });
}

/** The envelope that waits; undefined where there is none. */
export function waiting(keyFile: string): Sealed | undefined {
  const file = waitingPath(keyFile);
  if (!existsSync(file)) return undefined;
  try {
    return JSON.parse(readText(file, 'the envelope')) as Sealed;
  } catch {
    throw new CommandFault(
      `${file} is not as \`create\` or \`rotate\` wrote it. Remove it, and \`rotate\` to make another one.`,
    );
  }
}

/** Puts the envelope under the server's guard, by a proof of the account's key. */
export async function guard(
  server: string,
  account: Account,
  name: string,
  sealed: Sealed,
  key: OwnKey,
): Promise<void> {
  const about = digestOfSealed(sealed);
  const deed = { account: account.url, audience: account.origin, act: 'putEnvelope', about } as const;
  const ways = Object.entries(sealed.verifiers).map(([way, verifier]) => ({ way, verifier }));
  const body = { envelope: sealed.text, ways, proof: await signProof(deed, key, Date.now()) };
  await call('Putting the envelope under guard', server, `PUT /v1/identities/${name}/envelope`, { body });
  rmSync(waitingPath(account.keyFile), { force: true });
}

/** What a person has to be told of a new recovery code. */
export function recoveryWords(code: string): string {
  return `
Recovery code, shown this once:

    ${code}

Write it down and keep it away from your computers: it opens the envelope when the passphrase is forgotten.
`;
}
