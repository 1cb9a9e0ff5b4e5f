/**
 * The one stream of a session: all that it has attached, and the news of its locks, operations and queue. What is attached is in items of
 * `_attachments`, and that the session lives in its item of `_clients`, so the stream reads them as they are when it begins and
 * follows them in the log from there: a view that is attached, changed or detached meanwhile is so in its place in the order of
 * commits, and the stream ends with the session.
 */

import { limits } from '../limits.js';
import { operationEventOf } from '../operations/operation-news.js';
import type { Store, StoredSession } from '../ports.js';
import { type Head, headOf, QUEUES, queueId } from '../queues/queue-items.js';
import { queueOfSession } from '../queues/queue-upkeep.js';
import { type AttachmentRequest, attachedViews } from '../sessions/attachments.js';
import { ATTACHMENTS, attachmentPrefix, CLIENTS } from '../sessions/session-items.js';
import type { JsonObject } from '../state/json.js';
import { compareKeys } from '../state/key-order.js';
import type { Change, Commit, ItemState } from '../state/model.js';
import { system } from '../subject.js';
import { type Attachment, AttachStream, type Notice } from './attach-stream.js';
import type { Hub, Interest } from './hub.js';
import { lockEventsOf } from './lock-events.js';
import type { LogReader } from './log-reader.js';
import { queueEventOf } from './queue-events.js';
import type { Sight } from './sight.js';
import { type SnapshotPage, snapshot } from './snapshot.js';
import type { Sink, StreamOptions } from './stream.js';
import { View, type ViewRequest } from './view.js';

/** A session in one of its lives: resuming it raises the epoch. */
export type SessionLife = Pick<StoredSession, 'id' | 'epoch' | 'name' | 'subject'>;

export class SessionStream extends AttachStream {
  readonly #prefix: string;
  /** The queue that the session's clients share. */
  readonly #queue: string;
  /** What the queue's head said when the attachments were read. */
  #head: Head | undefined;
  /** The session was there, and as it should be, at this revision: what the log tells of it before is of a former life. */
  #seenAt = 0;

  constructor(
    hub: Hub,
    log: LogReader,
    store: Store,
    sink: Sink,
    options: StreamOptions,
    private readonly session: SessionLife,
  ) {
    super(hub, log, store, sink, options);
    this.#prefix = attachmentPrefix(session.id);
    this.#queue = queueId(queueOfSession(session));
  }

  protected override get hello(): object {
    return { ...super.hello, session: this.session.id };
  }

  protected override get interest(): Interest {
    return { ...super.interest, concerns: [this.session.id, this.#queue] };
  }

  protected override async readAttachments(after: number): Promise<number> {
    const { revision } = this.replica;
    const [client] = await this.#read({ collection: CLIENTS, key: this.session.id }, revision);
    const items = await this.#read({ collection: ATTACHMENTS, prefix: this.#prefix }, revision);
    this.attachments = items.map(({ state }) =>
      this.#attachmentOf(state, state.revision > after ? state.revision : undefined),
    );
    const [head] = await this.#read({ collection: QUEUES, key: this.#queue }, revision);
    this.#head = head && headOf(head.state);
    this.#seenAt = revision;
    this.#heedClient(client?.state, system.id);
    return revision;
  }

  protected override get standing(): Notice[] {
    const { entries = 0, held = 0, dropped = 0 } = this.#head ?? {};
    if (entries + dropped === 0) return [];
    return [{ event: 'queue', data: { type: 'waiting', entries, held, dropped } }];
  }

  protected override takeIn(commit: Commit): Notice[] {
    for (const change of commit.changes) this.#heed(change, commit);
    const locks = commit.changes
      .flatMap(lockEventsOf)
      .filter(({ session }) => session === this.session.id)
      .map(({ data }) => ({ event: 'lock', data: this.options.outlook.isFree ? data : withoutOthers(data) }));
    const operations = commit.changes
      .map(operationEventOf)
      .filter((event) => event?.session === this.session.id)
      .map((event) => ({ event: 'operation', data: event?.data as JsonObject }));
    return [...locks, ...operations, ...this.#queueNotices(commit)];
  }

  #queueNotices({ changes }: Commit): Notice[] {
    const events = changes.flatMap((change) => queueEventOf(change) ?? []).filter(({ queue }) => queue === this.#queue);
    if (events.length > limits.queueEventsTold)
      return [{ event: 'queue', data: { type: 'many', changes: events.length } }];
    return events.map(({ data, brief }) => ({ event: 'queue', data, brief }));
  }

  #heed({ collection, key, after }: Change, { revision, subject }: Commit): void {
    if (collection === CLIENTS && key === this.session.id && revision > this.#seenAt) this.#heedClient(after, subject);
    if (collection !== ATTACHMENTS || !key.startsWith(this.#prefix)) return;
    const others = this.attachments.filter(({ name }) => name !== key.slice(this.#prefix.length));
    this.attachments = after ? [...others, this.#attachmentOf(after, revision)].sort(byName) : others;
  }

  #attachmentOf(state: ItemState, due: number | undefined): Attachment {
    const { view: name, collection, onDenied } = state.attributes as unknown as AttachmentRequest & { view: string };
    const viewsIn = (sight: (collection: string) => Sight) => attachedViews(state, sight);
    return { name, collection, onDenied, viewsIn, views: viewsIn(this.options.outlook.sight), due };
  }

  /** Ends the stream where the session has ended, or is resumed by somebody else. */
  #heedClient(client: ItemState | undefined, subject: string): void {
    const epoch = client?.attributes.epoch as number | undefined;
    if (epoch === undefined) this.end(subject === system.id ? 'expired' : 'deleted');
    else if (epoch > this.session.epoch) this.end('expired');
  }

  async #read(place: Pick<ViewRequest, 'collection' | 'key' | 'prefix'>, revision: number): Promise<SnapshotPage> {
    const view = new View({ ...place, values: 'none' });
    const items = [];
    for await (const page of snapshot(this.store, this.log, this.replica, view, revision)) items.push(...page);
    return items;
  }
}

/** Whom policy binds isn't told whose session waits. */
function withoutOthers({ by: _by, ...own }: JsonObject): JsonObject {
  return own;
}

function byName(a: Attachment, b: Attachment): number {
  return compareKeys(a.name, b.name);
}
