/** The file of a backup as its lines, so that a test can make one that is wrong in one way and right in all others. */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { gunzipSync, gzipSync } from 'node:zlib';

// biome-ignore lint/suspicious/noExplicitAny: lines of several shapes, which a test alters as it likes.
type Line = any;

/** The lines but the last, which is made anew when they are written. */
export function readArchive(file: string): Line[] {
  const lines = gunzipSync(readFileSync(file)).toString('utf8').trimEnd().split('\n');
  return lines.slice(0, -1).map((line) => JSON.parse(line));
}

/** Writes the lines with a right digest and right counts, unless others are given. */
export function writeArchive(file: string, lines: readonly Line[], end: { rows?: object; sha256?: string } = {}): void {
  const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
  const sha256 = createHash('sha256').update(text).digest('hex');
  writeFileSync(file, gzipSync(`${text}${JSON.stringify({ rows: countRows(lines), sha256, ...end })}\n`));
}

export function countRows(lines: readonly Line[]): Record<string, number> {
  const counts: Record<string, number> = {};
  let table = '';
  for (const line of lines.slice(1)) {
    if (Array.isArray(line)) counts[table] = (counts[table] as number) + 1;
    else {
      table = line.table;
      counts[table] = 0;
    }
  }
  return counts;
}

/** The rows of a table, as a part of the lines that may be altered. */
export function rowsOfTable(lines: readonly Line[], table: string): Line[][] {
  const begin = lines.findIndex((line) => line.table === table) + 1;
  const length = lines.slice(begin).findIndex((line) => !Array.isArray(line));
  return lines.slice(begin, length < 0 ? undefined : begin + length);
}
