/**
 * One history: a cluster, clients and watchers on all its nodes, faults meanwhile, and then peace, in which everybody must be
 * told everything. What was recorded is left in a folder for the judge (judging.ts).
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Client, pause, until } from './client.js';
import { Cluster, type ClusterPlan, type Services } from './cluster.js';
import { type Fault, Nemesis } from './faults.js';
import { History } from './history.js';
import { LockWork } from './lock-work.js';
import { Random } from './random.js';
import { RecordedWatcher, type Watched } from './recorded-watcher.js';
import { Traffic } from './traffic.js';

export interface RecordingPlan extends ClusterPlan {
  readonly name: string;
  readonly faults: readonly Fault[];
  readonly ms: number;
  /** A machine that has other things to do takes longer, but not for ever. */
  readonly commitsMin: number;
  /** Bounds what the judge has to go through. */
  readonly answersMax: number;
  /** Processes that count under locks meanwhile. */
  readonly lockWorkers?: number;
}

export interface Recording {
  /** Where `history.ndjson` is, and whatever the judge adds. */
  readonly folder: string;
  readonly history: History;
  readonly faults: Nemesis['counts'];
  /** What locks have to answer for. */
  readonly locks: ReturnType<LockWork['findings']> | undefined;
}

const POOL = 'history';
/** When all is well again, so long at most until everybody has been told everything. */
const SETTLED_MS = 40_000;

const STAY_MS = [2_000, 15_000, 5_000];

const WATCHED: readonly Watched[] = [
  { way: 'feed', values: 'full' },
  { way: 'feed', values: 'changed', prefix: 'a' },
  { way: 'attach', values: 'full' },
  { way: 'attach', values: 'changed' },
  { way: 'attach', values: 'full', prefix: 'b' },
  { way: 'attach', values: 'changed', key: 'a1-1' },
  { way: 'poll', values: 'full' },
  { way: 'poll', values: 'changed', prefix: 'a' },
];

export async function record(plan: RecordingPlan, seed: number, services: Services | undefined): Promise<Recording> {
  const cluster = await Cluster.start(plan, services);
  try {
    return await new Recorder(plan, seed, cluster).run();
  } catch (error) {
    const said = cluster.processes.map(({ name, output }) => `── ${name} ──\n${tail(output())}`);
    throw new Error(`${plan.name}, STARGUS_TEST_SEED=${seed}: ${(error as Error).message}\n${said.join('\n')}`, {
      cause: error,
    });
  } finally {
    await cluster.close();
  }
}

function tail(output: string): string {
  return output.trimEnd().split('\n').slice(-8).join('\n');
}

class Recorder {
  readonly #history = new History();
  readonly #random: Random;
  readonly #client: Client;

  constructor(
    private readonly plan: RecordingPlan,
    private readonly seed: number,
    private readonly cluster: Cluster,
  ) {
    this.#random = new Random(seed);
    this.#client = new Client(() => this.cluster.nodes[0]?.url as string);
  }

  async run(): Promise<Recording> {
    const { clients, watchers, nemesis } = this.#actors();
    await this.#client.ok(`PUT /v1/pools/${POOL}`, {});
    await this.#client.ok(`PUT /v1/pools/${POOL}/collections/things`, {});
    const base = (await this.#client.ok(`GET /v1/pools/${POOL}`)).headers['stargus-cursor'] as string;
    await clients.mark('first');
    for (const watcher of watchers) watcher.start();
    const locks = this.plan.lockWorkers ? new LockWork(this.cluster.nodes, this.plan.lockWorkers) : undefined;
    try {
      const over = this.#enough(clients);
      await Promise.all([clients.run(this.#random.branch(), over), nemesis.run(this.plan.faults, over)]);
      const last = await clients.mark('last');
      await this.#settle(watchers, last);
      await clients.readAll();
      await locks?.end(this.#client);
    } finally {
      await Promise.all(watchers.map((watcher) => watcher.stop()));
      await locks?.close();
      clients.close();
    }
    const { commits } = await this.#client.commits(POOL, base);
    this.#client.close();
    const folder = mkdtempSync(path.join(tmpdir(), 'stargus-history-'));
    const { name, nodes, database } = this.plan;
    const about = { name, nodes, database, seed: this.seed };
    this.#history.write(path.join(folder, 'history.ndjson'), about, base, commits);
    return { folder, history: this.#history, faults: nemesis.counts, locks: locks?.findings() };
  }

  #actors() {
    const { nodes } = this.cluster;
    const plan = { pool: POOL, clients: 6, thinkMs: 30, answersMax: this.plan.answersMax };
    const clients = new Traffic(nodes, this.#history, plan);
    const watchers = WATCHED.map((watched, i) => {
      const name = `${watched.way} ${i + 1}`;
      const stayMs = STAY_MS[i % STAY_MS.length] as number;
      return new RecordedWatcher(name, nodes, POOL, watched, this.#history, this.#random.branch(), stayMs);
    });
    return {
      clients,
      watchers,
      nemesis: new Nemesis(this.cluster, this.#random.branch(), this.#history, () => clients.answers),
    };
  }

  async #enough(clients: Traffic): Promise<void> {
    const { ms, commitsMin } = this.plan;
    await pause(ms);
    for (const end = Date.now() + 20 * ms; clients.commits < commitsMin && Date.now() < end; ) await pause(50);
  }

  async #settle(watchers: readonly RecordedWatcher[], last: number): Promise<void> {
    for (const watcher of watchers) watcher.settle();
    for (const watcher of watchers)
      await until(
        () => `All was well again, and ${watcher.name} was not told everything: it is at ${watcher.reached} of ${last}`,
        () => watcher.reached >= last,
        SETTLED_MS,
      );
  }
}
