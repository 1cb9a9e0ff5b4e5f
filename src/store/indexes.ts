/** The statements on indexes: what there are, their entries, and the items that a range of an index leads to. */
import type { IndexEntry, IndexedItem, IndexRangeRequest, StoredIndex, StoredItem } from '../engine/ports.js';
import type { KeyRange } from '../engine/state/key-order.js';
import { readBounded } from './bounded.js';
import type { Row, Session, Value } from './dialect.js';
import { ENTRY_COLUMNS, INDEX_COLUMNS, text, toEntry, toIndex, toItem } from './mapping.js';

export interface Bytes {
  readonly start: Buffer;
  readonly end: Buffer | undefined;
}

/** Terms that one statement joins by OR: past some thousands the planners of databases give up on their indexes. */
const TERMS_MAX = 200;

export async function readIndexes(session: Session, poolId: number): Promise<StoredIndex[]> {
  const sql = `SELECT ${INDEX_COLUMNS.join(', ')} FROM collection_index WHERE pool_id = ? AND state <> 'dropped' ORDER BY id`;
  return (await session.all(sql, [poolId])).map(toIndex);
}

export async function readIndexesIn(
  session: Session,
  states: readonly StoredIndex['state'][],
): Promise<{ pool: string; poolId: number; index: StoredIndex }[]> {
  const columns = INDEX_COLUMNS.map((column) => `c.${column}`).join(', ');
  const sql = `SELECT p.name AS pool_name, ${columns} FROM collection_index c JOIN pool p ON p.id = c.pool_id WHERE p.name IS NOT NULL AND c.state IN (${states.map(() => '?').join(', ')}) ORDER BY c.id`;
  const rows = await session.all(sql, states);
  return rows.map((row) => ({
    pool: row.pool_name as string,
    poolId: row.pool_id as number,
    index: toIndex(row),
  }));
}

export async function createIndex(
  session: Session,
  poolId: number,
  { collectionId, name, definition }: Pick<StoredIndex, 'collectionId' | 'name' | 'definition'>,
): Promise<number> {
  await raiseVersion(session, poolId);
  return session.insertOne('collection_index', INDEX_COLUMNS.slice(1), [
    poolId,
    collectionId,
    name,
    definition,
    'building',
    null,
    0,
  ]);
}

export async function updateIndex(
  session: Session,
  poolId: number,
  { id, builtTo, builtItems, state: former }: StoredIndex,
  state: StoredIndex['state'],
): Promise<void> {
  if (state !== former) await raiseVersion(session, poolId);
  await session.write('UPDATE collection_index SET state = ?, built_to = ?, built_items = ? WHERE id = ?', [
    state,
    builtTo,
    builtItems,
    id,
  ]);
}

function raiseVersion(session: Session, poolId: number): Promise<void> {
  return session.write('UPDATE pool SET index_version = index_version + 1 WHERE id = ?', [poolId]);
}

/** Deletes entries of a dropped index a few at a time, at last the index. */
export async function purgeIndex(session: Session, poolId: number, indexId: number, limit: number): Promise<number> {
  const rows = await session.all(
    'SELECT index_id, sort_key, item_key FROM item_index WHERE pool_id = ? AND index_id = ? ORDER BY sort_key, item_key LIMIT ?',
    [poolId, indexId, limit],
  );
  await removeEntries(session, poolId, rows.map(toEntry));
  if (rows.length === limit) return rows.length;
  return (
    rows.length + (await session.run("DELETE FROM collection_index WHERE id = ? AND state = 'dropped'", [indexId]))
  );
}

export async function addEntries(session: Session, poolId: number, entries: readonly IndexEntry[]): Promise<void> {
  if (entries.length === 0) return;
  await session.insertNew(
    'item_index',
    ENTRY_COLUMNS,
    entries.map(({ indexId, sortKey, key }) => [poolId, indexId, sortKey, key]),
  );
}

export async function removeEntries(session: Session, poolId: number, entries: readonly IndexEntry[]): Promise<void> {
  for (let i = 0; i < entries.length; i += TERMS_MAX) {
    const tuples = entries
      .slice(i, i + TERMS_MAX)
      .map(({ indexId, sortKey, key }): Value[] => [poolId, indexId, sortKey, key]);
    await session.deleteEach('item_index', ENTRY_COLUMNS, tuples);
  }
}

