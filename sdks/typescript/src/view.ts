/**
 * What a mirror knows of the server's side: the items of one state, its revision and cursor. Events go in, and come out as the items that
 * changed. Pure: no clock, no connection.
 *
 * Invariants: `items` is the whole state at `revision`; a commit that comes in parts is applied when its last part is there; a snapshot takes the
 * place of what was there when it is complete; nothing at or below `revision` is applied again.
 */
import { COMMIT_BYTES_MAX } from './bounds.js';
import { StargusError } from './errors.js';
import { type Entry, entryOf, type Item, itemOf } from './item.js';
import { copied, isJsonObject, type Json, type JsonObject, put } from './json.js';
import type { StreamEvent } from './sse-parser.js';

/** An item as it was and is on the server's side. Undefined: not there. */
export interface Step {
  readonly key: string;
  readonly before: Entry | undefined;
  readonly after: Entry | undefined;
  /** As the server names them; absent where nobody said. */
  readonly changed?: readonly string[];
  readonly removed?: readonly string[];
  readonly reason?: string;
}

export interface Applied {
  /** What changed; undefined where nothing did. After the first snapshot `isFirst` is true, and it is told to nobody. */
  readonly steps?: readonly Step[];
  /** A snapshot took the place of everything. */
  readonly isReplaced?: boolean;
  readonly isFirst?: boolean;
  /** The stream says that it ends. */
  readonly bye?: { readonly reason: string; readonly retryMs: number };
  /** The server can't tell this view. */
  readonly problem?: Readonly<Record<string, unknown>>;
  readonly heartbeatMs?: number;
}

interface WireChange {
  readonly op?: unknown;
  readonly collection?: string;
  readonly view?: string;
  readonly key: string;
  readonly changed?: readonly string[];
  readonly removed?: readonly string[];
  readonly attributes?: JsonObject;
  readonly reason?: string;
  /** Of the item, where it isn't the commit's: commits that are told as one, or a policy that shows more of what nobody wrote. */
  readonly revision?: number;
}

interface WireItem {
  readonly collection?: string;
  readonly key: string;
  readonly revision: number;
  readonly attributes?: JsonObject;
}

const NOTHING: Applied = {};

export class View {
  items = new Map<string, Entry>();
  revision = 0;
  /** Where to come back to; undefined: begin with a snapshot. */
  cursor: string | undefined;
  /** The name of the log's life that is connected to. */
  epoch: string | undefined;
  /** Everything up to `revision` is there, and what comes is told. */
  isLive = false;
  /** There was a whole state at some time. */
  isComplete = false;
  readonly #collection: string;
  readonly #isSparse: boolean;
  /** The state that was begun by a reset isn't complete, and no cursor leads to it. */
  #isReset = false;
  #incoming: { items: Map<string, Entry>; revision: number } | undefined;
  #held: { changes: WireChange[]; bytes: number } | undefined;

  constructor(collection: string, options: { isSparse: boolean }) {
    this.#collection = collection;
    this.#isSparse = options.isSparse;
  }

  /** Begins with what a cache has. */
  restore(items: Map<string, Entry>, cursor: string): void {
    this.items = items;
    this.cursor = cursor;
    this.revision = revisionOf(cursor);
    this.isComplete = true;
  }

  /** The next connection tells the whole state, which takes the place of what is shown when it is complete. */
  beginAnew(): void {
    this.cursor = undefined;
    this.expectSnapshot();
  }

  /** The same, where what is shown is still of its cursor. */
  expectSnapshot(): void {
    if (this.isComplete) this.#incoming = { items: new Map(), revision: 0 };
  }

  /** From where the next connection goes on; undefined: from a snapshot. */
  get since(): string | undefined {
    return this.#isReset ? undefined : this.cursor;
  }

  /** A connection begins or has ended: what was half told is told again. */
  disconnected(): void {
    this.isLive = false;
    this.#incoming = undefined;
    this.#held = undefined;
  }

