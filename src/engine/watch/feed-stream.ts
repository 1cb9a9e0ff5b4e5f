/**
 * The stream of a pool's changes, or of those that a view sees: it begins at a cursor, or now, and tells each commit. One that
 * falls behind while live is ended with `bye` and resumes; where the log no longer reaches, it says so and goes on from now.
 */
import type { Store } from '../ports.js';
import type { Change, Commit } from '../state/model.js';
import { changesFrames, frame } from './frames.js';
import type { Hub, Interest } from './hub.js';
import type { LogReader } from './log-reader.js';
import type { Sight } from './sight.js';
import type { ResetReason } from './start.js';
import { type Sink, Stream, type StreamOptions } from './stream.js';
import { View, type ViewRequest } from './view.js';

export class FeedStream extends Stream {
  #view: View;

  constructor(
    hub: Hub,
    log: LogReader,
    private readonly store: Store,
    sink: Sink,
    options: StreamOptions,
    private readonly request: ViewRequest,
  ) {
    super(hub, log, sink, options);
    this.#view = this.#newView();
  }

  protected override get interest(): Interest {
    const { bookmarkMs, outlook } = this.options;
    return { views: [this.#view], bookmarkMs, heedsPolicy: !outlook.isFree };
  }

  override viewsWith(sight: (collection?: string) => Sight): readonly (readonly [View, View])[] {
    return [[this.#view, new View(this.request, undefined, sight(this.request.collection))]];
  }

  #newView(): View {
    return new View(this.request, undefined, this.options.outlook.sight(this.request.collection));
  }

  /** Looks on by the policy of the revision up to which everything has been told. */
  async #look(): Promise<void> {
    await this.options.outlook.lookAt(this.told);
    this.#view = this.#newView();
  }

  protected override async begin(): Promise<void> {
    const { after, reset } = this.options.start;
    if (reset) this.#tellReset(reset);
    this.told = after ?? this.replica.revision;
    await this.fromLog(() => this.#look());
    await this.catchUp();
    if (!this.over) this.#tellLive();
  }

  protected override tell(commit: Commit): void | Promise<void> {
    if (this.options.outlook.isTurnedBy(commit)) return this.#turn(commit);
    this.#tellChanges(commit, this.#view.seeAll(commit));
  }

  /** The commit changes what is seen: where that is too much to tell, the feed goes on from there. */
  async #turn(commit: Commit): Promise<void> {
    const before = this.#view;
    await this.options.outlook.lookAt(commit.revision);
    this.#view = this.#newView();
    const { store, log } = this;
    const changes = await this.hub.turns.of({ store, log }, commit, before, this.#view);
    if (changes) this.#tellChanges(commit, changes);
    else this.#tellReset('policy');
  }

  #tellChanges(commit: Commit, seen: readonly Change[]): void {
    const changes = seen.map((change) => this.#view.tellChange(change, commit.revision));
    if (changes.length > 0) this.sink.write(changesFrames(commit, changes, this.nextId(commit.revision)));
  }

  protected override async recover(): Promise<void> {
    this.end('slow');
  }

  protected override async restart(reason: ResetReason): Promise<void> {
    this.#tellReset(reason);
    this.told = this.replica.revision;
    await this.#look();
    this.#tellLive();
  }

  #tellReset(reason: ResetReason): void {
    this.sink.write(frame('reset', { reason }, ''));
  }

  #tellLive(): void {
    this.sink.write(frame('live', { revision: this.told }, this.nextId(this.told)));
  }
}
