import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type Attributes, type Commit, changeBetween, ItemState } from '../state/model.js';
import { Coalesced } from './coalesce.js';

const write = fc.record({
  key: fc.constantFrom('a', 'b'),
  attributes: fc.option(fc.dictionary(fc.constantFrom('x', 'y'), fc.nat(2)), { nil: undefined }),
});

it('takes a watcher from where it was to where the commits lead', () => {
  fc.assert(
    fc.property(fc.array(write, { minLength: 2, maxLength: 12 }), fc.nat(), (writes, cut) => {
      const items = new Map<string, ItemState | undefined>();
      const states: Map<string, ItemState | undefined>[] = [new Map()];
      const commits: Commit[] = [];
      for (const { key, attributes } of writes) {
        const revision = commits.length + 1;
        const before = items.get(key);
        const after =
          attributes &&
          new ItemState(
            JSON.stringify(attributes),
            revision,
            before?.createdRevision ?? revision,
            attributes as Attributes,
          );
        const change = changeBetween({ collection: 'c', key }, before, after);
        if (!change) continue;
        items.set(key, after);
        commits.push({ revision, time: 0, subject: '', changes: [change] });
        states.push(new Map(items));
      }
      const begin = commits.length === 0 ? 0 : cut % commits.length;
      const missed = commits.slice(begin);
      if (missed.length === 0) return;
      const coalesced = new Coalesced();
      for (const commit of missed) coalesced.add(commit, () => true);
      const joined = coalesced.commit as Commit;
      const told = new Map<string, Attributes | undefined>(
        [...(states[begin] ?? [])].map(([key, state]) => [key, state?.attributes]),
      );
      for (const { key, op, after, changed, removed } of joined.changes) {
        expect(told.get(key) === undefined).toBe(op === 'add');
        expect(changed.filter((name) => removed.includes(name))).toEqual(removed);
        told.set(key, after?.attributes);
      }
      const now = states.at(-1) as Map<string, ItemState | undefined>;
      for (const key of ['a', 'b']) expect(told.get(key)).toEqual(now.get(key)?.attributes);
      expect(joined.revision).toBe(missed.at(-1)?.revision);
    }),
    { numRuns: 500 },
  );
});
