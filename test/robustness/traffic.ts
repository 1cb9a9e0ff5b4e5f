/**
 * Clients that write and read items of one collection through any node, one request after another each, and keep what they
 * asked and what came of it (history.ts). A generation of keys lives for a second or two, so that no item's history is long.
 */
import { type Answer, Client, type Headers, pause } from './client.js';
import type { Node } from './cluster.js';
import type { History, Outcome, Put, ReadItem, ReadRequest, WriteRequest } from './history.js';
import type { Random } from './random.js';

/** A generation has few keys, so that clients meet at them. */
const KEYS = 3;
const LETTERS = ['a', 'b'];
const GENERATION_MS = 1_500;

export interface TrafficPlan {
  readonly pool: string;
  readonly clients: number;
  /** Between a client's requests, at most. */
  readonly thinkMs: number;
  /** What is answered has to be judged. */
  readonly answersMax: number;
}

export class Traffic {
  readonly #clients: readonly Client[];
  readonly #began = Date.now();
  #answers = 0;
  #commits = 0;
  #tokens = 0;
  #isOver = false;
  /** The revision at which somebody last saw an item, by key, for conditions. */
  readonly #seen = new Map<string, number>();

  constructor(
    private readonly nodes: readonly Node[],
    private readonly history: History,
    private readonly plan: TrafficPlan,
  ) {
    this.#clients = nodes.map(({ url }) => new Client(url));
  }

