/** `stargus identity login`: shows at a server that an account is one's own, and prints the access token. */
import { randomUUID } from 'node:crypto';
import { sign } from '../engine/access/key-proof.js';
import { ACCOUNT, accountOf, JSON_OUTPUT, KEY, originOf, serverOf } from './account.js';
import { type Command, CommandFault } from './command.js';
import { readKeyFile } from './key-file.js';
import { call } from './server.js';

const LOGIN_TYPE = 'stargus-login+jwt';
const GRANT_TYPE = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
/** As long as an assertion may be good for. */
const ASSERTION_S = 60;

export const login: Command = {
  summary: 'log in at a server and print the access token',
  about: `Asks the server for a challenge, signs it with the account’s key, and prints the access token, or with --json the whole answer.
Nothing is signed for a server that says it is another one than the one that was named.`,
  options: {
    account: ACCOUNT,
    key: KEY,
    server: { value: 'URL', meaning: 'The server to log in at; that of the account when absent.' },
    audience: { value: 'URL', meaning: 'The server’s public URL, where it is reached under another one.' },
    json: JSON_OUTPUT,
  },
  async run(given) {
    const account = accountOf(given);
    const server = serverOf(given, account);
    const audience = originOf(given.text('audience') ?? server, '--audience');
    const key = readKeyFile(account.keyFile, account.url);
    const challenge = await call('Asking for a challenge', server, 'POST /v1/auth/challenges', { body: {} });
    const nonce = challenge?.nonce;
    if (typeof nonce !== 'string') throw new CommandFault(`${server} gave no challenge.`);
    if (challenge?.audience !== audience)
      throw new CommandFault(
        `${server} says that it is ${String(challenge?.audience)}. If you know that to be the same server, give --audience ${String(challenge?.audience)}; otherwise somebody may be trying to log in there as you.`,
      );
    const iat = Math.floor(Date.now() / 1000);
    const claims = {
      iss: account.url,
      sub: account.url,
      aud: audience,
      nonce,
      jti: randomUUID(),
      iat,
      exp: iat + ASSERTION_S,
    };
    const body = { grantType: GRANT_TYPE, assertion: await sign(LOGIN_TYPE, claims, key) };
    const answer = await call('Logging in', server, 'POST /v1/auth/token', { body });
    if (typeof answer?.accessToken !== 'string') throw new CommandFault(`${server} gave no access token.`);
    process.stdout.write(`${given.has('json') ? JSON.stringify(answer) : answer.accessToken}\n`);
  },
};
