/**
 * How an index serves a filter and an order: which ranges of its sort keys hold all items that can match, and whether walking
 * them gives the items in the order that is asked for. Pure; run.ts chooses among what this finds.
 */
import { limits } from '../limits.js';
import type { Json } from '../state/json.js';
import { conjuncts, type FilterNode, type Test } from './filter.js';
import { type Path, samePath } from './path.js';
import { complement, encodePart, encodePrefix, type IndexPart, PART_BYTES_MAX, tagsOf } from './sort-key.js';

/** An index that may be used. */
export interface UsableIndex {
  readonly id: number;
  readonly name: string;
  readonly parts: readonly IndexPart[];
}

export interface OrderTerm {
  readonly path: Path;
  readonly descending: boolean;
}

/** Sort keys from `start` on and before `end`; an absent end is open. */
export interface ByteRange {
  readonly start: Buffer;
  readonly end: Buffer | undefined;
}

export interface IndexAccess {
  readonly index: UsableIndex;
  readonly ranges: readonly ByteRange[];
  /** So many leading parts have one value each, whose encoding all keys of the ranges begin with. */
  readonly fixed: number;
  readonly prefix: Buffer;
  /** So many tests narrow the ranges. */
  readonly tests: number;
  /** The ranges hold what matches the whole filter and nothing else. */
  readonly covers: boolean;
}

export type Direction = 'forward' | 'backward';

/** How the index narrows what the filter's top-level tests allow. `tests` of the answer is 0 where it doesn't. */
export function accessOf(index: UsableIndex, filter: FilterNode | undefined): IndexAccess {
  const all = filter ? conjuncts(filter) : [];
  let prefixes: Buffer[] = [Buffer.alloc(0)];
  let fixed = 0;
  let prefix = Buffer.alloc(0);
  let used = 0;
  let exact = true;
  const access = (ranges: readonly ByteRange[]): IndexAccess => {
    return { index, ranges, fixed, prefix, tests: used, covers: exact && used === all.length };
  };
  for (const part of index.parts) {
    const tests = all.filter((node): node is Test => node.kind === 'test' && isOf(part, node.path));
    const points = pointsOf(tests);
    if (points && points.values.length * prefixes.length <= limits.indexPointsMax) {
      const single = fixed === index.parts.indexOf(part) && points.values.length === 1;
      used += points.tests;
      // Other tests of the same part are left to the evaluator.
      const encoded = points.values.map((value) => encodePart(value, part.descending));
      prefixes = prefixes.flatMap((before) => encoded.map(({ bytes }) => Buffer.concat([before, bytes])));
      if (encoded.some((point) => !point.exact)) {
        exact = false;
        return access(prefixes.map(beginningWith));
      }
      if (single) {
        fixed++;
        prefix = prefixes[0] as Buffer<ArrayBuffer>;
      }
      continue;
    }
    const interval = intervalOf(tests);
    if (!interval) break;
    used += interval.tests;
    exact &&= interval.exact;
    const { low, high } = part.descending && !interval.presence ? turned(interval) : interval;
    return access(
      prefixes.map((before) => ({
        start: place({ ...low, bytes: Buffer.concat([before, low.bytes]) }) as Buffer,
        end: place({ ...high, bytes: Buffer.concat([before, high.bytes]) }),
      })),
    );
  }
  return access(prefixes.map(beginningWith));
}

function beginningWith(bytes: Buffer): ByteRange {
  return { start: bytes, end: bytesAfter(bytes) };
}

/** The direction in which the access gives items in the order asked for, ties by key; undefined where it doesn't. */
export function directionOf(access: IndexAccess, order: readonly OrderTerm[]): Direction | undefined {
  const { index, ranges, fixed } = access;
  if (ranges.length !== 1) return undefined;
  const wanted = order.filter((term) => !isFixed(access, term));
  const rest = index.parts.slice(fixed);
  if (wanted.length !== rest.length || !wanted.every((term, i) => isOf(rest[i] as IndexPart, term.path)))
    return undefined;
  if (wanted.every((term, i) => term.descending === rest[i]?.descending)) return 'forward';
  // Backwards, what is absent would come first: the reader takes it last, which it can for one part.
  return wanted.length === 1 ? 'backward' : undefined;
}

