/**
 * Unique indexes: no two items have the same values in all parts, where all parts are present. Judged inside the commit, after
 * a command and before it is accepted: who holds a value is known from the index as it was before the group, corrected by
 * what the group has done since.
 */
import { Problem } from '../errors.js';
import type { StoreTransaction } from '../ports.js';
import { readTokens } from '../query/path.js';
import { type SortKey, sortKeyOf } from '../query/sort-key.js';
import type { Draft } from './draft.js';
import type { CollectionIndex } from './indexes.js';
import { jsonEqual, pointerToken } from './json.js';
import { stateOf } from './loading.js';
import type { Attributes, Change, ItemRef, ItemState } from './model.js';
import type { Replica } from './replica.js';

/** An item would take what another one has. */
export interface Clash {
  readonly ref: ItemRef;
  readonly problem: Problem;
}

interface Wish {
  readonly index: CollectionIndex;
  readonly ref: ItemRef;
  readonly attributes: Attributes;
  readonly sortKey: SortKey;
}

const PAGE = 50;
const NO_WISHES: readonly Wish[] = [];

/** Watches over the unique indexes during one group. */
export class UniqueValues {
  /** Who took a value during the group, by index and sort key: the index itself is written at the group's end. */
  readonly #taken = new Map<string, ItemRef[]>();

  constructor(
    /** As the locked pool is; undefined while there is none. */
    private readonly replica: Replica | undefined,
    private readonly tx: StoreTransaction,
  ) {}

  /** What a command wishes for in unique indexes; nothing in most cases, and then there is nothing to wait for. */
  wishes(draft: Draft): readonly Wish[] {
    if (!this.replica?.indexes.hasUnique) return NO_WISHES;
    return draft.changes().flatMap((change) => this.#wishesOf(change));
  }

  #wishesOf({ collection, key, after, changed }: Change): Wish[] {
    const stored = this.replica?.collections.get(collection);
    if (!after || !stored) return [];
    const { attributes } = after;
    return (this.replica?.indexes.of(stored.id) ?? []).flatMap((index) => {
      if (!index.unique || index.stored.state !== 'ready') return [];
      if (!index.parts.some(({ tokens }) => changed.includes(tokens[0] as string))) return [];
      const sortKey = sortKeyOf(index.parts, attributes);
      return sortKey.complete ? [{ index, ref: { collection, key }, attributes, sortKey }] : [];
    });
  }

  /** The first wish for what another item has, as the draft leaves it. */
  async clash(wishes: readonly Wish[], draft: Draft): Promise<Clash | undefined> {
    const holders = await this.#holders(wishes);
    const inCommand = new Map<string, Wish[]>();
    for (const wish of wishes) {
      const id = idOf(wish);
      const others = inCommand.get(id) ?? [];
      inCommand.set(id, [...others, wish]);
      const held = [...(holders.get(id) ?? []), ...(this.#taken.get(id) ?? []), ...others.map(({ ref }) => ref)];
      for (const ref of held) {
        if (ref.key === wish.ref.key) continue;
        const state = await this.#stateOf(ref, draft);
        if (state && hasValuesOf(wish, state.attributes))
          return { ref: wish.ref, problem: clashProblem(wish, ref.key) };
      }
    }
    return undefined;
  }

  /** The command is accepted: its wishes are granted. */
  grant(wishes: readonly Wish[]): void {
    for (const wish of wishes) {
      const id = idOf(wish);
      this.#taken.set(id, [...(this.#taken.get(id) ?? []), wish.ref]);
    }
  }

  get #poolId(): number {
    return this.replica?.id as number;
  }

  async #holders(wishes: readonly Wish[]): Promise<Map<string, ItemRef[]>> {
    const holders = new Map<string, ItemRef[]>();
    const indexes = new Set(wishes.map(({ index }) => index));
    for (const index of indexes) {
      const own = wishes.filter((wish) => wish.index === index);
      const sortKeys = own.map(({ sortKey }) => sortKey.bytes);
      const collection = (own[0] as Wish).ref.collection;
      for (const { sortKey, key } of await this.tx.entries(this.#poolId, index.id, sortKeys)) {
        const id = `${index.id}/${sortKey.toString('latin1')}`;
        holders.set(id, [...(holders.get(id) ?? []), { collection, key }]);
      }
    }
    return holders;
  }

  async #stateOf(ref: ItemRef, draft: Draft): Promise<ItemState | undefined> {
    const known = draft.known(ref);
    if (known) return known.state;
    const collectionId = this.replica?.collections.get(ref.collection)?.id as number;
    const [item] = await this.tx.items(this.#poolId, [{ collectionId, key: ref.key }]);
    return item && stateOf(item);
  }
}

function idOf({ index, sortKey }: Wish): string {
  return `${index.id}/${sortKey.bytes.toString('latin1')}`;
}

function hasValuesOf({ index, attributes }: Pick<Wish, 'index' | 'attributes'>, other: Attributes): boolean {
  return index.parts.every(({ tokens }) => {
    const value = readTokens(tokens, attributes);
    return value !== undefined && jsonEqual(value, readTokens(tokens, other));
  });
}

function clashProblem({ index, ref }: Wish, holder: string): Problem {
  const pointer = `/attributes/${index.parts[0]?.tokens.map(pointerToken).join('/')}`;
  const detail = `The unique index ${JSON.stringify(index.name)} of ${ref.collection} has the same values for the item ${JSON.stringify(holder)}.`;
  return new Problem('conflict', detail, {
    errors: [{ pointer, code: 'conflict', detail }],
    members: { index: index.name, collection: ref.collection, key: holder },
  });
}

/** Whether two items of a complete index have the same values. */
export async function hasDuplicates(index: CollectionIndex, poolId: number, tx: StoreTransaction): Promise<boolean> {
  const { collectionId } = index.stored;
  let after = Buffer.alloc(0);
  for (;;) {
    const page = await tx.duplicates(poolId, index.id, after, PAGE);
    for (const { sortKey, keys } of page) {
      // What was cut from a sort key makes equal what isn't: then all that share it are compared.
      const [first, second] = await attributesOf(keys, collectionId, poolId, tx);
      if (!first || !second) continue;
      const { complete, exact } = sortKeyOf(index.parts, first);
      if (complete && exact) return true;
      if (exact) continue;
      const all = (await tx.entries(poolId, index.id, [sortKey])).map(({ key }) => key);
      const states = await attributesOf(all, collectionId, poolId, tx);
      if (
        states.some((state, i) => states.slice(0, i).some((other) => hasValuesOf({ index, attributes: state }, other)))
      )
        return true;
    }
    if (page.length < PAGE) return false;
    after = page.at(-1)?.sortKey as Buffer<ArrayBuffer>;
  }
}

async function attributesOf(
  keys: readonly string[],
  collectionId: number,
  poolId: number,
  tx: StoreTransaction,
): Promise<Attributes[]> {
  const items = await tx.items(
    poolId,
    keys.map((key) => ({ collectionId, key })),
  );
  return items.map((item) => stateOf(item).attributes);
}
