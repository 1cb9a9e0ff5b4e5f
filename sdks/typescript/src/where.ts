/**
 * The where-builder: filters of the API (docs/API.md#filters) as functions, which quote names that would be taken for operators or pointers.
 * What they make is plain JSON, so objects written by hand go together with them: `where.and({ status: 'open' }, where.gte('priority', 3))`.
 */
import type { Json } from './json.js';

/** A filter: `{ status: 'open', priority: { gte: 3 }, or: [{ … }, { … }] }`. */
export interface Where {
  readonly [name: string]: Json | Where | readonly Where[];
}

const LOGIC = new Set(['and', 'or', 'not']);

/** Names an item's key in a filter or an order: `where.prefix(KEY, 'a/')`. */
export const KEY = { pointer: '/@key' } as const;
/** Names an item's revision. */
export const REVISION = { pointer: '/@revision' } as const;

/** An attribute's name as it is, or a place inside of an attribute: `at('address', 'city')`, `KEY`, `REVISION`. */
export type Place = string | { readonly pointer: string };

/** A place inside of an attribute; an element of an array by its number. */
export function at(attribute: string, ...path: readonly (string | number)[]): Place {
  return { pointer: [attribute, ...path].map((token) => `/${escaped(String(token))}`).join('') };
}

function nameOf(place: Place): string {
  if (typeof place !== 'string') return place.pointer;
  return LOGIC.has(place) || place.startsWith('/') ? `/${escaped(place)}` : place;
}

function escaped(token: string): string {
  return token.replaceAll('~', '~0').replaceAll('/', '~1');
}

const test =
  <T extends Json>(operator: string) =>
  (place: Place, operand: T): Where => ({ [nameOf(place)]: { [operator]: operand } });

/** Equals the value, whatever the order of members. */
const eq = test<Json>('eq');
/** Is there, and doesn't equal it. */
const ne = test<Json>('ne');
/** Has its type, and comes before it. */
const lt = test<Json>('lt');
const lte = test<Json>('lte');
const gt = test<Json>('gt');
const gte = test<Json>('gte');
/** Equals one of them. */
const inList = test<readonly Json[]>('in');
/** Is there, and equals none of them. */
const notInList = test<readonly Json[]>('nin');
/** Is a text that begins so. */
const prefix = test<string>('prefix');
/** Is a list with an element that equals it. */
const has = test<Json>('has');
/** Is there; with `false`: isn't there. */
const exists = (place: Place, isThere = true): Where => ({ [nameOf(place)]: { exists: isThere } });
/** All match; none given: everything does. */
const and = (...parts: readonly Where[]): Where => ({ and: parts });
/** At least one matches; none given: nothing does. */
const or = (...parts: readonly Where[]): Where => ({ or: parts });
/** Doesn't match. */
const not = (part: Where): Where => ({ not: part });

export const where = {
  eq,
  ne,
  lt,
  lte,
  gt,
  gte,
  inList,
  notInList,
  prefix,
  has,
  exists,
  and,
  or,
  not,
  at,
  KEY,
  REVISION,
} as const;
