/**
 * What a commit that changes the policy makes of a view. What its watcher may no longer see goes as a deletion with the reason
 * `denied`, what they may see from now on comes as an addition, and of an item that they see still, attributes come and go:
 * each item as they saw it before against as they see it after, and what else the commit changed with it. For that the items as
 * of the commit are looked through: those that an index leads to, or all in one pass for all whose views are turned.
 */
import { limits } from '../limits.js';
import type { Filter } from '../query/filter.js';
import { isSystemName } from '../state/collections.js';
import { refId } from '../state/draft.js';
import { pickMembers } from '../state/json.js';
import { CHANGES } from '../state/log-items.js';
import { type Change, type Commit, changeBetween, type ItemRef, type ItemState, stateBefore } from '../state/model.js';
import type { Replica } from '../state/replica.js';
import type { Ground, Seeker } from './shared-passes.js';
import { fewItems, SnapshotOverrun } from './snapshot.js';
import { pinsOf, pinsOfEither } from './value-index.js';
import { View } from './view.js';

/** Roughly what a change holds in memory beside its values. */
const CHANGE_BYTES = 300;

/** The changes that are told; undefined where they are too many, or what was seen can't be told: then the view begins anew. */
export async function turnOf(
  ground: Ground,
  commit: Commit,
  before: View,
  after: View,
): Promise<readonly Change[] | undefined> {
  if (before.id === after.id) return after.seeAll(commit);
  // To those who see other commits now, the log itself is another.
  if (after.request.collection === CHANGES) return undefined;
  const turn = new Turn(commit, before, after);
  try {
    for (const collection of collectionsOf(ground.replica, commit, before, after)) {
      if (before.sight.lens(collection).id === after.sight.lens(collection).id) turn.addCommitted(collection, false);
      else await lookThrough(ground, turn, collection);
      if (turn.isTooLarge) return undefined;
    }
  } catch (error) {
    if (error instanceof SnapshotOverrun) return undefined;
    throw error;
  }
  return turn.changes;
}

/** The collections of which the views may have something. */
function collectionsOf(replica: Replica, { changes }: Commit, before: View, after: View): Iterable<string> {
  const { collection } = after.request;
  if (collection !== undefined) return [collection];
  const names = new Set(changes.map(({ collection: name }) => name));
  for (const { name } of replica.collections.values())
    if (before.sight.lens(name).id !== after.sight.lens(name).id) names.add(name);
  return [...names].filter((name) => !isSystemName(name)).sort();
}

async function lookThrough(ground: Ground, turn: Turn, collection: string): Promise<void> {
  turn.addCommitted(collection, true);
  const { before, after, commit } = turn;
  // Who sees nothing of the collection has nothing of it.
  const views = [before, after].filter(({ sight }) => sight.lens(collection).kind !== 'nothing');
  if (views.length === 0 || turn.isTooLarge) return;
  const narrowings = views.map((view) => view.narrowing(collection));
  const { store, log, replica } = ground;
  const { key, prefix, start, end } = after.request;
  const request = { collection, key, prefix, start, end, where: eitherOf(narrowings), values: 'full' as const };
  const few = await fewItems(store, log, replica, new View(request), commit.revision);
  if (few) for (const item of few) turn.addItem({ collection, key: item.key }, item.state);
  else
    await ground.passes.look(ground, collection, after.range, commit.revision, seekerOf(turn, collection, narrowings));
}

/** What one of the filters lets through; undefined where one of them lets through everything. */
function eitherOf(filters: readonly (Filter | undefined)[]): Filter | undefined {
  const known = filters.filter((filter) => filter !== undefined);
  const [first] = known;
  if (!first || known.length < filters.length) return undefined;
  return known.length === 1 ? first : { root: { kind: 'any', parts: known.map(({ root }) => root) }, text: '' };
}

function seekerOf(turn: Turn, collection: string, narrowings: readonly (Filter | undefined)[]): Seeker {
  const [one, other] = narrowings;
  return {
    pins: narrowings.length === 1 ? pinsOf(one) : pinsOfEither(one, other),
    take: (key, state) => turn.addItem({ collection, key }, state),
    get isOver() {
      return turn.isTooLarge;
    },
  };
}

class Turn {
  readonly changes: Change[] = [];
  #bytes = 0;
  /** Items that the commit itself changed. */
  readonly #committed = new Set<string>();

  constructor(
    readonly commit: Commit,
    readonly before: View,
    readonly after: View,
  ) {}

  get isTooLarge(): boolean {
    return this.#bytes > limits.policyTurnBytesMax;
  }

  /** What the commit changed in the collection. */
  addCommitted(collection: string, isTurned: boolean): void {
    for (const change of this.commit.changes) {
      if (change.collection !== collection || !this.after.covers(change)) continue;
      this.#committed.add(refId(change));
      if (isTurned) this.#addTurned(change, stateBefore(change), change.after, change);
      else this.#add(this.after.see(change));
    }
  }

  /** An item that the commit didn't change. */
  addItem(ref: ItemRef, state: ItemState): void {
    if (!this.#committed.has(refId(ref))) this.#addTurned(ref, state, state, undefined);
  }

  #addTurned(
    { collection, key }: ItemRef,
    former: ItemState | undefined,
    present: ItemState | undefined,
    cause: Change | undefined,
  ): void {
    const was = former && this.before.itemOf(collection, key, former);
    const is = present && this.after.itemOf(collection, key, present);
    const change = changeBetween({ collection, key }, was, is);
    if (!change) return;
    const lens = this.after.sight.lens(collection);
    const isHidden = present !== undefined && lens.see(key, present) === undefined;
    // Of what is hidden now not even what it was is told again.
    const isTold = (name: string) => former !== undefined && lens.shows(key, former, name);
    const names = Object.keys(change.before).filter(isTold);
    const before =
      names.length === Object.keys(change.before).length ? change.before : pickMembers(change.before, names);
    const reason = reasonOf(change, isHidden || !cause, present, cause);
    const { reason: _, ...rest } = change;
    this.#add({ ...rest, before, ...(reason && { reason }) });
  }

  #add(change: Change | undefined): void {
    if (!change || !this.after.showsOf(change)) return;
    this.changes.push(change);
    this.#bytes += CHANGE_BYTES + (change.after?.json.length ?? 0) + change.formerBytes;
  }
}

/** Why an item comes or goes, or loses attributes, where that isn't what the commit did to it. */
function reasonOf(
  { op, former, removed, after }: Change,
  isByPolicy: boolean,
  present: ItemState | undefined,
  cause: Change | undefined,
): Change['reason'] {
  if (op === 'delete') {
    if (!present) return cause?.reason;
    return isByPolicy ? 'denied' : 'left';
  }
  if (op === 'add') return cause && !cause.former && !former ? cause.reason : 'entered';
  return removed.length > 0 && isByPolicy && after ? 'denied' : cause?.reason;
}
