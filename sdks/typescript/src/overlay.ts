/**
 * Writes of a mirror that the server hasn't answered yet, or whose answer the stream hasn't reached, laid over what the stream told. Pure: it says
 * what an item is with them; who shows it and sends them is the mirror.
 */
import { matches } from './filter-match.js';
import { type Entry, entryOf, type Item, itemOf } from './item.js';
import { compareBytes, type Json, type JsonObject, merged, put, withoutNulls } from './json.js';
import type { Where } from './where.js';

export type WriteOp = 'set' | 'merge' | 'delete';

/** A write on its way. */
export interface Pending {
  readonly key: string;
  readonly op: WriteOp;
  readonly attributes: JsonObject;
  /** Nobody shows what the policy most likely refuses. */
  isShown: boolean;
}

/** What the server answered: the item as of that revision; undefined: deleted. */
interface Confirmed {
  readonly item: Item | undefined;
  readonly revision: number;
  readonly epoch: string | undefined;
}

export interface Selection {
  readonly where?: Where | undefined;
  readonly key?: string | undefined;
  readonly prefix?: string | undefined;
  readonly start?: string | undefined;
  readonly end?: string | undefined;
  readonly fields?: readonly string[] | undefined;
  /** `none`: only whether there is an item is shown. */
  readonly values?: 'full' | 'none' | undefined;
}

export class Overlay {
  readonly #selection: Selection;
  readonly #pending = new Map<string, Pending[]>();
  readonly #confirmed = new Map<string, Confirmed>();

  constructor(selection: Selection) {
    this.#selection = selection;
  }

  get isEmpty(): boolean {
    return this.#pending.size === 0 && this.#confirmed.size === 0;
  }

  has(key: string): boolean {
    return this.#pending.has(key) || this.#confirmed.has(key);
  }

  keys(): string[] {
    return [...new Set([...this.#pending.keys(), ...this.#confirmed.keys()])];
  }

  add(write: Pending): void {
    const writes = this.#pending.get(write.key);
    if (writes) writes.push(write);
    else this.#pending.set(write.key, [write]);
  }

  /** It was refused, or nobody knows what became of it. */
  remove(write: Pending): void {
    const writes = this.#pending.get(write.key)?.filter((each) => each !== write) ?? [];
    if (writes.length > 0) this.#pending.set(write.key, writes);
    else this.#pending.delete(write.key);
  }

  /** It was applied; until the stream is at `revision` this is how the item is. */
  confirm(write: Pending, item: Item | undefined, revision: number, epoch: string | undefined): void {
    this.remove(write);
    const known = this.#confirmed.get(write.key);
    if (!known || known.revision <= revision) this.#confirmed.set(write.key, { item, revision, epoch });
  }

  /** The stream is at `revision` of this life of the pool. @returns the keys of which nothing is confirmed any more */
  passed(revision: number, epoch: string | undefined): string[] {
    if (this.#confirmed.size === 0) return [];
    const gone: string[] = [];
    for (const [key, confirmed] of this.#confirmed)
      if (
        confirmed.revision <= revision ||
        (confirmed.epoch !== undefined && epoch !== undefined && confirmed.epoch !== epoch)
      )
        gone.push(key);
    for (const key of gone) this.#confirmed.delete(key);
    return gone;
  }

  /** The item with all that lies over it. */
  over(key: string, base: Entry | undefined): Entry | undefined {
    if (this.#selection.values === 'none') return this.#entryOver(key, base);
    const confirmed = this.#confirmed.get(key);
    const known = base as Item | undefined;
    // What the stream told later counts more.
    let item =
      confirmed && confirmed.revision > (known?.revision ?? -1) ? this.#shown(key, confirmed.item, known) : known;
    for (const { op, attributes, isShown } of this.#pending.get(key) ?? [])
      if (isShown) item = this.#shown(key, written(key, op, attributes, item), item);
    return item;
  }

  /** Without values: of what a merge makes nobody knows here whether a filter would show it. */
  #entryOver(key: string, base: Entry | undefined): Entry | undefined {
    const confirmed = this.#confirmed.get(key);
    let entry = base;
    if (confirmed && confirmed.revision > (base?.revision ?? -1))
      entry = confirmed.item
        ? this.#isShown(key, confirmed.item, base) && entryOf(key, confirmed.item.revision)
        : undefined;
    for (const { op, attributes, isShown } of this.#pending.get(key) ?? []) {
      if (!isShown) continue;
      if (op === 'delete') entry = undefined;
      else {
        const item = op === 'set' || !this.#selection.where ? itemOf(key, 0, withoutNulls(attributes)) : undefined;
        if (item && !this.#isShown(key, item, entry)) entry = undefined;
        else if (item) entry ??= entryOf(key, 0);
      }
    }
    return entry;
  }

  #isShown(key: string, item: Item, otherwise: Entry | undefined): true | undefined {
    return (this.#isSelected(key, item) ?? otherwise !== undefined) || undefined;
  }

  /** As the view would show it; `otherwise` where that can't be judged. */
  #shown(key: string, item: Item | undefined, otherwise: Item | undefined): Item | undefined {
    if (!item) return undefined;
    const isIn = this.#isSelected(key, item);
    if (isIn === undefined) return otherwise;
    if (!isIn) return undefined;
    const { fields } = this.#selection;
    return fields ? only(fields, item) : item;
  }

  #isSelected(name: string, item: Item): boolean | undefined {
    const { where, key, prefix, start, end, fields } = this.#selection;
    if (key !== undefined && name !== key) return false;
    if (prefix !== undefined && !name.startsWith(prefix)) return false;
    if (start !== undefined && compareBytes(name, start) < 0) return false;
    if (end !== undefined && compareBytes(name, end) >= 0) return false;
    // Part of an attribute is shown as the server cuts it.
    if (fields?.some((field) => field.startsWith('/'))) return undefined;
    if (!where) return true;
    // A filter may ask for what isn't shown.
    return fields ? undefined : matches(where, item);
  }
}

function written(key: string, op: WriteOp, attributes: JsonObject, before: Item | undefined): Item | undefined {
  if (op === 'delete') return undefined;
  const after =
    op === 'set'
      ? withoutNulls(attributes)
      : (merged((before?.attributes ?? {}) as JsonObject, attributes) as JsonObject);
  return itemOf(key, before?.revision ?? 0, after);
}

function only(fields: readonly string[], item: Item): Item {
  const attributes: Record<string, Json> = {};
  for (const name of Object.keys(item.attributes))
    if (fields.includes(name)) put(attributes, name, item.attributes[name] as Json);
  return itemOf(item.key, item.revision, attributes);
}
