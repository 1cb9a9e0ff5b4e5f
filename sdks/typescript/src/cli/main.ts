#!/usr/bin/env node
/**
 * `stargus`: the command line of a client. Reads what was typed, runs the command, and ends with its exit code (fault.ts). What commands
 * there are is in the list below; each is told of in one file of `commands`.
 */
import { createRequire } from 'node:module';
import { Command, CommanderError } from 'commander';
import type { Client } from '../client.js';
import { pause, unlessAborted } from '../clock.js';
import type { CommandSpec, Given, OptionSpec } from './command.js';
import { login, logout, policyCheck } from './commands/access.js';
import { batch } from './commands/batch.js';
import { discover } from './commands/discover.js';
import { get, remove, set } from './commands/items.js';
import { lock } from './commands/lock.js';
import { query } from './commands/query.js';
import { exported, imported } from './commands/transfer.js';
import { attach, changes } from './commands/watch.js';
import { completionFor, SHELLS } from './completion.js';
import { open } from './connecting.js';
import { EXIT, exitCodeOf, Fault, Interruption, wordsOf } from './fault.js';
import { Output } from './output.js';
import { shownLines } from './table.js';

/** How long a command that is interrupted takes leave of the server. */
const LEAVE_MS = 2_000;

const GLOBAL: readonly OptionSpec[] = [
  { flags: '--url <url>', about: 'where the server is (STARGUS_URL; http://127.0.0.1:8080)' },
  { flags: '--pool <name>', about: 'the pool (STARGUS_POOL; demo)' },
  { flags: '--json', about: 'JSON for programs, a line for each thing' },
];

const completion: CommandSpec = {
  name: 'completion',
  words: '<shell>',
  about: 'print what makes bash or zsh complete commands and options',
  examples: ['source <(stargus completion bash)'],
  async run({ words }) {
    const shell = words[0] as string;
    if (!SHELLS.some((known) => known === shell))
      throw new Fault(`There is completion for ${SHELLS.join(' and ')} only.`);
    process.stdout.write(completionFor(shell, COMMANDS, GLOBAL));
    return EXIT.done;
  },
};

const COMMANDS: readonly CommandSpec[] = [
  get,
  set,
  remove,
  query,
  attach,
  changes,
  lock,
  batch,
  imported,
  exported,
  login,
  logout,
  policyCheck,
  discover,
  completion,
];

const EXIT_CODES = `
Exit codes: 0 done · 1 the answer is no: no such item, not allowed · 2 typed wrong · 3 refused by the server · 4 nobody answered, or
no Stargus · 5 the lock was lost · 70 a fault of this program · 130 interrupted`;

async function main(argv: readonly string[]): Promise<number> {
  let exitCode: number = EXIT.done;
  const program = new Command('stargus')
    .description('Shared, persistent, watchable state, from the command line.')
    .version((createRequire(import.meta.url)('../../package.json') as { version: string }).version)
    .addHelpText('after', EXIT_CODES)
    .enablePositionalOptions()
    .exitOverride();
  for (const { flags, about } of GLOBAL) program.option(flags, about);
  for (const spec of COMMANDS)
    add(program, spec, (code) => {
      exitCode = code;
    });
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    process.stderr.write(`${shownLines(wordsOf(error))}\n`);
    return exitCodeOf(error);
  }
}

function add(program: Command, spec: CommandSpec, end: (code: number) => void): void {
  const [first, second] = spec.name.split(' ') as [string, string?];
  const parent = second === undefined ? program : groupOf(program, first);
  const command = parent
    .command(`${second ?? first}${spec.words ? ` ${spec.words}` : ''}`)
    .description(spec.about)
    .summary(briefOf(spec.about));
  for (const { flags, about } of [...(spec.options ?? []), ...GLOBAL]) command.option(flags, about);
  if (spec.examples)
    command.addHelpText('after', `\nExamples:\n${spec.examples.map((line) => `  ${line}`).join('\n')}`);
  command.action(async (...args: unknown[]) => {
    const count = command.registeredArguments.length;
    end(await run(spec, args.slice(0, count) as Given['words'], command.optsWithGlobals()));
  });
}

/** For the list of commands: what it does, without the rest. */
function briefOf(about: string): string {
  return about.split(/[.:;,\n]/, 1)[0] as string;
}

function groupOf(program: Command, name: string): Command {
  return (
    program.commands.find((command) => command.name() === name) ??
    program.command(name).description(`${name} …`).exitOverride()
  );
}

async function run(spec: CommandSpec, words: Given['words'], options: Given['options']): Promise<number> {
  const url = addressOf((options.url as string | undefined) ?? process.env.STARGUS_URL ?? 'http://127.0.0.1:8080');
  const pool = (options.pool as string | undefined) ?? process.env.STARGUS_POOL ?? 'demo';
  const stop = new AbortController();
  let client: Promise<Client> | undefined;
  let isHurried = true;
  const interrupt = (by: NodeJS.Signals) => {
    // The second time nobody waits.
    if (stop.signal.aborted && isHurried) process.exit(EXIT.interrupted);
    stop.abort(new Interruption(by));
  };
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt);
  try {
    const given: Given = {
      ...{ options, words, url, pool, output: new Output(options.json === true), signal: stop.signal },
      client: () => {
        client ??= open(url, pool, stop.signal);
        return unlessAborted(client, stop.signal);
      },
      unhurried: async (work) => {
        isHurried = false;
        return work().finally(() => {
          isHurried = true;
        });
      },
    };
    const work = spec.run(given);
    return (await (spec.endsItself ? work : unlessAborted(work, stop.signal))) ?? EXIT.done;
  } catch (error) {
    if (stop.signal.aborted) return EXIT.interrupted;
    throw error;
  } finally {
    const leaving = client?.then((opened) => opened.close()).catch(() => {});
    const left = new AbortController();
    const late = pause(LEAVE_MS, left.signal).catch(() => {});
    await (stop.signal.aborted ? Promise.race([leaving, late]) : leaving);
    left.abort();
    process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  }
}

function addressOf(text: string): string {
  const url = URL.parse(text.includes('://') ? text : `http://${text}`);
  // A password isn't said again, whatever else is wrong.
  if (url && (url.username !== '' || url.password !== ''))
    throw new Fault('The address of a server has no user name in it. Log in by `stargus login`.');
  if (!url || !/^https?:$/.test(url.protocol))
    throw new Fault(`${text} is no address of a server: write http://127.0.0.1:8080.`);
  return url.href.replace(/\/+$/, '');
}

// What reads the output may have had enough of it: `stargus query … | head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(EXIT.done);
  process.stderr.write(`The output can’t be written: ${error.message}\n`);
  process.exit(EXIT.usage);
});
process.stderr.on('error', () => {
  // There is nobody to tell.
});

process.exitCode = await main(process.argv.slice(2));
// What was left may wait for the standard input, or for a server, for a long time.
if (process.exitCode === EXIT.interrupted) process.exit();
