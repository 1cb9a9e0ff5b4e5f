/**
 * Installs packages of Python's into virtual environments of their own below .cache/, unless they are there already. Python 3.11 is a
 * prerequisite: without it this fails.
 */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ROOT, run } from './programs.mjs';

/** A slow mirror; a hung one must not hang a test run for ever. */
const INSTALL_MS = 300_000;

/**
 * Prints the path of a program of the environment: what a test's set-up runs this script's callers for.
 *
 * @param {string} name of the package
 * @param {string} version
 * @param {string} program
 */
export async function printInstalled(name, version, program) {
  try {
    console.log(path.join(await pythonPackage(name, version), 'bin', program));
  } catch (error) {
    console.error(error.message);
    process.exit(1);
  }
}

/**
 * @param {string} name of the package, with its extras
 * @param {string} version
 * @returns {Promise<string>} the environment's folder
 */
export function pythonPackage(name, version) {
  return pythonEnvironment(`${name}-${version}`, [`${name}==${version}`]);
}

/**
 * @param {string} name of the environment: another one for other packages
 * @param {string[]} packages as pip takes them
 * @returns {Promise<string>} the environment's folder
 */
export async function pythonEnvironment(name, packages) {
  const folder = path.join(ROOT, '.cache', name);
  const stamp = path.join(folder, '.stargus-installed');
  const lock = `${folder}.lock`;
  const deadline = Date.now() + INSTALL_MS;
  // One at a time: another run in the same work tree may be at it.
  while (!existsSync(stamp)) {
    mkdirSync(path.dirname(folder), { recursive: true });
    if (!claimed(lock)) {
      if (Date.now() > deadline) throw new Error(`${lock} has been there for long: remove it if nobody installs.`);
      await sleep(500);
      continue;
    }
    try {
      rmSync(folder, { recursive: true, force: true });
      await must(
        'python3',
        ['-m', 'venv', folder],
        'Python 3.11 with its module venv is needed (on Debian: python3-venv)',
      );
      const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...packages];
      await must(path.join(folder, 'bin', 'python'), pip, `pip could not install ${packages.join(', ')}`);
      writeFileSync(stamp, '');
    } finally {
      rmSync(lock, { recursive: true, force: true });
    }
  }
  return folder;
}

/** Whether this process is the one that installs. */
function claimed(lock) {
  try {
    mkdirSync(lock);
    return true;
  } catch {
    return false;
  }
}

async function must(program, args, complaint) {
  const { code, output } = await run(program, args, { quiet: true, timeoutMs: INSTALL_MS });
  if (code !== 0) throw new Error(`${complaint}: ${output.trim().split('\n').slice(-5).join(' | ')}`);
}
