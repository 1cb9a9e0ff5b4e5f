/** Reading documents from places that strangers name: what is read, and all the ways in which one could be led elsewhere. */
import { createSocket } from 'node:dgram';
import type { LookupAddress } from 'node:dns';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { kindOf } from '../../src/platform/guarded-addresses.js';
import { RemoteDocuments, type RemoteOptions } from '../../src/platform/remote-documents.js';
import { openSite, type Page, type Site } from '../support/site.js';

const HOST = 'alice.test';
const LOCAL: LookupAddress[] = [{ address: '127.0.0.1', family: 4 }];
const PUBLIC: LookupAddress = { address: '203.0.114.1', family: 4 };

describe('a document', () => {
  let site: Site;
  beforeAll(async () => {
    site = await openSite([HOST, 'localhost']);
  });
  beforeEach(() => {
    site.pages.clear();
    site.asked.length = 0;
  });

  const reader = (options: Partial<RemoteOptions> = {}) =>
    new RemoteDocuments({
      isPrivateAllowed: true,
      bytesMax: 1000,
      timeoutMs: 3000,
      redirectsMax: 3,
      ca: site.ca,
      resolve: async () => LOCAL,
      ...options,
    });
  const url = (path: string) => `${site.origin(HOST)}${path}`;
  const redirect =
    (location: string, status = 302): Page =>
    (_request, response) =>
      response.writeHead(status, { location }).end();

  it('is read whole', async () => {
    site.pages.set('/a', 'ü'.repeat(500));
    expect(await reader().read(url('/a'))).toBe('ü'.repeat(500));
    expect(await reader().read(url('/b'))).toBeUndefined();
    site.pages.set('/gone', (_request, response) => response.writeHead(410).end('x'));
    expect(await reader().read(url('/gone'))).toBeUndefined();
  });

  it('is looked for at name servers that may never answer, which holds up nothing else', async () => {
    const silent = createSocket('udp4').bind(0, '127.0.0.1');
    await once(silent, 'listening');
    const nameServers = [`127.0.0.1:${silent.address().port}`];
    const strict = reader({ isPrivateAllowed: false, resolve: undefined, nameServers, timeoutMs: 1500 });
    const asked = new Set<string>();
    silent.on('message', (question) => asked.add(question.toString('latin1')));
    let settled = 0;
    const dead = Array.from({ length: 30 }, (_, i) =>
      strict
        .read(`https://dead-${i}.example/`)
        .finally(() => settled++)
        .then(String, String),
    );
    // The machine's own look-ups have few threads, which none of these takes.
    await lookup('localhost');
    expect(settled).toBe(0);
    expect(new Set(await Promise.all(dead)).size).toBeLessThanOrEqual(2);
    // Each for both kinds of address, once.
    expect(asked.size).toBe(60);
    silent.close();
  });

  it('is found at the address that a name server tells, unless that is none to go to', async () => {
    const server = createSocket('udp4').bind(0, '127.0.0.1');
    await once(server, 'listening');
    server.on('message', (question, from) => {
      const isA = question.readUInt16BE(question.length - 4) === 1 || question.includes(Buffer.from([0, 0, 1, 0, 1]));
      const head = Buffer.from(question.subarray(0, 12));
      head.writeUInt16BE(0x8180, 2);
      head.writeUInt16BE(isA ? 1 : 0, 6);
      head.writeUInt16BE(0, 10);
      const end = question.indexOf(0, 12) + 5;
      const record = Buffer.from([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 127, 0, 0, 1]);
      server.send(Buffer.concat([head, question.subarray(12, end), ...(isA ? [record] : [])]), from.port, from.address);
    });
    const nameServers = [`127.0.0.1:${server.address().port}`];
    const strict = reader({ isPrivateAllowed: false, resolve: undefined, nameServers });
    await expect(strict.read(url('/a'))).rejects.toThrow(/not public \(loopback\)/);
    await expect(strict.read(`https://localhost:${site.port}/a`)).rejects.toThrow(/not public \(loopback\)/);
    server.close();
  });

  it('is found over redirects within its origin', async () => {
    site.pages
      .set('/a', redirect('/b', 301))
      .set('/b', redirect(url('/c'), 307))
      .set('/c', redirect('d', 308));
    site.pages.set('/d', 'here');
    expect(await reader().read(url('/a'))).toBe('here');
    expect(site.asked).toEqual(['/a', '/b', '/c', '/d']);
  });

  const big = 'x'.repeat(1001);
  it.each<[string, string, Page, RegExp]>([
    ['is larger than it may be', '/x', big, /larger than 1000 bytes/],
    ['is larger without saying so', '/x', (_q, r) => void r.writeHead(200).write(big), /larger than 1000 bytes/],
    ['is compressed', '/x', (_q, r) => void r.writeHead(200, { 'content-encoding': 'gzip' }).end('x'), /compressed/],
    ['is not UTF-8', '/x', (_q, r) => void r.writeHead(200).end(Buffer.from([0xff])), /UTF-8/],
    [
      'ends early',
      '/x',
      (_q, r) => void r.writeHead(200, { 'content-length': '10' }).write('x', () => r.destroy()),
      /broke|can’t be read/,
    ],
    ['is an error', '/x', (_q, r) => void r.writeHead(500).end('x'), /status 500/],
    ['is forbidden', '/x', (_q, r) => void r.writeHead(403).end('x'), /status 403/],
    ['is a part', '/x', (_q, r) => void r.writeHead(206).end('x'), /status 206/],
    ['redirects for ever', '/x', redirect('/x'), /more than 3 times/],
    ['redirects to nowhere', '/x', (_q, r) => void r.writeHead(302).end(), /without saying where/],
    ['redirects to nonsense', '/x', redirect('https://[/'), /without saying where/],
    ['redirects to another host', '/x', redirect('https://bob.test/x'), /another origin/],
    ['redirects to another port', '/x', redirect(`https://${HOST}/x`), /another origin/],
    ['redirects to http', '/x', redirect(`http://${HOST}/x`), /another origin/],
    [
      'redirects to http at the same port',
      '/x',
      (q, r) => void r.writeHead(302, { location: `http://${q.headers.host}/y` }).end(),
      /another origin/,
    ],
    ['redirects to loopback', '/x', redirect('https://127.0.0.1/x'), /another origin/],
    [
      'redirects to a user',
      '/x',
      (q, r) => void r.writeHead(302, { location: `https://u:p@${q.headers.host}/y` }).end(),
      /another origin/,
    ],
    ['redirects to a file', '/x', redirect('file:///etc/passwd'), /another origin/],
    ['has endless headers', '/x', (_q, r) => void r.writeHead(200, { filler: 'x'.repeat(20_000) }).end('x'), /headers/],
  ])('that %s is refused', async (_says, path, page, message) => {
    site.pages.set(path, page);
    await expect(reader().read(url(path))).rejects.toThrow(message);
  });

  it.each<[string, Page]>([
    ['never answers', () => undefined],
    ['never ends', (_request, response) => void response.writeHead(200).write('x')],
    [
      'redirects slowly',
      (_request, response) => void setTimeout(() => response.writeHead(302, { location: '/x' }).end(), 90),
    ],
    [
      'trickles',
      (_request, response) => {
        response.writeHead(200);
        const timer = setInterval(() => response.write(' '), 20);
        response.once('close', () => clearInterval(timer));
      },
    ],
  ])('of a server that %s is given up', async (_says, page) => {
    site.pages.set('/x', page);
    const late = reader({ timeoutMs: 250, redirectsMax: 100 });
    await expect(late.read(url('/x'))).rejects.toThrow(/not answered within 250 ms/);
  });

  it('of a name that is not found in time is given up', async () => {
    const late = reader({ timeoutMs: 100, resolve: () => new Promise(() => undefined) });
    await expect(late.read(url('/x'))).rejects.toThrow(/not answered within 100 ms/);
  });

  it('is not read from who can’t show a certificate for the name', async () => {
    site.pages.set('/a', 'x');
    await expect(reader({ ca: undefined }).read(url('/a'))).rejects.toThrow(/certificate that is not trusted/);
    await expect(reader().read(`${site.origin('bob.test')}/a`)).rejects.toThrow(/certificate that is not trusted/);
    expect(site.asked).toEqual([]);
  });

  it('is not read over plain http, but from this machine where that is allowed', async () => {
    const plain = createServer((_request, response) => response.end('plain'));
    await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
    const { port } = plain.address() as AddressInfo;
    try {
      expect(await reader().read(`http://127.0.0.1:${port}/`)).toBe('plain');
      await expect(reader().read(`http://${HOST}:${port}/`)).rejects.toThrow(/not at https/);
      await expect(reader({ isPrivateAllowed: false }).read(`http://127.0.0.1:${port}/`)).rejects.toThrow(
        /not at https/,
      );
    } finally {
      plain.close();
    }
  });

  describe('is not read', () => {
    const addresses: [string, string][] = [
      ['127.0.0.1', 'loopback'],
      ['127.255.255.254', 'loopback'],
      ['0.0.0.0', 'unspecified'],
      ['0.1.2.3', 'unspecified'],
      ['10.0.0.1', 'private'],
      ['172.16.0.1', 'private'],
      ['172.31.255.255', 'private'],
      ['192.168.1.1', 'private'],
      ['169.254.169.254', 'linkLocal'],
      ['100.64.0.1', 'carrierGradeNat'],
      ['100.127.255.255', 'carrierGradeNat'],
      ['192.0.0.1', 'reserved'],
      ['192.0.2.1', 'reserved'],
      ['198.18.0.1', 'reserved'],
      ['198.51.100.1', 'reserved'],
      ['203.0.113.1', 'reserved'],
      ['224.0.0.1', 'multicast'],
      ['240.0.0.1', 'reserved'],
      ['255.255.255.255', 'broadcast'],
      ['::', 'unspecified'],
      ['::1', 'loopback'],
      ['::ffff:127.0.0.1', 'loopback'],
      ['::ffff:7f00:1', 'loopback'],
      ['::ffff:10.0.0.1', 'private'],
      ['::ffff:169.254.169.254', 'linkLocal'],
      ['::127.0.0.1', 'loopback'],
      ['::7f00:1', 'unassigned'],
      ['64:ff9b::7f00:1', 'rfc6052'],
      ['64:ff9b::808:808', 'rfc6052'],
      ['2002:7f00:1::', '6to4'],
      ['2001::1', 'teredo'],
      ['fe80::1', 'linkLocal'],
      ['fe80::1%lo', 'linkLocal'],
      ['fec0::1', 'deprecatedSiteLocal'],
      ['fc00::1', 'uniqueLocal'],
      ['fd12:3456::1', 'uniqueLocal'],
      ['ff02::1', 'multicast'],
      ['2001:db8::1', 'reserved'],
      ['100::1', 'discard'],
      ['5f00::1', 'segmentRouting'],
      ['4000::1', 'unassigned'],
    ];
    it.each(addresses)('where a name leads to %s', async (address, kind) => {
      const family = address.includes(':') ? 6 : 4;
      const strict = reader({ isPrivateAllowed: false, resolve: async () => [{ address, family }] });
      await expect(strict.read(url('/a'))).rejects.toThrow(/not public/);
      // One that is public beside it makes it no better.
      const mixed = reader({ isPrivateAllowed: false, resolve: async () => [PUBLIC, { address, family }] });
      await expect(mixed.read(url('/a'))).rejects.toThrow(/not public/);
      expect(kindOf(address)).toBe(kind);
      expect(site.asked).toEqual([]);
    });

    it.each([
      'https://127.0.0.1/x',
      'https://2130706433/x',
      'https://0x7f000001/x',
      'https://0x7f.1/x',
      'https://0177.0.0.1/x',
      'https://127.1/x',
      'https://[::1]/x',
      'https://[::ffff:127.0.0.1]/x',
      'https://[::ffff:7f00:1]/x',
      'https://[0:0:0:0:0:ffff:a00:1]/x',
      'https://169.254.169.254/latest/meta-data',
      'https://[fe80::1]/x',
      'https://192.168.0.1/x',
    ])('at %s', async (place) => {
      // The name isn't looked up at all: an address stands for itself.
      const strict = reader({ isPrivateAllowed: false, resolve: () => Promise.reject(new Error('looked up')) });
      await expect(strict.read(place)).rejects.toThrow(/not public/);
    });

    it('where a name leads to nowhere', async () => {
      const none = reader({ resolve: async () => [] });
      await expect(none.read(url('/a'))).rejects.toThrow(/leads nowhere/);
      const lost = reader({ resolve: () => Promise.reject(new Error('ENOTFOUND')) });
      await expect(lost.read(url('/a'))).rejects.toThrow(/leads nowhere/);
    });

    it('from an address to which the name leads a moment after it was judged', async () => {
      site.pages.set('/a', 'secret');
      const answers = [[PUBLIC], LOCAL, LOCAL, LOCAL];
      let asked = 0;
      const strict = reader({
        isPrivateAllowed: false,
        timeoutMs: 300,
        resolve: async () => answers[asked++] as LookupAddress[],
      });
      await expect(strict.read(url('/a'))).rejects.toThrow(/./);
      expect(asked).toBe(1);
      expect(site.asked).toEqual([]);
    });

    it('over a redirect to which the name leads elsewhere by then', async () => {
      site.pages.set('/a', redirect('/b')).set('/b', 'secret');
      const answers = [LOCAL, [{ address: '127.0.0.9', family: 4 }]];
      let asked = 0;
      const changing = reader({ resolve: async () => answers[asked++] as LookupAddress[] });
      await expect(changing.read(url('/a'))).rejects.toThrow(/refuses connections/);
      // Looked up, and so judged, once for each connection.
      expect(asked).toBe(2);
      expect(site.asked).toEqual(['/a']);
    });
  });

  it.each(['8.8.8.8', '1.1.1.1', '203.0.114.1', '2606:4700::1111', '2a00:1450:4001::1', '::ffff:8.8.8.8'])(
    'may be at the address %s',
    (address) => {
      expect(kindOf(address)).toBe('unicast');
    },
  );

  it.each(['0x7f000001', '2130706433', '0177.0.0.1', '127.1', 'localhost', '', '1.2.3.4.5', ':::'])(
    'has no address of the form %j',
    (text) => {
      expect(kindOf(text)).toBe('invalid');
    },
  );
});
