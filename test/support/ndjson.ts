/** Lines of JSON from a server, and what a process holds in memory while it sends or takes them. */
import { readFileSync } from 'node:fs';
import type { Scenario } from './scenario.js';

// biome-ignore lint/suspicious/noExplicitAny: a test asserts the shape; a type here would only repeat it.
export type Line = any;

export interface Lines {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly lines: Line[];
}

/** Reads an answer to its end. Rejects when it was cut. */
export async function readLines(response: Response): Promise<Lines> {
  const text = await response.text();
  const lines = text === '' ? [] : text.replace(/\n$/, '').split('\n');
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers),
    lines: lines.map((line) => JSON.parse(line)),
  };
}

export async function getLines(scenario: Scenario, path: string): Promise<Lines> {
  return readLines(await fetch(`${scenario.server.url}${scenario.path(path)}`));
}

/** The memory that the process has at the moment, in MiB. */
export function residentMiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

/** Looks at the process's memory until it is stopped, and answers the most it had, in MiB. */
export function watchMemory(pid: number): () => number {
  let most = residentMiB(pid);
  const timer = setInterval(() => {
    most = Math.max(most, residentMiB(pid));
  }, 20);
  return () => {
    clearInterval(timer);
    return most;
  };
}
