/** Which queue a path means: that of a session's name, or of a session's id, for clients that know their session by that. */
import type { Store } from '../ports.js';
import { checkOwnName } from '../state/names.js';
import type { Reader } from '../state/reader.js';
import type { QueueRef } from './queue-items.js';

/** As ids of sessions are written. */
const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/**
 * The owner's queue. Whether the session lives doesn't matter; of one that is forgotten only the name tells. Names never change, so
 * that this may be asked before the commit.
 */
export async function findQueue(
  { store, reader }: { readonly store: Store; readonly reader: Reader },
  pool: string,
  idOrName: string,
  owner: string,
): Promise<QueueRef> {
  checkOwnName('session', idOrName);
  if (!ID.test(idOrName)) return { session: idOrName, owner };
  const { id: poolId } = await reader.current(pool);
  const { session } = await store.session(poolId, idOrName);
  // The name of another's session isn't told.
  return { session: session?.subject === owner ? session.name : idOrName, owner };
}
