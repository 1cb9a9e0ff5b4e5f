/**
 * Imports: each line is judged for itself, what is told is durable, and whoever is interrupted goes on after the last line
 * that he was told of.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { getLines, type Line, type Lines, readLines, residentMiB, watchMemory } from '../support/ndjson.js';
import { connected, head } from '../support/raw.js';
import { expectProblem, Scenario } from '../support/scenario.js';
import { databases, type Server, startServer } from '../support/server.js';

type Body = NonNullable<RequestInit['body']>;

const HEADERS = { 'content-type': 'application/x-ndjson' };
const GROWTH_MIB_MAX = 130;

const line = (key: string, attributes: object = {}, collection = 'things'): string =>
  `${JSON.stringify({ collection, key, attributes })}\n`;

function post(scenario: Scenario, body: Body, query = ''): Promise<Response> {
  const init = { method: 'POST', headers: HEADERS, body, duplex: 'half' };
  return fetch(`${scenario.server.url}${scenario.path('P/import')}${query}`, init as RequestInit);
}

const send = async (scenario: Scenario, body: string | Buffer, query?: string): Promise<Lines> =>
  readLines(await post(scenario, body as Body, query));

const refusalsOf = (lines: readonly Line[]): [number, string][] =>
  lines.filter(({ problem }) => problem).map((one) => [one.line, one.problem.code]);

/** A body that is sent piece by piece, and an answer that is read line by line meanwhile. */
class Talk {
  #send!: ReadableStreamDefaultController<Uint8Array>;
  readonly #body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      this.#send = controller;
    },
  });
  readonly #abort = new AbortController();
  readonly lines: Line[] = [];
  /** Resolves to whether the answer came to its end. */
  readonly over: Promise<boolean>;

  constructor(scenario: Scenario, query = '') {
    const init = { method: 'POST', headers: HEADERS, body: this.#body, duplex: 'half', signal: this.#abort.signal };
    const response = fetch(`${scenario.server.url}${scenario.path('P/import')}${query}`, init as RequestInit);
    this.over = this.#read(response).then(
      () => true,
      () => false,
    );
  }

  send(text: string): void {
    this.#send.enqueue(Buffer.from(text));
  }

  finish(): void {
    this.#send.close();
  }

  leave(): void {
    this.#abort.abort();
  }

  async until(wanted: (line: Line) => boolean): Promise<void> {
    await expect.poll(() => this.lines.some(wanted), { timeout: 15_000 }).toBe(true);
  }

  async #read(response: Promise<Response>): Promise<void> {
    let text = '';
    for await (const chunk of (await response).body as unknown as AsyncIterable<Uint8Array>) {
      text += Buffer.from(chunk).toString();
      const lines = text.split('\n');
      text = lines.pop() as string;
      this.lines.push(...lines.map((one) => JSON.parse(one)));
    }
  }
}

