/** `stargus-server identity unlock`: opens an account's envelope, so that its key is on this computer too. */
import { documentsOf } from '../engine/access/account-url.js';
import {
  checkAccount,
  type Derivation,
  derive,
  EnvelopeFault,
  open,
  parseDerivation,
  readEnvelope,
  type Way,
} from '../engine/access/envelope.js';
import { limits } from '../engine/limits.js';
import { RemoteDocuments } from '../platform/remote-documents.js';
import { ACCOUNT, type Account, accountOf, FORCE, hostedName, JSON_OUTPUT, KEY, SERVER, serverOf } from './account.js';
import { type Command, CommandFault, type Given } from './command.js';
import { ownKey, refuseExisting, writeKeyFile } from './key-file.js';
import { passphrase, recoveryCode } from './secrets.js';
import { call } from './server.js';

export const unlock: Command = {
  summary: 'open the envelope of an account at this computer',
  about: `Gets the envelope from the server that guards it, or from the account’s site, and opens it by the passphrase or the recovery
code. The passphrase doesn’t leave this computer. The private key is written to a file that only you can read.`,
  options: {
    account: ACCOUNT,
    key: KEY,
    recovery: { meaning: 'Open it by the recovery code.' },
    published: { meaning: 'Take the envelope from <account>/envelope.jwe, also of an account that a server hosts.' },
    server: SERVER,
    force: FORCE,
    json: JSON_OUTPUT,
  },
  async run(given) {
    const account = accountOf(given);
    refuseExisting(account.keyFile, given.has('force'));
    const way: Way = given.has('recovery') ? 'recovery' : 'passphrase';
    const isPublished = given.has('published') || account.name === undefined;
    const { text, opening } = await told(() => (isPublished ? published(account, way) : guarded(given, account, way)));
    const privateJwk = await told(() => open(text, account.url, way, opening));
    const key = ownKey(account.url, privateJwk);
    writeKeyFile(account.keyFile, key, { force: given.has('force') });
    const { kid } = key.publicKey;
    if (given.has('json'))
      process.stdout.write(`${JSON.stringify({ account: account.url, kid, files: [account.keyFile] })}\n`);
    else process.stdout.write(`The key ${kid} of ${account.url} is in ${account.keyFile}\n`);
  },
};

interface Found {
  readonly text: string;
  /** The key that opens it. */
  readonly opening: Buffer;
}

async function guarded(given: Given, account: Account, way: Way): Promise<Found> {
  const path = `/v1/identities/${hostedName(account)}/envelope`;
  const server = serverOf(given, account);
  const answer = await call('Asking for the envelope', server, `GET ${path}`);
  const ways = Array.isArray(answer?.ways) ? (answer.ways as { way?: unknown; kdf?: unknown }[]) : [];
  const { opening, proof } = await deriveFor(account, way, parseDerivation(ways.find((each) => each.way === way)?.kdf));
  const unlocked = await call('Unlocking', server, `POST ${path}/unlock`, { body: { way, proof } });
  return { text: String(unlocked?.envelope), opening };
}

async function published(account: Account, way: Way): Promise<Found> {
  const { envelope } = documentsOf(account.url);
  // On one's own computer one may name any place.
  const documents = new RemoteDocuments({
    isPrivateAllowed: true,
    bytesMax: limits.envelopeBytesMax,
    timeoutMs: limits.identityReadMs,
    redirectsMax: limits.identityRedirectsMax,
  });
  const text = await documents.read(envelope).catch((error: Error) => {
    throw new CommandFault(`${envelope} ${error.message}`);
  });
  if (text === undefined) throw new CommandFault(`There is no envelope at ${envelope}.`);
  const about = readEnvelope(text.trim());
  checkAccount(about, account.url);
  const derivation = about.derivations.get(way);
  if (!derivation) throw new CommandFault(`The envelope can’t be opened by ${way}.`);
  return { text: text.trim(), opening: (await deriveFor(account, way, derivation)).opening };
}

async function deriveFor(account: Account, way: Way, derivation: Derivation) {
  const secret = way === 'passphrase' ? await passphrase() : await recoveryCode();
  return derive(account.url, way, secret, derivation);
}

/** What is wrong with an envelope is told to who wanted it. */
async function told<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof EnvelopeFault ? new CommandFault(error.message) : error;
  }
}
