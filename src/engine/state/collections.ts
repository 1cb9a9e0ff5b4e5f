/**
 * What a pool's collections are after some changes. Each collection has exactly one item in the system collection
 * `_dictionary`, made with its first item or before and deleted when it is dropped: so the coming and going of
 * collections is in the log like everything else, and can be watched there.
 */
import type { Change, Collection, ItemRef } from './model.js';

export const DICTIONARY = '_dictionary';

/** Where what is said about a collection stands. */
export function entryRef(collection: string): ItemRef {
  return { collection: DICTIONARY, key: collection };
}

/** Names of the system begin with an underscore; they don't count as the application's. */
export function isSystemName(name: string): boolean {
  return name.charCodeAt(0) === 95;
}

/** The collections that the changes of one commit touch, as they are afterwards. An unknown one has the id 0. */
export function tallyCollections(
  known: { get(name: string): Collection | undefined },
  changes: readonly Change[],
  revision: number,
): Collection[] {
  const touched = new Map<string, Collection>();
  const at = (name: string): Collection =>
    touched.get(name) ?? known.get(name) ?? { id: 0, name, present: isSystemName(name), items: 0, revision: 0 };
  for (const { collection: name, op, key } of changes) {
    const difference = op === 'add' ? 1 : op === 'delete' ? -1 : 0;
    touched.set(name, { ...at(name), items: at(name).items + difference, revision });
    if (name !== DICTIONARY) continue;
    // Also what is only said about a collection touches it.
    touched.set(key, { ...at(key), present: difference === 0 ? at(key).present : difference === 1, revision });
  }
  return [...touched.values()];
}
