/**
 * The stream of an attachment: it is told states. First a snapshot, unless it resumes at a cursor, then every commit that
 * its view sees. What it missed while it was slow is joined to one commit, and if even that is too much, or no longer in
 * the log, it gets `reset` and a new snapshot.
 *
 * There may be several attachments on one stream (`SessionStream`), which share one position: everything up to `told` has
 * been told of all of them, but for those whose snapshot is due. These are told one after the other, each of the
 * revision that the stream has reached by then. Meanwhile no id is sent that would make who resumes there miss a snapshot.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { Store } from '../ports.js';
import { additionOf, CHANGES } from '../state/log-items.js';
import type { Change, Commit } from '../state/model.js';
import { turn } from '../turn.js';
import { Coalesced } from './coalesce.js';
import { changesFrames, frame } from './frames.js';
import type { Hub, Interest } from './hub.js';
import type { LogReader } from './log-reader.js';
import type { Sight } from './sight.js';
import { SnapshotOverrun, snapshot } from './snapshot.js';
import { SnapshotParts } from './snapshot-parts.js';
import type { ResetReason } from './start.js';
import { type Sink, Stream, type StreamOptions } from './stream.js';
import type { View } from './view.js';

/** What is told under one name. */
export interface Attachment {
  readonly name: string;
  readonly collection: string;
  /** What is told where the policy comes to hide all of it; nothing where it isn't a session's. */
  readonly onDenied?: 'ignore' | 'error' | 'event' | undefined;
  /** What was asked for, and where they are wanted the locks on that, as somebody may see it. */
  readonly viewsIn: (sight: (collection: string) => Sight) => readonly View[];
  /** The same as the watcher may see it now. */
  views: readonly View[];
  /**
   * While its snapshot is due: the revision that it was attached at, from which on there is no id; 0 where it had been told
   * before and has to be forgotten.
   */
  due: number | undefined;
}

/** An event that isn't about what is attached. */
export interface Notice {
  readonly event: string;
  readonly data: object;
  /** What is told in place of that to who is far behind. */
  readonly brief?: object;
}

/** How often snapshots are begun anew because too much changed while the reader took them, before it is told to come back. */
const SNAPSHOT_ATTEMPTS = 5;
/** What is joined to one commit for a slow attachment: beyond this a snapshot is cheaper. */
const COALESCE_COMMITS_MAX = 20_000;
/** Notices that are gathered for a slow reader before they are told. */
const NOTICES_GATHERED = 1000;
/** Commits that are joined in one turn of the event loop. */
const COALESCE_TURN = 200;

export class AttachStream extends Stream {
  /** In the order of their names. */
  protected attachments: readonly Attachment[] = [];
  /** Snapshots that were begun and given up since all were complete. */
  #failures = 0;

  constructor(
    hub: Hub,
    log: LogReader,
    protected readonly store: Store,
    sink: Sink,
    options: StreamOptions,
    single?: { readonly collection: string; readonly viewsIn: Attachment['viewsIn'] },
  ) {
    super(hub, log, sink, options);
    if (!single) return;
    const views = single.viewsIn(options.outlook.sight);
    this.attachments = [{ ...single, name: single.collection, views, due: undefined }];
  }

  protected override get interest(): Interest {
    const { bookmarkMs, outlook } = this.options;
    const views = this.attachments.flatMap((attachment) => attachment.views);
    return { views, bookmarkMs, heedsPolicy: !outlook.isFree };
  }

  override viewsWith(sight: (collection?: string) => Sight): readonly (readonly [View, View])[] {
    return this.attachments.flatMap(({ views, viewsIn }) =>
      viewsIn(sight).map((then, i) => [views[i] as View, then] as const),
    );
  }

  /** Looks on by the policy of the revision up to which everything has been told. */
  async #look(): Promise<void> {
    const { outlook } = this.options;
    if (outlook.isFree) return;
    await outlook.lookAt(this.told);
    for (const attachment of this.attachments) attachment.views = attachment.viewsIn(outlook.sight);
    for (const { event, data } of this.#denials(this.attachments)) this.sink.write(frame(event, data));
  }

