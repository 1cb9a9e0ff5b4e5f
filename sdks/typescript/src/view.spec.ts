import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Item } from './item.js';
import type { StreamEvent } from './sse-parser.js';
import { type Step, View } from './view.js';

const on = (event: string, data: unknown, id = ''): StreamEvent => ({ event, data: JSON.stringify(data), id });

function shown(view: View): Record<string, unknown> {
  return Object.fromEntries([...view.items].map(([key, item]) => [key, (item as Item).attributes]));
}

const snapshot = (revision: number, items: Record<string, object>, part = 1) =>
  on('snapshot', {
    view: 'c',
    revision,
    part,
    items: Object.entries(items).map(([key, attributes]) => ({ collection: 'c', key, revision, attributes })),
  });
const live = (revision: number, epoch = 'e') => on('live', { view: 'c', revision }, `${epoch}-${revision}`);
const changes = (revision: number, list: object[], more = false) =>
  on('changes', { revision, changes: list, ...(more && { more }) }, more ? '' : `e-${revision}`);
const add = (key: string, attributes: object) => ({
  op: 'add',
  collection: 'c',
  key,
  changed: Object.keys(attributes),
  removed: [],
  attributes,
});

function viewWith(...events: StreamEvent[]): View {
  const view = new View('c', { isSparse: false });
  for (const event of events) view.apply(event);
  return view;
}