/** Who holds each of the sort keys: a handful is enough to tell. */
export async function readEntries(
  session: Session,
  poolId: number,
  indexId: number,
  sortKeys: readonly Buffer[],
): Promise<IndexEntry[]> {
  if (sortKeys.length === 0) return [];
  const tuples = sortKeys.map((sortKey): Value[] => [poolId, indexId, sortKey]);
  const rows = await session.lookup(
    'SELECT index_id, sort_key, item_key FROM item_index',
    ENTRY_COLUMNS.slice(0, 3),
    tuples,
  );
  return rows.map(toEntry);
}

export async function readDuplicates(
  session: Session,
  poolId: number,
  indexId: number,
  after: Buffer,
  limit: number,
): Promise<{ sortKey: Buffer; keys: [string, string] }[]> {
  const sql =
    'SELECT sort_key, MIN(item_key) AS first_key, MAX(item_key) AS last_key FROM item_index WHERE pool_id = ? AND index_id = ? AND sort_key > ? GROUP BY sort_key HAVING COUNT(*) > 1 ORDER BY sort_key LIMIT ?';
  const rows = await session.all(sql, [poolId, indexId, after, limit]);
  return rows.map((row) => ({ sortKey: row.sort_key as Buffer, keys: [text(row.first_key), text(row.last_key)] }));
}

/** Items that are read at once before their size is looked at. */
const DUE_ITEMS = 32;

export async function readDue(
  session: Session,
  poolId: number,
  { id, collectionId }: Pick<StoredIndex, 'id' | 'collectionId'>,
  sortKey: Buffer,
  {
    limit,
    bytesMax,
    after,
  }: { readonly limit: number; readonly bytesMax: number; readonly after?: IndexEntry | undefined },
): Promise<{ entry: IndexEntry; item: (StoredItem & { changedAt: number }) | undefined }[]> {
  const beyond = after ? ' AND sort_key >= ? AND (sort_key > ? OR item_key > ?)' : '';
  const sql = `SELECT index_id, sort_key, item_key FROM item_index WHERE pool_id = ? AND index_id = ? AND sort_key < ?${beyond} ORDER BY sort_key, item_key LIMIT ?`;
  const place = after ? [after.sortKey, after.sortKey, after.key] : [];
  const entries = (await session.all(sql, [poolId, id, sortKey, ...place, limit])).map(toEntry);
  const due: { entry: IndexEntry; item: (StoredItem & { changedAt: number }) | undefined }[] = [];
  let bytes = 0;
  for (let i = 0; i < entries.length && bytes < bytesMax; i += DUE_ITEMS) {
    const portion = entries.slice(i, i + DUE_ITEMS);
    const rows = await session.lookup(
      'SELECT collection_id, item_key, attributes, revision, created_revision, changed_at FROM item',
      ['pool_id', 'collection_id', 'item_key'],
      portion.map(({ key }): Value[] => [poolId, collectionId, key]),
    );
    const items = new Map(rows.map((row) => [text(row.item_key), row]));
    for (const entry of portion) {
      const row = items.get(entry.key);
      bytes += row ? (row.attributes as string).length : 0;
      due.push({ entry, item: row && { ...toItem(row), changedAt: row.changed_at as number } });
      if (bytes >= bytesMax) break;
    }
  }
  return due;
}

export async function countRange(
  session: Session,
  poolId: number,
  collectionId: number,
  { start, end }: KeyRange,
  max: number,
): Promise<number> {
  const conditions = ['pool_id = ?', 'collection_id = ?'];
  const parameters: Value[] = [poolId, collectionId];
  if (start !== undefined) conditions.push('item_key >= ?') && parameters.push(start);
  if (end !== undefined) conditions.push('item_key < ?') && parameters.push(end);
  return count(session, `SELECT item_key FROM item WHERE ${conditions.join(' AND ')} LIMIT ?`, [...parameters, max]);
}

export async function countIndex(
  session: Session,
  poolId: number,
  indexId: number,
  ranges: readonly Bytes[],
  max: number,
): Promise<number> {
  let sum = 0;
  for (const { start, end } of ranges) {
    const upper = end ? ' AND sort_key < ?' : '';
    sum += await count(
      session,
      `SELECT item_key FROM item_index WHERE pool_id = ? AND index_id = ? AND sort_key >= ?${upper} LIMIT ?`,
      [poolId, indexId, start, ...(end ? [end] : []), max - sum],
    );
    if (sum >= max) break;
  }
  return sum;
}

async function count(session: Session, select: string, parameters: readonly Value[]): Promise<number> {
  const [row] = await session.all(`SELECT COUNT(*) AS amount FROM (${select}) AS found`, parameters);
  return Number(row?.amount);
}

