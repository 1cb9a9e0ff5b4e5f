/**
 * A query as it was asked, checked: the filter, the order, the projection and the aggregates of docs/API.md parsed from names
 * and JSON, with a pointer to every fault.
 */
import { type ErrorCode, Problem } from '../errors.js';
import { limits } from '../limits.js';
import { getMember, isObject, type Json, type JsonObject, pointerToken, setMember } from '../state/json.js';
import type { Attributes } from '../state/model.js';
import type { Aggregate, AggregateFunction } from './aggregate.js';
import type { OrderTerm } from './index-access.js';
import { type Path, parsePath } from './path.js';

const FUNCTIONS = new Set(['count', 'sum', 'min', 'max', 'avg']);

/** `-priority` is descending. `pointer` leads to the list in the request. */
export function parseOrder(terms: readonly string[], pointer: string): OrderTerm[] {
  if (terms.length > limits.orderTermsMax)
    throw fault(pointer, `must name at most ${limits.orderTermsMax} attributes.`);
  return terms.map((term, i) => {
    const descending = term.startsWith('-');
    return { path: pathAt(descending ? term.slice(1) : term, place(pointer, i)), descending };
  });
}

export function parsePaths(names: readonly string[], pointer: string, max: number): Path[] {
  if (names.length > max) throw fault(pointer, `must name at most ${max} attributes.`);
  return names.map((name, i) => pathAt(name, place(pointer, i)));
}

/** `{total: {sum: "price"}}` */
export function parseAggregates(aggregates: JsonObject, pointer: string): Aggregate[] {
  const names = Object.keys(aggregates);
  if (names.length === 0)
    throw fault(pointer, 'must name at least one aggregate, such as {"items": {"count": "/@key"}}.');
  if (names.length > limits.aggregatesMax)
    throw fault(pointer, `must name at most ${limits.aggregatesMax} aggregates.`);
  return names.map((name) => {
    const at = place(pointer, name);
    const wanted = aggregates[name] as Json;
    const [entry, ...others] = isObject(wanted) ? Object.entries(wanted) : [];
    const [more] = others;
    if (more)
      throw fault(place(at, more[0]), `is one too many: an aggregate is one function; ${entry?.[0]} is there already.`);
    if (entry && !FUNCTIONS.has(entry[0]))
      throw fault(place(at, entry[0]), `is no function; there are ${[...FUNCTIONS].join(', ')}.`);
    if (!entry || typeof entry[1] !== 'string') {
      throw fault(
        at,
        `must be one function and an attribute, such as {"sum": "price"}; there are ${[...FUNCTIONS].join(', ')}.`,
      );
    }
    return { name, function: entry[0] as AggregateFunction, path: pathAt(entry[1], place(at, entry[0])) };
  });
}

export function projectionOf(names: readonly string[], pointer: string): Projection {
  return new Projection(parsePaths(names, pointer, limits.attributesMax));
}

/** What a query shows of an item: the named attributes, and of pointers the way to their values. */
export class Projection {
  constructor(private readonly paths: readonly Path[]) {}

  of(attributes: Attributes): Attributes {
    const shown: Attributes = {};
    for (const { of, tokens } of this.paths) if (of === 'attribute') copy(attributes, shown, tokens);
    return shown;
  }
}

/** Copies the value that the tokens lead to. An array on the way is shown whole: a part of it would stand at another place. */
function copy(from: JsonObject, to: JsonObject, tokens: readonly string[]): void {
  const [name, ...rest] = tokens as [string, ...string[]];
  const value = getMember(from, name);
  if (value === undefined) return;
  if (rest.length === 0 || !isObject(value)) {
    if (rest.length === 0 || Array.isArray(value)) setMember(to, name, value);
    return;
  }
  const present = getMember(to, name);
  // What is shown whole already needs no part of it again.
  if (present === value) return;
  const inner: JsonObject = isObject(present) ? present : {};
  copy(value, inner, rest);
  if (Object.keys(inner).length > 0) setMember(to, name, inner);
}

function pathAt(text: string, pointer: string): Path {
  try {
    return parsePath(text);
  } catch (error) {
    const code = error instanceof Problem ? error.code : 'badRequest';
    throw fault(pointer, (error as Error).message, code);
  }
}

/** A parameter is a place by itself; in a body a list's entry has its own. */
function place(pointer: string, token: string | number): string {
  return pointer.startsWith('?') ? pointer : `${pointer}/${pointerToken(String(token))}`;
}

function fault(pointer: string, detail: string, code: ErrorCode = 'badRequest'): Problem {
  return new Problem(code, `${pointer} ${detail}`, { errors: [{ pointer, code, detail }] });
}
