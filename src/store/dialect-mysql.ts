/**
 * MySQL and MariaDB: a pool of connections, of which each transaction and each read takes one. Statements of many rows, and
 * what a transaction writes, share round trips. Also a MariaDB Galera cluster, whose nodes don't share their locks
 * (docs/decisions/0019).
 */
import type { DataSource } from 'typeorm';
import { OutcomeUnknown, RetryTransaction, StoreUnavailable } from '../engine/ports.js';
import type { Base, Database, Join, Row, Session, Upsert, Value } from './dialect.js';

/**
 * What is sent at once, in characters: at three bytes each, and twice as much (statements that were kept back, and one
 * more), it is still below the smallest usual max_allowed_packet of 16 MiB.
 */
const STATEMENT_UNITS_MAX = 1_500_000;
const STATEMENT_ROWS_MAX = 1000;

/**
 * Fewer answers than statements that were sent together: a server that was told to stop between two of them may leave out the rest and
 * tell of no error.
 */
class CutShort extends Error {
  readonly code = 'ER_QUERY_INTERRUPTED';

  constructor() {
    super('The database left out the last of several statements');
    this.name = 'CutShort';
  }
}

/** A connection of mysql2. Through its callbacks: its promises capture a stack for each statement. */
interface MysqlConnection {
  query(sql: string, parameters: readonly unknown[], done: (error: Error | null, result: unknown) => void): void;
}

/**
 * Statements whose results nobody waits for are kept back and sent together with the next one, or with COMMIT: a group of
 * commits is two round trips, whatever it writes. On a cluster each goes by itself.
 */
class MysqlSession implements Session {
  readonly forUpdate = ' FOR UPDATE';
  readonly orderedJoin = 'STRAIGHT_JOIN';
  // SYSDATE is evaluated when it is reached, after the row's lock was had; NOW would be when the statement began.
  readonly clock = 'CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)';
  #kept: { sql: string; parameters: readonly unknown[] }[] = [];
  #keptUnits = 0;

  constructor(
    private readonly connection: MysqlConnection,
    private readonly isCluster: boolean,
  ) {}

  async all(sql: string, parameters: readonly unknown[]): Promise<Row[]> {
    return (await this.send(sql, parameters)) as Row[];
  }

  async run(sql: string, parameters: readonly unknown[]): Promise<number> {
    return ((await this.send(sql, parameters)) as { affectedRows: number }).affectedRows;
  }

  write(sql: string, parameters: readonly unknown[] = []): Promise<void> {
    return this.#keep(sql, parameters, 100);
  }

  /** Forgets what was kept back and not sent. */
  discard(): void {
    this.#kept = [];
    this.#keptUnits = 0;
  }

