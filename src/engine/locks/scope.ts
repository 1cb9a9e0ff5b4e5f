/**
 * What a lock lies on. A scope is what a client names, as JSON; a region is the same ready to be compared: a range of keys
 * of one collection or of all, and all attributes or some. Pure.
 */
import { type ErrorCode, Problem } from '../errors.js';
import { limits } from '../limits.js';
import { compareKeys, type KeyRange, rangeOf } from '../state/key-order.js';
import { checkAttributeName, checkItemKey, checkName } from '../state/names.js';

/** `{}` is the whole pool. Attributes without a collection are those of that name everywhere. */
export interface Scope {
  collection?: string;
  /** One item; not together with a prefix or a range. */
  key?: string;
  prefix?: string;
  start?: string;
  end?: string;
  attributes?: readonly string[];
}

export interface Region {
  /** Undefined: every collection, those of the system among them. */
  readonly collection: string | undefined;
  /** Never empty. */
  readonly range: KeyRange;
  /** Undefined: all of them, and that the item is there. */
  readonly attributes: ReadonlySet<string> | undefined;
}

export function regionOf(scope: Scope): Region {
  const { collection, key, attributes } = scope;
  return {
    collection,
    // The smallest string above a key is the key and a NUL.
    range: key === undefined ? rangeOf(scope) : { start: key, end: `${key}\0` },
    attributes: attributes && new Set(attributes),
  };
}

/** The key of a region that is one item. */
export function itemKeyOf({ range: { start, end } }: Region): string | undefined {
  return start !== undefined && end === `${start}\0` ? start : undefined;
}

/** Whether there can be something that lies in both. */
export function overlap(a: Region, b: Region): boolean {
  if (a.collection !== undefined && b.collection !== undefined && a.collection !== b.collection) return false;
  return endsAfter(a.range, b.range) && endsAfter(b.range, a.range) && shareAttributes(a, b);
}

/** Whether regions that lie on the same items lie on the same of their attributes too. */
export function shareAttributes({ attributes: a }: Region, { attributes: b }: Region): boolean {
  if (!a || !b) return true;
  // A write names few, and a lock may name many.
  const [few, many] = a.size <= b.size ? [a, b] : [b, a];
  for (const name of few) if (many.has(name)) return true;
  return false;
}

/** Whether all that lies in the inner scopes lies in the outer ones, if only in several together. */
export function coverTogether(outer: readonly Scope[], inner: readonly Scope[]): boolean {
  const regions = outer.map(regionOf);
  return inner.every((scope) => cover(regions, regionOf(scope)));
}

/** Whether all that lies in the region lies in the others together. */
export function cover(outer: readonly Region[], { collection, range, attributes }: Region): boolean {
  const around = outer.filter((each) => each.collection === undefined || each.collection === collection);
  if (!attributes) return coverRange(around.filter((each) => !each.attributes).map(rangeIn), range);
  for (const name of attributes) {
    const ranges = around.filter((each) => each.attributes?.has(name) ?? true).map(rangeIn);
    if (!coverRange(ranges, range)) return false;
  }
  return true;
}

/**
 * @param pointer leads to the list in the request
 * @throws Problem 400 `badRequest` or `invalidName` at the first fault
 */
export function checkScopes(scopes: readonly Scope[], pointer: string): void {
  checkLength(scopes, limits.lockScopesMax, 'scopes', pointer);
  if (Buffer.byteLength(JSON.stringify(scopes)) > limits.lockScopesBytesMax)
    throw fault(pointer, `must be at most ${limits.lockScopesBytesMax} bytes of JSON.`, 'tooLarge');
  for (const [i, scope] of scopes.entries()) checkScope(scope, `${pointer}/${i}`);
  const names = scopes.reduce((sum, { attributes }) => sum + (attributes?.length ?? 0), 0);
  if (names > limits.attributesMax)
    throw fault(pointer, `must name at most ${limits.attributesMax} attributes in all, not ${names}.`);
}

