// Imports and exports of a Stargus server, for suites that fill a collection or measure just this.
import { once } from 'node:events';
import http from 'node:http';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';

export const pool = 'bench';
const linesAtOnce = 500;

export const keyOf = (n) => `k${String(n).padStart(14, '0')}`;

export async function send(target, method, path, body, headers = {}) {
  const response = await fetch(`http://${target.address}/v1/pools/${pool}${path}`, {
    method,
    headers: { ...(body && { 'content-type': 'application/json' }), ...headers },
    body: body && JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${method} ${path}: ${answer.status} ${answer.detail}`);
  return answer;
}

// What the data dictionary says of a collection.
export const describe = (target, collection, attributes) =>
  send(target, 'PUT', `/collections/_dictionary/items/${collection}`, { attributes });

// Imports items 0 to count - 1, whose attributes attributesOf(n) gives as JSON. Gives items a second.
export async function importItems(target, collection, count, attributesOf) {
  const startedAt = performance.now();
  const request = http.request(`http://${target.address}/v1/pools/${pool}/import`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-ndjson' },
  });
  Readable.from(lines(collection, count, attributesOf)).pipe(request);
  const [response] = await once(request, 'response');
  let end;
  for await (const line of createInterface({ input: response })) {
    const told = JSON.parse(line);
    if (told.problem) throw new Error(`import, line ${told.line}: ${told.problem.detail}`);
    if (told.done) end = told;
  }
  if (end?.lines !== count) throw new Error(`The import of ${count} lines ended with ${JSON.stringify(end)}`);
  return perSecond(count, startedAt);
}

// Reads an export of the collection to its end. Gives items a second.
export async function exportItems(target, collection) {
  const startedAt = performance.now();
  const [response] = await once(
    http.get(`http://${target.address}/v1/pools/${pool}/export?collection=${collection}`),
    'response',
  );
  let count = 0;
  for await (const chunk of response) for (const byte of chunk) if (byte === 10) count++;
  if (!response.complete || response.statusCode !== 200) throw new Error('The export was cut');
  return { count, rate: perSecond(count, startedAt) };
}

export const perSecond = (count, startedAt) => (count * 1000) / (performance.now() - startedAt);

function* lines(collection, count, attributesOf) {
  const begin = `{"collection":"${collection}","key":"`;
  for (let first = 0; first < count; first += linesAtOnce) {
    let text = '';
    const end = Math.min(count, first + linesAtOnce);
    for (let n = first; n < end; n++) text += `${begin}${keyOf(n)}","attributes":${attributesOf(n)}}\n`;
    yield text;
  }
}
