/**
 * Looks for servers on the local network. All that is heard was written by strangers: it is kept within bounds, and believed only as far
 * as it makes an address; whoever shows it has to see to control characters.
 */
import { isIP, isIPv4, isIPv6 } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { limits } from '../engine/limits.js';
import { SERVICE } from './announcement.js';
import { type DnsRecord, Multicast, type Question } from './multicast.js';
import { isLoopbackAddress, placesToLook } from './places.js';
import { readStrings, type Told } from './telling.js';

/** Names are asked about again and again, for what is sent by multicast may be lost. */
const ASK_EVERY_MS = 400;
/** Questions of one packet. */
const QUESTIONS_MAX = 40;
const ADDRESSES_MAX = 16;
const RECORDS_PER_PACKET_MAX = 200;
const STRINGS_MAX = 64;

export interface Found extends Told {
  readonly name: string;
  /** Where it says that it can be reached. */
  readonly at: string;
  readonly addresses: readonly string[];
  readonly port: number;
}

export interface Browsed {
  /** By name, then by address. */
  readonly found: Found[];
  /** More were heard of than are kept. */
  readonly hasMore: boolean;
  /** Interfaces through which nothing could be asked. */
  readonly problems: string[];
}

export async function browse(ms: number, places: readonly string[] = placesToLook()): Promise<Browsed> {
  const heard = new Heard();
  const problems: string[] = [];
  const multicasts = places.map((place) => new Multicast(place, (problem) => problems.push(problem)));
  for (const multicast of multicasts) multicast.onRecords((records, from) => heard.take(records, from));
  const until = performance.now() + ms;
  for (let first = true; performance.now() < until; first = false) {
    const questions = [{ name: SERVICE, type: 'PTR' } as const, ...(first ? [] : heard.missing())];
    for (const multicast of multicasts) multicast.ask(questions.slice(0, QUESTIONS_MAX));
    await sleep(Math.min(ASK_EVERY_MS, Math.max(0, until - performance.now())));
  }
  await Promise.all(multicasts.map((multicast) => multicast.close()));
  return { found: heard.found(), hasMore: heard.hasMore, problems };
}

/** What has been heard so far, by name in lower case. */
export class Heard {
  readonly #instances = new Map<string, string>();
  readonly #services = new Map<string, { port: number; target: string }>();
  readonly #strings = new Map<string, Buffer[]>();
  readonly #addresses = new Map<string, Set<string>>();
  #hasMore = false;

  get hasMore(): boolean {
    return this.#hasMore;
  }

  take(records: readonly DnsRecord[], from: string): void {
    for (const record of records.slice(0, RECORDS_PER_PACKET_MAX)) {
      const name = record.name.toLowerCase();
      if (record.type === 'PTR' && name === SERVICE) this.#takeInstance(record);
      else if (record.type === 'SRV' && name.endsWith(`.${SERVICE}`)) {
        const { port, target } = record.data as { port: number; target: string };
        this.#keep(this.#services, name, { port, target: target.toLowerCase() }, record.ttl);
      } else if (record.type === 'TXT' && name.endsWith(`.${SERVICE}`)) {
        this.#keep(this.#strings, name, [record.data as Buffer[]].flat().slice(0, STRINGS_MAX), record.ttl);
      } else if (record.type === 'A' || record.type === 'AAAA') this.#takeAddress(name, record, from);
    }
  }

  /** What is to be asked to know more of what was heard of. */
  missing(): Question[] {
    const questions: Question[] = [];
    for (const [key, name] of this.#instances) {
      const service = this.#services.get(key);
      if (!service) questions.push({ name, type: 'SRV' });
      else if (!this.#addresses.has(service.target))
        questions.push({ name: service.target, type: 'A' }, { name: service.target, type: 'AAAA' });
      if (!this.#strings.has(key)) questions.push({ name, type: 'TXT' });
    }
    return questions;
  }

  /** Of whom enough is known to reach them. */
  found(): Found[] {
    const found: Found[] = [];
    for (const [key, name] of this.#instances) {
      const service = this.#services.get(key);
      const told = readStrings(this.#strings.get(key) ?? []);
      if (!service || !told) continue;
      const addresses = [...(this.#addresses.get(service.target) ?? [])].sort(byUse);
      const at = told.url ?? (addresses[0] && `http${told.https ? 's' : ''}://${hostOf(addresses[0])}:${service.port}`);
      if (at === undefined) continue;
      found.push({ ...told, name: name.slice(0, -SERVICE.length - 1), at, addresses, port: service.port });
    }
    const order = ({ name, at }: Found) => `${name}\n${at}`;
    return found.sort((a, b) => (order(a) < order(b) ? -1 : 1));
  }

  #takeInstance({ data, ttl }: DnsRecord): void {
    const name = String(data);
    if (name.toLowerCase().endsWith(`.${SERVICE}`)) this.#keep(this.#instances, name.toLowerCase(), name, ttl);
  }

  #takeAddress(name: string, { data, ttl }: DnsRecord, from: string): void {
    const address = String(data);
    // What is on another machine isn't reached by an address that means this one.
    if (isIP(address) === 0 || (isLoopbackAddress(address) && !isLoopbackAddress(from))) return;
    const known = this.#addresses.get(name);
    if (ttl === 0) known?.delete(address);
    else if (!known) this.#keep(this.#addresses, name, new Set([address]), ttl);
    else if (known.size < ADDRESSES_MAX) known.add(address);
  }

  #keep<T>(map: Map<string, T>, key: string, value: T, ttl: number): void {
    if (ttl === 0) map.delete(key);
    else if (map.has(key) || map.size < limits.lanFoundMax) map.set(key, value);
    else this.#hasMore = true;
  }
}

/** Addresses that anybody can use come first. */
function byUse(a: string, b: string): number {
  const rank = (address: string) => (isIPv4(address) ? 0 : 2) + (isLoopbackAddress(address) ? 1 : 0);
  return rank(a) - rank(b) || (a < b ? -1 : 1);
}

function hostOf(address: string): string {
  return isIPv6(address) ? `[${address}]` : address;
}
