/** The page that shows the queues: for operators only, read-only, made of its own files. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { redisUrl } from '../support/redis.js';
import { type Server, startServer } from '../support/server.js';

const KEY = 'operator-key-of-this-test-only-0123456789';
let server: Server;

beforeAll(async () => {
  server = await startServer({
    database: 'mariadb',
    env: { STARGUS_REDIS_URL: redisUrl(), STARGUS_AUTH: 'required', STARGUS_OPERATOR_KEY: KEY },
  });
});
afterAll(() => server?.stop());

const get = (path: string, key?: string, method = 'GET') =>
  fetch(`${server.url}${path}`, { method, headers: key === undefined ? {} : { authorization: `Bearer ${key}` } });

describe('GET /queues', () => {
  test('is a page for the operator, whose files load from here', async () => {
    const page = await get('/queues/', KEY);
    expect(page.status).toBe(200);
    expect(page.headers.get('content-security-policy')).toContain("default-src 'self'");
    const html = await page.text();
    expect(html).toContain('Stargus queues');
    const [, script = ''] = /src="(static\/js\/main[^"]+)"/.exec(html) ?? [];
    expect(html).toContain('<base href="/queues/"');
    const loaded = await get(`/queues/${script}`, KEY);
    expect(loaded.status).toBe(200);
    expect(loaded.headers.get('content-type')).toContain('javascript');
  });

  test('tells of each queue', async () => {
    const { queues } = (await (await get('/queues/api/queues', KEY)).json()) as {
      queues: { name: string; readOnlyMode: boolean }[];
    };
    expect(queues.map(({ name }) => name).sort()).toEqual(['notifier', 'operation', 'sweeps']);
    expect(queues.every(({ readOnlyMode }) => readOnlyMode)).toBe(true);
  });

  test.each(['/queues/', '/queues/api/queues', '/queues/static/js/x.js'])(
    '%s tells strangers nothing',
    async (path) => {
      const answer = await get(path);
      expect(answer.status).toBe(401);
      expect(((await answer.json()) as { code: string }).code).toBe('unauthenticated');
      expect((await get(path, 'sgk_wrong')).status).toBe(401);
    },
  );

  test('changes nothing', async () => {
    for (const action of ['pause', 'empty', 'clean/completed', 'promote']) {
      const answer = await get(`/queues/api/queues/notifier/${action}`, KEY, 'PUT');
      expect([action, answer.status]).toEqual([action, 405]);
    }
  });

  test('is not there without Redis', async () => {
    const alone = await startServer({ database: 'sqlite' });
    expect((await fetch(`${alone.url}/queues/`)).status).toBe(404);
    await alone.stop();
  });
});
