// PUT and fan-out with one, two and three nodes, all on the same cores: what can be read from it is what a node more costs, the
// processor time for each operation, not how much faster three machines would be. Watchers sit on all nodes, what they are told is
// written through the first.
import { generate } from '../generator.mjs';
import { fan, seed } from '../suites/loads.mjs';
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
        const told = await fanOut(nodes, redis, { seconds, warm: warmSeconds });
        keep({ what: `fan-out, ${count}`, round, ...told });
      });
    }
  }
}

// A thousand watchers, with sixteen writers who are answered before they write again.
async function fanOut([first, ...rest], redis, flags) {
  await seed(first);
  const pids = [...first.pids, ...rest.map(({ pid }) => pid), redis.pid()];
  const others = rest.map(({ address }) => address).join(',');
  const result = await generate({ ...first, pids }, { ...fan, ...flags, mode: 'fanout', connections: 16, others });
  const { missing, closed, errors, problem, deliveriesPerSecond: rate } = result;
  if (missing || closed || errors)
    throw new Error(
      `Fan-out: ${missing} deliveries missing, ${closed} watchers cut off, ${errors} errors (${problem})`,
    );
  return { rate, writes: result.writesPerSecond, cpuNs: (1e9 * result.serverCpu) / rate };
}

const plural = (count) => `${count} ${count === 1 ? 'node' : 'nodes'}`;

function rows(of) {
  return counts.flatMap((count) => [
    { text: `PUT/s, ${plural(count)}`, figure: of(`PUT, ${count}`, 'rate') },
    { text: 'processor time of each, µs (nodes, database and Redis)', figure: of(`PUT, ${count}`, 'cpuUs') },
    { text: `deliveries/s to 1,000 watchers, ${plural(count)}`, figure: of(`fan-out, ${count}`, 'rate') },
    { text: 'of so many writes/s through one of them', figure: of(`fan-out, ${count}`, 'writes') },
    { text: 'processor time of each delivery, ns', figure: of(`fan-out, ${count}`, 'cpuNs') },
  ]);
}

export default { title: 'One, two and three nodes on the same cores', measure, rows };
