/**
 * Running other programs from the scripts of this folder. Plain Node 20 with no dependencies, because scripts/setup.mjs uses it
 * before anything is installed.
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's root. Every program starts there, wherever the script was called from. */
export const ROOT = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/** The Node to run tools with: the one that the dependencies bring (24), or else the one that runs this script. */
export function nodeProgram() {
  const installed = path.join(ROOT, 'node_modules', '.bin', 'node');
  return existsSync(installed) ? installed : process.execPath;
}

/** The path of the JavaScript file behind a command of an installed package: `toolFile('typescript', 'tsc')`. */
export function toolFile(packageName, command = packageName) {
  const folder = path.join(ROOT, 'node_modules', packageName);
  const { bin } = JSON.parse(readFileSync(path.join(folder, 'package.json'), 'utf8'));
  return path.join(folder, typeof bin === 'string' ? bin : bin[command]);
}

/**
 * Runs a program to its end.
 *
 * With `quiet` its output is kept and handed back; otherwise it goes to this terminal. SIGINT and SIGTERM sent to this process
 * are handed on to the program, so that it can end in order; the caller goes on when it has.
 *
 * @returns {Promise<{code: number, output: string}>} the exit code (128 + n after signal n, 127 when it could not be started)
 */
export function run(program, args, { quiet = false, env = {}, timeoutMs = 0 } = {}) {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: ROOT,
      env: { ...process.env, ...env },
      stdio: quiet ? ['ignore', 'pipe', 'pipe'] : 'inherit',
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text) => {
        output += text;
      });
    }
    const timer = timeoutMs > 0 ? setTimeout(() => child.kill('SIGTERM'), timeoutMs) : undefined;
    const handOn = (signal) => child.kill(signal);
    process.on('SIGINT', handOn).on('SIGTERM', handOn);
    const settle = (code) => {
      clearTimeout(timer);
      process.off('SIGINT', handOn).off('SIGTERM', handOn);
      resolve({ code, output });
    };
    child.once('error', (error) => {
      output += `${error.message}\n`;
      settle(127);
    });
    child.once('close', (code, signal) => settle(code ?? 128 + (signal === 'SIGINT' ? 2 : 15)));
  });
}
