/** Loads items through an import, with a progress bar; goes on where an interrupted one stopped. */
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import progress from 'cli-progress';
import { COLLECTION } from './flights.mjs';

const ATTEMPTS = 5;

export async function load(stargus, items) {
  const bar = new progress.SingleBar({
    format: 'Importing flights [{bar}] {percentage}% {value}/{total} {rate} flights/s',
    barCompleteChar: '#',
    barIncompleteChar: '.',
    noTTYOutput: !process.stdout.isTTY,
    notTTYSchedule: 2000,
    stream: process.stdout,
  });
  const started = performance.now();
  let end;
  bar.start(items.length, 0, { rate: 0 });
  try {
    end = await importAll(stargus, items, (line) =>
      bar.update(line, { rate: Math.round((line * 1000) / (performance.now() - started)) }),
    );
  } finally {
    bar.stop();
  }
  const seconds = (performance.now() - started) / 1000;
  console.log(
    `Imported ${end.lines} flights in ${seconds.toFixed(1)} s: ${end.applied} written, ${end.unchanged} as they were before.`,
  );
}

/** What the server told is durable: after an interruption the same lines are sent again, and those are passed over. */
async function importAll(stargus, items, onProgress) {
  let durable = 0;
  for (let attempt = 1; ; attempt++) {
    let end;
    let failure;
    try {
      await stargus.import(Readable.from(linesOf(items)), durable, (told) => {
        if (told.problem && told.done === undefined) throw new Error(`Line ${told.line}: ${told.problem.detail}`);
        if (told.done !== undefined) end = told;
        else durable = told.line;
        onProgress(end?.lines ?? durable);
      });
    } catch (error) {
      failure = error;
    }
    if (end?.done) return end;
    durable = end?.line ?? durable;
    if (attempt === ATTEMPTS) throw failure ?? new Error(end?.problem.detail ?? 'The import was interrupted.');
    await sleep(500 * attempt);
  }
}

/** A line each, joined so that not every one of them is a write to the socket. */
function* linesOf(items) {
  const AT_ONCE = 500;
  for (let i = 0; i < items.length; i += AT_ONCE) {
    yield items
      .slice(i, i + AT_ONCE)
      .map((item) => `${JSON.stringify({ collection: COLLECTION, ...item })}\n`)
      .join('');
  }
}
