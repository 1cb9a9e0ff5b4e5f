/**
 * A draft is the pool's state as one command would leave it. The commands of a group are judged one after another, each
 * on a draft over what the ones before it left; a refused command's draft is thrown away and nothing of it remains.
 */
import { AccessGuard } from '../access/access-guard.js';
import { type Entitlement, unboundEntitlement } from '../access/entitlement.js';
import { POLICIES } from '../access/policy.js';
import type { PoolPolicy } from '../access/pool-policy.js';
import type { Definition } from '../dictionary/definition.js';
import type { Definitions } from '../dictionary/definitions.js';
import { type ErrorPlace, Problem } from '../errors.js';
import { limits } from '../limits.js';
import { mayTell } from '../locks/lock-access.js';
import { LockGuard } from '../locks/lock-guard.js';
import { LOCKS, type PoolLocks } from '../locks/lock-items.js';
import { GroupNotifiers, type NotifierStarts } from '../notifiers/group-notifiers.js';
import type { StoredSession, UsageRow } from '../ports.js';
import { checkSession, findSession, isOver, type SessionStates } from '../sessions/session-states.js';
import type { LockProof, Writer } from '../sessions/writer.js';
import { ownerOf, type Subject } from '../subject.js';
import { DICTIONARY, entryRef, isSystemName, tallyCollections } from './collections.js';
import {
  type Attributes,
  type Cause,
  type Change,
  type Collection,
  changeBetween,
  type ItemRef,
  ItemState,
} from './model.js';
import { encodeAttributes } from './operations.js';

/** One string for an item of a pool. A collection's name holds no slash. */
export function refId(ref: ItemRef): string {
  return `${ref.collection}/${ref.key}`;
}

/** The pool as the commands judged so far have left it. */
export class GroupState {
  /** Every item that a command of the group names; undefined where there is none. */
  readonly items = new Map<string, ItemState | undefined>();
  /** The collections that the group has touched, as it leaves them; a new one has the id 0 until it is stored. */
  readonly collections = new Map<string, Collection>();
  dropped = false;
  /** Rows of usage that are in items now. */
  readonly takenUsage: UsageRow[] = [];
  readonly notifiers = new GroupNotifiers();
  /** Steps that judging by the dictionary took, refused commands included. */
  checkCost = 0;
  /** The revision of the pool's row that the group has locked. */
  readonly base: number;

  constructor(
    /** False while the pool isn't there: the group's first commit brings it into being. */
    public exists: boolean,
    readonly epoch: string,
    public revision: number,
    private readonly stored: ReadonlyMap<string, Collection>,
    public description: string | undefined,
    /** The database's clock. */
    readonly now: number,
    readonly sessions: SessionStates,
    /** Every lock of the pool. What a refused command did to them is undone by whoever judged it. */
    readonly locks: PoolLocks,
    /** The pool's policy; undefined where none of the group's commands is bound by it. */
    public policy?: PoolPolicy | undefined,
  ) {
    this.base = revision;
  }

  /** What a subject may do by the policy that the commands judged so far have left. */
  entitlementOf(subject: Subject): Entitlement {
    return this.policy?.entitlementOf(subject) ?? unboundEntitlement;
  }

  /** A collection by name, dropped ones included. */
  get(name: string): Collection | undefined {
    return this.collections.get(name) ?? this.stored.get(name);
  }

  get collectionCount(): number {
    let count = this.stored.size;
    for (const name of this.collections.keys()) if (!this.stored.has(name)) count++;
    return count;
  }
}

interface Touched {
  readonly original: ItemState | undefined;
  state: ItemState | undefined;
  change: Change | undefined;
  /** The JSON text of `state` has at most so many bytes. */
  bytesMax: number;
  /** The change that no lock refuses. */
  unlocked?: Change;
}

export class Draft {
  readonly #touched = new Map<string, Touched>();
  /** Sessions as the command leaves them; undefined where it forgets one. */
  readonly #sessions = new Map<string, StoredSession | undefined>();
  #takenUsage: readonly UsageRow[] = [];
  /** Where notifiers begin that the command makes. */
  readonly notifierStarts: NotifierStarts = new Map();
  /** Set by a command to give the pool another description; `null` removes it. */
  description: string | null | undefined;
  #cost = 0;
  createsPool = false;
  dropsPool = false;

