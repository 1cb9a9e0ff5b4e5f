/**
 * The ways in which the items that can match are found: by the keys, by an index, or by several indexes for the branches of an
 * `or`. Pure; run.ts chooses among them.
 */
import { conjuncts, type Filter, type FilterNode } from './filter.js';
import { accessOf, type Direction, directionOf, type IndexAccess, type UsableIndex } from './index-access.js';
import { areNarrow, type KeyRanges, rangesOf } from './key-ranges.js';
import type { Ordering } from './ordering.js';

export type Access =
  | { readonly kind: 'keys'; readonly ranges: KeyRanges }
  | { readonly kind: 'index'; readonly index: IndexAccess }
  /** Of an index for each branch of an `or`; branches of keys need none. */
  | { readonly kind: 'union'; readonly indexes: readonly IndexAccess[]; readonly ranges: KeyRanges };

/** An access that gives its items in the order asked for. */
export type Walk =
  | { readonly kind: 'keys'; readonly ranges: KeyRanges; readonly direction: Direction }
  | { readonly kind: 'index'; readonly index: IndexAccess; readonly direction: Direction };

/** What `explain` tells. */
export interface Plan {
  /** How the items were found: by walking their keys, by an index, or by the indexes of an `or`'s branches. */
  readonly access: Access['kind'];
  /** The index, where there is one. */
  readonly index?: string;
  readonly indexes: readonly string[];
  /** Whether the items came in the order asked for, or had to be sorted. */
  readonly sorted: boolean;
  /** How many items were looked at. */
  readonly examined: number;
}

export function planOf(access: Access | Walk, sorted: boolean, examined: number): Plan {
  const used = access.kind === 'index' ? [access.index] : access.kind === 'union' ? access.indexes : [];
  const indexes = [...new Set(used.map(({ index }) => index.name))];
  return {
    access: access.kind,
    ...(indexes.length === 1 && { index: indexes[0] as string }),
    indexes,
    sorted,
    examined,
  };
}

/** The accesses that an index or several make narrower than the whole collection. */
export function narrowAccesses(indexes: readonly UsableIndex[], filter: Filter | undefined): Access[] {
  if (!filter) return [];
  const accesses: Access[] = narrowing(indexes, filter.root).map((index) => ({ kind: 'index', index }));
  for (const node of conjuncts(filter.root)) {
    // An `or` of nothing matches nothing: a union of no indexes has just that.
    if (node.kind !== 'any') continue;
    const indexed = node.parts.map((part) => best(narrowing(indexes, part)));
    const ranges = rangesOf({ kind: 'any', parts: node.parts.filter((_part, i) => !indexed[i]) });
    const used = indexed.filter((index) => index !== undefined);
    if (areNarrow(ranges) && (used.length > 0 || node.parts.length === 0)) {
      accesses.push({ kind: 'union', indexes: used, ranges });
    }
  }
  return accesses;
}

/** The accesses that give the items in the order asked for, those that narrow most first; walking the keys is last. */
export function walks(
  indexes: readonly UsableIndex[],
  filter: Filter | undefined,
  keys: KeyRanges,
  { terms, keyDirection }: Ordering,
): Walk[] {
  const found: Extract<Walk, { kind: 'index' }>[] = [];
  for (const candidate of indexes) {
    const index = accessOf(candidate, filter?.root);
    const direction = directionOf(index, terms);
    if (direction) found.push({ kind: 'index', index, direction });
  }
  found.sort((a, b) => Number(b.index.covers) - Number(a.index.covers) || b.index.tests - a.index.tests);
  return keyDirection ? [...found, { kind: 'keys', ranges: keys, direction: keyDirection }] : found;
}

function narrowing(indexes: readonly UsableIndex[], node: FilterNode): IndexAccess[] {
  return indexes.map((index) => accessOf(index, node)).filter(({ tests }) => tests > 0);
}

function best(accesses: readonly IndexAccess[]): IndexAccess | undefined {
  return [...accesses].sort((a, b) => b.fixed - a.fixed || b.tests - a.tests)[0];
}
