/**
 * Programs that a test needs and Debian has. One that isn't there is installed where that can be done (apt-get, as root); where it
 * can't, the test fails and says what to install: a missing program must not look like a passed test.
 */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';

/** apt-get on a slow mirror; a hung one must not hang a test run for ever. */
export const INSTALL_MS = 300_000;

/** The path of a program. */
export function debianProgram(name: string, debianPackage = name): string {
  const present = find(name);
  if (present) return present;
  const byHand = `Install it (on Debian: apt-get install ${debianPackage}).`;
  if (!find('apt-get') || process.getuid?.() !== 0) throw new Error(`${name} is not installed. ${byHand}`);
  // A stale or unreachable source doesn't matter if the package can be installed all the same.
  apt('update');
  const { stdout, stderr } = apt(
    ...['install', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=120', debianPackage],
  );
  const installed = find(name);
  if (!installed) throw new Error(`apt-get could not install ${name}: ${`${stdout}${stderr}`.slice(-500)} ${byHand}`);
  return installed;
}

function apt(...words: string[]): SpawnSyncReturns<string> {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  return spawnSync('apt-get', words, { encoding: 'utf8', timeout: INSTALL_MS, env });
}

function find(name: string): string | undefined {
  for (const folder of (process.env.PATH ?? '').split(path.delimiter)) {
    const file = path.join(folder, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // In another folder, or nowhere.
    }
  }
  return undefined;
}
