/**
 * Nodes of one database with everything between them that can go wrong: each link is a proxy (link.ts), MariaDB and Redis are
 * the cluster's own, each node has a clock of its own that can be set, and every process can be stopped and killed.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createConnection } from 'mysql2/promise';
import { startMariadb } from '../../scripts/mariadb.mjs';
import { startRedis } from '../../scripts/redis.mjs';
import { debianProgram } from '../support/debian.js';
import { createDatabase, type DatabaseName, markRunning, type Server, startServer } from '../support/server.js';
import { pause } from './client.js';
import { Link } from './link.js';

/** A process takes so long to be ready at worst, with its database killed and links down meanwhile. */
const START_MS = 300_000;

type Daemon = Awaited<ReturnType<typeof startMariadb>>;

/** A server program beside the nodes: MariaDB or Redis. */
export class Service {
  constructor(
    readonly name: string,
    private readonly daemon: Daemon,
    private readonly forget: () => void,
  ) {}

  get port(): number {
    return this.daemon.port;
  }

  async kill(downMs: number): Promise<void> {
    await this.daemon.kill();
    await pause(downMs);
    await this.daemon.restart();
  }

  /** Ends it in order and starts it again. */
  async restart(): Promise<void> {
    const pid = this.daemon.pid();
    await this.daemon.kill('SIGTERM');
    for (const end = Date.now() + 20_000; isRunning(pid) && Date.now() < end; ) await pause(10);
    await this.daemon.kill();
    await this.daemon.restart();
  }

  async stall(ms: number): Promise<void> {
    await this.daemon.kill('SIGSTOP');
    await pause(ms);
    await this.daemon.kill('SIGCONT');
  }

  async close(): Promise<void> {
    await this.daemon.kill('SIGCONT');
    await this.daemon.stop();
    this.forget();
  }
}

/** The program of the tests doesn't reap it before a turn of its event loop, so a zombie counts as ended. */
function isRunning(pid: number | undefined): boolean {
  return pid !== undefined && existsSync(`/proc/${pid}/exe`);
}

/** The services of all clusters of a test file: they are slow to start, and each cluster has a database of its own in them. */
export class Services {
  private constructor(
    readonly mariadb: Service,
    readonly redis: Service,
  ) {}

  static async start(): Promise<Services> {
    const [mariadb, redis] = await Promise.all([startMariadb(), startRedis()]);
    const service = (name: string, daemon: Daemon) =>
      new Service(name, daemon, markRunning({ pid: daemon.pid() } as Parameters<typeof markRunning>[0]));
    return new Services(service('MariaDB', mariadb), service('Redis', redis as Daemon));
  }

  async createDatabase(name: string): Promise<void> {
    const connection = await createConnection({ host: '127.0.0.1', port: this.mariadb.port, user: 'root' });
    await connection.query(`CREATE DATABASE ${name}`);
    await connection.end();
  }

  async close(): Promise<void> {
    await Promise.all([this.mariadb.close(), this.redis.close()]);
  }
}

/** A process of Stargus and the links that lead to and from it. */
export class Node {
  #server: Server | undefined;
  #closed = false;

  constructor(
    readonly name: string,
    readonly links: Readonly<Record<'clients' | 'database' | 'redis', Link>>,
    private readonly options: { readonly database: DatabaseName; readonly databaseUrl: string },
    private readonly env: Readonly<Record<string, string>>,
    private readonly clockFile: string,
  ) {}

  /** Where clients reach it, whatever becomes of it. */
  get url(): string {
    return `http://127.0.0.1:${this.links.clients.port}`;
  }

  get port(): number {
    return this.#server ? Number(new URL(this.#server.url).port) : 0;
  }

  /** Starts it, again and again if need be, for its database may be down. */
  async start(): Promise<void> {
    for (const end = Date.now() + START_MS; !this.#closed && !this.#server; ) {
      try {
        this.#server = await startServer({ ...this.options, env: this.env });
      } catch (error) {
        if (Date.now() > end) throw error;
      }
    }
    if (this.#closed) await this.#server?.kill();
  }

  /** Kills it and, after a while, starts another in its place. */
  async kill(downMs: number): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    await server?.kill();
    await pause(downMs);
    await this.start();
  }

  /** Ends it in order and starts another in its place. */
  async restart(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    await server?.stop();
    await this.start();
  }

  async stall(ms: number): Promise<void> {
    const pid = this.#server?.pid as number;
    process.kill(pid, 'SIGSTOP');
    await pause(ms);
    process.kill(pid, 'SIGCONT');
  }

