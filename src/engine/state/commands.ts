/**
 * Commands: what can be asked of a pool, each judged by a pure `decide` on a draft of the pool's state, inside the commit. A
 * command names the items it looks at, so that a group loads all of them with one read; one that can't name them beforehand
 * (a deletion by query, a definition) explores first and is judged in a group of its own.
 */
import type { Problem } from '../errors.js';
import type { IndexEntry, Store, StoredItem, UsageRow } from '../ports.js';
import type { Selection } from '../query/run.js';
import type { Writer } from '../sessions/writer.js';
import type { Subject } from '../subject.js';
import type { Draft } from './draft.js';
import type { KeyRange } from './key-order.js';
import type { ItemRef } from './model.js';

export interface Command<Answer> {
  readonly subject: Subject;
  /** Roughly what the command holds in memory while it waits. */
  readonly bytes: number;
  readonly touches: readonly ItemRef[];
  /** Only in this life of the pool; `notFound` in another one, or where the pool is gone. */
  readonly epoch?: string | undefined;
  /** Judged and answered as if for good, but never applied. */
  readonly dryRun?: boolean;
  /** The session that the client names, which must live and is renewed, and the locks that it proves to hold. */
  readonly writer?: Writer | undefined;
  /** Ids or names of sessions that it looks at. */
  readonly sessions?: readonly string[];
  /** Locks whose sessions it looks at. */
  readonly locks?: readonly string[];
  /** It writes what clients can't by themselves: no lock refuses it, and what its subject may do it judges by itself. */
  readonly isUpkeep?: boolean;
  /** Its subject means to lose the right to write policies. */
  readonly isForced?: boolean | undefined;
  /** Reads what `decide` will need and can't be named beforehand. */
  readonly explore?: (explorer: Explorer) => Promise<void>;
  /**
   * Told that one of its items would take a value that another one holds: true when the command can be judged anew without
   * it, false when it is refused as a whole.
   */
  readonly refuse?: (ref: ItemRef, problem: Problem) => boolean;
  /** Forgets what it was told when it was judged before: a transaction is repeated as if it had never been. */
  readonly reset?: () => void;
  decide(draft: Draft): (settled: Settled) => Answer;
}

/**
 * Thrown by a command that wants to look at much before it is judged: `prepare` is done without the pool's lock, then the
 * command is judged anew.
 */
export class Unprepared extends Error {
  constructor(readonly prepare: (store: Store) => Promise<void>) {
    super('The command is not prepared');
    this.name = 'Unprepared';
  }
}

/** Reads the present state inside the commit's transaction, and leaves what it reads to the draft. */
export interface Explorer {
  /** The pool's id; 0 while there is none. */
  readonly poolId: number;
  /** The pool's state, as the commands before have left it, as a draft to try things on. */
  draft(): Draft;
  /** All items of a collection, page by page; they aren't left to the draft. */
  pages(collection: string): AsyncIterable<readonly StoredItem[]>;
  /** The named items that there are; they aren't left to the draft. */
  items(collection: string, keys: readonly string[]): Promise<StoredItem[]>;
  /** The keys of a collection's items that changed after the revision; undefined when they are too many or forgotten. */
  changedSince(collection: string, revision: number): Promise<Set<string> | undefined>;
  /** Leaves the items that match to the draft and answers their keys, in order, up to the limit. */
  matching(collection: string, selection: Selection, limit: number): Promise<{ keys: string[]; more: boolean }>;
  /**
   * Looks at up to `limit` items whose time is over, beyond an entry of their index: leaves those that nobody has locked to the
   * draft, and answers their keys and the last entry that was looked at, undefined where there was none.
   */
  expired(
    collection: string,
    limit: number,
    after: IndexEntry | undefined,
  ): Promise<{ keys: string[]; last: IndexEntry | undefined }>;
  /** How many items the range holds, counted up to `max`. */
  count(collection: string, range: KeyRange, max: number): Promise<number>;
  /** Leaves the items to the draft. */
  load(refs: readonly ItemRef[]): Promise<void>;
  /** Up to `limit` rows of usage; `Draft.takeUsage` takes them away. */
  usage(limit: number): Promise<UsageRow[]>;
  range(collection: string, range: KeyRange, limit: number): Promise<{ items: StoredItem[]; more: boolean }>;
}

/** What became of a command: the revision of its commit, or of the state in which it was judged. */
export interface Settled {
  readonly revision: number;
  readonly epoch: string;
  readonly committed: boolean;
}
