/**
 * Servers announced on the local network, and found there. The other side is zeroconf, another implementation of multicast DNS. Most of
 * it is on the loopback interface, which other tests may be using too: so each server has a name of its own, and is looked for by that.
 * What is about a whole network has one of its own (test/support/network.ts).
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, test, vi } from 'vitest';
import { limits } from '../../src/engine/limits.js';
import { Announcement } from '../../src/lan/announcement.js';
import { browse } from '../../src/lan/browsing.js';
import { Multicast } from '../../src/lan/multicast.js';
import { ADDRESSES, makeNetwork, type Network } from '../support/network.js';
import { markRunning, startServer } from '../support/server.js';

const ROOT = path.resolve(import.meta.dirname, '../..');
const PROGRAM = path.join(ROOT, 'dist/server/main.js');
const LOOPBACK = '127.0.0.1';
/** The machine may be busy with other tests. */
const HEAR = { timeout: 45_000, interval: 200 };
vi.setConfig({ testTimeout: 150_000 });
const INSTALL_MS = 320_000;
const KEY = 'a-key-of-the-operator-for-tests';

interface Heard {
  event: 'ready' | 'add' | 'update' | 'remove';
  name: string;
  port: number;
  addresses: string[];
  txt: string;
  host: string;
}

let python: string;
const children = new Set<ChildProcess>();
beforeAll(async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [path.join(ROOT, 'scripts/zeroconf.mjs')]);
  python = stdout.trim();
}, INSTALL_MS);
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
});

const uniqueName = () => `test ${randomBytes(4).toString('hex')}`;
const fullName = (name: string) => `${name}._stargus._tcp.local.`;

/** zeroconf, browsing or announcing; settles when it is at it. */
async function peer(mode: 'browse' | 'announce', address: string, services: object[] = [], before: string[] = []) {
  const script = path.join(import.meta.dirname, 'zeroconf_peer.py');
  const [command = '', ...args] = [...before, python, script, mode, address, JSON.stringify(services)];
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  children.add(child);
  const forget = markRunning(child);
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => {
      children.delete(child);
      forget();
      resolve();
    });
  });
  const events: Heard[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => events.push(JSON.parse(line) as Heard));
  await expect.poll(() => events.map(({ event }) => event), HEAR).toContain('ready');
  return {
    of: (name: string) => events.filter((event) => event.name === fullName(name)),
    end: () => {
      child.stdin.end();
      return ended;
    },
  };
}

/** The strings of a TXT record as they went over the network. */
function stringsOf({ txt }: Heard): string[] {
  const bytes = Buffer.from(txt, 'base64');
  const strings: string[] = [];
  for (let at = 0; at < bytes.length; at += 1 + (bytes[at] as number))
    strings.push(bytes.subarray(at + 1, at + 1 + (bytes[at] as number)).toString());
  return strings;
}

function txtOf(strings: (string | Buffer)[]): string {
  const parts = strings.map((string) => Buffer.from(string as string));
  return Buffer.concat(parts.flatMap((part) => [Buffer.from([part.length]), part])).toString('base64');
}

interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

async function discover(args: string[], before: string[] = []): Promise<Ran> {
  const [command = '', ...rest] = [...before, process.execPath, PROGRAM, 'discover', ...args];
  return promisify(execFile)(command, rest).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
  );
}

async function found(name: string, before: string[] = []) {
  const { stdout } = await discover(['--json', '--seconds', '1.5'], before);
  const all = JSON.parse(stdout) as { name: string; url: string; pools: string[]; [more: string]: unknown }[];
  return all.filter((server) => server.name.startsWith(name));
}

const announced = (name: string, env: Record<string, string> = {}) =>
  startServer({ database: 'sqlite', env: { STARGUS_LAN: '1', STARGUS_LAN_NAME: name, ...env } });

