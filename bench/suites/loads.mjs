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

// A started target that has been up for a while: what is still being compiled would count against whatever is measured first.
export async function startWarm(start, operations, seconds) {
  const target = await start();
  await seed(target);
  for (const operation of operations) await generate(target, { ...fullSpeed(operation, 64), seconds, warm: 0 });
  return target;
}

// Operations at full speed in turn, in the opposite order every other round. keep has a measurement of each, as `<operation> <connections>`.
export async function measureInTurn(target, operations, connections, { rounds, ...times }, keep) {
  for (let round = 1; round <= rounds; round++) {
    for (const operation of round % 2 ? operations : operations.toReversed()) {
      const result = await generate(target, { ...fullSpeed(operation, connections), ...times });
      if (result.errors) throw new Error(`${operation}: ${result.errors} errors (${result.problem})`);
      keep({ what: `${operation} ${connections}`, round, ...result });
    }
  }
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
