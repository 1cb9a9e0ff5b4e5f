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
  /** Items on a page. */
  readonly limit: number;
}

export async function* itemPages(
  source: Pick<ItemSource, 'range'>,
  poolId: number,
  request: ItemPagesRequest,
): AsyncGenerator<readonly StoredItem[]> {
  let { after } = request;
  for (let more = true; more; ) {
    const page = await source.range(poolId, { ...request, after, bytesMax: limits.scanReadBytesMax });
    yield page.items;
    ({ more } = page);
    after = page.items.at(-1)?.key;
    if (more) await turn();
  }
}
