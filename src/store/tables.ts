/**
 * Every table, and what becomes of its rows in a backup and in what is restored from it. A row comes back into a later time: what
 * counted once may have been used since, what was revoked may look good, and numbers that rise have been given out beyond where the
 * backup knows them. docs/decisions/0015 gives the reasons. A test fails when a table is missing here.
 */
import { limits } from '../engine/limits.js';
import type { Row, Value } from './dialect.js';
import { entitiesFor } from './rows.js';

/** What is restored: when, and how far beyond the backup numbers go on. */
export interface Restoration {
  /** By the database's clock, in ms since 1970. */
  readonly now: number;
  /** Added to every number that rises. */
  readonly leap: number;
  epochOf(poolId: number): string;
}

interface Treatment {
  /** Whether its rows are in a backup. */
  readonly kept: boolean;
  /** Whether this row is, of a table that is kept; `oldest` has the oldest revision of each pool that there is, by its id. */
  readonly has?: (row: Row, oldest: ReadonlyMap<number, number>) => boolean;
  /** Columns of numbers that rise and were given out: they go on beyond all that may have been given out since the backup. */
  readonly rising?: readonly string[];
  /** Whatever else changes of a row. A column may be missing, in a backup of older tables. */
  readonly restored?: (row: Row, restoration: Restoration) => Row;
  /** What one of its rows and many are to an operator, where a database that has some isn't empty. */
  readonly told?: readonly [one: string, many: string];
}

export interface Table extends Treatment {
  readonly name: string;
  readonly columns: readonly string[];
  /** The columns of its primary key. */
  readonly key: readonly string[];
  /** Columns that hold bytes which are no text. */
  readonly binary: ReadonlySet<string>;
}

const ofLivingPool = (row: Row, oldest: ReadonlyMap<number, number>) => oldest.has(row.pool_id as number);

const treatments: Readonly<Record<string, Treatment>> = {
  pool: {
    kept: true,
    has: (row) => row.name !== null,
    rising: ['revision', 'oldest_revision'],
    restored: (row, { epochOf }) => ({ ...row, epoch: epochOf(row.id as number) }),
    told: ['pool', 'pools'],
  },
  collection: { kept: true, has: ofLivingPool, rising: ['revision'] },
  // Before the items, whose entries are made anew when they are loaded.
  collection_index: { kept: true, has: (row, oldest) => ofLivingPool(row, oldest) && row.state !== 'dropped' },
  item: { kept: true, has: ofLivingPool, rising: ['revision', 'created_revision'], told: ['item', 'items'] },
  item_index: { kept: false },
  commit_log: {
    kept: true,
    // Rows before the oldest revision are only waiting for their deletion.
    has: (row, oldest) => (row.revision as number) >= (oldest.get(row.pool_id as number) ?? Number.POSITIVE_INFINITY),
    rising: ['revision', 'created_revision', 'former_revision', 'former_created_revision'],
  },
  stored_answer: { kept: true },
  session: {
    kept: true,
    has: ofLivingPool,
    rising: ['epoch'],
    // No lease outlives the restore; what a client left waits for it as long as after the end of a lease.
    restored: (row, { now }) =>
      Number(row.ended) === 1 ? { ...row, expires_at: now + limits.sessionMemoryMs } : { ...row, expires_at: 0 },
  },
  // Bound to the former life of its pool: whoever asked can't be told of it any more.
  operation: { kept: false },
  notifier: {
    kept: true,
    rising: ['generation', 'told'],
    // It goes on where it was, in the pool's new life; whoever held it is gone.
    restored: (row, { epochOf }) => ({
      ...row,
      epoch: epochOf(row.pool_id as number),
      lease_holder: null,
      lease_until: 0,
    }),
    told: ['notifier', 'notifiers'],
  },
  notifier_delivery: { kept: true, rising: ['revision'] },
  session_answer: { kept: true, has: ofLivingPool },
  pool_usage: { kept: true, has: ofLivingPool },
  identity_account: { kept: true, told: ['account', 'accounts'] },
  identity_key: { kept: true },
  identity_envelope: { kept: true },
  identity_proof: { kept: true },
  identity_unlock: { kept: true },
  identity_secret: { kept: true },
  // A challenge that was used since would be good a second time.
  login_nonce: { kept: false },
  used_proof: { kept: true },
  // A refresh token that was exchanged or revoked since would be good again.
  login: { kept: false, told: ['login', 'logins'] },
  refresh_token: { kept: false },
  revocation: { kept: true },
  api_key: { kept: true, told: ['API key', 'API keys'] },
  // With the keys go the access tokens that were revoked since; and the file has no private key.
  signing_key: { kept: false },
};

/** All tables, in the order in which they are written and loaded. */
export const tables: readonly Table[] = shapes();

export const tableByName: ReadonlyMap<string, Table> = new Map(tables.map((table) => [table.name, table]));

export const treatedTables: readonly string[] = Object.keys(treatments);

/** The columns and keys as the entities have them. */
function shapes(): Table[] {
  const entities = new Map(entitiesFor('better-sqlite3').map(({ options }) => [options.name, options]));
  return Object.entries(treatments).flatMap(([name, treatment]) => {
    const columns = Object.entries(entities.get(name)?.columns ?? {});
    const namesOf = (condition: (column: { primary?: boolean; type?: unknown }) => boolean) =>
      columns.filter(([, column]) => condition(column as object)).map(([column]) => column);
    return {
      ...treatment,
      name,
      columns: namesOf(() => true),
      key: namesOf(({ primary }) => primary === true),
      binary: new Set(namesOf(({ type }) => type === 'blob')),
    };
  });
}

/** A row as it is restored. */
export function restoredRow({ rising = [], restored }: Table, row: Row, restoration: Restoration): Row {
  const next: Row = { ...row };
  for (const column of rising) {
    const value: Value | undefined = row[column];
    if (typeof value === 'number') next[column] = value + restoration.leap;
  }
  return restored ? restored(next, restoration) : next;
}
