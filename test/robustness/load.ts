/**
 * Writers, and the truth about what they wrote: each of their writes makes a commit, whose revision its answer tells, so
 * the answers in the order of their revisions are the pool's whole history, known without asking the server for it.
 */
import fc from 'fast-check';
import type { Answer, Attributes, Client, Item } from './client.js';
import { send } from './commands.js';
import { type Command, Model, type Op } from './model.js';

export const KEYS = ['a1', 'a2', 'a3', 'b/1', 'b/2', 'c', 'Z', 'é', '\ufffd1', '😀1', '😀2'];
const COLLECTION = 'c1';

/** A write whose values are filled in when it is sent, so that each one changes something. */
export type Write = readonly {
  readonly op: 'put' | 'merge' | 'delete';
  readonly collection: string;
  readonly key: string;
  readonly extra: number;
  /** One of few values, for filters; null removes it. */
  readonly room?: string | null | undefined;
}[];

export const write = (keys: readonly string[] = KEYS): fc.Arbitrary<Write> =>
  fc.uniqueArray(
    fc.record({
      op: fc.constantFrom('put' as const, 'put' as const, 'merge' as const, 'delete' as const),
      collection: fc.constantFrom(COLLECTION, COLLECTION, 'c2'),
      key: fc.constantFrom(...keys),
      extra: fc.nat({ max: 2 }),
      room: fc.constantFrom('red', 'red', 'blue', 'green', null, undefined),
    }),
    // Each op on an item of its own, so that none undoes another and the write is a commit.
    { minLength: 1, maxLength: 4, selector: ({ collection, key }) => `${collection}/${key}` },
  );

export interface Acknowledged {
  readonly revision: number;
  readonly command: Command;
}

let serial = 0;

/** A write as a command. One of a batch must set something new. */
export function commandOf(drawn: Write, filler = ''): Command {
  const ops = drawn.map(({ op, collection, key, extra, room }, i): Op => {
    const n = ++serial;
    if (op === 'delete' && i > 0) return { op, collection, key };
    const more: Attributes = extra === 0 ? {} : extra === 1 ? { m: n, s: `${n}${filler}` } : { m: null };
    return {
      op: op === 'merge' ? 'merge' : 'put',
      collection,
      key,
      attributes: { n, ...more, ...(room !== undefined && { room }) },
    };
  });
  if (drawn[0]?.op === 'delete' && drawn.length === 1) {
    return { kind: 'single', op: { op: 'delete', collection: drawn[0].collection, key: drawn[0].key } };
  }
  if (ops.length === 1) return { kind: 'single', op: ops[0] as Op };
  return { kind: 'batch', ops, if: [], atomic: true, dryRun: false };
}

export class Load {
  readonly acknowledged: Acknowledged[] = [];

  constructor(
    private readonly client: Client,
    private readonly pool: string,
  ) {}

  async write(drawn: Write, filler = ''): Promise<Answer> {
    const command = commandOf(drawn, filler);
    const answer = await send(this.client, this.pool, command);
    if (answer.status >= 400)
      throw new Error(`${JSON.stringify(command)}: ${answer.status} ${JSON.stringify(answer.body)}`);
    const nothing = command.kind === 'single' && command.op.op === 'delete' && !answer.body.existed;
    if (!nothing) this.acknowledged.push({ revision: Number(answer.headers['stargus-revision']), command });
    return answer;
  }

  /** Declares an index, as a commit that no view of the application's collections sees. */
  async declareIndex(collection: string, attribute: string): Promise<void> {
    const op: Op = { op: 'put', collection: '_dictionary', key: collection, attributes: { indexes: [attribute] } };
    const answer = await send(this.client, this.pool, { kind: 'single', op });
    if (answer.status >= 400) throw new Error(`${answer.status} ${JSON.stringify(answer.body)}`);
    this.acknowledged.push({
      revision: Number(answer.headers['stargus-revision']),
      command: { kind: 'single', op },
    });
  }

  get revision(): number {
    return this.acknowledged.reduce((highest, { revision }) => Math.max(highest, revision), 0);
  }

  /** The history, and the states at the revisions asked for. Throws where the revisions have a hole or a double. */
  truth(wanted: Iterable<number>): { model: Model; stateAt: (revision: number) => Item[] } {
    const model = new Model();
    const states = new Map<number, Item[]>([[0, []]]);
    const asked = new Set(wanted);
    for (const { revision, command } of [...this.acknowledged].sort((a, b) => a.revision - b.revision)) {
      const outcome = model.run(command);
      if (!outcome.committed || outcome.revision !== revision) {
        throw new Error(
          `The write at ${revision} is number ${outcome.revision} (${outcome.committed ? 'a' : 'no'} commit): ${JSON.stringify(command)}`,
        );
      }
      model.forgetSystem();
      if (asked.has(revision)) states.set(revision, [...model.items.values()]);
    }
    return {
      model,
      stateAt(revision) {
        const state = states.get(revision);
        if (!state) throw new Error(`There was no revision ${revision}`);
        return state;
      },
    };
  }
}
