/**
 * Where policy is enforced on writes: what a command of a subject would change, against what the subject may do by the policy that
 * the commands before it left. Whatever a command changes must have been judged here before its draft is accepted. What a
 * writer doesn't see is to its request as if it weren't there, so that no refusal and no condition tells of it. Pure.
 */
import { type ErrorPlace, Problem } from '../errors.js';
import type { Change, ItemRef, ItemState } from '../state/model.js';
import type { Entitlement, LockedPart } from './entitlement.js';
import type { Action } from './grant.js';
import { POLICIES } from './policy.js';
import type { PoolPolicy } from './pool-policy.js';

export class AccessGuard {
  constructor(readonly entitlement: Entitlement) {}

  get isUnbound(): boolean {
    return this.entitlement.isUnbound;
  }

  /** Whether nothing of the collection is hidden from the writer. */
  seesAll(collection: string): boolean {
    return this.entitlement.lens('read', collection).kind === 'everything';
  }

  /** The item as the writer sees it. */
  seen({ collection, key }: ItemRef, state: ItemState | undefined): ItemState | undefined {
    return state && this.entitlement.lens('read', collection).see(key, state);
  }

  /** Refuses who could do none of the actions to any item of the collection; says nothing of the items that there are. */
  checkEver({ collection, key }: ItemRef, actions: readonly Action[]): void {
    if (actions.some((action) => this.entitlement.mayEver(action, collection) || this.#isOwnEntry(collection, key)))
      return;
    throw forbidden(`You may not ${actions.join(' or ')} items of ${collection}.`);
  }

  /** Refuses a write of an item. */
  checkWrite(
    ref: ItemRef,
    before: ItemState | undefined,
    after: ItemState | undefined,
    names: readonly string[],
  ): void {
    if (this.permits(ref, before, after, names)) return;
    throw this.refusal(ref, !after ? 'delete' : before ? 'write' : 'create', after ? names : []);
  }

  /** The words of a refusal. The order of names is no word of what they hold. */
  refusal({ collection, key }: ItemRef, what: 'create' | 'write' | 'delete', names: readonly string[]): Problem {
    const told = [...names]
      .sort()
      .slice(0, NAMES_TOLD)
      .map((name) => JSON.stringify(name));
    const attributes = told.length > 0 ? `, or not its ${told.join(', ')}${names.length > NAMES_TOLD ? ' …' : ''}` : '';
    return forbidden(`You may not ${what} ${collection}/${key}${attributes}.`);
  }

  permits(
    ref: ItemRef,
    before: ItemState | undefined,
    after: ItemState | undefined,
    names: readonly string[],
  ): boolean {
    const { allow, by } = this.entitlement.decideWrite({ ...ref, before, after, names });
    // What a rule denies no other right makes good.
    return allow || (!by && this.#isOwnEntry(ref.collection, ref.key));
  }

  /** Refuses what needs the present value of an attribute from who may not read it. */
  checkReads({ collection, key }: ItemRef, state: ItemState | undefined, name: string): void {
    if (!state || this.entitlement.lens('read', collection).shows(key, state, name)) return;
    throw forbidden(
      `You may not read ${JSON.stringify(name)} of ${collection}/${key}, which this would be worked out from.`,
    );
  }

  /** Refuses what is said or done of a whole collection, or without a name of the pool. */
  checkAdmin(collection?: string): void {
    if (this.entitlement.decideAdmin(collection).allow) return;
    throw forbidden(
      collection === undefined
        ? 'You may not administer this pool. It takes a rule with the action `admin` on the collections `*`.'
        : `You may not administer the collection ${collection}. It takes a rule with the action \`admin\` on it.`,
    );
  }

  /** Those of the names whose attributes the writer may read, of the item as it was or as it is. */
  namesShown(
    { collection, key }: ItemRef,
    before: ItemState | undefined,
    after: ItemState | undefined,
    names: readonly string[],
  ): readonly string[] {
    if (this.seesAll(collection)) return names;
    const lens = this.entitlement.lens('read', collection);
    const state = after ?? before;
    return state ? names.filter((name) => lens.shows(key, state, name)) : [];
  }

  /** Refuses who could watch nothing of the collection. */
  checkWatch(collection: string): void {
    if (this.entitlement.lens('watch', collection).kind !== 'nothing') return;
    throw forbidden(`You may not watch the collection ${collection}. It takes a rule with the action \`watch\` on it.`);
  }

  /** What is wrong with an item, without what is said of attributes that the writer may not read. */
  faultsShown({ collection, key }: ItemRef, state: ItemState, faults: readonly ErrorPlace[]): readonly ErrorPlace[] {
    if (this.seesAll(collection)) return faults;
    const lens = this.entitlement.lens('read', collection);
    const isShown = ({ pointer }: ErrorPlace) => {
      const name = pointer?.split('/')[2]?.replaceAll('~1', '/').replaceAll('~0', '~');
      return name !== undefined && lens.shows(key, state, name);
    };
    const shown = faults.filter(isShown);
    if (shown.length === faults.length) return faults;
    const [first] = faults as [ErrorPlace];
    return [
      ...shown,
      { ...first, pointer: '/attributes', detail: 'is not as the dictionary says, in what you may not read.' },
    ];
  }

  checkLock(part: LockedPart, what: string): void {
    if (this.entitlement.decideLock(part).allow) return;
    throw forbidden(`You may not lock ${what}.`);
  }

  /** Refuses who may do nothing here. */
  checkPresence(): void {
    if (this.entitlement.isEmpty) throw forbidden('You may do nothing in this pool.');
  }

  /** Refuses changes of policy after which the writer could not take them back. */
  checkLockout(
    changes: readonly Change[],
    policy: PoolPolicy,
    entitlementAfter: (policy: PoolPolicy) => Entitlement,
  ): void {
    const next = policy.after(changes);
    if (next === policy || entitlementAfter(next).decideEver('write', POLICIES, []).allow) return;
    throw new Problem(
      'conflict',
      'After this you could no longer write policies, and not take it back. Give yourself a rule with the action `admin` on `*`, or say that you mean it: `?force=true`.',
    );
  }

  /** The entry of a collection in the dictionary is written by who administers the collection. */
  #isOwnEntry(collection: string, key: string): boolean {
    return collection === DICTIONARY && this.entitlement.decideAdmin(key).allow;
  }
}

const DICTIONARY = '_dictionary';
const NAMES_TOLD = 5;

export function forbidden(detail: string): Problem {
  return new Problem('forbidden', detail);
}
