/**
 * What a write to `_dictionary` must not break: the items that are there. Where a definition checks otherwise than before, or
 * wants values to be unique that weren't, each item of its collection is looked at inside the commit: as the whole command
 * would leave it, or, where each op stands for itself, as the ops before have left it. The first offenders are told, and how
 * many there are.
 *
 * A large collection is looked at beforehand, in a snapshot and without the pool's lock, while writers go on; inside the commit
 * only what changed since is. Unique values are always looked at inside: they are a matter between items.
 */
import type { Definition } from '../dictionary/definition.js';
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { Store, StoredItem } from '../ports.js';
import { DICTIONARY } from './collections.js';
import { type Explorer, Unprepared } from './commands.js';
import type { Draft } from './draft.js';
import { Inspection, type Judge, judgeOf, uniqueJudges } from './inspection.js';
import { itemPages } from './item-pages.js';
import { stateOf } from './loading.js';
import type { ItemRef } from './model.js';

/** What was found of a collection's items beforehand: as of the revision, all of them are as the definition says. */
interface Finding {
  readonly poolId: number;
  readonly checkId: string;
  readonly revision: number;
}

/** An op of the command that says something of a collection. */
interface Declared {
  readonly index: number;
  readonly collection: string;
  /** What held before the op. */
  readonly former: Definition;
  readonly undo: () => void;
}

/** How often a command is prepared anew, because too much changed meanwhile, before it is judged at all cost. */
const PREPARATIONS_MAX = 3;

/** Judges the definitions that the ops of one command leave; one object serves all attempts to judge the command. */
export class DefinitionChecks {
  readonly #findings = new Map<string, Finding>();
  #preparations = 0;

  /**
   * Notes what is refused by the op, beside what is refused already. `apply` does an op on a draft, or throws a Problem. Throws
   * Unprepared where much is to be looked at.
   */
  async check<T extends ItemRef>(
    explorer: Explorer,
    ops: readonly T[],
    apply: (draft: Draft, op: T) => unknown,
    refusals: Map<number, Problem>,
    atomic: boolean,
  ): Promise<void> {
    const draft = explorer.draft();
    const declared: Declared[] = [];
    const look = async (each: Declared, what: 'all' | 'unique') => {
      try {
        await this.#checkItems(explorer, draft, each, ops, what);
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        refusals.set(each.index, error);
        if (!atomic) each.undo();
      }
    };
    for (const [index, op] of ops.entries()) {
      if (refusals.has(index)) continue;
      const { collection, key } = op;
      const former = collection === DICTIONARY ? draft.lenientDefinition(key) : undefined;
      const undo = draft.savepoint(op);
      if (!isApplied(() => apply(draft, op)) || !former || !draft.item(op)) continue;
      const each = { index, collection: key, former, undo };
      declared.push(each);
      if (!atomic) await look(each, 'all');
    }
    // Ops that stand for themselves are judged by a definition before them one by one; by its new unique indexes only here.
    for (const each of declared) if (!refusals.has(each.index)) await look(each, atomic ? 'all' : 'unique');
  }

  async #checkItems(
    explorer: Explorer,
    draft: Draft,
    { collection, former }: Declared,
    ops: readonly ItemRef[],
    what: 'all' | 'unique',
  ): Promise<void> {
    const definition = draft.lenientDefinition(collection);
    const checksMore =
      what === 'all' && definition.mode === 'strict' && definition.checks && definition.checkId !== former.checkId;
    const unique = uniqueJudges(definition, former);
    const states = (items: readonly StoredItem[]) => statesIn(draft, collection, items);
    const added = () =>
      draft.changes().flatMap(({ op, collection: place, key, after }) => {
        return op === 'add' && place === collection && after ? [{ key, attributes: after.attributes }] : [];
      });
    const inspect = (judges: readonly Judge[]) =>
      new Inspection(collection, definition, judges, limits.checkInCommitCostMax, checksMore, tells);
    const tells = draft.access.seesAll(collection);
    let isFound = false;
    const stored = draft.group.get(collection);
    if (checksMore && stored && stored.items > limits.checkInCommitItemsMax) {
      const own = new Set(ops.flatMap((op) => (op.collection === collection ? [op.key] : [])));
      const changed = await this.#changedSinceFinding(explorer, collection, definition);
      if (!changed && this.#preparations < PREPARATIONS_MAX)
        throw this.#unprepared(explorer.poolId, stored.id, collection, definition, own, tells);
      const inspection = inspect([judgeOf(definition)]);
      for (const keys of chunks([...new Set([...(changed ?? []), ...own])], READ_ITEMS))
        await inspection.look(states(await explorer.items(collection, keys)));
      await inspection.look(added());
      inspection.raise();
      isFound = changed !== undefined;
    }
    const judges = [...(checksMore && !isFound ? [judgeOf(definition)] : []), ...unique];
    if (judges.length === 0) return;
    const inspection = inspect(judges);
    for await (const page of explorer.pages(collection)) await inspection.look(states(page));
    await inspection.look(added());
    inspection.raise();
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
    tells: boolean,
  ): Unprepared {
    this.#preparations++;
    this.#findings.delete(collection);
    return new Unprepared(async (store) => {
      const revision = await lookBeforehand(store, poolId, collectionId, collection, definition, own, tells);
      if (revision === undefined) return;
      this.#findings.set(collection, { poolId, checkId: definition.checkId, revision });
    });
  }
}

/** What is refused is met again, and told, when the command is judged for good. */
function isApplied(apply: () => unknown): boolean {
  try {
    apply();
    return true;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    return false;
  }
}

/** Keys that are read at once. */
const READ_ITEMS = 500;

function* chunks(keys: readonly string[], size: number): Generator<readonly string[]> {
  for (let i = 0; i < keys.length; i += size) yield keys.slice(i, i + size);
}

/** Items as the draft leaves them. */
function* statesIn(draft: Draft, collection: string, items: readonly StoredItem[]) {
  for (const item of items) {
    const known = draft.known({ collection, key: item.key });
    const state = known ? known.state : stateOf(item);
    if (state) yield { key: item.key, attributes: state.attributes };
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
  tells: boolean,
): Promise<number | undefined> {
  return store.snapshot(poolId, async (source, head) => {
    if (!head) return undefined;
    const inspection = new Inspection(
      collection,
      definition,
      [judgeOf(definition)],
      limits.checkBeforehandCostMax,
      true,
      tells,
    );
    for await (const page of itemPages(source, poolId, { collectionId, limit: limits.pageItemsMax })) {
      const others = page.filter(({ key }) => !own.has(key));
      await inspection.look(others.map((item) => ({ key: item.key, attributes: stateOf(item).attributes })));
    }
    inspection.raise();
    return head.revision;
  });
}
