/**
 * Cuts a stream of bytes into lines and counts them from 1. Of a line that is too long, or that is passed over, nothing is
 * kept but its length, however long it is.
 */

export interface Line {
  readonly number: number;
  readonly length: number;
  /** Without its line feed; empty where the line is too long. */
  readonly bytes: Buffer;
}

const LINE_FEED = 0x0a;
const NOTHING = Buffer.alloc(0);

export class LineSplitter {
  /** What a line had in former chunks: copied, for of a chunk of one byte a view would hold far more. */
  #kept = NOTHING;
  #keptLength = 0;
  #length = 0;
  /** Lines that have ended. */
  #lines = 0;

  constructor(
    private readonly bytesMax: number,
    /** So many lines, from the first, are passed over. */
    private readonly skip: number,
  ) {}

  get lines(): number {
    return this.#lines;
  }

  *push(chunk: Buffer): Generator<Line> {
    let from = 0;
    for (let to = chunk.indexOf(LINE_FEED); to >= 0; to = chunk.indexOf(LINE_FEED, from)) {
      const line = this.#end(chunk.subarray(from, to));
      from = to + 1;
      if (line) yield line;
    }
    this.#keep(chunk.subarray(from));
  }

  /** What is left when the stream has ended: a last line without a line feed. */
  *finish(): Generator<Line> {
    const line = this.#length > 0 ? this.#end(NOTHING) : undefined;
    if (line) yield line;
  }

  #keep(part: Buffer): void {
    if (!this.#takes(part)) {
      this.#kept = NOTHING;
      this.#keptLength = 0;
      return;
    }
    const needed = this.#keptLength + part.length;
    if (needed > this.#kept.length) {
      const larger = Buffer.alloc(Math.min(Math.max(needed, this.#kept.length * 2), this.bytesMax));
      this.#kept.copy(larger, 0, 0, this.#keptLength);
      this.#kept = larger;
    }
    part.copy(this.#kept, this.#keptLength);
    this.#keptLength = needed;
  }

  /** Counts a part of the present line, and tells whether it is to be kept. */
  #takes(part: Buffer): boolean {
    this.#length += part.length;
    return this.#lines >= this.skip && this.#length <= this.bytesMax;
  }

  #end(last: Buffer): Line | undefined {
    const takes = this.#takes(last);
    const kept = this.#kept.subarray(0, this.#keptLength);
    const length = this.#length;
    this.#kept = NOTHING;
    this.#keptLength = 0;
    this.#length = 0;
    this.#lines++;
    if (this.#lines <= this.skip) return undefined;
    const bytes = !takes ? NOTHING : kept.length === 0 ? last : Buffer.concat([kept, last]);
    return { number: this.#lines, length, bytes };
  }
}
