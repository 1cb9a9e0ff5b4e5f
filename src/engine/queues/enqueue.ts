/**
 * What notifiers put into queues: deliveries, in the order of their commits. A delivery that is there already isn't put in again;
 * nor is one of a *series* (what a notifier delivers in one go, by rising revisions) that was put in before, though it be
 * acknowledged since: so a notifier that was killed before it could note how far it got repeats itself to no effect.
 *
 * A queue that is full makes room by dropping its oldest entries, or takes no more, as its owner wants.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { Command, Explorer, Settled } from '../state/commands.js';
import type { JsonObject } from '../state/json.js';
import { compareKeys } from '../state/key-order.js';
import type { ItemRef } from '../state/model.js';
import { checkOwnName } from '../state/names.js';
import { system } from '../subject.js';
import { isKnownInSeries, Queue, queueIsFull } from './queue.js';
import {
  aboutOf,
  deliveryRef,
  type Entry,
  entryOf,
  type Head,
  headOf,
  headRef,
  isHeld,
  QUEUES,
  type QueueRef,
  queueId,
  revisionOf,
} from './queue-items.js';
import { scanQueue } from './scan.js';

/** What a notifier has for a queue. */
export interface Delivery extends QueueRef {
  readonly notifier: string;
  /** Its id, `<notifier>-<revision>`: the same again is the same delivery. */
  readonly delivery: string;
  /** As it would be sent, a CloudEvent whose `data` is the commit. */
  readonly event: JsonObject;
  /** Names what the notifier delivers in one go, by rising revisions. To deliver something again it names another, or none. */
  readonly series?: string | undefined;
}

export interface Enqueued extends Settled {
  /** So many deliveries, from the first, are taken care of; the others wait, for a queue is full. At least one. */
  readonly taken: number;
  /** Of these, how many are new entries. */
  readonly added: number;
  /** Entries that had to make room. */
  readonly dropped: number;
}

/**
 * Puts deliveries into queues, in one commit. Refuses with `tooManyRequests` where the first one's queue is full and wants nothing
 * dropped, or the pool has no room: the notifier waits and tries again. `notFound` where the pool isn't there in that epoch.
 */
export function enqueue(request: {
  readonly epoch: string;
  readonly deliveries: readonly Delivery[];
}): Command<Enqueued> {
  const prepared = request.deliveries.map(prepare);
  const bytes = prepared.reduce((sum, { entry }) => sum + entry.bytes, 0);
  if (prepared.length > limits.queueEnqueueMax || bytes > limits.queueEnqueueBytesMax) {
    const { queueEnqueueMax, queueEnqueueBytesMax } = limits;
    const detail = `At most ${queueEnqueueMax} deliveries, and ${queueEnqueueBytesMax} bytes of events, are enqueued at once.`;
    throw new Problem('tooLarge', detail);
  }
  const touches = prepared.flatMap(({ queue, at }) => [headRef(queue), at]);
  let rivals = new Map<string, Rivals>();
  return {
    subject: system,
    bytes: bytes + 512 * prepared.length,
    epoch: request.epoch,
    touches,
    isUpkeep: true,
    async explore(explorer) {
      await explorer.load(touches);
      rivals = await findRivals(explorer, prepared);
    },
    decide(draft) {
      if (!draft.group.exists) throw new Problem('notFound', 'There is no such pool.');
      const queues = new Map<string, Queue>();
      const queueOf = (ref: QueueRef) => {
        const id = queueId(ref);
        const queue = queues.get(id) ?? new Queue(draft, ref);
        queues.set(id, queue);
        return queue;
      };
      const counts = { taken: 0, added: 0, dropped: 0 };
      // What the command has seen of a queue is thrown away with its draft.
      const left = new Map(Array.from(rivals, ([id, each]) => [id, each.copy()]));
      for (const each of prepared) {
        const queue = queueOf(each.queue);
        const outcome = put(queue, each, left.get(queueId(each.queue)));
        if (outcome === 'full') break;
        counts.taken++;
        counts.added += outcome.added;
        counts.dropped += outcome.dropped;
      }
      const [first] = prepared;
      if (first && counts.taken === 0) throw queueIsFull(first.queue.session);
      for (const queue of queues.values()) queue.save();
      return (settled) => ({ ...settled, ...counts });
    },
  };
}

interface Prepared {
  readonly queue: QueueRef;
  readonly at: ItemRef;
  readonly entry: Pick<Entry, 'delivery' | 'notifier' | 'event' | 'about' | 'bytes'>;
  readonly series: string | undefined;
}

function prepare({ session, owner, notifier, delivery, event, series }: Delivery): Prepared {
  const queue = { session: checkOwnName('session', session), owner };
  const at = delivery.length <= limits.deliveryLengthMax ? deliveryRef(queue, delivery) : undefined;
  if (!at) {
    const detail = `A delivery’s id is \`<notifier>-<revision>\`, at most ${limits.deliveryLengthMax} characters.`;
    throw new Problem('badRequest', detail);
  }
  const bytes = Buffer.byteLength(JSON.stringify(event));
  // Who reads the entry finds the commit in the log.
  const isTold = bytes <= limits.queueEventBytesMax;
  const entry = { delivery, notifier, event: isTold ? event : undefined, about: aboutOf(event) };
  return { queue, at, entry: { ...entry, bytes: isTold ? bytes : 0 }, series };
}

