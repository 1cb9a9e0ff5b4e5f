/**
 * A queue on a draft: what a command does to entries, with the head that counts them. Every change of an entry goes through here, so
 * that the head is right; it is written once, by `save`. Pure.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { Draft } from '../state/draft.js';
import type { Attributes, Cause, ItemRef, ItemState } from '../state/model.js';
import {
  deliveryRef,
  type Entry,
  entryOf,
  type Head,
  headOf,
  headRef,
  isHeld,
  QUEUES,
  type QueueRef,
  revisionOf,
} from './queue-items.js';

/** Who takes entries. */
export interface Holder {
  readonly holdMs: number;
  readonly session: { readonly id: string } | undefined;
}

export class Queue {
  #head: Head;

  constructor(
    private readonly draft: Draft,
    readonly ref: QueueRef,
  ) {
    const present = draft.item(headRef(ref));
    const now = timeText(draft.now);
    const none = { entries: 0, bytes: 0, held: 0, dropped: 0, usedAt: now };
    this.#head = present
      ? headOf(present)
      : { session: ref.session, owner: ref.owner, ...none, dueAt: timeText(draft.now + limits.queueIdleMs) };
  }

  get head(): Head {
    return this.#head;
  }

  get entriesMax(): number {
    return this.#head.entriesMax ?? limits.queueEntriesMax;
  }

  /** Whether an entry more with so many bytes is too much. */
  overflows(bytes: number): boolean {
    const { entries, bytes: present } = this.#head;
    return entries >= this.entriesMax || present + bytes > limits.queueEventsBytesMax;
  }

  /** The entry of a delivery that the draft has looked at. */
  find(delivery: string): ItemRef | undefined {
    const ref = deliveryRef(this.ref, delivery);
    return ref && this.draft.item(ref) ? ref : undefined;
  }

  add(entry: Pick<Entry, 'delivery' | 'notifier' | 'event' | 'about' | 'bytes'>): ItemRef {
    const { draft, ref } = this;
    const at = deliveryRef(ref, entry.delivery) as ItemRef;
    this.#checkRoom();
    const keptUntil = timeText(draft.now + (this.#head.keepMs ?? limits.queueKeepMsDefault));
    const enqueuedAt = timeText(draft.now);
    this.#write(at, { ...ref, ...entry, enqueuedAt, takes: 0, keptUntil, dueAt: keptUntil });
    const { entries, bytes } = this.#head;
    this.alter({ entries: entries + 1, bytes: bytes + entry.bytes, usedAt: enqueuedAt });
    return at;
  }

  /** Takes an entry out: it is done with, or there is a cause. What was lost is counted. */
  remove(at: ItemRef, cause?: Cause): void {
    const entry = this.#entry(at);
    this.#write(at, undefined, cause);
    const { entries, bytes, held, dropped } = this.#head;
    this.alter({
      entries: entries - 1,
      bytes: bytes - entry.bytes,
      held: entry.heldUntil === undefined ? held : held - 1,
      dropped: cause === 'full' || cause === 'expired' ? dropped + 1 : dropped,
    });
  }

  /** Gives a free entry to somebody for a time. */
  hold(at: ItemRef, { holdMs, session }: Holder): ItemState {
    const { now } = this.draft;
    const { heldBy: _by, ...entry } = this.#entry(at);
    const until = now + holdMs;
    this.#write(at, {
      ...entry,
      takes: entry.takes + 1,
      heldUntil: timeText(until),
      ...(session && { heldBy: session.id }),
      dueAt: timeText(Math.min(until, Date.parse(entry.keptUntil))),
    });
    if (entry.heldUntil === undefined) this.alter({ held: this.#head.held + 1 });
    return this.draft.item(at) as ItemState;
  }

  /** Ends the hold of an entry, which stays in its place; false where there was none. */
  free(at: ItemRef, cause?: Cause): boolean {
    const { heldUntil, heldBy: _by, ...entry } = this.#entry(at);
    if (heldUntil === undefined) return false;
    this.#write(at, { ...entry, dueAt: entry.keptUntil }, cause);
    this.alter({ held: this.#head.held - 1 });
    return true;
  }

  /** Puts another event in place of an entry's. */
  edit(at: ItemRef, { event, about, bytes }: Pick<Entry, 'event' | 'about' | 'bytes'>): void {
    const { about: _about, ...entry } = this.#entry(at);
    const growth = bytes - entry.bytes;
    if (growth > 0 && this.#head.bytes + growth > limits.queueEventsBytesMax) throw queueIsFull(this.ref.session);
    this.#write(at, {
      ...entry,
      event,
      ...(about !== undefined && { about }),
      bytes,
      editedAt: timeText(this.draft.now),
    });
    this.alter({ bytes: this.#head.bytes + growth });
  }

  alter(members: Partial<Head>): void {
    this.#head = { ...this.#head, ...members };
  }

  /** Whether the entry can be taken. */
  isFree(at: ItemRef): boolean {
    return !isHeld(this.#entry(at), this.draft.now);
  }

  /** Writes the head. One that has nothing to say any more goes. */
  save(): void {
    const head = this.#head;
    const isIdle = head.entries === 0 && head.dropped === 0 && !hasOptions(head) && head.series === undefined;
    const present = this.draft.item(headRef(this.ref));
    if (!present && !isIdle) this.#checkRoom();
    this.#write(headRef(this.ref), isIdle ? undefined : head);
  }

  /** Removes the head, whatever it says. */
  forget(): void {
    this.#write(headRef(this.ref), undefined);
  }

  #entry(at: ItemRef): Entry {
    return entryOf(this.draft.item(at) as ItemState);
  }

  #write(at: ItemRef, attributes: Entry | Head | undefined, cause?: Cause): void {
    // Of those that are absent, attributes have none.
    const written =
      attributes && Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined));
    this.draft.write(at, written as Attributes | undefined, undefined, cause);
    // Whose the queue is was judged before: it needs no policy.
    this.draft.permit(at);
  }

  #checkRoom(): void {
    const { draft } = this;
    if ((draft.group.get(QUEUES)?.items ?? 0) < limits.queueItemsPerPoolMax) return;
    throw tooMuch(`The queues of a pool have at most ${limits.queueItemsPerPoolMax} entries together.`);
  }
}

export function hasOptions({ overflow, dropDuplicates, entriesMax, keepMs }: Head): boolean {
  return [overflow, dropDuplicates, entriesMax, keepMs].some((option) => option !== undefined);
}

export function timeText(time: number): string {
  return new Date(time).toISOString();
}

export function queueIsFull(session: string): Problem {
  return tooMuch(`The queue of the session ${JSON.stringify(session)} is full.`);
}

function tooMuch(detail: string): Problem {
  return new Problem('tooManyRequests', detail, { headers: { 'retry-after': '5' } });
}

/** In how far a delivery comes after what its series has enqueued already. */
export function isKnownInSeries({ series }: Head, notifier: string, name: string, delivery: string): boolean {
  const [known, reached] = (series !== undefined && Object.hasOwn(series, notifier) && series[notifier]) || [];
  return known === name && (revisionOf(delivery) as number) <= (reached as number);
}
