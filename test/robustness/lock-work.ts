/**
 * Clients that count under locks (lock-worker.ts) at a cluster whose faults others bring about. In the end they are let finish,
 * and judged as everywhere (exclusion.ts).
 */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Client, LoggedCommit } from './client.js';
import type { Node } from './cluster.js';
import { COUNTERS, checkExclusion, type Findings } from './exclusion.js';
import { letEnd, logOfLocks, Worker } from './lock-nemesis.js';
import type { Places } from './lock-worker.js';

const POOL = 'exclusion';
const TTL_MS = 1_000;

export class LockWork {
  readonly #folder = mkdtempSync(path.join(tmpdir(), 'stargus-locks-'));
  readonly #places = path.join(this.#folder, 'places.json');
  readonly #workers: Worker[] = [];
  #log: readonly LoggedCommit[] = [];
  #findings: Findings | undefined;

  constructor(
    private readonly nodes: readonly Node[],
    workers: number,
  ) {
    this.#tell(false);
    for (let i = 0; i < workers; i++) {
      const history = path.join(this.#folder, `w${i}`);
      writeFileSync(history, '');
      const where = { places: this.#places, history, pool: POOL, collection: COUNTERS, items: ['a', 'b'] };
      this.#workers.push(new Worker({ name: `w${i}`, process: `w${i}`, ...where, ttlMs: TTL_MS }));
    }
  }

  /** Lets the workers finish, and reads what came of it. */
  async end(client: Client): Promise<void> {
    this.#tell(true);
    await Promise.all(this.#workers.map(letEnd));
    this.#log = await logOfLocks(client, POOL);
    this.#findings = checkExclusion(
      this.#log,
      this.#workers.flatMap((worker) => worker.steps()),
    );
  }

  findings(): Findings {
    if (!this.#findings) throw new Error('The workers have not ended.');
    return this.#findings;
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.kill()));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #tell(over: boolean): void {
    const places: Places = { urls: this.nodes.map(({ url }) => url), over };
    writeFileSync(`${this.#places}.new`, JSON.stringify(places));
    renameSync(`${this.#places}.new`, this.#places);
  }
}
