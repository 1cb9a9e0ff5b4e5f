// The loads that more than one suite applies: 200-byte values in 10,000 items, and a smaller collection for watchers, because each
// of a thousand watchers is first sent all of it.
import { generate } from '../generator.mjs';

export const items = { collection: 'items', keys: 10_000, value: 200 };
export const fan = { collection: 'fan', keys: 256, value: 200 };

export const fullSpeed = (operation, connections) => ({ ...items, mode: 'requests', operation, connections });
export const paced = { ...fan, mode: 'fanout', connections: 4, rate: 20 };

export async function seed(target, flags = {}) {
  for (const collection of [items, fan])
    await generate(target, { ...collection, ...flags, mode: 'seed', connections: 64 });
}

// What makes a figure doubtful, to stand beside it.
export function troubleOf(result) {
  const troubles = [
    result.errors && `${result.errors} errors (${result.problem})`,
    result.missing && `${result.missing} deliveries missing`,
    result.closed && `${result.closed} watchers disconnected`,
  ].filter(Boolean);
  return troubles.length ? `  ! ${troubles.join(', ')}` : '';
}
