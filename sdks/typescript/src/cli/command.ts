/** What a command of the command line is, and what it is given when it runs. */
import type { Client } from '../client.js';
import type { Output } from './output.js';

export interface OptionSpec {
  /** As commander takes it: `--where <filter>`. */
  readonly flags: string;
  readonly about: string;
  /** For completion. */
  readonly choices?: readonly string[];
}

export interface Given {
  readonly output: Output;
  /** The values of its own options, by their names in camelCase. */
  readonly options: Readonly<Record<string, string | boolean | undefined>>;
  /** What follows its name; a list where it takes several. */
  readonly words: readonly (string | readonly string[] | undefined)[];
  readonly url: string;
  readonly pool: string;
  /** Connects and logs in, once. */
  client(): Promise<Client>;
  /** Aborted by Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal;
}

export interface CommandSpec {
  /** `policy check` is one of a group. */
  readonly name: string;
  /** As commander takes them: `<item> [attributes...]`. */
  readonly words?: string;
  readonly about: string;
  /** Lines that can be typed as they stand. */
  readonly examples?: readonly string[];
  readonly options?: readonly OptionSpec[];
  /** Answers the exit code; nothing is 0. */
  run(given: Given): Promise<number | undefined>;
}

export function wordOf({ words }: Given, index: number): string {
  return words[index] as string;
}

export function textOf({ options }: Given, name: string): string | undefined {
  const value = options[name];
  return typeof value === 'string' ? value : undefined;
}
