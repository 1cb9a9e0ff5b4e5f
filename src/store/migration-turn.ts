/**
 * One process at a time migrates the tables of a Galera cluster. Only one node of the database would know of GET_LOCK, so the turn is
 * a row: whoever inserts it has the turn, counts it up while they work, and takes it away. The row of one who died stands
 * still, and after a while another takes it over. Nobody's clock is compared with another's: who waits looks whether the row moves.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import { codeOf } from './dialect-mysql.js';

const BEAT_MS = 1000;
/** So many looks at a row that stands still, one after each beat: a large table that is altered holds up the beats, and the looks too. */
const LOOKS = 30;

const CREATE =
  'CREATE TABLE IF NOT EXISTS migration_turn (id int PRIMARY KEY, holder varchar(36) NOT NULL, beats bigint NOT NULL)';
/** What is said of a turn that another has taken, or given back, at the same time. */
const TAKEN = new Set(['ER_DUP_ENTRY', 'ER_LOCK_DEADLOCK', 'ER_NO_SUCH_TABLE']);

export async function inTurn<T>(source: DataSource, work: () => Promise<T>): Promise<T> {
  const holder = randomUUID();
  await take(source, holder);
  let isMine = true;
  let beating: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    beating = beating.then(async () => {
      const sql = 'UPDATE migration_turn SET beats = beats + 1 WHERE holder = ?';
      // One that fails is made good by the next.
      const answer = await source.query(sql, [holder]).catch(() => undefined);
      if (!isMine || (answer as { affectedRows: number } | undefined)?.affectedRows !== 0) return;
      // This process stood still for so long that it was taken for dead: whatever it would still do is another's to do.
      isMine = false;
      await source.destroy();
    });
  }, BEAT_MS);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    await beating;
    if (isMine) await source.query('DROP TABLE migration_turn');
  }
}

async function take(source: DataSource, holder: string): Promise<void> {
  let last: string | undefined;
  for (let looks = 0; ; ) {
    try {
      await source.query(CREATE);
      await source.query('INSERT INTO migration_turn VALUES (1, ?, 0)', [holder]);
      return;
    } catch (error) {
      if (!TAKEN.has(codeOf(error))) throw error;
    }
    await sleep(BEAT_MS);
    const rows = await source.query('SELECT holder, beats FROM migration_turn').catch((error) => {
      if (TAKEN.has(codeOf(error))) return [];
      throw error;
    });
    const [row] = rows as { holder: string; beats: number }[];
    const seen = row && `${row.holder} ${row.beats}`;
    looks = seen === last ? looks + 1 : 0;
    last = seen;
    if (!row || looks < LOOKS) continue;
    const sql = 'UPDATE migration_turn SET holder = ?, beats = 0 WHERE holder = ? AND beats = ?';
    const { affectedRows } = (await source.query(sql, [holder, row.holder, row.beats])) as { affectedRows: number };
    if (affectedRows === 1) return;
  }
}
