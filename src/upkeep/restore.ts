/** `stargus-server restore`: fills a database that no server uses from a backup. */
import { resolve } from 'node:path';
import { type Command, CommandFault, type Given } from '../cli/command.js';
import { OutcomeUnknown } from '../engine/ports.js';
import { hidePassword } from '../platform/config.js';
import { openForRestoring } from '../store/opening.js';
import type { Restoring } from '../store/restoring.js';
import { tableByName } from '../store/tables.js';
import { type Checked, checkBackup, loadBackup, type RestoredPool } from './load-backup.js';
import { countText, Progress } from './progress.js';
import { reasonOf } from './reason.js';

/** Pools that are told by name. */
const TOLD = 20;

export function restore(databaseUrl: string): Command {
  return {
    summary: 'fill an empty database from a backup',
    about: `Checks that the file is a whole backup, and loads it into the database of STARGUS_DATABASE_URL, which must be empty and which no server may
be using. Every pool gets a new epoch: cursors from before are refused, and revisions go on above all that may have been given out since the
backup. Sessions and logins are over; docs/OPERATING.md tells what else comes back, and what doesn't. What fails leaves the database as it was.`,
    options: {
      from: { value: 'file', meaning: 'A file that `backup` wrote.', required: true },
      check: { meaning: 'Only check the file; the database is left alone.' },
      force: { meaning: 'Restore into a database that isn’t empty: everything that is in it is LOST.' },
      json: { meaning: 'Print what was restored as JSON.' },
    },
    async run(given) {
      const file = resolve(given.needed('from'));
      const progress = new Progress();
      try {
        const checked = await checkBackup(file, progress);
        progress.clear();
        if (given.has('check')) return tell(given, `${file} is whole: ${contentText(checked)}.\n`, checked, []);
        const target = await openForRestoring(databaseUrl);
        try {
          const lost = await checkEmpty(target, databaseUrl, given.has('force'));
          if (lost) progress.say(`Replacing what is in the database: ${lost}.`);
          const pools = await loadBackup(file, target, checked, progress);
          progress.clear();
          tell(given, restoredText(databaseUrl, checked, pools), checked, pools);
        } finally {
          await target.close();
        }
      } catch (error) {
        progress.clear();
        if (error instanceof CommandFault) throw error;
        if (error instanceof OutcomeUnknown)
          throw new CommandFault(
            `The restore may be done or not: ${reasonOf(error.reason)} came while it was being committed. Look what is there, or repeat it with --force.`,
          );
        throw new CommandFault(`Nothing was restored. ${reasonOf(error)}`);
      }
    },
  };
}

/** What would be lost; undefined where there is nothing. */
async function checkEmpty(target: Restoring, url: string, force: boolean): Promise<string | undefined> {
  const held = await target.held();
  if (held.size === 0) return undefined;
  const lost = Array.from(held, ([table, count]) =>
    countText(count, tableByName.get(table)?.told as [string, string]),
  ).join(', ');
  if (force) return lost;
  throw new CommandFault(
    `Nothing was restored: ${hidePassword(url)} isn’t empty. It has ${lost}, which would be lost; give --force if they may be, after a backup of them.`,
  );
}

function tell(given: Given, text: string, { header, counts }: Checked, pools: readonly RestoredPool[]): void {
  const { version, schema, database, time } = header;
  const told = { version, schema, database, time, rows: counts, pools };
  process.stdout.write(given.has('json') ? `${JSON.stringify(told)}\n` : text);
}

function contentText({ header, counts }: Checked): string {
  const pools = countText(counts.pool ?? 0, ['pool', 'pools']);
  const items = countText(counts.item ?? 0, ['item', 'items']);
  return `${pools}, ${items} as of ${header.time}, made by version ${header.version} on ${header.database}`;
}

function restoredText(url: string, checked: Checked, pools: readonly RestoredPool[]): string {
  const lines = pools
    .slice(0, TOLD)
    .map(
      (pool) =>
        `  ${pool.name}: was at revision ${pool.revision}, goes on after ${pool.restoredRevision} in epoch ${pool.epoch}\n`,
    );
  if (pools.length > TOLD) lines.push(`  and ${pools.length - TOLD} more\n`);
  return `${hidePassword(url)} has been restored: ${contentText(checked)}.\n${lines.join('')}`;
}
