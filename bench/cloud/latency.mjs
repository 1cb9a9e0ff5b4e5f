// How long after a write was sent through one node its event is there on another, at rest: one writer, twenty writes a second. With wakes
// over Redis, and without them, where the database is asked every STARGUS_POLL.
import { setTimeout as sleep } from 'node:timers/promises';
import { eventsOf, put, quantile, withNodes } from './deployment.mjs';

const perSecond = 20;

async function measure(start, { seconds, rounds }, keep) {
  for (let round = 0; round < rounds; round++) {
    for (const [what, env] of [
      ['wakes', {}],
      ['polling', { STARGUS_REDIS_URL: '' }],
    ]) {
      await withNodes(
        start,
        2,
        async ([writer, other]) => {
          const sent = new Map();
          const latencies = { other: [], same: [] };
          const stopping = new AbortController();
          await put(writer, 'latency/items/k', { n: 0 });
          const listen = async (node, into) => {
            const url = `http://${node.address}/v1/pools/bench/changes/stream?collection=latency`;
            try {
              for await (const { event, data } of eventsOf(url, { signal: stopping.signal })) {
                if (event !== 'changes') continue;
                const at = sent.get(data.changes[0].attributes.n);
                if (at !== undefined) into.push(performance.now() - at);
              }
            } catch (error) {
              if (!stopping.signal.aborted) throw error;
            }
          };
          const listening = [listen(other, latencies.other), listen(writer, latencies.same)];
          await sleep(500);
          const writes = Math.ceil(perSecond * Math.max(seconds, 5));
          for (let n = 1; n <= writes; n++) {
            // The first second is for warming up.
            if (n > perSecond) sent.set(n, performance.now());
            await put(writer, 'latency/items/k', { n });
            await sleep(1000 / perSecond);
          }
          await sleep(500);
          stopping.abort();
          await Promise.all(listening);
          for (const [where, values] of Object.entries(latencies)) {
            if (values.length !== writes - perSecond)
              throw new Error(`${values.length} of ${writes - perSecond} events`);
            keep({ what: `${what}, ${where}`, round, p50Ms: quantile(values, 0.5), p99Ms: quantile(values, 0.99) });
          }
        },
        env,
      );
    }
  }
}

function rows(of) {
  const told = (what, text, goal = {}) => [
    { text: `${text}: half within, ms`, figure: of(what, 'p50Ms'), digits: 1 },
    { text: '99 of 100 within, ms', figure: of(what, 'p99Ms'), digits: 1, ...goal },
  ];
  return [
    ...told('wakes, other', 'on another node, wakes over Redis', { atMost: 30 }),
    ...told('wakes, same', 'on the node that was written through'),
    ...told('polling, other', 'on another node, without Redis'),
  ];
}

export default { title: 'From a write to its event', measure, rows };