  /** @throws StargusError `protocolError`, `eventTooLarge` */
  apply(event: StreamEvent): Applied {
    switch (event.event) {
      case 'hello': {
        const { heartbeatMs, epoch } = parsed(event) as { heartbeatMs?: unknown; epoch?: unknown };
        if (typeof epoch === 'string') this.epoch = epoch;
        return typeof heartbeatMs === 'number' && heartbeatMs > 0 ? { heartbeatMs } : NOTHING;
      }
      case 'snapshot':
        return this.#snapshot(parsed(event));
      case 'live':
        return this.#live(parsed(event), event.id);
      case 'changes':
        return this.#changes(parsed(event), event);
      case 'bookmark': {
        const { revision } = parsed(event) as { revision?: unknown };
        if (this.#incoming || this.#held) return NOTHING;
        if (typeof revision === 'number' && revision >= this.revision && this.isComplete)
          this.#moveTo(revision, event.id);
        return NOTHING;
      }
      case 'reset': {
        const { view } = parsed(event) as { view?: unknown };
        if (this.#isOther(view)) return NOTHING;
        this.disconnected();
        this.#isReset = true;
        this.#incoming = { items: new Map(), revision: 0 };
        return NOTHING;
      }
      case 'problem': {
        const problem = parsed(event);
        return this.#isOther(problem.view) ? NOTHING : { problem };
      }
      case 'bye': {
        const { reason, retryMs } = parsed(event) as { reason?: unknown; retryMs?: unknown };
        return {
          bye: { reason: String(reason), retryMs: typeof retryMs === 'number' && retryMs > 0 ? retryMs : 0 },
        };
      }
      default:
        return NOTHING;
    }
  }

  #isOther(view: unknown): boolean {
    return view !== undefined && view !== this.#collection;
  }

  #snapshot(data: JsonObject): Applied {
    if (this.#isOther(data.view)) return NOTHING;
    const { items, revision } = data as unknown as { items: WireItem[]; revision: number };
    if (!Array.isArray(items) || typeof revision !== 'number') throw notUnderstood('snapshot');
    this.#incoming ??= { items: new Map(), revision };
    this.#incoming.revision = revision;
    for (const item of items)
      if (item.collection === undefined || item.collection === this.#collection)
        this.#incoming.items.set(item.key, this.#entry(item.key, item.revision, item.attributes));
    return NOTHING;
  }

  #live(data: JsonObject, id: string): Applied {
    if (this.#isOther(data.view)) return NOTHING;
    const { revision } = data as { revision?: unknown };
    if (typeof revision !== 'number') throw notUnderstood('live');
    const incoming = this.#incoming;
    this.#incoming = undefined;
    this.#held = undefined;
    this.isLive = true;
    const isFirst = !this.isComplete;
    this.isComplete = true;
    if (!incoming) {
      if (isFirst || revision >= this.revision) this.#moveTo(revision, id);
      return { steps: [], isFirst };
    }
    this.#isReset = false;
    const before = this.items;
    this.items = incoming.items;
    this.revision = revision;
    this.cursor = id === '' ? undefined : id;
    return { steps: isFirst ? [] : stepsBetween(before, incoming.items), isReplaced: true, isFirst };
  }

  #changes(data: JsonObject, event: StreamEvent): Applied {
    const { revision, changes, more } = data as unknown as { revision: number; changes: WireChange[]; more?: boolean };
    if (!Array.isArray(changes) || typeof revision !== 'number') throw notUnderstood('changes');
    if (revision <= this.revision && !this.#incoming) return NOTHING;
    // Before any is applied: of a commit all is shown or nothing.
    if (!changes.every((change) => isWellFormed(change, revision))) throw notUnderstood('changes');
    let all = changes;
    if (this.#held || more === true) {
      this.#held ??= { changes: [], bytes: 0 };
      this.#held.bytes += event.data.length;
      if (this.#held.bytes > COMMIT_BYTES_MAX)
        throw new StargusError(
          'eventTooLarge',
          `A commit that comes in parts has more than ${COMMIT_BYTES_MAX} bytes.`,
        );
      for (const change of changes) this.#held.changes.push(change);
      if (more === true) return NOTHING;
      all = this.#held.changes;
      this.#held = undefined;
    }
    const incoming = this.#incoming;
    if (incoming) {
      // It belongs to the state that is still coming in, and is told with it.
      if (revision > incoming.revision) for (const change of all) this.#applyTo(incoming.items, change, revision);
      return NOTHING;
    }
    const steps: Step[] = [];
    for (const change of all) {
      const step = this.#applyTo(this.items, change, revision);
      if (step) steps.push(step);
    }
    this.#moveTo(revision, event.id);
    return { steps };
  }

  #moveTo(revision: number, id: string): void {
    this.revision = revision;
    if (id !== '') this.cursor = id;
  }

  #applyTo(items: Map<string, Entry>, change: WireChange, commit: number): Step | undefined {
    if (change.collection !== undefined && change.collection !== this.#collection) return undefined;
    if (this.#isOther(change.view)) return undefined;
    const { key, op, revision = commit } = change;
    const before = items.get(key);
    const told = {
      ...(change.changed && { changed: change.changed }),
      ...(change.removed && { removed: change.removed }),
      ...(change.reason !== undefined && { reason: change.reason }),
    };
    if (op === 'delete') {
      if (!before) return undefined;
      items.delete(key);
      return { key, before, after: undefined, ...told };
    }
    const isKnown = op === 'add' || op === 'change';
    // A newer server's: what has values is a change, and what has none can't be understood.
    if (!isKnown && !change.attributes && !this.#isSparse) return undefined;
    const after = this.#isSparse
      ? entryOf(key, revision)
      : itemOf(
          key,
          revision,
          op === 'add' ? (change.attributes ?? {}) : attributesAfter(before as Item | undefined, change),
        );
    items.set(key, after);
    return { key, before, after, ...told };
  }

  #entry(key: string, revision: number, attributes: JsonObject | undefined): Entry {
    return this.#isSparse ? entryOf(key, revision) : itemOf(key, revision, attributes ?? {});
  }
}

function isWellFormed(change: unknown, commit: number): boolean {
  if (!isJsonObject(change) || typeof change.key !== 'string') return false;
  const { changed, removed, attributes, revision } = change;
  const areNames = (names: unknown) => names === undefined || Array.isArray(names);
  return (
    areNames(changed) &&
    areNames(removed) &&
    (attributes === undefined || isJsonObject(attributes)) &&
    (revision === undefined || (Number.isInteger(revision) && Number(revision) >= 1 && Number(revision) <= commit))
  );
}

/** The attributes that changed are told; the others stay. */
function attributesAfter(before: Item | undefined, change: WireChange): JsonObject {
  const attributes: Record<string, Json> = before ? copied(before.attributes) : {};
  for (const name of change.removed ?? []) delete attributes[name];
  for (const [name, value] of Object.entries(change.attributes ?? {})) put(attributes, name, value);
  return attributes;
}

function stepsBetween(before: ReadonlyMap<string, Entry>, after: ReadonlyMap<string, Entry>): Step[] {
  const steps: Step[] = [];
  for (const [key, entry] of before) if (!after.has(key)) steps.push({ key, before: entry, after: undefined });
  for (const [key, entry] of after) {
    const known = before.get(key);
    // Of one life of the pool the same revision is the same item; of another it may be anything.
    steps.push({ key, before: known, after: entry });
  }
  return steps;
}

function parsed(event: StreamEvent): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(event.data);
  } catch (error) {
    throw new StargusError('protocolError', `The event ${event.event} of the stream is no JSON.`, { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw notUnderstood(event.event);
  return value as JsonObject;
}

function notUnderstood(event: string): StargusError {
  return new StargusError('protocolError', `The event ${event} of the stream can't be understood.`);
}

/** Of a cursor, `<epoch>-<revision>`. 0 where it is none. */
export function revisionOf(cursor: string): number {
  const revision = Number(cursor.slice(cursor.lastIndexOf('-') + 1));
  return Number.isSafeInteger(revision) && revision > 0 ? revision : 0;
}

/** Of a cursor. */
export function epochOf(cursor: string): string {
  return cursor.slice(0, Math.max(0, cursor.lastIndexOf('-')));
}
