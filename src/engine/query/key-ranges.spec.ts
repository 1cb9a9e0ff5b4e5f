import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Json } from '../state/json.js';
import { compareKeys, isInRange, type KeyRange } from '../state/key-order.js';
import { matcherOf } from './evaluate.js';
import { parseFilter } from './filter.js';
import { areNarrow, keyRangesOf, pointOf, rangesAfter } from './key-ranges.js';

const keys = ['a', 'aa', 'ab', 'b', 'ba', 'c', '\uffee', '😀'];
const ranges = (where: Json, range: KeyRange = {}) => keyRangesOf(parseFilter(where, '/where'), range);

describe('the keys that a filter leaves', () => {
  it.each<[says: string, where: Json, wanted: KeyRange[]]>([
    ['one', { '/@key': 'b' }, [{ start: 'b', end: 'b\0' }]],
    [
      'a list, in order and each once',
      { '/@key': { in: ['b', 'a', 7, 'b'] } },
      ranges({ or: [{ '/@key': 'a' }, { '/@key': 'b' }] }) as KeyRange[],
    ],
    ['a list of none', { '/@key': { in: [] } }, []],
    [
      'what a list and a range share',
      { '/@key': { in: ['a', 'b', 'c'], gt: 'a', lt: 'c' } },
      [{ start: 'b', end: 'b\0' }],
    ],
    [
      'ranges that overlap, as one',
      { or: [{ '/@key': { prefix: 'a' } }, { '/@key': { gte: 'aa', lt: 'c' } }] },
      [{ start: 'a', end: 'c' }],
    ],
    [
      'branches, whatever else they ask',
      { or: [{ '/@key': { lt: 'a' }, n: 1 }, { and: [{ '/@key': 'b' }, { m: 2 }] }] },
      [
        { start: undefined, end: 'a' },
        { start: 'b', end: 'b\0' },
      ],
    ],
    ['all, where one branch asks no key', { or: [{ '/@key': 'a' }, { n: 1 }] }, [{}]],
    ['all, of a negation', { not: { '/@key': 'a' } }, [{}]],
    ['none, of a contradiction', { '/@key': { lt: 'a', gt: 'b' } }, []],
  ])('%s', (_says, where, wanted) => {
    expect(ranges(where)).toEqual(wanted.map(({ start, end }) => ({ start, end })));
  });

  it('hold every key that matches, lie in order and apart, and go on after any key in either direction', () => {
    const key = fc.constantFrom(...keys);
    const test = fc.oneof(
      fc
        .tuple(fc.constantFrom('eq', 'ne', 'lt', 'lte', 'gt', 'gte', 'prefix'), key)
        .map(([operator, operand]) => ({ '/@key': { [operator]: operand } })),
      fc
        .tuple(fc.constantFrom('in', 'nin'), fc.array(key, { maxLength: 4 }))
        .map(([operator, operand]) => ({ '/@key': { [operator]: operand } })),
      fc.constant({ n: 1 }),
    ) as fc.Arbitrary<Json>;
    const { filter } = fc.letrec<{ filter: Json }>((tie) => ({
      filter: fc.oneof(
        { maxDepth: 3, depthSize: 'small' },
        test,
        fc
          .tuple(fc.constantFrom('and', 'or'), fc.array(tie('filter'), { maxLength: 3 }))
          .map(([name, parts]) => ({ [name]: parts })),
        tie('filter').map((part) => ({ not: part })),
      ),
    }));
    const bound = fc.option(key, { nil: undefined });
    fc.assert(
      fc.property(filter, bound, bound, key, (where, start, end, from) => {
        const found = ranges(where, { start, end });
        const matches = matcherOf(parseFilter(where, '/where'));
        const holds = (some: readonly KeyRange[], each: string) => some.some((range) => isInRange(each, range));
        for (const each of keys) {
          const item = { key: each, revision: 1, attributes: { n: 1 } };
          if (isInRange(each, { start, end }) && matches(item)) expect(holds(found, each)).toBe(true);
          for (const backward of [false, true]) {
            const isBeyond = backward ? compareKeys(each, from) < 0 : compareKeys(each, from) > 0;
            expect(holds(rangesAfter(found, from, backward), each)).toBe(isBeyond && holds(found, each));
          }
        }
        for (const [i, range] of found.entries()) {
          expect(range.end === undefined || compareKeys(range.start ?? '', range.end) < 0).toBe(true);
          const next = found[i + 1];
          if (next) expect(compareKeys(range.end as string, next.start as string)).toBeLessThanOrEqual(0);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('tell points, and whether they leave anything out', () => {
    expect([{ start: 'a', end: 'a\0' }, { start: 'a' }, { end: 'a' }, { start: 'a', end: 'b' }].map(pointOf)).toEqual([
      'a',
      undefined,
      undefined,
      undefined,
    ]);
    expect([[{}], [], [{ start: 'a' }], [{ end: 'a' }], [{ end: 'a' }, { start: 'b' }]].map(areNarrow)).toEqual([
      false,
      true,
      true,
      true,
      true,
    ]);
  });
});
