/** The order of a query's items: by its terms, what is absent last in either direction, ties by key. Pure. */
import { createHash } from 'node:crypto';
import type { StoredItem } from '../ports.js';
import type { Json } from '../state/json.js';
import { compareKeys } from '../state/key-order.js';
import { type Attributes, ItemState } from '../state/model.js';
import type { Direction, OrderTerm } from './index-access.js';
import { type Readable, readPath } from './path.js';
import { type EncodedPart, encodePart } from './sort-key.js';
import { compareValues, type Work } from './value-order.js';

/** An item that was found, as who asks sees it; parsed when a filter or an order asks for its attributes. */
export class Found implements Readable {
  /** As it is stored. */
  readonly stored: ItemState;
  readonly state: ItemState;
  readonly key: string;
  /** The bytes of the index entry that led here. */
  readonly sortKey: Buffer | undefined;

  private constructor(item: Pick<Candidate, 'key' | 'sortKey'>, stored: ItemState, seen: ItemState) {
    this.stored = stored;
    this.state = seen;
    this.key = item.key;
    this.sortKey = item.sortKey;
  }

  /** Undefined where the item isn't seen. */
  static through(sight: Sight, item: Candidate): Found | undefined {
    const stored = new ItemState(item.json, item.revision, item.createdRevision);
    const seen = sight.see(item.key, stored);
    return seen && new Found(item, stored, seen);
  }

  get revision(): number {
    return this.state.revision;
  }

  get attributes(): Attributes {
    return this.state.attributes;
  }

  /** Of the item as it is stored: that is what looking at it costs. */
  get bytes(): number {
    return this.stored.encodedLength + this.key.length;
  }

  /** Of the item as it is seen: that is what an answer holds, and where a page ends mustn't tell of more. */
  get shownBytes(): number {
    return this.state.json.length + this.key.length;
  }
}

type Candidate = StoredItem & { readonly sortKey?: Buffer };

/** What who asks sees of an item; undefined where they see nothing of it. */
export interface Sight {
  see(key: string, state: ItemState): ItemState | undefined;
}

/** A place in the order: the values of the terms, and the key. */
export interface Position {
  readonly values: readonly (Json | undefined)[];
  readonly key: string;
  /** How the values of arrays and objects begin, by term, once that was asked for: it decides most comparisons. */
  beginnings?: (EncodedPart | undefined)[];
}

/** A place whose values are those of the item at its key, as long as they have the digest: they are too long to carry about. */
export interface ItemPosition {
  readonly key: string;
  readonly valuesDigest: string;
}

export function digestOfValues(values: Position['values']): string {
  const lists = values.map((value) => (value === undefined ? [] : [value]));
  return createHash('sha256').update(JSON.stringify(lists)).digest('base64url');
}

export class Ordering {
  readonly terms: readonly OrderTerm[];

  constructor(terms: readonly OrderTerm[]) {
    // Nothing after the key could order what it left equal; ascending, it is the order of ties.
    const end = terms.findIndex(({ path }) => path.of === 'key');
    const last = terms[end];
    this.terms = end < 0 ? terms : terms.slice(0, last?.descending ? end + 1 : end);
  }

  /** The direction in which keys give the items in this order; undefined where they don't. */
  get keyDirection(): Direction | undefined {
    const [first] = this.terms;
    if (!first) return 'forward';
    // It is the last term too, and descending.
    return first.path.of === 'key' ? 'backward' : undefined;
  }

  positionOf(item: Readable): Position {
    return { values: this.terms.map(({ path }) => readPath(path, item)), key: item.key };
  }

  /** Negative, zero or positive, as for Array.sort. */
  compare(a: Position, b: Position, work?: Work): number {
    for (const [i, { descending }] of this.terms.entries()) {
      const x = a.values[i];
      const y = b.values[i];
      if (x === undefined || y === undefined) {
        if (x !== y) return x === undefined ? 1 : -1;
        continue;
      }
      let order = typeof x === 'object' && typeof y === 'object' ? compareBeginnings(a, b, i) : 0;
      if (order === 0) order = compareValues(x, y, work);
      if (order !== 0) return descending ? -order : order;
    }
    return compareKeys(a.key, b.key);
  }
}

/** Zero where the values of the term may be equal. */
function compareBeginnings(a: Position, b: Position, term: number): number {
  return beginningOf(a, term).bytes.compare(beginningOf(b, term).bytes);
}

function beginningOf(position: Position, term: number): EncodedPart {
  position.beginnings ??= [];
  position.beginnings[term] ??= encodePart(position.values[term], false);
  return position.beginnings[term];
}
