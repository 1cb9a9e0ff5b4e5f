import { expect, test } from 'vitest';
import type { Change } from './change.js';
import type { Item } from './item.js';
import { MirrorListeners } from './mirror-listeners.js';

const change = (revision: number): Change => ({ op: 'change', key: 'k', changed: [], removed: [], revision });

test('what a listener brings about is told to all after what is being told', () => {
  const listeners = new MirrorListeners<Item>(() => {});
  const heard: string[] = [];
  let depth = 0;
  listeners.on('change', ({ revision }) => {
    expect(++depth).toBe(1);
    heard.push(`first ${revision}`);
    // As a write through the mirror does, which shows at once.
    if (revision === 1) listeners.tell([change(3)]);
    depth--;
  });
  listeners.on('change', ({ revision }) => heard.push(`second ${revision}`));
  listeners.tell([change(1), change(2)]);
  expect(heard).toEqual(['first 1', 'second 1', 'first 2', 'second 2', 'first 3', 'second 3']);
});

test('who throws, or ends hearing, keeps nobody else from it', async () => {
  const problems: unknown[] = [];
  const listeners = new MirrorListeners<Item>((error) => problems.push(error));
  const heard: number[] = [];
  listeners.on('change', () => {
    throw new Error('sync');
  });
  listeners.on('change', () => Promise.reject(new Error('async')));
  const stop = listeners.on('change', ({ revision }) => {
    heard.push(revision);
    stop();
  });
  listeners.tell([change(1), change(2)]);
  await Promise.resolve();
  expect(heard).toEqual([1]);
  expect(problems.map((error) => (error as Error).message).sort()).toEqual(['async', 'async', 'sync', 'sync']);
});
