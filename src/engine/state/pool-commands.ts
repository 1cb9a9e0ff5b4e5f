/** The commands on collections and pools: making, describing and dropping them. */
import { checkSystemItem } from '../dictionary/system-items.js';
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { Writer } from '../sessions/writer.js';
import type { Subject } from '../subject.js';
import { entryRef } from './collections.js';
import type { Command, Settled } from './commands.js';
import type { Json, JsonObject } from './json.js';
import type { Attributes, Collection, ItemRef } from './model.js';
import { type Action, apply } from './operations.js';

export interface CollectionAnswer extends Settled {
  readonly created: boolean;
  readonly collection: Collection;
  /** Its entry in the dictionary. */
  readonly entry: Attributes;
  /** Whether who asked may be told how many items it holds. */
  readonly seesAll: boolean;
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
  writer?: Writer | undefined;
}): Command<CollectionAnswer> {
  const ref = entryRef(request.collection);
  return {
    subject: request.subject,
    bytes: 1024,
    touches: [ref],
    writer: request.writer,
    decide(draft) {
      draft.access.checkAdmin(request.collection);
      const created = draft.collection(request.collection) === undefined;
      if (created && !request.replace)
        throw new Problem('notFound', `There is no collection ${JSON.stringify(request.collection)}.`);
      draft.createCollection(request.collection);
      const present = draft.item(ref);
      // What the dictionary says beyond these members stays as it is.
      const { description, options, ...others } = present?.attributes ?? {};
      const said = asAttributes(request.entry);
      const action: Action = request.replace
        ? { op: 'put', attributes: { ...others, ...said } }
        : { op: 'merge', attributes: said };
      draft.write(ref, apply(action, present?.attributes));
      draft.permit(ref);
      // What came together may be more than each of its parts: an entry that can't be used would stop every write.
      checkSystemItem(draft, ref);
      return (settled) => ({
        ...settled,
        created,
        collection: draft.collection(request.collection) as Collection,
        entry: draft.item(ref)?.attributes ?? {},
        seesAll: draft.access.seesAll(request.collection),
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
  writer?: Writer | undefined;
}): Command<Settled & { existed: boolean }> {
  const { subject, collection, ifEmpty, writer } = request;
  const ref = entryRef(collection);
  let found: ItemRef[] = [];
  return {
    subject,
    bytes: 256,
    touches: [ref],
    writer,
    async explore(explorer) {
      explorer.draft().access.checkAdmin(collection);
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
      draft.access.checkAdmin(collection);
      draft.permitAll();
      const existed = draft.collection(collection) !== undefined;
      if (existed) {
        draft.guard.checkScope({ collection });
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
  writer?: Writer | undefined;
}): Command<PoolAnswer> {
  return {
    subject: request.subject,
    writer: request.writer,
    bytes: 1024,
    touches: [],
    decide(draft) {
      draft.access.checkAdmin();
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
export function dropPool(request: {
  subject: Subject;
  writer?: Writer | undefined;
}): Command<Settled & { existed: boolean }> {
  return {
    subject: request.subject,
    writer: request.writer,
    bytes: 256,
    touches: [],
    explore: () => Promise.resolve(),
    decide(draft) {
      draft.access.checkAdmin();
      const existed = draft.group.exists;
      draft.guard.checkScope({});
      draft.dropsPool = true;
      return (settled) => ({ ...settled, existed });
    },
  };
}
