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
  /** Aborted by Ctrl-C and SIGTERM, with an Interruption as its reason. */
  readonly signal: AbortSignal;
  /** While this is done, Ctrl-C a second time doesn't end the program either. */
  unhurried<T>(work: () => Promise<T>): Promise<T>;
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
  /** It ends by itself when it is interrupted, and says how; any other command is left as it is. */
  readonly endsItself?: boolean;
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
