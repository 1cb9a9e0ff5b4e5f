/** Names: what the rules allow goes through, what they don't is refused before anything happens, however it is sent. */
import { beforeAll, describe, expect, it } from 'vitest';
import { head, sendRaw } from '../support/raw.js';
import { expectProblem, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

const body = { attributes: { x: 1 } };

describe.each(databases)('names on $name', ({ name }) => {
  let server: Server;
  let scenario: Scenario;
  beforeAll(async () => {
    server = await startServer({ database: name });
    scenario = new Scenario(server);
    await scenario.fill({ a: { x: 1 } });
  });

  const nameRows: [says: string, name: string, allowed: boolean][] = [
    ['one character', 'r', true],
    ['every kind of character', 'aZ0_.~-', true],
    ['128 characters', 'r'.repeat(128), true],
    ['129 characters', 'r'.repeat(129), false],
    ['a leading digit', '0room', true],
    ['a leading dot', '.room', false],
    ['a leading hyphen', '-room', false],
    ['a blank', 'a b', false],
    ['a slash', 'a/b', false],
    ['an accent', 'zimmer-tür', false],
    ['a line break', 'room\n', false],
    ['a leading underscore', '_room', false],
  ];

  it.each(nameRows)('a pool or collection whose name has %s', async (_says, candidate, allowed) => {
    const encoded = encodeURIComponent(candidate);
    const calls: [line: string, body: unknown][] = [
      [`PUT /v1/pools/${encoded}`, undefined],
      [`PUT /v1/pools/${encoded}/collections/c/items/a`, body],
      [`PUT P/collections/${encoded}`, undefined],
      [`PUT P/collections/${encoded}/items/a`, body],
      [`POST P/batch`, { ops: [{ op: 'put', collection: candidate, key: 'a', ...body }] }],
    ];
    for (const [line, sent] of calls) {
      if (allowed) await scenario.calls([line, sent]);
      else await scenario.refused(400, 'invalidName', line, sent);
    }
    const read = await scenario.call(`GET /v1/pools/${encoded}`);
    expect(read.status).toBe(allowed ? 200 : candidate.startsWith('_') ? 404 : 400);
    if (allowed) await scenario.calls([`DELETE /v1/pools/${encoded}`], [`DELETE P/collections/${encoded}`]);
  });

  const keyRows: [says: string, key: string, allowed: boolean][] = [
    ['255 bytes', 'k'.repeat(255), true],
    ['256 bytes', 'k'.repeat(256), false],
    ['255 bytes of two each but one', `k${'ä'.repeat(127)}`, true],
    ['256 bytes of two each', 'ä'.repeat(128), false],
    ['255 bytes of three each', '€'.repeat(85), true],
    ['256 bytes, the last of three', `k${'€'.repeat(85)}`, false],
    ['252 bytes of four each', '😀'.repeat(63), true],
    ['256 bytes of four each', '😀'.repeat(64), false],
    ['2,000 bytes', 'k'.repeat(2000), false],
    ['a NUL', 'a\0b', false],
    ['a tab', 'a\tb', false],
    ['a line break', 'a\nb', false],
    ['a DEL', 'a\x7fb', false],
    ['a C1 control', 'a\u0085b', false],
    ['nothing but blanks', '   ', true],
  ];

  it.each(keyRows)('a key of %s', async (_says, key, allowed) => {
    const encoded = encodeURIComponent(key);
    for (const [line, sent] of [
      [`PUT C/items/${encoded}`, body],
      ['POST C/items', { key: `${key}`, ...body }],
      ['POST P/batch', { ops: [{ op: 'put', collection: 'things', key, attributes: { x: 2 } }] }],
    ] as const) {
      if (!allowed) await scenario.refused(400, 'invalidName', line, sent);
      else if (line.startsWith('POST C')) await scenario.refused(409, 'conflict', line, sent);
      else await scenario.calls([line, sent]);
    }
    if (allowed) expect(await scenario.attributes(key)).toEqual({ x: 2 });
    else expectProblem(await scenario.call(`GET C/items/${encoded}`), 400, 'invalidName');
  });

  const attributeRows: [says: string, attribute: string, allowed: boolean][] = [
    ['128 bytes', 'n'.repeat(128), true],
    ['129 bytes', 'n'.repeat(129), false],
    ['128 bytes of four each', '😀'.repeat(32), true],
    ['129 bytes, the last of two', `${'n'.repeat(127)}ä`, false],
    ['no bytes', '', false],
    ['a NUL', 'a\0', false],
    ['an escape', '\u001b', false],
    ['a C1 control', '\u009f', false],
  ];

  it.each(attributeRows)('an attribute name of %s', async (_says, attribute, allowed) => {
    const attributes = { [attribute]: 1 };
    const calls: [line: string, body: unknown][] = [
      ['PUT C/items/n', { attributes }],
      ['PATCH C/items/n', { attributes: { [attribute]: 2 } }],
      ['POST C/items', { key: `of ${_says}`, attributes }],
      ['POST C/items/n/increment', { attribute, by: 1 }],
      ['POST P/batch', { ops: [{ op: 'append', collection: 'things', key: 'list', attribute, value: 1 }] }],
      ['POST P/batch', { ops: [{ op: 'unset', collection: 'things', key: 'list', names: [attribute] }] }],
    ];
    if (attribute !== '') {
      calls.push([`PUT C/items/n/attributes/${encodeURIComponent(attribute)}`, { value: 9 }]);
      calls.push([`DELETE C/items/n/attributes/${encodeURIComponent(attribute)}`, undefined]);
    }
    for (const [line, sent] of calls) {
      if (allowed) await scenario.calls([line, sent]);
      else await scenario.refused(400, 'invalidName', line, sent);
    }
  });

  /** No client in between: what stands here is what the server gets. */
  const rawPaths: [path: string, status: number, code: string][] = [
    ['C/items/.', 400, 'invalidName'],
    ['C/items/..', 400, 'invalidName'],
    ['C/items/%2e', 400, 'invalidName'],
    ['C/items/%2E%2e', 400, 'invalidName'],
    ['C/items/../../../../v1', 404, 'notFound'],
    ['P/collections/../items/a', 400, 'invalidName'],
    ['P/collections/%2e%2e/items/a', 400, 'invalidName'],
    ['/v1/pools/..', 400, 'invalidName'],
    ['/v1/pools/.', 400, 'invalidName'],
    ['C/items/%FF', 400, 'badRequest'],
    ['C/items/%C3', 400, 'badRequest'],
    ['C/items/%ED%A0%80', 400, 'badRequest'],
    ['C/items/%C0%AF', 400, 'badRequest'],
    ['C/items/%zz', 400, 'badRequest'],
    ['C/items/%', 400, 'badRequest'],
    ['C/items/%00', 400, 'invalidName'],
    ['C/items/a%0Ab', 400, 'invalidName'],
    ['C/items/a/attributes/%FF', 400, 'badRequest'],
    ['C/items/a/attributes/%07', 400, 'invalidName'],
    ['C/items/', 400, 'invalidName'],
    ['P/collections//items/a', 400, 'invalidName'],
    ['C/items/a/', 404, 'notFound'],
    ['//v1', 404, 'notFound'],
  ];

  it.each(rawPaths)('%s sent as it is', async (path, status, code) => {
    const before = await scenario.revision();
    // What each path would take, so that only the path is at fault.
    const text = JSON.stringify(path.includes('/attributes/') ? { value: 1 } : path.includes('items') ? body : {});
    for (const line of [`GET ${scenario.path(path)}`, `PUT ${scenario.path(path)}`]) {
      const put = line.startsWith('PUT');
      const headers: Record<string, string | number> = put
        ? { 'content-type': 'application/json', 'content-length': text.length }
        : {};
      const answer = await sendRaw(server, head(server, line, headers) + (put ? text : ''));
      // A path that is there only for other methods, or not there at all.
      if (put && answer.status === 405) expectProblem(answer, 405, 'methodNotAllowed');
      else expectProblem(answer, status, code);
    }
    expect(await scenario.revision()).toBe(before);
  });

  it('collections of the system are read, and written only where they are for users', async () => {
    for (const [line, sent] of [
      ['PUT P/collections/_dictionary', {}],
      ['DELETE P/collections/_dictionary', undefined],
      ['DELETE P/collections/_changes/items/a', undefined],
      ['PUT P/collections/_scripts', {}],
      ['POST P/collections/_locks/delete', { prefix: '' }],
    ] as const) {
      await scenario.refused(400, 'invalidName', line, sent);
    }
    await scenario.calls(['GET P/collections/_dictionary/items']);
  });
});
