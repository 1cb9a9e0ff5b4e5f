/**
 * The hub of one pool on this node: follows the replica and offers each commit to the watchers that it concerns. Watchers
 * with equal views form a group: one evaluation, and one buffer for all members, however many; all commits of one turn
 * are joined into one write each. A view that several groups have in common is evaluated, and its text made, once.
 *
 * Every member of a group has been told everything up to the replica's revision: a watcher joins only at that revision,
 * in the same turn of the event loop in which it made sure of it, and leaves when it can't keep up. A member that a commit
 * concerns in more than its views, because it is about the member's session or its queue, is sent away before that commit and reads it
 * from the log by itself: such commits are few, and what they ask for isn't shared.
 */

import { changesPolicy } from '../access/policy-history.js';
import { limits } from '../limits.js';
import type { Telemetry } from '../ports.js';
import { formatCursor } from '../state/cursor.js';
import { additionOf, CHANGES } from '../state/log-items.js';
import type { Change, Commit } from '../state/model.js';
import { Multimap } from '../state/multimap.js';
import type { Follower, Replica } from '../state/replica.js';
import { concernsOf } from './concerns.js';
import { frame } from './frames.js';
import { SharedTurns } from './shared-turns.js';
import { Sequence, Telling } from './telling.js';
import type { View } from './view.js';
import { WatchIndex } from './watch-index.js';

export interface Member {
  /** Frames of the member's views, in order; with them it is told everything up to `told`. */
  receive(frames: Buffer, told: number): void;
  /** The member is out of its group, was told everything up to `told`, and reads what follows by itself. */
  released(told: number): void;
  /** The pool is gone; the member has been taken out of its group. */
  ended(): void;
}

/** What a member is told of. */
export interface Interest {
  readonly views: readonly View[];
  readonly bookmarkMs: number;
  /** The member is released before each commit about one of these: a session, a queue. */
  readonly concerns?: readonly string[];
  /** The member is released before each commit that changes the policy. */
  readonly heedsPolicy?: boolean;
}

/** One view, and the groups that have it. */
interface Watched {
  readonly view: View;
  readonly serial: number;
  readonly groups: Set<Group>;
}

class Group {
  readonly members = new Set<Member>();
  /** The revision of the last id that the members were sent. */
  toldRevision: number;
  /** When the pool was first seen ahead of `toldRevision`; undefined while it isn't. */
  behindSince: number | undefined;

  constructor(
    readonly id: string,
    readonly watched: readonly Watched[],
    readonly bookmarkMs: number,
    revision: number,
  ) {
    this.toldRevision = revision;
  }
}

interface Place {
  readonly group: Group;
  readonly concerns: readonly string[];
}

export class Hub implements Follower {
  readonly #groups = new Map<string, Group>();
  readonly #watched = new Map<string, Watched>();
  readonly #index = new WatchIndex<Watched>();
  readonly #places = new Map<Member, Place>();
  readonly #concerned = new Multimap<string, Member>();
  readonly #heedful = new Set<Member>();
  /** What changes of policy make of the members' views. */
  readonly turns: SharedTurns;
  /** What every member has been told; the replica's revision but for the moment of a leap. */
  #told: number;
  #serials = 0;

  constructor(
    readonly replica: Replica,
    private readonly telemetry: Telemetry,
  ) {
    this.turns = new SharedTurns(replica);
    this.#told = replica.revision;
  }

  /** Streams that were begun and have not ended, members or not: they hold the replica. */
  streams = 0;

  get busy(): boolean {
    return this.streams > 0 || this.#places.size > 0;
  }

  watches(collection: string): boolean {
    return this.#index.watches(collection);
  }

  get groups(): number {
    return this.#groups.size;
  }

  get members(): number {
    return this.#places.size;
  }

