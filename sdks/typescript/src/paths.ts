/** Paths of the API, percent-encoded. */
import { StargusError } from './errors.js';
import { canonicalJson } from './json.js';

export function poolPath(pool: string): string {
  return `/v1/pools/${segment(pool)}`;
}

export function collectionPath(pool: string, collection: string): string {
  return `${poolPath(pool)}/collections/${segment(collection)}`;
}

export function itemPath(pool: string, collection: string, key: string): string {
  return `${poolPath(pool)}/collections/${segment(collection)}/items/${segment(key)}`;
}

/** A browser would take dots out of a path, and what is empty is another path: such names are refused here, as the server would. */
function segment(name: string): string {
  if (name === '' || name === '.' || name === '..')
    throw new StargusError('invalidName', 'A name must not be empty, `.` or `..`.');
  return percentEncoded(name);
}

/** RFC 3986: all but unreserved characters. */
export function percentEncoded(text: string): string {
  if (!text.isWellFormed())
    throw new StargusError('invalidName', 'A name must be well-formed Unicode: it has half a surrogate pair.');
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** Parameters in the order of their names; objects as JSON, lists with commas. What is undefined is left out. */
export function queryOf(parameters: Readonly<Record<string, unknown>>): string {
  return Object.keys(parameters)
    .filter((name) => parameters[name] !== undefined)
    .sort()
    .map((name) => `${percentEncoded(name)}=${percentEncoded(parameterOf(parameters[name]))}`)
    .join('&');
}

function parameterOf(value: unknown): string {
  if (Array.isArray(value)) return value.join(',');
  return typeof value === 'object' ? canonicalJson(value) : String(value);
}
