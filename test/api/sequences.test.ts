/** Numbered batches of a session: each applies once, whatever is repeated, and none is passed over. */
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

describe.each(databases)('numbered batches on $name', ({ name }) => {
  let server: Server;
  let scenario: Scenario;
  let session: { session: string; epoch: number };
  beforeAll(async () => {
    server = await startServer({ database: name });
  });
  beforeEach(async () => {
    scenario = new Scenario(server);
    session = await begin('client');
  });

  const begin = async (called: string) => (await scenario.calls(['POST P/sessions', { name: called }])).body;
  const add = (by: number) => ({ op: 'increment', collection: 'things', key: 'a', attribute: 'x', by });
  const batch = (sequence: number, ops: object[], more: object = {}) => ({
    session: { session: session.session, epoch: session.epoch, sequence },
    ops,
    ...more,
  });
  const lastSequence = async () => (await scenario.call('GET P/sessions/client')).body.lastSequence;

  it('answers a repetition what it answered before, whatever it holds', async () => {
    const first = await scenario.calls(['POST P/batch', batch(1, [add(5)])]);
    const second = await scenario.calls(['POST P/batch', batch(1, [add(5)])]);
    const other = await scenario.calls(['POST P/batch', batch(1, [add(7)])]);
    expect([second.text, other.text]).toEqual([first.text, first.text]);
    expect([first, second].map(({ headers }) => headers['idempotency-replayed'])).toEqual([undefined, 'true']);
    expect(second.headers['stargus-revision']).toBe(first.headers['stargus-revision']);
    expect(await scenario.attributes('a')).toEqual({ x: 5 });
    expect(await lastSequence()).toBe(1);
  });

  it('refuses a gap, and says which is expected', async () => {
    await scenario.refused(409, 'sequenceGap', 'POST P/batch', batch(2, [add(1)]));
    await scenario.play([
      ['POST P/batch', batch(1, [add(1)]), 200],
      ['POST P/batch', batch(2, [add(1)]), 200],
      ['POST P/batch', batch(4, [add(1)]), 409, { code: 'sequenceGap', expected: 3 }],
      ['POST P/batch', batch(1, [add(1)]), 200],
      ['POST P/batch', batch(2, [add(1)]), 200],
    ]);
    expect(await scenario.attributes('a')).toEqual({ x: 2 });
  });

  it('uses up a number by a batch without effect, not by a refused one or a dry run', async () => {
    await scenario.play([
      ['POST P/batch', batch(1, [add(1)], { dryRun: true }), 200],
      ['POST P/batch', batch(1, [add(1)], { if: [{ collection: 'things', key: 'no', exists: true }] }), 412],
      ['POST P/batch', batch(1, []), 200, { revision: 1, results: [] }],
      ['POST P/batch', batch(1, [add(9)]), 200, { results: [] }],
      ['POST P/batch', batch(2, [{ ...add(1), max: 0 }], { atomic: false }), 200, { results: [{ status: 409 }] }],
      ['POST P/batch', batch(3, [add(1)]), 200, { results: [{ value: 1 }] }],
    ]);
  });

  it('applies one that is sent many times at once, once', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => scenario.call('POST P/batch', batch(1, [add(1)]))),
    );
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    expect(await scenario.attributes('a')).toEqual({ x: 1 });
  });

  it('takes a hundred that are sent in order without waiting, and answers each again', async () => {
    const numbers = Array.from({ length: 100 }, (_, i) => i + 1);
    const send = (sequence: number) => scenario.call('POST P/batch', batch(sequence, [add(1)]));
    const first: string[] = [];
    for (const sequence of numbers) first.push((await send(sequence)).text);
    const second = await Promise.all(numbers.map(send));
    expect(second.map(({ text }) => text)).toEqual(first);
    await scenario.calls(['POST P/batch', batch(101, [add(1)])]);
    await scenario.refused(409, 'sequenceGap', 'POST P/batch', batch(1, [add(1)]));
    expect(await scenario.attributes('a')).toEqual({ x: 101 });
  });

  it('keeps a note in the same commit, and gives it to who resumes, when all before has settled', async () => {
    const memento = { done: ['a', { b: 1 }] };
    await scenario.play([
      [
        'POST P/batch',
        batch(1, [add(1), { op: 'memento', value: memento }]),
        200,
        {
          results: [
            { index: 0, status: 200 + 1 },
            { index: 1, status: 200, changed: [] },
          ],
        },
      ],
      [
        'POST P/batch',
        batch(2, [
          { op: 'memento', value: 'lost' },
          { ...add(1), max: 0 },
        ]),
        409,
      ],
    ]);
    const waiting = Array.from({ length: 30 }, (_, i) =>
      scenario.call('POST P/batch', batch(i + 2, [add(1), { op: 'memento', value: i }])),
    );
    const resumed = (await scenario.calls(['PUT P/sessions/client'])).body;
    const applied = resumed.lastSequence;
    expect(resumed.memento).toEqual(applied === 1 ? memento : applied - 2);
    expect(await scenario.attributes('a')).toEqual({ x: applied });
    for (const { status, body } of await Promise.all(waiting))
      if (status !== 200) expect(['sequenceGap', 'sessionFenced']).toContain(body.code);
    // Nothing of the older epoch comes after.
    await scenario.refused(409, 'sessionFenced', 'POST P/batch', batch(applied + 1, [add(1)]));
    expect(await scenario.attributes('a')).toEqual({ x: applied });
    session = resumed;
    await scenario.play([
      ['POST P/batch', batch(applied, [add(100)]), 200],
      ['POST P/batch', batch(applied + 1, [add(1)]), 200, { results: [{ value: applied + 1 }] }],
    ]);
  });

  it('remembers number and note beyond the lease', async () => {
    session = (await scenario.calls(['POST P/sessions', { name: 'short', ttlMs: 1000 }])).body;
    await scenario.calls(['POST P/batch', batch(1, [add(1), { op: 'memento', value: null }])]);
    // Until its end is a commit: before, it is over for its client only.
    const seen = `GET P/collections/_clients/items/${session.session}`;
    while ((await scenario.call(seen)).status === 200) await sleep(50);
    const body = batch(1, [add(1)]);
    await scenario.refused(409, 'sessionFenced', 'POST P/batch', body);
    session = (await scenario.calls(['PUT P/sessions/short'])).body;
    expect(session).toMatchObject({ epoch: 2, lastSequence: 1, memento: null });
    await scenario.calls(['POST P/batch', batch(1, [add(1)])]);
    expect(await scenario.attributes('a')).toEqual({ x: 1 });
  });

  it('is answered again after the server was killed', async () => {
    const own = await startServer({ database: name });
    scenario = new Scenario(own);
    session = await begin('client');
    const first = await scenario.calls(['POST P/batch', batch(1, [add(1)])]);
    await own.kill();
    const again = await startServer({ database: name, databaseUrl: own.databaseUrl });
    scenario = new Scenario(again, scenario.pool);
    expect((await scenario.calls(['POST P/batch', batch(1, [add(1)])])).text).toBe(first.text);
    expect(await scenario.attributes('a')).toEqual({ x: 1 });
    await again.stop();
  });

  it.each<[says: string, body: (ref: object) => object, status: number, code: string]>([
    ['a number below 1', (ref) => ({ session: { ...ref, sequence: 0 }, ops: [] }), 400, 'badRequest'],
    ['no epoch', (ref) => ({ session: { ...ref, epoch: undefined }, ops: [] }), 400, 'badRequest'],
    ['a memento without a session', () => ({ ops: [{ op: 'memento', value: 1 }] }), 400, 'badRequest'],
    ['a memento without a value', (ref) => ({ session: ref, ops: [{ op: 'memento' }] }), 400, 'badRequest'],
    [
      'a memento of an item',
      (ref) => ({ session: ref, ops: [{ op: 'memento', value: 1, key: 'a' }] }),
      400,
      'badRequest',
    ],
    [
      'a memento that is too large',
      (ref) => ({ session: ref, ops: [{ op: 'memento', value: 'x'.repeat(65_535) }] }),
      413,
      'tooLarge',
    ],
    ['an op without a collection', () => ({ ops: [{ op: 'delete', key: 'a' }] }), 400, 'badRequest'],
  ])('refuses %s', async (_says, body, status, code) => {
    const ref = { session: session.session, epoch: session.epoch };
    await scenario.refused(status, code, 'POST P/batch', body(ref));
  });
});
