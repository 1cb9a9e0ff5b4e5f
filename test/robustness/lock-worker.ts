/**
 * A client that counts items up under locks, in a process of its own so that it can be stopped and killed anywhere. It goes
 * round: a lock on one of the items, read, add one, write with the lock's fence as proof, give the lock back; sometimes it
 * sleeps beyond its lease instead, as one that was paused would, and tries its luck. What it does it writes down first.
 *
 * Node runs this file as it is, without its types: so it imports nothing but types.
 */
import { appendFileSync, readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { Step } from './exclusion.js';

export interface WorkerOptions {
  /** Of its session: the next process of the same name resumes it. */
  readonly name: string;
  /** Of this process, the first part of its tokens. */
  readonly process: string;
  /** The file that tells where to ask. */
  readonly places: string;
  /** The file of its steps. */
  readonly history: string;
  readonly pool: string;
  readonly collection: string;
  readonly items: readonly string[];
  readonly ttlMs: number;
}

export interface Places {
  /** Asked in turn. */
  readonly urls: readonly string[];
  readonly over: boolean;
}

interface Grant {
  readonly item: string;
  readonly lock: string;
  readonly fence: number;
}

interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the server answered.
  readonly body: any;
}

/** Rounds in which a worker waits for an answer that doesn't come are cut so short that the other node is asked soon. */
const ANSWER_MS = 1_200;
/** None outlives a test that was killed. */
const LIFE_MS = 120_000;

const options = JSON.parse(process.argv[2] as string) as WorkerOptions;
const P = `/v1/pools/${options.pool}`;
let session: { session: string; epoch: number } | undefined;
let turn = 0;
let tokens = 0;

setTimeout(() => process.exit(1), LIFE_MS).unref();
await run().catch((error) => note({ step: 'failed', detail: String(error.stack) }));

async function run(): Promise<void> {
  while (!places().over) {
    if (session) await round(options.items[Math.floor(Math.random() * options.items.length)] as string);
    else await resume();
  }
  for (const { lock } of await ownLocks()) await release(lock);
}

async function round(item: string): Promise<void> {
  await pause(Math.random() * 40);
  const grant = await acquire(item);
  if (!grant) return;
  await increment(grant);
  if (Math.random() > 0.1) return release(grant.lock);
  await pause(options.ttlMs * 1.5);
  await increment(grant);
}

/** Goes on as the session's next process; of the locks that the one before had some are used and all are given back. */
async function resume(): Promise<void> {
  const answer = await call(`PUT ${P}/sessions/${options.name}`, { ttlMs: options.ttlMs });
  if (!answer) return;
  if (answer.status >= 300) throw unexpected('resuming', answer);
  session = { session: answer.body.session, epoch: answer.body.epoch };
  note({ step: 'session', ...session });
  for (const { lock, fence, scopes } of await ownLocks()) {
    if (fence !== undefined && Math.random() < 0.7) await increment({ lock, fence, item: scopes[0]?.key as string });
    await release(lock);
  }
}

async function ownLocks(): Promise<{ lock: string; fence?: number; scopes: { key: string }[] }[]> {
  const answer = session && (await named(`GET ${P}/locks?limit=1000`));
  return answer?.status === 200
    ? answer.body.locks.filter((lock: { session: string }) => lock.session === session?.session)
    : [];
}

/** Undefined: it wasn't granted, or nobody knows. A repetition finds the lock that the first request brought about. */
async function acquire(item: string): Promise<Grant | undefined> {
  const scopes = [{ collection: options.collection, key: item }];
  let answer = await named(`POST ${P}/locks`, { mode: 'exclusive', scopes, waitMs: 5_000, requestId: item });
  while (session && answer?.status !== 404 && answer?.body.state !== 'granted') {
    if (answer && answer.status >= 300) {
      if (answer.body.code !== 'deadlock') throw unexpected('asking', answer);
      // It still holds another item, for a release of it was not answered.
      for (const { lock } of await ownLocks()) await release(lock);
      return undefined;
    }
    answer = answer
      ? await named(`GET ${P}/locks/${answer.body.lock}?waitMs=300`)
      : await named(`POST ${P}/locks`, { mode: 'exclusive', scopes, waitMs: 5_000, requestId: item });
    if (places().over) return undefined;
  }
  if (!session || !answer || answer.status === 404) return undefined;
  const { lock, fence } = answer.body as Grant;
  note({ step: 'granted', item, lock, fence });
  return { item, lock, fence };
}

async function increment({ item, lock, fence }: Grant): Promise<void> {
  const path = `${P}/collections/${options.collection}/items/${item}`;
  const read = await call(`GET ${path}`);
  if (!read) return;
  const count = read.status === 404 ? 0 : read.body.attributes.count;
  note({ step: 'read', item, count });
  await pause(Math.random() * 50);
  const token = `${options.process}.${++tokens}`;
  const attributes = { count: count + 1, last: token };
  note({ step: 'write', token, item, count: count + 1, lock, fence });
  const ops = [{ op: 'put', collection: options.collection, key: item, attributes }];
  const answer =
    tokens % 2
      ? await call(`PUT ${path}`, { attributes }, { 'stargus-lock': `${lock};fence=${fence}` })
      : await call(`POST ${P}/batch`, { ops, locks: [{ lock, fence }] });
  if (!answer) note({ step: 'unanswered', token });
  else if (answer.status < 300) note({ step: 'written', token, revision: answer.body.revision });
  else note({ step: 'refused', token, status: answer.status, code: answer.body.code });
}

/** Until it is known to be given back: what is held while one waits for another may close a cycle. */
async function release(lock: string): Promise<void> {
  while (session) {
    const answer = await named(`DELETE ${P}/locks/${lock}`);
    if (answer && answer.status >= 300) throw unexpected('releasing', answer);
    if (answer || places().over) return;
  }
}

/** Asks in the name of the session, which is forgotten when it has ended or was resumed by another process. */
async function named(line: string, body?: object): Promise<Answer | undefined> {
  if (!session) return undefined;
  const header = { 'stargus-session': `${session.session};epoch=${session.epoch}` };
  const answer = await call(line, body, header);
  if (answer?.body.code !== 'sessionFenced') return answer;
  session = undefined;
  return undefined;
}

/** Undefined: it was not answered, or by an answer that leaves open what came of it. */
async function call(line: string, body?: object, headers: Record<string, string> = {}): Promise<Answer | undefined> {
  const [method, path] = line.split(' ') as [string, string];
  const { urls } = places();
  const url = `${urls[turn++ % urls.length]}${path}`;
  const json = body && { body: JSON.stringify(body) };
  const type = body && { 'content-type': 'application/json' };
  try {
    const signal = AbortSignal.timeout(ANSWER_MS);
    const response = await fetch(url, { method, ...json, headers: { ...type, ...headers }, signal });
    const answer = { status: response.status, body: await response.json() };
    if (answer.status < 500) return answer;
  } catch {
    // It is down, or hangs.
  }
  await pause(20);
  return undefined;
}

function places(): Places {
  return JSON.parse(readFileSync(options.places, 'utf8'));
}

function note(step: Step): void {
  appendFileSync(options.history, `${JSON.stringify({ ...step, at: new Date().toISOString() })}\n`);
}

function unexpected(what: string, { status, body }: Answer): Error {
  return new Error(`${what}: ${status} ${JSON.stringify(body)}`);
}
