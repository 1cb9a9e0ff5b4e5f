/** Stargus inside the tests' own process, as a program has it that imports the package; what is left open is closed when the file ends. */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll } from 'vitest';
import type { LogEntry, Stargus } from '../../src/stargus.js';

export const BUILT = path.resolve(import.meta.dirname, '../../dist/src/stargus.js');

const { Stargus: built } = (await import(pathToFileURL(BUILT).href)) as { Stargus: typeof Stargus };
const started = new Set<Stargus>();

afterAll(async () => {
  await Promise.all([...started].map((stargus) => stargus.close()));
});

type Start = typeof Stargus.start;

/** What was logged while it ran, to be looked at. */
export interface Logged {
  readonly stargus: Stargus;
  readonly log: readonly LogEntry[];
}

export const startEmbedded = (...[configuration]: Parameters<Start>) => noted(built.start, configuration);
export const startTemporary = (...[configuration]: Parameters<Start>) => noted(built.temporary, configuration);

async function noted(start: Start, configuration: Parameters<Start>[0]): Promise<Logged> {
  const log: LogEntry[] = [];
  const stargus = await start.call(built, configuration, { log: (entry) => log.push(entry) });
  started.add(stargus);
  return { stargus, log };
}
