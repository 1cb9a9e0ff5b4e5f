/** `stargus backup`, `restore` and `doctor`: commands on the database that the configuration names, past every server. */
import { readFileSync } from 'node:fs';
import { runCommand } from '../cli/command.js';
import { backup } from './backup.js';
import { doctor } from './doctor.js';
import { restore } from './restore.js';

const PACKAGE = new URL('../../../package.json', import.meta.url);

/** Answers the exit code. */
export function runUpkeep(
  name: 'backup' | 'restore' | 'doctor',
  args: readonly string[],
  databaseUrl: string,
): Promise<number> {
  const { version } = JSON.parse(readFileSync(PACKAGE, 'utf8')) as { version: string };
  const command = {
    backup: () => backup(databaseUrl, version),
    restore: () => restore(databaseUrl),
    doctor: () => doctor(databaseUrl),
  };
  return runCommand(name, command[name](), args);
}
