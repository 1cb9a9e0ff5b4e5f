/** All items of a collection's range in the order of their keys or backwards, page by page. Between pages others have their turn. */
import { limits } from '../limits.js';
import type { ItemSource, StoredItem } from '../ports.js';
import { turn } from '../turn.js';
import type { KeyRange } from './key-order.js';

export interface ItemPagesRequest extends KeyRange {
  readonly collectionId: number;
  /** Only keys strictly beyond this one. */
  readonly after?: string | undefined;
  /** From the highest key to the lowest. */
  readonly backward?: boolean;
  /** Items on a page; where pages grow, on the first. */
  readonly limit: number;
  /** Each page is larger than the one before it, up to so many items: little is read in vain, and much by few reads. */
  readonly limitMax?: number;
}

/** The size of the page after one of that size. */
export function grown(limit: number, limitMax: number): number {
  return Math.min(Math.max(limit, limitMax), limit * GROWTH);
}

const GROWTH = 2;

export async function* itemPages(
  source: Pick<ItemSource, 'range'>,
  poolId: number,
  request: ItemPagesRequest,
): AsyncGenerator<readonly StoredItem[]> {
  const { limitMax = 0, ...rest } = request;
  let { after, limit } = rest;
  for (let more = true; more; ) {
    const page = await source.range(poolId, { ...rest, after, limit, bytesMax: limits.scanReadBytesMax });
    yield page.items;
    ({ more } = page);
    limit = grown(limit, limitMax);
    after = page.items.at(-1)?.key;
    if (more) await turn();
  }
}
