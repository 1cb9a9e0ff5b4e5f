import { expect, test } from 'vitest';
import { pause, unlessAborted } from './clock.js';

test.each([2 ** 31, 1e12, Number.POSITIVE_INFINITY])('a wait of %d ms doesn’t end at once', async (ms) => {
  await expect(pause(ms, AbortSignal.timeout(50))).rejects.toMatchObject({ name: 'TimeoutError' });
});

test('what isn’t wanted any more is left, and what comes of it is told to nobody', async () => {
  const giveUp = new AbortController();
  const { promise, reject } = Promise.withResolvers<never>();
  const left = unlessAborted(promise, giveUp.signal);
  giveUp.abort(new Error('no longer wanted'));
  await expect(left).rejects.toThrow('no longer wanted');
  reject(new Error('late'));
  await new Promise((resolve) => setTimeout(resolve, 0));
  await expect(unlessAborted(Promise.resolve(1), new AbortController().signal)).resolves.toBe(1);
  await expect(unlessAborted(Promise.resolve(1), giveUp.signal)).rejects.toThrow('no longer wanted');
});
