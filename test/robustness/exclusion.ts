/**
 * Judges from outside whether locks excluded: what the clients say that they did, held against the pool's own log. Each client
 * counts an item up under a lock (reads, adds one, writes with the lock's fence as proof), so whatever slips past a lock shows
 * as a count that doesn't rise by one, or as a commit whose writer wasn't the holder at its revision. Pure.
 *
 * The ways of checking are Jepsen's (Kingsbury, etcd 3.4.3, 2020: locks that two clients held at once, and lost updates under
 * them); here the log tells the order, so nothing has to be searched for.
 */
import type { LoggedChange, LoggedCommit } from './client.js';

/** What a client writes down, each step before it goes on. A `write` without an outcome may have applied or not. */
export type Step =
  | { readonly step: 'session'; readonly session: string; readonly epoch: number }
  | { readonly step: 'granted'; readonly item: string; readonly lock: string; readonly fence: number }
  | { readonly step: 'read'; readonly item: string; readonly count: number }
  | WriteStep
  | { readonly step: 'written'; readonly token: string; readonly revision: number }
  | { readonly step: 'refused'; readonly token: string; readonly status: number; readonly code: string }
  | { readonly step: 'unanswered'; readonly token: string }
  /** Something that must not be; it ends the client. */
  | { readonly step: 'failed'; readonly detail: string };

export interface WriteStep {
  readonly step: 'write';
  /** Names this write among all, and is what it leaves as the item's `last`. */
  readonly token: string;
  readonly item: string;
  /** What it sets: one more than was read. */
  readonly count: number;
  readonly lock: string;
  readonly fence: number;
}

export const COUNTERS = 'counters';

export interface Findings {
  /** What must not be, in words. */
  readonly faults: string[];
  /** Writes in the log. */
  readonly applied: number;
  readonly acknowledged: number;
  /** Writes whose proof was stale. */
  readonly refused: number;
  readonly unanswered: number;
  /** Unanswered writes that are in the log. */
  readonly unansweredApplied: number;
  /** An item's lock was held until its session's lease ran out, and another session had it next. */
  readonly takeovers: number;
  /** A lock went on under a new fence with the next process of its session. */
  readonly resumptions: number;
}

/** `log` is the whole log of the counters and of `_locks`, when no lock is left. */
export function checkExclusion(log: readonly LoggedCommit[], steps: readonly Step[]): Findings {
  const check = new ExclusionCheck(steps);
  for (const commit of log) check.take(commit);
  return check.finish();
}

/** A lock as the log has it after some revision. */
interface Grant {
  readonly session: string;
  readonly fence: number;
  readonly items: readonly string[];
}

class ExclusionCheck {
  readonly #faults: string[] = [];
  readonly #writes = new Map<string, WriteStep>();
  readonly #grants = new Map<string, Grant>();
  /** Grants that are over, as `lock;fence`. */
  readonly #ended = new Set<string>();
  readonly #counts = new Map<string, number>();
  /** The revision at which each token came into the log. */
  readonly #applied = new Map<string, number>();
  /** Whose lease ran out while it held the item, until somebody has it again. */
  readonly #lapsed = new Map<string, string>();
  #takeovers = 0;
  #resumptions = 0;

  constructor(private readonly steps: readonly Step[]) {
    for (const step of steps) if (step.step === 'write') this.#writes.set(step.token, step);
  }

  take({ revision, changes }: LoggedCommit): void {
    // A write is judged by the locks as they were before its commit.
    for (const change of changes) if (change.collection === COUNTERS) this.#takeWrite(change, revision);
    for (const change of changes) if (change.collection === '_locks') this.#takeLock(change, revision);
    this.#checkHolders(revision);
  }

