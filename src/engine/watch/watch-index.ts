/**
 * Which watchers a change concerns: found by collection, then by key, by prefix or by range, so that the cost of a commit
 * follows the watchers that it matches and not those that there are.
 */
import type { Change } from '../state/model.js';
import { IntervalIndex } from './interval-index.js';
import type { View } from './view.js';

interface Indexed {
  readonly view: View;
}

export class WatchIndex<T extends Indexed> {
  /** Those that name no collection. */
  readonly #everywhere = new Set<T>();
  readonly #collections = new Map<string, CollectionIndex<T>>();

  add(watcher: T): void {
    const { collection } = watcher.view.request;
    if (collection === undefined) {
      this.#everywhere.add(watcher);
      return;
    }
    let index = this.#collections.get(collection);
    if (!index) {
      index = new CollectionIndex();
      this.#collections.set(collection, index);
    }
    index.add(watcher);
  }

  remove(watcher: T): void {
    const { collection } = watcher.view.request;
    this.#everywhere.delete(watcher);
    const index = collection === undefined ? undefined : this.#collections.get(collection);
    index?.remove(watcher);
    if (index?.isEmpty) this.#collections.delete(collection as string);
  }

  /** Calls `visit` for each watcher whose view sees the change. */
  each(change: Change, visit: (watcher: T) => void): void {
    for (const watcher of this.#everywhere) if (watcher.view.sees(change)) visit(watcher);
    this.#collections.get(change.collection)?.each(change.key, (watcher) => {
      if (watcher.view.seesAttributes(change)) visit(watcher);
    });
  }
}

class CollectionIndex<T extends Indexed> {
  readonly #whole = new Set<T>();
  readonly #keys = new Map<string, Set<T>>();
  readonly #prefixes = new Map<string, Set<T>>();
  /** How many watched prefixes have each length: only these lengths of a key are looked up. */
  readonly #prefixLengths = new Map<number, number>();
  readonly #ranges = new IntervalIndex<T>();

  get isEmpty(): boolean {
    return this.#whole.size === 0 && this.#keys.size === 0 && this.#prefixes.size === 0 && this.#ranges.size === 0;
  }

  add(watcher: T): void {
    const { key, prefix, start, end } = watcher.view.request;
    if (key !== undefined) addTo(this.#keys, key, watcher);
    else if (start !== undefined || end !== undefined) this.#ranges.add(watcher.view.range, watcher);
    else if (prefix) {
      addTo(this.#prefixes, prefix, watcher);
      this.#prefixLengths.set(prefix.length, (this.#prefixLengths.get(prefix.length) ?? 0) + 1);
    } else this.#whole.add(watcher);
  }

  remove(watcher: T): void {
    const { key, prefix, start, end } = watcher.view.request;
    if (key !== undefined) removeFrom(this.#keys, key, watcher);
    else if (start !== undefined || end !== undefined) this.#ranges.remove(watcher);
    else if (prefix) {
      if (!removeFrom(this.#prefixes, prefix, watcher)) return;
      const left = (this.#prefixLengths.get(prefix.length) ?? 1) - 1;
      if (left > 0) this.#prefixLengths.set(prefix.length, left);
      else this.#prefixLengths.delete(prefix.length);
    } else this.#whole.delete(watcher);
  }

  each(key: string, visit: (watcher: T) => void): void {
    for (const watcher of this.#whole) visit(watcher);
    for (const watcher of this.#keys.get(key) ?? []) visit(watcher);
    for (const length of this.#prefixLengths.keys()) {
      if (length <= key.length) for (const watcher of this.#prefixes.get(key.slice(0, length)) ?? []) visit(watcher);
    }
    if (this.#ranges.size > 0) this.#ranges.each(key, visit);
  }
}

function addTo<T>(sets: Map<string, Set<T>>, name: string, value: T): void {
  const set = sets.get(name);
  if (set) set.add(value);
  else sets.set(name, new Set([value]));
}

function removeFrom<T>(sets: Map<string, Set<T>>, name: string, value: T): boolean {
  const set = sets.get(name);
  const removed = set?.delete(value) ?? false;
  if (set?.size === 0) sets.delete(name);
  return removed;
}
