/** What the clients' own tests and drivers run with: an environment with the Python client's dependencies, the Go driver built. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { run } from '../../scripts/programs.mjs';
import { pythonEnvironment } from '../../scripts/python-package.mjs';
import type { DriverProgram } from './driver.js';

const ROOT = path.resolve(import.meta.dirname, '../..');
export const SDKS = path.join(ROOT, 'sdks');

/** Installing dependencies on a slow mirror, and compiling what isn't in Go's cache. */
export const BUILD_MS = 600_000;

/** A Python that has what the client depends on; the client itself is that of the work tree. */
export async function pythonOfClient(): Promise<{ command: string; env: Record<string, string> }> {
  const folder = path.join(SDKS, 'python');
  const about = createHash('sha256')
    .update(readFileSync(path.join(folder, 'pyproject.toml')))
    .digest('hex');
  const environment = await pythonEnvironment(`python-client-${about.slice(0, 12)}`, [`${folder}[all,test]`]);
  return {
    command: path.join(environment, 'bin', 'python'),
    env: { PYTHONPATH: path.join(folder, 'src'), PYTHONDONTWRITEBYTECODE: '1' },
  };
}

export async function pythonDriver(...args: string[]): Promise<DriverProgram> {
  const { command, env } = await pythonOfClient();
  return { command, args: [path.join(SDKS, 'python', 'conformance', 'driver.py'), ...args], env };
}

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
