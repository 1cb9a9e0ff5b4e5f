/** Tells the items of one snapshot in parts of a bounded size. There is at least one part. */
import { limits } from '../limits.js';
import { frame } from './frames.js';
import type { Sink } from './stream.js';

export class SnapshotParts {
  #items = '';
  #bytes = 0;
  #part = 0;

  constructor(
    private readonly sink: Sink,
    private readonly name: string,
    private readonly revision: number,
  ) {}

  /** Adds an item, as JSON text. True if that made a part. */
  add(item: string): boolean {
    const bytes = Buffer.byteLength(item) + 1;
    const isFull = this.#items !== '' && this.#bytes + bytes > limits.snapshotPartBytesMax;
    if (isFull) this.#tellPart();
    this.#items += this.#items === '' ? item : `,${item}`;
    this.#bytes += bytes;
    return isFull;
  }

  end(): void {
    if (this.#items !== '' || this.#part === 0) this.#tellPart();
  }

  #tellPart(): void {
    this.#part++;
    const head = `{"view":${JSON.stringify(this.name)},"revision":${this.revision}`;
    this.sink.write(frame('snapshot', `${head},"items":[${this.#items}],"part":${this.#part}}`));
    this.#items = '';
    this.#bytes = 0;
  }
}
