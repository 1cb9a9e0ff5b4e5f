/** Accounts for scenarios: keys in files as the command line writes them, enrolled by the operator, with envelopes where there is a passphrase. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { newRecoveryCode, normalCode } from '../../src/cli/secrets.js';
import { seal } from '../../src/engine/access/envelope.js';
import { newKey } from '../support/keys.js';

export const OPERATOR_KEY = 'operator-of-the-scenarios';
export const asOperator = { authorization: `Bearer ${OPERATOR_KEY}`, 'content-type': 'application/json' };

interface Wanted {
  readonly name: string;
  /** Where clients come to, with which the account's URL begins. */
  readonly origin: string;
  /** Where the server is. */
  readonly server: string;
  readonly folder: string;
  readonly enroll?: boolean;
  readonly passphrase?: string;
  /** Whether the envelope also opens with a code. */
  readonly recovery?: 'code';
}

/**
 * Makes the account and its key file, `<name>.json` in the folder.
 * @returns the recovery code, where one was wanted
 */
export async function makeAccount(wanted: Wanted): Promise<string | undefined> {
  const { name, origin, server, folder, enroll = true, passphrase, recovery } = wanted;
  const account = `${origin}/id/${name}`;
  const key = await newKey();
  const jwk = key.privateKey.export({ format: 'jwk' });
  writeFileSync(path.join(folder, `${name}.json`), JSON.stringify({ account, jwk }), { mode: 0o600 });
  if (!enroll) return undefined;
  await asked(`${server}/v1/identities/${name}/keys/${key.kid}`, { jwk: key.jwk });
  if (passphrase === undefined) return undefined;
  const code = recovery && newRecoveryCode();
  const secrets = { passphrase, ...(code && { recovery: normalCode(code) }) };
  const sealed = await seal(account, jwk, secrets);
  const ways = Object.entries(sealed.verifiers).map(([way, verifier]) => ({ way, verifier }));
  await asked(`${server}/v1/identities/${name}/envelope`, { envelope: sealed.text, ways });
  return code;
}

async function asked(url: string, body: unknown): Promise<void> {
  const response = await fetch(url, { method: 'PUT', headers: asOperator, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`PUT ${url} answered ${response.status}: ${await response.text()}`);
}
