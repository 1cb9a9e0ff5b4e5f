/**
 * One watcher's stream, from hello to bye. It reads the log by itself until it has been told everything, then joins its
 * group in the hub and is told with the others; when it can't keep up it leaves the group and reads the log again at its
 * own pace. So the log is the buffer of a slow reader, and what waits in memory for one is bounded.
 *
 * What is told, where it begins and what becomes of one that fell behind is the business of each kind of stream:
 * `FeedStream` tells commits, `AttachStream` states, `SessionStream` those of all that a session has attached.
 */
import { limits } from '../limits.js';
import { StoreUnavailable } from '../ports.js';
import { formatCursor } from '../state/cursor.js';
import type { Commit } from '../state/model.js';
import type { Replica } from '../state/replica.js';
import { frame, heartbeat } from './frames.js';
import type { Hub, Interest, Member } from './hub.js';
import { LogExpired, type LogReader } from './log-reader.js';
import type { Outlook } from './outlook.js';
import type { Sight } from './sight.js';
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

export type ByeReason = 'shutdown' | 'expired' | 'slow' | 'maxAge' | 'deleted' | 'replaced';

export interface StreamOptions {
  /** What the watcher may see. */
  readonly outlook: Outlook;
  readonly start: Start;
  readonly bookmarkMs: number;
  readonly expiresInMs: number;
}

export abstract class Stream implements Member {
  /** Told everything up to this revision. */
  protected told = 0;
  /** The last revision that it told an id of by itself; what it was told of in the group isn't counted. */
  #identified = 0;
  #wake: ((why: 'slow' | 'released' | 'ended' | 'closed') => void) | undefined;
  #bye: ByeReason | undefined;

  constructor(
    protected readonly hub: Hub,
    protected readonly log: LogReader,
    readonly sink: Sink,
    protected readonly options: StreamOptions,
  ) {}

  /** What is told before the first stay in the group. */
  protected abstract begin(): Promise<void>;
  /** Tells what there is to tell of the commit after `told`; later where the commit turns what is seen. */
  protected abstract tell(commit: Commit): void | Promise<void>;
  /** Goes on after a time in which the connection didn't take enough. */
  protected abstract recover(): Promise<void>;
  /** Begins anew, because the log no longer reaches to `told`. */
  protected abstract restart(reason: ResetReason): Promise<void>;
  /** What the group tells in its stead. */
  protected abstract readonly interest: Interest;

  get outlook(): Outlook {
    return this.options.outlook;
  }

  get pool(): Replica {
    return this.hub.replica;
  }

  /** What is told now, each beside what would be with other sight. */
  abstract viewsWith(sight: (collection?: string) => Sight): readonly (readonly [now: View, then: View])[];

  protected get replica(): Replica {
    return this.hub.replica;
  }

  protected get over(): boolean {
    return this.sink.closed || this.#bye !== undefined;
  }

  /** Runs until the connection or the stream ends. */
  async run(): Promise<ByeReason | 'closed'> {
    this.sink.write(`retry: ${limits.retryMs}\n${frame('hello', this.hello)}`);
    try {
      await this.begin();
      while (!this.over) await this.#live();
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

  receive(frames: Buffer, told: number): void {
    // Judged by what waited before: a large frame to a quick reader doesn't make it a slow one.
    const { buffered } = this.sink;
    this.sink.write(frames);
    if (buffered <= limits.watchBufferBytesMax) return;
    this.hub.leave(this);
    this.told = told;
    this.#wake?.('slow');
  }

  released(told: number): void {
    this.told = told;
    this.#wake?.('released');
  }

  ended(): void {
    this.end('deleted');
  }

  protected get hello(): object {
    const { name, epoch } = this.replica;
    return { pool: name, epoch, heartbeatMs: limits.heartbeatMs, expiresInMs: this.options.expiresInMs };
  }

  /** Tells what the log has after `told`, at the pace of the reader, until nothing is left. */
  protected async catchUp(): Promise<void> {
    await this.fromLog(async () => {
      while (!this.over && this.told < this.replica.revision) {
        for (const commit of await this.#nextCommits()) {
          if (this.over) return;
          // The database may be ahead of the replica, and the hub is yet to offer what the replica takes in next: it would be told twice.
          if (commit.revision > this.replica.revision) break;
          const telling = this.tell(commit);
          if (telling !== undefined) await telling;
          this.told = commit.revision;
          if (this.sink.buffered > limits.watchBufferBytesMax / 2) await this.sink.drained();
        }
        if (this.told < this.replica.revision) this.#tellBookmark();
      }
    });
  }

  /** Waits for the database as long as the stream lives: its reader keeps what it has, and goes on when it is there again. */
  async #nextCommits(): Promise<readonly Commit[]> {
    for (;;) {
      try {
        return await this.log.next(this.replica, this.told);
      } catch (error) {
        if (!(error instanceof StoreUnavailable)) throw error;
        if (this.over) return [];
        await new Promise((resolve) => setTimeout(resolve, limits.databaseAwayMs));
      }
    }
  }

  /** Does what reads the log, and begins anew where that no longer reaches far enough. */
  protected async fromLog(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof LogExpired) || error.reason === 'deleted') throw error;
      await this.restart('compacted');
    }
  }

  /** The id of the frame that is told next, if with it everything up to the revision has been told; else undefined. */
  protected nextId(revision: number): string | undefined {
    this.#identified = revision;
    return formatCursor(this.replica.epoch, revision);
  }

  /** One stay in the group, and what follows it. */
  async #live(): Promise<void> {
    await this.catchUp();
    // Nothing wakes who joins the group of a pool that went meanwhile.
    if (this.replica.gone) throw new LogExpired('deleted');
    // The look and the join are in one turn: a commit in between would be neither read nor told.
    if (this.over || this.told < this.replica.revision) return;
    this.#tellBookmark();
    const why = await new Promise((resolve) => {
      this.#wake = resolve;
      this.hub.join(this, this.interest);
    });
    this.#wake = undefined;
    if (why === 'slow') await this.recover();
  }

  /** Moves the cursor to where the stream is, unless something that was told has done so. */
  #tellBookmark(): void {
    if (this.#identified >= this.told) return;
    const id = this.nextId(this.told);
    if (id !== undefined) this.sink.write(frame('bookmark', { revision: this.told }, id));
  }
}
