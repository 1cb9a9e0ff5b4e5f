// Whether watchers of other keys cost a writer anything: the rate of PUTs without watchers, with them, and without again.
import { generate, holdWatchers } from '../generator.mjs';
import { table } from '../report.mjs';
import { median } from '../statistics.mjs';
import { canDo, withTarget } from '../targets/all.mjs';
import { fullSpeed, items, seed } from './loads.mjs';

export async function run({ names, watchers = 10_000, seconds, warmSeconds, rounds, say }) {
  const measurements = [];
  for (const name of names.filter((name) => canDo(name, 'watch') && name !== 'pocketbase')) {
    await withTarget(name, async (start) => {
      const target = await start();
      await seed(target);
      const putRate = async () =>
        (await generate(target, { ...fullSpeed('put', 64), seconds, warm: warmSeconds })).rate;
      for (let round = 1; round <= rounds; round++) {
        const before = await putRate();
        const held = await holdWatchers(target, { collection: items.collection, 'watch-keys': true, watchers });
        const watched = await putRate();
        const { deliveries, closed } = await held.release();
        const after = await putRate();
        measurements.push({
          round,
          target: name,
          before,
          watched,
          after,
          ratio: watched / ((before + after) / 2),
          deliveries,
          closed,
        });
        say(`round ${round}/${rounds}: ${name} ${JSON.stringify(measurements.at(-1))}`);
      }
    });
  }
  const rows = [...new Set(measurements.map((m) => m.target))].map((target) => {
    const mine = measurements.filter((m) => m.target === target);
    const of = (member) => median(mine.map((m) => m[member]));
    const [before, watched, after] = [of('before'), of('watched'), of('after')].map((rate) => rate.toFixed(0));
    return [
      target,
      before,
      watched,
      after,
      of('ratio').toFixed(2),
      mine.some((m) => m.deliveries || m.closed) ? 'deliveries or disconnections!' : '',
    ];
  });
  const head = ['target', 'PUT/s, no watchers', `with ${watchers} of other keys`, 'none again', 'ratio', ''];
  return {
    measurements,
    markdown: `${table(head, rows)}\nGoal: no cost that can be measured (a ratio of 1 within the noise, which the two columns without watchers show).\n`,
  };
}
