/**
 * JSON Patch (RFC 6902) of an item's attributes, by the library rfc6902 with what it leaves open closed: pointers find only
 * what a value itself has, array positions are numbers, and copies can't grow past an item's limit. Pure.
 */
import { applyPatch, type Operation } from 'rfc6902';
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import { getMember, isObject, type Json, type JsonObject, setMember } from './json.js';
import type { Attributes } from './model.js';

type Failure = { readonly code: 'badRequest' | 'conflict' | 'tooLarge'; readonly detail: string };

/** Names that the library passes over when it follows a pointer, so that a patch can't reach a prototype. */
const UNREACHABLE = new Set(['__proto__', 'constructor', 'prototype']);
const INDEX = /^(0|[1-9]\d*)$/;
/** Operations that need a value, and those that may put one at the end of an array. */
const WITH_VALUE = new Set(['add', 'replace', 'test']);
const INSERTING = new Set(['add', 'copy', 'move']);

/** The attributes after the patch, whose paths begin with `/attributes`. What it leaves is for the caller to check. */
export function applyJsonPatch(present: Attributes, patch: readonly JsonObject[]): JsonObject {
  const document = cloneBare({ attributes: present }) as JsonObject;
  let copied = 0;
  for (const [index, operation] of patch.entries()) {
    // A copy of a copy doubles: thirty small operations could fill the memory.
    if (operation.op === 'copy') copied += sizeOf(valueAt(document, String(operation.from)));
    const failure = copied > limits.itemBytesMax ? TOO_LARGE : applyOne(document, operation);
    if (!failure) continue;
    const { code } = failure;
    const detail = `Operation ${index} of the JSON Patch can't be applied: ${failure.detail}`;
    throw new Problem(code, detail, { errors: [{ pointer: `/${index}`, index, code, detail }] });
  }
  const { attributes } = document;
  if (!isObject(attributes) || Object.keys(document).length !== 1) {
    throw new Problem('invalid', 'The JSON Patch must leave `/attributes` an object and add nothing beside it.');
  }
  return attributes;
}

const TOO_LARGE: Failure = { code: 'tooLarge', detail: `it copies more than ${limits.itemBytesMax} bytes.` };

function applyOne(document: JsonObject, operation: JsonObject): Failure | undefined {
  for (const member of ['path', 'from']) {
    const pointer = operation[member];
    if (typeof pointer !== 'string') continue;
    const mayInsert = member === 'path' && INSERTING.has(String(operation.op));
    const failure = checkPointer(document, pointer, member, mayInsert);
    if (failure) return failure;
  }
  if (WITH_VALUE.has(String(operation.op)) && !Object.hasOwn(operation, 'value')) {
    return { code: 'badRequest', detail: `\`${operation.op}\` needs a \`value\`.` };
  }
  try {
    const [failure] = applyPatch(document, [cloneBare(operation) as unknown as Operation]);
    if (!failure) return undefined;
    return {
      code: failure.name === 'InvalidOperationError' ? 'badRequest' : 'conflict',
      detail: `${failure.message}.`,
    };
  } catch {
    // The library can't print the objects without prototypes that it is given.
    if (operation.op === 'test')
      return { code: 'conflict', detail: `what is at ${operation.path} is not the value of the test.` };
    // The library assumes that a parent is an object or an array; what it throws at a string or number is this.
    return { code: 'conflict', detail: `there is nothing to ${operation.op} at ${operation.path}.` };
  }
}

function checkPointer(document: JsonObject, pointer: string, member: string, mayInsert: boolean): Failure | undefined {
  if ((pointer !== '' && !pointer.startsWith('/')) || /~(?![01])/.test(pointer)) {
    return { code: 'badRequest', detail: `\`${member}\` is not a JSON Pointer.` };
  }
  let value: Json | undefined = document;
  const tokens = tokensOf(pointer);
  for (const [i, token] of tokens.entries()) {
    if (UNREACHABLE.has(token)) {
      return { code: 'badRequest', detail: `a JSON Patch can't reach the name ${token}; use a merge patch.` };
    }
    const isEnd = token === '-' && mayInsert && i === tokens.length - 1;
    if (Array.isArray(value) && !isEnd && !INDEX.test(token)) {
      return { code: 'conflict', detail: `${JSON.stringify(token)} is not a position in an array.` };
    }
    value = childOf(value, token);
  }
  return undefined;
}

function valueAt(document: Json, pointer: string): Json | undefined {
  return tokensOf(pointer).reduce<Json | undefined>(childOf, document);
}

function childOf(value: Json | undefined, token: string): Json | undefined {
  if (Array.isArray(value)) return value[Number(token)];
  return isObject(value) ? getMember(value, token) : undefined;
}

function tokensOf(pointer: string): string[] {
  return pointer
    .split('/')
    .slice(1)
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function sizeOf(value: Json | undefined): number {
  return value === undefined ? 0 : JSON.stringify(value).length;
}

/** A deep copy without prototypes, so that a pointer to `toString` finds nothing. */
function cloneBare(value: Json): Json {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(cloneBare);
  const copy = Object.create(null) as JsonObject;
  for (const name of Object.keys(value)) setMember(copy, name, cloneBare(value[name] as Json));
  return copy;
}
