/**
 * What a pool of Stargus is, said once more and as simply as possible: plain objects that are copied at every write, no
 * caches, no groups, no text. The server is right when it answers and ends up as this does. It shares no code with src.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Attributes, Item, Json, LoggedChange } from './client.js';

export type Op =
  | { op: 'put' | 'create' | 'merge'; collection: string; key: string; attributes: Attributes; if?: OpIf }
  | { op: 'delete'; collection: string; key: string; if?: OpIf }
  | { op: 'unset'; collection: string; key: string; names: string[]; if?: OpIf }
  | { op: 'set'; collection: string; key: string; attribute: string; value: Json; if?: OpIf }
  | {
      op: 'increment';
      collection: string;
      key: string;
      attribute: string;
      by: number;
      min?: number;
      max?: number;
      if?: OpIf;
    }
  | { op: 'append' | 'remove'; collection: string; key: string; attribute: string; value: Json; if?: OpIf };

type OpIf = { revision?: number; exists?: boolean };
export type Condition = OpIf & { collection: string; key: string };

/** If-Match and If-None-Match, of the item or of one of its attributes. */
export interface Match {
  readonly header: 'If-Match' | 'If-None-Match';
  /** `*`, or the revision of the tag. */
  readonly tag: '*' | number;
}

export type Command =
  | { kind: 'single'; op: Op; match?: Match | undefined; via?: 'item' | 'attribute' | undefined }
  | { kind: 'batch'; ops: Op[]; if: Condition[]; atomic: boolean; dryRun: boolean }
  | { kind: 'deletePrefix'; collection: string; prefix: string }
  | { kind: 'makeCollection'; collection: string }
  | { kind: 'dropCollection'; collection: string };

/** What can be seen of one operation's success, and what of a refusal. */
export interface OpOutcome {
  readonly status: number;
  readonly revision: number;
  /** In no order. */
  readonly changed: readonly string[];
  readonly item: Item | undefined;
  readonly existed: boolean;
}

export interface Outcome {
  /** 0: done; else the status of the refusal. */
  readonly refused: number;
  /** Where in a batch. */
  readonly index?: number;
  readonly committed: boolean;
  readonly revision: number;
  readonly results: readonly OpOutcome[];
  readonly keys: readonly string[];
}

interface Collection {
  readonly name: string;
  readonly revision: number;
}

export interface ModelCommit {
  readonly revision: number;
  readonly changes: readonly LoggedChange[];
}

class Refusal extends Error {
  constructor(
    readonly status: number,
    public index?: number,
  ) {
    super(`refused with ${status}`);
  }
}

export class Model {
  revision = 0;
  items = new Map<string, Item>();
  collections = new Map<string, Collection>();
  readonly commits: ModelCommit[] = [];

  copy(): Model {
    const copy = new Model();
    copy.revision = this.revision;
    copy.items = new Map(this.items);
    copy.collections = new Map(this.collections);
    copy.commits.push(...this.commits);
    return copy;
  }

  item(collection: string, key: string): Item | undefined {
    return this.items.get(`${collection}/${key}`);
  }

  /** The items of a collection in the order of their keys' bytes. */
  itemsOf(collection: string): Item[] {
    return [...this.items.values()]
      .filter((item) => item.collection === collection)
      .sort((a, b) => compareBytes(a.key, b.key));
  }

  /** Leaves of the last commit what is the application's: its views don't see the system's collections. */
  forgetSystem(): void {
    const last = this.commits.at(-1);
    if (!last?.changes.some(({ collection }) => collection.startsWith('_'))) return;
    this.commits[this.commits.length - 1] = { revision: last.revision, changes: [] };
    for (const { collection, key } of last.changes) this.items.delete(`${collection}/${key}`);
  }

