/** Servers that are none, or say what they shouldn't: each has its error, nothing hangs, and nothing is left. */
import { mkdtempSync, rmSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { seal } from '../../../src/engine/access/envelope.js';
import { connect } from '../src/stargus.node.js';
import { ABOUT, clientOf, type Event, type Handle, json, serve, soon, stream } from './fake-server.js';

const PAGE = '<html><body>Welcome to the hotel</body></html>';

const part = (key: string, number: number) => ({
  view: 'c',
  revision: 1,
  part: number,
  items: [{ collection: 'c', key, revision: 1, createdRevision: 1, attributes: { n: 1 } }],
});

test.each<[string, Handle, string]>([
  ['a page', (_, outgoing) => void outgoing.writeHead(200, { 'content-type': 'text/html' }).end(PAGE), 'notStargus'],
  ['a page of a proxy', (_, outgoing) => void outgoing.writeHead(502).end(PAGE), 'notStargus'],
  [
    'a page that says that it is JSON',
    (_, outgoing) => void outgoing.writeHead(200, { 'content-type': 'application/json' }).end(PAGE),
    'protocolError',
  ],
  [
    'a way elsewhere',
    (_, outgoing) => void outgoing.writeHead(302, { location: 'http://127.0.0.1:1/login' }).end(),
    'notStargus',
  ],
  ['another program', (_, outgoing) => json(outgoing, { name: 'other', apiVersion: 'v1' }), 'notStargus'],
  ['no object', (_, outgoing) => json(outgoing, null), 'notStargus'],
  ['another major version', (_, outgoing) => json(outgoing, { ...ABOUT, apiVersion: 'v2' }), 'incompatibleServer'],
  ['a later one', (_, outgoing) => json(outgoing, { ...ABOUT, apiVersion: 'v10.1' }), 'incompatibleServer'],
  [
    'that there is no such version',
    (_, outgoing) =>
      void outgoing
        .writeHead(404, { 'content-type': 'application/problem+json' })
        .end(JSON.stringify({ code: 'notFound', status: 404, detail: 'There is no /v1.' })),
    'incompatibleServer',
  ],
  ['nothing', () => {}, 'timeout'],
  [
    'half an answer',
    (_, outgoing) =>
      void outgoing.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' }).write('{'),
    'timeout',
  ],
  ['a broken connection', (incoming) => void incoming.socket.destroy(), 'unreachable'],
  ['no HTTP', (incoming) => void incoming.socket.end('220 mail.example ESMTP\r\n'), 'unreachable'],
  [
    'an answer without an end',
    (_, outgoing) => {
      outgoing.writeHead(200, { 'content-type': 'application/json' });
      const piece = ' '.repeat(1 << 20);
      const more = () => {
        while (!outgoing.destroyed && outgoing.write(piece));
      };
      outgoing.on('drain', more);
      more();
    },
    'protocolError',
  ],
])('who answers %s is no server: %s', { timeout: 30_000 }, async (_, handle, code) => {
  const url = await serve(handle);
  const requestTimeoutMs = code === 'timeout' ? 200 : 20_000;
  await expect(connect(url, 'p', { requestTimeoutMs, retryForMs: 100 })).rejects.toMatchObject({ code });
});

test('where nobody is, is told so', async () => {
  await expect(connect('http://127.0.0.1:9', 'p', { retryForMs: 0 })).rejects.toMatchObject({ code: 'unreachable' });
  await expect(connect('ftp://127.0.0.1', 'p')).rejects.toThrow(TypeError);
  await expect(connect('http://ann:secret@127.0.0.1', 'p')).rejects.toThrow(TypeError);
});

describe('a stream', { timeout: 30_000 }, () => {
  test('that ends in mid-snapshot is begun anew, and shows no part', async () => {
    let asked = 0;
    const seen: number[] = [];
    const client = await clientOf((_, outgoing) => {
      asked++;
      const rest: Event[] = [
        ['snapshot', part('b', 2)],
        ['live', { view: 'c', revision: 1 }, 'e-1'],
      ];
      stream(outgoing, ['hello', {}], ['snapshot', part('a', 1)], ...(asked < 3 ? [] : rest));
      if (asked < 3) outgoing.end();
    });
    const mirror = client.attach('c');
    const watching = setInterval(() => seen.push(mirror.size), 1);
    await mirror.ready;
    clearInterval(watching);
    expect([...mirror.keys()]).toEqual(['a', 'b']);
    expect(asked).toBe(3);
    expect(seen.filter((size) => size !== 0 && size !== 2)).toEqual([]);
  });

  test.each<[string, (outgoing: ServerResponse) => void, string]>([
    ['a page', (outgoing) => void outgoing.writeHead(200, { 'content-type': 'text/html' }).end(PAGE), 'notStargus'],
    ['JSON', (outgoing) => json(outgoing, {}), 'notStargus'],
    [
      'no JSON in it',
      (outgoing) => {
        stream(outgoing, ['hello', {}]);
        outgoing.write('event: live\ndata: {"rev\n\n');
      },
      'protocolError',
    ],
    ['what means nothing', (outgoing) => stream(outgoing, ['live', { revision: 'one' }]), 'protocolError'],
    [
      'an event of 100 MiB',
      (outgoing) => {
        stream(outgoing, ['hello', {}]);
        outgoing.write('data: ');
        const piece = 'x'.repeat(1 << 20);
        let sent = 0;
        const more = () => {
          while (!outgoing.destroyed && sent++ < 100 && outgoing.write(piece));
        };
        outgoing.on('drain', more);
        more();
      },
      'eventTooLarge',
    ],
    [
      'a problem',
      (outgoing) => stream(outgoing, ['problem', { status: 403, code: 'forbidden', detail: 'No.', retryable: false }]),
      'forbidden',
    ],
    [
      'a refusal',
      (outgoing) => json(outgoing, { status: 400, code: 'badRequest', detail: 'No.', retryable: false }, 400),
      'badRequest',
    ],
  ])('of %s ends the mirror and the feed: %s', async (_, answer, code) => {
    const client = await clientOf((__, outgoing) => answer(outgoing));
    const mirror = client.attach('c');
    const changes = mirror.changes();
    let ended: unknown;
    mirror.on('end', (error) => {
      ended = error;
    });
    await expect(mirror.ready).rejects.toMatchObject({ code });
    await expect(changes.next()).rejects.toMatchObject({ code });
    await expect(mirror.reached(1)).rejects.toMatchObject({ code });
    expect(mirror.isLive).toBe(false);
    expect(mirror.error).toMatchObject({ code });
    await expect.poll(() => ended).toMatchObject({ code });
    if (code !== 'protocolError') await expect(client.changes().next()).rejects.toMatchObject({ code });
  });

  test('that comes back as another subject begins anew, and its cache is left to who was there before', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'stargus-subject-'));
    const cache = path.join(folder, 'c.cache');
    const asked: string[] = [];
    let cut: (() => void) | undefined;
    const client = await clientOf((incoming, outgoing) => {
      const { authorization = '' } = incoming.headers;
      if (!incoming.url?.includes('/attach')) return json(outgoing, { subject: `of ${authorization}` });
      asked.push(`${authorization} ${incoming.url.includes('since=') ? 'since' : 'all'}`);
      const isAnn = authorization.endsWith('ann');
      stream(outgoing, ['snapshot', part(isAnn ? 'b' : 'a', 1)], ['live', { revision: 1 }, 'e-1']);
      cut = () => outgoing.end();
    });
    const mirror = client.attach('c', { cache });
    await mirror.ready;
    await client.authenticate({ token: 'ann' });
    cut?.();
    await soon(() => [...mirror.keys()]).toEqual(['b']);
    await client.authenticate({ token: 'ann' });
    cut?.();
    await soon(() => asked.length).toBe(3);
    expect(asked).toEqual([' all', 'Bearer ann all', 'Bearer ann since']);
    await mirror.close();
    const { DatabaseSync } = await import('node:sqlite');
    const database = new DatabaseSync(cache);
    expect(database.prepare("SELECT key FROM item WHERE key <> 'a'").all()).toEqual([]);
    database.close();
    rmSync(folder, { recursive: true });
  });

  test('that is silent is left for another', async () => {
    let asked = 0;
    const client = await clientOf((_, outgoing) => {
      stream(outgoing, ['hello', { heartbeatMs: 40 }]);
      if (++asked > 1) outgoing.write('event: live\nid: e-0\ndata: {"view":"c","revision":0}\n\n');
    });
    await client.attach('c').ready;
    expect(asked).toBeGreaterThanOrEqual(2);
  });

  test('that is cut each time it is live is come back to, and not without a pause', async () => {
    let asked = 0;
    const client = await clientOf((_, outgoing) => {
      asked++;
      stream(outgoing, ['live', { view: 'c', revision: 0 }, 'e-0']);
      outgoing.end();
    });
    const mirror = client.attach('c');
    await mirror.ready;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(asked).toBeGreaterThan(1);
    expect(asked).toBeLessThan(60);
  });

  test('of more changes than an iterator takes tells it to look at all', async () => {
    const client = await clientOf((_, outgoing) => {
      stream(outgoing, ['live', { view: 'c', revision: 0 }, 'e-0']);
      for (let revision = 1; revision <= 12_000; revision++)
        outgoing.write(
          `event: changes\nid: e-${revision}\ndata: ${JSON.stringify({
            revision,
            changes: [{ op: 'add', collection: 'c', key: `k${revision}`, changed: [], removed: [], attributes: {} }],
          })}\n\n`,
        );
    });
    const mirror = client.attach('c');
    const changes = mirror.changes();
    await mirror.reached(12_000);
    expect(mirror.size).toBe(12_000);
    expect((await changes.next()).value).toMatchObject({ op: 'reset' });
    expect((await changes.next()).value).toMatchObject({ op: 'add' });
    await mirror.close();
  });
});

