// Deliveries a second to a receiver on this machine: one notifier, which delivers in order, one after the other; and sixteen, which
// deliver at the same time. The writes are there beforehand, so that only the delivering is measured; the works come over BullMQ.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startRedis } from '../../scripts/redis.mjs';

const writes = 1000;
const cases = { 'one notifier': 1, 'sixteen notifiers': 16 };

async function measure(start, { rounds }, keep) {
  const redis = await startRedis();
  const receiver = fork(path.join(import.meta.dirname, 'receiver.mjs'));
  try {
    const [{ port }] = await once(receiver, 'message');
    const target = await start({ STARGUS_REDIS_URL: redis.url });
    const call = async (method, url, body) => {
      const response = await fetch(`http://${target.address}/v1/pools/hooks${url}`, {
        method,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${await response.text()}`);
      return response.json();
    };
    for (let n = 0; n < writes; n += 100)
      await Promise.all(
        Array.from({ length: 100 }, (_, i) =>
          call('PUT', `/collections/c/items/k${n + i}`, { attributes: { n: n + i } }),
        ),
      );
    const counted = async () => {
      receiver.send('count');
      const [count] = await once(receiver, 'message');
      return count;
    };
    for (let round = 0; round < rounds; round++) {
      for (const [what, notifiers] of Object.entries(cases)) {
        const names = Array.from({ length: notifiers }, (_, i) => `n${i}`);
        const before = await counted();
        const began = performance.now();
        const url = `http://127.0.0.1:${port}/`;
        await Promise.all(
          names.map((name) =>
            call('PUT', `/notifiers/${name}`, {
              events: ['add'],
              collection: 'c',
              target: { webhook: { url } },
              since: 'start',
            }),
          ),
        );
        while ((await counted()) - before < writes * notifiers) {
          if (performance.now() - began > 120_000) throw new Error('not all was delivered within two minutes');
          await sleep(20);
        }
        const rate = (writes * notifiers) / ((performance.now() - began) / 1000);
        keep({ what, round, rate });
        for (const name of names) await call('DELETE', `/notifiers/${name}`);
      }
    }
  } finally {
    receiver.kill();
    await redis.stop();
  }
}

function rows(of) {
  return Object.keys(cases).map((what) => ({ text: `deliveries/s, ${what}`, figure: of(what, 'rate') }));
}

export default { title: 'Deliveries to a webhook', measure, rows };