describe('a view', () => {
  test('shows nothing of a snapshot before it is whole', () => {
    const view = viewWith(snapshot(3, { a: { n: 1 } }), snapshot(3, { b: { n: 2 } }, 2));
    expect(view).toMatchObject({ isLive: false, isComplete: false, revision: 0 });
    expect(shown(view)).toEqual({});
    expect(view.apply(live(3))).toMatchObject({ isFirst: true, steps: [] });
    expect(view).toMatchObject({ isLive: true, revision: 3, cursor: 'e-3' });
    expect(shown(view)).toEqual({ a: { n: 1 }, b: { n: 2 } });
  });

  test('shows nothing of a commit before its last part is there', () => {
    const view = viewWith(live(0), changes(1, [add('a', { n: 1 })], true));
    expect(shown(view)).toEqual({});
    expect(view.revision).toBe(0);
    view.apply(changes(1, [add('b', { n: 2 })]));
    expect(shown(view)).toEqual({ a: { n: 1 }, b: { n: 2 } });
  });

  test('forgets the part of a commit when the connection is lost', () => {
    const view = viewWith(live(0), changes(1, [add('a', { n: 1 })], true));
    view.disconnected();
    view.apply(changes(1, [add('a', { n: 1 }), add('b', { n: 2 })]));
    expect(shown(view)).toEqual({ a: { n: 1 }, b: { n: 2 } });
    expect(view.cursor).toBe('e-1');
  });

  test('passes over what it has seen, and its cursor too', () => {
    const view = viewWith(live(0), changes(2, [add('a', { n: 1 })]), changes(1, [add('a', { n: -1 })]));
    expect(shown(view)).toEqual({ a: { n: 1 } });
    expect(view.cursor).toBe('e-2');
    view.apply(on('bookmark', { revision: 1 }, 'e-1'));
    expect(view.cursor).toBe('e-2');
  });

  test('keeps the old state through a reset until the new one is whole, also a lower one', () => {
    const view = viewWith(
      live(0),
      changes(7, [add('a', { n: 1 }), add('b', { n: 1 })]),
      on('reset', { view: 'c', reason: 'epoch' }),
    );
    view.apply(snapshot(2, { b: { n: 2 } }));
    expect(shown(view)).toEqual({ a: { n: 1 }, b: { n: 1 } });
    expect(view).toMatchObject({ isLive: false, cursor: 'e-7' });
    const { steps } = view.apply(live(2, 'f'));
    expect(steps?.map(({ key, before, after }) => [key, before !== undefined, after !== undefined])).toEqual([
      ['a', true, false],
      ['b', true, true],
    ]);
    expect(view).toMatchObject({ isLive: true, revision: 2, cursor: 'f-2' });
  });

  test.each([[{}], [{ b: { n: 1 } }]])('begun anew it shows the old state until the new one is whole: %j', (items) => {
    const view = viewWith(live(0), changes(1, [add('a', { n: 1 })]));
    for (let attempt = 0; attempt < 2; attempt++) {
      // The first one is cut off.
      view.disconnected();
      view.beginAnew();
      expect(view.cursor).toBeUndefined();
      expect(shown(view)).toEqual({ a: { n: 1 } });
    }
    // Of nothing there is no part.
    if (Object.keys(items).length > 0) view.apply(snapshot(2, items));
    expect(view.apply(live(2)).steps?.length).toBe(1 + Object.keys(items).length);
    expect(shown(view)).toEqual(items);
    expect(view.cursor).toBe('e-2');
  });

  test('lays what is set and removed over what there was', () => {
    const view = viewWith(live(0), changes(1, [add('a', { n: 1, m: 2 })]));
    const { steps } = view.apply(
      changes(2, [
        { op: 'change', collection: 'c', key: 'a', changed: ['m', 'o'], removed: ['m'], attributes: { o: 3 } },
      ]),
    );
    expect(shown(view)).toEqual({ a: { n: 1, o: 3 } });
    expect(steps).toEqual([expect.objectContaining({ key: 'a', changed: ['m', 'o'], removed: ['m'] })]);
  });

  test('takes what a newer server does for a change if it has values, and passes it over otherwise', () => {
    const view = viewWith(live(0), changes(1, [add('a', { n: 1 })]));
    view.apply(
      changes(2, [
        { ...add('a', { n: 2 }), op: 'morph' },
        { op: 'blink', collection: 'c', key: 'a', changed: [], removed: [] },
      ]),
    );
    view.apply(on('sparkle', { revision: 99 }, 'e-99'));
    expect(shown(view)).toEqual({ a: { n: 2 } });
    expect(view).toMatchObject({ revision: 2, cursor: 'e-2' });
  });

  test('passes over what is of another view or collection', () => {
    const view = viewWith(live(0), on('reset', { view: 'other' }), on('live', { view: 'other', revision: 5 }, 'e-5'));
    view.apply(changes(1, [{ ...add('a', {}), collection: '_locks' }, add('b', {})]));
    expect(shown(view)).toEqual({ b: {} });
    expect(view.isLive).toBe(true);
  });

  test('keeps an attribute that is called __proto__', () => {
    const view = viewWith(live(0));
    view.apply({
      event: 'changes',
      id: 'e-1',
      data: '{"revision":1,"changes":[{"op":"add","collection":"c","key":"a","changed":[],"removed":[],"attributes":{"__proto__":1}}]}',
    });
    view.apply(
      changes(2, [{ op: 'change', collection: 'c', key: 'a', changed: ['n'], removed: [], attributes: { n: 1 } }]),
    );
    expect(JSON.stringify((view.items.get('a') as Item).attributes)).toBe('{"__proto__":1,"n":1}');
  });

  test.each([
    [false, { n: 2 }],
    [true, undefined],
  ])('takes the revision of an item where it is another than the commit’s (sparse: %s)', (isSparse, attributes) => {
    const view = new View('c', { isSparse });
    view.apply(live(0));
    view.apply(changes(1, [add('a', { n: 1 })]));
    const joined = changes(9, [{ ...add('a', { n: 2 }), op: 'change', revision: 7 }, add('b', { n: 3 })]);
    const { steps } = view.apply(joined);
    expect(steps?.map(({ before, after }) => [before?.revision, after?.revision])).toEqual([
      [1, 7],
      [undefined, 9],
    ]);
    expect((view.items.get('a') as Item).attributes).toEqual(attributes);
    expect([...view.items.values()].map(({ revision }) => revision)).toEqual([7, 9]);
    // That of the state is the commit's all the same.
    expect(view).toMatchObject({ revision: 9, cursor: 'e-9' });
    view.apply(joined);
    expect(view.items.get('a')?.revision).toBe(7);
  });

  test('takes it too where the state is still coming in', () => {
    const view = viewWith(live(0), on('reset', { view: 'c' }), snapshot(4, { a: { n: 1 } }));
    view.apply(changes(6, [{ ...add('b', { n: 1 }), reason: 'entered', revision: 2 }]));
    view.apply(live(6));
    expect([...view.items.values()].map(({ key, revision }) => [key, revision])).toEqual([
      ['a', 4],
      ['b', 2],
    ]);
  });

  test.each([
    ['a revision of an item that is none', { ...add('b', {}), revision: 0 }],
    ['one that is no whole number', { ...add('b', {}), revision: 1.5 }],
    ['one that is a text', { ...add('b', {}), revision: '1' }],
    ['one that is null', { ...add('b', {}), revision: null }],
    ['one beyond the commit’s', { ...add('b', {}), revision: 3 }],
    ['a change of nothing', { op: 'add', collection: 'c' }],
    ['names that are none', { ...add('b', {}), op: 'change', removed: 1 }],
    ['attributes that are none', { ...add('b', {}), attributes: [] }],
    ['what is no change', null],
  ])('refuses %s, and shows nothing of that commit', (_, wrong) => {
    const view = viewWith(live(0), changes(1, [add('a', { n: 1 })]));
    expect(() => view.apply(changes(2, [add('c', {}), wrong as object]))).toThrow(
      expect.objectContaining({ code: 'protocolError' }),
    );
    expect(shown(view)).toEqual({ a: { n: 1 } });
    expect(view).toMatchObject({ revision: 1, cursor: 'e-1' });
  });

  test.each([
    ['no JSON', { event: 'changes', data: '{"revision":', id: '' }],
    ['a list', { event: 'live', data: '[]', id: '' }],
    ['no revision', on('changes', { changes: [] })],
    ['no items', on('snapshot', { revision: 1 })],
  ])('refuses %s', (_, event) => {
    expect(() => viewWith(event)).toThrow(expect.objectContaining({ code: 'protocolError' }));
  });

  test('gives out what can’t be altered', () => {
    const item = viewWith(live(0), changes(1, [add('a', { at: { floor: [1] } })])).items.get('a') as Item;
    expect([item, item.attributes, item.attributes.at, item.attributes.at.floor].every(Object.isFrozen)).toBe(true);
  });
});

