/**
 * A worker at a shared queue, with a session of its own for its numbers: it takes entries, counts each in a batch that also
 * acknowledges it, and may forget everything at any moment but its name, or be so slow that others take what it has taken.
 */
import { type Answer, type Client, pause } from './client.js';

export const COUNTED = 'counted';

/** How long a worker has what it took; some work takes longer. */
const HOLD_MS = 300;

export class QueueWorker {
  /** Entries that it counted, as far as it was told. */
  done = 0;
  /** Entries that somebody else had counted meanwhile. */
  lost = 0;
  /** How often it forgot everything. */
  crashes = 0;
  /** Batches that were not answered when they were first sent. */
  unanswered = 0;

  constructor(
    private readonly client: Client,
    private readonly pool: string,
    private readonly queue: string,
    private readonly name: string,
  ) {}

  /** Works until it is over. */
  async run(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      const session = await this.#resumed(isOver);
      if (!session) return;
      let { sequence } = session;
      for (let isAwake = true; isAwake && !isOver(); ) {
        const taken = await this.#call(`POST /v1/pools/${this.pool}/sessions/${this.queue}/queue/take`, {
          ...{ limit: 1 + Math.floor(Math.random() * 3), holdMs: HOLD_MS, waitMs: 200 },
        });
        for (const { delivery } of taken?.status === 200 ? taken.body.entries : []) {
          const chance = Math.random();
          if (chance < 0.1) await pause(HOLD_MS * 1.5);
          const outcome = await this.#count({ ...session, sequence: sequence + 1 }, delivery, chance > 0.95);
          if (outcome === 'applied') sequence++;
          isAwake = outcome !== 'gone';
          if (!isAwake) break;
        }
      }
    }
  }

  /** Counts an entry and acknowledges it. Repeats what isn't answered, unless it forgets that it asked. */
  async #count(session: object, delivery: string, forgets: boolean): Promise<'applied' | 'refused' | 'gone'> {
    const ops = [
      { op: 'increment', collection: COUNTED, key: delivery, attribute: 'n', by: 1 },
      { op: 'ack', queue: this.queue, delivery },
    ];
    for (let attempt = 1; ; attempt++) {
      const answering = this.#call(`POST /v1/pools/${this.pool}/batch`, { session, ops });
      if (forgets) {
        // The request goes its way.
        this.crashes++;
        void answering;
        return 'gone';
      }
      const answer = await answering;
      if (answer?.status === 200) {
        this.done++;
        return 'applied';
      }
      if (answer?.status === 412) {
        this.lost++;
        return 'refused';
      }
      if (answer?.status === 409) return 'gone';
      if (answer && answer.status !== 503) throw new Error(`${delivery}: ${JSON.stringify(answer.body)}`);
      if (attempt === 1) this.unanswered++;
      if (attempt > 200) throw new Error(`${delivery} was not answered`);
    }
  }

  async #resumed(isOver: () => boolean): Promise<{ session: string; epoch: number; sequence: number } | undefined> {
    for (let attempt = 0; attempt < 400 && !isOver(); attempt++) {
      const answer = await this.#call(`PUT /v1/pools/${this.pool}/sessions/${this.name}`, { ttlMs: 30_000 });
      if (answer && answer.status < 300) {
        const { session, epoch, lastSequence } = answer.body;
        return { session, epoch, sequence: lastSequence };
      }
    }
    return undefined;
  }

  /** Undefined where no answer came. */
  async #call(line: string, body: object): Promise<Answer | undefined> {
    try {
      return await this.client.call(line, body);
    } catch {
      await pause(50);
      return undefined;
    }
  }
}
