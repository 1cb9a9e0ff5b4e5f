/**
 * What tests of logging in need: accounts whose keys are in a table of the test's own, a server in this process that finds them there, and
 * signed texts that may be as wrong as a test wants them. Keys sign through node:crypto, so that nothing corrects what is made here.
 */
import { constants, createHash, generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll } from 'vitest';
import { ACTIONS } from '../../src/engine/access/grant.js';
import type { AccountKey, KeySource, PublicJwk } from '../../src/engine/access/keys.js';
import type { Answer, Headers, Scenario } from './scenario.js';
import { createDatabase, type DatabaseName, type Server } from './server.js';

const ROOT = path.resolve(import.meta.dirname, '../..');
const built = <T>(file: string): Promise<T> => import(pathToFileURL(path.join(ROOT, 'dist/src', file)).href);

export type KeyKind = 'Ed25519' | 'P-256' | 'RSA';
const ALGORITHMS = { Ed25519: 'EdDSA', 'P-256': 'ES256', RSA: 'PS256' } as const;

export interface TestKey extends AccountKey {
  readonly kind: KeyKind;
  readonly privateKey: KeyObject;
}

export function newKey(kind: KeyKind = 'Ed25519', bits = 2048): TestKey {
  const { privateKey, publicKey } =
    kind === 'Ed25519'
      ? generateKeyPairSync('ed25519')
      : kind === 'P-256'
        ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
        : generateKeyPairSync('rsa', { modulusLength: bits });
  const jwk = publicKey.export({ format: 'jwk' }) as unknown as PublicJwk;
  return { kind, privateKey, jwk, kid: thumbprintOf(jwk), algorithm: ALGORITHMS[kind] };
}

/** RFC 7638, by hand. */
function thumbprintOf(jwk: PublicJwk): string {
  const members = { OKP: ['crv', 'kty', 'x'], EC: ['crv', 'kty', 'x', 'y'], RSA: ['e', 'kty', 'n'] }[
    jwk.kty
  ] as string[];
  const canonical = JSON.stringify(Object.fromEntries(members.map((member) => [member, jwk[member]])));
  return createHash('sha256').update(canonical).digest('base64url');
}

export function rawSignature(key: TestKey, input: string): Buffer {
  const data = Buffer.from(input);
  if (key.kind === 'Ed25519') return sign(null, data, key.privateKey);
  if (key.kind === 'P-256') return sign('sha256', data, { key: key.privateKey, dsaEncoding: 'ieee-p1363' });
  return sign('sha256', data, { key: key.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 });
}

export const base64 = (value: object | string): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** A compact JWS of exactly these parts; `signature` is made by the key unless it is given. */
export function signed(header: object | string, claims: object | string, key: TestKey, signature?: Buffer): string {
  const input = `${base64(header)}.${base64(claims)}`;
  return `${input}.${(signature ?? rawSignature(key, input)).toString('base64url')}`;
}

/** Accounts with their keys, as identities would have them. */
export class AccountTable implements KeySource {
  readonly #keys = new Map<string, AccountKey>();

  add(account: string, key: AccountKey): void {
    this.#keys.set(`${account} ${key.kid}`, key);
  }

  remove(account: string, key: AccountKey): void {
    this.#keys.delete(`${account} ${key.kid}`);
  }

  async keyOf(account: string, kid: string): Promise<AccountKey | undefined> {
    return this.#keys.get(`${account} ${kid}`);
  }

  settle(account: string, kid: string): Promise<AccountKey | undefined> {
    return this.keyOf(account, kid);
  }
}

export const OPERATOR_KEY = 'operator-key-of-the-tests-0123456789';
export const asOperator: Headers = { authorization: `Bearer ${OPERATOR_KEY}` };

