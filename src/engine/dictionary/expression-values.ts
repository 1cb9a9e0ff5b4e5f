/** What passes between JSON and the expression language: attributes in, results out. */
import { getMember, isObject, type Json, type JsonObject, setMember } from '../state/json.js';
import type { Meter } from './meter.js';

/**
 * The value as the evaluator takes it. Numbers stay doubles. An object with a member `constructor` becomes a Map, since
 * the evaluator goes by that member to tell what an object is; the others are passed as they are. Each value inside is
 * looked at once, whatever it nests in. What that costs is known by the item's size: past the allowance, what comes next ends.
 */
export function toExpression(value: Json, meter: Meter): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    meter.spend((1 + value.length) / VALUES_PER_STEP);
    let altered: unknown[] | undefined;
    for (let i = 0; i < value.length; i++) {
      const before = value[i] as Json;
      const after = toExpression(before, meter);
      if (after !== before) altered ??= value.slice(0, i);
      altered?.push(after);
    }
    return altered ?? value;
  }
  const names = Object.keys(value);
  meter.spend((1 + names.length) / VALUES_PER_STEP);
  let altered = false;
  const inner: unknown[] = [];
  for (const name of names) {
    const before = value[name] as Json;
    const after = toExpression(before, meter);
    altered ||= after !== before || name === 'constructor';
    inner.push(after);
  }
  return altered ? new Map(names.map((name, i) => [name, inner[i]])) : value;
}

/** Attributes as the evaluator takes them, after one of them became another or was removed: the others are as they were. */
export function withAttribute(self: unknown, now: JsonObject, name: string, meter: Meter): unknown {
  const value = getMember(now, name);
  const converted = value === undefined ? undefined : toExpression(value, meter);
  if (!(self instanceof Map) && converted === value && name !== 'constructor') return now;
  const changed = new Map(self instanceof Map ? self : Object.entries(self as object));
  if (value === undefined) changed.delete(name);
  else changed.set(name, converted);
  return changed;
}

const VALUES_PER_STEP = 8;

/** Says why a result is no JSON. */
export class ValueFault extends Error {}

/** A result as JSON: timestamps and durations as text, integers where a double holds them. @throws ValueFault, OVERSPENT */
export function toJson(value: unknown, meter: Meter, depth = 0): Json {
  meter.charge(1);
  if (depth > RESULT_NESTING_MAX) throw new ValueFault(`it nests deeper than ${RESULT_NESTING_MAX} levels`);
  switch (typeof value) {
    case 'string':
      meter.charge(value.length / 64);
      if (!value.isWellFormed()) throw new ValueFault('it has half of a surrogate pair, which is no character');
      return value;
    case 'boolean':
      return value;
    case 'number':
      if (!Number.isFinite(value)) throw new ValueFault(`${value} is no JSON number`);
      return value === 0 ? 0 : value;
    case 'bigint':
      if (!Number.isSafeInteger(Number(value)))
        throw new ValueFault(`${value} is past what a JSON number holds exactly`);
      return Number(value);
    case 'object':
      return value === null ? null : structured(value, meter, depth);
    default:
      throw new ValueFault('it is no JSON value');
  }
}

/** An attribute stands in an item, and that may stand in a batch. */
const RESULT_NESTING_MAX = 99;

function structured(value: object, meter: Meter, depth: number): Json {
  if (Array.isArray(value)) return value.map((inner) => toJson(inner, meter, depth + 1));
  if (value instanceof Date) {
    meter.charge(4);
    return value.toISOString();
  }
  const entries = value instanceof Map ? [...value] : isPlain(value) ? Object.entries(value) : undefined;
  if (entries) {
    const object: JsonObject = {};
    for (const [name, inner] of entries) setMember(object, String(name), toJson(inner, meter, depth + 1));
    return object;
  }
  switch (value.constructor.name) {
    case 'UnsignedInt':
      return toJson((value as { value: bigint }).value, meter, depth);
    case 'Duration':
      return durationText(value as { seconds: bigint; nanos: number });
    default:
      throw new ValueFault('it is no JSON value');
  }
}

/** In seconds. The library writes the fraction in the manner of a language, which takes long. */
function durationText({ seconds, nanos }: { seconds: bigint; nanos: number }): string {
  const total = seconds * 1_000_000_000n + BigInt(nanos);
  const [sign, size] = total < 0n ? ['-', -total] : ['', total];
  const fraction = String(size % 1_000_000_000n)
    .padStart(9, '0')
    .replace(/0+$/, '');
  return `${sign}${size / 1_000_000_000n}${fraction && '.'}${fraction}s`;
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return isObject(value) && Object.getPrototypeOf(value) === Object.prototype;
}
