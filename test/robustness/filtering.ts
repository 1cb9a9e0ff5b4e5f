/**
 * What a filter shows of a history, said once more and as simply as possible: every state of every item is kept, and each is
 * judged by itself. Knows as much of the language as the tests use, and shares no code with src.
 */
import type { Item, Json, LoggedChange } from './client.js';
import type { ModelCommit } from './model.js';

/** A scalar is short for `eq`. */
type Wanted = string | number | { in: Json[] } | { exists: boolean } | { lt: number } | { prefix: string };
export interface Where {
  readonly [name: string]: Wanted | Where | readonly Where[];
}

export function matches(where: Where, item: Item): boolean {
  return Object.entries(where).every(([name, wanted]) => {
    if (name === 'or') return (wanted as Where[]).some((branch) => matches(branch, item));
    if (name === 'not') return !matches(wanted as Where, item);
    const value = name === '/@key' ? item.key : name === '/@revision' ? item.revision : item.attributes[name];
    if (typeof wanted !== 'object' || wanted === null) return value === wanted;
    const [operator, operand] = Object.entries(wanted)[0] as [string, Json];
    switch (operator) {
      case 'in':
        return value !== undefined && (operand as Json[]).includes(value);
      case 'exists':
        return (value !== undefined) === operand;
      case 'lt':
        return typeof value === 'number' && value < (operand as number);
      case 'prefix':
        return typeof value === 'string' && value.startsWith(operand as string);
      default:
        throw new Error(`The reference doesn't know ${operator}`);
    }
  });
}

/** Calls `each` for every commit of the whole history in order, with the items as they are before it and after. */
export function replay(
  commits: readonly ModelCommit[],
  each: (commit: ModelCommit, before: ReadonlyMap<string, Item>, after: ReadonlyMap<string, Item>) => void,
): void {
  const items = new Map<string, Item>();
  for (const commit of commits) {
    const before = new Map<string, Item>();
    for (const { op, collection, key, attributes } of commit.changes) {
      const id = `${collection}/${key}`;
      const former = items.get(id);
      if (former) before.set(id, former);
      if (op === 'delete') items.delete(id);
      else {
        const createdRevision = former?.createdRevision ?? commit.revision;
        items.set(id, { collection, key, revision: commit.revision, createdRevision, attributes });
      }
    }
    each(commit, before, items);
  }
}

/** The history as it looks from inside the filter. */
export function throughFilter(where: Where | undefined, commits: readonly ModelCommit[]): readonly ModelCommit[] {
  if (!where) return commits;
  const seen: ModelCommit[] = [];
  replay(commits, ({ revision, changes }, before, after) => {
    const judge = (change: LoggedChange): LoggedChange[] => {
      const id = `${change.collection}/${change.key}`;
      const [former, item] = [before.get(id), after.get(id)];
      const was = former !== undefined && matches(where, former);
      const is = item !== undefined && matches(where, item);
      if (was && former && item && !is) {
        const names = Object.keys(former.attributes);
        const gone = { changed: names, removed: names, attributes: {}, previous: former.attributes };
        return [{ ...change, op: 'delete', ...gone, reason: 'left' }];
      }
      if (!was && former && item && is) {
        const come = { changed: Object.keys(item.attributes), removed: [], previous: {} };
        return [{ ...change, op: 'add', ...come, reason: 'entered' }];
      }
      return was || is ? [change] : [];
    };
    seen.push({ revision, changes: changes.flatMap(judge) });
  });
  return seen;
}
