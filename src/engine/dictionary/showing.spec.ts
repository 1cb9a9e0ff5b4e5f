import { describe, expect, it } from 'vitest';
import { limits } from '../limits.js';
import { ItemState } from '../state/model.js';
import { Showing } from './showing.js';

const items = Array.from({ length: 50 }, (_, i) => ({ key: `k${i}`, state: new ItemState('{"a":1}', 1, 1) }));
const reading = (cost: number, text = '') => ({ cost, onRead: () => ({ text }) });

/** How often others had their turn meanwhile. */
async function turnsOf(work: Promise<unknown>): Promise<number> {
  let turns = 0;
  let done = false;
  const other = (): void => {
    if (done) return;
    turns++;
    setImmediate(other);
  };
  setImmediate(other);
  await work.finally(() => {
    done = true;
  });
  return turns;
}

describe('the items of an answer, read', () => {
  it('let others have their turn between them, as often as they are dear', async () => {
    expect(await turnsOf(new Showing().all(items, reading(limits.turnCost)))).toBeGreaterThanOrEqual(45);
    expect(await turnsOf(new Showing().all(items, reading(limits.turnCost / 10)))).toBeGreaterThanOrEqual(4);
    expect(await turnsOf(new Showing().all(items, reading(10)))).toBeLessThan(2);
  });

  it('have one allowance together, also those that are expanded', async () => {
    const showing = new Showing();
    const dear = reading(limits.shownCostMax / 60);
    expect(await showing.all(items, dear)).toHaveLength(50);
    await expect(showing.all(items, dear)).rejects.toMatchObject({ code: 'tooLarge' });
  });

  it('may not become too much', async () => {
    const long = reading(1, 'a'.repeat(limits.shownBytesMax / 40));
    await expect(new Showing().all(items, long)).rejects.toMatchObject({ code: 'tooLarge' });
  });
});
