/** Queries of a pool's collections: each answered from one state of the pool, with the indexes that are complete in it. */
import { limits } from '../limits.js';
import type { ItemSource, PoolHead, Store } from '../ports.js';
import type { JsonObject } from '../state/json.js';
import type { Reader, Reading } from '../state/reader.js';
import type { Replica } from '../state/replica.js';
import type { Replicas } from '../state/replicas.js';
import { type Aggregate, Aggregation } from './aggregate.js';
import type { Scope } from './candidates.js';
import type { OrderTerm } from './index-access.js';
import type { Found, Position } from './ordering.js';
import { Ordering } from './ordering.js';
import type { Path } from './path.js';
import type { Plan } from './plan.js';
import { countMatches, eachMatch, findPage, type Selection } from './run.js';

export interface QueryOptions {
  /** How many items one query may examine. */
  readonly scanItemsMax: number;
}

export interface Query extends Selection {
  readonly order: readonly OrderTerm[];
  readonly limit: number;
  readonly after?: Position | undefined;
  /** Also how many items match in all. */
  readonly count: boolean;
}

export interface QueryAnswer extends Reading {
  readonly items: readonly Found[];
  /** Where the next page begins; undefined on the last. */
  readonly next: Position | undefined;
  readonly count: number | undefined;
  readonly plan: Plan;
}

export interface AggregateQuery extends Selection {
  readonly aggregates: readonly Aggregate[];
  readonly groupBy: readonly Path[];
}

export interface AggregateAnswer extends Reading {
  readonly total: JsonObject | undefined;
  readonly groups: readonly { readonly group: JsonObject; readonly aggregates: JsonObject }[] | undefined;
  readonly plan: Plan;
}

const NOTHING_EXAMINED: Plan = { access: 'keys', indexes: [], sorted: false, examined: 0 };

export class Querying {
  constructor(
    private readonly store: Store,
    private readonly replicas: Replicas,
    private readonly reader: Reader,
    private readonly options: QueryOptions,
  ) {}

  /** A page of a collection's items. A collection that isn't there has none. */
  async query(pool: string, collection: string, query: Query): Promise<QueryAnswer> {
    return this.#inScope(pool, collection, async (scope, reading) => {
      if (!scope)
        return { ...reading, items: [], next: undefined, count: query.count ? 0 : undefined, plan: NOTHING_EXAMINED };
      const { items, more, plan } = await findPage(scope, { ...query, bytesMax: limits.pageBytesMax });
      const last = items.at(-1);
      return {
        ...reading,
        items,
        next: more && last ? new Ordering(query.order).positionOf(last) : undefined,
        count: query.count ? await countMatches(scope, query) : undefined,
        plan,
      };
    });
  }

  /** Aggregates over all items that match. */
  async aggregate(pool: string, collection: string, query: AggregateQuery): Promise<AggregateAnswer> {
    return this.#inScope(pool, collection, async (scope, reading) => {
      const aggregation = new Aggregation(query.aggregates, query.groupBy);
      const plan = scope ? await eachMatch(scope, query, (item) => aggregation.add(item)) : NOTHING_EXAMINED;
      const isGrouped = query.groupBy.length > 0;
      return {
        ...reading,
        total: isGrouped ? undefined : aggregation.total,
        groups: isGrouped ? aggregation.groups : undefined,
        plan,
      };
    });
  }

  async #inScope<T>(
    pool: string,
    collection: string,
    work: (scope: Scope | undefined, reading: Reading, source: ItemSource) => Promise<T>,
  ): Promise<T> {
    const replica = await this.reader.current(pool);
    const answer = await this.store.snapshot(replica.id, async (source, head, indexes) => {
      if (!head) return undefined;
      if (replica.indexes.version < head.indexVersion) replica.learnIndexes(await indexes(), head.indexVersion);
      const scope = scopeOf(source, replica, head, collection, this.options);
      return { head, result: await work(scope, { replica, revision: head.revision }, source) };
    });
    if (!answer) {
      this.replicas.drop(replica);
      // There may be a new pool of the same name.
      return this.#inScope(pool, collection, work);
    }
    return answer.result;
  }
}

/** The collection in this state; undefined where this node knows of none: one that is newer wasn't there when the query began. */
export function scopeOf(
  source: ItemSource,
  replica: Replica,
  head: PoolHead,
  collection: string,
  { scanItemsMax }: QueryOptions,
): Scope | undefined {
  const stored = replica.collections.get(collection);
  if (!stored) return undefined;
  return {
    source,
    poolId: replica.id,
    collectionId: stored.id,
    // Of another state one can't know which were complete; without one the answer is the same.
    indexes: replica.indexes.version === head.indexVersion ? replica.indexes.usable(stored.id) : [],
    items: head.revision === replica.revision ? stored.items : undefined,
    scanItemsMax,
  };
}