test.each<[string, unknown]>([
  ['null', null],
  ['a list', []],
  ['an object of something else', { status: 'OK' }],
])('an answer that is %s is told by a code, whatever was asked', async (_, answer) => {
  const client = await clientOf((__, outgoing) => json(outgoing, answer));
  const key = { keyFile: { account: `${client.url}/id/ann`, jwk: await privateKey() } };
  const calls: (() => Promise<unknown>)[] = [
    () => client.get('c', 'a'),
    () => client.set('c', 'a', {}),
    () => client.create('c', {}),
    () => client.delete('c', 'a'),
    () => client.increment('c', 'a', 'n'),
    () => client.batch([]),
    () => client.query('c').toArray(),
    () => client.changes({ follow: false }).next(),
    () => client.lock({ collection: 'c' }),
    () => client.authenticate(key),
    () => client.authenticate({ account: `${client.url}/id/ann`, passphrase: 'correct horse' }),
  ];
  const expected = expect.objectContaining({ code: expect.toBeOneOf(['protocolError', 'notStargus']) });
  for (const call of calls) await expect(call()).rejects.toEqual(expected);
});

test('a feed that nobody reads any more ends, whether or not a commit comes', async () => {
  const client = await clientOf((_, outgoing) => stream(outgoing, ['live', { revision: 1 }, 'e-1']));
  const feed = client.changes();
  const next = feed.next();
  await soon(() => client.activity.requests).toBe(1);
  expect(await feed.return()).toMatchObject({ done: true });
  expect(await next).toMatchObject({ done: true });
  expect(client.activity.requests).toBe(0);
});

