/** The client in Node against the real server. What all languages have in common is in sdks/conformance; here is what this one adds. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { calculateJwkThumbprint } from 'jose';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Client, ConnectOptions } from '../src/library.js';
import { at, KEY, ops, StargusError, where } from '../src/library.js';
import { readKeyFile } from '../src/node/node.js';
import { connect } from '../src/stargus.node.js';
import { newPool, openServer, type Server, startServer } from './server.js';

describe('a client', { timeout: 60_000 }, () => {
  let server: Server;
  let pool: string;
  const opened: Client[] = [];

  async function client(options: ConnectOptions = {}): Promise<Client> {
    const made = await connect(server.url, pool, { retryForMs: 2_000, ...options });
    opened.push(made);
    return made;
  }

  beforeAll(async () => {
    server = await openServer();
  });
  afterAll(() => server.stop());
  beforeEach(() => {
    pool = newPool();
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((each) => each.close()));
  });

  test('ten lines', async () => {
    await using stargus = await connect(server.url, pool);
    await using rooms = stargus.attach('rooms', { where: where.eq('light', 'on') });
    await rooms.ready;
    const heard: string[] = [];
    rooms.onChange(({ op, key, reason }) => heard.push(`${op} ${key} ${reason ?? ''}`.trim()));
    const { revision } = await stargus.set('rooms', 'hall', { light: 'on', celsius: 21 });
    await rooms.reached(revision);
    expect(rooms.get('hall')?.attributes.celsius).toBe(21);
    await stargus.merge('rooms', 'hall', { light: 'off' });
    await rooms.reached(revision + 1);
    expect([...rooms.keys()]).toEqual([]);
    expect(heard).toEqual(['add hall', 'delete hall left']);
  });

  test('everything that a batch can do, and a query over pages', async () => {
    const c = await client();
    await c.batch([
      ops.put('n', 'a', { n: 1, list: [1, 2, 1], gone: true }),
      ops.merge('n', 'b', { at: { floor: 2 } }),
      ops.create('n', { n: 3 }, 'c'),
    ]);
    const { results } = await c.batch(
      [
        ops.unset('n', 'a', ['gone']),
        ops.increment('n', 'a', 'n', 5, { max: 10 }),
        ops.append('n', 'a', 'list', 3),
        ops.remove('n', 'a', 'list', 1),
        ops.delete('n', 'c'),
      ],
      { conditions: [{ collection: 'n', key: 'a', where: { n: 1 } }] },
    );
    expect(results.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    expect((await c.get('n', 'a'))?.attributes).toEqual({ n: 6, list: [2, 3] });
    expect((await c.get('n', 'a', { fields: ['n'] }))?.attributes).toEqual({ n: 6 });
    const found = c.query('n', {
      where: where.or(where.gt('n', 5), where.eq(at('at', 'floor'), 2)),
      order: ['-/@key'],
      limit: 1,
    });
    expect((await found.toArray()).map(({ key }) => key)).toEqual(['b', 'a']);
    // It may be gone through again.
    const keys: string[] = [];
    for await (const { key } of found) {
      keys.push(key);
      break;
    }
    expect(keys).toEqual(['b']);
    expect(await c.count('n', where.prefix(KEY, 'a'))).toBe(1);
    expect(await c.delete('n', 'none')).toBe(false);
    const made = await c.create('n', { n: 0 });
    await expect(c.create('n', {}, made.key)).rejects.toMatchObject({ code: 'conflict', status: 409 });
  });

  test('by a fetch that was given, as by its own connections', async () => {
    let asked = 0;
    const c = await client({
      fetch: (input, init) => {
        asked++;
        return fetch(input, init);
      },
    });
    const rooms = c.attach('rooms');
    await rooms.ready;
    const item = await rooms.set('hall', { n: 1 });
    await rooms.reached(item?.revision ?? 0);
    await c.withLock({ collection: 'rooms' }, async (held) => {
      expect(await held.increment('rooms', 'hall', 'n')).toBe(2);
    });
    expect((await c.api.items.getItem({ pool, collection: 'rooms', key: 'hall' })).attributes).toEqual({ n: 2 });
    await expect(c.api.items.getItem({ pool, collection: 'rooms', key: 'none' })).rejects.toMatchObject({
      code: 'notFound',
      status: 404,
    });
    expect(asked).toBeGreaterThan(5);
  });

  test('the generated layer exports as a stream, and what it refuses is told alike', async () => {
    const c = await client();
    await c.batch(Array.from({ length: 50 }, (_, n) => ops.put('n', `k${n}`, { n })));
    const { raw } = await c.api.transfer.exportItemsRaw({ pool });
    expect((await raw.text()).trim().split('\n').length).toBeGreaterThanOrEqual(50);
    await expect(
      c.api.items.putItem({ pool, collection: '..', key: 'x', itemContent: { attributes: {} } }),
    ).rejects.toMatchObject({
      code: 'invalidName',
    });
  });

  test('a lock that is lost cancels what runs under it, and is told by withLock', async () => {
    const c = await client();
    const other = await client();
    let seen: unknown;
    const running = c.withLock({ collection: 'rooms', key: 'hall' }, async (held) => {
      await other.api.locks.breakLock({ pool, lock: held.lock });
      await new Promise<void>((resolve) => held.signal.addEventListener('abort', () => resolve()));
      seen = held.signal.reason;
      await expect(held.set('rooms', 'hall', { n: 1 })).rejects.toMatchObject({ code: 'lockLost', status: 412 });
      return 'done';
    });
    await expect(running).rejects.toMatchObject({ code: 'lockLost' });
    expect(seen).toBeInstanceOf(StargusError);
    expect(await other.get('rooms', 'hall')).toBeUndefined();
    // What the body throws by itself is told as it is.
    await expect(c.withLock({ collection: 'rooms' }, () => Promise.reject(new Error('mine')))).rejects.toThrow('mine');
    await using held = await other.lock({ collection: 'rooms' }, { waitMs: 0 });
    expect(held.signal.aborted).toBe(false);
  });

  test('what is cancelled ends with the reason for it, and leaves nothing waiting', async () => {
    const c = await client();
    const other = await client();
    const reason = new Error('no longer wanted');
    await expect(c.get('rooms', 'hall', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await using _held = await other.lock({ collection: 'rooms', key: 'hall' });
    const giveUp = new AbortController();
    const waiting = c.lock({ collection: 'rooms', key: 'hall' }, { signal: giveUp.signal });
    await expect.poll(() => c.count('_locks')).toBe(2);
    giveUp.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    await expect.poll(() => c.count('_locks')).toBe(1);
    const rooms = c.attach('rooms');
    await rooms.ready;
    await expect(rooms.reached(1e9, { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({
      name: 'TimeoutError',
    });
    const feed = c.changes({ signal: giveUp.signal });
    await expect(feed.next()).rejects.toBe(reason);
    await expect(connect(server.url, pool, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    // A write under a lock of others is repeated until there is no more time, or no more wish.
    const stop = new AbortController();
    setTimeout(() => stop.abort(reason), 100);
    await expect(c.set('rooms', 'hall', { n: 1 }, { signal: stop.signal })).rejects.toBe(reason);
  });

  test('a listener that throws is told of, and the mirror goes on', async () => {
    const problems: unknown[] = [];
    const c = await client({ onProblem: (error) => problems.push(error) });
    const rooms = c.attach('rooms');
    await rooms.ready;
    const heard: string[] = [];
    rooms.onChange(() => {
      throw new Error('sync');
    });
    rooms.onChange(async () => {
      throw new Error('async');
    });
    const stop = rooms.onChange(({ key }) => heard.push(key));
    await rooms.reached((await c.set('rooms', 'a', {})).revision);
    stop();
    await rooms.reached((await c.set('rooms', 'b', {})).revision);
    expect(heard).toEqual(['a']);
    await expect
      .poll(() => problems.map((error) => (error as Error).message).sort())
      .toEqual(['async', 'async', 'sync', 'sync']);
  });

  test('many writes through a mirror are shown at once and sent, in the order of each item', async () => {
    const c = await client();
    const n = c.attach('n');
    await n.ready;
    await n.set('warm', {});
    const writes: Promise<unknown>[] = [];
    for (let each = 0; each < 300; each++)
      writes.push(n.merge(`k${each % 10}`, { [`n${each % 3}`]: each, last: each }));
    // The rules are known, so this is one turn away.
    await Promise.resolve();
    expect(n.get('k9')?.attributes.last).toBe(299);
    expect(n.size).toBe(11);
    await Promise.all(writes);
    const truth = await c.query('n').toArray();
    await n.reached(Math.max(...truth.map(({ revision }) => revision)));
    expect(Object.fromEntries([...n].map(([key, item]) => [key, item.attributes]))).toEqual(
      Object.fromEntries(truth.map(({ key, attributes }) => [key, attributes])),
    );
    expect(n.get('k9')?.revision).toBe(truth.find(({ key }) => key === 'k9')?.revision);
  });

  test('after it is closed nothing is left: no connection, no timer', async () => {
    const left = () => process.getActiveResourcesInfo().filter((name) => /TCP|TLS|Timeout/.test(name)).length;
    const before = left();
    for (let round = 0; round < 3; round++) {
      const c = await client();
      const rooms = c.attach('rooms');
      const feed = c.changes();
      void feed.next().catch(() => {});
      const broken = c.attach('rooms', { where: { x: { like: 1 } } });
      await Promise.allSettled([
        rooms.ready,
        broken.ready,
        c.lock({ collection: 'rooms' }),
        c.set('other', 'a', { n: 1 }),
      ]);
      const late = expect(c.get('rooms', 'hall')).rejects.toMatchObject({ code: 'closed' });
      await c.close();
      await late;
      await expect(feed.next()).resolves.toMatchObject({ done: true });
      await expect(rooms.set('a', {})).rejects.toMatchObject({ code: 'closed' });
    }
    await expect.poll(left).toBeLessThanOrEqual(before);
  });

  test('no error and no problem has a secret in it', async () => {
    const secret = 'sgk_thisisthesecret1234567890';
    const c = await client();
    const error = await c.authenticate({ apiKey: secret }).catch((each: unknown) => each as Error);
    expect(error).toMatchObject({ code: 'loginFailed' });
    const { inspect } = await import('node:util');
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain('thisisthesecret');
  });
});

describe('a login', { timeout: 90_000 }, () => {
  let server: Server;
  let operatorKey: string;
  const name = newPool();

  beforeAll(async () => {
    const { STARGUS_TEST_REQUIRED_URL: url, STARGUS_TEST_OPERATOR_KEY: key } = process.env;
    operatorKey = url && key ? key : 'operator-of-the-client-tests';
    server =
      url && key
        ? { url, stop: async () => {} }
        : await startServer({ STARGUS_AUTH: 'required', STARGUS_OPERATOR_KEY: operatorKey });
  });
  afterAll(() => server?.stop());
  afterEach(() => {
    vi.useRealTimers();
  });

  /** The account's key file, enrolled. */
  async function keyFile(account: string) {
    const pair = generateKeyPairSync('ed25519');
    const publicJwk = pair.publicKey.export({ format: 'jwk' });
    const kid = await calculateJwkThumbprint(publicJwk as Parameters<typeof calculateJwkThumbprint>[0]);
    const answer = await fetch(`${server.url}/v1/identities/${account}/keys/${kid}`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${operatorKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ jwk: publicJwk }),
    });
    expect(answer.status).toBe(201);
    const challenge = (await (
      await fetch(`${server.url}/v1/auth/challenges`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{}',
      })
    ).json()) as { audience: string };
    return {
      kid,
      audience: challenge.audience,
      file: {
        account: `${challenge.audience}/id/${account}`,
        jwk: pair.privateKey.export({ format: 'jwk' }) as Record<string, unknown>,
      },
    };
  }

  test.each([-1, 1])('a clock that is %s year off keeps nobody out', async (years) => {
    const { audience, file } = await keyFile(`${name}-${years + 1}`);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + years * 365 * 86_400_000 });
    for (const oneTimeKey of [false, true]) {
      await using c = await connect(server.url, name, { audience });
      expect(await c.authenticate({ keyFile: file, oneTimeKey })).toEqual({ subject: file.account });
      expect((await c.api.auth.getCaller()).subject).toBe(file.account);
    }
  });

  test('for another server is not signed', async () => {
    const { file } = await keyFile(`${name}-other`);
    await using c = await connect(server.url, name, { audience: 'https://elsewhere.example' });
    const error = await c.authenticate({ keyFile: file }).catch((each: unknown) => each as Error);
    expect(error).toMatchObject({ code: 'loginFailed' });
    expect((error as Error).message).toContain('https://elsewhere.example');
  });

  test('many who come while the token is renewed wait for one new one', async () => {
    const { audience, file } = await keyFile(`${name}-many`);
    let asked = 0;
    await using c = await connect(server.url, name, {
      audience,
      fetch: async (input, init) => {
        const isToken = String(input).endsWith('/v1/auth/token');
        if (isToken) asked++;
        const response = await fetch(input, init);
        if (!isToken) return response;
        // Over at once: each request finds it old.
        const body = (await response.json()) as Record<string, unknown>;
        return Response.json({ ...body, expiresInMs: asked === 1 ? 0 : 600_000 }, { headers: response.headers });
      },
    });
    await c.authenticate({ keyFile: file });
    await Promise.all(Array.from({ length: 20 }, () => c.api.auth.getCaller()));
    expect(asked).toBe(2);
  });

  test('that is over is told, where it can’t begin anew', async () => {
    const { audience, file, kid } = await keyFile(`${name}-over`);
    await using c = await connect(server.url, name, { audience });
    await c.authenticate({ keyFile: file, oneTimeKey: true });
    const taken = await fetch(`${server.url}/v1/identities/${name}-over/keys/${kid}`, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${operatorKey}` },
    });
    expect(taken.status).toBe(200);
    // The account is gone, and its logins with it.
    await expect
      .poll(() => c.api.auth.getCaller().catch((error: StargusError) => error.code), { timeout: 10_000 })
      .toBe('loginFailed');
  });

  test.each([
    ['isn’t there', undefined],
    ['is no JSON', '{"account": "https://x", "jwk": {"d": "private"'],
    ['has no key', '{"account": "https://x"}'],
  ])('by a key file that %s fails', async (_, text) => {
    const folder = mkdtempSync(path.join(tmpdir(), 'stargus-key-'));
    const file = path.join(folder, 'key.json');
    if (text !== undefined) writeFileSync(file, text);
    const error = await readKeyFile(file).catch((each: unknown) => each as Error);
    expect(error).toMatchObject({ code: 'loginFailed' });
    expect(String((error as Error).stack)).not.toContain('private');
    rmSync(folder, { recursive: true });
  });
});
