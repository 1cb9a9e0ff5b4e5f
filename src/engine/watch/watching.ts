/**
 * All watching on this node: opens streams and waits for changes, keeps their clocks (heartbeats, bookmarks, age, stalled
 * readers), and has the news of other nodes heard.
 */

import { forbidden } from '../access/access-guard.js';
import type { Entitlement } from '../access/entitlement.js';
import type { Entitlements } from '../access/entitlements.js';
import type { PoolPolicy } from '../access/pool-policy.js';
import { Problem } from '../errors.js';
import type { Bus } from '../hints.js';
import { limits } from '../limits.js';
import type { Clock, Store, Telemetry } from '../ports.js';
import { formatCursor } from '../state/cursor.js';
import type { Change, Commit } from '../state/model.js';
import { Multimap } from '../state/multimap.js';
import type { Reader } from '../state/reader.js';
import type { Replica } from '../state/replica.js';
import type { Replicas } from '../state/replicas.js';
import { isFree, type Subject } from '../subject.js';
import { AttachStream } from './attach-stream.js';
import { FeedStream } from './feed-stream.js';
import { BOOKMARK_EVERY_MS, Hub, type Member } from './hub.js';
import { LogExpired, LogReader } from './log-reader.js';
import { Looking, type TurnOf } from './looking.js';
import { News } from './news.js';
import { Outlook } from './outlook.js';
import { type SessionLife, SessionStream } from './session-stream.js';
import { sightOf } from './sight.js';
import { cursorExpired, type Start, type StartRequest, startOfAttach, startOfRead, startOfStream } from './start.js';
import type { Sink, Stream, StreamOptions } from './stream.js';
import { type ViewRequest, viewsOf } from './view.js';

export interface WatchingOptions {
  /** After this time a stream is asked to reconnect, so that streams spread again over the nodes that there are. */
  readonly streamMaxAgeMs: number;
  /** How often the database is asked for news where other nodes may write. */
  readonly pollMs: number;
  readonly streamsMax: number;
}

/** What a stream is of: a collection's state, a pool's changes, or all that a session has attached. */
export type StreamSubject =
  | { readonly kind: 'feed'; readonly view: ViewRequest }
  | { readonly kind: 'attach'; readonly view: ViewRequest & { readonly collection: string }; readonly locks: boolean }
  | { readonly kind: 'session'; readonly session: SessionLife };

export type StreamRequest = StreamSubject & {
  /** Who watches: the stream ends no later than its token, and when its login is revoked. */
  readonly subject: Subject;
  readonly start: StartRequest;
  readonly bookmarkMs: number;
};

export interface ChangesRequest {
  readonly view: ViewRequest;
  readonly since: string | undefined;
  readonly limit: number;
  readonly waitMs: number;
  /** Who asks: the wait ends no later than its token, and with a refusal when its login is revoked. */
  readonly subject: Subject;
  /** Whether that has come before the wait began, and after who asks was known. */
  readonly isRevoked?: () => boolean;
}

/** A page of the log as a view sees it: commits as JSON texts without their cursors. */
export interface ChangesPage {
  readonly replica: Replica;
  readonly commits: readonly { readonly commit: Commit; readonly changes: readonly string[] }[];
  /** Everything up to this revision has been told. */
  readonly revision: number;
  readonly upToDate: boolean;
}

/** A stream that is ready to begin; nothing has been sent yet. */
export interface Opening {
  readonly replica: Replica;
  /** Runs the stream on the connection until either ends. */
  begin(sink: Sink, onClose: (listener: () => void) => void): Promise<void>;
}

/** Who waits for an answer, and may leave before it is there. */
export interface Asker {
  readonly gone: boolean;
  /** Registers what to do then, in place of what was registered before. */
  onClose(listener: () => void): void;
}

/** What the watchers of one subject with equal views would gain and lose. */
export interface Gain {
  readonly subject: string;
  /** Undefined: all of the application's. */
  readonly collection: string | undefined;
  readonly watchers: number;
  readonly added: number;
  readonly changed: number;
  readonly removed: number;
  /** So much would change that they would begin anew, and it isn't counted. */
  readonly resets: boolean;
}

interface Running {
  readonly stream: Stream;
  readonly subject: Subject;
  readonly until: number;
  /** Why it ends then. */
  readonly reason: 'maxAge' | 'expired';
  readonly slot: number;
}

const SECOND = 1000;
const HEARTBEAT_SLOTS = limits.heartbeatMs / SECOND;

