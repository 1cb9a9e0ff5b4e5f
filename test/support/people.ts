/**
 * People whom policy binds, for tests: a server that requires authentication, and for each name an API key that acts as an account,
 * made by the operator. How one logs in otherwise is tested elsewhere.
 */
import { randomUUID } from 'node:crypto';
import { jws, type Members, type TestKey } from './keys.js';
import type { Answer, Headers, Scenario } from './scenario.js';
import { type DatabaseName, type Server, startServer } from './server.js';

export const OPERATOR_KEY = 'operator-key-of-the-tests-0123456789';
export const asOperator: Headers = { authorization: `Bearer ${OPERATOR_KEY}` };

export function startStrictServer(database: DatabaseName, env: Record<string, string> = {}): Promise<Server> {
  return startServer({
    database,
    env: {
      STARGUS_AUTH: 'required',
      STARGUS_OPERATOR_KEY: OPERATOR_KEY,
      STARGUS_RATE_READS: '0',
      STARGUS_RATE_WRITES: '0',
      STARGUS_RATE_STREAMS: '0',
      STARGUS_AUDIT: '0s',
      ...env,
    },
  });
}

/** Logs an account in by one of its keys, and answers what was answered. */
export async function login(
  scenario: Scenario,
  account: string,
  key: TestKey,
  { claims = {}, body = {}, headers = {} }: { claims?: Members; body?: object; headers?: Headers } = {},
): Promise<{ accessToken: string; refreshToken: string }> {
  const { nonce, audience } = (await scenario.calls(['POST /v1/auth/challenges', {}, headers])).body;
  const iat = Math.floor(Date.now() / 1000);
  const own = { iss: account, sub: account, aud: audience, nonce, jti: randomUUID(), iat, exp: iat + 30 };
  const assertion = await jws(key, { typ: 'stargus-login+jwt' }, { ...own, ...claims });
  const grantType = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
  return (await scenario.calls(['POST /v1/auth/token', { grantType, assertion, ...body }, headers])).body;
}

/** The account of a name. */
export const accountOf = (name: string): string => `https://people.example/${name}`;

/** What makes a request be somebody's, by their name. */
export class People {
  readonly #headers = new Map<string, Headers>([['operator', asOperator]]);

  constructor(private readonly scenario: Scenario) {}

  async as(name: string, headers: Headers = {}): Promise<Headers> {
    let own = this.#headers.get(name);
    if (!own) {
      const key = { name, subject: accountOf(name) };
      const { body } = await this.scenario.calls(['POST /v1/auth/keys', key, asOperator]);
      own = { authorization: `Bearer ${body.secret}` };
      this.#headers.set(name, own);
    }
    return { ...own, ...headers };
  }

  /** Sends a request as somebody. */
  async call(name: string, line: string, body?: unknown, headers?: Headers): Promise<Answer> {
    return this.scenario.call(line, body, await this.as(name, headers));
  }
}
