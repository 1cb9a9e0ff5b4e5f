/** `stargus-server doctor`: a database is broken in one way at a time, past every server, and each is found; what is sound is let be. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDatabase } from '../../src/store/data-source.js';
import { openForRestoring } from '../../src/store/opening.js';
import { examine } from '../../src/upkeep/examine.js';
import { type Finding, Findings } from '../../src/upkeep/findings.js';
import { checkBackup, loadBackup } from '../../src/upkeep/load-backup.js';
import { Progress } from '../../src/upkeep/progress.js';
import { sql } from '../support/database.js';
import { runProgram } from '../support/program.js';
import { Scenario } from '../support/scenario.js';
import { databases, startServer } from '../support/server.js';

const folder = mkdtempSync(path.join(tmpdir(), 'stargus-doctor-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What statements name: ids, and revisions as they are after the restore. */
interface Ids {
  readonly pool: number;
  readonly revision: number;
  /** By the names of collections. */
  readonly of: Readonly<Record<string, number>>;
  /** The index on `n`, and the unique one. */
  readonly n: number;
  readonly serial: number;
}

type Break = readonly [what: string, statements: (ids: Ids) => string[], kinds: readonly string[], says: string];

const itemAt = ({ pool, of }: Ids, key: string) =>
  `pool_id = ${pool} AND collection_id = ${of.things} AND item_key = '${key}'`;
const rowsOf = ({ pool, of }: Ids, key: string) =>
  `pool_id = ${pool} AND collection_id = ${of.things} AND item_key = '${key}'`;

