/** Loads items through batches, a few at a time, with a progress bar. */
import { randomUUID } from 'node:crypto';
import progress from 'cli-progress';
import { COLLECTION } from './cities.mjs';

const OPS_MAX = 1000;
/** The server takes 4 MiB; this leaves room for what is around the ops. */
const BYTES_MAX = 4 * 1024 * 1024 - 1024;
const IN_FLIGHT = 4;

export async function load(stargus, items) {
  // A new name for each run: a repetition inside this run is recognized, another run writes anew.
  const run = randomUUID();
  const batches = [...batchesOf(items)];
  const bar = new progress.SingleBar({
    format: 'Loading cities [{bar}] {percentage}% {value}/{total} {rate} cities/s',
    barCompleteChar: '#',
    barIncompleteChar: '.',
    noTTYOutput: !process.stdout.isTTY,
    notTTYSchedule: 2000,
    stream: process.stdout,
  });
  const started = performance.now();
  let loaded = 0;
  let next = 0;
  bar.start(items.length, 0, { rate: 0 });
  const worker = async () => {
    while (next < batches.length) {
      const index = next++;
      await stargus.batch(batches[index], `${run}-${index}`);
      loaded += batches[index].length;
      bar.update(loaded, { rate: Math.round((loaded * 1000) / (performance.now() - started)) });
    }
  };
  try {
    await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  } finally {
    bar.stop();
  }
  const seconds = (performance.now() - started) / 1000;
  console.log(
    `Loaded ${loaded} cities in ${seconds.toFixed(1)} s, ${batches.length} commits of at most ${OPS_MAX} cities.`,
  );
}

function* batchesOf(items) {
  let ops = [];
  let bytes = 0;
  for (const { key, attributes } of items) {
    const op = { op: 'put', collection: COLLECTION, key, attributes };
    const size = Buffer.byteLength(JSON.stringify(op)) + 1;
    if (ops.length === OPS_MAX || bytes + size > BYTES_MAX) {
      yield ops;
      ops = [];
      bytes = 0;
    }
    ops.push(op);
    bytes += size;
  }
  if (ops.length > 0) yield ops;
}
