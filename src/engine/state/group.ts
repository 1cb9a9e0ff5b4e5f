/**
 * One group: its commands are judged one after another inside a transaction that holds the pool's lock, and what they
 * come to is written in the same transaction. `publish` brings this node's replica forward after it is durable.
 *
 * What is remembered is used only because the replica stands at the locked row's revision. Where the lock doesn't keep others out
 * (`Store.transact`), the replica may hear of their commits while a group is judged: then the group is judged anew.
 */
import { readPolicy, sinceWhen } from '../access/entitlements.js';
import { PolicyHistory } from '../access/policy-history.js';
import { PoolPolicy } from '../access/pool-policy.js';
import type { Definitions } from '../dictionary/definitions.js';
import { Problem } from '../errors.js';
import type { Bus } from '../hints.js';
import { limits } from '../limits.js';
import { emptyLocks, LOCKS, learnLock, type PoolLocks } from '../locks/lock-items.js';
import { commitNews, newsRef } from '../operations/operation-news.js';
import {
  type LogRow,
  type PoolContent,
  type PoolHead,
  RetryTransaction,
  type StoredItem,
  type StoreTransaction,
  type Telemetry,
} from '../ports.js';
import { isOver, SessionStates } from '../sessions/session-states.js';
import { isFree, ownerOf } from '../subject.js';
import { Turns, turn } from '../turn.js';
import { isSystemName } from './collections.js';
import { type Command, Unprepared } from './commands.js';
import { newEpoch } from './cursor.js';
import { bytesOf, GroupState, refId } from './draft.js';
import { defineIndexes, defineSystemIndexes, entriesOf } from './index-writes.js';
import { noIndexes } from './indexes.js';
import { itemPages } from './item-pages.js';
import { type Court, type JudgingOptions, judge } from './judging.js';
import { loadItems, stateOf } from './loading.js';
import type { Change, Collection, Commit, ItemRef } from './model.js';
import { Repetitions, type Reply, type Request } from './repetition.js';
import { type Replica, rowsOf } from './replica.js';
import type { Replicas } from './replicas.js';
import { UniqueValues } from './unique.js';

export type Submitted<Answer> =
  | { readonly answer: Answer; readonly replayed?: undefined }
  | { readonly replayed: Reply };

/** How a group ended for one of its commands. */
export type Verdict =
  | { readonly submitted: Submitted<unknown> }
  | { readonly problem: unknown }
  /** To be prepared, and then judged anew. */
  | { readonly unprepared: Unprepared };

export interface Judged {
  /** Of the group's first commands, at least one: those that follow are for the next group. */
  readonly verdicts: Verdict[];
  readonly commits: Commit[];
  /** Set when the group brought the pool into being. */
  readonly created?: PoolContent;
  readonly replica?: Replica | undefined;
  /** The pool's revision before the group. */
  readonly base: number;
  /** The pool's locks, as the group leaves them: to be settled once it is durable. */
  readonly locks: PoolLocks;
  /** The commits as the log has them. */
  readonly rows: readonly LogRow[];
  readonly newCollections: Collection[];
  readonly dropped: boolean;
  readonly described?: { description: string | undefined };
  /** An index was declared that is left to be built. */
  readonly building: boolean;
}

/**
 * Judges a group and writes what it comes to. To be called inside a transaction, again with each attempt. `take` gives the
 * group; it is called once the pool's lock is had, so that what arrived while it was waited for is in the group.
 */
export async function judgeGroup(
  pool: string,
  take: () => readonly Request[],
  tx: StoreTransaction,
  replicas: Replicas,
  definitions: Definitions,
  options: JudgingOptions,
  telemetry: Telemetry,
): Promise<Judged> {
  const { head, now } = await tx.lockPool(pool);
  const group = take();
  const replica = head && (await replicas.locked(head, tx));
  const locks = replica ? await locksOf(replica, head.revision, tx) : emptyLocks();
  const state = new GroupState(
    head !== undefined,
    head?.epoch ?? newEpoch(),
    head?.revision ?? 0,
    replica?.collections ?? new Map(),
    head?.description,
    now,
    await loadSessions(group, head, locks, tx),
    locks,
    group.every(({ command }) => isFree(command.subject))
      ? undefined
      : await policyOf(pool, head?.revision ?? 0, replica, tx),
  );
  state.notifiers.targets = options.targets;
  state.notifiers.oldestRevision = head?.oldestRevision ?? 1;
  locks.mark();
  try {
    const court = { state, replica, unique: new UniqueValues(replica, tx), definitions, options, telemetry, tx };
    const repetitions = await Repetitions.load(pool, head?.id ?? 0, group, state, tx);
    const { verdicts, commits } = await judgeEach(group, repetitions, court);
    const written = await write(pool, head, replica, state, commits, now, definitions, tx);
    if (written.poolId > 0 && !written.dropped) await writeSessions(written.poolId, state.sessions, tx);
    if (state.notifiers.writes.length > 0 && !written.dropped)
      await tx.saveNotifiers(written.poolId, state.notifiers.writes);
    if (head && state.takenUsage.length > 0) await tx.deleteUsage(head.id, state.takenUsage);
    await repetitions.write(written.poolId, tx);
    if (replica && replica.revision !== state.base) throw new RetryTransaction('Others committed meanwhile');
    return { verdicts, commits, replica, base: state.base, locks, ...written };
  } catch (error) {
    undoLocks(replica, state.base, locks);
    // Whatever was found wrong was judged by a mixture of two states.
    if (replica && replica.revision !== state.base) throw new RetryTransaction(error);
    throw error;
  }
}

