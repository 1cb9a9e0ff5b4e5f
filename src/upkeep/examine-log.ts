/**
 * The log: without a hole from the oldest revision to the newest, and its last change of each item is the item. Looked at from the log,
 * for an item is found by its key and a change of it isn't: each change is compared with the item that there is now. Where an item
 * is newer than the change, a later one speaks of it.
 */
import { isObject, type Json, jsonEqual } from '../engine/state/json.js';
import type { Row, Value } from '../store/dialect.js';
import { text } from '../store/mapping.js';
import type { Finding } from './findings.js';
import { lookup, type Patient, rowsOf } from './patient.js';

/** Items that the log has so far and that aren't there; a deletion further on closes each. Beyond this some aren't looked for. */
const OPEN_MAX = 200_000;

export async function examineLog(patient: Patient): Promise<void> {
  const log = new LogExamination(patient);
  await log.run();
}

class LogExamination {
  readonly #open = new Map<string, Pick<Finding, 'pool' | 'collection' | 'key'> & { readonly revision: number }>();
  #matched = 0;
  #skipped = 0;
  #last = { revision: 0, ordinal: 0 };

  constructor(private readonly patient: Patient) {}

  async run(): Promise<void> {
    const { patient } = this;
    const { oldest, revision, name: pool, findings, progress } = patient;
    this.#last = { revision: oldest - 1, ordinal: 0 };
    const columns = ['collection_id', 'item_key', 'op', 'after_values'];
    let rows = 0;
    for await (const page of rowsOf(patient, 'commit_log', columns, { after: [oldest - 1, Number.MAX_SAFE_INTEGER] })) {
      for (const row of page) this.#inOrder(row);
      await this.#compare(page);
      rows += page.length;
      progress.at(`pool ${pool}: ${rows} changes in the log`);
    }
    if (this.#last.revision < revision)
      findings.add('logHole', { pool }, `The log ends at revision ${this.#last.revision}, the pool is at ${revision}.`);
    for (const { revision: at, ...place } of this.#open.values())
      findings.add('itemMissing', place, `The log has it since revision ${at}, and no deletion after that.`);
    if (this.#skipped > 0)
      progress.say(
        `pool ${pool}: ${this.#skipped} changes of items that are gone were not followed to their deletion.`,
      );
    await this.#findUnlogged();
  }

  #inOrder(row: Row): void {
    const { findings, name: pool, revision: newest } = this.patient;
    const [revision, ordinal] = [row.revision as number, row.ordinal as number];
    const { revision: last, ordinal: lastOrdinal } = this.#last;
    this.#last = { revision, ordinal };
    if (revision > newest && last <= newest)
      findings.add('logRow', { pool }, `The log goes on to revision ${revision}, the pool is at ${newest}.`);
    if (revision > last + 1)
      findings.add('logHole', { pool }, `The log lacks revisions ${last + 1} to ${revision - 1}.`);
    const expected = revision === last ? lastOrdinal + 1 : 0;
    if (ordinal !== expected)
      findings.add(
        'logRow',
        { pool },
        `The commit of revision ${revision} has the change ${ordinal} where ${expected} is due.`,
      );
  }

  async #compare(page: readonly Row[]): Promise<void> {
    const { session, id, collections, findings, name: pool } = this.patient;
    const places = new Map<string, Value[]>();
    for (const row of page) places.set(nameOf(row), [id, row.collection_id as number, text(row.item_key)]);
    const columns = ['collection_id', 'item_key', 'attributes', 'revision', 'created_revision'];
    const found = await lookup(
      session,
      'item',
      columns,
      ['pool_id', 'collection_id', 'item_key'],
      [...places.values()],
    );
    const items = new Map(found.map((item) => [nameOf(item), item]));
    for (const row of page) {
      const collection = collections.get(row.collection_id as number);
      if (!collection)
        findings.add(
          'logRow',
          { pool },
          `Revision ${row.revision} changed a collection that has no row (${row.collection_id}).`,
        );
      this.#judge(row, items.get(nameOf(row)), { pool, collection: collection?.name, key: text(row.item_key) });
    }
  }

  #judge(row: Row, item: Row | undefined, place: Pick<Finding, 'pool' | 'collection' | 'key'>): void {
    const { findings } = this.patient;
    const revision = row.revision as number;
    const after = row.after_values as string | null;
    const name = nameOf(row);
    if (!item) {
      if (after === null) this.#open.delete(name);
      else if (this.#open.has(name) || this.#open.size < OPEN_MAX) this.#open.set(name, { ...place, revision });
      else this.#skipped++;
      return;
    }
    const has = item.revision as number;
    if (after === null) {
      if ((item.created_revision as number) <= revision)
        findings.add('itemDeleted', place, `Revision ${revision} deleted it; there is one of revision ${has}.`);
    } else if (has < revision)
      findings.add('itemNotAsLogged', place, `The log changed it at revision ${revision}; the item is of ${has}.`);
    else if (has === revision) {
      this.#matched++;
      const text = item.attributes as string;
      if (text !== after && !isSame(text, after))
        findings.add(
          'itemNotAsLogged',
          place,
          `What the log has of it at revision ${revision} isn’t what the item is.`,
        );
    }
  }

  /** Items of retained revisions that the log has no change of. They are counted, and looked for only if there are any. */
  async #findUnlogged(): Promise<void> {
    const { patient } = this;
    const { session, id, oldest, revision, findings, name: pool, collections } = patient;
    const [row] = await session.all(
      'SELECT COUNT(*) AS n FROM item WHERE pool_id = ? AND revision >= ? AND revision <= ?',
      [id, oldest, revision],
    );
    if (Number(row?.n) === this.#matched) return;
    for await (const page of rowsOf(patient, 'item', ['revision'])) {
      for (const item of page) {
        const [at, collectionId] = [item.revision as number, item.collection_id as number];
        if (at < oldest || at > revision) continue;
        const key = text(item.item_key);
        const sql =
          'SELECT ordinal FROM commit_log WHERE pool_id = ? AND revision = ? AND collection_id = ? AND item_key = ? LIMIT 1';
        if ((await session.all(sql, [id, at, collectionId, key])).length > 0) continue;
        const place = { pool, collection: collections.get(collectionId)?.name, key };
        findings.add('itemNotInLog', place, `It is of revision ${at}, whose commit doesn’t change it.`);
      }
    }
  }
}

function nameOf(row: Row): string {
  return `${row.collection_id}/${text(row.item_key)}`;
}

function isSame(a: string, b: string): boolean {
  try {
    const [left, right] = [JSON.parse(a) as Json, JSON.parse(b) as Json];
    return isObject(left) && isObject(right) && jsonEqual(left, right);
  } catch {
    return false;
  }
}
