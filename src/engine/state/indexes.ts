/**
 * The indexes of a pool's collections, as this node knows them, and the entries that an item has in them. Every write keeps
 * them in its own transaction, complete or not: a build only adds what was there before. Pure.
 *
 * An item's time to live is an index too: by when it is over. Where an attribute says when, the entry follows the attribute;
 * where it is a duration since the last change, the entry is made with the item, and moved by whoever finds it due too early
 * (expiry.ts), so that a change costs nothing.
 */
import type { Definition, IndexDeclaration } from '../dictionary/definition.js';
import type { IndexEntry, StoredIndex } from '../ports.js';
import { parsePath } from '../query/path.js';
import { encodePart, type IndexPart, sortKeyOf } from '../query/sort-key.js';
import { getMember } from './json.js';
import type { Attributes } from './model.js';
import { timeOf } from './time.js';

export type Expiry = { readonly attribute: string } | { readonly afterMs: number };

/** What an index holds, as it is declared. Exactly one of `parts` and `expiry`. */
export interface IndexDefinition {
  readonly parts?: readonly IndexPart[];
  readonly unique?: boolean;
  readonly expiry?: Expiry;
}

export interface CollectionIndex {
  readonly id: number;
  readonly name: string;
  readonly stored: StoredIndex;
  /** No parts: it is an index of times to live. */
  readonly parts: readonly IndexPart[];
  readonly unique: boolean;
  readonly expiry: Expiry | undefined;
}

/** The name of the index of times to live; no declared one may begin so. */
const EXPIRY_INDEX = '/@expiry';

/** A name as long as the database keeps it. */
const NAME_UNITS_MAX = 255;

export class PoolIndexes {
  readonly #byCollection = new Map<number, CollectionIndex[]>();
  /** Whether any index excludes: most pools have none, and their writes needn't look. */
  readonly hasUnique: boolean;

  constructor(
    stored: readonly StoredIndex[],
    /** The pool's index version that these are of. */
    readonly version: number,
  ) {
    for (const index of stored) {
      const list = this.#byCollection.get(index.collectionId) ?? [];
      list.push(collectionIndex(index));
      this.#byCollection.set(index.collectionId, list);
    }
    this.hasUnique = [...this.#byCollection.values()].flat().some(({ unique }) => unique);
  }

  get isEmpty(): boolean {
    return this.#byCollection.size === 0;
  }

  of(collectionId: number): readonly CollectionIndex[] {
    return this.#byCollection.get(collectionId) ?? NONE;
  }

  /** Those that a query may use. */
  usable(collectionId: number): readonly CollectionIndex[] {
    return this.of(collectionId).filter(({ stored, parts }) => stored.state === 'ready' && parts.length > 0);
  }
}

const NONE: readonly CollectionIndex[] = [];

export const noIndexes = new PoolIndexes([], 0);

/** A stored index with its definition read. */
export function collectionIndex(stored: StoredIndex): CollectionIndex {
  const { parts = [], unique = false, expiry } = JSON.parse(stored.definition) as IndexDefinition;
  return { id: stored.id, name: stored.name, stored, parts, unique, expiry };
}

/** Whether the index is one of times to live: by what it holds, for names are the users'. */
export function isExpiry(stored: StoredIndex): boolean {
  return collectionIndex(stored).expiry !== undefined;
}

/** An item's entry in the index; undefined where it has none. `time` is when the item was changed, in ms since 1970. */
export function entryOf(
  index: Pick<CollectionIndex, 'id' | 'parts' | 'expiry'>,
  key: string,
  attributes: Attributes,
  time: number,
): IndexEntry | undefined {
  if (!index.expiry) return { indexId: index.id, sortKey: sortKeyOf(index.parts, attributes).bytes, key };
  const due =
    'afterMs' in index.expiry ? time + index.expiry.afterMs : timeOf(getMember(attributes, index.expiry.attribute));
  return due === undefined ? undefined : { indexId: index.id, sortKey: sortKeyOfTime(due), key };
}

export function sortKeyOfTime(time: number): Buffer {
  return encodePart(time, false).bytes;
}

/** How a change of an item changes its entries. */
export function differenceOf(
  indexes: readonly CollectionIndex[],
  key: string,
  before: Attributes | undefined,
  after: Attributes | undefined,
  time: number,
): { added: IndexEntry[]; removed: IndexEntry[] } {
  const added: IndexEntry[] = [];
  const removed: IndexEntry[] = [];
  for (const index of indexes) {
    const isMoved = index.expiry !== undefined && 'afterMs' in index.expiry;
    // Where the entry of an older change stands isn't known: whoever finds it due removes it.
    if (isMoved && before) continue;
    const former = before && entryOf(index, key, before, time);
    const next = after && entryOf(index, key, after, time);
    if (former && next && former.sortKey.equals(next.sortKey)) continue;
    if (former) removed.push(former);
    if (next) added.push(next);
  }
  return { added, removed };
}

/** The indexes that a definition declares, as they are stored. */
export function declaredIndexes({ indexes, expiry }: Definition): { name: string; definition: string }[] {
  const declared = indexes.map(({ name, unique, parts }) => {
    const definition: IndexDefinition = { parts: partsOf(parts), unique };
    return { name: cutName(name), definition: JSON.stringify(definition) };
  });
  if (expiry) declared.push(timeIndex(expiry));
  return declared;
}

/** The index by which items are found whose time is over, as it is stored. */
export function timeIndex(expiry: Expiry): { name: string; definition: string } {
  return { name: EXPIRY_INDEX, definition: JSON.stringify({ expiry } satisfies IndexDefinition) };
}

/** Not inside a surrogate pair: half of one would not come back from the database as it was. */
function cutName(name: string): string {
  const cut = name.slice(0, NAME_UNITS_MAX);
  return cut.isWellFormed() ? cut : cut.slice(0, -1);
}

export function partsOf(parts: IndexDeclaration['parts']): IndexPart[] {
  return parts.map(({ attribute, descending }) => ({ tokens: parsePath(attribute).tokens, descending }));
}
