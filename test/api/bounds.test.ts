/** What a request may be before it is one, and how many connections there may be: raw bytes, as no well-behaved client sends them. */
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { connected, head, sendRaw } from '../support/raw.js';
import { expectProblem, Scenario } from '../support/scenario.js';
import { type Server, startServer } from '../support/server.js';

const KiB = 1024;

describe('the head of a request', () => {
  let server: Server;
  let scenario: Scenario;
  beforeAll(async () => {
    server = await startServer({ database: 'sqlite' });
    scenario = new Scenario(server);
    await scenario.fill({ a: {} });
  });
  const get = (path: string, headers = {}) => sendRaw(server, head(server, `GET ${scenario.path(path)}`, headers));

  it('may have a path, a query and headers of 16 KiB together', async () => {
    expect((await get(`C/items/a?fields=${Array.from({ length: 120 }, () => 'f'.repeat(127)).join()}`)).status).toBe(
      200,
    );
    expect((await get('C/items/a', { 'x-long': 'x'.repeat(15 * KiB) })).status).toBe(200);
    for (const answer of [
      await get(`C/items/a?fields=${'f'.repeat(17 * KiB)}`),
      await get('C/items/a', { 'x-long': 'x'.repeat(17 * KiB) }),
    ]) {
      expect([answer.status, (answer.body as { code: string }).code]).toEqual([413, 'tooLarge']);
      expect(answer.headers).toMatchObject({ connection: 'close', 'x-content-type-options': 'nosniff' });
    }
  });

  it('may have a hundred headers, and none of them is left out without a word', async () => {
    const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-${i}`, i]));
    expect((await get('C/items/a', many(99))).status).toBe(200);
    for (const count of [100, 150, 500]) {
      const { status, body } = await get('C/items/a', many(count));
      expect([status, (body as { code: string }).code]).toEqual([413, 'tooLarge']);
    }
  });

  it.each([
    ['two lengths', 'content-length: 5\r\ncontent-length: 6\r\n'],
    ['a length and chunks', 'content-length: 5\r\ntransfer-encoding: chunked\r\n'],
    ['a folded header', 'x-folded: a\r\n b\r\n'],
    ['a header without a name', ': a\r\n'],
    ['a line end of its own', 'x-injected: a\rb\r\n'],
    ['a zero byte', 'x-zero: a\0b\r\n'],
  ])('with %s is no request', async (_, lines) => {
    const { host } = new URL(server.url);
    const answer = await sendRaw(
      server,
      `PUT ${scenario.path('C/items/x')} HTTP/1.1\r\nhost: ${host}\r\n${lines}\r\nhello`,
    );
    expect([answer.status, (answer.body as { code: string }).code]).toEqual([400, 'badRequest']);
    expect(await scenario.attributes('x')).toBeUndefined();
  });

  it.each(['PROPFIND', 'PURGE', 'SEARCH', 'LINK', 'TRACE', 'REPORT'])(
    'with the method %s is refused where the path is known, as one with another method',
    async (method) => {
      const answer = await sendRaw(server, head(server, `${method} ${scenario.path('C/items/a')}`));
      expectProblem(answer, 405, 'methodNotAllowed');
      expect(answer.headers.allow).toBe('GET, HEAD, PUT, PATCH, DELETE, OPTIONS');
      expect((answer.body as { detail: string }).detail).toContain(method);
      expectProblem(await sendRaw(server, head(server, `${method} /v1/nowhere`)), 404, 'notFound');
      const page = await sendRaw(server, head(server, `${method} /docs`));
      expect([page.status, page.headers.allow]).toEqual([405, 'GET, HEAD, OPTIONS']);
    },
  );
});

describe('connections', () => {
  /** Which of so many new connections are answered. */
  async function answered(server: Server, count: number): Promise<number> {
    const sockets = await Promise.all(Array.from({ length: count }, () => connected(server)));
    const answers = sockets.map((socket) => {
      let text = '';
      socket.on('data', (data) => (text += data));
      socket.write(head(server, 'GET /healthz'));
      return () => text;
    });
    await sleep(500);
    for (const socket of sockets) socket.destroy();
    await sleep(200);
    return answers.filter((text) => text().startsWith('HTTP/1.1 200')).length;
  }

  it('of one address are bounded, and given back', async () => {
    const server = await startServer({
      database: 'sqlite',
      env: { STARGUS_UNLIMITED: '', STARGUS_CONNECTIONS_PER_ADDRESS: '20' },
    });
    for (let round = 0; round < 2; round++) {
      const count = await answered(server, 50);
      expect(count).toBeGreaterThan(10);
      expect(count).toBeLessThanOrEqual(20);
    }
    const { text } = await new Scenario(server).calls(['GET /metrics']);
    expect(text).toMatch(/^stargus_refusals_total\{kind="connections"\} [3-9]\d$/m);
    await server.stop();
  });

  it('in all are bounded, also those of unlimited addresses', async () => {
    const server = await startServer({ database: 'sqlite', env: { STARGUS_CONNECTIONS: '10' } });
    expect(await answered(server, 30)).toBeLessThanOrEqual(10);
    expect(await answered(server, 3)).toBe(3);
    await server.stop();
  });
});
