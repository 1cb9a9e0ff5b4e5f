/** Lets others have their turn on the event loop: what a database answers at once would otherwise go on without a pause. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Tells when others should have their turn: whenever a count of steps has grown by so many. */
export class Turns {
  #count = 0;

  constructor(private readonly every: number) {}

  /** Whether one is due now that the count is so high; the next is due so many steps later. */
  areDue(count: number): boolean {
    if (count - this.#count < this.every) return false;
    this.#count = count;
    return true;
  }
}