describe('a server on the loopback interface', () => {
  it('is seen by zeroconf, with its pools as they come and go, until it says goodbye', async () => {
    const name = uniqueName();
    const other = await peer('browse', LOOPBACK);
    const server = await announced(name);
    const port = Number(new URL(server.url).port);
    await expect.poll(() => other.of(name), HEAR).toMatchObject([{ event: 'add', port, addresses: [LOOPBACK] }]);
    const [first] = other.of(name) as [Heard];
    expect(first.host).toMatch(/^stargus-[0-9a-f]{8}\.local\.$/);
    expect(stringsOf(first)).toEqual([
      ...['v=1', 'api=v1', expect.stringMatching(/^version=\d+\.\d+\.\d+$/)],
      ...[`id=${first.host.slice(8, 16)}`, 'auth=open', 'path=/v1', 'https=0'],
    ]);
    const pools = () => {
      const [last] = other.of(name).slice(-1) as [Heard];
      return stringsOf(last).filter((text) => text.startsWith('pools'));
    };
    await fetch(`${server.url}/v1/pools/beta`, { method: 'PUT' });
    await fetch(`${server.url}/v1/pools/alpha`, { method: 'PUT' });
    await expect.poll(pools, HEAR).toEqual(['pools=alpha,beta']);
    await fetch(`${server.url}/v1/pools/beta`, { method: 'DELETE' });
    await expect.poll(pools, HEAR).toEqual(['pools=alpha']);
    expect(await found(name)).toMatchObject([{ name, url: server.url, auth: 'open', pools: ['alpha'] }]);
    // One warning says that it is for this machine only, and nothing failed.
    expect(server.output().match(/"level":40/g)).toHaveLength(1);
    expect(server.output()).toContain(
      'STARGUS_LAN: the server listens on 127.0.0.1, so it is announced to programs on',
    );
    expect((await server.stop()).code).toBe(0);
    await expect.poll(() => other.of(name).at(-1)?.event, HEAR).toBe('remove');
    expect(await found(name)).toEqual([]);
    await other.end();
  });

  it('takes no name that somebody has, and says goodbye for itself alone', async () => {
    const name = uniqueName();
    const host = `h${randomBytes(4).toString('hex')}`;
    const txt = txtOf(['v=1', 'auth=open']);
    const holder = await peer('announce', LOOPBACK, [{ name, port: 1, address: LOOPBACK, host, txt }]);
    const server = await announced(name);
    const both = [
      [name, `http://${LOOPBACK}:1`],
      [`${name} (2)`, server.url],
    ];
    const seen = async () => (await found(name)).map((one) => [one.name, one.url]);
    await expect.poll(seen, HEAR).toEqual(both);
    await server.stop();
    expect(await seen()).toEqual(both.slice(0, 1));
    await holder.end();
  });

  it('gets a name of its own though others want the same at the same moment', async () => {
    const name = uniqueName();
    const strings = ['v=1', 'auth=open'].map((text) => Buffer.from(text));
    const ports = [1, 2, 3, 4, 5];
    const announcements = ports.map((port) => {
      const id = randomBytes(4).toString('hex');
      return new Announcement({ name, id, port }, { through: LOOPBACK, addresses: [LOOPBACK] }, strings, () => {});
    });
    const seen = async () => (await browse(1000, [LOOPBACK])).found.filter((one) => one.name.startsWith(name));
    await expect
      .poll(async () => (await seen()).map((one) => one.name), HEAR)
      .toEqual([name, ...[2, 3, 4, 5].map((n) => `${name} (${n})`)]);
    expect((await seen()).map(({ port }) => port).sort()).toEqual(ports);
    await Promise.all(announcements.map((announcement) => announcement.close()));
    expect(await seen()).toEqual([]);
  });

  it('tells its pools to nobody where authentication is required, unless it is told to', async () => {
    const env = { STARGUS_AUTH: 'required', STARGUS_OPERATOR_KEY: KEY };
    const [quiet, open] = [uniqueName(), uniqueName()];
    const servers = await Promise.all([announced(quiet, env), announced(open, { ...env, STARGUS_LAN_POOLS: '1' })]);
    for (const { url } of servers) {
      const headers = { authorization: `Bearer ${KEY}` };
      for (const pool of ['secret', '_server'])
        expect((await fetch(`${url}/v1/pools/${pool}`, { method: 'PUT', headers })).status).toBeLessThan(500);
    }
    await expect.poll(async () => (await found(open))[0]?.pools, HEAR).toEqual(['secret']);
    expect(await found(quiet)).toMatchObject([{ auth: 'required', pools: [], morePools: false }]);
    await Promise.all(servers.map((server) => server.stop()));
  });

  it('tells as many pools as there is room for, and that there are more', async () => {
    const name = uniqueName();
    const server = await announced(name);
    const pools = Array.from({ length: 40 }, (_, i) => `pool-${String(i).padStart(2, '0')}-${'x'.repeat(90)}`);
    await Promise.all(pools.map((pool) => fetch(`${server.url}/v1/pools/${pool}`, { method: 'PUT' })));
    await expect.poll(async () => (await found(name))[0]?.morePools, HEAR).toBe(true);
    const [told] = await found(name);
    expect(told?.pools).toEqual(pools.slice(0, told?.pools.length));
    expect(told?.pools.length).toBeGreaterThan(8);
    const other = await peer('browse', LOOPBACK);
    // It is told several times, and whoever hears tells of each.
    await expect.poll(() => other.of(name).length, HEAR).toBeGreaterThan(0);
    const heard = other.of(name).at(-1) as Heard;
    expect(Buffer.from(heard.txt, 'base64').length).toBeLessThanOrEqual(limits.lanRecordBytesMax);
    await other.end();
    await server.stop();
  });

  it('answers a flood of questions by a few answers', async () => {
    const name = uniqueName();
    const server = await announced(name);
    await expect.poll(() => found(name), HEAR).toHaveLength(1);
    await sleep(4000);
    const socket = createSocket({ type: 'udp4', reuseAddr: true });
    await new Promise<void>((resolve) => socket.bind(5353, '0.0.0.0', resolve));
    socket.addMembership('224.0.0.251', LOOPBACK);
    socket.setMulticastInterface(LOOPBACK);
    let answers = 0;
    socket.on('message', (message) => {
      const isAnswer = (message.readUInt16BE(2) & 0x8000) !== 0;
      if (isAnswer && message.includes(name)) answers++;
    });
    const labels = [name, '_stargus', '_tcp', 'local'].map((label) => Buffer.from(label));
    const question = Buffer.concat([
      ...labels.flatMap((label) => [Buffer.from([label.length]), label]),
      Buffer.from([0, 0, 16, 0, 1]),
    ]);
    const head = Buffer.alloc(12);
    head.writeUInt16BE(20, 4);
    const packet = Buffer.concat([head, ...Array(20).fill(question)]);
    for (let i = 0; i < 50; i++) socket.send(packet, 5353, '224.0.0.251');
    await expect.poll(() => answers, HEAR).toBeGreaterThan(0);
    await sleep(500);
    // A thousand questions in less than a second.
    expect(answers).toBeLessThan(10);
    socket.close();
    await server.stop();
  });
});