  /** Its clock is so far from the true time from now on. */
  setClock(offsetS: number): void {
    writeFileSync(this.clockFile, `${offsetS < 0 ? '' : '+'}${offsetS}`);
  }

  output(): string {
    return this.#server?.output() ?? '';
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#server?.kill();
    for (const link of Object.values(this.links)) await link.close();
  }
}

export interface ClusterPlan {
  readonly database: DatabaseName;
  readonly nodes: number;
  /** Processes that answer no requests and do what is done in the background. */
  readonly workers?: number;
  readonly env?: Readonly<Record<string, string>>;
  /** Whether their clocks can be set. */
  readonly clocks?: boolean;
}

export class Cluster {
  readonly #folder = mkdtempSync(path.join(tmpdir(), 'stargus-cluster-'));
  readonly nodes: Node[] = [];
  readonly workers: Node[] = [];

  private constructor(
    private readonly plan: ClusterPlan,
    readonly services: Services | undefined,
  ) {}

  /** @param services needed unless its database is SQLite */
  static async start(plan: ClusterPlan, services: Services | undefined): Promise<Cluster> {
    const cluster = new Cluster(plan, services);
    try {
      await cluster.#start();
      return cluster;
    } catch (error) {
      await cluster.close();
      throw error;
    }
  }

  get processes(): readonly Node[] {
    return [...this.nodes, ...this.workers];
  }

  async close(): Promise<void> {
    await Promise.all(this.processes.map((node) => node.close()));
    rmSync(this.#folder, { recursive: true, force: true });
    removeFaketimeLeftovers();
  }

  async #start(): Promise<void> {
    const { database, nodes, workers = 0 } = this.plan;
    const name = `cluster_${process.pid}_${Date.now().toString(36)}`;
    if (database === 'mariadb') await this.services?.createDatabase(name);
    const sqlite = database === 'sqlite' ? await createDatabase('sqlite') : undefined;
    for (let i = 0; i < nodes; i++) this.nodes.push(await this.#node(`node ${i + 1}`, 'all', sqlite ?? name));
    for (let i = 0; i < workers; i++) this.workers.push(await this.#node(`worker ${i + 1}`, 'worker', sqlite ?? name));
    // The first makes the tables.
    await this.nodes[0]?.start();
    await Promise.all(this.processes.slice(1).map((node) => node.start()));
  }

  async #node(name: string, role: string, database: string): Promise<Node> {
    const { mariadb, redis } = this.services ?? {};
    let node: Node;
    const links = {
      clients: await Link.open(() => node.port),
      database: await Link.open(() => mariadb?.port ?? 0),
      redis: await Link.open(() => redis?.port ?? 0),
    };
    const isShared = this.plan.database === 'mariadb';
    const databaseUrl = isShared ? `mysql://root@127.0.0.1:${links.database.port}/${database}` : database;
    const clockFile = path.join(this.#folder, `clock of ${name}`);
    writeFileSync(clockFile, '+0');
    const env = {
      ...(isShared && { STARGUS_REDIS_URL: `redis://127.0.0.1:${links.redis.port}`, STARGUS_ROLE: role }),
      ...(this.plan.clocks && (await clockEnv(clockFile))),
      ...this.plan.env,
    };
    node = new Node(name, links, { database: this.plan.database, databaseUrl }, env, clockFile);
    return node;
  }
}

/**
 * What makes a program read its clock with the offset in the file, by Debian's libfaketime. Timers stay true: what a node does
 * at intervals is what makes a wrong clock dangerous, and nobody's monotonic clock is stepped.
 */
async function clockEnv(file: string): Promise<Record<string, string>> {
  const library = await faketime();
  return {
    LD_PRELOAD: library,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    DONT_FAKE_MONOTONIC: '1',
  };
}

/** The library's path, which differs between machines. */
async function faketime(): Promise<string> {
  await debianProgram('faketime');
  const files = execFileSync('dpkg', ['-L', 'libfaketime'], { encoding: 'utf8' }).split('\n');
  const library = files.find((file) => path.basename(file) === 'libfaketime.so.1');
  if (library === undefined) throw new Error('faketime is installed, but its package has no libfaketime.so.1.');
  return library;
}

/** A program that was killed leaves the shared memory of its false clock behind. */
function removeFaketimeLeftovers(): void {
  for (const name of existsSync('/dev/shm') ? readdirSync('/dev/shm') : []) {
    const pid = /faketime_\w+?_(\d+)$/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) rmSync(path.join('/dev/shm', name), { force: true });
  }
}