  /** Leaves a statement of about so many characters to be sent with the next one. */
  async #keep(sql: string, parameters: readonly unknown[], units: number): Promise<void> {
    if (this.#keptUnits > 0 && this.#keptUnits + units > STATEMENT_UNITS_MAX) {
      const last = this.#kept.pop();
      if (last) await this.send(last.sql, last.parameters);
    }
    this.#kept.push({ sql, parameters });
    this.#keptUnits += units;
  }

  /** Sends what was kept back and the statement, in one round trip; answers the statement's own result. */
  async send(sql: string, parameters: readonly unknown[] = []): Promise<unknown> {
    const statements = [...this.#kept, { sql, parameters }];
    this.discard();
    if (this.isCluster) {
      // Where a cluster ends a transaction between two statements that came together, MariaDB 10.11 carries out those that are
      // left one by one, without a transaction, and COMMIT as if it had been one.
      let result: unknown;
      for (const each of statements) result = await this.#query(each.sql, each.parameters);
      return result;
    }
    const results = await this.#query(
      statements.map((statement) => statement.sql).join('; '),
      statements.flatMap((statement) => statement.parameters),
    );
    if (statements.length === 1) return results;
    // All but the last have no rows, so that one result alone is no array.
    if (!Array.isArray(results) || results.length !== statements.length) throw new CutShort();
    return results.at(-1);
  }

  #query(sql: string, parameters: readonly unknown[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.connection.query(sql, parameters, (error, result) => {
        if (error) reject(error);
        else resolve(result);
      });
    });
  }

  async insert(
    table: string,
    columns: readonly string[],
    rows: readonly (readonly Value[])[],
    update?: Upsert,
  ): Promise<void> {
    const duplicate = update ? ` ON DUPLICATE KEY UPDATE ${assignments(update).join(', ')}` : '';
    const sql = `INSERT INTO ${table} (${columns.join(', ')}) VALUES ?${duplicate}`;
    for (const { rows: chunk, units } of chunks(rows)) await this.#keep(sql, [chunk], units);
  }

  /** An update to what it is: IGNORE would also swallow errors that aren't about the key. */
  async insertNew(table: string, columns: readonly string[], rows: readonly (readonly Value[])[]): Promise<void> {
    const sql = `INSERT INTO ${table} (${columns.join(', ')}) VALUES ? ON DUPLICATE KEY UPDATE ${columns[0]} = ${columns[0]}`;
    for (const { rows: chunk, units } of chunks(rows)) await this.#keep(sql, [chunk], units);
  }

  /** Here IGNORE is needed, for its count of rows; the values that come here are made by the program and fit their columns. */
  async insertOnce(table: string, columns: readonly string[], row: readonly Value[]): Promise<boolean> {
    return (await this.run(`INSERT IGNORE INTO ${table} (${columns.join(', ')}) VALUES ?`, [[row]])) === 1;
  }

  async insertOne(table: string, columns: readonly string[], row: readonly Value[]): Promise<number> {
    const result = await this.send(`INSERT INTO ${table} (${columns.join(', ')}) VALUES ?`, [[row]]);
    return (result as { insertId: number }).insertId;
  }

  async lookup(
    select: string,
    columns: readonly string[],
    tuples: readonly (readonly Value[])[],
    lock = '',
  ): Promise<Row[]> {
    const rows: Row[] = [];
    for (const { rows: chunk } of chunks(tuples)) {
      const { where, parameters } = anyOf(columns, chunk);
      rows.push(...(await this.all(`${select} WHERE ${where}${lock}`, parameters)));
    }
    return rows;
  }

  beside(base: Base, join: Join, tuples: readonly (readonly Value[])[]): Promise<Row[]> {
    const { where, parameters } = anyOf(join.keys, tuples);
    const sql = `SELECT ${base.columns}, ${join.columns} FROM ${base.table} LEFT JOIN ${join.table} ON ${where} WHERE ${base.where}`;
    return this.all(sql, [...parameters, ...base.parameters]);
  }

  async deleteEach(table: string, columns: readonly string[], tuples: readonly (readonly Value[])[]): Promise<void> {
    for (const { rows: chunk, units } of chunks(tuples)) {
      const { where, parameters } = anyOf(columns, chunk);
      await this.#keep(`DELETE FROM ${table} WHERE ${where}`, parameters, units * 2);
    }
  }

  /** Rows that were changed are compared when a transaction commits, a row that was only locked or set to what it is not. */
  async claim(table: string, number: string, where: string, parameters: readonly Value[]): Promise<void> {
    if (!this.isCluster) return;
    for (const sign of ['+', '-'])
      await this.write(`UPDATE ${table} SET ${number} = ${number} ${sign} 1 WHERE ${where}`, parameters);
  }
}

function assignments({ columns, sums = [] }: Upsert): string[] {
  return [...columns.map((c) => `${c} = VALUES(${c})`), ...sums.map((c) => `${c} = ${c} + VALUES(${c})`)];
}