describe('what strangers announce', () => {
  it('is listed by name, and whatever it is made of harms no terminal', async () => {
    const name = uniqueName();
    const service = (suffix: string, strings: (string | Buffer)[], port = 8080) => ({
      ...{ name: `${name}${suffix}`, port, address: LOOPBACK, host: `h${randomBytes(4).toString('hex')}` },
      txt: txtOf(strings),
    });
    const us = ['v=1', 'api=v1', 'path=/v1'];
    const hostile = await peer('announce', LOOPBACK, [
      service(' c', [...us, 'auth=open', 'version=\u001b]0;owned\u0007', 'pools=\u009b31m,a\nb,ok']),
      service(' b', [...us, 'auth=required', 'version=9.9', 'url=https://stargus.example', 'pools=p', 'more=1'], 81),
      service(' a', [...us, 'auth=open', 'url=javascript:alert(1)', 'https=1', Buffer.from([0xff, 0x3d, 0xfe])], 82),
      service(' other format', ['v=2', 'auth=open']),
      service(' not ours', ['hello=world']),
      service(' nothing', []),
      service(' long', [...us, ...Array.from({ length: 6 }, (_, i) => `x${i}=${'x'.repeat(250)}`), 'auth=open']),
    ]);
    // A name of that kind zeroconf wouldn't announce.
    const raw = new Multicast(LOOPBACK, () => {});
    const instance = `${name} d \u202e\u001b[2Jx._stargus._tcp.local`;
    const host = `h${randomBytes(4).toString('hex')}.local`;
    raw.answerBy([
      { name: '_stargus._tcp.local', type: 'PTR', ttl: 120, data: instance },
      { name: instance, type: 'SRV', ttl: 120, data: { port: 83, target: host } },
      { name: instance, type: 'TXT', ttl: 120, data: [...us, 'auth=open'].map((text) => Buffer.from(text)) },
      { name: host, type: 'A', ttl: 120, data: LOOPBACK },
    ]);
    await expect.poll(async () => (await found(name)).length, HEAR).toBe(4);
    const listed = await found(name);
    expect(listed).toMatchObject([
      { name: `${name} a`, url: `https://${LOOPBACK}:82`, auth: 'open' },
      { name: `${name} b`, url: 'https://stargus.example', auth: 'required', version: '9.9', morePools: true },
      { name: `${name} c`, pools: ['\u009b31m', 'a\nb', 'ok'], version: '\u001b]0;owned\u0007' },
      { name: `${name} d \u202e\u001b[2Jx`, url: `http://${LOOPBACK}:83` },
    ]);
    for (const args of [[], ['--json']]) {
      const { code, stdout } = await discover([...args, '--seconds', '1.5']);
      expect(code).toBe(0);
      const lines = stdout.split('\n').filter((line) => line.includes(name));
      expect(lines).toHaveLength(4);
      expect(stdout).not.toMatch(/(?!\n)[\p{C}\u2028\u2029]/u);
      expect(stdout).toContain('\\u001b[2J');
    }
    await raw.close();
    await hostile.end();
  });
});