const breaks: readonly Break[] = [
  [
    'a commit is gone',
    (ids) => [`DELETE FROM commit_log WHERE pool_id = ${ids.pool} AND revision = ${ids.revision - 5}`],
    ['logHole'],
    'lacks revisions',
  ],
  [
    'the newest commit is gone',
    (ids) => [`DELETE FROM commit_log WHERE pool_id = ${ids.pool} AND revision = ${ids.revision}`],
    ['logHole'],
    'The log ends at revision',
  ],
  [
    'the oldest commit is gone',
    ({ pool }) => [`UPDATE pool SET oldest_revision = oldest_revision - 1 WHERE id = ${pool}`],
    ['logHole'],
    'lacks revisions',
  ],
  [
    'a change of a commit is gone',
    ({ pool }) => [`DELETE FROM commit_log WHERE pool_id = ${pool} AND ordinal = 1`],
    ['logRow'],
    'where 1 is due',
  ],
  [
    'the first change of a commit is gone',
    ({ pool }) => [`DELETE FROM commit_log WHERE pool_id = ${pool} AND ordinal = 0 AND item_key = 'b000'`],
    ['logRow'],
    'change 1 where 0 is due',
  ],
  [
    'the pool is behind its log',
    ({ pool }) => [`UPDATE pool SET revision = revision - 1 WHERE id = ${pool}`],
    ['logRow', 'itemRevision'],
    'The log goes on',
  ],
  [
    'the pool is ahead of its log',
    ({ pool }) => [`UPDATE pool SET revision = revision + 1 WHERE id = ${pool}`],
    ['logHole'],
    'The log ends',
  ],
  [
    'the log names a collection that isn’t there',
    ({ pool }) => [`UPDATE commit_log SET collection_id = 999 WHERE pool_id = ${pool} AND item_key = 'c'`],
    ['logRow'],
    'no row (999)',
  ],
  [
    'the oldest revision is beyond the newest',
    ({ pool }) => [`UPDATE pool SET oldest_revision = revision + 9 WHERE id = ${pool}`],
    ['poolRow'],
    'Its oldest revision',
  ],
  [
    'an epoch no cursor can have',
    ({ pool }) => [`UPDATE pool SET epoch = 'a b' WHERE id = ${pool}`],
    ['poolRow'],
    'epoch',
  ],
  [
    'an item isn’t what the log says',
    (ids) => [`UPDATE item SET attributes = '{"n":1,"serial":"a","x":1}' WHERE ${itemAt(ids, 'a')}`],
    ['itemNotAsLogged'],
    'isn’t what the item is',
  ],
  [
    'an item is older than the log says',
    (ids) => [`UPDATE item SET revision = created_revision WHERE ${itemAt(ids, 'a')}`],
    ['itemNotAsLogged'],
    'the item is of',
  ],
  [
    'an item is newer than the log says',
    (ids) => [`UPDATE item SET revision = revision + 1 WHERE ${itemAt(ids, 'b')}`],
    ['itemNotInLog'],
    'whose commit doesn’t change it',
  ],
  [
    'an item is gone',
    (ids) => [`DELETE FROM item WHERE ${itemAt(ids, 'b')}`],
    ['itemMissing', 'collectionCount', 'indexEntry'],
    'no deletion after that',
  ],
  [
    'a deleted item is there',
    (ids) => [
      `INSERT INTO item (pool_id, collection_id, item_key, attributes, revision, created_revision, changed_at) VALUES (${ids.pool}, ${ids.of.things}, 'c', '{}', 1, 1, 0)`,
    ],
    ['itemDeleted', 'collectionCount', 'indexEntry'],
    'there is one of revision 1',
  ],
  [
    'an item can’t be read',
    (ids) => [`UPDATE item SET attributes = '{"n":' WHERE ${itemAt(ids, 'a')}`],
    ['itemUnreadable', 'itemNotAsLogged'],
    'no JSON object',
  ],
  [
    'an item is an array',
    (ids) => [`UPDATE item SET attributes = '[]' WHERE ${itemAt(ids, 'a')}`],
    ['itemUnreadable'],
    'no JSON object',
  ],
  [
    'an item is of the future',
    (ids) => [`UPDATE item SET revision = ${ids.revision + 5} WHERE ${itemAt(ids, 'a')}`],
    ['itemRevision'],
    'the pool is at',
  ],
  [
    'an item was made after it was changed',
    (ids) => [`UPDATE item SET created_revision = revision + 1 WHERE ${itemAt(ids, 'a')}`],
    ['itemRevision'],
    'made at',
  ],
  [
    'a collection miscounts',
    ({ of }) => [`UPDATE collection SET items = items + 1 WHERE id = ${of.things}`],
    ['collectionCount'],
    'UPDATE collection SET items =',
  ],
  [
    'a collection says an old revision',
    ({ of }) => [`UPDATE collection SET revision = 1 WHERE id = ${of.things}`],
    ['collectionRow'],
    'touched it last',
  ],
  [
    'a collection says a future revision',
    ({ of, revision }) => [`UPDATE collection SET revision = ${revision + 1} WHERE id = ${of.things}`],
    ['collectionRow'],
    'touched it last',
  ],
  [
    'a collection isn’t present and has items',
    ({ of }) => [`UPDATE collection SET present = 0 WHERE id = ${of.things}`],
    ['collectionRow'],
    'It was dropped, and has',
  ],
  [
    'a collection has no entry',
    (ids) => [
      `DELETE FROM item WHERE pool_id = ${ids.pool} AND collection_id = ${ids.of._dictionary} AND item_key = 'plain'`,
    ],
    ['collectionRow', 'itemMissing'],
    'has no item in _dictionary',
  ],
  [
    'an entry has no collection',
    ({ of }) => [`UPDATE collection SET name = 'renamed' WHERE id = ${of.plain}`],
    ['collectionRow'],
    'It has an item in _dictionary, and no row',
  ],
  [
    'an entry of an index is gone',
    ({ n }) => [`DELETE FROM item_index WHERE index_id = ${n} AND item_key = 'a'`],
    ['indexEntry'],
    'lacks its entry in the index n',
  ],
  [
    'an entry is of no item',
    ({ n, pool }) => [
      `INSERT INTO item_index (pool_id, index_id, sort_key, item_key) VALUES (${pool}, ${n}, X'00', 'nobody')`,
    ],
    ['indexEntry'],
    'of an item that isn’t there',
  ],
  [
    'an item has two entries',
    ({ n, pool }) => [
      `INSERT INTO item_index (pool_id, index_id, sort_key, item_key) VALUES (${pool}, ${n}, X'00', 'a')`,
    ],
    ['indexEntry'],
    'for values that the item doesn’t have',
  ],
  [
    'an entry is of another value',
    ({ n }) => [`UPDATE item_index SET sort_key = X'00' WHERE index_id = ${n} AND item_key = 'a'`],
    ['indexEntry'],
    'lacks its entry',
  ],
  [
    'a unique index has a value twice',
    (ids) => [
      `UPDATE item SET attributes = '{"n":2,"serial":"a"}' WHERE ${itemAt(ids, 'b')}`,
      `UPDATE commit_log SET after_values = '{"n":2,"serial":"a"}' WHERE ${rowsOf(ids, 'b')}`,
      `DELETE FROM item_index WHERE index_id = ${ids.serial} AND item_key = 'b'`,
      `INSERT INTO item_index (pool_id, index_id, sort_key, item_key) SELECT pool_id, index_id, sort_key, 'b' FROM item_index WHERE index_id = ${ids.serial} AND item_key = 'a'`,
    ],
    ['indexDuplicate'],
    'the same values in the unique index serial',
  ],
  [
    'an index has no row',
    ({ n }) => [`DELETE FROM collection_index WHERE id = ${n}`],
    ['indexRow', 'orphan'],
    'is declared and isn’t there',
  ],
  [
    'an index isn’t declared',
    ({ pool, of }) => [
      `INSERT INTO collection_index (pool_id, collection_id, name, definition, state, built_items) VALUES (${pool}, ${of.plain}, 'x', '{"parts":[]}', 'building', 0)`,
    ],
    ['indexRow'],
    'is there and isn’t declared',
  ],
  [
    'a definition of an index can’t be read',
    ({ n }) => [`UPDATE collection_index SET definition = '{' WHERE id = ${n}`],
    ['indexRow'],
    'can’t be read',
  ],
  [
    'an index of times to live lacks entries',
    ({ of }) => [
      `DELETE FROM item_index WHERE index_id = (SELECT id FROM collection_index WHERE collection_id = ${of.passing})`,
    ],
    ['indexEntry'],
    'has 0 entries for 1 items',
  ],
  [
    'items of no collection',
    ({ pool }) => [
      `INSERT INTO item (pool_id, collection_id, item_key, attributes, revision, created_revision, changed_at) VALUES (${pool}, 999, 'k', '{}', 1, 1, 0)`,
    ],
    ['orphan'],
    'DELETE FROM item WHERE pool_id',
  ],
  [
    'items of no pool',
    () => [
      "INSERT INTO item (pool_id, collection_id, item_key, attributes, revision, created_revision, changed_at) VALUES (999, 1, 'k', '{}', 1, 1, 0)",
    ],
    ['orphan'],
    'DELETE FROM item WHERE pool_id = 999',
  ],
  [
    'a collection of no pool',
    () => ["INSERT INTO collection (pool_id, name, present, items, revision) VALUES (999, 'k', 1, 0, 0)"],
    ['orphan'],
    'DELETE FROM collection WHERE pool_id = 999',
  ],
  [
    'answers of no session',
    ({ pool }) => [
      `INSERT INTO session_answer (pool_id, session_id, sequence, status, headers, body) VALUES (${pool}, 'no', 1, 200, '{}', '{}')`,
    ],
    ['orphan'],
    'session_answer',
  ],
  [
    'refresh tokens of no login',
    () => ["INSERT INTO refresh_token (digest, login_id, used, expires_at) VALUES ('d', 'no', 0, 9)"],
    ['orphan'],
    'refresh_token',
  ],
  [
    'a session doesn’t show itself',
    ({ pool, of }) => [`DELETE FROM item WHERE pool_id = ${pool} AND collection_id = ${of._clients}`],
    ['sessionRow', 'itemMissing'],
    'has no item in _clients',
  ],
  [
    'a session has no row',
    ({ pool }) => [`DELETE FROM session WHERE pool_id = ${pool} AND name = 'worker'`],
    ['sessionItem', 'lockItem', 'orphan'],
    'It shows a session that doesn’t live',
  ],
  [
    'a session shows another epoch',
    ({ pool }) => [`UPDATE session SET epoch = epoch + 1, expires_at = 9 WHERE pool_id = ${pool}`],
    ['sessionItem'],
    'It shows the epoch',
  ],
  [
    'an attachment outlives its session',
    ({ pool }) => [`UPDATE session SET ended = 1 WHERE pool_id = ${pool}`],
    ['sessionItem', 'lockItem'],
    'of a session that doesn’t live',
  ],
  [
    'a lock waits for ever',
    ({ pool }) => [`UPDATE session SET wake_at = NULL WHERE pool_id = ${pool}`],
    ['sessionRow'],
    'no wake_at',
  ],
];