/** Puts one delivery into its queue, or says that it must wait. */
function put(
  queue: Queue,
  { at, entry, series }: Prepared,
  rivals: Rivals | undefined,
): { readonly added: number; readonly dropped: number } | 'full' {
  const { head } = queue;
  if (series !== undefined && isKnownInSeries(head, entry.notifier, series, entry.delivery)) return NOTHING;
  const reach = () => series !== undefined && queue.alter({ series: reached(head, entry, series) });
  if (queue.find(entry.delivery)) {
    reach();
    return NOTHING;
  }
  const duplicates = head.dropDuplicates ? (rivals?.about(entry.about) ?? []) : [];
  // It was overtaken: of what it is about, something newer waits.
  if (duplicates.some(({ ref }) => compareKeys(ref.key, at.key) > 0)) {
    reach();
    return NOTHING;
  }
  const freed = duplicates.reduce((sum, { bytes }) => sum + bytes, 0);
  if (head.overflow === 'refuse' && duplicates.length === 0 && queue.overflows(entry.bytes)) return 'full';
  if (head.overflow === 'refuse' && head.bytes - freed + entry.bytes > limits.queueEventsBytesMax) return 'full';
  for (const { ref } of duplicates) {
    queue.remove(ref, 'dropped');
    rivals?.forget(ref);
  }
  let dropped = 0;
  for (let oldest = queue.overflows(entry.bytes) && rivals?.oldest(); oldest; ) {
    queue.remove(oldest.ref, 'full');
    rivals?.forget(oldest.ref);
    dropped++;
    oldest = queue.overflows(entry.bytes) && rivals?.oldest();
  }
  queue.add(entry);
  rivals?.add({ ref: at, about: entry.about, bytes: entry.bytes, isHeld: false });
  reach();
  return { added: 1, dropped };
}

const NOTHING = { added: 0, dropped: 0 };

/** How far the notifiers' series have come, the one that was heard of last at the end. */
function reached({ series }: Head, { notifier, delivery }: Prepared['entry'], name: string): Head['series'] {
  const others = Object.entries(series ?? {}).filter(([each]) => each !== notifier);
  const kept = others.slice(-(limits.queueSeriesKept - 1));
  return Object.fromEntries([...kept, [notifier, [name, revisionOf(delivery) as number] as const]]);
}

/** An entry that may have to go for another. */
interface Rival {
  readonly ref: ItemRef;
  readonly about: string | undefined;
  readonly bytes: number;
  readonly isHeld: boolean;
}

/** The entries of a queue that may have to go, in their order. */
class Rivals {
  constructor(private readonly all: Rival[]) {}

  copy(): Rivals {
    return new Rivals([...this.all]);
  }

  add(rival: Rival): void {
    const index = this.all.findIndex(({ ref }) => compareKeys(ref.key, rival.ref.key) > 0);
    this.all.splice(index < 0 ? this.all.length : index, 0, rival);
  }

  forget({ key }: ItemRef): void {
    const index = this.all.findIndex(({ ref }) => ref.key === key);
    if (index >= 0) this.all.splice(index, 1);
  }

  /** Those about the same item that nobody works on. */
  about(about: string | undefined): Rival[] {
    return about === undefined ? [] : this.all.filter((rival) => rival.about === about && !rival.isHeld);
  }

  /** What somebody works on goes last. */
  oldest(): Rival | undefined {
    return this.all.find(({ isHeld }) => !isHeld) ?? this.all[0];
  }
}

/** Looks at the entries that may have to go: all of a queue that wants no duplicates; else from the oldest as many as are too many. */
async function findRivals(explorer: Explorer, prepared: readonly Prepared[]): Promise<Map<string, Rivals>> {
  const draft = explorer.draft();
  const found = new Map<string, Rivals>();
  const byQueue = Map.groupBy(prepared, ({ queue }) => queueId(queue));
  for (const [id, deliveries] of byQueue) {
    const { queue } = deliveries[0] as Prepared;
    const present = draft.item(headRef(queue));
    const head = present && headOf(present);
    const bytes = deliveries.reduce((sum, { entry }) => sum + entry.bytes, 0);
    const tooMany = (head?.entries ?? 0) + deliveries.length - (head?.entriesMax ?? limits.queueEntriesMax);
    const tooLarge = (head?.bytes ?? 0) + bytes - limits.queueEventsBytesMax;
    const mayDrop = head?.overflow !== 'refuse' && (tooMany > 0 || tooLarge > 0);
    if (!head?.dropDuplicates && !mayDrop) continue;
    const rivals: Rival[] = [];
    let free = 0;
    let freeBytes = 0;
    await scanQueue(explorer, queue, (key, state) => {
      const entry = entryOf(state);
      const held = isHeld(entry, draft.now);
      rivals.push({ ref: { collection: QUEUES, key }, about: entry.about, bytes: entry.bytes, isHeld: held });
      if (!held) {
        free++;
        freeBytes += entry.bytes;
      }
      return head?.dropDuplicates || free < tooMany || freeBytes < tooLarge;
    });
    found.set(id, new Rivals(rivals));
  }
  return found;
}
