/**
 * What a change of a lock's item tells the sessions that it is news for: that a lock is granted under a new fence, that
 * somebody waits for one of theirs, that one will be broken, was broken, went with its session's lease, or that a wait has come to
 * its end. What a session gives back is not told again. Pure: replayed from the log it is the same.
 */
import { LOCKS } from '../locks/lock-items.js';
import { getMember, type Json, type JsonObject } from '../state/json.js';
import type { Change } from '../state/model.js';

export interface LockEvent {
  /** Who is told. */
  readonly session: string;
  readonly data: JsonObject;
}

export function lockEventsOf(change: Change): LockEvent[] {
  if (change.collection !== LOCKS) return [];
  const session = member(change, 'session') as string;
  const events: LockEvent[] = ownNews(change).map((news) => ({ session, data: { lock: change.key, ...news } }));
  for (const [lock, holder] of newlyAwaited(change))
    events.push({ session: holder, data: { lock, type: 'contended', by: session } });
  return events;
}

/** What the session of the lock itself is told. */
function ownNews(change: Change): JsonObject[] {
  const { op, changed, reason } = change;
  if (reason === 'broken') return [{ type: 'broken' }];
  const fence = member(change, 'fence');
  // A wait for more ends, and what was held stays, as the fence says.
  if (reason === 'timeout') return [{ type: 'lost', reason, ...(op === 'change' && fence !== undefined && { fence }) }];
  // Told to who resumes a session whose lease was over.
  if (reason === 'expired') return [{ type: 'lost', reason }];
  if (op === 'delete') return [];
  const news: JsonObject[] = [];
  if (fence !== undefined && isGrant(change)) news.push({ type: 'granted', fence });
  const breaksAt = changed.includes('breakAt') ? member(change, 'breakAt') : undefined;
  if (breaksAt !== undefined) news.push({ type: 'expiring', breaksAt });
  return news;
}

/** What it waited for is granted, or what it holds was granted anew: each grant has a higher fence. */
function isGrant(change: Change): boolean {
  const former = getMember(change.before, 'fence') ?? 0;
  return (
    change.op === 'change' &&
    change.changed.includes('fence') &&
    (member(change, 'fence') as number) > (former as number)
  );
}

/** The locks that this one waits for now and didn't before, and whose they are. */
function newlyAwaited({ changed, before, after }: Change): [lock: string, session: string][] {
  if (!after || !changed.includes('waitsFor')) return [];
  const former = new Set(list(getMember(before, 'waitsFor')));
  const sessions = list(getMember(after.attributes, 'waitsForSessions'));
  return list(getMember(after.attributes, 'waitsFor'))
    .map((lock, i): [string, string] => [lock, sessions[i] as string])
    .filter(([lock]) => !former.has(lock));
}

function list(value: Json | undefined): string[] {
  return Array.isArray(value) ? (value as string[]) : [];
}

/** An attribute of the lock: of one that is gone, as it was. */
function member({ before, after }: Change, name: string): Json | undefined {
  return getMember(after?.attributes ?? before, name);
}
