/** `stargus-server identity …`: makes the keys of an account, brings them to servers, and logs in with them. */
import { type Command, CommandFault, PROGRAM, runCommand, tellFault } from './command.js';
import { create } from './create.js';
import { enroll } from './enroll.js';
import { login } from './login.js';
import { rotate } from './rotate.js';
import { unlock } from './unlock.js';

const commands: Readonly<Record<string, Command>> = { create, enroll, unlock, rotate, login };

const HELP = `Usage: stargus-server identity <command> [options]

${Object.entries(commands)
  .map(([name, { summary }]) => `  ${name.padEnd(10)}${summary}`)
  .join('\n')}

An account at a server on this computer, from nothing to a token (STARGUS_AUTH=required npm start; it prints the operator’s key):

  ${PROGRAM} identity create --account http://127.0.0.1:8080/id/alice
  ${PROGRAM} identity enroll --account http://127.0.0.1:8080/id/alice
  TOKEN=$(${PROGRAM} identity login --account http://127.0.0.1:8080/id/alice)

The address is the one that the server prints, to the letter: localhost is another one. Where \`stargus-server\` isn’t on the PATH, type
\`npm run -s stargus -- identity …\` in its folder. What the account may do then, the operator says by a policy: docs/POLICY.md.

\`${PROGRAM} identity <command> --help\` lists the options of a command. Secrets are asked for on the terminal, or taken from
STARGUS_PASSPHRASE, STARGUS_RECOVERY_CODE and STARGUS_OPERATOR_KEY, or a secret from the first line of standard input.
docs/IDENTITIES.md says what accounts, envelopes and proofs are.
`;

/** Runs the command and answers the exit code: 0 done, 1 failed, 2 typed wrong. */
export async function runIdentity([name, ...args]: readonly string[]): Promise<number> {
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    (name === undefined ? process.stderr : process.stdout).write(HELP);
    return name === undefined ? 2 : 0;
  }
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command) return runCommand(`identity ${name}`, command, args);
  return tellFault(new CommandFault(`There is no command ${name}; \`${PROGRAM} identity --help\` lists them.`, 2));
}
