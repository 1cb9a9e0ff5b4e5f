/**
 * What a server tells the local network of itself, as the strings of a TXT record (RFC 6763, 6): `name=value`, each of at most 255 bytes;
 * and how what somebody else tells is read. Whoever is on the network writes such records, so nothing of them is taken for more than text,
 * and of that no more than there is room for.
 */
import { isUtf8 } from 'node:buffer';
import { limits } from '../engine/limits.js';

/** The format of the record. A reader of this version takes no other. */
const FORMAT = '1';
const STRING_BYTES_MAX = 255;

export interface Told {
  /** Rises with what of the API breaks clients: v1. */
  readonly api: string;
  /** Of the program. */
  readonly version: string;
  /** Names this run of the server, so that who finds it in two ways knows it again. */
  readonly id: string;
  readonly auth: 'open' | 'required';
  /** Below which all paths are; `/v1`. */
  readonly path: string;
  readonly https: boolean;
  /** Where others reach it, if that is another URL than the announced address and port. */
  readonly url: string | undefined;
  readonly pools: readonly string[];
  /** There are more pools than are told. */
  readonly hasMorePools: boolean;
}

/** The strings of the record. Of the pools as many are told as fit. */
export function stringsOf(told: Told): Buffer[] {
  const facts = { v: FORMAT, api: told.api, version: told.version, id: told.id, auth: told.auth, path: told.path };
  const strings = Object.entries({ ...facts, https: told.https ? '1' : '0', url: told.url })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${value}`);
  const more = 'more=1';
  let room = limits.lanRecordBytesMax - strings.reduce((sum, text) => sum + sizeOf(text), 0) - sizeOf(more);
  const lists: string[] = [];
  let hasMore = told.hasMorePools;
  for (const pool of told.pools) {
    const last = lists.at(-1);
    const longer = `${last},${pool}`;
    if (last !== undefined && Buffer.byteLength(longer) <= STRING_BYTES_MAX) {
      if (room < pool.length + 1) {
        hasMore = true;
        break;
      }
      room -= pool.length + 1;
      lists[lists.length - 1] = longer;
      continue;
    }
    // The first list is `pools`, the next ones `pools2` and on: a name may come but once.
    const begun = `pools${lists.length === 0 ? '' : lists.length + 1}=${pool}`;
    if (room < sizeOf(begun)) {
      hasMore = true;
      break;
    }
    room -= sizeOf(begun);
    lists.push(begun);
  }
  return [...strings, ...lists, ...(hasMore ? [more] : [])].map((text) => Buffer.from(text));
}

/** What the record of somebody else says; undefined when it isn't one of ours. */
export function readStrings(strings: readonly Buffer[]): Told | undefined {
  const facts = new Map<string, string>();
  let bytes = 0;
  for (const string of strings) {
    bytes += string.length + 1;
    if (bytes > limits.lanRecordBytesMax) break;
    const text = isUtf8(string) ? string.toString() : '';
    const at = text.indexOf('=');
    if (at <= 0) continue;
    const name = text.slice(0, at).toLowerCase();
    // As RFC 6763, 6.4: the first one counts.
    if (!facts.has(name)) facts.set(name, text.slice(at + 1));
  }
  const auth = facts.get('auth');
  if (facts.get('v') !== FORMAT || (auth !== 'open' && auth !== 'required')) return undefined;
  const pools: string[] = [];
  for (let n = 1; ; n++) {
    const list = facts.get(n === 1 ? 'pools' : `pools${n}`);
    if (list === undefined) break;
    pools.push(...list.split(',').filter((name) => name !== ''));
  }
  const url = facts.get('url');
  return {
    api: facts.get('api') ?? '',
    version: facts.get('version') ?? '',
    id: facts.get('id') ?? '',
    auth,
    path: facts.get('path') ?? '',
    https: facts.get('https') === '1',
    url: url !== undefined && isOrigin(url) ? url : undefined,
    pools,
    hasMorePools: facts.get('more') === '1',
  };
}

/** A string with the byte that says its length. */
function sizeOf(text: string): number {
  return Buffer.byteLength(text) + 1;
}

function isOrigin(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && ['http:', 'https:'].includes(url.protocol) && url.origin === text;
}
