/** Conditional requests as in RFC 9110, judged inside the commit, and `Prefer: return=minimal`. */
import { beforeAll, describe, expect, it } from 'vitest';
import { expectProblem, type Headers, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

describe.each(databases)('conditional requests on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });

  /** The item `a` has the attribute x and stands at revision 2; `z` is missing. Each row is judged for every kind of write. */
  const onItems: [header: string, value: string, holdsForPresent: boolean, holdsForMissing: boolean][] = [
    ['if-match', '"2"', true, false],
    ['if-match', '"1"', false, false],
    ['if-match', '*', true, false],
    ['if-match', ' * ', true, false],
    ['if-match', '"1", "2"', true, false],
    ['if-match', '"1" ,"2","3"', true, false],
    ['if-match', '"1", "3"', false, false],
    ['if-match', '"2-gzip"', true, false],
    ['if-match', '"1-gzip"', false, false],
    ['if-match', 'W/"2"', false, false],
    ['if-match', '"02"', false, false],
    ['if-none-match', '*', false, true],
    ['if-none-match', '"2"', false, true],
    ['if-none-match', 'W/"2"', false, true],
    ['if-none-match', '"2-gzip"', false, true],
    ['if-none-match', '"1", "2"', false, true],
    ['if-none-match', '"1"', true, true],
  ];
  const writes: [line: string, body: unknown][] = [
    ['PUT C/items/KEY', { attributes: { y: 1 } }],
    ['PATCH C/items/KEY', { attributes: { y: 1 } }],
    ['PUT C/items/KEY/attributes/x', { value: 'new' }],
    ['POST C/items/KEY/increment', { attribute: 'n', by: 1 }],
    ['DELETE C/items/KEY', undefined],
    ['DELETE C/items/KEY/attributes/x', undefined],
  ];

  describe.each(onItems)('%s: %s', (header, value, holdsForPresent, holdsForMissing) => {
    it.each(writes)(
      `${holdsForPresent ? 'lets' : 'refuses'} %s of what is there, ${holdsForMissing ? 'lets' : 'refuses'} it of what is not`,
      async (line, body) => {
        const scenario = new Scenario(server);
        await scenario.fill({ other: {}, a: { x: 1 } });
        const headers = { [header]: value };
        for (const [key, holds] of [
          ['z', holdsForMissing],
          ['a', holdsForPresent],
        ] as const) {
          const at = line.replace('KEY', key);
          if (holds) {
            await scenario.calls([at, body, headers]);
          } else {
            const { body: problem } = await scenario.refused(412, 'preconditionFailed', at, body, headers);
            expect(problem.currentRevision).toBe(key === 'a' ? 2 : null);
          }
        }
      },
    );
  });

  it.each<[header: string, value: string, status: number]>([
    ['if-none-match', '"2"', 304],
    ['if-none-match', 'W/"2"', 304],
    ['if-none-match', '"2-gzip"', 304],
    ['if-none-match', '"1", "2"', 304],
    ['if-none-match', '*', 304],
    ['if-none-match', '"1"', 200],
    ['if-match', '"2"', 200],
    ['if-match', '*', 200],
    ['if-match', '"1"', 412],
  ])('a read with %s: %s is %i', async (header, value, status) => {
    const scenario = new Scenario(server);
    await scenario.fill({ other: {}, a: { x: 1 } });
    for (const path of ['C/items/a', 'C/items/a/attributes/x', 'C/items/a?fields=x'].filter(
      (path) => status !== 412 || !path.includes('?'),
    )) {
      const answer = await scenario.call(`GET ${path}`, undefined, { [header]: value });
      expect(answer.status, path).toBe(status);
      if (status === 412) {
        expectProblem(answer, 412, 'preconditionFailed');
        continue;
      }
      expect(answer.headers).toMatchObject({
        etag: '"2"',
        'stargus-revision': '2',
        'stargus-cursor': await scenario.cursor(),
      });
      if (status === 304) expect(answer.text).toBe('');
    }
  });

  it('an attribute that is missing doesn’t match, though its item is there', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { x: 1 } });
    await scenario.refused(412, 'preconditionFailed', 'PUT C/items/a/attributes/y', { value: 1 }, { 'if-match': '*' });
    await scenario.refused(
      412,
      'preconditionFailed',
      'PUT C/items/a/attributes/x',
      { value: 2 },
      { 'if-none-match': '*' },
    );
    await scenario.calls(['PUT C/items/a/attributes/y', { value: 1 }, { 'if-none-match': '*' }]);
    expect(await scenario.attributes('a')).toEqual({ x: 1, y: 1 });
  });

  it.each<[header: string, value: string]>([
    ['if-match', '2'],
    ['if-match', ''],
    ['if-match', '"2'],
    ['if-none-match', '"1" "2"'],
    ['if-none-match', 'w/"2"'],
  ])('%s: %s is malformed', async (header, value) => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { x: 1 } });
    await scenario.refused(400, 'badRequest', 'PUT C/items/a', { attributes: {} }, { [header]: value });
    expectProblem(await scenario.call('GET C/items/a', undefined, { [header]: value }), 400, 'badRequest');
  });

  it('of many who change the same revision one succeeds', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { by: null } });
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, by) =>
        scenario.call('PUT C/items/a', { attributes: { by } }, { 'if-match': '"1"' }),
      ),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 412)).toHaveLength(19);
    expect(await scenario.attributes('a')).toEqual({ by: answers.findIndex(({ status }) => status === 200) });
  });

  it('of many who create the same item one succeeds', async () => {
    const scenario = new Scenario(server);
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, by) =>
        scenario.call('PUT C/items/a', { attributes: { by } }, { 'if-none-match': '*' }),
      ),
    );
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 412)).toHaveLength(19);
    expect(await scenario.revision()).toBe(1);
  });

  describe('Prefer: return=minimal', () => {
    const rows: [line: string, body: unknown, headers: (cursor: string) => Headers][] = [
      [
        'PUT C/items/new',
        { attributes: { x: 1 } },
        (cursor) => ({
          etag: '"2"',
          location: '/v1/pools/POOL/collections/things/items/new',
          'stargus-revision': '2',
          'stargus-cursor': cursor,
        }),
      ],
      [
        'POST C/items',
        { key: 'new', attributes: {} },
        (cursor) => ({
          etag: '"2"',
          location: '/v1/pools/POOL/collections/things/items/new',
          'stargus-revision': '2',
          'stargus-cursor': cursor,
        }),
      ],
      [
        'PATCH C/items/a',
        { attributes: { x: 2 } },
        (cursor) => ({ etag: '"2"', 'stargus-revision': '2', 'stargus-cursor': cursor }),
      ],
      [
        'PUT C/items/a/attributes/x',
        { value: 2 },
        (cursor) => ({ etag: '"2"', 'stargus-revision': '2', 'stargus-cursor': cursor }),
      ],
      [
        'DELETE C/items/a/attributes/x',
        undefined,
        (cursor) => ({ etag: '"2"', 'stargus-revision': '2', 'stargus-cursor': cursor }),
      ],
      [
        'POST C/items/a/increment',
        { attribute: 'x', by: 1 },
        (cursor) => ({ etag: '"2"', 'stargus-revision': '2', 'stargus-cursor': cursor }),
      ],
      ['DELETE C/items/a', undefined, (cursor) => ({ 'stargus-revision': '2', 'stargus-cursor': cursor })],
      [
        'PUT P/collections/rooms',
        undefined,
        (cursor) => ({
          location: '/v1/pools/POOL/collections/rooms',
          'stargus-revision': '2',
          'stargus-cursor': cursor,
        }),
      ],
      ['DELETE C', undefined, (cursor) => ({ 'stargus-revision': '2', 'stargus-cursor': cursor })],
    ];

    it.each(rows)('%s', async (line, body, headers) => {
      const scenario = new Scenario(server);
      await scenario.fill({ a: { x: 1 } });
      const answer = await scenario.call(line, body, { prefer: 'return=minimal' });
      expect({ status: answer.status, text: answer.text }).toEqual({ status: 204, text: '' });
      expect(answer.headers).not.toHaveProperty('content-type');
      expect(answer.headers['preference-applied']).toBe('return=minimal');
      const wanted = headers(await scenario.cursor());
      if (wanted.location) wanted.location = wanted.location.replace('POOL', scenario.pool);
      expect(answer.headers).toMatchObject(wanted);
    });

    it('is not for batches, and a refusal is told in full', async () => {
      const scenario = new Scenario(server);
      await scenario.fill({ a: {} });
      const headers = { prefer: 'handling=lenient, return="minimal"' };
      const batch = await scenario.call('POST P/batch', { ops: [] }, headers);
      expect({ status: batch.status, body: batch.body }).toMatchObject({ status: 200, body: { results: [] } });
      await scenario.refused(409, 'conflict', 'POST C/items', { key: 'a', attributes: {} }, headers);
      expect((await scenario.call('PUT C/items/a', { attributes: { x: 1 } }, headers)).status).toBe(204);
    });

    it.each(['return=representation', 'wait=10', 'handling=lenient'])('%s is a wish like no wish', async (prefer) => {
      const scenario = new Scenario(server);
      const answer = await scenario.call('PUT C/items/a', { attributes: { x: 1 } }, { prefer });
      expect({ status: answer.status, attributes: answer.body.attributes }).toEqual({
        status: 201,
        attributes: { x: 1 },
      });
      expect(answer.headers).not.toHaveProperty('preference-applied');
    });
  });
});
