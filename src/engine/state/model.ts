/** The data model: items, changes and commits, as values that are never altered once made. */
import type { Trace } from '../tracing.js';
import { getMember, type Json, type JsonObject, jsonEqual, pickMembers } from './json.js';

export type Attributes = JsonObject;

/** Names an item inside a pool. */
export interface ItemRef {
  readonly collection: string;
  readonly key: string;
}

/** What somebody has worked out of a state and will ask for again. */
export interface Memo {
  readonly by: object;
}

/** An item's content at one revision. Holds the JSON text, which is stored and sent, and parses it when it is needed. */
export class ItemState {
  #json: string | undefined;
  #attributes: Attributes | undefined;
  /**
   * The last that was worked out of it. One is kept and no more, so that what many see of one item in many ways takes no more memory
   * than the item.
   */
  memo: Memo | undefined = undefined;

  /** From the JSON text, from the attributes, or from both where they are at hand. */
  constructor(
    json: string | undefined,
    /** The revision of the commit that last changed the item. */
    readonly revision: number,
    readonly createdRevision: number,
    attributes?: Attributes,
  ) {
    this.#json = json;
    this.#attributes = attributes;
  }

  /** The attributes as JSON text. */
  get json(): string {
    this.#json ??= JSON.stringify(this.#attributes);
    return this.#json;
  }

  /** The length of the JSON text, where it has been made; 0 for a state on the way to another. */
  get encodedLength(): number {
    return this.#json?.length ?? 0;
  }

  get attributes(): Attributes {
    this.#attributes ??= JSON.parse(this.#json as string) as Attributes;
    return this.#attributes;
  }
}

/** One item's difference at one revision. */
export interface Change {
  readonly collection: string;
  readonly key: string;
  readonly op: 'add' | 'change' | 'delete';
  /** The names of the attributes that were set or removed, removed ones last. */
  readonly changed: readonly string[];
  readonly removed: readonly string[];
  /** The former values of the changed attributes, where they had one. */
  readonly before: Attributes;
  /** At most what the former values take as JSON text, for what is bounded in bytes. */
  readonly formerBytes: number;
  /** The item afterwards; absent after a deletion. */
  readonly after: ItemState | undefined;
  /** What the item's revisions were before; absent when it is new. */
  readonly former: { readonly revision: number; readonly createdRevision: number } | undefined;
  /**
   * Why, where nobody asked for the change; or, as a view sees it, that the item came into the view or left it, or that the policy
   * hides it from now on.
   */
  readonly reason?: Cause | 'entered' | 'left' | 'denied';
}

/**
 * Why something changed that nobody asked for: its time was over, it had waited long enough, another broke it, or it had to make room;
 * or that it was dropped and not done with. Kept in the log.
 */
export type Cause = 'expired' | 'timeout' | 'broken' | 'full' | 'dropped';

/** All changes of one revision, seen together or not at all. */
export interface Commit {
  readonly revision: number;
  /** Milliseconds since 1970, by the database's clock. */
  readonly time: number;
  readonly subject: string;
  readonly changes: readonly Change[];
  /** The trace of the request that made it, where that was followed: what delivers the commit goes on with it. */
  readonly trace?: Trace | undefined;
}

/** A collection, as the pool's state has it. */
export interface Collection {
  readonly id: number;
  readonly name: string;
  /** False for one that was dropped and whose name the log still needs. */
  readonly present: boolean;
  readonly items: number;
  /** The last revision that touched it. */
  readonly revision: number;
}

/** The names that differ between two sets of attributes: set ones first, then removed ones. */
export function diffNames(before: Attributes, after: Attributes): { changed: string[]; removed: string[] } {
  const changed: string[] = [];
  for (const name of Object.keys(after)) {
    if (!jsonEqual(getMember(before, name), after[name] as Json)) changed.push(name);
  }
  const removed = Object.keys(before).filter((name) => !Object.hasOwn(after, name));
  return { changed: removed.length > 0 ? changed.concat(removed) : changed, removed };
}

const NOTHING: Attributes = Object.freeze({});

/** The change between two states of an item, or undefined where they are the same. */
export function changeBetween(
  ref: ItemRef,
  before: ItemState | undefined,
  after: ItemState | undefined,
): Change | undefined {
  if (before === after || (before === undefined && after === undefined)) return undefined;
  const former = before && { revision: before.revision, createdRevision: before.createdRevision };
  const { changed, removed } = diffNames(before?.attributes ?? NOTHING, after?.attributes ?? NOTHING);
  if (before && after && changed.length === 0) return undefined;
  return {
    collection: ref.collection,
    key: ref.key,
    op: before === undefined ? 'add' : after === undefined ? 'delete' : 'change',
    changed,
    removed,
    before: before ? pickMembers(before.attributes, changed) : NOTHING,
    formerBytes: before?.encodedLength ?? 0,
    after,
    former,
  };
}

/** The item as it was before the change; undefined where the change added it. */
export function stateBefore(change: Change): ItemState | undefined {
  if (!change.former) return undefined;
  const attributes: Attributes = change.after
    ? pickMembers(
        change.after.attributes,
        Object.keys(change.after.attributes).filter((name) => !change.changed.includes(name)),
      )
    : {};
  Object.defineProperties(attributes, Object.getOwnPropertyDescriptors(change.before));
  return new ItemState(undefined, change.former.revision, change.former.createdRevision, attributes);
}
