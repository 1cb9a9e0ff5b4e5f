/** Servers that announce themselves are found on this machine, by multicast on its loopback interface. */
import { expect, test } from 'vitest';
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
