/** Items as a subject may read them: what they don't see is absent. Refuses who could see nothing of a collection whatever is in it. */
import type { Item } from '../dictionary/showing.js';
import { Problem } from '../errors.js';
import { DICTIONARY, isSystemName } from '../state/collections.js';
import type { KeyRange } from '../state/key-order.js';
import { CHANGES, stateOfCommit } from '../state/log-items.js';
import type { ItemRef, ItemState } from '../state/model.js';
import type { ItemPage, ItemReading, Reader, Reading } from '../state/reader.js';
import { isFree, type Subject } from '../subject.js';
import { LogExpired } from '../watch/log-reader.js';
import { pastSight } from '../watch/past.js';
import { seenCommit } from '../watch/sight.js';
import { forbidden } from './access-guard.js';
import type { Entitlement } from './entitlement.js';
import type { Entitlements } from './entitlements.js';
import { ACTIONS } from './grant.js';
import type { Lens } from './lens.js';

export interface SeenReading extends Reading {
  /** Undefined where there is no such item, or the subject doesn't see it. */
  readonly item: Item | undefined;
  /** The policy by which it is seen, is as old: who knows the item of a revision before has seen it otherwise. */
  readonly policySince: number;
}

export class EntitledReader {
  constructor(
    private readonly reader: Reader,
    private readonly entitlements: Entitlements,
  ) {}

  item(pool: string, ref: ItemRef, subject: Subject): SeenReading | Promise<SeenReading> {
    if (!isFree(subject) && isSystemName(ref.collection)) return this.#systemItem(pool, ref, subject);
    const found = this.reader.item(pool, ref);
    if (!(found instanceof Promise)) {
      const entitlement = this.entitlements.entitlement(found.replica, found.revision, subject);
      if (!(entitlement instanceof Promise)) return seenThrough(entitlement, ref, found);
    }
    return this.#item(pool, ref, subject, found);
  }

  /** The item as it is stored, where the subject sees all of it or it is their own; else as if there were none. */
  async stored(pool: string, ref: ItemRef, subject: Subject, isOwn: IsOwn): Promise<ItemReading> {
    const reading = await this.reader.item(pool, ref);
    const entitlement = await this.entitlements.entitlement(reading.replica, reading.revision, subject);
    checkPresence(entitlement);
    const isTold = reading.state && isWhollySeen(entitlement, ref, reading.state, isOwn);
    return isTold ? reading : { ...reading, state: undefined };
  }

  /** A page of such items, in the order of their keys. */
  async page(
    pool: string,
    collection: string,
    request: KeyRange & { readonly after?: string | undefined; readonly limit: number },
    subject: Subject,
    isOwn: IsOwn,
  ): Promise<ItemPage> {
    const told: { readonly key: string; readonly state: ItemState }[] = [];
    for (let { after } = request; ; ) {
      const page = await this.reader.page(pool, collection, { ...request, after });
      if (isFree(subject)) return page;
      const entitlement = await this.entitlements.entitlement(page.replica, page.revision, subject);
      checkPresence(entitlement);
      for (const item of page.items)
        if (isWhollySeen(entitlement, { collection, key: item.key }, item.state, isOwn)) told.push(item);
      const isFull = told.length > request.limit;
      // One more than the page holds says that there is another, and nothing of what is hidden beyond it.
      if (isFull || !page.more) return { ...page, items: told.slice(0, request.limit), more: isFull };
      after = page.items.at(-1)?.key;
    }
  }

  /** A page of the dictionary's entries of collections with which the subject may do something. */
  async entries(
    pool: string,
    request: { readonly after?: string | undefined; readonly limit: number },
    subject: Subject,
  ): Promise<ItemPage & { readonly entitlement: Entitlement }> {
    const told: { readonly key: string; readonly state: ItemState }[] = [];
    for (let { after } = request; ; ) {
      const page = await this.reader.page(pool, DICTIONARY, { ...request, after });
      const entitlement = await this.entitlements.entitlement(page.replica, page.revision, subject);
      if (entitlement.isUnbound) return { ...page, entitlement };
      checkPresence(entitlement);
      told.push(...page.items.filter(({ key }) => mayKnow(entitlement, key)));
      const isFull = told.length > request.limit;
      if (isFull || !page.more) return { ...page, items: told.slice(0, request.limit), more: isFull, entitlement };
      after = page.items.at(-1)?.key;
    }
  }

