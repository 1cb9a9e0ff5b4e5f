/**
 * The change log as a collection: the system collection `_changes` has one item for each commit that the log retains, under
 * the revision as sixteen digits, so that keys order as commits do. Nothing of it is stored: an item is made of its commit
 * when somebody asks, and to a watcher each commit is the adding of its item. Pure.
 *
 * A commit may be many times as large as an item. What is shown of it is bounded: first the values are left out, then
 * changes.
 */
import { limits } from '../limits.js';
import type { StoredItem } from '../ports.js';
import { compareKeys, type KeyRange } from './key-order.js';
import { type Change, type Collection, type Commit, ItemState } from './model.js';

export const CHANGES = '_changes';
/** Stored collections have positive ids. */
export const CHANGES_ID = -1;

/** What the log retains: from the oldest revision to the newest. */
interface Retained {
  readonly oldestRevision: number;
  readonly revision: number;
}

/** The collection as it is whenever it is looked at. */
export function logCollection(pool: Retained): Collection {
  return {
    id: CHANGES_ID,
    name: CHANGES,
    present: true,
    get items() {
      return pool.revision - pool.oldestRevision + 1;
    },
    get revision() {
      return pool.revision;
    },
  };
}

const KEY_DIGITS = 16;

export function keyOfRevision(revision: number): string {
  return String(revision).padStart(KEY_DIGITS, '0');
}

/** The revision of the commit that the key names, if the log retains it. */
export function revisionOfKey(key: string, { oldestRevision, revision }: Retained): number | undefined {
  const named = /^\d{16}$/.test(key) ? Number(key) : 0;
  return named >= oldestRevision && named <= revision ? named : undefined;
}

export interface LogStretch extends KeyRange {
  /** Only keys strictly beyond this one, in the direction of reading. */
  readonly after?: string | undefined;
  readonly backward?: boolean | undefined;
}

/** The retained revisions whose keys lie in the range: none where `last` is below `first`. */
export function revisionsIn(
  { start, end, after, backward }: LogStretch,
  { oldestRevision, revision }: Retained,
): { first: number; last: number } {
  const at = (key: string) => firstNotBelow(key, oldestRevision, revision + 1);
  let first = start === undefined ? oldestRevision : at(start);
  let last = end === undefined ? revision : at(end) - 1;
  if (after !== undefined && backward) last = Math.min(last, at(after) - 1);
  // The smallest string above a key is the key and a NUL.
  else if (after !== undefined) first = Math.max(first, at(`${after}\0`));
  return { first, last };
}

/** The lowest revision from `low` on whose key isn't below the text; `high` where there is none below that. */
function firstNotBelow(text: string, low: number, high: number): number {
  let [from, to] = [low, Math.max(low, high)];
  while (from < to) {
    const middle = Math.floor((from + to) / 2);
    if (compareKeys(keyOfRevision(middle), text) < 0) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** A commit as an item. */
export function stateOfCommit(commit: Commit): ItemState {
  return new ItemState(shown(commit).json, commit.revision, commit.revision);
}

/** The same as the store would answer it. */
export function itemOfCommit(commit: Commit): StoredItem {
  const { revision } = commit;
  const { json } = shown(commit);
  return { collectionId: CHANGES_ID, key: keyOfRevision(revision), json, revision, createdRevision: revision };
}

/** The change that a commit is to `_changes`: it adds an item. */
export interface LogAddition extends Change {
  readonly commit: Commit;
}

/** A commit as the change that it is to `_changes`. */
export function additionOf(commit: Commit): LogAddition {
  const { json, names } = shown(commit);
  return {
    commit,
    collection: CHANGES,
    key: keyOfRevision(commit.revision),
    op: 'add',
    changed: names,
    removed: [],
    before: {},
    formerBytes: 0,
    after: new ItemState(json, commit.revision, commit.revision),
    former: undefined,
  };
}

const NAMES = ['revision', 'time', 'subject', 'changes'];
/** What the members behind the changes take at most: `"truncated":true,"changesTotal":…`. */
const TAIL_BYTES = 64;

/** The item's attributes as JSON text, and their names. */
function shown({ revision, time, subject, changes }: Commit): { json: string; names: string[] } {
  const head = `{"revision":${revision},"time":"${new Date(time).toISOString()}","subject":${JSON.stringify(subject)},"changes":[`;
  const bytesMax = limits.itemBytesMax - Buffer.byteLength(head) - TAIL_BYTES;
  const whole = textsWithin(changes, wholeText, bytesMax);
  if (whole.length === changes.length) return { json: `${head}${whole.join(',')}]}`, names: NAMES };
  const some = textsWithin(changes, textWithoutValues, bytesMax);
  const isCut = some.length < changes.length;
  const total = isCut ? `,"changesTotal":${changes.length}` : '';
  return {
    json: `${head}${some.join(',')}],"truncated":true${total}}`,
    names: [...NAMES, 'truncated', ...(isCut ? ['changesTotal'] : [])],
  };
}

/** The texts of the first changes, as many as fit. */
function textsWithin(changes: readonly Change[], textOf: (change: Change) => string, bytesMax: number): string[] {
  const texts: string[] = [];
  let bytes = 0;
  for (const change of changes) {
    const text = textOf(change);
    bytes += Buffer.byteLength(text) + 1;
    if (bytes > bytesMax) break;
    texts.push(text);
  }
  return texts;
}

function wholeText(change: Change): string {
  const values = `,"attributes":${change.after?.json ?? '{}'},"previous":${JSON.stringify(change.before)}`;
  return `${headText(change)}${values}${tailText(change)}`;
}

function textWithoutValues(change: Change): string {
  return `${headText(change)}${tailText(change)}`;
}

function headText({ op, collection, key, changed, removed }: Change): string {
  return `{"op":"${op}","collection":${JSON.stringify(collection)},"key":${JSON.stringify(key)},"changed":${JSON.stringify(changed)},"removed":${JSON.stringify(removed)}`;
}

function tailText({ reason }: Change): string {
  return reason ? `,"reason":"${reason}"}` : '}';
}
