/**
 * Loads the items that a group's commands name: remembered ones from the replica, all others with as few reads as their
 * size allows. Stops at a command's end when what was loaded is a transaction's fill; the commands after it wait for the
 * next group.
 */
import { Problem } from '../errors.js';
import { limits } from '../limits.js';
import type { StoredItem, StoreTransaction } from '../ports.js';
import { entryRef, isSystemName } from './collections.js';
import type { Command } from './commands.js';
import { type GroupState, refId } from './draft.js';
import { type Collection, type ItemRef, ItemState } from './model.js';
import type { Replica } from './replica.js';

export interface Loaded {
  /** So many commands, from the first, have everything they name. */
  readonly commands: number;
  readonly bytes: number;
  /** Why the first command can't be judged: what it names is too large. */
  readonly refused?: Problem;
}

/** Items that are read at once before their size is looked at. */
const READ_ITEMS = 64;

export async function loadItems(
  commands: readonly Pick<Command<unknown>, 'touches'>[],
  state: GroupState,
  replica: Replica | undefined,
  tx: StoreTransaction,
): Promise<Loaded> {
  const missing = new Map<string, ItemRef>();
  const collections = new Set<string>();
  let bytes = 0;
  const flush = async () => {
    if (replica && missing.size > 0) bytes += await read(missing, state, replica, tx);
    missing.clear();
  };
  const want = (ref: ItemRef) => {
    const id = refId(ref);
    if (state.items.has(id) || missing.has(id)) return;
    const remembered = replica?.remembered(ref);
    if (remembered) state.items.set(id, remembered.state);
    else if (replica?.collections.has(ref.collection)) missing.set(id, ref);
    else state.items.set(id, undefined);
  };
  for (const [index, { touches }] of commands.entries()) {
    for (const ref of touches) {
      want(ref);
      // What the dictionary says of a collection is needed to judge what is written there.
      if (!collections.has(ref.collection)) {
        collections.add(ref.collection);
        if (!isSystemName(ref.collection)) want(entryRef(ref.collection));
      }
      if (missing.size >= READ_ITEMS) await flush();
      if (index === 0 && bytes > limits.commitBytesMax) return { commands: 1, bytes, refused: tooLarge() };
    }
    if (bytes > limits.groupWorkBytesMax) {
      await flush();
      return { commands: index + 1, bytes };
    }
  }
  await flush();
  return { commands: commands.length, bytes };
}

function tooLarge(): Problem {
  return new Problem(
    'tooLarge',
    `The items that the request names are more than ${limits.commitBytesMax} bytes; split it.`,
  );
}

async function read(
  refs: ReadonlyMap<string, ItemRef>,
  state: GroupState,
  replica: Replica,
  tx: StoreTransaction,
): Promise<number> {
  const idOf = (name: string) => (replica.collections.get(name) as Collection).id;
  const places = Array.from(refs.values(), ({ collection, key }) => ({ collectionId: idOf(collection), key }));
  const found = new Map((await tx.items(replica.id, places)).map((item) => [`${item.collectionId}/${item.key}`, item]));
  let bytes = 0;
  for (const [id, ref] of refs) {
    const item = found.get(`${idOf(ref.collection)}/${ref.key}`);
    const itemState = item && stateOf(item);
    bytes += item?.json.length ?? 0;
    state.items.set(id, itemState);
    // The replica may have heard of others' commits meanwhile, and the database not yet have ended this transaction for them.
    if (replica.revision === state.base) replica.remember(ref, itemState);
  }
  return bytes;
}

export function stateOf(item: StoredItem): ItemState {
  return new ItemState(item.json, item.revision, item.createdRevision);
}
