import { describe, expect, test } from 'vitest';
import { type Change, ItemState } from '../state/model.js';
import { PoolNotifiers } from './pool-notifiers.js';

const ABOUT: Readonly<Record<string, object>> = {
  things: { events: ['add'], collection: 'things' },
  some: { events: ['change'], collection: 'things', prefix: 'a' },
  all: { events: ['delete'] },
  locks: { events: ['lock'], collection: 'things' },
  views: { events: ['detach'] },
  log: { events: ['add'], collection: '_changes' },
  scripts: { events: ['add'], collection: '_scripts' },
};

const change = (path: string): Change => {
  const [collection, key] = path.split('/') as [string, string];
  return {
    collection,
    key,
    op: 'add',
    changed: [],
    removed: [],
    before: {},
    formerBytes: 0,
    after: undefined,
    former: undefined,
  };
};

describe('the notifiers that a commit may concern', () => {
  const notifiers = new PoolNotifiers();
  for (const [name, about] of Object.entries(ABOUT))
    notifiers.learn(name, new ItemState(JSON.stringify({ values: 'changed', ...about }), 1, 1));

  test.each([
    ['things/a1', ['things', 'some', 'all', 'log']],
    ['things/b1', ['things', 'all', 'log']],
    ['others/a1', ['all', 'log']],
    ['_locks/l', ['locks', 'log']],
    ['_attachments/s/v', ['views', 'log']],
    ['_scripts/s', ['scripts', 'log']],
    ['_notifiers/things', ['things', 'log']],
    ['_policies/p', Object.keys(ABOUT)],
  ])('%s', (path, names) => {
    const commit = { revision: 1, time: 0, subject: 's', changes: [change(path)] };
    expect([...notifiers.concernedBy([commit])].sort()).toEqual([...names].sort());
  });

  test('are none that are gone', () => {
    notifiers.learn('log', undefined);
    const commit = { revision: 1, time: 0, subject: 's', changes: [change('others/x')] };
    expect([...notifiers.concernedBy([commit])]).toEqual(['all']);
    expect([...new PoolNotifiers().concernedBy([commit])]).toEqual([]);
  });
});
