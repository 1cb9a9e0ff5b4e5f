/**
 * Which watchers a change concerns: found by collection, then by key, by prefix, by range or by a value that their filter
 * asks for, so that the cost of a commit follows the watchers that it matches and not those that there are.
 */
import { LOCKS } from '../locks/lock-items.js';
import { RegionIndex } from '../locks/region-index.js';
import type { Region } from '../locks/scope.js';
import { isSystemName } from '../state/collections.js';
import { IntervalIndex } from '../state/interval-index.js';
import type { Change } from '../state/model.js';
import { Multimap } from '../state/multimap.js';
import { placesOfChange } from './lock-places.js';
import { pinsOf, ValueIndex } from './value-index.js';
import type { View } from './view.js';

interface Indexed {
  readonly view: View;
}

/** A watcher of locks, by where they have to lie. */
interface Placed<T> {
  readonly region: Region;
  readonly watcher: T;
}

export class WatchIndex<T extends Indexed> {
  /** Those that name no collection: of all that are the application's. */
  readonly #everywhere = new ItemIndex<T>();
  readonly #collections = new Map<string, ItemIndex<T>>();
  readonly #places = new RegionIndex<Placed<T>>();
  readonly #placed = new Map<T, Placed<T>>();

  add(watcher: T): void {
    const { collection, locksOn } = watcher.view.request;
    if (locksOn) {
      const placed = { region: locksOn, watcher };
      this.#placed.set(watcher, placed);
      this.#places.add(placed);
      return;
    }
    if (collection === undefined) {
      this.#everywhere.add(watcher);
      return;
    }
    let index = this.#collections.get(collection);
    if (!index) {
      index = new ItemIndex();
      this.#collections.set(collection, index);
    }
    index.add(watcher);
  }

  remove(watcher: T): void {
    const { collection, locksOn } = watcher.view.request;
    if (locksOn) {
      const placed = this.#placed.get(watcher);
      if (placed) this.#places.remove(placed);
      this.#placed.delete(watcher);
      return;
    }
    if (collection === undefined) {
      this.#everywhere.remove(watcher);
      return;
    }
    const index = this.#collections.get(collection);
    index?.remove(watcher);
    if (index?.isEmpty) this.#collections.delete(collection);
  }

  /** Whether somebody watches the collection by its name. */
  watches(collection: string): boolean {
    return this.#collections.has(collection);
  }

  /** Calls `visit` once for each watcher whose view sees the change, with what it sees of it. Answers how many were looked at for that. */
  each(change: Change, visit: (watcher: T, seen: Change) => void): number {
    let looks = 0;
    const look = (watcher: T) => {
      looks++;
      const seen = watcher.view.see(change);
      if (seen) visit(watcher, seen);
    };
    if (!isSystemName(change.collection)) this.#everywhere.each(change, look);
    this.#collections.get(change.collection)?.each(change, look);
    if (change.collection === LOCKS && this.#placed.size > 0)
      for (const watcher of this.#onPlacesOf(change)) look(watcher);
    return looks;
  }

  /** Those who watch where the change's lock lies, or lay before. */
  #onPlacesOf(change: Change): Set<T> {
    const found = new Set<T>();
    for (const place of placesOfChange(change)) {
      this.#places.someOverlapping(place, ({ watcher }) => {
        found.add(watcher);
        return false;
      });
    }
    return found;
  }
}

/** The watchers of one collection, or those of all. */
class ItemIndex<T extends Indexed> {
  readonly #whole = new Set<T>();
  readonly #values = new ValueIndex<T>();
  readonly #keys = new Multimap<string, T>();
  readonly #prefixes = new Multimap<string, T>();
  /** How many watched prefixes have each length: only these lengths of a key are looked up. */
  readonly #prefixLengths = new Map<number, number>();
  readonly #ranges = new IntervalIndex<T>();

  get isEmpty(): boolean {
    const { size } = this.#whole;
    return size + this.#values.size + this.#keys.size + this.#prefixes.size + this.#ranges.size === 0;
  }

  add(watcher: T): void {
    const { key, prefix, start, end, collection, where } = watcher.view.request;
    if (key !== undefined) this.#keys.add(key, watcher);
    else if (start !== undefined || end !== undefined) this.#ranges.add(watcher.view.range, watcher);
    else if (prefix) {
      this.#prefixes.add(prefix, watcher);
      this.#prefixLengths.set(prefix.length, (this.#prefixLengths.get(prefix.length) ?? 0) + 1);
    } else {
      const pins = pinsOf(collection === undefined ? where : watcher.view.narrowing(collection));
      if (pins.length > 0) this.#values.add(pins, watcher);
      else this.#whole.add(watcher);
    }
  }

  remove(watcher: T): void {
    const { key, prefix, start, end } = watcher.view.request;
    if (key !== undefined) this.#keys.delete(key, watcher);
    else if (start !== undefined || end !== undefined) this.#ranges.remove(watcher);
    else if (prefix) {
      if (!this.#prefixes.delete(prefix, watcher)) return;
      const left = (this.#prefixLengths.get(prefix.length) ?? 1) - 1;
      if (left > 0) this.#prefixLengths.set(prefix.length, left);
      else this.#prefixLengths.delete(prefix.length);
    } else if (!this.#values.remove(watcher)) this.#whole.delete(watcher);
  }

  /** Calls `visit` once for each watcher that covers the change's item and may see the change. */
  each(change: Change, visit: (watcher: T) => void): void {
    const { key } = change;
    for (const watcher of this.#whole) visit(watcher);
    this.#values.each(change, visit);
    for (const watcher of this.#keys.get(key) ?? []) visit(watcher);
    for (const length of this.#prefixLengths.keys()) {
      if (length <= key.length) for (const watcher of this.#prefixes.get(key.slice(0, length)) ?? []) visit(watcher);
    }
    if (this.#ranges.size > 0) this.#ranges.each(key, visit);
  }
}
