/**
 * What a mirror keeps on a disk, and the checksum by which it is known to be right (docs/CLIENTS.md#the-cache): the XOR of the SHA-256 of each
 * item's line and of one for cursor and number. So a commit costs what it changes, not what there is. Where it is kept is of the platforms.
 */
import type { Entry } from './item.js';

/** `STAR`: marks the file as a cache of Stargus. */
export const APPLICATION_ID = 0x53544152;
export const FORMAT_VERSION = 1;

/** One commit of a cache. */
export interface CacheCommit {
  readonly cursor: string;
  /** How many items there are then. */
  readonly count: number;
  /** Everything there was goes first. */
  readonly isAll: boolean;
  readonly puts: readonly Entry[];
  readonly deletes: readonly string[];
}

export interface CacheContent {
  readonly cursor: string;
  readonly rows: readonly CacheRow[];
}

export interface CacheRow {
  readonly key: string;
  readonly revision: number;
  /** JSON. */
  readonly attributes: string;
}

/** An open cache; this process has it alone until it is closed. */
export interface CacheStore {
  /** What is in it; undefined: nothing, or it was of something else or damaged, and is empty now. */
  load(): Promise<CacheContent | undefined>;
  /** All of it or nothing. One at a time. @throws StargusError `cacheFailed` */
  commit(commit: CacheCommit): Promise<void>;
  close(): Promise<void>;
}

/** @throws StargusError `cacheInUse`, `cacheFailed` */
export type OpenCache = (name: string, view: readonly string[]) => Promise<CacheStore>;

/** SHA-256 of a text's UTF-8. */
export type Sha256 = (text: string) => Uint8Array;

/** What a cache is of, as the list that stands in `view`. The parameters that make another view count, where to begin doesn't. */
export function cacheView(
  url: string,
  pool: string,
  subject: string,
  collection: string,
  query: string,
): readonly string[] {
  return [url, pool, subject, collection, query];
}

export function isSameView(stored: string, view: readonly string[]): boolean {
  try {
    const list: unknown = JSON.parse(stored);
    return Array.isArray(list) && list.length === view.length && view.every((part, index) => list[index] === part);
  } catch {
    return false;
  }
}

export function rowOf(entry: Entry): CacheRow {
  const { key, revision } = entry;
  const attributes = (entry as { attributes?: unknown }).attributes;
  return { key, revision, attributes: attributes === undefined ? '{}' : JSON.stringify(attributes) };
}

/** A checksum that follows what is put and taken. */
export class Checksum {
  readonly #sha256: Sha256;
  readonly #sum: Uint8Array;

  constructor(sha256: Sha256, sum: Uint8Array = new Uint8Array(32)) {
    this.#sha256 = sha256;
    this.#sum = sum;
  }

  /** Takes a row in, or out if it was in. */
  toggle({ key, revision, attributes }: CacheRow): void {
    this.#mix(`${key}\n${revision}\n${attributes}`);
  }

  /** As hexadecimal digits, with cursor and number of items. */
  with(cursor: string, count: number): string {
    const whole = new Checksum(this.#sha256, this.#sum.slice());
    whole.#mix(`${cursor}\n${count}`);
    return [...whole.#sum].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  }

  copy(): Checksum {
    return new Checksum(this.#sha256, this.#sum.slice());
  }

  #mix(text: string): void {
    const digest = this.#sha256(text);
    for (let at = 0; at < 32; at++) this.#sum[at] = (this.#sum[at] as number) ^ (digest[at] as number);
  }
}

/** Whether rows, cursor and checksum belong together. @returns the sum of the rows; undefined: they don't */
export function verified(
  sha256: Sha256,
  rows: readonly CacheRow[],
  cursor: string | undefined,
  checksum: string | undefined,
): Checksum | undefined {
  if (cursor === undefined || checksum === undefined) return undefined;
  const sum = new Checksum(sha256);
  for (const row of rows) sum.toggle(row);
  return sum.with(cursor, rows.length) === checksum ? sum : undefined;
}
