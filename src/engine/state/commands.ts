/**
 * The commands: what can be asked of a pool, each judged by a pure `decide` on a draft of the pool's state, inside the
 * commit. A command names the items it looks at, so that a group loads all of them with one read; one that can't name
 * them beforehand (a deletion by range) explores first and is judged in a group of its own.
 */
import { checkSystemItem } from '../dictionary/system-items.js';
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { StoredItem } from '../ports.js';
import type { Subject } from '../subject.js';
import { DICTIONARY } from './collections.js';
import type { Draft } from './draft.js';
import type { Json, JsonObject } from './json.js';
import { getMember } from './json.js';
import type { KeyRange } from './key-order.js';
import type { Attributes, Collection, ItemRef, ItemState } from './model.js';
import { type Action, apply, checkAction } from './operations.js';
import { type Condition, checkCondition, checkPreconditions, type Preconditions } from './preconditions.js';

export interface Command<Answer> {
  readonly subject: Subject;
  /** Roughly what the command holds in memory while it waits. */
  readonly bytes: number;
  readonly touches: readonly ItemRef[];
  /** Judged and answered as if for good, but never applied. */
  readonly dryRun?: boolean;
  /** Reads what `decide` will need and can't be named beforehand. */
  readonly explore?: (explorer: Explorer) => Promise<void>;
  decide(draft: Draft): (settled: Settled) => Answer;
}

/** Reads the present state inside the commit's transaction, and leaves what it reads to the draft. */
export interface Explorer {
  range(collection: string, range: KeyRange, limit: number): Promise<{ items: StoredItem[]; more: boolean }>;
}

/** What became of a command: the revision of its commit, or of the state in which it was judged. */
export interface Settled {
  readonly revision: number;
  readonly epoch: string;
  readonly committed: boolean;
}

/** One operation on one item. */
export interface Op extends ItemRef {
  readonly action: Action;
  readonly conditions?: readonly Condition[];
  readonly preconditions?: Preconditions;
  /** The preconditions are those of this attribute of the item, not of the item. */
  readonly attribute?: string;
}

export interface OpResult extends ItemRef {
  readonly index: number;
  readonly status: number;
  readonly revision: number;
  /** The names that this op set or removed. */
  readonly changed: readonly string[];
  /** The item after the whole command; undefined where there is none. */
  readonly item: ItemState | undefined;
  /** Whether there was such an item before this op. */
  readonly existed: boolean;
  readonly problem?: Problem;
}

export interface WriteAnswer extends Settled {
  readonly results: readonly OpResult[];
}

export interface WriteRequest {
  readonly subject: Subject;
  readonly bytes: number;
  readonly ops: readonly Op[];
  readonly conditions?: readonly Condition[];
  /** False: ops that can't be applied are left out, the others are one commit. */
  readonly atomic?: boolean;
  readonly dryRun?: boolean;
}

/** Operations on items as one commit. */
export function writeItems(request: WriteRequest): Command<WriteAnswer> {
  const { ops, conditions = [], atomic = true } = request;
  const touches: ItemRef[] = [...ops, ...conditions];
  for (const op of ops) if (op.conditions) touches.push(...op.conditions);
  return {
    subject: request.subject,
    bytes: request.bytes,
    dryRun: request.dryRun ?? false,
    touches,
    decide(draft) {
      for (const [i, condition] of conditions.entries()) checkCondition(condition, draft.item(condition), `/if/${i}`);
      const judged = ops.map((op, index) => {
        try {
          return judge(draft, op);
        } catch (error) {
          if (!(error instanceof Problem)) throw error;
          if (atomic) throw ops.length > 1 || conditions.length > 0 ? error.atOp(index) : error;
          return { existed: draft.item(op) !== undefined, changed: [], status: error.status, problem: error };
        }
      });
      return (settled) => ({
        ...settled,
        results: judged.map((result, index) => {
          const { collection, key } = ops[index] as Op;
          const item = draft.item({ collection, key });
          return { ...result, index, collection, key, item, revision: item?.revision ?? settled.revision };
        }),
      });
    },
  };
}

interface Judged {
  readonly existed: boolean;
  readonly changed: readonly string[];
  readonly status: number;
  readonly problem?: Problem;
}

function judge(draft: Draft, op: Op): Judged {
  const present = draft.item(op);
  if (op.preconditions) {
    const missing = op.attribute !== undefined && getMember(present?.attributes ?? {}, op.attribute) === undefined;
    checkPreconditions(op.preconditions, missing ? undefined : present?.revision);
  }
  for (const condition of op.conditions ?? []) checkCondition(condition, draft.item(condition), '/if');
  checkAction(op.action);
  const next = apply(op.action, present?.attributes);
  checkSystemItem(op.collection, op.key, next);
  const change = next === present?.attributes ? undefined : draft.write(op, next, growthOf(op.action));
  return { existed: present !== undefined, changed: change?.changed ?? [], status: change?.op === 'add' ? 201 : 200 };
}

/** By how many bytes an action makes an item's JSON text grow at most. */
function growthOf(action: Action): number {
  switch (action.op) {
    case 'delete':
    case 'unset':
    case 'remove':
      return 0;
    case 'increment':
      // A number's longest text, a name escaped at its worst, and punctuation.
      return 40 + action.attribute.length * 6;
    case 'append':
    case 'set':
      return 10 + action.attribute.length * 6 + Buffer.byteLength(JSON.stringify(action.value));
    case 'put':
    case 'create':
    case 'merge':
    case 'patch':
      return Number.POSITIVE_INFINITY;
  }
}

export interface DeleteAnswer extends Settled {
  readonly keys: readonly string[];
}