/** Whether the access leads to one value of the term only, so that it orders nothing. */
export function isFixed({ index, fixed }: IndexAccess, { path }: OrderTerm): boolean {
  return index.parts.slice(0, fixed).some((part) => isOf(part, path));
}

function isOf({ tokens }: IndexPart, path: Path): boolean {
  return samePath({ text: '', of: 'attribute', tokens }, path);
}

/** The values that the tests allow, where they name them one by one. */
function pointsOf(tests: readonly Test[]): { values: (Json | undefined)[]; tests: number } | undefined {
  for (const { operator, operand } of tests) {
    if (operator === 'eq') return { values: [operand], tests: 1 };
    if (operator === 'exists' && operand === false) return { values: [undefined], tests: 1 };
  }
  const list = tests.find(({ operator }) => operator === 'in');
  if (!list) return undefined;
  const distinct = new Map(
    (list.operand as Json[]).map((value) => [encodePart(value, false).bytes.toString('latin1'), value]),
  );
  return { values: [...distinct.values()], tests: 1 };
}

/** A place between sort keys: before or after all that begin with the bytes. */
interface Cut {
  readonly bytes: Buffer;
  readonly after: boolean;
}

interface Interval {
  readonly low: Cut;
  readonly high: Cut;
  readonly exact: boolean;
  readonly tests: number;
  /** Only presence is asked for: the interval is the same in either direction. */
  readonly presence: boolean;
}

const ABSENT: Cut = { bytes: Buffer.of(0xff), after: false };
const FIRST: Cut = { bytes: Buffer.alloc(0), after: false };

function intervalOf(tests: readonly Test[]): Interval | undefined {
  let interval: Interval | undefined;
  for (const test of tests) {
    const next = intervalOfTest(test);
    if (!next) continue;
    if (!interval || interval.presence) interval = { ...next, tests: (interval?.tests ?? 0) + 1 };
    else if (next.presence) interval = { ...interval, tests: interval.tests + 1 };
    else {
      interval = {
        low: isBefore(interval.low, next.low) ? next.low : interval.low,
        high: isBefore(next.high, interval.high) ? next.high : interval.high,
        exact: interval.exact && next.exact,
        tests: interval.tests + 1,
        presence: false,
      };
    }
  }
  return interval;
}

function intervalOfTest({ operator, operand }: Test): Omit<Interval, 'tests'> | undefined {
  if (operator === 'exists') return { low: FIRST, high: ABSENT, exact: true, presence: true };
  if (operator === 'prefix') {
    const bytes = encodePrefix(operand as string);
    // A prefix as long as a part may be is cut where strings with it are.
    return {
      low: { bytes, after: false },
      high: { bytes, after: true },
      exact: bytes.length < PART_BYTES_MAX,
      presence: false,
    };
  }
  if (operator !== 'lt' && operator !== 'lte' && operator !== 'gt' && operator !== 'gte') return undefined;
  const { bytes, exact } = encodePart(operand, false);
  const { first, last } = tagsOf(operand);
  // Where the operand was cut, what begins as it does may lie on either side.
  const isUpper = operator === 'lt' || operator === 'lte';
  const after = exact ? operator === 'lte' || operator === 'gt' : isUpper;
  const cut = { bytes, after };
  return isUpper
    ? { low: { bytes: Buffer.of(first), after: false }, high: cut, exact, presence: false }
    : { low: cut, high: { bytes: Buffer.of(last), after: true }, exact, presence: false };
}

function turned({ low, high }: Interval): { low: Cut; high: Cut } {
  const turn = ({ bytes, after }: Cut): Cut => ({ bytes: complement(bytes), after: !after });
  return { low: turn(high), high: turn(low) };
}

function isBefore(a: Cut, b: Cut): boolean {
  const [x, y] = [place(a), place(b)];
  if (!x) return false;
  return !y || x.compare(y) < 0;
}

/** The first key at or after the cut; undefined where none is. */
function place({ bytes, after }: Cut): Buffer | undefined {
  return after ? bytesAfter(bytes) : bytes;
}

/** The first bytes after all that begin with these; undefined where there are none. */
export function bytesAfter(bytes: Buffer): Buffer | undefined {
  let length = bytes.length;
  while (length > 0 && bytes[length - 1] === 0xff) length--;
  if (length === 0) return undefined;
  const next = Buffer.from(bytes.subarray(0, length));
  next[length - 1] = (next[length - 1] as number) + 1;
  return next;
}
