/**
 * Reads rows in statements whose LIMIT follows the size of what came so far, so that a page is bounded in bytes without
 * reading much more than it holds: a thousand small rows are one or two statements, rows of a mebibyte come a few at a time.
 */
import type { Row } from './dialect.js';

const FIRST_LIMIT = 64;
const LIMIT_MAX = 1000;

export interface Bounds {
  readonly rowsMax: number;
  readonly bytesMax: number;
}

/**
 * `fetch` reads at most `limit` rows after the given one (from the start when undefined). Stops with the row that reaches
 * a bound; there is always one row if there are any. `more` is true when further rows may follow.
 */
export async function readBounded(
  fetch: (after: Row | undefined, limit: number) => Promise<Row[]>,
  sizeOf: (row: Row) => number,
  bounds: Bounds,
): Promise<{ rows: Row[]; more: boolean }> {
  const rows: Row[] = [];
  let bytes = 0;
  let limit = Math.min(FIRST_LIMIT, bounds.rowsMax + 1);
  for (;;) {
    const page = await fetch(rows.at(-1), limit);
    for (const row of page) {
      if (rows.length >= bounds.rowsMax) return { rows, more: true };
      rows.push(row);
      bytes += sizeOf(row);
      if (bytes >= bounds.bytesMax) return { rows, more: true };
    }
    if (page.length < limit) return { rows, more: false };
    const mean = Math.max(1, bytes / rows.length);
    const fit = Math.ceil((bounds.bytesMax - bytes) / mean);
    limit = Math.max(1, Math.min(LIMIT_MAX, fit, bounds.rowsMax - rows.length + 1));
  }
}
