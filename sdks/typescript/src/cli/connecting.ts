/** Connects as who one is: by the environment, or by what `stargus login` kept for the server. */
import { REQUEST_TIMEOUT_MS, RETRY_FOR_MS } from '../bounds.js';
import type { Client } from '../client.js';
import { systemClock } from '../clock.js';
import { type KeyLogin, keyOf } from '../credentials.js';
import { nodePlatform } from '../node/node-platform.js';
import { Pipeline } from '../pipeline.js';
import type { KeyFile } from '../platform.js';
import { connect } from '../stargus.node.js';
import { type Credential, credentialFor } from './credentials.js';

/** Of a lock that the command runs in (`stargus lock`). */
export function proofOfLock(): string | undefined {
  return process.env.STARGUS_LOCK || undefined;
}

/** Proves it with each write. */
function proving(): typeof fetch | undefined {
  const proof = proofOfLock();
  if (proof === undefined) return undefined;
  return (input, init = {}) => {
    const headers = new Headers(init.headers);
    if (init.method !== undefined && init.method !== 'GET' && !headers.has('stargus-lock'))
      headers.set('stargus-lock', proof);
    return fetch(input, { ...init, headers });
  };
}

export async function open(url: string, pool: string, signal: AbortSignal): Promise<Client> {
  const { STARGUS_API_KEY: apiKey, STARGUS_TOKEN: token } = process.env;
  const proven = proving();
  const client = await connect(url, pool, { signal, ...(proven && { fetch: proven }) });
  try {
    if (token) await client.authenticate({ token });
    else if (apiKey) await client.authenticate({ apiKey });
    else {
      const kept = credentialFor(url);
      if (kept) await client.authenticate(kept);
    }
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
}

/** Does something as somebody, without keeping it. */
export async function connectAs<T>(
  url: string,
  pool: string,
  credential: Credential,
  work: (client: Client, subject: string) => Promise<T>,
): Promise<T> {
  const client = await connect(url, pool);
  try {
    const { subject } = await client.authenticate(credential);
    return await work(client, subject);
  } finally {
    await client.close();
  }
}

/** Opens an account's envelope. @throws StargusError `loginFailed` */
export async function keyOfEnvelope(url: string, login: KeyLogin): Promise<KeyFile> {
  const pipeline = new Pipeline({
    url,
    transport: nodePlatform.transport(),
    requestTimeoutMs: REQUEST_TIMEOUT_MS,
    retryForMs: RETRY_FOR_MS,
    clock: systemClock,
  });
  try {
    return await keyOf(pipeline, login, { ...nodePlatform, audience: undefined });
  } finally {
    pipeline.close();
    pipeline.disconnect();
  }
}
