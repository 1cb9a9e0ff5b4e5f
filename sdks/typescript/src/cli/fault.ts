/** How the command line ends: its exit codes, and what it says when something went wrong. */
import { StargusError } from '../errors.js';

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
} as const;

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
  if (!(error instanceof StargusError)) return EXIT.no;
  if (error.code === 'lockLost') return EXIT.lockLost;
  return UNREACHABLE.has(error.code) ? EXIT.unreachable : EXIT.refused;
}

/** What is said of it, for people. */
export function wordsOf(error: unknown): string {
  if (error instanceof Fault) return error.message;
  if (!(error instanceof StargusError)) return error instanceof Error ? (error.stack ?? error.message) : String(error);
  const places = 'errors' in error && Array.isArray(error.errors) ? error.errors : [];
  const lines = places
    .filter(({ detail }: { detail?: string }) => detail !== undefined && !error.message.includes(detail))
    .map(({ pointer = '', detail }: { pointer?: string; detail?: string }) => `  ${pointer} ${detail}`);
  return [`${error.code}: ${error.message}`, ...lines].join('\n');
}