  /** Judges the command and, if it is not refused and no dry run, applies it. */
  run(command: Command): Outcome {
    const draft = new Map(this.items);
    const next = this.revision + 1;
    let results: OpOutcome[] = [];
    let keys: string[] = [];
    const dropped = new Set<string>();
    const made = command.kind === 'makeCollection' && !this.collections.has(command.collection);
    try {
      if (command.kind === 'single') results = [this.#single(draft, command, next)];
      else if (command.kind === 'batch') results = this.#batch(draft, command, next);
      else if (command.kind !== 'makeCollection') {
        const { collection } = command;
        const prefix = command.kind === 'deletePrefix' ? command.prefix : '';
        keys = this.itemsOf(collection)
          .map(({ key }) => key)
          .filter((key) => key.startsWith(prefix));
        for (const key of keys) draft.delete(`${collection}/${key}`);
        if (command.kind === 'dropCollection' && this.collections.has(collection)) dropped.add(collection);
      }
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      const { status, index } = refusal;
      return {
        refused: status,
        ...(index !== undefined && { index }),
        committed: false,
        revision: this.revision,
        results: [],
        keys: [],
      };
    }
    const changes = this.#net(draft);
    const committed = (changes.length > 0 || dropped.size > 0 || made) && !(command.kind === 'batch' && command.dryRun);
    const revision = committed ? next : this.revision;
    // An operation's revision is that of its item after the whole command.
    const settled = results.map((result, i) => {
      const op = command.kind === 'single' ? command.op : command.kind === 'batch' ? command.ops[i] : undefined;
      const item = op && draft.get(`${op.collection}/${op.key}`);
      return { ...result, item, revision: item?.revision ?? revision };
    });
    if (committed) this.#apply(draft, changes, dropped, next);
    if (made) this.collections.set(command.collection, { name: command.collection, revision });
    return { refused: 0, committed, revision, results: settled, keys };
  }

  #single(draft: Map<string, Item>, { op, match, via }: Command & { kind: 'single' }, next: number): OpOutcome {
    const present = draft.get(`${op.collection}/${op.key}`);
    if (match) {
      const attribute = op.op === 'set' ? op.attribute : op.op === 'unset' ? op.names[0] : undefined;
      const there =
        via === 'attribute'
          ? present && attribute !== undefined && Object.hasOwn(present.attributes, attribute)
          : present;
      const matches = there ? match.tag === '*' || match.tag === present?.revision : false;
      if (matches !== (match.header === 'If-Match')) throw new Refusal(412);
    }
    return apply(draft, op, next);
  }

  #batch(
    draft: Map<string, Item>,
    { ops, if: conditions, atomic }: Command & { kind: 'batch' },
    next: number,
  ): OpOutcome[] {
    for (const condition of conditions)
      if (!holds(condition, draft.get(`${condition.collection}/${condition.key}`))) throw new Refusal(412);
    return ops.map((op, index) => {
      const present = draft.get(`${op.collection}/${op.key}`);
      try {
        if (op.if && !holds(op.if, present)) throw new Refusal(412);
        return apply(draft, op, next, this.items);
      } catch (refusal) {
        if (!(refusal instanceof Refusal)) throw refusal;
        if (atomic) throw new Refusal(refusal.status, index);
        return { status: refusal.status, revision: 0, changed: [], item: undefined, existed: present !== undefined };
      }
    });
  }

  /** Differences between what is and the draft. */
  #net(draft: Map<string, Item>): LoggedChange[] {
    const changes: LoggedChange[] = [];
    for (const id of new Set([...this.items.keys(), ...draft.keys()])) {
      const before = this.items.get(id);
      const after = draft.get(id);
      if (before !== after) changes.push(changeBetween(before, after));
    }
    return changes;
  }

  #apply(draft: Map<string, Item>, changes: LoggedChange[], dropped: Set<string>, revision: number): void {
    this.items = draft;
    this.revision = revision;
    this.commits.push({ revision, changes });
    for (const { collection: name } of changes) this.collections.set(name, { name, revision });
    for (const name of dropped) this.collections.delete(name);
  }
}

