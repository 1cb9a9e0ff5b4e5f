/**
 * What befalls a cluster, drawn at random: processes that are killed, stalled and restarted, links that go wrong, clocks that
 * jump. Faults of one kind of place come one after another, those of several kinds at the same time. In the end all is well again.
 */
import { pause } from './client.js';
import type { Cluster, Node, Service } from './cluster.js';
import type { History } from './history.js';
import type { Random } from './random.js';

export type Fault =
  | 'killNode'
  | 'stallNode'
  | 'restartNode'
  | 'killMariadb'
  | 'stallMariadb'
  | 'restartMariadb'
  | 'killRedis'
  | 'stallRedis'
  | 'restartRedis'
  | 'cutClients'
  | 'slowClients'
  | 'holeClients'
  | 'trickleClients'
  | 'cutDatabase'
  | 'slowDatabase'
  | 'holeDatabase'
  | 'trickleDatabase'
  | 'cutRedis'
  | 'slowRedis'
  | 'holeRedis'
  | 'stepClock';

const LINKS = { Clients: 'clients', Database: 'database', Redis: 'redis' } as const;

/** Between two faults of one place the clients come to work: so many requests are answered, on a slow machine too. */
const CALM_MS = [150, 900] as const;
const CALM_ANSWERS = 12;
const CALM_MS_MAX = 4_000;
/** A second, more than a lease, more than a day: what a step may be in the life of a machine. */
const STEPS_S = [1, 3, 40, 600, 4_000, 90_000];

export class Nemesis {
  readonly counts: Partial<Record<Fault, number>> = {};
  #isOver = false;

  constructor(
    private readonly cluster: Cluster,
    private readonly random: Random,
    private readonly history: History,
    /** How many requests have been answered. */
    private readonly answers: () => number,
  ) {}

  /** Lets these faults happen until `over`, each at least once. */
  async run(faults: readonly Fault[], over: Promise<void>): Promise<void> {
    void over.then(() => (this.#isOver = true));
    const places = new Map<string, Fault[]>();
    for (const fault of faults) {
      const place = /[A-Z]\w*$/.exec(fault)?.[0] ?? fault;
      places.set(place, [...(places.get(place) ?? []), fault]);
    }
    await Promise.all(Array.from(places.values(), (own) => this.#afflict(own, this.random.branch())));
    for (const { links } of this.cluster.processes) for (const link of Object.values(links)) link.turn('clear');
    for (const node of this.cluster.processes) node.setClock(0);
  }

  async #afflict(faults: readonly Fault[], random: Random): Promise<void> {
    const order = faults.toSorted(() => random.next() - 0.5);
    for (let i = 0; i < order.length || !this.#isOver; i++) {
      await this.#calm(random.between(...CALM_MS));
      if (this.#isOver && i >= order.length) return;
      const fault = order[i] ?? random.any(faults);
      await this.#do(fault, random);
      this.counts[fault] = (this.counts[fault] ?? 0) + 1;
    }
  }

  async #calm(ms: number): Promise<void> {
    const [began, answered] = [Date.now(), this.answers()];
    await pause(ms);
    while (this.answers() < answered + CALM_ANSWERS && Date.now() < began + CALM_MS_MAX) await pause(20);
  }

  async #do(fault: Fault, random: Random): Promise<void> {
    const [, deed = '', place = ''] = /^([a-z]+)(\w+)$/.exec(fault) ?? [];
    const node = random.any(this.cluster.processes);
    const ms = random.between(200, 2_000);
    const { mariadb, redis } = this.cluster.services ?? {};
    if (place === 'Node') await this.#toProcess(node, deed, ms, random);
    else if (place === 'Mariadb') await this.#toProcess(mariadb as Service, deed, ms, random);
    else if (fault.endsWith('Redis') && ['kill', 'stall', 'restart'].includes(deed))
      await this.#toProcess(redis as Service, deed, ms, random);
    else if (place === 'Clock') this.#step(node, random);
    else await this.#toLink(node, deed, LINKS[place as keyof typeof LINKS], ms, random);
  }

  async #toProcess(process: Node | Service, deed: string, ms: number, random: Random): Promise<void> {
    this.history.fault(`${deed} ${process.name}`);
    if (deed === 'kill') await process.kill(random.between(0, 700));
    else if (deed === 'stall') await process.stall(ms);
    else await process.restart();
    this.history.fault(`${process.name} is back`);
  }

  async #toLink(node: Node, deed: string, name: 'clients' | 'database' | 'redis', ms: number, random: Random) {
    const link = node.links[name];
    this.history.fault(`${deed} ${name} of ${node.name}`);
    if (deed === 'cut') return link.cut();
    link.turn(deed as 'slow' | 'hole' | 'trickle', random.between(5, 60));
    await pause(ms);
    link.turn('clear');
    this.history.fault(`${name} of ${node.name}: clear`);
  }

  #step(node: Node, random: Random): void {
    const offset = random.chance(0.25) ? 0 : random.any(STEPS_S) * (random.chance(0.5) ? 1 : -1);
    this.history.fault(`the clock of ${node.name} is ${offset} s off`);
    node.setClock(offset);
  }
}
