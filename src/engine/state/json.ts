/**
 * JSON values as Stargus keeps them: parsing that refuses what would be altered silently, equality, order-free
 * comparison of objects, and the RFC 7396 merge. Pure; called by HTTP for bodies and by the operations on items.
 *
 * `__proto__` is an attribute name like any other. JSON.parse makes it an own property; every copy here keeps it one.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type JsonObject = { [name: string]: Json };

/**
 * What only the slow audit can judge: numbers of sixteen digits or with an exponent, where a number can stand (in a string
 * they are rare enough there), and escapes that may be lone surrogates.
 */
const SUSPECT = /(?:^|[[:,\s])-?\d(?:[\d.]{15}|[\d.]*[eE])|\\u[dD]/;

/** A value of the deepest allowed nesting, inside the members of a batch. */
const BODY_NESTING_MAX = limits.nestingMax + 8;

/**
 * Parses a JSON text. Refuses malformed text (`badRequest`), integers that a double can't hold exactly and numbers past
 * its range (`numberOutOfRange`), lone surrogates and excessive nesting (`badRequest`). Of duplicate members the last counts.
 */
export function parseJson(text: string): Json {
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch (error) {
    throw new Problem('badRequest', `The body is not valid JSON: ${(error as Error).message}.`);
  }
  if (SUSPECT.test(text)) audit(text);
  if (text.length > 2 * BODY_NESTING_MAX && nestingOf(value, BODY_NESTING_MAX) > BODY_NESTING_MAX) {
    throw new Problem('badRequest', `The body nests deeper than ${BODY_NESTING_MAX} levels.`);
  }
  return value;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Sets an own property, `__proto__` included. */
export function setMember(object: JsonObject, name: string, value: Json): void {
  if (name === '__proto__') {
    Object.defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true });
  } else {
    object[name] = value;
  }
}

export function getMember(object: JsonObject, name: string): Json | undefined {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

/** A shallow copy of the named members, or of all but the absent. */
export function pickMembers(object: JsonObject, names: readonly string[]): JsonObject {
  const picked: JsonObject = {};
  for (const name of names) {
    const value = getMember(object, name);
    if (value !== undefined) setMember(picked, name, value);
  }
  return picked;
}

export function copyMembers(object: JsonObject): JsonObject {
  const copy: JsonObject = {};
  for (const name of Object.keys(object)) setMember(copy, name, object[name] as Json);
  return copy;
}

/** Equality of JSON values: objects whatever the order of members. */
export function jsonEqual(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    return (
      Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((value, i) => jsonEqual(value, b[i]))
    );
  }
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => Object.hasOwn(b, name) && jsonEqual(a[name], b[name]))
  );
}

/** Levels of arrays and objects in a value; a scalar has none. Stops counting past `max`. */
export function nestingOf(value: Json | undefined, max: number): number {
  if (typeof value !== 'object' || value === null) return 0;
  if (max === 0) return 1;
  let deepest = 0;
  for (const inner of Array.isArray(value) ? value : Object.values(value)) {
    if (typeof inner === 'object' && inner !== null) deepest = Math.max(deepest, nestingOf(inner, max - 1));
    if (deepest > max) break;
  }
  return deepest + 1;
}

/** RFC 7396: objects merge member by member, null removes, anything else replaces. Neither argument is altered. */
export function mergePatch(target: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return patch;
  const merged: JsonObject = isObject(target) ? copyMembers(target) : {};
  for (const name of Object.keys(patch)) {
    const value = patch[name] as Json;
    if (value === null) delete merged[name];
    else setMember(merged, name, mergePatch(getMember(merged, name), value));
  }
  return merged;
}

/** Escapes a name for use in a JSON Pointer (RFC 6901). */
export function pointerToken(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}

type Frame = { array: boolean; index: number; name: string };
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[[\]{},:]/gs;

/** Walks the tokens of a text that is known to be valid JSON, and throws at the first value that would be altered. */
function audit(text: string): void {
  const frames: Frame[] = [];
  let nameNext = false;
  const pointer = () => frames.map((f) => `/${f.array ? f.index : pointerToken(f.name)}`).join('');
  for (const [token] of text.matchAll(TOKEN)) {
    const top = frames.at(-1);
    switch (token[0]) {
      case '{':
      case '[':
        frames.push({ array: token === '[', index: 0, name: '' });
        nameNext = token === '{';
        break;
      case '}':
      case ']':
        frames.pop();
        nameNext = false;
        break;
      case ',':
        if (top?.array) top.index++;
        nameNext = top?.array === false;
        break;
      case ':':
        nameNext = false;
        break;
      case '"': {
        const string = JSON.parse(token) as string;
        if (top && nameNext) top.name = string;
        if (!string.isWellFormed())
          refuse('badRequest', 'The string holds a lone surrogate, which is no character.', pointer());
        break;
      }
      default:
        if (!isExact(token)) {
          refuse(
            'numberOutOfRange',
            `The number ${token.slice(0, 40)} can't be held exactly by a double; send it as a string.`,
            pointer(),
          );
        }
    }
  }
}

/**
 * Whether the number comes out as it went in. An integer past 2^53, however it is written, must be a double exactly, or have
 * the digits that a double is written with: a large double's shortest text need not be its exact value, and must be
 * taken back as it was given out. Other decimals are approximations by nature, but must not vanish.
 */
function isExact(token: string): boolean {
  const value = Number(token);
  if (!Number.isFinite(value)) return false;
  const given = decimalOf(token);
  if (value === 0) return given.digits === '';
  if (given.exponent < 0 || Number.isSafeInteger(value)) return true;
  const written = decimalOf(String(value));
  if (given.digits === written.digits && given.exponent === written.exponent) return true;
  return BigInt(given.digits) * 10n ** BigInt(given.exponent) === BigInt(Math.abs(value));
}

/** A number's text as digits without zeros at either end, and the power of ten that they stand before. */
function decimalOf(token: string): { digits: string; exponent: number } {
  const [, whole = '', fraction = '', power = '0'] = /^-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(token) ?? [];
  const digits = `${whole}${fraction}`.replace(/^0+/, '');
  const significant = digits.replace(/0+$/, '');
  return { digits: significant, exponent: Number(power) - fraction.length + digits.length - significant.length };
}

function refuse(code: 'badRequest' | 'numberOutOfRange', detail: string, pointer: string): never {
  throw new Problem(code, `${detail} (at ${pointer || 'the top'})`, { errors: [{ pointer, code, detail }] });
}

/** Refuses a value that nests deeper than the limit. `pointer` leads to it in the request. */
export function checkNesting(value: Json | undefined, pointer: string): void {
  if (nestingOf(value, limits.nestingMax) > limits.nestingMax) {
    refuse('badRequest', `The value nests deeper than ${limits.nestingMax} levels.`, pointer);
  }
}
