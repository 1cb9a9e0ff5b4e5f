/**
 * The proxy of docker-compose.yml, for real: Caddy with deploy/Caddyfile before two nodes on one database. Streams pass it as they
 * come, over HTTP/2 and TLS, and nodes are replaced behind it without an error.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type ClientHttp2Session, connect } from 'node:http2';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { debianProgram, INSTALL_MS } from '../support/debian.js';
import { createDatabase, freePort, markRunning, type Server, startServer } from '../support/server.js';

const CADDYFILE = path.resolve(import.meta.dirname, '../../deploy/Caddyfile');
const WAIT_MS = 15_000;
const ITEMS = '/v1/pools/p/collections/c/items';

let caddy = '';
let child: ChildProcess | undefined;
let session: ClientHttp2Session;
let folder = '';
let url = '';
const ports: number[] = [];
const nodes: Server[] = [];
let databaseUrl = '';

beforeAll(async () => {
  caddy = await debianProgram('caddy');
  folder = mkdtempSync(path.join(tmpdir(), 'stargus-caddy-'));
  databaseUrl = await createDatabase('mariadb');
  ports.push(await freePort(), await freePort());
  for (const port of ports) nodes.push(await startNode(port));
  const [https, http, status] = [await freePort(), await freePort(), await freePort()];
  url = `https://localhost:${https}`;
  child = spawn(caddy, ['run', '--config', CADDYFILE, '--adapter', 'caddyfile'], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      ...{ PATH: process.env.PATH, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder },
      ...{ HTTPS_PORT: `${https}`, HTTP_PORT: `${http}`, STATUS_PORT: `${status}` },
      UPSTREAMS: ports.map((port) => `127.0.0.1:${port}`).join(' '),
    },
  });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const forget = markRunning(child);
  child.once('exit', forget);
  const root = path.join(folder, 'caddy/pki/authorities/local/root.crt');
  for (const end = Date.now() + WAIT_MS; ; await sleep(50)) {
    if (existsSync(root) && (await isUp(status, root))) break;
    if (Date.now() > end) throw new Error(`Caddy was not ready in time: ${said.slice(-2000)}`);
  }
  session = connect(url, { ca: readFileSync(root) });
}, INSTALL_MS);

afterAll(async () => {
  session?.destroy();
  if (child && child.exitCode === null) {
    child.kill('SIGKILL');
    await new Promise((resolve) => child?.once('exit', resolve));
  }
  if (folder) rmSync(folder, { recursive: true, force: true });
});

async function isUp(status: number, root: string): Promise<boolean> {
  try {
    if (!(await fetch(`http://127.0.0.1:${status}/`)).ok) return false;
    const trial = connect(url, { ca: readFileSync(root) });
    try {
      return (await ask(trial, 'GET', '/healthz')).status === 200;
    } finally {
      trial.destroy();
    }
  } catch {
    return false;
  }
}

function startNode(port: number): Promise<Server> {
  // As docker-compose.yml has it: longer than the proxy takes to find out.
  const env = { STARGUS_TRUSTED_PROXIES: '127.0.0.1', STARGUS_DRAIN: '3s' };
  return startServer({ database: 'mariadb', databaseUrl, port, env });
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

function ask(
  on: ClientHttp2Session,
  method: string,
  place: string,
  body?: object,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const type = body === undefined ? {} : { 'content-type': 'application/json' };
    const request = on.request({ ':method': method, ':path': place, ...type, ...headers });
    let status = 0;
    let text = '';
    on.once('error', reject);
    request.on('response', ({ ':status': code }) => {
      status = code ?? 0;
    });
    request.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    request.on('error', reject).on('end', () => {
      on.off('error', reject);
      resolve({ status, text });
    });
    request.end(body && JSON.stringify(body));
  });
}

describe('the proxy', () => {
  test('has a configuration in Caddy’s own form', () => {
    // `fmt` without a flag writes what it should look like.
    const { status, stdout, stderr } = spawnSync(caddy, ['fmt', CADDYFILE], { encoding: 'utf8', timeout: 20_000 });
    expect(stderr).not.toMatch(/not formatted/);
    expect(status).toBe(0);
    expect(stdout).toBe(readFileSync(CADDYFILE, 'utf8'));
  });

  test('passes requests on over HTTP/2, paths as they are', async () => {
    const { status, text } = await ask(session, 'PUT', `${ITEMS}/a%2Fb`, { attributes: { n: 1 } });
    expect([status, JSON.parse(text).key, session.alpnProtocol]).toEqual([201, 'a/b', 'h2']);
    // Which the node knows to have come by https, under this name.
    const missing = JSON.parse((await ask(session, 'GET', `${ITEMS}/none`)).text);
    expect(missing.type).toMatch(new RegExp(`^${url}/`));
  });

  test('believes nothing that clients say of where they come from', async () => {
    const forged = {
      'x-forwarded-host': 'evil.example',
      'x-forwarded-proto': 'http',
      'x-forwarded-for': '203.0.113.9',
    };
    const { type } = JSON.parse((await ask(session, 'GET', `${ITEMS}/none`, undefined, forged)).text);
    expect(type).toMatch(new RegExp(`^${url}/`));
  });

  test('keeps the metrics of nodes to themselves', async () => {
    expect((await ask(session, 'GET', '/metrics')).status).toBe(404);
    expect((await ask(session, 'GET', '/readyz')).status).toBe(200);
  });

  test('holds nothing of a stream back', async () => {
    const stream = session.request({ ':path': '/v1/pools/p/collections/c/attach', accept: 'text/event-stream' });
    let text = '';
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    const until = async (part: string) => {
      for (const end = Date.now() + WAIT_MS; !text.includes(part); await sleep(10))
        if (Date.now() > end) throw new Error(`${part} did not come through: ${text}`);
    };
    await until('event: live');
    for (const n of [1, 2, 3]) {
      await ask(session, 'PUT', `${ITEMS}/watched`, { attributes: { marked: `change-${n}` } });
      // Each while nothing follows it that could push it out.
      await until(`change-${n}`);
    }
    stream.close();
  });

  test('replaces one node after the other without an error for clients that do as they are told', async () => {
    const failures: string[] = [];
    let isOver = false;
    let asked = 0;
    /** As every SDK does: what a node that is stopping refuses, or a proxy that finds none ready, is sent again. */
    const insist = async (...words: [string, string, object?, Record<string, string>?]): Promise<Answer> => {
      for (let tries = 1; ; tries++) {
        const answer = await ask(session, ...words);
        asked++;
        const isAgain = answer.status === 503 && (answer.text === '' || JSON.parse(answer.text).retryable === true);
        if (!isAgain || tries === 100) return answer;
        await sleep(50);
      }
    };
    const load = async (worker: number) => {
      const place = `${ITEMS}/load-${worker}`;
      for (let n = 0; !isOver; n++) {
        // With a key, so that whoever sends it again does no harm.
        const write = await insist('PUT', place, { attributes: { n } }, { 'idempotency-key': `w${worker}-${n}` });
        if (write.status >= 300) failures.push(`PUT ${write.status} ${write.text}`);
        const read = await insist('GET', place);
        if (read.status !== 200 || JSON.parse(read.text).attributes.n !== n)
          failures.push(`GET of ${n}: ${read.status} ${read.text}`);
        await sleep(5);
      }
    };
    const workers = [0, 1, 2, 3].map(load);
    try {
      for (const [i, port] of ports.entries()) {
        await sleep(300);
        expect((await (nodes[i] as Server).stop()).code).toBe(0);
        await sleep(300);
        nodes[i] = await startNode(port);
        // A rolling update waits until the new one is found ready.
        await sleep(1500);
      }
    } finally {
      isOver = true;
      await Promise.all(workers);
    }
    expect(failures).toEqual([]);
    expect(asked).toBeGreaterThan(50);
  });
});
