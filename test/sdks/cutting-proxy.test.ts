/** The proxy of the scenarios does to what passes what its rules say, and nothing else. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type CuttingProxy, type Rule, startCuttingProxy } from './cutting-proxy.js';

const EVENTS = 'event: hello\ndata: {"é":1}\n\nevent: live\ndata: {"n":2}\n\nevent: more\ndata: {}\n\n';

let server: Server;
let proxy: CuttingProxy;
const asked: string[] = [];

beforeAll(async () => {
  server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    const isStream = request.url === '/stream';
    response.writeHead(200, { 'content-type': isStream ? 'text/event-stream' : 'application/json' });
    response.end(isStream ? EVENTS : '{"revision":1}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  proxy = await startCuttingProxy();
  proxy.target(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
afterAll(async () => {
  await proxy.stop();
  server.close();
});
beforeEach(() => {
  proxy.rules([]);
  asked.length = 0;
});

/** What arrives, up to where the connection breaks. */
async function get(
  path: string,
  rule?: Omit<Rule, 'match'>,
): Promise<{ text: string; status: number; isBroken: boolean }> {
  if (rule) proxy.rules([{ match: path, ...rule }]);
  const response = await fetch(`${proxy.url}${path}`);
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let text = '';
  try {
    for await (const chunk of response.body as ReadableStream<Uint8Array>)
      text += decoder.decode(chunk, { stream: true });
  } catch {
    return { text, status: response.status, isBroken: true };
  }
  return { text, status: response.status, isBroken: false };
}

describe('the cutting proxy', () => {
  test('without a rule passes what comes', async () => {
    expect(await get('/stream')).toEqual({ text: EVENTS, status: 200, isBroken: false });
    expect(proxy.heard.at(-1)?.request).toBe('GET /stream');
  });

  test.each([
    ['split', { split: 1 }, EVENTS],
    ['CR LF', { lines: 'crlf', split: 3 }, EVENTS.replaceAll('\n', '\r\n')],
    ['CR', { lines: 'cr' }, EVENTS.replaceAll('\n', '\r')],
    ['a byte order mark', { bom: true }, `\uFEFF${EVENTS}`],
    ['replace', { replace: [['"n":2', '"n":3']] }, EVENTS.replace('"n":2', '"n":3')],
    [
      'insert',
      { insert: { after: 'event: live', text: 'event: x\n\n' } },
      EVENTS.replace('event: more', 'event: x\n\nevent: more'),
    ],
  ] as const)('%s', async (_, rule, text) => {
    expect(await get('/stream', rule)).toEqual({ text, status: 200, isBroken: false });
  });

  test('cuts after an event', async () => {
    expect(await get('/stream', { cutAfter: 'event: hello' })).toEqual({
      text: EVENTS.slice(0, EVENTS.indexOf('event: live')),
      status: 200,
      isBroken: true,
    });
  });

  test('floods', async () => {
    const { text } = await get('/stream', { flood: { after: 'event: live', bytes: 3_000_000 } });
    expect(text.length).toBeGreaterThan(3_000_000);
    expect(text.endsWith('event: more\ndata: {}\n\n')).toBe(true);
  });

  test('answers by itself, so often as it should', async () => {
    const rule = { times: 1, answer: { status: 503, body: { code: 'unavailable' } } };
    expect(await get('/json', rule)).toEqual({ text: '{"code":"unavailable"}', status: 503, isBroken: false });
    expect(asked).toEqual([]);
    expect(await get('/json')).toEqual({ text: '{"revision":1}', status: 200, isBroken: false });
  });

  test('drops before and after the server is asked', async () => {
    await expect(get('/json', { drop: 'before' })).rejects.toThrow();
    expect(asked).toEqual([]);
    await expect(get('/json', { drop: 'after' })).rejects.toThrow();
    expect(asked).toEqual(['GET /json']);
  });

  test('refuses, and no longer does', async () => {
    proxy.refuse(true);
    await expect(get('/json')).rejects.toThrow();
    proxy.refuse(false);
    expect((await get('/json')).status).toBe(200);
  });
});
