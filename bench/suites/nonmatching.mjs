// Whether watchers of other keys, or by a filter of other values, cost a writer anything: the rate of PUTs without watchers, with
// them, and without again.
import { generate, holdWatchers } from '../generator.mjs';
import { table } from '../report.mjs';
import { median } from '../statistics.mjs';
import { canDo, withTarget } from '../targets/all.mjs';
import { fullSpeed, items, seed } from './loads.mjs';

// Each watcher watches a key or a value of its own. The value is of the attribute that every PUT writes.
const kindsOf = (name) => (name.startsWith('stargus') ? ['keys', 'values'] : ['keys']);

export async function run({ names, watchers = 10_000, seconds, warmSeconds, rounds, say }) {
  const measurements = [];
  for (const name of names.filter((name) => canDo(name, 'watch') && name !== 'pocketbase')) {
    await withTarget(name, async (start) => {
      const target = await start();
      await seed(target);
      const putRate = async () =>
        (await generate(target, { ...fullSpeed('put', 64), seconds, warm: warmSeconds })).rate;
      for (let round = 1; round <= rounds; round++) {
        for (const others of kindsOf(name)) {
          const before = await putRate();
          const held = await holdWatchers(target, { collection: items.collection, 'watch-others': others, watchers });
          const watched = await putRate();
          const { deliveries, closed } = await held.release();
          const after = await putRate();
          const ratio = watched / ((before + after) / 2);
          measurements.push({ round, target: name, others, before, watched, after, ratio, deliveries, closed });
          say(`round ${round}/${rounds}: ${name} ${JSON.stringify(measurements.at(-1))}`);
        }
      }
    });
  }
  const rows = [...new Set(measurements.map((m) => m.target))].flatMap((target) =>
    kindsOf(target).map((others) => {
      const mine = measurements.filter((m) => m.target === target && m.others === others);
      const of = (member) => median(mine.map((m) => m[member]));
      const [before, watched, after] = [of('before'), of('watched'), of('after')].map((rate) => rate.toFixed(0));
      const trouble = mine.some((m) => m.deliveries || m.closed) ? 'deliveries or disconnections!' : '';
      return [target, others, before, watched, after, of('ratio').toFixed(2), trouble];
    }),
  );
  const head = ['target', 'of other', 'PUT/s, no watchers', `with ${watchers}`, 'none again', 'ratio', ''];
  return {
    measurements,
    markdown: `${table(head, rows)}\nGoal: no cost that can be measured (a ratio of 1 within the noise, which the two columns without watchers show).\n`,
  };
}
