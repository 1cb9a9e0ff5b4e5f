import { expect, it } from 'vitest';
import { ItemCache } from './item-cache.js';
import { ItemState } from './model.js';

const state = (bytes: number) => new ItemState(`{"a":"${'x'.repeat(bytes)}"}`, 1, 1);

it('stays within its bound, and spares what was used', () => {
  const cache = new ItemCache(100_000);
  cache.set('kept', state(100));
  for (let i = 0; i < 1000; i++) {
    cache.get('kept');
    cache.set(`other${i}`, state(100));
    expect(cache.bytes).toBeLessThanOrEqual(100_000);
  }
  expect(cache.get('kept')?.state).toBeDefined();
  expect(cache.get('other0')).toBeUndefined();
});

it('tells an item known to be absent from one that is not known', () => {
  const cache = new ItemCache(10_000);
  cache.set('absent', undefined);
  expect(cache.get('absent')).toBeDefined();
  expect(cache.get('absent')?.state).toBeUndefined();
  expect(cache.get('unknown')).toBeUndefined();
});

it('takes over newer states of what it remembers only', () => {
  const cache = new ItemCache(10_000);
  cache.update('a', state(1));
  expect(cache.get('a')).toBeUndefined();
  cache.set('a', state(1));
  const newer = state(2);
  cache.update('a', newer);
  expect(cache.get('a')?.state).toBe(newer);
});
