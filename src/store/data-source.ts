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
import { Operations1763700000009 } from '../../migrations/0009-operations.js';
import { Notifiers1763700000010 } from '../../migrations/0010-notifiers.js';
import { Traces1763700000012 } from '../../migrations/0012-traces.js';
import type { Database } from './dialect.js';
import { MysqlDatabase } from './dialect-mysql.js';
import { SqliteDatabase } from './dialect-sqlite.js';
import { inTurn } from './migration-turn.js';
import { entitiesFor } from './rows.js';

const migrations = [
  Core1763700000001,
  Indexes1763700000002,
  Sessions1763700000003,
  Usage1763700000004,
  Identities1763700000005,
  Logins1763700000006,
  Refusals1763700000008,
  Operations1763700000009,
  Notifiers1763700000010,
  Traces1763700000012,
];

/** What brings the tables about, in order. The last one's name is the version of a schema. */
export const migrationNames: readonly string[] = migrations.map((Migration) => new Migration().name);

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

/**
 * A DataSource for the URL, not yet connected; for migrations and for the comparison of tables and entities. With `upTo` it knows
 * the migrations up to that one only.
 */
export function dataSourceFor(url: string, upTo = migrationNames.at(-1) as string): DataSource {
  const known = migrations.slice(0, migrationNames.indexOf(upTo) + 1);
  if (url.startsWith('sqlite:')) {
    return new DataSource({
      type: 'better-sqlite3',
      database: resolve(url.slice('sqlite:'.length)),
      entities: entitiesFor('better-sqlite3'),
      migrations: known,
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
    migrations: known,
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

/** Holds the lock that a SQLite database's one process has, until it is closed. Refuses where another one has it. */
export function lockOut(path: string): Sqlite.Database {
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

export async function openMysql(url: string, migrate: boolean): Promise<Database> {
  const { source, isCluster } = await connectMysql(url);
  try {
    await refuseNewer(source);
    if (migrate) await migrateAlone(source, isCluster);
    return new MysqlDatabase(source, isCluster);
  } catch (error) {
    await source.destroy();
    throw error;
  }
}

/**
 * Brings the tables that the URL names up to date, or to where `upTo` left them, or takes the newest migration back; answers which
 * migrations ran.
 */
export async function migrateTables(url: string, direction: 'up' | 'down', upTo?: string): Promise<string[]> {
  const { source, isCluster } = url.startsWith('sqlite:')
    ? { source: await dataSourceFor(url, upTo).initialize(), isCluster: false }
    : await connectMysql(url, upTo);
  try {
    if (direction === 'down') await source.undoLastMigration({ transaction: 'each' });
    else if (url.startsWith('sqlite:'))
      return (await source.runMigrations({ transaction: 'each' })).map(({ name }) => name);
    else return await migrateAlone(source, isCluster);
    return [];
  } finally {
    await source.destroy();
  }
}

/**
 * Refuses a database whose tables a later version has changed. A node that runs goes on while a later version migrates, for each
 * migration leaves what the version before it needs; but one that starts can't know how many versions it is behind.
 */
async function refuseNewer(source: DataSource): Promise<void> {
  const known = new Set(migrations.map(({ name }) => name));
  const unknown = (await ranOn(source)).filter((name) => !known.has(name));
  if (unknown.length === 0) return;
  throw new Error(
    `STARGUS_DATABASE_URL: the tables of this database are newer than this version of Stargus (${unknown.join(', ')}). Start the version that made them, or restore a backup that this one made.`,
  );
}

/** The names of the migrations that the database has had. */
async function ranOn(source: DataSource): Promise<string[]> {
  const runner = source.createQueryRunner();
  try {
    if (!(await runner.hasTable('migrations'))) return [];
    const rows = (await runner.query('SELECT name FROM migrations ORDER BY timestamp')) as { name: string }[];
    return rows.map(({ name }) => name);
  } finally {
    await runner.release();
  }
}

interface RawConnection {
  query(sql: string, done: (error: Error | null, rows?: unknown) => void): void;
  destroy(): void;
}

interface RawPool {
  on(event: 'connection', listener: (connection: RawConnection) => void): void;
  getConnection(done: (error: Error | null, connection: RawConnection) => void): void;
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

/**
 * For a Galera cluster: each transaction, and each statement outside of one, begins once this node has applied what was committed on
 * any before. Without it what one node has acknowledged could be missing on another.
 */
const CLUSTER_SETTINGS = ['SET SESSION wsrep_sync_wait = 7'];

/** Connects, learns whether the server is a node of a Galera cluster, and has every connection prepared for that. */
async function connectMysql(url: string, upTo?: string): Promise<{ source: DataSource; isCluster: boolean }> {
  const source = await dataSourceFor(url, upTo).initialize();
  const { pool } = source.driver as unknown as { pool: RawPool };
  const isCluster = await new Promise<boolean>((resolve, reject) => {
    pool.getConnection((error, connection) => {
      if (error) return reject(error);
      connection.query("SHOW VARIABLES LIKE 'wsrep_on'", (failure, rows) => {
        // It was made before anybody could prepare it.
        connection.destroy();
        if (failure) reject(failure);
        else resolve((rows as { Value: string }[])[0]?.Value === 'ON');
      });
    });
  });
  prepareConnections(pool, isCluster ? [...SESSION_SETTINGS, ...CLUSTER_SETTINGS] : SESSION_SETTINGS);
  return { source, isCluster };
}

/** Settings of every connection, sent before its first statement. One that refuses them is not used. */
function prepareConnections(pool: RawPool, settings: readonly string[]): void {
  pool.on('connection', (connection) => {
    for (const setting of settings) {
      connection.query(setting, (error) => {
        if (error) connection.destroy();
      });
    }
  });
}

/** Two nodes that start together must not both run the migrations. Answers which ran. */
async function migrateAlone(source: DataSource, isCluster: boolean): Promise<string[]> {
  const ran = new Set(await ranOn(source));
  if (source.migrations.every(({ name }) => ran.has(name as string))) return [];
  const work = async () => (await source.runMigrations({ transaction: 'each' })).map(({ name }) => name);
  if (isCluster) return inTurn(source, work);
  const runner = source.createQueryRunner();
  try {
    const sql = "SELECT GET_LOCK(CONCAT('stargus-migrate-', LEFT(DATABASE(), 40)), 60) AS got";
    const [row] = (await runner.query(sql)) as { got: number | null }[];
    if (Number(row?.got) !== 1)
      throw new Error('Another process has been changing the tables for a minute. Try again when it has ended.');
    return await work();
  } finally {
    await runner.query("SELECT RELEASE_LOCK(CONCAT('stargus-migrate-', LEFT(DATABASE(), 40)))");
    await runner.release();
  }
}
