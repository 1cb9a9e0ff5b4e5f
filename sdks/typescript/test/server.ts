/**
 * Servers for the tests of the client. `STARGUS_TEST_URL` names an open one, and `STARGUS_TEST_REQUIRED_URL` with `STARGUS_TEST_OPERATOR_KEY` one that wants to
 * know who asks; without them, and where a test needs settings of its own, the built one is started.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const MAIN = path.resolve(import.meta.dirname, '../../../dist/server/main.js');
const START_MS = 45_000;

export interface Server {
  readonly url: string;
  stop(): Promise<void>;
  /** Stops it, and starts it again on the same data. */
  restart(): Promise<void>;
}

/** A name that nobody else uses. */
export function newPool(): string {
  return `t${randomBytes(6).toString('hex')}`;
}

export async function openServer(): Promise<Pick<Server, 'url' | 'stop'>> {
  const url = process.env.STARGUS_TEST_URL;
  return url ? { url, stop: async () => {} } : startServer();
}

export async function startServer(env: Record<string, string> = {}): Promise<Server> {
  const folder = mkdtempSync(path.join(tmpdir(), 'stargus-client-'));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const begin = async () => {
    const own = Object.entries(process.env).filter(([name]) => !name.startsWith('STARGUS_'));
    const child = spawn(process.execPath, [MAIN], {
      env: {
        ...Object.fromEntries(own),
        STARGUS_PORT: String(port),
        STARGUS_HOST: '127.0.0.1',
        STARGUS_DATABASE_URL: `sqlite:${path.join(folder, 'stargus.db')}`,
        ...env,
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.on('data', (text) => {
      said = (said + String(text)).slice(-4_000);
    });
    const until = Date.now() + START_MS;
    while (!(await isReady(url))) {
      if (child.exitCode !== null || Date.now() > until) {
        child.kill('SIGKILL');
        throw new Error(`The server didn't start. Is it built (node scripts/setup.mjs)? It said: ${said}`);
      }
      await sleep(50);
    }
    return child;
  };
  let child = await begin();
  return {
    url,
    stop: async () => {
      await ended(child);
      rmSync(folder, { recursive: true, force: true });
    },
    restart: async () => {
      await ended(child);
      child = await begin();
    },
  };
}

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/readyz`)).ok;
  } catch {
    return false;
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const closed = new Promise((resolve) => child.once('close', resolve));
  child.kill('SIGTERM');
  await closed;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
