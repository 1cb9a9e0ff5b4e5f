/**
 * Regions by what they overlap, so that a look costs what it finds and not what there is: regions of the whole pool, then by
 * collection those of all of it, those of one item by its key, and ranges in a tree. Those that lie on all items but on some attributes only
 * are found by these; elsewhere attributes are compared one by one.
 */
import { IntervalIndex } from '../state/interval-index.js';
import { Multimap } from '../state/multimap.js';
import { itemKeyOf, type Region, shareAttributes } from './scope.js';

/** Something with a region; one object is indexed once. */
interface Placed {
  readonly region: Region;
}

export class RegionIndex<P extends Placed> {
  readonly #pool = new WholeRegions<P>();
  readonly #collections = new Map<string, CollectionIndex<P>>();

  add(placed: P): void {
    const { collection } = placed.region;
    if (collection === undefined) {
      this.#pool.add(placed);
      return;
    }
    let index = this.#collections.get(collection);
    if (!index) {
      index = new CollectionIndex();
      this.#collections.set(collection, index);
    }
    index.add(placed);
  }

  remove(placed: P): void {
    const { collection } = placed.region;
    if (collection === undefined) {
      this.#pool.delete(placed);
      return;
    }
    const index = this.#collections.get(collection);
    index?.remove(placed);
    if (index?.isEmpty) this.#collections.delete(collection);
  }

  /** Whether anything lies on the item or a part of it. Every write asks this, so it leaves no garbage. */
  has(collection: string, key: string): boolean {
    return this.#pool.size > 0 || (this.#collections.get(collection)?.has(key) ?? false);
  }

  /** Tests what overlaps the region until one passes; what lies there with two regions is tested twice. */
  someOverlapping(region: Region, test: (placed: P) => boolean): boolean {
    const meets = (placed: P) => shareAttributes(placed.region, region) && test(placed);
    if (this.#pool.some(region, meets)) return true;
    if (region.collection !== undefined) {
      return this.#collections.get(region.collection)?.someOverlapping(region, meets) ?? false;
    }
    return some(this.#collections.values(), (index) => index.someOverlapping(region, meets));
  }
}

/** Regions that don't differ in the items on which they lie. */
class WholeRegions<P extends Placed> {
  readonly #unnamed = new Set<P>();
  readonly #byName = new Multimap<string, P>();

  /** Above 0 where there is any. */
  get size(): number {
    return this.#unnamed.size + this.#byName.size;
  }

  add(placed: P): void {
    const { attributes } = placed.region;
    if (!attributes) this.#unnamed.add(placed);
    else for (const name of attributes) this.#byName.add(name, placed);
  }

  delete(placed: P): void {
    const { attributes } = placed.region;
    if (!attributes) this.#unnamed.delete(placed);
    else for (const name of attributes) this.#byName.delete(name, placed);
  }

  some({ attributes }: Region, test: (placed: P) => boolean): boolean {
    if (some(this.#unnamed, test)) return true;
    for (const name of attributes ?? this.#byName.keys()) if (some(this.#byName.get(name) ?? [], test)) return true;
    return false;
  }
}

class CollectionIndex<P extends Placed> {
  readonly #whole = new WholeRegions<P>();
  readonly #items = new Multimap<string, P>();
  /** The keys of `#items`, in their order. */
  readonly #itemKeys = new IntervalIndex<string>();
  readonly #ranges = new IntervalIndex<P>();

  get isEmpty(): boolean {
    return this.#whole.size + this.#items.size + this.#ranges.size === 0;
  }

  add(placed: P): void {
    const { range } = placed.region;
    const key = itemKeyOf(placed.region);
    if (key !== undefined) {
      if (!this.#items.get(key)) this.#itemKeys.add(range, key);
      this.#items.add(key, placed);
    } else if (isWhole(placed.region)) this.#whole.add(placed);
    else this.#ranges.add(range, placed);
  }

  remove(placed: P): void {
    const key = itemKeyOf(placed.region);
    if (key !== undefined) {
      this.#items.delete(key, placed);
      if (!this.#items.get(key)) this.#itemKeys.remove(key);
    } else if (isWhole(placed.region)) this.#whole.delete(placed);
    else this.#ranges.remove(placed);
  }

  has(key: string): boolean {
    return this.#whole.size > 0 || this.#items.get(key) !== undefined || this.#ranges.has(key);
  }

  someOverlapping(region: Region, test: (placed: P) => boolean): boolean {
    if (this.#whole.some(region, test) || this.#ranges.someOverlapping(region.range, test)) return true;
    const key = itemKeyOf(region);
    if (key !== undefined) return some(this.#items.get(key) ?? [], test);
    return this.#itemKeys.someOverlapping(region.range, (each) => some(this.#items.get(each) ?? [], test));
  }
}

function isWhole({ range }: Region): boolean {
  return range.start === undefined && range.end === undefined;
}

function some<T>(values: Iterable<T>, test: (value: T) => boolean): boolean {
  for (const value of values) if (test(value)) return true;
  return false;
}