export class Watching {
  readonly #running = new Set<Running>();
  /** The streams of each session, in the order in which they began. */
  readonly #ofSession = new Multimap<string, Stream>();
  /** Requests that wait for a change, with who asks; each is ended by calling it. */
  readonly #waiting = new Map<(why?: 'revoked') => void, Subject>();
  readonly #log: LogReader;
  readonly #news: News;
  #slots = 0;
  #seconds = 0;
  #timers: NodeJS.Timeout[] = [];
  #closing = false;

  constructor(
    private readonly store: Store,
    private readonly replicas: Replicas,
    private readonly reader: Reader,
    private readonly entitlements: Entitlements,
    bus: Bus,
    private readonly telemetry: Telemetry,
    private readonly clock: Clock,
    private readonly options: WatchingOptions,
  ) {
    this.#log = new LogReader(store, replicas);
    this.#news = new News(store, replicas, bus, telemetry, clock, options.pollMs);
  }

  start(): void {
    const every = (ms: number, work: () => void) => this.#timers.push(setInterval(work, ms).unref());
    every(BOOKMARK_EVERY_MS, () => this.#sendBookmarks());
    every(SECOND, () => this.#keepTime());
    this.#news.start();
  }

  /** Ends every stream with `bye`. */
  close(): void {
    this.#closing = true;
    this.#news.close();
    for (const timer of this.#timers) clearInterval(timer);
    for (const { stream } of this.#running) stream.end('shutdown');
    for (const done of this.#waiting.keys()) done();
  }

  /** Ends every stream whose login, or one that it was made from, is among those that were revoked. */
  endLogins(ids: ReadonlySet<string>): void {
    const isEnded = ({ login, lineage = [] }: Subject) =>
      (login !== undefined && ids.has(login)) || lineage.some((id) => ids.has(id));
    for (const { stream, subject } of this.#running) if (isEnded(subject)) stream.end('expired');
    for (const [done, subject] of this.#waiting) if (isEnded(subject)) done('revoked');
  }

  get counts(): { streams: number; behind: number; groups: number; bufferedBytes: number } {
    let groups = 0;
    let live = 0;
    let bufferedBytes = 0;
    for (const { follower } of this.replicas.all()) {
      if (!(follower instanceof Hub)) continue;
      groups += follower.groups;
      live += follower.members;
    }
    for (const { stream } of this.#running) bufferedBytes += stream.sink.buffered;
    // Who waits for a change of the log is a member of a hub as well.
    const behind = this.#running.size + this.#waiting.size - live;
    return { streams: this.#running.size, behind: Math.max(0, behind), groups, bufferedBytes };
  }

  /** Judges where the stream begins. Refuses before anything is sent. */
  async open(pool: string, request: StreamRequest): Promise<Opening> {
    if (this.#closing) throw new Problem('unavailable', 'The server is stopping.');
    if (this.#running.size >= this.options.streamsMax) {
      throw new Problem('unavailable', `This node serves at most ${this.options.streamsMax} streams.`, {
        headers: { 'retry-after': '5' },
      });
    }
    await this.#checkWatches(pool, request.subject, request);
    const replica = await this.reader.current(pool, request.kind === 'session' ? undefined : request.view.collection);
    const startOf = request.kind === 'feed' ? startOfStream : startOfAttach;
    const start = startOf(replica, request.start);
    return { replica, begin: (sink, onClose) => this.#begin(replica, request, start, sink, onClose) };
  }

  /** What those who watch the pool on this node would gain and lose under another policy. */
  async preview(replica: Replica, policy: PoolPolicy): Promise<Gain[]> {
    const { turns } = this.#hub(replica);
    const sources = { store: this.store, log: this.#log };
    const present: Commit = { revision: replica.revision, time: 0, subject: '', changes: [] };
    const gains = new Map<string, { watchers: number; readonly gain: Promise<Omit<Gain, 'watchers'>> }>();
    for (const { stream } of this.#running) {
      const { subject, isFree } = stream.outlook;
      if (isFree || stream.pool !== replica) continue;
      const entitlement = policy.entitlementOf(subject);
      for (const [now, then] of stream.viewsWith((collection) => sightOf(entitlement, 'watch', collection))) {
        const id = JSON.stringify([subject.id, now.id, then.id]);
        const known = gains.get(id);
        if (known) known.watchers++;
        // All at once: they are looked through together.
        else if (gains.size < limits.previewedViewsMax)
          gains.set(id, {
            watchers: 1,
            gain: gainOf(turns.try(sources, present, now, then), subject.id, now.request.collection),
          });
      }
    }
    return Promise.all(Array.from(gains.values(), async ({ watchers, gain }) => ({ ...(await gain), watchers })));
  }

  /** A page of changes; waits for one that the view sees when there is none yet, unless the asker leaves. */
  async changes(pool: string, request: ChangesRequest, asker: Asker): Promise<ChangesPage> {
    const { subject, view: wanted } = request;
    await this.#checkWatches(pool, subject, { kind: 'feed', view: wanted });
    const replica = await this.reader.current(pool, wanted.collection);
    let after = startOfRead(replica, request.since);
    const looking = this.looking(replica, request.view, subject);
    try {
      const deadline = Math.min(this.clock.now() + request.waitMs, subject.expiresAt ?? Number.POSITIVE_INFINITY);
      for (;;) {
        // Nothing wakes who waits for a pool that went while it was read.
        if (replica.gone) throw new LogExpired('deleted');
        const page = await this.#readChanges(replica, looking, after, request.limit);
        const left = deadline - this.clock.now();
        if (page.commits.length > 0 || !page.upToDate || left <= 0 || this.#closing || asker.gone) return page;
        after = page.revision;
        if (
          request.isRevoked?.() ||
          (await this.#nextChange(replica, looking, after, left, asker, subject)) === 'revoked'
        )
          throw new Problem('unauthenticated', 'The login of the token was revoked.');
      }
    } catch (error) {
      if (error instanceof LogExpired) {
        if (error.reason === 'deleted')
          throw new Problem('notFound', `There is no pool ${JSON.stringify(pool)} any more.`);
        // `start` means what is retained, also when that shrank while this was read.
        if (request.since === undefined || request.since === 'start') {
          await this.replicas.refresh(replica);
          return this.#readChanges(replica, looking, replica.oldestRevision - 1, request.limit);
        }
        throw cursorExpired(replica, 'compacted');
      }
      throw error;
    }
  }

  /** How the subject looks at the log. */
  looking(replica: Replica, view: ViewRequest, subject: Subject): Looking {
    const turnOf: TurnOf = (commit, before, after) =>
      this.#hub(replica).turns.of({ store: this.store, log: this.#log }, commit, before, after);
    return new Looking(view, new Outlook(this.entitlements, replica, subject), turnOf);
  }

  /** Refuses who may see nothing of it. */
  async checkWatches(pool: string, subject: Subject, view: ViewRequest): Promise<void> {
    await this.#checkWatches(pool, subject, { kind: 'feed', view });
  }

  /** Before anything is looked at: some of the system's collections are brought up to date by that. */
  async #checkWatches(pool: string, subject: Subject, wanted: StreamSubject): Promise<void> {
    if (isFree(subject)) return;
    const replica = await this.reader.current(pool);
    checkWatches(await this.entitlements.entitlement(replica, replica.revision, subject), wanted);
  }

  async #begin(
    replica: Replica,
    request: StreamRequest,
    start: Start,
    sink: Sink,
    onClose: (listener: () => void) => void,
  ): Promise<void> {
    const { bookmarkMs, subject } = request;
    const now = this.clock.now();
    // Time is looked at every second: rather a little before the token is over than after it.
    const tokenMs = (subject.expiresAt ?? Number.POSITIVE_INFINITY) - now - SECOND;
    const reason = tokenMs < this.options.streamMaxAgeMs ? 'expired' : 'maxAge';
    const expiresInMs = Math.max(0, Math.min(this.options.streamMaxAgeMs, tokenMs));
    const hub = this.#hub(replica);
    const outlook = new Outlook(this.entitlements, replica, subject);
    const stream = this.#newStream(hub, request, sink, { outlook, start, bookmarkMs, expiresInMs });
    const slot = this.#slots++ % HEARTBEAT_SLOTS;
    const running: Running = { stream, subject, until: now + expiresInMs, reason, slot };
    const session = request.kind === 'session' ? `${replica.id}/${request.session.id}` : undefined;
    if (session !== undefined) this.#enter(session, stream);
    this.#running.add(running);
    onClose(() => stream.closed());
    hub.streams++;
    this.#news.follow(replica);
    try {
      this.telemetry.watcherEnded(await stream.run());
    } catch (error) {
      this.telemetry.watcherEnded('failed');
      this.telemetry.warn('A stream failed', {
        error: String(error instanceof Error ? (error.stack ?? error.message) : error),
      });
      sink.destroy();
    } finally {
      hub.streams--;
      if (session !== undefined) this.#ofSession.delete(session, stream);
      this.#running.delete(running);
    }
  }

  #newStream(hub: Hub, request: StreamRequest, sink: Sink, options: StreamOptions): Stream {
    switch (request.kind) {
      case 'feed':
        return new FeedStream(hub, this.#log, this.store, sink, options, request.view);
      case 'attach':
        return new AttachStream(hub, this.#log, this.store, sink, options, {
          collection: request.view.collection,
          viewsIn: (sight) => viewsOf(request.view, request.locks, sight),
        });
      case 'session':
        return new SessionStream(hub, this.#log, this.store, sink, options, request.session);
    }
  }

  /** Keeps one more stream of a session; where it has as many as it may have, the oldest ends. */
  #enter(session: string, stream: Stream): void {
    const others = this.#ofSession.get(session);
    if (others && others.size >= limits.sessionStreamsMax) {
      const [oldest] = others as Iterable<Stream>;
      // It counts no more, even while its reader has not taken its end.
      this.#ofSession.delete(session, oldest as Stream);
      oldest?.end('replaced');
    }
    this.#ofSession.add(session, stream);
  }

  #hub(replica: Replica): Hub {
    if (!(replica.follower instanceof Hub)) replica.follower = new Hub(replica, this.telemetry);
    return replica.follower as Hub;
  }

  async #readChanges(replica: Replica, looking: Looking, after: number, limit: number): Promise<ChangesPage> {
    await looking.lookAt(after);
    const told: { commit: Commit; changes: string[] }[] = [];
    let reached = after;
    let examined = 0;
    let bytes = 0;
    while (reached < replica.revision) {
      const commits = await this.#log.next(replica, reached);
      if (commits.length === 0) break;
      for (const commit of commits) {
        const seen = looking.see(commit);
        const concerned = seen instanceof Promise ? await seen : seen;
        if (!concerned) throw cursorExpired(replica, 'policy');
        if (concerned.length > 0) {
          const changes = concerned.map((change) => looking.view.tellChange(change, commit.revision));
          for (const text of changes) bytes += text.length;
          told.push({ commit, changes });
        }
        reached = commit.revision;
        examined += commit.changes.length;
        if (told.length >= limit || bytes > limits.logPageBytesMax || examined >= limits.changesRowsExaminedMax) {
          return { replica, commits: told, revision: reached, upToDate: reached >= replica.revision };
        }
      }
    }
    return { replica, commits: told, revision: reached, upToDate: true };
  }

  /** Resolves when the view is told something, the time is over, or the asker has left. */
  #nextChange(
    replica: Replica,
    { view, isFree }: Looking,
    after: number,
    waitMs: number,
    asker: Asker,
    subject: Subject,
  ): Promise<'revoked' | undefined> {
    const hub = this.#hub(replica);
    // What came between the reading and now would otherwise be waited for in vain.
    if (replica.revision !== after || replica.gone) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const done = (why?: 'revoked') => {
        hub.leave(member);
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve(why);
      };
      const wake = () => done();
      const member: Member = { receive: wake, released: wake, ended: wake };
      const timer = setTimeout(wake, waitMs);
      this.#waiting.set(done, subject);
      hub.join(member, { views: [view], bookmarkMs: limits.bookmarkMsMax, heedsPolicy: !isFree });
      this.#news.follow(replica);
      asker.onClose(wake);
    });
  }

  #sendBookmarks(): void {
    const now = this.clock.now();
    for (const { follower } of this.replicas.all())
      if (follower instanceof Hub) follower.sendBookmarks(now, BOOKMARK_EVERY_MS);
  }

  #keepTime(): void {
    const now = this.clock.now();
    const slot = this.#seconds++ % HEARTBEAT_SLOTS;
    for (const running of this.#running) {
      const { stream } = running;
      if (stream.sink.blockedMs(now) > limits.watchStallMs) stream.sink.destroy();
      else if (now >= running.until) stream.end(running.reason);
      else if (running.slot === slot) stream.beat();
    }
  }
}

/** The cursor that a page of changes ends at. */
export function cursorOf(page: ChangesPage): string {
  return formatCursor(page.replica.epoch, page.revision);
}

/** Refuses who could see nothing of what they want to watch, whatever is in it. What a session has attached says so by itself. */
function checkWatches(entitlement: Entitlement, subject: StreamSubject): void {
  if (subject.kind === 'session' || entitlement.isUnbound) return;
  const { collection } = subject.view;
  const isSeen =
    collection === undefined
      ? entitlement.mayAnywhere('watch')
      : entitlement.lens('watch', collection).kind !== 'nothing';
  if (isSeen) return;
  const what = collection === undefined ? 'this pool' : `the collection ${collection}`;
  throw forbidden(
    `You may not watch ${what}. It takes a rule with the action \`watch\` on ${collection === undefined ? 'some collection' : 'it'}.`,
  );
}

async function gainOf(
  turned: Promise<readonly Change[] | undefined>,
  subject: string,
  collection: string | undefined,
): Promise<Omit<Gain, 'watchers'>> {
  const changes = await turned;
  const count = (op: Change['op']) => changes?.filter((change) => change.op === op).length ?? 0;
  const counts = { added: count('add'), changed: count('change'), removed: count('delete') };
  return { subject, collection, ...counts, resets: changes === undefined };
}
