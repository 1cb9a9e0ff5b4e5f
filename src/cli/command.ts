/** What a command of the command line is: its options, its words, what it does; and how its arguments are read. */
import { parseArgs } from 'node:util';

/** Something that the person who typed the command can act on. Exit code 1: it failed; 2: it was typed wrong. */
export class CommandFault extends Error {
  constructor(
    message: string,
    readonly exitCode: 1 | 2 = 1,
  ) {
    super(message);
  }
}

/** How the command line was called, for words that say what to type next. */
export const PROGRAM = process.env.npm_lifecycle_event === 'stargus' ? 'npm run -s stargus --' : 'stargus';

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

/** @throws CommandFault when they aren't as the command wants them */
export function readArguments(name: string, { options }: Command, args: readonly string[]): Given {
  const spec = Object.fromEntries(
    Object.entries(options).map(([option, { value }]) => [option, { type: value ? 'string' : 'boolean' } as const]),
  );
  let values: Record<string, string | boolean | undefined>;
  try {
    values = parseArgs({ args: [...args], options: spec, strict: true, allowPositionals: false }).values;
  } catch (error) {
    throw new CommandFault(`${(error as Error).message} \`${PROGRAM} identity ${name} --help\` lists the options.`, 2);
  }
  const missing = Object.entries(options).find(([option, { required }]) => required && values[option] === undefined);
  if (missing)
    throw new CommandFault(`--${missing[0]} is needed. \`${PROGRAM} identity ${name} --help\` lists the options.`, 2);
  return {
    text: (option) => values[option] as string | undefined,
    needed: (option) => values[option] as string,
    has: (option) => values[option] === true,
  };
}

export function helpOf(name: string, { about, options }: Command): string {
  const lines = Object.entries(options).map(([option, { value, meaning, required }]) => {
    const head = `--${option}${value ? ` <${value}>` : ''}`;
    return `  ${head.padEnd(24)}${meaning}${required ? ' (needed)' : ''}`;
  });
  return `Usage: stargus identity ${name} [options]\n\n${about}\n\n${lines.join('\n')}\n`;
}
