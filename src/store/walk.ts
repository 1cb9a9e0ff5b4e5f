/**
 * Walks through the rows of a table in the order of its primary key, in pages of bounded size. Each statement is one range of the
 * key: where the key has several columns, what comes after a row is first the rest of its innermost group, then of the next
 * one. A comparison of whole tuples would be one statement, and MySQL would read the table from its beginning for it.
 */
import { readBounded } from './bounded.js';
import type { Row, Session, Value } from './dialect.js';

export interface Walk {
  readonly table: string;
  readonly columns: readonly string[];
  /** The columns of the key. */
  readonly key: readonly string[];
  /** Values of the first columns of the key: only rows that have them. */
  readonly within?: readonly Value[];
  /** Values of the further columns of the key: only rows after them. */
  readonly after?: readonly Value[] | undefined;
}

const ROWS = 1000;
const BYTES = 4 * 1024 * 1024;

/** The rows, page by page. The session must see one state of the database throughout. */
export async function* walk(
  session: Session,
  { table, columns, key, within = [], after }: Walk,
): AsyncGenerator<Row[]> {
  const fixed = key.slice(0, within.length);
  const free = key.slice(within.length);
  const range = (from: readonly Value[] | undefined, limit: number): Promise<Row[]> => {
    const conditions = fixed.map((column) => `${column} = ?`);
    const parameters: Value[] = [...within];
    for (const [index, column] of free.entries()) {
      if (!from || index >= from.length) break;
      conditions.push(`${column} ${index === from.length - 1 ? '>' : '='} ?`);
      parameters.push(from[index] as Value);
    }
    const where = conditions.length > 0 ? ` WHERE ${conditions.join(' AND ')}` : '';
    const order = free.slice(from ? from.length - 1 : 0);
    const sql = `SELECT ${columns.join(', ')} FROM ${table}${where} ORDER BY ${order.join(', ')} LIMIT ?`;
    return session.all(sql, [...parameters, limit]);
  };
  const beyond = async (place: readonly Value[] | undefined, limit: number): Promise<Row[]> => {
    if (!place) return range(undefined, limit);
    const rows: Row[] = [];
    for (let depth = place.length; depth > 0 && rows.length < limit; depth--)
      rows.push(...(await range(place.slice(0, depth), limit - rows.length)));
    return rows;
  };
  let place = after;
  for (let more = true; more; ) {
    const fetch = (last: Row | undefined, limit: number) =>
      beyond(last ? free.map((column) => last[column] as Value) : place, limit);
    const page = await readBounded(fetch, sizeOf, { rowsMax: ROWS, bytesMax: BYTES });
    more = page.more;
    const last = page.rows.at(-1);
    if (!last) return;
    place = free.map((column) => last[column] as Value);
    yield page.rows;
  }
}

function sizeOf(row: Row): number {
  let bytes = 0;
  for (const value of Object.values(row))
    bytes += typeof value === 'string' || Buffer.isBuffer(value) ? value.length : 8;
  return bytes;
}

/** The values that a column has within the first columns of a key, each once: one step for each, however many rows have it. */
export async function* distinct(
  session: Session,
  { table, key, within = [] }: Pick<Walk, 'table' | 'key' | 'within'>,
): AsyncGenerator<Value> {
  const column = key[within.length] as string;
  const fixed = key.slice(0, within.length).map((name) => `${name} = ?`);
  let last: Value | undefined;
  for (;;) {
    const conditions = [...fixed, ...(last === undefined ? [] : [`${column} > ?`])];
    const where = conditions.length > 0 ? ` WHERE ${conditions.join(' AND ')}` : '';
    const sql = `SELECT ${column} FROM ${table}${where} ORDER BY ${column} LIMIT 1`;
    const [row] = await session.all(sql, [...within, ...(last === undefined ? [] : [last])]);
    if (!row) return;
    last = row[column] as Value;
    yield last;
  }
}
