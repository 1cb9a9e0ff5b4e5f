/** The values of a sparse mirror: asked for when they are wanted, once for all who want one at a time, and kept within a bound until they change. */
import type { Item } from './item.js';
import { Lru } from './lru.js';

export interface SparseSource {
  /** Whether there is such an item, as the mirror knows. */
  has(key: string): boolean;
  /** The state that the mirror shows of the item. */
  revision(key: string): number;
  /** Asks the server, for a state that has this revision. */
  ask(key: string, minRevision: number): Promise<Item | undefined>;
}

/** What the server answered, and of which state at least: an item's own revision may be far older. */
interface Answer {
  readonly item: Item | undefined;
  readonly asOf: number;
}

interface Question {
  readonly answer: Promise<Answer>;
  /** The last commit that altered the item, or what is shown of it, since it was asked for. */
  changedAt: number;
}

export class SparseValues {
  readonly #source: SparseSource;
  readonly #kept: Lru<Answer>;
  readonly #asked = new Map<string, Question>();

  constructor(bytesMax: number, source: SparseSource) {
    this.#kept = new Lru(bytesMax);
    this.#source = source;
  }

  get kept(): { readonly items: number; readonly bytes: number } {
    return { items: this.#kept.size, bytes: this.#kept.bytes };
  }

  /** The mirror has come to know that this commit altered the item, or what is shown of it. */
  changed(key: string, commit: number): void {
    const kept = this.#kept.peek(key);
    if (kept && (kept.asOf < commit || !this.#source.has(key))) this.#kept.delete(key);
    const asked = this.#asked.get(key);
    if (asked) asked.changedAt = Math.max(asked.changedAt, commit);
  }

  /** The mirror shows another state, perhaps of another life of the pool, whose revisions say nothing about those before. */
  reset(): void {
    this.#kept.clear();
    for (const asked of this.#asked.values()) asked.changedAt = Number.POSITIVE_INFINITY;
  }

  /** Never older than the mirror knows. */
  async fetch(key: string): Promise<Item | undefined> {
    for (;;) {
      if (!this.#source.has(key)) return undefined;
      const kept = this.#kept.get(key);
      if (kept) return kept.item;
      const asked = this.#asked.get(key) ?? this.#ask(key);
      const { item, asOf } = await asked.answer;
      if (!this.#source.has(key)) return undefined;
      // It may have been asked for before the latest change was known.
      if (asOf >= asked.changedAt) return item;
    }
  }

  #ask(key: string): Question {
    const minRevision = this.#source.revision(key);
    const asked: Question = {
      answer: this.#source
        .ask(key, minRevision)
        .then((item) => {
          const answer = { item, asOf: Math.max(minRevision, item?.revision ?? 0) };
          if (item && answer.asOf >= asked.changedAt && this.#source.has(key))
            this.#kept.set(key, answer, new TextEncoder().encode(JSON.stringify(item.attributes)).length);
          return answer;
        })
        .finally(() => this.#asked.delete(key)),
      changedAt: 0,
    };
    this.#asked.set(key, asked);
    return asked;
  }
}
