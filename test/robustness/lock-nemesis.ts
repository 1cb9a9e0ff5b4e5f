/**
 * Clients that count under locks (lock-worker.ts), and what befalls them and their servers meanwhile: clients are stopped for
 * longer than their leases, also between reading and writing, and killed, and others go on in their sessions; servers are
 * killed and started anew, and stopped for longer than the leases where there is another. In the end everybody is let finish,
 * and the pool's log and the clients' own words are there to be judged (exclusion.ts).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { checkHealth } from '../support/program.js';
import { type DatabaseName, markRunning, type Server, startServer } from '../support/server.js';
import { Client, type LoggedCommit, pause } from './client.js';
import { COUNTERS, type Step } from './exclusion.js';
import type { Places, WorkerOptions } from './lock-worker.js';

export type Deed = 'pause' | 'pauseBetween' | 'killWorker' | 'killBetween' | 'killServer' | 'stopServer';

export interface NemesisPlan {
  readonly database: DatabaseName;
  readonly nodes: 1 | 2;
  readonly workers: number;
  readonly ms: number;
  /** What befalls the workers, and what the servers, in turn. */
  readonly toWorkers: readonly Deed[];
  readonly toServers: readonly Deed[];
}

export interface NemesisReport {
  readonly log: readonly LoggedCommit[];
  readonly steps: readonly Step[];
  /** How often each was done. */
  readonly deeds: Readonly<Partial<Record<Deed, number>>>;
}

const POOL = 'exclusion';
const ITEMS = ['a', 'b', 'c'];
const TTL_MS = 1_000;
/** In the end the last leases are over and swept within so long, or something is wrong. */
const LAPSED_MS = 60_000;
/** Longer than a lease, and than the sweep takes to see that it is over. */
const beyondLease = () => TTL_MS * (1.3 + Math.random());

export async function countUnderNemesis(plan: NemesisPlan): Promise<NemesisReport> {
  const run = new Run(plan);
  try {
    return await run.run();
  } finally {
    await run.close();
  }
}

/** One client process. */
export class Worker {
  readonly exited: Promise<void>;
  readonly #child: ChildProcess;

  constructor(readonly options: WorkerOptions) {
    const program = path.join(import.meta.dirname, 'lock-worker.ts');
    this.#child = spawn(process.execPath, [program, JSON.stringify(options)], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const forget = markRunning(this.#child);
    this.exited = new Promise((resolve) => this.#child.once('exit', () => resolve()));
    void this.exited.then(forget);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.exited;
  }

  /** A line that a kill cut short doesn't count: what it would say wasn't done. */
  steps(): Step[] {
    const text = readFileSync(this.options.history, 'utf8');
    const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
    return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Step);
  }
}

