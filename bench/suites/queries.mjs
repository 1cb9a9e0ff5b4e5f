// Whether a query by an index costs the same whatever a collection holds, and page 1,000 what page 1 does; how fast a query without
// an index looks at items, and how fast an index counts. Each figure stands beside the one it is compared with.
import { generate } from '../generator.mjs';
import { figuresMarkdown } from '../report.mjs';
import { median } from '../statistics.mjs';
import { withTarget } from '../targets/all.mjs';
import { describe, importItems, keyOf, pool, send } from '../transfers.mjs';

const smallItems = 10_000;
const scannedMax = 200_000;
const matches = 20; // items that have one value of `group`
const deepPage = 1000;
const indexes = [['group', 'rank'], 'rank', 'half'];
const filler = 'v'.repeat(150);
const unindexed = encodeURIComponent('{"value":{"prefix":"w"}}'); // no item has it
const half = encodeURIComponent('{"half":true}');

// Each rank comes once, in an order that has nothing to do with the keys': the multiplier is a prime that divides no count here.
const attributesOf = (count) => (n) =>
  `{"group":${n % (count / matches)},"rank":${(n * 7919) % count},"half":${n % 2 === 0},"value":"${filler}"}`;

export async function run({ names, items = 1_000_000, seconds, warmSeconds, rounds, say }) {
  const large = roundTo(items, matches);
  const sizes = { small: Math.min(roundTo(smallItems, matches), large), large };
  const scanned = Math.min(scannedMax, large);
  const page = Math.min(deepPage, Math.floor(large / matches) - 1);
  const measurements = [];
  for (const name of names.filter((name) => name.startsWith('stargus'))) {
    await withTarget(name, async (start) => {
      const target = await start();
      const keep = (measurement) => {
        measurements.push({ target: name, ...measurement });
        say(`${name}: ${JSON.stringify(measurement)}`);
      };
      for (const [collection, count] of Object.entries(sizes)) {
        await describe(target, collection, { indexes });
        const rate = await importItems(target, collection, count, attributesOf(count));
        say(`${name}: ${count} items imported into ${collection}, ${rate.toFixed(0)} items/s`);
      }
      const paths = await requestsOf(target, sizes, page);
      for (let round = 1; round <= rounds; round++) {
        for (const [what, { path, groups }] of Object.entries(paths)) {
          const flags = { mode: 'requests', operation: 'custom', connections: 1, keys: groups, path };
          const { rate, p99Ms, errors } = await generate(target, { ...flags, seconds, warm: warmSeconds });
          if (errors) throw new Error(`${what}: ${errors} errors`);
          keep({ round, what, ms: 1000 / rate, p99Ms });
        }
        keep({ round, what: 'scan', ms: await timed(target, `?where=${unindexed}&end=${keyOf(scanned)}`, 0) });
        keep({ round, what: 'count', ms: await timed(target, `?where=${half}&count=exact&limit=1`, 1) });
      }
    });
  }
  return { measurements, markdown: markdownOf(measurements, { sizes, scanned, page }) };
}

// The requests that are sent again and again, each tried once for what it should find.
async function requestsOf(target, sizes, page) {
  const group = (collection) => ({
    path: `${listOf(collection)}?where=%7B%22group%22:{n}%7D&limit=${matches}`,
    groups: sizes[collection] / matches,
  });
  const paths = { small: group('small'), large: group('large') };
  const orders = { key: 'prefix=k', rank: 'order=rank', 'rank falling': 'order=-rank' };
  for (const [order, parameters] of Object.entries(orders)) {
    const first = `?${parameters}&limit=${matches}`;
    const deep = `${first}&pageToken=${encodeURIComponent(await tokenOf(target, first, page))}`;
    paths[`page 1 by ${order}`] = { path: listOf('large') + first, groups: 1 };
    paths[`page ${page} by ${order}`] = { path: listOf('large') + deep, groups: 1 };
  }
  for (const { path } of Object.values(paths)) {
    const { items } = await send(target, 'GET', path.replace('{n}', '0').slice(listOf('').indexOf('/collections')));
    if (items.length !== matches) throw new Error(`${path} answers ${items.length} items`);
  }
  return paths;
}

const listOf = (collection) => `/v1/pools/${pool}/collections/${collection}/items`;

// The token that leads to a page, by way of all pages before it.
async function tokenOf(target, first, page) {
  let token;
  for (let n = 1; n < page; n++) {
    const after = token === undefined ? '' : `&pageToken=${encodeURIComponent(token)}`;
    ({ nextPageToken: token } = await send(target, 'GET', `/collections/large/items${first}${after}`));
  }
  return token;
}

async function timed(target, query, found) {
  const startedAt = performance.now();
  const { items } = await send(target, 'GET', `/collections/large/items${query}`);
  if (items.length !== found) throw new Error(`${query} finds ${items.length} items`);
  return performance.now() - startedAt;
}

function markdownOf(measurements, { sizes, scanned, page }) {
  const msOf = (target, what) =>
    median(measurements.filter((m) => m.target === target && m.what === what).map((m) => m.ms));
  const ms = (what) => (target) => msOf(target, what);
  const ratio = (what, of) => (target) => msOf(target, what) / msOf(target, of);
  const count = (n) => n.toLocaleString('en');
  const pages = ['key', 'rank', 'rank falling'].flatMap((order) => [
    { text: `page 1 by ${order}, of ${count(sizes.large)}, ms`, figure: ms(`page 1 by ${order}`), digits: 2 },
    { text: `page ${count(page)}, ms`, figure: ms(`page ${page} by ${order}`), digits: 2 },
    { text: 'ratio', figure: ratio(`page ${page} by ${order}`, `page 1 by ${order}`), digits: 2, atMost: 1.5 },
  ]);
  return figuresMarkdown(measurements, [
    { text: `${matches} items by an index, of ${count(sizes.small)}, ms`, figure: ms('small'), digits: 2 },
    { text: `the same, of ${count(sizes.large)}, ms`, figure: ms('large'), digits: 2 },
    { text: 'ratio', figure: ratio('large', 'small'), digits: 2, atMost: 2 },
    ...pages,
    {
      text: `scan without an index of ${count(scanned)}, items/s`,
      figure: (target) => (scanned * 1000) / msOf(target, 'scan'),
    },
    { text: `count of ${count(sizes.large / 2)} by an index, ms`, figure: ms('count'), digits: 1 },
  ]);
}

const roundTo = (n, unit) => Math.max(unit * 2, Math.floor(n / unit) * unit);
