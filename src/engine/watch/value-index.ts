/**
 * Watchers whose filter asks one attribute for certain values, found by the attribute and the value: whoever waits for
 * `{"room": "blue"}` is not looked at for a change of an item that is and was in another room. The index only narrows; the
 * view judges.
 */
import { limits } from '../limits.js';
import { conjuncts, type Filter } from '../query/filter.js';
import { getMember, type Json } from '../state/json.js';
import type { Attributes, Change } from '../state/model.js';
import { Multimap } from '../state/multimap.js';

type Scalar = string | number | boolean;

/** An attribute and the values of which it must have one for a filter to hold. */
export interface Pin {
  readonly attribute: string;
  readonly values: readonly Scalar[];
}

/** All pins of a filter: it doesn't hold where any of them doesn't. */
export function pinsOf(filter: Filter | undefined): Pin[] {
  if (!filter) return [];
  return conjuncts(filter.root).flatMap((node): Pin[] => {
    if (node.kind !== 'test' || (node.operator !== 'eq' && node.operator !== 'in')) return [];
    const { of, tokens } = node.path;
    if (of !== 'attribute' || tokens.length !== 1) return [];
    const values = [...new Set(node.operator === 'eq' ? [node.operand] : (node.operand as Json[]))];
    if (values.length > limits.watchPinnedValuesMax || !values.every(isScalar)) return [];
    return [{ attribute: tokens[0] as string, values }];
  });
}

/** The pins of what one filter or the other lets through: of the attributes that both pin, with the values of both. */
export function pinsOfEither(one: Filter | undefined, other: Filter | undefined): Pin[] {
  const others = pinsOf(other);
  return pinsOf(one).flatMap(({ attribute, values }): Pin[] => {
    const pin = others.find((each) => each.attribute === attribute);
    return pin ? [{ attribute, values: [...new Set([...values, ...pin.values])] }] : [];
  });
}

/** Null is none: as an attribute's value it means that there is none. */
function isScalar(value: Json): value is Scalar {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
}

const NOTHING: Attributes = Object.freeze({});

export class ValueIndex<T> {
  readonly #attributes = new Map<string, Multimap<Scalar, T>>();
  /** Where each watcher stands. */
  readonly #pins = new Map<T, Pin>();

  get size(): number {
    return this.#pins.size;
  }

  /** Adds a watcher under one of its filter's pins: the one that the fewest watchers share. */
  add(pins: readonly Pin[], watcher: T): void {
    const [first, ...others] = pins;
    if (!first) throw new Error('A watcher without a pin can’t be found by a value.');
    const pin = others.reduce((best, other) => (this.#crowd(other) < this.#crowd(best) ? other : best), first);
    this.#pins.set(watcher, pin);
    let values = this.#attributes.get(pin.attribute);
    if (!values) {
      values = new Multimap();
      this.#attributes.set(pin.attribute, values);
    }
    for (const value of pin.values) values.add(value, watcher);
  }

  /** True if the watcher was there. */
  remove(watcher: T): boolean {
    const pin = this.#pins.get(watcher);
    if (!pin) return false;
    this.#pins.delete(watcher);
    const values = this.#attributes.get(pin.attribute);
    for (const value of pin.values) values?.delete(value, watcher);
    if (values?.size === 0) this.#attributes.delete(pin.attribute);
    return true;
  }

  /** Calls `visit` once for each watcher of a value that the item has, or had before the change. */
  each({ before, after }: Pick<Change, 'before' | 'after'>, visit: (watcher: T) => void): void {
    if (this.#attributes.size === 0) return;
    const attributes = after?.attributes ?? NOTHING;
    for (const name of this.#namesAmong(before, attributes)) {
      const watchers = this.#attributes.get(name);
      if (!watchers) continue;
      // A former value that didn't change isn't among those before: it is the present one.
      const present = found(watchers, getMember(attributes, name));
      const former = found(watchers, getMember(before, name));
      if (present) for (const watcher of present) visit(watcher);
      if (former) for (const watcher of former) if (!present?.has(watcher)) visit(watcher);
    }
  }

  /** The indexed names that the item may have or have had: the item's where it has fewer than there are in the index. */
  #namesAmong(before: Attributes, after: Attributes): Iterable<string> {
    const formerNames = Object.keys(before);
    const names = Object.keys(after);
    return names.length + formerNames.length < this.#attributes.size
      ? new Set([...names, ...formerNames])
      : this.#attributes.keys();
  }

  /** How many entries would stand beside a watcher's under the pin, its own included. */
  #crowd({ attribute, values }: Pin): number {
    const there = this.#attributes.get(attribute);
    return values.reduce<number>((sum, value) => sum + 1 + (there?.get(value)?.size ?? 0), 0);
  }
}

function found<T>(watchers: Multimap<Scalar, T>, value: Json | undefined): ReadonlySet<T> | undefined {
  return value === undefined ? undefined : watchers.get(value as Scalar);
}
