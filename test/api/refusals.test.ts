/**
 * Requests that no call takes: wrong types, unknown members and parameters, paths and methods and media types that aren't there,
 * bodies past their limits. Each refusal names the place, and nothing is applied.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { connected, head, sendRaw } from '../support/raw.js';
import { expectProblem, type Headers, pointersOf, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const MiB = 1024 * 1024;
const JSON_TYPE = { 'content-type': 'application/json' };

describe.each(databases)('refusals on $name', ({ name }) => {
  let server: Server;
  let scenario: Scenario;
  beforeAll(async () => {
    server = await startServer({ database: name });
    scenario = new Scenario(server);
    await scenario.fill({ a: { x: 1 } });
  });

  const shapes: [line: string, body: unknown, pointers: string[]][] = [
    ['PUT C/items/a', [], ['']],
    ['PUT C/items/a', 'null', ['']],
    ['PUT C/items/a', '7', ['']],
    ['PUT C/items/a', {}, ['/attributes']],
    ['PUT C/items/a', { attributes: null }, ['/attributes']],
    ['PUT C/items/a', { attributes: [] }, ['/attributes']],
    ['PUT C/items/a', { attributes: {}, atributes: {} }, ['/atributes']],
    ['PUT C/items/a', { attributes: {}, x: 1, y: 2 }, ['/x', '/y']],
    ['PUT C/items/a', { attributes: {}, 'a/b~c': 1 }, ['/a~1b~0c']],
    ['PUT C/items/a', '{"attributes":{},"__proto__":{}}', ['/__proto__']],
    ['PATCH C/items/a', { attributes: 1 }, ['/attributes']],
    ['PATCH C/items/a', { x: 1 }, ['/attributes', '/x']],
    ['POST C/items', { key: 7, attributes: {} }, ['/key']],
    ['POST C/items', { key: null, attributes: {} }, ['/key']],
    ['POST C/items', { id: 'b', attributes: {} }, ['/id']],
    ['PUT C/items/a/attributes/x', {}, ['/value']],
    ['PUT C/items/a/attributes/x', { value: 1, type: 'number' }, ['/type']],
    ['POST C/items/a/increment', { by: 1 }, ['/attribute']],
    ['POST C/items/a/increment', { attribute: 'n' }, ['/by']],
    ['POST C/items/a/increment', { attribute: 'n', by: '1' }, ['/by']],
    ['POST C/items/a/increment', { attribute: 'n', by: null }, ['/by']],
    ['POST C/items/a/increment', { attribute: 1, by: 1 }, ['/attribute']],
    ['POST C/items/a/increment', { attribute: 'n', by: 1, max: '9' }, ['/max']],
    ['POST C/items/a/increment', { attribute: 'n', by: 1, step: 9 }, ['/step']],
    ['DELETE C/items/a', { attributes: {} }, []],
    ['DELETE C', '{}', []],
  ];

  it.each(shapes)('%s %j', async (line, body, pointers) => {
    expect(pointersOf(await scenario.refused(400, 'badRequest', line, body))).toEqual(pointers);
    expect(await scenario.attributes('a')).toEqual({ x: 1 });
  });

  it.each<[line: string, body: unknown, pointer: string]>([
    ['PUT C/items/a?force=1', { attributes: {} }, '?force'],
    ['POST P/batch?atomic=false', { ops: [] }, '?atomic'],
    ['GET C/items/a?field=x', undefined, '?field'],
    ['GET C/items/a?fields=x&fields=y', undefined, '?fields'],
    ['GET C/items/a/attributes/x?fields=x', undefined, '?fields'],
    ['DELETE C/items/a?ifEmpty=true', undefined, '?ifEmpty'],
    ['GET P?x=1', undefined, '?x'],
    ['GET /v1/pools?limit=0', undefined, '?limit'],
    ['GET P/changes?limit=1001', undefined, '?limit'],
    ['GET P/changes?waitMs=60001', undefined, '?waitMs'],
    ['GET P/changes?values=all', undefined, '?values'],
    ['GET P/changes?from=2', undefined, '?from'],
    ['GET P/changes/stream?bookmarkMs=999', undefined, '?bookmarkMs'],
    ['GET P/changes/stream?bookmarkMs=60001', undefined, '?bookmarkMs'],
    ['GET P/changes/stream?waitMs=1', undefined, '?waitMs'],
    ['GET C/attach?limit=1', undefined, '?limit'],
    ['GET C/attach?collection=others', undefined, '?collection'],
    ['GET /v1?x=1', undefined, '?x'],
    ['GET /readyz?verbose', undefined, '?verbose'],
  ])('%s names the parameter', async (line, body, pointer) => {
    const { body: problem, ...answer } = await scenario.refused(400, 'badRequest', line, body);
    expect(pointersOf({ ...answer, body: problem })).toContain(pointer);
    expect(problem.detail).toContain(pointer.slice(1));
  });

  it.each([
    'C/attach?key=a&prefix=b',
    'C/attach?key=a&start=b',
    'P/changes?key=a&end=b',
    'P/changes/stream?key=a&prefix=',
  ])(
    'GET %s asks for one item and a range at once',
    async (path) => void (await scenario.refused(400, 'badRequest', `GET ${path}`)),
  );

  it.each<[path: string, allow: string]>([
    ['/v1', 'GET, HEAD, OPTIONS'],
    ['/v1/pools', 'GET, HEAD, OPTIONS'],
    ['P', 'GET, HEAD, PUT, PATCH, DELETE, OPTIONS'],
    ['C', 'GET, HEAD, PUT, PATCH, DELETE, OPTIONS'],
    ['C/items', 'GET, HEAD, QUERY, POST, OPTIONS'],
    ['C/items/a', 'GET, HEAD, PUT, PATCH, DELETE, OPTIONS'],
    ['C/items/a/attributes/x', 'GET, HEAD, PUT, DELETE, OPTIONS'],
    ['C/items/a/increment', 'POST, OPTIONS'],
    ['C/delete', 'POST, OPTIONS'],
    ['P/batch', 'POST, OPTIONS'],
    ['P/changes', 'GET, HEAD, OPTIONS'],
  ])('%s allows %s and nothing else', async (path, allow) => {
    const allowed = allow.split(', ');
    for (const method of ['GET', 'HEAD', 'PUT', 'POST', 'PATCH', 'DELETE', 'TRACE'].filter(
      (method) => !allowed.includes(method),
    )) {
      const answer = await scenario.call(
        `${method} ${path}`,
        method === 'GET' || method === 'HEAD' ? undefined : { x: 1 },
      );
      expect(answer.status, method).toBe(405);
      expect(answer.headers.allow).toBe(allow);
      if (method !== 'HEAD') expectProblem(answer, 405, 'methodNotAllowed');
    }
    const options = await scenario.call(`OPTIONS ${path}`);
    expect({ status: options.status, allow: options.headers.allow }).toEqual({ status: 204, allow });
    expect(await scenario.attributes('a')).toEqual({ x: 1 });
  });

  it.each([
    '/',
    '/v2',
    '/v1/pool',
    'P/items',
    'C/items/a/x',
    'C/items/a/attributes',
    '/docs/errors/nonsense',
    '/docs/errors/toString',
    '/v1/',
    '/V1',
  ])('%s is no path', async (path) => {
    for (const method of ['GET', 'PUT', 'DELETE']) {
      const answer = await scenario.call(`${method} ${path}`);
      if (method !== 'GET' && answer.status === 405) expect(path).toMatch(/^\/docs/);
      else expectProblem(answer, 404, 'notFound');
    }
  });

  const text = '{"attributes":{"x":2}}';
  it.each<[says: string, line: string, body: string, headers: Headers]>([
    ['a form', 'PUT C/items/a', 'attributes=1', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['plain text', 'PUT C/items/a', text, { 'content-type': 'text/plain' }],
    ['XML', 'POST P/batch', '<a/>', { 'content-type': 'application/xml' }],
    ['no media type at all', 'PUT C/items/a', text, { 'content-type': 'json' }],
    ['a patch where none is taken', 'PUT C/items/a', text, { 'content-type': 'application/merge-patch+json' }],
    ['a JSON Patch where none is taken', 'POST C/items', '[]', { 'content-type': 'application/json-patch+json' }],
    ['NDJSON where none is taken', 'PATCH C/items/a', text, { 'content-type': 'application/x-ndjson' }],
    ['something like JSON', 'PATCH C/items/a', text, { 'content-type': 'application/vnd.api+json' }],
  ])('%s is refused with the types that are taken', async (_says, line, body, headers) => {
    const answer = await scenario.refused(415, 'unsupportedMediaType', line, body, headers);
    expect(answer.body.detail).toContain('application/json');
    expect(answer.headers.accept).toContain('application/json');
    expect(await scenario.attributes('a')).toEqual({ x: 1 });
  });

  it.each([
    'application/json',
    'application/json; charset=utf-8',
    'Application/JSON',
    'application/json ;charset="UTF-8"',
  ])('%s is taken', async (type) => {
    await scenario.calls(['PUT C/items/typed', { attributes: { type } }, { 'content-type': type }]);
    expect(await scenario.attributes('typed')).toEqual({ type });
  });

  it('a body without a media type is refused, as is a call without its body', async () => {
    const before = await scenario.revision();
    const line = `PUT ${scenario.path('C/items/a')}`;
    expectProblem(
      await sendRaw(server, head(server, line, { 'content-length': text.length }) + text),
      415,
      'unsupportedMediaType',
    );
    expectProblem(await sendRaw(server, head(server, line, { 'content-length': 0 })), 400, 'badRequest');
    expectProblem(await sendRaw(server, head(server, line, { ...JSON_TYPE, 'content-length': 0 })), 400, 'badRequest');
    for (const call of [
      'PATCH C/items/a',
      'POST C/items',
      'POST P/batch',
      'POST C/delete',
      'PATCH P',
      'POST C/items/a/increment',
    ]) {
      await scenario.refused(400, 'badRequest', call);
    }
    expect(await scenario.revision()).toBe(before);
  });

  it('a body that is not UTF-8 is refused', async () => {
    const body = Buffer.concat([Buffer.from('{"attributes":{"x":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"}}')]);
    const headers = head(server, `PUT ${scenario.path('C/items/a')}`, { ...JSON_TYPE, 'content-length': body.length });
    expectProblem(await sendRaw(server, Buffer.concat([Buffer.from(headers), body])), 400, 'badRequest');
    expect(await scenario.attributes('a')).toEqual({ x: 1 });
  });

  it.each<[line: string, bytesMax: number]>([
    ['PUT C/items/a', 2 * MiB],
    ['PATCH C/items/a', 2 * MiB],
    ['POST P/batch', 4 * MiB],
  ])('%s refuses a body past %i bytes before it is read, whether its length is told or not', async (line, bytesMax) => {
    const before = await scenario.revision();
    const [method, path] = line.split(' ') as [string, string];
    const start = `${method} ${scenario.path(path)}`;
    // Not a byte of the body is sent: the answer comes from the head alone.
    expectProblem(
      await sendRaw(server, head(server, start, { ...JSON_TYPE, 'content-length': bytesMax + 1 })),
      413,
      'tooLarge',
    );
    expectProblem(
      await sendRaw(server, head(server, start, { ...JSON_TYPE, 'content-length': 1e15 })),
      413,
      'tooLarge',
    );
    // The body never ends: the answer comes once the limit is passed.
    const chunk = Buffer.alloc(64 * 1024, ' ');
    const chunks = Array.from({ length: bytesMax / chunk.length + 1 }, () => [
      Buffer.from('10000\r\n'),
      chunk,
      Buffer.from('\r\n'),
    ]).flat();
    const headers = head(server, start, { ...JSON_TYPE, 'transfer-encoding': 'chunked' });
    expectProblem(await sendRaw(server, Buffer.concat([Buffer.from(headers), ...chunks])), 413, 'tooLarge');
    expect(await scenario.revision()).toBe(before);
  });

  it('a client that sends all of a body past the limit still reads why', async () => {
    await scenario.refused(413, 'tooLarge', 'PUT C/items/a', { attributes: { x: 'x'.repeat(20 * MiB) } });
    expect(await scenario.attributes('a')).toEqual({ x: 1 });
  });

  it('an item holds 1,000 attributes and 1 MiB, by whatever way it grows', async () => {
    const big = new Scenario(server);
    const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`n${i}`, i]));
    await big.refused(422, 'invalid', 'PUT C/items/a', { attributes: many(1001) });
    await big.calls(['PUT C/items/a', { attributes: many(1000) }]);
    await big.refused(422, 'invalid', 'PUT C/items/a/attributes/one-more', { value: 1 });
    await big.refused(422, 'invalid', 'PATCH C/items/a', { attributes: { more: 1 } });
    await big.refused(422, 'invalid', 'PATCH C/items/a', [{ op: 'add', path: '/attributes/more', value: 1 }], {
      'content-type': 'application/json-patch+json',
    });
    await big.refused(422, 'invalid', 'POST C/items/a/increment', { attribute: 'more', by: 1 });
    await big.calls(['PATCH C/items/a', { attributes: { n0: null, more: 1 } }]);
    const bytes = MiB - '{"x":""}'.length;
    await big.refused(413, 'tooLarge', 'PUT C/items/b', { attributes: { x: 'x'.repeat(bytes + 1) } });
    await big.refused(413, 'tooLarge', 'PUT C/items/b', { attributes: { x: 'ä'.repeat(bytes / 2 + 1) } });
    await big.calls(['PUT C/items/b', { attributes: { x: 'x'.repeat(bytes) } }]);
    await big.refused(413, 'tooLarge', 'PATCH C/items/b', { attributes: { y: 1 } });
    expect((await big.attributes('b'))?.x).toHaveLength(bytes);
  });

  it('a request that breaks off costs nothing and applies nothing', async () => {
    const before = await scenario.revision();
    const start = head(server, `PUT ${scenario.path('C/items/a')}`, { ...JSON_TYPE, 'content-length': 100 });
    for (const sent of ['PUT /v1', start.slice(0, -4), start, `${start}{"attributes":{"x":`]) {
      const socket = await connected(server);
      socket.write(sent);
      await scenario.calls(['GET P']);
      socket.destroy();
    }
    await scenario.calls(['GET C/items/a']);
    expect(await scenario.revision()).toBe(before);
  });

  it.each<[says: string, text: string]>([
    ['is no HTTP', 'hello\r\n\r\n'],
    ['has a header line without a name', 'GET /v1 HTTP/1.1\r\n: x\r\n\r\n'],
    ['has two lengths', 'PUT /v1 HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n'],
  ])('what %s is refused, and the server goes on', async (_says, sent) => {
    expect((await sendRaw(server, sent)).status).toBe(400);
    await scenario.calls(['GET /healthz']);
  });
});
