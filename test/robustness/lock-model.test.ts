/**
 * Random commands on sessions and locks against a plain model, on every database and over two nodes. They are sent one by one or
 * several at once; the revisions in the answers say in which order the server took them, and in that order the model must give
 * the same answers. After each round the server's holders and its queue are the model's, at every node.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { searching } from '../support/budget.js';
import { type Answer, Client } from './client.js';
import { type Drawn, difference, drawn, type LockCommand, resolve, SESSIONS, send } from './lock-commands.js';
import { LockModel, type Made, type ModelLock, tell } from './lock-model.js';
import { startNodes, variants } from './nodes.js';

/** How long each is tried; the number of runs follows. */
const BUDGET_MS = searching(12_000);

const rounds = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.tuple(drawn) },
    { weight: 1, arbitrary: fc.array(drawn, { minLength: 2, maxLength: 5 }) },
  ),
  { minLength: 1, maxLength: 60, size: 'max' },
) as fc.Arbitrary<Drawn[][]>;

describe.each(variants)('random locks on $name, nodes: $nodes', ({ name, nodes }) => {
  const clients: Client[] = [];
  beforeAll(async () => {
    for (const { url } of await startNodes(name, nodes)) clients.push(new Client(url));
  });
  afterAll(() => {
    for (const client of clients) client.close();
  });

  test('are granted, wait and exclude as the model says', async () => {
    // Not drawn by fast-check: a failure is shrunk with the same nodes in turn.
    let turn = 0;
    const any = () => clients[turn++ % clients.length] as Client;
    let pools = 0;
    /** How often each answer came: what never came proves nothing. */
    const met = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(rounds, async (all) => {
        const pool = `p${++pools}`;
        const model = new LockModel();
        await prepare(any(), pool, model);
        for (const round of all) {
          const commands = round.map((each) => resolve(each, model));
          const answers = await Promise.all(commands.map((each) => send(any(), pool, each)));
          const taken = commands.map((command, i): Taken => ({ command, answer: answers[i] as Answer }));
          replay(model, taken);
          for (const { answer } of taken) meet(met, answer);
          await expectLocks(any(), pool, model);
          for (const session of model.sessions.keys()) expect(model.isInCycle(session)).toBe(false);
        }
        for (const client of clients) await expectLocks(client, pool, model);
        await expectQueue(any(), pool, model);
      }),
      {
        numRuns: 10_000,
        interruptAfterTimeLimit: BUDGET_MS,
        markInterruptAsFailure: false,
        includeErrorInReport: true,
      },
    );
    expect(pools).toBeGreaterThan(2);
    const answers = ['200', '201', '202', '409 lockConflict', '409 deadlock', '412 lockLost', '423 locked'];
    for (const answer of answers) expect(met.get(answer) ?? 0, answer).toBeGreaterThan(0);
  }, 120_000);
});

/** Collections are there, so that no write makes one; and sessions. */
async function prepare(client: Client, pool: string, model: LockModel): Promise<void> {
  for (const collection of ['things', 'others']) {
    await client.ok(`PUT /v1/pools/${pool}/collections/${collection}`);
    model.revision++;
  }
  for (const name of SESSIONS) {
    const command: LockCommand = { kind: 'begin', name };
    replay(model, [{ command, answer: await send(client, pool, command) }]);
  }
}

interface Taken {
  readonly command: LockCommand;
  readonly answer: Answer;
}

/** Gives the model the commands in the order that the revisions of the answers tell, and compares the answers. */
function replay(model: LockModel, taken: readonly Taken[]): void {
  const revisionOf = ({ answer }: Taken) => Number(answer.headers['stargus-revision']);
  for (const revision of [...new Set(taken.map(revisionOf))].sort((a, b) => a - b)) {
    const group = taken.filter((each) => revisionOf(each) === revision);
    if (revision === model.revision) {
      const wrong = group.filter((each) => !isExplained(model, each, false));
      if (wrong.length === 0) continue;
      throw new Error(`These should have changed nothing at revision ${revision}: ${explain(model, wrong)}`);
    }
    // One of the group made the commit, the others were judged after it and committed nothing. Several may look as if they had made it.
    const maker = group.find((each) => isMaker(model, each, group));
    if (!maker || revision !== model.revision + 1)
      throw new Error(`Nothing explains revision ${revision} after ${model.revision}: ${explain(model, group)}`);
    model.run(maker.command, madeBy(maker.answer));
  }
}

/** Whether its commit explains its own answer, and what it left those of all others. */
function isMaker(model: LockModel, maker: Taken, group: readonly Taken[]): boolean {
  if (!isExplained(model, maker, true)) return false;
  const after = model.copy();
  after.run(maker.command, madeBy(maker.answer));
  return group.every((each) => each === maker || isExplained(after, each, false));
}

function isExplained(model: LockModel, { command, answer }: Taken, committed: boolean): boolean {
  const outcome = model.copy().run(command, madeBy(answer));
  return outcome.committed === committed && difference(outcome, answer) === undefined;
}

function madeBy({ body }: Answer): Made {
  return { lock: body.lock, session: body.session };
}

function explain(model: LockModel, group: readonly Taken[]): string {
  const told = group.map(({ command, answer }) => {
    const outcome = model.copy().run(command, madeBy(answer));
    return { command, outcome, difference: difference(outcome, answer), answer: answer.body };
  });
  return JSON.stringify({ locks: [...model.locks.values()], sessions: [...model.sessions], told }, null, 1);
}

function meet(met: Map<string, number>, { status, body }: Answer): void {
  const answer = body.code === undefined ? `${status}` : `${status} ${body.code}`;
  met.set(answer, (met.get(answer) ?? 0) + 1);
}

async function expectLocks(client: Client, pool: string, model: LockModel): Promise<void> {
  const { body } = await client.ok(`GET /v1/pools/${pool}/locks?limit=1000`);
  const inOrder = [...model.locks.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  expect(body.locks).toMatchObject(inOrder.map((lock) => ({ lock: lock.id, ...tell(lock) })));
  for (const { lock, state, waitsFor = [] } of body.locks) {
    const known = model.locks.get(lock) as ModelLock & { wanted: NonNullable<ModelLock['wanted']> };
    const blockers = known.wanted ? model.blockers(known).map(({ id }) => id) : [];
    expect({ lock, waits: waitsFor.length > 0 }).toEqual({ lock, waits: state === 'waiting' });
    expect(blockers).toEqual(expect.arrayContaining(waitsFor));
  }
}

async function expectQueue(client: Client, pool: string, model: LockModel): Promise<void> {
  for (const waiter of model.waiters) {
    const { body } = await client.ok(`GET /v1/pools/${pool}/locks/${waiter.id}`);
    expect(body).toMatchObject({ state: 'waiting', position: model.position(waiter) });
  }
}
