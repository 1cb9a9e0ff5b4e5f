/** Statements on a test's database past every server, to break what a server wouldn't and to see what lies there. */
import Sqlite from 'better-sqlite3';
import { createConnection } from 'mysql2/promise';

export type Row = Record<string, string | number | Buffer | null>;

/** Runs the statements in order on one connection and answers the rows of the last one. */
export async function sql(databaseUrl: string, ...statements: string[]): Promise<Row[]> {
  if (databaseUrl.startsWith('sqlite:')) {
    const database = new Sqlite(databaseUrl.slice('sqlite:'.length));
    try {
      let rows: Row[] = [];
      for (const text of statements) {
        const statement = database.prepare(text);
        if (statement.reader) rows = statement.all() as Row[];
        else statement.run();
      }
      return rows;
    } finally {
      database.close();
    }
  }
  const connection = await createConnection(databaseUrl);
  try {
    let rows: unknown = [];
    for (const text of statements) [rows] = await connection.query(text);
    return Array.isArray(rows) ? (rows as Row[]) : [];
  } finally {
    await connection.end();
  }
}
