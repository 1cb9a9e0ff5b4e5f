/**
 * The show: MariaDB, Redis, three nodes and a worker on this machine. One program writes through the first node; one watches on the
 * second, one on the third, and one is told by webhook. In the middle the third node and the worker are killed. In the end it is
 * counted whether anybody missed anything.
 *
 * `npm run demo:cloud`, or with another number of writes: `npm run demo:cloud -- 5000`. Exits with 0 when nothing was missed.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { startDeployment } from './deployment.mjs';
import { startReceiver } from './hook.mjs';
import { watch } from './watch.mjs';

const WRITES = Number(process.argv[2] ?? 1000);
/** Writes a second: a rate at which one sees what happens. */
const RATE = 200;
/** What is on its way has this long to arrive after the last write. */
const PATIENCE_MS = 60_000;
const POOL = '/v1/pools/demo';

if (!Number.isInteger(WRITES) || WRITES < 10 || WRITES > 1_000_000) {
  console.error('Usage: npm run demo:cloud -- [number of writes, 10 to 1000000]');
  process.exit(2);
}

const say = (line) => console.log(line);
const ended = new AbortController();
let deployment;
let receiver;
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => ended.abort());

try {
  process.exitCode = (await show()) ? 0 : 1;
} catch (error) {
  if (!ended.signal.aborted) console.error(`\n${error.message}`);
  process.exitCode = 1;
} finally {
  receiver?.stop();
  await deployment?.stop();
}

async function show() {
  say('Starting MariaDB and Redis …');
  deployment = await startDeployment(say);
  // One after the other: the first one makes the tables.
  const nodes = [];
  for (let i = 0; i < 3; i++) nodes.push(await deployment.start('api'));
  const [first, second, third] = nodes;
  const worker = await deployment.start('worker');
  say(`Nodes: ${nodes.map(({ url }) => url).join(', ')}; a worker besides.`);

  const ask = caller(() => first.url);
  await ask('PUT', `${POOL}/collections/readings/items/sensor`, { attributes: { n: 0, at: Date.now() } });
  receiver = await startReceiver();
  const notifier = { events: ['add', 'change'], collection: 'readings', target: { webhook: { url: receiver.url } } };
  ({ secret: receiver.secret } = await ask('PUT', `${POOL}/notifiers/hook`, { ...notifier, since: 'now' }));

  const path = `${POOL}/changes/stream?collection=readings`;
  const onSecond = watch(() => second.url, path);
  let isThirdThere = true;
  const onThird = watch(() => (isThirdThere ? third.url : second.url), path);
  while (onSecond.connections === 0 || onThird.connections === 0) await sleep(20, undefined, { signal: ended.signal });
  await sleep(200);

  say(`Writing ${WRITES} times through the first node …`);
  const began = Date.now();
  for (let n = 1; n <= WRITES; n++) {
    await ask('PUT', `${POOL}/collections/readings/items/sensor`, { attributes: { n, at: Date.now() } });
    if (n === Math.floor(WRITES / 3)) {
      await third.kill();
      isThirdThere = false;
      say(`  after ${n}: the third node is killed (SIGKILL); its watcher goes to the second one`);
    }
    if (n === Math.floor(WRITES / 2)) {
      await worker.kill();
      say(`  after ${n}: the worker is killed (SIGKILL)`);
    }
    if (n === Math.floor((WRITES * 2) / 3)) {
      await deployment.start('worker');
      say(`  after ${n}: another worker is there`);
    }
    const late = began + (n * 1000) / RATE - Date.now();
    if (late > 0) await sleep(late, undefined, { signal: ended.signal });
  }
  const told = [
    ['the watcher on the second node', onSecond],
    ['the watcher of the third node, moved to the second', onThird],
    ['the webhook', receiver],
  ];
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; ) {
    if (told.every(([, who]) => who.told.length >= WRITES)) break;
    await sleep(50, undefined, { signal: ended.signal });
  }
  for (const watcher of [onSecond, onThird]) watcher.stop();
  await Promise.all([onSecond.ended, onThird.ended]);

  say(`\n${WRITES} writes, each acknowledged.`);
  const isAll = told.map(([who, { told: values }]) => review(who, values));
  const sorted = onSecond.latencies.sort((a, b) => a - b);
  const at = (share) => sorted[Math.floor(share * (sorted.length - 1))];
  say(`From the write to its event on another node: half within ${at(0.5)} ms, 99 of 100 within ${at(0.99)} ms.`);
  if (receiver.repeated > 0)
    say(`The webhook was told ${receiver.repeated} of them twice, with the same ids: at least once.`);
  if (receiver.refused > 0) say(`${receiver.refused} deliveries were not signed as they should be.`);
  const isGood = isAll.every(Boolean) && receiver.refused === 0;
  say(isGood ? '\nNothing was missed.' : '\nSomething was missed.');
  return isGood;
}

/** Whether somebody was told everything, once and in order. */
function review(who, values) {
  const missing = WRITES - new Set(values).size;
  const isOrdered = values.every((value, i) => i === 0 || value > values[i - 1]);
  say(`  ${who}: told ${values.length}, ${missing} missing, ${isOrdered ? 'in order' : 'OUT OF ORDER'}`);
  return missing === 0 && isOrdered && values.length === WRITES;
}

/** Requests that must succeed; what may be tried again is, with the same key, so that it is done once. */
function caller(base) {
  return async (method, path, body) => {
    const key = crypto.randomUUID();
    for (let attempt = 1; ; attempt++) {
      const answer = await fetch(`${base()}${path}`, {
        method,
        headers: { 'content-type': 'application/json', 'idempotency-key': key },
        body: JSON.stringify(body),
        signal: ended.signal,
      });
      const result = await answer.json();
      if (answer.ok) return result;
      if (!result.retryable || attempt === 20) throw new Error(`${method} ${path}: ${answer.status} ${result.detail}`);
      await sleep(100 * attempt);
    }
  };
}
