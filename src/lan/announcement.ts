/**
 * A server's announcement on one interface: finds a name that nobody has, tells of the server, answers questions, tells what changes,
 * and says goodbye. Of two that took one name at the same moment the one whose machine's name is the lower one looks for another.
 */
import { isIPv6 } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type DnsRecord, Multicast } from './multicast.js';
import type { Place } from './places.js';

export const SERVICE = '_stargus._tcp.local';
const ALL_SERVICES = '_services._dns-sd._udp.local';

/** As RFC 6762, 10: what depends on a machine's address is soon forgotten, the rest later. */
const HOST_TTL_S = 120;
const OTHER_TTL_S = 4500;
/** As RFC 6762, 8.1: three questions, after a moment by chance, so that machines that woke together don't ask together. */
const PROBES = 3;
const PROBE_MS = 250;
/** Who doesn't hear that a name is taken is told again, but not more often. */
const INSIST_EVERY_MS = 1000;
/** When it is told, in ms after the first time, for what is sent by multicast may be lost. */
const TELL_AFTER_MS = [0, 1000, 3000];
/** With so many names taken something else is wrong (RFC 6762, 8.1): from then on slowly. */
const HASTY_MAX = 15;
const SLOW_MS = 5000;

/** A label of a DNS name. */
const LABEL_BYTES_MAX = 63;

export interface Announced {
  /** Of the server, for people; it gets a number where somebody has it. */
  readonly name: string;
  /** Of this run of the server. */
  readonly id: string;
  readonly port: number;
}

export class Announcement {
  readonly #multicast: Multicast;
  readonly #stop = new AbortController();
  readonly #host: string;
  #running: Promise<void>;
  #records: DnsRecord[] = [];
  /** Hears of others of our name, by the names of their machines. */
  #heardOther: ((target: string) => void) | undefined;
  #instance = '';
  #number = 1;

  constructor(
    private readonly announced: Announced,
    private readonly place: Place,
    private strings: readonly Buffer[],
    warn: (message: string) => void,
  ) {
    // Its own, so that it stands in nobody's way who announces the machine under its name.
    this.#host = `stargus-${announced.id}.local`;
    this.#multicast = new Multicast(place.through, warn);
    this.#multicast.onRecords((records) => {
      const other = records.find((record) => this.#isOthers(record));
      if (other) this.#heardOther?.(targetOf(other));
    });
    this.#running = this.#run();
  }

  /** Tells other strings from now on. */
  update(strings: readonly Buffer[]): void {
    this.strings = strings;
    if (this.#records.length === 0) return;
    const former = this.#records;
    this.#records = former.map((record) => (record.type === 'TXT' ? { ...record, data: strings } : record));
    this.#multicast.answerBy(this.#records, former);
    void this.#tellAgain(this.#records.filter(({ type }) => type === 'TXT'));
  }

  /** Says goodbye, if anything was told, and is silent from then on. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    // That there is the service may be true of others too.
    const own = this.#records.filter(({ name }) => name !== ALL_SERVICES).map((record) => ({ ...record, ttl: 0 }));
    if (own.length > 0) await this.#multicast.tell(own);
    await this.#multicast.close();
  }

  async #run(): Promise<void> {
    this.#heardOther = undefined;
    while (!this.#stop.signal.aborted) {
      this.#instance = `${label(this.announced.name, this.#number)}.${SERVICE}`;
      await this.#wait(this.#number > HASTY_MAX ? SLOW_MS : Math.random() * PROBE_MS);
      if (await this.#isTaken()) this.#number++;
      else if (!this.#stop.signal.aborted) {
        this.#announce();
        return;
      }
    }
  }

  async #isTaken(): Promise<boolean> {
    let isTaken = false;
    this.#heardOther = () => {
      isTaken = true;
    };
    for (let probe = 0; probe < PROBES && !isTaken && !this.#stop.signal.aborted; probe++) {
      this.#multicast.ask([{ name: this.#instance, type: 'ANY' }]);
      await this.#wait(PROBE_MS);
    }
    this.#heardOther = undefined;
    return isTaken;
  }

  #announce(): void {
    this.#records = this.#recordsNow();
    this.#multicast.answerBy(this.#records);
    let insistedAt = Number.NEGATIVE_INFINITY;
    this.#heardOther = (target) => {
      if (target > this.#host) {
        // Without goodbye: what bears the name now is the other's.
        this.#multicast.answerBy([], this.#records);
        this.#records = [];
        this.#running = this.#run();
      } else if (performance.now() - insistedAt > INSIST_EVERY_MS) {
        insistedAt = performance.now();
        void this.#multicast.tell(this.#records);
      }
    };
    void this.#tellAgain(this.#records);
  }

  async #tellAgain(records: readonly DnsRecord[]): Promise<void> {
    let waited = 0;
    for (const afterMs of TELL_AFTER_MS) {
      await this.#wait(afterMs - waited);
      waited = afterMs;
      // What isn't so any more isn't told any more.
      if (this.#stop.signal.aborted || !records.every((record) => this.#records.includes(record))) return;
      await this.#multicast.tell(records);
    }
  }

  async #wait(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#stop.signal, ref: false }).catch(() => undefined);
  }

  /** Whether somebody else has our name: there is one place of a service of a name, and it isn't ours. */
  #isOthers({ name, type, ttl, data }: DnsRecord): boolean {
    if (type !== 'SRV' || ttl === 0 || name.toLowerCase() !== this.#instance.toLowerCase()) return false;
    return targetOf({ data }) !== this.#host;
  }

  #recordsNow(): DnsRecord[] {
    const name = this.#instance;
    const target = this.#host;
    return [
      { name: ALL_SERVICES, type: 'PTR', ttl: OTHER_TTL_S, data: SERVICE },
      { name: SERVICE, type: 'PTR', ttl: OTHER_TTL_S, data: name },
      { name, type: 'SRV', ttl: HOST_TTL_S, flush: true, data: { port: this.announced.port, target } },
      { name, type: 'TXT', ttl: OTHER_TTL_S, flush: true, data: this.strings },
      ...this.place.addresses.map(
        (address): DnsRecord => ({
          name: target,
          type: isIPv6(address) ? 'AAAA' : 'A',
          ttl: HOST_TTL_S,
          flush: true,
          data: address,
        }),
      ),
    ];
  }
}

/** The machine that a service is on. */
function targetOf({ data }: Pick<DnsRecord, 'data'>): string {
  return (data as { target: string }).target.toLowerCase();
}

/** The name as one label: without what DNS or a terminal would take for something else, and so short that it fits. */
export function label(name: string, number: number): string {
  const suffix = number === 1 ? '' : ` (${number})`;
  let text = name.replace(/\p{C}/gu, '').replaceAll('.', '-').trim() || 'Stargus';
  while (Buffer.byteLength(text + suffix) > LABEL_BYTES_MAX) text = [...text].slice(0, -1).join('');
  return text + suffix;
}
