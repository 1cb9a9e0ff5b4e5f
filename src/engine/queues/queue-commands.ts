/**
 * What the owner of a queue does with it: takes entries, acknowledges them, gives them back, drops them, alters one, says how the
 * queue is to be kept, and does away with it. All are judged in the pool's own order, so that of several who take at once no two
 * get the same entry.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { Writer } from '../sessions/writer.js';
import type { Command, Settled } from '../state/commands.js';
import type { Draft } from '../state/draft.js';
import type { JsonObject } from '../state/json.js';
import type { ItemRef, ItemState } from '../state/model.js';
import { checkPreconditions, type Preconditions } from '../state/preconditions.js';
import { ownerOf, type Subject } from '../subject.js';
import { type Holder, Queue } from './queue.js';
import {
  aboutOf,
  deliveryRef,
  entryOf,
  type Head,
  headOf,
  headRef,
  isHeld,
  QUEUES,
  type QueueOptions,
  type QueueRef,
} from './queue-items.js';
import { scanQueue } from './scan.js';

/** Who asks, and for which queue. */
export interface QueueAsking {
  readonly subject: Subject;
  readonly writer: Writer | undefined;
  readonly queue: QueueRef;
}

export interface Taken extends Settled {
  readonly entries: readonly ItemState[];
}

/**
 * Takes the oldest entries that nobody has, up to a number and to as many bytes as an answer may have: they are for who took them
 * alone, until the time is over, the session that is named ends or is resumed, or they are acknowledged or pushed back.
 */
export function takeEntries(asking: QueueAsking & { readonly limit: number; readonly holdMs: number }): Command<Taken> {
  const { queue: ref, limit, holdMs } = asking;
  let found: ItemRef[] = [];
  return {
    ...commandOn(asking),
    async explore(explorer) {
      found = [];
      await explorer.load([headRef(ref)]);
      const draft = explorer.draft();
      const head = headIn(draft, ref);
      const max = Math.min(limit, limits.queueHeldMax - (head?.held ?? 0));
      if (!head || max <= 0) return;
      let bytes = 0;
      await scanQueue(explorer, ref, (key, state) => {
        const entry = entryOf(state);
        if (isHeld(entry, draft.now)) return true;
        bytes += entry.bytes;
        if (bytes > limits.queueTakeBytesMax && found.length > 0) return false;
        return found.push({ collection: QUEUES, key }) < max;
      });
    },
    decide(draft) {
      const queue = open(draft, asking);
      const holder: Holder = { holdMs, session: holderIn(draft, asking) };
      const entries = found.map((at) => queue.hold(at, holder));
      if (entries.length > 0) queue.save();
      return (settled) => ({ ...settled, entries });
    },
  };
}

export interface Done extends Settled {
  /** How many of them were there, and something was done to. */
  readonly count: number;
  /** Those that weren't there. */
  readonly missing: readonly string[];
}

/** Takes entries out of the queue for good, held or not. To repeat it does no harm. */
export function acknowledge(asking: QueueAsking & { readonly deliveries: readonly string[] }): Command<Done> {
  return onEach(asking, (queue, at) => {
    queue.remove(at);
    return true;
  });
}

/** Ends the holds of entries, which can be taken at once by anybody, in their place. */
export function pushBack(asking: QueueAsking & { readonly deliveries: readonly string[] }): Command<Done> {
  return onEach(asking, (queue, at) => queue.free(at));
}

function onEach(
  asking: QueueAsking & { readonly deliveries: readonly string[] },
  change: (queue: Queue, at: ItemRef) => boolean,
): Command<Done> {
  const deliveries = [...new Set(asking.deliveries)];
  return {
    ...commandOn(asking, deliveries),
    decide(draft) {
      const queue = open(draft, asking);
      const missing: string[] = [];
      let count = 0;
      for (const delivery of deliveries) {
        const at = queue.find(delivery);
        if (!at) missing.push(delivery);
        else if (change(queue, at)) count++;
      }
      if (count > 0) queue.save();
      return (settled) => ({ ...settled, count, missing });
    },
  };
}

/** Drops entries without their being done with: the oldest, all but the newest of what is about one item, or those that are named. */
export function dropEntries(
  asking: QueueAsking & {
    readonly oldest: number;
    readonly duplicates: boolean;
    readonly deliveries: readonly string[];
  },
): Command<Done> {
  const { queue: ref, oldest, duplicates } = asking;
  const deliveries = [...new Set(asking.deliveries)];
  let found: ItemRef[] = [];
  return {
    ...commandOn(asking, deliveries),
    async explore(explorer) {
      found = [];
      await explorer.load(touchesOf(ref, deliveries));
      const draft = explorer.draft();
      const newest = new Map<string, ItemRef>();
      let seen = 0;
      if (!duplicates && oldest === 0) return;
      await scanQueue(explorer, ref, (key, state) => {
        const at = { collection: QUEUES, key };
        const entry = entryOf(state);
        if (seen++ < oldest) found.push(at);
        // What somebody works on is no duplicate of what comes after it.
        else if (duplicates && entry.about !== undefined && !isHeld(entry, draft.now)) {
          const older = newest.get(entry.about);
          if (older) found.push(older);
          newest.set(entry.about, at);
        }
        return duplicates || seen < oldest;
      });
    },
    decide(draft) {
      const queue = open(draft, asking);
      const missing = deliveries.filter((delivery) => !queue.find(delivery));
      const named = deliveries.flatMap((delivery) => queue.find(delivery) ?? []);
      const all = new Map([...named, ...found].map((at) => [at.key, at]));
      for (const at of all.values()) queue.remove(at, 'dropped');
      if (all.size > 0) queue.save();
      return (settled) => ({ ...settled, count: all.size, missing });
    },
  };
}

