/** An operation as a node hands it to the store when it accepts a write that is to be done later. */
import { randomUUID } from 'node:crypto';
import type { NewOperation } from '../../src/engine/operations/operation-store.js';

let serial = 0;

export function newOperation(more: Partial<NewOperation> = {}): NewOperation {
  return {
    // In the order of their making, as those of servers are.
    id: `${String(++serial).padStart(8, '0')}${randomUUID().slice(8)}`,
    ...{ pool: 'p', call: 'putItem', caller: 'ann', epoch: 'e', session: undefined, repeatable: undefined },
    subject: JSON.stringify({ id: 'ann', isUnbound: false, restrictions: [] }),
    request: JSON.stringify({ method: 'PUT', target: '/x', headers: {}, origin: 'http://x', address: '::1' }),
    body: Buffer.from([0, 255, 10]),
    ...more,
  };
}
