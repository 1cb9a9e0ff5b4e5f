/**
 * A view is what a watcher asked to see: which items, which of their attributes, and in what form. Pure: decides whether
 * a change is for the watcher, and what of it is told. Watchers with equal views share one evaluation and one buffer.
 */
import { isSystemName } from '../state/collections.js';
import { pickMembers } from '../state/json.js';
import { isInRange, type KeyRange, rangeOf } from '../state/key-order.js';
import type { Change, ItemState } from '../state/model.js';

export interface ViewRequest {
  readonly collection?: string | undefined;
  /** One item; not together with a prefix or a range. */
  readonly key?: string | undefined;
  readonly prefix?: string | undefined;
  readonly start?: string | undefined;
  readonly end?: string | undefined;
  /** Only these attributes; a change that touches none of them isn't told. */
  readonly fields?: readonly string[] | undefined;
  /** Which attributes a change carries: those that changed, all of them with their former values, or none. */
  readonly values: 'changed' | 'full' | 'none';
}

export class View {
  /** Equal for equal views. */
  readonly id: string;
  readonly range: KeyRange;
  readonly #fields: ReadonlySet<string> | undefined;

  constructor(readonly request: ViewRequest) {
    const { key } = request;
    // The smallest string above a key is the key and a NUL.
    this.range = key === undefined ? rangeOf(request) : { start: key, end: `${key}\0` };
    this.#fields = request.fields && new Set(request.fields);
    this.id = JSON.stringify([
      request.collection,
      key,
      this.range,
      request.fields && [...request.fields].sort(),
      request.values,
    ]);
  }

  /** Whether the change is of an item in the view, and touches what the view shows of it. */
  sees(change: Change): boolean {
    const { collection } = this.request;
    if (collection === undefined ? isSystemName(change.collection) : change.collection !== collection) return false;
    return isInRange(change.key, this.range) && this.seesAttributes(change);
  }

  seesAttributes(change: Change): boolean {
    const fields = this.#fields;
    return fields === undefined || change.op !== 'change' || change.changed.some((name) => fields.has(name));
  }

  /** An item of a snapshot as JSON text. */
  tellItem(collection: string, key: string, state: ItemState): string {
    const head = `{"collection":${JSON.stringify(collection)},"key":${JSON.stringify(key)},"revision":${state.revision},"createdRevision":${state.createdRevision}`;
    return this.request.values === 'none' ? `${head}}` : `${head},"attributes":${this.attributesText(state)}}`;
  }

  /** The attributes that the view shows, as JSON text. */
  attributesText(state: ItemState): string {
    return this.request.fields ? JSON.stringify(pickMembers(state.attributes, this.request.fields)) : state.json;
  }

  /** A change that the view sees as JSON text. */
  tellChange(change: Change): string {
    const changed = this.#shown(change.changed);
    const head =
      `{"op":"${change.op}","collection":${JSON.stringify(change.collection)},"key":${JSON.stringify(change.key)}` +
      `,"changed":${JSON.stringify(changed)},"removed":${change.removed.length > 0 ? JSON.stringify(this.#shown(change.removed)) : '[]'}`;
    switch (this.request.values) {
      case 'none':
        return `${head}}`;
      case 'full':
        return `${head},"attributes":${change.after ? this.attributesText(change.after) : '{}'},"previous":${JSON.stringify(pickMembers(change.before, changed))}}`;
      case 'changed':
        return `${head},"attributes":${this.#changedText(change, changed)}}`;
    }
  }

  #changedText({ op, after }: Change, changed: readonly string[]): string {
    if (!after) return '{}';
    // A new item's changed attributes are all of them: the text is there already.
    if (op === 'add' && !this.#fields) return after.json;
    return JSON.stringify(pickMembers(after.attributes, changed));
  }

  #shown(names: readonly string[]): readonly string[] {
    const fields = this.#fields;
    return fields ? names.filter((name) => fields.has(name)) : names;
  }
}