export interface Edited extends Settled {
  readonly entry: ItemState;
}

/** Puts another event in place of an entry's, which keeps its place. */
export function editEntry(
  asking: QueueAsking & {
    readonly delivery: string;
    readonly event: JsonObject;
    readonly preconditions: Preconditions | undefined;
  },
): Command<Edited> {
  const { delivery, event, preconditions } = asking;
  const bytes = Buffer.byteLength(JSON.stringify(event));
  if (bytes > limits.queueEventBytesMax)
    throw new Problem('tooLarge', `An event has at most ${limits.queueEventBytesMax} bytes of JSON.`);
  return {
    ...commandOn(asking, [delivery]),
    bytes: bytes * 2,
    decide(draft) {
      const queue = open(draft, asking);
      const at = queue.find(delivery);
      if (preconditions) checkPreconditions(preconditions, at && draft.item(at)?.revision);
      if (!at) throw noEntry(delivery);
      queue.edit(at, { event, about: aboutOf(event), bytes });
      queue.save();
      return (settled) => ({ ...settled, entry: draft.item(at) as ItemState });
    },
  };
}

export interface QueueAnswer extends Settled {
  readonly head: Head | undefined;
}

/** Says how the queue is to be kept; what isn't said is as if it had never been. */
export function setOptions(asking: QueueAsking & { readonly options: QueueOptions }): Command<QueueAnswer> {
  const { queue: ref, options } = asking;
  return {
    ...commandOn(asking),
    decide(draft) {
      if (!draft.group.exists) throw new Problem('notFound', 'There is no such pool.');
      const queue = open(draft, asking);
      const { overflow, dropDuplicates, entriesMax, keepMs } = options;
      queue.alter({ overflow, dropDuplicates, entriesMax, keepMs });
      queue.save();
      return (settled) => ({ ...settled, head: headIn(draft, ref) });
    },
  };
}

/** Does away with a queue and all that is in it. What is delivered later makes a new one. */
export function removeQueue(
  asking: QueueAsking,
): Command<Settled & { readonly dropped: number; readonly existed: boolean }> {
  const { queue: ref } = asking;
  let found: ItemRef[] = [];
  return {
    ...commandOn(asking),
    async explore(explorer) {
      found = [];
      await explorer.load([headRef(ref)]);
      await scanQueue(explorer, ref, (key) => found.push({ collection: QUEUES, key }) > 0);
    },
    decide(draft) {
      const queue = open(draft, asking);
      const existed = headIn(draft, ref) !== undefined;
      for (const at of found) queue.remove(at, 'dropped');
      queue.forget();
      return (settled) => ({ ...settled, dropped: found.length, existed });
    },
  };
}

export function noEntry(delivery: string): Problem {
  return new Problem(
    'notFound',
    `The queue has no delivery ${JSON.stringify(delivery)}: it was acknowledged or dropped, or never came.`,
  );
}

/** The items that a command on some deliveries of a queue looks at. */
export function touchesOf(queue: QueueRef, deliveries: readonly string[]): ItemRef[] {
  return [headRef(queue), ...deliveries.flatMap((delivery) => deliveryRef(queue, delivery) ?? [])];
}

function commandOn({ subject, writer, queue }: QueueAsking, deliveries: readonly string[] = []) {
  const touches = touchesOf(queue, deliveries);
  return { subject, writer, bytes: 512 + 128 * deliveries.length, touches, isUpkeep: true };
}

/** The queue, for who may do something with it: its owner, and who administers `_queues`. */
function open(draft: Draft, { subject, queue }: QueueAsking): Queue {
  draft.access.checkPresence();
  if (queue.owner !== ownerOf(subject)) draft.access.checkAdmin(QUEUES);
  return new Queue(draft, queue);
}

/** The session that takes, if one is named: one of the queue's name. */
function holderIn(draft: Draft, { writer, queue }: QueueAsking): Holder['session'] {
  const session = writer?.session && draft.session(writer.session.session);
  if (!session || session.name === queue.session) return session;
  throw new Problem('badRequest', 'Stargus-Session names another session than the path.');
}

function headIn(draft: Draft, queue: QueueRef): Head | undefined {
  const state = draft.item(headRef(queue));
  return state && headOf(state);
}
