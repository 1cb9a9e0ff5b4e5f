/**
 * What policy says, asked for by itself: what the caller may do, whether they may do this, who may see that and by which rule, and
 * what other policies would change for those who watch now.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import { isObject, type JsonObject, pointerToken } from '../state/json.js';
import { type Change, type ItemRef, ItemState } from '../state/model.js';
import { checkName } from '../state/names.js';
import type { Reader, Reading } from '../state/reader.js';
import type { Subject } from '../subject.js';
import type { Gain, Watching } from '../watch/watching.js';
import { forbidden } from './access-guard.js';
import { type CaslRules, caslRulesOf } from './casl.js';
import { checkPresence, mayKnow } from './entitled-reader.js';
import type { Decision, Entitlement } from './entitlement.js';
import type { Entitlements } from './entitlements.js';
import { type Action, fault } from './grant.js';
import { POLICIES, parsePolicy, type Who } from './policy.js';
import type { PoolPolicy } from './pool-policy.js';

export interface Check {
  readonly action: Action;
  readonly collection: string;
  readonly key?: string | undefined;
  readonly attributes?: readonly string[] | undefined;
}

/** Who may do what was asked for. */
export interface Explanation {
  /** Subjects that policies name, by themselves or by their roles. */
  readonly subjects: readonly { readonly subject: string; readonly decision: Decision }[];
  /** Whoever has an identity there. */
  readonly hosts: readonly { readonly host: string; readonly decision: Decision }[];
  /** Whoever is named by nothing. */
  readonly anyone: Decision;
}

export class Explaining {
  constructor(
    private readonly reader: Reader,
    private readonly entitlements: Entitlements,
    private readonly watching: Watching,
  ) {}

  /** The caller's rules. */
  async effective(pool: string, subject: Subject): Promise<Reading & CaslRules> {
    const { replica, revision, entitlement } = await this.#entitlement(pool, subject);
    const collections = [...replica.collections.values()]
      .filter(({ name, present }) => present && mayKnow(entitlement, name))
      .map(({ name }) => name);
    return { replica, revision, ...caslRulesOf(entitlement, subject.isUnbound, collections) };
  }

  /** Whether the caller may do what is asked for, each for itself, with the items as they are. */
  async check(pool: string, checks: readonly Check[], subject: Subject): Promise<Reading & { decisions: Decision[] }> {
    const { replica, revision, entitlement } = await this.#entitlement(pool, subject);
    const decisions: Decision[] = [];
    for (const check of checks) decisions.push(await this.#decide(pool, check, entitlement));
    return { replica, revision, decisions };
  }

  /** Who may do it, and by which rule. For who administers the pool. */
  async explain(pool: string, check: Check, subject: Subject): Promise<Reading & Explanation> {
    const { replica, revision, entitlement } = await this.#entitlement(pool, subject);
    checkAdmin(entitlement);
    const policy = await this.entitlements.policy(replica, revision);
    const state = check.key === undefined ? undefined : (await this.reader.item(pool, refOf(check))).state;
    const decisionOf = (id: string, host?: string) =>
      decide(policy.entitlementOf({ id, host, isUnbound: false, isBound: true, restrictions: [] }), check, state);
    const named = namedIn(policy);
    if (named.subjects.size > limits.explainedSubjectsMax)
      throw new Problem('tooLarge', `The policies name more than ${limits.explainedSubjectsMax} subjects.`);
    return {
      replica,
      revision,
      subjects: Array.from(named.subjects, (id) => ({ subject: id, decision: decisionOf(id, hostOf(id)) })),
      hosts: Array.from(named.hosts, (host) => ({ host, decision: decisionOf('', host) })),
      anyone: decisionOf(''),
    };
  }

  /** What the watchers of this node would gain and lose with other policies. For who administers the pool. */
  async preview(
    pool: string,
    policies: Readonly<Record<string, JsonObject | null>>,
    subject: Subject,
  ): Promise<Reading & { readonly gains: readonly Gain[] }> {
    const { replica, revision, entitlement } = await this.#entitlement(pool, subject);
    checkAdmin(entitlement);
    const policy = (await this.entitlements.policy(replica, revision)).after(changesTo(policies));
    return { replica, revision, gains: await this.watching.preview(replica, policy) };
  }

  async #decide(pool: string, check: Check, entitlement: Entitlement): Promise<Decision> {
    const { collection, key } = check;
    if (key === undefined || entitlement.isUnbound) return decide(entitlement, check, undefined);
    // Nothing is looked at for who may not look.
    if (entitlement.lens('read', collection).kind === 'nothing') return decide(entitlement, check, undefined);
    const { state } = await this.reader.item(pool, refOf(check));
    // Of what they don't see nothing is told but what holds of an item that isn't there.
    const isSeen = state && entitlement.lens('read', collection).see(key, state) !== undefined;
    return decide(entitlement, check, isSeen ? state : undefined);
  }

