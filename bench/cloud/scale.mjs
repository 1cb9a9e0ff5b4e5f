// PUT with one, two and three nodes, all on the same cores: what can be read from it is what a node more costs, the
// processor time for each operation, not how much faster three machines would be.
import { generateOnAll, withNodes } from './deployment.mjs';

const counts = [1, 2, 3];

async function measure(start, { seconds, warmSeconds, rounds }, keep) {
  for (let round = 0; round < rounds; round++) {
    for (const count of counts) {
      await withNodes(start, count, async (nodes, { redis }) => {
        const flags = { mode: 'requests', operation: 'put', connections: 63, keys: 10_000 };
        await generateOnAll(nodes, redis, { ...flags, seconds: warmSeconds, warm: 0 });
        const result = await generateOnAll(nodes, redis, { ...flags, seconds, warm: warmSeconds });
        if (result.errors) throw new Error(`PUT: ${result.errors} errors (${result.problem})`);
        keep({ what: `PUT, ${count}`, round, ...result, cpuUs: (1e6 * result.serverCpu) / result.rate });
      });
    }
  }
}

function rows(of) {
  return counts.flatMap((count) => [
    { text: `PUT/s, ${count} ${count === 1 ? 'node' : 'nodes'}`, figure: of(`PUT, ${count}`, 'rate') },
    { text: 'processor time of each, µs (nodes, database and Redis)', figure: of(`PUT, ${count}`, 'cpuUs') },
  ]);
}

export default { title: 'One, two and three nodes on the same cores', measure, rows };