test.each([
  ['too many commits', 5_000, 10],
  ['commits that are too large', 100, 1 << 20],
])('a feed takes no more where %s wait for who reads, and ends with the client', async (_, count, bytes) => {
  let sent = 0;
  const client = await clientOf((__, outgoing) => {
    stream(outgoing, ['live', { revision: 0 }, 'e-0']);
    const text = 'x'.repeat(bytes);
    const more = () => {
      for (let isRoom = true; isRoom && sent < count; ) {
        const change = { op: 'add', collection: 'c', key: 'k', changed: [], removed: [], attributes: { text } };
        const data = JSON.stringify({ revision: ++sent, changes: [change] });
        isRoom = outgoing.write(`event: changes\nid: e-${sent}\ndata: ${data}\n\n`);
      }
    };
    outgoing.on('drain', more);
    more();
  });
  const feed = client.changes();
  expect((await feed.next()).value).toMatchObject({ revision: 1 });
  // What is on its way between the two goes on until its buffers are full.
  for (let before = -1; before !== sent; await new Promise((resolve) => setTimeout(resolve, 300))) before = sent;
  if (bytes > 10) expect(sent).toBeLessThan(count);
  for (let each = 2; each <= count; each++) expect((await feed.next()).value).toMatchObject({ revision: each });
  const last = feed.next();
  last.catch(() => {});
  await client.close();
  expect(client.activity.requests).toBe(0);
  await expect(last).rejects.toMatchObject({ code: 'closed' });
});

