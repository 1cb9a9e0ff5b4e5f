/**
 * Opens a database only to read it as a whole, whoever else uses it: servers go on meanwhile. Unlike a server's, this needs no
 * lock on a SQLite file.
 */
import { closeSync, existsSync, openSync, rmSync } from 'node:fs';
import { resolve } from 'node:path';
import Sqlite from 'better-sqlite3';
import { migrationNames, openMysql } from './data-source.js';
import type { Database, Session } from './dialect.js';
import { SqliteSession } from './dialect-sqlite.js';

export type DatabaseKind = 'sqlite' | 'mysql';

export interface Reading {
  readonly kind: DatabaseKind;
  /** Runs the work on one unchanging state of the database, and refuses one whose tables aren't those of this version. */
  snapshot<T>(work: (session: Session) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** How long a file that is being recovered or checkpointed by another process is waited for. */
const BUSY_MS = 10_000;
/** Between two portions of a copy others have their turn, signals among them. */
const COPIED_PAGES = 4096;

export function openForReading(url: string): Promise<Reading> {
  return url.startsWith('sqlite:') ? openFile(pathOf(url)) : openServer(url);
}

/**
 * A SQLite database as it is now, copied into a file of its own by SQLite's backup API: so a server that goes on writing is held up
 * by nothing, and neither is the clearing of its write-ahead log by who reads slowly. The copy is removed when it is closed.
 */
export async function openCopy(url: string, copy: string, told: (share: number) => void): Promise<Reading> {
  const path = pathOf(url);
  refuseMissing(path);
  removeFiles(copy);
  // As secret as the backup that is made of it.
  closeSync(openSync(copy, 'wx', 0o600));
  try {
    const source = new Sqlite(path, { readonly: true, timeout: BUSY_MS });
    try {
      // In a transaction of its own the source stays as it is: without one, each write of another process would begin the copy anew.
      source.exec('BEGIN');
      source.prepare('SELECT COUNT(*) FROM sqlite_master').get();
      await source.backup(copy, {
        progress({ totalPages, remainingPages }) {
          told(totalPages === 0 ? 1 : 1 - remainingPages / totalPages);
          return COPIED_PAGES;
        },
      });
    } finally {
      source.close();
    }
    const reading = await openFile(copy);
    return {
      ...reading,
      close: async () => {
        await reading.close();
        removeFiles(copy);
      },
    };
  } catch (error) {
    removeFiles(copy);
    throw error;
  }
}

/** A SQLite database with all that belongs to it. */
export function removeFiles(path: string): void {
  for (const end of ['', '-wal', '-shm', '-journal']) rmSync(path + end, { force: true });
}

export function pathOf(url: string): string {
  return resolve(url.slice('sqlite:'.length));
}

function refuseMissing(path: string): void {
  if (!existsSync(path)) throw new Error(`There is no database ${path}.`);
}

async function openFile(path: string): Promise<Reading> {
  refuseMissing(path);
  const connection = new Sqlite(path, { readonly: true, timeout: BUSY_MS });
  const session = new SqliteSession(connection);
  return {
    kind: 'sqlite',
    async snapshot(work) {
      connection.exec('BEGIN');
      try {
        await checkSchema(session, 'SELECT name FROM sqlite_master WHERE type = ? AND name = ?');
        return await work(session);
      } finally {
        connection.exec('ROLLBACK');
      }
    },
    close: async () => void connection.close(),
  };
}

async function openServer(url: string): Promise<Reading> {
  const database: Database = await openMysql(url, false);
  return {
    kind: 'mysql',
    snapshot: (work) =>
      database.scan(async (session) => {
        await checkSchema(
          session,
          "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type LIKE CONCAT('%', ?) AND table_name = ?",
        );
        return work(session);
      }),
    close: () => database.close(),
  };
}

/** `lookup` finds a table by its kind and name. */
async function checkSchema(session: Session, lookup: string): Promise<void> {
  if ((await session.all(lookup, ['table', 'migrations'])).length === 0)
    throw new Error('The database has no tables of Stargus; a server makes them at its first start.');
  const ran = (await session.all('SELECT name FROM migrations ORDER BY id', [])).map(({ name }) => String(name));
  const unknown = ran.find((name) => !migrationNames.includes(name));
  if (unknown !== undefined)
    throw new Error(
      `The tables of the database are newer than this version of Stargus (${unknown}): use the version that its servers have.`,
    );
  if (ran.length < migrationNames.length)
    throw new Error(
      `The tables of the database are older than this version of Stargus (${ran.at(-1)}): use the version that its servers have, or \`stargus-server migrate\` first.`,
    );
}
