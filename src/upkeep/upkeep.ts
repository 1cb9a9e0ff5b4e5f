/** `stargus-server backup`, `restore` and `doctor`: commands on the database that the configuration names, past every server. */
import { runCommand } from '../cli/command.js';
import { backup } from './backup.js';
import { doctor } from './doctor.js';
import { restore } from './restore.js';

/** Answers the exit code. */
export function runUpkeep(
  name: 'backup' | 'restore' | 'doctor',
  args: readonly string[],
  databaseUrl: string,
  version: string,
): Promise<number> {
  const command = {
    backup: () => backup(databaseUrl, version),
    restore: () => restore(databaseUrl),
    doctor: () => doctor(databaseUrl),
  };
  return runCommand(name, command[name](), args);
}
