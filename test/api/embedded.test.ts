/**
 * Stargus inside another program: asked by its own `fetch`, without a port. What a server answers over HTTP the other tests say; here is
 * what in between may break: bodies and streams of each kind, back-pressure, aborts, the end; and that the process stays the program's.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { Logger } from '@nestjs/common';
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { limits } from '../../src/engine/limits.js';
import type { Configuration } from '../../src/platform/config.js';
import type { Stargus } from '../../src/stargus.js';
import { BUILT, startEmbedded, startTemporary } from '../support/embedded.js';
import { createDatabase } from '../support/server.js';

const JSON_TYPE = { 'content-type': 'application/json' };
const ROOMS = '/v1/pools/demo/collections/rooms';
const KEY = 'a-key-of-the-operator-for-tests';

const item = (light: string) => ({
  method: 'PUT',
  headers: JSON_TYPE,
  body: JSON.stringify({ attributes: { light } }),
});

/** Reads a stream event by event. */
function eventsOf(response: Response) {
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  const decoder = new TextDecoder();
  const waiting: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (event) => waiting.push(event) });
  return {
    reader,
    /** The next event of the name; undefined at the end. */
    async next(name: string) {
      for (;;) {
        const event = waiting.shift();
        if (event?.event === name) return { id: event.id, data: JSON.parse(event.data) };
        if (event) continue;
        const { done, value } = await reader.read();
        if (done) return undefined;
        parser.feed(decoder.decode(value, { stream: true }));
      }
    },
  };
}

async function gauge(stargus: Stargus, name: string): Promise<number> {
  const text = await (await stargus.fetch('/metrics')).text();
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
}

