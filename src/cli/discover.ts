/** `stargus-server discover`: lists the servers that announce themselves on the local network (`--lan`). */
import { parseArgs } from 'node:util';
import { browse, type Found } from '../lan/browsing.js';

const SECONDS_MAX = 60;
const HELP = `Usage: stargus-server discover [--seconds 2] [--json]

Lists the servers that announce themselves on this machine and its local network: those that were started with --lan.

  --seconds <number>      how long to listen for answers, up to ${SECONDS_MAX} (2)
  --json                  a JSON array

Exit code 0: some were found. 1: none was. Who announces what is not proven: give no secret to a server because of its name.
`;

/** Runs the command and answers the exit code: 0 found, 1 none found, 2 typed wrong. */
export async function runDiscover(args: readonly string[]): Promise<number> {
  let values: { seconds?: string; json?: boolean; help?: boolean };
  try {
    const options = {
      seconds: { type: 'string' },
      json: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    } as const;
    values = parseArgs({ args: [...args], options, strict: true, allowPositionals: false }).values;
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${HELP}`);
    return 2;
  }
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const seconds = values.seconds ?? '2';
  if (!/^\d{1,2}(\.\d{1,3})?$/.test(seconds) || Number(seconds) === 0 || Number(seconds) > SECONDS_MAX) {
    process.stderr.write(`--seconds must be a number above 0 and up to ${SECONDS_MAX}.\n`);
    return 2;
  }
  const { found, hasMore, problems } = await browse(Number(seconds) * 1000);
  for (const problem of problems) process.stderr.write(`warning: ${visible(problem)}\n`);
  if (hasMore) process.stderr.write('warning: more servers answered than are listed\n');
  if (values.json) process.stdout.write(`${jsonOf(found)}\n`);
  else if (found.length > 0) process.stdout.write(tableOf(found));
  else process.stderr.write('No server announces itself on the local network. One does with `stargus-server --lan`.\n');
  return found.length > 0 ? 0 : 1;
}

function jsonOf(found: readonly Found[]): string {
  const shown = found.map(({ name, at, auth, pools, hasMorePools, version, api, id, path, addresses, port }) => ({
    ...{ name, url: at, auth, pools, morePools: hasMorePools, version, api, id, path, addresses, port },
  }));
  // Within JSON such characters are in strings only.
  return visible(JSON.stringify(shown, undefined, 2), /(?!\n)[\p{C}\u2028\u2029]/gu);
}

function tableOf(found: readonly Found[]): string {
  const rows = [
    ['NAME', 'URL', 'AUTH', 'VERSION', 'POOLS'],
    ...found.map(({ name, at, auth, version, pools, hasMorePools }) => [
      ...[name, at, auth, version, [...pools, ...(hasMorePools ? ['…'] : [])].join(' ')].map((text) => visible(text)),
    ]),
  ];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...rows.map((row) => (row[column] as string).length)));
  return rows
    .map(
      (row) =>
        `${row
          .map((cell, i) => cell.padEnd(widths[i] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

/** What a terminal would obey, or what would reorder the text around it, as escapes: strangers wrote it. */
export function visible(text: string, hidden = /[\p{C}\u2028\u2029\\]/gu): string {
  return text.replace(hidden, (found) =>
    [...Array(found.length).keys()].map((i) => `\\u${found.charCodeAt(i).toString(16).padStart(4, '0')}`).join(''),
  );
}