describe('a network of two machines', () => {
  let network: Network;
  const folder = mkdtempSync(path.join(tmpdir(), 'stargus-lan-'));
  beforeAll(async () => {
    network = await makeNetwork();
  }, INSTALL_MS);
  afterAll(() => {
    network.remove();
    rmSync(folder, { recursive: true, force: true });
  });

  /** A server on machine 0; settles when it listens. */
  async function serverThere(env: Record<string, string>, args: string[] = []) {
    const [command = '', ...rest] = [...network.on(0), process.execPath, PROGRAM, ...args];
    const database = path.join(folder, `${randomBytes(4).toString('hex')}.db`);
    const child = spawn(command, rest, {
      env: { PATH: process.env.PATH, STARGUS_PORT: '8080', STARGUS_DATABASE_URL: `sqlite:${database}`, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    children.add(child);
    const forget = markRunning(child);
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    const ended = new Promise<number | null>((resolve) => {
      child.once('exit', (code) => {
        children.delete(child);
        forget();
        resolve(code);
      });
    });
    await expect.poll(() => output, HEAR).toContain('"listening"');
    return {
      output: () => output,
      stop: () => {
        child.kill('SIGTERM');
        return ended;
      },
    };
  }

  const CLOSED = { STARGUS_AUTH: 'required', STARGUS_OPERATOR_KEY: KEY, STARGUS_HOST: '0.0.0.0' };

  test('has no server at first, and `discover` says so by its exit code', async () => {
    const nothing = await discover(['--seconds', '0.5'], network.on(1));
    expect(nothing).toMatchObject({ code: 1, stdout: '' });
    expect(nothing.stderr).toContain('stargus-server --lan');
    expect(await discover(['--seconds', '0.5', '--json'], network.on(1))).toMatchObject({ code: 1, stdout: '[]\n' });
  });

  test('finds from one machine the server of the other, and hears its goodbye', async () => {
    const other = await peer('browse', ADDRESSES[1], [], network.on(1));
    const server = await serverThere({ ...CLOSED, STARGUS_LAN_NAME: 'Over there' }, ['--lan']);
    await expect
      .poll(() => found('Over there', network.on(1)), HEAR)
      .toMatchObject([{ url: `http://${ADDRESSES[0]}:8080`, addresses: [ADDRESSES[0]], auth: 'required', pools: [] }]);
    expect(await found('Over there', network.on(0))).toHaveLength(1);
    const table = await discover(['--seconds', '1'], network.on(1));
    expect(table.stdout).toMatch(
      /^NAME {8}URL {20}AUTH {6}VERSION {2}POOLS\nOver there {2}http:\/\/10\.77\.0\.1:8080 {2}req/,
    );
    expect(await server.stop()).toBe(0);
    await expect.poll(() => other.of('Over there').map(({ event }) => event), HEAR).toEqual(['add', 'remove']);
    expect((await discover(['--seconds', '0.5'], network.on(1))).code).toBe(1);
    await other.end();
  });

  test('hears nothing of a server that only its own machine can reach', async () => {
    const server = await serverThere({ STARGUS_LAN: '1' });
    await expect.poll(() => found('Stargus on', network.on(0)), HEAR).toHaveLength(1);
    expect((await discover(['--seconds', '1'], network.on(1))).code).toBe(1);
    await server.stop();
  });

  test('is told of the public URL where there is one', async () => {
    const env = { ...CLOSED, STARGUS_LAN: '1', STARGUS_PUBLIC_URL: 'https://stargus.example' };
    const server = await serverThere(env);
    await expect
      .poll(() => found('Stargus on', network.on(1)), HEAR)
      .toMatchObject([{ url: 'https://stargus.example', addresses: [ADDRESSES[0]] }]);
    await server.stop();
  });

  test('may be out of order, which harms no server', async () => {
    // Somebody has the port of multicast DNS, and shares it with nobody.
    const hold = `require('node:dgram').createSocket('udp4').bind(5353, '0.0.0.0', () => console.log('held'))`;
    const [command = '', ...args] = [...network.on(0), process.execPath, '-e', hold];
    const holder = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    children.add(holder);
    await new Promise((resolve) => holder.stdout.once('data', resolve));
    const server = await serverThere({ ...CLOSED, STARGUS_LAN: '1' });
    await expect.poll(() => server.output(), HEAR).toMatch(/Multicast through 10\.77\.0\.1 fails: .*EADDRINUSE/);
    await sleep(2000);
    expect(server.output().match(/EADDRINUSE/g)).toHaveLength(1);
    expect(await server.stop()).toBe(0);
    const nothing = await discover(['--seconds', '0.5'], network.on(0));
    expect(nothing.code).toBe(1);
    expect(nothing.stderr).toContain('EADDRINUSE');
    holder.kill('SIGKILL');
    children.delete(holder);
  });
});

describe('`stargus-server discover`', () => {
  it.each([
    [['--seconds', '0']],
    [['--seconds', '61']],
    [['--seconds', 'soon']],
    [['--seconds', '-1']],
    [['--minutes', '1']],
    [['everything']],
  ])('refuses %j', async (args) => {
    const { code, stdout, stderr } = await discover(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).not.toBe('');
  });

  it('says what it does', async () => {
    const { code, stdout } = await discover(['--help']);
    expect(code).toBe(0);
    expect(stdout).toContain('--seconds <number>');
  });
});
