/** An item's history: each of its changes that the log still has, newest first, also of items that are gone. */
import { beforeAll, describe, expect, it } from 'vitest';
import { type Answer, expectProblem, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const H = 'C/items/a/history';

/** `revision op changed`, as a line for each change. */
const told = ({ body }: Answer): string[] =>
  body.changes.map(
    ({ revision, op, changed }: { revision: number; op: string; changed: string[] }) => `${revision} ${op} ${changed}`,
  );

/** Every page, followed by token. */
async function pages(scenario: Scenario, line: string): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (let token: string | undefined = ''; token !== undefined; ) {
    const answer: Answer = await scenario.calls([`GET ${line}${token && `&pageToken=${encodeURIComponent(token)}`}`]);
    answers.push(answer);
    token = answer.body.nextPageToken;
  }
  return answers;
}

/** Moves the pool by so many commits that don't concern the item. */
async function others(scenario: Scenario, commits: number): Promise<void> {
  const calls = Array.from({ length: commits }, (_, n) => scenario.call('PUT C/items/other', { attributes: { n } }));
  for (const { status } of await Promise.all(calls)) expect(status).toBeLessThan(300);
}

describe.each(databases)('history on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });

  it('tells each change with what it was before and after', async () => {
    const scenario = new Scenario(server);
    await scenario.calls(
      ['PUT C/items/a', { attributes: { n: 1, gone: 'x' } }],
      ['PUT C/items/b', { attributes: { n: 1 } }],
      ['PUT C/items/a', { attributes: { n: 2 } }],
      ['PUT C/items/a', { attributes: { n: 2 } }],
      ['DELETE C/items/a'],
    );
    const { body, headers } = await scenario.calls([`GET ${H}`]);
    const cursor = await scenario.cursor();
    const epoch = cursor.split('-')[0];
    const common = { collection: 'things', key: 'a', time: expect.stringMatching(/Z$/), subject: 'anonymous' };
    expect(body).toEqual({
      revision: 4,
      cursor,
      changes: [
        {
          ...common,
          revision: 4,
          cursor: `${epoch}-4`,
          op: 'delete',
          changed: ['n'],
          removed: ['n'],
          attributes: {},
          previous: { n: 2 },
        },
        {
          ...common,
          revision: 3,
          cursor: `${epoch}-3`,
          op: 'change',
          changed: ['n', 'gone'],
          removed: ['gone'],
          attributes: { n: 2 },
          previous: { n: 1, gone: 'x' },
        },
        {
          ...common,
          revision: 1,
          cursor: `${epoch}-1`,
          op: 'add',
          changed: ['n', 'gone'],
          removed: [],
          attributes: { n: 1, gone: 'x' },
          previous: {},
        },
      ],
    });
    expect(headers).toMatchObject({ 'stargus-revision': '4', 'stargus-cursor': cursor });
  });

  it('goes back over lives of the item, with others between', async () => {
    const scenario = new Scenario(server);
    await scenario.calls(['PUT C/items/a', { attributes: { life: 1 } }], ['DELETE C/items/a']);
    await others(scenario, 30);
    await scenario.calls(['PUT C/items/a', { attributes: { life: 2 } }]);
    await others(scenario, 30);
    await scenario.calls(['PATCH C/items/a', { attributes: { life: 3 } }]);
    expect(told(await scenario.calls([`GET ${H}`]))).toEqual([
      '64 change life',
      '33 add life',
      '2 delete life',
      '1 add life',
    ]);
    await scenario.calls(['DELETE C/items/a']);
    await others(scenario, 5);
    const whole = ['65 delete life', '64 change life', '33 add life', '2 delete life', '1 add life'];
    for (const limit of [1, 2, 5, 1000]) {
      const answers = await pages(scenario, `${H}?limit=${limit}`);
      for (const answer of answers) expect(answer.body.changes.length).toBeLessThanOrEqual(limit);
      expect(answers.flatMap(told)).toEqual(whole);
    }
  });

  it('ends where `since` says', async () => {
    const scenario = new Scenario(server);
    for (let n = 1; n <= 5; n++) await scenario.fill({ a: { n } });
    const epoch = (await scenario.cursor()).split('-')[0];
    for (const [since, revisions] of [
      ['start', [5, 4, 3, 2, 1]],
      [`${epoch}-0`, [5, 4, 3, 2, 1]],
      [`${epoch}-3`, [5, 4]],
      [`${epoch}-5`, []],
      ['now', []],
    ] as const) {
      const { body } = await scenario.calls([`GET ${H}?since=${since}`]);
      expect(body.changes.map(({ revision }: { revision: number }) => revision)).toEqual(revisions);
      expect(body).not.toHaveProperty('nextPageToken');
    }
    const paged = await pages(scenario, `${H}?since=${epoch}-1&limit=3`);
    expect(paged.flatMap(told)).toHaveLength(4);
    expectProblem(await scenario.call(`GET ${H}?since=feedbeef-3`), 410, 'cursorExpired');
    expectProblem(await scenario.call(`GET ${H}?since=x`), 400, 'invalidCursor');
  });

  it('is empty for what never was, and there for the collections of the system', async () => {
    const scenario = new Scenario(server);
    await scenario.calls(
      ['PUT C', { description: 'first' }],
      ['PATCH C', { description: 'second' }],
      ['PUT P/collections/_scripts/items/s', { attributes: { source: '1' } }],
    );
    for (const path of ['C/items/never', 'P/collections/nothing/items/a', 'P/collections/_locks/items/a']) {
      expect((await scenario.calls([`GET ${path}/history`])).body).toMatchObject({ changes: [], revision: 3 });
    }
    expect(told(await scenario.calls(['GET P/collections/_dictionary/items/things/history']))).toEqual([
      '2 change description',
      '1 add description',
    ]);
    expect(told(await scenario.calls(['GET P/collections/_scripts/items/s/history']))).toEqual(['3 add source']);
    await scenario.calls(['DELETE C'], ['PUT C/items/a', { attributes: {} }]);
    expect(told(await scenario.calls(['GET P/collections/_dictionary/items/things/history']))).toEqual([
      '5 add ',
      '4 delete description',
      '2 change description',
      '1 add description',
    ]);
  });

  it.each<[says: string, line: string, status: number, code: string]>([
    ['a limit of 0', `GET ${H}?limit=0`, 400, 'badRequest'],
    ['a limit past the bound', `GET ${H}?limit=1001`, 400, 'badRequest'],
    ['an unknown parameter', `GET ${H}?fields=a`, 400, 'badRequest'],
    ['a page token that nobody gave', `GET ${H}?pageToken=abc`, 400, 'invalidCursor'],
    ['a missing pool', 'GET /v1/pools/nowhere/collections/c/items/a/history', 404, 'notFound'],
    ['a bad key', 'GET C/items/%00/history', 400, 'invalidName'],
    ['another method', `DELETE ${H}`, 405, 'methodNotAllowed'],
  ])('refuses %s', async (_, line, status, code) => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: {} });
    expectProblem(await scenario.call(line), status, code);
  });

  it('a page token belongs to its item', async () => {
    const scenario = new Scenario(server);
    for (let n = 1; n <= 3; n++) await scenario.fill({ a: { n }, b: { n } });
    const { body } = await scenario.calls([`GET ${H}?limit=1`]);
    const token = encodeURIComponent(body.nextPageToken);
    expectProblem(await scenario.call(`GET C/items/b/history?pageToken=${token}`), 400, 'invalidCursor');
    expect(told(await scenario.calls([`GET ${H}?limit=1000&pageToken=${token}`]))).toEqual(['3 change n', '1 add n']);
  });

  it('one request examines so much of the log, and says where to go on', { timeout: 120_000 }, async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { n: 1 } });
    await scenario.calls(['DELETE C/items/a']);
    const ops = (round: number) =>
      Array.from({ length: 1000 }, (_, i) => ({
        op: 'put',
        collection: 'things',
        key: `k${i}`,
        attributes: { round },
      }));
    for (let round = 0; round < 40; round++) await scenario.calls(['POST P/batch', { ops: ops(round) }]);
    const answers = await pages(scenario, `${H}?limit=10`);
    expect(answers.length).toBeGreaterThan(1);
    expect(answers.length).toBeLessThan(5);
    expect(answers[0]?.body.changes).toEqual([]);
    expect(answers.flatMap(told)).toEqual(['2 delete n', '1 add n']);
  });

  it('ends where the log was compacted', async () => {
    const alone = await startServer({ database: name, env: { STARGUS_HISTORY_COMMITS: '3', STARGUS_SWEEP: '100ms' } });
    const scenario = new Scenario(alone);
    for (let n = 1; n <= 9; n++) await scenario.fill({ a: { n } });
    await expect
      .poll(async () => (await scenario.call('GET P')).body.oldestRevision, { timeout: 10_000 })
      .toBeGreaterThan(5);
    const { body } = await scenario.call('GET P');
    const { body: history } = await scenario.calls([`GET ${H}`]);
    expect(history.changes.at(-1).revision).toBe(body.oldestRevision);
    expect(history).not.toHaveProperty('nextPageToken');
    await alone.stop();
  });
});
