/**
 * `stargus-server identity rotate`: a new key in place of an account's key, by the word of the old one. The new key is on disk before
 * anybody hears of it, and the old one stays there until everything is done, so a command that is stopped is repeated.
 */
import { existsSync, renameSync } from 'node:fs';
import { signProof, signRotation } from '../engine/access/key-proof.js';
import {
  ACCOUNT,
  type Account,
  ALGORITHM,
  accountOf,
  hostedName,
  JSON_OUTPUT,
  KEY,
  SERVER,
  serverOf,
} from './account.js';
import { type Command, CommandFault, type Given } from './command.js';
import { enrollBy } from './enroll.js';
import { newKey, type OwnKey, readKeyFile, writeKeyFile } from './key-file.js';
import { guard, recoveryWords, type SealedKey, sealKey } from './sealing.js';
import { call } from './server.js';
import { StaticSite } from './static-site.js';

export const rotate: Command = {
  summary: 'change the key of an account',
  about: `Makes a new key, which the old one vouches for, and a new envelope with a new recovery code. At a Stargus server the new key is
enrolled and the old one taken out. On your own site the files are changed, with a rotation by which other servers know the new key.
The old key is kept beside the new one, in <key file>.old. When the command is stopped, repeat it.`,
  options: {
    account: ACCOUNT,
    key: KEY,
    alg: ALGORITHM,
    site: { value: 'folder', meaning: 'The root folder of the static site that is the account’s.' },
    'keep-old': { meaning: 'Let the account have the old key as well.' },
    'no-envelope': { meaning: 'Make no new envelope; the old one, which holds the old key, is removed.' },
    server: SERVER,
    json: JSON_OUTPUT,
  },
  async run(given) {
    const account = accountOf(given);
    const folder = given.text('site');
    const old = readKeyFile(account.keyFile, account.url);
    const nextFile = `${account.keyFile}.next`;
    if (folder === undefined) hostedName(account);
    const isResumed = existsSync(nextFile);
    const next = isResumed ? readKeyFile(nextFile, account.url) : await newKey(account.url, given.text('alg'));
    const made = given.has('no-envelope') ? undefined : await sealKey(next);
    if (!isResumed) writeKeyFile(nextFile, next, { force: false });
    if (folder === undefined) await atServer(given, account, old, next, made);
    else await onSite(new StaticSite(folder, account.url), given, old, next, made);
    writeKeyFile(`${account.keyFile}.old`, old, { force: true });
    renameSync(nextFile, account.keyFile);
    const { kid } = next.publicKey;
    if (given.has('json')) {
      const result = { account: account.url, kid, formerKid: old.publicKey.kid, recoveryCode: made?.recoveryCode };
      process.stdout.write(`${JSON.stringify(result)}\n`);
    } else {
      process.stdout.write(`${account.url} has the new key ${kid}, in ${account.keyFile}\n`);
      if (made) process.stdout.write(recoveryWords(made.recoveryCode));
    }
  },
};

async function atServer(
  given: Given,
  account: Account,
  old: OwnKey,
  next: OwnKey,
  made: SealedKey | undefined,
): Promise<void> {
  const name = hostedName(account);
  const server = serverOf(given, account);
  const published = await call('Reading the account', server, `GET /id/${name}/jwks.json`);
  const kids = ((published?.keys ?? []) as { kid?: string }[]).map(({ kid }) => kid);
  if (!kids.includes(next.publicKey.kid)) await enrollBy(old, server, account, name, next.publicKey);
  if (made) await guard(server, account, name, made.sealed, next);
  else {
    const headers = { 'stargus-proof': await prove(account, next, 'deleteEnvelope', name) };
    await call('Removing the old envelope', server, `DELETE /v1/identities/${name}/envelope`, { headers });
  }
  if (given.has('keep-old') || !kids.includes(old.publicKey.kid)) return;
  const { kid } = old.publicKey;
  const headers = { 'stargus-proof': await prove(account, next, 'deleteKey', kid) };
  await call('Taking the old key out', server, `DELETE /v1/identities/${name}/keys/${kid}`, { headers });
}

function prove(account: Account, key: OwnKey, act: 'deleteKey' | 'deleteEnvelope', about: string): Promise<string> {
  return signProof({ account: account.url, audience: account.origin, act, about }, key, Date.now());
}

async function onSite(
  site: StaticSite,
  given: Given,
  old: OwnKey,
  next: OwnKey,
  made: SealedKey | undefined,
): Promise<void> {
  if (!site.isThere) throw new CommandFault('There is no jwks.json of the account in that folder; `create` makes it.');
  const rotation = await signRotation(old.account, next.publicKey, old, Date.now());
  if (made) site.putEnvelope(made.sealed.text);
  else if (site.hasEnvelope) site.removeEnvelope();
  site.publish(next.publicKey, { kid: old.publicKey.kid, rotation, stays: given.has('keep-old') });
}
