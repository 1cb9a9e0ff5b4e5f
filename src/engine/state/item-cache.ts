/**
 * A bounded cache of items, shared by all pools of this node. It only remembers; what is in it is current because its
 * users prove so by the pool's revision. Second-chance eviction: an entry that was read since the hand last passed
 * is spared once, which costs a hit one flag instead of a move.
 */
import type { ItemState } from './model.js';

interface Entry {
  state: ItemState | undefined;
  used: boolean;
  bytes: number;
}

/** What an entry costs beside its JSON text: map slot, objects, key. */
const OVERHEAD_BYTES = 200;

export class ItemCache {
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;

  constructor(readonly bytesMax: number) {}

  get bytes(): number {
    return this.#bytes;
  }

  /** The entry, whose state is undefined where there is known to be no item; undefined when nothing is known. */
  get(id: string): Readonly<Entry> | undefined {
    const entry = this.#entries.get(id);
    if (entry) entry.used = true;
    return entry;
  }

  set(id: string, state: ItemState | undefined): void {
    // The parsed form costs about as much again as the text.
    const bytes = OVERHEAD_BYTES + id.length + (state ? state.json.length * 2 : 0);
    const entry = this.#entries.get(id);
    if (entry) {
      this.#bytes += bytes - entry.bytes;
      entry.state = state;
      entry.bytes = bytes;
    } else {
      this.#entries.set(id, { state, used: false, bytes });
      this.#bytes += bytes;
    }
    if (this.#bytes > this.bytesMax) this.#evict();
  }

  /** Takes over a newer state, if the item is remembered at all. */
  update(id: string, state: ItemState | undefined): void {
    if (this.#entries.has(id)) this.set(id, state);
  }

  #evict(): void {
    for (const [id, entry] of this.#entries) {
      if (this.#bytes <= this.bytesMax) return;
      this.#entries.delete(id);
      if (entry.used) {
        entry.used = false;
        this.#entries.set(id, entry);
      } else {
        this.#bytes -= entry.bytes;
      }
    }
  }
}
