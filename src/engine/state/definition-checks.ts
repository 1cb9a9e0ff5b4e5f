/**
 * What a write to `_dictionary` must not break: the items that are there. Where a definition checks otherwise than before, or
 * wants values to be unique that weren't, each item of its collection is looked at inside the commit, as the whole command
 * would leave it. The first offenders are told, and how many there are.
 *
 * A large collection is looked at beforehand, in a snapshot and without the pool's lock, while writers go on; inside the commit
 * only what changed since is. Unique values are always looked at inside: they are a matter between items.
 */
import { createHash } from 'node:crypto';
import type { Definition } from '../dictionary/definition.js';
import { canonical } from '../dictionary/schema-keywords.js';
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { Store, StoredItem } from '../ports.js';
import { readTokens } from '../query/path.js';
import { sortKeyOf } from '../query/sort-key.js';
import { DICTIONARY } from './collections.js';
import { type Explorer, Unprepared } from './commands.js';
import type { Draft } from './draft.js';
import { partsOf } from './indexes.js';
import type { Json } from './json.js';
import { stateOf } from './loading.js';
import type { Attributes, ItemRef } from './model.js';

/** What was found of a collection's items beforehand: as of the revision, all of them are as the definition says. */
interface Finding {
  readonly poolId: number;
  readonly checkId: string;
  readonly revision: number;
}

/** How often a command is prepared anew, because too much changed meanwhile, before it is judged at all cost. */
const PREPARATIONS_MAX = 3;

/** Judges the definitions that the ops of one command leave; one object serves all attempts to judge the command. */
export class DefinitionChecks {
  readonly #findings = new Map<string, Finding>();
  #preparations = 0;

  /** Notes what is refused by the op. Throws Unprepared where much is to be looked at. */
  async check<T extends ItemRef>(
    explorer: Explorer,
    ops: readonly T[],
    judge: (draft: Draft, op: T) => unknown,
    refusals: Map<number, Problem>,
  ): Promise<void> {
    const draft = explorer.draft();
    for (const op of ops) {
      try {
        judge(draft, op);
      } catch (error) {
        // It is met again, and told, when the command is judged for good.
        if (!(error instanceof Problem)) throw error;
      }
    }
    for (const [index, { collection, key }] of ops.entries()) {
      if (collection !== DICTIONARY || !draft.item({ collection, key })) continue;
      try {
        await this.#checkItems(explorer, draft, key, ops);
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        refusals.set(index, error);
      }
    }
  }

  async #checkItems(explorer: Explorer, draft: Draft, collection: string, ops: readonly ItemRef[]): Promise<void> {
    const definition = draft.definition(collection);
    const former = draft.formerDefinition(collection);
    const checksMore = definition.mode === 'strict' && definition.checks && definition.checkId !== former.checkId;
    const unique = uniqueOf(definition, former).map(({ name, parts }) => duplicateJudge(name, parts));
    const offenders = new Offenders(collection);
    let isFound = false;
    const stored = draft.group.get(collection);
    if (checksMore && stored && stored.items > limits.checkInCommitItemsMax) {
      const own = new Set(ops.flatMap((op) => (op.collection === collection ? [op.key] : [])));
      const changed = await this.#changedSinceFinding(explorer, collection, definition);
      if (!changed && this.#preparations < PREPARATIONS_MAX)
        throw this.#unprepared(explorer.poolId, stored.id, collection, definition, own);
      const look = lookOf([judgeOf(definition)], offenders);
      for (const keys of chunks([...new Set([...(changed ?? []), ...own])], READ_ITEMS))
        lookAt(await explorer.items(collection, keys), draft, collection, look);
      offenders.raise();
      isFound = changed !== undefined;
    }
    const judges = [...(checksMore && !isFound ? [judgeOf(definition)] : []), ...unique];
    if (judges.length === 0) return;
    const look = lookOf(judges, offenders);
    for await (const page of explorer.pages(collection)) lookAt(page, draft, collection, look);
    for (const change of draft.changes())
      if (change.collection === collection && change.op === 'add' && change.after)
        look(change.key, change.after.attributes);
    offenders.raise();
  }

  async #changedSinceFinding(
    explorer: Explorer,
    collection: string,
    { checkId }: Definition,
  ): Promise<Set<string> | undefined> {
    const finding = this.#findings.get(collection);
    if (finding?.checkId !== checkId || finding.poolId !== explorer.poolId) return undefined;
    return explorer.changedSince(collection, finding.revision);
  }

  /** `own` are the items that the command changes itself: they are looked at as it leaves them. */
  #unprepared(
    poolId: number,
    collectionId: number,
    collection: string,
    definition: Definition,
    own: ReadonlySet<string>,
  ): Unprepared {
    this.#preparations++;
    this.#findings.delete(collection);
    return new Unprepared(async (store) => {
      const revision = await lookBeforehand(store, poolId, collectionId, collection, definition, own);
      if (revision === undefined) return;
      this.#findings.set(collection, { poolId, checkId: definition.checkId, revision });
    });
  }
}

