/** Every table is known to backups, and walking through a table meets each of its rows once. */
import { describe, expect, test } from 'vitest';
import { openDatabase } from '../../src/store/data-source.js';
import { tables, treatedTables } from '../../src/store/tables.js';
import { distinct, walk } from '../../src/store/walk.js';
import { sql } from '../support/database.js';
import { createDatabase, type DatabaseName, databases } from '../support/server.js';

const LIST = {
  sqlite: "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
  mariadb: 'SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE()',
} satisfies Record<DatabaseName, string>;

describe.each(databases)('tables on $name', ({ name }) => {
  test('each says what becomes of its rows in a backup, in src/store/tables.ts', async () => {
    const url = await createDatabase(name);
    await (await openDatabase({ url, migrate: true })).close();
    const present = (await sql(url, LIST[name]))
      .map((row) => String(row.name))
      .filter((table) => table !== 'migrations');
    expect([...treatedTables].sort()).toEqual(present.sort());
    for (const { name: table, columns, key } of tables) {
      expect([table, columns.length > 0, key.length > 0]).toEqual([table, true, true]);
      expect(columns).toEqual(expect.arrayContaining([...key]));
    }
  });

  test('a walk meets each row once, in the order of the key, within a group and after a place', async () => {
    const url = await createDatabase(name);
    const database = await openDatabase({ url, migrate: true });
    const columns = ['pool_id', 'revision', 'ordinal'];
    const rest = ['collection_id', 'item_key', 'op', 'changed', 'before_values', 'created_revision', 'subject', 'time'];
    const rows = [1, 2, 7].flatMap((pool) =>
      Array.from({ length: 400 }, (_, r) => r + 1).flatMap((revision) =>
        Array.from({ length: revision % 5 }, (_, ordinal) => [pool, revision, ordinal]),
      ),
    );
    await database.write((session) =>
      session.insert(
        'commit_log',
        [...columns, ...rest],
        rows.map((row) => [...row, 1, 'k', 'add', '[]', '{}'.padEnd(20_000), 1, 's', 0]),
      ),
    );
    const met = (within: number[], after?: number[]) =>
      database.scan(async (session) => {
        const found: unknown[][] = [];
        const all = [...columns, 'before_values'];
        for await (const page of walk(session, { table: 'commit_log', columns: all, key: columns, within, after }))
          found.push(...page.map((row) => columns.map((column) => row[column])));
        return found;
      });
    try {
      expect(await met([])).toEqual(rows);
      expect(await met([2])).toEqual(rows.filter(([pool]) => pool === 2));
      expect(await met([7, 399])).toEqual(rows.filter(([pool, revision]) => pool === 7 && revision === 399));
      expect(await met([3])).toEqual([]);
      const isAfter = ([pool = 0, revision = 0, ordinal = 0]: number[]) =>
        pool === 2 && (revision > 198 || (revision === 198 && ordinal > 1));
      expect(await met([2], [198, 1])).toEqual(rows.filter(isAfter));
      const pools = await database.scan(async (session) => {
        const found: unknown[] = [];
        for await (const id of distinct(session, { table: 'commit_log', key: columns })) found.push(id);
        return found;
      });
      expect(pools).toEqual([1, 2, 7]);
    } finally {
      await database.close();
    }
  });
});
