/**
 * Former commits as a subject may be told of them now: what they may see now, and might see then. So a policy that lets them see
 * something doesn't tell what it was before; and of a commit that changed the policy, each side is judged by the policy of its
 * own time.
 */

import type { Entitlement } from '../access/entitlement.js';
import type { Entitlements } from '../access/entitlements.js';
import { CHANGES } from '../state/log-items.js';
import type { Replica } from '../state/replica.js';
import { isFree, type Subject } from '../subject.js';
import { openSight, type PastSight, type Sight, sightOf } from './sight.js';

type Action = 'read' | 'watch';

const OPEN: PastSight = { before: openSight, after: openSight };

/** How the subject, who may do this now, may be told of the commit of a former revision. */
export async function pastSight(
  entitlements: Entitlements,
  replica: Replica,
  now: Entitlement,
  subject: Subject,
  action: Action,
  revision: number,
): Promise<PastSight> {
  if (now.isUnbound) return OPEN;
  const then = await entitlements.entitlement(replica, revision, subject);
  const former = await entitlements.entitlement(replica, revision - 1, subject);
  return { before: sightOf(now.and(former), action), after: sightOf(now.and(then), action) };
}

/** What is seen of a collection now; where that is the log, former commits as they may be told of. */
export function sightWithPast(
  entitlements: Entitlements,
  replica: Replica,
  now: Entitlement,
  subject: Subject,
  action: Action,
  collection?: string,
): Sight {
  const sight = sightOf(now, action, collection);
  if (collection !== CHANGES || isFree(subject)) return sight;
  return { ...sight, past: (revision) => pastSight(entitlements, replica, now, subject, action, revision) };
}