/** Keys that are read at once. */
const READ_ITEMS = 500;

function* chunks(keys: readonly string[], size: number): Generator<readonly string[]> {
  for (let i = 0; i < keys.length; i += size) yield keys.slice(i, i + size);
}

type Look = (key: string, attributes: Attributes) => void;

function lookOf(judges: readonly Judge[], offenders: Offenders): Look {
  return (key, attributes) => {
    for (const judge of judges) offenders.add(key, judge(key, attributes));
  };
}

/** Looks at items as the draft leaves them. */
function lookAt(items: readonly StoredItem[], draft: Draft, collection: string, look: Look): void {
  for (const item of items) {
    const known = draft.known({ collection, key: item.key });
    const state = known ? known.state : stateOf(item);
    if (state) look(item.key, state.attributes);
  }
}

/** Looks at all items of one state of the pool; answers its revision, undefined where the pool is gone. Throws what is found. */
function lookBeforehand(
  store: Store,
  poolId: number,
  collectionId: number,
  collection: string,
  definition: Definition,
  own: ReadonlySet<string>,
): Promise<number | undefined> {
  return store.snapshot(poolId, async (source, head) => {
    if (!head) return undefined;
    const offenders = new Offenders(collection);
    const look = lookOf([judgeOf(definition)], offenders);
    let after: string | undefined;
    for (let more = true; more; ) {
      const bounds = { limit: limits.pageItemsMax, bytesMax: limits.pageBytesMax };
      const page = await source.range(poolId, { collectionId, after, ...bounds });
      for (const item of page.items) if (!own.has(item.key)) look(item.key, stateOf(item).attributes);
      ({ more } = page);
      after = page.items.at(-1)?.key;
      await new Promise((resolve) => setImmediate(resolve));
    }
    offenders.raise();
    return head.revision;
  });
}

type Judge = (key: string, attributes: Attributes) => readonly { pointer: string; detail: string }[];

function judgeOf(definition: Definition): Judge {
  return (_key, attributes) => definition.violations(attributes, undefined);
}

function uniqueOf(definition: Definition, former: Definition) {
  const idOf = ({ parts }: Definition['indexes'][number]) => JSON.stringify(parts);
  const known = new Set(former.indexes.filter(({ unique }) => unique).map(idOf));
  return definition.indexes
    .filter((index) => index.unique && !known.has(idOf(index)))
    .map(({ name, parts }) => ({ name, parts: partsOf(parts) }));
}

/** Tells of every item whose values an item before it has. */
function duplicateJudge(name: string, parts: ReturnType<typeof partsOf>): Judge {
  const holders = new Map<string, string>();
  return (key, attributes) => {
    const id = valuesId(parts, attributes);
    if (id === undefined) return [];
    const holder = holders.get(id);
    if (holder !== undefined)
      return [{ pointer: '/attributes', detail: `has the values of ${holder} in the unique index ${name}` }];
    if (holders.size >= limits.uniqueCheckItemsMax) {
      throw new Problem(
        'invalid',
        `A unique index can be declared while the collection holds at most ${limits.uniqueCheckItemsMax} items.`,
      );
    }
    holders.set(id, key);
    return [];
  };
}

/** Equal for equal values in all parts; undefined where one is absent. Sort keys are short, but are cut where values are long. */
function valuesId(parts: ReturnType<typeof partsOf>, attributes: Attributes): string | undefined {
  const values = parts.map(({ tokens }) => readTokens(tokens, attributes));
  if (values.includes(undefined)) return undefined;
  const { bytes, exact } = sortKeyOf(parts, attributes);
  if (exact) return bytes.toString('latin1');
  return createHash('sha256')
    .update(canonical(values as Json[]))
    .digest('base64url');
}

class Offenders {
  #count = 0;
  readonly #first: { collection: string; key: string; errors: readonly { pointer: string; detail: string }[] }[] = [];

  constructor(private readonly collection: string) {}

  add(key: string, errors: readonly { pointer: string; detail: string }[]): void {
    if (errors.length === 0) return;
    this.#count++;
    if (this.#first.length < limits.offendersTold) this.#first.push({ collection: this.collection, key, errors });
  }

  raise(): void {
    const [first] = this.#first;
    if (!first) return;
    const [error] = first.errors;
    throw new Problem(
      'dataViolatesSchema',
      `${this.#count} ${this.#count === 1 ? 'item' : 'items'} of ${this.collection} would break the definition, first ${JSON.stringify(first.key)}: ${error?.pointer} ${error?.detail}. Mend them first, or use the mode \`warn\`.`,
      {
        errors: this.#first.flatMap(({ key, errors }) =>
          errors.map(({ pointer, detail }) => ({
            pointer: '/attributes',
            code: 'dataViolatesSchema',
            detail: `The item ${JSON.stringify(key)}: ${pointer} ${detail}`,
          })),
        ),
        members: { count: this.#count, offenders: this.#first },
      },
    );
  }
}
