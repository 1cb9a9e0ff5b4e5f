/**
 * One group: its commands are judged one after another inside a transaction that holds the pool's lock, and what they
 * come to is written in the same transaction. `publish` brings this node's replica forward after it is durable.
 *
 * What is remembered is used only because the replica stands at the locked row's revision.
 */
import type { Definitions } from '../dictionary/definitions.js';
import { errorTable, Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { PoolContent, PoolHead, StoredAnswer, StoredItem, StoreTransaction, Telemetry } from '../ports.js';
import { SessionStates } from '../sessions/session-states.js';
import { Turns, turn } from '../turn.js';
import { isSystemName } from './collections.js';
import { type Command, type Settled, Unprepared } from './commands.js';
import { newEpoch } from './cursor.js';
import { bytesOf, Draft, GroupState, refId } from './draft.js';
import { Exploring, type ExploringOptions } from './exploring.js';
import { defineIndexes, entriesOf } from './index-writes.js';
import { noIndexes } from './indexes.js';
import { loadItems } from './loading.js';
import type { Change, Collection, Commit } from './model.js';
import { type Replica, rowsOf } from './replica.js';
import type { Replicas } from './replicas.js';
import { type Clash, UniqueValues } from './unique.js';

/** An answer as it was or will be sent, for repetition. */
export interface Reply {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: string;
}

/** Asks that the answer be stored with the write, so that a repetition gets the same one. */
export interface Idempotency<Answer> {
  readonly key: string;
  readonly fingerprint: string;
  shape(answer: Answer): Reply;
}

export type Submitted<Answer> =
  | { readonly answer: Answer; readonly replayed?: undefined }
  | { readonly replayed: Reply };

/** A command as it was submitted. */
export interface Request {
  readonly command: Command<unknown>;
  readonly idempotency: Idempotency<unknown> | undefined;
}

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
  readonly newCollections: Collection[];
  readonly dropped: boolean;
  readonly described?: { description: string | undefined };
  /** An index was declared that is left to be built. */
  readonly building: boolean;
}

