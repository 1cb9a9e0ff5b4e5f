/** The values of a sparse mirror: asked for when they are wanted, once for all who want one at a time, and kept within a bound until they change. */
import type { Item } from './item.js';
import { Lru } from './lru.js';

export interface SparseSource {
  /** Of the item, as the mirror knows it; undefined: there is none. */
  revisionOf(key: string): number | undefined;
  /** Asks the server, for a state that has this revision. */
  ask(key: string, minRevision: number): Promise<Item | undefined>;
}

export class SparseValues {
  readonly #source: SparseSource;
  readonly #kept: Lru<Item>;
  readonly #asked = new Map<string, Promise<Item | undefined>>();

  constructor(bytesMax: number, source: SparseSource) {
    this.#kept = new Lru(bytesMax);
    this.#source = source;
  }

  get kept(): { readonly items: number; readonly bytes: number } {
    return { items: this.#kept.size, bytes: this.#kept.bytes };
  }

  /** The mirror knows another revision; undefined: the item is gone. */
  changed(key: string, revision: number | undefined): void {
    const kept = this.#kept.peek(key);
    if (kept && (revision === undefined || kept.revision < revision)) this.#kept.delete(key);
  }

  /** Never older than the mirror knows. */
  async fetch(key: string): Promise<Item | undefined> {
    for (;;) {
      const wanted = this.#source.revisionOf(key);
      if (wanted === undefined) return undefined;
      const kept = this.#kept.get(key);
      if (kept && kept.revision >= wanted) return kept;
      let asked = this.#asked.get(key);
      if (!asked) {
        asked = this.#ask(key, wanted).finally(() => this.#asked.delete(key));
        this.#asked.set(key, asked);
      }
      const item = await asked;
      // It may have been asked for before the latest change was known.
      const now = this.#source.revisionOf(key);
      if (now === undefined) return undefined;
      if (!item || item.revision >= now) return item;
    }
  }

  async #ask(key: string, minRevision: number): Promise<Item | undefined> {
    const item = await this.#source.ask(key, minRevision);
    if (item && this.#source.revisionOf(key) !== undefined)
      this.#kept.set(key, item, new TextEncoder().encode(JSON.stringify(item.attributes)).length);
    return item;
  }
}
