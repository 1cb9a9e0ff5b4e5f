import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits } from '../limits.js';
import { compareKeys, isInRange } from './key-order.js';
import { additionOf, itemOfCommit, keyOfRevision, revisionOfKey, revisionsIn, stateOfCommit } from './log-items.js';
import { type Attributes, type Change, type Commit, changeBetween, ItemState } from './model.js';

const changeOf = (key: string, before: Attributes | undefined, after: Attributes | undefined) =>
  changeBetween(
    { collection: 'things', key },
    before && new ItemState(JSON.stringify(before), 1, 1),
    after && new ItemState(JSON.stringify(after), 2, 1),
  ) as Change;
const commitOf = (...changes: Change[]): Commit => ({ revision: 42, time: 1_000, subject: 'ann', changes });
const large = 'x'.repeat(400_000);

describe('the keys of commits', () => {
  it('order as revisions do, and lead to those that the log retains', () => {
    const retained = { oldestRevision: 7, revision: 1000 };
    expect(keyOfRevision(42)).toBe('0000000000000042');
    expect(revisionOfKey('0000000000000042', retained)).toBe(42);
    for (const key of ['42', '0000000000000006', '0000000000001001', '000000000000004x', '', '9'.repeat(16)])
      expect(revisionOfKey(key, retained), key).toBeUndefined();
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.maxSafeNat(), (a, b) => {
        expect(Math.sign(compareKeys(keyOfRevision(a), keyOfRevision(b)))).toBe(Math.sign(a - b));
      }),
    );
  });

  it('of a range are those whose keys lie in it', () => {
    const near = fc.nat(130).map((n) => keyOfRevision(n));
    const bound = fc.oneof(
      near,
      near.map((key) => key.slice(0, -1)),
      fc.constantFrom('', '0', '1', 'a', '\u{10ffff}'),
    );
    const request = fc.record({ start: bound, end: bound, after: bound, backward: fc.boolean() }, { requiredKeys: [] });
    fc.assert(
      fc.property(request, fc.nat(60), fc.nat(60), (stretch, oldestRevision, more) => {
        const retained = { oldestRevision: oldestRevision + 1, revision: oldestRevision + more };
        const { first, last } = revisionsIn(stretch, retained);
        const { after, backward } = stretch;
        const isBeyond = (key: string) =>
          after === undefined || (backward ? compareKeys(key, after) < 0 : compareKeys(key, after) > 0);
        for (let n = retained.oldestRevision; n <= retained.revision; n++) {
          const key = keyOfRevision(n);
          expect(n >= first && n <= last, key).toBe(isInRange(key, stretch) && isBeyond(key));
        }
        if (first <= last)
          expect([first, last]).toEqual([Math.max(first, retained.oldestRevision), Math.min(last, retained.revision)]);
      }),
    );
  });
});

describe('a commit as an item', () => {
  it('tells all of its changes', () => {
    const ended = { ...changeOf('c', { n: 1 }, undefined), reason: 'expired' as const };
    const commit = commitOf(changeOf('a', undefined, { n: 1 }), changeOf('b', { n: 1, gone: 1 }, { n: 2 }), ended);
    const common = { collection: 'things' };
    const attributes = {
      revision: 42,
      time: '1970-01-01T00:00:01.000Z',
      subject: 'ann',
      changes: [
        { ...common, op: 'add', key: 'a', changed: ['n'], removed: [], attributes: { n: 1 }, previous: {} },
        {
          ...common,
          op: 'change',
          key: 'b',
          changed: ['n', 'gone'],
          removed: ['gone'],
          attributes: { n: 2 },
          previous: { n: 1, gone: 1 },
        },
        {
          ...common,
          op: 'delete',
          key: 'c',
          changed: ['n'],
          removed: ['n'],
          attributes: {},
          previous: { n: 1 },
          reason: 'expired',
        },
      ],
    };
    expect(stateOfCommit(commit)).toMatchObject({ revision: 42, createdRevision: 42, attributes });
    expect(JSON.parse(itemOfCommit(commit).json)).toEqual(attributes);
    expect(additionOf(commit)).toMatchObject({
      op: 'add',
      collection: '_changes',
      key: '0000000000000042',
      changed: Object.keys(attributes),
      former: undefined,
      after: { attributes },
    });
  });

  it('that is larger than an item tells no values', () => {
    const commit = commitOf(...['a', 'b', 'c'].map((key) => changeOf(key, { large }, { large: `${large}!` })));
    const { attributes } = stateOfCommit(commit);
    const told = (key: string) => ({ op: 'change', collection: 'things', key, changed: ['large'], removed: [] });
    expect(attributes).toMatchObject({ truncated: true, changes: [told('a'), told('b'), told('c')] });
    expect(Object.keys((attributes.changes as Attributes[])[0] as Attributes)).toEqual(Object.keys(told('a')));
    expect(attributes).not.toHaveProperty('changesTotal');
    expect(additionOf(commit).changed).toEqual(['revision', 'time', 'subject', 'changes', 'truncated']);
  });

  it('that is too large even so tells its first changes, and how many there are', () => {
    const key = 'k'.repeat(250);
    const commit = commitOf(
      ...Array.from({ length: 10_000 }, (_, i) => changeOf(`${key}${i}`, undefined, { large: 1 })),
    );
    const { attributes, json } = stateOfCommit(commit);
    expect(attributes).toMatchObject({ truncated: true, changesTotal: 10_000 });
    expect((attributes.changes as unknown[]).length).toBeGreaterThan(1000);
    expect((attributes.changes as unknown[]).length).toBeLessThan(10_000);
    expect(json.length).toBeLessThanOrEqual(limits.itemBytesMax);
    expect(additionOf(commit).changed).toEqual(Object.keys(attributes));
  });
});
