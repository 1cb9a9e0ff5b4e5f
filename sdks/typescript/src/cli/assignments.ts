/**
 * Attributes as they are typed: `light=on` is a text, `celsius:=21` JSON, `photo=@file` the text of a file and `plan:=@file` the JSON in
 * it. A name may have `=` in it when it is written `\=`.
 */
import type { JsonObject } from '../json.js';
import { Fault } from './fault.js';
import { contentOf } from './input.js';

const ASSIGNMENT = /^((?:\\.|[^=\\])*?)(:?)=(.*)$/s;

export function attributesOf(words: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(words.map(assignmentOf));
}

function assignmentOf(word: string): [string, unknown] {
  const [, written = '', colon, value = ''] = ASSIGNMENT.exec(word) ?? [];
  const name = written.replaceAll(/\\(.)/gs, '$1');
  if (colon === undefined || name === '')
    throw new Fault(`${word} sets nothing: write name=text, name:=JSON, name=@file or name:=@file.`);
  const text = value.startsWith('@') ? contentOf(value.slice(1)) : value;
  return [name, colon === ':' ? jsonOf(text, `the value of ${name}`) : text];
}

export function jsonOf(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Fault(`${what} is not JSON: ${(error as Error).message}`);
  }
}

/** A filter or the like. */
export function objectOf(text: string, what: string): JsonObject {
  const value = jsonOf(text, what);
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    throw new Fault(`${what} must be a JSON object, such as {"status":"open"}.`);
  return value as JsonObject;
}
