/**
 * What a lock is about, as simply as can be: a scope is the set of the points that lie in it, a point being an attribute of an
 * item of a small pool.
 */
import type { Mode, Place, Scope } from './lock-commands.js';

export interface Claim {
  readonly mode: Mode;
  readonly scopes: readonly Scope[];
}

/** Between any two bounds of the scopes in lock-commands.ts lies one, and one collection and one name is in no scope. */
const POINTS: readonly (Place & { collection: string })[] = ['things', 'others', 'more'].flatMap((collection) =>
  ['!', 'a', 'aa', 'ab', 'b', 'bb', 'c'].flatMap((key) =>
    ['w', 'x', 'y', 'z'].map((name) => ({ collection, key, name })),
  ),
);

const TOGETHER = ['shared shared', 'shared update', 'update shared'];
const MODES: readonly Mode[] = ['shared', 'update', 'exclusive'];

export function clash(a: Claim | undefined, b: Claim): boolean {
  if (!a || TOGETHER.includes(`${a.mode} ${b.mode}`)) return false;
  return (pointsOf(a) & pointsOf(b)) !== 0n;
}

/** Whether it is no more than what the other has. */
export function isWithin(claim: Claim, outer: Claim): boolean {
  return MODES.indexOf(claim.mode) <= MODES.indexOf(outer.mode) && (pointsOf(claim) & ~pointsOf(outer)) === 0n;
}

const pointsKnown = new Map<string, bigint>();

/** As the bits of a number. */
function pointsOf({ scopes }: Claim): bigint {
  const text = JSON.stringify(scopes);
  let points = pointsKnown.get(text);
  if (points === undefined) {
    points = BigInt(`0b${POINTS.map((point) => Number(liesInAny(point, scopes))).join('')}`);
    pointsKnown.set(text, points);
  }
  return points;
}

export function covers(claim: Claim | undefined, place: Place): boolean {
  return liesInAny({ collection: 'things', ...place }, claim?.scopes ?? []);
}

function liesInAny(point: (typeof POINTS)[number], scopes: readonly Scope[]): boolean {
  return scopes.some(
    ({ collection, key, prefix, start, end, attributes }) =>
      (collection === undefined || point.collection === collection) &&
      (key === undefined || point.key === key) &&
      (prefix === undefined || point.key.startsWith(prefix)) &&
      (start === undefined || point.key >= start) &&
      (end === undefined || point.key < end) &&
      (attributes === undefined || attributes.includes(point.name)),
  );
}
