// What a synchronous SQLite commit on the event loop costs the watchers: the latency of 20 writes/s to 1,000 watchers alone,
// and while PUTs into another pool keep the disk busy.
import { generate } from '../generator.mjs';
import { table } from '../report.mjs';
import { canDo, withTarget } from '../targets/all.mjs';
import { fullSpeed, paced, seed } from './loads.mjs';

const otherPool = { pool: 'other' };

export async function run({ names, watchers = 1000, seconds, warmSeconds, say }) {
  const measurements = [];
  for (const name of names.filter((name) => canDo(name, 'watch') && name !== 'pocketbase')) {
    await withTarget(name, async (start) => {
      const target = await start();
      await seed(target);
      await seed(target, otherPool);
      for (const connections of [0, 16, 64]) {
        const latency = generate(target, { ...paced, watchers, seconds, warm: warmSeconds + 1 });
        // A little longer than the latency's window on both sides: the watchers open before it begins.
        const puts =
          connections &&
          generate(target, {
            ...fullSpeed('put', connections),
            ...otherPool,
            seconds: seconds + 1,
            warm: warmSeconds + 1,
          });
        const [{ p50Ms, p99Ms, maxMs, missing }, put] = await Promise.all([latency, puts]);
        measurements.push({ target: name, connections, p50Ms, p99Ms, maxMs, missing, putRate: put ? put.rate : 0 });
        say(`${name}: ${JSON.stringify(measurements.at(-1))}`);
      }
    });
  }
  const rows = measurements.map((m) => [
    m.target,
    m.connections ? `${m.connections} connections, ${m.putRate.toFixed(0)} PUT/s` : 'none',
    ...[m.p50Ms, m.p99Ms, m.maxMs].map((ms) => ms.toFixed(1)),
  ]);
  return { measurements, markdown: table(['target', 'load on another pool', 'p50 ms', 'p99 ms', 'worst ms'], rows) };
}
