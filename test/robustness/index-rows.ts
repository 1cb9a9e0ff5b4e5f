/**
 * The rows of indexes as they lie in the database, past the server: compared with what the items that lie beside them say they
 * must be. That is what a rebuild from nothing would make.
 */
import Sqlite from 'better-sqlite3';
import { createConnection } from 'mysql2/promise';
import { type CollectionIndex, entryOf, type IndexDefinition } from '../../src/engine/state/indexes.js';
import type { Attributes } from '../../src/engine/state/model.js';

type Row = Record<string, string | number | Buffer | null>;

export interface IndexRows {
  /** The states of the indexes that are there, dropped ones included. */
  readonly states: readonly string[];
  /** Entries that were compared. */
  readonly entries: number;
  /** What is wrong, at most some of it. */
  readonly faults: readonly string[];
}

const TOLD = 20;

/** The rows are read at one moment, so it may be called while others write. */
export async function readIndexRows(databaseUrl: string): Promise<IndexRows> {
  const [indexes, entries, items] = await select(
    databaseUrl,
    'SELECT * FROM collection_index ORDER BY id',
    'SELECT * FROM item_index',
    'SELECT pool_id, collection_id, item_key, attributes FROM item',
  );
  const faults: string[] = [];
  const present = new Map<string, string[]>();
  for (const row of entries) {
    const id = String(row.index_id);
    present.set(id, [...(present.get(id) ?? []), entryText(row.sort_key as Buffer, textOf(row.item_key))]);
  }
  for (const index of indexes) {
    const id = String(index.id);
    const found = present.get(id) ?? [];
    present.delete(id);
    if (index.state !== 'dropped') faults.push(...faultsOf(index, found, items));
  }
  for (const id of present.keys()) faults.push(`There are entries of the index ${id}, which is not there`);
  return { states: indexes.map(({ state }) => textOf(state)), entries: entries.length, faults: faults.slice(0, TOLD) };
}

/** An index that is being built holds at least what lies up to where the build is, and nothing that is wrong. */
function faultsOf(index: Row, found: readonly string[], items: readonly Row[]): string[] {
  const { parts = [], expiry } = JSON.parse(textOf(index.definition)) as IndexDefinition;
  // Entries of a time to live that counts from the last change stand where they stood when they were made.
  if (expiry && 'afterMs' in expiry) return [];
  const isComplete = index.state === 'ready' || index.state === 'violated';
  const builtTo = index.built_to === null ? undefined : Buffer.from(textOf(index.built_to));
  const wanted = new Map<string, boolean>();
  for (const item of items) {
    if (item.pool_id !== index.pool_id || item.collection_id !== index.collection_id) continue;
    const key = textOf(item.item_key);
    const attributes = JSON.parse(textOf(item.attributes)) as Attributes;
    const entry = entryOf({ id: 0, parts, expiry } as CollectionIndex, key, attributes, 0);
    const isReached = builtTo !== undefined && Buffer.from(key).compare(builtTo) <= 0;
    if (entry) wanted.set(entryText(entry.sortKey, key), isComplete || isReached);
  }
  const name = `${textOf(index.name)} (${index.id}, ${index.state})`;
  const faults: string[] = [];
  const there = new Set(found);
  for (const [text, isNeeded] of wanted) if (isNeeded && !there.has(text)) faults.push(`${name} lacks ${text}`);
  for (const text of there) if (!wanted.has(text)) faults.push(`${name} has ${text}, which no item has`);
  return faults;
}

function entryText(sortKey: Buffer, key: string): string {
  return `${key} at ${sortKey.toString('hex')}`;
}

function textOf(value: Row[string] | undefined): string {
  return Buffer.isBuffer(value) ? value.toString('utf8') : String(value);
}

async function select(databaseUrl: string, ...statements: string[]): Promise<[Row[], Row[], Row[]]> {
  if (databaseUrl.startsWith('sqlite:')) {
    const database = new Sqlite(databaseUrl.slice('sqlite:'.length), { readonly: true });
    try {
      return database.transaction(() => statements.map((sql) => database.prepare(sql).all()))() as [
        Row[],
        Row[],
        Row[],
      ];
    } finally {
      database.close();
    }
  }
  const connection = await createConnection(databaseUrl);
  try {
    const answers: Row[][] = [];
    await connection.query('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ');
    await connection.query('START TRANSACTION WITH CONSISTENT SNAPSHOT');
    for (const sql of statements) answers.push((await connection.query(sql))[0] as Row[]);
    return answers as [Row[], Row[], Row[]];
  } finally {
    await connection.end();
  }
}
