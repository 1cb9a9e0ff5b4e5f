/** Queries of a pool's collections: each answered from one state of the pool, with the indexes that are complete in it. */

import { readableThrough } from '../access/entitled-reader.js';
import { Entitlement, unboundEntitlement } from '../access/entitlement.js';
import type { Entitlements } from '../access/entitlements.js';
import type { Lens } from '../access/lens.js';
import type { Definition } from '../dictionary/definition.js';
import type { Definitions } from '../dictionary/definitions.js';
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { ItemSource, Store } from '../ports.js';
import { DICTIONARY, entryRef, isSystemName } from '../state/collections.js';
import { PoolIndexes } from '../state/indexes.js';
import type { JsonObject } from '../state/json.js';
import { stateOf } from '../state/loading.js';
import { CHANGES } from '../state/log-items.js';
import type { Reader, Reading } from '../state/reader.js';
import type { Replica } from '../state/replica.js';
import type { Replicas } from '../state/replicas.js';
import { isFree, type Subject } from '../subject.js';
import { LogExpired } from '../watch/log-reader.js';
import { seenCommit, sightOf } from '../watch/sight.js';
import { type Aggregate, Aggregation } from './aggregate.js';
import { type Bounds, Budget } from './budget.js';
import { checkRelations, type Expanded, expand } from './expand.js';
import type { OrderTerm } from './index-access.js';
import { LogSource } from './log-source.js';
import { digestOfValues, Found, type ItemPosition, Ordering, type Position } from './ordering.js';
import { type Path, pathText } from './path.js';
import type { Plan } from './plan.js';
import { countMatches, eachMatch, findPage, type Selection } from './run.js';
import { openScope, type Scope } from './scope.js';

export interface QueryOptions {
  /** How many items one query may examine. */
  readonly scanItemsMax: number;
}

/** Who waits for an answer. */
interface Asking {
  readonly subject: Subject;
  /** Whether they have left: what nobody waits for ends soon. */
  readonly isLeft?: (() => boolean) | undefined;
}

export interface Query extends Selection, Asking {
  readonly order: readonly OrderTerm[];
  readonly limit: number;
  readonly after?: Position | ItemPosition | undefined;
  /** Also how many items match in all. */
  readonly count: boolean;
  /** Relations whose items are answered too; the pointer leads to them in the request. */
  readonly expand?: { readonly names: readonly string[]; readonly pointer: string } | undefined;
}

export interface QueryAnswer extends Reading {
  readonly items: readonly Found[];
  /** Where the next page begins; undefined on the last. */
  readonly next: Position | undefined;
  readonly count: number | undefined;
  readonly expanded: Expanded | undefined;
  /** What the dictionary says of the collection. */
  readonly definition: Definition;
  /** What who asks sees of it. */
  readonly lens: Lens;
  /** What was looked at; undefined for who doesn't see all of the collection, since it tells of what they don't see. */
  readonly plan: Plan | undefined;
}

export interface AggregateQuery extends Selection, Asking {
  readonly aggregates: readonly Aggregate[];
  readonly groupBy: readonly Path[];
}

export interface AggregateAnswer extends Reading {
  readonly total: JsonObject | undefined;
  readonly groups: readonly { readonly group: JsonObject; readonly aggregates: JsonObject }[] | undefined;
  /** As for a query. */
  readonly plan: Plan | undefined;
}

export interface IndexStatus {
  readonly name: string;
  readonly attributes: readonly string[];
  readonly unique: boolean;
  readonly state: string;
  readonly itemsBuilt: number;
}

/** Who may do nothing. */
const nothing = new Entitlement([[]]);

const NOTHING_EXAMINED: Plan = { access: 'keys', indexes: [], sorted: false, examined: 0 };

export class Querying {
  readonly #bounds: Bounds;

  constructor(
    private readonly store: Store,
    private readonly replicas: Replicas,
    private readonly reader: Reader,
    private readonly definitions: Definitions,
    private readonly entitlements: Entitlements,
    { scanItemsMax }: QueryOptions,
  ) {
    this.#bounds = { scanItemsMax, comparisonStepsMax: limits.comparisonStepsMax };
  }

