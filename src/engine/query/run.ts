/**
 * Runs a query on one state of a pool: chooses how to find the items that can match, judges each with the filter, and answers
 * a page, a count or a visit of all. An index only narrows what is looked at, so that a query means the same with and without
 * one.
 *
 * How it chooses: a walk, of an index or of the keys, in the order asked for that holds nothing but matches; else the narrowest
 * index, read whole and sorted, where that is little; else a walk in order with the filter judging on the way. What is examined
 * is bounded, and a query past the bound is refused.
 */
import { type Lens, searchFilter } from '../access/lens.js';
import { limits } from '../limits.js';
import { isInRange, type KeyRange } from '../state/key-order.js';
import { Budget } from './budget.js';
import { type Candidate, candidatesAfter, candidatesOf } from './candidates.js';
import { matchersOf } from './evaluate.js';
import type { Filter } from './filter.js';
import type { OrderTerm } from './index-access.js';
import { areNarrow, keyRangesOf, pointOf } from './key-ranges.js';
import { Found, Ordering, type Position } from './ordering.js';
import { FirstOf, PageOf, type PageSize } from './page.js';
import { type Access, narrowAccesses, type Plan, planOf, type Walk, walks } from './plan.js';
import type { Scope } from './scope.js';
import { PART_BYTES_MAX } from './sort-key.js';

/** Tests of smaller items are soon done, however many there are. */
const LARGE_ITEM_BYTES = 16 * 1024;

export interface Selection {
  readonly filter: Filter | undefined;
  readonly range: KeyRange;
}

export interface PageRequest extends Selection, PageSize {
  readonly order: readonly OrderTerm[];
  /** Where the former page ended. */
  readonly after?: Position | undefined;
}

export interface Page {
  readonly items: readonly Found[];
  readonly more: boolean;
  readonly plan: Plan;
}

/** Matching items in the order asked for, ties by key. */
export async function findPage(scope: Scope, request: PageRequest): Promise<Page> {
  const ordering = new Ordering(request.order);
  const { walk, access } = await choose(scope, request, ordering);
  if (!walk) return gather(access as Access, scope, request, ordering);
  // What is on the page and the one item behind it aren't looked for.
  const itemsMax = holdsMatchesOnly(walk, scope, request)
    ? Math.max(scope.scanItemsMax, request.limit + 1)
    : scope.scanItemsMax;
  const budget = new Budget({ ...scope, scanItemsMax: itemsMax });
  try {
    return await follow(walk, scope, request, ordering, budget);
  } catch (error) {
    // Matches lie farther apart than one had to expect: reading them all and sorting may still be within the bound.
    if (!access || !budget.isOver) throw error;
    return gather(access, scope, request, ordering);
  }
}

/** All matching items, where an index makes them few; undefined where none does. */
export async function findFew(scope: Scope, selection: Selection, bytesMax: number): Promise<Found[] | undefined> {
  const accesses = narrowAccesses(scope.indexes, searchFilter(scope.lens, selection.filter));
  const { access, count } = await narrowest(scope, accesses, limits.gatherCheaplyMax + 1);
  if (!access || count > limits.gatherCheaplyMax) return undefined;
  const found: Found[] = [];
  let bytes = 0;
  for await (const item of matchesOf(
    access,
    scope,
    selection,
    new Budget({ ...scope, scanItemsMax: Number.MAX_SAFE_INTEGER }),
  )) {
    found.push(item);
    bytes += item.bytes;
    if (bytes > bytesMax) return undefined;
  }
  return found;
}

/** How many items match. */
export async function countMatches(scope: Scope, { filter, range }: Selection): Promise<number> {
  const { source, poolId, collectionId } = scope;
  const all = range.start === undefined && range.end === undefined;
  if (!filter && all && scope.items !== undefined) return scope.items;
  if (!filter && isClear(scope)) return source.countRange(poolId, collectionId, range, Number.MAX_SAFE_INTEGER);
  const accesses = isClear(scope) ? narrowAccesses(scope.indexes, filter) : [];
  const covering = accesses.find((access) => access.kind === 'index' && access.index.covers);
  if (all && covering?.kind === 'index') {
    const { index, ranges } = covering.index;
    return source.countIndex(poolId, index.id, ranges, Number.MAX_SAFE_INTEGER);
  }
  let count = 0;
  await eachMatch(scope, { filter, range }, () => {
    count++;
  });
  return count;
}

