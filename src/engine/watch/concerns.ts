/**
 * What a change is about beyond what views see of it: the session whose item in `_clients` it is of, or whose attachment, or for which
 * a lock's change is news, or one of whose operations it is; or the queue that it is news of. Those who are told of these read the commits that have such changes by
 * themselves.
 */
import { LOCKS } from '../locks/lock-items.js';
import { OPERATIONS } from '../operations/operation-news.js';
import { QUEUES } from '../queues/queue-items.js';
import { ATTACHMENTS, CLIENTS } from '../sessions/session-items.js';
import type { Change } from '../state/model.js';
import { lockEventsOf } from './lock-events.js';
import { queueEventOf } from './queue-events.js';

/** Sessions by their id, and queues by theirs, which has a slash. */
export function concernsOf(change: Change): string[] {
  switch (change.collection) {
    case CLIENTS:
    case OPERATIONS:
      return [change.key];
    case ATTACHMENTS:
      return [change.key.slice(0, change.key.indexOf('/'))];
    case LOCKS:
      return lockEventsOf(change).map(({ session }) => session);
    case QUEUES:
      return [queueEventOf(change)?.queue ?? []].flat();
    default:
      return [];
  }
}
