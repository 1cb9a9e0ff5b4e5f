/**
 * What the store asks of a database, whichever it is: a `Session` runs parametrised statements on one connection, a
 * `Database` gives sessions for transactions and for reads. Every difference between SQLite and MySQL/MariaDB lives in the
 * two implementations, dialect-sqlite.ts and dialect-mysql.ts. TypeORM owns the connections and runs the migrations.
 */

export type Value = string | number | null | Buffer;
export type Row = Record<string, Value>;

export interface Session {
  all(sql: string, parameters: readonly Value[]): Promise<Row[]>;
  /** Answers how many rows were affected. */
  run(sql: string, parameters: readonly Value[]): Promise<number>;
  /** Runs a statement whose effect nobody waits for: it is carried out before the next read, or before the commit. */
  write(sql: string, parameters: readonly Value[]): Promise<void>;
  /** Inserts rows, as `write` does; with `update`, rows whose key exists get the named columns replaced instead. */
  insert(
    table: string,
    columns: readonly string[],
    rows: readonly (readonly Value[])[],
    update?: Upsert,
  ): Promise<void>;
  /** Inserts rows; those whose key exists are passed over. */
  insertNew(table: string, columns: readonly string[], rows: readonly (readonly Value[])[]): Promise<void>;
  /** Inserts one row at once and answers whether it did: false where a row with its key exists, or was made meanwhile. */
  insertOnce(table: string, columns: readonly string[], row: readonly Value[]): Promise<boolean>;
  /** Inserts one row and answers its generated id. */
  insertOne(table: string, columns: readonly string[], row: readonly Value[]): Promise<number>;
  /** The rows whose `columns` equal one of the tuples. `select` is the statement up to and without WHERE, `lock` its end. */
  lookup(
    select: string,
    columns: readonly string[],
    tuples: readonly (readonly Value[])[],
    lock?: string,
  ): Promise<Row[]>;
  /** The one row that `base` selects, beside each row of `join` whose keys equal one of the tuples; alone when none does. At one moment. */
  beside(base: Base, join: Join, tuples: readonly (readonly Value[])[]): Promise<Row[]>;
  /** Deletes the rows whose `columns` equal one of the tuples. */
  deleteEach(table: string, columns: readonly string[], tuples: readonly (readonly Value[])[]): Promise<void>;
  /**
   * Of two transactions at the same time that claim one row, one is refused with `RetryTransaction`: what a row's lock does by
   * itself where the database has one lock for all its nodes. `number` is a column of the row's, which is left as it is.
   */
  claim(table: string, number: string, where: string, parameters: readonly Value[]): Promise<void>;
  /** Appended to a SELECT to lock its rows until the transaction ends. */
  readonly forUpdate: string;
  /** A join that visits the tables in the order in which they are written. */
  readonly orderedJoin: string;
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
  /** Numbers that are added to those which are there. */
  readonly sums?: readonly string[];
}

export interface Database {
  readonly exclusive: boolean;
  /** True where a row's lock keeps out only those who are on the same node of the database: others are found out by `claim`. */
  readonly isCluster: boolean;
  /** Runs the work in one transaction; see `Store.transact`. */
  write<T>(work: (session: Session) => Promise<T>): Promise<T>;
  /** Runs the work on one unchanging state of the database. */
  snapshot<T>(work: (session: Session) => Promise<T>): Promise<T>;
  /** Runs the work on a session whose statements each see one state of the database, but not all the same one. */
  read<T>(work: (session: Session) => Promise<T>): Promise<T>;
  /** As `snapshot`, for work that reads much and may take long: it holds up no other reads. */
  scan<T>(work: (session: Session) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}