function checkScope(scope: Scope, pointer: string): void {
  if (scope.collection === undefined) checkBare(scope, pointer);
  else checkAt(`${pointer}/collection`, () => checkName('collection', scope.collection as string));
  if (scope.key !== undefined) checkItem(scope, scope.key, pointer);
  for (const bound of BOUNDS) checkBound(scope[bound], `${pointer}/${bound}`);
  checkNotEmpty(scope, pointer);
  if (scope.attributes) checkAttributes(scope.attributes, `${pointer}/attributes`);
}

const BOUNDS = ['prefix', 'start', 'end'] as const;
const CONTROL = /\p{Cc}/u;

function checkBare(scope: Scope, pointer: string): void {
  for (const member of ['key', ...BOUNDS] as const) {
    if (scope[member] !== undefined) throw fault(`${pointer}/${member}`, 'needs a collection beside it.');
  }
}

function checkItem(scope: Scope, key: string, pointer: string): void {
  checkAt(`${pointer}/key`, () => checkItemKey(key));
  const other = BOUNDS.find((bound) => scope[bound] !== undefined);
  if (other) throw fault(`${pointer}/${other}`, 'and a key exclude each other: a scope is one item or many.');
}

/** What is longer than a key, or has what no key can have, bounds nothing. */
function checkBound(bound: string | undefined, pointer: string): void {
  if (bound === undefined) return;
  if (Buffer.byteLength(bound) <= limits.itemKeyBytesMax && bound.isWellFormed() && !CONTROL.test(bound)) return;
  const detail = `must be at most ${limits.itemKeyBytesMax} bytes of UTF-8 without control characters.`;
  throw fault(pointer, detail, 'invalidName');
}

function checkNotEmpty(scope: Scope, pointer: string): void {
  const { start, end } = rangeOf(scope);
  if (end === undefined || compareKeys(start ?? '', end) < 0) return;
  const at = scope.end === undefined ? 'start' : 'end';
  throw fault(`${pointer}/${at}`, 'leaves no keys: `start` must lie before `end`, and a prefix among them.');
}

function checkAttributes(names: readonly string[], pointer: string): void {
  checkLength(names, limits.attributesMax, 'attributes', pointer);
  for (const [i, name] of names.entries()) checkAt(`${pointer}/${i}`, () => checkAttributeName(name));
}

function checkLength(list: readonly unknown[], max: number, what: string, pointer: string): void {
  if (list.length === 0 || list.length > max) throw fault(pointer, `must be 1 to ${max} ${what}, not ${list.length}.`);
}

/** Runs a check of names.ts and says where in the request its fault lies. */
function checkAt(pointer: string, check: () => void): void {
  try {
    check();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const { code, detail } = error;
    throw new Problem(code, detail, { errors: [{ pointer, code, detail }] });
  }
}

function fault(pointer: string, detail: string, code: ErrorCode = 'badRequest'): Problem {
  return new Problem(code, `${pointer} ${detail}`, { errors: [{ pointer, code, detail }] });
}

function endsAfter(a: KeyRange, b: KeyRange): boolean {
  return a.end === undefined || compareKeys(a.end, b.start ?? '') > 0;
}

function rangeIn({ range }: Region): KeyRange {
  return range;
}

/** From the lowest on: whether the ranges leave no gap up to the end. */
function coverRange(ranges: readonly KeyRange[], { start = '', end }: KeyRange): boolean {
  let reached = start;
  for (const range of [...ranges].sort((a, b) => compareKeys(a.start ?? '', b.start ?? ''))) {
    if (compareKeys(range.start ?? '', reached) > 0) return false;
    if (range.end === undefined) return true;
    if (compareKeys(range.end, reached) > 0) reached = range.end;
    if (end !== undefined && compareKeys(reached, end) >= 0) return true;
  }
  return false;
}
