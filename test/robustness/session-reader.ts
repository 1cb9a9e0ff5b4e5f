/**
 * A reader of a session's stream, as a client would be: it keeps a copy of each view, drops what was not whole when its
 * connection broke, and resumes at the last id. At each `live` and each id it compares its copies with the truth.
 */
import { createParser } from 'eventsource-parser';
import type { Attributes, Item } from './client.js';
import { compareBytes } from './model.js';
import { isInPlace, shownItems, type Variant } from './watcher.js';

/** Items by `collection/key`. */
export type Items = ReadonlyMap<string, Item>;

interface Copy {
  /** The revision of the attachment's item that it is a copy for. */
  readonly attached: number;
  readonly items: Map<string, Attributes>;
  at: number;
}

export interface ToldChange {
  op: 'add' | 'change' | 'delete';
  collection: string;
  key: string;
  view: string;
  changed: string[];
  removed: string[];
  attributes?: Attributes;
  previous?: Attributes;
  reason?: string;
}

export class SessionReader {
  cursor: string | undefined;
  bye: string | undefined;
  readonly locks: object[] = [];
  readonly names: string[] = [];
  readonly #copies = new Map<string, Copy>();
  /** Snapshots of which the end is still to come. */
  readonly #parts = new Map<string, { revision: number; part: number; items: Copy['items'] }>();
  readonly #split: ToldChange[] = [];
  /** The highest revision that changes were told of on this connection, and the id that it resumed at. */
  #told = 0;
  #opened = 0;

  constructor(
    private readonly session: string,
    private readonly stateAt: (revision: number) => Items,
    private readonly check?: (revision: number, change: ToldChange) => void,
  ) {}

  /** Reads all that one connection brought, which was opened when the pool was at the revision. */
  read(text: string, opened: number): void {
    this.#opened = opened;
    this.#parts.clear();
    this.#split.length = 0;
    this.#told = this.#position;
    const parser = createParser({
      onEvent: ({ event, id, data }) => this.#take(event as string, id, JSON.parse(data)),
    });
    parser.feed(text);
  }

