import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseFilter, parseFilterText } from '../query/filter.js';
import type { Json } from '../state/json.js';
import { isInRange } from '../state/key-order.js';
import { type Attributes, type Change, changeBetween, ItemState, stateBefore } from '../state/model.js';
import { openSight } from './sight.js';
import { View, viewsOf } from './view.js';
import { WatchIndex } from './watch-index.js';

const key = fc.string({ unit: fc.constantFrom('a', 'b', '/'), minLength: 1, maxLength: 3 });
const collection = fc.constantFrom('rooms', 'halls', '_dictionary');
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });

const NAMES = ['x', 'y', '__proto__'];
const scalar = fc.constantFrom<Json>(1, '1', true, 'true', 0, -0, '');
const value = fc.oneof({ weight: 4, arbitrary: scalar }, { weight: 1, arbitrary: fc.constantFrom<Json>([1], {}) });
const operand = fc.oneof(
  value.map((eq) => ({ eq })),
  fc.array(value, { maxLength: 3 }).map((list) => ({ in: list })),
  value.map((ne) => ({ ne })),
  fc.boolean().map((exists) => ({ exists })),
);
/** As text, because `__proto__` is a member like any other there. */
const test = fc
  .tuple(fc.constantFrom(...NAMES, '/x', '/x/y'), operand)
  .map(([name, wanted]) => `${JSON.stringify(name)}:${JSON.stringify(wanted)}`);
const where = fc
  .oneof(
    test,
    fc.tuple(test, test).map(([a, b]) => `"and":[{${a}},{${b}}]`),
    fc.tuple(test, test).map(([a, b]) => `"or":[{${a}},{${b}}]`),
    test.map((one) => `"not":{${one}}`),
    fc.constant('"/@revision":{"lt":3}'),
  )
  .map((members) => parseFilterText(`{${members}}`, ''));

const watcher = fc
  .record({
    collection: maybe(collection),
    place: fc.oneof(
      { weight: 3, arbitrary: fc.constant({}) },
      { weight: 1, arbitrary: fc.record({ key }) },
      { weight: 1, arbitrary: fc.record({ prefix: maybe(key), start: maybe(key), end: maybe(key) }) },
    ),
    where: maybe(where),
    fields: maybe(fc.constant(['x'])),
  })
  .map(({ place, ...request }) => ({ view: new View({ ...request, ...place, values: 'changed' }) }));

const attributes = fc
  .uniqueArray(fc.tuple(fc.constantFrom(...NAMES), value), { selector: ([name]) => name })
  .map((members) => JSON.parse(`{${members.map(([n, v]) => `"${n}":${JSON.stringify(v)}`).join()}}`) as Attributes);
const change = fc
  .record({ collection, key, before: maybe(attributes), after: maybe(attributes), revision: fc.nat(4) })
  .map(({ collection, key, before, after, revision }) =>
    changeBetween(
      { collection, key },
      before && new ItemState(JSON.stringify(before), revision, revision, before),
      after && new ItemState(JSON.stringify(after), revision + 1, revision, after),
    ),
  )
  .filter((found) => found !== undefined) as fc.Arbitrary<Change>;

function visitsOf(index: WatchIndex<{ view: View }>, one: Change) {
  const found: { watcher: { view: View }; seen: Change }[] = [];
  index.each(one, (watcher, seen) => found.push({ watcher, seen }));
  return found;
}

it('visits exactly the watchers whose views see a change, once each, with what they see', () => {
  fc.assert(
    fc.property(
      fc.array(watcher, { maxLength: 30 }),
      fc.array(fc.nat(29)),
      fc.array(change, { maxLength: 20 }),
      (watchers, removed, changes) => {
        const index = new WatchIndex<{ view: View }>();
        for (const one of watchers) index.add(one);
        const gone = new Set(removed.map((i) => watchers[i]));
        for (const one of gone) if (one) index.remove(one);
        for (const one of changes) {
          const found = visitsOf(index, one);
          const expected = watchers.filter((it) => !gone.has(it) && it.view.covers(one) && it.view.see(one));
          expect(new Set(found.map(({ watcher }) => watcher))).toEqual(new Set(expected));
          expect(found.length).toBe(expected.length);
          for (const { watcher, seen } of found) expect(seen).toEqual(watcher.view.see(one));
        }
      },
    ),
    { numRuns: 1000 },
  );
});