test('of a feed that isn’t read nothing is left when the client is closed', async () => {
  const client = await clientOf((_, outgoing) => {
    stream(outgoing, ['live', { revision: 0 }, 'e-0']);
    for (let revision = 1; revision <= 1_500; revision++)
      outgoing.write(`event: changes\nid: e-${revision}\ndata: ${JSON.stringify({ revision, changes: [] })}\n\n`);
  });
  const feed = client.changes();
  await feed.next();
  await client.close();
  await soon(() => client.activity.requests).toBe(0);
});

/** The private key of an account. */
async function privateKey(): Promise<Record<string, unknown>> {
  const { generateKeyPairSync } = await import('node:crypto');
  return generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' }) as Record<string, unknown>;
}

test('who waits for a token that doesn’t come waits no longer than they want', async () => {
  let url = '';
  let logins = 0;
  const client = await clientOf((incoming, outgoing) => {
    if (incoming.url === '/v1/auth/challenges') json(outgoing, { nonce: 'n', audience: url });
    else if (incoming.url !== '/v1/auth/token') json(outgoing, { subject: 'ann' });
    else if (++logins <= 2) json(outgoing, { accessToken: `t${logins}`, refreshToken: 'r', expiresInMs: 0 });
    // The third is never answered.
  });
  url = client.url;
  await client.authenticate({ keyFile: { account: `${url}/id/ann`, jwk: await privateKey() } });
  const started = performance.now();
  const mirror = client.attach('c');
  await expect(client.get('c', 'a', { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({
    name: 'TimeoutError',
  });
  await mirror.close();
  expect(performance.now() - started).toBeLessThan(8_000);
  expect(mirror.error).toMatchObject({ code: 'closed' });
});

test('a login that is bound to a key outlives the sleep of the machine, whose clock slept too', async () => {
  let sleptMs = 0;
  const refused: string[] = [];
  const url = await serve((incoming, outgoing) => {
    const now = Date.now() + sleptMs;
    outgoing.setHeader('date', new Date(now).toUTCString());
    const { dpop } = incoming.headers;
    const claims = String(dpop).split('.')[1] ?? '';
    const { iat } = dpop ? (JSON.parse(Buffer.from(claims, 'base64url').toString()) as { iat: number }) : { iat: 0 };
    if (incoming.url === '/v1') json(outgoing, ABOUT);
    else if (incoming.url === '/v1/auth/challenges') json(outgoing, { nonce: 'n', audience: url });
    else if (Math.abs(now / 1000 - iat) > 60) {
      refused.push(String(incoming.url));
      json(outgoing, { code: 'unauthenticated', detail: 'The proof is too old.', retryable: false }, 401);
    } else if (incoming.url === '/v1/auth/token')
      json(outgoing, { accessToken: 't', refreshToken: 'r', expiresInMs: 600_000 });
    else json(outgoing, { subject: 'ann', key: 'a', revision: 1 });
  });
  await using client = await connect(url, 'p');
  await client.authenticate({ keyFile: { account: `${url}/id/ann`, jwk: await privateKey() }, oneTimeKey: true });
  sleptMs = 3_600_000;
  expect(await client.get('c', 'a')).toMatchObject({ key: 'a' });
  expect(refused).toEqual(['/v1/pools/p/collections/c/items/a']);
});

test('a mirror whose stream says that its token is over is closed without waiting for another', async () => {
  let url = '';
  let logins = 0;
  const client = await clientOf((incoming, outgoing) => {
    if (incoming.url === '/v1/auth/challenges') json(outgoing, { nonce: 'n', audience: url });
    else if (incoming.url?.includes('/attach'))
      stream(outgoing, ['live', { revision: 0 }, 'e-0'], ['bye', { reason: 'expired', retryMs: 0 }]);
    else if (incoming.url !== '/v1/auth/token') json(outgoing, { subject: 'ann' });
    else if (++logins === 1) json(outgoing, { accessToken: 't', refreshToken: 'r', expiresInMs: 600_000 });
  });
  url = client.url;
  await client.authenticate({ keyFile: { account: `${url}/id/ann`, jwk: await privateKey() } });
  const mirror = client.attach('c');
  await soon(() => logins).toBe(2);
  const started = performance.now();
  await mirror.close();
  expect(performance.now() - started).toBeLessThan(8_000);
});

test('who wants to wait for ever may', async () => {
  const client = await clientOf((_, outgoing) => json(outgoing, { key: 'a', revision: 1 }), {
    requestTimeoutMs: Number.POSITIVE_INFINITY,
    retryForMs: Number.POSITIVE_INFINITY,
  });
  expect(await client.get('c', 'a')).toMatchObject({ key: 'a' });
});

test('a body that breaks off is told as any other fault, and nothing is left of it', async () => {
  const client = await clientOf((_, outgoing) => {
    outgoing.writeHead(200, { 'content-type': 'application/x-ndjson' }).write('{"key":"a"}\n');
    setTimeout(() => outgoing.destroy(), 50);
  });
  const { raw } = await client.api.transfer.exportItemsRaw({ pool: 'p' });
  await expect(raw.text()).rejects.toMatchObject({ code: 'unreachable' });
  const giveUp = new AbortController();
  // Nobody reads this one.
  await client.api.transfer.exportItemsRaw({ pool: 'p' }, { signal: giveUp.signal });
  expect(client.activity.requests).toBe(1);
  giveUp.abort();
  expect(client.activity.requests).toBe(0);
});

test.each([undefined, fetch])('a body that is left while it is waited for is let go (fetch: %s)', async (given) => {
  let isClosed = false;
  const options = given && { fetch: given };
  const client = await clientOf((_, outgoing) => {
    outgoing.once('close', () => {
      isClosed = true;
    });
    outgoing.writeHead(200, { 'content-type': 'application/x-ndjson' }).flushHeaders();
  }, options);
  const { raw } = await client.api.transfer.exportItemsRaw({ pool: 'p' });
  const reader = (raw.body as ReadableStream).getReader();
  const reading = reader.read();
  await reader.cancel();
  expect(await reading).toMatchObject({ done: true });
  expect(client.activity.requests).toBe(0);
  await soon(() => isClosed).toBe(true);
});

test('a refresh whose answer was lost is not sent again where one can log in anew', async () => {
  const asked: string[] = [];
  const jwk = await privateKey();
  let url = '';
  const client = await clientOf((incoming, outgoing) => {
    let body = '';
    incoming.on('data', (chunk) => {
      body += String(chunk);
    });
    incoming.on('end', () => {
      if (incoming.url === '/v1/auth/challenges') json(outgoing, { nonce: 'n', audience: url });
      else if (incoming.url === '/v1/auth/token') {
        const { grantType } = JSON.parse(body) as { grantType: string };
        asked.push(grantType.replace(/^.*:/, ''));
        if (grantType === 'refresh_token') incoming.socket.destroy();
        else json(outgoing, { accessToken: `t${asked.length}`, refreshToken: 'r', expiresInMs: 0 });
      } else json(outgoing, { subject: 'ann' });
    });
  });
  url = client.url;
  await client.authenticate({ keyFile: { account: `${url}/id/ann`, jwk } });
  expect(asked).toEqual(['jwt-bearer', 'refresh_token', 'jwt-bearer']);
});

test('a later minor version is the same', async () => {
  const url = await serve((_, outgoing) => json(outgoing, { ...ABOUT, apiVersion: 'v1.7' }));
  const client = await connect(url, 'p');
  await client.close();
});

describe('a feed', () => {
  test('begins when it is asked for, and leaves nothing when nobody reads it', async () => {
    let asked = 0;
    const client = await clientOf((_, outgoing) => {
      asked++;
      stream(outgoing, ['hello', { heartbeatMs: 1000 }], ['live', { revision: 1 }, 'e-1']);
    });
    client.changes();
    await soon(() => asked).toBe(1);
    const left = client.changes();
    await soon(() => client.activity.requests).toBe(2);
    await left.return();
    expect(client.activity.requests).toBe(1);
    await client.close();
    expect(client.activity.requests).toBe(0);
  });

  test('gives what came between the call and the first reading', async () => {
    const client = await clientOf((_, outgoing) =>
      stream(
        outgoing,
        ['hello', {}],
        ['live', { revision: 1 }, 'e-1'],
        ['changes', { revision: 2, time: '', subject: '', changes: [] }, 'e-2'],
      ),
    );
    const feed = client.changes();
    await soon(() => client.activity.requests).toBe(1);
    expect((await feed.next()).value).toMatchObject({ revision: 2, cursor: 'e-2' });
    await feed.return();
  });

  test('that ends where it has caught up begins when it is asked for, too', async () => {
    const asked: string[] = [];
    const client = await clientOf(({ url = '' }, outgoing) => {
      asked.push(new URL(url, 'http://x').searchParams.get('since') ?? '');
      const commits = asked.length === 1 ? [] : [{ revision: 2, cursor: 'e-2', time: '', subject: '', changes: [] }];
      json(outgoing, { commits, cursor: `e-${asked.length}`, upToDate: true });
    });
    const feed = client.changes({ follow: false });
    await soon(() => asked).toEqual(['now']);
    expect((await feed.next()).value).toMatchObject({ revision: 2 });
    expect(await feed.next()).toMatchObject({ done: true });
    expect(asked).toEqual(['now', 'e-1']);
  });

  test('that is reset names cursors that can be used', async () => {
    const client = await clientOf(({ url = '' }, outgoing) => {
      if (url.includes('/changes')) stream(outgoing, ['hello', {}], ['reset', { reason: 'epoch' }]);
      else json(outgoing, { pool: 'p', epoch: 'f', revision: 9, oldestRevision: 3, cursor: 'f-9' });
    });
    await expect(client.changes({ since: 'e-1' }).next()).rejects.toMatchObject({
      code: 'cursorExpired',
      problem: { oldest: 'f-2', current: 'f-9' },
    });
  });
});

test('bounds of an increment are sent', async () => {
  let body = '';
  const client = await clientOf((incoming, outgoing) => {
    incoming.on('data', (chunk) => {
      body += String(chunk);
    });
    incoming.on('end', () => json(outgoing, { value: 3 }));
  });
  expect(await client.increment('c', 'k', 'n', 2, { min: 0, max: 5 })).toBe(3);
  expect(JSON.parse(body)).toEqual({ attribute: 'n', by: 2, min: 0, max: 5 });
});

describe('the envelope of a passphrase', () => {
  test.each(['http://stargus.example/id/ann', 'http://192.0.2.1/ann', 'ftp://127.0.0.1/id/ann', 'ann'])(
    'isn’t asked for at %s, where others may hear its proof',
    async (account) => {
      const client = await clientOf((_, outgoing) => json(outgoing, {}));
      await expect(client.authenticate({ account, passphrase: 'x' })).rejects.toMatchObject({
        code: 'loginFailed',
        message: expect.stringContaining('https'),
      });
    },
  );

  test('is read where its owner published it, and no proof is sent', { timeout: 60_000 }, async () => {
    const asked: string[] = [];
    let text = '';
    const site = await serve(({ method, url }, outgoing) => {
      asked.push(`${method} ${url}`);
      if (url === '/ann/envelope.jwe')
        outgoing.writeHead(200, { 'content-type': 'application/octet-stream' }).end(text);
      else outgoing.writeHead(404).end(PAGE);
    });
    const account = `${site}/ann`;
    const { privateKey } = await crypto.subtle.generateKey({ name: 'Ed25519' }, true, ['sign', 'verify']);
    const jwk = (await crypto.subtle.exportKey('jwk', privateKey)) as Record<string, string>;
    ({ text } = await seal(account, { kty: 'OKP', crv: 'Ed25519', x: jwk.x, d: jwk.d }, { passphrase: 'six words' }));
    const client = await clientOf(({ url }, outgoing) => {
      if (url === '/v1/auth/challenges')
        json(outgoing, { nonce: 'n', audience: `http://${outgoing.req.headers.host}` });
      else if (url === '/v1/auth/token') json(outgoing, { accessToken: 't', expiresInMs: 60_000 });
      else json(outgoing, { subject: account });
    });
    expect(await client.authenticate({ account, passphrase: 'six words' })).toEqual({ subject: account });
    expect(asked).toEqual(['GET /ann/envelope.jwe']);
    await expect(client.authenticate({ account, passphrase: 'others' })).rejects.toMatchObject({ code: 'loginFailed' });
    await expect(client.authenticate({ account: `${site}/bob`, passphrase: 'x' })).rejects.toMatchObject({
      code: 'loginFailed',
      message: expect.stringContaining('no envelope'),
    });
  });
});
