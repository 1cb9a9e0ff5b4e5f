/**
 * The order of JSON values: null < false < true < numbers < strings (by UTF-8 bytes) < arrays < objects, and what is absent
 * last. Arrays compare element by element, then by length; objects as their members in the order of their names. It is the
 * order that sort keys (sort-key.ts) have as bytes.
 */
import type { Json, JsonObject } from '../state/json.js';
import { compareKeys } from '../state/key-order.js';

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
export function compareValues(a: Json | undefined, b: Json | undefined): number {
  const rank = rankOf(a);
  const difference = rank - rankOf(b);
  if (difference !== 0) return difference;
  switch (rank) {
    case 1:
      return Number(a) - Number(b);
    case 2:
      return (a as number) < (b as number) ? -1 : a === b ? 0 : 1;
    case 3:
      return compareKeys(a as string, b as string);
    case 4:
      return compareArrays(a as Json[], b as Json[]);
    case 5:
      return compareObjects(a as JsonObject, b as JsonObject);
    default:
      return 0;
  }
}

function compareArrays(a: readonly Json[], b: readonly Json[]): number {
  for (let i = 0; i < a.length && i < b.length; i++) {
    const order = compareValues(a[i], b[i]);
    if (order !== 0) return order;
  }
  return a.length - b.length;
}

function compareObjects(a: JsonObject, b: JsonObject): number {
  const [names, others] = [sortedNames(a), sortedNames(b)];
  for (let i = 0; i < names.length && i < others.length; i++) {
    const name = names[i] as string;
    const other = others[i] as string;
    const order = compareKeys(name, other) || compareValues(a[name], b[other]);
    if (order !== 0) return order;
  }
  return names.length - others.length;
}

export function sortedNames(object: JsonObject): string[] {
  return Object.keys(object).sort(compareKeys);
}
