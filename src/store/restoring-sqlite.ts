/**
 * Filling a SQLite database: a new file is made beside it and takes its place by being renamed, while the lock keeps servers away.
 * A new file may be written without a journal: whoever is interrupted throws it away.
 */
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';
import Sqlite from 'better-sqlite3';
import type { DataSource } from 'typeorm';
import { dataSourceFor, lockOut } from './data-source.js';
import type { Session } from './dialect.js';
import { SqliteSession } from './dialect-sqlite.js';
import { syncFile, syncFolder } from './durable.js';
import { removeFiles } from './reading.js';
import { countHeld, type Restoring, using } from './restoring.js';

export async function openFileForRestoring(path: string): Promise<Restoring> {
  mkdirSync(dirname(path), { recursive: true });
  const guard = lockOut(path);
  return {
    held: () => held(path),
    load: (schema, work) => load(path, schema, work),
    close: async () => void guard.close(),
  };
}

async function held(path: string): Promise<ReadonlyMap<string, number>> {
  if (!existsSync(path)) return new Map();
  let connection: Sqlite.Database;
  try {
    connection = new Sqlite(path);
    connection.prepare('SELECT COUNT(*) FROM sqlite_master').get();
  } catch (error) {
    throw new Error(
      `What is in ${path} can’t be read (${(error as Error).message}): move it away, with ${path}-wal, if it isn’t needed.`,
    );
  }
  try {
    const session = new SqliteSession(connection);
    const present = await session.all("SELECT name FROM sqlite_master WHERE type = 'table'", []);
    const names = new Set(present.map(({ name }) => String(name)));
    if (names.size > 0 && !names.has('migrations'))
      throw new Error(`${path} is a database of something else. Move it away if it isn’t needed.`);
    return await countHeld(session, names);
  } finally {
    connection.close();
  }
}

async function load(path: string, schema: string, work: (session: Session) => Promise<void>): Promise<void> {
  const part = `${path}.restore-part`;
  removeFiles(part);
  try {
    await using(dataSourceFor(`sqlite:${part}`, schema), async (source) => {
      await source.runMigrations({ transaction: 'each' });
      const connection = connectionOf(source);
      connection.pragma('journal_mode = OFF');
      connection.pragma('synchronous = OFF');
      connection.exec('BEGIN');
      await work(new SqliteSession(connection));
      connection.exec('COMMIT');
    });
    await using(dataSourceFor(`sqlite:${part}`), async (source) => {
      await source.runMigrations({ transaction: 'each' });
      // All of it in the one file, which is renamed alone.
      connectionOf(source).pragma('journal_mode = DELETE');
    });
    syncFile(part);
    retire(path);
    renameSync(part, path);
    syncFolder(dirname(path));
  } finally {
    removeFiles(part);
  }
}

function connectionOf(source: DataSource): Sqlite.Database {
  return (source.driver as unknown as { databaseConnection: Sqlite.Database }).databaseConnection;
}

/** Brings the former database's write-ahead log into its file: beside the new file it would be taken for the new one's. */
function retire(path: string): void {
  if (!existsSync(path)) return;
  const connection = new Sqlite(path);
  try {
    connection.pragma('journal_mode = DELETE');
  } finally {
    connection.close();
  }
  if (existsSync(`${path}-wal`)) throw new Error(`${path} is in use by another program.`);
}
