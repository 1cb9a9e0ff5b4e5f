/**
 * Loads a backup into a database that nobody else uses. The file is read twice: first to see that it is whole, then to load it. The
 * entries of indexes aren't in it: they are made of the items, as an index that is built makes them.
 */
import { newEpoch } from '../engine/state/cursor.js';
import { type CollectionIndex, collectionIndex, entryOf } from '../engine/state/indexes.js';
import type { Attributes } from '../engine/state/model.js';
import type { Row, Session, Value } from '../store/dialect.js';
import { ENTRY_COLUMNS, toIndex } from '../store/mapping.js';
import { clockOf } from '../store/reads.js';
import type { Restoring } from '../store/restoring.js';
import { type Restoration, restoredRow, type Table } from '../store/tables.js';
import { ArchiveReader, type Counts, type Header } from './archive.js';
import { countText, type Progress } from './progress.js';

export interface Checked {
  readonly header: Header;
  readonly counts: Counts;
}

export interface RestoredPool {
  readonly name: string;
  readonly epoch: string;
  /** Where the backup has it, and where it goes on. */
  readonly revision: number;
  readonly restoredRevision: number;
}

/** Reads the file to its end. Throws an ArchiveFault where it isn't a whole backup that this version can restore. */
export async function checkBackup(file: string, progress: Progress): Promise<Checked> {
  const reader = new ArchiveReader(file);
  let rows = 0;
  for await (const portion of reader.portions()) {
    rows += portion.rows.length;
    progress.at(`checking: ${countText(rows, ['row', 'rows'])} so far`);
  }
  return { header: reader.header, counts: reader.counts };
}

export async function loadBackup(
  file: string,
  target: Restoring,
  { header, counts }: Checked,
  progress: Progress,
): Promise<RestoredPool[]> {
  const pools: RestoredPool[] = [];
  const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
  await target.load(header.schema, async (session) => {
    const now = await clockOf(session);
    const epochs = new Map<number, string>();
    const restoration: Restoration = {
      now,
      leap: leapOf(Date.parse(header.time), now),
      epochOf: (poolId) => {
        const epoch = epochs.get(poolId) ?? newEpoch();
        epochs.set(poolId, epoch);
        return epoch;
      },
    };
    const entries = new Entries();
    let rows = 0;
    for await (const portion of new ArchiveReader(file).portions()) {
      const { table } = portion;
      const restored = portion.rows.map((row) => restoredRow(table, row, restoration));
      const columns = header.tables[table.name] as readonly string[];
      await session.insert(
        table.name,
        columns,
        restored.map((row) => columns.map((column) => row[column] as Value)),
      );
      await entries.follow(session, table, restored);
      if (table.name === 'pool') pools.push(...restored.map((row, i) => told(row, portion.rows[i] as Row)));
      rows += restored.length;
      progress.at(`restoring ${table.name}: ${Math.floor((rows / Math.max(1, all)) * 100)} %`);
    }
  });
  return pools;
}

function told({ name, epoch, revision }: Row, former: Row): RestoredPool {
  return {
    name: name as string,
    epoch: epoch as string,
    revision: former.revision as number,
    restoredRevision: revision as number,
  };
}

const LEAP = 1_000_000_000;
/** More commits than a pool can have. */
const COMMITS_PER_MS = 100;

/**
 * How far numbers that rise leap, so that none that was given out after the backup is given out again for something else: by whole
 * milliards, so that a person sees which life of a pool a revision is of. 2^53 has room for nine million of them.
 */
export function leapOf(backupTime: number, now: number): number {
  return LEAP * Math.max(1, Math.ceil(((now - backupTime) * COMMITS_PER_MS) / LEAP));
}

/** Makes the entries of indexes of the items that are loaded. */
class Entries {
  readonly #indexes = new Map<number, CollectionIndex[]>();

  async follow(session: Session, table: Table, rows: readonly Row[]): Promise<void> {
    if (table.name === 'collection_index') for (const row of rows) this.#learn(row);
    if (table.name !== 'item' || this.#indexes.size === 0) return;
    await session.insert(
      'item_index',
      ENTRY_COLUMNS,
      rows.flatMap((row) => this.#of(row)),
    );
  }

  #learn(row: Row): void {
    const index = collectionIndex(toIndex(row));
    const { collectionId } = index.stored;
    this.#indexes.set(collectionId, [...(this.#indexes.get(collectionId) ?? []), index]);
  }

  #of(row: Row): Value[][] {
    const indexes = this.#indexes.get(row.collection_id as number);
    if (!indexes) return [];
    const key = row.item_key as string;
    const attributes = JSON.parse(row.attributes as string) as Attributes;
    return indexes.flatMap((index) => {
      const entry = entryOf(index, key, attributes, row.changed_at as number);
      return entry ? [[row.pool_id as number, entry.indexId, entry.sortKey, key]] : [];
    });
  }
}
