import { beforeEach, describe, expect, test } from 'vitest';
import type { Change } from './change.js';
import { type Item, itemOf } from './item.js';
import { Overlay, type Pending, type WriteOp } from './overlay.js';
import { Shown } from './shown.js';
import { View } from './view.js';

describe('what a mirror shows', () => {
  let view: View;
  let overlay: Overlay;
  let shown: Shown<Item>;
  let told: string[];

  beforeEach(() => {
    view = new View('c', { isSparse: false });
    overlay = new Overlay({});
    shown = new Shown(view, overlay, { isSparse: false });
    told = [];
    stream('live', { revision: 0 }, 'e-0');
    told = [];
  });

  const tell = (changes: readonly Change[]) => {
    for (const { op, key, item, reason } of changes)
      told.push([op, key, JSON.stringify(item?.attributes), reason].filter(Boolean).join(' '));
  };

  function stream(event: string, data: object, id: string): void {
    const applied = view.apply({ event, data: JSON.stringify(data), id });
    if (applied.steps) tell(shown.follow(applied.steps, applied, true));
    else tell(shown.relaid());
  }

  const commit = (revision: number, op: string, key: string, attributes = {}, more = {}) =>
    stream('changes', { revision, changes: [{ op, key, attributes, ...more }] }, `e-${revision}`);

  function write(op: WriteOp, key: string, attributes = {}): Pending {
    const pending = { key, op, attributes, isShown: true };
    overlay.add(pending);
    tell(shown.relaid(key));
    return pending;
  }

  function answer(pending: Pending, revision: number): void {
    const item = pending.op === 'delete' ? undefined : itemOf(pending.key, revision, pending.attributes);
    overlay.confirm(pending, item, revision, 'e');
    tell(shown.relaid(pending.key));
  }

  test.each(['answer', 'stream'])('a write is told once, where the %s comes first', (first) => {
    const set = write('set', 'a', { n: 1 });
    expect(told).toEqual(['add a {"n":1}']);
    for (const each of first === 'answer' ? [answer, undefined] : [undefined, answer])
      if (each) each(set, 1);
      else commit(1, 'add', 'a', { n: 1 });
    expect(told).toEqual(['add a {"n":1}']);
    expect(shown.get('a')?.revision).toBe(1);
    expect(shown.size).toBe(1);
    const gone = write('delete', 'a');
    answer(gone, 2);
    commit(2, 'delete', 'a');
    expect(told).toEqual(['add a {"n":1}', 'delete a']);
    expect(shown.all()).toEqual([]);
  });

  test('what others wrote meanwhile is told when it shows', () => {
    commit(1, 'add', 'a', { n: 1 });
    const set = write('merge', 'a', { m: 1 });
    answer(set, 3);
    commit(2, 'change', 'a', { n: 2 });
    expect(shown.get('a')?.attributes).toEqual({ m: 1 });
    commit(3, 'change', 'a', { m: 1 });
    expect(shown.get('a')?.attributes).toEqual({ n: 2, m: 1 });
    expect(told).toEqual(['add a {"n":1}', 'change a {"n":1,"m":1}', 'change a {"m":1}', 'change a {"n":2,"m":1}']);
  });

  test('what is refused is taken back, and several writes lie on one another', () => {
    commit(1, 'add', 'a', { n: 1 });
    const first = write('merge', 'a', { n: 2 });
    const second = write('merge', 'a', { m: 1 });
    overlay.remove(first);
    tell(shown.relaid('a', 'refused'));
    expect(shown.get('a')?.attributes).toEqual({ n: 1, m: 1 });
    overlay.remove(second);
    tell(shown.relaid('a', 'refused'));
    expect(told.slice(-2)).toEqual(['change a {"n":1,"m":1} refused', 'change a {"n":1} refused']);
  });

  test('an item keeps its own revision under what is written and what is told as one', () => {
    commit(1, 'add', 'a', { n: 1 });
    const set = write('set', 'a', { n: 2 });
    answer(set, 7);
    expect(shown.get('a')?.revision).toBe(7);
    // What was missed, as one commit: the item's change in it is that of the write.
    commit(9, 'change', 'a', { n: 2 }, { revision: 7 });
    expect(shown.get('a')).toMatchObject({ revision: 7, attributes: { n: 2 } });
    expect(told).toEqual(['add a {"n":1}', 'change a {"n":2}']);
    // A policy shows more of it, and nobody wrote it.
    commit(12, 'change', 'a', { secret: 1 }, { reason: 'entered', revision: 7 });
    expect(shown.get('a')).toMatchObject({ revision: 7, attributes: { n: 2, secret: 1 } });
    expect(told.at(-1)).toBe('change a {"n":2,"secret":1} entered');
  });

  test('a snapshot that takes the place of everything is told as differences', () => {
    commit(1, 'add', 'a', { n: 1 });
    commit(2, 'add', 'b', { n: 1 });
    const set = write('set', 'c', { n: 1 });
    answer(set, 3);
    told = [];
    stream('reset', { reason: 'slow' }, '');
    stream(
      'snapshot',
      {
        revision: 4,
        items: [
          { key: 'a', revision: 1, attributes: { n: 1 } },
          { key: 'c', revision: 4, attributes: { n: 2 } },
        ],
      },
      '',
    );
    stream('live', { revision: 4 }, 'e-4');
    expect(told.sort()).toEqual(['change c {"n":2}', 'delete b']);
  });

  test('a change of nothing gives the item its revision, and is told to nobody', () => {
    commit(1, 'add', 'a', { n: 1 });
    told = [];
    commit(2, 'change', 'a', {}, { changed: [], removed: [] });
    expect(shown.get('a')?.revision).toBe(2);
    expect(told).toEqual([]);
  });

  test('who walks it walks one state', () => {
    commit(1, 'add', 'a', { n: 1 });
    const all = shown.all();
    commit(2, 'delete', 'a');
    expect(all.map(({ key }) => key)).toEqual(['a']);
    expect(shown.all()).toEqual([]);
  });
});
