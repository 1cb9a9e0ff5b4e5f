/** Writes that are done later, for tests: sent with `Prefer: respond-async`, and waited for. */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect } from 'vitest';
import type { Answer, Headers, Scenario } from './scenario.js';

export const ASYNC: Headers = { prefer: 'respond-async' };

/** Sends a write that must be accepted, and answers the path of its operation. */
export async function accepted(
  scenario: Scenario,
  line: string,
  body?: unknown,
  headers: Headers = {},
): Promise<string> {
  const prefer = headers.prefer === undefined ? ASYNC.prefer : `${ASYNC.prefer}, ${headers.prefer}`;
  const answer = await scenario.call(line, body, { ...headers, prefer: prefer as string });
  expectAccepted(scenario, answer);
  return answer.headers.location as string;
}

export function expectAccepted(scenario: Scenario, answer: Answer): void {
  expect(answer.status, answer.text).toBe(202);
  const { operation, status, location } = answer.body;
  expect(answer.headers).toMatchObject({
    location: `/v1/pools/${scenario.pool}/operations/${operation}`,
    'preference-applied': 'respond-async',
  });
  expect(location).toBe(answer.headers.location);
  expect(['waiting', 'running', 'done']).toContain(status);
  if (status !== 'done') expect(answer.headers['retry-after']).toBe('1');
}

/** What the operation came to; waits for it as long as a test does. */
export async function resultOf(scenario: Scenario, path: string, headers?: Headers) {
  for (let attempts = 0; attempts < 10; attempts++) {
    const answer = await scenario.call(`GET ${path}?waitMs=5000`, undefined, headers);
    expect(answer.status, answer.text).toBe(200);
    if (answer.body.status === 'done') return answer.body.result;
  }
  throw new Error(`The operation ${path} was never done`);
}

/** A write that is accepted, and what it came to. */
export async function later(scenario: Scenario, line: string, body?: unknown, headers?: Headers) {
  return resultOf(scenario, await accepted(scenario, line, body, headers), authorizationOf(headers));
}

function authorizationOf(headers: Headers | undefined): Headers | undefined {
  return headers?.authorization === undefined ? undefined : { authorization: headers.authorization };
}

/**
 * Holds back those who do operations of a pool, at servers of this process (`startLoginServer`), until what it answers is called: so
 * a test may do something between an operation's being accepted and its being done.
 */
export async function hold({ pool }: Scenario): Promise<() => void> {
  const file = pathToFileURL(path.resolve(import.meta.dirname, '../../dist/src/store/operations.js')).href;
  const { SqlOperations } = (await import(file)) as typeof import('../../src/store/operations.js');
  const { claim } = SqlOperations.prototype;
  let release: () => void = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  SqlOperations.prototype.claim = async function (...args: Parameters<typeof claim>) {
    if (args[0] === pool) await released;
    return claim.apply(this, args);
  };
  return release;
}
