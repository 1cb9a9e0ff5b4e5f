/** All that this example needs of a client: requests that are repeated while that makes sense. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { authorization, checkReady } from '../server.mjs';
import { POOL } from './board.mjs';

const ATTEMPTS = 8;

export function connect(url) {
  const pool = `${url}/v1/pools/${POOL}`;

  return {
    pool,

    ready: () => checkReady(url),

    /** A request about the pool. A refusal is thrown with the `problem` that the server answered. */
    call: (method, path, { body, headers, attempts = ATTEMPTS } = {}) =>
      send(method, pool + path, body, headers, attempts),
  };
}

/** Repeats a request that got no answer, and one whose refusal says `retryable`. The key makes the repetition harmless. */
async function send(method, address, body, headers, attempts) {
  const request = {
    method,
    headers: {
      ...authorization,
      ...(method === 'POST' && { 'idempotency-key': randomUUID() }),
      ...(body && { 'content-type': 'application/json' }),
      ...headers,
    },
    body: body && JSON.stringify(body),
  };
  for (let attempt = 1; ; attempt++) {
    let failure;
    try {
      const response = await fetch(address, request);
      const answer = await response.json();
      if (response.ok) return answer;
      const words = `${method} ${address}: ${answer.status} ${answer.code}: ${answer.detail}`;
      failure = Object.assign(new Error(words), { problem: answer });
    } catch (error) {
      failure = new Error(`${method} ${address}: ${error.cause?.code ?? error.message}`);
    }
    if (attempt >= attempts || failure.problem?.retryable === false) throw failure;
    await sleep(100 * 2 ** attempt);
  }
}
