/**
 * The places of a JSON Schema (2020-12) where a schema stands: everything else in it (enum, const, default, unknown
 * keywords) is data and may look like a schema without being one.
 */
import { isObject, type Json, type JsonObject, pointerToken, setMember } from '../state/json.js';

/** Keywords whose value is a schema. `loop`: it is used once for each element or member. */
const ONE: Readonly<Record<string, 'loop' | 'inPlace'>> = Object.assign(Object.create(null), {
  // biome-ignore lint/suspicious/noThenProperty: a keyword of the standard.
  then: 'inPlace',
  items: 'loop',
  contains: 'loop',
  additionalProperties: 'loop',
  propertyNames: 'loop',
  unevaluatedItems: 'loop',
  unevaluatedProperties: 'loop',
  not: 'inPlace',
  if: 'inPlace',
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

/** A copy in which the schemas directly inside were replaced. */
export function mapChildren(schema: JsonObject, replace: (child: Json, path: string, use: Use) => Json): JsonObject {
  const copy: JsonObject = {};
  for (const keyword of Object.keys(schema)) {
    const value = schema[keyword] as Json;
    const path = `/${pointerToken(keyword)}`;
    let mapped = value;
    if (ONE[keyword]) mapped = replace(value, path, ONE[keyword]);
    else if (LISTS[keyword] && Array.isArray(value)) {
      const use = LISTS[keyword];
      mapped = value.map((inner, i) => replace(inner, `${path}/${i}`, use));
    } else if (MAPS[keyword] && isObject(value)) {
      const all: JsonObject = {};
      for (const name of Object.keys(value)) {
        setMember(all, name, replace(value[name] as Json, `${path}/${pointerToken(name)}`, MAPS[keyword]));
      }
      mapped = all;
    }
    setMember(copy, keyword, mapped);
  }
  return copy;
}

/** A copy in which every object schema was passed through `alter`, innermost first. */
export function mapSchemas(schema: Json, alter: (schema: JsonObject, use: Use) => JsonObject, use: Use = 'root'): Json {
  if (!isObject(schema)) return schema;
  return alter(
    mapChildren(schema, (child, _path, childUse) => mapSchemas(child, alter, childUse)),
    use,
  );
}