/** A server of this process that requires authentication, with the accounts of the table. */
export async function startLoginServer(
  accounts: AccountTable,
  database: DatabaseName,
  { databaseUrl, env = {} }: { databaseUrl?: string; env?: Record<string, string> } = {},
): Promise<Server> {
  const { serve } = await built<typeof import('../../src/wiring.js')>('wiring.js');
  const { readConfig } = await built<typeof import('../../src/platform/config.js')>('platform/config.js');
  const url = databaseUrl ?? (await createDatabase(database));
  const { config } = readConfig({
    STARGUS_PORT: '0',
    STARGUS_DATABASE_URL: url,
    STARGUS_AUTH: 'required',
    STARGUS_OPERATOR_KEY: OPERATOR_KEY,
    STARGUS_LOG_LEVEL: 'warn',
    ...env,
  });
  const running = await serve(config, { keys: accounts });
  const stop = async () => {
    stops.delete(stop);
    const started = performance.now();
    await running.stop();
    return { code: 0, ms: performance.now() - started };
  };
  stops.add(stop);
  const kill = async () => void (await stop());
  return { url: running.url, pid: process.pid, databaseUrl: url, stop, kill, output: () => '' };
}

/** Lets everybody do everything in the scenario's pool: for tests of who one is, not of what one may. */
export async function admitAll(scenario: Scenario): Promise<void> {
  const rules = [{ effect: 'allow', actions: [...ACTIONS], who: { anyone: true }, collections: ['*'] }];
  await scenario.calls(['PUT P/collections/_policies/items/all', { attributes: { rules } }, asOperator]);
}

const stops = new Set<() => Promise<unknown>>();
afterAll(async () => {
  for (const stop of [...stops]) await stop();
});

export const seconds = (): number => Math.floor(Date.now() / 1000);

/** An account with one key. */
export class Account {
  readonly url = `https://people.example/${randomUUID()}`;

  constructor(
    readonly accounts: AccountTable,
    readonly key: TestKey = newKey(),
  ) {
    accounts.add(this.url, key);
  }

  async claims(scenario: Scenario, more: object = {}): Promise<Record<string, unknown>> {
    const { nonce, audience } = (await scenario.calls(['POST /v1/auth/challenges', {}])).body;
    const iat = seconds();
    return { iss: this.url, sub: this.url, aud: audience, nonce, jti: randomUUID(), iat, exp: iat + 30, ...more };
  }

  get header(): Record<string, unknown> {
    return { typ: 'stargus-login+jwt', alg: this.key.algorithm, kid: this.key.kid };
  }

  async assertion(scenario: Scenario, more: object = {}): Promise<string> {
    return signed(this.header, await this.claims(scenario, more), this.key);
  }

  /** Logs in, and answers what was answered. */
  async login(scenario: Scenario, more: { claims?: object; body?: object; headers?: Headers } = {}): Promise<Answer> {
    const body = { ...tokenRequest(await this.assertion(scenario, more.claims)), ...more.body };
    return scenario.call('POST /v1/auth/token', body, more.headers);
  }

  /** Logs in, and answers the header by which the account speaks from then on. */
  async headers(scenario: Scenario): Promise<{ authorization: string }> {
    const { status, body, text } = await this.login(scenario);
    if (status !== 200) throw new Error(text);
    return { authorization: `Bearer ${body.accessToken}` };
  }
}

export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
export const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token';
export const DELEGATION_TYPE = 'urn:stargus:params:oauth:token-type:delegation';

export const tokenRequest = (assertion: string) => ({ grantType: JWT_BEARER, assertion });
export const refreshRequest = (refreshToken: string) => ({ grantType: 'refresh_token', refreshToken });
export const exchangeRequest = (subjectToken: string, more: object = {}) => ({
  grantType: TOKEN_EXCHANGE,
  subjectToken,
  subjectTokenType: ACCESS_TOKEN_TYPE,
  ...more,
});

/** A proof of possession for a request to the server. */
export function proofOf(
  key: TestKey,
  server: Server,
  line: string,
  { token, header = {}, claims = {} }: { token?: string; header?: object; claims?: object } = {},
): string {
  const [method, target] = line.split(' ') as [string, string];
  const ath = token === undefined ? {} : { ath: createHash('sha256').update(token).digest('base64url') };
  return signed(
    { typ: 'dpop+jwt', alg: key.algorithm, jwk: key.jwk, ...header },
    {
      jti: randomUUID(),
      htm: method,
      htu: server.url + target.replace(/\?.*$/, ''),
      iat: seconds(),
      ...ath,
      ...claims,
    },
    key,
  );
}