  async #entitlement(pool: string, subject: Subject): Promise<Reading & { readonly entitlement: Entitlement }> {
    const replica = await this.reader.current(pool);
    const { revision } = replica;
    const entitlement = await this.entitlements.entitlement(replica, revision, subject);
    checkPresence(entitlement);
    return { replica, revision, entitlement };
  }
}

function checkAdmin(entitlement: Entitlement): void {
  if (!entitlement.decideAdmin().allow) throw forbidden('Only who administers the pool may ask that.');
}

function refOf({ collection, key }: Check): ItemRef {
  return { collection, key: key as string };
}

/** Whether the action may be done to the item, or where there is none, to one that there could be. */
function decide(entitlement: Entitlement, check: Check, state: ItemState | undefined): Decision {
  const { action, collection, key, attributes = [] } = check;
  if (action === 'admin') return entitlement.decideAdmin(collection === '*' ? undefined : collection);
  if (action === 'lock') {
    const range = key === undefined ? {} : { start: key, end: `${key}\0` };
    const item = state && key !== undefined ? { key, state } : undefined;
    return entitlement.decideLock({ collection, range, attributes: check.attributes, item });
  }
  if (key === undefined || !state || action === 'create')
    return entitlement.decideEver(action, collection, attributes, key);
  const ref = { collection, key };
  if (action === 'read' || action === 'watch') return entitlement.decideRead(action, ref, state, attributes);
  const after = action === 'delete' ? undefined : state;
  return entitlement.decideWrite({ ...ref, before: state, after, names: attributes });
}

function namedIn(policy: PoolPolicy): { subjects: Set<string>; hosts: Set<string> } {
  const subjects = new Set<string>();
  const hosts = new Set<string>();
  const add = ({ subjects: ids = [], identityHosts = [] }: Who) => {
    for (const id of ids) subjects.add(id);
    for (const host of identityHosts) hosts.add(host);
  };
  for (const { rules, roles } of policy.policies.values()) {
    for (const { who } of rules) add(who);
    for (const ids of roles.values()) add({ subjects: [...ids] });
  }
  return { subjects, hosts };
}

function hostOf(id: string): string | undefined {
  return URL.canParse(id) ? new URL(id).host : undefined;
}

/** The policies as changes of their items, checked. */
function changesTo(policies: Readonly<Record<string, JsonObject | null>>): Change[] {
  return Object.entries(policies).map(([name, attributes]) => {
    checkName('policy', name);
    if (attributes !== null && !isObject(attributes))
      throw fault(`/policies/${pointerToken(name)}`, 'must be an object of attributes, or null.');
    if (attributes) parsePolicy(attributes);
    const after = attributes ? new ItemState(undefined, 0, 0, attributes) : undefined;
    return {
      ...{ collection: POLICIES, key: name, op: after ? ('change' as const) : ('delete' as const) },
      ...{ changed: [], removed: [], before: {}, formerBytes: 0, after, former: undefined },
    };
  });
}
