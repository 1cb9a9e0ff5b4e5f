/**
 * What a notifier tells: CloudEvents 1.0 as JSON text, one for each commit that it has something of. Pure.
 *
 * A commit too large for one event is told without values, and if it still is, by the number of its changes alone; either says
 * `truncated`, and where the rest can be read.
 */
import { limits } from '../limits.js';
import { LOCKS } from '../locks/lock-items.js';
import { parseFilter } from '../query/filter.js';
import { ATTACHMENTS } from '../sessions/session-items.js';
import { formatCursor } from '../state/cursor.js';
import type { JsonObject } from '../state/json.js';
import { rangeOf } from '../state/key-order.js';
import type { Change, Commit } from '../state/model.js';
import type { Trace } from '../tracing.js';
import { View, type ViewRequest } from '../watch/view.js';
import { isItemEvent, type NotifierDefinition, type NotifierEvent } from './notifier.js';

/** The types of events are these, with `stargus.` before them. */
export type EventKind = 'change' | 'attach' | 'detach' | 'lock' | 'reset' | 'test';

export interface NotifierMessage {
  readonly id: string;
  readonly kind: EventKind;
  /** The event as JSON text. */
  readonly body: string;
  /** Where the notifier goes on after it. */
  readonly revision: number;
  /** What the commit was made in, where that was followed. */
  readonly trace?: Trace | undefined;
}

/** One view of the log that a notifier has, and which of its changes are events for it. */
export interface Watched {
  readonly view: ViewRequest;
  /** The event that a change is, as the view sees it. */
  eventOf(change: Change): NotifierEvent;
}

/** The views of the log that a definition comes to. */
export function watchedBy({ events, collection, prefix, where, values }: NotifierDefinition): Watched[] {
  const watched: Watched[] = [];
  if (events.some(isItemEvent)) {
    const filter = where === undefined ? undefined : parseFilter(where, '/where');
    watched.push({ view: { collection, prefix, where: filter, values }, eventOf: ({ op }) => op });
  }
  if (events.includes('attach') || events.includes('detach')) {
    const filter = collection === undefined ? undefined : parseFilter({ collection: { eq: collection } }, '/where');
    const eventOf = ({ op }: Change) => (op === 'delete' ? 'detach' : 'attach');
    watched.push({ view: { collection: ATTACHMENTS, where: filter, values }, eventOf });
  }
  if (events.includes('lock')) {
    const isNarrowed = (collection ?? prefix) !== undefined;
    const locksOn = isNarrowed ? { collection, range: rangeOf({ prefix }), attributes: undefined } : undefined;
    watched.push({ view: { collection: LOCKS, locksOn, values }, eventOf: () => 'lock' });
  }
  return watched;
}

/** A change that is told, and the view that tells it. */
export interface Seen {
  readonly event: NotifierEvent;
  readonly change: Change;
  readonly view: View;
}

export interface Origin {
  /** The notifier's name. */
  readonly notifier: string;
  /** The pool's URL. */
  readonly source: string;
  readonly epoch: string;
}

/** The event that a commit is. One of several kinds is of the first of them: changes of items, locks, detaching, attaching. */
export function messageOf(origin: Origin, commit: Commit, seen: readonly Seen[]): NotifierMessage {
  const { revision, trace } = commit;
  const id = `${origin.notifier}-${revision}`;
  const kind = kindOf(seen);
  const bodyOf = (members: string) => textOf(origin, { id, kind, time: commit.time }, dataOf(origin, commit, members));
  const rest = JSON.stringify(`${origin.source}/changes?since=${formatCursor(origin.epoch, revision - 1)}&limit=1`);
  const forms = [
    () => `"changes":[${seen.map(({ view, change }) => view.tellChange(change, revision)).join(',')}]`,
    () => `"changes":[${seen.map((each) => tellShortly(each, revision)).join(',')}],"truncated":true,"rest":${rest}`,
  ];
  for (const form of forms) {
    const body = bodyOf(form());
    if (Buffer.byteLength(body) <= limits.notifierEventBytesMax) return { id, kind, body, revision, trace };
  }
  const body = bodyOf(`"changes":[],"count":${seen.length},"truncated":true,"rest":${rest}`);
  return { id, kind, body, revision, trace };
}

function tellShortly({ view, change }: Seen, revision: number): string {
  return new View({ ...view.request, values: 'none' }, view.name, view.sight).tellChange(change, revision);
}

function kindOf(seen: readonly Seen[]): EventKind {
  const events = new Set(seen.map(({ event }) => event));
  if ([...events].some(isItemEvent)) return 'change';
  return (['lock', 'detach', 'attach'] as const).find((event) => events.has(event)) ?? 'change';
}

/** What came between is lost to the notifier: why, from what cursor on the log can still be read, and where it goes on. */
export function resetOf(
  origin: Origin,
  reason: 'compacted' | 'epoch' | 'policy',
  { oldest, revision, time }: { readonly oldest: number; readonly revision: number; readonly time: number },
): NotifierMessage {
  const id = `${origin.notifier}-reset-${formatCursor(origin.epoch, revision)}`;
  const data = {
    reason,
    oldest: formatCursor(origin.epoch, oldest),
    cursor: formatCursor(origin.epoch, revision),
    revision,
  };
  return { id, kind: 'reset', body: textOf(origin, { id, kind: 'reset', time }, JSON.stringify(data)), revision };
}

/** An event by which somebody sees whether the receiver takes it. */
export function testOf(origin: Origin, unique: string, time: number, data: JsonObject): NotifierMessage {
  const id = `${origin.notifier}-test-${unique}`;
  return { id, kind: 'test', body: textOf(origin, { id, kind: 'test', time }, JSON.stringify(data)), revision: 0 };
}

function textOf(
  { source }: Origin,
  { id, kind, time }: { readonly id: string; readonly kind: EventKind; readonly time: number },
  data: string,
): string {
  const head = JSON.stringify({
    ...{ specversion: '1.0', id, source, type: `stargus.${kind}` },
    ...{ time: new Date(time).toISOString(), datacontenttype: 'application/json' },
  });
  return `${head.slice(0, -1)},"data":${data}}`;
}

function dataOf({ epoch }: Origin, { revision, time, subject }: Commit, members: string): string {
  const head = JSON.stringify({
    ...{ revision, cursor: formatCursor(epoch, revision), time: new Date(time).toISOString(), subject },
  });
  return `${head.slice(0, -1)},${members}}`;
}
