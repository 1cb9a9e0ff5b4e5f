/** Sending to receivers that strangers name: what is sent, when it counts as taken, and all the ways in which one could be led elsewhere. */
import type { LookupAddress } from 'node:dns';
import { createServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import { afterAll, describe, expect, it } from 'vitest';
import { type WebhookOptions, WebhookSender } from '../../src/platform/webhooks.js';
import { openSite } from '../support/site.js';

const LOCAL: LookupAddress[] = [{ address: '127.0.0.1', family: 4 }];
const PUBLIC: LookupAddress = { address: '203.0.114.1', family: 4 };
const never = new AbortController().signal;

const sender = (options: Partial<WebhookOptions> = {}) =>
  new WebhookSender({
    ...{ isPrivateAllowed: true, timeoutMs: 1000, connectMs: 500, answerBytesMax: 4096, answerMs: 200 },
    ...{ urlLengthMax: 2048, channelsMax: 10, channelsPerHostMax: 3, resolve: async () => LOCAL },
    ...options,
  });

const closing: (() => void)[] = [];
afterAll(() => {
  for (const close of closing.splice(0)) close();
});

async function listen(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
}

/** A server of raw bytes: `take` is given each connection once something was sent. */
async function listenRaw(take: (socket: Socket, connections: number) => void): Promise<string> {
  let connections = 0;
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    const number = ++connections;
    sockets.add(socket);
    socket.on('error', () => undefined).on('data', () => take(socket, number));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
}

async function send(by: WebhookSender, url: string, body = '{}', signal = never) {
  const channel = by.open(url);
  if (!channel) throw new Error('There is no channel');
  try {
    return await channel.post({ 'content-type': 'application/json' }, body, signal);
  } finally {
    channel.close();
  }
}

describe('an event', () => {
  it('is sent by POST, whole, over one connection for as long as the channel is open', async () => {
    const sockets = new Set<unknown>();
    const bodies: string[] = [];
    const url = await listen((request, response) => {
      sockets.add(request.socket);
      expect([request.method, request.headers.host, request.headers.authorization]).toEqual([
        ...['POST', new URL(url).host, undefined],
      ]);
      let body = '';
      request.setEncoding('utf8').on('data', (text: string) => (body += text));
      request.on('end', () => {
        bodies.push(body);
        response.writeHead(202).end('thanks');
      });
    });
    const by = sender();
    const channel = by.open(url);
    const sent = ['ü'.repeat(100_000), '{"a":1}', ''];
    for (const body of sent) expect(await channel?.post({}, body, never)).toMatchObject({ ok: true, status: 202 });
    channel?.close();
    channel?.close();
    expect(bodies).toEqual(sent);
    expect(sockets.size).toBe(1);
  });

  it.each<[says: string, listener: RequestListener, outcome: object]>([
    ['is taken with 200', (_q, r) => r.writeHead(200).end('x'), { ok: true, status: 200 }],
    ['is taken with 299', (_q, r) => r.writeHead(299).end(), { ok: true, status: 299 }],
    [
      'is taken by one that dies after it said so',
      (_q, r) => void r.writeHead(200, { 'content-length': '9' }).write('x', () => r.socket?.resetAndDestroy()),
      { ok: true, status: 200 },
    ],
    [
      'is taken by one that says so and then never ends',
      (_q, r) => void r.writeHead(200).write('x'),
      { ok: true, status: 200 },
    ],
    [
      'is taken by one that says so and then much more',
      (_q, r) => void r.writeHead(200).end('x'.repeat(10_000_000)),
      { ok: true, status: 200 },
    ],
    ['is not with 500', (_q, r) => r.writeHead(500).end(), { ok: false, status: 500, error: 'answered 500.' }],
    ['is not with 404', (_q, r) => r.writeHead(404).end(), { ok: false, status: 404 }],
    [
      'is not led elsewhere',
      (_q, r) => r.writeHead(307, { location: 'http://169.254.169.254/' }).end(),
      { ok: false, status: 307, error: 'answered 307: a redirect is not followed.' },
    ],
    [
      'waits as long as it is asked to',
      (_q, r) => r.writeHead(503, { 'retry-after': '7' }).end(),
      { ok: false, retryAfterMs: 7000 },
    ],
    [
      'waits until a date',
      (_q, r) => r.writeHead(429, { 'retry-after': new Date(Date.now() + 3_600_000).toUTCString() }).end(),
      { ok: false, retryAfterMs: expect.any(Number) },
    ],
    [
      'is not taken by one that dies',
      (q) => q.socket.resetAndDestroy(),
      { ok: false, error: 'broke the connection off.' },
    ],
    ['is not taken by one that closes', (q) => q.socket.end(), { ok: false, error: 'broke the connection off.' }],
    [
      'is not waited for by one that never answers',
      () => undefined,
      { ok: false, error: 'has not answered within 1000 ms.' },
    ],
    [
      'is refused by one with endless headers',
      (q) => void q.socket.write(`HTTP/1.1 200 OK\r\nx: ${'x'.repeat(100_000)}\r\n`),
      { ok: false, error: 'has too long headers.' },
    ],
    ['is not understood', (q) => void q.socket.end('nonsense\r\n\r\n'), { ok: false, error: expect.any(String) }],
  ])('%s', async (_says, listener, outcome) => {
    const told = await send(sender(), await listen(listener), '{"event":1}');
    expect(told).toMatchObject(outcome);
    if (!('retryAfterMs' in outcome)) expect(told.retryAfterMs).toBeUndefined();
  });

  it('is not waited for byte by byte', async () => {
    const url = await listenRaw((socket) => {
      const timer = setInterval(() => socket.write('H'), 50);
      socket.on('close', () => clearInterval(timer));
      socket.write('HTTP/1.1 200 OK\r\nx: ');
    });
    expect(await send(sender(), url)).toMatchObject({ ok: false, error: 'has not answered within 1000 ms.' });
  });

  it('is sent once more over a new connection when the one that was open is closed just then', async () => {
    const url = await listenRaw((socket, number) => {
      if (number === 1 && socket.bytesRead > 300) return void socket.resetAndDestroy();
      socket.write('HTTP/1.1 204 No Content\r\n\r\n');
    });
    const channel = sender().open(url);
    const body = 'x'.repeat(100);
    expect(await channel?.post({}, body, never)).toMatchObject({ ok: true });
    expect(await channel?.post({}, body, never)).toMatchObject({ ok: true });
    channel?.close();
  });

  it('is left when it is asked for', async () => {
    const stop = new AbortController();
    const url = await listen(() => stop.abort(new Error('stopped')));
    await expect(send(sender(), url, '{}', stop.signal)).rejects.toThrow('stopped');
  });

  it('goes to so many receivers at once, and so many of one host', async () => {
    const by = sender({ channelsMax: 4 });
    const at = (host: string) => by.open(`http://${host}/hook`);
    const three = [at('a.test'), at('a.test'), at('a.test')];
    expect(three.every(Boolean)).toBe(true);
    expect(at('a.test')).toBeUndefined();
    const other = at('b.test');
    expect(other).toBeDefined();
    expect(at('c.test')).toBeUndefined();
    three[0]?.close();
    three[0]?.close();
    expect(at('a.test')).toBeDefined();
    expect(at('a.test')).toBeUndefined();
  });

  it('does not go through a proxy that the environment names', async () => {
    const asked: string[] = [];
    const proxy = await listen((request, response) => {
      asked.push(request.url ?? '');
      response.end();
    });
    const url = await listen((_request, response) => response.writeHead(204).end());
    for (const name of ['http_proxy', 'HTTP_PROXY', 'all_proxy', 'NODE_USE_ENV_PROXY']) process.env[name] = proxy;
    try {
      expect(await send(sender(), url)).toMatchObject({ ok: true });
    } finally {
      for (const name of ['http_proxy', 'HTTP_PROXY', 'all_proxy', 'NODE_USE_ENV_PROXY']) delete process.env[name];
    }
    expect(asked).toEqual([]);
  });

  describe('where only public addresses are', () => {
    const HOST = 'hook.test';
    const strict = (options: Partial<WebhookOptions> = {}) => sender({ isPrivateAllowed: false, ...options });

    it.each([
      ...[
        'http://a.example/',
        'https://127.0.0.1/',
        'https://10.0.0.1/',
        'https://192.168.1.1/',
        'https://172.16.0.1/',
      ],
      ...[
        'https://169.254.169.254/latest',
        'https://[::1]/',
        'https://[fd00::1]/',
        'https://[fe80::1]/',
        'https://0.0.0.0/',
      ],
      ...[
        'https://[::ffff:127.0.0.1]/',
        'https://[64:ff9b::7f00:1]/',
        'https://0x7f.1/',
        'https://2130706433/',
        'https://0177.0.0.1/',
      ],
      ...[
        'https://localhost/',
        'https://a.localhost/',
        'https://localhost./',
        'https://100.64.0.1/',
        'https://224.0.0.1/',
      ],
    ])('%s is refused as it stands', (url) => {
      expect(strict().faultOf(url)).toMatch(/https|not public|this machine/);
    });

    it.each(['https://a.example/', 'https://a.example:8443/x?y=z', 'https://203.0.114.1/', 'https://bücher.example/'])(
      '%s is not',
      (url) => expect(strict().faultOf(url)).toBeUndefined(),
    );

    it('a name that leads to a private address leads nowhere, among others as well, and at the second look', async () => {
      const site = await openSite([HOST]);
      const url = `${site.origin(HOST)}/hook`;
      const by = (resolve: WebhookOptions['resolve']) => strict({ resolve, ca: site.ca });
      for (const address of ['127.0.0.1', '10.1.2.3', '::1', 'fd00::1', '169.254.169.254', '::ffff:10.0.0.1']) {
        const found = [{ address, family: address.includes(':') ? 6 : 4 }];
        expect(
          await send(
            by(async () => found),
            url,
          ),
        ).toMatchObject({ ok: false, error: expect.stringMatching(/not public/) });
        expect(
          await send(
            by(async () => [PUBLIC, ...found]),
            url,
          ),
        ).toMatchObject({ error: expect.stringMatching(/not public/) });
      }
      // What is looked up is what is connected to: there is no second look-up that could be told otherwise.
      let looks = 0;
      const turning = by(async () => (looks++ === 0 ? LOCAL : [PUBLIC]));
      expect(await send(turning, url)).toMatchObject({ error: expect.stringMatching(/not public/) });
      expect(looks).toBe(1);
      expect(site.asked).toEqual([]);
    });

    it('a name that leads nowhere, or is looked for in vain, is a failure of the receiver', async () => {
      const nowhere = strict({ resolve: async () => Promise.reject(new Error('ENOTFOUND')) });
      expect(await send(nowhere, 'https://a.example/')).toMatchObject({ error: 'has a host name that leads nowhere.' });
      const silent = strict({
        resolve: (_host, signal) => new Promise((_resolve, reject) => signal.addEventListener('abort', reject)),
      });
      expect(await send(silent, 'https://a.example/')).toMatchObject({
        ok: false,
        error: 'can’t be reached within 500 ms.',
      });
    });

    it('a certificate that nobody vouches for is not trusted', async () => {
      const site = await openSite([HOST]);
      const told = await send(sender({ ca: undefined }), `${site.origin(HOST)}/hook`);
      expect(told).toMatchObject({ ok: false, error: expect.stringMatching(/certificate that is not trusted/) });
      const other = await send(sender({ ca: site.ca }), `${site.origin('other.test')}/hook`);
      expect(other).toMatchObject({ ok: false, error: expect.stringMatching(/certificate that is not trusted/) });
      site.pages.set('/hook', (_request, response) => response.writeHead(200).end());
      expect(await send(sender({ ca: site.ca }), `${site.origin(HOST)}/hook`)).toMatchObject({ ok: true });
    });
  });
});
