/**
 * Three servers of one database on a Galera cluster of three nodes, each at a node of its own: what a test of several database
 * nodes needs, and what a write through them came to.
 */
import type { ChildProcess } from 'node:child_process';
import { createConnection } from 'mysql2/promise';
import { startGalera } from '../../scripts/galera.mjs';
import { markRunning, type Server, startServer } from '../support/server.js';
import { type Answer, Client, type Headers, type LoggedCommit, pause } from './client.js';

type Galera = Awaited<ReturnType<typeof startGalera>>;
type DatabaseNode = Galera['nodes'][number];

const DATABASE = 'stargus';

export class GaleraSite {
  readonly #marks = new Map<DatabaseNode, () => void>();

  private constructor(
    private readonly galera: Galera,
    readonly servers: readonly Server[],
    readonly clients: readonly Client[],
  ) {
    for (const node of galera.nodes) this.#mark(node);
  }

  /** The three servers start at once, on a database without tables. */
  static async start(): Promise<GaleraSite> {
    const galera = await startGalera();
    try {
      await Promise.all(galera.urls.map((url) => run(url, `CREATE DATABASE IF NOT EXISTS ${DATABASE}`)));
      const urls = galera.urls.map((url) => `${url}${DATABASE}`);
      const starts = urls.map((databaseUrl) =>
        startServer({ database: 'mariadb', databaseUrl, env: { STARGUS_REDIS_URL: '' } }),
      );
      const servers = await Promise.all(starts);
      return new GaleraSite(
        galera,
        servers,
        servers.map(({ url }) => new Client(url)),
      );
    } catch (error) {
      await galera.stop();
      throw error;
    }
  }

  async close(): Promise<void> {
    for (const client of this.clients) client.close();
    for (const server of this.servers) await server.kill();
    await this.galera.stop();
    for (const forget of this.#marks.values()) forget();
  }

  /** The database as the node with this number has it. */
  databaseUrl(i: number): string {
    return `${this.galera.urls[i]}${DATABASE}`;
  }

  query(i: number, sql: string): Promise<Record<string, unknown>[]> {
    return run(this.databaseUrl(i), sql);
  }

  async kill(i: number): Promise<void> {
    await this.#node(i).kill();
  }

  async restart(i: number): Promise<void> {
    await this.#node(i).restart();
    this.#mark(this.#node(i));
  }

  /** Cuts the node off from the others, or lets it find them again. A node that is cut off takes no database's statements, but settings. */
  async isolate(i: number, isIsolated: boolean): Promise<void> {
    const option = `gmcast.isolate=${isIsolated ? 1 : 0}`;
    await run(this.galera.urls[i] as string, `SET GLOBAL wsrep_provider_options = '${option}'`);
  }

  /** What the server answers to the question whether it can take requests, whenever the answer comes. */
  async readiness(i: number): Promise<number> {
    return (await (this.clients[i] as Client).call('GET /readyz').catch(() => ({ status: 0 }))).status;
  }

  async untilReady(i: number, status: number, ms = 60_000): Promise<void> {
    for (const end = Date.now() + ms; (await this.readiness(i)) !== status; await pause(50))
      if (Date.now() > end)
        throw new Error(`The server at node ${i} does not answer ${status} on /readyz within ${ms} ms`);
  }

  #node(i: number): DatabaseNode {
    return this.galera.nodes[i] as DatabaseNode;
  }

  #mark(node: DatabaseNode): void {
    this.#marks.get(node)?.();
    this.#marks.set(node, markRunning({ pid: node.pid() } as ChildProcess));
  }
}

async function run(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const connection = await createConnection(url);
  try {
    await connection.query('SET SESSION wsrep_sync_wait = 7');
    return (await connection.query(sql))[0] as unknown as Record<string, unknown>[];
  } finally {
    await connection.end();
  }
}

interface Acknowledged {
  readonly revision: number;
  readonly key: string;
  readonly value: string;
}

