/** `stargus-server backup`: the whole database as one file, while servers run. */
import { existsSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Command, CommandFault } from '../cli/command.js';
import { countText, Progress } from './progress.js';
import { reasonOf } from './reason.js';
import { removeParts, takeBackup } from './take-backup.js';

export function backup(databaseUrl: string, version: string): Command {
  return {
    summary: 'write a backup of the database',
    about: `Writes the state of the database at one moment to a file, while servers go on. The file can be restored into either kind of database. It
holds secrets (envelopes, digests of API keys) and everybody's data: only its owner can read it. STARGUS_DATABASE_URL names the database. A
SQLite database is copied beside the file first, so there must be room for both.`,
    options: {
      to: { value: 'file', meaning: 'Where to. The file is there when it is whole.', required: true },
      force: { meaning: 'Replace the file if it is there.' },
    },
    async run(given) {
      const file = resolve(given.needed('to'));
      if (existsSync(file) && (!given.has('force') || !statSync(file).isFile()))
        throw new CommandFault(`${file} is there already and is not replaced; give --force if it may be.`);
      const progress = new Progress();
      const interrupted = (signal: NodeJS.Signals) => {
        removeParts(file);
        process.exit(signal === 'SIGINT' ? 130 : 143);
      };
      process.once('SIGINT', interrupted);
      process.once('SIGTERM', interrupted);
      try {
        const { header, counts } = await takeBackup(databaseUrl, file, version, progress);
        progress.clear();
        const pools = countText(counts.pool ?? 0, ['pool', 'pools']);
        const items = countText(counts.item ?? 0, ['item', 'items']);
        process.stdout.write(
          `${file}: ${pools}, ${items} as of ${header.time}, ${countText(statSync(file).size, ['byte', 'bytes'])}.\n`,
        );
      } catch (error) {
        progress.clear();
        throw new CommandFault(`No backup was made. ${reasonOf(error)}`);
      }
    },
  };
}
