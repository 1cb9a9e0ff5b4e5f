/**
 * Servers for the tests of the client, as all tests have them. `STARGUS_TEST_URL` names an open one, and `STARGUS_TEST_REQUIRED_URL` with `STARGUS_TEST_OPERATOR_KEY`
 * one that wants to know who asks; without them, and where a test needs settings of its own, the built one is started.
 */
import { randomBytes } from 'node:crypto';
import { startServer as start } from '../../../test/support/server.js';

export interface Server {
  readonly url: string;
  stop(): Promise<unknown>;
}

/** A name that nobody else uses. */
export function newPool(): string {
  return `t${randomBytes(6).toString('hex')}`;
}

export async function openServer(): Promise<Server> {
  const url = process.env.STARGUS_TEST_URL;
  return url ? { url, stop: async () => {} } : startServer();
}

export function startServer(env: Record<string, string> = {}): Promise<Server> {
  return start({ database: 'sqlite', env });
}
