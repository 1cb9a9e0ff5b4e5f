/**
 * One session's stream in a pool in memory, as a client has it: over one connection after another, each cut anywhere. Its reader
 * compares its copies with the truth, which for somebody whom policy binds is what they may see.
 */
import { anonymous, type Subject } from '../../src/engine/subject.js';
import { turn } from '../../src/engine/turn.js';
import { Outlook } from '../../src/engine/watch/outlook.js';
import { SessionStream } from '../../src/engine/watch/session-stream.js';
import { startOfAttach } from '../../src/engine/watch/start.js';
import type { Sink } from '../../src/engine/watch/stream.js';
import type { MemoryPool, Write } from './memory-pool.js';
import { type Items, SessionReader, type ToldChange } from './session-reader.js';

export const SESSION = 's1';

/** Who watches, and what they may see. */
interface Watching {
  readonly subject: Subject;
  /** The items at a revision, as far as the subject may see them. */
  seenAt(revision: number): Items;
  /** Told of each change as it was told. */
  check(revision: number, change: ToldChange): void;
}

/** What may happen while a reader is told of a pool. */
export type Step =
  | { readonly do: 'write'; readonly writes: readonly Write[] }
  | { readonly do: 'deliver'; readonly turns: number }
  | { readonly do: 'leap' | 'stall' | 'bookmark' }
  | { readonly do: 'compact'; readonly kept: number }
  | { readonly do: 'cut'; readonly permille: number };

/** A connection that takes everything, unless it is stalled. */
export class Connection implements Sink {
  text = '';
  closed = false;
  #stalled = false;
  #waiting: (() => void)[] = [];
  onClose: (() => void) | undefined;

  readonly buffers: Buffer[] = [];

  write(frames: Buffer | string): void {
    if (this.closed) return;
    this.text += frames.toString();
    if (frames instanceof Buffer) this.buffers.push(frames);
  }
  get buffered(): number {
    return this.#stalled ? 1e9 : 0;
  }
  blockedMs(): number {
    return 0;
  }
  stall(): void {
    this.#stalled = true;
  }
  go(): void {
    this.#stalled = false;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
  drained(): Promise<void> {
    return this.closed || !this.#stalled ? Promise.resolve() : new Promise((resolve) => this.#waiting.push(resolve));
  }
  end(): void {
    this.closed = true;
  }
  async finished(): Promise<void> {}
  destroy(): void {
    this.closed = true;
    this.go();
    this.onClose?.();
  }
}

/** One session's stream in a pool, over one connection after another. */
export class Story {
  readonly reader: SessionReader;
  #connection = new Connection();
  #opened = 0;
  #ended: Promise<unknown> = Promise.resolve();

  constructor(
    readonly pool: MemoryPool,
    private readonly session = SESSION,
    private readonly watching?: Watching,
  ) {
    const stateAt = (revision: number) => watching?.seenAt(revision) ?? pool.itemsAt(revision);
    this.reader = new SessionReader(session, stateAt, watching?.check);
    pool.commit([{ collection: '_clients', key: session, attributes: { epoch: 1 } }]);
  }

  get connection(): Connection {
    return this.#connection;
  }

  open(): void {
    this.pool.deliver();
    const { replica, hub, log, store, access } = this.pool;
    const start = startOfAttach(replica, { lastEventId: this.reader.cursor });
    this.#connection = new Connection();
    const outlook = new Outlook(access, replica, this.watching?.subject ?? anonymous);
    const options = { outlook, start, bookmarkMs: 1000, expiresInMs: 1 };
    const stream = new SessionStream(hub, log, store, this.#connection, options, {
      id: this.session,
      epoch: 1,
      name: this.session,
      subject: anonymous.id,
    });
    this.#connection.onClose = () => stream.closed();
    this.#opened = replica.revision;
    this.#ended = stream.run();
  }

  /** Cuts the connection, of which only a part has arrived. */
  async cut(part = 1): Promise<void> {
    this.#connection.destroy();
    await this.#ended;
    const { text } = this.#connection;
    this.reader.read(text.slice(0, Math.round(text.length * part)), this.#opened);
  }

  /** Lets the step happen to the pool, the node and the connection. */
  async take(step: Step): Promise<void> {
    if (step.do === 'write') this.pool.commit(step.writes);
    if (step.do === 'deliver') {
      this.connection.go();
      this.pool.deliver();
      for (let i = 0; i < step.turns; i++) await turn();
    }
    if (step.do === 'leap') this.pool.leap();
    if (step.do === 'compact') this.pool.compact(step.kept);
    if (step.do === 'stall') this.connection.stall();
    if (step.do === 'bookmark') this.bookmark();
    if (step.do === 'cut') {
      await this.cut(step.permille / 1000);
      this.open();
    }
  }

  bookmark(): void {
    this.pool.hub.sendBookmarks(0, 0);
    this.pool.hub.sendBookmarks(1e6, 0);
  }

  /** Commits, and waits until all that follows from it has been told. */
  async play(writes: readonly Write[], subject?: string): Promise<void> {
    this.pool.commit(writes, subject);
    this.pool.deliver();
    await settled();
  }
}

/** Turns of the event loop in which all that is under way comes to its end: many policies, each looked through page by page, take more. */
export async function settled(turns = 60): Promise<void> {
  for (let i = 0; i < turns; i++) await turn();
}
