/** A page as it fills: in the order in which items come, or of all that come those that are first in the order asked for. */
import type { Budget } from './budget.js';
import type { Found, Ordering, Position } from './ordering.js';
import { sortInTurns } from './sorting.js';

export interface PageSize {
  readonly limit: number;
  /** What all items but the first may have together. */
  readonly bytesMax: number;
}

export interface PageItems {
  readonly items: readonly Found[];
  readonly more: boolean;
}

/** Up to the limit and, but for the first item, the bytes; and one item more, if there is one. */
export class PageOf {
  readonly items: Found[] = [];
  #bytes = 0;
  #fits = 0;

  constructor(private readonly size: PageSize) {}

  get bytes(): number {
    return this.#bytes;
  }

  get isFull(): boolean {
    return this.items.length > this.#fits;
  }

  add(item: Found): void {
    this.items.push(item);
    this.#bytes += item.shownBytes;
    const { limit, bytesMax } = this.size;
    const fits = this.items.length === 1 || (this.items.length <= limit && this.#bytes <= bytesMax);
    if (fits && this.#fits === this.items.length - 1) this.#fits++;
  }

  answer(): PageItems {
    return { items: this.items.slice(0, this.#fits), more: this.isFull };
  }
}

interface Placed {
  readonly item: Found;
  readonly position: Position;
}

/** The first of many: a page of them and one more are kept, and the others are forgotten on the way. */
export class FirstOf {
  #kept: Placed[] = [];
  #bytes = 0;
  /** What comes after it isn't on the page, whatever else comes. */
  #end: Position | undefined;

  constructor(
    private readonly size: PageSize,
    private readonly ordering: Ordering,
    private readonly budget: Budget,
  ) {}

  /** Takes an item in, at a position that is known already or its own. Answers whether it is time to forget. */
  add(item: Found, position = this.ordering.positionOf(item)): boolean {
    if (this.#end && this.ordering.compare(position, this.#end, this.budget) > 0) return false;
    this.#kept.push({ item, position });
    this.#bytes += item.shownBytes;
    const { limit, bytesMax } = this.size;
    return this.#kept.length > 4 * limit + 100 || this.#bytes > 4 * bytesMax;
  }

  /** Those that were taken in and are kept, in order; it begins anew. */
  async take(): Promise<readonly Found[]> {
    await this.forget();
    const items = this.#kept.map(({ item }) => item);
    this.#kept = [];
    this.#bytes = 0;
    this.#end = undefined;
    return items;
  }

  /** Forgets what isn't on the page, as far as is known by now. */
  async forget(): Promise<void> {
    const { ordering, budget } = this;
    const sorted = await sortInTurns(
      this.#kept,
      (a, b) => ordering.compare(a.position, b.position, budget),
      this.#bytes,
      budget,
    );
    const page = new PageOf(this.size);
    for (const { item } of sorted) if (!page.isFull) page.add(item);
    this.#kept = sorted.slice(0, page.items.length);
    this.#bytes = page.bytes;
    this.#end = page.isFull ? this.#kept.at(-1)?.position : undefined;
  }
}
