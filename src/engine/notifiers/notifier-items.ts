/**
 * Notifiers as they are written: what an item of `_notifiers` is completed to, who may write it, and what of it goes into the
 * notifier's row by the same commit.
 */
import { forbidden } from '../access/access-guard.js';
import { fault } from '../access/grant.js';
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import { LOCKS } from '../locks/lock-items.js';
import { ATTACHMENTS } from '../sessions/session-items.js';
import { formatCursor, parseCursor } from '../state/cursor.js';
import type { Draft } from '../state/draft.js';
import type { Json } from '../state/json.js';
import type { Attributes } from '../state/model.js';
import { checkOwnName } from '../state/names.js';
import { ownerOf } from '../subject.js';
import { isItemEvent, NOTIFIERS, type NotifierDefinition, parseNotifier } from './notifier.js';

/**
 * The item as it is kept: defaults written out, and whose it is. `since` is no part of it: it says where a new notifier begins. One
 * that is there goes on where it is, whatever is said of it, so that a repetition neither skips nor repeats anything.
 */
export function completedNotifier(
  draft: Draft,
  key: string,
  attributes: Attributes,
  present: Attributes | undefined,
): Attributes {
  const { since, owner: _owner, ...said } = attributes;
  const definition = parseNotifier(said, '/attributes', draft.group.notifiers.targets);
  const start = startOf(draft, since);
  if (!present) draft.notifierStarts.set(key, start);
  return { ...(definition as unknown as Attributes), owner: ownerOf(draft.subject) };
}

/** Refuses what may not be a notifier, or not its writer's. To be called when it is written. */
export function checkNotifier(draft: Draft, key: string): void {
  const state = draft.item({ collection: NOTIFIERS, key });
  if (!state) return;
  checkOwnName('notifier', key);
  const { access, subject } = draft;
  // It would outlive what its maker may do: a delegation ends by itself, or is revoked by who can't know of this.
  if (subject.lineage?.some((id) => id.startsWith('link:')))
    throw forbidden('A delegation may not make or change notifiers, which would outlive it.');
  const { owner: _owner, ...said } = state.attributes;
  const { events, collection } = said as unknown as NotifierDefinition;
  if (events.includes('attach') || events.includes('detach')) access.checkWatch(ATTACHMENTS);
  if (events.includes('lock')) access.checkWatch(LOCKS);
  if (events.some(isItemEvent)) {
    if (collection !== undefined) access.checkWatch(collection);
    else if (!access.entitlement.isUnbound && !access.entitlement.mayAnywhere('watch'))
      throw forbidden('You may not watch this pool. It takes a rule with the action `watch` on some collection.');
  }
  const added = draft.changes().filter((change) => change.collection === NOTIFIERS && change.op === 'add').length;
  if (added > 0 && (draft.group.get(NOTIFIERS)?.items ?? 0) + added > limits.notifiersPerPoolMax)
    throw new Problem('invalid', `A pool has at most ${limits.notifiersPerPoolMax} notifiers.`);
}

/** Where a notifier begins that is new: after this revision, or with what the log still has. Undefined: with what follows. */
function startOf(draft: Draft, since: Json | undefined): number | 'start' | undefined {
  if (since === undefined || since === 'now') return undefined;
  if (since === 'start') return 'start';
  if (typeof since !== 'string') throw fault('/attributes/since', 'must be "now", "start" or a cursor.');
  const { epoch, revision } = parseCursor(since, '`since`');
  const { group } = draft;
  const { oldestRevision } = group.notifiers;
  const isForeign = epoch !== group.epoch || revision > group.revision;
  if (!isForeign && revision + 1 >= oldestRevision) return revision;
  throw new Problem(
    'cursorExpired',
    isForeign
      ? 'The cursor belongs to another life of this pool. Begin with `since` of "now" or "start".'
      : 'The log no longer reaches back to the cursor. Begin with `since` of "start", which is what it still has.',
    {
      members: {
        oldest: formatCursor(group.epoch, oldestRevision - 1),
        current: formatCursor(group.epoch, group.revision),
      },
    },
  );
}
