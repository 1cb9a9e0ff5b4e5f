/**
 * The tables: migrations go up, down and up again on every database, what they make is what src/store/rows.ts describes,
 * and a SQLite database is one process's at a time.
 */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { describe, expect, test } from 'vitest';
import { dataSourceFor, openDatabase } from '../../src/store/data-source.js';
import { createDatabase, databases, startServer } from '../support/server.js';
import { Book, openStore } from './book.js';

const PROGRAM = path.resolve(import.meta.dirname, '../../dist/server/main.js');

describe.each(databases)('the tables on $name', ({ name }) => {
  test('go up, down and up again, and are the same again', async () => {
    const source = await dataSourceFor(await createDatabase(name)).initialize();
    try {
      const migrations = (await source.runMigrations({ transaction: 'each' })).length;
      expect(migrations).toBeGreaterThan(0);
      const first = await describeTables(source);
      expect(Object.keys(first)).toEqual(
        expect.arrayContaining(['collection', 'commit_log', 'item', 'pool', 'stored_answer']),
      );
      for (let i = 0; i < migrations; i++) await source.undoLastMigration({ transaction: 'each' });
      expect(Object.keys(await describeTables(source))).toEqual([]);
      expect(await source.runMigrations({ transaction: 'each' })).toHaveLength(migrations);
      expect(await describeTables(source)).toEqual(first);
      expect(await source.runMigrations({ transaction: 'each' })).toEqual([]);
    } finally {
      await source.destroy();
    }
  });

  test('are what the entities say', async () => {
    const { options } = dataSourceFor(await createDatabase(name));
    // By this name TypeORM knows that MariaDB calls the absence of a default NULL.
    const source = await new DataSource(
      name === 'mariadb' ? ({ ...options, type: 'mariadb' } as DataSourceOptions) : options,
    ).initialize();
    try {
      await source.runMigrations({ transaction: 'each' });
      const { upQueries } = await source.driver.createSchemaBuilder().log();
      expect(upQueries.map(({ query }) => query)).toEqual([]);
      const entities = source.entityMetadatas.map(({ tableName, columns }) => [
        tableName,
        columns.map(({ databaseName }) => databaseName).sort(),
      ]);
      const tables = await describeTables(source);
      expect(Object.fromEntries(entities)).toEqual(
        Object.fromEntries(Object.entries(tables).map(([table, columns]) => [table, Object.keys(columns).sort()])),
      );
      for (const { tableName, columns } of source.entityMetadatas) {
        for (const { databaseName, isNullable } of columns)
          expect([tableName, databaseName, tables[tableName]?.[databaseName]?.nullable]).toEqual([
            tableName,
            databaseName,
            isNullable,
          ]);
      }
    } finally {
      await source.destroy();
    }
  });

  test('are there again with everything in them when the database is opened anew', async () => {
    const { store, url } = await openStore(name);
    const book = await Book.open(store, 'kept');
    await book.commit([['k', '{"n":1}']]);
    await store.close();
    const again = await openStore(name, url);
    try {
      expect((await again.store.pool('kept'))?.head).toMatchObject({ revision: 1, epoch: 'epoch-kept' });
      expect((await again.store.items(book.id, [book.place('k')])).items[0]?.json).toBe('{"n":1}');
    } finally {
      await again.store.close();
    }
  });
});

test('several nodes may open a new MariaDB database at once', async () => {
  const url = await createDatabase('mariadb');
  const nodes = await Promise.all(Array.from({ length: 4 }, () => openStore('mariadb', url)));
  await Book.open((nodes[0] as (typeof nodes)[0]).store, 'first');
  for (const { store } of nodes) {
    expect((await store.pool('first'))?.head.name).toBe('first');
    await store.close();
  }
});

describe.each(databases)('on $name', ({ name }) => {
  test('tables of a later version are refused with a sentence, and left as they are', async () => {
    const url = await createDatabase(name);
    await (await openDatabase({ url, migrate: true })).close();
    const source = await dataSourceFor(url).initialize();
    await source.query("INSERT INTO migrations (timestamp, name) VALUES (9999999999999, 'Later9999999999999')");
    const refusal =
      /STARGUS_DATABASE_URL: .+ newer than this version of Stargus \(Later9999999999999\)\. Start the version/;
    for (const migrate of [true, false]) await expect(openDatabase({ url, migrate })).rejects.toThrow(refusal);
    await source.query("DELETE FROM migrations WHERE name = 'Later9999999999999'");
    await source.destroy();
    await (await openDatabase({ url, migrate: true })).close();
  });
});

test.each([
  ['STARGUS_PORT', '99999'],
  ['STARGUS_ROLE', 'worker'],
  ['STARGUS_REDIS_URL', 'http://localhost:6379'],
  ['STARGUS_DATABASE_URL', 'postgres://localhost/stargus'],
])('a configuration that is not right (%s=%s) ends the program with 78 and names the variable', (variable, text) => {
  const { status, stderr } = spawnSync(process.execPath, [PROGRAM], {
    env: { PATH: process.env.PATH, [variable]: text },
    encoding: 'utf8',
    timeout: 20_000,
  });
  expect(stderr).toContain(variable);
  expect(status).toBe(78);
});

describe('a SQLite database', () => {
  test('that another process has is refused with a sentence that says so', async () => {
    const server = await startServer({ database: 'sqlite' });
    const refusal = /STARGUS_DATABASE_URL: the SQLite database .+ is in use by another Stargus process\. Stop that one/;
    await expect(openDatabase({ url: server.databaseUrl, migrate: true })).rejects.toThrow(refusal);
    const second = spawnSync(process.execPath, [PROGRAM], {
      env: { ...process.env, STARGUS_DATABASE_URL: server.databaseUrl, STARGUS_PORT: '0' },
      encoding: 'utf8',
      timeout: 20_000,
    });
    expect(second.status).toBe(1);
    expect(second.stderr).toMatch(refusal);
    // The one that has it isn't disturbed, and leaves it free, however it ends.
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
    await server.kill();
    const third = await startServer({ database: 'sqlite', databaseUrl: server.databaseUrl });
    expect((await third.stop()).code).toBe(0);
    await (await openDatabase({ url: server.databaseUrl, migrate: true })).close();
  });

  test('waits for the disk at each commit', async () => {
    const source = await dataSourceFor(await createDatabase('sqlite')).initialize();
    try {
      expect(await source.query('PRAGMA synchronous')).toEqual([{ synchronous: 2 }]);
      expect(await source.query('PRAGMA journal_mode')).toEqual([{ journal_mode: 'wal' }]);
    } finally {
      await source.destroy();
    }
  });
});

type Tables = Record<string, Record<string, { type: string; nullable: boolean }>>;

/** The columns of every table but TypeORM's own. */
async function describeTables(source: DataSource): Promise<Tables> {
  const sqlite = source.options.type === 'better-sqlite3';
  const sql = sqlite
    ? "SELECT m.name AS tab, c.name AS col, c.type AS type, c.\"notnull\" = 0 AS nullable FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'"
    : "SELECT table_name AS tab, column_name AS col, column_type AS type, is_nullable = 'YES' AS nullable FROM information_schema.columns WHERE table_schema = DATABASE()";
  const tables: Tables = {};
  for (const { tab, col, type, nullable } of (await source.query(sql)) as {
    tab: string;
    col: string;
    type: string;
    nullable: number;
  }[]) {
    if (tab === 'migrations') continue;
    tables[tab] = { ...tables[tab], [col]: { type, nullable: Number(nullable) === 1 } };
  }
  return tables;
}
