import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { matcherOf } from '../query/evaluate.js';
import { parseFilter } from '../query/filter.js';
import type { Json } from '../state/json.js';
import { type Attributes, type Change, type Commit, changeBetween, ItemState } from '../state/model.js';
import { Coalesced } from './coalesce.js';
import { View, type ViewRequest } from './view.js';

const ref = { collection: 'things', key: 'a' };
const state = (attributes: Attributes | undefined, revision: number) =>
  attributes && new ItemState(JSON.stringify(attributes), revision, 1, attributes);
const between = (before: Attributes | undefined, after: Attributes | undefined) =>
  changeBetween(ref, state(before, 1), state(after, 2)) as Change;
const viewOf = (filter: Json | undefined, request: Partial<ViewRequest> = {}) =>
  new View({ values: 'changed', ...request, where: filter === undefined ? undefined : parseFilter(filter, '') });
const told = (view: View, change: Change | undefined) =>
  change && JSON.parse(view.tellChange(change, change.after?.revision ?? 0));

describe('through a filter', () => {
  const open = { status: 'open' };
  type Row = [says: string, before: Attributes | undefined, after: Attributes | undefined, told: object | undefined];
  const rows: Row[] = [
    [
      'a new item that matches is added',
      undefined,
      { status: 'open', x: 1 },
      { op: 'add', changed: ['status', 'x'], removed: [], attributes: { status: 'open', x: 1 }, previous: {} },
    ],
    ['a new item that does not match is not told', undefined, { status: 'shut' }, undefined],
    [
      'an item that begins to match enters with all it has, and nothing of what it had',
      { status: 'shut', x: 1, y: 1 },
      { status: 'open', x: 1, z: 1 },
      {
        op: 'add',
        changed: ['status', 'x', 'z'],
        removed: [],
        attributes: { status: 'open', x: 1, z: 1 },
        previous: {},
        reason: 'entered',
      },
    ],
    [
      'an item that matches throughout is changed',
      { status: 'open', x: 1, y: 1 },
      { status: 'open', x: 2 },
      {
        op: 'change',
        changed: ['x', 'y'],
        removed: ['y'],
        attributes: { status: 'open', x: 2 },
        previous: { x: 1, y: 1 },
      },
    ],
    [
      'an item that ceases to match leaves with what it had, and nothing of what it has',
      { x: 1, status: 'open' },
      { x: 1, status: 'shut', z: 1 },
      {
        op: 'delete',
        changed: ['x', 'status'],
        removed: ['x', 'status'],
        attributes: {},
        previous: { x: 1, status: 'open' },
        reason: 'left',
      },
    ],
    [
      'an item that matched is deleted',
      { status: 'open' },
      undefined,
      { op: 'delete', changed: ['status'], removed: ['status'], attributes: {}, previous: { status: 'open' } },
    ],
    ['the end of an item outside is not told', { status: 'shut', x: 1 }, undefined, undefined],
    ['a change outside is not told', { status: 'shut', x: 1 }, { status: 'shut', x: 2 }, undefined],
  ];

  it.each(rows)('%s', (_says, before, after, wanted) => {
    const view = viewOf(open, { values: 'full' });
    const seen = told(view, view.see(between(before, after)));
    expect(seen).toEqual(wanted && { ...ref, ...wanted });
  });

  it('what comes and goes is told whatever the fields, and shows them only', () => {
    const view = viewOf(open, { fields: ['x', 'y'], values: 'full' });
    const see = (before: Attributes, after: Attributes) => told(view, view.see(between(before, after)));
    expect(see({ status: 'shut', z: 1 }, { status: 'open', z: 1 })).toMatchObject({ op: 'add', changed: [] });
    expect(see({ status: 'shut', x: 1 }, { status: 'open', x: 1 })).toMatchObject({
      changed: ['x'],
      attributes: { x: 1 },
      previous: {},
      reason: 'entered',
    });
    expect(see({ status: 'open', x: 1, z: 1 }, { status: 'shut', x: 1, z: 1 })).toMatchObject({
      changed: ['x'],
      removed: ['x'],
      attributes: {},
      previous: { x: 1 },
      reason: 'left',
    });
    expect(see({ status: 'open', z: 1 }, { status: 'open', z: 2 })).toBeUndefined();
    expect(see({ status: 'open', x: 1 }, { status: 'open', x: 2 })).toMatchObject({ op: 'change', changed: ['x'] });
  });

  it('the revision of an item can bring it in and out without any attribute of the filter', () => {
    const change = between({ x: 1 }, { x: 2 });
    expect(viewOf({ '/@revision': { gte: 2 } }).see(change)?.reason).toBe('entered');
    expect(viewOf({ '/@revision': { lte: 1 } }).see(change)?.reason).toBe('left');
    expect(viewOf({ '/@revision': { gte: 1 } }).see(change)).toBe(change);
    expect(viewOf({ '/@key': 'b' }).see(change)).toBeUndefined();
    expect(viewOf({ '/@key': { prefix: 'a' } }).see(change)).toBe(change);
  });

  it('why the system deleted an item is passed on to those who saw it', () => {
    const expired: Change = { ...between({ status: 'open' }, undefined), reason: 'expired' };
    expect(told(viewOf(undefined), expired)).toMatchObject({ op: 'delete', reason: 'expired' });
    expect(viewOf(open).see(expired)).toBe(expired);
    expect(viewOf({ status: 'shut' }).see(expired)).toBeUndefined();
  });

  it('the revision of an item is told where it isn’t the commit’s', () => {
    const change = between({ x: 1 }, { x: 2 });
    const view = viewOf(undefined);
    expect(JSON.parse(view.tellChange(change, 2))).not.toHaveProperty('revision');
    expect(JSON.parse(view.tellChange(change, 7))).toMatchObject({ op: 'change', revision: 2 });
    expect(JSON.parse(view.tellChange(between({ x: 1 }, undefined), 7))).not.toHaveProperty('revision');
  });

  it('of joined commits that lead back, the revision is told to who sees the whole item', () => {
    const joined = new Coalesced();
    const toggled = [between({ x: 1 }, { x: 2 }), changeBetween(ref, state({ x: 2 }, 2), state({ x: 1 }, 3)) as Change];
    for (const [i, change] of toggled.entries())
      joined.add({ revision: i + 2, time: 0, subject: '', changes: [change] }, () => true);
    joined.add({ revision: 4, time: 0, subject: '', changes: [] }, () => true);
    const commit = joined.commit as Commit;
    const [seen] = viewOf(undefined).seeAll(commit);
    expect(JSON.parse(viewOf(undefined).tellChange(seen as Change, commit.revision))).toEqual({
      op: 'change',
      ...ref,
      changed: [],
      removed: [],
      attributes: {},
      revision: 3,
    });
    expect(viewOf(undefined, { fields: ['x'] }).seeAll(commit)).toEqual([]);
  });

  it('without values the reason is told all the same', () => {
    const view = viewOf(open, { values: 'none' });
    expect(told(view, view.see(between({ status: 'shut' }, { status: 'open' })))).toEqual({
      op: 'add',
      ...ref,
      changed: ['status'],
      removed: [],
      reason: 'entered',
    });
  });
});

