// PUT and fan-out with one, two and three nodes, all on the same cores: what can be read from it is what a node more costs, the
// processor time for each operation, not how much faster three machines would be.
import { generateOnAll, withNodes } from './deployment.mjs';

const counts = [1, 2, 3];

async function measure(start, { seconds, warmSeconds, rounds, watchers = 999 }, keep) {
  for (let round = 0; round < rounds; round++) {
    for (const count of counts) {
      await withNodes(start, count, async (nodes, { redis }) => {
        const run = async (what, flags, figure) => {
          await generateOnAll(nodes, redis, { ...flags, seconds: warmSeconds, warm: 0 });
          const result = await generateOnAll(nodes, redis, { ...flags, seconds, warm: warmSeconds });
          if (result.errors || result.missing)
            throw new Error(`${what}: ${result.errors} errors, ${result.missing} missing (${result.problem})`);
          const rate = result[figure];
          keep({ what: `${what}, ${count}`, round, ...result, rate, cpuUs: (1e6 * result.serverCpu) / rate });
        };
        await run('PUT', { mode: 'requests', operation: 'put', connections: 63, keys: 10_000 }, 'rate');
        // Each node has a third of the watchers and of the writers: of its own and of the others' writes they hear as well.
        await run(
          'fan-out',
          { mode: 'fanout', operation: 'put', connections: 12, watchers, told: watchers, keys: 256 },
          'deliveriesPerSecond',
        );
      });
    }
  }
}

function rows(of) {
  return ['PUT', 'fan-out'].flatMap((what) =>
    counts.flatMap((count) => [
      { text: `${what}/s, ${count} ${count === 1 ? 'node' : 'nodes'}`, figure: of(`${what}, ${count}`, 'rate') },
      {
        text: 'processor time of each, µs (nodes, database and Redis)',
        figure: of(`${what}, ${count}`, 'cpuUs'),
        digits: what === 'PUT' ? 0 : 2,
      },
    ]),
  );
}

export default { title: 'One, two and three nodes on the same cores', measure, rows };
