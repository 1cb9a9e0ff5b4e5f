/**
 * Describes the flights in the data dictionary, imports them into a running Stargus, asks some questions and prints the answers with
 * how the server found them. README.md beside this file says how to run it.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { readFlights } from './flights.mjs';
import { load } from './load.mjs';
import { connect } from './stargus.mjs';

const USAGE = `Usage: node examples/flights/main.mjs [--url http://127.0.0.1:8080] [--limit 200000]

  --url    where Stargus listens
  --limit  import about so many flights, spread evenly over the day

If the server wants a key (STARGUS_AUTH=required), give it in the environment as STARGUS_OPERATOR_KEY.`;

const BUILD_PATIENCE_MS = 120_000;

try {
  await main(options());
} catch (error) {
  console.error(`\n${error.message}`);
  process.exit(1);
}

async function main({ url, limit }) {
  const flights = readFlights({ limit });
  const stargus = connect(url);
  await stargus.ready();

  await stargus.describe(readJson('dictionary.json'));
  await load(stargus, flights);
  console.log(`Indexes: ${(await readyIndexes(stargus)).join(', ')}.`);

  for (const { title, ask } of readJson('questions.json')) {
    const answer = await stargus.query(ask);
    console.log(`\n${title}\n`);
    for (const line of linesOf(answer)) console.log(`  ${line}`);
    console.log(`  (${planText(answer.plan)})`);
    if (answer.nextPageToken) await showNextPage(stargus, ask, answer.nextPageToken);
  }

  await showRefusals(stargus, flights[0].key);
  console.log(`\nTry it yourself:\n\n${curls(stargus)}`);
}

/** They are kept by every write; those of items that were there before are built in the background. */
async function readyIndexes(stargus) {
  const deadline = Date.now() + BUILD_PATIENCE_MS;
  for (;;) {
    const indexes = await stargus.indexes();
    if (indexes.every(({ state }) => state === 'ready')) return indexes.map(({ name }) => name);
    if (Date.now() > deadline) throw new Error(`The indexes aren't ready: ${JSON.stringify(indexes)}`);
    await sleep(200);
  }
}

function linesOf({ items, count, aggregates, groups }) {
  const lines = [
    ...(items ?? []).map(({ key, attributes }) => `${key}  ${membersText(attributes)}`),
    ...(aggregates ? [membersText(aggregates)] : []),
    ...(groups ?? []).map(({ group, aggregates: results }) => `${membersText(group)}:  ${membersText(results)}`),
  ];
  return count === undefined ? lines : [...lines, `${count} in all`];
}

function membersText(members) {
  return Object.entries(members)
    .map(([name, value]) => `${name} ${Number.isInteger(value) ? value : value.toFixed(2)}`)
    .join(', ');
}

function planText({ access, indexes, sorted, examined }) {
  const by = access === 'keys' ? 'by key' : `by ${indexes.join(' and ')}`;
  return `found ${by}${sorted ? ', sorted' : ''}; looked at ${examined}`;
}

async function showNextPage(stargus, ask, pageToken) {
  const { items, plan } = await stargus.query({ ...ask, count: undefined, pageToken });
  console.log(`  the next page begins with ${items[0].key}  (${planText(plan)})`);
}

/** What breaks the schema or a rule is refused, with the place. */
async function showRefusals(stargus, key) {
  console.log('\nWhat the dictionary refuses\n');
  for (const attributes of [{ delay: 'two hours' }, { delay: 1 }, { distance: 1 }]) {
    try {
      await stargus.merge(key, attributes);
      throw new Error(`${JSON.stringify(attributes)} should have been refused.`);
    } catch (error) {
      if (error.problem?.code !== 'schemaViolation') throw error;
      const [{ pointer, detail }] = error.problem.errors;
      console.log(`  ${JSON.stringify(attributes)}: ${pointer} ${detail}`);
    }
  }
}

function curls({ collection, pool }) {
  return [
    `curl '${collection}/items?where=%7B%22hour%22:17%7D&order=-delay&limit=3&explain=true'`,
    `curl ${collection}/query -H 'content-type: application/json' -d '{"groupBy":["hour"],"aggregates":{"late":{"avg":"delay"}}}'`,
    `curl ${pool}/collections/_dictionary/items/flights`,
    `curl -X DELETE ${pool}`,
  ].join('\n');
}

function readJson(name) {
  return JSON.parse(readFileSync(new URL(name, import.meta.url), 'utf8'));
}

function options() {
  try {
    const { values } = parseArgs({
      options: {
        url: { type: 'string', default: 'http://127.0.0.1:8080' },
        limit: { type: 'string', default: '200000' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    if (values.help) {
      console.log(USAGE);
      process.exit(0);
    }
    const limit = Number(values.limit);
    if (!Number.isInteger(limit) || limit < 1) throw new Error('--limit must be a whole number above 0.');
    return { url: values.url.replace(/\/$/, ''), limit };
  } catch (error) {
    console.error(`${error.message}\n\n${USAGE}`);
    process.exit(2);
  }
}