/** Where something lies: scopes of locks, and what is watched. */
const place = fc.oneof(
  fc.record({ collection, key }),
  fc.record({ collection, prefix: key }),
  fc.record({ collection, start: key }),
  fc.record({ collection }),
);
const scopes = fc.array(fc.oneof(place, fc.constant({}), fc.constant({ attributes: ['x'] })), {
  minLength: 1,
  maxLength: 3,
});
const lock = fc.record({ scopes, wanted: maybe(scopes.map((wanted) => ({ scopes: wanted }))), note: fc.nat(1) });
const lockChange = fc
  .tuple(maybe(lock), maybe(lock))
  .map(([before, after]) => {
    const state = (attributes: object | undefined, revision: number) =>
      attributes && new ItemState(JSON.stringify(attributes), revision, 1);
    return changeBetween({ collection: '_locks', key: 'l' }, state(before, 1), state(after, 2));
  })
  .filter((found) => found !== undefined) as fc.Arbitrary<Change>;

it('visits exactly those who watch where a lock lies or lay, and no others', () => {
  fc.assert(
    fc.property(fc.array(place, { maxLength: 20 }), fc.array(lockChange, { maxLength: 10 }), (places, changes) => {
      const index = new WatchIndex<{ view: View }>();
      const watchers = places.map((each) => {
        const [items, locks] = viewsOf({ ...each, values: 'changed' }, true, () => openSight) as [View, View];
        return { view: locks, items };
      });
      for (const one of watchers) index.add(one);
      for (const [i, one] of watchers.entries()) if (i % 3 === 2) index.remove(one);
      const there = watchers.filter((_, i) => i % 3 !== 2);
      for (const one of changes) {
        const found = visitsOf(index, one);
        const expected = there.filter(({ view }) => view.covers(one) && view.see(one));
        expect(new Set(found.map(({ watcher }) => watcher))).toEqual(new Set(expected));
        expect(found.length).toBe(expected.length);
        for (const { view, items } of there) {
          const lies = (attributes: Attributes | undefined) => attributes !== undefined && liesOn(attributes, items);
          const [was, is] = [lies(stateBefore(one)?.attributes), lies(one.after?.attributes)];
          expect(view.see(one)?.op).toBe(is ? (was ? 'change' : 'add') : was ? 'delete' : undefined);
        }
      }
    }),
    { numRuns: 1000 },
  );
});

/** Whether a lock lies on something that a view covers, found by trying keys: all that there can be, and some between. */
function liesOn(attributes: Attributes, { request: { collection: watched }, range }: View): boolean {
  type Place = { collection?: string; key?: string; prefix?: string; start?: string };
  const { scopes, wanted } = attributes as unknown as { scopes: Place[]; wanted?: { scopes: Place[] } };
  const keys = KEYS_TRIED.filter((each) => isInRange(each, range));
  return [...scopes, ...(wanted?.scopes ?? [])].some(
    (scope) =>
      (scope.collection === undefined || scope.collection === watched) &&
      keys.some(
        (each) =>
          (scope.key === undefined || each === scope.key) &&
          (scope.prefix === undefined || each.startsWith(scope.prefix)) &&
          (scope.start === undefined || each >= scope.start),
      ),
  );
}
const UNITS = ['', 'a', 'b', '/', 'z'];
const KEYS_TRIED = UNITS.flatMap((a) => UNITS.flatMap((b) => UNITS.flatMap((c) => UNITS.map((d) => a + b + c + d))));