  /** What is told of attachments of which the policy hides everything. */
  #denials(attachments: readonly Attachment[]): Notice[] {
    const { entitlement } = this.options.outlook;
    return attachments
      .filter(({ collection }) => entitlement.lens('watch', collection).kind === 'nothing')
      .flatMap((attachment) => deniedNotice(attachment));
  }

  /** Finds out what is attached at the replica's revision, which it answers. What was attached after `after` is due. */
  protected async readAttachments(_after: number): Promise<number> {
    return this.replica.revision;
  }

  /** What is told before the snapshots of who begins without a cursor. */
  protected get standing(): Notice[] {
    return [];
  }

  /** Takes in what a commit says of the attachments, and answers what is told of it beyond their changes. */
  protected takeIn(_commit: Commit): Notice[] {
    return [];
  }

  protected override async begin(): Promise<void> {
    const { after, reset } = this.options.start;
    if (after === undefined) return this.restart(reset);
    await this.fromLog(async () => {
      await this.readAttachments(after);
      this.told = after;
      await this.#look();
      await super.catchUp();
    });
    this.#tellLive(this.attachments.filter(({ due }) => due === undefined));
  }

  protected override async restart(reason: ResetReason | undefined): Promise<void> {
    if (reason && this.#isGivenUp()) return;
    await this.fromLog(async () => {
      this.told = await this.readAttachments(0);
      await this.#look();
      for (const attachment of this.attachments) {
        if (reason) this.#tellReset(reason, attachment);
        attachment.due = 0;
      }
      if (this.attachments.length === 0 && reason) this.#tellReset(reason);
      for (const { event, data } of this.standing) this.sink.write(frame(event, data));
      if (this.attachments.length > 0) return;
      this.#tellLive([]);
    });
  }

  protected override async catchUp(): Promise<void> {
    for (;;) {
      await super.catchUp();
      const due = this.attachments.find((attachment) => attachment.due !== undefined);
      if (!due) this.#failures = 0;
      if (!due || this.over) return;
      await this.fromLog(() => this.#tellSnapshot(due));
    }
  }

  protected override tell(commit: Commit): void | Promise<void> {
    if (this.options.outlook.isTurnedBy(commit)) return this.#turn(commit);
    const notices = this.takeIn(commit);
    if (!this.over) this.#tellCommit(commit, notices);
  }

  /** The commit changes what is seen. Where that is too much to tell, the attachment begins anew. */
  async #turn(commit: Commit): Promise<void> {
    const { store, log } = this;
    const { outlook } = this.options;
    const notices = this.takeIn(commit);
    if (this.over) return;
    const { entitlement: former } = outlook;
    await outlook.lookAt(commit.revision);
    const told: Told[] = [];
    for (const attachment of this.attachments) {
      const { collection } = attachment;
      const after = attachment.viewsIn(outlook.sight);
      const before = attachment.views;
      attachment.views = after;
      const isHidden = outlook.entitlement.lens('watch', collection).kind === 'nothing';
      if (isHidden !== (former.lens('watch', collection).kind === 'nothing'))
        notices.push(...(isHidden ? deniedNotice(attachment) : grantedNotice(attachment)));
      if (attachment.due !== undefined) continue;
      for (const [i, view] of after.entries()) {
        const old = before[i] as View;
        const changes = await this.hub.turns.of({ store, log }, commit, old, view);
        if (changes) told.push(...changes.map((change) => ({ view, change })));
        else attachment.due = 0;
      }
    }
    if (this.over) return;
    for (const attachment of this.attachments) if (attachment.due === 0) this.#tellReset('policy', attachment);
    const isDue = ({ view }: Told) =>
      this.attachments.some(({ due, views }) => due !== undefined && views.includes(view));
    this.#tellTexts(
      commit,
      notices,
      told.filter((each) => !isDue(each)).map(({ view, change }) => view.tellChange(change, commit.revision)),
    );
  }

  protected override async recover(): Promise<void> {
    await this.sink.drained();
    await this.fromLog(() => this.#tellMissed());
  }

  protected override nextId(revision: number): string | undefined {
    const isHeld = this.attachments.some(({ due }) => due !== undefined && due <= revision);
    return isHeld ? undefined : super.nextId(revision);
  }

  /** What a slow reader missed, as one commit; or snapshots, where that is less. */
  async #tellMissed(): Promise<void> {
    const missed = this.replica.revision - this.told;
    if (missed === 0 || this.over) return;
    // Once that is too much only the notices are gathered: no snapshot tells them.
    let joined = missed > COALESCE_COMMITS_MAX ? undefined : new Coalesced();
    let notices: Notice[] = [];
    const tellGathered = () => {
      for (const { event, data, brief = data } of notices) this.sink.write(frame(event, brief));
      notices = [];
    };
    let taken = 0;
    for await (const commit of this.log.between(this.replica, this.told, this.replica.revision)) {
      // What was seen before and after can't be joined.
      if (this.options.outlook.isTurnedBy(commit)) {
        tellGathered();
        return this.restart('policy');
      }
      notices.push(...this.takeIn(commit));
      if (this.over) return;
      if (notices.length >= NOTICES_GATHERED) {
        tellGathered();
        await this.sink.drained();
      }
      joined?.add({ ...commit, changes: this.#changesOf(commit) }, (change) => this.#concerns(change));
      if (joined && joined.bytes > limits.watchBufferBytesMax) joined = undefined;
      // From the ring they come without a pause, and others want their turn.
      if (++taken % COALESCE_TURN === 0) await turn();
    }
    if (!joined) {
      tellGathered();
      return this.restart('slow');
    }
    const { commit } = joined;
    if (!commit) return;
    notices = notices.map(({ event, data, brief = data }) => ({ event, data: brief }));
    this.#tellCommit(commit, notices, (view) => view.seeEach(commit.changes));
    this.told = commit.revision;
  }

  /** All changes that a view may look at, where one of them looks at commits as items. */
  #changesOf(commit: Commit): readonly Change[] {
    const isOfLog = this.attachments.some(({ views }) => views[0]?.request.collection === CHANGES);
    return isOfLog ? [...commit.changes, additionOf(commit)] : commit.changes;
  }

  #concerns(change: Change): boolean {
    return this.attachments.some(({ due, views }) => due === undefined && views.some((view) => view.concerns(change)));
  }

  #tellCommit(commit: Commit, notices: readonly Notice[], see = (view: View) => view.seeAll(commit)): void {
    const told = this.attachments.flatMap(({ due, views }) => (due === undefined ? views : []));
    const changes = told.flatMap((view) => see(view).map((change) => view.tellChange(change, commit.revision)));
    this.#tellTexts(commit, notices, changes);
  }

  #tellTexts(commit: Commit, notices: readonly Notice[], changes: readonly string[]): void {
    if (notices.length + changes.length === 0) return;
    const id = this.nextId(commit.revision);
    for (const [i, { event, data }] of notices.entries()) {
      const isLast = i === notices.length - 1 && changes.length === 0;
      this.sink.write(frame(event, data, isLast ? id : undefined));
    }
    if (changes.length > 0) this.sink.write(changesFrames(commit, changes, id));
  }

  async #tellSnapshot(attachment: Attachment): Promise<void> {
    const parts = new SnapshotParts(this.sink, attachment.name, this.told);
    try {
      for (const view of attachment.views) await this.#tellItems(view, parts);
    } catch (error) {
      if (!(error instanceof SnapshotOverrun)) throw error;
      if (this.#isGivenUp()) return;
      this.#tellReset('slow', attachment);
      attachment.due = 0;
      return;
    }
    if (this.over) return;
    parts.end();
    attachment.due = undefined;
    this.#tellLive([attachment]);
  }

  async #tellItems(view: View, parts: SnapshotParts): Promise<void> {
    for await (const page of snapshot(this.store, this.log, this.replica, view, this.told)) {
      for (const { key, state } of page) {
        if (this.over) return;
        const isPart = parts.add(view.tellItem(view.request.collection as string, key, state));
        if (isPart && this.sink.buffered > limits.watchBufferBytesMax / 2) await this.sink.drained();
      }
    }
  }

  /** Counts a snapshot that has to be begun anew; true when it was the last attempt. */
  #isGivenUp(): boolean {
    this.#failures++;
    if (this.#failures >= SNAPSHOT_ATTEMPTS) this.end('slow');
    return this.over;
  }

  /** The attachments, or where there are none the stream, have been told everything up to now. */
  #tellLive(attachments: readonly Attachment[]): void {
    if (this.over) return;
    const revision = this.told;
    if (this.attachments.length === 0) this.sink.write(frame('live', { revision }, this.nextId(revision)));
    for (const attachment of attachments) {
      const isLast = attachment === attachments.at(-1);
      this.sink.write(frame('live', { view: attachment.name, revision }, isLast ? this.nextId(revision) : undefined));
    }
  }

  #tellReset(reason: ResetReason, attachment?: Attachment): void {
    this.sink.write(frame('reset', { ...(attachment && { view: attachment.name }), reason }, ''));
  }
}

/** What a view is told of a commit that turns it. */
interface Told {
  readonly view: View;
  readonly change: Change;
}

function deniedNotice({ name, collection, onDenied }: Attachment): Notice[] {
  if (onDenied === 'event') return [{ event: 'policy', data: { view: name, type: 'denied' } }];
  if (onDenied !== 'error') return [];
  const problem = new Problem('forbidden', `The policy lets you see nothing of the collection ${collection}.`);
  return [{ event: 'problem', data: { view: name, ...problem.toJSON() } }];
}

function grantedNotice({ name, onDenied }: Attachment): Notice[] {
  return onDenied === 'event' ? [{ event: 'policy', data: { view: name, type: 'granted' } }] : [];
}