describe('requests within the process', () => {
  let stargus: Stargus;
  beforeAll(async () => {
    ({ stargus } = await startTemporary());
  });

  it('are written and read as by the global fetch', async () => {
    const put = await stargus.fetch(`${ROOMS}/items/kitchen`, item('on'));
    expect([put.status, put.ok, put.url]).toEqual([201, true, `http://localhost${ROOMS}/items/kitchen`]);
    expect(put.headers.get('etag')).toBe('"1"');
    expect(await put.json()).toMatchObject({ key: 'kitchen', revision: 1, changed: ['light'] });
    const refused = await stargus.fetch(`${ROOMS}/items/kitchen`, {
      ...item('off'),
      headers: { 'if-match': '"9"', ...JSON_TYPE },
    });
    expect(refused.status).toBe(412);
    const gone = await stargus.fetch(`${ROOMS}/items/nobody`);
    expect([gone.status, gone.headers.get('content-type')]).toEqual([404, 'application/problem+json; charset=utf-8']);
  });

  it.each([
    ['a URL', () => new URL(`${stargus.url}${ROOMS}/items/a`)],
    ['its text', () => `${stargus.url}${ROOMS}/items/a`],
    ['a path', () => `${ROOMS}/items/a`],
    ['a path with a query', () => `${ROOMS}/items/a?x=`],
    ['a Request', () => new Request(`${stargus.url}${ROOMS}/items/a`)],
  ])('take %s', async (_name, input) => {
    const response = await stargus.fetch(input());
    expect([404, 400]).toContain(response.status);
    expect(response.headers.get('request-id')).not.toBeNull();
  });

  const text = JSON.stringify({ attributes: { light: 'ünïcode' } });
  const bytes = new TextEncoder().encode(text);
  it.each<[string, () => RequestInit['body']]>([
    ['text', () => text],
    ['bytes', () => bytes],
    ['a buffer', () => bytes.buffer],
    ['a view of one', () => new DataView(bytes.buffer)],
    ['a blob', () => new Blob([text])],
    ['a stream', () => new Blob([text]).stream()],
    ['a stream that takes its time', () => slowly(bytes)],
  ])('have a body that is %s', async (_name, body) => {
    const response = await stargus.fetch(`${ROOMS}/items/body`, { method: 'PUT', headers: JSON_TYPE, body: body() });
    expect([200, 201]).toContain(response.status);
    const request = new Request(`${stargus.url}${ROOMS}/items/body`, {
      ...{ method: 'PUT', headers: JSON_TYPE, body: body(), duplex: 'half' },
    });
    expect((await stargus.fetch(request)).status).toBe(200);
    const { attributes } = (await (await stargus.fetch(`${ROOMS}/items/body`)).json()) as { attributes: object };
    expect(attributes).toEqual({ light: 'ünïcode' });
  });

  it('keep their bounds', async () => {
    const big = { ...item('x'.repeat(3 * 1024 * 1024)) };
    expect((await stargus.fetch(`${ROOMS}/items/big`, big)).status).toBe(413);
    const streamed = { method: 'PUT', headers: JSON_TYPE, body: slowly(new Uint8Array(3 * 1024 * 1024).fill(32)) };
    // It may be answered before it was sent, and the rest of it isn't taken.
    const status = await stargus.fetch(`${ROOMS}/items/big`, streamed).then(
      (response) => response.status,
      (error: Error) => error.name,
    );
    expect([413, 'TypeError']).toContain(status);
    const headers = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`x-${i}`, 'x']));
    expect((await stargus.fetch('/v1', { headers })).status).toBe(413);
    expect((await stargus.fetch('/v1', { headers: { x: 'x'.repeat(20_000) } })).status).toBe(413);
    expect((await stargus.fetch(ROOMS, { method: 'PROPFIND' })).status).toBe(405);
  });

  it('are answered without a body where there is none', async () => {
    const head = await stargus.fetch(`${ROOMS}/items/body`, { method: 'HEAD' });
    expect([head.status, await head.text(), head.body]).toEqual([200, '', null]);
    const options = await stargus.fetch(ROOMS, { method: 'OPTIONS' });
    expect([options.status, options.body]).toEqual([204, null]);
    const { headers } = await stargus.fetch(`${ROOMS}/items/body`);
    const known = await stargus.fetch(`${ROOMS}/items/body`, {
      headers: { 'if-none-match': headers.get('etag') as string },
    });
    expect([known.status, known.body]).toEqual([304, null]);
  });

  it.each(['http://localhost:8080/v1', 'https://localhost/v1', 'http://stargus.example/v1', '//stargus.example/v1'])(
    'go to no other server: %s',
    async (input) => {
      await expect(stargus.fetch(input)).rejects.toThrow(TypeError);
    },
  );

  it.each<[string, string, RequestInit | undefined]>([
    ['no URL', 'v1/pools', undefined],
    ['a body of a GET', '/v1', { body: 'x' }],
    ['no method', '/v1', { method: 'A B' }],
    ['no header', '/v1', { headers: { 'a b': 'c' } }],
  ])('are refused as by the global fetch: %s', async (_name, input, init) => {
    await expect(stargus.fetch(input, init)).rejects.toThrow(TypeError);
  });

  it('are many at once, each with its own answer', async () => {
    const numbers = Array.from({ length: 500 }, (_, i) => i);
    const answers = await Promise.all(
      numbers.map(async (i) => (await stargus.fetch(`${ROOMS}/items/n${i}`, item(`${i}`))).json()),
    );
    expect(answers).toMatchObject(numbers.map((i) => ({ key: `n${i}` })));
  });

  it('carry an export and an import of any length', async () => {
    const lines = Array.from({ length: 3000 }, (_, i) =>
      JSON.stringify({ collection: 'many', key: `k${i}`, attributes: { text: 'x'.repeat(500) } }),
    );
    const imported = await stargus.fetch('/v1/pools/other/import', {
      ...{ method: 'POST', headers: { 'content-type': 'application/x-ndjson' } },
      body: slowly(new TextEncoder().encode(`${lines.join('\n')}\n`)),
    });
    expect(imported.status).toBe(200);
    const report = (await imported.text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(report.at(-1)).toMatchObject({ applied: 3000 });
    const exported = await stargus.fetch('/v1/pools/other/export');
    const found = (await exported.text())
      .trim()
      .split('\n')
      .filter((line) => line.includes('"many"'));
    expect(found.length).toBeGreaterThanOrEqual(3000);
    // One that is given up isn't in the way of others.
    for (let i = 0; i < 20; i++) await (await stargus.fetch('/v1/pools/other/export')).body?.cancel();
    expect((await stargus.fetch('/v1/pools/other/export')).status).toBe(200);
  });

  it('end when they are aborted, before, while and after they are answered', async () => {
    const reason = new Error('changed my mind');
    await expect(stargus.fetch('/v1', { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const during = new AbortController();
    const waiting = stargus.fetch('/v1/pools/demo/changes?waitMs=30000&since=start&limit=1000&collection=nobody', {
      signal: during.signal,
    });
    setTimeout(() => during.abort(reason), 100);
    await expect(waiting).rejects.toBe(reason);
    const after = new AbortController();
    const done = await stargus.fetch(`${ROOMS}/items/body`, { signal: after.signal });
    await done.text();
    after.abort(reason);
    expect((await stargus.fetch('/v1')).status).toBe(200);
  });
});

describe('streams within the process', () => {
  let stargus: Stargus;
  beforeAll(async () => {
    ({ stargus } = await startTemporary());
    await stargus.fetch(`${ROOMS}/items/kitchen`, item('on'));
  });

  it('tell every change as it comes, and go on from a cursor', async () => {
    const events = eventsOf(await stargus.fetch(`${ROOMS}/attach`));
    expect((await events.next('snapshot'))?.data.items).toMatchObject([{ key: 'kitchen' }]);
    await events.next('live');
    await stargus.fetch(`${ROOMS}/items/kitchen`, item('off'));
    const change = await events.next('changes');
    expect(change?.data.changes).toMatchObject([{ op: 'change', key: 'kitchen', attributes: { light: 'off' } }]);
    await events.reader.cancel();
    await stargus.fetch(`${ROOMS}/items/kitchen`, item('dim'));
    const again = eventsOf(
      await stargus.fetch(`${ROOMS}/attach`, { headers: { 'last-event-id': change?.id as string } }),
    );
    expect((await again.next('changes'))?.data.changes).toMatchObject([{ attributes: { light: 'dim' } }]);
    await again.reader.cancel();
  });

  it.each(['abort', 'cancel'])('are over for the server after %s', async (how) => {
    const abort = new AbortController();
    const response = await stargus.fetch(`${ROOMS}/attach`, { signal: abort.signal });
    const events = eventsOf(response);
    await events.next('live');
    await expect.poll(() => gauge(stargus, 'stargus_streams')).toBe(1);
    if (how === 'cancel') await events.reader.cancel();
    else {
      abort.abort();
      await expect(events.next('changes')).rejects.toMatchObject({ name: 'AbortError' });
    }
    await expect.poll(() => gauge(stargus, 'stargus_streams')).toBe(0);
  });

  it('give each reader bytes of its own', async () => {
    const one = eventsOf(await stargus.fetch(`${ROOMS}/attach`));
    const other = eventsOf(await stargus.fetch(`${ROOMS}/attach`));
    await Promise.all([one.next('live'), other.next('live')]);
    await stargus.fetch(`${ROOMS}/items/kitchen`, item('bright'));
    const { value } = (await one.reader.read()) as { value: Uint8Array };
    value.fill(0);
    structuredClone(value, { transfer: [value.buffer as ArrayBuffer] });
    expect((await other.next('changes'))?.data.changes).toMatchObject([{ attributes: { light: 'bright' } }]);
    await Promise.all([one.reader.cancel(), other.reader.cancel()]);
  });

  it('hold no more than their bound for a reader that doesn’t read, and harm no writer', async () => {
    const lazy = await stargus.fetch(`${ROOMS}/attach`);
    await expect.poll(() => gauge(stargus, 'stargus_streams')).toBe(1);
    const text = 'x'.repeat(400_000);
    for (let i = 0; i < 40; i++) {
      const response = await stargus.fetch(`${ROOMS}/items/item${i % 10}`, item(`${i}${text}`));
      expect(response.ok).toBe(true);
      expect(await gauge(stargus, 'stargus_stream_buffered_bytes')).toBeLessThan(
        limits.watchBufferBytesMax + 1024 * 1024,
      );
    }
    // When it reads again it is told the state as it is, by whatever way.
    const events = eventsOf(lazy);
    await stargus.fetch(`${ROOMS}/items/end`, item('end'));
    const lights = new Map<string, string>();
    while (!lights.has('end')) {
      const { done, value } = await events.reader.read();
      expect(done).toBe(false);
      for (const [, key = '', light = ''] of new TextDecoder()
        .decode(value)
        .matchAll(/"key":"(\w+)".*?"light":"(\w{0,4})/g))
        lights.set(key, light);
    }
    await events.reader.cancel();
    await expect.poll(() => gauge(stargus, 'stargus_streams')).toBe(0);
  });
});

describe('the configuration', () => {
  it.each([
    [{ STARGUS_HISTORY: 'long' }, /STARGUS_HISTORY=long/],
    [{ STARGUS_DATABASE_URL: 'sqlite:./x.db' }, /STARGUS_DATABASE_URL: a temporary server/],
    [{ STARGUS_REDIS_URL: 'redis://127.0.0.1' }, /STARGUS_REDIS_URL is for several processes/],
    [{ STARGUS_HISTROY: '1h' }, /STARGUS_HISTROY is not a variable/],
    [{ STARGUS_HOST: '0.0.0.0' }, /STARGUS_AUTH=open/],
    [{ STARGUS_AUTH: 'required' }, /STARGUS_OPERATOR_KEY is not set/],
    [{ STARGUS_AUTH: 'required', STARGUS_OPERATOR_KEY: 'short' }, /STARGUS_OPERATOR_KEY=…/],
  ])('%j is refused by name, and leaves nothing behind', async (configuration, message) => {
    const temporary = () => readdirSync(tmpdir()).filter((name) => /^stargus-\w{6}$/.test(name));
    const before = temporary();
    await expect(startTemporary(configuration as Configuration)).rejects.toThrow(message);
    expect(temporary()).toEqual(before);
  });

  it('may require authentication, also of the program itself', async () => {
    const { stargus, log } = await startTemporary({ STARGUS_AUTH: 'required', STARGUS_OPERATOR_KEY: KEY });
    expect((await stargus.fetch(`${ROOMS}/items/a`, item('on'))).status).toBe(401);
    const { headers, ...rest } = item('on');
    const authorization = `Bearer ${KEY}`;
    expect((await stargus.fetch(`${ROOMS}/items/a`, { ...rest, headers: { ...headers, authorization } })).status).toBe(
      201,
    );
    expect(log.map(({ msg }) => msg)).toContainEqual(expect.stringMatching(/^STARGUS_SECRET is not set/));
    await stargus.close();
  });

  it('names accounts and answers by the public URL', async () => {
    const { stargus } = await startTemporary({ STARGUS_PUBLIC_URL: 'https://stargus.example' });
    expect(stargus.url).toBe('https://stargus.example');
    expect((await stargus.fetch('https://stargus.example/v1')).status).toBe(200);
    expect((await stargus.fetch('/v1/pools')).status).toBe(200);
    const document = await (await stargus.fetch('/.well-known/oauth-authorization-server')).json();
    expect(document).toMatchObject({ issuer: 'https://stargus.example' });
    await stargus.close();
  });
});

describe('a port', () => {
  it('may be opened, and what goes in there comes out here', async () => {
    const { stargus } = await startTemporary();
    await expect(stargus.listen({ host: '0.0.0.0' })).rejects.toThrow(/STARGUS_AUTH=open/);
    const taken = createServer();
    const port = await new Promise<number>((resolve) => {
      taken.listen(0, '127.0.0.1', () => resolve((taken.address() as { port: number }).port));
    });
    await expect(stargus.listen({ port })).rejects.toThrow(/EADDRINUSE/);
    taken.close();
    const url = await stargus.listen({ port: 0 });
    expect([url, url]).toEqual([stargus.url, expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/)]);
    await expect(stargus.listen({ port: 0 })).rejects.toThrow(/listens already/);
    const events = eventsOf(await stargus.fetch(`${ROOMS}/attach`));
    await events.next('live');
    expect((await fetch(`${url}${ROOMS}/items/kitchen`, item('on'))).status).toBe(201);
    expect((await events.next('changes'))?.data.changes).toMatchObject([{ key: 'kitchen' }]);
    for (const base of [url, 'http://localhost'])
      expect((await stargus.fetch(`${base}${ROOMS}/items/kitchen`)).status).toBe(200);
    await stargus.close();
    await expect(fetch(`${url}/v1`)).rejects.toThrow(TypeError);
    await expect(stargus.listen()).rejects.toThrow(/closed/);
  });
});

describe('the end', () => {
  it('finishes what is under way, tells streams, and refuses the rest', async () => {
    const { stargus, log } = await startTemporary();
    await stargus.fetch(`${ROOMS}/items/kitchen`, item('on'));
    const stream = eventsOf(await stargus.fetch(`${ROOMS}/attach`));
    await stream.next('live');
    const unread = await stargus.fetch(`${ROOMS}/attach`);
    const writes = Array.from({ length: 50 }, (_, i) => stargus.fetch(`${ROOMS}/items/n${i}`, item('on')));
    await Promise.all(writes);
    const closing = stargus.close();
    expect(stargus.close()).toBe(closing);
    await expect(stargus.fetch('/v1')).rejects.toThrow(/closed/);
    await closing;
    expect(await stream.next('bye')).toMatchObject({ data: { reason: 'shutdown' } });
    expect(await stream.next('changes')).toBeUndefined();
    expect(await unread.text()).toMatch(/"reason":"shutdown"/);
    expect(log).toEqual([]);
  });

  it('comes in time though a stream that nobody reads is full', async () => {
    const { stargus } = await startTemporary();
    await stargus.fetch(`${ROOMS}/items/a`, item('on'));
    await stargus.fetch(`${ROOMS}/attach`);
    for (let i = 0; i < 6; i++) await stargus.fetch(`${ROOMS}/items/n${i}`, item('x'.repeat(500_000)));
    await stargus.close();
  });

  it('leaves the database for the next one, and takes a temporary one with it', async () => {
    const STARGUS_DATABASE_URL = await createDatabase('sqlite');
    const { stargus } = await startEmbedded({ STARGUS_DATABASE_URL });
    await stargus.fetch(`${ROOMS}/items/kitchen`, item('on'));
    await expect(startEmbedded({ STARGUS_DATABASE_URL })).rejects.toThrow(/in use by another Stargus/);
    await stargus.close();
    const { stargus: next } = await startEmbedded({ STARGUS_DATABASE_URL });
    expect((await next.fetch(`${ROOMS}/items/kitchen`)).status).toBe(200);
    await next.close();
    // Other tests have folders here too, with longer names.
    const temporaries = () => readdirSync(tmpdir()).filter((name) => /^stargus-[A-Za-z0-9]{6}$/.test(name));
    const before = temporaries();
    const { stargus: temporary } = await startTemporary();
    const [folder] = temporaries().filter((name) => !before.includes(name));
    await temporary.close();
    expect(existsSync(path.join(tmpdir(), folder as string))).toBe(false);
  });

  it('of one isn’t that of another', async () => {
    const [one, other] = await Promise.all([startTemporary(), startTemporary()]);
    await one.stargus.fetch(`${ROOMS}/items/kitchen`, item('on'));
    expect((await other.stargus.fetch(`${ROOMS}/items/kitchen`)).status).toBe(404);
    await one.stargus.close();
    expect((await other.stargus.fetch(`${ROOMS}/items/kitchen`, item('on'))).status).toBe(201);
    await other.stargus.close();
  });
});

it('works on MariaDB', async () => {
  const { stargus } = await startEmbedded({ STARGUS_DATABASE_URL: await createDatabase('mariadb') });
  const events = eventsOf(await stargus.fetch(`${ROOMS}/attach`));
  await events.next('live');
  expect((await stargus.fetch(`${ROOMS}/items/kitchen`, item('on'))).status).toBe(201);
  expect((await events.next('changes'))?.data.changes).toMatchObject([{ key: 'kitchen' }]);
  await stargus.close();
});

it('leaves Nest’s logger to the program that has one', async () => {
  const said: unknown[] = [];
  const own = { log: (message: unknown) => said.push(message), error: () => {}, warn: () => {} };
  Logger.overrideLogger(own);
  await (await startTemporary()).stargus.close();
  new Logger('program').log('mine');
  expect(said).toEqual(['mine']);
});

describe('the process', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'embedding-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** Runs a program that has Stargus in it, in a folder of its own. */
  async function run(name: string, program: string, env: Record<string, string> = {}) {
    const file = path.join(folder, `${name}.mjs`);
    writeFileSync(file, `import { Stargus } from ${JSON.stringify(pathToFileURL(BUILT).href)};\n${program}`);
    const options = { cwd: folder, env: { PATH: process.env.PATH, TMPDIR: folder, ...env } };
    return promisify(execFile)(process.execPath, [file], options).then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
    );
  }

  it('is as before once it is closed: no handles, no listeners, no output, no exit code', async () => {
    const watched = `
      const events = ['SIGTERM', 'SIGINT', 'SIGHUP', 'exit', 'beforeExit', 'uncaughtException', 'unhandledRejection', 'warning'];
      const state = () => JSON.stringify([process.getActiveResourcesInfo().filter((name) => !/Pipe|TTY/.test(name)).sort(),
        events.map((event) => process.listenerCount(event)), process.exitCode ?? null, process.title, process.cwd()]);
      const before = state();
      for (let round = 0; round < 2; round++) {
        const stargus = await Stargus.temporary();
        await stargus.fetch('/v1/pools/demo/collections/rooms/items/a', { method: 'PUT', headers: { 'content-type': 'application/json' }, body: '{"attributes":{"a":1}}' });
        const stream = await stargus.fetch('/v1/pools/demo/collections/rooms/attach');
        await stargus.listen({ port: 0 });
        const other = await Stargus.temporary();
        await other.listen({ port: Number(new URL(stargus.url).port) }).catch(() => other.close());
        await fetch(stargus.url + '/v1');
        await stargus.close();
        await stream.text();
      }
      // The connection of the global fetch is its own.
      for (let i = 0; i < 100 && state() !== before; i++) await new Promise((resolve) => setTimeout(resolve, 20));
      console.log(state() === before ? 'same' : before + ' became ' + state());`;
    expect(await run('watched', watched)).toEqual({ code: 0, stdout: 'same\n', stderr: '' });
  });

  it('takes nothing from its environment', async () => {
    const env = {
      STARGUS_PORT: 'wrong',
      STARGUS_DATABASE_URL: 'mysql://nobody@127.0.0.1:1/none',
      STARGUS_LOG_LEVEL: 'trace',
    };
    const started = `const stargus = await Stargus.start(); console.log((await stargus.fetch('/v1')).status, stargus.url); await stargus.close();`;
    expect(await run('environment', started, env)).toEqual({ code: 0, stdout: '200 http://localhost\n', stderr: '' });
    expect(existsSync(path.join(folder, 'data/stargus.db'))).toBe(true);
  });

  it('ends by itself though the server was never closed, but not while a request is under way', async () => {
    const left = `const stargus = await Stargus.temporary(); await stargus.fetch('/v1/pools/demo', { method: 'PUT' }); console.log('done');`;
    expect(await run('left', left)).toEqual({ code: 0, stdout: 'done\n', stderr: '' });
    const waiting = `
      const stargus = await Stargus.temporary();
      await stargus.fetch('/v1/pools/demo', { method: 'PUT' });
      const response = await stargus.fetch('/v1/pools/demo/changes?since=start&waitMs=700');
      console.log((await response.json()).upToDate);`;
    expect(await run('waiting', waiting)).toEqual({ code: 0, stdout: 'true\n', stderr: '' });
  });

  it('is told why a server doesn’t start, and goes on', async () => {
    const refused = `
      const error = await Stargus.start({ STARGUS_DATABASE_URL: 'sqlite:/dev/null/x.db' }).catch((error) => error);
      console.log(error instanceof Error);`;
    expect(await run('refused', refused)).toMatchObject({ code: 0, stdout: 'true\n', stderr: '' });
  });
});

/** The bytes in small pieces, with pauses. */
function slowly(bytes: Uint8Array): ReadableStream<Uint8Array> {
  const size = Math.max(16, Math.ceil(bytes.length / 20));
  let at = 0;
  return new ReadableStream({
    async pull(controller) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.slice(at, at + size));
      at += size;
    },
  });
}
