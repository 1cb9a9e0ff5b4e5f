/** Servers that announce themselves are found on this machine, by multicast on its loopback interface. */
import { expect, test } from 'vitest';
import { serverOf } from '../src/node/discover.js';
import { discover } from '../src/node/node.js';
import { startServer } from './server.js';

test('a server that announces itself is found, and nothing is left open', { timeout: 60_000 }, async () => {
  const server = await startServer({ STARGUS_LAN: '1' });
  try {
    await expect
      .poll(() => discover({ timeoutMs: 700 }), { timeout: 20_000 })
      .toContainEqual(expect.objectContaining({ url: server.url, auth: 'open', version: expect.any(String) }));
    await expect.poll(() => process.getActiveResourcesInfo().filter((name) => name === 'UDPWrap')).toEqual([]);
    await expect(discover({ signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
  } finally {
    await server.stop();
  }
});

test('of what strangers announce only a server by HTTP is taken, and no text that commands a terminal', () => {
  const announced = (txt: object, name = 'hall') => serverOf({ name, port: 1, addresses: ['192.0.2.1'], txt });
  expect(announced({ v: '1', auth: 'other' })).toMatchObject({ url: 'http://192.0.2.1:1', auth: 'other' });
  expect(announced({ v: '1', url: 'https://a.example/x' })).toMatchObject({ url: 'https://a.example/x' });
  for (const txt of [{ url: 'file:///etc' }, { url: 'javascript:0' }, { pools: 'a\u001b[2J' }, { version: '\u0085' }])
    expect(announced({ v: '1', ...txt })).toBeUndefined();
  expect(announced({ v: '1' }, 'a\nb')).toBeUndefined();
});
