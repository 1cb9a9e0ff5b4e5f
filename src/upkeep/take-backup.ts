/** Writes a backup: one state of a database, row by row, in constant memory, while servers go on. */
import { existsSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { migrationNames } from '../store/data-source.js';
import type { Row, Session } from '../store/dialect.js';
import { syncFolder } from '../store/durable.js';
import { openCopy, openForReading, pathOf, type Reading, removeFiles } from '../store/reading.js';
import { clockOf } from '../store/reads.js';
import { type Table, tables } from '../store/tables.js';
import { walk } from '../store/walk.js';
import { ArchiveWriter, type Counts, type Header } from './archive.js';
import { countText, type Progress } from './progress.js';

export interface Taken {
  readonly header: Header;
  readonly counts: Counts;
}

/** What a backup leaves behind where it is ended in the middle. */
export function removeParts(file: string): void {
  rmSync(partOf(file), { force: true });
  removeFiles(copyOf(file));
}

const partOf = (file: string) => `${file}.part`;
const copyOf = (file: string) => `${file}.part.db`;

/** Nothing that is written or removed may be the database. */
function refuseItself(database: string, file: string): void {
  if (!existsSync(database)) return;
  const { dev, ino } = statSync(database);
  for (const written of [file, partOf(file), copyOf(file)]) {
    const other = statSync(written, { throwIfNoEntry: false });
    if (other?.ino === ino && other.dev === dev) throw new Error(`${written} is the database itself.`);
  }
}

/** The file is there when it is whole and on disk, and not before. */
export async function takeBackup(url: string, file: string, version: string, progress: Progress): Promise<Taken> {
  if (url.startsWith('sqlite:')) refuseItself(pathOf(url), file);
  // What one that was killed has left.
  removeParts(file);
  const reading = url.startsWith('sqlite:')
    ? await openCopy(url, copyOf(file), (share) => progress.at(`copying the database: ${Math.floor(share * 100)} %`))
    : await openForReading(url);
  try {
    const taken = await reading.snapshot((session) => write(session, reading, partOf(file), version, progress));
    renameSync(partOf(file), file);
    syncFolder(dirname(file));
    return taken;
  } finally {
    rmSync(partOf(file), { force: true });
    await reading.close();
  }
}

async function write(
  session: Session,
  { kind }: Reading,
  part: string,
  version: string,
  progress: Progress,
): Promise<Taken> {
  const kept = tables.filter((table) => table.kept);
  const header: Header = {
    stargus: 'backup',
    format: 1,
    version,
    schema: migrationNames.at(-1) as string,
    database: kind,
    time: new Date(await clockOf(session)).toISOString(),
    tables: Object.fromEntries(kept.map(({ name, columns }) => [name, columns])),
  };
  const archive = new ArchiveWriter(part, header);
  try {
    const oldest = await oldestRevisions(session);
    let rows = 0;
    for (const table of kept) {
      await archive.begin(table);
      for await (const page of rowsOf(session, table, oldest)) {
        await archive.add(page);
        rows += page.length;
        progress.at(`writing ${table.name}: ${countText(rows, ['row', 'rows'])} so far`);
      }
    }
    await archive.end();
    return { header, counts: archive.counts };
  } catch (error) {
    await archive.abort();
    throw error;
  }
}

/** Of each pool that there is. */
async function oldestRevisions(session: Session): Promise<Map<number, number>> {
  const rows = await session.all('SELECT id, oldest_revision FROM pool WHERE name IS NOT NULL ORDER BY id', []);
  return new Map(rows.map((row) => [row.id as number, row.oldest_revision as number]));
}

/** The rows that are in the backup. Of what belongs to pools, what dropped ones left behind isn't even read. */
async function* rowsOf(session: Session, table: Table, oldest: ReadonlyMap<number, number>): AsyncGenerator<Row[]> {
  const { name, columns, key, has } = table;
  if (key[0] !== 'pool_id') {
    for await (const page of walk(session, { table: name, columns, key }))
      yield has ? page.filter((row) => has(row, oldest)) : page;
    return;
  }
  for (const poolId of oldest.keys()) {
    for await (const page of walk(session, { table: name, columns, key, within: [poolId] }))
      yield has ? page.filter((row) => has(row, oldest)) : page;
  }
}
