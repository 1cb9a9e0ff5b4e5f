/**
 * A server that is killed again and again under load, and what must hold each time it is back: every acknowledged write is
 * in the log at its revision, the log has no hole, the state is the replay of the log, and who repeats a write with its
 * Idempotency-Key until it is answered has it applied once.
 */
import { checkHealth } from '../support/program.js';
import { type DatabaseName, type Server, startServer } from '../support/server.js';
import {
  type Answer,
  Client,
  type Headers,
  type Item,
  inParallel,
  type LoggedChange,
  type LoggedCommit,
  pause,
  until,
} from './client.js';
import { checkFold, Watcher } from './watcher.js';

export interface CrashPlan {
  readonly database: DatabaseName;
  readonly crashes: number;
  readonly writers: number;
  readonly counters: number;
  /** A kill comes this long after the load is on, at most. */
  readonly loadMsMax: number;
  /** Before a kill so many batches are acknowledged, however long that takes on a busy machine. */
  readonly acknowledgedMin: number;
  readonly random: () => number;
}

export interface CrashReport {
  readonly acknowledged: number;
  readonly unanswered: number;
  readonly repeated: number;
  readonly revision: number;
}

const POOL = 'crash';
const P = `/v1/pools/${POOL}`;
const C = `${P}/collections/things`;

export async function crashAgainAndAgain(plan: CrashPlan): Promise<CrashReport> {
  const run = new Crashes(plan, await startServer({ database: plan.database }));
  try {
    return await run.run();
  } finally {
    await run.close();
  }
}

interface Acknowledged {
  readonly revision: number;
  readonly keys: readonly string[];
  readonly value: string;
}

class Crashes {
  #up = true;
  #over = false;
  #failure: unknown;
  #watchers: Watcher[] = [];
  readonly #client: Client;
  readonly #acknowledged: Acknowledged[] = [];
  #checked = 0;
  #unanswered = 0;
  #repeated = 0;
  /** Idempotency-Keys whose increment was answered at last. */
  readonly #counted = new Map<string, Answer>();
  /** The replay of the log so far. */
  readonly #replayed = new Map<string, Item>();
  readonly #log: LoggedCommit[] = [];
  #cursor = 'start';

  constructor(
    private readonly plan: CrashPlan,
    private server: Server,
  ) {
    this.#client = new Client(() => this.server.url);
  }

