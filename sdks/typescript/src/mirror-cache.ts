/** Keeps a cache up with a mirror: notes what changed, and writes it some four times a second. Where it can't be written any more the mirror goes on without. */
import { CACHE_EVERY_MS } from './bounds.js';
import type { CacheStore } from './cache.js';
import { StargusError } from './errors.js';
import { type Entry, entryOf, itemOf } from './item.js';
import type { View } from './view.js';

export class MirrorCache {
  readonly #store: CacheStore;
  readonly #view: View;
  readonly #problem: (error: StargusError) => void;
  #dirty = new Set<string>();
  #isAllDirty = false;
  /** The cursor that is written. */
  #written: string | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #writing: Promise<void> = Promise.resolve();
  #isEnded = false;
  #hasFailed = false;

  constructor(store: CacheStore, view: View, problem: (error: StargusError) => void) {
    this.#store = store;
    this.#view = view;
    this.#problem = problem;
  }

  /** Gives the view what the cache has. */
  async load(isSparse: boolean): Promise<void> {
    const content = await this.#store.load();
    if (!content) return;
    const items = new Map<string, Entry>();
    for (const { key, revision, attributes } of content.rows)
      items.set(key, isSparse ? entryOf(key, revision) : itemOf(key, revision, JSON.parse(attributes)));
    this.#view.restore(items, content.cursor);
    this.#written = content.cursor;
  }

  /** The view changed: these keys, or all. */
  changed(keys: Iterable<string>, isAll: boolean): void {
    if (this.#isEnded) return;
    if (isAll) {
      this.#isAllDirty = true;
      this.#dirty.clear();
    } else if (!this.#isAllDirty) for (const key of keys) this.#dirty.add(key);
    this.#timer ??= setTimeout(() => this.#write(), CACHE_EVERY_MS);
  }

  /** Lets the cache go as it is written, for what the view shows next isn't of it. */
  leave(): void {
    clearTimeout(this.#timer);
    this.#isEnded = true;
    this.#hasFailed = true;
    this.#writing = this.#writing.then(() => this.#store.close().catch(() => {}));
  }

  /** Writes what is left, and lets the cache go. */
  async close(): Promise<void> {
    if (this.#isEnded) return this.#writing;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#write();
    this.#isEnded = true;
    await this.#writing;
    await this.#store.close().catch(() => {});
  }

  #write(): void {
    this.#timer = undefined;
    this.#writing = this.#writing.then(() => this.#commit());
  }

  async #commit(): Promise<void> {
    const { cursor, items, isComplete } = this.#view;
    if (this.#hasFailed || cursor === undefined || !isComplete) return;
    if (!this.#isAllDirty && this.#dirty.size === 0 && cursor === this.#written) return;
    const isAll = this.#isAllDirty;
    const puts: Entry[] = [];
    const deletes: string[] = [];
    if (isAll) for (const entry of items.values()) puts.push(entry);
    else
      for (const key of this.#dirty) {
        const entry = items.get(key);
        if (entry) puts.push(entry);
        else deletes.push(key);
      }
    this.#dirty = new Set();
    this.#isAllDirty = false;
    try {
      await this.#store.commit({ cursor, count: items.size, isAll, puts, deletes });
      this.#written = cursor;
    } catch (error) {
      this.#hasFailed = true;
      clearTimeout(this.#timer);
      this.#isEnded = true;
      await this.#store.close().catch(() => {});
      this.#problem(
        error instanceof StargusError
          ? error
          : new StargusError('cacheFailed', 'The cache can’t be written any more; the mirror goes on without it.', {
              cause: error,
            }),
      );
    }
  }
}
