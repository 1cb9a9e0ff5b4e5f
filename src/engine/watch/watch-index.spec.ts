import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Change } from '../state/model.js';
import { View } from './view.js';
import { WatchIndex } from './watch-index.js';

const key = fc.string({ unit: fc.constantFrom('a', 'b', '/'), minLength: 1, maxLength: 3 });
const collection = fc.constantFrom('rooms', 'halls', '_dictionary');
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const view = fc
  .record({
    collection: maybe(collection),
    key: maybe(key),
    prefix: maybe(key),
    start: maybe(key),
    end: maybe(key),
    fields: maybe(fc.constant(['x'])),
  })
  .map((request) => ({
    view: new View({
      ...request,
      ...(request.key && { prefix: undefined, start: undefined, end: undefined }),
      values: 'changed' as const,
    }),
  }));
const change = fc.record({
  collection,
  key,
  op: fc.constantFrom('add', 'change', 'delete'),
  changed: fc.constantFrom(['x'], ['y']),
}) as fc.Arbitrary<Partial<Change>>;

it('finds exactly the views that see a change', () => {
  fc.assert(
    fc.property(
      fc.array(view, { maxLength: 20 }),
      fc.array(fc.nat(19)),
      fc.array(change as fc.Arbitrary<Change>, { maxLength: 20 }),
      (views, removed, changes) => {
        const index = new WatchIndex<{ view: View }>();
        for (const watcher of views) index.add(watcher);
        const gone = new Set(removed.map((i) => views[i]));
        for (const watcher of gone) if (watcher) index.remove(watcher);
        for (const one of changes) {
          const found: object[] = [];
          index.each(one, (watcher) => found.push(watcher));
          const expected = views.filter((watcher) => !gone.has(watcher) && watcher.view.sees(one));
          expect(new Set(found)).toEqual(new Set(expected));
          expect(found.length).toBe(expected.length);
        }
      },
    ),
    { numRuns: 500 },
  );
});
