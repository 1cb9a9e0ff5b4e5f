/** Reads the items that an access leads to, page by page. Between pages others have their turn on the event loop. */
import { limits } from '../limits.js';
import type { StoredItem } from '../ports.js';
import { grown, itemPages } from '../state/item-pages.js';
import { compareKeys } from '../state/key-order.js';
import { turn } from '../turn.js';
import { type ByteRange, bytesAfter, type Direction, type IndexAccess, isFixed } from './index-access.js';
import { type KeyRanges, pointOf, rangesAfter } from './key-ranges.js';
import type { Ordering, Position } from './ordering.js';
import type { Access, Walk } from './plan.js';
import type { Scope } from './scope.js';
import { sortKeyOfValues } from './sort-key.js';

export type Candidate = StoredItem & { readonly sortKey?: Buffer };
export type Candidates = AsyncGenerator<readonly Candidate[]>;

/** All items that an access leads to; those of a union may come several times. */
export async function* candidatesOf(scope: Scope, access: Access): Candidates {
  if (access.kind !== 'index') yield* keyPages(scope, access.ranges, 'forward', limits.pageItemsMax);
  if (access.kind === 'keys') return;
  for (const { index, ranges } of access.kind === 'index' ? [access.index] : access.indexes) {
    for (const range of ranges) yield* indexPages(scope, index.id, { ...range, backward: false }, limits.pageItemsMax);
  }
}

/** The items of a walk in its order, after a position or a little before it. `pageSize` is that of the first page; others grow. */
export async function* candidatesAfter(
  scope: Scope,
  walk: Walk,
  ordering: Ordering,
  after: Position | undefined,
  pageSize: number,
): Candidates {
  if (walk.kind === 'keys') {
    const { ranges, direction } = walk;
    const rest = after ? rangesAfter(ranges, after.key, direction === 'backward') : ranges;
    return yield* keyPages(scope, rest, direction, pageSize);
  }
  const { index } = walk.index;
  for (const leg of legsOf(walk, ordering, after)) yield* indexPages(scope, index.id, leg, pageSize);
}

/** Keys that are read one by one, at once, before their size is looked at. */
const POINTS_AT_ONCE = 16;

async function* keyPages(scope: Scope, ranges: KeyRanges, direction: Direction, limit: number): Candidates {
  const { source, poolId, collectionId } = scope;
  const backward = direction === 'backward';
  const inOrder = backward ? ranges.toReversed() : ranges;
  for (let i = 0; i < inOrder.length; ) {
    const points: string[] = [];
    for (const range of inOrder.slice(i, i + Math.min(POINTS_AT_ONCE, limit))) {
      const point = pointOf(range);
      if (point === undefined) break;
      points.push(point);
    }
    if (points.length > 0) {
      const places = points.map((key) => ({ collectionId, key }));
      const found = await source.items(poolId, places);
      yield found.sort((a, b) => (backward ? compareKeys(b.key, a.key) : compareKeys(a.key, b.key)));
      i += points.length;
    } else {
      yield* itemPages(source, poolId, { ...inOrder[i], collectionId, backward, limit, limitMax: limits.pageItemsMax });
      i++;
    }
    if (i < inOrder.length) await turn();
  }
}

/** A stretch of an index that is read in one direction. */
interface Leg extends ByteRange {
  readonly backward: boolean;
  readonly after?: { readonly sortKey: Buffer; readonly key: string };
}

async function* indexPages(scope: Scope, indexId: number, leg: Leg, pageSize: number): Candidates {
  const { source, poolId, collectionId } = scope;
  let { after } = leg;
  let limit = pageSize;
  for (let more = true; more; ) {
    const request = { ...leg, after, indexId, collectionId, limit, bytesMax: limits.scanReadBytesMax };
    const page = await source.indexRange(poolId, request);
    yield page.items;
    ({ more } = page);
    limit = grown(limit, limits.pageItemsMax);
    after = page.items.at(-1);
    if (more) await turn();
  }
}

/** Backwards, what is absent lies at the wrong end: it is a leg of its own, read last and forwards. */
function legsOf(walk: Extract<Walk, { kind: 'index' }>, ordering: Ordering, after: Position | undefined): Leg[] {
  const { index: access, direction } = walk;
  const [range] = access.ranges as [ByteRange];
  const absent = Buffer.concat([access.prefix, Buffer.of(0xff)]);
  const reachesAbsent = !range.end || range.end.compare(absent) > 0;
  const wanted = ordering.terms.filter((term) => !isFixed(access, term));
  const values = after && ordering.terms.flatMap((term, i) => (isFixed(access, term) ? [] : [after.values[i]]));
  if (direction === 'forward') return [resume({ ...range, backward: false }, access, wanted, values, after)];
  const present: Leg = { start: range.start, end: reachesAbsent ? absent : range.end, backward: true };
  const legs: Leg[] = reachesAbsent ? [{ start: absent, end: range.end, backward: false }] : [];
  if (values && values[0] === undefined) return legs.map((leg) => resume(leg, access, wanted, values, after));
  return [resume(present, access, wanted, values, after), ...legs];
}

/** The rest of a leg after a position that lies in it. */
function resume(
  leg: Leg,
  { index, fixed, prefix }: IndexAccess,
  wanted: Ordering['terms'],
  values: Position['values'] | undefined,
  after: Position | undefined,
): Leg {
  if (!values || !after) return leg;
  const parts = index.parts.slice(fixed, fixed + wanted.length);
  const { bytes, exact } = sortKeyOfValues(parts, values);
  const sortKey = Buffer.concat([prefix, bytes]);
  if (exact) return { ...leg, after: { sortKey, key: after.key } };
  // Where the key was cut, others share it: whoever reads compares the values.
  return leg.backward ? { ...leg, end: bytesAfter(sortKey) } : { ...leg, start: sortKey };
}
