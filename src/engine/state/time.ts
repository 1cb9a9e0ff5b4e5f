/** Times as an attribute says them. Pure: the same on every machine, whatever its zone. */
import type { Json } from './json.js';

const RFC3339 = /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(\.\d+)?(?:[Zz]|([+-])(\d\d):(\d\d))$/;
const MINUTE_MS = 60_000;

/**
 * Milliseconds since 1970, of a number of them or of an RFC 3339 text. Undefined for anything else: what has no such time is
 * never over.
 */
export function timeOf(value: Json | undefined): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  const match = typeof value === 'string' ? RFC3339.exec(value) : null;
  if (!match) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as Six;
  const [fraction = '', sign = '+', zoneHour = '0', zoneMinute = '0'] = match.slice(7);
  const zone = Number(zoneHour) * 60 + Number(zoneMinute);
  const isTime = hour < 24 && minute < 60 && second <= 60 && Number(zoneHour) < 24 && Number(zoneMinute) < 60;
  if (!isTime || !isDate(year, month, day)) return undefined;
  // A leap second is as long as the one after it.
  const utc = dayStart(year, month, day) + (hour * 60 + minute) * MINUTE_MS + second * 1000;
  return utc + Math.floor(Number(`0${fraction}`) * 1000) - (sign === '-' ? -zone : zone) * MINUTE_MS;
}

type Six = [number, number, number, number, number, number];

function isDate(year: number, month: number, day: number): boolean {
  const date = new Date(dayStart(year, month, day));
  return date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
}

/** `Date.UTC` takes the years before 100 for those of the last century. */
function dayStart(year: number, month: number, day: number): number {
  return new Date(0).setUTCFullYear(year, month - 1, day);
}
