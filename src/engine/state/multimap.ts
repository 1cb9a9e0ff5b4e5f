/** A map from each key to a set of values; a key without values takes no room. */
export class Multimap<K, T> {
  readonly #sets = new Map<K, Set<T>>();

  /** How many keys have values. */
  get size(): number {
    return this.#sets.size;
  }

  keys(): Iterable<K> {
    return this.#sets.keys();
  }

  get(key: K): ReadonlySet<T> | undefined {
    return this.#sets.get(key);
  }

  add(key: K, value: T): void {
    const set = this.#sets.get(key);
    if (set) set.add(value);
    else this.#sets.set(key, new Set([value]));
  }

  /** True if the value was there. */
  delete(key: K, value: T): boolean {
    const set = this.#sets.get(key);
    const deleted = set?.delete(value) ?? false;
    if (set?.size === 0) this.#sets.delete(key);
    return deleted;
  }
}
