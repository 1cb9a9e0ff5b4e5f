import { describe, expect, it } from 'vitest';
import { Limit } from './limit.js';

const HOUR = 3_600_000;

/** How many of so many takings are allowed. */
async function allowed(limit: Limit, key: string, times: number): Promise<number> {
  let count = 0;
  for (let i = 0; i < times; i++) if (!(await limit.take(key)).isOver) count++;
  return count;
}

describe('a limit', () => {
  it.each([1, 3, 7, 100, 250, 997, 6000])('allows %i and no more, for each key', async (count) => {
    const limit = new Limit('writes', { count, everyMs: HOUR });
    expect(await allowed(limit, 'a', count + 50)).toBe(count);
    expect(await allowed(limit, 'b', count + 50)).toBe(count);
  });

  it('of many takings at once allows no more', async () => {
    const limit = new Limit('writes', { count: 1000, everyMs: HOUR });
    const standings = await Promise.all(Array.from({ length: 3000 }, async () => (await limit.take('a')).isOver));
    expect(standings.filter((isOver) => !isOver)).toHaveLength(1000);
  });

  it('tells what is left and until when', async () => {
    const limit = new Limit('writes', { count: 1000, everyMs: HOUR });
    const now = Date.now();
    for (let i = 1; i <= 25; i++) expect((await limit.take('a')).left).toBe(1000 - i);
    expect((await limit.take('a')).endsAt - now).toBeGreaterThan(HOUR - 1000);
    expect(limit.policy).toBe('"writes";q=1000;w=3600');
  });

  it('mostly answers at once: the counter is asked for a hundredth at a time', async () => {
    const limit = new Limit('writes', { count: 10_000, everyMs: HOUR });
    let asked = 0;
    for (let i = 0; i < 1000; i++) {
      const standing = limit.take('a');
      if (standing instanceof Promise) {
        asked++;
        await standing;
      }
    }
    expect(asked).toBe(10);
  });

  it('counts those together that are too many to be counted apart', async () => {
    const limit = new Limit('writes', { count: 2, everyMs: HOUR }, 3);
    expect(await allowed(limit, 'a', 5)).toBe(2);
    for (const key of ['b', 'c']) expect(await allowed(limit, key, 1)).toBe(1);
    const others = [];
    for (const key of ['d', 'e', 'f']) others.push(await allowed(limit, key, 1));
    expect(others).toEqual([1, 1, 0]);
    // Whoever is known stays counted apart.
    expect([await allowed(limit, 'b', 2), await allowed(limit, 'a', 1)]).toEqual([1, 0]);
  });
});
