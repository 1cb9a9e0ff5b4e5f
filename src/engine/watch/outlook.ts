/**
 * A watcher as policy has it: what its subject may watch at the revision that it has been told, which moves on with the policy of
 * the pool. Who is bound by none looks on everything, always.
 */

import { type Entitlement, unboundEntitlement } from '../access/entitlement.js';
import type { Entitlements } from '../access/entitlements.js';
import { changesPolicy } from '../access/policy-history.js';
import type { Commit } from '../state/model.js';
import type { Replica } from '../state/replica.js';
import { isFree, type Subject } from '../subject.js';
import { sightWithPast } from './past.js';
import type { Sight } from './sight.js';

export class Outlook {
  readonly isFree: boolean;
  #entitlement = unboundEntitlement;

  constructor(
    private readonly entitlements: Entitlements,
    private readonly replica: Replica,
    readonly subject: Subject,
  ) {
    this.isFree = isFree(subject);
  }

  get entitlement(): Entitlement {
    return this.#entitlement;
  }

  /** Looks on by the policy of a revision that the replica has reached. Throws LogExpired where it can't be told any more. */
  async lookAt(revision: number): Promise<void> {
    this.#entitlement = await this.entitlements.entitlement(this.replica, revision, this.subject);
  }

  /** Whether the commit may change what is seen. */
  isTurnedBy(commit: Commit): boolean {
    return !this.isFree && changesPolicy(commit);
  }

  /** What is seen of a collection, or without one of all. */
  readonly sight = (collection?: string): Sight => {
    const { entitlements, replica, subject } = this;
    return sightWithPast(entitlements, replica, this.#entitlement, subject, 'watch', collection);
  };
}
