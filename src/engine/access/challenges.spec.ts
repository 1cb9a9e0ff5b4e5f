import { expect, it } from 'vitest';
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import { Challenges } from './challenges.js';
import type { LoginStore } from './login-store.js';
import { digestOf } from './secrets.js';

it('of a nonce the store has a digest only', async () => {
  const kept: string[] = [];
  const store = {
    addNonce: async (digest: string) => void kept.push(digest),
    takeNonce: async (digest: string) => kept.includes(digest),
  } as unknown as LoginStore;
  const challenges = new Challenges(store, () => 0);
  const nonce = await challenges.issue();
  expect(kept).toEqual([digestOf(nonce)]);
  expect([await challenges.take(nonce), await challenges.take('x')]).toEqual([true, false]);
});

it('a node gives out so many in a minute, and says when it goes on', async () => {
  let now = 90_000;
  let rows = 0;
  const challenges = new Challenges({ addNonce: async () => void rows++ } as unknown as LoginStore, () => now);
  for (let i = 0; i < limits.noncesPerMinuteMax; i++) await challenges.issue();
  const refused = await challenges.issue().catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(Problem);
  expect(refused).toMatchObject({ code: 'tooManyRequests', extras: { headers: { 'retry-after': '30' } } });
  expect(rows).toBe(limits.noncesPerMinuteMax);
  now = 120_000;
  await challenges.issue();
});