  readonly guard: LockGuard;
  readonly access: AccessGuard;
  /** Items that the writer may do what was asked to, and the state that it led to. */
  readonly #permitted = new Map<string, ItemState | undefined>();
  /** Items of which attributes were written that the writer doesn't see. */
  readonly #blind = new Set<string>();
  #isPermitted = false;
  /** The writer means to lose the right to write policies. */
  isForced = false;

  constructor(
    readonly group: GroupState,
    private readonly definitions: Definitions,
    readonly subject: Subject,
    /** No lock refuses it, and what it may do is judged by its own decision. */
    private readonly isUpkeep = false,
  ) {
    this.access = new AccessGuard(group.entitlementOf(subject));
    this.guard = new LockGuard(group.locks, (lock) => mayTell(this.access, lock, subject));
    this.#isPermitted = isUpkeep || this.access.isUnbound;
  }

  /** The item as the writer sees it. */
  seen(ref: ItemRef): ItemState | undefined {
    return this.#asWritten(ref, this.access.seen(ref, this.item(ref)));
  }

  /**
   * The command writes attributes of the item that its writer doesn't see. Whether that changes them is told by nothing: to the writer
   * it is a write, which other sessions' locks refuse and which gives the item a new revision.
   */
  writeBlindly(ref: ItemRef, names: readonly string[]): void {
    if (!this.isUpkeep) this.guard.check({ ...ref, changed: names, op: 'change' });
    this.#blind.add(refId(ref));
  }

  #asWritten(ref: ItemRef, seen: ItemState | undefined): ItemState | undefined {
    if (!seen || seen.revision === this.nextRevision || !this.#blind.has(refId(ref))) return seen;
    return new ItemState(seen.json, this.nextRevision, seen.createdRevision);
  }

