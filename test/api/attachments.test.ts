/** What a session has attached: set, read and taken away; gone with its session. */
import { beforeAll, describe, expect, it } from 'vitest';
import { type Headers, pointersOf, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const A = 'P/sessions/s/attachments';
const SYSTEM = 'P/collections/_attachments/items';

describe.each(databases)('what a session has attached on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });
  async function begun(): Promise<{ scenario: Scenario; session: string; named: Headers }> {
    const scenario = new Scenario(server);
    const { session } = (await scenario.calls(['POST P/sessions', { name: 's' }])).body;
    return { scenario, session, named: { 'stargus-session': `${session};epoch=1` } };
  }

  it('is set by a commit, changed, read, and taken away', async () => {
    const { scenario, session } = await begun();
    const whole = { session, view: 'v', collection: 'things', values: 'changed', locks: false, onDenied: 'ignore' };
    const narrow = { ...{ collection: 'things', prefix: 'a', where: { room: 'red' }, fields: ['n'] }, values: 'none' };
    await scenario.play([
      [`PUT ${A}/v`, { collection: 'things' }, 201, { ...whole, revision: 2 }],
      [`PUT ${A}/v`, { collection: 'things', values: 'changed' }, 200, { ...whole, revision: 2 }],
      [`PUT ${A}/v`, narrow, 200, { ...narrow, view: 'v', revision: 3 }],
      [`PUT ${A}/w`, { collection: 'halls', key: 'k' }, 201, { key: 'k', revision: 4 }],
      [`GET ${A}/v`, undefined, 200, { ...narrow, session, view: 'v', revision: 3 }],
      [`GET ${A}`, undefined, 200, { attachments: [{ view: 'v' }, { view: 'w' }], revision: 4 }],
      // By its id as well, and seen by others in the system's collection.
      [`GET P/sessions/${session}/attachments/w`, undefined, 200, { view: 'w', collection: 'halls' }],
      [`GET ${SYSTEM}/${session}%2Fv`, undefined, 200, { revision: 3, createdRevision: 2 }],
      [`DELETE ${A}/v`, undefined, 200, { view: 'v', revision: 5, existed: true }],
      [`DELETE ${A}/v`, undefined, 200, { view: 'v', revision: 5, existed: false }],
      [`GET ${A}/v`, undefined, 404, { code: 'notFound' }],
      [`GET ${A}`, undefined, 200, { attachments: [{ view: 'w' }], revision: 5 }],
    ]);
  });

  it('goes with its session, in the same commit', async () => {
    const { scenario, named } = await begun();
    await scenario.calls([`PUT ${A}/v`, { collection: 'a' }], [`PUT ${A}/w`, { collection: 'b' }]);
    await scenario.calls(['DELETE P/sessions/s', undefined, named]);
    await scenario.play([
      ['GET P', undefined, 200, { revision: 4 }],
      [`GET ${SYSTEM}`, undefined, 200, { items: [] }],
      [`GET ${A}`, undefined, 404, { code: 'notFound' }],
      [`PUT ${A}/v`, { collection: 'a' }, 404, { code: 'notFound' }],
      [`DELETE ${A}/v`, undefined, 404, { code: 'notFound' }],
      ['GET P/sessions/s/events', undefined, 404, { code: 'notFound' }],
    ]);
  });

  it('is refused where it can’t be meant', async () => {
    const { scenario } = await begun();
    const refusals: [line: string, body: unknown, status: number, code: string, pointers: string[]][] = [
      [`PUT ${A}/v`, {}, 400, 'badRequest', ['/collection']],
      [`PUT ${A}/v`, { collection: 'a', more: 1 }, 400, 'badRequest', ['/more']],
      [`PUT ${A}/v`, { collection: 'a', values: 'some' }, 400, 'badRequest', ['/values']],
      [`PUT ${A}/v`, { collection: 'a', onDenied: 'shout' }, 400, 'badRequest', ['/onDenied']],
      [`PUT ${A}/v`, { collection: 'a', fields: 'n' }, 400, 'badRequest', ['/fields']],
      [`PUT ${A}/v`, { collection: 'a', fields: ['/n/m'] }, 400, 'badRequest', ['/fields']],
      [`PUT ${A}/v`, { collection: 'a', key: 'k', prefix: 'k' }, 400, 'badRequest', ['/key']],
      [`PUT ${A}/v`, { collection: 'a', start: 'b', end: 'b' }, 400, 'badRequest', ['/end']],
      [`PUT ${A}/v`, { collection: 'a', prefix: 'x'.repeat(256) }, 400, 'badRequest', ['/prefix']],
      [`PUT ${A}/v`, { collection: 'a', where: { n: { like: 1 } } }, 400, 'invalidFilter', ['/where/n/like']],
      [`PUT ${A}/v`, { collection: 'a b' }, 400, 'invalidName', []],
      [`PUT ${A}/v`, { collection: 'a', key: '..' }, 400, 'invalidName', []],
      [`PUT ${A}/_v`, { collection: 'a' }, 400, 'invalidName', []],
      [`PUT ${A}/v%2Fw`, { collection: 'a' }, 400, 'invalidName', []],
      ['PUT P/sessions/nobody/attachments/v', { collection: 'a' }, 404, 'notFound', []],
      ['GET P/sessions/s/events?since=now', undefined, 400, 'invalidCursor', []],
      ['GET P/sessions/s/events?renew=1', undefined, 400, 'badRequest', ['?renew']],
      ['GET P/sessions/s/events?view=v', undefined, 400, 'badRequest', ['?view']],
    ];
    for (const [line, body, status, code, pointers] of refusals) {
      const answer = await scenario.refused(status, code, line, body);
      expect([line, body, pointersOf(answer)]).toEqual([line, body, pointers]);
    }
  });

  it('belongs to the session that the header names', async () => {
    const { scenario, session, named } = await begun();
    const other = (await scenario.calls(['POST P/sessions'])).body.session;
    const stale = { 'stargus-session': `${session};epoch=0` };
    const foreign = { 'stargus-session': `${other};epoch=1` };
    for (const line of [`PUT ${A}/v`, `DELETE ${A}/v`, `GET ${A}/v`, `GET ${A}`, 'GET P/sessions/s/events']) {
      const body = line.startsWith('PUT') ? { collection: 'a' } : undefined;
      await scenario.refused(409, 'sessionFenced', line, body, stale);
      await scenario.refused(400, 'badRequest', line, body, foreign);
    }
    await scenario.play([
      [`PUT ${A}/v`, { collection: 'a' }, 201, {}, named],
      [`GET ${A}`, undefined, 200, { attachments: [{ view: 'v' }] }, named],
    ]);
  });

  it('may be a hundred views, and no more', async () => {
    const { scenario } = await begun();
    for (let i = 0; i < 100; i++) await scenario.calls([`PUT ${A}/v${i}`, { collection: 'a', key: `k${i}` }]);
    await scenario.refused(422, 'invalid', `PUT ${A}/more`, { collection: 'a' });
    await scenario.play([
      [`PUT ${A}/v7`, { collection: 'b' }, 200],
      [`DELETE ${A}/v8`, undefined, 200],
      [`PUT ${A}/more`, { collection: 'a' }, 201],
    ]);
    expect((await scenario.call(`GET ${A}`)).body.attachments).toHaveLength(100);
  });
});
