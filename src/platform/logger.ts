/** Diagnostics as JSON lines on standard output, by pino. Secrets have no business here: headers and bodies aren't logged. */
import { type Logger, pino } from 'pino';

export type { Logger };

/** `to` takes the lines in place of standard output. */
export function newLogger(level: string, to?: { write(line: string): void }): Logger {
  const options = { level, base: { name: 'stargus' }, timestamp: pino.stdTimeFunctions.isoTime };
  return to ? pino(options, to) : pino(options);
}

/** Where an error comes from, without what it carries: a failed query's error carries the query's data. */
export function traceOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
