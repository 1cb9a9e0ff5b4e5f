/**
 * An import: lines of items, each a put, taken in as they arrive. Lines are joined to commits for their cost's sake only:
 * each is judged for itself, and one that is refused harms no other. What is told (`ImportEvent`) is told once it is
 * durable, so that whoever is interrupted goes on after the last line that he was told of; and as a line is a put, a
 * repetition of what was done meanwhile is harmless. Whoever takes the events slowly slows the reading down.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type ErrorPlace, Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { Writer } from '../sessions/writer.js';
import { isSystemName } from '../state/collections.js';
import type { Committer } from '../state/committer.js';
import { type Op, type WriteAnswer, writeItems } from '../state/item-commands.js';
import { ensurePool } from '../state/pool-commands.js';
import type { Reader } from '../state/reader.js';
import { isFree, type Subject } from '../subject.js';
import { type Entry, readLine } from './import-line.js';
import { LineSplitter } from './lines.js';
import type { Slots } from './slots.js';

/** Where the bytes come from. */
export interface ByteSource {
  /** The next bytes; undefined at the end, 'late' when none came within the time. Rejects when the sender has gone. */
  next(waitMs: number): Promise<Buffer | 'late' | undefined>;
  readonly gone: boolean;
}

export interface ImportRequest {
  readonly subject: Subject;
  readonly writer?: Writer | undefined;
  /** So many lines, from the first, are passed over. */
  readonly skip: number;
  /** Makes the key of a line that has none. */
  readonly newKey: () => string;
}

export interface Counts {
  readonly applied: number;
  readonly unchanged: number;
  readonly refused: number;
  readonly revision: number;
}

export type ImportEvent =
  /** Everything up to the line is durable. */
  | ({ readonly kind: 'progress'; readonly line: number } & Counts)
  | ({ readonly kind: 'refused' } & Pick<Entry, 'line' | 'collection' | 'key'> & { readonly problem: Problem })
  /** The line was taken, though its item isn't as the dictionary says, in the mode `warn`. */
  | ({ readonly kind: 'warned' } & Pick<Entry, 'line' | 'collection' | 'key'> & {
        readonly warnings: readonly ErrorPlace[];
      })
  | ({ readonly kind: 'done'; readonly lines: number } & Counts)
  /** The import ended early; everything up to the line is durable. */
  | { readonly kind: 'failed'; readonly line: number; readonly problem: Problem };

export interface ImportOpening {
  readonly epoch: string;
  readonly revision: number;
  run(source: ByteSource): AsyncGenerator<ImportEvent>;
}

export class Import {
  constructor(
    private readonly committer: Committer,
    private readonly reader: Reader,
    private readonly slots: Slots,
    private readonly options: { readonly createPools: boolean },
  ) {}

  /** Finds the pool, or makes it where a write would. Refuses before anything is read. */
  async open(pool: string, request: ImportRequest): Promise<ImportOpening> {
    const release = this.slots.take();
    let run: Run;
    try {
      run = await this.#begin(pool, request);
    } catch (error) {
      release();
      throw error;
    }
    const { epoch, revision } = run.begin;
    const finished = async function* (source: ByteSource) {
      try {
        yield* run.events(source);
      } finally {
        release();
      }
    };
    return { epoch, revision, run: finished };
  }

  async #begin(pool: string, request: ImportRequest): Promise<Run> {
    // Whom a policy binds can't make a pool: none of its lines would be taken.
    if (this.options.createPools && isFree(request.subject)) await this.committer.submit(pool, ensurePool(request));
    const { epoch, revision } = await this.reader.current(pool);
    return new Run(this.committer, pool, request, { epoch, revision });
  }
}

/** Ends an import: not one line is at fault, but all that follow would be. */
class Ended extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }
}

/** Problems that a command meets whatever its lines say. */
const OF_ALL = new Set(['unavailable', 'unauthenticated', 'tooManyRequests', 'sessionFenced', 'lockLost', 'forbidden']);

class Run {
  readonly #splitter: LineSplitter;
  #group: Entry[] = [];
  #groupBytes = 0;
  /** Everything up to this line is durable. */
  #durable = 0;
  #settledAt = performance.now();
  readonly #counts: { -readonly [Name in keyof Counts]: Counts[Name] };

  constructor(
    private readonly committer: Committer,
    private readonly pool: string,
    private readonly request: ImportRequest,
    readonly begin: { readonly epoch: string; readonly revision: number },
  ) {
    this.#splitter = new LineSplitter(limits.itemBodyBytesMax, request.skip);
    this.#counts = { applied: 0, unchanged: 0, refused: 0, revision: begin.revision };
  }

