/** Items as rows of text that fit a width: one column for the key, one for each attribute, the rest cut off with `…`. Pure. */

export interface Row {
  readonly key: string;
  readonly attributes: Readonly<Record<string, unknown>>;
}

/** So many characters a value has at least, where there is room for several columns. */
const COLUMN_MIN = 6;
const COLUMN_MAX = 40;
const GAP = '  ';

/** The attributes of the rows, in the order in which they are met. */
export function columnsOf(rows: readonly Row[]): string[] {
  const names = new Set<string>();
  for (const { attributes } of rows) for (const name of Object.keys(attributes)) names.add(name);
  return [...names];
}

/** The lines of the table, the first one its head. Columns for which there is no room are left out, and `…` stands at the end of the head. */
export function tableOf(rows: readonly Row[], columns: readonly string[], width: number): string[] {
  const head = ['key', ...columns];
  const cells = rows.map(({ key, attributes }) => [
    shown(key),
    ...columns.map((name) => cellOf(attributeOf(attributes, name))),
  ]);
  const widths = head.map((name, index) =>
    Math.min(COLUMN_MAX, Math.max(lengthOf(shown(name)), ...cells.map((row) => lengthOf(row[index] ?? '')))),
  );
  let used = 0;
  let kept = 0;
  for (const [index, wanted] of widths.entries()) {
    const room = width - used - (index === 0 ? 0 : GAP.length);
    if (index > 0 && room < Math.min(wanted, COLUMN_MIN)) break;
    widths[index] = Math.max(1, Math.min(wanted, room));
    used += (widths[index] as number) + (index === 0 ? 0 : GAP.length);
    kept++;
  }
  const line = (row: readonly string[]) =>
    row
      .slice(0, kept)
      .map((cell, index) => fitted(cell, widths[index] as number))
      .join(GAP)
      .trimEnd();
  const isCut = kept < head.length;
  return [`${line(head.map(shown))}${isCut ? ' …' : ''}`, ...cells.map(line)];
}

/** Of an attribute, which may be called as something that every object has. */
export function attributeOf(attributes: Row['attributes'], name: string): unknown {
  return Object.hasOwn(attributes, name) ? attributes[name] : undefined;
}

/** A value in one line: a text as it is, anything else as JSON; nothing where it is missing. */
export function cellOf(value: unknown): string {
  if (value === undefined) return '';
  return shown(typeof value === 'string' ? value : JSON.stringify(value));
}

/** What comes from others must not command the terminal: control and invisible characters are shown as escapes. */
export function shown(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (one) => {
    if (one === '\n') return '\\n';
    if (one === '\t') return '\\t';
    return `\\u{${(one.codePointAt(0) as number).toString(16)}}`;
  });
}

/** The same of several lines. */
export function shownLines(text: string): string {
  return text.split('\n').map(shown).join('\n');
}

function fitted(text: string, width: number): string {
  const length = lengthOf(text);
  if (length <= width) return text + ' '.repeat(width - length);
  let cut = '';
  let at = 0;
  for (const one of text) {
    const size = sizeOf(one);
    if (at + size > width - 1) break;
    cut += one;
    at += size;
  }
  return `${cut}…${' '.repeat(width - 1 - at)}`;
}

function lengthOf(text: string): number {
  let length = 0;
  for (const one of text) length += sizeOf(one);
  return length;
}

/** How many places of a terminal a character takes: none for those that stand over another, two for those of East Asia and emoji. */
function sizeOf(one: string): number {
  if (/\p{M}/u.test(one)) return 0;
  return /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u.test(
    one,
  )
    ? 2
    : 1;
}
