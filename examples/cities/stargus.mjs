/** All that this example needs of a client: requests that are repeated while that makes sense. */
import { setTimeout as sleep } from 'node:timers/promises';
import { authorization, checkReady } from '../server.mjs';
import { COLLECTION, POOL } from './cities.mjs';

const ATTEMPTS = 8;

export function connect(url) {
  const pool = `${url}/v1/pools/${POOL}`;
  const collection = `${pool}/collections/${COLLECTION}`;

  return {
    ready: () => checkReady(url),

    /** Operations as one commit. The key makes a repetition harmless: it gets the answer of the first. */
    batch(ops, idempotencyKey) {
      return send(`${pool}/batch`, 'POST', { ops }, { 'idempotency-key': idempotencyKey });
    },

    listItems: (query) => send(`${collection}/items?${query}`, 'GET'),

    /** A response whose body is a stream of Server-Sent Events. */
    async attach(query, signal) {
      const response = await fetch(`${collection}/attach?${query}`, { headers: authorization, signal });
      if (!response.ok) throw new Error(`The server refused the attachment: ${await response.text()}`);
      return response;
    },
  };
}

/** Repeats a request that got no answer, and one whose refusal says `retryable`; any other refusal is an error. */
async function send(url, method, body, headers = {}) {
  const request = {
    method,
    headers: { ...authorization, ...headers, ...(body && { 'content-type': 'application/json' }) },
    body: body && JSON.stringify(body),
  };
  for (let attempt = 1; ; attempt++) {
    let failure;
    let waitMs = 100 * 2 ** attempt;
    try {
      const response = await fetch(url, request);
      const answer = await response.json();
      if (response.ok) return answer;
      failure = new Error(`${method} ${url}: ${answer.status} ${answer.code}: ${answer.detail}`);
      if (!answer.retryable) attempt = ATTEMPTS;
      waitMs = Math.max(waitMs, 1000 * Number(response.headers.get('retry-after') ?? 0));
    } catch (error) {
      failure = new Error(`${method} ${url}: ${error.cause?.code ?? error.message}`);
    }
    if (attempt >= ATTEMPTS) throw failure;
    await sleep(waitMs);
  }
}
