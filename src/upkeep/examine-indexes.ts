/** Indexes: those that the dictionary declares, and in each the entries that its items should have and no others. */
import { Definitions } from '../engine/dictionary/definitions.js';
import { Problem } from '../engine/errors.js';
import { DICTIONARY } from '../engine/state/collections.js';
import { type CollectionIndex, collectionIndex, declaredIndexes, entryOf } from '../engine/state/indexes.js';
import { compareKeys } from '../engine/state/key-order.js';
import { type Attributes, ItemState } from '../engine/state/model.js';
import { hasDuplicates } from '../engine/state/unique.js';
import type { Row, Value } from '../store/dialect.js';
import { ENTRY_COLUMNS, INDEX_COLUMNS, text, toIndex } from '../store/mapping.js';
import { SqlTransaction } from '../store/transaction.js';
import { collectionNamed, lookup, type Patient, type PatientCollection, rowsOf } from './patient.js';

export async function examineIndexes(patient: Patient): Promise<void> {
  const { session, id, collections, findings, name: pool } = patient;
  const rows = await session.all(
    `SELECT ${INDEX_COLUMNS.join(', ')} FROM collection_index WHERE pool_id = ? ORDER BY id`,
    [id],
  );
  const byCollection = new Map<number, CollectionIndex[]>();
  for (const row of rows) {
    if (row.state === 'dropped') continue;
    const collection = collections.get(row.collection_id as number);
    const index = readIndex(row);
    if (!index || !collection) {
      const detail = collection ? 'Its definition can’t be read.' : 'It is of a collection that has no row.';
      findings.add('indexRow', { pool, collection: collection?.name }, `The index ${row.name} (${row.id}): ${detail}`);
      continue;
    }
    byCollection.set(collection.id, [...(byCollection.get(collection.id) ?? []), index]);
  }
  for (const [collectionId, indexes] of byCollection)
    await examineCollection(patient, collections.get(collectionId) as PatientCollection, indexes);
  await examineDeclared(patient, byCollection);
}

function readIndex(row: Row): CollectionIndex | undefined {
  try {
    return collectionIndex(toIndex(row));
  } catch {
    return undefined;
  }
}

/** Entries that were looked up for the items of a collection, by index. */
interface Tally {
  readonly index: CollectionIndex;
  items: number;
  found: number;
}

async function examineCollection(
  patient: Patient,
  collection: PatientCollection,
  indexes: readonly CollectionIndex[],
): Promise<void> {
  const { progress, name: pool } = patient;
  const tallies = indexes.map((index): Tally => ({ index, items: 0, found: 0 }));
  for await (const page of rowsOf(patient, 'item', ['attributes', 'changed_at'], { within: [collection.id] })) {
    for (const tally of tallies) await lookUpEntries(patient, collection, page, tally);
    progress.at(`pool ${pool}: entries of ${tallies[0]?.items} items of ${collection.name}`);
  }
  for (const tally of tallies) await examineEntries(patient, collection, tally);
}

/** Whether where an item's entry stands can be known: a time to live from the last change is moved by whoever finds it due. */
function isMoved({ expiry }: CollectionIndex): boolean {
  return expiry !== undefined && 'afterMs' in expiry;
}

async function lookUpEntries(
  { session, id, findings, name: pool }: Patient,
  collection: PatientCollection,
  page: readonly Row[],
  tally: Tally,
): Promise<void> {
  const { index } = tally;
  tally.items += page.length;
  if (isMoved(index)) return;
  const wanted = new Map<string, { key: string; tuple: Value[] }>();
  for (const row of page) {
    const entry = wantedEntry(index, row);
    if (entry)
      wanted.set(entryName(entry.sortKey, entry.key), {
        key: entry.key,
        tuple: [id, index.id, entry.sortKey, entry.key],
      });
  }
  const tuples = Array.from(wanted.values(), ({ tuple }) => tuple);
  for (const row of await lookup(session, 'item_index', ['sort_key', 'item_key'], ENTRY_COLUMNS, tuples)) {
    wanted.delete(entryName(row.sort_key as Buffer, text(row.item_key)));
    tally.found++;
  }
  const { state, builtTo } = index.stored;
  for (const { key } of wanted.values()) {
    // Of an index that is being built, what lies beyond where the build is may lack its entry.
    if (state === 'building' && (builtTo === null || compareKeys(key, builtTo) > 0)) continue;
    findings.add(
      'indexEntry',
      { pool, collection: collection.name, key },
      `It lacks its entry in the index ${index.name} (${index.id}).`,
    );
  }
}

