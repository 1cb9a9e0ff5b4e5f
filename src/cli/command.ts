/** What a command of the command line is: its options, its words, what it does; and how its arguments are read. */
import { parseArgs } from 'node:util';

/** Something that the person who typed the command can act on. Exit code 1: it failed; 2: it was typed wrong; 3: where 1 is an answer, it failed. */
export class CommandFault extends Error {
  constructor(
    message: string,
    readonly exitCode: 1 | 2 | 3 = 1,
  ) {
    super(message);
  }
}

/** How the command line was called, for words that say what to type next. */
export const PROGRAM = process.env.npm_lifecycle_event === 'stargus' ? 'npm run -s stargus --' : 'stargus-server';

export interface Option {
  /** What stands for the value; absent for one that is given or not. */
  readonly value?: string;
  readonly meaning: string;
  readonly required?: boolean;
}

/** The options that were given, by name. */
export interface Given {
  text(name: string): string | undefined;
  /** Of one that is required. */
  needed(name: string): string;
  has(name: string): boolean;
}

export interface Command {
  readonly summary: string;
  readonly about: string;
  readonly options: Readonly<Record<string, Option>>;
  run(given: Given): Promise<void>;
}

/** `words` are those that name the command, as in `identity create`. @throws CommandFault when they aren't as it wants them */
function readArguments(words: string, { options }: Command, args: readonly string[]): Given {
  const spec = Object.fromEntries(
    Object.entries(options).map(([option, { value }]) => [option, { type: value ? 'string' : 'boolean' } as const]),
  );
  let values: Record<string, string | boolean | undefined>;
  try {
    values = parseArgs({ args: [...args], options: spec, strict: true, allowPositionals: false }).values;
  } catch (error) {
    throw new CommandFault(`${(error as Error).message} \`${PROGRAM} ${words} --help\` lists the options.`, 2);
  }
  const missing = Object.entries(options).find(([option, { required }]) => required && values[option] === undefined);
  if (missing)
    throw new CommandFault(`--${missing[0]} is needed. \`${PROGRAM} ${words} --help\` lists the options.`, 2);
  return {
    text: (option) => values[option] as string | undefined,
    needed: (option) => values[option] as string,
    has: (option) => values[option] === true,
  };
}

function helpOf(words: string, { about, options }: Command): string {
  const lines = Object.entries(options).map(([option, { value, meaning, required }]) => {
    const head = `--${option}${value ? ` <${value}>` : ''}`;
    return `  ${head.padEnd(24)}${meaning}${required ? ' (needed)' : ''}`;
  });
  return `Usage: stargus-server ${words} [options]\n\n${about}\n\n${lines.join('\n')}\n`;
}

/** Runs a command, or prints what it is where that is asked for, and answers the exit code. */
export async function runCommand(words: string, command: Command, args: readonly string[]): Promise<number> {
  try {
    if (args.includes('--help') || args.includes('-h')) process.stdout.write(helpOf(words, command));
    else await command.run(readArguments(words, command, args));
    return 0;
  } catch (error) {
    return tellFault(error);
  }
}

/** Says what went wrong, if it is something that a person can act on. */
export function tellFault(error: unknown): number {
  if (!(error instanceof CommandFault)) throw error;
  process.stderr.write(`${error.message}\n`);
  return error.exitCode;
}