function holds({ revision, exists }: OpIf, item: Item | undefined): boolean {
  return (
    (exists === undefined || exists === (item !== undefined)) &&
    (revision === undefined || revision === (item?.revision ?? 0))
  );
}

/** Applies one operation to the draft. `origin` is what was there before the whole commit: what comes back to it is it. */
function apply(
  draft: Map<string, Item>,
  op: Op,
  revision: number,
  origin: ReadonlyMap<string, Item> = draft,
): OpOutcome {
  const id = `${op.collection}/${op.key}`;
  const present = draft.get(id);
  const attributes = compute(op, present?.attributes);
  const changed = namesThatDiffer(present?.attributes ?? {}, attributes ?? {});
  const original = origin.get(id);
  if (attributes === undefined) draft.delete(id);
  else if (present === undefined || changed.length > 0) {
    const same = original && isDeepStrictEqual(original.attributes, attributes);
    const { collection, key } = op;
    draft.set(
      id,
      same
        ? original
        : { collection, key, revision, createdRevision: present?.createdRevision ?? revision, attributes },
    );
  }
  const status = present === undefined && attributes !== undefined ? 201 : 200;
  return { status, revision, changed, item: draft.get(id), existed: present !== undefined };
}

function compute(op: Op, present: Attributes | undefined): Attributes | undefined {
  const now = structuredClone(present ?? {});
  switch (op.op) {
    case 'create':
      if (present) throw new Refusal(409);
      return withoutNulls(op.attributes);
    case 'put':
      return withoutNulls(op.attributes);
    case 'merge':
      return merge(now, op.attributes) as Attributes;
    case 'delete':
      return undefined;
    case 'unset':
      for (const name of op.names) delete now[name];
      return present && now;
    case 'set':
      if (op.value === null) delete now[op.attribute];
      else now[op.attribute] = op.value;
      return present || op.value !== null ? now : undefined;
    case 'increment': {
      const value = own(now, op.attribute) ?? 0;
      if (typeof value !== 'number') throw new Refusal(422);
      const sum = value + op.by;
      if ((op.min !== undefined && sum < op.min) || (op.max !== undefined && sum > op.max)) throw new Refusal(409);
      return { ...now, [op.attribute]: sum };
    }
    case 'append':
    case 'remove': {
      const array = own(now, op.attribute) ?? [];
      if (!Array.isArray(array)) throw new Refusal(422);
      if (op.op === 'append') return { ...now, [op.attribute]: [...array, op.value] };
      const rest = array.filter((element) => !isDeepStrictEqual(element, op.value));
      return rest.length === array.length ? present : { ...now, [op.attribute]: rest };
    }
  }
}

function withoutNulls(attributes: Attributes): Attributes {
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== null));
}

/** RFC 7396, as its section 2 has it. */
function merge(target: Json, patch: Json): Json {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const result: Attributes =
    typeof target === 'object' && target !== null && !Array.isArray(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = merge(own(result, name) ?? null, value);
  }
  return result;
}

export function namesThatDiffer(before: Attributes, after: Attributes): string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].filter((name) => !isDeepStrictEqual(own(before, name), own(after, name))).sort();
}

/** `constructor` is an attribute like any other. */
function own(attributes: Attributes, name: string): Json | undefined {
  return Object.hasOwn(attributes, name) ? attributes[name] : undefined;
}

function changeBetween(before: Item | undefined, after: Item | undefined): LoggedChange {
  const { collection, key } = (after ?? before) as Item;
  const was = before?.attributes ?? {};
  const is = after?.attributes ?? {};
  const changed = namesThatDiffer(was, is);
  return {
    op: before ? (after ? 'change' : 'delete') : 'add',
    collection,
    key,
    changed,
    removed: changed.filter((name) => !Object.hasOwn(is, name)),
    attributes: is,
    previous: Object.fromEntries(
      changed.filter((name) => Object.hasOwn(was, name)).map((name) => [name, was[name] as Json]),
    ),
  };
}

export function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
