/** A pool as the doctor looks at it, in one state of the database, and the reads that its examinations share. */
import type { Row, Session, Value } from '../store/dialect.js';
import { COLLECTION_COLUMNS } from '../store/mapping.js';
import { tableByName } from '../store/tables.js';
import { walk } from '../store/walk.js';
import type { Findings } from './findings.js';
import type { Progress } from './progress.js';

export interface Patient {
  readonly session: Session;
  readonly findings: Findings;
  readonly progress: Progress;
  readonly id: number;
  readonly name: string;
  readonly revision: number;
  readonly oldest: number;
  /** By their ids, dropped ones included. */
  readonly collections: ReadonlyMap<number, PatientCollection>;
}

export interface PatientCollection {
  readonly id: number;
  readonly name: string;
  readonly present: boolean;
  readonly items: number;
  readonly revision: number;
}

export async function patientOf(
  session: Session,
  findings: Findings,
  progress: Progress,
  { id, name, revision, oldest_revision: oldest }: Row,
): Promise<Patient> {
  const sql = `SELECT ${COLLECTION_COLUMNS.join(', ')} FROM collection WHERE pool_id = ?`;
  const collections = (await session.all(sql, [id as number])).map((row) => ({
    id: row.id as number,
    name: row.name as string,
    present: row.present === 1,
    items: row.items as number,
    revision: row.revision as number,
  }));
  return {
    ...{ session, findings, progress, id: id as number, name: name as string },
    ...{ revision: revision as number, oldest: oldest as number },
    collections: new Map(collections.map((collection) => [collection.id, collection])),
  };
}

export function collectionNamed({ collections }: Patient, name: string): PatientCollection | undefined {
  for (const collection of collections.values()) if (collection.name === name) return collection;
  return undefined;
}

/** The rows of a table that belong to the pool, or to what `within` says further. */
export function rowsOf(
  { session, id }: Patient,
  table: string,
  columns: readonly string[],
  { within = [], after }: { readonly within?: readonly Value[]; readonly after?: readonly Value[] } = {},
): AsyncGenerator<Row[]> {
  const { key } = tableByName.get(table) as { key: readonly string[] };
  return walk(session, { table, columns: [...new Set([...key, ...columns])], key, within: [id, ...within], after });
}

/** Terms that one statement joins by OR; see indexes.ts in the store. */
const TERMS_MAX = 200;

/** The rows whose columns equal one of the tuples. */
export async function lookup(
  session: Session,
  table: string,
  columns: readonly string[],
  by: readonly string[],
  tuples: readonly (readonly Value[])[],
): Promise<Row[]> {
  const rows: Row[] = [];
  for (let i = 0; i < tuples.length; i += TERMS_MAX)
    rows.push(
      ...(await session.lookup(`SELECT ${columns.join(', ')} FROM ${table}`, by, tuples.slice(i, i + TERMS_MAX))),
    );
  return rows;
}