/** Leaves the table of locks as it was before the group, which was not applied. */
export function undoLocks(replica: Replica | undefined, base: number, locks: PoolLocks): void {
  // Where a reader has brought the replica forward meanwhile, the database ended this transaction and others committed: what
  // the table has learned of them can't be told from what is to be undone, and it is read anew.
  if (replica && replica.revision !== base) replica.locks = undefined;
  else locks.rollback(0);
  locks.settle();
}

async function judgeEach(
  group: readonly Request[],
  repetitions: Repetitions,
  court: Court,
): Promise<{ verdicts: Verdict[]; commits: Commit[] }> {
  const { state, replica, tx } = court;
  const loaded = await loadItems(group.map(named), state, replica, tx);
  let work = loaded.bytes;
  const commits: Commit[] = [];
  const verdicts: Verdict[] = [];
  const turns = new Turns(limits.turnCost);
  for (const request of group.slice(0, loaded.commands)) {
    if (turns.areDue(state.checkCost)) await turn();
    // What is left is for the next group: a transaction holds only so much.
    if (work + state.checkCost * limits.bytesPerStep > limits.groupWorkBytesMax && verdicts.length > 0) break;
    const { command } = request;
    try {
      if (loaded.refused) throw loaded.refused;
      heed(command, state);
      const replayed = repetitions.find(request);
      if (replayed) {
        verdicts.push({ submitted: { replayed } });
        continue;
      }
      command.reset?.();
      const { answer, changes } = await judge(command, court);
      for (const change of changes) work += bytesOf(change);
      if (changes.length > 0)
        commits.push({
          revision: state.revision,
          time: state.now,
          subject: command.subject.id,
          changes,
          trace: request.trace,
        });
      const news = command.dryRun ? undefined : repetitions.keep(request, answer);
      const told = news && commitNews(news, state, court);
      if (told) commits.push(told);
      verdicts.push({ submitted: { answer } });
    } catch (error) {
      verdicts.push(refusal(error, replica && state));
    }
  }
  return { verdicts, commits };
}

/** What a request names: what its command touches, and where its session is told of an operation. */
function named({ command: { touches }, repeatable }: Request): { readonly touches: readonly ItemRef[] } {
  const session = repeatable?.operation?.session;
  return { touches: session === undefined ? touches : [...touches, newsRef(session)] };
}

/** Also a repetition, and what is refused for its proofs, renews the session that it names. Whether it is the right one is judged later. */
function heed({ writer, subject }: Command<unknown>, { sessions, now }: GroupState): void {
  if (!writer?.session) return;
  const named = sessions.find(writer.session.session);
  if (!named || isOver(named, now) || named.epoch !== writer.session.epoch || named.subject !== ownerOf(subject))
    return;
  sessions.renew(named, now);
}

/** Whatever isn't the command's own is the group's. `at` is the state in which it was judged. */
function refusal(error: unknown, at: { epoch: string; revision: number } | undefined): Verdict {
  if (error instanceof Unprepared) return { unprepared: error };
  if (!(error instanceof Problem)) throw error;
  if (at) error.at = { epoch: at.epoch, revision: at.revision };
  return { problem: error };
}

/** Writes the commits and whatever else the group changed. */
async function write(
  pool: string,
  former: PoolHead | undefined,
  replica: Replica | undefined,
  state: GroupState,
  commits: readonly Commit[],
  time: number,
  definitions: Definitions,
  tx: StoreTransaction,
): Promise<
  Pick<Judged, 'created' | 'rows' | 'newCollections' | 'dropped' | 'described' | 'building'> & { poolId: number }
> {
  if (!state.exists) return { poolId: 0, rows: [], newCollections: [], dropped: false, building: false };
  const head = former ?? (await tx.createPool(pool, state.epoch));
  if (state.description !== head.description) await tx.describePool(head.id, state.description);
  if (state.dropped) {
    await tx.dropPool(head.id);
    return { poolId: head.id, rows: [], newCollections: [], dropped: true, building: false };
  }
  const touched: Collection[] = [];
  for (const collection of state.collections.values()) {
    touched.push(
      collection.id > 0 ? collection : { ...collection, id: await tx.createCollection(head.id, collection.name) },
    );
  }
  const ids = new Map(touched.map(({ name, id }) => [name, id]));
  const idOf = (name: string) => ids.get(name) ?? (replica?.collections.get(name)?.id as number);
  let building = false;
  const rows = commits.flatMap((commit) => rowsOf(commit, idOf));
  if (commits.length > 0) {
    const indexes = replica?.indexes ?? noIndexes;
    await tx.append({
      poolId: head.id,
      revision: state.revision,
      time,
      log: rows,
      ...finalStates(commits, idOf),
      collections: touched,
      ...entriesOf(commits, indexes, idOf),
    });
    const collectionOf = (name: string) => ({ ...(state.get(name) as Collection), id: idOf(name) });
    building = await defineIndexes(commits, head.id, collectionOf, indexes, definitions, tx);
  }
  const newCollections = touched.filter(({ name }) => state.collections.get(name)?.id === 0);
  await defineSystemIndexes(newCollections, head.id, tx);
  return {
    poolId: head.id,
    rows,
    newCollections,
    dropped: false,
    building,
    described: { description: state.description },
    ...(former ? {} : { created: { head: { ...head, description: state.description }, collections: [] } }),
  };
}

