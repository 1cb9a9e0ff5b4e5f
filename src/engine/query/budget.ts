/** What one query may examine. Past it the query is refused, by name of the bound; it is never cut silently. */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';

export class Budget {
  examined = 0;
  #bytes = 0;

  constructor(private readonly itemsMax: number) {}

  get isOver(): boolean {
    return this.examined > this.itemsMax || this.#bytes > limits.scanBytesMax;
  }

  /** Counts one item, of so many characters of JSON. Throws `scanLimit`. */
  spend(bytes: number): void {
    this.examined++;
    this.#bytes += bytes;
    if (!this.isOver) return;
    const bound = this.examined > this.itemsMax ? `${this.itemsMax} items` : `${limits.scanBytesMax} bytes of items`;
    throw new Problem(
      'scanLimit',
      `The query would examine more than ${bound}. Declare an index on what it filters or orders by in the collection's entry of _dictionary, or narrow it by prefix.`,
      { members: { scanItemsMax: this.itemsMax, scanBytesMax: limits.scanBytesMax } },
    );
  }
}
