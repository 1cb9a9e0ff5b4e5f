/**
 * Entitled delivery while everything goes wrong: an operator writes items and policies through any node, subjects watch through
 * all of them, are cut off and come back elsewhere, and each is told what the policy of each revision shows them, no more and
 * no less. The oracle and the watchers are those of the leak test (leak-world.ts, leak-watcher.ts).
 */
import { accountOf, asOperator, OPERATOR_KEY } from '../support/people.js';
import { type Attributes, Client, type Headers, pause } from './client.js';
import { Cluster, type ClusterPlan, type Services } from './cluster.js';
import type { PolicyItem, PolicyRule } from './entitled.js';
import { type Fault, Nemesis } from './faults.js';
import type { Where } from './filtering.js';
import { History } from './history.js';
import { LeakWatcher } from './leak-watcher.js';
import { World } from './leak-world.js';
import { Random } from './random.js';

const SUBJECTS = ['ann', 'bob', 'cat'].map(accountOf);
const KEYS = ['k1', 'k2', 'k3', 'm1', 'm2'];
const ENV = {
  STARGUS_AUTH: 'required',
  STARGUS_OPERATOR_KEY: OPERATOR_KEY,
  STARGUS_AUDIT: '0s',
  STARGUS_RATE_READS: '0',
  STARGUS_RATE_WRITES: '0',
  STARGUS_RATE_STREAMS: '0',
};
/** What is asked of a cluster in trouble is asked again for so long. */
const PATIENCE_MS = 90_000;

export interface EntitledPlan extends ClusterPlan {
  readonly faults: readonly Fault[];
  readonly ms: number;
  readonly writesMin: number;
}

export interface EntitledReport {
  readonly faults: Nemesis['counts'];
  /** Revisions of the pool, changes told to subjects, connections that they had. */
  readonly revisions: number;
  readonly told: number;
  readonly connections: number;
}

/** @throws Error where somebody was told what they may not know, or not told what they may */
export async function watchEntitled(
  plan: EntitledPlan,
  seed: number,
  services: Services | undefined,
): Promise<EntitledReport> {
  const cluster = await Cluster.start({ ...plan, env: { ...ENV, ...plan.env } }, services);
  try {
    return await new Entitled(plan, cluster, new Random(seed), seed).run();
  } catch (error) {
    throw new Error(`STARGUS_TEST_SEED=${seed}: ${(error as Error).message}`, { cause: error });
  } finally {
    await cluster.close();
  }
}

class Entitled {
  readonly #client: Client;
  readonly #world: World;
  readonly #watchers: LeakWatcher[] = [];
  #answers = 0;
  #isOver = false;

  constructor(
    private readonly plan: EntitledPlan,
    private readonly cluster: Cluster,
    private readonly random: Random,
    private readonly seed: number,
  ) {
    this.#client = new Client(() => this.#anyUrl());
    this.#world = new World(this.#client, 'entitled', asOperator, SUBJECTS);
  }

