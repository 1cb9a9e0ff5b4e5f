/** What is queried: a collection, in one state of its pool, with the indexes that are complete in it; and what that may cost. */
import { clear, type Lens } from '../access/lens.js';
import type { ItemSource, PoolHead, StoredIndex } from '../ports.js';
import { CHANGES_ID } from '../state/log-items.js';
import type { Replica } from '../state/replica.js';
import type { Bounds } from './budget.js';
import type { UsableIndex } from './index-access.js';
import type { Sight } from './ordering.js';

export interface Scope extends Bounds {
  readonly source: ItemSource;
  readonly poolId: number;
  readonly collectionId: number;
  readonly indexes: readonly UsableIndex[];
  /** How many items the collection has, where that is known of this state. */
  readonly items: number | undefined;
  /** What who asks sees of the items. */
  readonly lens: Lens;
  /** Of what the lens shows, what is looked for. */
  readonly sight: Sight;
}

export interface ScopeOptions extends Bounds {
  readonly lens?: Lens;
  readonly sight?: Sight;
}

/** The state that a source reads. */
type Moment = Pick<PoolHead, 'revision' | 'indexVersion'>;

/** The scope in a snapshot; indexes that this node doesn't know yet are read with it. */
export async function openScope(
  source: ItemSource,
  replica: Replica,
  moment: Moment,
  indexes: () => Promise<StoredIndex[]>,
  collection: string,
  options: ScopeOptions,
): Promise<Scope | undefined> {
  if (replica.indexes.version < moment.indexVersion) replica.learnIndexes(await indexes(), moment.indexVersion);
  return scopeOf(source, replica, moment, collection, options);
}

/** Undefined where this node knows of no such collection: one that is newer wasn't there when the query began. */
export function scopeOf(
  source: ItemSource,
  replica: Replica,
  { revision, indexVersion }: Moment,
  collection: string,
  { lens = clear, sight = lens, ...bounds }: ScopeOptions,
): Scope | undefined {
  const stored = replica.readable(collection);
  if (!stored) return undefined;
  const isClear = lens.kind === 'everything' && sight === lens;
  return {
    source,
    poolId: replica.id,
    collectionId: stored.id,
    // Of another state one can't know which were complete; without one the answer is the same.
    indexes: replica.indexes.version === indexVersion ? replica.indexes.usable(stored.id) : [],
    // The log loses commits without a revision that would tell.
    items: isClear && revision === replica.revision && stored.id !== CHANGES_ID ? stored.items : undefined,
    lens,
    sight,
    ...bounds,
  };
}
