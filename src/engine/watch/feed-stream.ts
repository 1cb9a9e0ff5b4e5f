/**
 * The stream of a pool's changes, or of those that a view sees: it begins at a cursor, or now, and tells each commit. One that
 * falls behind while live is ended with `bye` and resumes; where the log no longer reaches, it says so and goes on from now.
 */
import type { Commit } from '../state/model.js';
import { changesFrames, frame } from './frames.js';
import type { Hub, Interest } from './hub.js';
import type { LogReader } from './log-reader.js';
import type { ResetReason } from './start.js';
import { type Sink, Stream, type StreamOptions } from './stream.js';
import type { View } from './view.js';

export class FeedStream extends Stream {
  constructor(
    hub: Hub,
    log: LogReader,
    sink: Sink,
    options: StreamOptions,
    private readonly view: View,
  ) {
    super(hub, log, sink, options);
  }

  protected override get interest(): Interest {
    return { views: [this.view], bookmarkMs: this.options.bookmarkMs };
  }

  protected override async begin(): Promise<void> {
    const { after, reset } = this.options.start;
    if (reset) this.#tellReset(reset);
    this.told = after ?? this.replica.revision;
    await this.catchUp();
    if (!this.over) this.#tellLive();
  }

  protected override tell(commit: Commit): void {
    const changes = this.view.seeAll(commit).map((change) => this.view.tellChange(change));
    if (changes.length > 0) this.sink.write(changesFrames(commit, changes, this.nextId(commit.revision)));
  }

  protected override async recover(): Promise<void> {
    this.end('slow');
  }

  protected override async restart(reason: ResetReason): Promise<void> {
    this.#tellReset(reason);
    this.told = this.replica.revision;
    this.#tellLive();
  }

  #tellReset(reason: ResetReason): void {
    this.sink.write(frame('reset', { reason }, ''));
  }

  #tellLive(): void {
    this.sink.write(frame('live', { revision: this.told }, this.nextId(this.told)));
  }
}
