/** `stargus-server doctor`: looks whether what the database says in two places is the same in both. */
import { type Command, CommandFault } from '../cli/command.js';
import { openForReading } from '../store/reading.js';
import { examine } from './examine.js';
import { type Finding, Findings } from './findings.js';
import { countText, Progress } from './progress.js';
import { reasonOf } from './reason.js';

export function doctor(databaseUrl: string): Command {
  return {
    summary: 'look for contradictions in the database',
    about: `Compares the log, the entries of indexes, the counts, sessions and locks with the items, in one state of the database of
STARGUS_DATABASE_URL, while servers go on. Prints a line for each finding, and what to do; it changes nothing. Exit code 0: nothing was
found. 1: something was. 2: the command was typed wrong. 3: it couldn’t look.`,
    options: {
      json: { meaning: 'Print each finding as a line of JSON.' },
    },
    async run(given) {
      const progress = new Progress();
      const findings = new Findings((finding) => {
        progress.clear();
        process.stdout.write(given.has('json') ? `${JSON.stringify(finding)}\n` : textOf(finding));
      });
      const pools = await look(databaseUrl, findings, progress);
      progress.clear();
      const looked = countText(pools, ['pool', 'pools']);
      if (findings.count === 0) {
        process.stderr.write(`Nothing found in ${looked}.\n`);
        return;
      }
      const kinds = Array.from(findings.counts, ([kind, count]) => `${kind} ${count}`).join(', ');
      const untold = findings.untold > 0 ? ` ${findings.untold} of them were not told one by one.` : '';
      throw new CommandFault(`${countText(findings.count, ['finding', 'findings'])} in ${looked} (${kinds}).${untold}`);
    },
  };
}

async function look(databaseUrl: string, findings: Findings, progress: Progress): Promise<number> {
  try {
    const reading = await openForReading(databaseUrl);
    try {
      return await reading.snapshot((session) => examine(session, findings, progress));
    } finally {
      await reading.close();
    }
  } catch (error) {
    progress.clear();
    throw new CommandFault(`The database could not be examined. ${reasonOf(error)}`, 3);
  }
}

function textOf({ kind, pool, collection, key, detail, advice }: Finding): string {
  const named = Object.entries({ pool, collection, key }).filter(([, name]) => name !== undefined);
  const place = named.map(([what, name]) => `${what} ${JSON.stringify(name)}`).join(', ');
  return `${kind}${place && ` in ${place}`}: ${detail} ${advice}\n`;
}
