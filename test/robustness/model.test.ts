/**
 * Random writes against a plain model, on every database. Writes are sent one by one or several at once; the revisions in
 * the answers say in which order the server took them, and in that order the model must give the same answers: that is
 * strict serializability, observed. In the end state, counts and change log are the model's too, on every node.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { searching } from '../support/budget.js';
import { type Answer, Client } from './client.js';
import { COLLECTIONS, command, difference, resolve, send } from './commands.js';
import { type Command, Model } from './model.js';
import { startNodes, variants } from './nodes.js';

/** How long each is tried; the number of runs follows. */
const BUDGET_MS = searching(12_000);

const rounds = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.tuple(command) },
    { weight: 1, arbitrary: fc.array(command, { minLength: 2, maxLength: 6 }) },
  ),
  {
    minLength: 1,
    maxLength: 40,
    size: 'max',
  },
);

describe.each(variants)('random writes on $name, nodes: $nodes', ({ name, nodes }) => {
  const clients: Client[] = [];
  beforeAll(async () => {
    for (const { url } of await startNodes(name, nodes)) clients.push(new Client(url));
  });
  afterAll(() => {
    for (const client of clients) client.close();
  });

  test('leave what the model says, and are answered as it says', async () => {
    // Not drawn by fast-check: a failure is shrunk with the same nodes in turn.
    let turn = 0;
    const any = () => clients[turn++ % clients.length] as Client;
    let pools = 0;
    let writes = 0;
    await fc.assert(
      fc.asyncProperty(rounds, async (drawn) => {
        const pool = `p${++pools}`;
        await any().ok(`PUT /v1/pools/${pool}`);
        const model = new Model();
        for (const round of drawn) {
          const commands = round.map((each) => resolve(each, model));
          const answers = await Promise.all(commands.map((each) => send(any(), pool, each)));
          writes += commands.length;
          replay(
            model,
            commands.map((each, i): Taken => ({ command: each, answer: answers[i] as Answer })),
          );
        }
        for (const client of clients) await expectState(client, pool, model);
      }),
      {
        numRuns: 10_000,
        interruptAfterTimeLimit: BUDGET_MS,
        markInterruptAsFailure: false,
        includeErrorInReport: true,
      },
    );
    expect(pools).toBeGreaterThan(3);
    expect(writes).toBeGreaterThan(100);
  }, 120_000);
});

interface Taken {
  readonly command: Command;
  readonly answer: Answer;
}

/** Gives the model the commands in the order that the revisions of the answers tell, and compares the answers. */
function replay(model: Model, taken: readonly Taken[]): void {
  const revisionOf = ({ answer }: Taken) => Number(answer.headers['stargus-revision']);
  const revisions = [...new Set(taken.map(revisionOf))].sort((a, b) => a - b);
  for (const revision of revisions) {
    const group = taken.filter((each) => revisionOf(each) === revision);
    if (revision === model.revision) {
      const wrong = wrongAfter(model, group);
      if (wrong.length > 0)
        throw new Error(`These should have changed nothing at revision ${revision}: ${explain(model, wrong)}`);
      continue;
    }
    // One of the group made the commit, the others were judged after it and committed nothing. Several may look as if they had
    // made it: deleting an item without attributes is answered as deleting none.
    const makers = group.filter(({ command, answer }) => {
      const outcome = model.copy().run(command);
      return outcome.committed && outcome.revision === revision && !difference(command, outcome, answer);
    });
    const maker = makers.find((each) => {
      const after = model.copy();
      after.run(each.command);
      const others = group.filter((other) => other !== each);
      return wrongAfter(after, others).length === 0;
    });
    if (!maker)
      throw new Error(
        `No order explains the answers at revision ${revision}, the model is at ${model.revision}: ${explain(model, group)}`,
      );
    model.run(maker.command);
  }
}

/** Those that would have changed something, or been answered otherwise, in the state of the model. */
function wrongAfter(model: Model, taken: readonly Taken[]): Taken[] {
  return taken.filter(({ command, answer }) => {
    const outcome = model.copy().run(command);
    return outcome.committed || difference(command, outcome, answer) !== undefined;
  });
}

function explain(model: Model, group: readonly Taken[]): string {
  const told = group.map(({ command, answer }) => {
    const outcome = model.copy().run(command);
    return {
      command,
      committed: outcome.committed,
      difference: difference(command, outcome, answer),
      answer: answer.body,
    };
  });
  return JSON.stringify(told, null, 1);
}

async function expectState(client: Client, pool: string, model: Model): Promise<void> {
  const P = `/v1/pools/${pool}`;
  const { body } = await client.ok(`GET ${P}`);
  expect(body).toMatchObject({
    revision: model.revision,
    collections: model.collections.size,
    items: model.items.size,
  });
  for (const name of COLLECTIONS) {
    const items = model.itemsOf(name);
    expect((await client.items(`${P}/collections/${name}`, 3)).items).toEqual(items);
    const told = await client.call(`GET ${P}/collections/${name}`);
    const collection = model.collections.get(name);
    if (collection)
      expect(told.body).toMatchObject({ collection: name, items: items.length, revision: collection.revision });
    else expect(told.status).toBe(404);
  }
  const inOrder = <T extends { collection: string; key: string }>(changes: readonly T[]) =>
    [...changes].sort((a, b) => (a.collection + a.key < b.collection + b.key ? -1 : 1));
  const { commits } = await client.commits(pool);
  const log = commits.map(({ revision, changes }) => ({
    revision,
    changes: inOrder(changes).map((change) => ({
      ...change,
      changed: [...change.changed].sort(),
      removed: [...change.removed].sort(),
    })),
  }));
  // A commit that drops an empty collection changes no item.
  const expected = model.commits.filter(({ changes }) => changes.length > 0);
  expect(log).toEqual(expected.map(({ revision, changes }) => ({ revision, changes: inOrder(changes) })));
}