  /** What the subject may do in the pool as it is now. */
  async entitlement(pool: string, subject: Subject): Promise<Reading & { readonly entitlement: Entitlement }> {
    const replica = await this.reader.current(pool);
    const { revision } = replica;
    return { replica, revision, entitlement: await this.entitlements.entitlement(replica, revision, subject) };
  }

  /** Some of the system's collections are brought up to date by being looked at: not for who may not look. */
  async #systemItem(pool: string, ref: ItemRef, subject: Subject): Promise<SeenReading> {
    readableThrough((await this.entitlement(pool, subject)).entitlement, ref.collection);
    return ref.collection === CHANGES
      ? this.#commit(pool, ref, subject)
      : this.#item(pool, ref, subject, this.reader.item(pool, ref));
  }

  /** A commit as an item, of which what the subject doesn't see of other collections is left out. */
  async #commit(pool: string, ref: ItemRef, subject: Subject): Promise<SeenReading> {
    const { commit, ...reading } = await this.reader.commit(pool, ref.key);
    const entitlement = await this.entitlements.entitlement(reading.replica, reading.revision, subject);
    const { replica } = reading;
    const past = commit && (await pastSight(this.entitlements, replica, entitlement, subject, 'read', commit.revision));
    const state = past && stateOfCommit(seenCommit(past.after, commit, past.before));
    return seenThrough(entitlement, ref, { ...reading, state });
  }

  async #item(
    pool: string,
    ref: ItemRef,
    subject: Subject,
    first: ItemReading | Promise<ItemReading>,
  ): Promise<SeenReading> {
    for (let reading = await first; ; reading = await this.reader.item(pool, ref)) {
      if (isFree(subject)) return whole(ref, reading);
      try {
        const { replica, revision } = reading;
        return seenThrough(await this.entitlements.entitlement(replica, revision, subject), ref, reading);
      } catch (error) {
        // So much happened meanwhile that the policy of that state can't be told: the item is read anew.
        if (!(error instanceof LogExpired)) throw error;
      }
    }
  }
}

type IsOwn = (state: ItemState) => boolean;

function isWhollySeen(entitlement: Entitlement, { collection, key }: ItemRef, state: ItemState, isOwn: IsOwn): boolean {
  return isOwn(state) || entitlement.lens('read', collection).see(key, state) === state;
}

function seenThrough(entitlement: Entitlement, ref: ItemRef, reading: ItemReading): SeenReading {
  if (entitlement.isUnbound) return whole(ref, reading);
  const { replica, revision, state } = reading;
  const lens = readableThrough(entitlement, ref.collection);
  const policySince = replica.policies?.sinceOf(revision) ?? revision;
  return { replica, revision, item: state && lens.item(ref.key, state), policySince };
}

function whole({ key }: ItemRef, { replica, revision, state }: ItemReading): SeenReading {
  return { replica, revision, item: state && { key, state }, policySince: 0 };
}

/** What is seen of a collection; refuses who could see nothing of it whatever is in it. */
export function readableThrough(entitlement: Entitlement, collection: string): Lens {
  const lens = entitlement.lens('read', collection);
  if (lens.kind !== 'nothing') return lens;
  throw forbidden(`You may not read the collection ${collection}. It takes a rule with the action \`read\` on it.`);
}

/** Whether the subject may do anything with the collection, and so know what it is. */
export function mayKnow(entitlement: Entitlement, collection: string): boolean {
  return ACTIONS.some((action) => entitlement.mayEver(action, collection));
}

/** Refuses who may do nothing in the pool. */
export function checkPresence({ isEmpty }: Entitlement): void {
  if (isEmpty) throw new Problem('forbidden', 'You may do nothing in this pool.');
}
