/**
 * Opens the database that a URL names: TypeORM's DataSource, its migrations, and the settings on which durability rests.
 *
 * A SQLite database belongs to one process at a time, for its replica in memory is taken for the truth. A second file
 * beside it is held locked for as long as the process lives; the operating system releases the lock however it ends.
 */
import { mkdirSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import Sqlite from 'better-sqlite3';
import { DataSource } from 'typeorm';
import { Core1763700000001 } from '../../migrations/0001-core.js';
import { Indexes1763700000002 } from '../../migrations/0002-indexes.js';
import { Sessions1763700000003 } from '../../migrations/0003-sessions.js';
import { Usage1763700000004 } from '../../migrations/0004-usage.js';
import { Identities1763700000005 } from '../../migrations/0005-identities.js';
import { Logins1763700000006 } from '../../migrations/0006-logins.js';
import { Refusals1763700000008 } from '../../migrations/0008-refusals.js';
import { Notifiers1763700000010 } from '../../migrations/0010-notifiers.js';
import type { Database } from './dialect.js';
import { MysqlDatabase } from './dialect-mysql.js';
import { SqliteDatabase } from './dialect-sqlite.js';
import { entitiesFor } from './rows.js';

const migrations = [
  Core1763700000001,
  Indexes1763700000002,
  Sessions1763700000003,
  Usage1763700000004,
  Identities1763700000005,
  Logins1763700000006,
  Refusals1763700000008,
  Notifiers1763700000010,
];

/** How long a connection to MySQL may take to be made. */
const CONNECT_MS = 10_000;
const CONNECTIONS = 16;

export interface OpenOptions {
  /** `sqlite:<path>` or `mysql://user:password@host:port/database`. */
  readonly url: string;
  /** Bring the tables up to date first. */
  readonly migrate: boolean;
}

export async function openDatabase({ url, migrate }: OpenOptions): Promise<Database> {
  return url.startsWith('sqlite:')
    ? openSqlite(resolve(url.slice('sqlite:'.length)), migrate)
    : openMysql(url, migrate);
}

/** A DataSource for the URL, not yet connected; for migrations and for the comparison of tables and entities. */
export function dataSourceFor(url: string): DataSource {
  if (url.startsWith('sqlite:')) {
    return new DataSource({
      type: 'better-sqlite3',
      database: resolve(url.slice('sqlite:'.length)),
      entities: entitiesFor('better-sqlite3'),
      migrations,
      prepareDatabase: (connection: Sqlite.Database) => {
        connection.pragma('journal_mode = WAL');
        // In WAL the default is NORMAL, which may lose acknowledged commits when the power fails.
        connection.pragma('synchronous = FULL');
        connection.pragma('busy_timeout = 5000');
        connection.pragma('cache_size = -32768');
        // 16 MiB instead of 4: pages that are written often reach the database file less often.
        connection.pragma('wal_autocheckpoint = 4000');
      },
    });
  }
  return new DataSource({
    type: 'mysql',
    url,
    entities: entitiesFor('mysql'),
    migrations,
    charset: 'utf8mb4',
    timezone: 'Z',
    // Revisions and times are BIGINT and below 2^53: as numbers, not as the strings that TypeORM asks for by default.
    supportBigNumbers: true,
    bigNumberStrings: false,
    connectTimeout: CONNECT_MS,
    poolSize: CONNECTIONS,
    // A group's statements are sent in one round trip; every value in them goes through the driver's escaping.
    extra: { enableKeepAlive: true, multipleStatements: true },
  });
}

async function openSqlite(path: string, migrate: boolean): Promise<Database> {
  mkdirSync(dirname(path), { recursive: true });
  const guard = lockOut(path);
  const source = dataSourceFor(`sqlite:${path}`);
  try {
    await source.initialize();
    await refuseNewer(source);
    if (migrate) await source.runMigrations({ transaction: 'each' });
    return new SqliteDatabase(source, path, guard);
  } catch (error) {
    if (source.isInitialized) await source.destroy();
    guard.close();
    throw error;
  }
}

function lockOut(path: string): Sqlite.Database {
  const guard = new Sqlite(`${path}.lock`, { timeout: 0 });
  try {
    guard.pragma('journal_mode = MEMORY');
    guard.exec('BEGIN EXCLUSIVE');
    return guard;
  } catch (error) {
    guard.close();
    if ((error as { code?: string }).code !== 'SQLITE_BUSY') throw error;
    throw new Error(
      `STARGUS_DATABASE_URL: the SQLite database ${path} is in use by another Stargus process. Stop that one, or use MySQL for several processes.`,
    );
  }
}

async function openMysql(url: string, migrate: boolean): Promise<Database> {
  const source = dataSourceFor(url);
  await source.initialize();
  prepareConnections(source);
  await refuseNewer(source);
  if (migrate) await migrateAlone(source);
  return new MysqlDatabase(source);
}

/**
 * Refuses a database whose tables a later version has changed. A node that runs goes on while a later version migrates, for each
 * migration leaves what the version before it needs; but one that starts can't know how many versions it is behind.
 */
async function refuseNewer(source: DataSource): Promise<void> {
  const runner = source.createQueryRunner();
  try {
    if (!(await runner.hasTable('migrations'))) return;
    const rows = (await runner.query('SELECT name FROM migrations ORDER BY timestamp')) as { name: string }[];
    const known = new Set(migrations.map(({ name }) => name));
    const unknown = rows.filter(({ name }) => !known.has(name));
    if (unknown.length === 0) return;
    throw new Error(
      `STARGUS_DATABASE_URL: the tables of this database were changed by a later version of Stargus (${unknown.map(({ name }) => name).join(', ')}). Start that version, or restore a backup that this one made.`,
    );
  } finally {
    await runner.release();
  }
}

interface RawConnection {
  query(sql: string, done: (error: Error | null) => void): void;
  destroy(): void;
}

const SESSION_SETTINGS = [
  // The pool's row lock orders the commits; gap locks on top would only make unrelated pools wait for each other.
  'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
  // Strict, so that nothing is cut to fit; and without NO_BACKSLASH_ESCAPES, which the driver's escaping relies on.
  "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
  'SET SESSION innodb_lock_wait_timeout = 10',
  // UNIX_TIMESTAMP goes through the session's zone, where an hour of the year comes twice.
  "SET SESSION time_zone = '+00:00'",
];

/** Settings of every connection, sent before its first statement. One that refuses them is not used. */
function prepareConnections(source: DataSource): void {
  const { pool } = source.driver as unknown as {
    pool: { on(event: 'connection', listener: (connection: RawConnection) => void): void };
  };
  pool.on('connection', (connection) => {
    for (const setting of SESSION_SETTINGS) {
      connection.query(setting, (error) => {
        if (error) connection.destroy();
      });
    }
  });
}

/** Two nodes that start together must not both run the migrations. */
async function migrateAlone(source: DataSource): Promise<void> {
  const runner = source.createQueryRunner();
  try {
    await runner.query("SELECT GET_LOCK(CONCAT('stargus-migrate-', LEFT(DATABASE(), 40)), 60)");
    await source.runMigrations({ transaction: 'each' });
  } finally {
    await runner.query("SELECT RELEASE_LOCK(CONCAT('stargus-migrate-', LEFT(DATABASE(), 40)))");
    await runner.release();
  }
}