/** Visits every matching item once, in no particular order. */
export async function eachMatch(
  scope: Scope,
  selection: Selection,
  visit: (item: Found) => void,
  budget = new Budget(scope),
): Promise<Plan> {
  const { filter, range } = selection;
  const search = searchFilter(scope.lens, filter);
  const ranges = keyRangesOf(search, range);
  const accesses = narrowAccesses(scope.indexes, search);
  if (areNarrow(ranges)) accesses.push({ kind: 'keys', ranges });
  const { access = { kind: 'keys', ranges } } = await narrowest(scope, accesses, scope.scanItemsMax + 1);
  for await (const item of matchesOf(access, scope, selection, budget)) visit(item);
  return planOf(access, false, budget.examined);
}

/** Chooses a walk, or an access whose items are sorted, or a walk first and the access if it turns out to be too long. */
async function choose(
  scope: Scope,
  { filter, range }: PageRequest,
  ordering: Ordering,
): Promise<{ walk?: Walk; access?: Access }> {
  const search = searchFilter(scope.lens, filter);
  const ranges = keyRangesOf(search, range);
  const [walk] = walks(indexesInOrder(scope, ordering), search, ranges, ordering);
  if (walk && holdsMatchesOnly(walk, scope, { filter, range })) return { walk };
  const accesses = narrowAccesses(scope.indexes, search);
  // Keys in their own order need no counting where there is nothing else to choose.
  if (walk?.kind === 'keys' && accesses.length === 0) return { walk };
  if (areNarrow(ranges)) accesses.push({ kind: 'keys', ranges });
  // What may not be examined whole is not cheap, however little it is.
  const cheaplyMax = Math.min(limits.gatherCheaplyMax, scope.scanItemsMax);
  const { access, count } = await narrowest(scope, accesses, cheaplyMax + 1);
  // The same keys in order need no sorting, and often not all of them are read.
  if (walk?.kind === 'keys' && access?.kind === 'keys') return { walk };
  const isCheap = access !== undefined && count <= cheaplyMax;
  if (!walk || isCheap) return { access: access ?? { kind: 'keys', ranges } };
  return access ? { walk, access } : { walk };
}

/** The indexes that may give items in the order asked for: what is hidden of some items orders them otherwise than it is stored. */
function indexesInOrder({ indexes, lens }: Scope, { terms }: Ordering): Scope['indexes'] {
  const isSteady = terms.every(({ path }) => path.of !== 'attribute' || lens.isSteady(path.tokens[0] as string));
  return isSteady ? indexes : [];
}

function isClear({ lens, sight }: Scope): boolean {
  return lens.kind === 'everything' && sight === (lens as Lens);
}

/** Whether the filter and the range need no item that the walk leads to to be left out. */
function holdsMatchesOnly(walk: Walk, scope: Scope, selection: Selection): boolean {
  return isClear(scope) && leadsToMatches(walk, selection);
}

/** Whether what it leads to matches, if it is seen. */
function leadsToMatches(walk: Walk, { filter, range }: Selection): boolean {
  if (walk.kind === 'keys') return !filter;
  return walk.index.covers && range.start === undefined && range.end === undefined;
}

/** The access with the fewest candidates, each counted up to `max`. */
async function narrowest(
  scope: Scope,
  accesses: readonly Access[],
  max: number,
): Promise<{ access: Access | undefined; count: number }> {
  let access: Access | undefined;
  let count = max;
  for (const candidate of accesses) {
    const amount = await countCandidates(scope, candidate, count);
    if (access && amount >= count) continue;
    access = candidate;
    count = amount;
  }
  return { access, count };
}

