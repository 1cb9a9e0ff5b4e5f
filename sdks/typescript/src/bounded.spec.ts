/** What is kept within bounds: values of sparse mirrors, changes that wait for an iterator. */
import { describe, expect, test } from 'vitest';
import { CHANGES_WAITING_MAX } from './bounds.js';
import type { Change } from './change.js';
import { ChangeQueue } from './change-queue.js';
import type { Item } from './item.js';
import { Lru } from './lru.js';

describe('values', () => {
  test('the least recently used go first', () => {
    const lru = new Lru<number>(10);
    lru.set('a', 1, 4);
    lru.set('b', 2, 4);
    lru.get('a');
    lru.set('c', 3, 4);
    expect([lru.get('a'), lru.get('b'), lru.get('c')]).toEqual([1, undefined, 3]);
    expect([lru.size, lru.bytes]).toEqual([2, 8]);
  });

  test('what is too large by itself drives nobody out', () => {
    const lru = new Lru<number>(10);
    lru.set('a', 1, 10);
    lru.set('b', 2, 11);
    expect([lru.peek('a'), lru.peek('b'), lru.bytes]).toEqual([1, undefined, 10]);
  });

  test('what takes the place of another counts once', () => {
    const lru = new Lru<number>(10);
    lru.set('a', 1, 6);
    lru.set('a', 2, 7);
    expect([lru.size, lru.bytes, lru.get('a')]).toEqual([1, 7, 2]);
    lru.delete('a');
    lru.delete('a');
    expect([lru.size, lru.bytes]).toEqual([0, 0]);
  });
});

describe('changes that wait', () => {
  const change = (revision: number): Change => ({ op: 'change', key: 'k', changed: [], removed: [], revision });

  test('are given in their order, and then the end', async () => {
    const queue = new ChangeQueue<Item>(() => {});
    queue.push([change(1), change(2)]);
    queue.end();
    const revisions: number[] = [];
    for await (const { revision } of queue) revisions.push(revision);
    expect(revisions).toEqual([1, 2]);
  });

  test('are waited for by several', async () => {
    const queue = new ChangeQueue<Item>(() => {});
    const both = Promise.all([queue.next(), queue.next()]);
    queue.push([change(1)]);
    queue.push([change(2)]);
    expect((await both).map(({ value }) => value?.revision)).toEqual([1, 2]);
  });

  test('give way to one reset when they are too many', async () => {
    const queue = new ChangeQueue<Item>(() => {});
    for (let n = 1; n <= CHANGES_WAITING_MAX; n++) queue.push([change(n)]);
    queue.push([change(CHANGES_WAITING_MAX + 1)]);
    queue.push([change(CHANGES_WAITING_MAX + 2)]);
    queue.end();
    const told: string[] = [];
    for await (const { op, revision } of queue) told.push(`${op} ${revision}`);
    expect(told).toEqual([`reset ${CHANGES_WAITING_MAX + 1}`, `change ${CHANGES_WAITING_MAX + 2}`]);
  });

  test('fail with what ended the mirror, once', async () => {
    const queue = new ChangeQueue<Item>(() => {});
    queue.end(new Error('gone'));
    await expect(queue.next()).rejects.toThrow('gone');
    expect(await queue.next()).toEqual({ done: true, value: undefined });
  });

  test('are forgotten when nobody reads any more', async () => {
    let isReturned = false;
    const queue = new ChangeQueue<Item>(() => {
      isReturned = true;
    });
    queue.push([change(1), change(2)]);
    for await (const _ of queue) break;
    expect(isReturned).toBe(true);
    expect(await queue.next()).toEqual({ done: true, value: undefined });
  });
});
