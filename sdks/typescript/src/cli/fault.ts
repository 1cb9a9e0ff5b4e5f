/** How the command line ends: its exit codes, and what it says when something went wrong. */
import { ProblemError, StargusError } from '../errors.js';

export const EXIT = {
  done: 0,
  /** The answer is no: no such item, not allowed, nothing found. */
  no: 1,
  /** Typed wrong. */
  usage: 2,
  /** The server refused. */
  refused: 3,
  /** Nobody answered, or who answered is no Stargus. */
  unreachable: 4,
  /** The lock was lost while its command ran. */
  lockLost: 5,
  /** A fault of this program. */
  fault: 70,
  /** By Ctrl-C or SIGTERM. */
  interrupted: 130,
} as const;

/** Why a command is to end: by Ctrl-C, or because somebody told this program to. */
export class Interruption extends Error {
  constructor(readonly by: NodeJS.Signals) {
    super(`Interrupted by ${by}.`);
  }
}

/** Something that the person who typed the command can act on. */
export class Fault extends Error {
  constructor(
    message: string,
    readonly exitCode: number = EXIT.usage,
  ) {
    super(message);
  }
}

const UNREACHABLE = new Set([
  'unreachable',
  'timeout',
  'notStargus',
  'incompatibleServer',
  'protocolError',
  'eventTooLarge',
]);

export function exitCodeOf(error: unknown): number {
  if (error instanceof Fault) return error.exitCode;
  if (!(error instanceof StargusError)) return EXIT.fault;
  if (error.code === 'lockLost') return EXIT.lockLost;
  return UNREACHABLE.has(error.code) ? EXIT.unreachable : EXIT.refused;
}

/** What is said of it, for people. */
export function wordsOf(error: unknown): string {
  if (error instanceof Fault) return error.message;
  if (!(error instanceof StargusError)) return error instanceof Error ? (error.stack ?? error.message) : String(error);
  const places = error instanceof ProblemError ? error.errors : [];
  const lines = places
    .filter((place) => typeof place?.detail === 'string' && !error.message.includes(place.detail))
    .map(({ pointer = '', detail }) => `  ${pointer} ${detail}`);
  return [`${error.code}: ${error.message}`, ...lines].join('\n');
}
