/** JSON values: what is equal, what a merge patch makes, what differs, and one text for one value. Pure. */

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [name: string]: Json;
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** As it is sent, and one's own: what the caller does with theirs afterwards, or we with ours, isn't seen in the other. */
export function asSent(value: unknown): Json {
  return JSON.parse(JSON.stringify(value));
}

/** Whatever the order of members. */
export function isSame(one: unknown, other: unknown): boolean {
  if (one === other) return true;
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return false;
  if (Array.isArray(one) || Array.isArray(other)) {
    if (!Array.isArray(one) || !Array.isArray(other) || one.length !== other.length) return false;
    return one.every((element, index) => isSame(element, other[index]));
  }
  const names = Object.keys(one);
  if (names.length !== Object.keys(other).length) return false;
  return names.every(
    (name) => Object.hasOwn(other, name) && isSame((one as JsonObject)[name], (other as JsonObject)[name]),
  );
}

/** RFC 7396. */
export function merged(target: Json | undefined, patch: Json): Json {
  if (!isJsonObject(patch)) return patch;
  const result: Record<string, Json> = isJsonObject(target) ? copied(target) : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else put(result, name, merged(Object.hasOwn(result, name) ? result[name] : undefined, value));
  }
  return result;
}

/** Without what is null at the top: there null means absent. */
export function withoutNulls(attributes: JsonObject): JsonObject {
  const result: Record<string, Json> = {};
  for (const [name, value] of Object.entries(attributes)) if (value !== null) put(result, name, value);
  return result;
}

export function copied(value: JsonObject): Record<string, Json> {
  const result: Record<string, Json> = {};
  for (const name of Object.keys(value)) put(result, name, value[name] as Json);
  return result;
}

/** An attribute may be called `__proto__`. */
export function put(target: Record<string, Json>, name: string, value: Json): void {
  if (name === '__proto__')
    Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true });
  else target[name] = value;
}

/** The names of what differs, those of `before` first. */
export function differences(
  before: JsonObject | undefined,
  after: JsonObject | undefined,
): { changed: string[]; removed: string[] } {
  const changed: string[] = [];
  const removed: string[] = [];
  for (const name of Object.keys(before ?? {})) {
    if (!after || !Object.hasOwn(after, name)) {
      changed.push(name);
      removed.push(name);
    } else if (!isSame(before?.[name], after[name])) changed.push(name);
  }
  for (const name of Object.keys(after ?? {})) if (!before || !Object.hasOwn(before, name)) changed.push(name);
  return { changed, removed };
}

/** Makes a value, and all that is in it, unalterable. */
export function frozen<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const name in value) {
      const member = value[name];
      if (typeof member === 'object' && member !== null) frozen(member);
    }
  }
  return value;
}

/** JSON with members in the order of their names and no blanks: one text for one value. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((element) => canonicalJson(element ?? null)).join(',')}]`;
  if (!isJsonObject(value)) return JSON.stringify(value ?? null);
  const members = Object.keys(value)
    .filter((name) => value[name] !== undefined)
    .sort(compareBytes)
    .map((name) => `${JSON.stringify(name)}:${canonicalJson(value[name])}`);
  return `{${members.join(',')}}`;
}

/** The order of UTF-8 bytes, which is that of code points; that of JavaScript's strings differs beyond the BMP. */
export function compareBytes(one: string, other: string): number {
  const length = Math.min(one.length, other.length);
  for (let at = 0; at < length; at++) {
    let a = one.charCodeAt(at);
    let b = other.charCodeAt(at);
    if (a === b) continue;
    // Surrogates stand for what comes after all other units.
    if (a >= 0xd800 && b >= 0xd800) {
      a = a >= 0xe000 ? a - 0x800 : a + 0x2000;
      b = b >= 0xe000 ? b - 0x800 : b + 0x2000;
    }
    return a < b ? -1 : 1;
  }
  return one.length - other.length;
}
