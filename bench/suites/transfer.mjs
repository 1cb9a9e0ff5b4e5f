// How fast items come in by an import and go out by an export, beside what the same takes by batches, PUTs and pages.
import { generate } from '../generator.mjs';
import { figuresMarkdown } from '../report.mjs';
import { median } from '../statistics.mjs';
import { withTarget } from '../targets/all.mjs';
import { exportItems, importItems, keyOf, perSecond, send } from '../transfers.mjs';
import { fullSpeed } from './loads.mjs';

const filler = 'v'.repeat(200);
const attributesOf = (n) => `{"value":"${n}${filler}"}`;
const batchOps = 1000;
const batchesAtOnce = 4;
const pageItems = 1000;

export async function run({ names, items = 100_000, seconds, warmSeconds, rounds, say }) {
  const measurements = [];
  for (const name of names.filter((name) => name.startsWith('stargus'))) {
    await withTarget(name, async (start) => {
      const target = await start();
      for (let round = 1; round <= rounds; round++) {
        const keep = (what, rate) => {
          measurements.push({ target: name, round, what, rate });
          say(`${name}, round ${round}/${rounds}: ${what} ${rate.toFixed(0)} items/s`);
        };
        const collection = `imported${round}`;
        keep('import', await importItems(target, collection, items, attributesOf));
        keep('again', await importItems(target, collection, items, attributesOf));
        keep('batch', await batchItems(target, `batched${round}`, items));
        keep('put', (await generate(target, { ...fullSpeed('put', 64), seconds, warm: warmSeconds })).rate);
        const { count, rate } = await exportItems(target, collection);
        if (count !== items) throw new Error(`The export has ${count} items`);
        keep('export', rate);
        keep('pages', await pagedItems(target, collection, items));
      }
    });
  }
  return { measurements, markdown: markdownOf(measurements, items) };
}

// Batches of 1,000 operations, four under way: the fastest way to write without an import.
async function batchItems(target, collection, count) {
  const startedAt = performance.now();
  let next = 0;
  const work = async () => {
    while (next < count) {
      const first = next;
      next += batchOps;
      const ops = [];
      for (let n = first; n < Math.min(count, first + batchOps); n++)
        ops.push({ op: 'put', collection, key: keyOf(n), attributes: JSON.parse(attributesOf(n)) });
      await send(target, 'POST', '/batch', { ops });
    }
  };
  await Promise.all(Array.from({ length: batchesAtOnce }, work));
  return perSecond(count, startedAt);
}

async function pagedItems(target, collection, count) {
  const startedAt = performance.now();
  let found = 0;
  let token = '';
  while (token !== undefined) {
    const after = token && `&pageToken=${encodeURIComponent(token)}`;
    const page = await send(target, 'GET', `/collections/${collection}/items?limit=${pageItems}${after}`);
    found += page.items.length;
    token = page.nextPageToken;
  }
  if (found !== count) throw new Error(`The pages have ${found} items`);
  return perSecond(count, startedAt);
}

function markdownOf(measurements, items) {
  const rate = (what) => (target) =>
    median(measurements.filter((m) => m.target === target && m.what === what).map((m) => m.rate));
  const ratio = (what, of) => (target) => rate(what)(target) / rate(of)(target);
  return figuresMarkdown(measurements, [
    { text: `import of ${items.toLocaleString('en')} new items of 200 bytes, items/s`, figure: rate('import') },
    { text: 'to batches of 1,000, four at once', figure: ratio('import', 'batch'), digits: 2 },
    { text: 'to single PUTs, 64 connections', figure: ratio('import', 'put'), digits: 2 },
    { text: 'import of the same items again, items/s', figure: rate('again') },
    { text: 'export, items/s', figure: rate('export') },
    { text: 'to pages of 1,000', figure: ratio('export', 'pages'), digits: 2 },
  ]);
}
