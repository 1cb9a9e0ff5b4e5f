/**
 * The hub of one pool on this node: follows the replica and offers each commit to the watchers that it concerns. Watchers
 * with equal views form a group: one evaluation, and one buffer for all members, however many; all commits of one turn
 * are joined into one write each.
 *
 * Every member of a group has been told everything up to the replica's revision: a watcher joins only at that revision,
 * in the same turn of the event loop in which it made sure of it, and leaves when it can't keep up.
 */
import { limits } from '../limits.js';
import type { Telemetry } from '../ports.js';
import { formatCursor } from '../state/cursor.js';
import { additionOf, CHANGES } from '../state/log-items.js';
import type { Change, Commit } from '../state/model.js';
import type { Follower, Replica } from '../state/replica.js';
import { changesFrames, frame } from './frames.js';
import type { View } from './view.js';
import { WatchIndex } from './watch-index.js';

export interface Member {
  /** Frames for the member's view, in order. */
  receive(frames: Buffer): void;
  /** The replica moved on without telling; the member was told everything up to `told`, is out of its group and reads the log by itself. */
  leapt(told: number): void;
  /** The pool is gone; the member has been taken out of its group. */
  ended(): void;
}

class Group {
  readonly members = new Set<Member>();
  /** The revision of the last id that the members were sent. */
  toldRevision: number;
  /** When the pool was first seen ahead of `toldRevision`; undefined while it isn't. */
  behindSince: number | undefined;

  constructor(
    readonly id: string,
    readonly view: View,
    readonly bookmarkMs: number,
    revision: number,
  ) {
    this.toldRevision = revision;
  }
}

export class Hub implements Follower {
  readonly #groups = new Map<string, Group>();
  readonly #index = new WatchIndex<Group>();
  readonly #groupOf = new Map<Member, Group>();
  /** What every member has been told; the replica's revision but for the moment of a leap. */
  #told: number;

  constructor(
    readonly replica: Replica,
    private readonly telemetry: Telemetry,
  ) {
    this.#told = replica.revision;
  }

  /** Streams that were begun and have not ended, members or not: they hold the replica. */
  streams = 0;

  get busy(): boolean {
    return this.streams > 0 || this.#groupOf.size > 0;
  }

  watches(collection: string): boolean {
    return this.#index.watches(collection);
  }

  get members(): number {
    return this.#groupOf.size;
  }

  get groups(): number {
    return this.#groups.size;
  }

  /** The member has seen everything up to the replica's present revision and is told what follows. */
  join(member: Member, view: View, bookmarkMs: number): void {
    const id = `${bookmarkMs} ${view.id}`;
    let group = this.#groups.get(id);
    if (!group) {
      group = new Group(id, view, bookmarkMs, this.replica.revision);
      this.#groups.set(id, group);
      this.#index.add(group);
    }
    group.members.add(member);
    this.#groupOf.set(member, group);
  }

  leave(member: Member): void {
    const group = this.#groupOf.get(member);
    if (!group) return;
    this.#groupOf.delete(member);
    group.members.delete(member);
    if (group.members.size > 0) return;
    this.#groups.delete(group.id);
    this.#index.remove(group);
  }

  offer(commits: readonly Commit[]): void {
    this.#told = this.replica.revision;
    if (this.#groups.size === 0) return;
    const output = new Map<Group, string>();
    for (const commit of commits) {
      for (const [group, concerned] of this.#concerned(commit)) {
        const frames = changesFrames(group.view, this.replica.epoch, commit, concerned);
        output.set(group, (output.get(group) ?? '') + frames);
        group.toldRevision = commit.revision;
        group.behindSince = undefined;
      }
    }
    for (const [group, frames] of output) this.#send(group, frames);
  }

  leapt(): void {
    const told = this.#told;
    this.#told = this.replica.revision;
    this.#dismiss((member) => member.leapt(told));
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
      this.#send(group, frame('bookmark', { revision }, formatCursor(epoch, revision)));
      group.toldRevision = revision;
      group.behindSince = undefined;
    }
  }

  /** The groups that see something of the commit, and what. */
  #concerned(commit: Commit): Map<Group, Change[]> {
    const concerned = new Map<Group, Change[]>();
    // To those who watch `_changes` the commit itself is an item; it is made only for them.
    const changes = this.#index.watches(CHANGES) ? [...commit.changes, additionOf(commit)] : commit.changes;
    for (const change of changes) {
      this.#index.each(change, (group, seen) => {
        const changes = concerned.get(group);
        if (changes) changes.push(seen);
        else concerned.set(group, [seen]);
      });
    }
    return concerned;
  }

  #send(group: Group, frames: string): void {
    const buffer = Buffer.from(frames);
    for (const member of group.members) member.receive(buffer);
    this.telemetry.framesSent(group.members.size, buffer.length * group.members.size);
  }

  #dismiss(tell: (member: Member) => void): void {
    const members = [...this.#groupOf.keys()];
    for (const member of members) this.leave(member);
    for (const member of members) tell(member);
  }
}

/** How often bookmarks are looked for; a quarter of the shortest `bookmarkMs`. */
export const BOOKMARK_EVERY_MS = limits.bookmarkMsMin / 4;
