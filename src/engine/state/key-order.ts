/**
 * The order of item keys: by their UTF-8 bytes, which is the order of code points. JavaScript compares UTF-16 units,
 * where surrogates sort below U+E000 to U+FFFF; databases compare bytes. Both must agree for ranges and pages.
 */

/** Negative, zero or positive, as for Array.sort. */
export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return rank(x) - rank(y);
  }
  return a.length - b.length;
}

/** Surrogates stand for code points above U+FFFF, so they rank above every other unit. */
function rank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}

/** The smallest string above every string that begins with `prefix`; undefined where there is none. */
export function prefixEnd(prefix: string): string | undefined {
  const points = Array.from(prefix);
  while (points.length > 0) {
    const point = (points.pop() as string).codePointAt(0) as number;
    if (point < 0x10ffff) return points.join('') + String.fromCodePoint(point === 0xd7ff ? 0xe000 : point + 1);
  }
  return undefined;
}

/** A half-open range of keys: `start` inclusive, `end` exclusive; an absent bound is open. */
export interface KeyRange {
  start?: string | undefined;
  end?: string | undefined;
}

/** What a prefix and a range have in common. */
export function rangeOf(where: {
  prefix?: string | undefined;
  start?: string | undefined;
  end?: string | undefined;
}): KeyRange {
  let { start, end } = where;
  if (where.prefix !== undefined && where.prefix !== '') {
    const last = prefixEnd(where.prefix);
    if (start === undefined || compareKeys(where.prefix, start) > 0) start = where.prefix;
    if (last !== undefined && (end === undefined || compareKeys(last, end) < 0)) end = last;
  }
  return { start, end };
}

export function isInRange(key: string, { start, end }: KeyRange): boolean {
  return (start === undefined || compareKeys(key, start) >= 0) && (end === undefined || compareKeys(key, end) < 0);
}
