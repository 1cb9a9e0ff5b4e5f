/**
 * Relations followed to one level: the items that a page's items refer to by the attributes which the dictionary declares as
 * relations. A relation's attribute holds an item's key, or an array of keys; what isn't there is left out.
 */
import type { Lens } from '../access/lens.js';
import type { Definition } from '../dictionary/definition.js';
import type { Item } from '../dictionary/showing.js';
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { ItemSource } from '../ports.js';
import { getMember, type Json } from '../state/json.js';
import { stateOf } from '../state/loading.js';
import { turn } from '../turn.js';
import type { Found } from './ordering.js';

/** Items of one other collection, by key, and what the dictionary says of it: they are shown as that has them read. */
export interface ExpandedItems {
  readonly definition: Definition;
  readonly items: ReadonlyMap<string, Item>;
}

export type Expanded = ReadonlyMap<string, ExpandedItems>;

/** What is known of a collection that a relation leads to. */
export interface Related {
  /** Undefined where there is no such collection. */
  readonly id: number | undefined;
  readonly definition: Definition;
  /** What who asks sees of its items. */
  readonly lens: Lens;
}

/** Places that are read at once, before their size is looked at. */
const READ_ITEMS = 64;

export async function expand(
  items: readonly Found[],
  names: readonly string[],
  definition: Definition,
  relatedOf: (collection: string) => Promise<Related>,
  source: ItemSource,
  poolId: number,
): Promise<Expanded> {
  const wanted = keysWanted(items, names, definition);
  let keys = 0;
  for (const each of wanted.values()) keys += each.size;
  if (keys > limits.expandedItemsMax) {
    throw new Problem(
      'tooLarge',
      `The items refer to ${keys} others; at most ${limits.expandedItemsMax} are expanded. Give a smaller \`limit\`.`,
    );
  }
  const expanded = new Map<string, ExpandedItems>();
  let bytes = 0;
  for (const [collection, keys] of wanted) {
    const found = new Map<string, Item>();
    const { id, definition: related, lens } = await relatedOf(collection);
    expanded.set(collection, { definition: related, items: found });
    if (id === undefined) continue;
    const places = Array.from(keys, (key) => ({ collectionId: id, key }));
    for (let i = 0; i < places.length; i += READ_ITEMS) {
      for (const item of await source.items(poolId, places.slice(i, i + READ_ITEMS))) {
        const seen = lens.item(item.key, stateOf(item));
        if (!seen) continue;
        found.set(item.key, seen);
        bytes += seen.state.json.length;
      }
      // The database may answer at once: others have their turn between portions.
      await turn();
      if (bytes > limits.pageBytesMax) {
        throw new Problem(
          'tooLarge',
          `The items to expand are more than ${limits.pageBytesMax} bytes; give a smaller \`limit\`.`,
        );
      }
    }
  }
  return expanded;
}

/** Refuses names that the dictionary doesn't declare as relations. */
export function checkRelations(names: readonly string[], { relations }: Definition, pointer: string): void {
  const unknown = names.find((name) => !relations.has(name));
  if (names.length <= limits.relationsExpandedMax && unknown === undefined) return;
  const known = relations.size > 0 ? `; there are ${[...relations.keys()].join(', ')}` : '';
  const detail =
    unknown === undefined
      ? `must name at most ${limits.relationsExpandedMax} relations.`
      : `${JSON.stringify(unknown)} is no relation that the dictionary declares${known}.`;
  throw new Problem('badRequest', `${pointer} ${detail}`, { errors: [{ pointer, code: 'badRequest', detail }] });
}

function keysWanted(items: readonly Found[], names: readonly string[], { relations }: Definition) {
  const wanted = new Map<string, Set<string>>();
  for (const name of names) {
    const collection = relations.get(name)?.collection as string;
    const keys = wanted.get(collection) ?? new Set();
    wanted.set(collection, keys);
    for (const { attributes } of items) for (const key of keysOf(getMember(attributes, name))) keys.add(key);
  }
  return wanted;
}

function keysOf(value: Json | undefined): string[] {
  const values = Array.isArray(value) ? value.slice(0, limits.expandedKeysMax) : [value];
  return values.filter((key) => typeof key === 'string');
}