export interface GroupOptions extends ExploringOptions {
  /** Whether a pool comes into being on its first write. */
  readonly createPools: boolean;
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
  options: GroupOptions,
  telemetry: Telemetry,
): Promise<Judged> {
  const { head, now } = await tx.lockPool(pool);
  const group = take();
  const replica = head && (await replicas.locked(head, tx));
  const state = new GroupState(
    head !== undefined,
    head?.epoch ?? newEpoch(),
    head?.revision ?? 0,
    replica?.collections ?? new Map(),
    head?.description,
    now,
    await loadSessions(group, head, tx),
  );
  const answers = await storedAnswers(pool, group, tx, now);
  const loaded = await loadItems(
    group.map(({ command }) => command),
    state,
    replica,
    tx,
  );
  let work = loaded.bytes;
  const unique = new UniqueValues(replica, tx);

  const commits: Commit[] = [];
  const kept: StoredAnswer[] = [];
  const verdicts: Verdict[] = [];
  const turns = new Turns(limits.turnCost);
  for (const { command, idempotency } of group.slice(0, loaded.commands)) {
    if (turns.areDue(state.checkCost)) await turn();
    // What is left is for the next group: a transaction holds only so much.
    if (work + state.checkCost * limits.bytesPerStep > limits.groupWorkBytesMax && verdicts.length > 0) break;
    try {
      if (loaded.refused) throw loaded.refused;
      const answerId = idempotency && `${command.subject.id}\n${idempotency.key}`;
      const former = answerId === undefined ? undefined : answers.get(answerId);
      if (former) {
        verdicts.push({ submitted: { replayed: replay(former, (idempotency as Idempotency<unknown>).fingerprint) } });
        continue;
      }
      command.reset?.();
      const { explore: look } = command;
      const explore = look && (() => look(new Exploring(state, replica, tx, definitions, options)));
      const { answer, changes } = await decide(command, explore, state, unique, definitions, options, telemetry);
      for (const change of changes) work += bytesOf(change);
      if (changes.length > 0)
        commits.push({ revision: state.revision, time: now, subject: command.subject.id, changes });
      if (idempotency && !command.dryRun) {
        const stored = toStored(pool, command.subject.id, idempotency, answer, now);
        answers.set(answerId as string, stored);
        kept.push(stored);
      }
      verdicts.push({ submitted: { answer } });
    } catch (error) {
      if (error instanceof Unprepared) {
        verdicts.push({ unprepared: error });
        continue;
      }
      if (!(error instanceof Problem)) throw error;
      if (head) error.at = { epoch: state.epoch, revision: state.revision };
      verdicts.push({ problem: error });
    }
  }
  const written = await write(pool, head, replica, state, commits, now, definitions, tx);
  if (written.poolId > 0 && !written.dropped) await writeSessions(written.poolId, state.sessions, tx);
  if (kept.length > 0) await tx.keepAnswers(kept);
  return { verdicts, commits, replica, ...written };
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
): Promise<Pick<Judged, 'created' | 'newCollections' | 'dropped' | 'described' | 'building'> & { poolId: number }> {
  if (!state.exists) return { poolId: 0, newCollections: [], dropped: false, building: false };
  const head = former ?? (await tx.createPool(pool, state.epoch));
  if (state.description !== head.description) await tx.describePool(head.id, state.description);
  if (state.dropped) {
    await tx.dropPool(head.id);
    return { poolId: head.id, newCollections: [], dropped: true, building: false };
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
  if (commits.length > 0) {
    const indexes = replica?.indexes ?? noIndexes;
    await tx.append({
      poolId: head.id,
      revision: state.revision,
      time,
      log: commits.flatMap((commit) => rowsOf(commit, idOf)),
      ...finalStates(commits, idOf),
      collections: touched,
      ...entriesOf(commits, indexes, idOf),
    });
    const collectionOf = (name: string) => ({ ...(state.get(name) as Collection), id: idOf(name) });
    building = await defineIndexes(commits, head.id, collectionOf, indexes, definitions, tx);
  }
  const newCollections = touched.filter(({ name }) => state.collections.get(name)?.id === 0);
  return {
    poolId: head.id,
    newCollections,
    dropped: false,
    building,
    described: { description: state.description },
    ...(former ? {} : { created: { head: { ...head, description: state.description }, collections: [] } }),
  };
}

/** The sessions that the group's commands name or look at. */
async function loadSessions(
  group: readonly Request[],
  head: PoolHead | undefined,
  tx: StoreTransaction,
): Promise<SessionStates> {
  const names = new Set<string>();
  for (const { command } of group) {
    if (command.writer?.session) names.add(command.writer.session.session);
    for (const name of command.sessions ?? []) names.add(name);
  }
  return new SessionStates(head && names.size > 0 ? await tx.sessions(head.id, [...names]) : []);
}

async function writeSessions(poolId: number, { deleted, saved }: SessionStates, tx: StoreTransaction): Promise<void> {
  // First, for a name may be another session's from now on.
  if (deleted.length > 0) await tx.deleteSessions(poolId, deleted);
  if (saved.length > 0) await tx.saveSessions(poolId, saved);
}

async function storedAnswers(
  pool: string,
  group: readonly Request[],
  tx: StoreTransaction,
  now: number,
): Promise<Map<string, StoredAnswer>> {
  const keys = group.flatMap(({ command, idempotency }) =>
    idempotency ? [{ subject: command.subject.id, idempotencyKey: idempotency.key }] : [],
  );
  const answers = keys.length > 0 ? await tx.answers(pool, keys, now) : [];
  return new Map(answers.map((answer) => [`${answer.subject}\n${answer.idempotencyKey}`, answer]));
}

/** After the transaction is durable: brings this node's replica forward, which tells the watchers. */
export function publish(
  { created, commits, replica: present, newCollections, dropped, described }: Judged,
  replicas: Replicas,
): void {
  const replica = created ? replicas.adopt(created) : present;
  if (!replica) return;
  if (dropped) {
    replicas.drop(replica);
    return;
  }
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

/** What one command came to. */
interface Decided {
  readonly answer: unknown;
  readonly changes: readonly Change[];
}

/** Judges a command, and anew without what another item's values forbid, as often as that takes. */
async function decide(
  command: Command<unknown>,
  explore: (() => Promise<void>) | undefined,
  state: GroupState,
  unique: UniqueValues,
  definitions: Definitions,
  options: GroupOptions,
  telemetry: Telemetry,
): Promise<Decided> {
  for (let judgings = 1; ; judgings++) {
    if (judgings > 1) await turn();
    // What is refused bears upon what else the command does.
    if (explore) await explore();
    const draft = new Draft(state, definitions);
    if (command.writer) draft.admit(command.writer, command.subject);
    const finish = guarded(telemetry, () => begin(command, draft, options));
    const wishes = unique.wishes(draft);
    // Ops may hang on one another in a chain that takes a judging for each: after some, nobody gets what another gives up.
    const last = judgings >= limits.judgingsMax;
    const clashes = wishes.length > 0 ? await unique.clashes(wishes, draft, last) : [];
    if (clashes.length === 0)
      return guarded(telemetry, () => settle(command, draft, finish, () => unique.grant(wishes)));
    refuseEach(command, clashes, last);
  }
}

/** A fault of ours in one command is no reason to refuse its neighbours; its draft is thrown away like any other. */
function guarded<T>(telemetry: Telemetry, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof Problem) throw error;
    telemetry.warn('A command could not be judged', { error: String((error as Error).stack) });
    throw new Problem('internal', errorTable.internal.advice);
  }
}

