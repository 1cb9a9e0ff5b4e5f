/**
 * What was asked of a pool and what came of it, as the judge reads it: one JSON object a line. Times are nanoseconds of one
 * clock that never goes back, that of the process in which all clients run. `judge/history.go` is the other side of it.
 */
import { writeFileSync } from 'node:fs';
import type { Attributes, Json, LoggedCommit } from './client.js';

/** One item that a write sets. Each write has a token that no other has, and leaves it as the item's `t`. */
export interface Put {
  readonly key: string;
  readonly how: 'put' | 'merge' | 'increment';
  /** A second attribute, which a merge leaves as it is where it doesn't name it. */
  readonly m?: string;
}

export interface WriteRequest {
  readonly kind: 'write';
  readonly token: string;
  readonly puts: readonly Put[];
  readonly deletes: readonly string[];
  /** Every item of the prefix is deleted. */
  readonly deletePrefix?: string;
  /** The write is for an item at this revision only; 0: for an item that isn't there. */
  readonly condition?: { readonly key: string; readonly revision: number };
}

export interface ReadRequest {
  readonly kind: 'get' | 'range';
  /** The key, or the prefix. */
  readonly key: string;
  /** What Stargus-Min-Revision asked for. */
  readonly minRevision?: number;
}

export interface ReadItem {
  readonly key: string;
  readonly revision: number;
  readonly createdRevision: number;
  readonly attributes: Attributes;
}

/** `refused`: a condition didn't hold. `failed`: nothing was done. `unknown`: nobody knows whether it was done. */
export type Outcome =
  | {
      readonly outcome: 'done';
      /** The state that it was judged in or left, by Stargus-Revision. */
      readonly at: number;
      /** A write: whether it committed anything. */
      readonly committed?: boolean;
      /** A write: what increments made of their items, by key. */
      readonly values?: Readonly<Record<string, number>>;
      /** A write: which of the deleted items had been there. */
      readonly existed?: readonly string[];
      readonly items?: readonly ReadItem[];
    }
  | { readonly outcome: 'refused'; readonly at: number }
  | { readonly outcome: 'failed' | 'unknown'; readonly why: string };

export interface Operation {
  readonly type: 'op';
  readonly client: number;
  readonly node: number;
  readonly call: number;
  readonly return: number;
  readonly request: WriteRequest | ReadRequest;
  readonly outcome: Outcome;
}

export interface WatchEvent {
  readonly time: number;
  readonly event: string;
  readonly cursor?: string;
  // biome-ignore lint/suspicious/noExplicitAny: as it came; the judge looks at it.
  readonly data: any;
}

/** One connection of a watcher, or one long poll. */
export interface Watch {
  readonly type: 'watch';
  readonly watcher: string;
  readonly node: number;
  readonly way: 'attach' | 'feed' | 'poll';
  readonly key?: string;
  readonly prefix?: string;
  readonly values: 'changed' | 'full';
  /** The cursor that it resumed from; absent where it began anew. */
  readonly since?: string;
  readonly open: number;
  readonly close: number;
  readonly events: readonly WatchEvent[];
}

/** Something that was done to the servers. */
export interface Deed {
  readonly type: 'fault';
  readonly time: number;
  readonly what: string;
}

export class History {
  readonly #lines: (Operation | Watch | Deed)[] = [];
  readonly #began = process.hrtime.bigint();
  /** Two events never have the same time: etcd's judge wants it so. */
  #last = 0;

  now(): number {
    this.#last = Math.max(this.#last + 1, Number(process.hrtime.bigint() - this.#began));
    return this.#last;
  }

  add(line: Operation | Watch): void {
    this.#lines.push(line);
  }

  fault(what: string): void {
    this.#lines.push({ type: 'fault', time: this.now(), what });
  }

  get operations(): readonly Operation[] {
    return this.#lines.filter((line) => line.type === 'op');
  }

  get watches(): readonly Watch[] {
    return this.#lines.filter((line) => line.type === 'watch');
  }

  get faults(): readonly Deed[] {
    return this.#lines.filter((line) => line.type === 'fault');
  }

  /** Writes what happened to a file, with the pool's own log, which the judge believes nothing that is not borne out. */
  write(file: string, about: Readonly<Record<string, Json>>, base: string, log: readonly LoggedCommit[]): void {
    const lines = [
      { type: 'about', ...about, base },
      ...log.map((commit) => ({ type: 'commit', ...commit })),
      ...this.#lines,
    ];
    writeFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  }
}