describe.each(databases)('the doctor on $name', ({ name }) => {
  const file = path.join(folder, `${name}.backup`);
  let databaseUrl: string;
  const doctor = (...args: string[]) => runProgram(['doctor', ...args], { STARGUS_DATABASE_URL: databaseUrl });
  /** What the doctor finds after the statements, inside this process and in a transaction that is taken back. */
  const examined = async (statements: readonly string[]) => {
    const found: Finding[] = [];
    const findings = new Findings((finding) => found.push(finding));
    let pools = 0;
    const isOver = new Error('enough seen');
    const database = await openDatabase({ url: databaseUrl, migrate: false });
    try {
      await database.write(async (session) => {
        for (const statement of statements) await session.run(statement, []);
        pools = await examine(session, findings, new Progress());
        throw isOver;
      });
    } catch (error) {
      if (error !== isOver) throw error;
    } finally {
      await database.close();
    }
    return { found, pools };
  };
  const heal = async () => {
    const target = await openForRestoring(databaseUrl);
    try {
      const progress = new Progress();
      await loadBackup(file, target, await checkBackup(file, progress), progress);
    } finally {
      await target.close();
    }
  };

  beforeAll(async () => {
    const server = await startServer({ database: name });
    databaseUrl = server.databaseUrl;
    const scenario = new Scenario(server, 'demo');
    const put = (key: string, attributes: object, collection = 'things') => ({
      op: 'put',
      collection,
      key,
      attributes,
    });
    const remove = (key: string) => ({ op: 'delete', collection: 'things', key });
    const define = (collection: string, attributes: object) =>
      [`PUT P/collections/_dictionary/items/${collection}`, { attributes }] as const;
    await scenario.calls(
      define('things', { indexes: ['n', { attribute: 'serial', unique: true }] }),
      define('passing', { expiry: { afterMs: 86_400_000 } }),
      ['POST P/batch', { ops: [put('a', { n: 0 }), put('c', {})] }],
      ['POST P/batch', { ops: [put('a', { n: 1, serial: 'a' })] }],
      ['POST P/batch', { ops: [put('b', { n: 2, serial: 'b' })] }],
      ['POST P/batch', { ops: [remove('c')] }],
      ['POST P/batch', { ops: [put('d', {})] }],
      ['POST P/batch', { ops: [remove('d')] }],
      ['POST P/batch', { ops: [put('d', { again: true }), put('p', {}, 'passing')] }],
      [
        'POST P/batch',
        { ops: Array.from({ length: 150 }, (_, i) => put(`b${String(i).padStart(3, '0')}`, { i }, 'plain')) },
      ],
      ['PUT /v1/pools/other/collections/x/items/y', { attributes: {} }],
    );
    const { body: holder } = await scenario.calls(['POST P/sessions', { name: 'worker', ttlMs: 600_000 }]);
    const { body: waiter } = await scenario.calls(['POST P/sessions', { name: 'waiter', ttlMs: 600_000 }]);
    const lock = (session: string, waitMs: number) => ({
      session,
      mode: 'exclusive',
      scopes: [{ collection: 'x' }],
      waitMs,
    });
    await scenario.calls(
      [`PUT P/sessions/${holder.session}/attachments/v`, { collection: 'things' }],
      ['POST P/locks', lock(holder.session, 0), { 'stargus-session': `${holder.session};epoch=1` }],
      ['POST P/locks', lock(waiter.session, 600_000), { 'stargus-session': `${waiter.session};epoch=1` }],
      ['POST P/batch', { session: { session: holder.session, epoch: 1, sequence: 1 }, ops: [] }],
    );
    await server.stop();
    const taken = await runProgram(['backup', '--to', file], { STARGUS_DATABASE_URL: databaseUrl });
    expect(taken.code).toBe(0);
    await heal();
  });

  async function ids(): Promise<Ids> {
    const [pool] = await sql(databaseUrl, "SELECT id, revision FROM pool WHERE name = 'demo'");
    const collections = await sql(databaseUrl, `SELECT id, name FROM collection WHERE pool_id = ${pool?.id}`);
    const indexes = await sql(databaseUrl, 'SELECT id, name FROM collection_index');
    const idOf = (rows: typeof indexes, wanted: string) => Number(rows.find((row) => String(row.name) === wanted)?.id);
    return {
      pool: Number(pool?.id),
      revision: Number(pool?.revision),
      of: Object.fromEntries(collections.map((row) => [String(row.name), Number(row.id)])),
      n: idOf(indexes, 'n'),
      serial: idOf(indexes, 'serial'),
    };
  }

  it.each(breaks)('finds that %s', async (_what, statements, kinds, says) => {
    const { found, pools } = await examined(statements(await ids()));
    expect(pools).toBe(2);
    expect(found.map(({ kind }) => kind)).toEqual(expect.arrayContaining([...kinds]));
    expect(found.map(({ detail, advice }) => `${detail} ${advice}`).join('\n')).toContain(says);
    expect(found.every(({ detail, advice }) => detail !== '' && advice !== '')).toBe(true);
  });

  it('finds nothing where nothing is broken, half built or being removed', async () => {
    await heal();
    expect(await doctor()).toMatchObject({
      code: 0,
      out: '',
      err: expect.stringMatching(/^Nothing found in 2 pools\.$/m),
    });
    const { n } = await ids();
    await sql(
      databaseUrl,
      "UPDATE pool SET name = NULL WHERE name = 'other'",
      'DELETE FROM commit_log WHERE pool_id = (SELECT id FROM pool WHERE name IS NULL)',
      `DELETE FROM item_index WHERE index_id = ${n} AND item_key = 'd'`,
      `UPDATE collection_index SET state = 'building', built_to = 'b' WHERE id = ${n}`,
    );
    expect(await doctor('--json')).toMatchObject({
      code: 0,
      out: '',
      err: expect.stringMatching(/^Nothing found in 1 pool\.$/m),
    });
  });

  it('prints findings as lines, of words or of JSON', async () => {
    await heal();
    const { of } = await ids();
    await sql(databaseUrl, `UPDATE collection SET items = items + 1 WHERE id = ${of.things}`);
    const words = await doctor();
    expect(words.code).toBe(1);
    expect(words.err).toMatch(/^1 finding in 2 pools \(collectionCount 1\)\.$/m);
    expect(words.out).toBe(
      `collectionCount in pool "demo", collection "things": It says that it has 4 items, and has 3. With every node stopped: UPDATE collection SET items = 3 WHERE id = ${of.things}\n`,
    );
    const json = await doctor('--json');
    expect(json.code).toBe(1);
    expect(JSON.parse(json.out)).toEqual({
      kind: 'collectionCount',
      pool: 'demo',
      collection: 'things',
      detail: 'It says that it has 4 items, and has 3.',
      advice: `With every node stopped: UPDATE collection SET items = 3 WHERE id = ${of.things}`,
    });
  });

  it('tells a hundred of a kind, and how many more there are', async () => {
    await heal();
    const { pool, of } = await ids();
    await sql(databaseUrl, `DELETE FROM item WHERE pool_id = ${pool} AND collection_id = ${of.plain}`);
    const { code, out, err } = await doctor();
    expect([code, out.match(/^itemMissing in pool "demo", collection "plain", key "b\d+": /gm)?.length]).toEqual([
      1, 100,
    ]);
    expect(err).toContain('itemMissing 150');
    expect(err).toContain('50 of them were not told one by one.');
  });
});
