/**
 * Wakes as text: JSON, with the log's rows as arrays in the order of ROW. What is not as it should be is no wake; nodes of other
 * versions may be on the bus, so the version stands in front.
 */
import type { Wake } from '../engine/hints.js';
import type { LogRow } from '../engine/ports.js';

const VERSION = 1;

const ROW = [
  'revision',
  'ordinal',
  'collectionId',
  'key',
  'op',
  'changed',
  'before',
  'after',
  'createdRevision',
  'formerRevision',
  'formerCreatedRevision',
  'subject',
  'time',
  'reason',
  'trace',
] as const satisfies readonly (keyof LogRow)[];

/** A row that isn't named above would be lost on the way. */
type Missing = Exclude<keyof LogRow, (typeof ROW)[number]>;
const complete: [Missing] extends [never] ? true : Missing = true;
void complete;

/** The rows are left out where they would make it longer than `bytesMax`. */
export function encodeWake(from: string, { poolId, epoch, revision, rows }: Wake, bytesMax: number): string {
  let bytes = 0;
  for (const row of rows) bytes += row.changed.length + row.before.length + (row.after?.length ?? 0) + 200;
  const sent = bytes > bytesMax ? [] : rows.map((row) => ROW.map((name) => row[name]));
  return JSON.stringify([VERSION, from, poolId, epoch, revision ?? null, sent]);
}

/** Who sent it, and the wake; without it where this version can't read it. */
export function decodeWake(text: string): { from: string | undefined; wake: Wake | undefined } {
  try {
    const [version, from, poolId, epoch, revision, rows] = JSON.parse(text) as unknown[];
    if (typeof from !== 'string') return { from: undefined, wake: undefined };
    const isWake =
      version === VERSION &&
      Number.isSafeInteger(poolId) &&
      typeof epoch === 'string' &&
      (revision === null || Number.isSafeInteger(revision)) &&
      Array.isArray(rows) &&
      rows.every((row) => Array.isArray(row) && row.length === ROW.length);
    if (!isWake) return { from, wake: undefined };
    return {
      from,
      wake: {
        poolId: poolId as number,
        epoch,
        revision: (revision as number | null) ?? undefined,
        rows: rows.map(rowOf),
      },
    };
  } catch {
    return { from: undefined, wake: undefined };
  }
}

function rowOf(values: unknown[]): LogRow {
  const row = Object.fromEntries(ROW.map((name, i) => [name, values[i]]));
  return { ...row, trace: row.trace ?? undefined } as unknown as LogRow;
}