  /** The member has been told everything up to the replica's present revision and is told what follows. */
  join(member: Member, { views, bookmarkMs, concerns = NOTHING, heedsPolicy }: Interest): void {
    const watched = views.map((view) => this.#watch(view)).sort((a, b) => a.serial - b.serial);
    const id = `${bookmarkMs} ${watched.map(({ serial }) => serial).join()}`;
    let group = this.#groups.get(id);
    if (!group) {
      group = new Group(id, watched, bookmarkMs, this.replica.revision);
      this.#groups.set(id, group);
      for (const { groups } of watched) groups.add(group);
    }
    group.members.add(member);
    this.#places.set(member, { group, concerns });
    for (const each of concerns) this.#concerned.add(each, member);
    if (heedsPolicy) this.#heedful.add(member);
  }

  /** True if it was a member. */
  leave(member: Member): boolean {
    const place = this.#places.get(member);
    if (!place) return false;
    const { group, concerns } = place;
    this.#places.delete(member);
    this.#heedful.delete(member);
    for (const each of concerns) this.#concerned.delete(each, member);
    group.members.delete(member);
    if (group.members.size === 0) this.#dissolve(group);
    return true;
  }

  offer(commits: readonly Commit[]): void {
    this.#told = this.replica.revision;
    if (this.#groups.size === 0) return;
    const nothing = new Sequence();
    const output = new Map<Group, Sequence>();
    for (const commit of commits) {
      if (this.#heedful.size > 0 && changesPolicy(commit)) this.#release(this.#heedful, commit, output);
      if (this.#concerned.size > 0) this.#releaseConcerned(commit, output);
      for (const [group, telling] of this.#tellings(commit)) {
        output.set(group, (output.get(group) ?? nothing).followedBy(telling));
        group.toldRevision = commit.revision;
        group.behindSince = undefined;
      }
    }
    for (const [group, { buffer }] of output) this.#send(group, buffer);
  }

  leapt(): void {
    const told = this.#told;
    this.#told = this.replica.revision;
    this.#dismiss((member) => member.released(told));
  }

  ended(): void {
    this.#dismiss((member) => member.ended());
  }

  /** Sends bookmarks to the groups that the pool has left behind for long enough. To be called every `everyMs`. */
  sendBookmarks(now: number, everyMs: number): void {
    const { revision, epoch } = this.replica;
    for (const group of this.#groups.values()) {
      if (group.toldRevision >= revision) continue;
      group.behindSince ??= now;
      // The pool may have moved just after the last look, and the next look may come a little late.
      if (now - group.behindSince + 3 * everyMs < group.bookmarkMs) continue;
      this.#send(group, Buffer.from(frame('bookmark', { revision }, formatCursor(epoch, revision))));
      group.toldRevision = revision;
      group.behindSince = undefined;
    }
  }

  #watch(view: View): Watched {
    let watched = this.#watched.get(view.id);
    if (!watched) {
      watched = { view, serial: ++this.#serials, groups: new Set() };
      this.#watched.set(view.id, watched);
      this.#index.add(watched);
    }
    return watched;
  }

  #dissolve(group: Group): void {
    this.#groups.delete(group.id);
    for (const watched of group.watched) {
      watched.groups.delete(group);
      if (watched.groups.size > 0) continue;
      this.#watched.delete(watched.view.id);
      this.#index.remove(watched);
    }
  }

  /** What each group that sees something of the commit is told: the same object where it sees it through the same views. */
  #tellings(commit: Commit): Map<Group, Telling> {
    const cursor = formatCursor(this.replica.epoch, commit.revision);
    const tellings = new Map<Group, Telling>();
    for (const [{ view, groups }, changes] of this.#seen(commit)) {
      const texts = changes.map((change) => view.tellChange(change, commit.revision));
      const telling = new Telling(commit, cursor, texts);
      for (const group of groups) tellings.set(group, tellings.get(group)?.and(telling) ?? telling);
    }
    return tellings;
  }

  /** The views that see something of the commit, and what. */
  #seen(commit: Commit): Map<Watched, Change[]> {
    const all = new Map<Watched, Change[]>();
    // To those who watch `_changes` the commit itself is an item; it is made only for them.
    const changes = this.#index.watches(CHANGES) ? [...commit.changes, additionOf(commit)] : commit.changes;
    let looks = 0;
    for (const change of changes) {
      looks += this.#index.each(change, (watched, seen) => {
        const changes = all.get(watched);
        if (changes) changes.push(seen);
        else all.set(watched, [seen]);
      });
    }
    if (looks > 0) this.telemetry.viewsEvaluated(looks);
    return all;
  }

  /** Releases those whose session or queue the commit is about. `output` is what the groups are still to be sent of the commits before. */
  #releaseConcerned(commit: Commit, output: ReadonlyMap<Group, Sequence>): void {
    for (const change of commit.changes)
      for (const each of concernsOf(change)) this.#release(this.#concerned.get(each) ?? NOBODY, commit, output);
  }

  /** Releases members before a commit, told everything until then. */
  #release(members: Iterable<Member>, { revision }: Commit, output: ReadonlyMap<Group, Sequence>): void {
    const told = revision - 1;
    for (const member of [...members]) {
      const { group } = this.#places.get(member) as Place;
      const before = output.get(group);
      if (before) member.receive(before.buffer, told);
      // One that can't take that has left by itself.
      if (this.leave(member)) member.released(told);
    }
  }

  #send({ members }: Group, buffer: Buffer): void {
    const told = this.replica.revision;
    for (const member of members) member.receive(buffer, told);
    this.telemetry.framesSent(members.size, buffer.length * members.size);
  }

  #dismiss(tell: (member: Member) => void): void {
    const members = [...this.#places.keys()];
    for (const member of members) this.leave(member);
    for (const member of members) tell(member);
  }
}

const NOTHING: readonly string[] = [];
const NOBODY: readonly Member[] = [];

/** How often bookmarks are looked for; a quarter of the shortest `bookmarkMs`. */
export const BOOKMARK_EVERY_MS = limits.bookmarkMsMin / 4;
