/** Rows that belong to what isn't there: pools, collections, indexes, sessions, logins. What a dropped pool has left is being removed and no finding. */
import type { Session } from '../store/dialect.js';
import { tables } from '../store/tables.js';
import { distinct, walk } from '../store/walk.js';
import type { Findings } from './findings.js';
import { lookup, type Patient } from './patient.js';

/** Rows of pools that have no row. */
export async function examineOrphans(session: Session, findings: Findings): Promise<void> {
  const pools = new Set((await session.all('SELECT id FROM pool', [])).map(({ id }) => id as number));
  for (const { name, key, columns } of tables) {
    if (!columns.includes('pool_id')) continue;
    const ids =
      key[0] === 'pool_id'
        ? distinct(session, { table: name, key })
        : (await session.all(`SELECT DISTINCT pool_id FROM ${name}`, [])).map((row) => row.pool_id as number);
    for await (const id of ids)
      if (!pools.has(id as number))
        findings.add(
          'orphan',
          {},
          `The table ${name} has rows of the pool ${id}, which isn’t there.`,
          `With every node stopped: DELETE FROM ${name} WHERE pool_id = ${id}`,
        );
  }
  await examineTokens(session, findings);
}

async function examineTokens(session: Session, findings: Findings): Promise<void> {
  const columns = ['digest', 'login_id'];
  for await (const page of walk(session, { table: 'refresh_token', columns, key: ['digest'] })) {
    const ids = [...new Set(page.map((row) => row.login_id as string))];
    const rows = await lookup(
      session,
      'login',
      ['id'],
      ['id'],
      ids.map((id) => [id]),
    );
    const logins = new Set(rows.map(({ id }) => id));
    for (const id of ids)
      if (!logins.has(id))
        findings.add('orphan', {}, `The table refresh_token has rows of the login ${id}, which isn’t there.`);
  }
}

/** Rows of the pool that belong to what it doesn't have. */
export async function examinePoolOrphans({ session, id, name: pool, collections, findings }: Patient): Promise<void> {
  for await (const collection of distinct(session, { table: 'item', key: ['pool_id', 'collection_id'], within: [id] }))
    if (!collections.has(collection as number))
      findings.add(
        'orphan',
        { pool },
        `The table item has rows of the collection ${collection}, which has no row.`,
        `With every node stopped: DELETE FROM item WHERE pool_id = ${id} AND collection_id = ${collection}`,
      );
  const indexes = await session.all('SELECT id FROM collection_index WHERE pool_id = ?', [id]);
  const known = new Set(indexes.map((row) => row.id as number));
  for await (const index of distinct(session, { table: 'item_index', key: ['pool_id', 'index_id'], within: [id] }))
    if (!known.has(index as number))
      findings.add(
        'orphan',
        { pool },
        `The table item_index has entries of the index ${index}, which has no row.`,
        `With every node stopped: DELETE FROM item_index WHERE pool_id = ${id} AND index_id = ${index}`,
      );
  const sessions = { table: 'session_answer', key: ['pool_id', 'session_id'], within: [id] };
  for await (const of of distinct(session, sessions))
    if ((await lookup(session, 'session', ['id'], ['pool_id', 'id'], [[id, of]])).length === 0)
      findings.add('orphan', { pool }, `The table session_answer has rows of the session ${of}, which has no row.`);
}
