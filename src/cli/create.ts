/** `stargus-server identity create`: a new key for an account, its envelope, and the files of a static site. */
import { ACCOUNT, type Account, ALGORITHM, accountOf, FORCE, JSON_OUTPUT, KEY } from './account.js';
import { type Command, CommandFault, type Given, PROGRAM } from './command.js';
import { newKey, refuseExisting, writeKeyFile } from './key-file.js';
import { keepWaiting, recoveryWords, sealKey } from './sealing.js';
import { StaticSite } from './static-site.js';

export const create: Command = {
  summary: 'make a key for a new account, and its envelope',
  about: `Makes a private key on this computer and seals it in an envelope, by a passphrase and a recovery code. For an account at a
Stargus server, \`enroll\` brings the public key and the envelope there. For one of your own site, --site writes the files to be served.`,
  options: {
    account: ACCOUNT,
    key: KEY,
    alg: ALGORITHM,
    site: {
      value: 'folder',
      meaning: 'The root folder of the static site that is the account’s: writes what it publishes.',
    },
    'no-envelope': { meaning: 'Make no envelope: the key is on this computer only.' },
    force: FORCE,
    json: JSON_OUTPUT,
  },
  async run(given) {
    const account = accountOf(given);
    const force = given.has('force');
    const folder = given.text('site');
    const site = folder === undefined ? undefined : new StaticSite(folder, account.url);
    refuseExisting(account.keyFile, force);
    if (site?.isThere && !force)
      throw new CommandFault(
        `The site has keys already: ${site.files.join(', ')}. Use \`rotate\` to change them, or --force to add one.`,
      );
    const key = await newKey(account.url, given.text('alg'));
    const made = given.has('no-envelope') ? undefined : await sealKey(key);
    writeKeyFile(account.keyFile, key, { force });
    if (site) {
      site.publish(key.publicKey);
      if (made) site.putEnvelope(made.sealed.text);
    } else if (made) keepWaiting(account.keyFile, made.sealed);
    const { kid, jwk } = key.publicKey;
    const files = [account.keyFile, ...(site?.files ?? [])];
    if (given.has('json')) {
      const result = { account: account.url, kid, jwk, files, recoveryCode: made?.recoveryCode };
      process.stdout.write(`${JSON.stringify(result)}\n`);
    } else {
      process.stdout.write(
        `The key ${kid} of ${account.url} is made. Written:\n${files.map((file) => `  ${file}\n`).join('')}`,
      );
      if (made) process.stdout.write(recoveryWords(made.recoveryCode));
      process.stdout.write(nextStep(account, given, jwk));
    }
  },
};

function nextStep(account: Account, given: Given, jwk: object): string {
  const folder = given.text('site');
  if (folder !== undefined) {
    const risk = given.has('no-envelope')
      ? ''
      : `\nAnybody can fetch the envelope there and guess at its passphrase for as long as they like; leave envelope.jwe off the site if you
don’t want that.`;
    return `\nNext: serve ${folder} as the root of ${account.origin}.${risk}\n`;
  }
  const key = given.text('key') === undefined ? '' : ` --key ${account.keyFile}`;
  return `
Next: \`${PROGRAM} identity enroll --account ${account.url}${key}\` with the operator’s key; or send the operator the public key:
${JSON.stringify(jwk)}
`;
}