/** Writers that go on whatever happens: what was acknowledged must be there, what was not answered may or may not. */
export class Writers {
  readonly acknowledged: Acknowledged[] = [];
  readonly unanswered = new Set<string>();
  /** By Idempotency-Key, the answer of an increment, asked for through one server after another until there was one. */
  readonly counted = new Map<string, Answer>();
  repeated = 0;
  #over = false;
  #failure: unknown;
  readonly #works: Promise<void>[] = [];

  constructor(
    private readonly clients: readonly Client[],
    readonly pool: string,
  ) {}

  start(): void {
    for (const [i] of this.clients.entries()) {
      for (const work of [this.#write(i, `w${i}`), this.#write(i, `v${i}`), this.#count(i)])
        this.#works.push(work.catch((error) => (this.#failure ??= error)));
    }
  }

  async stop(): Promise<void> {
    this.#over = true;
    await Promise.all(this.#works);
    if (this.#failure) throw this.#failure;
  }

  /** Throws where the log and the state are not what was answered. */
  async check(client: Client): Promise<LoggedCommit[]> {
    const { commits } = await client.commits(this.pool);
    const known = new Set<string>(this.unanswered);
    for (const [i, { revision }] of commits.entries())
      if (revision !== i + 1) throw new Error(`The log has ${revision} after ${i}`);
    for (const { revision, key, value } of this.acknowledged) {
      known.add(value);
      const change = commits[revision - 1]?.changes.find((each) => each.key === key);
      if (change?.attributes.value !== value)
        throw new Error(`${value} was acknowledged at ${revision}, where the log has ${JSON.stringify(change)}`);
    }
    const written = commits.flatMap(({ changes }) => changes.map(({ attributes }) => attributes.value));
    const values = written.filter((value) => typeof value === 'string');
    if (new Set(values).size !== values.length) throw new Error('A write was applied twice');
    for (const value of values) if (!known.has(value)) throw new Error(`Nobody wrote ${value}`);
    const { body } = await client.ok(`GET /v1/pools/${this.pool}/collections/things/items/counter`);
    if (body.attributes.n !== this.counted.size)
      throw new Error(`${this.counted.size} increments were answered, the counter is ${body.attributes.n}`);
    const sums = new Set([...this.counted.values()].map(({ body: { value } }) => value));
    if (sums.size !== this.counted.size) throw new Error('Two increments were answered with the same value');
    return commits;
  }

  async #write(i: number, name: string): Promise<void> {
    const path = `/v1/pools/${this.pool}/collections/things/items`;
    for (let n = 0; !this.#over; n++) {
      const [key, value] = [`k${n % 7}`, `${name}-${n}`];
      this.unanswered.add(value);
      const answer = await this.#try(i, `PUT ${path}/${key}`, { attributes: { value } });
      if (!answer) continue;
      this.unanswered.delete(value);
      this.acknowledged.push({ revision: answer.body.revision, key, value });
    }
  }

  async #count(i: number): Promise<void> {
    const line = `POST /v1/pools/${this.pool}/collections/things/items/counter/increment`;
    for (let n = 0; !this.#over; n++) {
      const headers = { 'idempotency-key': `c${i}-${n}` };
      let answer: Answer | undefined;
      for (let at = i; !answer; at++) {
        answer = await this.#try(at % this.clients.length, line, { attribute: 'n', by: 1 }, headers);
        if (!answer) this.repeated++;
      }
      this.counted.set(headers['idempotency-key'], answer);
    }
  }

  /** The answer, or undefined where there is none, or one that says that it isn't known. */
  async #try(i: number, line: string, body: object, headers: Headers = {}): Promise<Answer | undefined> {
    let answer: Answer | undefined;
    try {
      answer = await (this.clients[i] as Client).call(line, body, headers);
    } catch {
      return undefined;
    }
    if (answer.status < 300) return answer;
    if (answer.status !== 503 || answer.headers['retry-after'] === undefined)
      throw new Error(`${line}: ${answer.status} ${JSON.stringify(answer.body)}`);
    await pause(50);
    return undefined;
  }
}
