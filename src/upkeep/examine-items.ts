/** Items, and what their collections say of them. */
import { DICTIONARY, isSystemName } from '../engine/state/collections.js';
import { isObject } from '../engine/state/json.js';
import { text } from '../store/mapping.js';
import { collectionNamed, lookup, type Patient, rowsOf } from './patient.js';

export async function examineItems(patient: Patient): Promise<void> {
  const { findings, name: pool, progress } = patient;
  for (const collection of patient.collections.values()) {
    const place = { pool, collection: collection.name };
    let count = 0;
    let highest = 0;
    const columns = ['attributes', 'revision', 'created_revision'];
    for await (const page of rowsOf(patient, 'item', columns, { within: [collection.id] })) {
      for (const row of page) {
        const [revision, created] = [row.revision as number, row.created_revision as number];
        const itemPlace = { ...place, key: text(row.item_key) };
        highest = Math.max(highest, revision);
        if (revision > patient.revision || created > revision)
          findings.add(
            'itemRevision',
            itemPlace,
            `It is of revision ${revision}, made at ${created}; the pool is at ${patient.revision}.`,
          );
        if (!isReadable(row.attributes as string))
          findings.add('itemUnreadable', itemPlace, 'What is stored is no JSON object.');
      }
      count += page.length;
      progress.at(`pool ${pool}: ${count} items of ${collection.name}`);
    }
    if (count !== collection.items)
      findings.add(
        'collectionCount',
        place,
        `It says that it has ${collection.items} items, and has ${count}.`,
        `With every node stopped: UPDATE collection SET items = ${count} WHERE id = ${collection.id}`,
      );
    if (collection.revision < highest || collection.revision > patient.revision)
      findings.add(
        'collectionRow',
        place,
        `It says that revision ${collection.revision} touched it last; its newest item is of ${highest}, the pool of ${patient.revision}.`,
        `With every node stopped: UPDATE collection SET revision = ${Math.min(highest, patient.revision)} WHERE id = ${collection.id}`,
      );
    if (!collection.present && !isSystemName(collection.name) && count > 0)
      findings.add('collectionRow', place, `It was dropped, and has ${count} items.`);
  }
  await examineEntries(patient);
}

/** A collection is there exactly while it has an item in `_dictionary`. */
async function examineEntries(patient: Patient): Promise<void> {
  const { session, findings, id, name: pool } = patient;
  const dictionary = collectionNamed(patient, DICTIONARY);
  const own = [...patient.collections.values()].filter(({ name }) => !isSystemName(name));
  const tuples = own.map(({ name }) => [id, dictionary?.id ?? 0, name]);
  const rows = await lookup(session, 'item', ['item_key'], ['pool_id', 'collection_id', 'item_key'], tuples);
  const described = new Set(rows.map((row) => text(row.item_key)));
  for (const { name, present } of own) {
    const place = { pool, collection: name };
    if (present && !described.has(name))
      findings.add('collectionRow', place, 'It is there, and has no item in _dictionary.');
    if (!present && described.has(name))
      findings.add('collectionRow', place, 'It was dropped, and has an item in _dictionary.');
  }
  if (!dictionary) return;
  const known = new Set(own.map(({ name }) => name));
  for await (const page of rowsOf(patient, 'item', [], { within: [dictionary.id] }))
    for (const key of page.map((row) => text(row.item_key)))
      if (!known.has(key) && !isSystemName(key))
        findings.add('collectionRow', { pool, collection: key }, 'It has an item in _dictionary, and no row.');
}

function isReadable(json: string): boolean {
  try {
    return isObject(JSON.parse(json));
  } catch {
    return false;
  }
}
