/**
 * Functions of the expression language that the library has otherwise than the language: what goes by the clock settings of the machine
 * would judge an item differently on another node, `lowerAscii` is for ASCII, and a duration is read in the cube of its length.
 */

/** Says that a function has no value for its operands; the library's own errors read alike. */
class FunctionError extends Error {}

/** The value of a function as it is done here; undefined where the library does it. */
export function ownFunction(name: string, values: readonly unknown[]): unknown {
  const [first, zone] = values;
  if (typeof first === 'string') {
    if (name === 'lowerAscii') {
      return isAscii(first) ? first.toLowerCase() : first.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
    }
    if (name === 'upperAscii') {
      return isAscii(first) ? first.toUpperCase() : first.replace(/[a-z]+/g, (letters) => letters.toUpperCase());
    }
    if (name === 'timestamp' && !RFC_3339.test(first)) {
      throw new FunctionError('timestamp() takes a time of RFC 3339 with its zone, such as 2026-01-31T08:00:00Z');
    }
    if (name === 'duration') checkDuration(first);
    return undefined;
  }
  if (!(first instanceof Date) || !(name in PARTS)) return undefined;
  const time = zone === undefined ? first : inZone(first, String(zone));
  return BigInt((PARTS[name] as (time: Date) => number)(time));
}

export function isAscii(text: string): boolean {
  return /^[\0-\x7f]*$/.test(text);
}

const RFC_3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;
/** Hours to nanoseconds, each with more digits than it needs. */
const DURATION_LENGTH_MAX = 64;

/** A number with its unit, and others after it. The library looks for each of them in all of the rest, from every place. */
const DURATION = /^[-+]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))+$/;

function checkDuration(text: string): void {
  if (text.length <= DURATION_LENGTH_MAX && DURATION.test(text)) return;
  throw new FunctionError(
    `duration() takes at most ${DURATION_LENGTH_MAX} characters of numbers with units, such as 1h30m`,
  );
}

const DAY_MS = 86_400_000;

const PARTS: Readonly<Record<string, (time: Date) => number>> = Object.assign(Object.create(null), {
  getFullYear: (time: Date) => time.getUTCFullYear(),
  getMonth: (time: Date) => time.getUTCMonth(),
  getDate: (time: Date) => time.getUTCDate(),
  getDayOfMonth: (time: Date) => time.getUTCDate() - 1,
  getDayOfWeek: (time: Date) => time.getUTCDay(),
  getDayOfYear: (time: Date) => Math.floor((time.getTime() - Date.UTC(time.getUTCFullYear(), 0, 1)) / DAY_MS),
  getHours: (time: Date) => time.getUTCHours(),
  getMinutes: (time: Date) => time.getUTCMinutes(),
  getSeconds: (time: Date) => time.getUTCSeconds(),
  getMilliseconds: (time: Date) => time.getUTCMilliseconds(),
});

/** A time whose parts in UTC are those of the given time in the zone. */
function inZone(time: Date, zone: string): Date {
  const [, sign, hours, minutes] = /^([+-]?)(\d\d):(\d\d)$/.exec(zone) ?? [];
  if (hours && minutes) {
    const offset = (Number(hours) * 60 + Number(minutes)) * 60_000;
    return new Date(time.getTime() + (sign === '-' ? -offset : offset));
  }
  let parts: Intl.DateTimeFormatPart[];
  try {
    parts = new Intl.DateTimeFormat('en-US', { ...FIELDS, timeZone: zone }).formatToParts(time);
  } catch {
    throw new FunctionError(`there is no time zone ${JSON.stringify(zone)}`);
  }
  const part = (type: string): number => Number(parts.find((each) => each.type === type)?.value);
  const date = Date.UTC(part('year'), part('month') - 1, part('day'), part('hour'), part('minute'), part('second'));
  return new Date(date + time.getUTCMilliseconds());
}

const FIELDS = {
  hourCycle: 'h23',
  year: 'numeric',
  month: 'numeric',
  day: 'numeric',
  hour: 'numeric',
  minute: 'numeric',
  second: 'numeric',
} as const;