/** Tuples that share all but the last value become one `IN` each: a range scan that every version plans well. */
function anyOf(
  columns: readonly string[],
  tuples: readonly (readonly Value[])[],
): { where: string; parameters: unknown[] } {
  const groups = new Map<string, { first: readonly Value[]; last: Value[] }>();
  for (const tuple of tuples) {
    const first = tuple.slice(0, -1);
    const id = JSON.stringify(first.map((value) => (Buffer.isBuffer(value) ? value.toString('latin1') : value)));
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

interface Chunk {
  readonly rows: (readonly Value[])[];
  /** Roughly how many characters they are. */
  readonly units: number;
}

/** The rows in portions that one statement carries. */
function* chunks(rows: readonly (readonly Value[])[]): Generator<Chunk> {
  let chunk: (readonly Value[])[] = [];
  let units = 0;
  for (const row of rows) {
    let rowUnits = 0;
    for (const value of row) rowUnits += unitsOf(value);
    if (chunk.length > 0 && (chunk.length >= STATEMENT_ROWS_MAX || units + rowUnits > STATEMENT_UNITS_MAX)) {
      yield { rows: chunk, units };
      chunk = [];
      units = 0;
    }
    chunk.push(row);
    units += rowUnits;
  }
  if (chunk.length > 0) yield { rows: chunk, units };
}

/** Bytes are written as two hexadecimal digits each. */
function unitsOf(value: Value): number {
  if (typeof value === 'string') return value.length;
  return Buffer.isBuffer(value) ? value.length * 2 + 3 : 10;
}

/**
 * Deadlock, lock wait time-out, and a row that another node inserted first: the transaction was or will be rolled back whole. A
 * cluster tells of a conflict between its nodes as of a deadlock, at any statement and at COMMIT.
 */
const RETRYABLE = new Set(['ER_LOCK_DEADLOCK', 'ER_LOCK_WAIT_TIMEOUT', 'ER_DUP_ENTRY', 'ER_CHECKREAD']);

/** A COMMIT that failed so may have been carried out all the same. */
const UNCERTAIN = new Set(['ER_ERROR_DURING_COMMIT', 'ER_QUERY_INTERRUPTED', 'ER_UNKNOWN_COM_ERROR']);

/** Long reads that are under way at once, half of the connections (data-source.ts). */
const SCANS = 8;

export class MysqlDatabase implements Database {
  readonly exclusive = false;
  #scans = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(
    private readonly source: DataSource,
    readonly isCluster: boolean,
  ) {}

  write<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#connected(async (session) => {
      let committing = false;
      try {
        await session.write('START TRANSACTION');
        const result = await work(session);
        committing = true;
        await session.send('COMMIT');
        return result;
      } catch (error) {
        const code = codeOf(error);
        // Also after a failed COMMIT: a connection must not go back to the others with a transaction open.
        await rollBack(session);
        // What was left out had COMMIT as its last, so that it wasn't carried out.
        if (RETRYABLE.has(code) || error instanceof CutShort) throw new RetryTransaction(error);
        // An error that the server itself tells of came before COMMIT was carried out; a broken connection tells nothing.
        if (committing && (!code.startsWith('ER_') || UNCERTAIN.has(code))) throw new OutcomeUnknown(error);
        throw error;
      }
    });
  }

  snapshot<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#connected(async (session) => {
      try {
        await session.write('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ');
        await session.write('START TRANSACTION WITH CONSISTENT SNAPSHOT');
        return await work(session);
      } finally {
        await rollBack(session);
      }
    });
  }

  /** Long reads have only a part of the connections: a writer always finds one. */
  async scan<T>(work: (session: Session) => Promise<T>): Promise<T> {
    if (this.#scans >= SCANS) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#scans++;
    try {
      return await this.snapshot(work);
    } finally {
      // Whoever waits takes over the place.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#scans--;
    }
  }

  read<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#connected(work);
  }

  async close(): Promise<void> {
    await this.source.destroy();
  }

  async #connected<T>(work: (session: MysqlSession) => Promise<T>): Promise<T> {
    const runner = this.source.createQueryRunner();
    try {
      return await work(new MysqlSession((await runner.connect()) as MysqlConnection, this.isCluster));
    } catch (error) {
      if (error instanceof OutcomeUnknown || error instanceof RetryTransaction) throw error;
      throw codeOf(error) === '' ? error : new StoreUnavailable(error);
    } finally {
      await runner.release();
    }
  }
}

/**
 * A connection that can't even roll back is broken: the server rolls back what it held, and the pool forgets it. On a cluster ROLLBACK
 * may also be answered with the conflict that has rolled back already.
 */
async function rollBack(session: MysqlSession): Promise<void> {
  session.discard();
  await session.send('ROLLBACK').catch(() => undefined);
}

/** The driver's code of an error, such as ER_LOCK_DEADLOCK or ECONNREFUSED; empty for an error of our own. */
export function codeOf(error: unknown): string {
  const candidate = error as { code?: unknown; driverError?: { code?: unknown } } | undefined;
  const code = candidate?.driverError?.code ?? candidate?.code;
  return typeof code === 'string' && /^[A-Z][A-Z0-9_]+$/.test(code) ? code : '';
}