class Run {
  readonly #folder = mkdtempSync(path.join(tmpdir(), 'stargus-locks-'));
  readonly #places = path.join(this.#folder, 'places.json');
  readonly #servers: Server[] = [];
  /** Those that run, by the name of their session. */
  readonly #workers = new Map<string, Worker>();
  readonly #all: Worker[] = [];
  readonly #deeds: Partial<Record<Deed, number>> = {};
  readonly #does: Readonly<Record<Deed, () => Promise<void>>> = {
    pause: () => this.#pause(this.#anyWorker()),
    pauseBetween: async () => this.#pause(await this.#between()),
    killWorker: () => this.#killWorker(this.#anyWorker()),
    killBetween: async () => this.#killWorker(await this.#between()),
    killServer: () => this.#killServer(),
    stopServer: () => this.#stopServer(),
  };

  constructor(private readonly plan: NemesisPlan) {}

  async run(): Promise<NemesisReport> {
    const { database, nodes, workers, ms, toWorkers, toServers } = this.plan;
    const first = await startServer({ database });
    this.#servers.push(first);
    if (nodes === 2) this.#servers.push(await startServer({ database, databaseUrl: first.databaseUrl }));
    this.#tell(false);
    for (let i = 0; i < workers; i++) this.#startWorker(`w${i}`);
    const began = Date.now();
    const isOver = () => Date.now() - began > ms && (this.#hasEnough() || Date.now() - began > ms * 4);
    await Promise.all([this.#afflict(toWorkers, 300, isOver), this.#afflict(toServers, 3_000, isOver)]);
    this.#tell(true);
    await Promise.all(Array.from(this.#workers.values(), letEnd));
    const log = await this.#log();
    await checkHealth(first.databaseUrl);
    return { log, steps: this.#all.flatMap((worker) => worker.steps()), deeds: this.#deeds };
  }

  async close(): Promise<void> {
    await Promise.all(this.#all.map((worker) => worker.kill()));
    await Promise.all(this.#servers.map((server) => server.kill()));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Each at least once. A pause lets the clients come to work in between. */
  async #afflict(deeds: readonly Deed[], pauseMs: number, isOver: () => boolean): Promise<void> {
    for (let i = 0; i < deeds.length || !isOver(); i++) {
      await pause(Math.random() * 2 * pauseMs);
      const deed = deeds[i % deeds.length] as Deed;
      await this.#does[deed]();
      this.#deeds[deed] = (this.#deeds[deed] ?? 0) + 1;
    }
  }

  /** Something was refused, and much was written: on a busy machine that takes longer. */
  #hasEnough(): boolean {
    const steps = this.#all.flatMap((worker) => worker.steps());
    return steps.some(({ step }) => step === 'refused') && steps.filter(({ step }) => step === 'written').length > 40;
  }

  async #pause(worker: Worker): Promise<void> {
    worker.signal('SIGSTOP');
    await pause(beyondLease());
    worker.signal('SIGCONT');
  }

  /** The next process comes within the lease, and has the lock of the one before, or after it. */
  async #killWorker(worker: Worker): Promise<void> {
    await worker.kill();
    if (Math.random() < 0.5) await pause(beyondLease());
    this.#startWorker(worker.options.name);
  }

  /** One that has read and not written yet, as far as that can be seen from here; another where none is found. */
  async #between(): Promise<Worker> {
    const deadline = Date.now() + 3_000;
    while (Date.now() < deadline) {
      for (const worker of this.#workers.values()) if (worker.steps().at(-1)?.step === 'read') return worker;
      await pause(5);
    }
    return this.#anyWorker();
  }

  async #killServer(): Promise<void> {
    const i = this.#anyServer();
    const { databaseUrl } = this.#servers[i] as Server;
    await this.#servers[i]?.kill();
    this.#servers[i] = await startServer({ database: this.plan.database, databaseUrl });
    this.#tell(false);
  }

  async #stopServer(): Promise<void> {
    const { pid } = this.#servers[this.#anyServer()] as Server;
    process.kill(pid, 'SIGSTOP');
    await pause(beyondLease());
    process.kill(pid, 'SIGCONT');
  }

  #startWorker(name: string): void {
    const process = `${name}.${this.#all.length}`;
    const history = path.join(this.#folder, process);
    writeFileSync(history, '');
    const where = { places: this.#places, history, pool: POOL, collection: COUNTERS, items: ITEMS };
    const worker = new Worker({ name, process, ...where, ttlMs: TTL_MS });
    this.#workers.set(name, worker);
    this.#all.push(worker);
  }

  #anyWorker(): Worker {
    return this.#workers.get(`w${Math.floor(Math.random() * this.plan.workers)}`) as Worker;
  }

  #anyServer(): number {
    return Math.floor(Math.random() * this.#servers.length);
  }

  /** Where the workers ask from now on. They see it whole or not at all. */
  #tell(over: boolean): void {
    const places: Places = { urls: this.#servers.map(({ url }) => url), over };
    writeFileSync(`${this.#places}.new`, JSON.stringify(places));
    renameSync(`${this.#places}.new`, this.#places);
  }

  async #log(): Promise<LoggedCommit[]> {
    const client = new Client((this.#servers[0] as Server).url);
    try {
      return await logOfLocks(client, POOL);
    } finally {
      client.close();
    }
  }
}

/** All that the counters and the locks of a pool went through, once the last lease is over. */
export async function logOfLocks(client: Client, pool: string): Promise<LoggedCommit[]> {
  const deadline = Date.now() + LAPSED_MS;
  while ((await client.ok(`GET /v1/pools/${pool}/locks`)).body.locks.length > 0 && Date.now() < deadline)
    await pause(50);
  const logs = [COUNTERS, '_locks'].map((name) => client.commits(pool, 'start', `&collection=${name}`));
  return merge((await Promise.all(logs)).flatMap(({ commits }) => commits));
}

/** One that can't end, because it waits for an answer that is lost, isn't waited for long. */
export async function letEnd(worker: Worker): Promise<void> {
  worker.signal('SIGCONT');
  await Promise.race([worker.exited, pause(10_000)]);
  await worker.kill();
}

function merge(commits: readonly LoggedCommit[]): LoggedCommit[] {
  const merged = new Map<number, LoggedCommit>();
  for (const commit of commits) {
    const changes = [...(merged.get(commit.revision)?.changes ?? []), ...commit.changes];
    merged.set(commit.revision, { ...commit, changes });
  }
  return [...merged.values()].sort((a, b) => a.revision - b.revision);
}
