/** `stargus-server identity enroll`: brings an account's public key to the server that hosts it, and its envelope under guard. */
import { signProof } from '../engine/access/key-proof.js';
import type { AccountKey } from '../engine/access/keys.js';
import { KeyFault, parsePublicKey } from '../engine/access/public-key.js';
import {
  ACCOUNT,
  type Account,
  accountOf,
  checkHost,
  hostedName,
  JSON_OUTPUT,
  KEY,
  SERVER,
  serverOf,
} from './account.js';
import { type Command, CommandFault, type Given, PROGRAM } from './command.js';
import { type OwnKey, readKeyFile, readText } from './key-file.js';
import { guard, waiting } from './sealing.js';
import { operatorKey } from './secrets.js';
import { askChallenge, call } from './server.js';

export const enroll: Command = {
  summary: 'bring an account’s key to the server that hosts it',
  about: `The first key needs the operator’s key (STARGUS_OPERATOR_KEY, or asked for). Others need it too, or --by, the file of a key that
the account has. Once the key is there, the envelope that \`create\` made is put under the server’s guard. May be repeated.`,
  options: {
    account: ACCOUNT,
    key: KEY,
    jwk: { value: 'file', meaning: 'Enroll this public key instead; for an operator, of somebody else.' },
    by: { value: 'file', meaning: 'The file of a key that the account has, which vouches for the new one.' },
    server: SERVER,
    json: JSON_OUTPUT,
  },
  async run(given) {
    const account = accountOf(given);
    const name = hostedName(account);
    const server = serverOf(given, account);
    const jwkFile = given.text('jwk');
    const own = jwkFile === undefined ? readKeyFile(account.keyFile, account.url) : undefined;
    const key = own?.publicKey ?? readPublicKey(jwkFile as string);
    checkHost(account, (await askChallenge(server)).audience);
    const isNew = await enrollKey(given, server, account, name, key);
    const sealed = own && waiting(account.keyFile);
    if (own && sealed) await guard(server, account, name, sealed, own);
    if (given.has('json')) {
      const result = { account: account.url, kid: key.kid, isNew, envelope: sealed !== undefined };
      process.stdout.write(`${JSON.stringify(result)}\n`);
    } else {
      process.stdout.write(`${account.url} ${isNew ? 'has the key' : 'had the key already:'} ${key.kid}\n`);
      if (sealed)
        process.stdout.write(
          `The envelope is under guard: \`${PROGRAM} identity unlock --account ${account.url}\` opens it at any computer.\n`,
        );
    }
  },
};

async function enrollKey(
  given: Given,
  server: string,
  account: Account,
  name: string,
  key: AccountKey,
): Promise<boolean> {
  const published = await call('Reading the account', server, `GET /id/${name}/jwks.json`, { missing: [404] });
  const keys = (published?.keys ?? []) as { kid?: string }[];
  if (keys.some(({ kid }) => kid === key.kid)) return false;
  const by = given.text('by');
  const path = `PUT /v1/identities/${name}/keys/${key.kid}`;
  if (by === undefined) {
    const headers = { authorization: `Bearer ${await operatorKey()}` };
    await call('Enrolling the key', server, path, { body: { jwk: key.jwk }, headers });
  } else await enrollBy(readKeyFile(by, account.url), server, account, name, key);
  return true;
}

/** Enrolls a key by the word of one that the account has. */
export async function enrollBy(
  voucher: OwnKey,
  server: string,
  account: Account,
  name: string,
  key: AccountKey,
): Promise<void> {
  const deed = { account: account.url, audience: account.origin, act: 'addKey', about: key.kid } as const;
  const body = { jwk: key.jwk, proof: await signProof(deed, voucher, Date.now()) };
  await call('Enrolling the key', server, `PUT /v1/identities/${name}/keys/${key.kid}`, { body });
}

function readPublicKey(file: string): AccountKey {
  try {
    return parsePublicKey(JSON.parse(readText(file, 'a public key')));
  } catch (error) {
    if (error instanceof KeyFault)
      throw new CommandFault(`${file} is no public key: ${error.member ?? 'it'} ${error.message}`);
    if (error instanceof SyntaxError) throw new CommandFault(`${file} is not JSON.`);
    throw error;
  }
}
