/**
 * The changes that are about a session, beyond what its views see of them: of its item in `_clients`, of its attachments,
 * of locks where they are news for it, and of its operations. Its streams read the commits that have such changes by themselves.
 */
import { LOCKS } from '../locks/lock-items.js';
import { OPERATIONS } from '../operations/operation-news.js';
import { ATTACHMENTS, CLIENTS } from '../sessions/session-items.js';
import type { Change } from '../state/model.js';
import { lockEventsOf } from './lock-events.js';

export function sessionsOf(change: Change): string[] {
  switch (change.collection) {
    case CLIENTS:
    case OPERATIONS:
      return [change.key];
    case ATTACHMENTS:
      return [change.key.slice(0, change.key.indexOf('/'))];
    case LOCKS:
      return lockEventsOf(change).map(({ session }) => session);
    default:
      return [];
  }
}
