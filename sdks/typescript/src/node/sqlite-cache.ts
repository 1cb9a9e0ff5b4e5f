/**
 * The cache as an SQLite file, by node:sqlite, which is loaded when the first one is opened. The file's format is that of all languages
 * (docs/CLIENTS.md#the-cache). It is locked for as long as it is open; what isn't a cache of Stargus is never touched.
 */
import { hash } from 'node:crypto';
import { closeSync, existsSync, fchmodSync, openSync, readSync, rmSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { setImmediate as breathe } from 'node:timers/promises';
import { CACHE_ROWS_AT_ONCE } from '../bounds.js';
import {
  APPLICATION_ID,
  type CacheCommit,
  type CacheContent,
  type CacheRow,
  type CacheStore,
  type Checksum,
  FORMAT_VERSION,
  isSameView,
  rowOf,
  type Sha256,
  Checksum as Sum,
  verified,
} from '../cache.js';
import { StargusError } from '../errors.js';

const HEADER = 'SQLite format 3\0';
/** Where SQLite's header has the application id. */
const APPLICATION_AT = 68;
const BUSY = 5;

const sha256: Sha256 = (text) => hash('sha256', text, 'buffer');

/** Opens the file, or makes it. @throws StargusError `cacheInUse`, `cacheFailed` */
export async function openSqliteCache(file: string, view: readonly string[]): Promise<CacheStore> {
  const { DatabaseSync: Database } = await import('node:sqlite');
  checkOurs(file);
  for (let isAgain = false; ; isAgain = true) {
    let database: DatabaseSync | undefined;
    try {
      ownersOnly(file);
      database = new Database(file);
      lock(database);
      const isNew = !isCurrent(database);
      if (isNew) make(database);
      return new SqliteCache(database, view, () => {
        let anew: DatabaseSync | undefined;
        try {
          remove(file);
          ownersOnly(file);
          anew = new Database(file);
          lock(anew);
          make(anew);
          return anew;
        } catch (error) {
          close(anew);
          throw failed(file, error);
        }
      });
    } catch (error) {
      close(database);
      // Damaged beyond opening: it is a copy, and is made anew.
      if (isAgain || codeOf(error) === undefined || codeOf(error) === BUSY) throw failed(file, error);
      remove(file);
    }
  }
}

/** Makes the file unless it is there. From the first moment on nobody else may read it, whoever made it. */
function ownersOnly(file: string): void {
  const opened = openSync(file, 'a', 0o600);
  try {
    fchmodSync(opened, 0o600);
  } finally {
    closeSync(opened);
  }
}

/** @throws StargusError `cacheFailed` unless the file is a cache, or isn't there, or is empty */
function checkOurs(file: string): void {
  if (!existsSync(file)) return;
  const head = Buffer.alloc(APPLICATION_AT + 4);
  let bytes: number;
  try {
    const opened = openSync(file, 'r');
    try {
      bytes = readSync(opened, head, 0, head.length, 0);
    } finally {
      closeSync(opened);
    }
  } catch (error) {
    throw failed(file, error);
  }
  if (bytes === 0) return;
  const isOurs =
    head.toString('latin1', 0, HEADER.length) === HEADER && head.readUInt32BE(APPLICATION_AT) === APPLICATION_ID;
  if (!isOurs)
    throw new StargusError(
      'cacheFailed',
      `${file} is something else than a cache of Stargus, and isn't touched. Name another file.`,
    );
}

function lock(database: DatabaseSync): void {
  // What a crash of the machine leaves is known by its checksum, so nothing waits for the disk. The journal is gone when it is closed.
  database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = OFF;');
  database.exec('BEGIN EXCLUSIVE; COMMIT;');
}

function isCurrent(database: DatabaseSync): boolean {
  const { user_version: version } = database.prepare('PRAGMA user_version').get() as { user_version: number };
  const { application_id: id } = database.prepare('PRAGMA application_id').get() as { application_id: number };
  if (id !== APPLICATION_ID || version !== FORMAT_VERSION) return false;
  const tables = database.prepare("SELECT count(*) AS n FROM sqlite_schema WHERE name IN ('about', 'item')").get();
  return (tables as { n: number }).n === 2;
}

function make(database: DatabaseSync): void {
  database.exec(`
    BEGIN;
    DROP TABLE IF EXISTS about;
    DROP TABLE IF EXISTS item;
    PRAGMA application_id = ${APPLICATION_ID};
    PRAGMA user_version = ${FORMAT_VERSION};
    CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE item (key TEXT PRIMARY KEY, revision INTEGER NOT NULL, attributes TEXT NOT NULL) WITHOUT ROWID;
    COMMIT;`);
}

class SqliteCache implements CacheStore {
  #database: DatabaseSync;
  readonly #view: readonly string[];
  readonly #anew: () => DatabaseSync;
  #sum: Checksum = new Sum(sha256);
  #hasView = false;

  constructor(database: DatabaseSync, view: readonly string[], anew: () => DatabaseSync) {
    this.#database = database;
    this.#view = view;
    this.#anew = anew;
  }

  async load(): Promise<CacheContent | undefined> {
    try {
      const content = this.#read();
      if (content) return content;
      make(this.#database);
    } catch (error) {
      if (codeOf(error) === undefined) throw failed('The cache', error);
      // Damaged.
      close(this.#database);
      this.#database = this.#anew();
    }
    this.#sum = new Sum(sha256);
    this.#hasView = false;
    return undefined;
  }

  #read(): CacheContent | undefined {
    const about = this.#about();
    const view = about.get('view');
    if (view === undefined || !isSameView(view, this.#view)) return undefined;
    const rows = this.#database.prepare('SELECT key, revision, attributes FROM item').all() as unknown as CacheRow[];
    const cursor = about.get('cursor');
    const sum = verified(sha256, rows, cursor, about.get('checksum'));
    if (!sum || cursor === undefined) return undefined;
    this.#sum = sum;
    this.#hasView = true;
    return { cursor, rows };
  }

  #about(): Map<string, string> {
    const rows = this.#database.prepare('SELECT name, value FROM about').all() as { name: string; value: string }[];
    return new Map(rows.map(({ name, value }) => [name, value]));
  }

  async commit({ cursor, count, isAll, puts, deletes }: CacheCommit): Promise<void> {
    const database = this.#database;
    const sum = isAll ? new Sum(sha256) : this.#sum.copy();
    try {
      database.exec('BEGIN');
      try {
        if (isAll) database.exec('DELETE FROM item');
        const find = database.prepare('SELECT key, revision, attributes FROM item WHERE key = ?');
        const put = database.prepare('INSERT OR REPLACE INTO item (key, revision, attributes) VALUES (?, ?, ?)');
        const take = database.prepare('DELETE FROM item WHERE key = ?');
        const takeOut = (key: string) => {
          const row = isAll ? undefined : (find.get(key) as CacheRow | undefined);
          if (row) sum.toggle(row);
        };
        let done = 0;
        for (const entry of puts) {
          const row = rowOf(entry);
          takeOut(row.key);
          sum.toggle(row);
          put.run(row.key, row.revision, row.attributes);
          // Others have their turn.
          if (++done % CACHE_ROWS_AT_ONCE === 0) await breathe();
        }
        for (const key of deletes) {
          takeOut(key);
          take.run(key);
          if (++done % CACHE_ROWS_AT_ONCE === 0) await breathe();
        }
        const tell = database.prepare('INSERT OR REPLACE INTO about (name, value) VALUES (?, ?)');
        if (!this.#hasView) tell.run('view', JSON.stringify(this.#view));
        tell.run('cursor', cursor);
        tell.run('checksum', sum.with(cursor, count));
        database.exec('COMMIT');
      } catch (error) {
        rollBack(database);
        throw error;
      }
    } catch (error) {
      throw failed('The cache', error);
    }
    this.#sum = sum;
    this.#hasView = true;
  }

  async close(): Promise<void> {
    close(this.#database);
  }
}

function rollBack(database: DatabaseSync): void {
  try {
    database.exec('ROLLBACK');
  } catch {
    // SQLite has done so already.
  }
}

function close(database: DatabaseSync | undefined): void {
  try {
    database?.close();
  } catch {
    // It is closed.
  }
}

function remove(file: string): void {
  for (const suffix of ['', '-journal', '-wal', '-shm']) rmSync(file + suffix, { force: true });
}

/** SQLite's primary code; undefined where it is no error of SQLite. */
function codeOf(error: unknown): number | undefined {
  const code = (error as { errcode?: unknown }).errcode;
  return typeof code === 'number' ? code & 0xff : undefined;
}

function failed(what: string, error: unknown): StargusError {
  if (error instanceof StargusError) return error;
  if (codeOf(error) === BUSY)
    return new StargusError('cacheInUse', `Another process or mirror has the cache ${what}. Give each its own.`, {
      cause: error,
    });
  const why = error instanceof Error ? error.message : String(error);
  return new StargusError('cacheFailed', `${what} can't be opened or written: ${why}`, { cause: error });
}
