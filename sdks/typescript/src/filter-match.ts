/**
 * Whether an item matches a filter, judged here: for what a mirror shows before the server has answered. What this version doesn't know it can't
 * judge, and says so. Pure.
 */
import type { Item } from './item.js';
import { compareBytes, isJsonObject, isSame, type Json, type JsonObject } from './json.js';
import type { Where } from './where.js';

/** @returns undefined where that can't be judged here */
export function matches(where: Where, item: Item): boolean | undefined {
  return all(Object.entries(where).map(([name, operand]) => member(name, operand as Json, item)));
}

function member(name: string, operand: Json, item: Item): boolean | undefined {
  if (name === 'and' || name === 'or') {
    if (!Array.isArray(operand)) return undefined;
    const parts = operand.map((part) => (isJsonObject(part) ? matches(part as Where, item) : undefined));
    return name === 'and' ? all(parts) : not(all(parts.map(not)));
  }
  if (name === 'not') return isJsonObject(operand) ? not(matches(operand as Where, item)) : undefined;
  const value = valueAt(name, item);
  if (!isJsonObject(operand)) return value !== undefined && isSame(value, operand);
  return all(Object.entries(operand).map(([operator, wanted]) => test(operator, value, wanted)));
}

/** False where any is, and unknown where none is false and one is unknown. */
function all(parts: readonly (boolean | undefined)[]): boolean | undefined {
  if (parts.includes(false)) return false;
  return parts.includes(undefined) ? undefined : true;
}

function not(part: boolean | undefined): boolean | undefined {
  return part === undefined ? undefined : !part;
}

function valueAt(name: string, { key, revision, attributes }: Item): Json | undefined {
  if (!name.startsWith('/')) return Object.hasOwn(attributes, name) ? (attributes[name] as Json) : undefined;
  if (name === '/@key') return key;
  if (name === '/@revision') return revision;
  let value: Json | undefined = attributes as JsonObject;
  for (const token of name
    .slice(1)
    .split('/')
    .map((text) => text.replaceAll('~1', '/').replaceAll('~0', '~'))) {
    if (Array.isArray(value)) value = /^(0|[1-9]\d*)$/.test(token) ? value[Number(token)] : undefined;
    else value = isJsonObject(value) && Object.hasOwn(value, token) ? value[token] : undefined;
  }
  return value;
}

function test(operator: string, value: Json | undefined, wanted: Json): boolean | undefined {
  if (operator === 'exists') return typeof wanted === 'boolean' ? (value !== undefined) === wanted : undefined;
  switch (operator) {
    case 'eq':
      return value !== undefined && isSame(value, wanted);
    case 'ne':
      return value !== undefined && !isSame(value, wanted);
    case 'lt':
    case 'lte':
    case 'gt':
    case 'gte': {
      if (value === undefined || rank(value) !== rank(wanted)) return false;
      const order = compareValues(value, wanted);
      if (operator === 'lt') return order < 0;
      if (operator === 'lte') return order <= 0;
      return operator === 'gt' ? order > 0 : order >= 0;
    }
    case 'in':
    case 'nin': {
      if (!Array.isArray(wanted)) return undefined;
      const isIn = wanted.some((element) => isSame(value, element));
      return value !== undefined && isIn === (operator === 'in');
    }
    case 'prefix':
      return typeof wanted === 'string' ? typeof value === 'string' && value.startsWith(wanted) : undefined;
    case 'has':
      return Array.isArray(value) && value.some((element) => isSame(element, wanted));
    default:
      return undefined;
  }
}

/** Types in the order in which values of different types come; the two booleans are of one. */
function rank(value: Json): number {
  if (value === null) return 0;
  if (typeof value === 'boolean') return 1;
  if (typeof value === 'number') return 2;
  if (typeof value === 'string') return 3;
  return Array.isArray(value) ? 4 : 5;
}

/** The order of values of the API: by type, then by value. */
export function compareValues(one: Json, other: Json): number {
  const ranks = rank(one) - rank(other);
  if (ranks !== 0) return ranks;
  if (typeof one === 'string') return compareBytes(one, other as string);
  if (typeof one === 'number' || typeof one === 'boolean') return Number(one) - Number(other);
  if (Array.isArray(one)) return compareLists(one, other as readonly Json[]);
  if (isJsonObject(one)) return compareLists(membersOf(one), membersOf(other as JsonObject));
  return 0;
}

function membersOf(value: JsonObject): Json[] {
  return Object.keys(value)
    .sort(compareBytes)
    .map((name) => [name, value[name] as Json]);
}

function compareLists(one: readonly Json[], other: readonly Json[]): number {
  for (let at = 0; at < Math.min(one.length, other.length); at++) {
    const order = compareValues(one[at] as Json, other[at] as Json);
    if (order !== 0) return order;
  }
  return one.length - other.length;
}
