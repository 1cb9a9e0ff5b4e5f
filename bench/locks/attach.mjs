// Attaching to a large collection: until its snapshot is told and the stream is live, and the memory that the server takes for it, beside
// the export of the same items.
import { once } from 'node:events';
import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { residentMb } from '../processes.mjs';
import { exportItems, importItems, pool } from '../transfers.mjs';

const collection = 'large';
const filler = 'v'.repeat(200);
const settleMs = 3000; // garbage of what went before is mostly collected by then
const lookEveryMs = 10;

async function measure(start, { items = 100_000, rounds }, keep) {
  const target = await start();
  await importItems(target, collection, items, (n) => `{"value":"${n}${filler}"}`);
  const ways = { attach: () => attachItems(target), export: () => exportItems(target, collection) };
  const told = (await ways.attach()) / (items * filler.length);
  const exported = (await ways.export()).count;
  if (told < 1 || exported !== items) throw new Error(`The snapshot or the export lacks items: ${told}, ${exported}`);
  for (let round = 1; round <= rounds; round++) {
    for (const what of round % 2 ? ['attach', 'export'] : ['export', 'attach'])
      keep({ what, round, ...(await watched(target.pids[0], ways[what])) });
  }
}

// Reads the stream as far as its snapshot goes.
async function attachItems(target) {
  const path = `/v1/pools/${pool}/collections/${collection}/attach`;
  const [response] = await once(http.get(`http://${target.address}${path}`), 'response');
  let tail = '';
  let bytes = 0;
  for await (const chunk of response) {
    bytes += chunk.length;
    tail = (tail + chunk.toString('latin1')).slice(-chunk.length - 20);
    if (tail.includes('\nevent: live')) return bytes;
  }
  throw new Error('The stream ended before it was live');
}

async function watched(pid, work) {
  await sleep(settleMs);
  const restMb = residentMb(pid);
  let peakMb = restMb;
  const looking = setInterval(() => {
    peakMb = Math.max(peakMb, residentMb(pid));
  }, lookEveryMs);
  const startedAt = performance.now();
  await work();
  const ms = performance.now() - startedAt;
  clearInterval(looking);
  return { ms, restMb, peakMb };
}

function rows(of, { items = 100_000 }) {
  return [
    { text: `attach of ${items.toLocaleString('en')} items, until \`live\`, ms`, figure: of('attach', 'ms') },
    {
      text: 'to an export of them',
      figure: (target) => of('attach', 'ms')(target) / of('export', 'ms')(target),
      digits: 2,
    },
    { text: 'memory before, MB', figure: of('attach', 'restMb') },
    { text: 'at its highest, MB', figure: of('attach', 'peakMb') },
    { text: 'at its highest during the export, MB', figure: of('export', 'peakMb') },
  ];
}

export default { title: 'Attaching to a large collection', measure, rows };
