// The TypeScript client in Node, measured: PUTs of 16 callers beside raw HTTP, or a mirror. Prints a line of JSON. See suites/clients.mjs.
import http from 'node:http';
import { connect } from '../../sdks/typescript/dist/stargus.node.js';

const [mode, url, pool, ...rest] = process.argv.slice(2);
const CALLERS = 16;
const attributes = (n) => ({ n, text: 'x'.repeat(180) });

process.stdout.write(`${JSON.stringify(mode === 'puts' ? await puts(Number(rest[0])) : await mirror(...rest))}\n`);

async function puts(seconds) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: CALLERS });
  const raw = await rate(seconds, (caller, n) => putRaw(agent, `raw${caller}-${n % 100}`, n));
  agent.destroy();
  const client = await connect(url, pool);
  const own = await rate(seconds, (caller, n) => client.set('puts', `own${caller}-${n % 100}`, attributes(n)));
  await client.close();
  return { rawPerSecond: raw, clientPerSecond: own };
}

async function rate(seconds, put) {
  const end = performance.now() + seconds * 1000;
  const begun = performance.now();
  let done = 0;
  const call = async (caller) => {
    for (let n = 0; performance.now() < end; n++, done++) await put(caller, n);
  };
  await Promise.all(Array.from({ length: CALLERS }, (_, caller) => call(caller)));
  return (done * 1000) / (performance.now() - begun);
}

function putRaw(agent, key, n) {
  const body = JSON.stringify({ attributes: attributes(n) });
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  return new Promise((resolve, reject) => {
    const request = http.request(
      `${url}/v1/pools/${pool}/collections/puts/items/${key}`,
      { method: 'PUT', agent, headers },
      (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (chunk) => {
          text += chunk;
        });
        answer.on('end', () => (answer.statusCode < 300 ? resolve(JSON.parse(text)) : reject(new Error(text))));
      },
    );
    request.on('error', reject).end(body);
  });
}

async function mirror(collection, cache) {
  const client = await connect(url, pool);
  globalThis.gc?.();
  const before = process.memoryUsage().rss;
  const begun = performance.now();
  const copy = client.attach(collection, cache ? { cache } : {});
  let shownMs;
  const looking = setInterval(() => {
    if (copy.size > 0) shownMs ??= performance.now() - begun;
  }, 1);
  await copy.ready;
  const readyMs = performance.now() - begun;
  clearInterval(looking);
  globalThis.gc?.();
  const memoryMb = (process.memoryUsage().rss - before) / 1e6;
  const items = copy.size;
  await client.close();
  return { shownMs: shownMs ?? readyMs, readyMs, items, memoryMb };
}
