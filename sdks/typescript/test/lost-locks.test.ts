/** Locks where answers, news and connections are lost or late: nobody waits for ever, and nothing stays locked that nobody holds. */
import type { ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import type { Client, ConnectOptions } from '../src/library.js';
import { clientOf, type Event, json, send, soon, stream } from './fake-server.js';

type Asked = { readonly key: string; readonly answer: (body: unknown, status?: number) => void };

interface Told {
  /** How often the question was asked what became of a lock. */
  looks: number;
  /** Each attempt at giving one back. */
  readonly givenBack: string[];
  readonly asked: Asked[];
  /** What the next attempts at giving back are answered; then they are done. */
  readonly refusals: number[];
  news?: ServerResponse;
}

/** A client whose server answers requests for locks when it is told to, and has a stream of news unless `isDeaf`. */
async function clientWith({ isDeaf = false, ...options }: ConnectOptions & { isDeaf?: boolean } = {}) {
  const told: Told = { looks: 0, givenBack: [], asked: [], refusals: [] };
  const client: Client = await clientOf((incoming, outgoing) => {
    const { method, url = '' } = incoming;
    if (method === 'POST' && url.endsWith('/sessions')) json(outgoing, { session: 's', epoch: 1, ttlMs: 60_000 }, 201);
    else if (url.includes('/events') && isDeaf) json(outgoing, { code: 'unavailable', retryable: true }, 503);
    else if (url.includes('/events')) {
      told.news = outgoing;
      stream(outgoing, ['hello', {}], ['live', { revision: 1 }, 'e-1']);
    } else if (method === 'POST' && url.endsWith('/locks')) {
      const key = String(incoming.headers['idempotency-key']);
      told.asked.push({ key, answer: (body, status) => json(outgoing, body, status) });
    } else if (method === 'DELETE' && url.includes('/locks/')) {
      told.givenBack.push(url.split('/').at(-1) as string);
      const status = told.refusals.shift();
      if (status === undefined) json(outgoing, { existed: true });
      else json(outgoing, { code: 'unavailable', retryable: true }, status);
    } else if (url.includes('/locks/')) {
      told.looks++;
      json(outgoing, { lock: 'l', state: 'waiting' });
    } else json(outgoing, {});
  }, options);
  const tell = (event: Event) => send(told.news as ServerResponse, event);
  return { client, told, tell };
}

const SCOPE = { collection: 'c' };

test('one that is given up before its request is answered is given back, whoever got it', async () => {
  const { client, told } = await clientWith();
  const giveUp = new AbortController();
  const lock = client.lock(SCOPE, { signal: giveUp.signal });
  await soon(() => told.asked.length).toBe(1);
  giveUp.abort(new Error('no longer wanted'));
  await expect(lock).rejects.toThrow('no longer wanted');
  await soon(() => told.asked.length).toBe(2);
  // The same, so that there are never two.
  expect(told.asked[1]?.key).toBe(told.asked[0]?.key);
  told.asked[1]?.answer({ lock: 'l', state: 'granted', fence: 3 }, 201);
  await soon(() => told.givenBack).toEqual(['l']);
});

test('one that is given up while the session for it is begun is left at once', async () => {
  const client = await clientOf(() => {});
  await expect(client.lock(SCOPE, { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({ name: 'TimeoutError' });
});

test('one that can’t be given back at once is given back when that can be done', async () => {
  const problems: unknown[] = [];
  const { client, told } = await clientWith({ retryForMs: 0, onProblem: (error) => problems.push(error) });
  const lock = client.lock(SCOPE);
  await soon(() => told.asked.length).toBe(1);
  told.asked[0]?.answer({ lock: 'l', state: 'granted', fence: 3 }, 201);
  const held = await lock;
  told.refusals.push(503, 503);
  await held.release();
  expect(problems).toMatchObject([{ code: 'unavailable' }]);
  await soon(() => told.givenBack).toEqual(['l', 'l', 'l']);
  await client.close();
});

test('news that it was granted is not forgotten for those that others contend for it', async () => {
  const { client, told, tell } = await clientWith();
  const lock = client.lock(SCOPE, { waitMs: 60_000 });
  await soon(() => told.asked.length).toBe(1);
  await soon(() => told.news).toBeDefined();
  tell(['lock', { lock: 'l', type: 'granted', fence: 7 }, 'e-2']);
  tell(['lock', { lock: 'l', type: 'contended', by: 'other' }, 'e-3']);
  await new Promise((resolve) => setTimeout(resolve, 100));
  told.asked[0]?.answer({ lock: 'l', state: 'waiting' }, 202);
  expect(await lock).toMatchObject({ fence: 7 });
});

test.each([false, true])('a wait of which nothing is heard any more ends by itself (deaf: %s)', async (isDeaf) => {
  const { client, told } = await clientWith({ isDeaf });
  const lock = client.lock(SCOPE, { waitMs: 100 });
  await soon(() => told.asked.length).toBe(1);
  const started = performance.now();
  told.asked[0]?.answer({ lock: 'l', state: 'waiting' }, 202);
  await expect(lock).rejects.toMatchObject({ code: 'lockConflict' });
  expect(performance.now() - started).toBeLessThan(15_000);
  await soon(() => told.givenBack).toEqual(['l']);
  // The server holds each question as long as it was asked to; this one doesn't.
  if (!isDeaf) expect(told.looks).toBeLessThan(3);
});

test('one whose session ended while it was asked for is nobody’s', async () => {
  const { client, told, tell } = await clientWith();
  const lock = client.lock(SCOPE);
  await soon(() => told.asked.length).toBe(1);
  await soon(() => told.news).toBeDefined();
  tell(['bye', { reason: 'deleted', retryMs: 0 }]);
  await soon(() => client.activity.sessions).toBe(0);
  told.asked[0]?.answer({ lock: 'l', state: 'granted', fence: 3 }, 201);
  await expect(lock).rejects.toMatchObject({ code: 'lockLost' });
});
