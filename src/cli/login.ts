/** `stargus-server identity login`: shows at a server that an account is one's own, and prints the access token. */
import { randomUUID } from 'node:crypto';
import { sign } from '../engine/access/key-proof.js';
import { ACCOUNT, accountOf, checkHost, JSON_OUTPUT, KEY, originOf, serverOf } from './account.js';
import { type Command, CommandFault } from './command.js';
import { readKeyFile } from './key-file.js';
import { askChallenge, call } from './server.js';

const LOGIN_TYPE = 'stargus-login+jwt';
const GRANT_TYPE = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
/** As long as an assertion may be good for. */
const ASSERTION_S = 60;

/** Beside the token, which is all that a script is to read. */
const WHAT_NEXT = `Logged in. What the account may do is said by the policy of each pool: as long as none names it, nothing. The operator
gives it rights, as docs/POLICY.md shows. The token is good for ten minutes:
`;

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
    const challenge = await askChallenge(server);
    const { nonce } = challenge;
    // At its own server, what isn't right is mostly the account.
    if (account.name !== undefined && given.text('server') === undefined && given.text('audience') === undefined)
      checkHost(account, challenge.audience);
    if (challenge.audience !== audience)
      throw new CommandFault(
        `${server} says that it is ${challenge.audience}. If you know that to be the same server, give --audience ${challenge.audience}; otherwise somebody may be trying to log in there as you.`,
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
    if (!given.has('json')) process.stderr.write(WHAT_NEXT);
    process.stdout.write(`${given.has('json') ? JSON.stringify(answer) : answer.accessToken}\n`);
  },
};