async function countCandidates(scope: Scope, access: Access, max: number): Promise<number> {
  const { source, poolId, collectionId } = scope;
  let sum = 0;
  const indexes = access.kind === 'index' ? [access.index] : access.kind === 'union' ? access.indexes : [];
  for (const { index, ranges } of indexes) {
    if (sum >= max) return sum;
    sum += await source.countIndex(poolId, index.id, ranges, max - sum);
  }
  for (const range of access.kind === 'index' ? [] : access.ranges) {
    if (sum >= max) return sum;
    sum += pointOf(range) === undefined ? await source.countRange(poolId, collectionId, range, max - sum) : 1;
  }
  return sum;
}

/** Follows a walk until one item more than the page holds is found. */
async function follow(
  walk: Walk,
  scope: Scope,
  request: PageRequest,
  ordering: Ordering,
  budget: Budget,
): Promise<Page> {
  const { range, limit, after } = request;
  const { matches, matchesPatiently } = matchersOf(request.filter, budget);
  const rest = () => budget.rest();
  const page = new PageOf(request);
  /** Items whose sort keys were cut alike: they come in no order of their own. */
  let alike: Buffer | undefined;
  const run = new FirstOf(request, ordering, budget);
  const endRun = async () => {
    for (const item of await run.take()) page.add(item);
    alike = undefined;
  };
  const answer = () => ({ ...page.answer(), plan: planOf(walk, false, budget.examined) });
  // Where all that comes matches, no more is read than the page holds. Through a lens most of it may: that is tried first.
  const pageSize = leadsToMatches(walk, request) ? limit + 1 : limits.pageItemsMax;
  for await (const candidates of candidatesAfter(scope, walk, ordering, after, pageSize)) {
    for (const candidate of candidates) {
      if (alike && !alike.equals(candidate.sortKey as Buffer)) await endRun();
      if (page.isFull) return answer();
      if (budget.spend(bytesOf(candidate))) await budget.rest();
      const item = Found.through(scope.sight, candidate);
      if (!item) continue;
      const { bytes } = item;
      if (after && ordering.compare(ordering.positionOf(item), after, budget) <= 0) continue;
      if (!isInRange(item.key, range)) continue;
      if (!(bytes < LARGE_ITEM_BYTES ? matches(item) : await matchesPatiently(item, rest))) continue;
      if (item.sortKey && item.sortKey.length >= PART_BYTES_MAX) {
        alike = item.sortKey;
        if (run.add(item)) await run.forget();
      } else page.add(item);
    }
    if (page.isFull) return answer();
  }
  await endRun();
  return answer();
}

/** Looks at all candidates and keeps the first of those that match, in the order asked for. */
async function gather(access: Access, scope: Scope, request: PageRequest, ordering: Ordering): Promise<Page> {
  const { after } = request;
  const budget = new Budget(scope);
  const first = new FirstOf(request, ordering, budget);
  for await (const item of matchesOf(access, scope, request, budget)) {
    const position = ordering.positionOf(item);
    if (after && ordering.compare(position, after, budget) <= 0) continue;
    if (first.add(item, position)) await first.forget();
  }
  const page = new PageOf(request);
  for (const item of await first.take()) page.add(item);
  return { ...page.answer(), plan: planOf(access, true, budget.examined) };
}

/** The items of an access that match, each once. */
async function* matchesOf(
  access: Access,
  scope: Scope,
  { filter, range }: Selection,
  budget: Budget,
): AsyncGenerator<Found> {
  const { matches, matchesPatiently } = matchersOf(filter, budget);
  const rest = () => budget.rest();
  const seen = access.kind === 'union' ? new Set<string>() : undefined;
  for await (const candidates of candidatesOf(scope, access)) {
    for (const candidate of candidates) {
      if (seen?.has(candidate.key)) continue;
      seen?.add(candidate.key);
      if (budget.spend(bytesOf(candidate))) await budget.rest();
      const item = Found.through(scope.sight, candidate);
      if (!item) continue;
      const { bytes } = item;
      if (!isInRange(item.key, range)) continue;
      if (bytes < LARGE_ITEM_BYTES ? matches(item) : await matchesPatiently(item, rest)) yield item;
    }
  }
}

function bytesOf({ json, key }: Candidate): number {
  return json.length + key.length;
}
