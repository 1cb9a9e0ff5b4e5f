/** GET /changes: the commits in order, from any cursor on, as each filter sees them; and waiting for the next one. */
import { beforeAll, describe, expect, it } from 'vitest';
import { type Answer, expectProblem, pointersOf, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

interface Change {
  op: string;
  key: string;
}

/** Commits as `revision: op key, op key`. */
const told = ({ body }: Answer): string[] =>
  body.commits.map(
    ({ revision, changes }: { revision: number; changes: Change[] }) =>
      `${revision}: ${changes.map(({ op, key }) => `${op} ${key}`).join(', ')}`,
  );

describe.each(databases)('changes on $name', ({ name }) => {
  let server: Server;
  let scenario: Scenario;
  let epoch: string;
  beforeAll(async () => {
    server = await startServer({ database: name });
    scenario = new Scenario(server);
    await scenario.calls(
      ['PUT C/items/a1', { attributes: { x: 1, y: 1 } }],
      ['PUT C/items/a2', { attributes: { x: 1 } }],
      ['PATCH C/items/a1', { attributes: { x: 2 } }],
      ['PUT P/collections/others/items/a1', { attributes: { x: 9 } }],
      ['PATCH C/items/a1', { attributes: { y: null, z: { w: 1 } } }],
      [
        'POST P/batch',
        {
          ops: [
            { op: 'delete', collection: 'things', key: 'a2' },
            { op: 'put', collection: 'things', key: 'b', attributes: {} },
            { op: 'delete', collection: 'others', key: 'a1' },
          ],
        },
      ],
      ['PUT C/items/b', { attributes: {} }],
      ['DELETE C/items/a1'],
    );
    epoch = (await scenario.call('GET P')).body.epoch;
  });

  const all = [
    '1: add a1',
    '2: add a2',
    '3: change a1',
    '4: add a1',
    '5: change a1',
    '6: delete a2, add b, delete a1',
    '7: delete a1',
  ];
  const rows: [query: string, told: string[]][] = [
    ['', all],
    ['since=start', all],
    ['since=EPOCH-0', all],
    ['since=EPOCH-5', all.slice(5)],
    ['since=EPOCH-7', []],
    ['since=now', []],
    [
      'collection=things',
      ['1: add a1', '2: add a2', '3: change a1', '5: change a1', '6: delete a2, add b', '7: delete a1'],
    ],
    ['collection=others', ['4: add a1', '6: delete a1']],
    ['collection=never', []],
    ['collection=_dictionary', ['1: add things', '4: add others']],
    [
      'prefix=a',
      [
        '1: add a1',
        '2: add a2',
        '3: change a1',
        '4: add a1',
        '5: change a1',
        '6: delete a2, delete a1',
        '7: delete a1',
      ],
    ],
    ['prefix=a2&collection=things', ['2: add a2', '6: delete a2']],
    ['key=b', ['6: add b']],
    ['start=a2&end=b', ['2: add a2', '6: delete a2']],
    ['fields=y&collection=things', ['1: add a1', '2: add a2', '5: change a1', '6: delete a2, add b', '7: delete a1']],
    ['limit=1', ['1: add a1']],
    ['limit=2&collection=others', ['4: add a1', '6: delete a1']],
  ];

  it.each(rows)('?%s', async (query, wanted) => {
    const answer = await scenario.calls([`GET P/changes?${query.replace('EPOCH', epoch)}`]);
    expect(told(answer)).toEqual(wanted);
    // A page that is full ends where its last commit is.
    const last = query.startsWith('limit') ? Number.parseInt(wanted.at(-1) as string, 10) : 7;
    expect(answer.body).toMatchObject({ upToDate: last === 7, cursor: `${epoch}-${last}` });
  });

  it('a commit tells its revision, cursor, time and subject', async () => {
    const { commits } = (await scenario.calls(['GET P/changes'])).body;
    for (const [i, commit] of commits.entries()) {
      expect(commit).toMatchObject({
        revision: i + 1,
        cursor: `${epoch}-${i + 1}`,
        subject: expect.stringMatching(/\w/),
      });
      expect(new Date(commit.time).toISOString()).toBe(commit.time);
    }
  });

  const forms: [query: string, third: object, fifth: object, sixth: object][] = [
    [
      'values=changed',
      { op: 'change', collection: 'things', key: 'a1', changed: ['x'], removed: [], attributes: { x: 2 } },
      {
        op: 'change',
        collection: 'things',
        key: 'a1',
        changed: ['z', 'y'],
        removed: ['y'],
        attributes: { z: { w: 1 } },
      },
      { op: 'delete', collection: 'things', key: 'a2', changed: ['x'], removed: ['x'], attributes: {} },
    ],
    [
      'values=full',
      {
        op: 'change',
        collection: 'things',
        key: 'a1',
        changed: ['x'],
        removed: [],
        attributes: { x: 2, y: 1 },
        previous: { x: 1 },
      },
      {
        op: 'change',
        collection: 'things',
        key: 'a1',
        changed: ['z', 'y'],
        removed: ['y'],
        attributes: { x: 2, z: { w: 1 } },
        previous: { y: 1 },
      },
      {
        op: 'delete',
        collection: 'things',
        key: 'a2',
        changed: ['x'],
        removed: ['x'],
        attributes: {},
        previous: { x: 1 },
      },
    ],
    [
      'values=none',
      { op: 'change', collection: 'things', key: 'a1', changed: ['x'], removed: [] },
      { op: 'change', collection: 'things', key: 'a1', changed: ['z', 'y'], removed: ['y'] },
      { op: 'delete', collection: 'things', key: 'a2', changed: ['x'], removed: ['x'] },
    ],
  ];

  it.each(forms)('?%s', async (query, third, fifth, sixth) => {
    const { commits } = (await scenario.calls([`GET P/changes?${query}`])).body;
    expect([commits[2].changes[0], commits[4].changes[0], commits[5].changes[0]]).toEqual([third, fifth, sixth]);
    // `changed` is the default.
    if (query === 'values=changed') expect((await scenario.calls(['GET P/changes'])).body.commits).toEqual(commits);
  });

  it('fields show nothing but themselves', async () => {
    const { text, body } = await scenario.calls(['GET P/changes?fields=y&values=full&collection=things']);
    expect(text).not.toMatch(/"[xz]"/);
    expect(body.commits[2].changes).toEqual([
      {
        op: 'change',
        collection: 'things',
        key: 'a1',
        changed: ['y'],
        removed: ['y'],
        attributes: {},
        previous: { y: 1 },
      },
    ]);
  });

  it.each([1, 2, 3, 6])('pages of %i, cursor by cursor, are the whole', async (limit) => {
    const seen: string[] = [];
    for (let since = 'start', upToDate = false; !upToDate; ) {
      const answer = await scenario.calls([`GET P/changes?limit=${limit}&since=${since}`]);
      expect(answer.body.commits.length).toBeLessThanOrEqual(limit);
      seen.push(...told(answer));
      ({ cursor: since, upToDate } = answer.body);
    }
    expect(seen).toEqual(all);
  });

  it.each<[since: string, status: number, code: string]>([
    ['x', 400, 'invalidCursor'],
    ['', 400, 'invalidCursor'],
    ['7', 400, 'invalidCursor'],
    ['EPOCH', 400, 'invalidCursor'],
    ['EPOCH-', 400, 'invalidCursor'],
    ['EPOCH-07', 400, 'invalidCursor'],
    ['EPOCH--1', 410, 'cursorExpired'],
    ['EPOCH-1e1', 400, 'invalidCursor'],
    ['EPOCH-99999999999999999', 400, 'invalidCursor'],
    ['EPOCH-8', 410, 'cursorExpired'],
    ['ffffffffffff-1', 410, 'cursorExpired'],
  ])('since=%s is %i %s', async (since, status, code) => {
    for (const path of ['P/changes', 'P/changes/stream']) {
      const answer = await scenario.call(`GET ${path}?since=${since.replace('EPOCH', epoch)}`);
      expectProblem(answer, status, code);
      if (status === 410) expect(answer.body).toMatchObject({ oldest: `${epoch}-0`, current: `${epoch}-7` });
    }
  });

  it('the cursor of a pool’s former life is told from one of its present life', async () => {
    const reborn = new Scenario(server);
    await reborn.fill({ a: {} });
    const cursor = await reborn.cursor();
    await reborn.calls(['DELETE P'], ['PUT C/items/a', { attributes: {} }]);
    const answer = await reborn.call(`GET P/changes?since=${cursor}`);
    expectProblem(answer, 410, 'cursorExpired');
    expect(answer.body.current).toBe(await reborn.cursor());
    expect(told(await reborn.calls(['GET P/changes']))).toEqual(['1: add a']);
  });

  it('where the log is kept short, an old cursor has expired and `start` is what is left', async () => {
    const short = new Scenario(
      await startServer({ database: name, env: { STARGUS_HISTORY_COMMITS: '3', STARGUS_SWEEP: '100ms' } }),
    );
    for (let i = 1; i <= 8; i++) await short.fill({ [`k${i}`]: {} });
    await expect.poll(async () => (await short.call('GET P')).body.oldestRevision, { timeout: 10_000 }).toBe(6);
    const { epoch } = (await short.call('GET P')).body;
    expectProblem(await short.call(`GET P/changes?since=${epoch}-4`), 410, 'cursorExpired');
    expect((await short.call(`GET P/changes?since=${epoch}-4`)).body).toMatchObject({
      oldest: `${epoch}-5`,
      current: `${epoch}-8`,
    });
    expect(told(await short.calls([`GET P/changes?since=${epoch}-5`]))).toEqual([
      '6: add k6',
      '7: add k7',
      '8: add k8',
    ]);
    expect(told(await short.calls(['GET P/changes']))).toEqual(['6: add k6', '7: add k7', '8: add k8']);
    expect((await short.calls(['GET C/items'])).body.items).toHaveLength(8);
  });

  describe('waiting', () => {
    it('the answer comes with the next change that the filter sees, not before', async () => {
      const live = new Scenario(server);
      await live.fill({ a: {} });
      const waiting = live.call(`GET P/changes?since=${await live.cursor()}&prefix=b&waitMs=30000`);
      await live.fill({ c: {}, a: { x: 1 } });
      await live.calls(['PUT C/items/a', { attributes: { x: 1 } }]);
      await live.fill({ b: { x: 1 } });
      const answer = await waiting;
      expect(told(answer)).toEqual(['4: add b']);
      expect(answer.body).toMatchObject({ upToDate: true, cursor: await live.cursor() });
    });

    it('the answer comes empty when the time is over, at the present cursor', async () => {
      const live = new Scenario(server);
      await live.fill({ a: {} });
      const waiting = live.call('GET P/changes?since=now&prefix=b&waitMs=500');
      await live.fill({ c: {} });
      const answer = await waiting;
      expect(answer.body).toMatchObject({ commits: [], upToDate: true, cursor: await live.cursor() });
    });

    it('many wait, and each is told', async () => {
      const live = new Scenario(server);
      await live.fill({ a: {} });
      const waiting = Array.from({ length: 30 }, () => live.call(`GET P/changes?since=now&waitMs=30000`));
      const since = await live.cursor();
      const other = live.call(`GET P/changes?since=${since}&waitMs=30000`);
      let over = false;
      const done = Promise.all(waiting).finally(() => {
        over = true;
      });
      for (let i = 0; !over; i++) {
        await live.fill({ b: { i } });
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      for (const answer of await done) expect(told(answer)[0]).toMatch(/^\d+: (add|change) b$/);
      expect(told(await other)[0]).toBe('2: add b');
    });

    it('a pool that goes ends the wait', async () => {
      const live = new Scenario(server);
      await live.fill({ a: {} });
      const waiting = live.call(`GET P/changes?since=${await live.cursor()}&waitMs=30000`);
      await new Promise((resolve) => setTimeout(resolve, 200));
      await live.calls(['DELETE P']);
      expectProblem(await waiting, 404, 'notFound');
    });

    it('a stop ends the wait in order', async () => {
      const stopping = await startServer({ database: name });
      const live = new Scenario(stopping);
      await live.fill({ a: {} });
      const waiting = live.call(`GET P/changes?since=${await live.cursor()}&waitMs=30000`);
      await new Promise((resolve) => setTimeout(resolve, 200));
      expect((await stopping.stop()).code).toBe(0);
      expect((await waiting).body).toMatchObject({ commits: [], upToDate: true });
    });
  });

  it('a missing pool is 404', async () => {
    const none = new Scenario(server);
    await none.refused(404, 'notFound', 'GET P/changes');
    await none.refused(404, 'notFound', 'GET P/changes?waitMs=1000');
  });

  it.each(['key=..', 'collection=a%20b', 'fields=', `fields=${'n'.repeat(129)}`, 'fields=a,,b'])(
    '?%s names nothing',
    async (query) => {
      const answer = await scenario.call(`GET P/changes?${query}`);
      expectProblem(answer, 400, 'invalidName');
      expect(pointersOf(answer)).toEqual(query.startsWith('fields') ? ['?fields'] : []);
    },
  );

  it('?fields takes a pointer to an attribute, and refuses one into it', async () => {
    const pointed = new Scenario(server);
    await pointed.fill({ a: { list: [1], other: 2 } });
    const { body } = await pointed.calls(['GET P/changes?fields=/list']);
    expect(body.commits[0].changes[0]).toMatchObject({ changed: ['list'], attributes: { list: [1] } });
    for (const path of ['P/changes', 'P/changes/stream', 'C/attach']) {
      const answer = await pointed.refused(400, 'badRequest', `GET ${path}?fields=/list/0`);
      expect(pointersOf(answer)).toEqual(['?fields']);
    }
  });
});
