/**
 * What each operation makes of an item's attributes. Pure: the present attributes and the operation's arguments in, the
 * next attributes out, or a Problem. Called by `decide` inside the commit.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import {
  checkNesting,
  copyMembers,
  getMember,
  type Json,
  type JsonObject,
  jsonEqual,
  mergePatch,
  pointerToken,
  setMember,
} from './json.js';
import { applyJsonPatch } from './json-patch.js';
import type { Attributes } from './model.js';
import { checkAttributeName } from './names.js';

/** What to do to one item. */
export type Action =
  | { readonly op: 'put'; readonly attributes: Attributes }
  | { readonly op: 'create'; readonly attributes: Attributes }
  | { readonly op: 'merge'; readonly attributes: JsonObject }
  | { readonly op: 'patch'; readonly patch: readonly JsonObject[] }
  | { readonly op: 'delete' }
  | { readonly op: 'unset'; readonly names: readonly string[] }
  | { readonly op: 'set'; readonly attribute: string; readonly value: Json }
  | {
      readonly op: 'increment';
      readonly attribute: string;
      readonly by: number;
      readonly min?: number | undefined;
      readonly max?: number | undefined;
    }
  | { readonly op: 'append'; readonly attribute: string; readonly value: Json }
  | { readonly op: 'remove'; readonly attribute: string; readonly value: Json };

const NOTHING: Attributes = Object.freeze({});

/**
 * The attributes after the action; `undefined` means that there is no item afterwards. `present` is undefined where
 * there is no item. Actions that only take away leave a missing item missing.
 */
export function apply(action: Action, present: Attributes | undefined): Attributes | undefined {
  const now = present ?? NOTHING;
  switch (action.op) {
    case 'put':
      return withoutNulls(action.attributes);
    case 'create':
      if (present) throw new Problem('conflict', 'An item with this key exists already.');
      return withoutNulls(action.attributes);
    case 'merge':
      return mergePatch(now, action.attributes) as Attributes;
    case 'patch':
      return patched(now, action.patch);
    case 'delete':
      return undefined;
    case 'unset':
      return present && without(present, action.names);
    case 'set':
      return action.value === null
        ? present && without(present, [action.attribute])
        : withMember(now, action.attribute, action.value);
    case 'increment':
      return withMember(now, action.attribute, increment(getMember(now, action.attribute), action));
    case 'append':
      return withMember(now, action.attribute, [...arrayAt(now, action.attribute), action.value]);
    case 'remove': {
      const array = arrayAt(now, action.attribute);
      const rest = array.filter((element) => !jsonEqual(element, action.value));
      return rest.length === array.length ? present : withMember(now, action.attribute, rest);
    }
  }
}

/** Checks the arguments of an action that the request's schema can't: names, nesting, numbers. */
export function checkAction(action: Action): void {
  switch (action.op) {
    case 'put':
    case 'create':
    case 'merge':
      checkAttributes(action.attributes);
      return;
    case 'unset':
      action.names.forEach(checkAttributeName);
      return;
    case 'set':
    case 'append':
    case 'remove':
      checkAttributeName(action.attribute);
      // What is appended stands one level deeper than what is set.
      checkNesting(action.op === 'append' ? [action.value] : action.value, '/value');
      return;
    case 'increment':
      checkAttributeName(action.attribute);
      if (action.min !== undefined && action.max !== undefined && action.min > action.max) {
        throw new Problem('badRequest', '`min` must not be greater than `max`.', {
          errors: [{ pointer: '/min', code: 'badRequest', detail: 'greater than max' }],
        });
      }
      return;
    case 'patch':
    case 'delete':
  }
}

/** Refuses attributes whose names, number or nesting break the rules. */
export function checkAttributes(attributes: JsonObject): void {
  const names = Object.keys(attributes);
  checkCount(names.length);
  for (const name of names) {
    checkAttributeName(name);
    const value = attributes[name];
    if (typeof value === 'object') checkNesting(value, `/attributes/${pointerToken(name)}`);
  }
}

/** Refuses an item that is past its limits. Returns its JSON text. */
export function encodeAttributes(attributes: Attributes): string {
  checkCount(Object.keys(attributes).length);
  const json = JSON.stringify(attributes);
  // Only a text near the limit needs its bytes counted: a UTF-16 unit is at most three bytes.
  if (json.length * 3 > limits.itemBytesMax && Buffer.byteLength(json) > limits.itemBytesMax) {
    throw new Problem(
      'tooLarge',
      `The item's attributes are ${Buffer.byteLength(json)} bytes of JSON; at most ${limits.itemBytesMax} are allowed.`,
    );
  }
  return json;
}

function checkCount(count: number): void {
  if (count > limits.attributesMax) {
    throw new Problem(
      'invalid',
      `The item would have ${count} attributes; at most ${limits.attributesMax} are allowed.`,
    );
  }
}

/** A top-level null means absent. */
function withoutNulls(attributes: Attributes): Attributes {
  const names = Object.keys(attributes).filter((name) => attributes[name] === null);
  return names.length === 0 ? attributes : without(attributes, names);
}

function without(attributes: Attributes, names: readonly string[]): Attributes {
  const rest = copyMembers(attributes);
  for (const name of names) delete rest[name];
  return rest;
}

function withMember(attributes: Attributes, name: string, value: Json): Attributes {
  const next = copyMembers(attributes);
  setMember(next, name, value);
  return next;
}

function arrayAt(attributes: Attributes, name: string): Json[] {
  const value = getMember(attributes, name) ?? [];
  if (!Array.isArray(value)) throw new Problem('invalid', `The attribute ${JSON.stringify(name)} is not an array.`);
  return value;
}

function increment(present: Json | undefined, { attribute, by, min, max }: Action & { op: 'increment' }): number {
  const value = present ?? 0;
  if (typeof value !== 'number')
    throw new Problem('invalid', `The attribute ${JSON.stringify(attribute)} is not a number.`);
  const sum = value + by;
  const whole = Number.isInteger(value) && Number.isInteger(by) && !Number.isSafeInteger(sum);
  if (!Number.isFinite(sum) || (whole && BigInt(value) + BigInt(by) !== BigInt(sum))) {
    throw new Problem('numberOutOfRange', `${value} + ${by} can't be held exactly by a double.`);
  }
  if ((min !== undefined && sum < min) || (max !== undefined && sum > max)) {
    throw new Problem(
      'conflict',
      `${value} + ${by} is past the bound of ${min !== undefined && sum < min ? min : max}.`,
      { members: { value } },
    );
  }
  return sum;
}

function patched(present: Attributes, patch: readonly JsonObject[]): Attributes {
  const attributes = withoutNulls(applyJsonPatch(present, patch));
  checkAttributes(attributes);
  return attributes;
}
