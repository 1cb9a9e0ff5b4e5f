/**
 * What queries mean, said once more and as plainly as the contract says it: no index, no bytes, every item judged by itself
 * and all of them sorted. Shares no code with src; queries.test.ts holds the server against it.
 */
import type { Item, Json } from './client.js';

export type Where = { readonly [name: string]: Json };

export interface Asked {
  readonly where?: Where | undefined;
  readonly prefix?: string | undefined;
  readonly start?: string | undefined;
  readonly end?: string | undefined;
  readonly order?: readonly string[] | undefined;
}

const LOGIC = { and: 'and', or: 'or', not: 'not' } as const;

export function matches(where: Where, item: Item): boolean {
  return Object.entries(where).every(([name, wanted]) => {
    if (name === LOGIC.and) return (wanted as Where[]).every((branch) => matches(branch, item));
    if (name === LOGIC.or) return (wanted as Where[]).some((branch) => matches(branch, item));
    if (name === LOGIC.not) return !matches(wanted as Where, item);
    const value = valueAt(name, item);
    if (typeof wanted !== 'object' || wanted === null) return holds('eq', value, wanted);
    return Object.entries(wanted).every(([operator, operand]) => holds(operator, value, operand));
  });
}

function holds(operator: string, value: Json | undefined, operand: Json): boolean {
  if (operator === 'exists') return (value !== undefined) === operand;
  if (value === undefined) return false;
  const comparable = typeOf(value) === typeOf(operand);
  switch (operator) {
    case 'eq':
      return isEqual(value, operand);
    case 'ne':
      return !isEqual(value, operand);
    case 'in':
      return (operand as Json[]).some((one) => isEqual(one, value));
    case 'nin':
      return !(operand as Json[]).some((one) => isEqual(one, value));
    case 'lt':
      return comparable && compare(value, operand) < 0;
    case 'lte':
      return comparable && compare(value, operand) <= 0;
    case 'gt':
      return comparable && compare(value, operand) > 0;
    case 'gte':
      return comparable && compare(value, operand) >= 0;
    case 'prefix':
      return typeof value === 'string' && bytes(value).indexOf(bytes(operand as string)) === 0;
    case 'has':
      return Array.isArray(value) && value.some((one) => isEqual(one, operand));
    default:
      throw new Error(`The reference doesn't know ${operator}`);
  }
}

/** The value that a name of a filter, an order or an aggregate means. */
export function valueAt(name: string, item: Item): Json | undefined {
  if (name === '/@key') return item.key;
  if (name === '/@revision') return item.revision;
  const tokens = name.startsWith('/') ? name.slice(1).split('/').map(unescaped) : [name];
  let value: Json | undefined = item.attributes;
  for (const token of tokens) {
    if (Array.isArray(value)) value = String(Number(token)) === token ? value[Number(token)] : undefined;
    else if (typeof value === 'object' && value !== null)
      value = Object.hasOwn(value, token) ? value[token] : undefined;
    else return undefined;
  }
  return value;
}

function unescaped(token: string): string {
  return token.replaceAll('~1', '/').replaceAll('~0', '~');
}

function typeOf(value: Json): string {
  return value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value;
}

const bytes = (text: string) => Buffer.from(text, 'utf8');
const namesOf = (value: object) => Object.keys(value).sort((a, b) => bytes(a).compare(bytes(b)));

/** A text that is equal for equal values. */
export function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonical)}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  return `{${namesOf(value).map((name) => `${JSON.stringify(name)}:${canonical(value[name] as Json)}`)}}`;
}

export function isEqual(a: Json, b: Json): boolean {
  return canonical(a) === canonical(b);
}

const TYPES = ['null', 'boolean', 'number', 'string', 'array', 'object'];

/** null < false < true < numbers < strings < arrays < objects, and what is absent behind all of them. */
export function compare(a: Json | undefined, b: Json | undefined): number {
  if (a === undefined || b === undefined) return Number(a === undefined) - Number(b === undefined);
  if (typeOf(a) !== typeOf(b)) return TYPES.indexOf(typeOf(a)) - TYPES.indexOf(typeOf(b));
  if (typeof a === 'string') return bytes(a).compare(bytes(b as string));
  if (typeof a !== 'object' || a === null) return Math.sign(Number(a) - Number(b));
  const [x, y] = [flat(a), flat(b as Json[])];
  for (let i = 0; i < Math.min(x.length, y.length); i++) {
    const order = compare(x[i], y[i]);
    if (order !== 0) return order;
  }
  return x.length - y.length;
}

/** An array's elements; an object's members, name by name. */
function flat(value: Json[] | { [name: string]: Json }): Json[] {
  return Array.isArray(value) ? value : namesOf(value).flatMap((name) => [name, value[name] as Json]);
}

/** All items of the answer, in its order. */
export function answerOf(items: readonly Item[], { where, prefix, start, end, order = [] }: Asked): Item[] {
  const wanted = (item: Item) =>
    (where === undefined || matches(where, item)) &&
    (prefix === undefined || bytes(item.key).indexOf(bytes(prefix)) === 0) &&
    (start === undefined || compare(item.key, start) >= 0) &&
    (end === undefined || compare(item.key, end) < 0);
  return items.filter(wanted).sort((a, b) => compareItems(a, b, order));
}

function compareItems(a: Item, b: Item, order: readonly string[]): number {
  for (const term of order) {
    const name = term.replace(/^-/, '');
    const [x, y] = [valueAt(name, a), valueAt(name, b)];
    const direction = term.startsWith('-') && x !== undefined && y !== undefined ? -1 : 1;
    const order = compare(x, y) * direction;
    if (order !== 0) return order;
  }
  return compare(a.key, b.key);
}

export interface Group {
  readonly group: { readonly [name: string]: Json };
  readonly items: readonly Item[];
}

/** The items by the values of some attributes, in the order of these values. */
export function groupsOf(items: readonly Item[], groupBy: readonly string[]): Group[] {
  const groups = new Map<string, { values: (Json | undefined)[]; items: Item[] }>();
  for (const item of items) {
    const values = groupBy.map((name) => valueAt(name, item));
    const id = values.map((value) => (value === undefined ? '-' : canonical(value))).join('\n');
    const group = groups.get(id) ?? { values, items: [] };
    groups.set(id, group);
    group.items.push(item);
  }
  const inOrder = [...groups.values()].sort((a, b) => {
    for (const [i, value] of a.values.entries()) {
      const order = compare(value, b.values[i]);
      if (order !== 0) return order;
    }
    return 0;
  });
  return inOrder.map(({ values, items }) => ({
    group: Object.fromEntries(groupBy.flatMap((name, i) => (values[i] === undefined ? [] : [[name, values[i]]]))),
    items,
  }));
}
