/**
 * A view is what a watcher asked to see: which items, which of their attributes, and in what form. Pure: decides what the
 * watcher sees of a change, and what of that is told. Watchers with equal views share one evaluation and one buffer.
 */
import { searchFilter } from '../access/lens.js';
import { LOCKS } from '../locks/lock-items.js';
import type { Region } from '../locks/scope.js';
import type { Filter } from '../query/filter.js';
import { isSystemName } from '../state/collections.js';
import { pickMembers } from '../state/json.js';
import { compareKeys, isInRange, type KeyRange, rangeOf } from '../state/key-order.js';
import { additionOf, CHANGES } from '../state/log-items.js';
import type { Change, Commit, ItemState } from '../state/model.js';
import { criterionOf, Filtering } from './filtering.js';
import { lyingOn } from './lock-places.js';
import { openSight, type Sight, seenChange } from './sight.js';

export interface ViewRequest {
  readonly collection?: string | undefined;
  /** One item; not together with a prefix or a range. */
  readonly key?: string | undefined;
  readonly prefix?: string | undefined;
  readonly start?: string | undefined;
  readonly end?: string | undefined;
  /** Only items that match, while they do. */
  readonly where?: Filter | undefined;
  /** Only these attributes; a change that touches none of them isn't told. */
  readonly fields?: readonly string[] | undefined;
  /** Which attributes a change carries: those that changed, all of them with their former values, or none. */
  readonly values: 'changed' | 'full' | 'none';
  /** Of the collection of locks: only those that lie on something of this region. */
  readonly locksOn?: Region | undefined;
}

export class View {
  /** Equal for equal views. */
  readonly id: string;
  readonly range: KeyRange;
  readonly #fields: ReadonlySet<string> | undefined;
  readonly #filtering: Filtering | undefined;
  /** What each change ends with. */
  readonly #tail: string;

  constructor(
    readonly request: ViewRequest,
    /** What its changes are told to be of, where a stream has several views. */
    readonly name?: string,
    /** What the watcher may see. */
    readonly sight: Sight = openSight,
  ) {
    const { key, where, locksOn } = request;
    // The smallest string above a key is the key and a NUL.
    this.range = key === undefined ? rangeOf(request) : { start: key, end: `${key}\0` };
    this.#fields = request.fields && new Set(request.fields);
    if (where) this.#filtering = new Filtering(criterionOf(where));
    else if (locksOn) this.#filtering = new Filtering(lyingOn(locksOn));
    this.id = JSON.stringify([
      request.collection,
      key,
      this.range,
      where?.text,
      request.fields && [...request.fields].sort(),
      request.values,
      locksOn && [locksOn.collection, locksOn.range],
      name,
      sight.id,
    ]);
    this.#tail = name === undefined ? '}' : `,"view":${JSON.stringify(name)}}`;
  }

  /** Whether the view looks at the change's item: it is of its collection and in its range. */
  covers(change: Change): boolean {
    const { collection } = this.request;
    if (collection === undefined ? isSystemName(change.collection) : change.collection !== collection) return false;
    return isInRange(change.key, this.range);
  }

  /** What the view sees of a change that it covers: with a filter, that the item comes or goes. Undefined: nothing. */
  see(change: Change): Change | undefined {
    const visible = this.sight === openSight ? change : seenChange(this.sight, change);
    const seen = visible && this.#filtering ? this.#filtering.see(visible) : visible;
    return seen && this.showsOf(seen) ? seen : undefined;
  }

  /** The changes that the view may look at. To `_changes` a commit is the adding of its own item. */
  changesOf(commit: Commit): readonly Change[] {
    return this.request.collection === CHANGES ? [additionOf(commit)] : commit.changes;
  }

  /** What the view sees of a commit. */
  seeAll(commit: Commit): Change[] {
    return this.seeEach(this.changesOf(commit));
  }

  /** What the view sees of changes that it may look at. */
  seeEach(changes: readonly Change[]): Change[] {
    const all: Change[] = [];
    for (const change of changes) {
      const seen = this.covers(change) && this.see(change);
      if (seen) all.push(seen);
    }
    return all;
  }

  /**
   * Whether the change can matter to what the view sees once it is joined with others. One outside a filter can: it may
   * be what the item was before it entered.
   */
  concerns(change: Change): boolean {
    if (!this.covers(change)) return false;
    if (this.#filtering !== undefined || this.showsOf(change)) return true;
    return this.sight.lens(change.collection).kind === 'part';
  }

  /** An item of the collection and range as the view has it; undefined where it hasn't. */
  itemOf(collection: string, key: string, state: ItemState): ItemState | undefined {
    const seen = this.sight.lens(collection).see(key, state);
    return seen && (this.#filtering?.matches(key, seen) ?? true) ? seen : undefined;
  }

  /** A filter of stored items that lets through all that the view has of a collection; undefined where it can't be narrowed. */
  narrowing(collection: string): Filter | undefined {
    return searchFilter(this.sight.lens(collection), this.request.where);
  }

  /** Whether the change touches an attribute that the view shows, or where it shows all just the revision; coming and going always do. */
  showsOf({ op, changed }: Change): boolean {
    const fields = this.#fields;
    return op !== 'change' || !fields || changed.some((name) => fields.has(name));
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

  /** A change of the commit of a revision, as the view sees it, as JSON text. */
  tellChange(change: Change, revision: number): string {
    const tail = this.#tailOf(change, revision);
    const changed = this.#shown(change.changed);
    const head =
      `{"op":"${change.op}","collection":${JSON.stringify(change.collection)},"key":${JSON.stringify(change.key)}` +
      `,"changed":${JSON.stringify(changed)},"removed":${change.removed.length > 0 ? JSON.stringify(this.#shown(change.removed)) : '[]'}`;
    switch (this.request.values) {
      case 'none':
        return `${head}${tail}`;
      case 'full':
        return `${head},"attributes":${change.after ? this.attributesText(change.after) : '{}'},"previous":${JSON.stringify(pickMembers(change.before, changed))}${tail}`;
      case 'changed':
        return `${head},"attributes":${this.#changedText(change, changed)}${tail}`;
    }
  }

  #tailOf({ after, reason }: Change, revision: number): string {
    const cause = reason ? `,"reason":"${reason}"` : '';
    // Joined commits, and a policy that shows more, tell of items that an earlier commit made what they are.
    const own = after && after.revision !== revision ? `,"revision":${after.revision}` : '';
    return `${own}${cause}${this.#tail}`;
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

/** The view that a watcher asked for and, where it wants them, a view of the locks on what that one covers. */
export function viewsOf(
  request: ViewRequest & { collection: string },
  locks: boolean,
  sight: (collection: string) => Sight,
  name?: string,
): View[] {
  const view = new View(request, name, sight(request.collection));
  const { collection, values } = request;
  const { start, end } = view.range;
  const isEmpty = start !== undefined && end !== undefined && compareKeys(start, end) >= 0;
  if (!locks || isEmpty || collection === LOCKS) return [view];
  const locksOn = { collection, range: view.range, attributes: undefined };
  return [view, new View({ collection: LOCKS, locksOn, values }, name, sight(LOCKS))];
}
