/** All that this example needs of a client. */
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { createInterface } from 'node:readline';
import { authorization, checkReady } from '../server.mjs';
import { COLLECTION, POOL } from './flights.mjs';

export function connect(url) {
  const pool = `${url}/v1/pools/${POOL}`;
  const collection = `${pool}/collections/${COLLECTION}`;

  return {
    pool,
    collection,

    ready: () => checkReady(url),

    /** What the data dictionary says of the collection. */
    describe: (entry) => send('PUT', `${pool}/collections/_dictionary/items/${COLLECTION}`, entry),
    query: (question) => send('POST', `${collection}/query`, question),
    merge: (itemKey, attributes) => send('PATCH', `${collection}/items/${itemKey}`, { attributes }),
    indexes: async () => (await send('GET', collection)).indexes,

    /**
     * Sends lines and tells each line of the answer, both at the same time: progress comes while there is more to send.
     * Ends when the answer does.
     */
    async import(lines, skip, tell) {
      const address = `${pool}/import?skip=${skip}`;
      const send = address.startsWith('https:') ? httpsRequest : httpRequest;
      const headers = { ...authorization, 'content-type': 'application/x-ndjson' };
      await new Promise((resolve, reject) => {
        const outgoing = send(address, { method: 'POST', headers }, async (response) => {
          try {
            for await (const line of createInterface({ input: response })) tell(JSON.parse(line));
            resolve();
          } catch (error) {
            reject(error);
          }
        });
        outgoing.once('error', reject);
        lines.pipe(outgoing);
      });
    },
  };
}

/** A refusal is thrown as the problem that the server answered. */
async function send(method, address, body) {
  const response = await fetch(address, {
    method,
    headers: { ...authorization, ...(body && { 'content-type': 'application/json' }) },
    body: body && JSON.stringify(body),
  });
  const answer = await response.json();
  if (response.ok) return answer;
  throw Object.assign(new Error(`${method} ${address}: ${answer.status} ${answer.code}: ${answer.detail}`), {
    problem: answer,
  });
}