  /** The item as its writer is answered it: who wrote it knows that it is there, and what they may not see is left out. */
  shown(ref: ItemRef): ItemState | undefined {
    const state = this.item(ref);
    const seen = this.access.seen(ref, state);
    if (seen || !state || !this.#permitted.has(refId(ref))) return this.#asWritten(ref, seen);
    return this.#asWritten(ref, new ItemState('{}', state.revision, state.createdRevision));
  }

  /** What was asked to be done to the item so far has been judged, and is permitted. */
  permit(ref: ItemRef): void {
    if (!this.#isPermitted) this.#permitted.set(refId(ref), this.item(ref));
  }

  /** The command as a whole has been judged, and is permitted. */
  permitAll(): void {
    this.#isPermitted = true;
  }

  /** Whatever a command changes must have been judged: what wasn't is refused, so that no path leads past the policy. */
  #checkPermitted(changes: readonly Change[]): void {
    const { group, access, subject } = this;
    if (this.#isPermitted) return;
    for (const [id, { state, change }] of this.#touched)
      if (change && !(this.#permitted.has(id) && this.#permitted.get(id) === state)) throw notJudged(change);
    if (this.description !== undefined || this.dropsPool || (this.createsPool && !group.exists)) access.checkAdmin();
    const { policy } = group;
    const touchesPolicy = changes.some(({ collection }) => collection === POLICIES);
    if (policy && touchesPolicy && !this.isForced)
      access.checkLockout(changes, policy, (next) => next.entitlementOf(subject));
  }

  get locks(): PoolLocks {
    return this.group.locks;
  }

  /** The revision that this command's commit has, if it commits anything. */
  get nextRevision(): number {
    return this.group.revision + 1;
  }

  /** The database's clock. */
  get now(): number {
    return this.group.now;
  }

  /** Judges what the client says of its locks and its session. */
  admit({ session: ref, alias, locks = [] }: Writer, subject: Subject): void {
    for (const proof of locks) this.guard.admit(this.#proven(proof, subject));
    if (!ref) return;
    const session = checkSession(this.session(ref.session), ref, subject, this.now);
    if (alias && (this.session(alias.session)?.id !== session.id || alias.epoch !== session.epoch))
      throw new Problem('badRequest', 'Stargus-Session names another session or epoch than the body.');
    this.guard.admit(session.id);
  }

  /** Of a command that names a session otherwise than by its writer, which the group renews before it judges. */
  renew(session: StoredSession): void {
    this.group.sessions.renew(session, this.now);
  }

  /** The session that holds the lock since that revision. Its lease is looked at, for its end may not be committed yet. */
  #proven({ lock: id, fence }: LockProof, subject: Subject): string {
    const lock = this.locks.get(id);
    const session = lock && this.session(lock.session);
    const isOwn = session?.subject === ownerOf(subject);
    if (!lock?.held || lock.held.fence !== fence || !session || !isOwn || isOver(session, this.now)) {
      throw new Problem('lockLost', `The lock ${JSON.stringify(id)} is not held any more since revision ${fence}.`, {
        members: { lock: id, fence: (isOwn && !isOver(session, this.now) && lock?.held?.fence) || null },
      });
    }
    return session.id;
  }

  /** The sweep looks at the session's locks at that time. */
  wake(id: string, time: number): void {
    const session = this.session(id);
    if (session && (session.wakeAt === null || session.wakeAt > time)) this.saveSession({ ...session, wakeAt: time });
  }

  /** Whether another session has locked what a deletion of the item would write. */
  isLocked(ref: ItemRef): boolean {
    return this.guard.isLocked(ref, Object.keys(this.item(ref)?.attributes ?? {}));
  }

  /** Refuses a change of what another session has locked, or of what may only be written under a lock. */
  #checkLocks(touched: Touched): void {
    const { change } = touched;
    // An op is judged when it is done, and all of them again in the end: mostly there is nothing new.
    if (!change || touched.unlocked === change || this.isUpkeep) return;
    this.guard.check(change);
    if (!isSystemName(change.collection) && this.#requiresLock(change.collection)) this.guard.checkCovered(change);
    touched.unlocked = change;
  }

  /** Whether the dictionary said so before the command, or would after it. */
  #requiresLock(collection: string): boolean {
    if (this.definition(collection).requireLock) return true;
    if (this.#touched.size === 1) return false;
    const touched = this.#touched.get(refId(entryRef(collection)));
    return touched !== undefined && this.definitions.lenient(touched.original).requireLock;
  }

  /** A session by its id or name, among those that the command looks at. */
  session(idOrName: string): StoredSession | undefined {
    const own = findSession(this.#sessions, idOrName);
    if (own) return own;
    const session = this.group.sessions.find(idOrName);
    return session && this.#sessions.has(session.id) ? undefined : session;
  }

  saveSession(session: StoredSession): void {
    this.#sessions.set(session.id, session);
  }

  /** The command has brought rows of usage into items: they go with its commit. */
  takeUsage(rows: readonly UsageRow[]): void {
    this.#takenUsage = rows;
  }

  forgetSession(id: string): void {
    this.#sessions.set(id, undefined);
  }

  item(ref: ItemRef): ItemState | undefined {
    const id = refId(ref);
    const touched = this.#touched.get(id);
    if (touched) return touched.state;
    // The table has all of them.
    if (ref.collection === LOCKS) return this.locks.get(ref.key)?.item;
    if (ref.collection === DICTIONARY && !this.collection(ref.key)) return undefined;
    if (!this.group.items.has(id)) throw new Error(`The item ${id} was not loaded for the command that reads it`);
    return this.group.items.get(id);
  }

  /**
   * Gives the item other attributes, or none at all. Answers the difference that this made. `growth` is by how many bytes
   * the item's JSON text grew at most, where the caller knows: many small operations on a large item of one command
   * then don't encode it each time. `reason` is told where nobody asked for it.
   */
  write(
    ref: ItemRef,
    attributes: Attributes | undefined,
    growth = Number.POSITIVE_INFINITY,
    reason?: Cause,
  ): Change | undefined {
    const before = this.item(ref);
    const id = refId(ref);
    const touched = this.#touched.get(id);
    const bytesMax = (touched?.bytesMax ?? Number.POSITIVE_INFINITY) + growth;
    let after: ItemState | undefined;
    let bytes = 0;
    if (attributes !== undefined) {
      const json = bytesMax > limits.itemBytesMax ? encodeAttributes(attributes) : undefined;
      bytes = json === undefined ? bytesMax : Buffer.byteLength(json);
      after = new ItemState(json, this.nextRevision, before?.createdRevision ?? this.nextRevision, attributes);
    }
    const change = changeBetween(ref, before, after);
    if (!change) return undefined;
    if (!touched) {
      this.#touched.set(id, { original: before, state: after, change, bytesMax: bytes });
    } else {
      touched.state = after;
      touched.bytesMax = bytes;
      touched.change = changeBetween(ref, touched.original, after);
      // What comes back to where it was has not changed, and keeps its revision.
      if (!touched.change) touched.state = touched.original;
    }
    if (reason) this.#explain(id, reason);
    return change;
  }

  #explain(id: string, reason: Cause): void {
    const touched = this.#touched.get(id);
    if (touched?.change) touched.change = { ...touched.change, reason };
  }

  collection(name: string): Collection | undefined {
    const collection = this.group.get(name);
    return collection?.present ? collection : undefined;
  }

  /** Brings the collection into being, with an empty entry in the dictionary; also one whose entry the command has deleted. */
  createCollection(name: string): void {
    const ref = entryRef(name);
    const touched = this.#touched.get(refId(ref));
    const isThere = touched ? touched.state !== undefined : this.collection(name) !== undefined;
    if (isThere) return;
    this.write(ref, {});
    // Who may make items may make them where there were none.
    this.permit(ref);
  }

  /** What the dictionary says of an application's collection. */
  definition(collection: string): Definition {
    return this.definitions.of(this.item(entryRef(collection)));
  }

  /** The same; of an entry that can't be used, nothing. */
  lenientDefinition(collection: string): Definition {
    return this.definitions.lenient(this.item(entryRef(collection)));
  }

  /** Answers how to undo what is done to the item from now on. */
  savepoint(ref: ItemRef): () => void {
    const id = refId(ref);
    const touched = this.#touched.get(id);
    const copy = touched && { ...touched };
    const isPermitted = this.#permitted.has(id);
    const permitted = this.#permitted.get(id);
    return () => {
      if (isPermitted) this.#permitted.set(id, permitted);
      else this.#permitted.delete(id);
      if (copy) this.#touched.set(id, copy);
      else this.#touched.delete(id);
    };
  }

  /**
   * Judges what the command has made of an item so far by the definition of its collection. Answers what is told in the mode
   * `warn`; throws `schemaViolation` with every violation where they are refused.
   */
  check(ref: ItemRef): readonly ErrorPlace[] {
    const touched = this.#touched.get(refId(ref));
    if (touched?.change) {
      this.#checkLocks(touched);
      // Its collection may come into being with it.
      if (!isSystemName(ref.collection) && !this.collection(ref.collection) && !this.isUpkeep)
        this.guard.check({ ...entryRef(ref.collection), changed: [], op: 'add' });
    }
    if (!touched?.change || !touched.state || isSystemName(ref.collection)) return NOTHING_WRONG;
    const definition = this.definition(ref.collection);
    if (!definition.checks) return NOTHING_WRONG;
    this.charge(0);
    const all = definition.violations(touched.state.attributes, touched.original?.attributes);
    this.charge(definition.cost);
    const violations = this.access.faultsShown(ref, touched.state, all);
    if (violations.length === 0 || definition.mode === 'warn') return violations;
    throw schemaViolation(ref, violations);
  }

  /** Adds what judging an item has cost. One command holds up all others of its pool only for so long. */
  charge(cost: number): void {
    this.#cost += cost;
    this.group.checkCost += cost;
    if (this.#cost <= limits.commandCostMax) return;
    throw new Problem(
      'tooLarge',
      `Checking the items by the dictionary and by conditions takes more than ${limits.commandCostMax} steps; split the request.`,
    );
  }

  /** An item as the command has left it so far, where the command or its group has to do with it. */
  known(ref: ItemRef): { readonly state: ItemState | undefined } | undefined {
    const id = refId(ref);
    const touched = this.#touched.get(id);
    if (touched) return touched;
    return this.group.items.has(id) ? { state: this.group.items.get(id) } : undefined;
  }

  /** The net changes, in the order in which their items were first touched. */
  changes(): Change[] {
    const changes: Change[] = [];
    for (const { change } of this.#touched.values()) if (change) changes.push(change);
    return changes;
  }

  /**
   * Checks the command as a whole and leaves the draft's state to the group, unless it is a dry run. To be called once,
   * after the command has been judged. Answers the net changes.
   */
  accept(dryRun: boolean): Change[] {
    const { group } = this;
    for (const { collection, op } of this.changes())
      if (op !== 'delete' && !isSystemName(collection)) this.createCollection(collection);
    const changes = this.changes();
    this.#checkPermitted(changes);
    for (const touched of this.#touched.values()) this.#checkLocks(touched);
    if (this.description !== undefined && (this.description ?? undefined) !== group.description && group.exists)
      this.guard.checkWhole();
    this.#checkBytes(changes);
    const collections = tallyCollections(group, changes, this.nextRevision);
    this.#checkCollections(collections);
    if (!group.exists && changes.length === 0 && !this.createsPool && !this.dropsPool) {
      throw new Problem('notFound', 'There is no such pool, and nothing was written that would bring it into being.');
    }
    if (dryRun || (this.dropsPool && !group.exists)) return changes;
    group.exists = true;
    for (const [id, { state }] of this.#touched) group.items.set(id, state);
    for (const collection of collections) group.collections.set(collection.name, collection);
    for (const [id, session] of this.#sessions) {
      if (session) group.sessions.save(session);
      else group.sessions.delete(id);
    }
    group.takenUsage.push(...this.#takenUsage);
    group.notifiers.take(changes, this.notifierStarts, this);
    group.policy = group.policy?.after(changes);
    if (this.description !== undefined) group.description = this.description ?? undefined;
    if (this.dropsPool) group.dropped = true;
    if (changes.length > 0) group.revision += 1;
    return changes;
  }

  #checkCollections(touched: readonly Collection[]): void {
    const fresh = touched.filter(({ name }) => !this.group.get(name)).length;
    if (fresh > 0 && this.group.collectionCount + fresh > limits.collectionsPerPoolMax) {
      throw new Problem(
        'invalid',
        `A pool holds at most ${limits.collectionsPerPoolMax} collections, dropped ones included.`,
      );
    }
  }

  #checkBytes(changes: readonly Change[]): void {
    // What a session had must go with it, however much else that sets free.
    if (changes.length < 2 || this.isUpkeep) return;
    let bytes = 0;
    for (const change of changes) bytes += bytesOf(change);
    if (bytes > limits.commitBytesMax) {
      throw new Problem(
        'tooLarge',
        `One commit holds at most ${limits.commitBytesMax} bytes of items, before and after; split the request.`,
      );
    }
  }
}

const NOTHING_WRONG: readonly ErrorPlace[] = [];

function notJudged({ collection, key }: Change): Problem {
  return new Problem('forbidden', `You may not change ${collection}/${key} this way.`);
}

function schemaViolation({ collection, key }: ItemRef, violations: readonly ErrorPlace[]): Problem {
  const [first] = violations;
  const more = violations.length > 1 ? ` (and ${violations.length - 1} more)` : '';
  return new Problem(
    'schemaViolation',
    `${collection}/${key} is not as the data dictionary says: ${first?.pointer} ${first?.detail}${more}`,
    { errors: [...violations] },
  );
}

/** Roughly what a change holds in memory and in the log. */
export function bytesOf({ after, formerBytes, key }: Change): number {
  return (after?.json.length ?? 0) + formerBytes + key.length;
}