describe('watchers of one value', () => {
  /** A watcher that counts how often it is looked at, whether it then sees anything or not. */
  class Counted {
    looks = 0;
    readonly view: View;
    constructor(filter: Json, collection?: string) {
      this.view = new View({ collection, where: parseFilter(filter, ''), values: 'changed' });
      const see = this.view.see.bind(this.view);
      this.view.see = (one) => {
        this.looks++;
        return see(one);
      };
    }
  }
  const moved = (before: Attributes | undefined, after: Attributes | undefined) =>
    changeBetween(
      { collection: 'rooms', key: 'a' },
      before && new ItemState(undefined, 1, 1, before),
      after && new ItemState(undefined, 2, 1, after),
    ) as Change;
  const looks = (watchers: Counted[]) => watchers.map((it) => it.looks);

  const rows: [says: string, filters: Json[], before: Attributes | undefined, after: Attributes, looked: number[]][] = [
    ['only those of the value', [{ r: 1 }, { r: 2 }, { r: '1' }, { r: true }], undefined, { r: 1 }, [1, 0, 0, 0]],
    ['of the value before and of that after', [{ r: 1 }, { r: 2 }, { r: 3 }], { r: 1 }, { r: 2 }, [1, 1, 0]],
    ['of the value that stays', [{ r: 1 }, { r: 2 }], { r: 1 }, { r: 1, m: 1 }, [1, 0]],
    ['of the value that is gone', [{ r: 1 }, { r: 2 }], { r: 1, m: 1 }, { m: 1 }, [1, 0]],
    ['of any value of a list, once', [{ r: { in: [1, 2] } }, { r: { in: [3, 4] } }], { r: 1 }, { r: 2 }, [1, 0]],
    ['by a pointer to an attribute', [{ '/r': 1 }, { '/r': 2 }], undefined, { r: 1 }, [1, 0]],
    [
      'by one of several tests',
      [{ m: 1, r: { eq: 1 } }, { and: [{ m: 1 }, { r: 2 }] }],
      undefined,
      { m: 1, r: 1 },
      [1, 0],
    ],
    ['not at an empty list', [{ r: { in: [] } }], undefined, { r: 1 }, [0]],
    [
      'at all that no value tells',
      [{ r: { ne: 1 } }, { r: { eq: {} } }, { not: { r: 2 } }],
      undefined,
      { r: 1 },
      [1, 1, 1],
    ],
    ['at alternatives', [{ or: [{ r: 2 }, { r: 3 }] }], undefined, { r: 1 }, [1]],
    [
      'at a list of too many values',
      [
        { r: { in: Array.from({ length: 65 }, (_, i) => i + 10) } },
        { r: { in: Array.from({ length: 64 }, (_, i) => i + 10) } },
      ],
      undefined,
      { r: 1 },
      [1, 0],
    ],
  ];
  it.each(rows)('are looked at: %s', (_says, filters, before, after, looked) => {
    for (const collection of ['rooms', undefined]) {
      const index = new WatchIndex<Counted>();
      const watchers = filters.map((filter) => new Counted(filter, collection));
      for (const one of watchers) index.add(one);
      index.each(moved(before, after), () => undefined);
      expect(looks(watchers)).toEqual(looked);
    }
  });

  it('are told apart by the rarer of two attributes, whichever is written first', () => {
    const index = new WatchIndex<Counted>();
    const watchers = Array.from({ length: 100 }, (_, i) => new Counted({ kind: 'guest', room: i }, 'rooms'));
    for (const one of watchers) index.add(one);
    index.each(moved(undefined, { kind: 'guest', room: 7 }), () => undefined);
    expect(watchers.filter((it) => it.looks > 0).length).toBeLessThanOrEqual(2);
    expect(watchers[7]?.looks).toBe(1);
  });

  it('are found among more attributes than an item has', () => {
    const index = new WatchIndex<Counted>();
    const watchers = Array.from({ length: 50 }, (_, i) => new Counted({ [`n${i}`]: 1 }, 'rooms'));
    for (const one of watchers) index.add(one);
    index.each(moved({ n1: 1, n2: 1, n3: 2 }, { n2: 1, n4: 1 }), () => undefined);
    expect(watchers.flatMap((it, i) => (it.looks > 0 ? [[i, it.looks]] : []))).toEqual([
      [1, 1],
      [2, 1],
      [4, 1],
    ]);
  });

  it('leave nothing behind when they go', () => {
    const index = new WatchIndex<Counted>();
    const filters: Json[] = [{ r: 1 }, { r: 1 }, { r: { in: [1, 2] } }, { m: 1, r: 1 }, { m: { exists: true } }];
    const [stays, ...gone] = filters.map((filter) => new Counted(filter, 'rooms'));
    for (const one of [stays as Counted, ...gone]) index.add(one);
    for (const one of gone) index.remove(one);
    for (const one of gone) index.remove(one);
    index.each(moved({ r: 2, m: 1 }, { r: 1, m: 2 }), () => undefined);
    expect(looks([stays as Counted, ...gone])).toEqual([1, 0, 0, 0, 0]);
  });
});
