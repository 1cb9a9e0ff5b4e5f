/**
 * The policy of a pool in one of its states: all items of `_policies` together. Never altered; a commit that changes policies
 * makes another. What each subject may do is worked out once and shared by all whose rules come out equal.
 */
import { Problem } from '../errors.js';
import { type Change, type ItemState, stateBefore } from '../state/model.js';
import { isFree, type Subject } from '../subject.js';
import { type Asker, bind, type RuleSource } from './bound-rule.js';
import { Entitlement, type Layer, type PlacedRule, unboundEntitlement } from './entitlement.js';
import { ACTIONS, type Grant, type PoolGrant, type Restriction } from './grant.js';
import { POLICIES, type Policy, parsePolicy, type Rule, type Who } from './policy.js';

/** Entitlements that are kept for their texts; the oldest goes first. */
const KEPT = 10_000;

export class PoolPolicy {
  readonly #states: ReadonlyMap<string, ItemState>;
  readonly #policies = new Map<string, Policy>();
  /** An item that isn't understood, such as one of a later version, may have denied something: then nobody is allowed anything. */
  readonly #isSound: boolean = true;
  readonly #bySubject = new WeakMap<Subject, Entitlement>();
  readonly #byText = new Map<string, Entitlement>();

  constructor(
    private readonly pool: string,
    states: ReadonlyMap<string, ItemState>,
  ) {
    this.#states = states;
    for (const [name, state] of [...states].sort(([a], [b]) => (a < b ? -1 : 1))) {
      try {
        this.#policies.set(name, policyOf(state));
      } catch (error) {
        if (!(error instanceof Problem)) throw error;
        this.#isSound = false;
      }
    }
  }

  /** After changes that may be of policies; itself where none is. */
  after(changes: readonly Change[]): PoolPolicy {
    return this.#with(changes, ({ after }) => after);
  }

  /** The policy before the changes that made this one. */
  before(changes: readonly Change[]): PoolPolicy {
    return this.#with(changes.toReversed(), stateBefore);
  }

  #with(changes: readonly Change[], stateOf: (change: Change) => ItemState | undefined): PoolPolicy {
    // Every commit comes by here, and hardly any changes policies.
    const others = changes.filter(({ collection }) => collection === POLICIES);
    if (others.length === 0) return this;
    const states = new Map(this.#states);
    for (const change of others) {
      const state = stateOf(change);
      if (state) states.set(change.key, state);
      else states.delete(change.key);
    }
    return new PoolPolicy(this.pool, states);
  }

  /** Whether the items of `_policies` are these. A revision names one state of an item. */
  isOf(states: ReadonlyMap<string, ItemState>): boolean {
    if (states.size !== this.#states.size) return false;
    for (const [name, { revision }] of states) if (this.#states.get(name)?.revision !== revision) return false;
    return true;
  }

  get size(): number {
    return this.#states.size;
  }

  get policies(): ReadonlyMap<string, Policy> {
    return this.#policies;
  }

  /** What the subject may do in the pool. */
  entitlementOf(subject: Subject): Entitlement {
    if (isFree(subject)) return unboundEntitlement;
    let entitlement = this.#bySubject.get(subject);
    if (!entitlement) {
      entitlement = this.#shared(this.#layersOf(subject));
      this.#bySubject.set(subject, entitlement);
    }
    return entitlement;
  }

  #layersOf(subject: Subject): Layer[] {
    const asker = { id: subject.id, host: subject.host, roles: this.#rolesOf(subject.id) };
    const layers = subject.restrictions.map((restriction) => this.#layerOf(restriction, asker));
    if (subject.isUnbound) return layers;
    // Where any policy asks for tokens that are bound to a key, others are good for nothing.
    const isRefused = !subject.isBound && [...this.#policies.values()].some(({ requireBound }) => requireBound);
    return [isRefused ? [] : this.#policyLayer(asker), ...layers];
  }

  #rolesOf(subject: string): string[] {
    const roles = new Set<string>();
    for (const policy of this.#policies.values())
      for (const [name, subjects] of policy.roles) if (subjects.has(subject)) roles.add(name);
    return [...roles].sort();
  }

  #policyLayer(asker: Asker): Layer {
    if (!this.#isSound) return [];
    const layer: PlacedRule[] = [];
    for (const [policy, { rules }] of this.#policies) {
      for (const [i, rule] of rules.entries()) {
        if (!concerns(rule.who, asker)) continue;
        layer.push(...placed(rule, { policy, rule: i }, asker));
      }
    }
    // Who administers the whole pool could give themselves what they like: they see and write what is the system's.
    const admin = new Entitlement([layer]).decideAdmin();
    return admin.allow && admin.by ? [...layer, ...placed(SYSTEM_ITEMS, admin.by, asker)] : layer;
  }

  #layerOf(restriction: Restriction, asker: Asker): Layer {
    return restriction
      .filter(({ pools }) => !pools || pools.includes(this.pool))
      .flatMap((grant: PoolGrant) => placed(grant, {}, asker));
  }

  /** Subjects with equal rules have the same entitlement, and so the same lenses. */
  #shared(layers: readonly Layer[]): Entitlement {
    const text = JSON.stringify(
      layers.map((layer) =>
        layer.map(({ rule, source }) => [
          source.policy,
          source.rule,
          rule.grant.actions,
          rule.grant.collections,
          rule.text,
        ]),
      ),
    );
    let entitlement = this.#byText.get(text);
    if (!entitlement) {
      entitlement = new Entitlement(layers);
      this.#byText.set(text, entitlement);
      const [oldest] = this.#byText.keys();
      if (this.#byText.size > KEPT) this.#byText.delete(oldest as string);
    }
    return entitlement;
  }
}

const SYSTEM_ITEMS: Grant = { actions: ACTIONS, collections: ['_*'] };

function placed(rule: Rule | Grant, source: RuleSource, asker: Asker): PlacedRule[] {
  const bound = bind(rule, asker);
  return bound ? [{ rule: bound, source }] : [];
}

function concerns({ subjects, roles, identityHosts, anyone }: Who, { id, host, roles: own }: Asker): boolean {
  return (
    anyone === true ||
    (subjects?.includes(id) ?? false) ||
    (roles?.some((role) => own.includes(role)) ?? false) ||
    (host !== undefined && (identityHosts?.includes(host) ?? false))
  );
}

const parsed = new WeakMap<ItemState, Policy>();

function policyOf(state: ItemState): Policy {
  let policy = parsed.get(state);
  if (!policy) {
    policy = parsePolicy(state.attributes);
    parsed.set(state, policy);
  }
  return policy;
}