describe.each(databases)('import on $name', ({ name }) => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ database: name });
  });

  it('puts each line, makes pool and collections, and counts', async () => {
    const scenario = new Scenario(server);
    const body = `${line('a', { n: 1, none: null })}${line('b')}\n  \r\n${line('a', { n: 2 })}${line('b').trim()}`;
    const { status, headers, lines } = await send(scenario, body);
    expect([status, headers['content-type']]).toEqual([200, 'application/x-ndjson']);
    const counts = { applied: 3, unchanged: 1, refused: 0, revision: 1 };
    expect(lines).toEqual([
      { line: 6, ...counts },
      { done: true, lines: 6, ...counts, cursor: await scenario.cursor() },
    ]);
    expect(await scenario.attributes('a')).toEqual({ n: 2 });
    expect(await scenario.attributes('b')).toEqual({});
    // The same again changes nothing.
    const again = await send(scenario, body.replace(line('a', { n: 1, none: null }), ''));
    expect(again.lines.at(-1)).toMatchObject({ applied: 0, unchanged: 3, revision: 1 });
    expect(again.headers).toMatchObject({ 'stargus-revision': '1' });
  });

  it('makes keys for lines that have none', async () => {
    const scenario = new Scenario(server);
    const { lines } = await send(scenario, '{"collection":"things","attributes":{"n":1}}\n'.repeat(3));
    expect(lines.at(-1)).toMatchObject({ applied: 3 });
    const { body } = await scenario.calls(['GET C/items']);
    expect(body.items.map(({ attributes }: { attributes: object }) => attributes)).toEqual([
      { n: 1 },
      { n: 1 },
      { n: 1 },
    ]);
  });

  it('takes nothing, and nothing but blank lines', async () => {
    const scenario = new Scenario(server);
    expect((await send(scenario, '')).lines.at(-1)).toMatchObject({ done: true, lines: 0, revision: 0 });
    expect((await send(scenario, '\n\n \n')).lines.at(-1)).toMatchObject({
      done: true,
      lines: 3,
      refused: 0,
      revision: 0,
    });
  });

  const bad: [says: string, text: string | Buffer, code: string, problem?: object][] = [
    ['no JSON', '{"collection":"things","key" 1}', 'badRequest', { position: 29, detail: expect.stringMatching(/29/) }],
    ['half an object', '{"collection":"things"', 'badRequest', { position: 22 }],
    ['no UTF-8', Buffer.from([0x22, 0xff, 0x22]), 'badRequest'],
    ['no object', '[1]', 'badRequest'],
    ['null', 'null', 'badRequest'],
    [
      'no collection',
      '{"key":"k","attributes":{}}',
      'badRequest',
      { errors: [expect.objectContaining({ pointer: '/collection' })] },
    ],
    [
      'no attributes',
      '{"collection":"things","key":"k"}',
      'badRequest',
      { errors: [expect.objectContaining({ pointer: '/attributes' })] },
    ],
    ['attributes that are none', '{"collection":"things","key":"k","attributes":[]}', 'badRequest'],
    ['a key that is none', '{"collection":"things","key":1,"attributes":{}}', 'badRequest'],
    [
      'unknown members',
      '{"collection":"things","a/b":1,"__proto__":{},"attributes":{}}',
      'badRequest',
      {
        errors: [expect.objectContaining({ pointer: '/a~1b' }), expect.objectContaining({ pointer: '/__proto__' })],
      },
    ],
    ['a bad collection', '{"collection":"a b","key":"k","attributes":{}}', 'invalidName'],
    ['a collection of the system', '{"collection":"_locks","key":"k","attributes":{}}', 'invalidName'],
    ['a bad key', '{"collection":"things","key":"..","attributes":{}}', 'invalidName'],
    ['a bad attribute', '{"collection":"things","key":"k","attributes":{"":1}}', 'invalidName'],
    [
      'a number past all',
      '{"collection":"things","key":"k","attributes":{"n":12345678901234567891}}',
      'numberOutOfRange',
    ],
    [
      'deep nesting',
      `{"collection":"things","key":"k","attributes":{"n":${'['.repeat(200)}${']'.repeat(200)}}}`,
      'badRequest',
    ],
    ['a lone surrogate', '{"collection":"things","key":"k","attributes":{"n":"\\ud800"}}', 'badRequest'],
    ['too much', line('k', { text: 'x'.repeat(1024 * 1024) }).trim(), 'tooLarge'],
    ['a bad script', '{"collection":"_scripts","key":"k","attributes":{}}', 'invalid'],
    ['a bad entry of the dictionary', '{"collection":"_dictionary","key":"_x","attributes":{}}', 'invalidName'],
  ];

  it.each(bad)('refuses a line with %s, and takes those around it', async (_, text, code, problem = {}) => {
    const scenario = new Scenario(server);
    const body = Buffer.concat([
      Buffer.from(line('before')),
      Buffer.from(text as string),
      Buffer.from(`\n${line('after')}`),
    ]);
    const { status, lines } = await send(scenario, body);
    expect(status).toBe(200);
    expect(refusalsOf(lines)).toEqual([[2, code]]);
    const refused = lines.find((one) => one.problem);
    expect(refused.problem).toMatchObject({
      type: expect.stringMatching(new RegExp(`/docs/errors/${code}$`)),
      status: expect.any(Number),
      detail: expect.stringMatching(/\w/),
      retryable: false,
      requestId: expect.any(String),
      ...problem,
    });
    expect(lines.at(-1)).toMatchObject({ done: true, lines: 3, applied: 2, unchanged: 0, refused: 1 });
    const { lines: left } = await getLines(scenario, 'P/export?system=true');
    expect(left.map(({ collection, key }) => `${collection}/${key}`)).toEqual([
      '_dictionary/things',
      'things/after',
      'things/before',
    ]);
  });

  it('skips a line of any length without holding it', { timeout: 60_000 }, async () => {
    const scenario = new Scenario(server);
    const before = residentMiB(server.pid);
    const most = watchMemory(server.pid);
    const endless = 'x'.repeat(1024 * 1024);
    const talk = new Talk(scenario);
    talk.send(line('a'));
    // 200 MiB: more than the server may grow by.
    for (let i = 0; i < 200; i++) {
      talk.send(endless);
      await sleep(5);
    }
    talk.send(`\n${line('b')}`);
    talk.finish();
    expect(await talk.over).toBe(true);
    expect(refusalsOf(talk.lines)).toEqual([[2, 'tooLarge']]);
    expect(talk.lines.at(-1)).toMatchObject({ done: true, applied: 2, lines: 3 });
    expect(most() - before).toBeLessThan(GROWTH_MIB_MAX);
  });

  it('passes over the first lines unjudged', async () => {
    const scenario = new Scenario(server);
    const body = `bad\n\n${line('a')}bad too\n${line('b')}`;
    const { lines } = await send(scenario, body, '?skip=3');
    expect(refusalsOf(lines)).toEqual([[4, 'badRequest']]);
    expect(lines.at(-1)).toMatchObject({ done: true, lines: 5, applied: 1, refused: 1 });
    expect(await scenario.attributes('a')).toBeUndefined();
    expect((await send(scenario, body, '?skip=100')).lines.at(-1)).toMatchObject({
      done: true,
      lines: 5,
      applied: 0,
      refused: 0,
    });
  });

  it('takes what an export gave, the system’s collections included', async () => {
    const [from, to] = [new Scenario(server), new Scenario(server)];
    await from.fill({ a: { n: 1.5, deep: { x: [null, 'ä😀'] } }, '😀/ ': {}, z: { big: 258857166014587070 } });
    await from.calls(
      ['PUT P/collections/empty', { description: 'D', options: { o: 1 } }],
      ['PUT P/collections/_scripts/items/s', { attributes: { source: 'x', language: 'tcl' } }],
    );
    const response = await fetch(`${server.url}${from.path('P/export?system=true')}`);
    const text = await response.text();
    expect((await send(to, text)).lines.at(-1)).toMatchObject({ done: true, applied: 6, refused: 0 });
    const bare = ({ lines }: Lines): Line[] =>
      lines.map(({ collection, key, attributes }) => ({ collection, key, attributes }));
    expect(bare(await getLines(to, 'P/export?system=true'))).toEqual(
      bare(await getLines(from, 'P/export?system=true')),
    );
    expect((await to.calls(['GET P/collections/empty'])).body).toMatchObject({ description: 'D', options: { o: 1 } });
  });

  it('a line of a system collection is a commit of its own', async () => {
    const scenario = new Scenario(server);
    const body = `${line('a')}${line('b')}${line('s', { source: '' }, '_scripts')}${line('new', {}, '_dictionary')}${line('c')}`;
    const { lines } = await send(scenario, body);
    expect(lines.map((one) => [one.line, one.revision])).toEqual([
      [2, 1],
      [3, 2],
      [4, 3],
      [5, 4],
      [undefined, 4],
    ]);
  });

  it('joins lines to commits, and splits one that would be too large', { timeout: 60_000 }, async () => {
    const scenario = new Scenario(server);
    const { lines } = await send(scenario, Array.from({ length: 1200 }, (_, n) => line(`k${n}`, { n })).join(''));
    expect(lines.at(-1)).toMatchObject({ applied: 1200, revision: 3 });
    const keys = Array.from({ length: 40 }, (_, n) => `large${n}`);
    for (const key of keys)
      await scenario.calls([`PUT C/items/${key}`, { attributes: { text: 'x'.repeat(1_000_000) } }]);
    const shrunk = await send(scenario, keys.map((key) => line(key, { text: 'short' })).join(''));
    expect(shrunk.lines.at(-1)).toMatchObject({ done: true, applied: 40, refused: 0 });
    expect(await scenario.attributes('large39')).toEqual({ text: 'short' });
  });

  it('tells of what has arrived while it waits for more', { timeout: 30_000 }, async () => {
    const scenario = new Scenario(server);
    const talk = new Talk(scenario);
    talk.send(`${line('a')}${line('b').slice(0, 10)}`);
    await talk.until((one) => one.line === 1 && one.applied === 1);
    expect(await scenario.attributes('a')).toEqual({});
    talk.send(line('b').slice(10));
    await talk.until((one) => one.line === 2);
    talk.send('bad\n');
    await talk.until((one) => one.line === 3 && one.problem);
    talk.finish();
    expect(await talk.over).toBe(true);
    expect(talk.lines.at(-1)).toMatchObject({ done: true, lines: 3 });
  });

  it('stops when its client goes, and keeps what it told of', { timeout: 60_000 }, async () => {
    const alone = await startServer({ database: name });
    const scenario = new Scenario(alone);
    const talk = new Talk(scenario);
    for (let n = 0; n < 800; n++) talk.send(line(`k${n}`));
    await talk.until((one) => one.line >= 500);
    talk.send(`${line('whole')}${line('half').slice(0, 20)}`);
    talk.leave();
    expect(await talk.over).toBe(false);
    const told = talk.lines.at(-1).line;
    await sleep(1500);
    const { lines: left } = await getLines(scenario, 'P/export');
    const keys = new Set(left.map(({ key }) => key));
    for (let n = 0; n < told; n++) expect(keys).toContain(`k${n}`);
    expect(keys).not.toContain('half');
    expect((await alone.stop()).code).toBe(0);
    expect(alone.output()).not.toMatch(/"level":(50|60)|a request failed/);
  });

  it('ends with the last durable line when the server is stopped', { timeout: 60_000 }, async () => {
    const alone = await startServer({ database: name });
    const talk = new Talk(new Scenario(alone));
    talk.send(line('a'));
    await talk.until((one) => one.line === 1);
    const { code } = await alone.stop();
    expect(code).toBe(0);
    await talk.over;
    expect(talk.lines.at(-1)).toMatchObject({ done: false, line: 1, problem: { code: 'unavailable' } });
  });

  it('a killed server has everything that it told of, and the rest follows by skip', { timeout: 120_000 }, async () => {
    const first = await startServer({ database: name });
    const scenario = new Scenario(first);
    const count = 20_000;
    const texts = Array.from({ length: count }, (_, n) => line(`k${String(n).padStart(5, '0')}`, { n }));
    const talk = new Talk(scenario);
    void (async () => {
      for (let from = 0; from < count; from += 100) {
        talk.send(texts.slice(from, from + 100).join(''));
        await sleep(5);
      }
    })();
    await talk.until((one) => one.line >= 2000);
    await first.kill();
    expect(await talk.over).toBe(false);
    const { line: told } = talk.lines.at(-1);
    expect(told).toBeLessThan(count);
    const second = await startServer({ database: name, databaseUrl: first.databaseUrl });
    const resumed = new Scenario(second, scenario.pool);
    const { lines: there } = await getLines(resumed, 'P/export');
    for (let n = 0; n < told; n++) expect(there[n]).toMatchObject({ attributes: { n } });
    const rest = await send(resumed, texts.join(''), `?skip=${told}`);
    const last = rest.lines.at(-1);
    expect(last).toMatchObject({ done: true, lines: count, refused: 0 });
    expect(last.applied + last.unchanged).toBe(count - told);
    const { lines: all } = await getLines(resumed, 'P/export');
    expect(all.map(({ attributes }) => attributes.n)).toEqual(Array.from({ length: count }, (_, n) => n));
  });

  it('holds little of a long import in memory', { timeout: 120_000 }, async () => {
    // A heap that could not hold the import, which is 120 MB as text and more as values.
    const env = { STARGUS_CACHE_MB: '1', NODE_OPTIONS: '--max-old-space-size=96 --max-semi-space-size=4' };
    const alone = await startServer({ database: name, env });
    const scenario = new Scenario(alone);
    await send(scenario, line('first'));
    const before = residentMiB(alone.pid);
    const most = watchMemory(alone.pid);
    const text = 'x'.repeat(10_000);
    let n = 0;
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        if (n < 12_000) controller.enqueue(Buffer.from(line(`k${n % 5000}`, { n, text })));
        else controller.close();
        n++;
      },
    });
    const { lines } = await readLines(await post(scenario, body));
    expect(lines.at(-1)).toMatchObject({ done: true, lines: 12_000, applied: 12_000 });
    expect(most() - before).toBeLessThan(GROWTH_MIB_MAX);
    await alone.stop();
  });

  it('reads no further while refusals aren’t taken', { timeout: 120_000 }, async () => {
    const scenario = new Scenario(server);
    const before = residentMiB(server.pid);
    const most = watchMemory(server.pid);
    const socket = await connected(server);
    const length = 30_000_000;
    const start = { ...HEADERS, 'content-length': length };
    socket.pause();
    socket.write(head(server, `POST ${scenario.path('P/import')}`, start));
    const chunk = Buffer.from('{}}\n'.repeat(25_000));
    let sent = 0;
    const pump = (): void => {
      while (sent < length && socket.write(chunk)) sent += chunk.length;
      if (sent < length)
        socket.once('drain', () => {
          sent += chunk.length;
          pump();
        });
    };
    pump();
    await sleep(4000);
    const stuck = sent;
    await sleep(1000);
    expect(sent).toBe(stuck);
    expect(sent).toBeLessThan(length);
    expect(most() - before).toBeLessThan(GROWTH_MIB_MAX);
    socket.destroy();
    // Others aren't held up, and nothing is left behind.
    expect((await send(scenario, line('a'))).lines.at(-1)).toMatchObject({ done: true });
  });

  it.each<
    [
      says: string,
      line: string,
      body: string | undefined,
      status: number,
      code: string,
      headers?: Record<string, string>,
    ]
  >([
    ['another media type', 'POST P/import', '{}', 415, 'unsupportedMediaType', { 'content-type': 'application/json' }],
    [
      'a large body of another type',
      'POST P/import',
      'x'.repeat(5_000_000),
      415,
      'unsupportedMediaType',
      { 'content-type': 'text/plain' },
    ],
    ['no body', 'POST P/import', undefined, 400, 'badRequest'],
    ['a bad skip', 'POST P/import?skip=-1', '', 400, 'badRequest', HEADERS],
    ['an unknown parameter', 'POST P/import?atomic=true', '', 400, 'badRequest', HEADERS],
    ['a pool of the system', 'POST /v1/pools/_p/import', '', 400, 'invalidName', HEADERS],
    ['another method', 'GET P/import', undefined, 405, 'methodNotAllowed'],
    ['lines elsewhere', 'POST P/batch', '{}\n', 415, 'unsupportedMediaType', HEADERS],
  ])('refuses %s', async (_, request, body, status, code, headers) => {
    const scenario = new Scenario(server);
    expectProblem(await scenario.call(request, body, headers), status, code);
    expect(await scenario.revision()).toBeUndefined();
  });

  it('doesn’t bring a pool back that was deleted meanwhile', { timeout: 30_000 }, async () => {
    const scenario = new Scenario(server);
    const talk = new Talk(scenario);
    talk.send(line('a'));
    await expect.poll(() => talk.lines.length, { timeout: 10_000 }).toBeGreaterThan(0);
    await scenario.calls(['DELETE P']);
    talk.send(line('b') + line('c'));
    talk.finish();
    expect(await talk.over).toBe(true);
    expect(talk.lines.at(-1)).toMatchObject({ done: false, line: 0, problem: { code: 'conflict' } });
    expect((await scenario.call('GET P')).status).toBe(404);
  });

  it('an answer that has begun is cut where what follows isn’t HTTP, not followed by another', async () => {
    const scenario = new Scenario(server);
    const socket = await connected(server);
    let received = '';
    socket.setEncoding('utf8').on('data', (text: string) => {
      received += text;
    });
    const closed = new Promise((resolve) => socket.once('close', resolve));
    const text = line('a');
    socket.write(head(server, `POST ${scenario.path('P/import')}`, { ...HEADERS, 'transfer-encoding': 'chunked' }));
    socket.write(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`);
    await expect.poll(() => received, { timeout: 10_000 }).toContain('"applied":1');
    socket.write('zz\r\n');
    await closed;
    expect(received.match(/HTTP\/1\.1/g)).toHaveLength(1);
  });

  it('a byte order mark is named', async () => {
    const { lines } = await send(new Scenario(server), `\ufeff${line('a')}${line('b')}`);
    expect(refusalsOf(lines)).toEqual([[1, 'badRequest']]);
    expect(lines[0].problem.detail).toContain('byte order mark');
    expect(lines.at(-1)).toMatchObject({ applied: 1 });
  });

  it('makes no pool where writes make none', async () => {
    const strict = await startServer({ database: name, env: { STARGUS_CREATE_POOLS: '0' } });
    const scenario = new Scenario(strict);
    expectProblem(await scenario.call('POST P/import', line('a'), HEADERS), 404, 'notFound');
    await scenario.calls(['PUT P', {}]);
    expect((await send(scenario, line('a'))).lines.at(-1)).toMatchObject({ done: true, applied: 1 });
    await strict.stop();
  });
});