  async close(): Promise<void> {
    this.#over = true;
    this.#up = true;
    for (const watcher of this.#watchers) await watcher.stop().catch(() => undefined);
    this.#client.close();
  }

  async run(): Promise<CrashReport> {
    await this.#client.ok(`PUT ${P}`);
    await this.#client.ok(`PUT ${C}`);
    const { body } = await this.#client.ok(`GET ${P}`);
    this.#cursor = body.cursor;
    const follow = (kind: 'attach' | 'feed') =>
      new Watcher(() => this.server.url, POOL, { kind, collection: 'things', values: 'full' }).start();
    const watchers = [follow('feed'), follow('attach')];
    this.#watchers = watchers;
    await until(
      () => 'the watchers are not live',
      () => watchers.every(({ reached }) => reached >= 0),
    );
    const { writers, counters, crashes, loadMsMax, acknowledgedMin, random } = this.plan;
    const works = [
      ...Array.from({ length: writers }, (_, i) => this.#write(`w${i}`)),
      ...Array.from({ length: counters }, (_, i) => this.#count(`c${i}`)),
    ];
    const loads = works.map((work) =>
      work.catch((error) => {
        this.#failure ??= error;
      }),
    );
    for (let crash = 0; crash < crashes; crash++) {
      await pause(30 + random() * loadMsMax);
      await this.#untilWatched(crash);
      await this.#untilAcknowledged(acknowledgedMin);
      if (this.#failure) throw this.#failure;
      this.#up = false;
      await this.server.kill();
      this.server = await startServer({ database: this.plan.database, databaseUrl: this.server.databaseUrl });
      await this.#check();
      this.#up = true;
    }
    await pause(200);
    await this.#untilWatched(crashes);
    this.#over = true;
    await Promise.all(loads);
    if (this.#failure) throw this.#failure;
    const revision = await this.#check();
    await this.#checkCounter();
    for (const watcher of watchers) {
      await until(
        () => `${watcher.name} is at ${watcher.reached} of ${revision}`,
        () => watcher.failure !== undefined || watcher.reached >= revision,
      );
      await watcher.stop();
      this.#checkWatcher(watcher);
    }
    await checkHealth(this.server.databaseUrl);
    return {
      acknowledged: this.#acknowledged.length,
      unanswered: this.#unanswered,
      repeated: this.#repeated,
      revision,
    };
  }

  /** A kill is to cut open streams, and on a busy machine these may take longer to be back than the load to be on. */
  #untilWatched(crashes: number): Promise<void> {
    const isBack = ({ failure, connections }: Watcher) => failure !== undefined || connections > crashes;
    return until(
      () => `the watchers are not back after ${crashes} crashes`,
      () => this.#failure !== undefined || this.#watchers.every(isBack),
    );
  }

  #untilAcknowledged(count: number): Promise<void> {
    const fresh = () => this.#acknowledged.length - this.#checked;
    return until(
      () => `${fresh()} batches were acknowledged of the ${count} that a kill waits for`,
      () => this.#failure !== undefined || fresh() >= count,
    );
  }

  /** Sets some keys to a new value in one commit, over and over; what isn't answered may have happened or not. */
  async #write(name: string): Promise<void> {
    const { random } = this.plan;
    for (let n = 0; !this.#over; n++) {
      const keys = Array.from({ length: 1 + Math.floor(random() * 5) }, () => `k${Math.floor(random() * 50)}`);
      const value = `${name}-${n}`;
      const ops = [...new Set(keys)].map((key) => ({ op: 'put', collection: 'things', key, attributes: { value } }));
      const answer = await this.#try(() => this.#client.call(`POST ${P}/batch`, { ops }));
      if (answer) this.#acknowledged.push({ revision: answer.body.revision, keys, value });
      else this.#unanswered++;
    }
  }

  /** Adds one under a key of its own, and asks again until there is an answer; sometimes even after that. */
  async #count(name: string): Promise<void> {
    for (let n = 0; !this.#over; n++) {
      const key = `${name}-${n}`;
      const headers: Headers = { 'idempotency-key': key };
      const add = () => this.#client.call(`POST ${C}/items/counter/increment`, { attribute: 'n', by: 1 }, headers);
      let answer = await this.#try(add);
      for (; !answer; answer = await this.#try(add)) this.#repeated++;
      this.#counted.set(key, answer);
      if (n % 7 !== 0) continue;
      const again = await this.#try(add);
      if (again && (again.headers['idempotency-replayed'] !== 'true' || again.body.revision !== answer.body.revision)) {
        throw new Error(
          `The repetition of ${key} was answered ${JSON.stringify(again.body)} after ${JSON.stringify(answer.body)}`,
        );
      }
    }
  }

  /** The answer, or undefined when the server went away; then waits until it is back. */
  async #try(call: () => Promise<Answer>): Promise<Answer | undefined> {
    let answer: Answer | undefined;
    try {
      answer = await call();
    } catch {
      while (!this.#up) await pause(5);
      return undefined;
    }
    if (answer.status >= 500) return undefined;
    if (answer.status >= 400) throw new Error(`Refused: ${JSON.stringify(answer.body)}`);
    return answer;
  }

  /** Reads what the log has got since the last check, and compares it with what was acknowledged and with the state. */
  async #check(): Promise<number> {
    const { commits, cursor } = await this.#client.commits(POOL, this.#cursor);
    this.#cursor = cursor;
    for (const commit of commits) {
      const before = this.#log.at(-1)?.revision ?? commit.revision - 1;
      if (commit.revision !== before + 1) throw new Error(`The log has ${commit.revision} after ${before}`);
      this.#log.push(commit);
      for (const change of commit.changes) replay(this.#replayed, change, commit.revision);
    }
    const first = this.#log[0]?.revision ?? 0;
    for (const { revision, keys, value } of this.#acknowledged.slice(this.#checked)) {
      const commit = this.#log[revision - first];
      for (const key of keys) {
        const change = commit?.changes.find((candidate) => candidate.key === key);
        if (commit?.revision !== revision || change?.attributes.value !== value) {
          throw new Error(
            `${value} at ${key} was acknowledged at ${revision}, where the log has ${JSON.stringify(commit)}`,
          );
        }
      }
    }
    this.#checked = this.#acknowledged.length;
    const { items, revision } = await this.#client.items(C);
    // What a dying server had sent to MariaDB may come in while this is read; then the next check compares.
    if (revision === this.#log.at(-1)?.revision) {
      const expected = JSON.stringify([...this.#replayed.values()].sort((a, b) => (a.key < b.key ? -1 : 1)));
      if (JSON.stringify(items) !== expected)
        throw new Error(`The state at ${revision} is ${JSON.stringify(items)}, the log replays to ${expected}`);
    } else if (this.#over) throw new Error(`The state is at ${revision}, the log at ${this.#log.at(-1)?.revision}`);
    return revision;
  }

  async #checkCounter(): Promise<void> {
    const { body } = await this.#client.ok(`GET ${C}/items/counter`);
    if (body.attributes.n !== this.#counted.size)
      throw new Error(`${this.#counted.size} increments were answered, the counter is ${body.attributes.n}`);
    const values = new Set([...this.#counted.values()].map(({ body: { value } }) => value));
    if (values.size !== this.#counted.size) throw new Error('Two increments were answered with the same value');
    // Their answers are kept: each can be had again, without effect.
    const works = [...this.#counted]
      .filter((_, i) => i % 5 === 0)
      .map(([key, answer]) => async () => {
        const again = await this.#client.ok(
          `POST ${C}/items/counter/increment`,
          { attribute: 'n', by: 1 },
          { 'idempotency-key': key },
        );
        if (JSON.stringify(again.body) !== JSON.stringify(answer.body))
          throw new Error(`${key} was answered otherwise the second time`);
      });
    await inParallel(8, works);
    const after = await this.#client.ok(`GET ${C}/items/counter`);
    if (after.body.attributes.n !== this.#counted.size) throw new Error('A repeated increment was applied');
  }

  #checkWatcher(watcher: Watcher): void {
    const { name, lives, connections } = watcher;
    const [life] = lives;
    if (lives.length !== 1 || !life) throw new Error(`${name}: had to begin anew: ${watcher.resets}`);
    if (connections <= this.plan.crashes)
      throw new Error(`${name}: had ${connections} connections over ${this.plan.crashes} crashes`);
    const expected = this.#log.filter(({ revision }) => revision > (life.after ?? 0));
    const told = life.commits.map(({ revision }) => revision);
    if (JSON.stringify(told) !== JSON.stringify(expected.map(({ revision }) => revision))) {
      const missed = expected.filter(({ revision }) => !told.includes(revision)).map(({ revision }) => revision);
      throw new Error(`${name}: missed ${missed}; told ${told.length} commits of ${expected.length}`);
    }
    for (const [i, { changes }] of life.commits.entries()) {
      if (JSON.stringify(changes) !== JSON.stringify(expected[i]?.changes)) {
        throw new Error(`${name}: told ${JSON.stringify(changes)}, the log has ${JSON.stringify(expected[i])}`);
      }
    }
    checkFold(watcher, this.#replayed.values());
  }
}

function replay(state: Map<string, Item>, { op, collection, key, attributes }: LoggedChange, revision: number): void {
  if (op === 'delete') state.delete(key);
  else
    state.set(key, {
      collection,
      key,
      revision,
      createdRevision: state.get(key)?.createdRevision ?? revision,
      attributes,
    });
}
