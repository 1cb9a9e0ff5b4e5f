/**
 * Every difference between SQLite and MySQL/MariaDB. A `Session` runs parametrised statements on one connection;
 * `Database` gives sessions for transactions and for reads. TypeORM owns the connections and runs the migrations.
 *
 * SQLite: one connection writes and one reads, each used by one piece of work at a time. Statements run on the driver's
 * own prepared statements: through TypeORM's query runner a row cost four times as much (docs/decisions/0003). WAL shows
 * the reader only what is committed. MySQL: a pool of connections; statements of many rows are one round trip each.
 */
import Sqlite from 'better-sqlite3';
import type { DataSource, QueryRunner } from 'typeorm';
import { OutcomeUnknown, RetryTransaction, StoreUnavailable } from '../engine/ports.js';

export type Value = string | number | null;
export type Row = Record<string, Value>;

export interface Session {
  all(sql: string, parameters: readonly Value[]): Promise<Row[]>;
  /** Answers how many rows were affected. */
  run(sql: string, parameters: readonly Value[]): Promise<number>;
  /** Inserts rows; with `update`, rows whose key exists get the named columns replaced instead. */
  insert(
    table: string,
    columns: readonly string[],
    rows: readonly (readonly Value[])[],
    update?: Upsert,
  ): Promise<void>;
  /** Inserts one row and answers its generated id. */
  insertOne(table: string, columns: readonly string[], row: readonly Value[]): Promise<number>;
  /** The rows whose `columns` equal one of the tuples. `select` is the statement up to and without WHERE. */
  lookup(select: string, columns: readonly string[], tuples: readonly (readonly Value[])[]): Promise<Row[]>;
  /** The one row that `base` selects, beside each row of `join` whose keys equal one of the tuples; alone when none does. At one moment. */
  beside(base: Base, join: Join, tuples: readonly (readonly Value[])[]): Promise<Row[]>;
  /** Deletes the rows whose `columns` equal one of the tuples. */
  deleteEach(table: string, columns: readonly string[], tuples: readonly (readonly Value[])[]): Promise<void>;
  /** Appended to a SELECT to lock its rows until the transaction ends. */
  readonly forUpdate: string;
  /** An SQL expression: the clock in milliseconds since 1970, at the moment of evaluation. */
  readonly clock: string;
}

export interface Base {
  readonly columns: string;
  readonly table: string;
  readonly where: string;
  readonly parameters: readonly Value[];
}

export interface Join {
  readonly columns: string;
  readonly table: string;
  readonly keys: readonly string[];
}

export interface Upsert {
  readonly key: readonly string[];
  readonly columns: readonly string[];
}