  /** A page of a collection's items. A collection that isn't there has none. */
  async query(pool: string, collection: string, query: Query): Promise<QueryAnswer> {
    return this.#inScope(pool, collection, query, async (scope, reading, source, entitlement) => {
      const definition = await this.#definitionOf(reading, collection, source);
      if (query.expand) checkRelations(query.expand.names, definition, query.expand.pointer);
      const after = scope && (await positionIn(scope, query));
      const page = scope && (await findPage(scope, { ...query, after, bytesMax: limits.pageBytesMax }));
      const items = page?.items ?? [];
      const last = page?.more ? items.at(-1) : undefined;
      return {
        ...reading,
        items,
        next: last && new Ordering(query.order).positionOf(last),
        count: query.count ? await (scope ? countMatches(scope, query) : 0) : undefined,
        expanded:
          query.expand && (await this.#expand(reading, items, query.expand.names, definition, source, entitlement)),
        definition,
        lens: entitlement.lens('read', collection),
        plan: planToldOf(entitlement.lens('read', collection), page?.plan),
      };
    });
  }

  /** Aggregates over all items that match. */
  async aggregate(pool: string, collection: string, query: AggregateQuery): Promise<AggregateAnswer> {
    return this.#inScope(pool, collection, query, async (scope, reading, _source, entitlement) => {
      const aggregation = new Aggregation(query.aggregates, query.groupBy);
      const budget = new Budget(scope ?? this.#bounds);
      const plan = scope ? await eachMatch(scope, query, (item) => aggregation.add(item, budget), budget) : undefined;
      const isGrouped = query.groupBy.length > 0;
      return {
        ...reading,
        total: isGrouped ? undefined : aggregation.total,
        groups: isGrouped ? await aggregation.groups(budget) : undefined,
        plan: planToldOf(entitlement.lens('read', collection), plan),
      };
    });
  }

  /** The indexes that a collection's definition declares, and how far they are. */
  async indexes(replica: Replica, collectionId: number): Promise<IndexStatus[]> {
    const stored = await this.store.snapshot(replica.id, (_source, _head, indexes) => indexes());
    return new PoolIndexes(stored, 0)
      .of(collectionId)
      .filter(({ parts }) => parts.length > 0)
      .map(({ name, parts, unique, stored: { state, builtItems } }) => {
        const attributes = parts.map(({ tokens, descending }) => `${descending ? '-' : ''}${pathText(tokens)}`);
        return { name, attributes, unique, state, itemsBuilt: builtItems };
      });
  }

  /** Some of the system's collections are brought up to date by being looked at: not for who may not look. */
  async #checkReadable(pool: string, collection: string, subject: Subject): Promise<void> {
    if (isFree(subject) || !isSystemName(collection)) return;
    const replica = await this.reader.current(pool);
    readableThrough(await this.entitlements.entitlement(replica, replica.revision, subject), collection);
  }

  /** What the subject might do at a revision, as far as the replica knows; of what it hasn't reached, nothing. */
  #knownAt(replica: Replica, revision: number, subject: Subject): Entitlement {
    if (isFree(subject)) return unboundEntitlement;
    const policy = revision <= replica.revision ? replica.policies?.at(revision) : undefined;
    return policy?.entitlementOf(subject) ?? nothing;
  }

  /** Makes the policy known for who is bound by it, so that it isn't read with each query; of the log, those of all that it retains. */
  async #learnPolicies(replica: Replica, subject: Subject, isOfLog: boolean): Promise<void> {
    try {
      if (isFree(subject)) return;
      await this.entitlements.policy(replica, isOfLog ? Math.max(0, replica.oldestRevision - 1) : replica.revision);
    } catch (error) {
      // The log has lost some meanwhile: of what isn't known nothing is told.
      if (!(error instanceof LogExpired)) throw error;
    }
  }

  #expand(
    reading: Reading,
    items: readonly Found[],
    names: readonly string[],
    definition: Definition,
    source: ItemSource,
    entitlement: Entitlement,
  ): Promise<Expanded> {
    const { replica } = reading;
    const relatedOf = async (name: string) => ({
      id: replica.collections.get(name)?.id,
      definition: await this.#definitionOf(reading, name, source),
      lens: entitlement.lens('read', name),
    });
    return expand(items, names, definition, relatedOf, source, replica.id);
  }

  async #definitionOf({ replica, revision }: Reading, collection: string, source: ItemSource): Promise<Definition> {
    const known = this.definitions.known(replica, collection);
    if (known) return known;
    const ref = entryRef(collection);
    const dictionary = replica.collections.get(DICTIONARY);
    const [item] = dictionary ? await source.items(replica.id, [{ collectionId: dictionary.id, key: collection }]) : [];
    const state = item && stateOf(item);
    if (revision === replica.revision) replica.remember(ref, state);
    return this.definitions.lenient(state);
  }

  async #inScope<T>(
    pool: string,
    collection: string,
    asking: Asking,
    work: (scope: Scope | undefined, reading: Reading, source: ItemSource, entitlement: Entitlement) => Promise<T>,
  ): Promise<T> {
    await this.#checkReadable(pool, collection, asking.subject);
    const replica = await this.reader.current(pool, collection);
    // Inside the snapshot there is no second connection to wait for.
    await this.#learnPolicies(replica, asking.subject, collection === CHANGES);
    const answer = await this.store.snapshot(replica.id, async (source, head, indexes) => {
      if (!head) return 'gone';
      const entitlement = await this.entitlements.entitlementIn(replica, head.revision, source, asking.subject);
      if (!entitlement) return 'behind';
      const lens = readableThrough(entitlement, collection);
      const items =
        collection === CHANGES
          ? new LogSource(source, head, async (page) => {
              const commits = await this.replicas.commits(replica, page);
              return commits.map((commit) => {
                const at = (revision: number) => entitlement.and(this.#knownAt(replica, revision, asking.subject));
                const { revision } = commit;
                return seenCommit(sightOf(at(revision), 'read'), commit, sightOf(at(revision - 1), 'read'));
              });
            })
          : source;
      const scope = await openScope(items, replica, head, indexes, collection, {
        ...this.#bounds,
        isLeft: asking.isLeft,
        lens,
      });
      // Of a collection that this node doesn't know nothing can be said but of the state that it knows.
      const revision = scope ? head.revision : Math.min(head.revision, replica.revision);
      return { result: await work(scope, { replica, revision }, source, entitlement) };
    });
    if (typeof answer === 'object') return answer.result;
    // There may be a new pool of the same name.
    if (answer === 'gone') this.replicas.drop(replica);
    else await this.replicas.refresh(replica);
    return this.#inScope(pool, collection, asking, work);
  }
}

/** What is told of how items were found: it counts those too that are hidden. */
function planToldOf(lens: Lens, plan: Plan | undefined): Plan | undefined {
  return lens.kind === 'everything' ? (plan ?? NOTHING_EXAMINED) : undefined;
}

/** Where the former page ended. Refuses a place whose values aren't known any more. */
async function positionIn(
  { source, poolId, collectionId, sight }: Scope,
  { after, order }: Pick<Query, 'after' | 'order'>,
): Promise<Position | undefined> {
  if (!after || 'values' in after) return after;
  const [item] = await source.items(poolId, [{ collectionId, key: after.key }]);
  const found = item && Found.through(sight, item);
  const position = found && new Ordering(order).positionOf(found);
  if (position && digestOfValues(position.values) === after.valuesDigest) return position;
  throw new Problem(
    'invalidCursor',
    `\`pageToken\` leads to the item ${JSON.stringify(after.key)}, whose values of \`order\` are too long for a token and have changed since. Begin with the first page again.`,
  );
}
