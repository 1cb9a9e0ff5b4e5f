// How long a killed node keeps anybody waiting: a hundred watchers on a node that is killed go to another one with the id of what
// they were told last, while writes go on there; what counts is when each is told again what was written after the kill.
import { setTimeout as sleep } from 'node:timers/promises';
import { eventsOf, put, quantile, withNodes } from './deployment.mjs';

const watchers = 100;
const everyMs = 50;

async function measure(start, { rounds }, keep) {
  for (let round = 0; round < rounds; round++) {
    await withNodes(start, 2, async ([survivor, victim]) => {
      await put(survivor, 'recovery/items/k', { n: 0 });
      const stopping = new AbortController();
      let killedAt;
      const recovered = [];
      let missed = 0;
      const path = '/v1/pools/bench/changes/stream?collection=recovery';
      let ready = 0;
      const watch = async () => {
        let cursor;
        let last;
        let node = victim;
        let isRecovered = false;
        while (!stopping.signal.aborted) {
          try {
            for await (const { id, event, data } of eventsOf(`http://${node.address}${path}`, {
              cursor,
              signal: stopping.signal,
            })) {
              if (id) cursor = id;
              if (event !== 'changes') continue;
              const { n } = data.changes[0].attributes;
              if (last === undefined) ready++;
              else if (n !== last + 1) missed++;
              last = n;
              if (node === survivor && !isRecovered && data.time >= killedAt.wall) {
                isRecovered = true;
                recovered.push(performance.now() - killedAt.clock);
              }
            }
          } catch {
            // Its node is gone.
          }
          if (killedAt) node = survivor;
          await sleep(5);
        }
      };
      const watching = Array.from({ length: watchers }, watch);
      let n = 0;
      let isOver = false;
      const writing = (async () => {
        for (; !isOver; await sleep(everyMs)) await put(survivor, 'recovery/items/k', { n: ++n });
      })();
      while (ready < watchers) await sleep(20);
      await sleep(500);
      killedAt = { wall: new Date().toISOString(), clock: performance.now() };
      process.kill(victim.pid, 'SIGKILL');
      while (recovered.length < watchers && performance.now() - killedAt.clock < 30_000) await sleep(10);
      isOver = true;
      await writing;
      stopping.abort();
      await Promise.all(watching);
      if (recovered.length < watchers) throw new Error(`only ${recovered.length} of ${watchers} watchers went on`);
      if (missed > 0) throw new Error(`${missed} events were missed`);
      keep({ what: 'recovery', round, p50Ms: quantile(recovered, 0.5), lastMs: Math.max(...recovered) });
    });
  }
}

function rows(of) {
  return [
    { text: `half of ${watchers} watchers are told again after, ms`, figure: of('recovery', 'p50Ms') },
    { text: `the last one after, ms (a write every ${everyMs} ms)`, figure: of('recovery', 'lastMs') },
  ];
}

export default { title: 'A node is killed', measure, rows };
