/** Queries: the items that match, one after the other; pages are fetched as they are needed. */
import { PAGE_ITEMS } from './bounds.js';
import { notUnderstood } from './errors.js';
import { type Item, itemOfAnswer } from './item.js';
import { collectionPath } from './paths.js';
import type { Pipeline } from './pipeline.js';
import type { Where } from './where.js';
import type { CallOptions } from './writes.js';

export interface QueryOptions extends CallOptions {
  /** Only items that match. */
  readonly where?: Where;
  /** Names of attributes or pointers; `-` before one is descending. */
  readonly order?: readonly string[];
  /** Only keys that begin so. */
  readonly prefix?: string;
  /** Only keys from this one on. */
  readonly start?: string;
  /** Only keys before this one. */
  readonly end?: string;
  /** Only these attributes. */
  readonly fields?: readonly string[];
  /** Items of a page, 1 to 1,000. */
  readonly limit?: number;
}

export interface CountOptions extends CallOptions {
  readonly prefix?: string;
  readonly start?: string;
  readonly end?: string;
}

interface Page {
  readonly items: readonly unknown[];
  readonly nextPageToken?: string;
  readonly count?: number;
}

/** What a query gives. It may be gone through several times, and asks anew each time. */
export class Query implements AsyncIterable<Item> {
  readonly #pages: () => AsyncGenerator<readonly Item[]>;

  constructor(pages: () => AsyncGenerator<readonly Item[]>) {
    this.#pages = pages;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Item, void, undefined> {
    for await (const page of this.#pages()) yield* page;
  }

  /** Page by page. */
  pages(): AsyncGenerator<readonly Item[]> {
    return this.#pages();
  }

  /** All at once. */
  async toArray(): Promise<Item[]> {
    const all: Item[] = [];
    for await (const page of this.#pages()) all.push(...page);
    return all;
  }
}

export function queryItems(pipeline: Pipeline, pool: string, collection: string, options: QueryOptions = {}): Query {
  const { signal, ...members } = options;
  return new Query(async function* () {
    let pageToken: string | undefined;
    do {
      const page = await ask(pipeline, pool, collection, { limit: PAGE_ITEMS, ...members, pageToken }, signal);
      yield page.items.map(itemOfAnswer);
      pageToken = page.nextPageToken;
    } while (pageToken !== undefined);
  });
}

export async function countItems(
  pipeline: Pipeline,
  pool: string,
  collection: string,
  where: Where | undefined,
  { signal, ...members }: CountOptions = {},
): Promise<number> {
  const page = await ask(pipeline, pool, collection, { ...members, where, limit: 1, count: 'exact' }, signal);
  return page.count ?? 0;
}

async function ask(
  pipeline: Pipeline,
  pool: string,
  collection: string,
  body: Record<string, unknown>,
  signal: AbortSignal | undefined,
): Promise<Page> {
  const { json } = await pipeline.request({
    method: 'POST',
    path: `${collectionPath(pool, collection)}/query`,
    body,
    signal,
  });
  const page = (json ?? {}) as Page;
  if (!Array.isArray(page.items)) throw notUnderstood('The page');
  return page;
}
