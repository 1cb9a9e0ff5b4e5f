/**
 * Filling a database of MySQL or MariaDB: one transaction empties the tables and fills them. Making and altering tables can't be
 * part of a transaction there, so older tables are made only where there are none, or nothing in them.
 */

import { createConnection, type RowDataPacket } from 'mysql2/promise';
import { dataSourceFor, migrateTables, migrationNames, openMysql } from './data-source.js';
import type { Session } from './dialect.js';
import { countHeld, type Restoring, using } from './restoring.js';
import { tables } from './tables.js';

/** A connection that was just closed may be listed for a moment. */
const ALONE_MS = 2000;

export async function openServerForRestoring(url: string): Promise<Restoring> {
  await checkAlone(url);
  return {
    held: () => held(url),
    load: (schema, work) => load(url, schema, work),
    close: async () => undefined,
  };
}

/** Other connections to the database; without the privilege PROCESS, those of the same user. */
async function checkAlone(url: string): Promise<void> {
  const connection = await createConnection(url);
  try {
    const until = Date.now() + ALONE_MS;
    for (;;) {
      const [[row]] = await connection.query<RowDataPacket[]>(
        'SELECT COUNT(*) AS others FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()',
      );
      if (Number(row?.others) === 0) return;
      if (Date.now() > until)
        throw new Error(
          `STARGUS_DATABASE_URL: others are connected to the database (${row?.others}). Stop every node and whatever else uses it first.`,
        );
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  } finally {
    await connection.end();
  }
}

async function held(url: string): Promise<ReadonlyMap<string, number>> {
  const database = await openMysql(url, false);
  try {
    return await database.read(async (session) => countHeld(session, await presentTables(session)));
  } finally {
    await database.close();
  }
}

async function presentTables(session: Session): Promise<ReadonlySet<string>> {
  const sql = 'SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE()';
  return new Set((await session.all(sql, [])).map(({ name }) => String(name)));
}

async function load(url: string, schema: string, work: (session: Session) => Promise<void>): Promise<void> {
  const { wasEmpty } = await prepare(url, schema);
  try {
    const database = await openMysql(url, false);
    try {
      await database.write(async (session) => {
        const present = await presentTables(session);
        for (const { name } of tables) if (present.has(name)) await session.write(`DELETE FROM ${name}`, []);
        await work(session);
      });
    } finally {
      await database.close();
    }
    await migrate(url);
  } catch (error) {
    if (wasEmpty) await undo(url);
    throw error;
  }
}

/** Brings the tables to where they were after `schema`. */
async function prepare(url: string, schema: string): Promise<{ wasEmpty: boolean }> {
  const ran = await ranMigrations(url);
  const unknown = ran.find((name) => !migrationNames.includes(name));
  if (unknown !== undefined)
    throw new Error(`The tables of the database are newer than this version of Stargus (${unknown}).`);
  // Where later migrations are to follow, a failure of theirs must find nothing to be lost.
  if (ran.length > 0 && schema !== migrationNames.at(-1)) {
    if ((await held(url)).size > 0)
      throw new Error(
        `The backup is of older tables (${schema}), and the database has tables with something in them. Restore it into an empty database, or one that is dropped and created anew.`,
      );
    await undo(url);
    ran.length = 0;
  }
  await migrate(url, schema);
  return { wasEmpty: ran.length === 0 };
}

async function ranMigrations(url: string): Promise<string[]> {
  const database = await openMysql(url, false);
  try {
    return await database.read(async (session) => {
      if (!(await presentTables(session)).has('migrations')) return [];
      return (await session.all('SELECT name FROM migrations ORDER BY id', [])).map(({ name }) => String(name));
    });
  } finally {
    await database.close();
  }
}

async function migrate(url: string, upTo?: string): Promise<void> {
  await migrateTables(url, 'up', upTo);
}

/** Takes the tables back. */
function undo(url: string): Promise<void> {
  return using(dataSourceFor(url), async (source) => {
    const { length } = await ranMigrations(url);
    for (let i = 0; i < length; i++) await source.undoLastMigration({ transaction: 'each' });
    await source.query('DROP TABLE IF EXISTS migrations');
  });
}