/** A server as simple as can be: the state after each revision. */
class Model {
  readonly states: Record<string, { n: number }>[] = [{}];
  readonly commits: object[][] = [[]];

  get revision(): number {
    return this.states.length - 1;
  }

  write(keys: readonly number[], n: number): void {
    const state = { ...this.states.at(-1) };
    const commit: object[] = [];
    for (const each of new Set(keys)) {
      const key = `k${each}`;
      const known = state[key];
      if (known && (n + each) % 3 === 0) {
        delete state[key];
        commit.push({ op: 'delete', collection: 'c', key, changed: ['n'], removed: ['n'] });
      } else {
        state[key] = { n };
        commit.push({ ...add(key, { n }), op: known ? 'change' : 'add' });
      }
    }
    this.states.push(state);
    this.commits.push(commit);
  }

  *stream(cursor: string | undefined, isTooOld: boolean): Generator<StreamEvent> {
    let at = cursor === undefined ? -1 : Number(cursor.split('-')[1]);
    yield on('hello', { pool: 'p', epoch: 'e', heartbeatMs: 15_000 });
    if (at < 0 || isTooOld) {
      if (at >= 0) yield on('reset', { view: 'c', reason: 'compacted' });
      at = this.revision;
      const entries = Object.entries(this.states[at] ?? {});
      for (let part = 0; part * 2 < entries.length; part++)
        yield snapshot(at, Object.fromEntries(entries.slice(part * 2, part * 2 + 2)), part + 1);
    }
    const to = this.revision;
    yield* this.commitsAfter(at, to);
    yield live(to);
  }

  *commitsAfter(from: number, to: number): Generator<StreamEvent> {
    for (let revision = from + 1; revision <= to; revision++) {
      const commit = this.commits[revision] as object[];
      for (const [index, change] of commit.entries()) yield changes(revision, [change], index < commit.length - 1);
      if (commit.length === 0) yield on('bookmark', { revision }, `e-${revision}`);
    }
  }
}

test('whatever happens, a view shows one state of the server, and its steps lead from one to the next', () => {
  const action = fc.oneof(
    { weight: 4, arbitrary: fc.record({ write: fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 }) }) },
    { weight: 3, arbitrary: fc.record({ read: fc.integer({ min: 1, max: 6 }) }) },
    { weight: 1, arbitrary: fc.record({ cut: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ again: fc.constant(true) }) },
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 40 }), (actions) => {
      const server = new Model();
      const view = new View('c', { isSparse: false });
      const replica: Record<string, unknown> = {};
      let told = 0;
      let stream: Iterator<StreamEvent> = server.stream(undefined, false);
      const follow = (steps: readonly Step[] = [], isFirst = false) => {
        if (isFirst) Object.assign(replica, shown(view));
        for (const { key, after } of steps) {
          if (after) replica[key] = (after as Item).attributes;
          else delete replica[key];
        }
      };
      const next = () => {
        let { done, value } = stream.next();
        if (done) {
          if (!view.isLive || view.revision >= server.revision) return false;
          stream = server.commitsAfter(view.revision, server.revision);
          ({ done, value } = stream.next());
        }
        const before = view.revision;
        const { steps, isFirst } = view.apply(value as StreamEvent);
        follow(steps, isFirst);
        expect(view.revision).toBeGreaterThanOrEqual(before);
        told++;
        return true;
      };
      const check = () => {
        if (!view.isComplete) expect(shown(view)).toEqual({});
        else {
          expect(shown(view)).toEqual(server.states[view.revision]);
          expect(replica).toEqual(shown(view));
        }
      };
      for (const [n, each] of actions.entries()) {
        if ('write' in each) server.write(each.write, n);
        else if ('read' in each) for (let count = 0; count < each.read; count++) next();
        else if ('cut' in each) {
          view.disconnected();
          stream = server.stream(view.cursor, each.cut);
        } else if (view.isComplete && view.revision > 0)
          // A proxy that repeats itself.
          for (const event of server.commitsAfter(view.revision - 1, view.revision)) view.apply(event);
        check();
      }
      view.disconnected();
      stream = server.stream(view.cursor, false);
      while (next()) check();
      expect(view.isLive).toBe(true);
      expect(shown(view)).toEqual(server.states.at(-1));
      return told > 0;
    }),
    { numRuns: 300 },
  );
});