  /** Runs the clients until `over`. */
  async run(random: Random, over: Promise<void>): Promise<void> {
    void over.then(() => (this.#isOver = true));
    await Promise.all(Array.from({ length: this.plan.clients }, (_, i) => this.#work(i + 1, random.branch())));
  }

  /** Requests that were answered. */
  get answers(): number {
    return this.#answers;
  }

  /** Writes that are known to have been committed. */
  get commits(): number {
    return this.#commits;
  }

  close(): void {
    for (const client of this.#clients) client.close();
  }

  /** A write of an item that nobody else writes, repeated by others of its kind until one is done; its revision. */
  async mark(name: string): Promise<number> {
    for (const end = Date.now() + 60_000; ; ) {
      const node = Date.now() % this.nodes.length;
      const request: WriteRequest = { ...this.#write(), puts: [{ key: `mark-${name}`, how: 'put' }] };
      const outcome = await this.#send(0, node, request);
      if (outcome.outcome === 'done') return outcome.at;
      if (Date.now() > end) throw new Error(`No write was done for a minute: ${JSON.stringify(outcome)}`);
      await pause(100);
    }
  }

  /** Everything, through each node: what is there when all is over. */
  async readAll(): Promise<void> {
    for (const node of this.nodes.keys())
      for (const key of [...LETTERS, 'mark-']) await this.#send(0, node, { kind: 'range', key });
  }

  async #work(client: number, random: Random): Promise<void> {
    // The last revision that this client was told, for Stargus-Min-Revision.
    let told = 0;
    while (!this.#isOver && this.#answers < this.plan.answersMax) {
      const node = random.between(0, this.nodes.length - 1);
      const outcome = await this.#send(client, node, this.#draw(random, told));
      if (outcome.outcome === 'done') told = outcome.at;
      // Who was refused by a server that is down doesn't ask again at once.
      const isDown = outcome.outcome === 'failed' || outcome.outcome === 'unknown';
      await pause(random.between(0, this.plan.thinkMs) + (isDown ? random.between(50, 250) : 0));
    }
  }

  #draw(random: Random, told: number): WriteRequest | ReadRequest {
    const generation = Math.floor((Date.now() - this.#began) / GENERATION_MS);
    const prefix = `${random.any(LETTERS)}${generation}-`;
    const key = `${prefix}${random.between(1, KEYS)}`;
    const minRevision = random.chance(0.3) ? { minRevision: told } : {};
    const share = random.next();
    if (share < 0.3) return { kind: 'get', key, ...minRevision };
    if (share < 0.4) return { kind: 'range', key: prefix, ...minRevision };
    const write = { ...this.#write(), ...this.#condition(random, key) };
    const m = random.chance(0.5) ? { m: write.token } : {};
    if (share < 0.6) return { ...write, puts: [{ key, how: 'put', ...m }] };
    if (share < 0.7) return { ...write, puts: [{ key, how: 'merge', ...m }] };
    if (share < 0.8) return { ...write, puts: [{ key, how: 'increment' }] };
    if (share < 0.87) return { ...write, deletes: [key] };
    if (share < 0.9) return { ...this.#write(), deletePrefix: prefix };
    return { ...write, ...this.#several(random, prefix) };
  }

  #write(): WriteRequest {
    return { kind: 'write', token: `t${++this.#tokens}`, puts: [], deletes: [] };
  }

  #condition(random: Random, key: string): Pick<WriteRequest, 'condition'> {
    if (random.chance(0.55)) return {};
    const revision = random.chance(0.2) ? 0 : (this.#seen.get(key) ?? 0);
    return { condition: { key, revision } };
  }

  /** A batch that touches several items, at least one of which it sets. */
  #several(random: Random, prefix: string): Pick<WriteRequest, 'puts' | 'deletes'> {
    const keys = Array.from({ length: KEYS }, (_, i) => `${prefix}${i + 1}`).filter(() => random.chance(0.6));
    const others = keys.filter((key) => key !== `${prefix}1`);
    const deleted = others.filter(() => random.chance(0.3));
    const set = [`${prefix}1`, ...others.filter((key) => !deleted.includes(key))];
    return { puts: set.map((key): Put => ({ key, how: random.any(['put', 'merge', 'increment']) })), deletes: deleted };
  }

  async #send(client: number, node: number, request: WriteRequest | ReadRequest): Promise<Outcome> {
    const [line, body, headers] = this.#asHttp(request);
    const call = this.history.now();
    const outcome = await (this.#clients[node] as Client)
      .call(line, body, headers)
      .then((answer) => this.#outcomeOf(request, line, answer))
      .catch((error: Error): Outcome => {
        if (error instanceof Unexpected) throw error;
        return { outcome: 'unknown', why: error.message };
      });
    if (outcome.outcome === 'done') {
      this.#answers++;
      if (outcome.committed) this.#commits++;
    }
    this.history.add({ type: 'op', client, node, call, return: this.history.now(), request, outcome });
    return outcome;
  }

  #asHttp(request: WriteRequest | ReadRequest): [line: string, body: object | undefined, headers: Headers] {
    const P = `/v1/pools/${this.plan.pool}`;
    const C = `${P}/collections/things`;
    if (request.kind !== 'write') {
      const headers: Headers =
        request.minRevision === undefined ? {} : { 'stargus-min-revision': String(request.minRevision) };
      const path = request.kind === 'get' ? `items/${request.key}` : `items?prefix=${request.key}&limit=100`;
      return [`GET ${C}/${path}`, undefined, headers];
    }
    const { token, puts, deletes, deletePrefix, condition } = request;
    if (deletePrefix !== undefined) return [`POST ${C}/delete`, { prefix: deletePrefix }, {}];
    const [put] = puts;
    const isSingle = puts.length + deletes.length === 1 && put?.how !== 'increment';
    if (isSingle && (condition === undefined || condition.key === (put?.key ?? deletes[0]))) {
      const headers = condition === undefined ? {} : conditionHeader(condition.revision);
      if (!put) return [`DELETE ${C}/items/${deletes[0]}`, undefined, headers];
      const method = put.how === 'put' ? 'PUT' : 'PATCH';
      return [`${method} ${C}/items/${put.key}`, { attributes: attributesOf(put, token) }, headers];
    }
    const ops = [
      ...puts.flatMap((each) => opsOf(each, token)),
      ...deletes.map((key) => ({ op: 'delete', collection: 'things', key })),
    ];
    const { key, revision } = condition ?? {};
    const must = revision === 0 ? { exists: false } : { revision };
    return [`POST ${P}/batch`, { ops, ...(condition && { if: [{ collection: 'things', key, ...must }] }) }, {}];
  }

  #outcomeOf(request: WriteRequest | ReadRequest, line: string, answer: Answer): Outcome {
    const { status, body, headers } = answer;
    const at = Number(headers['stargus-revision']);
    if (status >= 500) {
      // What the contract says of a 503: nothing was done, unless its words say that nobody knows.
      const isKnown = status === 503 && !/not known|may or may not/.test(body?.detail);
      return { outcome: isKnown ? 'failed' : 'unknown', why: `${status} ${body?.detail}` };
    }
    const isMissing = status === 404 && request.kind === 'get';
    if (status === 412) return { outcome: 'refused', at };
    if (status >= 300 && !isMissing) throw new Unexpected(`${line}: ${status} ${JSON.stringify(body)}`);
    if (request.kind !== 'write') {
      const items: ReadItem[] = isMissing ? [] : request.kind === 'get' ? [body] : body.items;
      for (const { key, revision } of items) this.#seen.set(key, revision);
      if (isMissing) this.#seen.delete(request.key);
      if (request.kind === 'get' && !isMissing && headers.etag !== `"${body.revision}"`)
        throw new Unexpected(`${line}: the tag ${headers.etag} of ${JSON.stringify(body)}`);
      return { outcome: 'done', at, items };
    }
    for (const { key } of request.puts) this.#seen.set(key, at);
    return { outcome: 'done', at, ...effectOf(request, answer) };
  }
}

/** An answer that no fault explains. */
class Unexpected extends Error {}

function effectOf(
  { puts, deletes, deletePrefix }: WriteRequest,
  { body }: Answer,
): { committed: boolean; values: Record<string, number>; existed: string[] } {
  if (deletePrefix !== undefined) return { committed: body.deleted > 0, values: {}, existed: body.keys };
  if (body.results === undefined) {
    const existed = body.existed === true ? [...deletes] : [];
    return { committed: puts.length > 0 || existed.length > 0, values: {}, existed };
  }
  const results = body.results as { key: string; changed: string[]; value?: number }[];
  const values = results.flatMap(({ key, value }): [string, number][] => (value === undefined ? [] : [[key, value]]));
  const existed = results.filter(({ key, changed }) => deletes.includes(key) && changed.length > 0);
  return { committed: true, values: Object.fromEntries(values), existed: existed.map(({ key }) => key) };
}

function conditionHeader(revision: number): Headers {
  return revision === 0 ? { 'if-none-match': '*' } : { 'if-match': `"${revision}"` };
}

function attributesOf({ m }: Put, token: string): Record<string, string> {
  return { t: token, ...(m !== undefined && { m }) };
}

function opsOf(put: Put, token: string): object[] {
  const { key, how } = put;
  const attributes = attributesOf(put, token);
  if (how !== 'increment') return [{ op: how, collection: 'things', key, attributes }];
  return [
    { op: 'increment', collection: 'things', key, attribute: 'n', by: 1 },
    { op: 'merge', collection: 'things', key, attributes },
  ];
}
