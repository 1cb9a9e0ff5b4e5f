/**
 * How long a request may take to arrive: a minute, so that nobody holds connections by sending slowly. An import may take
 * as long as it likes while something comes.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { connected, head } from '../support/raw.js';
import { Scenario } from '../support/scenario.js';
import { type Server, startServer } from '../support/server.js';

/** A minute, and what a server may take to notice. */
const LONG_MS = 68_000;
const CHUNKED = { 'content-type': 'application/x-ndjson', 'transfer-encoding': 'chunked' };
const chunk = (text: string): string => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;

/** Sends the first text, then the others at even times, and answers what came back until the connection ended or for long enough. */
async function talk(server: Server, first: string, ...later: string[]): Promise<{ text: string; endedMs: number }> {
  const socket = await connected(server);
  const began = performance.now();
  let text = '';
  let endedMs = Number.POSITIVE_INFINITY;
  socket.on('data', (data) => (text += data));
  socket.on('close', () => (endedMs = performance.now() - began));
  socket.write(first);
  for (const part of later) {
    await sleep(LONG_MS / later.length);
    if (!socket.destroyed) socket.write(part);
  }
  if (later.length === 0) await sleep(LONG_MS);
  await sleep(500);
  socket.destroy();
  return { text, endedMs };
}

describe('on sqlite', () => {
  it('a request that doesn’t arrive is refused after a minute, an import only when nothing comes', {
    timeout: 120_000,
  }, async () => {
    const server = await startServer({ database: 'sqlite' });
    const scenario = new Scenario(server);
    await scenario.fill({ a: {} });
    const json = { 'content-type': 'application/json', 'content-length': 100 };
    const line = (key: string) => chunk(`{"collection":"things","key":"${key}","attributes":{}}\n`);
    const request = (line: string, headers: Record<string, string | number> = CHUNKED) => {
      const [method, path] = line.split(' ') as [string, string];
      return head(server, `${method} ${scenario.path(path)}`, headers);
    };
    const [headless, stalled, dripping, refused, unreadable, read, steady, silent] = await Promise.all([
      talk(server, `GET ${scenario.path('C/items/a')} HTTP/1.1\r\nhost: x\r\n`, ...'x-slow'.split('')),
      talk(server, `${request('PUT C/items/x', json)}{"attr`),
      talk(server, request('PUT C/items/x', json), ...'{"attributes":{}'.split('')),
      talk(server, `${request('PUT P/import')}${chunk('x')}`),
      talk(server, `${request('PUT /v1/pools/%ZZ')}${chunk('x')}`),
      talk(server, `${request('GET C/items/a')}${chunk('x')}`),
      talk(server, `${request('POST P/import')}${line('s0')}`, line('s1'), line('s2'), `${line('s3')}0\r\n\r\n`),
      talk(server, `${request('POST P/import')}${line('q')}`),
    ]);
    for (const { text, endedMs } of [headless, stalled, dripping]) {
      expect(text).toMatch(/^HTTP\/1\.1 400 [\s\S]*took too long to arrive/);
      expect(endedMs).toBeGreaterThan(59_000);
    }
    // Answered at once, and cut for sending on and on.
    expect([refused.text, unreadable.text, read.text]).toEqual([
      expect.stringMatching(/^HTTP\/1\.1 405 /),
      expect.stringMatching(/^HTTP\/1\.1 400 /),
      expect.stringMatching(/^HTTP\/1\.1 200 /),
    ]);
    for (const { endedMs } of [refused, unreadable, read]) expect(endedMs).toBeLessThan(LONG_MS);
    expect(steady.text).toMatch(/"done":true,"lines":4,"applied":4/);
    expect(silent.text).toMatch(/\{"done":false,"line":1,"problem":\{[^\n]*"code":"badRequest"/);
    expect(await scenario.attributes('q')).toEqual({});
    await server.stop();
  });
});
