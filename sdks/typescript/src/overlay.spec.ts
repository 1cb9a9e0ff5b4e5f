import { describe, expect, test } from 'vitest';
import { entryOf, type Item, itemOf } from './item.js';
import { Overlay, type Pending, type Selection, type WriteOp } from './overlay.js';

const base = itemOf('k', 3, { n: 1, at: { x: 1, y: 2 } });
const write = (op: WriteOp, attributes = {}, isShown = true): Pending => ({ key: 'k', op, attributes, isShown });

function overlay(selection: Selection, ...writes: Pending[]): Overlay {
  const made = new Overlay(selection);
  for (const each of writes) made.add(each);
  return made;
}

test.each<[string, Pending[], object | undefined]>([
  ['set', [write('set', { m: 2, gone: null })], { m: 2 }],
  ['merge', [write('merge', { at: { x: null, z: 3 } })], { n: 1, at: { y: 2, z: 3 } }],
  ['delete', [write('delete')], undefined],
  ['several in their order', [write('delete'), write('merge', { a: 1 }), write('merge', { b: 2 })], { a: 1, b: 2 }],
  [
    'what the policy most likely refuses is left out',
    [write('set', { m: 2 }, false), write('merge', { b: 1 })],
    { n: 1, at: { x: 1, y: 2 }, b: 1 },
  ],
])('%s', (_, writes, attributes) => {
  expect((overlay({}, ...writes).over('k', base) as Item | undefined)?.attributes).toEqual(attributes);
});

describe('what a selection would not show', () => {
  test.each<[string, Selection, object | undefined]>([
    ['a filter that it doesn’t match', { where: { n: 1 } }, undefined],
    ['one that it matches', { where: { n: 2 } }, { n: 2, m: 3 }],
    ['one that can’t be judged here: as it was', { where: { n: { like: 2 } } }, base.attributes],
    ['another key', { key: 'x' }, undefined],
    ['another prefix', { prefix: 'x' }, undefined],
    ['before the start', { start: 'l' }, undefined],
    ['at the end', { end: 'k' }, undefined],
    ['within', { start: 'k', end: 'l' }, { n: 2, m: 3 }],
    ['some attributes', { fields: ['m'] }, { m: 3 }],
    ['a part of an attribute: as it was', { fields: ['/at/x'] }, base.attributes],
  ])('%s', (_, selection, attributes) => {
    expect((overlay(selection, write('set', { n: 2, m: 3 })).over('k', base) as Item | undefined)?.attributes).toEqual(
      attributes,
    );
  });
});

describe('what the server answered', () => {
  test('stays until the stream is there', () => {
    const pending = write('set', { n: 2 });
    const made = overlay({}, pending);
    made.confirm(pending, itemOf('k', 7, { n: 2 }), 7, 'e');
    expect(made.over('k', base)).toMatchObject({ revision: 7, attributes: { n: 2 } });
    expect(made.passed(6, 'e')).toEqual([]);
    expect(made.passed(7, 'e')).toEqual(['k']);
    expect(made.isEmpty).toBe(true);
  });

  test('lies under what was written after it', () => {
    const [first, second] = [write('set', { n: 2 }), write('merge', { m: 3 })] as const;
    const made = overlay({}, first, second);
    made.confirm(first, itemOf('k', 7, { n: 2 }), 7, 'e');
    expect((made.over('k', base) as Item | undefined)?.attributes).toEqual({ n: 2, m: 3 });
  });

  test('is nothing against what the stream told later', () => {
    const pending = write('delete');
    const made = overlay({}, pending);
    made.confirm(pending, undefined, 7, 'e');
    expect(made.over('k', base)).toBeUndefined();
    expect(made.over('k', itemOf('k', 8, { n: 9 }))).toMatchObject({ attributes: { n: 9 } });
  });

  test('goes when the pool was made anew', () => {
    const pending = write('set', { n: 2 });
    const made = overlay({}, pending);
    made.confirm(pending, itemOf('k', 700, { n: 2 }), 700, 'e');
    expect(made.passed(1, 'f')).toEqual(['k']);
  });

  test('gives way to an answer that came after it only', () => {
    const [first, second] = [write('set', { n: 2 }), write('set', { n: 3 })] as const;
    const made = overlay({}, first, second);
    made.confirm(second, itemOf('k', 8, { n: 3 }), 8, 'e');
    made.confirm(first, itemOf('k', 7, { n: 2 }), 7, 'e');
    expect((made.over('k', base) as Item | undefined)?.attributes).toEqual({ n: 3 });
  });
});

test('what was refused is lifted off', () => {
  const [first, second] = [write('set', { n: 2 }), write('merge', { m: 3 })] as const;
  const made = overlay({}, first, second);
  made.remove(first);
  expect((made.over('k', base) as Item | undefined)?.attributes).toEqual({ n: 1, at: { x: 1, y: 2 }, m: 3 });
  made.remove(second);
  expect(made.has('k')).toBe(false);
});

describe('without values', () => {
  const entry = entryOf('k', 3);
  test.each<[string, Selection, Pending[], object | undefined, object | undefined]>([
    ['a write makes one', {}, [write('merge', { n: 2 })], undefined, { key: 'k', revision: 0 }],
    ['a write leaves what is there', {}, [write('set', { n: 2 })], entry, entry],
    ['a delete takes it away', {}, [write('delete')], entry, undefined],
    ['one that a filter wouldn’t show', { where: { n: 1 } }, [write('set', { n: 2 })], entry, undefined],
    ['one that a filter shows', { where: { n: 1 } }, [write('set', { n: 1 })], undefined, { key: 'k', revision: 0 }],
    ['a merge under a filter is nobody’s to judge', { where: { n: 1 } }, [write('merge', { n: 2 })], entry, entry],
  ])('%s', (_, selection, writes, before, after) => {
    const made = overlay({ ...selection, values: 'none' }, ...writes);
    expect(made.over('k', before as typeof entry | undefined)).toEqual(after);
  });

  test('what the server answered has its revision', () => {
    const pending = write('set', { n: 2 });
    const made = overlay({ values: 'none' }, pending);
    made.confirm(pending, itemOf('k', 7, { n: 2 }), 7, 'e');
    expect(made.over('k', entry)).toEqual({ key: 'k', revision: 7 });
    made.passed(7, 'e');
    expect(made.over('k', entry)).toBe(entry);
  });
});
