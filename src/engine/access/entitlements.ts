/**
 * What subjects may do in pools: finds the policy of a pool's state, which the replica then keeps, and what it lets a subject do.
 * Everything that is answered is judged by the policy of the very state that it is answered from.
 */
import { limits } from '../limits.js';
import type { ItemSource, Store } from '../ports.js';
import { itemPages } from '../state/item-pages.js';
import { stateOf } from '../state/loading.js';
import type { ItemState } from '../state/model.js';
import type { Replica } from '../state/replica.js';
import type { Replicas } from '../state/replicas.js';
import { isFree, type Subject } from '../subject.js';
import { LogReader } from '../watch/log-reader.js';
import { type Entitlement, unboundEntitlement } from './entitlement.js';
import { POLICIES } from './policy.js';
import { changesPolicy, type PolicyChanges, PolicyHistory } from './policy-history.js';
import { PoolPolicy } from './pool-policy.js';

export class Entitlements {
  readonly #log: LogReader;
  readonly #loading = new Map<Replica, Promise<PolicyHistory>>();

  constructor(
    private readonly store: Store,
    private readonly replicas: Replicas,
  ) {
    this.#log = new LogReader(store, replicas);
  }

  /**
   * What the subject may do in the state of a revision that the pool has reached. Throws LogExpired where the policy of that
   * time can't be told any more.
   */
  entitlement(replica: Replica, revision: number, subject: Subject): Entitlement | Promise<Entitlement> {
    if (isFree(subject)) return unboundEntitlement;
    const known = revision <= replica.revision ? replica.policies?.at(revision) : undefined;
    return known
      ? known.entitlementOf(subject)
      : this.policy(replica, revision).then((policy) => policy.entitlementOf(subject));
  }

  /** The policy of the state of a revision that the pool has reached. */
  async policy(replica: Replica, revision: number): Promise<PoolPolicy> {
    if (revision > replica.revision) await this.replicas.refresh(replica);
    const history = replica.policies ?? (await this.#load(replica));
    return history.at(revision) ?? (await this.#before(replica, history, revision));
  }

  /**
   * What the subject may do in a snapshot, whose state the replica may not have reached; undefined where this node doesn't know
   * enough of the pool to say so, until the replica is refreshed.
   */
  async entitlementIn(
    replica: Replica,
    revision: number,
    source: Pick<ItemSource, 'range'>,
    subject: Subject,
  ): Promise<Entitlement | undefined> {
    if (isFree(subject)) return unboundEntitlement;
    const isReached = revision <= replica.revision;
    const known = isReached ? replica.policies?.at(revision) : undefined;
    if (known) return known.entitlementOf(subject);
    if (!isReached && !replica.collections.has(POLICIES)) return undefined;
    // In the midst of a snapshot it can't be waited for: it is there for who comes next.
    if (!replica.policies) this.#load(replica).catch(() => undefined);
    return (await readPolicy(replica, source)).entitlementOf(subject);
  }

  #load(replica: Replica): Promise<PolicyHistory> {
    let loading = this.#loading.get(replica);
    if (!loading) {
      loading = this.#read(replica).finally(() => this.#loading.delete(replica));
      this.#loading.set(replica, loading);
    }
    return loading;
  }

  async #read(replica: Replica): Promise<PolicyHistory> {
    for (;;) {
      if (replica.policies) return replica.policies;
      const isKnown = replica.collections.has(POLICIES);
      const read = await this.store.snapshot(replica.id, async (source, head) => ({
        revision: head?.revision ?? replica.revision,
        policy: await readPolicy(replica, source),
      }));
      if (read.revision > replica.revision) {
        await this.replicas.refresh(replica);
        // The first policies of all may have been in what was read, and this node didn't know where.
        if (!isKnown) continue;
      }
      // What is newer than what was read is in the ring; where it isn't, too much happened, and it is read anew.
      const newer = replica.recent(read.revision);
      if (!newer) continue;
      const history = new PolicyHistory(read.policy, sinceWhen(replica, read.revision));
      for (const commit of newer) history.advance(commit);
      replica.policies ??= history;
    }
  }

  /** Extends what is known back to the revision, from the log. */
  async #before(replica: Replica, history: PolicyHistory, revision: number): Promise<PoolPolicy> {
    const former: PolicyChanges[] = [];
    for await (const commit of this.#log.between(replica, revision, Math.max(revision, history.knownFrom)))
      if (changesPolicy(commit)) former.push(commit);
    history.extend(revision, former);
    return history.at(revision) as PoolPolicy;
  }
}

/** The policies of the state that the source reads. */
export async function readPolicy(replica: Replica, source: Pick<ItemSource, 'range'>): Promise<PoolPolicy> {
  const states = new Map<string, ItemState>();
  const stored = replica.collections.get(POLICIES);
  if (stored) {
    const pages = itemPages(source, replica.id, { collectionId: stored.id, limit: limits.pageItemsMax });
    for await (const page of pages) for (const item of page) states.set(item.key, stateOf(item));
  }
  // Mostly it is the one that is known: then nothing of it has to be worked out again.
  const known = replica.policies?.current;
  return known?.isOf(states) ? known : new PoolPolicy(replica.name, states);
}

/** Since when the policies that were read at a revision hold: since the last commit that touched them, if that was before. */
export function sinceWhen(replica: Replica, revision: number): number {
  const touched = replica.collections.get(POLICIES)?.revision ?? 0;
  return Math.min(touched, revision);
}
