/** Filters of a watch that are none: refused before a stream begins, with the place that is at fault. */
import { beforeAll, describe, expect, it } from 'vitest';
import { expectProblem, pointersOf, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const where = (filter: unknown) => `where=${encodeURIComponent(JSON.stringify(filter))}`;

describe.each(databases)('filters of a watch on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });

  const refused: [says: string, query: string, pointer: string][] = [
    ['no JSON', 'where={', '?where'],
    ['nothing', 'where=', '?where'],
    ['no object', 'where=[]', '?where'],
    ['an unknown operator', where({ status: { is: 'open' } }), '?where/status/is'],
    ['a null', where({ status: null }), '?where/status'],
    ['a branch at fault', where({ or: [{}, { a: { lt: null } }] }), '?where/or/1/a/lt'],
    ['a name too long', where({ ['n'.repeat(129)]: 1 }), `?where/${'n'.repeat(129)}`],
    ['more than 4 KiB', where({ status: 'x'.repeat(4090) }), '?where'],
  ];
  it.each(refused)('a filter of %s is refused before anything is told', async (_says, query, pointer) => {
    const scenario = new Scenario(server);
    await scenario.calls(['PUT P']);
    for (const path of ['C/attach', 'P/changes', 'P/changes/stream']) {
      const answer = await scenario.refused(400, 'invalidFilter', `GET ${path}?${query}`);
      expect(pointersOf(answer)).toEqual([pointer]);
      expect(answer.text).not.toContain('event:');
    }
    // Nor is a pool made for it.
    const none = new Scenario(server);
    expectProblem(await none.call(`GET C/attach?${query}`), 400, 'invalidFilter');
    expect(await none.revision()).toBeUndefined();
  });

  it('a filter of almost 4 KiB is taken, a number that no double holds and a second filter are not', async () => {
    const scenario = new Scenario(server);
    const status = 'é'.repeat(2000);
    await scenario.fill({ a: { status }, b: { status: `${status}é` } });
    const { body } = await scenario.calls([`GET P/changes?${where({ status })}`]);
    expect(body.commits).toMatchObject([{ revision: 1, changes: [{ op: 'add', key: 'a' }] }]);
    const answer = await scenario.refused(400, 'numberOutOfRange', 'GET P/changes?where={"n":12345678901234567890}');
    expect(pointersOf(answer)).toEqual(['?where/n']);
    await scenario.refused(400, 'badRequest', 'GET C/attach?where={}&where={}');
  });
});
