import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Attributes, changeBetween, ItemState, stateBefore } from './model.js';

const ref = { collection: 'c', key: 'k' };
const names = fc.constantFrom('a', 'b', 'c', '__proto__', 'toString');
const attributes = fc
  .array(fc.tuple(names, fc.jsonValue()))
  .map(
    (entries) =>
      JSON.parse(`{${entries.map(([n, v]) => `${JSON.stringify(n)}:${JSON.stringify(v)}`).join(',')}}`) as Attributes,
  );
const item = (revision: number) =>
  fc.option(attributes, { nil: undefined }).map((a) => a && new ItemState(JSON.stringify(a), revision, 1, a));

describe('a change between two states', () => {
  it('says everything that is needed to go back', () => {
    fc.assert(
      fc.property(item(1), item(2), (before, after) => {
        const change = changeBetween(ref, before, after);
        if (!change) return;
        const back = stateBefore(change);
        expect(back?.attributes).toEqual(before?.attributes);
        expect(back?.revision).toBe(before?.revision);
      }),
    );
  });

  it('names what was set and removed, and nothing where nothing changed', () => {
    const state = (a: Attributes) => new ItemState(JSON.stringify(a), 1, 1, a);
    expect(changeBetween(ref, state({ a: 1 }), state({ a: 1 }))).toBeUndefined();
    expect(changeBetween(ref, state({ a: 1, b: 2, c: 3 }), state({ a: 1, b: 3, d: 4 }))).toMatchObject({
      op: 'change',
      changed: ['b', 'd', 'c'],
      removed: ['c'],
      before: { b: 2, c: 3 },
    });
    expect(changeBetween(ref, undefined, state({}))).toMatchObject({ op: 'add', changed: [] });
    expect(changeBetween(ref, state({ a: 1 }), undefined)).toMatchObject({
      op: 'delete',
      changed: ['a'],
      removed: ['a'],
    });
  });
});