it('views with different filters differ', () => {
  const ids = [undefined, '{}', '{"x":1}', '{"x":"1"}', '{"y":1}'].map(
    (filter) => viewOf(filter && JSON.parse(filter)).id,
  );
  expect(new Set(ids).size).toBe(5);
  expect(viewOf({ x: 1 }).id).toBe(viewOf({ x: 1 }).id);
});

const attributes = fc.dictionary(fc.constantFrom('x', 'y', 'z'), fc.nat(2)) as fc.Arbitrary<Attributes>;
const filter = fc.constantFrom<Json>(
  { x: 1 },
  { x: { in: [0, 2] }, y: { exists: true } },
  { or: [{ x: 1 }, { z: { gte: 1 } }] },
  { not: { y: 0 } },
  { '/@revision': { lt: 4 } },
  { '/@revision': { gte: 3 }, x: { exists: false } },
);
const history = fc.array(fc.option(attributes, { nil: undefined }), { minLength: 1, maxLength: 8 });

/** The commits of one item's history, and its states after each. */
function commitsOf(steps: readonly (Attributes | undefined)[]) {
  const commits: Commit[] = [];
  const states: (ItemState | undefined)[] = [undefined];
  for (const step of steps) {
    const revision = commits.length + 1;
    const change = changeBetween(ref, states.at(-1), state(step, revision));
    if (!change) continue;
    commits.push({ revision, time: 0, subject: '', changes: [change] });
    states.push(change.after);
  }
  return { commits, states };
}

it('a mirror of what is seen is the filtered state after every commit, and knows nothing else', () => {
  fc.assert(
    fc.property(history, filter, (steps, filter) => {
      const { commits, states } = commitsOf(steps);
      const view = viewOf(filter, { values: 'full' });
      const matches = matcherOf(view.request.where);
      let mirror: Attributes | undefined;
      for (const commit of commits) {
        const after = states[commit.revision];
        const [seen] = view.seeAll(commit);
        if (seen) {
          const { op, changed, removed, attributes, previous } = told(view, seen);
          expect(op === 'add').toBe(mirror === undefined);
          expect(previous).toEqual(
            op === 'add'
              ? {}
              : Object.fromEntries(Object.entries(mirror as Attributes).filter(([n]) => changed.includes(n))),
          );
          expect(removed).toEqual(changed.filter((name: string) => !Object.hasOwn(attributes, name)));
          mirror = op === 'delete' ? undefined : attributes;
        }
        const isIn = after && matches({ key: ref.key, revision: after.revision, attributes: after.attributes });
        expect(mirror).toEqual(isIn ? after.attributes : undefined);
      }
    }),
    { numRuns: 1000 },
  );
});

it('a slow watcher is told where an item is, and not what it was outside meanwhile', () => {
  fc.assert(
    fc.property(history, filter, fc.nat(), (steps, filter, cut) => {
      const { commits, states } = commitsOf(steps);
      if (commits.length === 0) return;
      const view = viewOf(filter);
      const matches = matcherOf(view.request.where);
      const begin = cut % commits.length;
      const joined = new Coalesced();
      for (const commit of commits.slice(begin)) joined.add(commit, (change) => view.concerns(change));
      const [seen] = view.seeAll(joined.commit as Commit);
      const isIn = (it: ItemState | undefined) =>
        it !== undefined && matches({ key: ref.key, revision: it.revision, attributes: it.attributes });
      const [was, is] = [isIn(states[begin]), isIn(states.at(-1))];
      if (was !== is) expect(seen?.op).toBe(is ? 'add' : 'delete');
      else if (seen) expect([was, seen.op]).toEqual([true, 'change']);
      if (is && !was) expect(seen?.reason).toBe(states[begin] ? 'entered' : undefined);
      if (was && !is) expect(seen?.reason).toBe(states.at(-1) ? 'left' : undefined);
    }),
    { numRuns: 1000 },
  );
});
