/** When the worker of operations gives one up, and when it tries again: on every database, with a performer that answers as the test says. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { limits } from '../../src/engine/limits.js';
import { OperationWorker } from '../../src/engine/operations/operation-worker.js';
import type { Operations } from '../../src/engine/operations/operations.js';
import type { Store, Telemetry } from '../../src/engine/ports.js';
import type { Committer } from '../../src/engine/state/committer.js';
import { databases } from '../support/server.js';
import { openStore } from './book.js';
import { newOperation } from './new-operation.js';

const BOUNDS = { perPool: 100, perCaller: 50, bytesPerPool: 1_000_000 };
const DONE = { status: 200, headers: {}, body: '{}' };
const BUSY = { status: 503, headers: {}, body: '{"code":"unavailable"}' };
const FAULT = { status: 500, headers: {}, body: '{"code":"internal"}' };

describe.each(databases)('the worker of operations on $name', ({ name }) => {
  let store: Store;
  let worker: OperationWorker;
  let answers: (typeof DONE)[];
  let performed: string[];
  let noticed: string[];
  let warnings: string[];
  let pool: string;
  beforeAll(async () => {
    ({ store } = await openStore(name));
  });
  afterAll(() => store?.close());
  beforeEach(() => {
    [answers, performed, noticed, warnings] = [[], [], [], []];
    pool = `pool-${randomUUID()}`;
    // No operation here has a session, so nothing is committed.
    const committer = {} as Committer;
    const operations = { noticeDone: (id: string) => void noticed.push(id) } as unknown as Operations;
    const telemetry = { warn: (message: string) => void warnings.push(message) } as unknown as Telemetry;
    worker = new OperationWorker(store, committer, operations, telemetry);
    worker.performer = {
      perform: async ({ id }) => {
        performed.push(id);
        return answers.shift() ?? DONE;
      },
    };
  });

  async function accept(lifeMs = 3_600_000): Promise<string> {
    const given = newOperation({ pool, body: undefined });
    expect((await store.operations.accept(given, BOUNDS, lifeMs)).kind).toBe('accepted');
    return given.id;
  }
  const work = () => worker.work({ kind: 'operation', pool, name: 'ann' }, new AbortController().signal);
  const find = (id: string) => store.operations.find(pool, id);

  test('tries again what met no room or no database, as often as it takes, and before what was accepted later', async () => {
    const ids = [await accept(), await accept()];
    answers = Array.from({ length: 2 * limits.operationAttemptsMax }, () => BUSY);
    for (let attempt = 0; attempt < 2 * limits.operationAttemptsMax; attempt++) {
      expect(await work()).toBeGreaterThan(0);
      expect(await find(ids[0] as string)).toMatchObject({ startedAt: undefined, doneAt: undefined });
    }
    expect(new Set(performed)).toEqual(new Set([ids[0]]));
    expect(await work()).toBeUndefined();
    expect(noticed).toEqual(ids);
    expect((await find(ids[0] as string))?.answer).toEqual(DONE);
  });

  test('gives up what was begun too often, says so, and goes on with the next', async () => {
    const [id, next] = [await accept(), await accept()];
    // As workers leave it that died with it.
    for (let attempt = 0; attempt < limits.operationAttemptsMax; attempt++)
      await store.operations.claim(pool, 'ann', 0);
    // Left to whoever has begun it, for a while.
    const busy = await work();
    expect(busy).toBeGreaterThan(0);
    expect(performed).toEqual([]);
    await new Promise((resolve) => setTimeout(resolve, (busy as number) + 50));
    expect(await work()).toBeUndefined();
    expect([performed, noticed]).toEqual([[next], [id, next]]);
    expect(warnings).toEqual(['An operation was given up']);
    const answer = (await find(id))?.answer;
    expect(answer?.status).toBe(500);
    expect(JSON.parse(answer?.body as string)).toMatchObject({
      ...{ type: 'http://x/docs/errors/internal', code: 'internal', status: 500, requestId: id },
    });
  });

  test('a fault of ours is the result only when it was met too often', { timeout: 120_000 }, async () => {
    const id = await accept();
    for (let attempt = 1; attempt < limits.operationAttemptsMax - 1; attempt++)
      await store.operations.claim(pool, 'ann', 0);
    answers = [FAULT, FAULT];
    const wait = async () => new Promise((resolve) => setTimeout(resolve, limits.operationBusyMs + 50));
    await wait();
    expect(await work()).toBeGreaterThan(0);
    expect((await find(id))?.doneAt).toBeUndefined();
    await wait();
    expect(await work()).toBeUndefined();
    expect(performed).toHaveLength(2);
    expect((await find(id))?.answer).toEqual(FAULT);
  });

  test('what waited for a day is not begun, and its caller is told', async () => {
    const id = await accept(-1);
    expect(await work()).toBeUndefined();
    expect(performed).toEqual([]);
    const answer = (await find(id))?.answer;
    expect(answer?.status).toBe(503);
    expect(JSON.parse(answer?.body as string)).toMatchObject({
      ...{ code: 'unavailable', detail: 'The operation could not be done within 24 hours.' },
    });
  });
});
