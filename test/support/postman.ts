/**
 * A node in the test's own process, which does nothing but put deliveries into queues, as notifiers do. Where several nodes share a
 * database it may go about while servers run; on SQLite only before a server is started on the file, or while it is down.
 */
import { Engine } from '../../src/engine/engine.js';
import type { Telemetry } from '../../src/engine/ports.js';
import { type Delivery, type Enqueued, enqueue } from '../../src/engine/queues/enqueue.js';
import { QUEUES } from '../../src/engine/queues/queue-items.js';
import type { Command } from '../../src/engine/state/commands.js';
import { rangeOf } from '../../src/engine/state/key-order.js';
import type { Attributes } from '../../src/engine/state/model.js';
import { ensurePool } from '../../src/engine/state/pool-commands.js';
import { system } from '../../src/engine/subject.js';
import { LocalBus } from '../../src/jobs/local-bus.js';
import { openDatabase } from '../../src/store/data-source.js';
import { SqlStore } from '../../src/store/store.js';

const nothing = () => undefined;
const telemetry: Telemetry = {
  groupCommitted: nothing,
  groupFailed: nothing,
  viewsEvaluated: nothing,
  framesSent: nothing,
  watcherEnded: nothing,
  broughtForward: nothing,
  notifierDelivered: nothing,
  warn: (message, details) => console.error(message, details),
};

/** A delivery of the notifier `n` of the commit of that revision, which changed the item `things/<key>`. */
export function delivery(revision: number, more: Partial<Delivery> & { key?: string; pad?: number } = {}): Delivery {
  const { key = `k${revision}`, pad = 0, ...members } = more;
  const changes = [{ op: 'change', collection: 'things', key, attributes: { n: revision, pad: 'x'.repeat(pad) } }];
  const notifier = members.notifier ?? 'n';
  return {
    ...{ session: 's', owner: 'anonymous', notifier, delivery: `${notifier}-${revision}` },
    event: { type: 'stargus.change', data: { revision, changes } },
    ...members,
  };
}

export class Postman {
  private constructor(
    private readonly engine: Engine,
    private readonly store: SqlStore,
  ) {}

  static async open(databaseUrl: string): Promise<Postman> {
    const store = new SqlStore(await openDatabase({ url: databaseUrl, migrate: true }));
    const engine = new Engine(
      store,
      telemetry,
      { now: () => Date.now() },
      new LocalBus(),
      { want: nothing },
      // It delivers into queues itself, and nothing else.
      { webhooks: { faultOf: nothing, open: nothing }, store: { active: async () => [] } } as never,
      {
        ...{ createPools: true, cacheBytes: 1 << 20, retention: { ageMs: 3_600_000, commits: 100_000 } },
        ...{ streamMaxAgeMs: 60_000, pollMs: 1000, streamsMax: 10, scanItemsMax: 10_000, usageMs: 0, auditMs: 0 },
      },
    );
    return new Postman(engine, store);
  }

  /** Puts the deliveries into their queues, in one commit. The pool comes into being where there is none. */
  async deliver(pool: string, deliveries: readonly Delivery[]): Promise<Enqueued> {
    if (!(await this.engine.replicas.find(pool)))
      await this.engine.committer.submit(pool, ensurePool({ subject: system }));
    const { epoch } = await this.engine.reader.current(pool);
    return this.run(pool, enqueue({ epoch, deliveries }));
  }

  /** Does anything else that needs no server. */
  async run<Answer>(pool: string, command: Command<Answer>): Promise<Answer> {
    const submitted = await this.engine.committer.submit(pool, command);
    if (submitted.replayed) throw new Error('Nothing is done under a key');
    return submitted.answer;
  }

  /** The items of `_queues` of a session’s name: attributes, in the order of their keys. */
  async items(pool: string, session = 's'): Promise<Attributes[]> {
    const all: Attributes[] = [];
    for (let [after, more]: [string | undefined, boolean] = [undefined, true]; more; ) {
      const request = { ...rangeOf({ prefix: `${session}/` }), after, limit: 1000 };
      const page = await this.engine.reader.page(pool, QUEUES, request);
      all.push(...page.items.map(({ state }) => state.attributes));
      [after, more] = [page.items.at(-1)?.key, page.more];
    }
    return all;
  }

  /** One round of the sweep that ends what is due. */
  sweep(): Promise<void> {
    return this.engine.expiry.sweep(async () => true);
  }

  async close(): Promise<void> {
    await this.engine.committer.close();
    await this.store.close();
  }
}

/** Lets a postman go about on a database that nobody else has open. */
export async function withPostman<T>(databaseUrl: string, work: (postman: Postman) => Promise<T>): Promise<T> {
  const postman = await Postman.open(databaseUrl);
  try {
    return await work(postman);
  } finally {
    await postman.close();
  }
}
