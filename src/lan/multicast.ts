/**
 * Multicast DNS (RFC 6762) on one interface, by bonjour-service's responder. Whatever goes wrong here is told as a warning and harms
 * nobody; and a flood of questions is answered by a few answers only, each of which all hear.
 */
import { Server } from 'bonjour-service/dist/lib/mdns-server.js';

const PORT = 5353;
/** The same question is answered once in this time: less would keep those waiting who probe for a name (RFC 6762, 6). */
const ANSWER_EVERY_MS = 250;

export type RecordType = 'PTR' | 'SRV' | 'TXT' | 'A' | 'AAAA';

export interface DnsRecord {
  readonly name: string;
  readonly type: RecordType;
  readonly ttl: number;
  /** By type: a name; `{port, target}`; strings; an address. */
  readonly data: unknown;
  /** Nobody else has records of this name and type: those that are known are forgotten. */
  readonly flush?: boolean;
}

export interface Question {
  readonly name: string;
  readonly type: RecordType | 'ANY';
}

interface Packet {
  readonly questions?: readonly Question[];
  readonly answers?: readonly DnsRecord[];
  readonly additionals?: readonly DnsRecord[];
}

interface Mdns {
  on(event: 'query' | 'response', listener: (packet: Packet, from: { address: string }) => void): void;
  on(event: 'error' | 'warning', listener: (error: Error) => void): void;
  on(event: 'ready', listener: () => void): void;
  listeners(event: 'query'): ((packet: Packet) => void)[];
  removeAllListeners(event: 'query'): void;
  query(packet: { questions: readonly Question[] }, done: (error?: Error | null) => void): void;
  respond(packet: { answers: readonly DnsRecord[] }, done: (error?: Error | null) => void): void;
  destroy(done: () => void): void;
}

export class Multicast {
  readonly #server: Server;
  readonly #mdns: Mdns;
  readonly #names = new Set<string>();
  readonly #answered = new Map<string, number>();
  readonly #warned = new Set<string>();
  #isClosed = false;

  /** `through` is the IPv4 address of the interface. */
  constructor(
    private readonly through: string,
    private readonly warn: (message: string) => void,
  ) {
    const fail = (error?: Error | null) => this.#fail(error);
    // Bound to every address: to one of the interface's, nothing comes that is sent to the group.
    const options = { interface: through, bind: '0.0.0.0', port: PORT };
    this.#server = new Server(options as unknown as ConstructorParameters<typeof Server>[0], fail);
    this.#mdns = this.#server.mdns as Mdns;
    this.#mdns.on('error', fail);
    this.#mdns.on('warning', fail);
    const [answer] = this.#mdns.listeners('query');
    this.#mdns.removeAllListeners('query');
    this.#mdns.on('query', ({ questions = [] }) => {
      const asked = questions.filter((question) => this.#isDue(question));
      if (asked.length > 0) answer?.({ questions: asked });
    });
  }

  /** Hears all records of all answers, also those of this machine, with the address that they come from. */
  onRecords(listener: (records: readonly DnsRecord[], from: string) => void): void {
    this.#mdns.on('response', ({ answers = [], additionals = [] }, { address }) =>
      listener([...answers, ...additionals], address),
    );
  }

  ask(questions: readonly Question[]): void {
    this.#try(() => this.#mdns.query({ questions: [...questions] }, (error) => this.#fail(error)));
  }

  /** Tells them to all, asked or not; settles when they are sent, or can't be. */
  tell(records: readonly DnsRecord[]): Promise<void> {
    return new Promise((resolve) => {
      const done = (error?: Error | null) => {
        this.#fail(error);
        resolve();
      };
      if (!this.#try(() => this.#mdns.respond({ answers: records.map((record) => ({ ...record })) }, done))) resolve();
    });
  }

  /** From now on questions are answered by these, and by none of before. */
  answerBy(records: readonly DnsRecord[], former: readonly DnsRecord[] = []): void {
    this.#server.unregister([...former] as Parameters<Server['unregister']>[0]);
    this.#server.register([...records] as Parameters<Server['register']>[0]);
    this.#names.clear();
    for (const { name } of records) this.#names.add(name.toLowerCase());
  }

  close(): Promise<void> {
    this.#isClosed = true;
    return new Promise((resolve) => this.#mdns.destroy(resolve));
  }

  /** Whether the question is ours to answer, and wasn't answered a moment ago. */
  #isDue({ name, type }: Question): boolean {
    if (!this.#names.has(name.toLowerCase())) return false;
    const key = `${type} ${name.toLowerCase()}`;
    const now = performance.now();
    if (now - (this.#answered.get(key) ?? Number.NEGATIVE_INFINITY) < ANSWER_EVERY_MS) return false;
    // As many as there are types, for each of a few names.
    this.#answered.set(key, now);
    return true;
  }

  #try(send: () => void): boolean {
    if (this.#isClosed) return false;
    try {
      send();
      return true;
    } catch (error) {
      this.#fail(error as Error);
      return false;
    }
  }

  /** What goes wrong once mostly does so again and again; it is told once. What others send wrongly is theirs. */
  #fail(error: (Error & { code?: string }) | null | undefined): void {
    if (!error || this.#isClosed || error.code === undefined || this.#warned.has(error.code)) return;
    this.#warned.add(error.code);
    this.warn(`Multicast through ${this.through} fails: ${error.message}`);
  }
}
