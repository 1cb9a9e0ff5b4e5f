/**
 * What one query may examine, and what comparing may cost it. Past either bound the query is refused, by name of the bound; it
 * is never cut silently. It also tells when to pause: large items take long to parse and to compare, and meanwhile nobody else
 * has a turn.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import { turn } from '../turn.js';
import type { Meter } from './evaluate.js';

/** What a query may cost. */
export interface Bounds {
  readonly scanItemsMax: number;
  /** Steps of comparisons of values with elements or members. */
  readonly comparisonStepsMax: number;
  /** Whether nobody waits for the answer any more. */
  readonly isLeft?: (() => boolean) | undefined;
}

/** A step of comparing takes as long as so many characters of JSON to parse. */
const STEP_BYTES = 4;

export class Budget implements Meter {
  examined = 0;
  steps = 0;
  #bytes = 0;
  #pauseAt = limits.scanPortionBytes;

  readonly #itemsMax: number;

  constructor(private readonly bounds: Bounds) {
    this.#itemsMax = bounds.scanItemsMax;
  }

  get isOver(): boolean {
    return this.#exceeded !== undefined;
  }

  /** Counts one item, of so many characters of JSON. Throws `scanLimit`; answers whether others should have their turn. */
  spend(bytes: number): boolean {
    this.examined++;
    this.#bytes += bytes;
    if (this.examined > this.#itemsMax || this.#bytes > limits.scanBytesMax) this.check();
    return this.isDue;
  }

  check(): void {
    const exceeded = this.#exceeded;
    if (exceeded === undefined) return;
    const { scanItemsMax, comparisonStepsMax } = this.bounds;
    throw new Problem(
      'scanLimit',
      `The query would ${exceeded}. Declare an index on what it filters or orders by in the collection's entry of _dictionary, or narrow it by prefix.`,
      { members: { scanItemsMax, scanBytesMax: limits.scanBytesMax, comparisonStepsMax } },
    );
  }

  /** True after so much work that others should have their turn. */
  get isDue(): boolean {
    return this.#done > this.#pauseAt;
  }

  /** Lets others have their turn if that is due; undefined where it isn't. Ends what nobody waits for. */
  rest(): Promise<void> | undefined {
    if (!this.isDue) return undefined;
    this.check();
    if (this.bounds.isLeft?.()) throw new Problem('unavailable', 'The client left before the answer was there.');
    this.#pauseAt = this.#done + limits.scanPortionBytes;
    return turn();
  }

  get #done(): number {
    return this.#bytes + STEP_BYTES * this.steps;
  }

  get #exceeded(): string | undefined {
    const { scanItemsMax, comparisonStepsMax } = this.bounds;
    if (this.examined > scanItemsMax) return `examine more than ${scanItemsMax} items`;
    if (this.#bytes > limits.scanBytesMax) return `examine more than ${limits.scanBytesMax} bytes of items`;
    if (this.steps > comparisonStepsMax)
      return `take more than ${comparisonStepsMax} steps to compare arrays, objects and long texts`;
    return undefined;
  }
}