export interface Database {
  readonly exclusive: boolean;
  /** Runs the work in one transaction; see `Store.transact`. */
  write<T>(work: (session: Session) => Promise<T>): Promise<T>;
  /** Runs the work on one unchanging state of the database. */
  snapshot<T>(work: (session: Session) => Promise<T>): Promise<T>;
  /** Runs the work on a session whose statements each see one state of the database, but not all the same one. */
  read<T>(work: (session: Session) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** Rows that one statement of many rows carries at most, in bytes of text: well under the smallest max_allowed_packet. */
const STATEMENT_BYTES_MAX = 4 * 1024 * 1024;
const STATEMENT_ROWS_MAX = 1000;

// ---------------------------------------------------------------------------------------------------------------- SQLite

class SqliteSession implements Session {
  readonly forUpdate = '';
  readonly clock = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";
  readonly #statements = new Map<string, Sqlite.Statement>();

  constructor(private readonly connection: Sqlite.Database) {}

  all(sql: string, parameters: readonly Value[]): Promise<Row[]> {
    return settle(() => this.#prepare(sql).all(...parameters) as Row[]);
  }

  run(sql: string, parameters: readonly Value[]): Promise<number> {
    return settle(() => this.#prepare(sql).run(...parameters).changes);
  }

  insert(
    table: string,
    columns: readonly string[],
    rows: readonly (readonly Value[])[],
    update?: Upsert,
  ): Promise<void> {
    const conflict = update
      ? ` ON CONFLICT (${update.key.join(', ')}) DO UPDATE SET ${update.columns.map((c) => `${c} = excluded.${c}`).join(', ')}`
      : '';
    const statement = this.#prepare(
      `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})${conflict}`,
    );
    return settle(() => {
      for (const row of rows) statement.run(...row);
    });
  }

  insertOne(table: string, columns: readonly string[], row: readonly Value[]): Promise<number> {
    const statement = this.#prepare(
      `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})`,
    );
    return settle(() => Number(statement.run(...row).lastInsertRowid));
  }

  lookup(select: string, columns: readonly string[], tuples: readonly (readonly Value[])[]): Promise<Row[]> {
    const statement = this.#prepare(`${select} WHERE ${columns.map((c) => `${c} = ?`).join(' AND ')}`);
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

export class SqliteDatabase implements Database {
  readonly exclusive = true;
  readonly #writer: Sqlite.Database;
  readonly #reader: Sqlite.Database;
  readonly #writing: SqliteSession;
  readonly #reading: SqliteSession;
  readonly #writeTurns = new Turns();
  readonly #readTurns = new Turns();

  /** `guard` holds the lock that keeps other processes away; see `data-source.ts`. */
  constructor(
    private readonly source: DataSource,
    path: string,
    private readonly guard: Sqlite.Database,
  ) {
    this.#writer = (source.driver as unknown as { databaseConnection: Sqlite.Database }).databaseConnection;
    this.#reader = new Sqlite(path, { readonly: true });
    this.#writing = new SqliteSession(this.#writer);
    this.#reading = new SqliteSession(this.#reader);
  }

  write<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#writeTurns.take(() => this.#between(this.#writer, 'BEGIN IMMEDIATE', work, this.#writing));
  }

  snapshot<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#readTurns.take(() => this.#between(this.#reader, 'BEGIN', work, this.#reading));
  }

  read<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.snapshot(work);
  }

  async close(): Promise<void> {
    await this.#writeTurns.take(() => Promise.resolve());
    await this.#readTurns.take(() => Promise.resolve());
    this.#reader.close();
    await this.source.destroy();
    this.guard.close();
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

function settle<T>(work: () => T): Promise<T> {
  try {
    return Promise.resolve(work());
  } catch (error) {
    return Promise.reject(error);
  }
}

// ----------------------------------------------------------------------------------------------------------------- MySQL

class MysqlSession implements Session {
  readonly forUpdate = ' FOR UPDATE';
  // SYSDATE is evaluated when it is reached, after the row's lock was had; NOW would be when the statement began.
  readonly clock = 'CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)';

  constructor(private readonly runner: QueryRunner) {}

  async all(sql: string, parameters: readonly unknown[]): Promise<Row[]> {
    return (await this.runner.query(sql, parameters as unknown[])) as Row[];
  }

  async run(sql: string, parameters: readonly unknown[]): Promise<number> {
    return ((await this.runner.query(sql, parameters as unknown[])) as { affectedRows: number }).affectedRows;
  }

  async insert(
    table: string,
    columns: readonly string[],
    rows: readonly (readonly Value[])[],
    update?: Upsert,
  ): Promise<void> {
    const duplicate = update
      ? ` ON DUPLICATE KEY UPDATE ${update.columns.map((c) => `${c} = VALUES(${c})`).join(', ')}`
      : '';
    for (const chunk of chunks(rows))
      await this.run(`INSERT INTO ${table} (${columns.join(', ')}) VALUES ?${duplicate}`, [chunk]);
  }

  async insertOne(table: string, columns: readonly string[], row: readonly Value[]): Promise<number> {
    const result = (await this.runner.query(`INSERT INTO ${table} (${columns.join(', ')}) VALUES ?`, [[row]])) as {
      insertId: number;
    };
    return result.insertId;
  }

  async lookup(select: string, columns: readonly string[], tuples: readonly (readonly Value[])[]): Promise<Row[]> {
    const rows: Row[] = [];
    for (const chunk of chunks(tuples)) {
      const { where, parameters } = anyOf(columns, chunk);
      rows.push(...(await this.all(`${select} WHERE ${where}`, parameters)));
    }
    return rows;
  }

  beside(base: Base, join: Join, tuples: readonly (readonly Value[])[]): Promise<Row[]> {
    const { where, parameters } = anyOf(join.keys, tuples);
    const sql = `SELECT ${base.columns}, ${join.columns} FROM ${base.table} LEFT JOIN ${join.table} ON ${where} WHERE ${base.where}`;
    return this.all(sql, [...parameters, ...base.parameters]);
  }

  async deleteEach(table: string, columns: readonly string[], tuples: readonly (readonly Value[])[]): Promise<void> {
    for (const chunk of chunks(tuples)) {
      const { where, parameters } = anyOf(columns, chunk);
      await this.run(`DELETE FROM ${table} WHERE ${where}`, parameters);
    }
  }
}

/** Tuples that share all but the last value become one `IN` each: a range scan that every version plans well. */
function anyOf(
  columns: readonly string[],
  tuples: readonly (readonly Value[])[],
): { where: string; parameters: unknown[] } {
  const groups = new Map<string, { first: readonly Value[]; last: Value[] }>();
  for (const tuple of tuples) {
    const first = tuple.slice(0, -1);
    const id = JSON.stringify(first);
    const group = groups.get(id) ?? { first, last: [] };
    group.last.push(tuple.at(-1) as Value);
    groups.set(id, group);
  }
  const term = columns.map((c, i) => (i < columns.length - 1 ? `${c} = ?` : `${c} IN (?)`)).join(' AND ');
  return {
    where: Array.from(groups, () => `(${term})`).join(' OR '),
    parameters: Array.from(groups.values(), ({ first, last }) => [...first, last]).flat(1),
  };
}

function* chunks(rows: readonly (readonly Value[])[]): Generator<(readonly Value[])[]> {
  let chunk: (readonly Value[])[] = [];
  let bytes = 0;
  for (const row of rows) {
    let rowBytes = 0;
    for (const value of row) rowBytes += typeof value === 'string' ? value.length : 10;
    if (chunk.length > 0 && (chunk.length >= STATEMENT_ROWS_MAX || bytes + rowBytes > STATEMENT_BYTES_MAX)) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(row);
    bytes += rowBytes;
  }
  if (chunk.length > 0) yield chunk;
}

/** Deadlock, lock wait time-out, and a row that another node inserted first: the transaction was or will be rolled back whole. */
const RETRYABLE = new Set(['ER_LOCK_DEADLOCK', 'ER_LOCK_WAIT_TIMEOUT', 'ER_DUP_ENTRY', 'ER_CHECKREAD']);

export class MysqlDatabase implements Database {
  readonly exclusive = false;

  constructor(private readonly source: DataSource) {}

  async write<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#connected(async (runner, session) => {
      let committing = false;
      try {
        await runner.query('START TRANSACTION');
        const result = await work(session);
        committing = true;
        await runner.query('COMMIT');
        return result;
      } catch (error) {
        const code = codeOf(error);
        // Also after a failed COMMIT: a connection must not go back to the others with a transaction open.
        await rollBack(runner);
        if (committing && !RETRYABLE.has(code)) throw new OutcomeUnknown(error);
        throw RETRYABLE.has(code) ? new RetryTransaction(error) : error;
      }
    });
  }

