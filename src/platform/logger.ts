/** Diagnostics as JSON lines on standard output, by pino. Secrets have no business here: headers and bodies aren't logged. */
import { type Logger, pino } from 'pino';

export type { Logger };

export function newLogger(level: string): Logger {
  return pino({ level, base: { name: 'stargus' }, timestamp: pino.stdTimeFunctions.isoTime });
}

/** Where an error comes from, without what it carries: a failed query's error carries the query's data. */
export function traceOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
