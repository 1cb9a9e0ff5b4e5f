/**
 * Sort keys: bytes that order as the values they encode (value-order.ts), so that one table of bytes serves equality, ranges,
 * prefixes and order on every database. In the manner of FoundationDB's tuple layer: a tag for the type, then a form whose
 * bytes order and of which none is the beginning of another.
 *
 *   null 02 · false 04 · true 05 · number 08, then the IEEE double with its sign bit turned, or all bits of a negative one ·
 *   string 0a, then UTF-8 with 00 as 00 ff, then 00 01 · array 0c, its elements, 00 · object 0e, names and values, 00 · absent ff
 *
 * A descending part has all its bytes complemented, but for `absent`: that comes last in either direction. What is longer
 * than a part may be is cut: such a key is not exact, and says only where to look.
 */
import type { Json } from '../state/json.js';
import type { Attributes } from '../state/model.js';
import { readTokens } from './path.js';
import { firstNames } from './value-order.js';

/** What one part takes at most: enough for keys and names; eight of them fit an index key of InnoDB. */
export const PART_BYTES_MAX = 256;

/** Members that a part has room for: each takes more than four bytes. */
const MEMBERS_MAX = PART_BYTES_MAX / 4;

const ABSENT = 0xff;

/** One part of an index. */
export interface IndexPart {
  readonly tokens: readonly string[];
  readonly descending: boolean;
}

export interface SortKey {
  readonly bytes: Buffer;
  /** False where something was cut: other values may have the same key. */
  readonly exact: boolean;
  /** True where every part is present. */
  readonly complete: boolean;
}

/** The key of an item in an index of these parts. */
export function sortKeyOf(parts: readonly IndexPart[], attributes: Attributes): SortKey {
  return sortKeyOfValues(
    parts,
    parts.map(({ tokens }) => readTokens(tokens, attributes)),
  );
}

export function sortKeyOfValues(
  parts: readonly Pick<IndexPart, 'descending'>[],
  values: readonly (Json | undefined)[],
): SortKey {
  const chunks: Buffer[] = [];
  let complete = true;
  for (const [i, { descending }] of parts.entries()) {
    const value = values[i];
    if (value === undefined) complete = false;
    const { bytes, exact } = encodePart(value, descending);
    chunks.push(bytes);
    // What follows a part that was cut would be ordered by chance.
    if (!exact) return { bytes: Buffer.concat(chunks), exact: false, complete };
  }
  return { bytes: chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks), exact: true, complete };
}

export interface EncodedPart {
  readonly bytes: Buffer;
  readonly exact: boolean;
}

export function encodePart(value: Json | undefined, descending: boolean): EncodedPart {
  if (value === undefined) return { bytes: Buffer.of(ABSENT), exact: true };
  const writer = new Writer();
  writer.value(value);
  const bytes = writer.bytes();
  return { bytes: descending ? complement(bytes) : bytes, exact: !writer.full };
}

/** The tag of a value's type; booleans have two, which stand side by side. */
export function tagsOf(value: Json): { first: number; last: number } {
  switch (typeof value) {
    case 'boolean':
      return { first: 0x04, last: 0x05 };
    case 'number':
      return { first: 0x08, last: 0x08 };
    case 'string':
      return { first: 0x0a, last: 0x0a };
    default: {
      const tag = value === null ? 0x02 : Array.isArray(value) ? 0x0c : 0x0e;
      return { first: tag, last: tag };
    }
  }
}

/** How every string with this prefix begins. */
export function encodePrefix(prefix: string): Buffer {
  const writer = new Writer();
  writer.stringBegin(prefix);
  return writer.bytes();
}

export function complement(bytes: Buffer): Buffer {
  const turned = Buffer.allocUnsafe(bytes.length);
  for (let i = 0; i < bytes.length; i++) turned[i] = ~(bytes[i] as number);
  return turned;
}

class Writer {
  readonly #buffer = Buffer.allocUnsafe(PART_BYTES_MAX);
  #length = 0;
  /** Something didn't fit. */
  full = false;

  value(value: Json): void {
    if (this.full) return;
    switch (typeof value) {
      case 'boolean':
        this.#byte(value ? 0x05 : 0x04);
        break;
      case 'number':
        this.#number(value);
        break;
      case 'string':
        this.stringBegin(value);
        this.#byte(0);
        this.#byte(1);
        break;
      default:
        this.#container(value);
    }
  }

  stringBegin(text: string): void {
    this.#byte(0x0a);
    // A UTF-16 unit is at least one byte: no more than what fits needs encoding.
    const cut = text.length > PART_BYTES_MAX ? text.slice(0, PART_BYTES_MAX) : text;
    for (const byte of Buffer.from(cut, 'utf8')) {
      this.#byte(byte);
      if (byte === 0) this.#byte(0xff);
      if (this.full) return;
    }
    if (cut !== text) this.full = true;
  }

  bytes(): Buffer {
    return Buffer.from(this.#buffer.subarray(0, this.#length));
  }

  #container(value: Json[] | { [name: string]: Json } | null): void {
    if (value === null) {
      this.#byte(0x02);
      return;
    }
    if (Array.isArray(value)) {
      this.#byte(0x0c);
      for (const element of value) {
        this.value(element);
        if (this.full) return;
      }
    } else {
      this.#byte(0x0e);
      for (const name of firstNames(value, MEMBERS_MAX)) {
        this.value(name);
        this.value(value[name] as Json);
        if (this.full) return;
      }
    }
    this.#byte(0);
  }

  #number(value: number): void {
    const double = Buffer.allocUnsafe(8);
    // Adding zero turns -0 into 0: they are one value.
    double.writeDoubleBE(value + 0);
    if ((double[0] as number) & 0x80) for (let i = 0; i < 8; i++) double[i] = ~(double[i] as number);
    else double[0] = (double[0] as number) | 0x80;
    this.#byte(0x08);
    for (const byte of double) this.#byte(byte);
  }

  #byte(byte: number): void {
    if (this.#length < PART_BYTES_MAX) this.#buffer[this.#length++] = byte;
    else this.full = true;
  }
}
