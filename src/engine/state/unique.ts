/**
 * Unique indexes: no two items have the same values in all parts, where all parts are present. Judged inside the commit, after
 * a command and before it is accepted: who holds a value is known from the index as it was before the group, corrected by
 * what the group has done since.
 */
import { createHash } from 'node:crypto';
import { canonical } from '../dictionary/schema-keywords.js';
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { ItemPlace, StoredItem, StoreTransaction } from '../ports.js';
import { readTokens } from '../query/path.js';
import { type IndexPart, type SortKey, sortKeyOf, sortKeyOfValues } from '../query/sort-key.js';
import { type Draft, refId } from './draft.js';
import type { CollectionIndex } from './indexes.js';
import { type Json, pointerToken } from './json.js';
import { stateOf } from './loading.js';
import type { Attributes, Change, ItemRef } from './model.js';
import type { Replica } from './replica.js';

/** An item would take what another one has. */
export interface Clash {
  readonly ref: ItemRef;
  readonly problem: Problem;
}

interface Wish {
  readonly index: CollectionIndex;
  readonly ref: ItemRef;
  readonly sortKey: SortKey;
  /** Equal for equal values in one index. */
  readonly id: string;
}

const PAGE = 50;
const NO_WISHES: readonly Wish[] = [];

/** Watches over the unique indexes during one group. */
export class UniqueValues {
  /** Who took a value during the group, by what was wished for: the index itself is written at the group's end. */
  readonly #taken = new Map<string, Holder[]>();

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
    return (this.replica?.indexes.of(stored.id) ?? []).flatMap((index) => {
      if (!index.unique || index.stored.state !== 'ready') return [];
      if (!index.parts.some(({ tokens }) => changed.includes(tokens[0] as string))) return [];
      const id = valuesId(index.parts, after.attributes);
      if (id === undefined) return [];
      const sortKey = sortKeyOf(index.parts, after.attributes);
      return [{ index, ref: { collection, key }, sortKey, id: `${index.id}/${id}` }];
    });
  }

  /**
   * The wishes for what another item has, as the draft leaves it, in the order of the changes. Who clashes only with an item
   * that clashes itself isn't among them: that may not stay as it is. `strictly` counts also who would give the value up.
   */
  async clashes(wishes: readonly Wish[], draft: Draft, strictly: boolean): Promise<Clash[]> {
    const holders = await this.#holders(wishes, draft);
    const inCommand = new Map<string, Wish>();
    const clashing = new Map<Wish, string>();
    const refused = new Set<string>();
    for (const wish of wishes) {
      const held = [...(holders.get(wish.id) ?? []), ...(this.#taken.get(wish.id) ?? [])];
      let holder = held.find((each) => each.ref.key !== wish.ref.key && (strictly || hasStill(each, wish, draft)))?.ref;
      const earlier = inCommand.get(wish.id)?.ref;
      if (earlier) holder ??= earlier;
      else inCommand.set(wish.id, wish);
      if (!holder) continue;
      if (strictly || holder !== earlier || !refused.has(refId(earlier))) clashing.set(wish, holder.key);
      refused.add(refId(wish.ref));
    }
    return [...clashing].map(([wish, key]) => ({
      ref: wish.ref,
      problem: clashProblem(wish, draft.access.seesAll(wish.ref.collection) ? key : undefined),
    }));
  }

  /** The command is accepted: its wishes are granted. */
  grant(wishes: readonly Wish[]): void {
    for (const { id, ref } of wishes) {
      const taken = this.#taken.get(id);
      if (taken) taken.push({ ref });
      else this.#taken.set(id, [{ ref }]);
    }
  }

  get #poolId(): number {
    return this.replica?.id as number;
  }

  /** Who had the values before the group, by what is wished for. */
  async #holders(wishes: readonly Wish[], draft: Draft): Promise<Map<string, Holder[]>> {
    const holders = new Map<string, Holder[]>();
    const add = (id: string, holder: Holder) => {
      const held = holders.get(id);
      if (held) held.push(holder);
      else holders.set(id, [holder]);
    };
    const addItems = ({ id, parts }: CollectionIndex, collection: string, items: readonly StoredItem[]) => {
      for (const item of items) {
        const { attributes } = stateOf(item);
        add(`${id}/${valuesId(parts, attributes)}`, { ref: { collection, key: item.key }, attributes });
      }
    };
    for (const index of new Set(wishes.map((wish) => wish.index))) {
      const own = wishes.filter((wish) => wish.index === index);
      const { collection } = (own[0] as Wish).ref;
      const { collectionId } = index.stored;
      const exact = own.filter(({ sortKey }) => sortKey.exact).map(({ sortKey }) => sortKey.bytes);
      const entries = exact.length > 0 ? await this.tx.entries(this.#poolId, index.id, exact) : [];
      const places: ItemPlace[] = [];
      for (const { sortKey, key } of entries) {
        const ref = { collection, key };
        if (draft.known(ref)) add(`${index.id}/${sortKey.toString('latin1')}`, { ref });
        else places.push({ collectionId, key });
      }
      if (places.length > 0) addItems(index, collection, await this.tx.items(this.#poolId, places));
      const cut = own.filter(({ sortKey }) => !sortKey.exact).map(({ sortKey }) => sortKey.bytes.toString('latin1'));
      for (const sortKey of new Set(cut)) {
        const alike = await itemsAlike(index, this.#poolId, Buffer.from(sortKey, 'latin1'), undefined, this.tx);
        if (alike.more) throw tooManyAlike(index);
        addItems(index, collection, alike.items);
      }
    }
    return holders;
  }
}

interface Holder {
  readonly ref: ItemRef;
  /** As the database has them; absent for one that the group has to do with. */
  readonly attributes?: Attributes;
}

/** Whether who had the values has them still, as the draft leaves it. */
function hasStill({ ref, attributes }: Holder, { id, index }: Wish, draft: Draft): boolean {
  const known = draft.known(ref);
  const now = known ? known.state?.attributes : attributes;
  return now !== undefined && `${index.id}/${valuesId(index.parts, now)}` === id;
}

/** Equal for equal values in all parts; undefined where one is absent. A sort key says it, but for long values it is cut. */
export function valuesId(parts: readonly IndexPart[], attributes: Attributes): string | undefined {
  const values = parts.map(({ tokens }) => readTokens(tokens, attributes));
  if (values.includes(undefined)) return undefined;
  const { bytes, exact } = sortKeyOfValues(parts, values);
  if (exact) return bytes.toString('latin1');
  return createHash('sha256')
    .update(canonical(values as Json[]))
    .digest('base64url');
}

/** Items whose sort key is this one, some at a time. */
async function itemsAlike(
  { id, stored }: CollectionIndex,
  poolId: number,
  sortKey: Buffer,
  after: string | undefined,
  tx: StoreTransaction,
) {
  return tx.indexRange(poolId, {
    indexId: id,
    collectionId: stored.collectionId,
    start: sortKey,
    end: Buffer.concat([sortKey, Buffer.of(0)]),
    ...(after !== undefined && { after: { sortKey, key: after } }),
    backward: false,
    limit: limits.uniqueAlikeMax,
    bytesMax: limits.uniqueAlikeBytesMax,
  });
}

function tooManyAlike({ name }: CollectionIndex): Problem {
  return new Problem(
    'invalid',
    `The unique index ${JSON.stringify(name)} can't tell so many long values apart: at most ${limits.uniqueAlikeMax} items, of ${limits.uniqueAlikeBytesMax} bytes together, may have values with the same first 256 bytes. Index a digest of the value instead.`,
  );
}

/** `holder` is the key of the item that has the values, where it may be told. */
function clashProblem({ index, ref }: Wish, holder: string | undefined): Problem {
  const pointer = `/attributes/${index.parts[0]?.tokens.map(pointerToken).join('/')}`;
  const detail = `The unique index ${JSON.stringify(index.name)} of ${ref.collection} has the same values for ${holder === undefined ? 'another item' : `the item ${JSON.stringify(holder)}`}.`;
  return new Problem('conflict', detail, {
    errors: [{ pointer, code: 'conflict', detail }],
    members: { index: index.name, collection: ref.collection, ...(holder !== undefined && { key: holder }) },
  });
}

/** Whether two items of a complete index have the same values. */
export async function hasDuplicates(index: CollectionIndex, poolId: number, tx: StoreTransaction): Promise<boolean> {
  const { collectionId } = index.stored;
  let after = Buffer.alloc(0);
  for (;;) {
    const page = await tx.duplicates(poolId, index.id, after, PAGE);
    for (const { sortKey, keys } of page) {
      const [first] = await tx.items(poolId, [{ collectionId, key: keys[0] }]);
      if (!first) continue;
      const { complete, exact } = sortKeyOf(index.parts, stateOf(first).attributes);
      if (complete && exact) return true;
      // What was cut from a sort key makes equal what isn't: then all that share it are compared.
      if (!exact && (await hasEqualValues(index, poolId, sortKey, tx))) return true;
    }
    if (page.length < PAGE) return false;
    after = page.at(-1)?.sortKey as Buffer<ArrayBuffer>;
  }
}

async function hasEqualValues(index: CollectionIndex, poolId: number, sortKey: Buffer, tx: StoreTransaction) {
  const seen = new Set<string>();
  let after: string | undefined;
  for (;;) {
    const { items, more } = await itemsAlike(index, poolId, sortKey, after, tx);
    for (const item of items) {
      const id = valuesId(index.parts, stateOf(item).attributes);
      if (id === undefined) continue;
      if (seen.has(id)) return true;
      seen.add(id);
    }
    if (!more) return false;
    after = items.at(-1)?.key;
  }
}
