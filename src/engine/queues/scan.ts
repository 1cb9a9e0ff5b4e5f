/** Looks through a queue inside a commit, from its oldest entry on, and leaves what it looked at to the draft. */
import type { Explorer } from '../state/commands.js';
import { compareKeys } from '../state/key-order.js';
import { stateOf } from '../state/loading.js';
import type { ItemState } from '../state/model.js';
import { entryRange, QUEUES, type QueueRef } from './queue-items.js';

/** Entries that are read at once: of the largest they are as much as a commit may load. */
const PAGE_ENTRIES = 100;

/** Shows one entry after the other until `visit` answers false. */
export async function scanQueue(
  explorer: Explorer,
  queue: QueueRef,
  visit: (key: string, state: ItemState) => boolean,
): Promise<void> {
  const range = entryRange(queue);
  for (let { start } = range; ; ) {
    const { items, more } = await explorer.range(QUEUES, { ...range, start }, PAGE_ENTRIES);
    for (const item of items) if (!visit(item.key, stateOf(item))) return;
    const last = items.at(-1)?.key;
    if (!more || last === undefined || compareKeys(last, range.end ?? '') >= 0) return;
    // Keys have no character below a space, so that none lies between.
    start = `${last} `;
  }
}
