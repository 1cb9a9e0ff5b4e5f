/**
 * Installs schemathesis, which fuzzes a server from its OpenAPI document, into a virtual environment of its own below .cache/,
 * unless it is there already; prints the path of its program. Python 3.11 is a prerequisite: without it this fails.
 */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ROOT, run } from './programs.mjs';

const VERSION = '4.32.5';
const FOLDER = path.join(ROOT, '.cache', `schemathesis-${VERSION}`);
const PROGRAM = path.join(FOLDER, 'bin', 'st');
const STAMP = path.join(FOLDER, '.stargus-installed');
const LOCK = `${FOLDER}.lock`;
/** A slow mirror; a hung one must not hang a test run for ever. */
const INSTALL_MS = 300_000;

/** @returns {Promise<string>} the program's path */
async function install() {
  const deadline = Date.now() + INSTALL_MS;
  // One at a time: another run in the same work tree may be at it.
  while (!existsSync(STAMP)) {
    mkdirSync(path.dirname(FOLDER), { recursive: true });
    if (!claimed()) {
      if (Date.now() > deadline) throw new Error(`${LOCK} has been there for long: remove it if nobody installs.`);
      await sleep(500);
      continue;
    }
    try {
      rmSync(FOLDER, { recursive: true, force: true });
      await must(
        'python3',
        ['-m', 'venv', FOLDER],
        'Python 3.11 with its module venv is needed (on Debian: python3-venv)',
      );
      const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', `schemathesis==${VERSION}`];
      await must(path.join(FOLDER, 'bin', 'python'), pip, 'pip could not install schemathesis');
      writeFileSync(STAMP, '');
    } finally {
      rmSync(LOCK, { recursive: true, force: true });
    }
  }
  return PROGRAM;
}

/** Whether this process is the one that installs. */
function claimed() {
  try {
    mkdirSync(LOCK);
    return true;
  } catch {
    return false;
  }
}

async function must(program, args, complaint) {
  const { code, output } = await run(program, args, { quiet: true, timeoutMs: INSTALL_MS });
  if (code !== 0) throw new Error(`${complaint}: ${output.trim().split('\n').slice(-5).join(' | ')}`);
}

try {
  console.log(await install());
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