  async *events(source: ByteSource): AsyncGenerator<ImportEvent> {
    try {
      yield* this.#take(source);
    } catch (error) {
      if (!(error instanceof Ended)) throw error;
      yield { kind: 'failed', line: this.#durable, problem: error.problem };
      return;
    }
    yield { kind: 'done', lines: this.#splitter.lines, ...this.#counts };
  }

  async *#take(source: ByteSource): AsyncGenerator<ImportEvent> {
    let idleMs = 0;
    for (;;) {
      const chunk = await source.next(limits.importProgressMs);
      if (this.committer.closing) throw new Ended(new Problem('unavailable', 'The server is stopping.'));
      idleMs = chunk === 'late' ? idleMs + limits.importProgressMs : 0;
      if (idleMs >= limits.transferStallMs) {
        yield* this.#settle(source);
        throw new Ended(new Problem('badRequest', `Nothing came for ${limits.transferStallMs} ms.`));
      }
      if (chunk !== 'late') {
        for (const line of chunk ? this.#splitter.push(chunk) : this.#splitter.finish()) {
          const entry = readLine(line, this.request.newKey);
          if (entry) yield* this.#add(entry, source);
        }
      }
      if (!chunk || chunk === 'late' || performance.now() - this.#settledAt >= limits.importProgressMs)
        yield* this.#settle(source);
      if (!chunk) return;
    }
  }

  async *#add(entry: Entry, source: ByteSource): AsyncGenerator<ImportEvent> {
    // What a system collection says may bear upon the lines around it: it is a commit of its own.
    const isAlone = entry.op !== undefined && isSystemName(entry.op.collection);
    if (isAlone && this.#group.length > 0) yield* this.#settle(source, entry.line - 1);
    this.#group.push(entry);
    this.#groupBytes += entry.bytes;
    const isFull = this.#group.length >= limits.importGroupLinesMax || this.#groupBytes >= limits.importGroupBytesMax;
    if (isAlone || isFull) yield* this.#settle(source);
  }

  /** Makes everything durable that was taken so far, up to a line, and tells what became of it. */
  async *#settle(source: ByteSource, upTo = this.#splitter.lines): AsyncGenerator<ImportEvent> {
    const group = this.#group;
    this.#group = [];
    this.#groupBytes = 0;
    const [first] = group;
    if (first) this.#durable = first.line - 1;
    await this.#commit(
      group.filter(({ problem }) => problem === undefined),
      source,
    );
    this.#durable = upTo;
    this.#settledAt = performance.now();
    for (const { line, collection, key, problem, warnings } of group) {
      if (warnings) yield { kind: 'warned', line, collection, key, warnings };
      if (!problem) continue;
      this.#counts.refused++;
      yield { kind: 'refused', line, collection, key, problem };
    }
    yield { kind: 'progress', line: upTo, ...this.#counts };
  }

  async #commit(entries: readonly Entry[], source: ByteSource): Promise<void> {
    const [first] = entries;
    if (!first) return;
    try {
      this.#count(entries, await this.#submit(entries, source));
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.code === 'notFound') throw this.#deleted();
      if (OF_ALL.has(error.code)) throw new Ended(error);
      // The commit as a whole was refused, as too large: the lines that are at fault are those that are so alone.
      if (entries.length === 1) first.problem = error;
      else {
        const middle = entries.length >> 1;
        await this.#commit(entries.slice(0, middle), source);
        await this.#commit(entries.slice(middle), source);
      }
    }
  }

  /** Waits for a node or database that can't take it now, for a while. A put that may have been applied is put again. */
  async #submit(entries: readonly Entry[], source: ByteSource): Promise<WriteAnswer> {
    const { subject, writer } = this.request;
    let bytes = 256;
    for (const entry of entries) bytes += entry.bytes * 2;
    const ops = entries.map(({ op }) => op as Op);
    for (let attempt = 1; ; attempt++) {
      try {
        // Without an Idempotency-Key there is no stored answer.
        const command = writeItems({ subject, writer, bytes, ops, atomic: false, epoch: this.begin.epoch });
        const submitted = await this.committer.submit(this.pool, command);
        return (submitted as { answer: WriteAnswer }).answer;
      } catch (error) {
        const isWorthWaiting = error instanceof Problem && error.code === 'unavailable' && !this.committer.closing;
        if (!isWorthWaiting || attempt >= limits.importAttemptsMax || source.gone) throw error;
        await sleep(limits.importRetryMs * 2 ** (attempt - 1));
      }
    }
  }

  /** Nothing of what was told as durable is there any more. */
  #deleted(): Ended {
    this.#durable = 0;
    return new Ended(new Problem('conflict', 'The pool was deleted meanwhile; begin with the first line.'));
  }

  #count(entries: readonly Entry[], { revision, results }: WriteAnswer): void {
    this.#counts.revision = revision;
    for (const [i, { problem, status, changed, warnings }] of results.entries()) {
      (entries[i] as Entry).warnings = warnings;
      if (problem) (entries[i] as Entry).problem = problem;
      else if (status === 201 || changed.length > 0) this.#counts.applied++;
      else this.#counts.unchanged++;
    }
  }
}
