/** What every answer has: the name of its request, the state it speaks of, an ETag where there is one; and reads that wait for a revision. */
import { beforeAll, describe, expect, it } from 'vitest';
import { expectProblem, type Headers, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const JSON_PATCH = { 'content-type': 'application/json-patch+json' };

describe.each(databases)('answers on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });

  /** Each is asked of a pool at revision 2 with the items `a {x}` (1) and `b` (2); it tells of `revision`, tagged `etag`. */
  const rows: [line: string, revision: number, etag?: string, body?: unknown, headers?: Headers][] = [
    ['GET P', 2],
    ['GET P/collections', 2],
    ['GET C', 2],
    ['GET C/items', 2],
    ['GET C/items/a', 2, '"1"'],
    ['HEAD C/items/a', 2, '"1"'],
    ['GET C/items/b', 2, '"2"'],
    ['GET C/items/a/attributes/x', 2, '"1"'],
    ['GET P/changes', 2],
    ['GET P/collections/never/items', 2],
    ['PUT C/items/a', 3, '"3"', { attributes: { x: 2 } }],
    ['PUT C/items/a', 2, '"1"', { attributes: { x: 1 } }],
    ['PUT C/items/c', 3, '"3"', { attributes: {} }],
    ['POST C/items', 3, '"3"', { attributes: {} }],
    ['PATCH C/items/a', 3, '"3"', { attributes: { y: 1 } }],
    ['PATCH C/items/a', 2, '"1"', [], JSON_PATCH],
    ['DELETE C/items/a', 3],
    ['DELETE C/items/never', 2],
    ['PUT C/items/a/attributes/x', 3, '"3"', { value: 2 }],
    ['PUT C/items/a/attributes/x', 2, '"1"', { value: 1 }],
    ['DELETE C/items/a/attributes/x', 3, '"3"'],
    ['POST C/items/a/increment', 3, '"3"', { attribute: 'x', by: 1 }],
    ['POST C/items/a/increment', 2, '"1"', { attribute: 'x', by: 0 }],
    ['POST C/delete', 3, undefined, { prefix: '' }],
    ['POST C/delete', 2, undefined, { prefix: 'z' }],
    ['POST P/batch', 3, undefined, { ops: [{ op: 'delete', collection: 'things', key: 'a' }] }],
    ['POST P/batch', 2, undefined, { ops: [] }],
    ['PUT C', 3, undefined, { description: 'x' }],
    ['PATCH C', 3, undefined, { description: 'x' }],
    ['DELETE C', 3],
    ['PUT P', 2, undefined, {}],
  ];

  it.each(rows)('%s tells of revision %i, tag %s', async (line, revision, etag, body, headers) => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { x: 1 }, b: {} });
    const answer = await scenario.calls([line, body, headers]);
    const { epoch } = (await scenario.call('GET P')).body;
    expect(answer.headers['request-id']).toMatch(/^[\w.-]{1,64}$/);
    expect(answer.headers['stargus-revision']).toBe(String(revision));
    expect(answer.headers['stargus-cursor']).toBe(`${epoch}-${revision}`);
    expect(answer.headers.etag).toBe(etag);
    if (/^(PUT|POST|PATCH|DELETE) C\b/.test(line) && answer.body.revision !== undefined) {
      expect(answer.body.revision).toBe(etag === undefined ? revision : Number(etag.slice(1, -1)));
    }
    if (!line.startsWith('HEAD')) expect(answer.headers['content-type']).toBe('application/json; charset=utf-8');
  });

  it.each<[line: string, status: number, body?: unknown, headers?: Headers]>([
    ['GET C/items/never', 404],
    ['GET C/items/a/attributes/never', 404],
    ['GET P/collections/never', 404],
    ['GET C/items/a', 412, undefined, { 'if-match': '"9"' }],
    ['PUT C/items/a', 412, { attributes: {} }, { 'if-match': '"9"' }],
    ['POST C/items', 409, { key: 'a', attributes: {} }],
    ['POST P/batch', 409, { ops: [{ op: 'create', collection: 'things', key: 'a', attributes: {} }] }],
    ['POST C/delete', 412, { prefix: '', expectCount: 9 }],
    ['DELETE C?ifEmpty=true', 409],
    // Refused before any state was looked at.
    ['GET C/items?where=%7B%22x%22:null%7D', 400],
    ['GET C/items?pageToken=made-up', 400],
    ['GET C/items?sort=x', 400],
    ['GET P/changes?since=0123-1', 410],
    ['POST P/batch', 400, { ops: [{ op: 'put', collection: 'things', key: '..', attributes: {} }] }],
    ['POST P/batch', 400, '{'],
    ['PUT C/items/a', 415, 'text', { 'content-type': 'text/plain' }],
    ['PUT C/items/a', 415, { attributes: {} }, { 'content-encoding': 'gzip' }],
  ])('the refusal of %s (%i) tells of the state of its pool', async (line, status, body, headers) => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { x: 1 }, b: {} });
    const answer = await scenario.call(line, body, headers);
    expectProblem(answer, status, answer.body.code);
    expect(answer.headers).toMatchObject({ 'stargus-revision': '2', 'stargus-cursor': await scenario.cursor() });
    for (const header of ['etag', 'location', 'link']) expect(answer.headers).not.toHaveProperty(header);
  });

  it('each request has a name of its own, or the one its client gave', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: {} });
    const ids = (await Promise.all(Array.from({ length: 20 }, () => scenario.call('GET C/items/a')))).map(
      ({ headers }) => headers['request-id'],
    );
    expect(new Set(ids).size).toBe(20);
    expect(
      (await scenario.call('GET C/items/a', undefined, { 'request-id': 'my.trace-1_2' })).headers['request-id'],
    ).toBe('my.trace-1_2');
    const refused = await scenario.call('GET C/items/z', undefined, { 'request-id': 'my.trace-2' });
    expect(refused.body.requestId).toBe('my.trace-2');
    const odd = await scenario.call('GET C/items/a', undefined, { 'request-id': 'not<a>name' });
    expect(odd.headers['request-id']).toMatch(/^[\w.-]+$/);
    for (const path of ['/v1', '/healthz', '/nowhere', 'P/nowhere'])
      expect((await scenario.call(`GET ${path}`)).headers['request-id']).toMatch(/./);
  });

  const reads = [
    'GET C/items/a',
    'GET C/items/a/attributes/x',
    'GET C/items',
    'GET P',
    'GET P/collections',
    'GET C',
    'GET P/changes',
    'GET C/attach',
    'GET P/changes/stream',
  ];

  it.each(reads.filter((line) => !/attach|stream/.test(line)))('%s waits for Stargus-Min-Revision', async (line) => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { x: 1 } });
    for (const revision of ['0', '1']) await scenario.calls([line, undefined, { 'stargus-min-revision': revision }]);
    const waiting = scenario.call(line, undefined, { 'stargus-min-revision': '3' });
    await scenario.fill({ b: {} });
    await scenario.fill({ a: { x: 2 } });
    const answer = await waiting;
    expect({ status: answer.status, revision: answer.headers['stargus-revision'] }).toEqual({
      status: 200,
      revision: '3',
    });
    if (line.includes('/a')) expect(answer.text).toContain('2');
  });

  it('a revision that does not come is 503, and may be asked for again', async () => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { x: 1 } });
    const answers = await Promise.all(
      reads.map((line) => scenario.call(line, undefined, { 'stargus-min-revision': '2' })),
    );
    for (const answer of answers) {
      expectProblem(answer, 503, 'unavailable');
      expect(answer.headers['retry-after']).toMatch(/^\d+$/);
    }
  });

  it.each(['-1', '1.5', 'x', '9007199254740993', '1e3'])('Stargus-Min-Revision: %s is malformed', async (value) => {
    const scenario = new Scenario(server);
    await scenario.fill({ a: { x: 1 } });
    for (const line of reads)
      expectProblem(await scenario.call(line, undefined, { 'stargus-min-revision': value }), 400, 'badRequest');
  });
});
