/**
 * One watcher's stream, from hello to bye. It reads the log by itself until it has been told everything, then joins its
 * group in the hub and is told with the others; when it can't keep up it leaves the group and reads the log again at its
 * own pace. So the log is the buffer of a slow reader, and what waits in memory for one is bounded.
 *
 * A stream of changes (`feed`) is told each commit; one that falls behind while live is ended with `bye` and resumes. An
 * attachment is told states: what it missed while it was slow is joined to one commit, and if even that is too much it
 * gets `reset` and a new snapshot.
 */
import { limits } from '../limits.js';
import type { Store } from '../ports.js';
import { formatCursor } from '../state/cursor.js';
import type { Commit } from '../state/model.js';
import type { Replica } from '../state/replica.js';
import { turn } from '../turn.js';
import { Coalesced } from './coalesce.js';
import { changesFrames, frame, heartbeat } from './frames.js';
import type { Hub, Member } from './hub.js';
import { LogExpired, type LogReader } from './log-reader.js';
import { SnapshotOverrun, snapshot } from './snapshot.js';
import type { ResetReason, Start } from './start.js';
import type { View } from './view.js';

/** Where the frames go: a connection. */
export interface Sink {
  write(frames: Buffer | string): void;
  /** Bytes that the connection has not taken yet. */
  readonly buffered: number;
  /** How long the connection has been taking nothing of what is buffered, in ms; 0 while it takes or nothing waits. */
  blockedMs(now: number): number;
  /** Resolves when little is buffered, or the connection is closed. */
  drained(): Promise<void>;
  readonly closed: boolean;
  /** Ends the connection after what is buffered; a reader that takes none of it counts as blocked from now on. */
  end(): void;
  /** Resolves when the connection is closed. */
  finished(): Promise<void>;
  /** Ends the connection at once. */
  destroy(): void;
}

export type ByeReason = 'shutdown' | 'expired' | 'slow' | 'maxAge' | 'deleted';

export interface StreamOptions {
  readonly kind: 'attach' | 'feed';
  readonly view: View;
  readonly start: Start;
  readonly bookmarkMs: number;
  readonly expiresInMs: number;
}

/** How often a snapshot is begun anew because too much changed while the reader took it, before it is told to come back. */
const SNAPSHOT_ATTEMPTS = 5;
/** What is joined to one commit for a slow attachment: beyond this a snapshot is cheaper. */
const COALESCE_COMMITS_MAX = 20_000;
/** Commits that are joined in one turn of the event loop. */
const COALESCE_TURN = 200;

export class Stream implements Member {
  /** Told everything up to this revision. */
  #told = 0;
  #wake: ((why: 'slow' | 'leapt' | 'ended' | 'closed') => void) | undefined;
  #bye: ByeReason | undefined;

  constructor(
    private readonly hub: Hub,
    private readonly log: LogReader,
    private readonly store: Store,
    readonly sink: Sink,
    private readonly options: StreamOptions,
  ) {}

  get replica(): Replica {
    return this.hub.replica;
  }

  /** Runs until the connection or the stream ends. */
  async run(): Promise<ByeReason | 'closed'> {
    const { expiresInMs, start } = this.options;
    const hello = { pool: this.replica.name, epoch: this.replica.epoch, heartbeatMs: limits.heartbeatMs, expiresInMs };
    this.sink.write(`retry: ${limits.retryMs}\n${frame('hello', hello)}`);
    try {
      await this.#begin(start);
      while (!this.#over) await this.#live();
    } catch (error) {
      if (!(error instanceof LogExpired)) throw error;
      this.#bye ??= error.reason === 'deleted' ? 'deleted' : 'slow';
    } finally {
      this.hub.leave(this);
    }
    if (this.sink.closed) return 'closed';
    const reason = this.#bye ?? 'shutdown';
    this.sink.write(frame('bye', { reason, retryMs: limits.retryMs }));
    this.sink.end();
    // Until then it holds what its reader has not taken.
    await this.sink.finished();
    return reason;
  }

  /** Asks the stream to end with `bye`. */
  end(reason: ByeReason): void {
    this.#bye ??= reason;
    this.#wake?.('ended');
  }

  /** The connection is gone. */
  closed(): void {
    this.#wake?.('closed');
  }

  beat(): void {
    if (this.sink.buffered < limits.watchBufferBytesMax) this.sink.write(heartbeat);
  }

  receive(frames: Buffer): void {
    // Judged by what waited before: a large frame to a quick reader doesn't make it a slow one.
    const { buffered } = this.sink;
    this.sink.write(frames);
    if (buffered <= limits.watchBufferBytesMax) return;
    this.hub.leave(this);
    this.#told = this.replica.revision;
    this.#wake?.('slow');
  }

  leapt(told: number): void {
    this.#told = told;
    this.#wake?.('leapt');
  }

  ended(): void {
    this.#bye ??= 'deleted';
    this.#wake?.('ended');
  }

  get #over(): boolean {
    return this.sink.closed || this.#bye !== undefined;
  }

  async #begin({ after, reset }: Start): Promise<void> {
    if (this.options.kind === 'attach' && after === undefined) return this.#snapshot(reset);
    if (reset) this.#reset(reset);
    this.#told = after ?? this.replica.revision;
    await this.#catchUp(false);
    if (!this.#over) this.#tellLive();
  }

