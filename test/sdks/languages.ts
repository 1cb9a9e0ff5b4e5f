/** What the clients' own tests and drivers run with. */
import path from 'node:path';
import { run } from '../../scripts/programs.mjs';
import type { DriverProgram } from './driver.js';

const ROOT = path.resolve(import.meta.dirname, '../..');
export const SDKS = path.join(ROOT, 'sdks');

/** Installing dependencies on a slow mirror, and compiling what isn't in Go's cache. */
export const BUILD_MS = 600_000;

export async function goDriver(): Promise<DriverProgram> {
  const program = path.join(ROOT, '.cache', 'go-client-driver');
  const { code, output } = await run('go', ['build', '-C', path.join(SDKS, 'go'), '-o', program, './conformance'], {
    quiet: true,
    timeoutMs: BUILD_MS,
  });
  if (code !== 0) throw new Error(`Go 1.24 or later is needed to build the driver of its client:\n${output}`);
  return { command: program, args: [] };
}

/** By the Node that runs the tests, from what the build wrote. */
export function nodeDriver(): DriverProgram {
  return { command: process.execPath, args: [path.join(SDKS, 'typescript', 'dist', 'conformance', 'driver.js')] };
}
