/** What the doctor finds: each finding names its place, what is wrong there, and what to do. Of a kind that is found over and over some are told. */

/** Kinds of findings, with what to do where nothing better is said. */
export const KINDS = {
  poolRow: 'Restore a backup: nothing tells what the row should say.',
  collectionCount: 'With every node stopped, set the count as the finding says.',
  collectionRow: 'Restore a backup, or delete and write the items of the collection anew.',
  itemUnreadable: 'Delete the item or write it anew (PUT), or restore a backup.',
  itemRevision: 'Write the item anew (PUT), or restore a backup.',
  logHole:
    'Watchers would miss commits. With every node stopped: stargus-server backup and restore, which gives the pool a new epoch; that doesn’t bring the commits back.',
  logRow:
    'Restore a backup; or with every node stopped raise the pool’s oldest_revision above the row, which forgets the log up to there.',
  itemNotInLog: 'Watchers weren’t told of this state. Write the item anew (PUT).',
  itemNotAsLogged: 'Watchers were told another state than readers are. Write the item anew (PUT).',
  itemMissing: 'The log has the item, readers don’t. Write it anew (PUT), or restore a backup.',
  itemDeleted: 'The log says that it was deleted. Delete it, or write it anew (PUT).',
  indexRow: 'Write the collection’s entry in _dictionary anew, without the index and then with it.',
  indexEntry: 'Take the index out of the collection’s definition and put it back: it is built anew.',
  indexDuplicate: 'Two items have the same values: change one of them.',
  sessionRow: 'Stop every node and set expires_at = 0 for the row of the session: it ends at the next start.',
  sessionItem: 'End the session (DELETE), or with every node stopped delete its row and restore a backup.',
  lockItem: 'Nobody can release the lock: with every node stopped, stargus-server backup, restore, and look again.',
  orphan: 'With every node stopped, delete the rows: nothing uses them.',
} as const;

export type Kind = keyof typeof KINDS;

export interface Finding {
  readonly kind: Kind;
  readonly pool?: string | undefined;
  readonly collection?: string | undefined;
  readonly key?: string | undefined;
  readonly detail: string;
  readonly advice: string;
}

/** Findings of one kind that are told; the others are counted. */
const TOLD = 100;

export class Findings {
  readonly #counts = new Map<Kind, number>();

  constructor(private readonly tell: (finding: Finding) => void) {}

  add(
    kind: Kind,
    place: Pick<Finding, 'pool' | 'collection' | 'key'>,
    detail: string,
    advice: string = KINDS[kind],
  ): void {
    const count = (this.#counts.get(kind) ?? 0) + 1;
    this.#counts.set(kind, count);
    if (count <= TOLD) this.tell({ kind, ...place, detail, advice });
  }

  /** How many there are, of each kind. */
  get counts(): ReadonlyMap<Kind, number> {
    return this.#counts;
  }

  get count(): number {
    return [...this.#counts.values()].reduce((sum, count) => sum + count, 0);
  }

  /** How many weren't told. */
  get untold(): number {
    return [...this.#counts.values()].reduce((sum, count) => sum + Math.max(0, count - TOLD), 0);
  }
}
