// Locks taken and given back, beside PUTs of the same server: a cycle is two commits.
import { measureInTurn, startWarm } from '../suites/loads.mjs';

const connections = [1, 64];

async function measure(start, { seconds, warmSeconds, warmUpSeconds, rounds }, keep) {
  const target = await startWarm(start, ['put', 'lock'], warmUpSeconds);
  for (const count of connections)
    await measureInTurn(target, ['put', 'lock'], count, { seconds, warm: warmSeconds, rounds }, keep);
}

function rows(of) {
  const commits = (count) => (target) => (2 * of(`lock ${count}`, 'rate')(target)) / of(`put ${count}`, 'rate')(target);
  return connections.flatMap((count) => {
    const who = count === 1 ? '1 client' : `${count} clients, an item each`;
    return [
      { text: `cycles/s, ${who}`, figure: of(`lock ${count}`, 'rate') },
      { text: 'its commits, of the rate of PUTs', figure: commits(count), digits: 2 },
      { text: 'p50 of a cycle, ms', figure: of(`lock ${count}`, 'p50Ms'), digits: 2 },
      { text: 'p99 of a cycle, ms', figure: of(`lock ${count}`, 'p99Ms'), digits: 2 },
      { text: 'p99 of a PUT, ms', figure: of(`put ${count}`, 'p99Ms'), digits: 2 },
    ];
  });
}

export default { title: 'Taking a lock and giving it back', measure, rows };