  finish(): Findings {
    const tally = { acknowledged: 0, refused: 0, unanswered: this.#writes.size, unansweredApplied: this.#applied.size };
    for (const step of this.steps) {
      if (step.step === 'failed') this.#faults.push(`a client failed: ${step.detail}`);
      if (step.step === 'written') {
        this.#checkWritten(step);
        tally.acknowledged++;
        tally.unanswered--;
        tally.unansweredApplied--;
      }
      if (step.step === 'refused') {
        this.#checkRefused(step);
        tally.refused++;
        tally.unanswered--;
      }
    }
    for (const [lock, { fence }] of this.#grants) this.#faults.push(`${lock};${fence} is still held at the end`);
    return {
      ...tally,
      faults: this.#faults,
      applied: this.#applied.size,
      takeovers: this.#takeovers,
      resumptions: this.#resumptions,
    };
  }

  #takeWrite({ op, key, attributes }: LoggedChange, revision: number): void {
    const { count, last } = attributes as { count: number; last: string };
    const before = this.#counts.get(key) ?? 0;
    this.#counts.set(key, count);
    if (op === 'delete' || count !== before + 1)
      this.#faults.push(`${revision}: ${last} set ${key} to ${count} after ${before}: an update was lost`);
    const former = this.#applied.get(last);
    if (former !== undefined) this.#faults.push(`${revision}: ${last} was applied at ${former} already`);
    this.#applied.set(last, revision);
    const write = this.#writes.get(last);
    if (write?.item !== key || write.count !== count) this.#faults.push(`${revision}: nobody wrote ${last} to ${key}`);
    else this.#checkProof(write, revision);
  }

  #checkProof({ token, item, lock, fence }: WriteStep, revision: number): void {
    const grant = this.#grants.get(lock);
    if (grant?.fence === fence && grant.items.includes(item)) return;
    const then = grant ? `was held since ${grant.fence} on ${grant.items}` : 'was not held';
    this.#faults.push(`${revision}: ${token} wrote ${item} by ${lock};${fence}, which then ${then}`);
  }

  #takeLock({ op, key: lock, attributes, reason }: LoggedChange, revision: number): void {
    const before = this.#grants.get(lock);
    const after = op === 'delete' ? undefined : grantOf(attributes);
    if (before?.fence === after?.fence) return;
    if (before) this.#ended.add(`${lock};${before.fence}`);
    if (before && !after && reason === 'expired')
      for (const item of before.items) this.#lapsed.set(item, before.session);
    if (!after) this.#grants.delete(lock);
    else this.#grant(lock, after, before, revision);
  }

  #grant(lock: string, grant: Grant, before: Grant | undefined, revision: number): void {
    this.#grants.set(lock, grant);
    if (grant.fence !== revision) this.#faults.push(`${revision}: ${lock} was granted under the fence ${grant.fence}`);
    if (before) this.#resumptions++;
    for (const item of grant.items) {
      const former = this.#lapsed.get(item);
      if (former !== undefined && former !== grant.session) this.#takeovers++;
      this.#lapsed.delete(item);
    }
  }

  #checkHolders(revision: number): void {
    const holders = new Map<string, string>();
    for (const { items, session } of this.#grants.values()) {
      for (const item of items) {
        const other = holders.get(item) ?? session;
        if (other !== session) this.#faults.push(`${revision}: ${item} is held by ${other} and by ${session}`);
        holders.set(item, session);
      }
    }
  }

  #checkWritten({ token, revision }: { token: string; revision: number }): void {
    const applied = this.#applied.get(token);
    if (applied !== revision)
      this.#faults.push(`${token} was acknowledged at ${revision}, and the log has it at ${applied}`);
  }

  #checkRefused({ token, status, code }: { token: string; status: number; code: string }): void {
    const { lock, fence } = this.#writes.get(token) ?? {};
    if (this.#applied.has(token)) this.#faults.push(`${token} was refused (${status}), and the log has it`);
    if (status !== 412 || code !== 'lockLost') this.#faults.push(`${token} was refused with ${status} ${code}`);
    // A lease may be over before the commit that ends the lock, but then that commit comes.
    if (!this.#ended.has(`${lock};${fence}`))
      this.#faults.push(`${token} was refused, and ${lock};${fence} never ended`);
  }
}

/** Undefined for a lock that only waits. */
function grantOf(attributes: LoggedChange['attributes']): Grant | undefined {
  const { session, fence, scopes } = attributes as { session: string; fence?: number; scopes: { key: string }[] };
  return fence === undefined ? undefined : { session, fence, items: scopes.map(({ key }) => key) };
}