const ITEM = 'i.collection_id, i.item_key, i.attributes, i.revision, i.created_revision';

/** An index range's items. Each statement is a plain walk of the entries' tree, also deep inside one sort key's entries. */
export async function readIndex(
  session: Session,
  poolId: number,
  request: IndexRangeRequest,
): Promise<{ items: IndexedItem[]; more: boolean }> {
  const { indexId, collectionId, limit, bytesMax } = request;
  const walk = (condition: string, parameters: readonly Value[], order: string, rows: number) =>
    session.all(
      `SELECT x.sort_key, ${ITEM} FROM item_index x ${session.orderedJoin} item i ON i.pool_id = x.pool_id AND i.collection_id = ? AND i.item_key = x.item_key WHERE x.pool_id = ? AND x.index_id = ? AND ${condition} ORDER BY ${order} LIMIT ?`,
      [collectionId, poolId, indexId, ...parameters, rows],
    );
  const next = request.backward ? backwardFrom(request, walk) : forwardFrom(request, walk);
  const { rows, more } = await readBounded(next, (row) => Buffer.byteLength(row.attributes as string), {
    rowsMax: limit,
    bytesMax,
  });
  return { items: rows.map((row) => ({ ...toItem(row), sortKey: row.sort_key as Buffer })), more };
}

type Walk = (condition: string, parameters: readonly Value[], order: string, rows: number) => Promise<Row[]>;
type Next = (last: Row | undefined, limit: number) => Promise<Row[]>;

function placeOf(last: Row | undefined, { after }: IndexRangeRequest) {
  return last ? { sortKey: last.sort_key as Buffer, key: text(last.item_key) } : after;
}

function forwardFrom(request: IndexRangeRequest, walk: Walk): Next {
  const { start, end } = request;
  const upper = end ? ' AND x.sort_key < ?' : '';
  const bound = end ? [end] : [];
  return async (last, limit) => {
    const after = placeOf(last, request);
    if (!after) return walk(`x.sort_key >= ?${upper}`, [start, ...bound], 'x.sort_key, x.item_key', limit);
    const rest = await walk('x.sort_key = ? AND x.item_key > ?', [after.sortKey, after.key], 'x.item_key', limit);
    if (rest.length === limit) return rest;
    const following = await walk(
      `x.sort_key > ?${upper}`,
      [after.sortKey, ...bound],
      'x.sort_key, x.item_key',
      limit - rest.length,
    );
    return [...rest, ...following];
  };
}

/** Sort keys fall while the keys of one sort key rise, which no walk of the tree does: each sort key's entries are turned. */
function backwardFrom(request: IndexRangeRequest, walk: Walk): Next {
  const { start, end } = request;
  const rest = (sortKey: Buffer, above: string | undefined, limit: number) =>
    above === undefined
      ? walk('x.sort_key = ?', [sortKey], 'x.item_key', limit)
      : walk('x.sort_key = ? AND x.item_key > ?', [sortKey, above], 'x.item_key', limit);
  return async (last, limit) => {
    const after = placeOf(last, request);
    const rows = after ? await rest(after.sortKey, after.key, limit) : [];
    let below: Buffer | undefined = after?.sortKey ?? end;
    while (rows.length < limit) {
      const wanted = limit - rows.length;
      const page = await walk(
        below ? 'x.sort_key >= ? AND x.sort_key < ?' : 'x.sort_key >= ?',
        below ? [start, below] : [start],
        'x.sort_key DESC, x.item_key DESC',
        wanted,
      );
      if (page.length === 0) break;
      const lowest = page.at(-1)?.sort_key as Buffer;
      // Of the lowest sort key there may be entries that the page didn't reach.
      const whole = page.length < wanted ? page : page.filter((row) => !lowest.equals(row.sort_key as Buffer));
      rows.push(...turn(whole));
      if (page.length < wanted) break;
      rows.push(...(await rest(lowest, undefined, limit - rows.length)));
      below = lowest;
    }
    return rows;
  };
}

/** Turns the entries of each sort key, and leaves the order of sort keys. */
function turn(rows: readonly Row[]): Row[] {
  const turned: Row[] = [];
  let run: Row[] = [];
  for (const row of rows) {
    const [first] = run;
    if (first && !(first.sort_key as Buffer).equals(row.sort_key as Buffer)) {
      turned.push(...run.reverse());
      run = [];
    }
    run.push(row);
  }
  return [...turned, ...run.reverse()];
}
