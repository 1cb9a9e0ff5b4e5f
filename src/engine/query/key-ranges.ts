/** Sets of keys as ranges: what a filter's tests of `/@key` leave. Pure. */
import { compareKeys, type KeyRange, prefixEnd } from '../state/key-order.js';
import type { Filter, FilterNode, Test } from './filter.js';

/** In the order of keys, none empty, and none that overlaps another. */
export type KeyRanges = readonly KeyRange[];

const EVERYTHING: KeyRanges = [{}];

/** The keys that a request's range and its filter's tests of `/@key` leave: all that match are among them. */
export function keyRangesOf(filter: Filter | undefined, range: KeyRange): KeyRanges {
  const within = normalized([range]);
  return filter ? intersection(within, rangesOf(filter.root)) : within;
}

/** The keys that items which match the node may have. */
export function rangesOf(node: FilterNode): KeyRanges {
  switch (node.kind) {
    case 'all':
      return node.parts.map(rangesOf).reduce(intersection, EVERYTHING);
    case 'any':
      return normalized(node.parts.flatMap(rangesOf));
    case 'not':
      return EVERYTHING;
    case 'test':
      return node.path.of === 'key' ? rangesOfTest(node) : EVERYTHING;
  }
}

/** Whether the ranges leave anything out. */
export function areNarrow(ranges: KeyRanges): boolean {
  const [first] = ranges;
  return ranges.length !== 1 || first?.start !== undefined || first?.end !== undefined;
}

/** The one key of a range, if it has but one. */
export function pointOf({ start, end }: KeyRange): string | undefined {
  return start !== undefined && end === above(start) ? start : undefined;
}

/** What lies after a key in the direction. */
export function rangesAfter(ranges: KeyRanges, key: string, backward: boolean): KeyRanges {
  return intersection(ranges, [backward ? { end: key } : { start: above(key) }]);
}

function rangesOfTest({ operator, operand }: Test): KeyRanges {
  if (operator === 'in') return normalized((operand as unknown[]).filter((key) => typeof key === 'string').map(point));
  if (typeof operand !== 'string') return EVERYTHING;
  switch (operator) {
    case 'eq':
      return [point(operand)];
    case 'prefix':
      return [{ start: operand, end: prefixEnd(operand) }];
    case 'gte':
      return [{ start: operand }];
    case 'gt':
      return [{ start: above(operand) }];
    case 'lt':
      return normalized([{ end: operand }]);
    case 'lte':
      return [{ end: above(operand) }];
    default:
      return EVERYTHING;
  }
}

/** The smallest string above a key is the key and a NUL. */
function above(key: string): string {
  return `${key}\0`;
}

function point(key: string): KeyRange {
  return { start: key, end: above(key) };
}

/** The same keys in order: ranges that overlap become one, and empty ones none. */
function normalized(ranges: readonly KeyRange[]): KeyRanges {
  const sorted = ranges.filter((range) => !isEmpty(range)).sort((a, b) => compareStarts(a, b) || compareEnds(a, b));
  const apart: KeyRange[] = [];
  for (const range of sorted) {
    const last = apart.at(-1);
    if (!last || (last.end !== undefined && range.start !== undefined && compareKeys(last.end, range.start) <= 0)) {
      apart.push(range);
    } else if (compareEnds(range, last) > 0) apart[apart.length - 1] = { start: last.start, end: range.end };
  }
  return apart;
}

function intersection(some: KeyRanges, others: KeyRanges): KeyRanges {
  const common: KeyRange[] = [];
  for (let i = 0, j = 0; i < some.length && j < others.length; ) {
    const [a, b] = [some[i] as KeyRange, others[j] as KeyRange];
    const start = compareStarts(a, b) >= 0 ? a.start : b.start;
    const isFirst = compareEnds(a, b) <= 0;
    const range = { start, end: isFirst ? a.end : b.end };
    if (!isEmpty(range)) common.push(range);
    if (isFirst) i++;
    else j++;
  }
  return common;
}

function isEmpty({ start, end }: KeyRange): boolean {
  return end !== undefined && compareKeys(start ?? '', end) >= 0;
}

function compareStarts(a: KeyRange, b: KeyRange): number {
  return compareKeys(a.start ?? '', b.start ?? '');
}

function compareEnds(a: KeyRange, b: KeyRange): number {
  if (a.end === undefined || b.end === undefined) return Number(a.end === undefined) - Number(b.end === undefined);
  return compareKeys(a.end, b.end);
}