/** The pool's locks, read once and kept by the replica from then on. */
async function locksOf(replica: Replica, base: number, tx: StoreTransaction): Promise<PoolLocks> {
  if (replica.locks) return replica.locks;
  const locks = emptyLocks();
  const stored = replica.collections.get(LOCKS);
  if (stored && stored.items > 0) {
    const pages = itemPages(tx, replica.id, { collectionId: stored.id, limit: limits.pageItemsMax });
    for await (const page of pages) for (const item of page) learnLock(locks, item.key, stateOf(item));
  }
  // A table of an older state than the replica's would never learn of what came between.
  if (replica.revision !== base) throw new RetryTransaction('Others committed meanwhile');
  replica.locks = locks;
  return locks;
}

/** The pool's policy, read once and kept by the replica from then on. */
async function policyOf(
  pool: string,
  revision: number,
  replica: Replica | undefined,
  tx: StoreTransaction,
): Promise<PoolPolicy> {
  if (!replica) return new PoolPolicy(pool, new Map());
  const policy = replica.policies?.at(revision) ?? (await readPolicy(replica, tx));
  if (replica.revision === revision) replica.policies ??= new PolicyHistory(policy, sinceWhen(replica, revision));
  return policy;
}

/** The sessions that the group's commands name or look at. */
async function loadSessions(
  group: readonly Request[],
  head: PoolHead | undefined,
  locks: PoolLocks,
  tx: StoreTransaction,
): Promise<SessionStates> {
  const names = new Set<string>();
  const ofLock = (id: string) => {
    const session = locks.get(id)?.session;
    if (session !== undefined) names.add(session);
  };
  for (const { command, repeatable } of group) {
    if (repeatable?.operation?.session !== undefined) names.add(repeatable.operation.session);
    if (command.writer?.session) names.add(command.writer.session.session);
    if (command.writer?.alias) names.add(command.writer.alias.session);
    for (const name of command.sessions ?? []) names.add(name);
    for (const { lock } of command.writer?.locks ?? []) ofLock(lock);
    for (const lock of command.locks ?? []) ofLock(lock);
  }
  return new SessionStates(head && names.size > 0 ? await tx.sessions(head.id, [...names]) : []);
}

async function writeSessions(poolId: number, { deleted, saved }: SessionStates, tx: StoreTransaction): Promise<void> {
  // First, for a name may be another session's from now on.
  if (deleted.length > 0) await tx.deleteSessions(poolId, deleted);
  if (saved.length > 0) await tx.saveSessions(poolId, saved);
}

/** After the transaction is durable: brings this node's replica forward, which tells the watchers, and tells the other nodes. */
export function publish(judged: Judged, replicas: Replicas, bus: Bus): void {
  const { created, commits, replica: present, rows, locks, newCollections, dropped, described } = judged;
  locks.settle();
  const replica = created ? replicas.adopt(created) : present;
  if (!replica) return;
  if (dropped) {
    replicas.drop(replica);
    bus.tell({ poolId: replica.id, epoch: replica.epoch, revision: undefined, rows: [] });
    return;
  }
  const last = commits.at(-1);
  // Others first: they have the longer way.
  if (last) bus.tell({ poolId: replica.id, epoch: replica.epoch, revision: last.revision, rows });
  if (described) replica.description = described.description;
  // Under their ids, but still without content: `advance` counts what the commits bring.
  replica.setCollections(
    newCollections
      .filter(({ name }) => !replica.collections.has(name))
      .map((collection) => ({ ...collection, present: isSystemName(collection.name), items: 0, revision: 0 })),
  );
  // A reader may have seen the new revision in the database first and brought the replica forward already.
  replica.advance(commits.filter(({ revision }) => revision > replica.revision));
}

/** What the items are after all commits of the group: an item that changed twice is stored once. */
function finalStates(commits: readonly Commit[], idOf: (name: string) => number) {
  const last = new Map<string, Change>();
  for (const { changes } of commits) for (const change of changes) last.set(refId(change), change);
  const upserts: StoredItem[] = [];
  const deletions: { collectionId: number; key: string }[] = [];
  for (const { collection, key, after } of last.values()) {
    const collectionId = idOf(collection);
    if (after)
      upserts.push({
        collectionId,
        key,
        json: after.json,
        revision: after.revision,
        createdRevision: after.createdRevision,
      });
    else deletions.push({ collectionId, key });
  }
  return { upserts, deletions };
}
