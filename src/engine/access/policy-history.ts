/**
 * The policies that a pool had, by revision: what is told of a revision is judged by the policy of that revision, also when it is
 * told later. It is known from some revision on; the replica brings it forward with each commit, and whoever resumes from before
 * has it extended back (access.ts).
 */
import { limits } from '../limits.js';
import type { Change, Commit } from '../state/model.js';
import { POLICIES } from './policy.js';
import type { PoolPolicy } from './pool-policy.js';

interface Version {
  /** The revision of the commit that made it, or one since which it is known to have held. */
  readonly since: number;
  readonly policy: PoolPolicy;
}

/** Changes of policies, and the revision of their commit. */
export interface PolicyChanges {
  readonly revision: number;
  readonly changes: readonly Change[];
}

export class PolicyHistory {
  /** In the order of their revisions; at least one. */
  #versions: Version[];

  /** The policy held from `since` on, until the present revision. */
  constructor(policy: PoolPolicy, since: number) {
    this.#versions = [{ since, policy }];
  }

  get current(): PoolPolicy {
    return (this.#versions.at(-1) as Version).policy;
  }

  /** From this revision on all policies are known. */
  get knownFrom(): number {
    return (this.#versions[0] as Version).since;
  }

  /** The policy as the commit of a revision left it; undefined where it isn't known. */
  at(revision: number): PoolPolicy | undefined {
    return this.#versions.findLast(({ since }) => since <= revision)?.policy;
  }

  /** Since when the policy of a revision has held. */
  sinceOf(revision: number): number {
    return this.#versions.findLast(({ since }) => since <= revision)?.since ?? revision;
  }

  advance({ revision, changes }: Pick<Commit, 'revision' | 'changes'>): void {
    const policy = this.current.after(changes);
    if (policy === this.current) return;
    this.#versions.push({ since: revision, policy });
    if (this.#versions.length > limits.policyVersionsKept) this.#versions.shift();
  }

  /** Makes known what held from `since` on: `former` are all commits after it, up to `knownFrom`, that changed policies. */
  extend(since: number, former: readonly PolicyChanges[]): void {
    const [first] = this.#versions as [Version];
    if (since >= first.since) return;
    const older: Version[] = [];
    let { policy } = first;
    let known = first.since;
    for (const { revision, changes } of former.toReversed()) {
      if (revision > known) continue;
      // The oldest version may be known to have held for longer than since its commit.
      older.unshift({ since: revision, policy });
      policy = policy.before(changes);
      known = revision - 1;
    }
    older.unshift({ since, policy });
    this.#versions = [...older, ...this.#versions.slice(1)];
  }
}

/** Whether the commit changes the policy of its pool. */
export function changesPolicy({ changes }: Pick<Commit, 'changes'>): boolean {
  return changes.some(({ collection }) => collection === POLICIES);
}