  /** One stay in the group, and what follows it. */
  async #live(): Promise<void> {
    await this.#catchUp(false);
    // Nothing wakes who joins the group of a pool that went meanwhile.
    if (this.replica.gone) throw new LogExpired('deleted');
    // The look and the join are in one turn: a commit in between would be neither read nor told.
    if (this.#over || this.#told < this.replica.revision) return;
    const why = await new Promise((resolve) => {
      this.#wake = resolve;
      this.hub.join(this, this.options.view, this.options.bookmarkMs);
    });
    this.#wake = undefined;
    if (why !== 'slow') return;
    if (this.options.kind === 'feed') {
      this.#bye ??= 'slow';
      return;
    }
    await this.sink.drained();
    await this.#catchUp(true);
  }

  /** Tells what the log has after `#told`, at the pace of the reader, until nothing is left. */
  async #catchUp(slow: boolean): Promise<void> {
    try {
      if (slow) await this.#tellCoalesced();
      while (!this.#over && this.#told < this.replica.revision) {
        for (const commit of await this.log.next(this.replica, this.#told)) {
          if (this.#over) return;
          this.#tell(commit);
          this.#told = commit.revision;
          if (this.sink.buffered > limits.watchBufferBytesMax / 2) await this.sink.drained();
        }
        this.#tellBookmark();
      }
    } catch (error) {
      if (!(error instanceof LogExpired) || error.reason === 'deleted') throw error;
      if (this.options.kind === 'attach') return this.#snapshot('compacted');
      this.#reset('compacted');
      this.#told = this.replica.revision;
      this.#tellLive();
    }
  }

  /** What a slow attachment missed, as one commit; or a snapshot, where that is less. */
  async #tellCoalesced(): Promise<void> {
    const { view } = this.options;
    const missed = this.replica.revision - this.#told;
    if (missed === 0 || this.#over) return;
    if (missed > COALESCE_COMMITS_MAX) return this.#snapshot('slow');
    const joined = new Coalesced();
    let taken = 0;
    for await (const commit of this.log.between(this.replica, this.#told, this.replica.revision)) {
      joined.add({ ...commit, changes: view.changesOf(commit) }, (change) => view.concerns(change));
      if (joined.bytes > limits.watchBufferBytesMax) return this.#snapshot('slow');
      // From the ring they come without a pause, and others want their turn.
      if (++taken % COALESCE_TURN === 0) await turn();
    }
    const { commit } = joined;
    if (!commit) return;
    this.#told = commit.revision;
    this.#tell(commit, view.seeEach(commit.changes));
  }

  async #snapshot(reason: ResetReason | undefined): Promise<void> {
    let reset = reason;
    for (let attempt = 1; !this.#over; attempt++) {
      if (reset) this.#reset(reset);
      try {
        return await this.#tellSnapshot();
      } catch (error) {
        if (attempt === SNAPSHOT_ATTEMPTS) break;
        if (error instanceof SnapshotOverrun) reset = 'slow';
        else if (error instanceof LogExpired && error.reason === 'compacted') reset = 'compacted';
        else throw error;
      }
    }
    this.#bye ??= 'slow';
  }

  async #tellSnapshot(): Promise<void> {
    const { view } = this.options;
    const collection = view.request.collection as string;
    const { revision } = this.replica;
    let items = '';
    let bytes = 0;
    let part = 0;
    const tell = async () => {
      part++;
      this.sink.write(
        frame(
          'snapshot',
          `{"view":${JSON.stringify(collection)},"revision":${revision},"items":[${items}],"part":${part}}`,
        ),
      );
      items = '';
      bytes = 0;
      if (this.sink.buffered > limits.watchBufferBytesMax / 2) await this.sink.drained();
    };
    for await (const page of snapshot(this.store, this.log, this.replica, view, revision)) {
      if (this.#over) return;
      for (const { key, state } of page) {
        const text = view.tellItem(collection, key, state);
        const textBytes = Buffer.byteLength(text) + 1;
        if (items !== '' && bytes + textBytes > limits.snapshotPartBytesMax) await tell();
        items += items === '' ? text : `,${text}`;
        bytes += textBytes;
      }
    }
    if (items !== '' || part === 0) await tell();
    this.#told = revision;
    this.#tellLive();
  }

  #tell(commit: Commit, concerned = this.options.view.seeAll(commit)): void {
    const { view } = this.options;
    if (concerned.length > 0) this.sink.write(changesFrames(view, this.replica.epoch, commit, concerned));
  }

  #tellLive(): void {
    const { collection } = this.options.view.request;
    const view = this.options.kind === 'attach' ? { view: collection } : {};
    this.sink.write(frame('live', { ...view, revision: this.#told }, formatCursor(this.replica.epoch, this.#told)));
  }

  #tellBookmark(): void {
    if (this.#told < this.replica.revision) {
      this.sink.write(frame('bookmark', { revision: this.#told }, formatCursor(this.replica.epoch, this.#told)));
    }
  }

  #reset(reason: ResetReason): void {
    const view = this.options.kind === 'attach' ? { view: this.options.view.request.collection } : {};
    this.sink.write(frame('reset', { ...view, reason }, ''));
  }
}
