// What Stargus costs while nothing happens: time from start to ready (on fresh and on existing data), memory at rest,
// memory for each idle watcher.
import { setTimeout as sleep } from 'node:timers/promises';
import { holdWatchers } from '../generator.mjs';
import { residentMb } from '../processes.mjs';
import { table } from '../report.mjs';
import { canDo, withTarget } from '../targets/all.mjs';
import { fan } from './loads.mjs';

const settleMs = 3000; // garbage of the start and of the opening is mostly collected by then

export async function run({ names, watchers = 5000, say }) {
  const measurements = [];
  for (const name of names.filter((name) => canDo(name, 'watch'))) {
    const measured = await withTarget(name, (start) => measure(start, watchers));
    say(`${name}: ${JSON.stringify(measured)}`);
    measurements.push({ target: name, ...measured });
  }
  const rows = measurements.map((m) => [
    m.target,
    m.firstReadyMs.toFixed(0),
    m.readyMs.toFixed(0),
    m.restMb.toFixed(0),
    m.watchedMb.toFixed(0),
    m.watcherKb.toFixed(1),
  ]);
  const head = [
    'target',
    'ready, fresh data, ms',
    'ready, existing data, ms',
    'RSS at rest, MB',
    `RSS with ${watchers} idle watchers, MB`,
    'KB for each',
  ];
  const goals =
    'Goals: ready in under 1,000 ms, under 200 MB at rest, under 40 KB for each idle watcher. With MariaDB: the node alone.';
  return { measurements, markdown: `${table(head, rows)}\n${goals}\n` };
}

async function measure(start, watchers) {
  const first = await start();
  await first.stop();
  const again = await start();
  await again.stop();
  const target = await start();
  await sleep(settleMs);
  const restMb = residentMb(target.pids[0]);
  const held = await holdWatchers(target, { collection: fan.collection, watchers });
  await sleep(settleMs);
  const watchedMb = residentMb(target.pids[0]);
  const { closed } = await held.release();
  const watcherKb = ((watchedMb - restMb) * 1024) / watchers;
  return {
    firstReadyMs: first.readyMs,
    readyMs: Math.min(again.readyMs, target.readyMs),
    restMb,
    watchedMb,
    watcherKb,
    closed,
  };
}
