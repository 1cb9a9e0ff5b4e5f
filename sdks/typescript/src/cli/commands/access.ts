/** `login`, `logout` and `policy check`: who one is, and what one may do. */
import { existsSync } from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type CommandSpec, type Given, textOf, wordOf } from '../command.js';
import { connectAs, keyOfEnvelope } from '../connecting.js';
import { type Credential, keepCredential, keyPathOf } from '../credentials.js';
import { EXIT, Fault } from '../fault.js';
import { placeOrCollection } from '../place.js';
import { secret } from '../secret.js';

export const login: CommandSpec = {
  name: 'login',
  about: `show the server who you are, and keep how, for the commands after this one. With --key by a key file; with --account by a
passphrase, which opens the account's envelope at the server that guards it; with --api-key by a key that is asked for, or
taken from the first line of the standard input`,
  examples: [
    'stargus login --account https://stargus.example/id/ann',
    'stargus login --key ann.key.json',
    'stargus login --api-key < key.txt',
  ],
  options: [
    { flags: '--account <url>', about: 'an account; its passphrase is asked for, or taken from STARGUS_PASSPHRASE' },
    { flags: '--recovery', about: 'with --account: by the recovery code' },
    {
      flags: '--key <file>',
      about:
        "a key file, as the server's command line makes it: `stargus-server identity create`, or `npm run -s stargus -- identity create` in its folder",
    },
    { flags: '--api-key', about: 'an API key' },
  ],
  async run(given) {
    const credential = await credentialOf(given);
    const subject = await connectAs(given.url, given.pool, credential, async (_, who) => who);
    const file = keepCredential(given.url, credential);
    given.output.give(
      { subject, url: given.url },
      () => `You are ${subject} at ${given.url}. (Kept in ${file}; \`stargus logout\` forgets it.)`,
    );
    return EXIT.done;
  },
};

async function credentialOf(given: Given): Promise<Credential> {
  const account = textOf(given, 'account');
  const keyFile = textOf(given, 'key');
  const chosen = [account, keyFile, given.options.apiKey || undefined].filter((one) => one !== undefined);
  if (chosen.length !== 1) throw new Fault('Say how: --account <url>, --key <file> or --api-key, one of them.');
  if (keyFile !== undefined) return { keyFile: path.resolve(keyFile) };
  if (account === undefined) return { apiKey: await secret('API key', 'STARGUS_API_KEY') };
  return { keyFile: await unlocked(given, account) };
}

/** The file of the account's key: where it isn't on this computer yet, the envelope is opened. */
async function unlocked(given: Given, account: string): Promise<string> {
  const file = keyPathOf(account);
  if (existsSync(file)) return file;
  const isRecovery = given.options.recovery === true;
  const word = isRecovery
    ? await secret('Recovery code', 'STARGUS_RECOVERY_CODE')
    : await secret('Passphrase', 'STARGUS_PASSPHRASE');
  const { jwk } = await keyOfEnvelope(
    given.url,
    isRecovery ? { account, recoveryCode: word } : { account, passphrase: word },
  );
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  await writeFile(file, `${JSON.stringify({ account, jwk }, undefined, 2)}\n`, { mode: 0o600, flag: 'wx' });
  await chmod(file, 0o600);
  given.output.note(`The key of ${account} is in ${file}, which only you can read.`);
  return file;
}

export const logout: CommandSpec = {
  name: 'logout',
  about: 'forget how you log in at this server. The key file stays',
  async run(given) {
    keepCredential(given.url, undefined);
    given.output.give({ url: given.url }, () => `Nothing is kept for ${given.url} any more.`);
    return EXIT.done;
  },
};

const ACTIONS = ['read', 'watch', 'create', 'write', 'delete', 'lock', 'admin'] as const;

export const policyCheck: CommandSpec = {
  name: 'policy check',
  words: '<action> <item> [attributes...]',
  about: `ask whether you may do something: ${ACTIONS.join(', ')}. Exit code 1: you may not`,
  examples: ['stargus policy check write rooms/hall light', 'stargus policy check read rooms'],
  async run(given) {
    const typed = wordOf(given, 0);
    const action = ACTIONS.find((known) => known === typed);
    if (!action) throw new Fault(`${typed} is no action: ${ACTIONS.join(', ')}.`);
    const names = (given.words[2] ?? []) as readonly string[];
    const check = {
      action,
      ...placeOrCollection(wordOf(given, 1)),
      ...(names.length > 0 && { attributes: [...names] }),
    };
    const client = await given.client();
    const { results } = await client.api.policy.checkPolicy({ pool: given.pool, policyChecks: { checks: [check] } });
    const [result] = results;
    if (!result) throw new Fault('The server answered nothing.', EXIT.unreachable);
    const { allow, because, rule } = result;
    given.output.give(
      { allow, because, rule },
      () => `${allow ? given.output.style('green', 'yes') : given.output.style('red', 'no')}: ${because ?? ''}`,
    );
    return allow ? EXIT.done : EXIT.no;
  },
};
