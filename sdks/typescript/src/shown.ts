/**
 * What a mirror shows: what the server told (view.ts) with what was written here and isn't answered yet (overlay.ts) over it, as one; and how that
 * changes, as changes to tell. Pure: who tells them is the mirror.
 *
 * Invariant: `#laid` has what is shown of each key that the overlay has, and of no other; all others are shown as the view has them.
 */
import type { Change } from './change.js';
import type { Entry, Item } from './item.js';
import { differences, type JsonObject } from './json.js';
import type { Overlay } from './overlay.js';
import type { Applied, Step, View } from './view.js';

interface Names {
  readonly changed: readonly string[];
  readonly removed: readonly string[];
}

export class Shown<T extends Entry> {
  readonly #view: View;
  readonly #overlay: Overlay;
  readonly #isSparse: boolean;
  /** What is shown of each key of the overlay; undefined: nothing. */
  readonly #laid = new Map<string, T | undefined>();

  constructor(view: View, overlay: Overlay, { isSparse }: { isSparse: boolean }) {
    this.#view = view;
    this.#overlay = overlay;
    this.#isSparse = isSparse;
  }

  get size(): number {
    let size = this.#view.items.size;
    for (const [key, item] of this.#laid) size += (item === undefined ? 0 : 1) - (this.#view.items.has(key) ? 1 : 0);
    return size;
  }

  get(key: string): T | undefined {
    return this.#laid.size > 0 && this.#laid.has(key)
      ? this.#laid.get(key)
      : (this.#view.items.get(key) as T | undefined);
  }

  /**
   * What is shown now, of one state however long somebody takes to walk it: 100,000 items are copied in a millisecond, and walked as fast
   * as the map itself.
   */
  all(): readonly T[] {
    if (this.#laid.size === 0) return [...this.#view.items.values()] as T[];
    const items: T[] = [];
    for (const [key, item] of this.#view.items) if (!this.#laid.has(key)) items.push(item as T);
    for (const item of this.#laid.values()) if (item !== undefined) items.push(item);
    return items;
  }

  /** The view took these steps. @param isHeard whether anybody wants to know what they change; what lies over the view is shown anew all the same */
  follow(steps: readonly Step[], { isReplaced = false, isFirst = false }: Applied, isHeard: boolean): Change<T>[] {
    const passed = this.#overlay.passed(this.#view.revision, this.#view.epoch);
    const changes: Change<T>[] = [];
    const add = (change: Change<T> | undefined) => {
      if (change) changes.push(change);
    };
    for (const step of steps) {
      if (this.#laid.has(step.key)) add(this.#relay(step.key, step.reason, this.#isSparse ? step : undefined));
      else if (isHeard) add(this.#changeOf(step, isReplaced));
    }
    // Of some of them a step has told already.
    for (const key of isReplaced || isFirst ? [...this.#laid.keys()] : passed)
      if (this.#laid.has(key)) add(this.#relay(key, undefined));
    return changes;
  }

  /** What lies over a key is different: a write began, was answered or refused. Undefined: the view has only moved on. */
  relaid(key?: string, reason?: string): Change<T>[] {
    if (key !== undefined && !this.#laid.has(key)) this.#laid.set(key, this.#view.items.get(key) as T | undefined);
    const passed = this.#overlay.passed(this.#view.revision, this.#view.epoch);
    return [...new Set(key === undefined ? passed : [key, ...passed])]
      .map((each) => this.#relay(each, each === key ? reason : undefined))
      .filter((change) => change !== undefined);
  }

  /** Shows a key anew, of which something lies or lay over the view. */
  #relay(key: string, reason: string | undefined, step?: Step): Change<T> | undefined {
    const previous = this.#laid.get(key);
    const base = this.#view.items.get(key);
    const item = this.#overlay.over(key, base) as T | undefined;
    if (this.#overlay.has(key)) this.#laid.set(key, item);
    else this.#laid.delete(key);
    // Without values only the server knows what is different of an item that is there all the time.
    if (step?.before && step.after && previous && item)
      return this.#changeOf({ ...step, before: previous, after: item }, false);
    if (previous === item) return undefined;
    const names = differences(attributesOf(previous), attributesOf(item));
    if (names.changed.length === 0 && previous && item) return undefined;
    return this.#change(key, previous, item, names, reason);
  }

  #changeOf({ key, before, after, changed, removed, reason }: Step, isReplaced: boolean): Change<T> | undefined {
    let names: Names;
    // Only its revision is another.
    if (before && after && changed?.length === 0 && (removed?.length ?? 0) === 0) return undefined;
    if (changed && removed) names = { changed, removed };
    else if (this.#isSparse) {
      if (isReplaced && before?.revision === after?.revision) return undefined;
      names = { changed: [], removed: [] };
    } else {
      names = differences(attributesOf(before), attributesOf(after));
      if (isReplaced && before && after && names.changed.length === 0) return undefined;
    }
    return this.#change(key, before as T | undefined, after as T | undefined, names, reason);
  }

  #change(
    key: string,
    previous: T | undefined,
    item: T | undefined,
    { changed, removed }: Names,
    reason: string | undefined,
  ): Change<T> {
    return Object.freeze({
      op: item ? (previous ? 'change' : 'add') : 'delete',
      key,
      changed,
      removed,
      ...(item && { item }),
      ...(previous && { previous }),
      ...(reason !== undefined && { reason }),
      revision: this.#view.revision,
    });
  }
}

function attributesOf(entry: Entry | undefined): JsonObject | undefined {
  return entry && ((entry as Partial<Item>).attributes as JsonObject | undefined);
}