function begin(command: Command<unknown>, draft: Draft, options: GroupOptions): (settled: Settled) => unknown {
  if (command.epoch !== undefined && command.epoch !== draft.group.epoch)
    throw new Problem('notFound', 'The pool was deleted meanwhile.');
  const finish = command.decide(draft);
  if (!draft.group.exists && !draft.createsPool && !draft.dropsPool && !options.createPools) {
    throw new Problem(
      'notFound',
      'There is no such pool, and this server does not make pools on their first write. Make it with PUT.',
    );
  }
  return finish;
}

function settle(
  command: Command<unknown>,
  draft: Draft,
  finish: (settled: Settled) => unknown,
  grant: () => void,
): Decided {
  const changes = draft.accept(command.dryRun ?? false);
  const committed = changes.length > 0 && !command.dryRun;
  if (committed) grant();
  const { revision, epoch } = draft.group;
  return { answer: finish({ revision, epoch, committed }), changes: committed ? changes : [] };
}

/** In the end all that an op does to a clashing item is refused, whether or not it would have done without its last. */
function refuseEach(command: Command<unknown>, clashes: readonly Clash[], wholly: boolean): void {
  const told = new Set<string>();
  for (const { ref, problem } of clashes) {
    if (told.has(refId(ref))) continue;
    told.add(refId(ref));
    if (!command.refuse?.(ref, problem)) throw problem;
    while (wholly && command.refuse(ref, problem));
  }
}

function replay(stored: StoredAnswer, fingerprint: string): Reply {
  if (stored.fingerprint !== fingerprint) {
    throw new Problem(
      'idempotencyKeyReused',
      'The Idempotency-Key was used for another request within the last 24 hours.',
    );
  }
  return { status: stored.status, headers: JSON.parse(stored.headers) as Record<string, string>, body: stored.body };
}

function toStored(
  pool: string,
  subject: string,
  idempotency: Idempotency<unknown>,
  answer: unknown,
  now: number,
): StoredAnswer {
  const { status, headers, body } = idempotency.shape(answer);
  const { key, fingerprint } = idempotency;
  return {
    pool,
    subject,
    idempotencyKey: key,
    fingerprint,
    status,
    headers: JSON.stringify(headers),
    body,
    expiresAt: now + limits.storedAnswerMs,
  };
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
