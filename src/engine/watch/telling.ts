/**
 * Text that many connections are sent, made once. What a commit tells through one view is one `Telling`, whoever sees it;
 * what is sent in one turn is a `Sequence` of tellings, and connections that were told the same share one buffer.
 */
import type { Commit } from '../state/model.js';
import { changesFrames } from './frames.js';

/** Changes of one commit as they are told. */
export class Telling {
  readonly #joined = new Map<Telling, Telling>();
  #frames: string | undefined;

  constructor(
    private readonly commit: Commit,
    private readonly cursor: string,
    private readonly changes: readonly string[],
  ) {}

  /** The same and what the other tells, for those who see the commit through several views. */
  and(other: Telling): Telling {
    let joined = this.#joined.get(other);
    if (!joined) {
      joined = new Telling(this.commit, this.cursor, [...this.changes, ...other.changes]);
      this.#joined.set(other, joined);
    }
    return joined;
  }

  get frames(): string {
    this.#frames ??= changesFrames(this.commit, this.changes, this.cursor);
    return this.#frames;
  }
}

/** What is told one after another: a node of a tree, so that equal sequences are one. */
export class Sequence {
  readonly #next = new Map<Telling, Sequence>();
  #buffer: Buffer | undefined;

  constructor(private readonly frames = '') {}

  followedBy(telling: Telling): Sequence {
    let next = this.#next.get(telling);
    if (!next) {
      next = new Sequence(this.frames + telling.frames);
      this.#next.set(telling, next);
    }
    return next;
  }

  get buffer(): Buffer {
    this.#buffer ??= Buffer.from(this.frames);
    return this.#buffer;
  }
}