  snapshot<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#connected(async (runner, session) => {
      try {
        await runner.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ');
        await runner.query('START TRANSACTION WITH CONSISTENT SNAPSHOT');
        return await work(session);
      } finally {
        await rollBack(runner);
      }
    });
  }

  read<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#connected((_runner, session) => work(session));
  }

  async close(): Promise<void> {
    await this.source.destroy();
  }

  async #connected<T>(work: (runner: QueryRunner, session: Session) => Promise<T>): Promise<T> {
    const runner = this.source.createQueryRunner();
    try {
      return await work(runner, new MysqlSession(runner));
    } catch (error) {
      throw codeOf(error) === '' || error instanceof OutcomeUnknown || error instanceof RetryTransaction
        ? error
        : new StoreUnavailable(error);
    } finally {
      await runner.release();
    }
  }
}

/** A connection that can't even roll back is broken: the server rolls back what it held, and the pool forgets it. */
async function rollBack(runner: QueryRunner): Promise<void> {
  await runner.query('ROLLBACK').catch(() => undefined);
}

/** The driver's code of an error, such as ER_LOCK_DEADLOCK or ECONNREFUSED; empty for an error of our own. */
function codeOf(error: unknown): string {
  const candidate = error as { code?: unknown; driverError?: { code?: unknown } } | undefined;
  const code = candidate?.driverError?.code ?? candidate?.code;
  return typeof code === 'string' && /^[A-Z][A-Z0-9_]+$/.test(code) ? code : '';
}
