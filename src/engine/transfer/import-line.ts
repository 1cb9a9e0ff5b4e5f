/** One line of an import: what it asks for, or why it can't be taken. Pure but for the keys that it is given to make. */
import { isUtf8 } from 'node:buffer';
import { type ErrorPlace, Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { Op } from '../state/item-commands.js';
import { getMember, isObject, type Json, type JsonObject, parseJson, pointerToken } from '../state/json.js';
import { checkItemKey, checkWritableCollection } from '../state/names.js';
import { jsonFault } from './json-fault.js';
import type { Line } from './lines.js';

/** What a line became. */
export interface Entry {
  readonly line: number;
  readonly bytes: number;
  readonly op?: Op;
  /** As the line names them, where it can be read so far. */
  readonly collection?: string | undefined;
  readonly key?: string | undefined;
  problem?: Problem;
  /** Where the item, which was taken, isn't as the dictionary says. */
  warnings?: readonly ErrorPlace[] | undefined;
}

/** `revision` and `createdRevision` are those of an export, and have no meaning here. */
const MEMBERS = new Set(['collection', 'key', 'attributes', 'revision', 'createdRevision']);
/** Longer ones are no names and are not repeated in answers. */
const NAMED_LENGTH_MAX = 1024;

/** Undefined for a blank line. */
export function readLine({ number, length, bytes }: Line, newKey: () => string): Entry | undefined {
  const at = { line: number, bytes: length };
  let value: Json | undefined;
  try {
    if (length > limits.itemBodyBytesMax) {
      throw new Problem('tooLarge', `The line is ${length} bytes; at most ${limits.itemBodyBytesMax} are allowed.`);
    }
    if (isBlank(bytes)) return undefined;
    value = parse(bytes);
    const op = toOp(value, newKey);
    return { ...at, op, collection: op.collection, key: op.key };
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return { ...at, collection: named(value, 'collection'), key: named(value, 'key'), problem: error };
  }
}

function parse(bytes: Buffer): Json {
  if (!isUtf8(bytes)) throw new Problem('badRequest', 'The line is not valid UTF-8.');
  const text = bytes.toString('utf8');
  try {
    return parseJson(text);
  } catch (error) {
    const fault = jsonFault(text);
    if (fault === undefined) throw error;
    throw new Problem('badRequest', `The line is not valid JSON: ${whatStandsAt(text, fault)}.`, {
      members: { position: fault },
    });
  }
}

function whatStandsAt(text: string, at: number): string {
  const character = text.codePointAt(at);
  if (character === 0xfeff) return `it has a byte order mark (U+FEFF) at position ${at}; leave it away`;
  return character === undefined
    ? `it ends too early, after ${at} characters`
    : `${JSON.stringify(String.fromCodePoint(character))} can't stand at position ${at}`;
}

function toOp(line: Json, newKey: () => string): Op {
  if (!isObject(line))
    throw new Problem('badRequest', 'The line must be an object: {"collection", "key", "attributes"}.');
  const unknown = Object.keys(line).filter((member) => !MEMBERS.has(member));
  if (unknown.length > 0) {
    const errors = unknown
      .slice(0, 20)
      .map((member) => place(member.slice(0, NAMED_LENGTH_MAX), 'Unknown: there is no such member here.'));
    throw new Problem('badRequest', `Unknown members: ${unknown.slice(0, 20).join(', ').slice(0, 500)}.`, { errors });
  }
  const { attributes } = line;
  const collection = checkWritableCollection(text(line, 'collection'));
  const key = checkItemKey(getMember(line, 'key') === undefined ? newKey() : text(line, 'key'));
  if (!isObject(attributes)) throw wrong('attributes', attributes === undefined ? 'is missing.' : 'must be an object.');
  return { collection, key, action: { op: 'put', attributes } };
}

function text(line: JsonObject, member: string): string {
  const value = getMember(line, member);
  if (typeof value !== 'string') throw wrong(member, value === undefined ? 'is missing.' : 'must be a string.');
  return value;
}

function wrong(member: string, detail: string): Problem {
  return new Problem('badRequest', `Member /${member}: ${detail}`, { errors: [place(member, detail)] });
}

function place(member: string, detail: string) {
  return { pointer: `/${pointerToken(member)}`, code: 'badRequest', detail };
}

function named(line: Json | undefined, member: string): string | undefined {
  const value = isObject(line) ? getMember(line, member) : undefined;
  return typeof value === 'string' && value.length <= NAMED_LENGTH_MAX ? value : undefined;
}

function isBlank(bytes: Buffer): boolean {
  for (const byte of bytes) if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0d) return false;
  return true;
}
