/**
 * Loads the cities of the world into a running Stargus, attaches to those of one country, lets another process change some of
 * them and some of other countries, and prints what it was told. README.md beside this file says how to run it.
 *
 * Exits with 0 when the watcher heard of every change in its country and of no other, else with 1.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { readCities } from './cities.mjs';
import { load } from './load.mjs';
import { connect } from './stargus.mjs';
import { attach } from './watch.mjs';

const USAGE = `Usage: node examples/cities/main.mjs [--url http://127.0.0.1:8080] [--country NO] [--limit 171075]

  --url      where Stargus listens
  --country  the country to watch: two letters, as in ISO 3166
  --limit    load at most so many cities; those of the country come first

If the server wants a key (STARGUS_AUTH=required), give it in the environment as STARGUS_OPERATOR_KEY.`;

/** After the last change nothing may be left to tell; the server says so with a bookmark within this time. */
const BOOKMARK_MS = 1000;
const PATIENCE_MS = 30_000;

try {
  await main(options());
} catch (error) {
  console.error(`\n${error.message}`);
  process.exit(1);
}

async function main({ url, country, limit }) {
  const cities = await readCities({ country, limit });
  const stargus = connect(url);
  await stargus.ready();

  await load(stargus, cities);

  const watcher = await attach(stargus, `prefix=${country}/&bookmarkMs=${BOOKMARK_MS}`);
  console.log(`\nAttached to ${country}/: ${watcher.items.size} cities at revision ${watcher.revision}.`);

  console.log('A second process changes cities here and elsewhere …\n');
  const made = await changedByAnother(url, country);
  // A bookmark moves the cursor when the pool moved and nothing was for us: from then on no earlier change can come.
  await watcher.reached(made.revision, PATIENCE_MS);
  watcher.close();

  for (const { op, key, changed, revision } of watcher.heard) {
    console.log(`  revision ${revision}  ${op.padEnd(6)}  ${key}${op === 'delete' ? '' : `  (${changed.join(', ')})`}`);
  }
  const foreign = watcher.heard.filter(({ key }) => !key.startsWith(`${country}/`));
  console.log(
    `\nHeard of ${watcher.heard.length} of ${made.here} changes in ${country}, and of ${foreign.length} of ${made.elsewhere} elsewhere.`,
  );
  if (watcher.heard.length !== made.here || foreign.length > 0)
    throw new Error('That is not what should have been heard.');
}

/** Runs change.mjs in a process of its own and answers what it did. */
async function changedByAnother(url, country) {
  const child = fork(path.join(import.meta.dirname, 'change.mjs'), [url, country]);
  let made;
  child.on('message', (message) => {
    made = message;
  });
  const [code] = await once(child, 'exit');
  if (code !== 0 || !made) throw new Error(`The second process failed (exit code ${code}).`);
  return made;
}

function options() {
  try {
    const { values } = parseArgs({
      options: {
        url: { type: 'string', default: 'http://127.0.0.1:8080' },
        country: { type: 'string', default: 'NO' },
        limit: { type: 'string', default: '1000000' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    if (values.help) {
      console.log(USAGE);
      process.exit(0);
    }
    const limit = Number(values.limit);
    if (!Number.isInteger(limit) || limit < 1) throw new Error('--limit must be a whole number above 0.');
    return { url: values.url.replace(/\/$/, ''), country: values.country.toUpperCase(), limit };
  } catch (error) {
    console.error(`${error.message}\n\n${USAGE}`);
    process.exit(2);
  }
}
