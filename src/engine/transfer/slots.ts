/** How many exports and imports are under way on this node: each takes a slot, and gives it back when it ends. */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';

export class Slots {
  #taken = 0;

  /** Refuses with `unavailable` where none is free. Answers what gives the slot back, once. */
  take(): () => void {
    if (this.#taken >= limits.transfersMax) {
      throw new Problem('unavailable', `This node runs at most ${limits.transfersMax} exports and imports at once.`, {
        headers: { 'retry-after': '5' },
      });
    }
    this.#taken++;
    let held = true;
    return () => {
      if (held) this.#taken--;
      held = false;
    };
  }
}