function wantedEntry(index: CollectionIndex, row: Row): { sortKey: Buffer; key: string } | undefined {
  try {
    const attributes = JSON.parse(row.attributes as string) as Attributes;
    return entryOf(index, text(row.item_key), attributes, row.changed_at as number);
  } catch {
    // An item that can't be read is a finding of its own.
    return undefined;
  }
}

/** What is in the index beside what was looked up. It is counted, and looked for only if there is any. */
async function examineEntries(
  patient: Patient,
  collection: PatientCollection,
  { index, items, found }: Tally,
): Promise<void> {
  const { session, id, findings, name: pool } = patient;
  const place = { pool, collection: collection.name };
  const [row] = await session.all('SELECT COUNT(*) AS n FROM item_index WHERE pool_id = ? AND index_id = ?', [
    id,
    index.id,
  ]);
  const count = Number(row?.n);
  if (isMoved(index)) {
    if (index.stored.state === 'ready' && count < items)
      findings.add(
        'indexEntry',
        place,
        `The index ${index.name} (${index.id}) has ${count} entries for ${items} items.`,
      );
    return;
  }
  if (count !== found) await findExtra(patient, collection, index);
  const isExclusive = index.unique && index.stored.state === 'ready';
  if (isExclusive && (await hasDuplicates(index, id, new SqlTransaction(session))))
    findings.add(
      'indexDuplicate',
      place,
      `Items have the same values in the unique index ${index.name} (${index.id}).`,
    );
}

async function findExtra(patient: Patient, collection: PatientCollection, index: CollectionIndex): Promise<void> {
  const { session, id, findings, name: pool } = patient;
  for await (const page of rowsOf(patient, 'item_index', [], { within: [index.id] })) {
    const keys = [...new Set(page.map((row) => text(row.item_key)))];
    const tuples = keys.map((key): Value[] => [id, collection.id, key]);
    const columns = ['item_key', 'attributes', 'changed_at'];
    const rows = await lookup(session, 'item', columns, ['pool_id', 'collection_id', 'item_key'], tuples);
    const items = new Map(rows.map((row) => [text(row.item_key), row]));
    for (const entry of page) {
      const key = text(entry.item_key);
      const item = items.get(key);
      if (item && wantedEntry(index, item)?.sortKey.equals(entry.sort_key as Buffer)) continue;
      const detail = item ? 'is for values that the item doesn’t have' : 'is of an item that isn’t there';
      findings.add(
        'indexEntry',
        { pool, collection: collection.name, key },
        `An entry in the index ${index.name} (${index.id}) ${detail}.`,
      );
    }
  }
}

function entryName(sortKey: Buffer, key: string): string {
  return `${sortKey.toString('latin1')}\n${key}`;
}

/** Each index that a definition declares is there, and no other. */
async function examineDeclared(
  patient: Patient,
  present: ReadonlyMap<number, readonly CollectionIndex[]>,
): Promise<void> {
  const { findings, name: pool } = patient;
  const dictionary = collectionNamed(patient, DICTIONARY);
  if (!dictionary) return;
  const definitions = new Definitions();
  const described = new Set<number>();
  for await (const page of rowsOf(patient, 'item', ['attributes', 'revision'], { within: [dictionary.id] })) {
    for (const row of page) {
      const name = text(row.item_key);
      const collection = collectionNamed(patient, name);
      const wanted = declaredBy(definitions, row);
      if (!collection || !wanted) continue;
      described.add(collection.id);
      const stored = (present.get(collection.id) ?? []).map((index) => index.stored);
      const isIn = (list: readonly { name: string; definition: string }[], one: { name: string; definition: string }) =>
        list.some((other) => other.name === one.name && other.definition === one.definition);
      for (const index of wanted)
        if (!isIn(stored, index))
          findings.add('indexRow', { pool, collection: name }, `The index ${index.name} is declared and isn’t there.`);
      for (const index of stored)
        if (!isIn(wanted, index))
          findings.add(
            'indexRow',
            { pool, collection: name },
            `The index ${index.name} (${index.id}) is there and isn’t declared.`,
          );
    }
  }
  for (const [collectionId, indexes] of present)
    for (const { name, id } of described.has(collectionId) ? [] : indexes)
      findings.add(
        'indexRow',
        { pool, collection: patient.collections.get(collectionId)?.name },
        `The index ${name} (${id}) is there and isn’t declared.`,
      );
}

/** Undefined where the entry can't be compiled any more: nothing is declared by it then that could be compared. */
function declaredBy(definitions: Definitions, row: Row): { name: string; definition: string }[] | undefined {
  try {
    return declaredIndexes(definitions.of(new ItemState(row.attributes as string, row.revision as number, 0)));
  } catch (error) {
    if (error instanceof Problem || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
