/**
 * The places of a JSON Schema (2020-12) where a schema stands: everything else in it (enum, const, default, unknown
 * keywords) is data and may look like a schema without being one.
 */
import { getMember, isObject, type Json, type JsonObject, pointerToken, setMember } from '../state/json.js';

/** Keywords whose value is a schema. `loop`: it is used once for each element or member. */
const ONE: Readonly<Record<string, 'loop' | 'inPlace'>> = Object.assign(Object.create(null), {
  items: 'loop',
  contains: 'loop',
  additionalProperties: 'loop',
  propertyNames: 'loop',
  unevaluatedItems: 'loop',
  unevaluatedProperties: 'loop',
  not: 'inPlace',
  if: 'inPlace',
  then: 'inPlace',
  else: 'inPlace',
  contentSchema: 'loop',
});
const LISTS: Readonly<Record<string, 'each' | 'inPlace'>> = Object.assign(Object.create(null), {
  prefixItems: 'each',
  allOf: 'inPlace',
  anyOf: 'inPlace',
  oneOf: 'inPlace',
});
const MAPS: Readonly<Record<string, 'each' | 'loop' | 'inPlace'>> = Object.assign(Object.create(null), {
  properties: 'each',
  patternProperties: 'loop',
  $defs: 'each',
  definitions: 'each',
  dependentSchemas: 'inPlace',
  dependencies: 'inPlace',
});

/** How a schema is used by the one around it: on the same value, once on another, or on many others. */
export type Use = 'root' | 'inPlace' | 'each' | 'loop';

export interface Place {
  readonly schema: JsonObject;
  readonly pointer: string;
  readonly depth: number;
  readonly use: Use;
}

/** Calls `visit` for every object schema, outermost first; stops going down where it answers false. */
export function visitSchemas(schema: Json, visit: (place: Place) => boolean): void {
  const go = (inner: Json | undefined, pointer: string, depth: number, use: Use): void => {
    if (!isObject(inner) || !visit({ schema: inner, pointer, depth, use })) return;
    for (const [child, path, childUse] of children(inner)) go(child, pointer + path, depth + 1, childUse);
  };
  go(schema, '', 0, 'root');
}

/** The schemas directly inside. */
export function children(schema: JsonObject): [Json, string, Use][] {
  const found: [Json, string, Use][] = [];
  for (const keyword of Object.keys(schema)) {
    const value = schema[keyword] as Json;
    const path = `/${pointerToken(keyword)}`;
    if (ONE[keyword]) found.push([value, path, ONE[keyword]]);
    else if (LISTS[keyword] && Array.isArray(value)) {
      const use = LISTS[keyword];
      value.forEach((inner, i) => {
        found.push([inner, `${path}/${i}`, use]);
      });
    } else if (MAPS[keyword] && isObject(value)) {
      for (const name of Object.keys(value)) {
        found.push([value[name] as Json, `${path}/${pointerToken(name)}`, MAPS[keyword]]);
      }
    }
  }
  return found;
}

/** A copy in which every object schema was passed through `alter`, innermost first. */
export function mapSchemas(schema: Json, alter: (schema: JsonObject, use: Use) => JsonObject, use: Use = 'root'): Json {
  if (!isObject(schema)) return schema;
  const copy: JsonObject = {};
  for (const keyword of Object.keys(schema)) {
    const value = schema[keyword] as Json;
    let mapped = value;
    if (ONE[keyword]) mapped = mapSchemas(value, alter, ONE[keyword]);
    else if (LISTS[keyword] && Array.isArray(value)) {
      const listUse = LISTS[keyword];
      mapped = value.map((inner) => mapSchemas(inner, alter, listUse));
    } else if (MAPS[keyword] && isObject(value)) {
      const all: JsonObject = {};
      for (const name of Object.keys(value)) {
        setMember(all, name, mapSchemas(value[name] as Json, alter, MAPS[keyword]));
      }
      mapped = all;
    }
    setMember(copy, keyword, mapped);
  }
  return alter(copy, use);
}

/**
 * The pointer of a reference that leads back to its own schema without going into the value, so that it would never
 * end. Sees references by `#`, `#/…` and `#anchor` where no `$id` stands below the root; others are met when an item is checked.
 */
export function endlessReference(root: Json): string | undefined {
  const targets = new Map<string, JsonObject>();
  const places = new Map<JsonObject, string>();
  let relative = false;
  visitSchemas(root, ({ schema, pointer, depth }) => {
    places.set(schema, pointer);
    targets.set(`#${pointer}`, schema);
    for (const keyword of ['$anchor', '$dynamicAnchor']) {
      const anchor = getMember(schema, keyword);
      if (typeof anchor === 'string') targets.set(`#${anchor}`, schema);
    }
    if (depth > 0 && getMember(schema, '$id') !== undefined) relative = true;
    return true;
  });
  if (relative) return undefined;
  const state = new Map<JsonObject, 'open' | 'done'>();
  const search = (schema: JsonObject): string | undefined => {
    state.set(schema, 'open');
    for (const [next, at] of steps(schema)) {
      if (state.get(next) === 'open') return at;
      const found = state.has(next) ? undefined : search(next);
      if (found !== undefined) return found;
    }
    state.set(schema, 'done');
    return undefined;
  };
  const steps = (schema: JsonObject): [JsonObject, string][] => {
    const next: [JsonObject, string][] = [];
    for (const [child, path, use] of children(schema)) {
      if (use === 'inPlace' && isObject(child)) next.push([child, places.get(schema) + path]);
    }
    const reference = getMember(schema, '$ref');
    const target = typeof reference === 'string' ? targets.get(decoded(reference)) : undefined;
    if (target) next.push([target, `${places.get(schema)}/$ref`]);
    return next;
  };
  for (const schema of places.keys()) {
    const found = state.has(schema) ? undefined : search(schema);
    if (found !== undefined) return found;
  }
  return undefined;
}

function decoded(reference: string): string {
  try {
    return decodeURIComponent(reference);
  } catch {
    return reference;
  }
}
