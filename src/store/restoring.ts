/**
 * A database that is filled from a backup. Nobody else may use it meanwhile, and nothing is seen of what is loaded before all of
 * it is there: what fails, or is killed, leaves the database as it was.
 */
import type { DataSource } from 'typeorm';
import type { Session } from './dialect.js';
import { tables } from './tables.js';

export interface Restoring {
  /** How many rows the tables have whose rows an operator would miss, by table; those with none left out. */
  held(): Promise<ReadonlyMap<string, number>>;
  /**
   * Replaces everything by what `work` inserts into empty tables as they were after the migration `schema`; then the later migrations
   * are run.
   */
  load(schema: string, work: (session: Session) => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

/** How many rows those of the `present` tables have whose rows an operator would miss. */
export async function countHeld(session: Session, present: ReadonlySet<string>): Promise<ReadonlyMap<string, number>> {
  const held = new Map<string, number>();
  for (const { name, told } of tables) {
    if (told === undefined || !present.has(name)) continue;
    // A pool that was dropped is nobody's loss, though its rows may still be there.
    const living =
      name === 'pool'
        ? ' WHERE name IS NOT NULL'
        : name === 'item'
          ? ' WHERE pool_id IN (SELECT id FROM pool WHERE name IS NOT NULL)'
          : '';
    const [row] = await session.all(`SELECT COUNT(*) AS n FROM ${name}${living}`, []);
    if (Number(row?.n) > 0) held.set(name, Number(row?.n));
  }
  return held;
}

/** Does something on a connection of its own, which ends with it. */
export async function using(source: DataSource, work: (source: DataSource) => Promise<void>): Promise<void> {
  await source.initialize();
  try {
    await work(source);
  } finally {
    await source.destroy();
  }
}