/** Deletes the items of a range as one commit. */
export function deleteRange(request: {
  subject: Subject;
  collection: string;
  range: KeyRange;
  limit?: number | undefined;
  expectCount?: number | undefined;
}): Command<DeleteAnswer> {
  const { subject, collection, range, expectCount } = request;
  const limit = request.limit ?? limits.deleteItemsMax;
  let found: ItemRef[] = [];
  return {
    subject,
    bytes: 256,
    touches: [],
    async explore(explorer) {
      const { items, more } = await explorer.range(collection, range, limit);
      if (more && request.limit === undefined) {
        const detail = `More than ${limit} items match. Give a \`limit\` of at most ${limit} and repeat until \`deleted\` is less.`;
        throw new Problem('invalid', detail, { errors: [{ pointer: '/limit', code: 'invalid', detail }] });
      }
      found = items.map(({ key }) => ({ collection, key }));
    },
    decide(draft) {
      if (expectCount !== undefined && expectCount !== found.length) {
        const detail = `${found.length} items match, not the expected ${expectCount}.`;
        throw new Problem('preconditionFailed', detail, { members: { count: found.length } });
      }
      for (const ref of found) checkSystemItem(ref.collection, ref.key, undefined);
      for (const ref of found) draft.write(ref, undefined);
      return (settled) => ({ ...settled, keys: found.map(({ key }) => key) });
    },
  };
}

export interface CollectionAnswer extends Settled {
  readonly created: boolean;
  readonly collection: Collection;
  /** Its entry in the dictionary. */
  readonly entry: Attributes;
}

/** What a user says about a collection. It is kept as the collection's item in the data dictionary. */
export interface CollectionEntry {
  readonly description?: string | null | undefined;
  readonly options?: JsonObject | null | undefined;
}

/** Makes a collection or changes what is said about it. `replace` forgets what the entry doesn't name. */
export function describeCollection(request: {
  subject: Subject;
  collection: string;
  entry: CollectionEntry;
  replace: boolean;
}): Command<CollectionAnswer> {
  const ref = { collection: DICTIONARY, key: request.collection };
  return {
    subject: request.subject,
    bytes: 1024,
    touches: [ref],
    decide(draft) {
      const created = draft.collection(request.collection) === undefined;
      if (created && !request.replace)
        throw new Problem('notFound', `There is no collection ${JSON.stringify(request.collection)}.`);
      draft.createCollection(request.collection);
      const present = draft.item(ref);
      const action: Action = request.replace
        ? { op: 'put', attributes: asAttributes(request.entry) }
        : { op: 'merge', attributes: asAttributes(request.entry) };
      draft.write(ref, apply(action, present?.attributes));
      return (settled) => ({
        ...settled,
        created,
        collection: draft.collection(request.collection) as Collection,
        entry: draft.item(ref)?.attributes ?? {},
      });
    },
  };
}

function asAttributes({ description, options }: CollectionEntry): Attributes {
  const attributes: Attributes = {};
  if (description !== undefined) attributes.description = description;
  if (options !== undefined) attributes.options = options as Json;
  return attributes;
}

/** Drops a collection with its items as one commit. */
export function dropCollection(request: {
  subject: Subject;
  collection: string;
  ifEmpty: boolean;
}): Command<Settled & { existed: boolean }> {
  const { subject, collection, ifEmpty } = request;
  const ref = { collection: DICTIONARY, key: collection };
  let found: ItemRef[] = [];
  return {
    subject,
    bytes: 256,
    touches: [ref],
    async explore(explorer) {
      const { items, more } = await explorer.range(collection, {}, ifEmpty ? 1 : limits.dropCollectionItemsMax);
      if (ifEmpty && items.length > 0)
        throw new Problem('conflict', `The collection ${JSON.stringify(collection)} is not empty.`);
      if (more) {
        throw new Problem(
          'invalid',
          `The collection holds more than ${limits.dropCollectionItemsMax} items. Delete them first in steps: POST …/delete with {"prefix":"","limit":${limits.deleteItemsMax}}.`,
        );
      }
      found = items.map(({ key }) => ({ collection, key }));
    },
    decide(draft) {
      const existed = draft.collection(collection) !== undefined;
      if (existed) {
        for (const item of found) draft.write(item, undefined);
        draft.write(ref, undefined);
      }
      return (settled) => ({ ...settled, existed });
    },
  };
}

export interface PoolAnswer extends Settled {
  readonly created: boolean;
  readonly description: string | undefined;
}

/** Makes a pool, or changes what is said about it. */
export function describePool(request: {
  subject: Subject;
  description?: string | null | undefined;
  create: boolean;
}): Command<PoolAnswer> {
  return {
    subject: request.subject,
    bytes: 1024,
    touches: [],
    decide(draft) {
      const created = !draft.group.exists;
      if (created && !request.create) throw new Problem('notFound', 'There is no such pool.');
      draft.createsPool = request.create;
      draft.description = request.create ? (request.description ?? null) : request.description;
      return (settled) => ({ ...settled, created, description: draft.group.description });
    },
  };
}

/** Makes a pool where there is none; one that is there stays as it is. */
export function ensurePool(request: { subject: Subject }): Command<Settled> {
  return {
    subject: request.subject,
    bytes: 256,
    touches: [],
    decide(draft) {
      draft.createsPool = true;
      return (settled) => settled;
    },
  };
}

/** Drops a pool with everything in it. */
export function dropPool(request: { subject: Subject }): Command<Settled & { existed: boolean }> {
  return {
    subject: request.subject,
    bytes: 256,
    touches: [],
    explore: () => Promise.resolve(),
    decide(draft) {
      const existed = draft.group.exists;
      draft.dropsPool = true;
      return (settled) => ({ ...settled, existed });
    },
  };
}
