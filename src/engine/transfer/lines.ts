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

export class LineSplitter {
  #parts: Buffer[] = [];
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
      this.#keep(chunk, from, to);
      from = to + 1;
      const line = this.#end();
      if (line) yield line;
    }
    this.#keep(chunk, from, chunk.length);
  }

  /** What is left when the stream has ended: a last line without a line feed. */
  *finish(): Generator<Line> {
    const line = this.#length > 0 ? this.#end() : undefined;
    if (line) yield line;
  }

  #keep(chunk: Buffer, from: number, to: number): void {
    if (from === to) return;
    this.#length += to - from;
    if (this.#lines < this.skip || this.#length > this.bytesMax) this.#parts.length = 0;
    else this.#parts.push(chunk.subarray(from, to));
  }

  #end(): Line | undefined {
    const parts = this.#parts;
    const length = this.#length;
    this.#parts = [];
    this.#length = 0;
    this.#lines++;
    if (this.#lines <= this.skip) return undefined;
    const bytes = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
    return { number: this.#lines, length, bytes };
  }
}
