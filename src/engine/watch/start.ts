/**
 * Where a watcher begins: what its cursor means in the pool as it is now. A cursor that can't be honoured is never quietly
 * taken for another place: it is refused, or the watcher is told to forget what it has. Pure.
 */
import { Problem } from '../errors.js';
import { formatCursor, parseCursor } from '../state/cursor.js';
import type { Replica } from '../state/replica.js';

export type ResetReason = 'compacted' | 'epoch' | 'slow' | 'policy';

export interface Start {
  /** Told everything after this revision; undefined: a snapshot first (attach), or from now on (feed). */
  readonly after: number | undefined;
  /** The watcher is told to forget what it has, because its cursor is no longer of use. */
  readonly reset?: ResetReason;
}

export interface StartRequest {
  /** The Last-Event-ID header; beats `since`. */
  readonly lastEventId?: string | undefined;
  readonly since?: string | undefined;
}

type Pool = Pick<Replica, 'epoch' | 'revision' | 'oldestRevision'>;
type Judgement = { readonly after: number } | { readonly unusable: 'compacted' | 'epoch' };

function judge(pool: Pool, text: string, place: string): Judgement {
  const { epoch, revision } = parseCursor(text, place);
  // A revision that this life of the pool has not reached belongs to another life, whatever the epoch says.
  if (epoch !== pool.epoch || revision > pool.revision) return { unusable: 'epoch' };
  if (revision + 1 < pool.oldestRevision) return { unusable: 'compacted' };
  return { after: revision };
}

/** For an attachment: an unusable cursor becomes a reset and a snapshot. */
export function startOfAttach(pool: Pool, { lastEventId, since }: StartRequest): Start {
  const text = lastEventId || since;
  if (text === undefined) return { after: undefined };
  const judgement = judge(pool, text, lastEventId ? 'Last-Event-ID' : '`since`');
  return 'after' in judgement ? judgement : { after: undefined, reset: judgement.unusable };
}

/** For a stream of changes: an unusable `since` is refused, an unusable Last-Event-ID becomes a reset. */
export function startOfStream(pool: Pool, { lastEventId, since }: StartRequest): Start {
  if (!lastEventId) return { after: since === undefined || since === 'now' ? pool.revision : startOfRead(pool, since) };
  const judgement = judge(pool, lastEventId, 'Last-Event-ID');
  return 'after' in judgement ? judgement : { after: pool.revision, reset: judgement.unusable };
}

/** For a page of changes: the revision after which to read. `start` is the beginning of what is retained. */
export function startOfRead(pool: Pool, since: string | undefined): number {
  if (since === undefined || since === 'start') return pool.oldestRevision - 1;
  if (since === 'now') return pool.revision;
  const judgement = judge(pool, since, '`since`');
  if ('after' in judgement) return judgement.after;
  throw cursorExpired(pool, judgement.unusable);
}

export function cursorExpired(pool: Pool, reason: 'compacted' | 'epoch' | 'policy'): Problem {
  const detail =
    reason === 'policy'
      ? 'A change of policy after the cursor changes more of what you may see than is told at once. Read anew what you may see, and go on from the present cursor.'
      : reason === 'compacted'
        ? 'The log no longer reaches back to the cursor. Begin anew: attach without a cursor for a snapshot, or read with since=start.'
        : 'The cursor belongs to another life of this pool, which was restored or made anew. Begin anew without it.';
  return new Problem('cursorExpired', detail, {
    members: {
      oldest: formatCursor(pool.epoch, pool.oldestRevision - 1),
      current: formatCursor(pool.epoch, pool.revision),
    },
  });
}
