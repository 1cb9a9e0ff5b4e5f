/**
 * SQLite: one connection writes, one reads, and a few read what takes long, each used by one piece of work at a time. Statements run on the driver's
 * own prepared statements (docs/decisions/0003). WAL shows the reader only what is committed.
 */
import Sqlite from 'better-sqlite3';
import type { DataSource } from 'typeorm';
import { StoreUnavailable } from '../engine/ports.js';
import type { Base, Database, Join, Row, Session, Upsert, Value } from './dialect.js';

export class SqliteSession implements Session {
  readonly forUpdate = '';
  readonly orderedJoin = 'CROSS JOIN';
  readonly clock = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";
  readonly #statements = new Map<string, Sqlite.Statement>();

  constructor(private readonly connection: Sqlite.Database) {}

  all(sql: string, parameters: readonly Value[]): Promise<Row[]> {
    return settle(() => this.#prepare(sql).all(...parameters) as Row[]);
  }

  run(sql: string, parameters: readonly Value[]): Promise<number> {
    return settle(() => this.#prepare(sql).run(...parameters).changes);
  }

  write(sql: string, parameters: readonly Value[]): Promise<void> {
    return settle(() => void this.#prepare(sql).run(...parameters));
  }

  insert(
    table: string,
    columns: readonly string[],
    rows: readonly (readonly Value[])[],
    update?: Upsert,
  ): Promise<void> {
    const conflict = update
      ? ` ON CONFLICT (${update.key.join(', ')}) DO UPDATE SET ${assignments(update).join(', ')}`
      : '';
    const statement = this.#prepare(
      `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})${conflict}`,
    );
    return settle(() => {
      for (const row of rows) statement.run(...row);
    });
  }

  insertNew(table: string, columns: readonly string[], rows: readonly (readonly Value[])[]): Promise<void> {
    const statement = this.#prepare(
      `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')}) ON CONFLICT DO NOTHING`,
    );
    return settle(() => {
      for (const row of rows) statement.run(...row);
    });
  }

  insertOnce(table: string, columns: readonly string[], row: readonly Value[]): Promise<boolean> {
    const statement = this.#prepare(
      `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')}) ON CONFLICT DO NOTHING`,
    );
    return settle(() => statement.run(...row).changes === 1);
  }

  insertOne(table: string, columns: readonly string[], row: readonly Value[]): Promise<number> {
    const statement = this.#prepare(
      `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})`,
    );
    return settle(() => Number(statement.run(...row).lastInsertRowid));
  }

  lookup(select: string, columns: readonly string[], tuples: readonly (readonly Value[])[], lock = ''): Promise<Row[]> {
    const statement = this.#prepare(`${select} WHERE ${columns.map((c) => `${c} = ?`).join(' AND ')}${lock}`);
    return settle(() => {
      const rows: Row[] = [];
      for (const tuple of tuples) rows.push(...(statement.all(...tuple) as Row[]));
      return rows;
    });
  }

  async beside(base: Base, join: Join, tuples: readonly (readonly Value[])[]): Promise<Row[]> {
    // The reading connection is inside a transaction, so that two statements see one state.
    const [first] = await this.all(`SELECT ${base.columns} FROM ${base.table} WHERE ${base.where}`, base.parameters);
    if (!first) return [];
    const rows = await this.lookup(`SELECT ${join.columns} FROM ${join.table}`, join.keys, tuples);
    return rows.length === 0 ? [first] : rows.map((row) => ({ ...first, ...row }));
  }

  deleteEach(table: string, columns: readonly string[], tuples: readonly (readonly Value[])[]): Promise<void> {
    const statement = this.#prepare(`DELETE FROM ${table} WHERE ${columns.map((c) => `${c} = ?`).join(' AND ')}`);
    return settle(() => {
      for (const tuple of tuples) statement.run(...tuple);
    });
  }

  claim(): Promise<void> {
    return Promise.resolve();
  }

  /** The statements are few: their texts come from this folder, never from a request. */
  #prepare(sql: string): Sqlite.Statement {
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.connection.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

/** Runs one piece of work at a time, in the order of asking. */
class Turns {
  #last: Promise<unknown> = Promise.resolve();

  take<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }
}

/** Long reads that are under way at once; more wait for their turn. */
const SCANNERS = 4;

/** A connection that reads. */
class Reader {
  readonly connection: Sqlite.Database;
  readonly session: SqliteSession;
  readonly turns = new Turns();
  waiting = 0;

  constructor(path: string) {
    this.connection = new Sqlite(path, { readonly: true });
    this.session = new SqliteSession(this.connection);
  }
}

export class SqliteDatabase implements Database {
  readonly exclusive = true;
  readonly isCluster = false;
  readonly #writer: Sqlite.Database;
  readonly #writing: SqliteSession;
  readonly #writeTurns = new Turns();
  readonly #reader: Reader;
  /** Opened when they are needed first. */
  readonly #scanners: Reader[] = [];

  /** `guard` holds the lock that keeps other processes away; see `data-source.ts`. */
  constructor(
    private readonly source: DataSource,
    private readonly path: string,
    private readonly guard: Sqlite.Database,
  ) {
    this.#writer = (source.driver as unknown as { databaseConnection: Sqlite.Database }).databaseConnection;
    this.#writing = new SqliteSession(this.#writer);
    this.#reader = new Reader(path);
  }

  write<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#writeTurns.take(() => this.#between(this.#writer, 'BEGIN IMMEDIATE', work, this.#writing));
  }

  snapshot<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#readBy(this.#reader, work);
  }

  scan<T>(work: (session: Session) => Promise<T>): Promise<T> {
    let scanner = this.#scanners.find(({ waiting }) => waiting === 0);
    if (!scanner && this.#scanners.length < SCANNERS) {
      scanner = new Reader(this.path);
      this.#scanners.push(scanner);
    }
    return this.#readBy(scanner ?? least(this.#scanners), work);
  }

  read<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.snapshot(work);
  }

  async close(): Promise<void> {
    await this.#writeTurns.take(() => Promise.resolve());
    for (const { turns, connection } of [this.#reader, ...this.#scanners]) {
      await turns.take(() => Promise.resolve());
      connection.close();
    }
    await this.source.destroy();
    this.guard.close();
  }

  #readBy<T>(reader: Reader, work: (session: Session) => Promise<T>): Promise<T> {
    const { connection, session, turns } = reader;
    reader.waiting++;
    return turns.take(() => this.#between(connection, 'BEGIN', work, session)).finally(() => reader.waiting--);
  }

  async #between<T>(
    connection: Sqlite.Database,
    begin: string,
    work: (session: Session) => Promise<T>,
    session: Session,
  ): Promise<T> {
    try {
      connection.exec(begin);
      const result = await work(session);
      connection.exec('COMMIT');
      return result;
    } catch (error) {
      if (connection.open && connection.inTransaction) connection.exec('ROLLBACK');
      throw error instanceof Sqlite.SqliteError ? new StoreUnavailable(error) : error;
    }
  }
}

function assignments({ columns, sums = [] }: Upsert): string[] {
  return [...columns.map((c) => `${c} = excluded.${c}`), ...sums.map((c) => `${c} = ${c} + excluded.${c}`)];
}

function least(readers: readonly Reader[]): Reader {
  return readers.reduce((best, reader) => (reader.waiting < best.waiting ? reader : best));
}

function settle<T>(work: () => T): Promise<T> {
  try {
    return Promise.resolve(work());
  } catch (error) {
    return Promise.reject(error);
  }
}
