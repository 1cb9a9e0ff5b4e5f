/**
 * The order of JSON values: null < false < true < numbers < strings (by UTF-8 bytes) < arrays < objects, and what is absent
 * last. Arrays compare element by element, then by length; objects as their members in the order of their names. It is the
 * order that sort keys (sort-key.ts) have as bytes. A comparison takes time in proportion to the values and sorts nothing; its
 * steps are counted, for values may be large and comparisons many.
 */
import type { Json, JsonObject } from '../state/json.js';
import { compareKeys } from '../state/key-order.js';

/** What comparisons cost, in elements and members that were looked at: 10 to 150 ns each. */
export interface Work {
  steps: number;
}

/** For comparisons that are bounded otherwise. */
const uncounted: Work = { steps: 0 };

/** Characters of long strings that are compared in the time of a step. */
const STEP_CHARACTERS = 16;
const STRING_BEGIN = 256;

/** The JSON type as far as comparisons go, in the order of types. */
export function rankOf(value: Json | undefined): number {
  switch (typeof value) {
    case 'undefined':
      return 7;
    case 'boolean':
      return 1;
    case 'number':
      return 2;
    case 'string':
      return 3;
    default:
      return value === null ? 0 : Array.isArray(value) ? 4 : 5;
  }
}

/** Negative, zero or positive, as for Array.sort. */
export function compareValues(a: Json | undefined, b: Json | undefined, work = uncounted): number {
  const rank = rankOf(a);
  const difference = rank - rankOf(b);
  if (difference !== 0) return difference;
  switch (rank) {
    case 1:
      return Number(a) - Number(b);
    case 2:
      return (a as number) < (b as number) ? -1 : a === b ? 0 : 1;
    case 3:
      return compareStrings(a as string, b as string, work);
    case 4:
      return compareArrays(a as Json[], b as Json[], work);
    case 5:
      return compareObjects(a as JsonObject, b as JsonObject, work);
    default:
      return 0;
  }
}

function compareStrings(a: string, b: string, work: Work): number {
  const length = Math.min(a.length, b.length);
  if (length > STRING_BEGIN) {
    const order = compareKeys(a.slice(0, STRING_BEGIN), b.slice(0, STRING_BEGIN));
    if (order !== 0) return order;
    work.steps += length / STEP_CHARACTERS;
  }
  return compareKeys(a, b);
}

function compareArrays(a: readonly Json[], b: readonly Json[], work: Work): number {
  for (let i = 0; i < a.length && i < b.length; i++) {
    work.steps++;
    const order = compareValues(a[i], b[i], work);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

/**
 * The first name at which two objects differ decides. Before it they have the same members; if only one of them has it,
 * then the other has a later one in its place, and comes after, or has ended, and comes before.
 */
function compareObjects(a: JsonObject, b: JsonObject, work: Work): number {
  const names = namesOf(a);
  const others = namesOf(b);
  if (names.length === 0 || others.length === 0) return names.length - others.length;
  work.steps += names.length;
  let first: string | undefined;
  let order = 0;
  for (const name of names) {
    if (first !== undefined && compareKeys(name, first) >= 0) continue;
    const isShared = Object.hasOwn(b, name);
    const difference = isShared ? compareValues(a[name], b[name], work) : Number.NaN;
    if (difference === 0) continue;
    first = name;
    order = difference;
  }
  if (first === undefined && names.length === others.length) return 0;
  work.steps += others.length;
  let isOther = false;
  for (const name of others) {
    if ((first !== undefined && compareKeys(name, first) >= 0) || Object.hasOwn(a, name)) continue;
    first = name;
    isOther = true;
  }
  if (isOther) return hasAfter(names, first as string) ? 1 : -1;
  return Number.isNaN(order) ? (hasAfter(others, first as string) ? -1 : 1) : order;
}

function hasAfter(names: readonly string[], first: string): boolean {
  return names.some((name) => compareKeys(name, first) > 0);
}

/** Equality of JSON values as jsonEqual has it, with its steps counted. What is likelier to be small comes first. */
export function equalValues(a: Json | undefined, b: Json | undefined, work: Work): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    for (let i = 0; i < a.length; i++) {
      work.steps++;
      if (!equalValues(a[i], b[i], work)) return false;
    }
    return true;
  }
  const names = namesOf(a);
  for (const name of names) {
    work.steps++;
    if (!Object.hasOwn(b, name) || !equalValues(a[name], b[name], work)) return false;
  }
  return names.length === namesOf(b).length;
}

/** Names of objects with many, which take long to list and are asked for again and again. */
const manyNames = new WeakMap<JsonObject, readonly string[]>();
const MANY_NAMES = 100;

function namesOf(object: JsonObject): readonly string[] {
  const known = manyNames.get(object);
  if (known) return known;
  const names = Object.keys(object);
  if (names.length > MANY_NAMES) manyNames.set(object, names);
  return names;
}

export function sortedNames(object: JsonObject): string[] {
  return Object.keys(object).sort(compareKeys);
}

/** The `amount` names that come first, in order. */
export function firstNames(object: JsonObject, amount: number): string[] {
  const names = namesOf(object);
  if (names.length <= amount) return [...names].sort(compareKeys);
  const first = names.slice(0, amount).sort(compareKeys);
  for (let i = amount; i < names.length; i++) {
    const name = names[i] as string;
    if (compareKeys(name, first[amount - 1] as string) >= 0) continue;
    first.splice(placeOf(name, first), 0, name);
    first.length = amount;
  }
  return first;
}

function placeOf(name: string, sorted: readonly string[]): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareKeys(sorted[middle] as string, name) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