  get #position(): number {
    return this.cursor === undefined ? 0 : Number(this.cursor.split('-')[1]);
  }

  // biome-ignore lint/suspicious/noExplicitAny: what comes is judged by the cases.
  #take(event: string, id: string | undefined, data: any): void {
    this.names.push(event);
    if (event === 'snapshot') this.#takePart(data);
    if (event === 'live' && data.view !== undefined) this.#takeLive(data);
    if (event === 'changes') this.#takeCommit(data);
    if (event === 'reset') this.#forget(data.view);
    if (event === 'lock') this.locks.push(data);
    if (event === 'bye') this.bye = data.reason;
    if (id === undefined) return;
    const before = this.#position;
    this.cursor = id === '' ? undefined : id;
    if (id === '') return;
    if (this.#position < before) fail(`the id ${id} came after ${before}`);
    this.#compareAll();
  }

  #takePart({
    view,
    revision,
    items,
    part,
  }: {
    view: string;
    revision: number;
    items: [{ collection: string; key: string; attributes?: Attributes }];
    part: number;
  }) {
    if (part === 1) this.#parts.set(view, { revision, part: 0, items: new Map() });
    const all = this.#parts.get(view);
    if (all?.part !== part - 1 || all.revision !== revision) fail(`part ${part} of ${view} out of order`);
    for (const { collection, key, attributes } of items) {
      const id = `${collection}/${key}`;
      if (all?.items.has(id)) fail(`${view} has ${id} twice`);
      all?.items.set(id, { ...attributes });
    }
    if (all) all.part = part;
  }

  #takeLive({ view, revision }: { view: string; revision: number }): void {
    const parts = this.#parts.get(view);
    if (parts) {
      const attached = this.#attachments(revision).get(view)?.revision;
      if (attached === undefined) fail(`${view} is live at ${revision} and was not attached then`);
      if (parts.revision !== revision) fail(`${view} is live at ${revision} with a snapshot of ${parts.revision}`);
      this.#copies.set(view, { attached, items: parts.items, at: revision });
      this.#parts.delete(view);
    }
    const copy = this.#copies.get(view);
    if (!copy) fail(`${view} is live at ${revision} and was never told`);
    copy.at = Math.max(copy.at, revision);
    this.#compare(view, copy, copy.at);
  }

  #takeCommit({ revision, changes, more }: { revision: number; changes: ToldChange[]; more?: boolean }): void {
    this.#split.push(...changes);
    if (more) return;
    if (revision <= this.#told) fail(`commit ${revision} came after ${this.#told}`);
    this.#told = revision;
    const changed = new Set<Copy>();
    for (const change of this.#split.splice(0)) {
      this.check?.(revision, change);
      const copy = this.#copies.get(change.view);
      if (!copy) fail(`commit ${revision} tells of ${change.view}, which is not live`);
      if (!this.#attachments(revision).has(change.view))
        fail(`commit ${revision} tells of ${change.view}, which is detached`);
      // Told on a former connection, without an id.
      if (revision <= copy.at) continue;
      fold(copy.items, change);
      changed.add(copy);
    }
    for (const copy of changed) copy.at = revision;
  }

  #forget(view: string | undefined): void {
    if (view === undefined) this.#copies.clear();
    else this.#copies.delete(view);
  }

  #attachments(revision: number): Map<string, Item> {
    const prefix = `_attachments/${this.session}/`;
    const found = [...this.stateAt(revision)].filter(([id]) => id.startsWith(prefix));
    return new Map(found.map(([id, item]) => [id.slice(prefix.length), item]));
  }

  /** With an id everything up to its revision has been told, of all that is attached; and was when the connection was opened. */
  #compareAll(): void {
    const later = this.#attachments(Math.max(this.#position, this.#opened));
    for (const [view, { revision }] of this.#attachments(this.#position)) {
      if (later.get(view)?.revision !== revision) continue;
      const copy = this.#copies.get(view);
      if (copy?.attached !== revision)
        fail(`at ${this.cursor} ${view} of ${revision} is not live, but that of ${copy?.attached}`);
      if (copy.at <= this.#position) this.#compare(view, copy, this.#position);
    }
  }

  #compare(view: string, { items }: Copy, revision: number): void {
    const attachment = this.#attachments(revision).get(view)?.attributes as unknown as AttachedView | undefined;
    if (!attachment) return;
    const state = shown(attachment, [...this.stateAt(revision).values()]);
    const truth = JSON.stringify(
      state.map(({ collection, key, attributes }) => [`${collection}/${key}`, sorted(attributes ?? {})]),
    );
    const copy = [...items].sort(([a], [b]) => compareBytes(a, b));
    const told = JSON.stringify(copy.map(([id, attributes]) => [id, sorted(attributes)]));
    if (told !== truth) fail(`${view} at ${revision} is told ${told}, not ${truth}`);
  }
}

type AttachedView = Variant & { readonly locks?: boolean };

/** What an attachment shows of a state, in the order of collections and keys. */
function shown({ locks, ...view }: AttachedView, items: readonly Item[]): Item[] {
  const lying = items.filter((item) => locks && item.collection === '_locks' && liesOn(item, view));
  const told = [...shownItems(view, items), ...shownItems({ kind: 'attach', values: view.values }, lying)] as Item[];
  return told.sort((a, b) => compareBytes(`${a.collection}/${a.key}`, `${b.collection}/${b.key}`));
}

/** Of locks whose scopes are the pool, a collection or an item. */
function liesOn({ attributes }: Item, view: Variant): boolean {
  const scopes = (attributes.scopes ?? []) as { collection?: string; key?: string }[];
  return scopes.some(
    ({ collection = view.collection, key }) =>
      collection === view.collection &&
      (key === undefined || isInPlace(view, { collection: collection as string, key })),
  );
}

function fold(items: Copy['items'], { op, collection, key, removed, attributes, view }: ToldChange): void {
  const id = `${collection}/${key}`;
  if (items.has(id) !== (op !== 'add')) fail(`${op} of ${id} in ${view}, which has ${[...items.keys()]}`);
  if (op === 'delete') {
    items.delete(id);
    return;
  }
  const former = Object.entries(items.get(id) ?? {}).filter(([name]) => !removed.includes(name));
  items.set(id, { ...Object.fromEntries(former), ...attributes });
}

function sorted(attributes: object): object {
  return Object.fromEntries(Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function fail(what: string): never {
  throw new Error(what);
}