  async run(): Promise<EntitledReport> {
    const nemesis = new Nemesis(this.cluster, this.random.branch(), new History(), () => this.#answers);
    const keys = new Map<string, Headers>();
    for (const subject of SUBJECTS) {
      const { body } = await this.#client.ok('POST /v1/auth/keys', { name: subject.slice(-3), subject }, asOperator);
      keys.set(subject, { authorization: `Bearer ${body.secret}` });
    }
    await this.#client.ok('PUT /v1/pools/entitled', {}, asOperator);
    await this.#policy(this.random);
    await this.#world.learn();
    this.#watch(keys);
    try {
      const over = this.#enough();
      const work = Promise.all([this.#write(this.random.branch()), this.#follow(this.random.branch())]);
      await Promise.all([nemesis.run(this.plan.faults, over).finally(() => (this.#isOver = true)), work]);
      await this.#settle();
    } finally {
      this.#isOver = true;
      for (const watcher of this.#watchers) watcher.cut();
      this.#client.close();
    }
    const sum = (of: (watcher: LeakWatcher) => number) => this.#watchers.reduce((total, each) => total + of(each), 0);
    const { revision: revisions } = this.#world;
    return {
      ...{ faults: nemesis.counts, revisions },
      ...{ told: sum(({ changes }) => changes), connections: sum(({ connections }) => connections) },
    };
  }

  async #enough(): Promise<void> {
    const { ms, writesMin } = this.plan;
    await pause(ms);
    for (const end = Date.now() + 20 * ms; this.#answers < writesMin && Date.now() < end; ) await pause(50);
  }

  #anyUrl(): string {
    return this.random.any(this.cluster.nodes).url;
  }

  #watch(keys: ReadonlyMap<string, Headers>): void {
    const views: [string, string[] | undefined, (attributes: Attributes) => boolean][] = [
      ['', undefined, () => true],
      ['&values=full&fields=n,secret', ['n', 'secret'], () => true],
      [`&where=${encodeURIComponent('{"room":"red"}')}`, undefined, ({ room }) => room === 'red'],
    ];
    for (const [subject, headers] of keys)
      for (const view of views)
        this.#watchers.push(new LeakWatcher(this.#world, () => this.#anyUrl(), subject, headers, 'things', ...view));
  }

  /** The operator writes; what isn't answered may have been done, and the log will say. */
  async #write(random: Random): Promise<void> {
    while (!this.#isOver) {
      const wrote = random.chance(0.3) ? this.#policy(random) : this.#item(random);
      await wrote.then(
        () => this.#answers++,
        () => pause(50),
      );
      await pause(random.between(0, 40));
    }
  }

  async #item(random: Random): Promise<void> {
    const line = `/v1/pools/entitled/collections/things/items/${random.any(KEYS)}`;
    if (random.chance(0.15)) return void (await this.#client.ok(`DELETE ${line}`, undefined, asOperator));
    const all: Attributes = {
      room: random.any(['red', 'blue']),
      owner: random.any(SUBJECTS),
      n: random.between(0, 3),
      secret: this.#world.word(this.seed),
      long: this.#world.word(this.seed),
    };
    const attributes = Object.fromEntries(Object.entries(all).filter(() => random.chance(0.7)));
    await this.#client.ok(`PUT ${line}`, { attributes }, asOperator);
  }

  async #policy(random: Random): Promise<void> {
    const rule = (): PolicyRule => ({
      effect: random.chance(0.75) ? 'allow' : 'deny',
      actions: random.any([['watch'], ['read', 'watch'], ['read']]),
      who: random.any([{ anyone: true as const }, { subjects: [random.any(SUBJECTS)] }, { roles: ['staff'] }]),
      collections: random.any([['things'], ['*']]),
      ...(random.chance(0.2) && { keys: { prefix: random.any(['k', 'm']) } }),
      ...(random.chance(0.4) && { attributes: random.any([['n', 'room'], ['secret'], ['owner', 'long', 'n']]) }),
      ...(random.chance(0.3) && {
        where: random.any<Where>([{ room: 'red' }, { owner: '$subject.id' }, { n: { lt: 2 } }]),
      }),
    });
    const attributes: PolicyItem = {
      rules: Array.from({ length: random.between(1, 3) }, rule),
      roles: { staff: SUBJECTS.filter(() => random.chance(0.5)) },
    };
    const line = `PUT /v1/pools/entitled/collections/_policies/items/${random.any(['p1', 'p2'])}`;
    await this.#client.ok(line, { attributes }, asOperator);
  }

  /** Watchers come and go, and what they were told is held against the log as far as that is known. */
  async #follow(random: Random): Promise<void> {
    while (!this.#isOver) {
      await this.#world.learn().catch(() => undefined);
      for (const watcher of this.#watchers) {
        watcher.take();
        if (!watcher.isOpen) await this.#reopen(watcher);
        else if (random.chance(0.1)) watcher.cut();
      }
      await pause(30);
    }
  }

  /** A node that is down opens no stream; what a stream that was cut had told counts all the same. */
  async #reopen(watcher: LeakWatcher): Promise<void> {
    await watcher.open().catch((error: Error) => {
      if (!/ECONN|EPIPE|socket hang up|aborted/.test(error.message)) throw error;
    });
  }

  async #settle(): Promise<void> {
    for (const end = Date.now() + PATIENCE_MS; ; await pause(200)) {
      try {
        await this.#world.learn();
        break;
      } catch (error) {
        if (Date.now() > end) throw error;
      }
    }
    for (const watcher of this.#watchers) {
      // A stream that ended with its node comes back first.
      watcher.take();
      watcher.cut();
      await watcher.open();
      await watcher.settle();
    }
  }
}
