/**
 * Runs a query on one state of a pool: chooses how to find the items that can match, judges each with the filter, and answers
 * a page, a count or a visit of all. An index only narrows what is looked at, so that a query means the same with and without
 * one.
 *
 * How it chooses: a walk, of an index or of the keys, in the order asked for that holds nothing but matches; else the narrowest
 * index, read whole and sorted, where that is little; else a walk in order with the filter judging on the way. What is examined
 * is bounded, and a query past the bound is refused.
 */
import { limits } from '../limits.js';
import { isInRange, type KeyRange } from '../state/key-order.js';
import { Budget } from './budget.js';
import { candidatesAfter, candidatesOf } from './candidates.js';
import { matcherOf } from './evaluate.js';
import type { Filter } from './filter.js';
import type { OrderTerm } from './index-access.js';
import { Found, Ordering, type Position } from './ordering.js';
import { type Access, keyRangeOf, narrowAccesses, type Plan, planOf, type Walk, walks } from './plan.js';
import type { Scope } from './scope.js';
import { PART_BYTES_MAX } from './sort-key.js';

export interface Selection {
  readonly filter: Filter | undefined;
  readonly range: KeyRange;
}

export interface PageRequest extends Selection {
  readonly order: readonly OrderTerm[];
  readonly limit: number;
  readonly bytesMax: number;
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
  const budget = new Budget(scope.scanItemsMax);
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
  const accesses = narrowAccesses(scope.indexes, selection.filter);
  const { access, count } = await narrowest(scope, accesses, limits.gatherCheaplyMax + 1);
  if (!access || count > limits.gatherCheaplyMax) return undefined;
  const found: Found[] = [];
  let bytes = 0;
  for await (const item of matchesOf(access, scope, selection, new Budget(Number.MAX_SAFE_INTEGER))) {
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
  if (!filter) return source.countRange(poolId, collectionId, range, Number.MAX_SAFE_INTEGER);
  const accesses = narrowAccesses(scope.indexes, filter);
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
export async function eachMatch(scope: Scope, selection: Selection, visit: (item: Found) => void): Promise<Plan> {
  const { filter, range } = selection;
  const keys = keyRangeOf(filter, range);
  const accesses = narrowAccesses(scope.indexes, filter);
  if (keys.start !== undefined || keys.end !== undefined) accesses.push({ kind: 'keys', range: keys });
  const { access = { kind: 'keys', range: keys } } = await narrowest(scope, accesses, scope.scanItemsMax + 1);
  const budget = new Budget(scope.scanItemsMax);
  for await (const item of matchesOf(access, scope, selection, budget)) visit(item);
  return planOf(access, false, budget.examined);
}

/** Chooses a walk, or an access whose items are sorted, or a walk first and the access if it turns out to be too long. */
async function choose(
  scope: Scope,
  { filter, range }: PageRequest,
  ordering: Ordering,
): Promise<{ walk?: Walk; access?: Access }> {
  const keys = keyRangeOf(filter, range);
  const hasKeyRange = keys.start !== undefined || keys.end !== undefined;
  const [walk] = walks(scope.indexes, filter, keys, ordering);
  if (walk && holdsMatchesOnly(walk, { filter, range })) return { walk };
  const accesses = narrowAccesses(scope.indexes, filter);
  if (hasKeyRange) accesses.push({ kind: 'keys', range: keys });
  // What may not be examined whole is not cheap, however little it is.
  const cheaplyMax = Math.min(limits.gatherCheaplyMax, scope.scanItemsMax);
  const { access, count } = await narrowest(scope, accesses, cheaplyMax + 1);
  const isCheap = access !== undefined && count <= cheaplyMax;
  if (!walk || isCheap) return { access: access ?? { kind: 'keys', range: keys } };
  return access ? { walk, access } : { walk };
}

/** Whether the filter and the range need no item that the walk leads to to be left out. */
function holdsMatchesOnly(walk: Walk, { filter, range }: Selection): boolean {
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
  if (access.kind === 'keys') return source.countRange(poolId, collectionId, access.range, max);
  let sum = 0;
  for (const { index, ranges } of access.kind === 'index' ? [access.index] : access.indexes) {
    sum += await source.countIndex(poolId, index.id, ranges, max - sum);
    if (sum >= max) break;
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
  const { filter, range, limit, after } = request;
  const matches = matcherOf(filter);
  const page = new PageOf(request);
  /** Items whose sort keys were cut alike: they come in no order of their own. */
  let run: Found[] = [];
  const endRun = () => {
    for (const item of ordering.sort(run)) page.add(item);
    run = [];
  };
  const answer = () => ({ ...page.answer(), plan: planOf(walk, false, budget.examined) });
  // Where all that comes matches, no more is read than the page holds.
  const pageSize = holdsMatchesOnly(walk, request) ? limit + 1 : limits.pageItemsMax;
  for await (const candidates of candidatesAfter(scope, walk, ordering, after, pageSize)) {
    for (const candidate of candidates) {
      if (run[0] && !run[0].sortKey?.equals(candidate.sortKey as Buffer)) endRun();
      if (page.isFull) return answer();
      const item = new Found(candidate);
      budget.spend(item.bytes);
      if (after && ordering.compare(ordering.positionOf(item), after) <= 0) continue;
      if (!isInRange(item.key, range) || !matches(item)) continue;
      if (item.sortKey && item.sortKey.length >= PART_BYTES_MAX) run.push(item);
      else page.add(item);
    }
    if (page.isFull) return answer();
  }
  endRun();
  return answer();
}

/** Looks at all candidates and keeps the first of those that match, in the order asked for. */
async function gather(access: Access, scope: Scope, request: PageRequest, ordering: Ordering): Promise<Page> {
  const { after, limit, bytesMax } = request;
  const budget = new Budget(scope.scanItemsMax);
  let kept: Found[] = [];
  let bytes = 0;
  const first = () => {
    const page = new PageOf(request);
    for (const item of ordering.sort(kept)) if (!page.isFull) page.add(item);
    return page;
  };
  for await (const item of matchesOf(access, scope, request, budget)) {
    if (after && ordering.compare(ordering.positionOf(item), after) <= 0) continue;
    kept.push(item);
    bytes += item.bytes;
    if (kept.length <= 4 * limit + 100 && bytes <= 4 * bytesMax) continue;
    kept = first().items;
    bytes = 0;
    for (const { bytes: size } of kept) bytes += size;
  }
  return { ...first().answer(), plan: planOf(access, true, budget.examined) };
}

/** The items of an access that match, each once. */
async function* matchesOf(
  access: Access,
  scope: Scope,
  { filter, range }: Selection,
  budget: Budget,
): AsyncGenerator<Found> {
  const matches = matcherOf(filter);
  const seen = access.kind === 'union' ? new Set<string>() : undefined;
  for await (const candidates of candidatesOf(scope, access)) {
    for (const candidate of candidates) {
      if (seen?.has(candidate.key)) continue;
      seen?.add(candidate.key);
      const item = new Found(candidate);
      budget.spend(item.bytes);
      if (isInRange(item.key, range) && matches(item)) yield item;
    }
  }
}

/** A page as it fills: up to the limit and, but for the first item, the bytes; and one item more, if there is one. */
class PageOf {
  readonly items: Found[] = [];
  #bytes = 0;
  #fits = 0;

  constructor(private readonly request: Pick<PageRequest, 'limit' | 'bytesMax'>) {}

  get isFull(): boolean {
    return this.items.length > this.#fits;
  }

  add(item: Found): void {
    this.items.push(item);
    this.#bytes += item.bytes;
    const { limit, bytesMax } = this.request;
    const fits = this.items.length === 1 || (this.items.length <= limit && this.#bytes <= bytesMax);
    if (fits && this.#fits === this.items.length - 1) this.#fits++;
  }

  answer(): { items: readonly Found[]; more: boolean } {
    return { items: this.items.slice(0, this.#fits), more: this.isFull };
  }
}
